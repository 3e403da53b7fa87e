"""Runs in processes of their own, a step each, leave the same bytes as a run in one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from conversation_analytics.definitions import build_definitions
from conversation_analytics.settings import load_settings, parse_settings
from conversation_analytics_tests.platform import QUIET, run_job
from conversation_analytics_tests.test_road import hashes

if TYPE_CHECKING:
    from pathlib import Path

FIRST, LAST = "2026-11-09", "2026-11-10"
RANGE = {
    "dagster/asset_partition_range_start": FIRST,
    "dagster/asset_partition_range_end": LAST,
}


def environment(folder: Path, executor: str) -> dict[str, str]:
    return {
        "PARQUET_BASE_DIR": str(folder / "lake"),
        "SQLITE_PATH": str(folder / "documents.sqlite"),
        "ANALYTICS_START_DATE": FIRST,
        "SAMPLE_TURNS_PER_DAY": "12",
        "SOURCE_FRESH_HOURS": "0",
        "EXECUTOR": executor,
    }


def daily_job() -> dg.JobDefinition:
    """What each step's process loads; the settings are in its environment."""
    return build_definitions(load_settings(os.environ, None)).resolve_job_def("daily")


@pytest.mark.slow  # twenty processes
def test_steps_in_processes_of_their_own_leave_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, forked = tmp_path / "in_process", tmp_path / "multiprocess"
    assert run_job(parse_settings(environment(alone, "in_process")), "daily", FIRST, LAST).success
    for name, value in environment(forked, "multiprocess").items():
        monkeypatch.setenv(name, value)
    with dg.instance_for_test() as instance:
        result = dg.execute_job(
            dg.reconstructable(daily_job), instance, run_config=QUIET, tags=RANGE
        )
        started = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_START)
        processes = {one.dagster_event.pid for one in started if one.dagster_event}
    assert result.success
    assert len(processes) == len(started) > 3
    assert hashes(forked / "lake") == hashes(alone / "lake")
