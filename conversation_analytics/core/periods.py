"""Weeks and months of local days: the periods that reports merge days into."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from conversation_analytics.core.windows import days_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Period(StrEnum):
    """What a report is of. A period is known by its first day, which is its partition key."""

    DAY = "day"
    WEEK = "week"
    """ISO week: Monday to Sunday, of the year that holds its Thursday."""
    MONTH = "month"

    def start_of(self, day: dt.date) -> dt.date:
        """Return the first day of the period that `day` is in."""
        if self is Period.WEEK:
            return day - dt.timedelta(days=day.weekday())
        return day.replace(day=1) if self is Period.MONTH else day

    def end_of(self, start: dt.date) -> dt.date:
        """Return the last day of the period that begins with `start`."""
        if self is Period.MONTH:
            following = start.replace(day=28) + dt.timedelta(days=4)
            return following - dt.timedelta(days=following.day)
        return start + dt.timedelta(days=6 if self is Period.WEEK else 0)

    def before(self, start: dt.date) -> dt.date:
        """Return the first day of the period before the one that begins with `start`."""
        return self.start_of(start - dt.timedelta(days=1))

    def after(self, start: dt.date) -> dt.date:
        """Return the first day of the period after the one that begins with `start`."""
        return self.end_of(start) + dt.timedelta(days=1)

    def days_of(self, start: dt.date) -> tuple[dt.date, ...]:
        """Return the days of the period that begins with `start`."""
        return tuple(days_between(start, self.end_of(start)))

    def label(self, start: dt.date) -> str:
        """Return how people call the period: 2026-11-16, 2026-W47, 2026-11."""
        if self is Period.WEEK:
            year, week, _ = start.isocalendar()
            return f"{year}-W{week:02}"
        return start.isoformat()[:7] if self is Period.MONTH else start.isoformat()


NAMES: Mapping[Period, str] = {
    Period.DAY: "daily", Period.WEEK: "weekly", Period.MONTH: "monthly",
}  # fmt: skip
"""What documents, files and jobs of a period are called."""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive days that a report is of.

    Attributes:
        first: first day.
        last: last day, included.
        period: what they are; None: any days that somebody asked for.
    """

    first: dt.date
    last: dt.date
    period: Period | None = None

    @classmethod
    def of(cls, period: Period, start: dt.date) -> Span:
        """Return the days of the period that begins with `start`."""
        return cls(start, period.end_of(start), period)

    @property
    def days(self) -> tuple[dt.date, ...]:
        """All of its days."""
        return tuple(days_between(self.first, self.last))

    def before(self) -> Span:
        """Return the period before, or as many days as these before them."""
        if self.period is not None:
            return Span.of(self.period, self.period.before(self.first))
        day = dt.timedelta(days=1)
        return Span(self.first - (self.last - self.first) - day, self.first - day)


def runs_of_days(days: Iterable[dt.date]) -> tuple[Span, ...]:
    """Put ascending days together that follow each other."""
    runs: list[Span] = []
    for day in days:
        if runs and day - runs[-1].last == dt.timedelta(days=1):
            runs[-1] = Span(runs[-1].first, day)
        else:
            runs.append(Span(day, day))
    return tuple(runs)


def starts_of(period: Period, days: Iterable[dt.date]) -> tuple[dt.date, ...]:
    """Return the first days of the periods that `days` are in, ascending, each once."""
    return tuple(sorted({period.start_of(day) for day in days}))
