"""The executor with lanes: `inline`, `cpu` and `gpu`.

It is Dagster's multiprocess executor in what it promises (retries, pools, tag limits, termination,
compute logs), with other processes: see `docs/executors.md`.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy.exc
from dagster._core.errors import DagsterExecutionInterruptedError, DagsterSubprocessError
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.objects import StepRetryData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._utils import get_run_crash_explanation
from dagster_shared.error import SerializableErrorInfo

from conversation_analytics.core.engine import EngineChoice
from conversation_analytics.core.errors import DeviceUnavailableError, EngineError
from conversation_analytics.core.lanes import (
    LaneRules,
    StepFacts,
    named_lane,
    needs_rows,
    place,
    place_on_cpu,
)
from conversation_analytics.executors.gpu_lane import GpuLane
from conversation_analytics.executors.inline import InlineLane
from conversation_analytics.executors.orders import (
    EngineMissing,
    OpenEngine,
    StepBroke,
    StepOrder,
    WorkerSetup,
)
from conversation_analytics.executors.recorded_rows import RowRecords
from conversation_analytics.executors.workers import Worker, start_cpu_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.plan.state import KnownExecutionState
    from dagster._core.execution.plan.step import ExecutionStep
    from dagster._core.execution.step_dependency_config import StepDependencyConfig

_TICK_S = 0.02
_BEGIN_AGAIN_S = 1.0
"""After no process could be made."""
_NOT_TOLD = (dg.DagsterError, sqlalchemy.exc.SQLAlchemyError, LookupError, ValueError, OSError)
"""What comes out of looking for a step's lane where the records are away or odd."""
_INTERRUPTS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})


@dataclass(frozen=True, slots=True)
class LaneConfig:
    """What a run's configuration says.

    Attributes:
        retries: whether steps are retried.
        step_dependency_config: as with Dagster's executors.
        tag_concurrency_limits: as with Dagster's executors.
        rules: which step goes where.
        grace_s: seconds that interrupted steps have to end before they are killed.
        memory_limit_bytes: of the device, for a GPU worker; None: what the engine takes.
        wait_s: seconds a step waits for a device before it goes to the CPU.
        idle_s: seconds without a step after which a worker gives its device back.
        lease_folder: where devices are leased.
    """

    retries: RetryMode
    step_dependency_config: StepDependencyConfig
    tag_concurrency_limits: list[dict[str, Any]]
    rules: LaneRules
    grace_s: float
    memory_limit_bytes: int | None
    wait_s: float
    idle_s: float
    lease_folder: Path


class LanesExecutor(Executor):
    """Runs each step in the lane that suits it."""

    def __init__(
        self,
        config: LaneConfig,
        open_engine: OpenEngine,
        list_devices: Callable[[], Sequence[str]],
    ) -> None:
        """Keep the configuration.

        Args:
            config: of the run.
            open_engine: opens the engine of a choice; see `OpenEngine`.
            list_devices: the GPUs this run may use; asked when the first step is to go there.
        """
        self.config = config
        self.open_engine = open_engine
        self.list_devices = list_devices

    @property
    def retries(self) -> RetryMode:
        """Whether steps are retried."""
        return self.config.retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """When a step may begin."""
        return self.config.step_dependency_config

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        """Execute the steps of a run.

        Raises:
            DagsterExecutionInterruptedError: SIGINT or SIGTERM came.
            DagsterSubprocessError: a worker died, or an error came out of Dagster there.
        """
        started = time.monotonic()
        yield DagsterEvent.engine_event(
            plan_context,
            f"Executing steps in lanes: run's process (pid: {os.getpid()})",
            EngineEventData.multiprocess(
                os.getpid(), step_keys_to_execute=execution_plan.step_keys_to_execute
            ),
        )
        with ExitStack() as stack:
            pools = stack.enter_context(
                InstanceConcurrencyContext(plan_context.instance, plan_context.dagster_run)
            )
            active = stack.enter_context(
                ActiveExecution(
                    execution_plan,
                    # Moving a step to the CPU is a retry to Dagster; where the configuration
                    # allows none, steps are told so themselves.
                    retry_mode=RetryMode.ENABLED,
                    tag_concurrency_limits=self.config.tag_concurrency_limits,
                    instance_concurrency_context=pools,
                    step_dependency_config=self.config.step_dependency_config,
                )
            )
            run = _Run(self, plan_context, execution_plan, active)
            stack.callback(run.close)
            yield from run.events()
        yield DagsterEvent.engine_event(
            plan_context,
            f"Lanes are done after {time.monotonic() - started:.2f} s (pid: {os.getpid()})",
            EngineEventData.multiprocess(os.getpid()),
        )


