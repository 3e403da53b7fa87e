"""What a run's process and its workers tell each other, over a pipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conversation_analytics.core.engine import Engine, EngineChoice

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableJob
    from dagster._core.definitions.repository_definition import RepositoryLoadData
    from dagster._core.execution.plan.state import KnownExecutionState
    from dagster._core.execution.retries import RetryMode
    from dagster._core.instance.ref import InstanceRef
    from dagster_shared.error import SerializableErrorInfo

OpenEngine = Callable[[EngineChoice], Engine]
"""Raises `EngineError`. A function of a module: workers find it by its name."""

STOP = "stop"
"""Ends a worker: at once where it is idle; a step is interrupted."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What all steps of a worker have in common.

    Attributes:
        job: how to load it in another process.
        run_config: of the run.
        run: the run.
        instance: how to open Dagster's instance.
        retry_mode: of plans within this run's plan.
        repository_load_data: what the run's process has loaded for the definitions.
        open_engine: opens the engine of a choice.
        grace_s: seconds an interrupted step has to end.
    """

    job: ReconstructableJob
    run_config: Mapping[str, object]
    run: dg.DagsterRun
    instance: InstanceRef
    retry_mode: RetryMode
    repository_load_data: RepositoryLoadData | None
    open_engine: OpenEngine
    grace_s: float


@dataclass(frozen=True, slots=True)
class StepOrder:
    """A step to execute.

    Attributes:
        step_key: of the run's plan.
        known_state: of the run so far.
        choice: what computes its plans.
    """

    step_key: str
    known_state: KnownExecutionState
    choice: EngineChoice


@dataclass(frozen=True, slots=True)
class StepDone:
    """The step has said all: its events came before."""


@dataclass(frozen=True, slots=True)
class StepBroke:
    """An error came out of the step that Dagster has made no event of.

    Attributes:
        error: as text.
    """

    error: SerializableErrorInfo


@dataclass(frozen=True, slots=True)
class EngineMissing:
    """The engine could not be opened; the step has not begun.

    Attributes:
        because: why.
    """

    because: str
