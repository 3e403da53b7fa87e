"""Runs in processes of their own, a step each, leave the same bytes as a run in one."""

from __future__ import annotations

import multiprocessing.forkserver
import os
from pathlib import Path

import dagster as dg
import pytest

from conversation_analytics.core.lanes import LANE_TAG
from conversation_analytics.definitions import build_definitions
from conversation_analytics.executors.lanes_definition import LaneDefaults, defaults_of
from conversation_analytics.executors.local import build_executor
from conversation_analytics.settings import load_settings, parse_settings
from conversation_analytics_tests.platform import QUIET, run_job
from conversation_analytics_tests.test_road import hashes

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


@pytest.mark.slow  # twenty processes, or a whole run in two
@pytest.mark.parametrize("executor", ["multiprocess", "lanes"])
def test_steps_in_other_processes_leave_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    alone, forked = tmp_path / "in_process", tmp_path / "forked"
    assert run_job(parse_settings(environment(alone, "in_process")), "daily", FIRST, LAST).success
    for name, value in environment(forked, executor).items():
        monkeypatch.setenv(name, value)
    # Dagster's steps have the environment in which the fork server of this process began, and an
    # earlier test may have begun it; a run has a process of its own.
    multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]
    with dg.instance_for_test() as instance:
        result = dg.execute_job(
            dg.reconstructable(daily_job), instance, run_config=QUIET,
            tags=RANGE | ({LANE_TAG: "cpu"} if executor == "lanes" else {}),
        )  # fmt: skip
        started = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_START)
        processes = {one.dagster_event.pid for one in started if one.dagster_event}
    assert result.success
    assert os.getpid() not in processes
    assert len(processes) == (2 if executor == "lanes" else len(started))
    assert hashes(forked / "lake") == hashes(alone / "lake")


def test_every_executor_is_the_one_that_is_named() -> None:
    for name in ("lanes", "in_process", "multiprocess"):
        assert build_executor(parse_settings({"EXECUTOR": name})).name == name


def test_the_settings_are_the_defaults_of_a_run() -> None:
    settings = parse_settings(
        {"MAX_WORKERS": "7", "ENABLE_GPU": "true", "GPU_MEMORY_LIMIT": "8GiB",
         "GPU_MIN_ROWS": "5", "CUDA_VISIBLE_DEVICES": "1", "GPU_LEASE_FOLDER": "/run/leases"}
    )  # fmt: skip
    expected = LaneDefaults(7, True, 5, 8 * 2**30, "1", Path("/run/leases"))  # noqa: FBT003
    assert defaults_of(settings) == expected
    assert defaults_of(parse_settings({})) == LaneDefaults()
