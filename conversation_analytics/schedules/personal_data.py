"""Schedules that finish erasures and remove old days."""

import dagster as dg

from conversation_analytics.assets.erasing import pending
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings


def finish_erasures(job: dg.JobDefinition, settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule that carries out what is asked for and not done.

    Args:
        job: of the erasures.
        settings: of this process.
    """

    @dg.schedule(
        job=job,
        name="finish_erasures",
        cron_schedule="25 * * * *",
        execution_timezone=settings.analytics_timezone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every hour: finishes erasures that were noted for later or interrupted.",
    )
    def finish(lake: dg.ResourceParam[Lake]) -> dg.RunRequest | dg.SkipReason:
        waiting = len(pending(lake))
        return dg.RunRequest() if waiting else dg.SkipReason("No erasure waits.")

    return finish


def retain(job: dg.JobDefinition, settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule that removes old days at 03:15.

    Args:
        job: that removes them.
        settings: of this process.
    """
    ages = {
        zone: settings.values[f"RETENTION_{zone}_DAYS"] for zone in ("RAW", "CURATED", "DOCUMENTS")
    }

    @dg.schedule(
        job=job,
        name="retain",
        cron_schedule="15 3 * * *",
        execution_timezone=settings.analytics_timezone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night at 03:15 removes days older than RETENTION_RAW_DAYS, "
        "RETENTION_CURATED_DAYS and RETENTION_DOCUMENTS_DAYS say; without them it does nothing.",
    )
    def remove() -> dg.RunRequest | dg.SkipReason:
        if not any(ages.values()):
            return dg.SkipReason("Every zone is kept: RETENTION_..._DAYS are 0.")
        return dg.RunRequest()

    return remove
