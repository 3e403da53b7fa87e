from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.windows import day_window, days_between, local_day

ZONES = ("UTC", "Asia/Bangkok", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe")


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-22", 24)],
    ids=["spring-forward", "fall-back", "plain"],
)
def test_a_day_in_berlin_has_the_hours_of_its_clock_change(day: str, hours: int) -> None:
    window = day_window(dt.date.fromisoformat(day), ZoneInfo("Europe/Berlin"))
    assert (window.end - window.start) == dt.timedelta(hours=hours)


@given(
    day=st.dates(dt.date(2000, 1, 1), dt.date(2040, 1, 1)),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
)
def test_days_tile_time_without_gap_or_overlap(day: dt.date, zone: ZoneInfo) -> None:
    window = day_window(day, zone)
    assert window.end == day_window(day + dt.timedelta(days=1), zone).start
    assert local_day(window.start, zone) == day
    assert local_day(window.end - dt.timedelta(microseconds=1), zone) == day


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00", 23),  # no midnight that day
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00", 25),  # midnight comes twice
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00", 24.5),
        ("Asia/Kathmandu", "2026-11-22", "2026-11-21T18:15:00", 24),
    ],
)
def test_days_whose_midnight_is_odd(zone: str, day: str, start: str, hours: float) -> None:
    window = day_window(dt.date.fromisoformat(day), ZoneInfo(zone))
    assert window.start == dt.datetime.fromisoformat(start).replace(tzinfo=dt.UTC)
    assert window.end - window.start == dt.timedelta(hours=hours)


def test_days_between_includes_both_ends() -> None:
    days = list(days_between(dt.date(2026, 2, 27), dt.date(2026, 3, 1)))
    assert [day.isoformat() for day in days] == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert list(days_between(dt.date(2026, 3, 1), dt.date(2026, 2, 27))) == []
