"""The sensor that merges weeks and months again when one of their days has changed."""

import datetime as dt
from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from conversation_analytics.assets.periods import StalePeriod, stale_periods
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.lake.store import Lake
from conversation_analytics.sensors.run_history import (
    LOOK_DAYS,
    LOOK_INTERVAL,
    WantedRun,
    digest_of,
    first_day_made_again,
    request_stale,
)
from conversation_analytics.settings import Settings


def merge_periods(
    jobs: Mapping[Period, UnresolvedAssetJobDefinition], settings: Settings
) -> dg.SensorDefinition:
    """Return the sensor `merge_periods`; it is on by default.

    Args:
        jobs: of weeks and of months.
        settings: of this process.
    """

    @dg.sensor(
        name="merge_periods",
        jobs=list(jobs.values()),
        minimum_interval_seconds=int(LOOK_INTERVAL.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Every {LOOK_INTERVAL.seconds // 60} minutes: of the weeks and months that "
        f"tell of the last {LOOK_DAYS} days, merges exactly those again of which a day has changed "
        "since, and no other. Older ones: `conversation-analytics repair`.",
    )
    def merge(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        documents: dg.ResourceParam[DocumentStore],
    ) -> dg.SensorResult:
        held = [dt.date.fromisoformat(key) for key in lake.keys(DAILY_PARTIALS)]
        of_periods = {
            period: [day for day in held if day >= first_day_made_again(settings, period)]
            for period in jobs
        }
        days = set().union(*of_periods.values())
        today = dt.datetime.now(settings.analytics_timezone).date()
        stale = [
            one
            for period, told in of_periods.items()
            for one in stale_periods(lake, documents, settings, period, told, today)
        ]
        wanted = [_wanted(jobs[one.period].name, one) for one in stale]
        return request_stale(
            context, wanted, settings, days=len(days),
            quiet=f"The weeks and months of {len(days)} days are merged.",
        )  # fmt: skip

    return merge


def _wanted(job: str, stale: StalePeriod) -> WantedRun:
    told = [stale.label, *(f"{one.asset}:{one.reason}" for one in stale.assets)]
    return WantedRun(
        job=job,
        day=stale.start,
        digest=digest_of(told),
        why=f"{stale.label} is stale ({stale.assets[0].asset}: {stale.assets[0].reason})",
        assets=tuple(sorted(one.asset for one in stale.assets)),
        last=stale.period.end_of(stale.start),
    )
