"""Runs of the command line that may use a GPU: by the executor with lanes, in this process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.execution.api import execute_run_iterator

from conversation_analytics.definitions import build_definitions, settings_of_process
from conversation_analytics.executors.devices import visible_devices
from conversation_analytics.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from conversation_analytics.settings import Settings


def use_lanes(settings: Settings) -> bool:
    """Tell whether a GPU is wanted and there: otherwise steps are quicker one after the other."""
    environment = {"CUDA_VISIBLE_DEVICES": settings.cuda_visible_devices}
    return bool(settings.enable_gpu) and bool(visible_devices(environment))


def job_of_process(name: str) -> dg.JobDefinition:
    """Return a job as every process of a run builds it: from the environment and `.env`.

    The process logs where LOG_FILE and LOG_LEVEL say: a worker has no other entry point.
    """
    settings = settings_of_process()
    configure_logs(settings)
    return build_definitions(settings).resolve_job_def(name)


def execute_in_lanes(
    name: str,
    instance: dg.DagsterInstance,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
    assets: Sequence[dg.AssetKey],
    on_partition: Callable[[str, str | None], None],
) -> dg.JobExecutionResult:
    """Execute a job with its own executor, and report each partition as Dagster hears of it.

    Args:
        name: of the job.
        instance: Dagster's.
        run_config: of the run.
        tags: of the run.
        assets: what of the job is made; empty: everything.
        on_partition: called with asset and partition key.
    """
    job = dg.build_reconstructable_job(__name__, job_of_process.__name__, (name,))
    chosen = frozenset(assets) or None
    if chosen:
        job = job.get_subset(asset_selection=chosen)
    run = instance.create_run_for_job(
        job.get_definition(),
        run_config=run_config,
        tags=tags,
        asset_selection=chosen,
        job_code_origin=job.get_python_origin(),
    )
    events = []
    for event in execute_run_iterator(job, run, instance):
        events.append(event)
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
            on_partition(event.asset_key.path[-1], event.partition)
    ended = instance.get_run_by_id(run.run_id) or run
    # Outputs are in the lake: nobody opens a context to load them.
    no_context: Any = contextlib.nullcontext()
    return dg.JobExecutionResult(job.get_definition(), no_context, events, ended)
