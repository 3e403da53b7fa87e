from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from conversation_analytics.definitions import build_definitions
from conversation_analytics.settings import parse_settings


@pytest.mark.parametrize(
    ("instant", "day"),
    [("2026-11-21T18:15:00+00:00", "2026-11-21"), ("2026-11-22T18:15:00+00:00", "2026-11-22")],
    ids=["bangkok-01:15-on-the-22nd", "bangkok-01:15-on-the-23rd"],
)
def test_the_close_is_of_yesterday_in_the_analytics_time_zone(instant: str, day: str) -> None:
    settings = parse_settings({"ANALYTICS_TIMEZONE": "Asia/Bangkok"})
    repository = build_definitions(settings).get_repository_def()
    schedule = repository.get_schedule_def("daily_close")
    context = dg.build_schedule_context(
        scheduled_execution_time=dt.datetime.fromisoformat(instant), repository_def=repository
    )
    [request] = schedule.evaluate_tick(context).run_requests or []
    assert (request.partition_key, request.run_key) == (day, f"close:{day}")
