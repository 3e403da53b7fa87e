"""Composition root: settings in, Dagster definitions out."""

import datetime as dt
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Literal

import dagster as dg

from conversation_analytics.alerts.webhook import WebhookConfig
from conversation_analytics.assets.catalog import START_HERE, as_told
from conversation_analytics.assets.checks import daily_checks
from conversation_analytics.assets.corrections import JOB as CORRECTIONS_JOB
from conversation_analytics.assets.corrections import correction_assets, correction_checks
from conversation_analytics.assets.extensions import extension_assets, made_along
from conversation_analytics.assets.from_source import source_assets
from conversation_analytics.assets.lineage import made_from, steps_of
from conversation_analytics.assets.partitions import DailyChain, daily_chain, dead_letter_limit
from conversation_analytics.assets.periods import period_assets
from conversation_analytics.assets.personal_data_jobs import erase_users_job, retention_job
from conversation_analytics.assets.results import JOB as RESULTS_JOB
from conversation_analytics.assets.results import results_assets
from conversation_analytics.assets.topics import JOB as TOPICS_JOB
from conversation_analytics.assets.topics import TOPIC_ASSETS, topic_assets
from conversation_analytics.assets.translations import SKIPPED_WITHOUT_TRANSLATOR
from conversation_analytics.assets.undated import JOB as UNDATED_JOB
from conversation_analytics.assets.undated import UndatedSteps
from conversation_analytics.assets.users import USERS, user_assets
from conversation_analytics.cluster.spread import DaskDays
from conversation_analytics.core.period_report import PERIOD_REPORTS
from conversation_analytics.core.periods import NAMES
from conversation_analytics.core.source import Source
from conversation_analytics.core.translator import Translator
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.executors.local import build_executor
from conversation_analytics.extensions import use_extensions
from conversation_analytics.io_managers.document_io import DocumentIOManager
from conversation_analytics.io_managers.lake_io import LakeIOManager
from conversation_analytics.io_managers.read_log import ReadLog
from conversation_analytics.logs import configure_logs
from conversation_analytics.resources.connections import (
    collection_specs,
    open_documents,
    open_lake,
    open_source,
    open_translator,
)
from conversation_analytics.resources.engines import ENGINE
from conversation_analytics.schedules.daily_close import daily_close
from conversation_analytics.schedules.personal_data import finish_erasures, retain
from conversation_analytics.schedules.refresh_users import refresh_users
from conversation_analytics.sensors.changed_corrections import changed_corrections
from conversation_analytics.sensors.finished_reports import finished_reports
from conversation_analytics.sensors.nocodb_changes import nocodb_changes
from conversation_analytics.sensors.run_failures import run_failures
from conversation_analytics.sensors.stale_days import repair_stale
from conversation_analytics.sensors.stale_periods import merge_periods
from conversation_analytics.sensors.stale_results import send_results
from conversation_analytics.sensors.stale_topics import find_topics_again
from conversation_analytics.settings import Settings, load_settings

_LATE, _OVERDUE = dt.timedelta(hours=26), dt.timedelta(hours=36)
_WEEK = dt.timedelta(weeks=1)
PartitionListener = Callable[[str, str | None], None]


def _nobody(_asset: str, _partition: str | None) -> None:
    """Hear of a finished partition and do nothing."""


def spread_of(settings: Settings) -> DaskDays | None:
    """Return what computes days elsewhere; None: EXECUTOR leaves them to the run's process."""
    return DaskDays(settings) if settings.executor == "dask" else None


