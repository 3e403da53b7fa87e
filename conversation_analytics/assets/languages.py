"""The language of each turn's query and answer."""

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import DailyChain, lake_ins, told_apart_with
from conversation_analytics.core.engine import Engine
from conversation_analytics.core.languages import MESSAGE_LANGUAGE, message_languages
from conversation_analytics.core.partitions import Described, Partitioned
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.io_managers.lake_io import column_schema
from conversation_analytics.language.detectors import NaiveBayesDetector

_READ = ("id", "conversation_id", "app_id", "created_at", "query", "answer")


def language_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the table of languages."""
    options, origin = told_apart_with(chain.settings)

    @dg.asset(
        name=MESSAGE_LANGUAGE.name,
        group_name="language",
        io_manager_key="lake_io",
        ins=lake_ins(MESSAGES, planned=True),
        kinds={"polars", "parquet"},
        dagster_type=dg.Any,
        description=f"{MESSAGE_LANGUAGE.description} With a confidence; one of LANGUAGES, `und` "
        "or `zxx`. Short texts inherit from their conversation.",
        metadata={"dagster/column_schema": column_schema(MESSAGE_LANGUAGE)},
        **chain.asset,
    )
    def of_days(
        engine: dg.ResourceParam[Engine], messages: Partitioned[pl.LazyFrame]
    ) -> Partitioned[Described[pl.DataFrame]]:
        detector = NaiveBayesDetector()

        def of_day(_key: str, turns: pl.LazyFrame) -> Described[pl.DataFrame]:
            rows = message_languages(engine.collect(turns.select(_READ)), detector, options)
            return Described(rows, _facts(rows), origin)

        return messages.map(of_day)

    return [of_days]


def _facts(rows: pl.DataFrame) -> dict[str, str]:
    """Return the languages of queries and answers, the most frequent first."""
    facts: dict[str, str] = {}
    for side in ("query", "answer"):
        counts = (
            rows.group_by(f"{side}_language")
            .len()
            .drop_nulls()
            .sort("len", f"{side}_language", descending=[True, False])
        )
        told = ", ".join(f"{language} {turns}" for language, turns in counts.iter_rows())
        facts[f"{side}_languages"] = told or "none"
    return facts
