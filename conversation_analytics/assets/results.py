"""Results that go to NocoDB, day by day: categories, language and topic of each conversation."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable

import dagster as dg
import polars as pl

from conversation_analytics.assets.day_partials import input_name
from conversation_analytics.assets.lineage import files_inputs_path
from conversation_analytics.assets.partitions import DailyChain
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.periods import Period
from conversation_analytics.core.results import WEEK_TOPIC, conversation_results
from conversation_analytics.core.schemas import TableSchema
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.io_managers.read_log import ReadLog, StepAttempt, attempt_of
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.language.taxonomy_files import read_taxonomy
from conversation_analytics.resources.connections import open_results_table
from conversation_analytics.settings import Settings

JOB = "results"
RESULTS = "nocodb_results"
FOLDER = "results"
_VERSION = 1
_TOPIC_TABLES = (TOPICS, CONVERSATION_TOPICS)


def results_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the asset of the table of results; none where NOCODB_RESULTS_TABLE is empty."""
    settings = chain.settings
    if not settings.nocodb_results_table:
        return []
    of_its_week = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)

    @dg.asset(
        name=RESULTS,
        group_name="out",
        deps=[
            CATEGORIES.name,
            MESSAGE_LANGUAGE.name,
            *(dg.AssetDep(table.name, partition_mapping=of_its_week) for table in _TOPIC_TABLES),
        ],
        kinds={"nocodb"},
        description="One row per conversation in NOCODB_RESULTS_TABLE: app, language, categories "
        "and the week's topic, of the last day with turns. Only rows that have changed are sent.",
        **chain.asset,
    )
    def results(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        reads: dg.ResourceParam[ReadLog],
    ) -> None:
        attempt = attempt_of(context.get_step_execution_context())
        types = category_types(settings)
        with retry_if_transient(), open_results_table(settings) as table:
            for key in sorted(context.partition_keys):
                rows = conversation_results(
                    key,
                    types,
                    _read(lake, reads, attempt, key, CATEGORIES, key, CATEGORIES.name),
                    _read(lake, reads, attempt, key, MESSAGE_LANGUAGE, key, MESSAGE_LANGUAGE.name),
                    _week_topics(lake, reads, attempt, key),
                )
                sent = table.send_day(key, rows)
                reads.add_beside(attempt, key, sent_with(settings))
                inputs = json.dumps(reads.inputs(attempt, key), sort_keys=True).encode()
                lake.put_report(files_inputs_path(FOLDER, key), inputs)
                context.add_asset_metadata(
                    {
                        "rows": len(rows),
                        "inserted": sent.inserted,
                        "updated": sent.updated,
                        "deleted": sent.deleted,
                        "unchanged": sent.unchanged,
                        "of_later_days": sent.later,
                        "ids_left_out": sent.left_out,
                    },
                    partition_key=key,
                )

    return [results]


def category_types(settings: Settings) -> tuple[str, ...]:
    """Return the names of the taxonomy's types.

    Raises:
        TaxonomyError: a file of the taxonomy cannot be read, or is not as it should be.
    """
    taxonomy, _ = read_taxonomy(settings.taxonomy_origin, settings.taxonomy_corrections_file)
    return tuple(one.name for one in taxonomy.types)


def sent_with(settings: Settings) -> dict[str, str]:
    """Return what is recorded of the place results are sent to; another makes all days stale."""
    told = [
        _VERSION, settings.nocodb_base_url, settings.nocodb_project_id,
        settings.nocodb_results_table, *category_types(settings),
    ]  # fmt: skip
    return {"options": hashlib.sha256(json.dumps(told).encode()).hexdigest()}


def stale_results(lake: Lake, settings: Settings, days: Iterable[dt.date]) -> dict[str, str]:
    """Return the days whose results have not been sent as they are held, oldest first.

    Args:
        lake: the lake.
        settings: of this process.
        days: to look at; those without categories are left out.

    Returns:
        A digest of what is held, by partition key.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    if not settings.nocodb_results_table:
        return {}
    own = {table: frozenset(lake.keys(table)) for table in (CATEGORIES, MESSAGE_LANGUAGE)}
    weeks = frozenset(lake.keys(TOPICS)) & frozenset(lake.keys(CONVERSATION_TOPICS))
    origin = sent_with(settings)
    of_weeks: dict[str, dict[str, str]] = {}
    stale: dict[str, str] = {}
    for day in sorted(set(days)):
        key, week = day.isoformat(), Period.WEEK.start_of(day).isoformat()
        if not all(key in held for held in own.values()):
            continue
        if week not in of_weeks:
            of_weeks[week] = _digests(lake, _TOPIC_TABLES, week) if week in weeks else {}
        try:
            wanted = {table.name: lake.stat(table, key).sha256 for table in own}
        except OutdatedPartitionError:
            continue  # it is made again first
        path = files_inputs_path(FOLDER, key)
        sent = json.loads(lake.get_report(path)) if lake.has_report(path) else None
        wanted |= of_weeks[week] | origin
        if sent != wanted:
            stale[key] = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    return stale


def _digests(lake: Lake, tables: Iterable[TableSchema], week: str) -> dict[str, str]:
    try:
        return {input_name(table, week): lake.stat(table, week).sha256 for table in tables}
    except OutdatedPartitionError:
        return {}


def _read(
    lake: Lake,
    reads: ReadLog,
    attempt: StepAttempt,
    key: str,
    table: TableSchema,
    partition: str,
    name: str,
) -> pl.DataFrame:
    frame, info = lake.read_with_info(table, partition)
    reads.add(attempt, key, name, info.sha256)
    return frame


def _week_topics(lake: Lake, reads: ReadLog, attempt: StepAttempt, key: str) -> pl.DataFrame:
    """Return the label of the topic that each conversation of the day's week belongs to.

    Topics of too few people are not told here either.
    """
    week = Period.WEEK.start_of(dt.date.fromisoformat(key)).isoformat()
    held = all(lake.exists(table, week) for table in _TOPIC_TABLES)
    if not held or not _digests(lake, _TOPIC_TABLES, week):
        nothing = {"conversation_id": pl.String(), WEEK_TOPIC: pl.String()}
        return pl.DataFrame(schema=nothing)
    topics, belongs = (
        _read(lake, reads, attempt, key, table, week, input_name(table, week))
        for table in _TOPIC_TABLES
    )
    shown = topics.filter(pl.col("shown")).select("topic_id", pl.col("label").alias(WEEK_TOPIC))
    return belongs.join(shown, on="topic_id").select("conversation_id", WEEK_TOPIC)
