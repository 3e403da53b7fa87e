"""Weeks and months against the calendar of the standard library."""

from __future__ import annotations

import calendar
import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.periods import Period, Span, runs_of_days, starts_of

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


@given(
    first=st.dates(dt.date(1999, 1, 1), dt.date(2100, 1, 1)),
    length=st.integers(1, 400),
)
def test_any_days_stand_beside_as_many_days_just_before_them(first: dt.date, length: int) -> None:
    span = Span(first, first + dt.timedelta(days=length - 1))
    before = span.before()
    assert len(span.days) == len(before.days) == length
    assert before.last + dt.timedelta(days=1) == span.first


def test_the_days_of_a_period_stand_beside_the_period_before() -> None:
    march = Span.of(Period.MONTH, dt.date(2026, 3, 1))
    assert march.last == dt.date(2026, 3, 31)
    assert march.before() == Span(dt.date(2026, 2, 1), dt.date(2026, 2, 28), Period.MONTH)


@given(days=st.sets(st.dates(dt.date(2026, 1, 1), dt.date(2026, 3, 31))))
def test_runs_of_days_hold_each_day_once_and_do_not_touch(days: set[dt.date]) -> None:
    runs = runs_of_days(sorted(days))
    assert [day for run in runs for day in run.days] == sorted(days)
    for one, following in itertools.pairwise(runs):
        assert following.first - one.last > dt.timedelta(days=1)
