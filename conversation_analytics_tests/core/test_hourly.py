from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.core.hourly import hourly_turns
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics_tests.core.metric_rows import messages_frame, turn
from conversation_analytics_tests.oracles import metrics_sql


def test_turns_fall_on_local_hours_without_debugger_rows() -> None:
    times = [
        dt.datetime(2026, 11, 22, 17, 30, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 22, 17, 59, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 22, 3, 0, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 22, 4, 0, tzinfo=dt.UTC),
    ]
    rows = pl.DataFrame(
        {"created_at": times, "invoke_from": [None, "web-app", "service-api", "debugger"]},
        schema_overrides={"created_at": MESSAGES.polars["created_at"]},
    )
    result = hourly_turns(rows.lazy(), "Asia/Bangkok").collect()
    assert result.rows() == [(0, 2), (10, 1)]


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
def test_hours_agree_with_sql_around_clock_changes(zone: str, times: list[dt.datetime]) -> None:
    origins = ("debugger", None, "web-app")
    rows = [
        turn(created_at=time.replace(tzinfo=dt.UTC), invoke_from=origins[number % 3])
        for number, time in enumerate(times)
    ]
    messages = messages_frame(rows)
    assert hourly_turns(messages, zone).collect().rows() == metrics_sql.hours(
        messages.collect(), zone
    )
