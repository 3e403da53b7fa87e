"""The executor of this machine. Dagster's default spawns a cold process for every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from conversation_analytics.settings import Settings

# Imported once in the fork server, so that a step's process starts warm.
PRELOAD = (
    "dagster",
    "polars",
    "pyarrow.parquet",
    "conversation_analytics.definitions",
)


def build_executor(settings: Settings) -> dg.ExecutorDefinition:
    """Return the executor that EXECUTOR names.

    `in_process` runs the steps of a run one after the other in its own process;
    `multiprocess` runs up to MAX_WORKERS steps at once, forked from a warm server.
    """
    if settings.executor == "multiprocess":
        return dg.multiprocess_executor.configured(
            {
                "max_concurrent": settings.max_workers,
                "start_method": {"forkserver": {"preload_modules": list(PRELOAD)}},
            }
        )
    return dg.in_process_executor
