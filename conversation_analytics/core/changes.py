"""Which days changed at the source since the last look, and the cursor that remembers it.

A cursor holds the watermark (the newest instant seen) and, for the overlap that is read
again at every look, a digest per row. A day is asked for when a digest of its rows differs, so a
look that is repeated asks for the same days under the same run keys, and a quiet look for none.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conversation_analytics.core.errors import PermanentError
from conversation_analytics.core.windows import day_window, local_day

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from zoneinfo import ZoneInfo

    import polars as pl


@dataclass(frozen=True, slots=True)
class Cursor:
    """What the sensor remembers between two looks.

    Attributes:
        watermark: newest time of creation or change seen, UTC.
        seen: row digest ("table/id" to fingerprint) of rows inside the overlap.
        turn: looks that asked for something; part of the run keys, so that a row that changes
            and then changes back is asked for again.
    """

    watermark: dt.datetime
    seen: Mapping[str, str] = field(default_factory=dict)
    turn: int = 0

    def to_json(self) -> str:
        """Return the cursor as text, the same for equal cursors."""
        return json.dumps(
            {
                "watermark": self.watermark.isoformat(),
                "seen": dict(self.seen),
                "turn": self.turn,
            },
            sort_keys=True,
        )

    @staticmethod
    def from_json(text: str) -> Cursor:
        """Parse `to_json`'s text, that of earlier versions (no `turn`) included.

        Raises:
            CursorError: the text is no cursor.
        """
        try:
            data = json.loads(text)
            cursor = Cursor(
                dt.datetime.fromisoformat(data["watermark"]).astimezone(dt.UTC),
                {str(name): str(digest) for name, digest in data["seen"].items()},
                int(data.get("turn", 0)),
            )
            named = dt.datetime.fromisoformat(data["watermark"]).tzinfo is not None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            named = False
        if not named:
            raise CursorError(
                "the sensor's cursor is not one of this version: expected the JSON object that it "
                f"writes, got {len(text)} characters of something else. Reset the cursor in the "
                "UI (Automation > nocodb_changes > Cursor) and backfill the days since its last "
                "run, for the next look begins one SENSOR_LAG back"
            )
        return cursor


class CursorError(PermanentError):
    """The text kept as a cursor is none."""


@dataclass(frozen=True, slots=True)
class ChangedDay:
    """A day to materialise.

    Attributes:
        day: partition.
        digest: of the rows that changed and the turn; part of the run key.
        rows: how many rows changed.
    """

    day: dt.date
    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class ChangedUndated:
    """Changed rows without a time of creation.

    Attributes:
        digest: of the rows that changed and the turn; part of the run key.
        rows: how many rows changed.
    """

    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class Look:
    """The outcome of one look.

    Attributes:
        days: changed days of this look, oldest first.
        undated: rows that changed and have no time of creation; None if there are none.
        waiting: changed partitions left for the next look.
        ahead: rows dated after today: asked for when their day comes.
        cursor: to keep once the runs are requested.
    """

    days: tuple[ChangedDay, ...]
    undated: ChangedUndated | None
    waiting: int
    ahead: int
    cursor: Cursor


def look(
    changes: Iterable[tuple[str, pl.DataFrame]],
    cursor: Cursor,
    *,
    zone: ZoneInfo,
    first_day: dt.date,
    lag: dt.timedelta,
    max_days: int,
    now: dt.datetime,
) -> Look:
    """Compare what the source shows with what was seen before.

    Args:
        changes: per table its name and the frame of `Source.changes_since(watermark - lag)`.
        cursor: of the last look.
        zone: time zone of the partitions.
        first_day: days before it have no partition and are left alone.
        lag: the overlap.
        max_days: at most so many partitions, that of the undated rows included; rows of the
            others stay unseen for the next look.
        now: the watermark never passes it, so that a row dated in the future hides no other;
            its day is the last one with a partition.
    """
    # Instants are compared, for not every one of them has a day in every zone (year 9999).
    opening = day_window(first_day, zone).start
    closing = day_window(local_day(now, zone), zone).end
    by_day: dict[dt.date | None, list[tuple[str, str]]] = {}
    ahead: set[str] = set()
    newest = cursor.watermark
    kept: dict[str, str] = {}
    times: dict[str, dt.datetime | None] = {}
    for table, frame in changes:
        for row_id, created_at, changed_at, fingerprint in frame.select(
            "id", "created_at", "changed_at", "fingerprint"
        ).iter_rows():
            name = f"{table}/{_short(row_id)}"
            digest = _short(f"{created_at}|{changed_at}|{fingerprint}")
            moment = _latest(created_at, changed_at)
            times[name] = moment
            newest = newest if moment is None else max(newest, moment)
            kept[name] = digest
            if cursor.seen.get(name) == digest:
                continue
            if created_at is None:
                by_day.setdefault(None, []).append((name, digest))
            elif created_at >= closing:
                ahead.add(name)
            elif created_at >= opening:
                by_day.setdefault(local_day(created_at, zone), []).append((name, digest))
    # The undated rows come last: there is always another day for them, not so for a dated one.
    ordered = sorted(by_day, key=lambda day: (day is None, day or first_day))
    chosen = ordered[:max_days]
    waiting = {name for day in ordered[max_days:] for name, _ in by_day[day]}
    # The overlap must still hold a row that waits. It need not move back for it: the row was in
    # the overlap of this look, and one that grew with every look would never come to an end.
    held = [moment + lag for name in waiting if (moment := times[name]) is not None]
    watermark = min([newest, now, *held])
    # Sources compare whole seconds.
    overlap = (watermark - lag).replace(microsecond=0)
    seen = {
        name: digest
        for name, digest in kept.items()
        if name not in waiting
        and name not in ahead
        and ((moment := times[name]) is None or moment >= overlap)
    }
    digests = {day: _digest(by_day[day], cursor.turn) for day in chosen}
    return Look(
        days=tuple(
            ChangedDay(day, digests[day], len(by_day[day])) for day in chosen if day is not None
        ),
        undated=ChangedUndated(digests[None], len(by_day[None])) if None in digests else None,
        waiting=len(ordered) - len(chosen),
        ahead=len(ahead),
        cursor=Cursor(watermark, seen, cursor.turn + bool(chosen)),
    )


def _latest(*instants: dt.datetime | None) -> dt.datetime | None:
    return max((instant for instant in instants if instant is not None), default=None)


def _digest(rows: list[tuple[str, str]], turn: int) -> str:
    return _short("\n".join([str(turn), *(f"{name} {digest}" for name, digest in sorted(rows))]))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
