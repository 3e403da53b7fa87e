"""Days that are held from before ANALYTICS_START_DATE keep no sensor from its work."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.schemas import DAILY_PARTIALS, RAW_CONVERSATIONS, RAW_MESSAGES
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.assets.topic_weeks import write_day

if TYPE_CHECKING:
    from pathlib import Path

YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
BEFORE = YESTERDAY - dt.timedelta(days=32)
"""Looked at by the sensors, and of an earlier week and an earlier month."""


def settings_in(folder: Path, first: dt.date) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "NOCODB_BASE_URL": "http://127.0.0.1:1",
            "NOCODB_API_TOKEN": "unused",
            "NOCODB_PROJECT_ID": "unused",
            "NOCODB_RESULTS_TABLE": "results",
            "ANALYTICS_START_DATE": first.isoformat(),
            "SENSOR_MAX_RUNS": "9",
        }
    )


def asked_for(sensor: str, settings: Settings, instance: dg.DagsterInstance) -> set[str | None]:
    """Return the partitions that a tick asks for, once Dagster has looked at them."""
    repository = build_definitions(settings).get_repository_def()
    documents = open_documents(settings)
    with dg.build_sensor_context(
        resources={"lake": open_lake(settings), "documents": documents},
        repository_def=repository,
        instance=instance,
    ) as context:
        found = repository.get_sensor_def(sensor).evaluate_tick(context)
    documents.close()
    return {one.partition_key for one in found.run_requests or []}


@pytest.mark.parametrize(
    "sensor", ["repair_stale", "merge_periods", "find_topics_again", "send_results"]
)
def test_days_before_the_first_one_are_left_out(tmp_path: Path, sensor: str) -> None:
    lake = open_lake(settings_in(tmp_path, BEFORE))
    for day in (BEFORE, YESTERDAY):
        write_day(lake, day, {"refund": 6})
        for table in (
            RAW_MESSAGES, RAW_CONVERSATIONS, DAILY_PARTIALS, MESSAGE_LANGUAGE, CATEGORIES,
        ):  # fmt: skip
            lake.write(table, day.isoformat(), table.empty())
    with dg.DagsterInstance.ephemeral() as instance:
        early = asked_for(sensor, settings_in(tmp_path, BEFORE), instance)
        assert min(key for key in early if key) <= BEFORE.isoformat()
        late = asked_for(sensor, settings_in(tmp_path, YESTERDAY), instance)
    assert late or sensor == "find_topics_again"  # yesterday's week may not be over
    assert all(key is not None and key > BEFORE.isoformat() for key in late)