class _Run:
    """The steps of one run, on their way through the lanes."""

    def __init__(
        self,
        executor: LanesExecutor,
        context: PlanOrchestrationContext,
        plan: ExecutionPlan,
        active: ActiveExecution,
    ) -> None:
        self._executor = executor
        self._config = executor.config
        self._context = context
        self._active = active
        self._setup = WorkerSetup(
            job=context.reconstructable_job,
            run_config=context.run_config,
            run=context.dagster_run,
            instance=context.instance.get_ref(),
            retry_mode=executor.retries.for_inner_plan(),
            repository_load_data=plan.repository_load_data,
            open_engine=executor.open_engine,
            grace_s=executor.config.grace_s,
        )
        self._records = RowRecords(
            context.instance, context.dagster_run, context.job.get_definition()
        )
        self._inline = InlineLane(context, plan)
        self._inline_waiting: deque[ExecutionStep] = deque()
        self._inline_step: tuple[ExecutionStep, Iterator[DagsterEvent]] | None = None
        self._cpu_waiting: deque[ExecutionStep] = deque()
        self._cpu_workers: list[Worker] = []
        self._begin_again_at = 0.0
        self._gpu = GpuLane(self._setup, executor.config, executor.list_devices)
        # Why a step is on the CPU though it was to be on a device, and whether Dagster has
        # counted that as an attempt.
        self._moved: dict[str, str] = {}
        self._repeated: set[str] = set()
        self._errors: dict[int, SerializableErrorInfo] = {}
        self._stopping = False
        self._stop_until = 0.0

    def events(self) -> Iterator[DagsterEvent]:
        """Execute everything and yield what happens."""
        if self._context.resume_from_failure:
            yield from self._resume()
        while self._busy or not (self._stopping or self._active.is_complete):
            # An inline step hears of the signal itself.
            if self._inline_step is None and self._active.check_for_interrupts():
                yield from self._stop()
            if not self._stopping:
                yield from self._take_steps()
                yield from self._start_steps()
            at_work = self._inline_step is not None
            yield from self._advance_inline()
            yield from self._hear_workers(wait_s=0.0 if at_work else _TICK_S)
            yield from self._active.plan_events_iterator(self._context)
            if self._stopping and time.monotonic() > self._stop_until:
                self._kill_busy()
        yield from self._inline.close()
        self._raise_errors()

    def close(self) -> None:
        """Leave no process and no open resource behind, whatever happened."""
        workers = [*self._workers, *self._gpu.leaving]
        for worker in workers:
            worker.stop()
        until = time.monotonic() + self._config.grace_s
        for worker in workers:
            worker.end(max(0.0, until - time.monotonic()))
        for _ in self._inline.close():
            pass  # the run has failed already, and nobody listens

    @property
    def _workers(self) -> list[Worker]:
        return [*self._cpu_workers, *self._gpu.workers]

    @property
    def _busy(self) -> bool:
        return self._inline_step is not None or any(w.order is not None for w in self._workers)

    @property
    def _on_cpu(self) -> int:
        """Steps that run on the CPU now."""
        inline = self._inline_step is not None
        return inline + sum(worker.order is not None for worker in self._cpu_workers)

    @property
    def _waiting(self) -> int:
        return len(self._inline_waiting) + len(self._cpu_waiting) + len(self._gpu.waiting)

    def _resume(self) -> Iterator[DagsterEvent]:
        """Take over a run whose process has died; its workers have died with it."""
        yield DagsterEvent.engine_event(
            self._context, "Resuming execution from failure", EngineEventData()
        )
        logged = self._context.instance.all_logs(
            self._context.run_id, of_type=set(DagsterEventType)
        )
        prior = _without_replaced(
            [entry.dagster_event for entry in logged if entry.dagster_event is not None]
        )
        yield from prior
        for event in prior:
            if event.step_key and event.is_step_up_for_retry and (because := _engine_error(event)):
                self._moved[event.step_key] = because
                self._repeated.add(event.step_key)
        # Skips are found anew from the outputs that are there.
        heard = [event for event in prior if not event.is_step_skipped]
        for step in self._active.rebuild_from_events(heard):
            self._place(step, alone=False)

    def _take_steps(self) -> Iterator[DagsterEvent]:
        room = self._config.rules.max_workers + self._gpu.room - self._on_cpu - self._waiting
        steps = self._active.get_steps_to_execute(limit=max(0, room))
        yield from self._active.concurrency_event_iterator(self._context)
        alone = len(steps) == 1 and not self._busy and not self._waiting
        for step in steps:
            self._place(step, alone=alone)

    def _place(self, step: ExecutionStep, *, alone: bool) -> None:
        rules = self._config.rules
        tags = self._context.dagster_run.tags
        facts = StepFacts(step.tags or {}, tags, None, alone)
        because = self._moved.get(step.key, "")
        try:
            if because:
                self._queue_on_cpu(step, alone=alone)
                return
            if needs_rows(facts, rules):
                rows = self._records.of_step(step)
                facts = StepFacts(facts.op_tags, tags, rows, alone)
            lane = place(facts, rules)
            if named_lane(facts) == "gpu" and lane != "gpu":
                self._moved[step.key] = "ENABLE_GPU is false"
        except _NOT_TOLD as error:
            # Where a step runs is no reason for it to fail.
            self._context.log.warning(
                "step %s: its lane could not be told, it runs on the CPU: %s", step.key, error
            )
            lane = "inline" if alone else "cpu"
        if lane == "gpu":
            self._gpu.add(step)
        else:
            (self._inline_waiting if lane == "inline" else self._cpu_waiting).append(step)

    def _queue_on_cpu(self, step: ExecutionStep, *, alone: bool) -> None:
        facts = StepFacts({}, {}, None, alone)
        # What has failed once, perhaps for want of memory, does not put the run's process at risk.
        here = step.key not in self._repeated
        inline = here and place_on_cpu(facts, self._config.rules) == "inline"
        (self._inline_waiting if inline else self._cpu_waiting).append(step)

    def _start_steps(self) -> Iterator[DagsterEvent]:
        for step, because in self._gpu.given_up():
            yield from self._move(step, because)
        for step, on_device in self._gpu.ready():
            where = f"GPU worker {on_device.pid} on device {on_device.device}"
            yield self._starting(step, where)
            limit = self._config.memory_limit_bytes
            choice = EngineChoice("gpu", on_device.device, memory_limit_bytes=limit)
            on_device.start(self._order(step, choice))
        while self._cpu_waiting and (worker := self._cpu_worker()) is not None:
            step = self._cpu_waiting.popleft()
            yield self._starting(step, f"CPU worker {worker.pid}")
            worker.start(self._order(step, self._cpu_choice(step)))
        if (
            self._inline_waiting
            and self._inline_step is None
            and self._on_cpu < self._config.rules.max_workers
        ):
            step = self._inline_waiting.popleft()
            engine = self._executor.open_engine(self._cpu_choice(step))
            self._inline_step = step, self._inline.execute(step, self._known_state(), engine)

    def _move(self, step: ExecutionStep, because: str) -> Iterator[DagsterEvent]:
        """Put a step that has not begun on the CPU instead of a device."""
        self._moved[step.key] = because
        yield DagsterEvent.engine_event(
            self._context.for_step(step),
            f"Step {step.key} runs on the CPU instead of a GPU: {because}",
            EngineEventData(),
        )
        self._queue_on_cpu(step, alone=not self._busy and not self._waiting)

    def _cpu_worker(self) -> Worker | None:
        """Return a worker for a step, or None where the step has to wait for one."""
        if self._on_cpu >= self._config.rules.max_workers:
            return None
        for worker in self._cpu_workers:
            if worker.order is None and worker.exit_code is None:
                return worker
        if any(worker.ending for worker in self._cpu_workers):
            return None  # free before a new one could begin
        if time.monotonic() < self._begin_again_at:
            return None
        try:
            worker = start_cpu_worker(self._setup)
        except OSError as error:
            self._without_worker(error)
            return None
        self._cpu_workers.append(worker)
        return worker

    def _without_worker(self, error: OSError) -> None:
        """Let the first step wait for a worker that lives, or put it in the run's process."""
        first = not self._begin_again_at
        self._begin_again_at = time.monotonic() + _BEGIN_AGAIN_S
        if any(worker.exit_code is None for worker in self._cpu_workers):
            if first:
                self._context.log.warning("%s; steps wait for one that there is", error)
            return
        step = self._cpu_waiting.popleft()
        self._inline_waiting.append(step)
        self._context.log.warning("%s; step %s runs in the run's process", error, step.key)

    def _cpu_choice(self, step: ExecutionStep) -> EngineChoice:
        because = self._moved.get(step.key, "")
        return EngineChoice("cpu-streaming", because=because) if because else EngineChoice()

    def _order(self, step: ExecutionStep, choice: EngineChoice) -> StepOrder:
        return StepOrder(step.key, self._known_state(), choice)

    def _known_state(self) -> KnownExecutionState:
        """Return the state of the run, in which a step moved to the CPU has lost no attempt."""
        known = self._active.get_known_state()
        attempts = {
            key: count - (key in self._repeated)
            for key, count in known.previous_retry_attempts.items()
        }
        return known._replace(previous_retry_attempts=attempts)

    def _starting(self, step: ExecutionStep, where: str) -> DagsterEvent:
        return DagsterEvent.step_worker_starting(
            self._context.for_step(step), f'Step "{step.key}" goes to {where}.', metadata={}
        )

    def _advance_inline(self) -> Iterator[DagsterEvent]:
        """Take the inline step to its next event."""
        if self._inline_step is None:
            return
        step, events = self._inline_step
        try:
            event = next(events)
        except StopIteration:
            self._inline_step = None
            self._active.verify_complete(self._context, step.key)
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            self._inline_step = None
            yield from self._stop()
        else:
            yield event
            self._active.handle_event(event)

    def _hear_workers(self, wait_s: float) -> Iterator[DagsterEvent]:
        """Wait a moment for what the workers say, and pass it on."""
        busy = {worker.connection: worker for worker in self._workers if worker.order is not None}
        if busy:
            heard = wait(list(busy), timeout=wait_s)
            for worker in [busy[connection] for connection in heard]:  # type: ignore[index]
                yield from self._hear(worker)
                while worker.order is not None and worker.connection.poll():
                    yield from self._hear(worker)
        elif wait_s and not self._active.is_complete:
            time.sleep(wait_s)  # for a retry, a pool or a device
        for worker in self._workers:
            if worker.died():
                yield from self._bury(worker)

    def _hear(self, worker: Worker) -> Iterator[DagsterEvent]:
        order = worker.order
        if order is None:
            return
        try:
            said = worker.said()
        except EOFError:
            yield from self._bury(worker)
            return
        if isinstance(said, DagsterEvent):
            yield from self._handle(worker, order.step_key, said)
            return
        ended = worker.ending
        worker.finish()
        if isinstance(said, EngineMissing):
            self._gpu.refuse(worker, said.because)
            yield from self._move(self._active.get_step_by_key(order.step_key), said.because)
            return
        if isinstance(said, StepBroke):
            self._errors[worker.pid] = said.error
            self._dismiss(worker)
        elif worker.broken:
            self._gpu.lost(worker)
            self._dismiss(worker)
        if not ended:  # else it may be on its way again already
            self._active.verify_complete(self._context, order.step_key)

    def _handle(self, worker: Worker, key: str, event: DagsterEvent) -> Iterator[DagsterEvent]:
        because = _engine_error(event) if worker.device else ""
        if because and not self._stopping:
            worker.broken = because.startswith(DeviceUnavailableError.__name__)
            self._moved[key] = because
            self._repeated.add(key)
            error = event.step_failure_data.error if event.is_step_failure else None
            if error is not None:  # retries are off for this run, or for errors of this kind
                event = self._retry_event(key, error)
        yield event
        self._active.handle_event(event)
        if event.is_step_success or event.is_step_failure or event.is_step_up_for_retry:
            worker.ending = True
        if event.is_resource_init_failure and event.engine_event_data.error is not None:
            failed = self._executor.log_failure_or_retry_event_after_error(
                self._context.for_step(self._active.get_step_by_key(key)),
                event.engine_event_data.error,
                self._known_state(),
            )
            yield failed
            self._active.handle_event(failed)

    def _retry_event(self, key: str, error: SerializableErrorInfo) -> DagsterEvent:
        step = self._context.for_step(self._active.get_step_by_key(key))
        data = StepRetryData(error, None)  # type: ignore[no-untyped-call]
        return DagsterEvent.step_retry_event(step, data)

    def _bury(self, worker: Worker) -> Iterator[DagsterEvent]:
        """Go on without a worker that has died."""
        order, pid, ended = worker.order, worker.pid, worker.ending
        worker.finish()
        code = worker.end(0)
        self._dismiss(worker)
        if order is None or ended:
            if worker.broken:
                self._gpu.lost(worker)
            return
        step = self._context.for_step(self._active.get_step_by_key(order.step_key))
        lane = "GPU" if worker.device else "CPU"
        told = get_run_crash_explanation(
            f"{lane} worker {pid} of step {order.step_key}", -9 if code is None else code
        )
        error = SerializableErrorInfo(told, [], "WorkerDied")
        yield DagsterEvent.engine_event(step, told, EngineEventData.engine_error(error))
        if worker.device and not self._stopping:
            self._gpu.lost(worker)
            self._moved[order.step_key] = told
            self._repeated.add(order.step_key)
            event = self._retry_event(order.step_key, error)
        else:
            event = self._executor.log_failure_or_retry_event_after_error(
                step, error, self._known_state()
            )
        self._active.handle_event(event)
        yield event
        if event.is_step_failure:
            self._errors[pid] = error

    def _dismiss(self, worker: Worker) -> None:
        """Have a worker end, and give it no step any more."""
        if worker in self._cpu_workers:
            worker.stop()
            self._cpu_workers.remove(worker)
        else:
            self._gpu.release(worker)

    def _stop(self) -> Iterator[DagsterEvent]:
        if self._stopping:
            return
        busy = [worker.order.step_key for worker in self._workers if worker.order is not None]
        yield DagsterEvent.engine_event(
            self._context,
            "Lanes: received termination signal - forwarding to active steps",
            EngineEventData.interrupted(busy),
        )
        self._stopping = True
        self._stop_until = time.monotonic() + self._config.grace_s
        self._active.mark_interrupted()
        for worker in self._workers:
            worker.stop()

    def _kill_busy(self) -> None:
        for worker in self._workers:
            if worker.order is not None:
                worker.kill()

    def _raise_errors(self) -> None:
        errors = list(self._errors.values())
        if self._stopping and all(error.cls_name in _INTERRUPTS for error in errors):
            raise DagsterExecutionInterruptedError
        if errors:
            told = "\n".join(
                f"In process {pid}: {error.to_string()}" for pid, error in self._errors.items()
            )
            raise DagsterSubprocessError(  # type: ignore[no-untyped-call]
                f"During execution in lanes errors occurred in workers:\n{told}",
                subprocess_error_infos=errors,
            )


