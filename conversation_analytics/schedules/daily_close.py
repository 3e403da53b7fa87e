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
    """Return the schedule that materialises yesterday at 01:15 of the analytics time zone."""

    @dg.schedule(
        job=job,
        name="daily_close",
        cron_schedule="15 1 * * *",
        execution_timezone=settings.analytics_timezone.key,
        description="Every night at 01:15: yesterday, from the source to the report.",
    )
    def close_yesterday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time.astimezone(settings.analytics_timezone)
        day = now.date() - dt.timedelta(days=1)
        if day < settings.analytics_start_date:
            return dg.SkipReason(
                f"{day} is before ANALYTICS_START_DATE {settings.analytics_start_date}"
            )
        return dg.RunRequest(run_key=f"close:{day}", partition_key=day.isoformat())

    return close_yesterday
