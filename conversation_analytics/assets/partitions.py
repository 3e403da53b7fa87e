"""The one daily partition and backfill policy of the chain, and what every asset shares.

Parent and child only share a run when both are the same objects.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.dead_letters import DeadLetterLimit
from conversation_analytics.core.document_places import DEFAULT_COLLECTIONS, place_recorded
from conversation_analytics.core.languages import (
    LANGUAGES_VERSION,
    MESSAGE_LANGUAGE,
    LanguageOptions,
)
from conversation_analytics.core.metrics import metrics_version
from conversation_analytics.core.model_performance import MODEL_PERFORMANCE
from conversation_analytics.core.partials import PARTIALS_VERSION, PartialOptions
from conversation_analytics.core.schemas import CATEGORY_PARTIALS, DAILY_PARTIALS, DAILY_REPORT
from conversation_analytics.core.source import SERVED_BY
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.translations import TRANSLATIONS_VERSION
from conversation_analytics.core.windows import day_window
from conversation_analytics.io_managers.lake_io import PLANNED
from conversation_analytics.language.detectors import NaiveBayesDetector
from conversation_analytics.language.taxonomy_files import taxonomy_digests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conversation_analytics.core.corrections import CorrectionRow
    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.settings import Settings

COUNTED_BY: Mapping[str, str] = {"partials": str(PARTIALS_VERSION)}
"""What counts by category record beside their inputs."""
MAX_DAYS_PER_RUN = 31
UNDATED_GROUP = "undated"


@dataclass(frozen=True)
class DailyChain:
    """What all daily assets have in common.

    Attributes:
        partitions: calendar days of the analytics time zone, today included.
        backfill: ranges in runs of at most 31 days.
        settings: of this process.
    """

    partitions: dg.DailyPartitionsDefinition
    backfill: dg.BackfillPolicy
    settings: Settings

    @property
    def asset(self) -> dict[str, Any]:
        """Arguments of every daily asset."""
        return {
            "partitions_def": self.partitions,
            "backfill_policy": self.backfill,
        }


def daily_chain(settings: Settings) -> DailyChain:
    """Build the chain's common parts from the settings."""
    return DailyChain(
        dg.DailyPartitionsDefinition(
            start_date=settings.analytics_start_date.isoformat(),
            timezone=settings.analytics_timezone.key,
            end_offset=1,  # today counts: it is rewritten whole until it is over
        ),
        dg.BackfillPolicy.multi_run(MAX_DAYS_PER_RUN),
        settings,
    )


def origin(settings: Settings, key: str) -> dict[str, str]:
    """Return what a raw partition of day `key` records in place of inputs."""
    window = day_window(dt.date.fromisoformat(key), settings.analytics_timezone)
    return {
        **served_by(settings),
        "window": f"{window.start.isoformat()}/{window.end.isoformat()}",
    }


def dead_letter_limit(settings: Settings) -> DeadLetterLimit:
    """Return how many rows of a day and table may be dead letters."""
    return DeadLetterLimit(settings.dead_letter_share, settings.dead_letter_rows)


def served_by(settings: Settings) -> dict[str, str]:
    """Return what every raw partition records of the source that served it."""
    return {SERVED_BY: settings.source_kind}


def partial_options(settings: Settings) -> PartialOptions:
    """Return what the deployment adds to the partials."""
    return PartialOptions(
        settings.analytics_timezone.key, settings.handoff_markers, settings.metric_dimensions
    )


def computed_with(options: PartialOptions) -> dict[str, str]:
    """Return what partials record of their settings; others make them stale."""
    text = json.dumps([PARTIALS_VERSION, *dataclasses.astuple(options)])
    return {"options": hashlib.sha256(text.encode()).hexdigest()}


def computed_by() -> dict[str, str]:
    """Return what reports record beside their inputs; other metrics make them stale."""
    return {"metrics": metrics_version()}


def told_apart_with(settings: Settings) -> tuple[LanguageOptions, dict[str, str]]:
    """Return how languages are told apart, and what is recorded of it; other makes them stale."""
    options = LanguageOptions(settings.languages)
    told = json.dumps([LANGUAGES_VERSION, NaiveBayesDetector().name, *options.candidates])
    return options, {"options": hashlib.sha256(told.encode()).hexdigest()}


def categorised_with(settings: Settings, rows: tuple[CorrectionRow, ...] = ()) -> dict[str, str]:
    """Return what categories record of taxonomy, examples and model; others make them stale.

    Args:
        settings: of this process.
        rows: of the table of corrections.

    Raises:
        TaxonomyError: a file of the taxonomy cannot be read, or is not as it should be.
        LanguagePartError: the embedder is not installed.
    """
    found = taxonomy_digests(
        settings.taxonomy_origin, settings.taxonomy_corrections_file, settings.embedder, rows
    )
    return {f"taxonomy/{name}": digest for name, digest in found.items()}


def translated_with(settings: Settings) -> dict[str, str]:
    """Return what translations record of their settings; others make them stale."""
    parts = [
        TRANSLATIONS_VERSION, settings.translator_kind, settings.translator_model,
        settings.translator_factory, settings.translation_target, settings.translation_fields,
        settings.translator_batch_characters,
    ]  # fmt: skip
    return {"options": hashlib.sha256(json.dumps(parts).encode()).hexdigest()}


def placed_in(settings: Settings, asset: str) -> dict[str, str]:
    """Return what documents record of their collection; another one makes them stale."""
    setting = f"MONGODB_{DEFAULT_COLLECTIONS[asset].upper()}_COLLECTION"
    return place_recorded(asset, settings.values[setting])


def origins(
    settings: Settings,
    assets: Mapping[str, tuple[str, ...]],
    key: str,
    categorised: Mapping[str, str],
) -> dict[str, Mapping[str, str]]:
    """Return what assets record of day `key` beside the digests of their inputs.

    Args:
        settings: of this process.
        assets: the inputs of each; those without are read from the source.
        key: partition key.
        categorised: what categories of this day are to have recorded.
    """
    found: dict[str, Mapping[str, str]] = {
        name: origin(settings, key) for name, inputs in assets.items() if not inputs
    }
    return found | {
        DAILY_PARTIALS.name: computed_with(partial_options(settings)),
        MESSAGE_LANGUAGE.name: told_apart_with(settings)[1],
        CATEGORIES.name: categorised,
        CATEGORY_PARTIALS.name: COUNTED_BY,
        TRANSLATIONS.name: translated_with(settings),
        **{report.name: computed_by() for report in (DAILY_REPORT, MODEL_PERFORMANCE)},
        **{name: placed_in(settings, name) for name in DEFAULT_COLLECTIONS if name in assets},
    }


def lake_ins(*tables: TableSchema, planned: bool = False) -> dict[str, dg.AssetIn]:
    """Return inputs named like the tables, read from the lake.

    Their Dagster type is Any: a `Partitioned` of a daily table, a frame of another.

    Args:
        tables: of the lake.
        planned: the partitions are plans (LazyFrame): for who needs few of the columns.
    """
    return {table.name: lake_in(table, planned=planned) for table in tables}


def lake_in(table: TableSchema, *, planned: bool = False) -> dg.AssetIn:
    """Return the input that reads `table` from the lake; see `lake_ins`."""
    return dg.AssetIn(
        key=table.name,
        input_manager_key="lake_io",
        dagster_type=dg.Any,
        metadata={PLANNED: True} if planned else None,
    )
