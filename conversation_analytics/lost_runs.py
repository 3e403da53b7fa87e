"""Runs that count as going on though what computed them was killed, with nobody to say so.

A run that Dagster launches is a child of a code server, one of our commands is a process of its
own. When power, memory or a SIGKILL ends all of them at once, the records still say "started".
A deployment ends its runs by the code server's address (`deploy/end_lost_runs.py`); the servers of
`dagster dev` have another one each time, so here their processes are looked for. The records have
to be of this machine alone for that, as SQLite's in DAGSTER_HOME are.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.tags import GRPC_INFO_TAG

from conversation_analytics.sensors.run_history import (
    PROCESS_TAG,
    has_lost_its_process,
    was_killed_here,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

UNFINISHED: Final = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_START_S: Final = 60.0
"""A process that was launched has told its id by then."""
_CLOCKS_S: Final = 10.0
"""A process younger than an event by more than this is not the one that told it."""

Fate = Literal["lost", "lives", "unknown"]


@dataclass(frozen=True, slots=True)
class LostRuns:
    """What `end_lost_runs` found, by id of the run.

    Attributes:
        ended: whose processes are gone; they are marked as failed, or as cancelled.
        doubtful: of which nobody can tell from here; they were left alone.
    """

    ended: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()


def end_lost_runs(instance: dg.DagsterInstance) -> LostRuns:
    """End the unfinished runs of this machine whose processes are gone, and no other.

    Args:
        instance: nothing is looked for unless its records are SQLite's, which other machines do
            not share.
    """
    if not isinstance(instance.run_storage, SqliteRunStorage):
        return LostRuns()
    found: dict[Fate, list[str]] = {"lost": [], "lives": [], "unknown": []}
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(UNFINISHED))):
        fate = _fate(instance, record)
        found[fate].append(record.dagster_run.run_id)
        if fate == "lost":
            end_as_lost(instance, record.dagster_run, "process that computed it")
    return LostRuns(tuple(found["lost"]), tuple(found["unknown"]))


def end_killed_commands(instance: dg.DagsterInstance) -> tuple[str, ...]:
    """End the unfinished runs of commands that were killed in this folder; return their ids.

    Also where records are shared with other machines. They would hold places in Dagster's queue
    for ever, since Dagster has no process of theirs to ask for.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    killed = [run for run in runs if was_killed_here(instance, run)]
    for run in killed:
        end_as_lost(instance, run, "command that computed it")
    return tuple(run.run_id for run in killed)


def end_as_lost(instance: dg.DagsterInstance, run: dg.DagsterRun, killed: str) -> None:
    """Mark a run as failed, or as cancelled where that was under way.

    Args:
        instance: of Dagster.
        run: that is unfinished in the records.
        killed: what was killed, for the run's log.
    """
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"The {killed} was killed while it cancelled this.")
    else:
        instance.report_run_failed(run, f"The {killed} was killed, and this run with it.")


def _fate(instance: dg.DagsterInstance, record: dg.RunRecord) -> Fate:
    run = record.dagster_run
    if PROCESS_TAG in run.tags:
        return "lost" if has_lost_its_process(instance, run) else "lives"
    server: dict[str, object] = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    if not isinstance(path := server.get("socket"), str):
        return "unknown"  # not of this machine, or not launched yet
    answers = _answers(path)
    if answers != "lost":
        return answers
    # A run outlives its server: the process itself has the last word.
    fates = {_process(pid, told_at) for pid, told_at in _processes_of(instance, run.run_id)}
    if not fates and run.status is not dg.DagsterRunStatus.STARTED:
        # It may be about to start. What starts later than that finds the run ended, and ends, too.
        at = record.update_timestamp
        waited_s = time.time() - at.replace(tzinfo=at.tzinfo or dt.UTC).timestamp()
        return "lost" if waited_s > _START_S else "unknown"
    return next((fate for fate in ("lives", "unknown") if fate in fates), "lost")


def _answers(path: str) -> Fate:
    """Say whether the server that listened on a Unix socket still does."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return "lost"
        except OSError:  # a folder that is not ours: no word about the server
            return "unknown"
    return "lives"


def _processes_of(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[int, float]]:
    """Yield the ids of the processes that a run told of, each with the time it did."""
    told = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    for record in told.records:
        event = record.event_log_entry.dagster_event
        data = None if event is None else event.event_specific_data
        if isinstance(data, EngineEventData) and "pid" in data.metadata:
            yield int(str(data.metadata["pid"].value)), record.event_log_entry.timestamp


def _process(pid: int, told_at: float) -> Fate:
    """Say what became of the process that had this id at a time; ids are given again."""
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return "lost"
    except PermissionError:
        pass  # there is one, of another user by now
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "lost" if Path("/proc/self/stat").exists() else "unknown"  # no Linux
    state, start_ticks = fields[0], int(fields[19])
    if state in "ZX":
        return "lost"
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")
    return "lost" if age_s + _CLOCKS_S < time.time() - told_at else "lives"
