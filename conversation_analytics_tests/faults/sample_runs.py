"""Runs of the daily job over the sample source, in this process, and what came of them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.core import errors
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.windows import day_window
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_source
from conversation_analytics_tests.platform import QUIET

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from conversation_analytics.settings import Settings
    from conversation_analytics_tests.faults.exactly_once import Payloads

_OWN = {PartitionReplacedError.__name__} | {
    name for name, value in vars(errors).items() if isinstance(value, type)
}
Failures = dict[str, tuple[str, str]]
"""Step to class and message of the platform's own error; check to its name and description."""


def run_daily(
    settings: Settings,
    first: str,
    last: str | None = None,
    *,
    assets: Collection[str] = (),
    source: object | None = None,
) -> Failures:
    """Run the daily job, or just `assets` of it; return what failed.

    Args:
        settings: of the platform.
        first: day, ISO date.
        last: the range's last day; None is `first`.
        assets: names; none are all.
        source: asked instead of the source of the settings.
    """
    job = build_definitions(settings).resolve_job_def("daily")
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last or first,
    }
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            QUIET,
            tags=tags,
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
            resources=None if source is None else {"source": source},
            raise_on_error=False,
        )
    found = {event.step_key or "": _told(event) for event in result.get_step_failure_events()}
    return found | {
        check.check_name: (check.check_name, check.description or "")
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    }


def _told(event: dg.DagsterEvent) -> tuple[str, str]:
    """Class and message of the platform's own error, however it is wrapped."""
    chain = [event.step_failure_data.error]
    while chain[-1] is not None and chain[-1].cause is not None:
        chain.append(chain[-1].cause)
    known = [error for error in chain if error is not None]
    own = [error for error in known if error.cls_name in _OWN]
    error = (own or known)[-1]
    return error.cls_name or "", error.message


def rows_of(settings: Settings, days: Iterable[str]) -> dict[SourceTable, Payloads]:
    """Return what the source of the settings serves for some days."""
    source, zone = open_source(settings), settings.analytics_timezone
    windows = [day_window(dt.date.fromisoformat(day), zone) for day in days]
    return {
        table: {
            row_id: payload
            for window in windows
            for row_id, payload in source.read_window(table, window.start, window.end)
            .select("id", "payload")
            .iter_rows()
        }
        for table in SourceTable
    }
