from __future__ import annotations

import datetime as dt
from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.core.hourly import hourly_turns, hours_of_week
from conversation_analytics.core.partials import PartialOptions
from conversation_analytics_tests.core.metric_rows import messages_frame, partials_of, turn
from conversation_analytics_tests.oracles import metrics_sql


def test_turns_fall_on_local_hours_without_debugger_rows() -> None:
    times = [
        (dt.datetime(2026, 11, 22, 17, 30, tzinfo=dt.UTC), None),  # Monday 00:30 there
        (dt.datetime(2026, 11, 22, 17, 59, tzinfo=dt.UTC), "web-app"),
        (dt.datetime(2026, 11, 22, 3, 0, tzinfo=dt.UTC), "service-api"),
        (dt.datetime(2026, 11, 22, 4, 0, tzinfo=dt.UTC), "debugger"),
    ]
    rows = [turn(created_at=time, invoke_from=origin) for time, origin in times]
    partials = partials_of([], rows, options=PartialOptions("Asia/Bangkok")).collect()
    assert hourly_turns(partials).rows() == [(0, 2), (10, 1)]
    assert hours_of_week(partials).rows() == [(0, 2), (6 * 24 + 10, 1)]


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu"]
)
@settings(deadline=None, max_examples=15)
@given(
    st.lists(
        st.datetimes(dt.datetime(2026, 3, 28), dt.datetime(2026, 3, 30))  # noqa: DTZ001 - made aware below
        | st.datetimes(dt.datetime(2026, 10, 24), dt.datetime(2026, 11, 2)),  # noqa: DTZ001 - made aware below
        max_size=20,
    )
)
def test_hours_agree_with_sql_and_python_around_clock_changes(
    zone: str, times: list[dt.datetime]
) -> None:
    origins = ("debugger", None, "web-app")
    rows = [
        turn(created_at=time.replace(tzinfo=dt.UTC), invoke_from=origins[number % 3])
        for number, time in enumerate(times)
    ]
    partials = partials_of([], rows, options=PartialOptions(zone)).collect()
    assert hourly_turns(partials).rows() == metrics_sql.hours(messages_frame(rows).collect(), zone)
    local = [
        row["created_at"].astimezone(ZoneInfo(zone))
        for row in rows
        if row["invoke_from"] != "debugger"
    ]
    counted = Counter(24 * time.weekday() + time.hour for time in local)
    assert hours_of_week(partials).rows() == sorted(counted.items())