def build_definitions(
    settings: Settings,
    on_partition: PartitionListener = _nobody,
    spread: DaskDays | None = None,
) -> dg.Definitions:
    """Build everything Dagster knows about this platform.

    Args:
        settings: of this process.
        on_partition: called with asset and partition key after each stored partition.
        spread: computes days elsewhere, for who keeps it open over several runs; None: each run
            opens what EXECUTOR says, and closes it.
    """
    use_extensions(settings)
    chain = daily_chain(settings)
    assets = source_assets(chain)
    daily = _daily(chain, assets)
    undated = _undated(assets)
    merged = {period: period_assets(chain, period) for period in PERIOD_REPORTS}
    of_users = user_assets(chain)
    of_corrections = correction_assets(chain)
    of_topics = topic_assets(chain)
    of_results = results_assets(chain)
    own = [
        *assets,
        *(one for of_period in merged.values() for one in of_period),
        *of_users,
        *of_topics,
        *of_corrections,
        *of_results,
    ]
    of_extensions = extension_assets(chain, own)
    daily_job = dg.define_asset_job(
        "daily",
        selection=dg.AssetSelection.assets(*daily, *_daily(chain, of_extensions)),
        description=f"One day (or a range of days) from the source to the report.\n{START_HERE}",
    )
    undated_job = dg.define_asset_job(
        UNDATED_JOB,
        selection=dg.AssetSelection.assets(*undated),
        description="Rows that have no time of creation, from the source to the documents.",
    )
    users_job = dg.define_asset_job(
        USERS,
        selection=dg.AssetSelection.assets(*of_users),
        description="Users, growth and cohorts, folded from the partials of all days.",
    )
    corrections_job = dg.define_asset_job(
        CORRECTIONS_JOB,
        selection=dg.AssetSelection.assets(*of_corrections),
        description="The table of corrections, read from NocoDB.",
    )
    topics_job = dg.define_asset_job(
        TOPICS_JOB,
        selection=dg.AssetSelection.assets(*of_topics),
        description="Topics of one week (or several, in order), found in its conversations.",
    )
    results_jobs = [
        dg.define_asset_job(
            RESULTS_JOB,
            selection=dg.AssetSelection.assets(*of_results),
            description="One day (or a range) of categories, languages and topics, to NocoDB.",
        )
        for _ in of_results[:1]
    ]
    period_jobs = {
        period: dg.define_asset_job(
            NAMES[period],
            selection=dg.AssetSelection.assets(*of_period),
            description=f"The report of one {period.value} (or several), merged from its days.",
        )
        for period, of_period in merged.items()
    }
    of_reports = _webhook(settings, "REPORT")
    erasures_job, old_days_job = erase_users_job(settings), retention_job(settings)
    definitions = dg.Definitions(
        assets=[*own, *of_extensions],
        asset_checks=[
            *daily_checks(chain, dead_letter_limit(settings)),
            *correction_checks(chain),
        ],
        jobs=[
            daily_job,
            undated_job,
            *period_jobs.values(),
            users_job,
            topics_job,
            corrections_job,
            *results_jobs,
            erasures_job,
            old_days_job,
        ],
        schedules=[
            daily_close(daily_job, settings),
            refresh_users(users_job, settings),
            finish_erasures(erasures_job, settings),
            retain(old_days_job, settings),
        ],
        sensors=[
            nocodb_changes(daily_job, undated_job, settings),
            repair_stale(
                daily_job,
                daily_graph(settings),
                daily_steps(settings),
                settings,
                undated_job,
                undated_steps(settings),
            ),
            find_topics_again(topics_job, settings),
            merge_periods(period_jobs, settings),
            changed_corrections(corrections_job, settings),
            *([finished_reports(of_reports, settings)] if of_reports else []),
            *(send_results(job, settings) for job in results_jobs),
            run_failures(_webhook(settings, "ALERT"), settings.dagster_ui_url),
        ],
        executor=_executor(settings),
        resources=_resources(settings, on_partition, spread or spread_of(settings)),
    )
    tell, known = as_told(settings), {key for one in own for key in one.keys}

    def told(spec: dg.AssetSpec) -> dg.AssetSpec:
        fresh = _with_freshness(spec)
        # What an extension's asset holds of people is its author's to say.
        return tell(fresh) if spec.key in known else fresh

    return definitions.map_asset_specs(func=told)


def _executor(settings: Settings) -> dg.ExecutorDefinition:
    if settings.executor == "dask_steps":
        # Parts of Dagster that nobody else needs.
        from conversation_analytics.cluster.steps import dask_steps_executor  # noqa: PLC0415

        return dask_steps_executor(settings)
    return build_executor(settings)


def _with_freshness(spec: dg.AssetSpec) -> dg.AssetSpec:
    """Every zone is expected to be made each day: the nightly close makes yesterday.

    Topics are of weeks that are over.
    """
    if spec.partitions_def is None or spec.key.path[-1] in SKIPPED_WITHOUT_TRANSLATOR:
        return spec
    more = _WEEK if spec.key.path[-1] in TOPIC_ASSETS else dt.timedelta(0)
    policy = dg.FreshnessPolicy.time_window(fail_window=_OVERDUE + more, warn_window=_LATE + more)
    return dg.apply_freshness_policy(spec, policy)


