from __future__ import annotations

import datetime as dt

import pytest

from conversation_analytics.core.periods import Period, Span
from conversation_analytics.reports.values import days_named, span_title


@pytest.mark.parametrize(
    ("first", "last", "title"),
    [
        ("2026-11-05", "2026-11-05", "5 November 2026"),
        ("2026-11-05", "2026-11-18", "5 to 18 November 2026"),
        ("2026-10-28", "2026-11-03", "28 October to 3 November 2026"),
        ("2026-11-05", "2027-11-05", "5 November 2026 to 5 November 2027"),
    ],
)
def test_days_are_written_as_shortly_as_is_clear(first: str, last: str, title: str) -> None:
    assert span_title(Span(dt.date.fromisoformat(first), dt.date.fromisoformat(last))) == title


def test_a_week_is_called_a_week_though_a_range_of_its_days_is_not() -> None:
    week = Span.of(Period.WEEK, dt.date(2026, 11, 16))
    assert span_title(week) == "Week 47 of 2026"
    assert span_title(Span(week.first, week.last)) == "16 to 22 November 2026"


def test_days_are_named_by_runs() -> None:
    days = [dt.date(2026, 11, day) for day in (1, 2, 4, 30)]
    assert days_named(days) == "2026-11-01 to 2026-11-02, 2026-11-04, 2026-11-30"
    assert days_named([]) == ""
