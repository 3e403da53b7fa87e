"""Steps on a cluster: repeated as they ask for it, and none after a failed one."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from conversation_analytics.cluster.scheduler import ClusterPlace, DaskCluster
from conversation_analytics.cluster.steps import DaskStepsExecutor, dask_steps_executor
from conversation_analytics.definitions import build_definitions
from conversation_analytics.settings import load_settings, parse_settings
from conversation_analytics_tests.cluster.dask_processes import running_dask
from conversation_analytics_tests.platform import QUIET, run_job
from conversation_analytics_tests.test_road import hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = "TEST_OF_STEPS"
RUN = "TEST_OF_STEPS_RUN"
ADDRESS = "TEST_OF_STEPS_ADDRESS"
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


@dg.resource
def late_store() -> str:
    mark = Path(os.environ[FOLDER]) / "opened"
    if not mark.exists():
        mark.touch()
        raise OSError("the store does not answer")
    return "store"


@dg.resource
def no_store() -> str:
    raise OSError("there is no store")


@dg.asset(required_resource_keys={"late_store"}, retry_policy=dg.RetryPolicy(max_retries=1))
def waits_for_store() -> None:
    """Do nothing, with a store."""


@dg.asset(required_resource_keys={"no_store"})
def lacks_store() -> None:
    """Do nothing, with a store."""


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
def repeated() -> None:
    """Do nothing; what loads it fails."""


@dg.asset(deps=[repeated])
def next_one() -> None:
    (Path(os.environ[FOLDER]) / "next").touch()


@dg.asset(op_tags={"dagster-dask/resource_requirements": '{"GPU": 1}'})
def wants_a_gpu() -> None:
    """Do nothing, on a worker that offers a GPU."""


@dg.asset
def simple() -> None:
    """Do nothing."""


@dg.asset(deps=[simple])
def ends_its_worker() -> None:
    if os.environ[RUN] != f"{os.getpid()}":
        os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@dg.executor(name="impatient", requirements=dg.multiple_process_executor_requirements())
def impatient(_: dg.InitExecutorContext) -> DaskStepsExecutor:
    place = ClusterPlace(os.environ[ADDRESS], 1, no_workers_s=2)
    return DaskStepsExecutor(place, parse_settings({}), again_s=0)


def nobody_for_two() -> dg.JobDefinition:
    return dg.Definitions(
        [wants_a_gpu, simple, ends_its_worker],
        jobs=[dg.define_asset_job("nobody")],
        executor=impatient,
    ).resolve_job_def("nobody")


def two_stores() -> dg.JobDefinition:
    return dg.Definitions(
        [waits_for_store, lacks_store],
        jobs=[dg.define_asset_job("stores")],
        resources={"late_store": late_store, "no_store": no_store},
        executor=dask_steps_executor(parse_settings({"MAX_WORKERS": "1"})),
    ).resolve_job_def("stores")


@dg.executor(name="at_once", requirements=dg.multiple_process_executor_requirements())
def at_once(_: dg.InitExecutorContext) -> DaskStepsExecutor:
    return DaskStepsExecutor(ClusterPlace("", 1), parse_settings({}), again_s=0)


def two_ones() -> dg.JobDefinition:
    return dg.Definitions(
        [repeated, next_one], jobs=[dg.define_asset_job("two")], executor=at_once
    ).resolve_job_def("two")


def in_a_worker() -> bool:
    return os.environ[RUN] != f"{os.getpid()}"


def always_locked() -> dg.JobDefinition:
    """Return two steps; a worker that asks finds a database locked."""
    if in_a_worker():
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))
    return two_ones()


def once_locked() -> dg.JobDefinition:
    """Return two steps; the first one that asks in a worker finds a database locked."""
    mark = Path(os.environ[FOLDER]) / "asked"
    if in_a_worker() and not mark.exists():
        mark.touch()
        return always_locked()
    return two_ones()


def never_loads() -> dg.JobDefinition:
    """Return two steps; in a worker there are none."""
    if in_a_worker():
        raise KeyError("two")
    return two_ones()


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


def test_a_resource_that_does_not_open_repeats_or_fails_its_step(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    # Not in a `with`: that opens the resources here.
    result = dg.execute_job(
        dg.reconstructable(two_stores), instance, run_config=QUIET, raise_on_error=False
    )
    events = [(event.step_key, event.event_type_value) for event in result.all_events]
    (failed,) = result.get_step_failure_events()
    assert not result.success
    assert failed.step_key == "lacks_store"
    error = failed.step_failure_data.error
    assert error is not None
    assert "there is no store" in error.to_string()
    assert ("waits_for_store", "STEP_UP_FOR_RETRY") in events
    assert ("waits_for_store", "STEP_SUCCESS") in events


@pytest.mark.parametrize(
    ("job", "error", "repeats"),
    [
        pytest.param(always_locked, "database is locked", 2, id="records locked, for ever"),
        pytest.param(never_loads, "KeyError: 'two'", 1, id="as the step's own policy asks"),
    ],
)
def test_whatever_a_steps_process_raises_is_an_event_of_the_step(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    job: Callable[[], dg.JobDefinition], error: str, repeats: int,
) -> None:  # fmt: skip
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(RUN, f"{os.getpid()}")
    with dg.execute_job(
        dg.reconstructable(job), instance, run_config=QUIET, raise_on_error=False
    ) as result:
        again = [event for event in result.all_events if event.is_step_up_for_retry]
        (failed,) = result.get_step_failure_events()
    assert not result.success
    assert failed.step_key == "repeated"
    assert [event.step_key for event in again] == ["repeated"] * repeats
    assert again[0].step_retry_data.error is not None
    assert error in again[0].step_retry_data.error.to_string()
    assert not (tmp_path / "next").exists()


def test_records_that_are_locked_for_a_moment_fail_no_step(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(RUN, f"{os.getpid()}")
    with dg.execute_job(
        dg.reconstructable(once_locked), instance, run_config=QUIET, raise_on_error=False
    ) as result:
        again = [event for event in result.all_events if event.is_step_up_for_retry]
    assert result.success
    assert [event.step_key for event in again] == ["repeated"]
    assert (tmp_path / "next").exists()


def test_a_worker_with_other_settings_runs_no_step(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(RUN, f"{os.getpid()}")
    monkeypatch.setenv("RETENTION_RAW_DAYS", "99")  # of the workers; the run has none
    monkeypatch.setenv("LOG_LEVEL", "WARNING")  # may differ
    with dg.execute_job(
        dg.reconstructable(two_ones), instance, run_config=QUIET, raise_on_error=False
    ) as result:
        (failed,) = result.get_step_failure_events()
    error = failed.step_failure_data.error
    assert error is not None
    assert error.cls_name == "WorkerMismatchError"
    assert "got others for RETENTION_RAW_DAYS: give" in error.message


def test_a_step_that_no_worker_can_run_fails_after_the_wait(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUN, f"{os.getpid()}")
    there = {"PYTHONPATH": str(Path(__file__).parents[2]), RUN: f"{os.getpid()}"}
    with running_dask(tmp_path, workers=1, environment=there) as dask:
        monkeypatch.setenv(ADDRESS, dask.address)
        first = DaskCluster(ClusterPlace(dask.address, 1))
        first.open()  # waits longer for the worker
        first.close()
        result = dg.execute_job(
            dg.reconstructable(nobody_for_two), instance, run_config=QUIET, raise_on_error=False
        )
    failed = {one.step_key: one.step_failure_data.error for one in result.get_step_failure_events()}
    assert {key: error and error.cls_name for key, error in failed.items()} == {
        "wants_a_gpu": "ClusterUnavailableError",
        "ends_its_worker": "ClusterUnavailableError",
    }
    done = [event.step_key for event in result.all_events if event.is_step_success]
    assert done == ["simple"]
    gpu, lost = failed["wants_a_gpu"], failed["ends_its_worker"]
    assert gpu is not None
    assert "expected a worker that offers GPU=1, got none in 2 s" in gpu.message
    assert lost is not None
    assert "expected a worker, got none in 2 s: start one with `dask worker tcp:" in lost.message


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
