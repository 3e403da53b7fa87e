"""Signals and crashes: however a run ends, none of its processes is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.execution.api import execute_run_iterator
from dagster._core.test_utils import instance_for_test

from conversation_analytics.executors.devices import try_lease
from conversation_analytics_tests.executors import pretended

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LONG_S = 60.0


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "instance"
    folder.mkdir()
    with instance_for_test(temp_dir=str(folder)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv(pretended.FOLDER, str(tmp_path / "marks"))
    monkeypatch.setenv(pretended.DEVICES, "good-0")


@contextmanager
def run_process(
    name: str, instance: dg.DagsterInstance, tmp_path: Path, **executor: Any
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process that executes job `name`, and the run's id."""
    job = dg.reconstructable(getattr(pretended, name))
    run = instance.create_run_for_job(
        job.get_definition(),
        run_config={
            "loggers": pretended.QUIET,
            "execution": {
                "config": {"gpu": {"lease_folder": str(tmp_path / "leases")}, **executor}
            },
        },
        job_code_origin=job.get_python_origin(),
    )
    with subprocess.Popen(
        [sys.executable, "-m", "conversation_analytics_tests.executors.run_process",
         name, str(tmp_path / "instance"), run.run_id],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield process, run.run_id
        finally:
            process.kill()


def marks(tmp_path: Path, *kinds: str) -> dict[str, int]:
    """Wait until a step of each kind runs, and return their processes."""
    until = time.monotonic() + LONG_S
    while True:
        found = {
            path.name.partition("-")[0]: int(path.name.partition("-")[2])
            for path in (tmp_path / "marks").iterdir()
            if path.name.partition("-")[0] in kinds
        }
        if len(found) == len(kinds):
            return found
        if time.monotonic() > until:
            raise TimeoutError(f"only {sorted(found)} of {kinds} began")
        time.sleep(0.02)


def parents() -> dict[int, int]:
    """The parent of every process that is no zombie."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,stat="],  # noqa: S607
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = (line.split() for line in listed.stdout.splitlines())
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def everyone(process: subprocess.Popen[bytes]) -> set[int]:
    """All processes under one, itself left out."""
    of = parents()
    found, new = set[int](), {process.pid}
    while new := {pid for pid, parent in of.items() if parent in new}:
        found |= new
    return found


def left(processes: set[int], seconds: float) -> set[int]:
    """Those that are still there after some time."""
    until = time.monotonic() + seconds
    while (there := processes & parents().keys()) and time.monotonic() < until:
        time.sleep(0.05)
    return there


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("job", "kinds"),
    [("blocked", ("cpu", "gpu")), ("blocked_inline", ("cpu", "inline"))],
    ids=["workers", "the run's process too"],
)
def test_a_signal_ends_a_run_and_all_its_processes(
    instance: dg.DagsterInstance,
    tmp_path: Path,
    which: signal.Signals,
    job: str,
    kinds: tuple[str, ...],
) -> None:
    with run_process(job, instance, tmp_path) as (process, run_id):
        pids = marks(tmp_path, *kinds)
        processes = everyone(process)
        assert set(pids.values()) <= processes | {process.pid}
        process.send_signal(which)
        process.wait(LONG_S)
        assert left(processes, 5) == set()
    assert status_of(instance, run_id) is dg.DagsterRunStatus.FAILURE
    failed = {
        entry.dagster_event.step_key
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        if entry.dagster_event
    }
    assert failed == {f"block_{kind}" for kind in kinds}
    # Whatever else had the file open, as the server that processes are forked from, ends by itself.
    deadline = time.monotonic() + LONG_S
    while (lease := try_lease(tmp_path / "leases", "good-0")) is None:
        assert time.monotonic() < deadline, "the lease of the device is held by nobody who lives"
        time.sleep(0.05)
    lease.close()


def test_a_run_that_the_ui_cancels_is_canceled(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with run_process("blocked", instance, tmp_path) as (process, run_id):
        marks(tmp_path, "cpu", "gpu")
        run = instance.get_run_by_id(run_id)
        assert run is not None
        instance.report_run_canceling(run)
        process.send_signal(signal.SIGINT)  # as the run launcher does
        process.wait(LONG_S)
    assert status_of(instance, run_id) is dg.DagsterRunStatus.CANCELED


def test_a_step_that_does_not_hear_is_killed(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with run_process("deafened", instance, tmp_path, termination_grace_s=0.5) as (process, run_id):
        processes = set(marks(tmp_path, "deaf").values())
        process.send_signal(signal.SIGINT)
        process.wait(LONG_S)
        assert left(processes, 5) == set()
    assert status_of(instance, run_id) is dg.DagsterRunStatus.FAILURE


def test_workers_die_with_a_run_that_is_killed(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with run_process("blocked", instance, tmp_path, termination_grace_s=2.0) as (process, _):
        workers = set(marks(tmp_path, "cpu", "gpu").values())
        process.kill()
        process.wait(LONG_S)
        assert left(workers, LONG_S) == set()
    lease = try_lease(tmp_path / "leases", "good-0")
    assert lease is not None
    lease.close()


def run_of(instance: dg.DagsterInstance) -> str:
    """The id of the one run that there is."""
    (run,) = instance.get_runs()
    return run.run_id


def resumed(name: str, instance: dg.DagsterInstance, tmp_path: Path) -> list[dg.DagsterEvent]:
    """Kill the process of a run whose step has begun, and return the events of its resumption."""
    begun = tmp_path / "marks" / "begun"
    with run_process(name, instance, tmp_path, termination_grace_s=0.5) as (process, run_id):
        pretended.await_file(begun)
        processes = everyone(process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(LONG_S)
        left(processes, LONG_S)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    job = dg.reconstructable(getattr(pretended, name))
    return list(execute_run_iterator(job, run, instance, resume_from_failure=True))


def test_a_run_whose_process_has_died_is_resumed(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    events = resumed("crashing", instance, tmp_path)
    assert events[-1].event_type is dg.DagsterEventType.RUN_SUCCESS
    started = [one.step_key for one in events if one.event_type_value == "STEP_START"]
    assert started == ["before_the_crash", "crashes_once", "crashes_once", "after_the_crash"]


def test_a_run_is_resumed_in_which_a_step_had_failed_on_a_device(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    events = resumed("crashing_moved", instance, tmp_path)
    assert events[-1].event_type is dg.DagsterEventType.RUN_SUCCESS
    logged = [
        entry.dagster_event.event_type_value
        for entry in instance.all_logs(run_of(instance), of_type=set(dg.DagsterEventType))
        if entry.dagster_event and entry.dagster_event.step_key == "moved_then_crashes_once"
    ]
    known = {"STEP_START", "STEP_FAILURE", "STEP_UP_FOR_RETRY"}
    assert [one for one in logged if one in known] == [
        "STEP_START", "STEP_FAILURE", "STEP_UP_FOR_RETRY",  # on the device
        "STEP_START", "STEP_START",  # on the CPU, before the crash and after it
    ]  # fmt: skip
    (seen,) = [
        one.asset_observation_data.asset_observation.metadata
        for one in events
        if one.event_type is dg.DagsterEventType.ASSET_OBSERVATION
    ]
    assert (seen["engine"].value, seen["attempt"].value) == ("cpu-streaming", 0)
    assert "9 GiB asked" in str(seen["because"].value)
