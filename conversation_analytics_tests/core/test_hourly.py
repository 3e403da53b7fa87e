from __future__ import annotations

import datetime as dt

import polars as pl

from conversation_analytics.core.hourly import hourly_turns
from conversation_analytics.core.schemas import MESSAGES


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
