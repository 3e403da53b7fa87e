"""The sensor that sends results to NocoDB where the days they are of have changed since."""

import datetime as dt

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from conversation_analytics.assets.results import stale_results
from conversation_analytics.core.categories import CATEGORIES
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


def send_results(job: UnresolvedAssetJobDefinition, settings: Settings) -> dg.SensorDefinition:
    """Return the sensor `send_results`; it is on by default.

    Args:
        job: of the results.
        settings: of this process.
    """

    @dg.sensor(
        name="send_results",
        job=job,
        minimum_interval_seconds=int(LOOK_INTERVAL.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Every {LOOK_INTERVAL.seconds // 60} minutes: sends the days of the last "
        f"{LOOK_DAYS} to NOCODB_RESULTS_TABLE whose categories, languages or week's topics are "
        "others than were sent. Older ones: `conversation-analytics repair`.",
    )
    def send(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.SensorResult:
        first = first_day_made_again(settings)
        days = [day for day in map(dt.date.fromisoformat, lake.keys(CATEGORIES)) if day >= first]
        wanted = [
            WantedRun(
                job=job.name,
                day=dt.date.fromisoformat(key),
                digest=digest_of(["results", key, held]),
                why="results differ from what was sent",
            )
            for key, held in stale_results(lake, settings, days).items()
        ]
        return request_stale(
            context, wanted, settings, days=len(days),
            quiet=f"The results of {len(days)} days are sent.",
        )  # fmt: skip

    return send
