"""The executor with lanes on pretended devices: its processes, pipes and locks are real."""

from __future__ import annotations

import errno
import multiprocessing.context
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.test_utils import instance_for_test

from conversation_analytics.executors import lanes
from conversation_analytics.executors.devices import try_lease
from conversation_analytics.executors.workers import PRELOAD, Worker, start_cpu_worker
from conversation_analytics_tests.executors import pretended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from conversation_analytics.executors.orders import WorkerSetup

Facts = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test() as opened:
        yield opened


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pretended.FOLDER, str(tmp_path))
    monkeypatch.setenv(pretended.DEVICES, "good-0")


def config(tmp_path: Path, **executor: Any) -> dict[str, Any]:
    gpu = {"lease_folder": str(tmp_path / "leases"), **executor.pop("gpu", {})}
    return {
        "loggers": pretended.QUIET,
        "execution": {"config": {"gpu": gpu, **executor}},
    }


def execute(
    job: Callable[[], dg.JobDefinition],
    instance: dg.DagsterInstance,
    tmp_path: Path,
    tags: Mapping[str, str] | None = None,
    **executor: Any,
) -> dg.JobExecutionResult:
    return dg.execute_job(
        dg.reconstructable(job), instance, run_config=config(tmp_path, **executor), tags=tags
    )


def observed(result: dg.JobExecutionResult) -> Facts:
    """What each step has said of itself, the last time it did."""
    found: Facts = {}
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION:
            seen = event.asset_observation_data.asset_observation
            found[seen.asset_key.path[-1]] = {
                name: value.value for name, value in seen.metadata.items()
            }
    return found


def types_of(result: dg.JobExecutionResult, step: str) -> list[str]:
    return [event.event_type_value for event in result.all_events if event.step_key == step]


