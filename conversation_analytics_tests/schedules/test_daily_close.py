from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from conversation_analytics.definitions import build_definitions
from conversation_analytics.settings import parse_settings


def requests(settings: dict[str, str], instant: str) -> list[dg.RunRequest]:
    repository = build_definitions(parse_settings(settings)).get_repository_def()
    schedule = repository.get_schedule_def("daily_close")
    context = dg.build_schedule_context(
        scheduled_execution_time=dt.datetime.fromisoformat(instant), repository_def=repository
    )
    return list(schedule.evaluate_tick(context).run_requests or [])


@pytest.mark.parametrize(
    ("instant", "day"),
    [("2026-11-21T18:15:00+00:00", "2026-11-21"), ("2026-11-22T18:15:00+00:00", "2026-11-22")],
    ids=["bangkok-01:15-on-the-22nd", "bangkok-01:15-on-the-23rd"],
)
def test_the_close_is_of_yesterday_in_the_analytics_time_zone(instant: str, day: str) -> None:
    settings = {"ANALYTICS_TIMEZONE": "Asia/Bangkok", "REREAD_DAYS": "1"}
    [request] = requests(settings, instant)
    assert request.partition_key == day


def test_older_days_are_read_again_every_night_under_another_run_key() -> None:
    first = requests({}, "2026-11-22T01:15:00+00:00")
    assert [r.partition_key for r in first] == ["2026-11-21", "2026-11-15", "2026-10-23"]
    second = requests({}, "2026-11-23T01:15:00+00:00")
    assert not {r.run_key for r in first} & {r.run_key for r in second}


def test_days_before_the_start_are_not_asked_for() -> None:
    settings = {"ANALYTICS_START_DATE": "2026-11-20"}
    assert [r.partition_key for r in requests(settings, "2026-11-22T01:15:00+00:00")] == [
        "2026-11-21"
    ]
