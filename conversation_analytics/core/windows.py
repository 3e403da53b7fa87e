"""Days as half-open windows of UTC time.

A partition is a calendar day of the analytics time zone, so its window has 23, 24
or 25 hours.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, order=True)
class DayWindow:
    """One day partition.

    Attributes:
        day: the calendar day in the analytics time zone.
        start: first instant of the day, UTC, inclusive.
        end: first instant of the next day, UTC, exclusive.
    """

    day: dt.date
    start: dt.datetime
    end: dt.datetime

    @property
    def key(self) -> str:
        """The partition key: the ISO date."""
        return self.day.isoformat()


def day_window(day: dt.date, zone: ZoneInfo) -> DayWindow:
    """Return the window of `day` in `zone`, as UTC instants."""
    start = dt.datetime.combine(day, dt.time.min, tzinfo=zone)
    end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time.min, tzinfo=zone)
    return DayWindow(day, start.astimezone(dt.UTC), end.astimezone(dt.UTC))


def local_day(instant: dt.datetime, zone: ZoneInfo) -> dt.date:
    """Return the calendar day of an aware `instant` in `zone`."""
    return instant.astimezone(zone).date()


def days_between(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    """Yield each day from `first` to `last`, both included."""
    for offset in range((last - first).days + 1):
        yield first + dt.timedelta(days=offset)
