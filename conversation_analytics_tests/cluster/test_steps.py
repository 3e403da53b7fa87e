"""Steps on a cluster: repeated as they ask for it, and none after a failed one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from conversation_analytics.cluster.steps import dask_steps_executor
from conversation_analytics.definitions import build_definitions
from conversation_analytics.settings import load_settings, parse_settings
from conversation_analytics_tests.platform import QUIET, run_job
from conversation_analytics_tests.test_road import hashes

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "TEST_OF_STEPS"
RANGE = {
    "dagster/asset_partition_range_start": "2026-11-09",
    "dagster/asset_partition_range_end": "2026-11-10",
}


@dg.asset
def flaky() -> int:
    mark = Path(os.environ[FOLDER]) / "tried"
    if not mark.exists():
        mark.touch()
        raise dg.RetryRequested(max_retries=1)
    return os.getpid()


@dg.asset
def broken(flaky: int) -> None:
    raise ValueError(flaky)


@dg.asset(deps=[broken])
def after() -> None:
    (Path(os.environ[FOLDER]) / "after").touch()


def three_steps() -> dg.JobDefinition:
    return dg.Definitions(
        [flaky, broken, after],
        jobs=[dg.define_asset_job("three")],
        executor=dask_steps_executor(parse_settings({"MAX_WORKERS": "1"})),
    ).resolve_job_def("three")


def daily_job() -> dg.JobDefinition:
    return build_definitions(load_settings(os.environ, None)).resolve_job_def("daily")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as found:
        yield found


def test_a_step_is_repeated_and_a_failed_one_ends_those_after_it(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with dg.execute_job(
        dg.reconstructable(three_steps), instance, run_config=QUIET, raise_on_error=False
    ) as result:
        events = [(event.step_key, event.event_type_value) for event in result.all_events]
        told = [event.message or "" for event in result.all_events if event.is_engine_event]
        (failed,) = result.get_step_failure_events()
    assert not result.success
    assert ("flaky", "STEP_RESTARTED") in events
    assert ("flaky", "STEP_SUCCESS") in events
    assert failed.step_key == "broken"
    error = failed.step_failure_data.error
    assert error is not None
    assert error.cause is not None
    assert error.cause.cls_name == "ValueError"
    assert f"{os.getpid()}" not in error.cause.message  # another process ran `flaky`
    assert ("after", "STEP_START") not in events
    assert not (tmp_path / "after").exists()
    assert any("Steps go to the Dask cluster tls://127.0.0.1:" in line for line in told)


@pytest.mark.slow
def test_every_step_on_a_cluster_leaves_the_same_bytes(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def environment(executor: str) -> dict[str, str]:
        return {
            "PARQUET_BASE_DIR": str(tmp_path / executor / "lake"),
            "SQLITE_PATH": str(tmp_path / executor / "documents.sqlite"),
            "ANALYTICS_START_DATE": "2026-11-09",
            "SAMPLE_TURNS_PER_DAY": "12",
            "SOURCE_FRESH_HOURS": "0",
            "EXECUTOR": executor,
        }

    alone = parse_settings(environment("in_process"))
    assert run_job(alone, "daily", "2026-11-09", "2026-11-10").success
    for name, value in environment("dask_steps").items():
        monkeypatch.setenv(name, value)
    with dg.execute_job(
        dg.reconstructable(daily_job), instance, run_config=QUIET, tags=RANGE
    ) as result:
        failed = [one.step_failure_data.error for one in result.get_step_failure_events()]
        assert failed == []
        assert result.success
    assert hashes(tmp_path / "dask_steps" / "lake") == hashes(tmp_path / "in_process" / "lake")
