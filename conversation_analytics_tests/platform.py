"""Running the real definitions in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.definitions import build_definitions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.settings import Settings

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_job(
    settings: Settings,
    job: str,
    first: str | None = None,
    last: str | None = None,
    *,
    instance: dg.DagsterInstance | None = None,
    raise_on_error: bool = True,
    assets: Sequence[str] = (),
) -> dg.ExecuteInProcessResult:
    """Run job `job`, for the days `first` to `last` in a single run where given.

    Just `assets` of it, where any are named.
    """
    definition = build_definitions(settings).resolve_job_def(job)
    tags = {}
    if first is not None:
        tags = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last or first,
        }
    return definition.execute_in_process(
        QUIET, instance=instance, tags=tags, raise_on_error=raise_on_error,
        asset_selection=[dg.AssetKey(name) for name in assets] or None,
    )  # fmt: skip
