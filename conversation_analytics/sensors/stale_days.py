"""The sensor that makes again what is missing or was made of rows that have changed since."""

import datetime as dt
from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from conversation_analytics.assets.lineage import (
    StaleDay,
    assets_to_make,
    days_held,
    stale_days,
    whole_steps,
)
from conversation_analytics.assets.undated import UndatedSteps, stale_undated
from conversation_analytics.core.staleness import StaleAsset
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.lake.store import Lake
from conversation_analytics.lost_runs import end_killed_commands
from conversation_analytics.sensors.backlog import is_backlog, plan_backlog
from conversation_analytics.sensors.run_history import (
    LOOK_DAYS,
    LOOK_INTERVAL,
    WantedRun,
    digest_of,
    first_day_made_again,
    request_stale,
)
from conversation_analytics.settings import Settings


def repair_stale(
    job: UnresolvedAssetJobDefinition,
    graph: Mapping[str, tuple[str, ...]],
    steps: Sequence[frozenset[str]],
    settings: Settings,
    undated_job: UnresolvedAssetJobDefinition,
    undated: UndatedSteps,
) -> dg.SensorDefinition:
    """Return the sensor `repair_stale`; it is on by default.

    Args:
        job: of the daily chain.
        graph: inputs of each daily asset.
        steps: assets that are made together.
        settings: of this process.
        undated_job: of the rows without a time.
        undated: how these are made.
    """

    @dg.sensor(
        name="repair_stale",
        jobs=[job, undated_job],
        minimum_interval_seconds=int(LOOK_INTERVAL.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Every {LOOK_INTERVAL.seconds // 60} minutes: of the days of the last "
        f"{LOOK_DAYS} that have been read, makes again exactly the assets that are missing or "
        "were made of other rows than are stored now, as after a run that was killed; so of rows "
        "without a time, also where one of these days holds such a row by now. Nothing is made of "
        "a table with too many dead letters: the tick names such days. Days that "
        "only wait for translations take turns, one an hour. Older days: "
        "`conversation-analytics repair`.",
    )
    def repair(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        documents: dg.ResourceParam[DocumentStore],
    ) -> dg.SensorResult:
        for run_id in end_killed_commands(context.instance):
            context.log.warning("run %s was lost with the command that was killed: ended", run_id)
        first = first_day_made_again(settings)
        keys = [key for key in days_held(lake) if key >= first.isoformat()]
        stale = list(stale_days(graph, lake, documents, settings, keys))
        backlog = [day for day in stale if is_backlog(day)]
        wanted = [
            _wanted(job.name, day, steps) for day in stale if day.assets and not is_backlog(day)
        ]
        if assets := stale_undated(undated.graph, lake, documents, settings, keys):
            wanted.append(_wanted_undated(undated_job.name, assets, undated))
        beside = plan_backlog(context.instance, job.name, backlog, dt.datetime.now(dt.UTC))
        stopped = [day.stopped for day in stale if day.stops]
        if stopped:
            context.log.warning(
                "days are stopped by dead letters: days=%d; %s", len(stopped), "; ".join(stopped)
            )
        return request_stale(
            context, wanted, settings, days=len(keys), beside=beside, stopped=stopped,
            quiet=f"All of {len(keys)} days are as they should be.",
        )  # fmt: skip

    return repair


def _wanted(job: str, day: StaleDay, steps: Sequence[frozenset[str]]) -> WantedRun:
    told = (f"{stale.asset}:{stale.reason}" for stale in day.assets)
    return WantedRun(
        job=job,
        day=dt.date.fromisoformat(day.key),
        digest=digest_of(told),
        why=f"{len(day.assets)} assets are stale ({day.assets[0].asset}: {day.assets[0].reason})",
        assets=assets_to_make(day, steps),
    )


def _wanted_undated(job: str, stale: Sequence[StaleAsset], undated: UndatedSteps) -> WantedRun:
    return WantedRun(
        job=job,
        day=None,
        digest=digest_of(["undated", *(f"{one.asset}:{one.reason}" for one in stale)]),
        why=f"{len(stale)} assets are stale ({stale[0].asset}: {stale[0].reason})",
        assets=whole_steps([one.asset for one in stale], undated.steps),
    )
