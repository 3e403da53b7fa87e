"""Which days changed at the source since the last look, and the cursor that remembers it.

A cursor holds the watermark (the newest instant seen) and, for the overlap that is read
again at every look, a digest per day. A day is asked for when its digest differs, so a look
that is repeated asks for the same days under the same run keys, and a quiet look for none.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conversation_analytics.core.windows import local_day

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
    """

    watermark: dt.datetime
    seen: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the cursor as text, the same for equal cursors."""
        return json.dumps(
            {"watermark": self.watermark.isoformat(), "seen": dict(self.seen)}, sort_keys=True
        )

    @staticmethod
    def from_json(text: str) -> Cursor:
        """Parse `to_json`'s text.

        Raises:
            ValueError: the text is no cursor.
        """
        data = json.loads(text)
        return Cursor(dt.datetime.fromisoformat(data["watermark"]), data["seen"])


@dataclass(frozen=True, slots=True)
class ChangedDay:
    """A day to materialise.

    Attributes:
        day: partition.
        digest: of the rows that changed; part of the run key.
        rows: how many rows changed.
    """

    day: dt.date
    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class Look:
    """The outcome of one look.

    Attributes:
        days: changed days of this look, oldest first.
        waiting: changed days left for the next look.
        undated: rows that changed and have no time of creation.
        cursor: to keep once the runs are requested.
    """

    days: tuple[ChangedDay, ...]
    waiting: int
    undated: int
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
        max_days: at most so many days; rows of the others stay unseen for the next look.
        now: the watermark never passes it, so that a row dated in the future hides no other.
    """
    by_day: dict[dt.date, list[tuple[str, str]]] = {}
    undated: list[tuple[str, str]] = []
    newest = cursor.watermark
    kept: dict[str, str] = {}
    times: dict[str, dt.datetime] = {}
    for table, frame in changes:
        for row_id, created_at, changed_at, fingerprint in frame.select(
            "id", "created_at", "changed_at", "fingerprint"
        ).iter_rows():
            name = f"{table}/{_short(row_id)}"
            digest = _short(f"{created_at}|{changed_at}|{fingerprint}")
            instants = [instant for instant in (created_at, changed_at) if instant is not None]
            times[name] = max(instants, default=cursor.watermark)
            newest = max(newest, times[name])
            kept[name] = digest
            if cursor.seen.get(name) == digest:
                continue
            if created_at is None:
                undated.append((name, digest))
            elif (day := local_day(created_at, zone)) >= first_day:
                by_day.setdefault(day, []).append((name, digest))
    chosen = sorted(by_day)[:max_days]
    waiting = {name for day in by_day if day not in chosen for name, _ in by_day[day]}
    # The watermark must not pass a row that still waits: it would never be seen again.
    watermark = min([newest, now, *(times[name] for name in waiting)])
    seen = {
        name: digest
        for name, digest in kept.items()
        if name not in waiting and times[name] >= watermark - lag
    }
    return Look(
        days=tuple(ChangedDay(day, _digest(by_day[day]), len(by_day[day])) for day in chosen),
        waiting=len(by_day) - len(chosen),
        undated=len(undated),
        cursor=Cursor(watermark, seen),
    )


def _digest(rows: list[tuple[str, str]]) -> str:
    return _short("\n".join(f"{name} {digest}" for name, digest in sorted(rows)))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
