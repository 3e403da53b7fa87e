"""The sensor that turns new and changed rows of the source into runs of their days."""

import datetime as dt

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from conversation_analytics.core.changes import Cursor, look
from conversation_analytics.core.source import Source, SourceTable
from conversation_analytics.settings import Settings


def nocodb_changes(
    daily_job: UnresolvedAssetJobDefinition,
    undated_job: UnresolvedAssetJobDefinition,
    settings: Settings,
) -> dg.SensorDefinition:
    """Return the sensor `nocodb_changes`; switch it on in the UI."""
    lag = dt.timedelta(seconds=settings.sensor_lag)
    zone = settings.analytics_timezone

    @dg.sensor(
        name="nocodb_changes",
        jobs=[daily_job, undated_job],
        minimum_interval_seconds=settings.sensor_interval,
        description="Looks for rows created or changed since the last look and materialises "
        "exactly their days. The first look begins one SENSOR_LAG back: backfill older days.",
    )
    def changes(
        context: dg.SensorEvaluationContext, source: dg.ResourceParam[Source]
    ) -> dg.SensorResult:
        now = dt.datetime.now(dt.UTC)
        cursor = Cursor.from_json(context.cursor) if context.cursor else Cursor(now)
        since = cursor.watermark - lag
        found = look(
            [(table.value, source.changes_since(table, since)) for table in SourceTable],
            cursor,
            zone=zone,
            first_day=settings.analytics_start_date,
            lag=lag,
            max_days=settings.sensor_max_runs,
            now=now,
        )
        requests = [
            dg.RunRequest(
                run_key=f"{day.day}:{day.digest}",
                job_name=daily_job.name,
                partition_key=day.day.isoformat(),
                tags={"changed_rows": str(day.rows)},
            )
            for day in found.days
        ]
        if found.undated is not None:
            requests.append(
                dg.RunRequest(
                    run_key=f"undated:{found.undated.digest}",
                    job_name=undated_job.name,
                    tags={"changed_rows": str(found.undated.rows)},
                )
            )
        if found.ahead:
            context.log.warning(
                "changes: rows=%d are dated after today and wait for their day; is a clock of the "
                "source wrong?",
                found.ahead,
            )
        cursor_text = found.cursor.to_json()
        if not requests:
            return dg.SensorResult(
                skip_reason=dg.SkipReason(f"No row created or changed since {since:%F %T} UTC."),
                cursor=cursor_text,
            )
        context.log.info(
            "changes: days=%d waiting=%d undated_rows=%d",
            len(found.days), found.waiting, found.undated.rows if found.undated else 0,
        )  # fmt: skip
        return dg.SensorResult(run_requests=requests, cursor=cursor_text)

    return changes