def _without_replaced(prior: Sequence[DagsterEvent]) -> list[DagsterEvent]:
    """Leave out failures that a later retry of their step stands for.

    Such a step was moved to the CPU after its worker had told Dagster of a failure, which would
    otherwise count as one of the run.
    """
    kept: list[DagsterEvent] = []
    retried: set[str | None] = set()
    for event in reversed(prior):
        if event.is_step_up_for_retry:
            retried.add(event.step_key)
        if not (event.is_step_failure and event.step_key in retried):
            kept.append(event)
    return kept[::-1]


def _engine_error(event: DagsterEvent) -> str:
    """Return what an engine said where it is the cause that a step ended; else nothing."""
    if event.is_step_failure:
        error = event.step_failure_data.error
    elif event.is_step_up_for_retry:
        error = event.step_retry_data.error
    else:
        return ""
    names = _engine_error_names()
    while error is not None:
        if error.cls_name in names:
            return error.message.strip().rpartition("core.errors.")[2] or str(error.cls_name)
        error = error.cause
    return ""


def _engine_error_names() -> frozenset[str | None]:
    """Return the classes' names: Dagster keeps errors as text."""
    classes: list[type[EngineError]] = [EngineError]
    for one in classes:
        classes.extend(one.__subclasses__())
    return frozenset(one.__name__ for one in classes)
