"""The sensor that makes again what is missing or was made of rows that have changed since."""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from conversation_analytics.assets.lineage import StaleDay, days_held, stale_days, whole_steps
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.lake.store import Lake
from conversation_analytics.sensors.run_history import WantedRun, plan_runs
from conversation_analytics.settings import Settings

_INTERVAL = dt.timedelta(minutes=10)
_DAYS_BACK = 35


def repair_stale(
    job: UnresolvedAssetJobDefinition,
    graph: Mapping[str, tuple[str, ...]],
    steps: Sequence[frozenset[str]],
    settings: Settings,
) -> dg.SensorDefinition:
    """Return the sensor `repair_stale`; it is on by default.

    Args:
        job: of the daily chain.
        graph: inputs of each daily asset.
        steps: assets that are made together.
        settings: of this process.
    """

    @dg.sensor(
        name="repair_stale",
        job=job,
        minimum_interval_seconds=int(_INTERVAL.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Every {_INTERVAL.seconds // 60} minutes: of the days of the last "
        f"{_DAYS_BACK} that have been read, makes again exactly the assets that are missing or "
        "were made of other rows than are stored now, as after a run that was killed. Older "
        "days: `conversation-analytics repair`.",
    )
    def repair(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        documents: dg.ResourceParam[DocumentStore],
    ) -> dg.SensorResult:
        now = dt.datetime.now(dt.UTC)
        first = now.astimezone(settings.analytics_timezone).date() - dt.timedelta(days=_DAYS_BACK)
        keys = [key for key in days_held(lake) if key >= first.isoformat()]
        stale = list(stale_days(graph, lake, documents, settings, keys))
        requests, waiting = plan_runs(
            context.instance, [_wanted(job.name, day, steps) for day in stale],
            interval=_INTERVAL, max_runs=settings.sensor_max_runs, now=now,
        )  # fmt: skip
        context.log.info("looked: days=%d stale=%d runs=%d", len(keys), len(stale), len(requests))
        if requests:
            return dg.SensorResult(run_requests=requests)
        reason = "; ".join(waiting[:5]) or f"All of {len(keys)} days are as they should be."
        return dg.SensorResult(skip_reason=dg.SkipReason(reason))

    return repair


def _wanted(job: str, day: StaleDay, steps: Sequence[frozenset[str]]) -> WantedRun:
    told = "|".join(f"{stale.asset}:{stale.reason}" for stale in day.assets)
    return WantedRun(
        job=job,
        day=dt.date.fromisoformat(day.key),
        digest=hashlib.sha256(told.encode()).hexdigest()[:16],
        why=f"{len(day.assets)} assets are stale ({day.assets[0].asset}: {day.assets[0].reason})",
        assets=whole_steps([stale.asset for stale in day.assets], steps),
    )
