"""The executor with lanes as Dagster sees it: its configuration and its defaults."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.execution.step_dependency_config import (
    StepDependencyConfig,
    get_step_dependency_config_field,
)
from dagster._core.execution.tags import get_tag_concurrency_limits_config

from conversation_analytics.core.lanes import LaneRules
from conversation_analytics.executors.devices import default_lease_folder, visible_devices
from conversation_analytics.executors.lanes import LaneConfig, LanesExecutor
from conversation_analytics.resources.engines import open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from conversation_analytics.executors.orders import OpenEngine
    from conversation_analytics.settings import Settings

LIGHT_ROWS = 10_000
GRACE_S = 10.0
DEVICE_WAIT_S = 60.0
DEVICE_IDLE_S = 30.0


@dataclass(frozen=True, slots=True)
class LaneDefaults:
    """What a run gets that configures nothing.

    Attributes:
        max_workers: steps at once on the CPU.
        gpu: devices may be used.
        gpu_min_rows: rows of a plan from which it goes to a device.
        gpu_memory_limit_bytes: of a GPU worker; None: what the engine takes.
        cuda_visible_devices: the devices, as CUDA reads it; empty: all.
        lease_folder: where devices are leased; None: a folder of this user in the one for
            temporary files.
    """

    max_workers: int = 2
    gpu: bool = False
    gpu_min_rows: int = 2_000_000
    gpu_memory_limit_bytes: int | None = None
    cuda_visible_devices: str = ""
    lease_folder: Path | None = None


def defaults_of(settings: Settings) -> LaneDefaults:
    """Return the settings of the lanes."""
    return LaneDefaults(
        settings.max_workers,
        settings.enable_gpu,
        settings.gpu_min_rows,
        settings.gpu_memory_limit,
        settings.cuda_visible_devices,
        settings.gpu_lease_folder,
    )


def lanes_executor(
    defaults: LaneDefaults,
    engine_opener: OpenEngine = open_engine,
    list_devices: Callable[[], Sequence[str]] | None = None,
) -> dg.ExecutorDefinition:
    """Return the executor with lanes.

    Args:
        defaults: of the runs.
        engine_opener: a function of a module that opens the engine of a choice, and raises
            `EngineError` where there is none.
        list_devices: the GPUs of this machine; None asks the driver, within
            `defaults.cuda_visible_devices`.
    """
    listed = list_devices or functools.partial(
        visible_devices, {"CUDA_VISIBLE_DEVICES": defaults.cuda_visible_devices}
    )

    @dg.executor(
        name="lanes",
        config_schema=_schema(defaults),
        requirements=multiple_process_executor_requirements(),
    )
    def lanes(context: dg.InitExecutorContext) -> LanesExecutor:
        return LanesExecutor(_config(dict(context.executor_config)), engine_opener, listed)

    return lanes


def _schema(defaults: LaneDefaults) -> dg.Field:
    return dg.Field(
        {
            "max_workers": dg.Field(
                dg.IntSource, default_value=defaults.max_workers,
                description="Steps at once on the CPU.",
            ),
            "light_rows": dg.Field(
                dg.IntSource, default_value=LIGHT_ROWS,
                description="A step that reads fewer rows, as recorded, runs in the run's process.",
            ),
            "termination_grace_s": dg.Field(
                float, default_value=GRACE_S,
                description="Seconds that interrupted steps have to end before they are killed.",
            ),
            "gpu": {
                "enabled": dg.Field(
                    bool, default_value=defaults.gpu, description="Steps may go to a GPU."
                ),
                "min_rows": dg.Field(
                    dg.IntSource, default_value=defaults.gpu_min_rows,
                    description="Rows of a plan's largest input, as recorded, from which a step "
                    "goes to a GPU.",
                ),
                "memory_limit_bytes": dg.Field(
                    dg.Noneable(int), default_value=defaults.gpu_memory_limit_bytes,
                    description="Memory of its GPU that a worker may use; null: what the engine "
                    "takes by itself.",
                ),
                "wait_s": dg.Field(
                    float, default_value=DEVICE_WAIT_S,
                    description="Seconds that a step waits for a device before it goes to the CPU.",
                ),
                "idle_s": dg.Field(
                    float, default_value=DEVICE_IDLE_S,
                    description="Seconds without a step after which a run gives its device back.",
                ),
                "lease_folder": dg.Field(
                    str, default_value=str(defaults.lease_folder or ""),
                    description="Where devices are leased to runs; empty: a folder of this user in "
                    "the machine's folder for temporary files.",
                ),
            },
            "retries": get_retries_config(),  # type: ignore[no-untyped-call]
            "tag_concurrency_limits": get_tag_concurrency_limits_config(),  # type: ignore[no-untyped-call]
            "step_dependency_config": get_step_dependency_config_field(),  # type: ignore[no-untyped-call]
        },
        description="Runs each step where it belongs: in the run's process, in a warm one, or on "
        "a GPU.",
    )  # fmt: skip


def _config(config: dict[str, Any]) -> LaneConfig:
    gpu = config["gpu"]
    folder = gpu["lease_folder"]
    return LaneConfig(
        retries=RetryMode.from_config(config["retries"]) or RetryMode.ENABLED,
        step_dependency_config=StepDependencyConfig.from_config(
            config.get("step_dependency_config")
        ),
        tag_concurrency_limits=list(config.get("tag_concurrency_limits") or []),
        rules=LaneRules(
            gpu=gpu["enabled"],
            gpu_min_rows=gpu["min_rows"],
            light_rows=config["light_rows"],
            max_workers=max(1, config["max_workers"]),
        ),
        grace_s=config["termination_grace_s"],
        memory_limit_bytes=gpu["memory_limit_bytes"],
        wait_s=gpu["wait_s"],
        idle_s=gpu["idle_s"],
        lease_folder=Path(folder).expanduser() if folder else default_lease_folder(),
    )
