"""Rows that move to another day are counted on one day in the end, and lost on none meanwhile."""

from __future__ import annotations

import datetime as dt
import itertools
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.assets.lineage import days_of_moved_rows, stale_days
from conversation_analytics.core import schemas
from conversation_analytics.core.staleness import awaited_name
from conversation_analytics.definitions import daily_graph
from conversation_analytics.materialize import follow_ups
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job
from conversation_analytics_tests.sensors.test_nocodb_changes import Rows

if TYPE_CHECKING:
    from pathlib import Path

FIRST = dt.date(2026, 11, 2)
DAYS = [FIRST + dt.timedelta(days=number) for number in range(4)]
RAW = ["raw_messages", "raw_conversations"]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Rows:
    """A turn an hour on each of the first three days."""
    source = Rows()
    midnight = dt.datetime.combine(FIRST, dt.time(), dt.UTC)
    for hour in range(72):
        source.add(f"{hour:02d}", midnight + dt.timedelta(hours=hour))
    monkeypatch.setattr("conversation_analytics.definitions.open_source", lambda _: source)
    return source


def settings_in(folder: Path, zone: str) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_TIMEZONE": zone,
            "NOCODB_BASE_URL": "http://127.0.0.1:1",
            "NOCODB_API_TOKEN": "unused",
            "NOCODB_PROJECT_ID": "unused",
        }
    )


def read(settings: Settings, day: dt.date) -> None:
    run_job(settings, "daily", day.isoformat(), assets=RAW)


def held(settings: Settings, days: list[dt.date]) -> list[list[int]]:
    """Return the hours that each of the days holds."""
    lake = open_lake(settings)
    return [
        sorted(int(one) for one in lake.read(schemas.RAW_MESSAGES, day.isoformat())["id"])
        for day in days
    ]


def reasons(settings: Settings, days: list[dt.date]) -> dict[str, str]:
    """Return why the raw messages of days are to be read again."""
    lake, keys = open_lake(settings), [day.isoformat() for day in days]
    with closing(open_documents(settings)) as documents:
        return {
            day.key: stale.reason
            for day in stale_days(daily_graph(settings), lake, documents, settings, keys)
            for stale in day.assets
            if stale.asset == "raw_messages"
        }


@pytest.mark.usefixtures("source")
def test_days_of_a_zone_further_east_hold_each_row_once_after_one_more_look(
    tmp_path: Path,
) -> None:
    utc, east = settings_in(tmp_path, "UTC"), settings_in(tmp_path, "Asia/Shanghai")
    for day in DAYS[:3]:
        read(utc, day)
    assert set(reasons(east, DAYS[:3])) == {day.isoformat() for day in DAYS[:3]}
    for day in DAYS[:3]:
        read(east, day)
    # Each day has been read before the next one held its last eight hours.
    assert held(east, DAYS[:3])[:2] == [list(range(24)), list(range(16, 48))]
    told = {
        day.isoformat(): f"rows of it have moved to raw_messages of {after}, which has changed "
        "since"
        for day, after in itertools.pairwise(DAYS[:3])
    }
    assert reasons(east, DAYS[:3]) == told
    assert days_of_moved_rows(open_lake(east), east, map(str, DAYS[:3])) == list(told)
    runs = iter(follow_ups(east, DAYS[:3], DAYS[3]))
    first = next(runs)
    assert first.partitions is not None
    assert (first.partitions.first, first.partitions.last) == (DAYS[0], DAYS[1])
    assert {"raw_messages", "daily_report"} <= set(first.partitions.assets)

    for day in DAYS[:2]:
        read(east, day)
    # The day after the last one was never read: its rows stay, and nobody asks for them in vain.
    assert held(east, DAYS[:3]) == [
        list(range(16)), list(range(16, 40)), list(range(40, 72)),
    ]  # fmt: skip
    assert reasons(east, DAYS[:3]) == {}
    inputs = open_lake(east).stat(schemas.RAW_MESSAGES, DAYS[2].isoformat()).inputs
    assert inputs[awaited_name("raw_messages", DAYS[3].isoformat())] == ""
    read(east, DAYS[2])
    assert reasons(east, DAYS[:3]) == {}

    read(east, DAYS[3])
    assert list(reasons(east, DAYS)) == [DAYS[2].isoformat()]
    read(east, DAYS[2])
    assert held(east, DAYS)[2:] == [list(range(40, 64)), list(range(64, 72))]
    assert reasons(east, DAYS) == {}
    assert days_of_moved_rows(open_lake(east), east, map(str, DAYS)) == []


def test_a_row_that_loses_its_time_leaves_its_day_once_the_undated_rows_are_read(
    tmp_path: Path, source: Rows
) -> None:
    settings = settings_in(tmp_path, "UTC")
    read(settings, FIRST)
    source.add("00", None)
    read(settings, FIRST)
    assert held(settings, DAYS[:1]) == [list(range(24))]
    assert reasons(settings, DAYS[:1]) == {}
    run_job(settings, "undated", assets=["raw_undated_messages"])
    assert reasons(settings, DAYS[:1]) == {
        FIRST.isoformat(): "rows of it have moved to raw_undated_messages of no day, which has "
        "changed since"
    }
    read(settings, FIRST)
    assert held(settings, DAYS[:1]) == [list(range(1, 24))]
    assert reasons(settings, DAYS[:1]) == {}
