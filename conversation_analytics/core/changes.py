"""Which days the source shows otherwise than the raw zone holds them.

What was asked for counts for nothing, what is held counts: a day is asked for again as long as
a row of the source is not in the raw zone as the source shows it. So a run that failed or a server
that was down for a week lose no row. The cursor only says how far back the next look has to begin,
and it never passes a row that is not held yet; where it is lost, the next look begins at the newest
row held, and what is older and not held is left to backfills and re-reads.

A look compares fingerprints of small columns. Where one differs, or a turn was unfinished when
it was read, the whole row is asked for and its content compared: times of change move when
somebody merely opens a conversation, and stand still when an answer is filled in.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.windows import day_window, local_day

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from zoneinfo import ZoneInfo

    from conversation_analytics.core.source import SourceTable


@dataclass(frozen=True, slots=True)
class Left:
    """A raw partition that holds rows which another one is to hold, or holds by now.

    Attributes:
        sha256: its digest when that was found.
        until: until then it is asked for, UTC.
    """

    sha256: str
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class Cursor:
    """What the sensor remembers between two looks.

    Attributes:
        watermark: every row created or changed before is held, UTC.
        same: rows ("table/id" to digest) whose times moved though their content is as held.
        left: raw partitions ("table/day") that rows are to leave.
    """

    watermark: dt.datetime
    same: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, Left] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the cursor as text, the same for equal cursors."""
        left = {name: [one.sha256, one.until.isoformat()] for name, one in self.left.items()}
        return json.dumps(
            {"watermark": self.watermark.isoformat(), "same": dict(self.same), "left": left},
            sort_keys=True,
        )

    @staticmethod
    def from_json(text: str) -> Cursor:
        """Parse `to_json`'s text, also that of earlier versions.

        Raises:
            ValueError: the text is no cursor.
        """
        try:
            data = json.loads(text)
            watermark = dt.datetime.fromisoformat(data["watermark"])
            same = {str(name): str(digest) for name, digest in data.get("same", {}).items()}
            left = {
                str(name): Left(str(sha256), dt.datetime.fromisoformat(until))
                for name, (sha256, until) in data.get("left", {}).items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"the sensor's cursor is unreadable ({type(error).__name__}): reset it in the UI, "
                "the next look then begins at the newest row of the raw zone"
            ) from error
        if watermark.tzinfo is None or any(one.until.tzinfo is None for one in left.values()):
            raise ValueError("the sensor's cursor has a time without a zone: reset it in the UI")
        return Cursor(watermark, same, left)


@dataclass(frozen=True, slots=True)
class SeenRow:
    """One row as a look shows it.

    Attributes:
        table: its table.
        id: its id.
        day: partition of its creation; None without a time of creation.
        at: newest of its times; None without any.
        digest: of times and fingerprint.
    """

    table: SourceTable
    id: str
    day: dt.date | None
    at: dt.datetime | None
    digest: str

    @property
    def name(self) -> str:
        """Name of the row in cursors: its table, and its id as a digest."""
        return f"{self.table}/{_short(self.id)}"


@dataclass(frozen=True, slots=True)
class Suspects:
    """Rows of a look that are not held as they are shown.

    Attributes:
        absent: the raw partition of their day does not hold them.
        doubtful: held with other times or counts: their content decides.
        same: found to be the same at an earlier look, and still shown like that.
        ahead: how many rows are dated after today: they wait for their day.
    """

    absent: tuple[SeenRow, ...]
    doubtful: tuple[SeenRow, ...]
    same: tuple[SeenRow, ...]
    ahead: int


@dataclass(frozen=True, slots=True)
class ChangedDay:
    """A day to materialise.

    Attributes:
        day: partition; None stands for the rows without a time of creation.
        digest: of the rows that differ; part of the run key.
        rows: how many rows differ.
    """

    day: dt.date | None
    digest: str
    rows: int


