"""Schedules of the daily chain."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from conversation_analytics.settings import Settings


def daily_close(job: UnresolvedAssetJobDefinition, settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule that reads closed days again at 01:15 of the analytics time zone.

    Which days is REREAD_DAYS: yesterday, to close it, and older days, because rows change and
    appear at the source without any trace in their times. A day that is as it was writes nothing.
    """
    ages = settings.reread_days
    which = ", ".join(f"D-{age}" for age in ages) or "none"

    @dg.schedule(
        job=job,
        name="daily_close",
        cron_schedule="15 1 * * *",
        execution_timezone=settings.analytics_timezone.key,
        description=f"Every night at 01:15 the days {which} (REREAD_DAYS), from the source to the "
        "report; a day whose rows are as they were is not rewritten.",
    )
    def close_days(
        context: dg.ScheduleEvaluationContext,
    ) -> list[dg.RunRequest] | dg.SkipReason:
        today = context.scheduled_execution_time.astimezone(settings.analytics_timezone).date()
        days = [today - dt.timedelta(days=age) for age in ages]
        requests = [
            dg.RunRequest(run_key=f"close:{today}:{day}", partition_key=day.isoformat())
            for day in days
            if day >= settings.analytics_start_date
        ]
        return requests or dg.SkipReason(
            f"no day to read: REREAD_DAYS is {which}, ANALYTICS_START_DATE "
            f"{settings.analytics_start_date}"
        )

    return close_days
