"""What a read of a day makes of the raw partition that was held before.

A window read tells which rows the source shows now. Rows held from an earlier read that it
does not show are asked for by id before anything is concluded: they may have been missed
(they were written while the pages were read), moved (their time of creation was corrected),
or be gone. A row that is gone stays, because retention jobs of the source purge old rows:
absence is no request to delete.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conversation_analytics.core.windows import DayWindow


class GonePolicy(StrEnum):
    """What becomes of a row that the source does not have any more."""

    KEEP = "keep"
    """It stays, as if nothing had happened."""
    FLAG = "flag"
    """It stays, and `gone` is true in raw and curated zone and in the documents."""
    PURGE = "purge"
    """It goes from every zone."""


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
    """

    frame: pl.DataFrame
    new: int
    changed: int
    missed: int
    moved: int
    gone: int

    def facts(self) -> dict[str, int]:
        """Return the counts for the UI."""
        return {
            "rows_new": self.new,
            "rows_changed": self.changed,
            "rows_missed_by_the_read": self.missed,
            "rows_moved_to_another_day": self.moved,
            "rows_gone_at_the_source": self.gone,
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
        return Landing(read, read.height, 0, 0, 0, 0)
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
    # Where only a time of change moved, the row stays as it was first read: bytes stand still.
    stored = pl.concat(
        [
            shown.filter(~pl.col("id").is_in(as_held.implode())),
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
    )


def _inside(rows: pl.DataFrame, window: DayWindow | None) -> pl.Series:
    created_at = rows["created_at"]
    if window is None:
        return created_at.is_null()
    return rows.select(
        inside=(
            (pl.col("created_at") >= window.start) & (pl.col("created_at") < window.end)
        ).fill_null(value=False)
    )["inside"]
