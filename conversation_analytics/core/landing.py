"""What a read of a day makes of the raw partition that was held before.

A window read tells which rows the source shows now. Rows held from an earlier read that it
does not show are asked for by id before anything is concluded: they may have been missed
(they were written while the pages were read), moved (their time of creation was corrected),
or be gone. A row that is gone stays, because retention jobs of the source purge old rows:
absence is no request to delete.

The same holds for columns: a row whose content changed keeps the values of columns that the source
does not serve any more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.json_text import members
from conversation_analytics.core.values import encode_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conversation_analytics.core.windows import DayWindow


class GonePolicy(StrEnum):
    """What becomes of a row, or a column's values, that the source does not have any more."""

    KEEP = "keep"
    """It stays, as if nothing had happened."""
    FLAG = "flag"
    """It stays, and `gone` is true in raw and curated zone and in the documents."""
    PURGE = "purge"
    """It goes from every zone; the values of a column go from the rows that are read again."""


@dataclass(frozen=True, slots=True)
class Landing:
    """The raw partition to store, and what was concluded.

    Attributes:
        frame: the raw schema's columns.
        new: rows that were not held before.
        changed: rows held before with another content.
        missed: rows the window read did not show and the source still has in the window.
        moved: rows the source has under another time of creation.
        gone: rows the source does not have any more, first noticed now or earlier.
        completed: changed rows that keep values of columns the source does not have any more.
    """

    frame: pl.DataFrame
    new: int
    changed: int
    missed: int
    moved: int
    gone: int
    completed: int

    def facts(self) -> dict[str, int]:
        """Return the counts for the UI."""
        return {
            "rows_new": self.new,
            "rows_changed": self.changed,
            "rows_missed_by_the_read": self.missed,
            "rows_moved_to_another_day": self.moved,
            "rows_gone_at_the_source": self.gone,
            "rows_with_values_of_gone_columns": self.completed,
        }


def land(
    read: pl.DataFrame,
    held: pl.DataFrame | None,
    *,
    window: DayWindow | None,
    policy: GonePolicy,
    find: Callable[[Sequence[str]], pl.DataFrame],
    held_elsewhere: Callable[[pl.DataFrame], frozenset[str]],
) -> Landing:
    """Combine a window's read with the partition held before.

    Args:
        read: rows the source shows in the window; the raw schema's columns, `gone` false.
        held: the partition as stored, or None where there is none.
        window: of the partition; None for rows without a time of creation.
        policy: for rows that are gone.
        find: asks the source for rows by id, wherever they are; raw schema, each id once.
        held_elsewhere: of moved rows (raw schema), the ids that the partition of their new
            time holds already. Until then a moved row stays where it is, so that it is
            never in no partition.

    Returns:
        Rows of `read`, and of the rest of `held` what is not concluded to be elsewhere or
        purged. Where no content differs, `frame` holds exactly the rows of `held`.
    """
    if held is None:
        return Landing(read, read.height, 0, 0, 0, 0, 0)
    absent = held.join(read, on="id", how="anti")
    found = find(absent["id"].to_list()) if absent.height else read.clear()
    inside = _inside(found, window)
    missed, elsewhere = found.filter(inside), found.filter(~inside)
    landed_elsewhere = held_elsewhere(elsewhere) if elsewhere.height else frozenset[str]()
    not_yet = elsewhere.filter(~pl.col("id").is_in(list(landed_elsewhere)))
    waiting = absent.join(not_yet, on="id", how="semi")
    gone = absent.join(found, on="id", how="anti")
    kept = (
        gone.clear()
        if policy is GonePolicy.PURGE
        else gone.with_columns(gone=pl.lit(policy is GonePolicy.FLAG))
    )
    shown = pl.concat([read, missed])
    before = shown.select("id", "content_sha256").join(
        held.select("id", held_content="content_sha256"), on="id", how="left"
    )
    differs = before["held_content"].is_not_null() & (
        before["held_content"] != before["content_sha256"]
    )
    as_held = before.filter(before["held_content"] == before["content_sha256"])["id"]
    completed = _completed(shown, held, before.filter(differs)["id"], policy)
    # Where only a time of change moved, the row stays as it was first read: bytes stand still.
    stored = pl.concat(
        [
            shown.filter(~pl.col("id").is_in(as_held.implode())).update(
                completed, on="id", how="left"
            ),
            held.filter(pl.col("id").is_in(as_held.implode())).with_columns(gone=pl.lit(False)),  # noqa: FBT003 - a literal
        ]
    )
    return Landing(
        pl.concat([stored, waiting, kept]),
        new=before["held_content"].null_count(),
        changed=int(differs.sum()),
        missed=missed.height,
        moved=elsewhere.height,
        gone=gone.height,
        completed=completed.height,
    )


def _completed(
    shown: pl.DataFrame, held: pl.DataFrame, changed: pl.Series, policy: GonePolicy
) -> pl.DataFrame:
    """Return `id`, `payload` and `sha256` of changed rows that lack columns they are held with.

    `content_sha256` stays that of the row as served, so that the next read finds it as held.
    """
    found: dict[str, list[str]] = {"id": [], "payload": [], "sha256": []}
    if policy is not GonePolicy.PURGE:
        both = (
            shown.filter(pl.col("id").is_in(changed.implode()))
            .select("id", "payload")
            .join(held.select("id", held_payload="payload"), on="id")
        )
        for row_id, payload, before in both.iter_rows():
            whole = _with_gone_columns(payload, before)
            if whole is not None:
                digest = hashlib.sha256(whole.encode()).hexdigest()
                for name, value in zip(found, (row_id, whole, digest), strict=True):
                    found[name].append(value)
    return pl.DataFrame(found, schema=dict.fromkeys(found, pl.String))


def _with_gone_columns(payload: str, before: str) -> str | None:
    """Return the row with the values of columns that only `before` has; None without any."""
    try:
        now, then = members(payload.encode()), members(before.encode())
    except ValueError:
        return None  # no row of columns: it is stored as served, and becomes a dead letter
    gone = [
        f"{encode_json(name)}:{bytes(value).decode()}"
        for name, value in then.items()
        if name not in now and bytes(value) != b"null"
    ]
    if not gone:
        return None
    # Nothing is decoded and encoded: numbers and texts stay as they were served.
    return payload.rstrip().removesuffix("}") + "," * bool(now) + ",".join(gone) + "}"


def _inside(rows: pl.DataFrame, window: DayWindow | None) -> pl.Series:
    created_at = rows["created_at"]
    if window is None:
        return created_at.is_null()
    return rows.select(
        inside=(
            (pl.col("created_at") >= window.start) & (pl.col("created_at") < window.end)
        ).fill_null(value=False)
    )["inside"]
