"""The sensor that reads the table of corrections when people have changed it."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from conversation_analytics.core.corrections import CORRECTIONS
from conversation_analytics.lake.store import Lake
from conversation_analytics.resources.connections import corrections_at_source
from conversation_analytics.sensors.run_history import (
    LOOK_INTERVAL,
    WantedRun,
    digest_of,
    request_stale,
)
from conversation_analytics.settings import Settings


def changed_corrections(
    job: UnresolvedAssetJobDefinition, settings: Settings
) -> dg.SensorDefinition:
    """Return the sensor `changed_corrections`; it is on by default, and idle without a table.

    Args:
        job: of corrections.
        settings: of this process.
    """

    @dg.sensor(
        name="changed_corrections",
        job=job,
        minimum_interval_seconds=int(LOOK_INTERVAL.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Every {LOOK_INTERVAL.seconds // 60} minutes, where NOCODB_CORRECTIONS_TABLE "
        "is set: takes the table over if it is not as it is held. The sensor repair_stale makes "
        "the days again that it changes.",
    )
    def look(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.SensorResult | dg.SkipReason:
        if not settings.nocodb_corrections_table:
            return dg.SkipReason("NOCODB_CORRECTIONS_TABLE is empty.")
        there = corrections_at_source(settings)
        held = lake.read(CORRECTIONS, None) if lake.exists(CORRECTIONS, None) else None
        differs = held is None or not there.equals(held)
        told = [str(there.hash_rows(seed=0).sum()), str(there.height)]
        wanted = [WantedRun(job.name, None, digest_of(told), "the table of corrections differs")]
        return request_stale(
            context, wanted if differs else [], settings, days=0,
            quiet=f"The {there.height} rows of corrections are held.",
        )  # fmt: skip

    return look