def _daily(chain: DailyChain, assets: list[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    return [asset for asset in assets if asset.partitions_def is chain.partitions]


def _undated(assets: list[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    return [asset for asset in assets if asset.partitions_def is None]


def undated_steps(settings: Settings) -> UndatedSteps:
    """Return how rows without a time of creation are made, from the source to the documents."""
    own = _undated(source_assets(daily_chain(settings)))
    return UndatedSteps(made_from(own, dated=False), steps_of(own))


def daily_graph(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the inputs of each daily asset by name, every asset after its inputs."""
    chain = daily_chain(settings)
    return made_from(_wanted(chain, _daily(chain, source_assets(chain))))


def daily_steps(settings: Settings) -> tuple[frozenset[str], ...]:
    """Return the names of the daily assets that are made together, step by step."""
    chain = daily_chain(settings)
    own = _wanted(chain, _daily(chain, source_assets(chain)))
    more = _daily_of_extensions(chain)
    return (*steps_of(own), *made_along(made_from(own), made_from([*own, *more])))


def daily_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of all assets of a day, those of extensions among them."""
    more = _daily_of_extensions(daily_chain(settings))
    return (*daily_graph(settings), *(key.path[-1] for one in more for key in one.keys))


def _daily_of_extensions(chain: DailyChain) -> list[dg.AssetsDefinition]:
    return _daily(chain, extension_assets(chain, source_assets(chain)))


def _wanted(chain: DailyChain, daily: list[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Leave out what runs skip: without a translator nothing lacks where there is none."""
    if chain.settings.translator_kind:
        return daily
    names = SKIPPED_WITHOUT_TRANSLATOR
    return [one for one in daily if names.isdisjoint(key.path[-1] for key in one.keys)]


def _webhook(settings: Settings, kind: Literal["ALERT", "REPORT"]) -> WebhookConfig | None:
    values, prefix = settings.values, f"{kind}_WEBHOOK"
    if not values[f"{prefix}_URL"]:
        return None
    return WebhookConfig(
        values[f"{prefix}_URL"],
        values[f"{prefix}_SECRET"],
        allow_http=values[f"{prefix}_ALLOW_HTTP"],
        allow_private=values[f"{prefix}_ALLOW_PRIVATE"],
        ca_file=str(values[f"{prefix}_CA_FILE"] or ""),
        kind=kind,
    )


def _resources(
    settings: Settings, on_partition: PartitionListener, spread: DaskDays | None = None
) -> dict[str, dg.ResourceDefinition]:
    """Return resources that open when a step needs them and close with it."""
    reads = ReadLog()

    def source(_: dg.InitResourceContext) -> Iterator[Source]:
        with closing(open_source(settings)) as opened:
            yield opened

    def documents(_: dg.InitResourceContext) -> Iterator[DocumentStore]:
        with closing(open_documents(settings)) as opened:
            yield opened

    def translator(_: dg.InitResourceContext) -> Iterator[Translator | None]:
        opened = open_translator(settings)
        try:
            yield opened
        finally:
            if opened is not None:
                opened.close()

    def document_io(_: dg.InitResourceContext) -> Iterator[DocumentIOManager]:
        with closing(open_documents(settings)) as opened:
            yield DocumentIOManager(opened, collection_specs(settings), reads, ENGINE, on_partition)

    def lake_io(_: dg.InitResourceContext) -> Iterator[LakeIOManager]:
        threads = settings.threads_processing
        with spread or nullcontext():
            yield LakeIOManager(open_lake(settings), threads, reads, ENGINE, on_partition, spread)

    return {
        "source": dg.ResourceDefinition(source),
        "lake": dg.ResourceDefinition(lambda _: open_lake(settings)),
        "reads": dg.ResourceDefinition.hardcoded_resource(reads),
        "engine": dg.ResourceDefinition.hardcoded_resource(ENGINE),
        "documents": dg.ResourceDefinition(documents),
        "translator": dg.ResourceDefinition(translator),
        # Dagster takes generators here as for every resource; its annotation does not say so.
        "lake_io": dg.IOManagerDefinition(lake_io),  # type: ignore[arg-type]
        "document_io": dg.IOManagerDefinition(document_io),  # type: ignore[arg-type]
    }


def settings_of_process() -> Settings:
    """Read the environment, and `.env` of the working directory beneath it."""
    return load_settings(os.environ, Path(".env"))


@dg.definitions
def defs() -> dg.Definitions:
    """Definitions of this code location, built when Dagster loads it."""
    settings = settings_of_process()
    configure_logs(settings)
    with warnings.catch_warnings():
        # Of what Dagster marks as beta and preview; the versions are pinned, and nobody who reads
        # the log of the code location can act on it.
        warnings.filterwarnings("ignore", message=".* is currently in (beta|preview)")
        return build_definitions(settings)
