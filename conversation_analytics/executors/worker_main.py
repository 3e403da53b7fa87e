"""A worker's side: executes the steps that the run's process orders, one after the other."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEvent
from dagster._core.execution.api import create_execution_plan, execute_plan_iterator
from dagster._core.execution.context_creation_job import create_context_free_log_manager
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import capture_interrupts

from conversation_analytics.core.errors import EngineError
from conversation_analytics.executors.orders import (
    STOP,
    EngineMissing,
    StepBroke,
    StepDone,
    StepOrder,
)
from conversation_analytics.resources.engines import ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.connection import Connection

    import polars as pl

    from conversation_analytics.core.engine import Engine, EngineChoice
    from conversation_analytics.executors.orders import WorkerSetup

_ALWAYS = sys.maxsize


@dataclass(frozen=True, slots=True)
class RepeatedElsewhere:
    """An engine whose errors ask Dagster for the step again: the executor moves it to the CPU.

    Attributes:
        engine: what computes.
    """

    engine: Engine

    @property
    def choice(self) -> EngineChoice:
        """Which one this is."""
        return self.engine.choice

    def collect(self, plan: pl.LazyFrame) -> pl.DataFrame:
        """Compute a plan.

        Raises:
            dagster.RetryRequested: this engine cannot; at once, and whatever was repeated before.
        """
        try:
            return self.engine.collect(plan)
        except EngineError as error:
            raise dg.RetryRequested(max_retries=_ALWAYS) from error


class _Orders:
    """Orders that have come, heard of by a thread, so that a step can be interrupted."""

    def __init__(self, connection: Connection, grace_s: float) -> None:
        self._connection = connection
        self._grace_s = grace_s
        self._came: queue.SimpleQueue[StepOrder | None] = queue.SimpleQueue()
        self._open = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def __iter__(self) -> Iterator[StepOrder]:
        while (order := self._came.get()) is not None:
            yield order
            with self._lock:
                self._open -= 1

    def _listen(self) -> None:
        try:
            while (message := self._connection.recv()) != STOP:
                with self._lock:
                    self._open += 1
                self._came.put(message)
        except (EOFError, OSError):
            # The run's process is dead. Nothing more is said of the step, so that whoever resumes
            # the run finds it neither done nor failed; what it stores is whole or not there.
            os._exit(1)
        self._came.put(None)
        with self._lock:
            busy = self._open > 0
        if busy:
            os.kill(os.getpid(), signal.SIGINT)
        # What does not end by itself (a library's thread, native code) must not outlive the run.
        threading.Event().wait(self._grace_s)
        os._exit(1)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the fork server has as it was when it began.

    Attributes:
        environment: all variables of the run's process.
        folder: its working directory, where `.env` is looked for.
    """

    environment: Mapping[str, str]
    folder: str


def serve_in(surroundings: Surroundings, connection: Connection, setup: WorkerSetup) -> None:
    """Take over the surroundings of the run's process, and serve."""
    os.environ.clear()
    os.environ.update(surroundings.environment)
    os.chdir(surroundings.folder)
    serve(connection, setup)


def serve(connection: Connection, setup: WorkerSetup) -> None:
    """Execute orders until the run's process says stop or is dead."""
    # As on the command line: who reads this output cannot change what Dagster calls beta.
    warnings.filterwarnings("ignore", message=".* is currently in (beta|preview)")
    engines: dict[EngineChoice, Engine] = {}
    with capture_interrupts(), dg.DagsterInstance.from_ref(setup.instance) as instance:
        for order in _Orders(connection, setup.grace_s):
            try:
                if order.choice not in engines:
                    engines[order.choice] = setup.open_engine(order.choice)
            except EngineError as error:
                connection.send(EngineMissing(str(error)))
                continue
            try:
                with ENGINE.using(RepeatedElsewhere(engines[order.choice])):
                    for event in _events(setup, order, instance):
                        connection.send(event)
            except (Exception, KeyboardInterrupt, DagsterExecutionInterruptedError):  # noqa: BLE001 - told to the run, which fails with it
                error_info = serializable_error_info_from_exc_info(sys.exc_info())
                connection.send(StepBroke(error_info))
            else:
                connection.send(StepDone())


def _events(
    setup: WorkerSetup, order: StepOrder, instance: dg.DagsterInstance
) -> Iterator[DagsterEvent]:
    yield DagsterEvent.step_worker_started(
        create_context_free_log_manager(instance, setup.run),
        setup.run.job_name,
        message=f'Executing step "{order.step_key}" in worker {os.getpid()}.',
        metadata={"pid": dg.MetadataValue.text(str(os.getpid()))},
        step_key=order.step_key,
    )
    plan = create_execution_plan(
        setup.job,
        run_config=setup.run_config,
        step_keys_to_execute=[order.step_key],
        known_state=order.known_state,
        repository_load_data=setup.repository_load_data,
    )
    yield from execute_plan_iterator(
        plan, setup.job, setup.run, instance, setup.retry_mode, setup.run_config
    )
