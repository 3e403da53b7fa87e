from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster._core.test_utils import create_run_for_test

from conversation_analytics.sensors.run_history import living_process, runs_under_way

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

DAY = dt.date(2026, 11, 10)


def hold(root: str, answer: Connection) -> None:
    """Be a process whose runs are under way, until it is killed."""
    with (
        dg.DagsterInstance.local_temp(root) as instance,
        living_process(instance) as tags,
    ):
        answer.send(tags)
        signal.pause()


def start(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> None:
    create_run_for_test(
        instance, job_name="daily", status=dg.DagsterRunStatus.STARTED,
        tags={PARTITION_NAME_TAG: DAY.isoformat(), **tags},
    )  # fmt: skip


def covers(instance: dg.DagsterInstance) -> bool:
    return runs_under_way(instance).cover(DAY, "undated")


def test_a_run_is_under_way_as_long_as_its_process_lives(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        process = context.Process(target=hold, args=(str(tmp_path), theirs), daemon=True)
        process.start()
        try:
            assert ours.poll(120)
            start(instance, ours.recv())
            assert covers(instance)
            assert process.pid
            os.kill(process.pid, signal.SIGKILL)
            process.join(60)
            assert not covers(instance)
        finally:
            process.kill()


def test_a_run_that_dagster_looks_after_is_under_way(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        start(instance, {})
        assert covers(instance)


def test_a_process_that_ends_leaves_no_lock_behind(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        with living_process(instance) as tags:
            start(instance, tags)
            assert covers(instance)
        assert not covers(instance)
        assert list((Path(instance.root_directory) / "processes").iterdir()) == []