def test_each_lane_has_its_process_and_engine(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = execute(
        pretended.three_lanes, instance, tmp_path, gpu={"memory_limit_bytes": 3_000_000}
    )
    seen = observed(result)
    assert result.success
    assert seen["inline_step"]["pid"] == os.getpid()
    assert len({one["pid"] for one in seen.values()}) == 3
    assert [seen[name]["engine"] for name in ("inline_step", "cpu_step", "gpu_step")] == [
        "cpu", "cpu", "gpu",
    ]  # fmt: skip
    gpu = seen["gpu_step"]
    assert (gpu["device"], gpu["visible"], gpu["limit"]) == ("good-0", "good-0", 3_000_000)
    assert {one["limit"] for name, one in seen.items() if name != "gpu_step"} == {0}


def test_a_cpu_worker_finds_what_a_step_needs_in_the_fork_server(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """What it has to load by itself is paid by every run: 130 ms at the last time."""
    assert execute(pretended.modules_of_a_worker, instance, tmp_path).success
    loads = "import importlib, sys; [*map(importlib.import_module, sys.argv[1:])]"
    preloaded = subprocess.run(
        [
            sys.executable, "-W", "ignore", "-c", f"{loads}; print(*sys.modules)",
            *PRELOAD, pretended.__name__,
        ],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    of_libraries = ("dagster", "dagster_shared", "fsspec", "polars", "sqlalchemy", "upath")
    by_itself = {
        name
        for name in (tmp_path / "modules").read_text().split()
        if name.partition(".")[0] in of_libraries
    }
    assert by_itself
    tests_own = {"dagster._utils.test", "dagster._utils.test.definitions"}
    assert by_itself - set(preloaded) <= tests_own


def test_a_gpu_worker_begins_once_a_run_not_once_a_step(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    seen = observed(execute(pretended.gpu_chain, instance, tmp_path))
    assert {one["engine"] for one in seen.values()} == {"gpu"}
    assert len(seen) == 3
    assert len({one["pid"] for one in seen.values()}) == 1
    assert len(list(tmp_path.glob("opened-*"))) == 1  # the engine, too


def test_steps_are_on_several_devices_at_once(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretended.DEVICES, "good-0 good-1")
    seen = observed(execute(pretended.gpu_pair, instance, tmp_path))
    assert {one["device"] for one in seen.values()} == {"good-0", "good-1"}
    assert {one["visible"] for one in seen.values()} == {"good-0", "good-1"}


@pytest.mark.parametrize(
    ("devices", "because", "retries"),
    [
        pytest.param("", "no device is visible to this process", "enabled", id="no device"),
        pytest.param("absent-0", "absent-0: there is none", "enabled", id="no engine"),
        pytest.param("full-0", "9 GiB asked, 8 GiB there", "enabled", id="out of memory"),
        pytest.param("picky-0", "takes no `pivot`", "enabled", id="plan not translated"),
        pytest.param("deadly-0", "SIGKILL", "enabled", id="worker killed"),
        pytest.param("full-0", "9 GiB asked", "disabled", id="out of memory, without retries"),
        pytest.param("deadly-0", "SIGKILL", "disabled", id="worker killed, without retries"),
    ],
)
def test_what_a_device_cannot_do_is_done_on_the_cpu(
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    devices: str,
    because: str,
    retries: str,
) -> None:
    monkeypatch.setenv(pretended.DEVICES, devices)
    result = execute(pretended.gpu_alone, instance, tmp_path, retries={retries: {}})
    assert result.success
    step = observed(result)["only"]
    assert (step["engine"], step["sum"], step["attempt"]) == ("cpu-streaming", 3, 0)
    assert because in step["because"]
    begun = devices.partition("-")[0] in {"full", "picky", "deadly"}
    assert (step["pid"] != os.getpid()) is begun  # what has failed does not endanger the run
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.SUCCESS


def test_a_device_that_kills_its_workers_is_left_alone(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretended.DEVICES, "deadly-0")
    result = execute(pretended.gpu_chain, instance, tmp_path)
    assert "2 of its workers were lost" in observed(result)["third"]["because"]
    assert len(list(tmp_path.glob("opened-*"))) == 2


def test_a_worker_whose_device_has_failed_gets_no_other_step(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretended.DEVICES, "once-0")
    seen = observed(execute(pretended.gpu_chain, instance, tmp_path))
    assert [seen[name]["engine"] for name in ("first", "second", "third")] == [
        "cpu-streaming", "gpu", "gpu",
    ]  # fmt: skip
    assert len(list(tmp_path.glob("opened-*"))) == 2


def test_a_device_that_fails_in_every_process_is_left_alone(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretended.DEVICES, "broken-0")
    seen = observed(execute(pretended.gpu_chain, instance, tmp_path))
    assert "its context is broken" in seen["second"]["because"]
    assert "2 of its workers were lost" in seen["third"]["because"]
    assert len(list(tmp_path.glob("opened-*"))) == 2


def test_the_move_to_the_cpu_takes_no_retry_from_the_step(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretended.DEVICES, "full-0")
    result = execute(pretended.retried, instance, tmp_path)
    assert result.success
    assert observed(result)["once_more"] | {"pid": 0} == {
        "pid": 0, "engine": "cpu-streaming", "device": "", "sum": 3, "visible": "unset",
        "limit": 0, "attempt": 1,
        "because": "DeviceMemoryError: device full-0: 9 GiB asked, 8 GiB there",
    }  # fmt: skip


def test_an_engine_error_within_a_storage_does_not_wait(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretended.DEVICES, "full-0")
    result = execute(pretended.storing, instance, tmp_path)
    retries = [one for one in result.all_events if one.is_step_up_for_retry]
    assert result.success
    assert [one.step_retry_data.seconds_to_wait for one in retries] == [None]
    assert observed(result)["in_a_storage"]["engine"] == "cpu-streaming"


def test_mistakes_of_the_code_fail_in_every_lane_and_are_not_repeated(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    result = execute(pretended.wrong, instance, tmp_path)
    assert not result.success
    failed = {event.step_key for event in result.get_step_failure_events()}
    assert failed == {"wrong_inline", "wrong_cpu", "wrong_gpu"}
    for step in failed:
        assert step
        assert types_of(result, step).count("STEP_START") == 1
    assert len(list(tmp_path.glob("opened-*"))) == 1  # it was on the device


def test_a_cpu_worker_that_dies_fails_its_step(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (failure,) = execute(pretended.dead, instance, tmp_path).get_step_failure_events()
    assert failure.step_failure_data.error
    assert "SIGKILL" in failure.step_failure_data.error.message


@pytest.mark.parametrize("processes", [0, 1], ids=["none can be made", "one can be made"])
def test_where_no_process_can_be_made_the_steps_run_in_those_that_there_are(
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processes: int,
) -> None:
    asked: list[WorkerSetup] = []

    def start(setup: WorkerSetup) -> Worker:
        asked.append(setup)
        if len(asked) > processes:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return start_cpu_worker(setup)

    monkeypatch.setattr(lanes, "start_cpu_worker", start)
    result = execute(pretended.cpu_pair, instance, tmp_path)
    assert result.success
    assert len(asked) > processes
    pids = {one["pid"] for one in observed(result).values()}
    assert len(pids) == 1
    assert (pids == {os.getpid()}) is (processes == 0)


def test_a_fork_server_that_cannot_fork_is_an_error_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dead(*_: object) -> None:
        raise EOFError

    monkeypatch.setattr(multiprocessing.context.ForkServerProcess, "_Popen", staticmethod(dead))
    setup: Any = None
    with pytest.raises(OSError, match="no process for a CPU worker: EOFError"):
        start_cpu_worker(setup)


def test_a_cpu_worker_that_dies_is_retried_as_the_step_says(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    result = execute(pretended.dying, instance, tmp_path)
    assert result.success
    assert observed(result)["dies_cpu"]["attempt"] == 1


@pytest.mark.parametrize(
    ("job", "engine"),
    [
        pytest.param(pretended.idle_cpu_killed, "cpu", id="cpu"),
        pytest.param(pretended.idle_gpu_killed, "gpu", id="gpu"),
    ],
)
def test_an_idle_worker_that_dies_is_no_matter_of_the_next_step(
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    job: Callable[[], dg.JobDefinition],
    engine: str,
) -> None:
    idle: list[Worker] = []
    finish = Worker.finish

    def note(worker: Worker) -> None:
        finish(worker)
        idle.append(worker)

    monkeypatch.setattr(Worker, "finish", note)
    monkeypatch.setattr(pretended, "IDLE", idle)
    result = execute(job, instance, tmp_path)
    seen = observed(result)
    assert result.success
    assert seen["first"]["pid"] != seen["second"]["pid"]
    assert (seen["second"]["engine"], seen["second"]["because"]) == (engine, "")
    assert "STEP_UP_FOR_RETRY" not in types_of(result, "second")


def test_a_device_that_another_run_has_is_waited_for_then_left(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lease = try_lease(tmp_path / "leases", "good-0")
    assert lease is not None
    result = execute(pretended.gpu_chain, instance, tmp_path, gpu={"wait_s": 0.1})
    lease.close()
    assert result.success
    assert {one["because"] for one in observed(result).values()} == {"no device was free for 0.1 s"}
    again = execute(pretended.gpu_chain, instance, tmp_path)
    assert {one["engine"] for one in observed(again).values()} == {"gpu"}


def test_an_idle_worker_gives_its_device_back(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    seen = observed(execute(pretended.gpu_chain, instance, tmp_path, gpu={"idle_s": 0.0}))
    assert {one["engine"] for one in seen.values()} == {"gpu"}
    assert try_lease(tmp_path / "leases", "good-0") is not None


def test_no_lease_folder_is_no_reason_to_fail(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = execute(
        pretended.gpu_chain, instance, tmp_path, gpu={"lease_folder": str(tmp_path / "file")}
    )
    assert result.success
    assert "no worker could begin" in observed(result)["first"]["because"]


def test_gpu_off_says_so(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = execute(pretended.gpu_chain, instance, tmp_path, gpu={"enabled": False})
    assert {one["because"] for one in observed(result).values()} == {"ENABLE_GPU is false"}


def test_heavy_plans_go_to_a_device_by_the_rows_recorded_upstream(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    result = execute(pretended.by_rows, instance, tmp_path)
    assert result.success
    assert observed(result)["heavy"]["engine"] == "gpu"
    assert observed(result)["no_plans"]["engine"] == "cpu"
    fewer = execute(pretended.by_rows, instance, tmp_path, gpu={"min_rows": 3_000_001})
    assert observed(fewer)["heavy"]["engine"] == "cpu"


def test_rows_that_cannot_be_read_do_not_fail_the_run(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise dg.DagsterInvariantViolationError("the records are away")

    monkeypatch.setattr(dg.DagsterInstance, "fetch_materializations", broken)
    result = execute(pretended.by_rows, instance, tmp_path)
    assert result.success
    assert observed(result)["heavy"]["engine"] == "cpu"


def test_a_tag_that_names_no_lane_does_not_fail_the_run(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    result = execute(pretended.misnamed, instance, tmp_path)
    assert result.success
    warnings = [
        entry.user_message for entry in instance.all_logs(result.run_id)
        if entry.dagster_event is None
    ]  # fmt: skip
    assert any("expected one of inline, cpu, gpu" in one for one in warnings)


def test_output_is_captured_in_every_lane(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = execute(pretended.three_lanes, instance, tmp_path)
    captured = {}
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.LOGS_CAPTURED:
            data = event.logs_captured_data
            key = [result.run_id, "compute_logs", data.file_key]
            text = instance.compute_log_manager.get_log_data(key).stdout or b""
            for step in data.step_keys or ():
                captured[step] = text.decode()
    for step in ("inline_step", "cpu_step", "gpu_step"):
        assert f"printed by {step}\n" in captured[step]


def test_dynamic_steps_pass_through_the_lanes(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = execute(pretended.dynamic, instance, tmp_path)
    assert observed(result)["total"]["total"] == 6


def test_a_step_whose_input_was_not_made_is_skipped(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    result = execute(pretended.skipping, instance, tmp_path)
    assert result.success
    assert types_of(result, "skipped") == ["STEP_SKIPPED"]
    assert "STEP_SUCCESS" in types_of(result, "runs")


def test_a_failed_run_goes_on_from_where_it_failed(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    first = execute(pretended.again, instance, tmp_path)
    assert not first.success
    assert types_of(first, "ends") == []
    options = dg.ReexecutionOptions.from_failure(first.run_id, instance)
    with dg.execute_job(
        dg.reconstructable(pretended.again), instance, run_config=config(tmp_path),
        reexecution_options=options,
    ) as second:  # fmt: skip
        assert second.success
        assert types_of(second, "begins") == []
        assert second.output_for_node("ends") == 2


def test_hooks_run_in_every_lane(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = execute(pretended.hooked, instance, tmp_path)
    completed = {
        event.step_key for event in result.all_events
        if event.event_type is dg.DagsterEventType.HOOK_COMPLETED
    }  # fmt: skip
    assert completed == {"hooked_cpu", "hooked_inline"}


def test_a_resource_that_cannot_be_opened_fails_its_step(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    result = execute(pretended.storeless, instance, tmp_path)
    assert not result.success
    assert [one.step_key for one in result.get_step_failure_events()] == ["uses_store"]
