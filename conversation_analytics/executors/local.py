"""The executor of this machine. Dagster's default spawns a cold process for every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.executors.lanes_definition import defaults_of, lanes_executor
from conversation_analytics.executors.workers import PRELOAD

if TYPE_CHECKING:
    from conversation_analytics.settings import Settings


def build_executor(settings: Settings) -> dg.ExecutorDefinition:
    """Return the executor that EXECUTOR names.

    `lanes` runs each step where it belongs, see `docs/executors.md`; `in_process` runs the steps
    of a run one after the other in its own process; `multiprocess` runs up to MAX_WORKERS steps at
    once, each in a process of its own, forked from a warm server.
    """
    if settings.executor == "lanes":
        return lanes_executor(defaults_of(settings))
    if settings.executor == "multiprocess":
        return dg.multiprocess_executor.configured(
            {
                "max_concurrent": settings.max_workers,
                "start_method": {"forkserver": {"preload_modules": list(PRELOAD)}},
            }
        )
    return dg.in_process_executor
