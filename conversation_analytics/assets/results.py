"""Results that go to NocoDB, day by day: categories, language and topic of each conversation."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from functools import partial

import dagster as dg

from conversation_analytics.assets.erasing import pending
from conversation_analytics.assets.lineage import files_inputs_path
from conversation_analytics.assets.partitions import DailyChain
from conversation_analytics.assets.result_days import (
    OWN_TABLES,
    TOPIC_TABLES,
    LakeResultDays,
    topic_digests,
)
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.periods import Period
from conversation_analytics.core.retention import first_day_kept
from conversation_analytics.core.suppression import Suppressions
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.io_managers.read_log import ReadLog, attempt_of
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.lake.suppressions import read_suppressions
from conversation_analytics.language.taxonomy_files import read_taxonomy
from conversation_analytics.resources.connections import open_results_table
from conversation_analytics.settings import Settings

JOB = "results"
RESULTS = "nocodb_results"
FOLDER = "results"
_VERSION = 1
_LOOKED_THROUGH = f"{FOLDER}/looked_through.txt"
"""For which erasures the whole table has been looked through."""


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
            *(dg.AssetDep(table.name, partition_mapping=of_its_week) for table in TOPIC_TABLES),
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
        # Read once: with an older list than it notes the look through would miss somebody.
        listed = read_suppressions(lake, settings.pseudonym_key)
        held = LakeResultDays(
            lake,
            settings,
            category_types(settings),
            first_kept=first_day_kept(
                settings.retention_curated_days,
                dt.datetime.now(settings.analytics_timezone).date(),
            ),
            erased=listed,
        )
        with retry_if_transient(), open_results_table(settings) as table:
            erased = _erased(lake, listed, settings)
            if erased and erased != _looked_through_for(lake):
                table.look_through(held)
                lake.put_report(_LOOKED_THROUGH, erased.encode())
            for number, key in enumerate(sorted(context.partition_keys)):
                rows = held.read(key, partial(reads.add, attempt, key))
                sent = table.send_day(key, rows, held, strays=number == 0)
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
                        "without_result": sent.without_result,
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
        days: to look at; those without categories are left out, and those before
            ANALYTICS_START_DATE, which are no partitions.

    Returns:
        A digest of what is held, by partition key.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    if not settings.nocodb_results_table:
        return {}
    own = {table: frozenset(lake.keys(table)) for table in OWN_TABLES}
    weeks = frozenset(lake.keys(TOPICS)) & frozenset(lake.keys(CONVERSATION_TOPICS))
    origin = sent_with(settings)
    of_weeks: dict[str, dict[str, str]] = {}
    stale: dict[str, str] = {}
    for day in sorted(set(days)):
        key, week = day.isoformat(), Period.WEEK.start_of(day).isoformat()
        if day < settings.analytics_start_date or not all(key in held for held in own.values()):
            continue
        if week not in of_weeks:
            of_weeks[week] = topic_digests(lake, week) if week in weeks else {}
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


def _erased(lake: Lake, listed: Suppressions | None, settings: Settings) -> str:
    """Return a digest of who was erased and where results go; empty where nobody was.

    What is still pending is in it: somebody is on the list before their rows are out of the lake,
    so that the table has to be looked through once more when the request is closed.
    """
    if listed is None or not (listed.users or listed.conversations):
        return ""
    told = [
        sorted(listed.users), sorted(listed.conversations), pending(lake), sent_with(settings),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _looked_through_for(lake: Lake) -> str:
    return lake.get_report(_LOOKED_THROUGH).decode() if lake.has_report(_LOOKED_THROUGH) else ""
