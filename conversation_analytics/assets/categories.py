"""Categories of the conversations of a day, counts by them, and their documents."""

import dataclasses
from typing import Any

import dagster as dg
import polars as pl

from conversation_analytics.assets.corrections import corrected_of, correction_rows
from conversation_analytics.assets.partitions import (
    COUNTED_BY,
    DailyChain,
    categorised_with,
    lake_ins,
)
from conversation_analytics.core.categories import (
    CATEGORIES,
    categories,
    category_documents,
    still_right,
)
from conversation_analytics.core.conversation_texts import conversation_texts, first_queries
from conversation_analytics.core.corrections import CORRECTIONS
from conversation_analytics.core.engine import Engine
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.lanes import PLANS
from conversation_analytics.core.partials import category_partials
from conversation_analytics.core.partitions import Described, Partitioned
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import CATEGORY_PARTIALS, MESSAGES
from conversation_analytics.core.taxonomy import OTHER
from conversation_analytics.io_managers.lake_io import column_schema
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.language.taxonomy_files import (
    created_by,
    read_taxonomy,
    taxonomy_digests,
    train_taxonomy,
)
from conversation_analytics.resources.engines import embedder_of


def category_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the categories of a day, the counts by them, and their documents."""
    settings = chain.settings

    @dg.asset(
        name=CATEGORIES.name,
        group_name="language",
        io_manager_key="lake_io",
        ins=lake_ins(MESSAGES, planned=True),
        deps=[CORRECTIONS.name],
        kinds={"polars", "parquet", "scikitlearn"},
        dagster_type=dg.Any,
        description="Topic, intent, sentiment and other types of the taxonomy for each "
        "conversation with turns on this day, with a calibrated confidence and an honest `other`. "
        "A changed taxonomy, correction or model makes the days stale.",
        metadata={"dagster/column_schema": column_schema(CATEGORIES)},
        **chain.asset,
    )
    def of_day(
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        messages: Partitioned[pl.LazyFrame],
    ) -> Partitioned[Described[pl.DataFrame]]:
        with retry_if_transient():
            rows = correction_rows(lake, settings)
        files = settings.taxonomy_origin, settings.taxonomy_corrections_file
        corrections = read_taxonomy(*files, rows)[1]
        hashes = taxonomy_digests(*files, settings.embedder, rows)
        origin, model = categorised_with(settings, rows), created_by(settings.embedder)
        by_people = frozenset(one.conversation_id for one in corrections if one.conversation_id)

        def categorise(key: str, turns: pl.LazyFrame) -> Described[pl.DataFrame]:
            texts = engine.collect(conversation_texts(first_queries(turns)))
            known = still_right(_held(lake, key), texts, hashes, model, by_people)
            new = texts.join(known, on="conversation_id", how="anti")
            found = known
            if new.height:  # else no model is needed at all
                trained = dataclasses.replace(
                    train_taxonomy(*files, settings.embedder, rows),
                    embedder=embedder_of(engine.choice, settings.embedder),
                )
                found = CATEGORIES.conform(pl.concat([known, categories(trained, new)]))
            corrected = corrected_of(corrections, frozenset(texts["conversation_id"]))
            facts = _facts(found) | {"conversations_new": new.height}
            return Described(found, facts, origin | corrected)

        return messages.map(categorise)

    @dg.asset(
        name=CATEGORY_PARTIALS.name,
        group_name="metrics",
        op_tags=PLANS,
        io_manager_key="lake_io",
        ins=lake_ins(MESSAGES, CATEGORIES, planned=True),
        kinds={"polars", "parquet"},
        dagster_type=dg.Any,
        description="Counts of the day's turns by category, which reports are merged from beside "
        "daily_partials.",
        metadata={"dagster/column_schema": column_schema(CATEGORY_PARTIALS)},
        **chain.asset,
    )
    def counted(
        engine: dg.ResourceParam[Engine],
        messages: Partitioned[pl.LazyFrame],
        categories: Partitioned[pl.LazyFrame],
    ) -> Partitioned[Described[pl.DataFrame]]:
        def count(key: str, labels: pl.LazyFrame) -> Described[pl.DataFrame]:
            turns = messages[key]
            plan = category_partials(turns, labels, rephrased_turns(turns, engine).lazy())
            return Described(engine.collect(plan), {}, COUNTED_BY)

        return categories.map(count)

    @dg.asset(
        name="category_documents",
        group_name="documents",
        io_manager_key="document_io",
        ins=lake_ins(CATEGORIES),
        kinds={"mongodb" if settings.mongodb_uri else "sqlite"},
        dagster_type=dg.Any,
        description="One document per conversation, day and type of category.",
        metadata={
            "collection": settings.mongodb_categories_collection,
            "documents": "replace",
        },
        **chain.asset,
    )
    def documents(categories: Partitioned[pl.DataFrame]) -> Partitioned[list[dict[str, Any]]]:
        return categories.map(lambda key, frame: category_documents(frame, key))

    return [of_day, counted, documents]


def _held(lake: Lake, key: str) -> pl.DataFrame:
    """Return what is stored of the day; nothing where it is of another version."""
    with retry_if_transient():
        if not lake.exists(CATEGORIES, key):
            return CATEGORIES.empty()
        try:
            return lake.read(CATEGORIES, key)
        except OutdatedPartitionError:
            return CATEGORIES.empty()


def _facts(rows: pl.DataFrame) -> dict[str, int]:
    others = rows.filter(pl.col("category_value") == OTHER)
    counts = others.group_by("category_type").len().sort("category_type").iter_rows()
    return {
        "conversations": rows["conversation_id"].n_unique(),
        **{f"other_{name}": count for name, count in counts},
    }
