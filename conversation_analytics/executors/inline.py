"""The inline lane: light steps in the run's own process, with one context for all of them."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.execute_plan import (
    _trigger_hook,
    dagster_event_sequence_for_step,
)
from dagster._utils.error import serializable_error_info_from_exc_info

from conversation_analytics.resources.engines import ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagster._core.execution.context.system import (
        PlanExecutionContext,
        PlanOrchestrationContext,
    )
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.plan.state import KnownExecutionState
    from dagster._core.execution.plan.step import ExecutionStep
    from dagster._core.storage.compute_log_manager import CapturedLogContext

    from conversation_analytics.core.engine import Engine


class InlineLane:
    """Executes steps as Dagster's in-process executor does: resources are opened once a run.

    They are opened, and output is captured, with the first step: a run without light steps pays
    for neither.
    """

    def __init__(self, run: PlanOrchestrationContext, plan: ExecutionPlan) -> None:
        """Keep the run and its plan; nothing is opened."""
        self._run = run
        self._plan = plan
        self._manager: PlanExecutionContextManager | None = None
        self._capture = ExitStack()
        self._log_key: Sequence[str] = ()
        self._log_context: CapturedLogContext | None = None
        self._captured: list[str] = []

    def execute(
        self, step: ExecutionStep, known_state: KnownExecutionState, engine: Engine
    ) -> Iterator[DagsterEvent]:
        """Yield the events of a step, which is executed between them.

        Raises:
            DagsterError: a resource could not be opened; the run fails with it.
            DagsterExecutionInterruptedError: SIGINT or SIGTERM came.
        """
        if self._manager is None:
            self._manager = self._new_manager()
            yield from self._manager.prepare_context()
            yield from self._begin_capture()
        context = self._manager.get_context()
        yield from self._tell_of_capture(context, step)
        step_context = context.for_step(step, known_state)
        events = []
        with ENGINE.using(engine):
            for event in dagster_event_sequence_for_step(step_context):
                events.append(event)
                yield event
        yield from _trigger_hook(step_context, events)

    def close(self) -> Iterator[DagsterEvent]:
        """End the capture, close the resources and yield their events; once."""
        try:
            self._capture.close()
        except Exception:  # noqa: BLE001 - a storage of any kind; the steps are done, as Dagster has it
            yield self._capture_failed("cleaning up")
        manager, self._manager = self._manager, None
        if manager is not None:
            yield from manager.shutdown_context()

    def _new_manager(self) -> PlanExecutionContextManager:
        return PlanExecutionContextManager(
            job=self._run.job,
            execution_plan=self._plan,
            run_config=self._run.run_config,
            dagster_run=self._run.dagster_run,
            instance=self._run.instance,
            retry_mode=self._run.retry_mode.for_inner_plan(),
            raise_on_error=self._run.raise_on_error,
            output_capture=self._run.output_capture,
            step_dependency_config=self._run.executor.step_dependency_config,
        )

    def _begin_capture(self) -> Iterator[DagsterEvent]:
        logs = self._run.instance.compute_log_manager
        file_key = create_compute_log_file_key()  # type: ignore[no-untyped-call]
        self._log_key = logs.build_log_key_for_run(self._run.run_id, file_key)
        try:
            self._log_context = self._capture.enter_context(logs.capture_logs(self._log_key))
        except Exception:  # noqa: BLE001 - a storage of any kind; steps run without, as Dagster has it
            yield self._capture_failed("setting up")

    def _tell_of_capture(
        self, context: PlanExecutionContext, step: ExecutionStep
    ) -> Iterator[DagsterEvent]:
        """Say that this step's output, too, is in the one file; the UI keeps the last word."""
        if self._log_context is not None and step.key not in self._captured:
            self._captured.append(step.key)
            yield DagsterEvent.capture_logs(
                context, list(self._captured), self._log_key, self._log_context
            )

    def _capture_failed(self, what: str) -> DagsterEvent:
        return DagsterEvent.engine_event(
            self._run,
            f"Exception while {what} compute log capture",
            EngineEventData(error=serializable_error_info_from_exc_info(sys.exc_info())),
        )
