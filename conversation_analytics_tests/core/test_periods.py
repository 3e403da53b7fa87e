"""Weeks and months against the calendar of the standard library."""

from __future__ import annotations

import calendar
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.periods import Period, starts_of

days = st.dates(dt.date(1971, 1, 1), dt.date(2199, 12, 31))


@given(day=days)
def test_a_week_is_the_iso_week(day: dt.date) -> None:
    start = Period.WEEK.start_of(day)
    week = Period.WEEK.days_of(start)
    assert len(week) == 7
    assert day in week
    assert {one.isocalendar()[:2] for one in week} == {day.isocalendar()[:2]}
    assert Period.WEEK.label(start) == f"{start:%G-W%V}"


@given(day=days)
def test_a_month_is_the_calendar_month(day: dt.date) -> None:
    start = Period.MONTH.start_of(day)
    month = Period.MONTH.days_of(start)
    assert len(month) == calendar.monthrange(day.year, day.month)[1]
    assert day in month
    assert {(one.year, one.month) for one in month} == {(day.year, day.month)}
    assert Period.MONTH.label(start) == f"{day:%Y-%m}"


@given(day=days, period=st.sampled_from(Period))
def test_periods_follow_each_other_without_a_gap(day: dt.date, period: Period) -> None:
    start = period.start_of(day)
    before = period.before(start)
    assert period.end_of(before) + dt.timedelta(days=1) == start
    assert period.start_of(period.end_of(start)) == start
    assert starts_of(period, [day, start, before]) == (before, start)


@pytest.mark.parametrize(
    ("period", "start", "label"),
    [
        (Period.DAY, dt.date(2026, 11, 16), "2026-11-16"),
        (Period.WEEK, dt.date(2026, 11, 16), "2026-W47"),
        (Period.WEEK, dt.date(2026, 12, 28), "2026-W53"),  # ends in 2027
        (Period.WEEK, dt.date(2024, 12, 30), "2025-W01"),  # begins in 2024
        (Period.MONTH, dt.date(2026, 11, 1), "2026-11"),
    ],
)
def test_labels_are_what_people_say(period: Period, start: dt.date, label: str) -> None:
    assert period.label(start) == label
