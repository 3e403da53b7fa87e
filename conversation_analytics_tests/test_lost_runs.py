"""Runs of processes and code servers that were killed: these end, and nothing that lives does."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.test_utils import create_run_for_test

from conversation_analytics.lost_runs import LostRuns, end_killed_commands, end_lost_runs
from conversation_analytics.sensors.run_history import PROCESS_TAG, living_process
from conversation_analytics_tests.commands import typed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

S = dg.DagsterRunStatus
LAUNCHED_BY = ".dagster/grpc_info"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as opened:
        yield opened


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a name that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="lost") as name:
        yield Path(name)


@pytest.fixture
def dead() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def start(
    instance: dg.DagsterInstance,
    server: Path | None,
    *pids: int,
    status: dg.DagsterRunStatus = S.STARTED,
    tags: Mapping[str, str] | None = None,
) -> dg.DagsterRun:
    """Record a run that the server launched, as Dagster does, with processes that told of it."""
    launched = json.dumps({"host": "localhost", "socket": str(server)})
    by = {} if server is None else {LAUNCHED_BY: launched}
    run: dg.DagsterRun = create_run_for_test(instance, status=status, tags={**by, **(tags or {})})
    for pid in pids:
        instance.report_engine_event(
            f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid)
        )
    return run


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def looked_at_later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = dt.datetime.now(dt.UTC).timestamp()
    monkeypatch.setattr("conversation_analytics.lost_runs.time.time", lambda: now + seconds)


@pytest.mark.parametrize(
    ("before", "after"),
    [(S.STARTED, S.FAILURE), (S.STARTING, S.FAILURE), (S.CANCELING, S.CANCELED)],
    ids=["started", "starting", "canceling"],
)
def test_a_run_whose_server_and_process_are_gone_is_ended(
    instance: dg.DagsterInstance, folder: Path, dead: int, before: Any, after: Any
) -> None:
    run = start(instance, folder / "gone", dead, status=before)
    assert end_lost_runs(instance) == LostRuns(ended=(run.run_id,))
    assert status(instance, run) is after
    assert end_lost_runs(instance) == LostRuns()


def test_a_socket_that_a_killed_server_left_behind_is_no_server(
    instance: dg.DagsterInstance, folder: Path, dead: int
) -> None:
    path = folder / "server"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        run = start(instance, path, dead)
        assert end_lost_runs(instance) == LostRuns()  # a second `make dev` launched it
        assert status(instance, run) is S.STARTED
    assert path.exists()
    assert end_lost_runs(instance) == LostRuns(ended=(run.run_id,))


def test_a_run_that_outlives_its_server_is_left_alone(
    instance: dg.DagsterInstance, folder: Path, dead: int
) -> None:
    run = start(instance, folder / "gone", dead, os.getpid())
    assert end_lost_runs(instance) == LostRuns()
    assert status(instance, run) is S.STARTED


def test_another_process_with_the_id_of_a_dead_one_is_not_it(
    instance: dg.DagsterInstance, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the machine, when ids begin again."""
    run = start(instance, folder / "gone", os.getpid())
    looked_at_later(monkeypatch, 7 * 86400)  # as if it had been told long before we began
    assert end_lost_runs(instance) == LostRuns(ended=(run.run_id,))


def test_a_process_that_may_be_about_to_start_is_waited_for(
    instance: dg.DagsterInstance, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(instance, folder / "gone", status=S.STARTING)
    assert end_lost_runs(instance) == LostRuns(doubtful=(run.run_id,))
    assert status(instance, run) is S.STARTING
    looked_at_later(monkeypatch, 61)
    assert end_lost_runs(instance) == LostRuns(ended=(run.run_id,))


def test_a_command_lives_as_long_as_its_lock(instance: dg.DagsterInstance) -> None:
    with living_process(instance) as tags:
        ours = start(instance, None, tags=tags)
        killed = start(instance, None, tags={PROCESS_TAG: "left behind"})
        (Path(instance.root_directory) / "processes" / "left behind").touch()
        assert end_lost_runs(instance) == LostRuns(ended=(killed.run_id,))
        assert status(instance, ours) is S.STARTED


def test_a_command_that_was_killed_here_is_ended_and_one_of_elsewhere_is_not(
    instance: dg.DagsterInstance,
) -> None:
    with living_process(instance) as tags:
        ours = start(instance, None, tags=tags)
        elsewhere = start(instance, None, tags={PROCESS_TAG: "of another machine"})
        killed = start(instance, None, tags={PROCESS_TAG: "left behind"})
        (Path(instance.root_directory) / "processes" / "left behind").touch()
        assert end_killed_commands(instance) == (killed.run_id,)
        assert end_killed_commands(instance) == ()
    assert [status(instance, run) for run in (ours, elsewhere, killed)] == [
        S.STARTED, S.STARTED, S.FAILURE,
    ]  # fmt: skip


def test_what_another_machine_may_run_is_left_alone(
    instance: dg.DagsterInstance, folder: Path
) -> None:
    address = json.dumps({"host": "code", "port": 4000})
    of_deployment = start(instance, None, tags={LAUNCHED_BY: address})
    assert end_lost_runs(instance) == LostRuns(doubtful=(of_deployment.run_id,))
    with dg.DagsterInstance.ephemeral() as shared:  # as records in PostgreSQL are
        run = start(shared, folder / "gone")
        assert end_lost_runs(shared) == LostRuns()
        assert status(shared, run) is S.STARTED


def test_make_dev_ends_what_was_lost_and_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert typed(tmp_path, "home", DAGSTER_HOME=str(home)).returncode == 0
    with dg.DagsterInstance.from_config(str(home)) as instance:
        lost = start(instance, tmp_path / "gone")
        doubtful = start(instance, None)
        result = typed(tmp_path, "home", DAGSTER_HOME=str(home))
        assert result.returncode == 0, result.stderr
        told = f"run {lost.run_id} was lost with the process that computed it: ended\n"
        assert result.stdout == told
        assert f"run {doubtful.run_id} is unfinished" in result.stderr
        assert "Force termination" in result.stderr
        assert status(instance, lost) is S.FAILURE
        assert status(instance, doubtful) is S.STARTED
