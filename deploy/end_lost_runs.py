"""End the runs of a code server that was killed, then become the code server.

Runs are child processes of the code server. A stop in good order ends them, and Dagster starts
them again by itself; so does the death of one alone. But of a whole code server that is killed (no
power, no memory) nobody hears: its runs would count as going on for ever, and hold their places
in the queue. When a code server starts, none of its runs can be alive.

Usage: python end_lost_runs.py PROGRAM [ARGUMENT...]; without a program it only ends runs.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final

from dagster import DagsterInstance, RunsFilter

from conversation_analytics.lost_runs import UNFINISHED, end_as_lost, end_killed_commands

_LAUNCHED_BY: Final = ".dagster/grpc_info"


def end_lost_runs(instance: DagsterInstance, host: str, port: int) -> list[str]:
    """Mark the unfinished runs that the code server at this address had started as failed.

    Runs of other code servers are left alone; for those of commands see `end_killed_commands`.

    Returns:
        Their ids. Dagster starts them again if `run_retries` allows; cancelled ones it does not.
    """
    ended = []
    for run in instance.get_runs(RunsFilter(statuses=list(UNFINISHED))):
        server = json.loads(run.tags.get(_LAUNCHED_BY, "{}"))
        if (server.get("host"), server.get("port")) != (host, port):
            continue
        end_as_lost(instance, run, "code server")
        ended.append(run.run_id)
    return ended


def main() -> None:
    """End lost runs of CODE_SERVER_HOST and CODE_SERVER_PORT, then run what the arguments say."""
    host, port = os.environ["CODE_SERVER_HOST"], int(os.environ["CODE_SERVER_PORT"])
    with DagsterInstance.get() as instance:
        for run_id in end_lost_runs(instance, host, port):
            print(f"run {run_id} was lost with the code server that was killed: ended", flush=True)
        for run_id in end_killed_commands(instance):
            print(f"run {run_id} was lost with the command that was killed: ended", flush=True)
    if program := sys.argv[1:]:
        os.execvp(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
