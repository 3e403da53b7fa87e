"""The schedule that folds the users again when a day has changed."""

import datetime as dt

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from conversation_analytics.assets.users import stale_users
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings


def refresh_users(job: UnresolvedAssetJobDefinition, settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule that makes users, growth and cohorts again at 02:15.

    They are made of every day held, so that making them after each changed day would be a waste.

    Args:
        job: of the users.
        settings: of this process.
    """

    @dg.schedule(
        job=job,
        name="refresh_users",
        cron_schedule="15 2 * * *",
        execution_timezone=settings.analytics_timezone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night at 02:15 users, growth and cohorts, if a day has changed since.",
    )
    def refresh(
        context: dg.ScheduleEvaluationContext,
        lake: dg.ResourceParam[Lake],
        documents: dg.ResourceParam[DocumentStore],
    ) -> dg.RunRequest | dg.SkipReason:
        today = dt.datetime.now(settings.analytics_timezone).date()
        if not (stale := stale_users(lake, documents, settings, today)):
            return dg.SkipReason(
                "The tables of users are of the days held, or days are to be made first."
            )
        context.log.info("stale: asset=%s reason=%s", stale[0].asset, stale[0].reason)
        return dg.RunRequest()

    return refresh
