"""Weeks of topics: found in order, and again where their messages or the week before changed."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.materialize import PlannedRun, follow_ups, look_for_stale_topics
from conversation_analytics.resources.connections import open_lake
from conversation_analytics_tests.assets.topic_weeks import topic_settings, write_day
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.settings import Settings

WEEK = dt.timedelta(weeks=1)
FIRST = dt.date(2026, 11, 2)
SECOND, THIRD = FIRST + WEEK, FIRST + 2 * WEEK
OVER = THIRD + WEEK
"""A day on which all three weeks are over."""
DAYS = [one + dt.timedelta(days=day) for one in (FIRST, SECOND, THIRD) for day in (0, 2)]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = topic_settings(tmp_path, FIRST)
    for day in DAYS:
        write_day(open_lake(made), day, {"refund": 9, "parcel": 9, "password": 9})
    return made


def stale(settings: Settings, today: dt.date = OVER, *days: dt.date) -> dict[str, str]:
    """Return why the topics of weeks are stale, by week."""
    return {
        one.label: one.assets[0].reason
        for one in look_for_stale_topics(settings, days or DAYS, today)
    }


def run(settings: Settings, planned: PlannedRun, instance: dg.DagsterInstance) -> str:
    first = last = None
    if planned.partitions is not None:
        first, last = planned.partitions.first.isoformat(), planned.partitions.last.isoformat()
    run_job(settings, planned.job, first, last, instance=instance)
    return f"{planned.job} {planned.label}"


def follow(
    settings: Settings, instance: dg.DagsterInstance, *days: dt.date, today: dt.date = OVER
) -> list[str]:
    """Make what follows from changed days, as `run`, `backfill` and `repair` do."""
    return [run(settings, one, instance) for one in follow_ups(settings, days or DAYS, today)]


def test_weeks_that_are_over_are_made_in_order_and_are_then_as_they_should_be(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    assert stale(settings, THIRD + dt.timedelta(days=6)) == {
        "2026-W45": "missing", "2026-W46": "missing",
    }  # fmt: skip
    sunday = THIRD + dt.timedelta(days=6)
    assert follow(settings, instance, today=sunday) == ["topics 2026-W45 to 2026-W46"]
    assert follow(settings, instance) == ["topics 2026-W47"]
    assert stale(settings) == {}
    assert follow(settings, instance) == []
    lake = open_lake(settings)
    weeks = [lake.read(TOPICS, one.isoformat()) for one in (FIRST, SECOND, THIRD)]
    assert {tuple(one.filter("shown")["topic_id"]) for one in weeks} == {
        ("2026-11-02-001", "2026-11-02-002", "2026-11-02-003")
    }
    # Of a week that was made in the same run, and of one that was not.
    for key, before in ((SECOND, FIRST), (THIRD, SECOND)):
        recorded = lake.stat(TOPICS, key.isoformat()).inputs
        assert recorded[f"topics/{before}"] == lake.stat(TOPICS, before.isoformat()).sha256


def test_a_changed_day_makes_its_week_again_and_later_ones_only_where_topics_changed(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    follow(settings, instance)
    lake = open_lake(settings)
    digests = [lake.stat(TOPICS, one.isoformat()).sha256 for one in (FIRST, SECOND, THIRD)]

    # A day is written again with other bytes but the same texts: the next week stays.
    held, info = lake.read_with_info(MESSAGES, FIRST.isoformat())
    lake.write(MESSAGES, FIRST.isoformat(), held.with_columns(latency_s=1.0), inputs=info.inputs)
    assert stale(settings) == {"2026-W45": f"messages/{FIRST} has changed since"}
    assert follow(settings, instance, FIRST) == ["topics 2026-W45"]
    assert [lake.stat(TOPICS, one.isoformat()).sha256 for one in (FIRST, SECOND, THIRD)] == digests

    # New conversations came: what goes on from this week is found again, to the end.
    write_day(lake, FIRST, {"refund": 9, "parcel": 9, "password": 9, "weather": 9})
    assert stale(settings) == {"2026-W45": f"messages/{FIRST} has changed since"}
    assert follow(settings, instance, FIRST) == [
        "topics 2026-W45", "topics 2026-W46", "topics 2026-W47",
    ]  # fmt: skip
    assert stale(settings) == {}


def test_a_new_day_another_limit_and_a_lost_table_make_weeks_stale(
    tmp_path: Path, settings: Settings, instance: dg.DagsterInstance
) -> None:
    follow(settings, instance)
    lake = open_lake(settings)
    friday = SECOND + dt.timedelta(days=4)
    write_day(lake, friday, {"refund": 3})
    assert stale(settings) == {"2026-W46": f"messages/{friday} has changed since"}
    assert stale(settings, OVER, THIRD) == {}
    follow(settings, instance)
    other = topic_settings(tmp_path, FIRST, TOPIC_MIN_USERS="4")
    assert set(stale(other)) == {"2026-W45", "2026-W46", "2026-W47"}
    folder = f"{CONVERSATION_TOPICS.name}/year=2026/month=11/day=16"
    lake.objects.delete(f"{folder}/part-000.parquet")
    assert stale(settings) == {"2026-W47": "missing"}
    assert follow(settings, instance) == ["topics 2026-W47"]


def test_a_week_that_fails_is_tried_once_and_keeps_no_other_from_being_made(
    settings: Settings,
) -> None:
    """Nothing is made here, as if every run failed: the runs come to an end all the same."""
    planned = [one.label for one in follow_ups(settings, DAYS, OVER)]
    assert planned == ["2026-W45 to 2026-W47"]
