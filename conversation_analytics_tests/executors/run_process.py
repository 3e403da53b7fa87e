"""A run's process of its own, for tests that interrupt or kill it.

`python -m conversation_analytics_tests.executors.run_process JOB INSTANCE_FOLDER RUN_ID`
"""

from __future__ import annotations

import sys

import dagster as dg
from dagster._core.execution.api import execute_run_iterator

from conversation_analytics_tests.executors import pretended


def main() -> None:
    """Execute a run that has been created, as Dagster's run worker does."""
    name, folder, run_id = sys.argv[1:]
    with dg.DagsterInstance.local_temp(folder) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        for _ in execute_run_iterator(dg.reconstructable(getattr(pretended, name)), run, instance):
            pass


if __name__ == "__main__":
    main()
