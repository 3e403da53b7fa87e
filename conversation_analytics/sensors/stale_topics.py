"""The sensor that finds the topics of weeks, and again where their messages have changed."""

import datetime as dt

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from conversation_analytics.assets.lineage import whole_steps
from conversation_analytics.assets.topics import MADE_TOGETHER, stale_topics
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import MESSAGES
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


def find_topics_again(job: UnresolvedAssetJobDefinition, settings: Settings) -> dg.SensorDefinition:
    """Return the sensor `find_topics_again`; it is on by default.

    Args:
        job: of the topics of weeks.
        settings: of this process.
    """

    @dg.sensor(
        name="find_topics_again",
        job=job,
        minimum_interval_seconds=int(LOOK_INTERVAL.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Every {LOOK_INTERVAL.seconds // 60} minutes: of the weeks that are over and "
        f"tell of the last {LOOK_DAYS} days, finds the topics of the first one that lacks them, or "
        "whose messages (or whose week before) have changed since. One week at a time, for ids go "
        "on from week to week. Older ones: `conversation-analytics repair`.",
    )
    def find(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        documents: dg.ResourceParam[DocumentStore],
    ) -> dg.SensorResult:
        first = first_day_made_again(settings, Period.WEEK)
        days = [day for day in map(dt.date.fromisoformat, lake.keys(MESSAGES)) if day >= first]
        today = dt.datetime.now(settings.analytics_timezone).date()
        wanted = [
            WantedRun(
                job=job.name,
                day=one.start,
                digest=digest_of(
                    ["topics", one.label, *(f"{a.asset}:{a.reason}" for a in one.assets)]
                ),
                why=f"topics of {one.label}: {one.assets[0].asset}: {one.assets[0].reason}",
                assets=whole_steps([a.asset for a in one.assets], MADE_TOGETHER),
                last=one.period.end_of(one.start),
            )
            for one in stale_topics(lake, documents, settings, days, today)[:1]
        ]
        return request_stale(
            context, wanted, settings, days=len(days),
            quiet=f"The topics of the weeks of {len(days)} days are found.",
        )  # fmt: skip

    return find
