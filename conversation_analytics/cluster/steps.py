"""Each step of a run on the Dask cluster, for those who want it so: `EXECUTOR=dask_steps`.

dagster-dask's own executor goes on with the steps after a failed one, and repeats none. Here
Dagster decides which step is next, as in its other executors.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
import sys
import time
from concurrent.futures import CancelledError
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg
import sqlalchemy.exc
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.api import create_execution_plan, execute_plan
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.objects import StepRetryData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster_shared.error import SerializableErrorInfo

from conversation_analytics.cluster.same_settings import marks_of, others
from conversation_analytics.cluster.scheduler import (
    NOT_LOADED,
    ClusterPlace,
    DaskCluster,
    without_our_code,
)
from conversation_analytics.cluster.versions import differences, versions_here
from conversation_analytics.core.errors import (
    ClusterUnavailableError,
    TransientError,
    WorkerMismatchError,
)
from conversation_analytics.io_managers.retries import MAX_RETRIES, WAIT_S
from conversation_analytics.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagster._core.definitions.reconstruct import ReconstructableJob
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.plan.state import KnownExecutionState
    from dagster._core.execution.plan.step import ExecutionStep
    from dagster._core.instance.ref import InstanceRef
    from distributed import Client, Future

    from conversation_analytics.settings import Settings

_LOOK_S: Final = 1.0


@dataclass(slots=True)
class _Given:
    """A step that the cluster has.

    Attributes:
        step: as planned.
        needs: what its worker has to offer, Dask's `resources`.
        able_at: when there was last a worker that can run it, seconds of the monotonic clock.
    """

    step: ExecutionStep
    needs: Mapping[str, float]
    able_at: float

    def fits(self, offer: Mapping[str, float]) -> bool:
        """Say whether a worker that offers this can run the step."""
        return all(offer.get(name, 0) >= amount for name, amount in self.needs.items())


_Running = dict["Future[Sequence[DagsterEvent]]", _Given]


def dask_steps_executor(settings: Settings) -> dg.ExecutorDefinition:
    """Return the executor that runs each step on a worker of the cluster.

    Raises:
        SettingsError: Dask is not installed.
    """
    DaskCluster.require_dask()
    place = ClusterPlace(settings.dask_scheduler_address, settings.max_workers)

    @dg.executor(name="dask_steps", requirements=dg.multiple_process_executor_requirements())
    def dask_steps(_: dg.InitExecutorContext) -> DaskStepsExecutor:
        return DaskStepsExecutor(place, settings)

    return dask_steps


@dataclass(frozen=True, slots=True)
class Asked:
    """What the run is made of, which its workers have to be made of, too.

    Attributes:
        versions: see `versions_here`.
        key: of `marks`.
        marks: of its settings, see `marks_of`.
    """

    versions: Mapping[str, str]
    key: bytes
    marks: Mapping[str, str]

    def require_here(self) -> None:
        """Check that this process is made of the same.

        Raises:
            WorkerMismatchError: it is not.
            SettingsError: the settings here are wrong.
        """
        me = f"worker {socket.gethostname()}:{os.getpid()}"
        if told := differences(versions_here(), self.versions):
            raise WorkerMismatchError(
                f"{me}: expected the versions of the run, got {'; '.join(told)}: install the same "
                "lock and the same code, and start it again"
            )
        here = load_settings(os.environ, Path(".env"))  # as the definitions do
        if names := others(marks_of(here, self.key), self.marks):
            raise WorkerMismatchError(
                f"{me}: expected the settings of the run, got others for {', '.join(names)}: give "
                "it the same environment, or the same .env, and start it again"
            )


def run_step(
    asked: Asked,
    job: ReconstructableJob,
    run: dg.DagsterRun,
    run_config: Mapping[str, object],
    step: str,
    instance: InstanceRef,
    known: KnownExecutionState,
) -> Sequence[DagsterEvent]:
    """Run one step in this process; this is what a task of the cluster runs.

    Raises:
        WorkerMismatchError: this process is of another version than the one that asks, or has
            other settings.
        SettingsError: the settings here are wrong.
    """
    asked.require_here()
    with dg.DagsterInstance.from_ref(instance) as opened:
        plan = create_execution_plan(
            job, run_config=run_config, step_keys_to_execute=[step], known_state=known
        )
        return execute_plan(
            plan, job, opened, run, run_config=run_config, retry_mode=RetryMode.DEFERRED
        )


class DaskStepsExecutor(Executor):
    """Gives each step to the cluster as soon as those before it are done."""

    def __init__(self, place: ClusterPlace, settings: Settings, again_s: float = WAIT_S) -> None:
        """Keep which cluster is meant.

        Args:
            place: the cluster.
            settings: of the run; its workers have to have the same.
            again_s: seconds after which a step begins again that the cluster has failed.
        """
        self._place = place
        self._again_s = again_s
        key = secrets.token_bytes(32)
        self._asked = functools.partial(Asked, key=key, marks=marks_of(settings, key))

    @property
    def retries(self) -> RetryMode:
        """Steps are repeated as they ask for it."""
        return RetryMode.ENABLED

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        """Run the steps of a plan, and yield what happens.

        Raises:
            ClusterUnavailableError: the cluster does not answer, or has no workers.
        """
        with ExitStack() as stack:
            cluster = DaskCluster(self._place)
            stack.callback(cluster.close)
            cluster.open()
            told = {"dask_dashboard": dg.MetadataValue.url(cluster.dashboard)}
            yield DagsterEvent.engine_event(
                plan_context, f"Steps go to the Dask cluster {cluster.address}",
                EngineEventData(metadata=told),
            )  # fmt: skip
            pools = stack.enter_context(
                InstanceConcurrencyContext(plan_context.instance, plan_context.dagster_run)
            )
            active = stack.enter_context(
                ActiveExecution(
                    execution_plan, retry_mode=self.retries, instance_concurrency_context=pools
                )
            )
            running: _Running = {}
            while not active.is_complete or running:
                if active.check_for_interrupts():
                    active.mark_interrupted()
                    for future in running:
                        future.release()
                    raise DagsterExecutionInterruptedError
                for step in active.get_steps_to_execute():
                    given = _Given(step, _needs(step), time.monotonic())
                    running[self._give(cluster.open(), plan_context, given, active)] = given
                yield from active.concurrency_event_iterator(plan_context)
                yield from self._ended(plan_context, active, running)
                yield from self._stranded(cluster, plan_context, active, running)
                yield from active.plan_events_iterator(plan_context)

    def _give(
        self,
        client: Client,
        context: PlanOrchestrationContext,
        given: _Given,
        active: ActiveExecution,
    ) -> Future[Sequence[DagsterEvent]]:
        step = given.step
        # As one thing: Dask looks into tuples and lists of arguments, and Dagster's refuse that.
        task = functools.partial(
            run_step, self._asked(versions_here()), context.reconstructable_job,
            context.dagster_run, context.run_config, step.key, context.instance.get_ref(),
            active.get_known_state(),
        )  # fmt: skip
        attempt = active.retry_state.get_attempt_count(step.key)
        future: Future[Sequence[DagsterEvent]] = client.submit(
            task, key=f"{step.key} {context.run_id} {attempt}", pure=False,
            resources=dict(given.needs),
        )  # fmt: skip
        return future

    def _ended(
        self, context: PlanOrchestrationContext, active: ActiveExecution, running: _Running
    ) -> Iterator[DagsterEvent]:
        """Wait a little, and yield the events of the steps that came to an end."""
        import distributed  # noqa: PLC0415 - an extra

        if not running:
            active.sleep_til_ready()
            return
        try:
            ended = distributed.wait(
                list(running), timeout=_LOOK_S, return_when="FIRST_COMPLETED"
            ).done
        except distributed.TimeoutError:
            return
        except CancelledError:  # some of them; asking one that goes on would wait for it
            ended = {future for future in running if future.done()}
        for future in ended:
            step = running.pop(future).step
            events = self._events(future, context, step, active)
            yield from self._passed_on(events, context, step, active)

    def _stranded(
        self,
        cluster: DaskCluster,
        context: PlanOrchestrationContext,
        active: ActiveExecution,
        running: _Running,
    ) -> Iterator[DagsterEvent]:
        """Take back the steps that no worker can run for too long, and yield their failures."""
        if not running:
            return
        errors: dict[Future[Sequence[DagsterEvent]], ClusterUnavailableError] = {}
        offers: Sequence[Mapping[str, float]] = ()
        away: ClusterUnavailableError | None = None
        try:
            offers = cluster.offers()
        except ClusterUnavailableError as error:
            away = error  # it may only be busy
        now = time.monotonic()
        for future, given in running.items():
            if any(given.fits(offer) for offer in offers):
                given.able_at = now
            elif now - given.able_at > self._place.no_workers_s:
                errors[future] = away or self._without_a_worker(given)
        for future, why in errors.items():
            step = running.pop(future).step
            future.release()
            told = SerializableErrorInfo(f"{why}\n", [], type(why).__name__)
            failed = self._again_or_failed(context, step, told, active)
            yield from self._passed_on([failed], context, step, active)

    def _without_a_worker(self, given: _Given) -> ClusterUnavailableError:
        wanted = " ".join(f"{name}={amount:g}" for name, amount in given.needs.items())
        offering = f" that offers {wanted}" if wanted else ""
        option = f' --resources "{wanted}"' if wanted else ""
        start = f"start one with `dask worker {self._place.address}{option}`"
        if not self._place.address:
            start = "look at the memory of this machine, or name a cluster: DASK_SCHEDULER_ADDRESS"
        return ClusterUnavailableError(
            f"Dask scheduler {self._place.name}: step {given.step.key}: expected a worker"
            f"{offering}, got none in {self._place.no_workers_s:g} s: {start}"
        )

    def _passed_on(
        self,
        events: Sequence[DagsterEvent],
        context: PlanOrchestrationContext,
        step: ExecutionStep,
        active: ActiveExecution,
    ) -> Iterator[DagsterEvent]:
        """Yield the events of a step that came to an end."""
        for event in events:
            yield event
            active.handle_event(event)
        active.verify_complete(context, step.key)

    def _events(
        self,
        future: Future[Sequence[DagsterEvent]],
        context: PlanOrchestrationContext,
        step: ExecutionStep,
        active: ActiveExecution,
    ) -> Sequence[DagsterEvent]:
        """Return the events of a step, or its failure where there is no knowing them."""
        try:
            return self._result(future, step)
        except (TransientError, sqlalchemy.exc.OperationalError):
            told = serializable_error_info_from_exc_info(sys.exc_info())
            return [self._again_or_failed(context, step, told, active)]
        except Exception:  # noqa: BLE001 - a step's process may raise anything; told as its failure
            told = serializable_error_info_from_exc_info(sys.exc_info())
        return [self._failure(context, step, told, active)]

    def _result(
        self, future: Future[Sequence[DagsterEvent]], step: ExecutionStep
    ) -> Sequence[DagsterEvent]:
        import distributed  # noqa: PLC0415

        try:
            return future.result()
        except (distributed.KilledWorker, CancelledError) as error:
            raise ClusterUnavailableError(
                f"Dask scheduler {self._place.name}: step {step.key}: expected its events, got "
                f"{type(error).__name__}: look at the logs of the scheduler and the workers"
            ) from error
        except RuntimeError as error:
            if NOT_LOADED not in str(error):
                raise
            raise without_our_code(f"{self._place.name}: step {step.key}") from error

    def _again_or_failed(
        self,
        context: PlanOrchestrationContext,
        step: ExecutionStep,
        told: SerializableErrorInfo,
        active: ActiveExecution,
    ) -> DagsterEvent:
        """Return that a step is to be repeated: not it has failed, but what it runs on.

        Dagster's own policy, where the step has one, counts the same attempts.
        """
        if active.retry_state.get_attempt_count(step.key) >= MAX_RETRIES:
            return self._failure(context, step, told, active)
        again = StepRetryData(told, self._again_s)  # type: ignore[no-untyped-call]
        return DagsterEvent.step_retry_event(context.for_step(step), again)

    def _failure(
        self,
        context: PlanOrchestrationContext,
        step: ExecutionStep,
        told: SerializableErrorInfo,
        active: ActiveExecution,
    ) -> DagsterEvent:
        """Return that a step failed, or is to be repeated where it asks for that."""
        return self.log_failure_or_retry_event_after_error(
            context.for_step(step), told, active.get_known_state()
        )


def _needs(step: ExecutionStep) -> Mapping[str, float]:
    from dagster_dask.executor import get_dask_resource_requirements  # noqa: PLC0415 - 1.4 s

    needs: Mapping[str, float] = get_dask_resource_requirements(step.tags)
    return needs