def suspects(
    table: SourceTable,
    shown: pl.DataFrame,
    held: Callable[[dt.date | None], pl.DataFrame],
    *,
    same: Mapping[str, str],
    zone: ZoneInfo,
    first_day: dt.date,
    settled_before: dt.datetime,
    now: dt.datetime,
) -> Suspects:
    """Compare what the source shows of a table with what the raw zone holds.

    Args:
        table: the table.
        shown: frame of `Source.changes_since`.
        held: raw partition of a day (of the undated rows for None): at least the columns
            `id` and `fingerprint`; no rows where there is no partition.
        same: of the cursor.
        zone: time zone of the partitions.
        first_day: earlier days have no partition: their rows are left alone.
        settled_before: rows touched between this instant and `now` wait for a later look.
        now: rows dated after it do not wait to settle: the source's clock is ahead; those dated
            after its day wait for theirs, for a day that is to come has no partition.
    """
    # Instants are compared, for not every one of them has a day in every zone (year 9999).
    opening = day_window(first_day, zone).start
    closing = day_window(local_day(now, zone), zone).end
    ahead = 0
    absent: list[SeenRow] = []
    doubtful: list[SeenRow] = []
    known: list[SeenRow] = []
    partitions: dict[dt.date | None, dict[str, str]] = {}
    columns = shown.select("id", "created_at", "changed_at", "fingerprint")
    for row_id, created_at, changed_at, fingerprint in columns.iter_rows():
        at = max((time for time in (created_at, changed_at) if time is not None), default=None)
        if created_at is not None and created_at >= closing:
            ahead += 1
            continue
        if (created_at and created_at < opening) or (at and settled_before < at <= now):
            continue
        day = None if created_at is None else local_day(created_at, zone)
        if day not in partitions:
            partitions[day] = dict(held(day).select("id", "fingerprint").iter_rows())
        row = SeenRow(table, row_id, day, at, _short(f"{created_at}|{changed_at}|{fingerprint}"))
        if row_id not in partitions[day]:
            absent.append(row)
        elif partitions[day][row_id] != fingerprint:
            (known if same.get(row.name) == row.digest else doubtful).append(row)
    return Suspects(tuple(absent), tuple(doubtful), tuple(known), ahead)


def is_unfinished() -> pl.Expr:
    """Return whether a curated turn still waits for its answer.

    Dify inserts the row before the answer is generated, and fills it in once, at the end.
    """
    status = pl.col("status").fill_null("normal")
    no_answer = pl.col("answer").fill_null("") == ""
    return (status == "paused") | ((status == "normal") & no_answer)


def watched_rows(
    table: SourceTable, unfinished: pl.DataFrame, zone: ZoneInfo
) -> tuple[SeenRow, ...]:
    """Return unfinished turns (columns `id`, `created_at`) as rows to ask for by id."""
    return tuple(
        SeenRow(table, row_id, local_day(created_at, zone), created_at, _short("unfinished"))
        for row_id, created_at in unfinished.select("id", "created_at").iter_rows()
    )


def differing(
    rows: Iterable[SeenRow],
    found: pl.DataFrame,
    held: Callable[[dt.date | None], pl.DataFrame],
    *,
    gone_differs: bool,
) -> frozenset[SeenRow]:
    """Return those of `rows` whose content at the source is not the one held.

    Args:
        rows: rows of one table that are held.
        found: the same rows as `Source.read_ids` gives them.
        held: as in `suspects`, with the column `content_sha256`.
        gone_differs: whether a row that the source does not have any more differs.

    Returns:
        Rows whose digest tells of the content found, so that each change has another one.
    """
    at_source = dict(found.select("id", "content_sha256").iter_rows())
    contents: dict[dt.date | None, dict[str, str]] = {}
    different = set()
    for row in rows:
        if row.day not in contents:
            contents[row.day] = dict(held(row.day).select("id", "content_sha256").iter_rows())
        content = at_source.get(row.id)
        if content is None and not gone_differs:
            continue
        if content is None or content != contents[row.day].get(row.id):
            different.add(replace(row, digest=_short(f"{content}")))
    return frozenset(different)


def changed_days(different: Collection[SeenRow]) -> tuple[ChangedDay, ...]:
    """Group rows that differ by day: undated rows first, then the oldest day."""
    by_day: dict[dt.date | None, list[str]] = {}
    for row in different:
        by_day.setdefault(row.day, []).append(f"{row.name} {row.digest}")
    return tuple(
        ChangedDay(day, _short("\n".join(sorted(names))), len(names))
        for day, names in sorted(by_day.items(), key=lambda item: item[0] or dt.date.min)
    )


def next_cursor(
    cursor: Cursor,
    shown: Iterable[pl.DataFrame],
    different: Iterable[SeenRow],
    same: Iterable[SeenRow],
    *,
    settled_before: dt.datetime,
    lag: dt.timedelta,
) -> Cursor:
    """Return the cursor after a look: as far as every row is held.

    Args:
        cursor: before the look.
        shown: frames of `Source.changes_since` of this look.
        different: rows that are not held as they are.
        same: rows found to be the same in content.
        settled_before: the watermark never passes it.
        lag: overlap of the next look; rows before it need not be remembered.
    """
    newest = [
        value
        for frame in shown
        for column in ("created_at", "changed_at")
        if isinstance(value := frame[column].max(), dt.datetime)
    ]
    watermark = min(max([cursor.watermark, *newest]), settled_before)
    watermark = min([watermark, *(row.at for row in different if row.at is not None)])
    return Cursor(
        watermark,
        {row.name: row.digest for row in same if row.at is None or row.at >= watermark - lag},
    )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
