"""Topics of a week that nobody named: made of the messages of its days, and of the week before."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import DailyChain
from conversation_analytics.assets.periods import PERIODS_PER_RUN, period_partitions
from conversation_analytics.core.conversation_texts import conversation_texts, first_queries
from conversation_analytics.core.partitions import Described
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.io_managers.lake_io import column_schema
from conversation_analytics.io_managers.read_log import ReadLog, StepAttempt, attempt_of
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.language.embedders import embedder_version, load_embedder
from conversation_analytics.language.segmenter import words
from conversation_analytics.settings import Settings

JOB = "topics"
_VERSION = "1"
_Weeks = dict[str, Described[pl.DataFrame]]


def topic_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the topics of weeks, and the topic of each conversation."""
    settings = chain.settings

    @dg.multi_asset(
        name="find_topics",
        group_name="language",
        partitions_def=period_partitions(chain, Period.WEEK),
        backfill_policy=dg.BackfillPolicy.multi_run(PERIODS_PER_RUN),
        outs={
            schema.name: dg.AssetOut(
                io_manager_key="lake_io",
                dagster_type=dg.Any,
                kinds={"polars", "parquet", "scikitlearn"},
                description=f"{schema.description} Ids go on from the week before, if it is held.",
                metadata={"dagster/column_schema": column_schema(schema)},
            )
            for schema in (TOPICS, CONVERSATION_TOPICS)
        },
        deps=[
            dg.AssetDep(
                MESSAGES.name,
                partition_mapping=dg.TimeWindowPartitionMapping(
                    allow_nonexistent_upstream_partitions=True
                ),
            )
        ],
    )
    def of_weeks(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        reads: dg.ResourceParam[ReadLog],
    ) -> tuple[_Weeks, _Weeks]:
        from conversation_analytics.core.topic_weeks import (  # noqa: PLC0415 - import budget
            TopicOptions,
            week_of_topics,
        )

        attempt = attempt_of(context.get_step_execution_context())
        embedder = load_embedder(settings.embedder)
        options = TopicOptions(settings.topic_min_users, settings.topic_min_conversations)
        origin = found_with(settings)
        topics: _Weeks = {}
        conversations: _Weeks = {}
        for key in sorted(context.partition_keys):
            start = dt.date.fromisoformat(key)
            before = Period.WEEK.before(start).isoformat()
            held = (
                topics[before].value
                if before in topics
                else _before(lake, reads, attempt, key, before)
            )
            queries = pl.concat([first_queries(_empty()), *_queries(lake, reads, attempt, start)])
            texts = conversation_texts(queries).collect()
            week = week_of_topics(start, texts, held, embedder, words, options)
            shown = week.topics.filter(pl.col("shown") & (pl.col("conversations") > 0))
            facts = {
                "conversations": week.conversations.height,
                "topics": week.topics.filter(pl.col("conversations") > 0).height,
                "topics_shown": shown.height,
                "conversations_shown": int(shown["conversations"].sum()),
            }
            topics[key] = Described(week.topics, facts, origin)
            conversations[key] = Described(week.conversations, facts, origin)
        return topics, conversations

    return [of_weeks]


def found_with(settings: Settings) -> dict[str, str]:
    """Return what topics record of settings and versions; others make them stale."""
    told = [
        _VERSION, settings.embedder, embedder_version(settings.embedder),
        settings.topic_min_users, settings.topic_min_conversations,
    ]  # fmt: skip
    return {"options": hashlib.sha256(json.dumps(told).encode()).hexdigest()}


def _empty() -> pl.LazyFrame:
    return MESSAGES.empty().lazy()


def _before(
    lake: Lake, reads: ReadLog, attempt: StepAttempt, key: str, before: str
) -> pl.DataFrame:
    @retry_if_transient()
    def read() -> pl.DataFrame:
        if not lake.exists(TOPICS, before):
            return TOPICS.empty()
        frame, info = lake.read_with_info(TOPICS, before)
        reads.add(attempt, key, f"{TOPICS.name}/{before}", info.sha256)
        return frame

    return read()


def _queries(
    lake: Lake, reads: ReadLog, attempt: StepAttempt, start: dt.date
) -> Iterator[pl.LazyFrame]:
    """Yield the first queries of each day, which alone are held of its messages."""
    key = start.isoformat()

    @retry_if_transient()
    def read(day: str) -> pl.DataFrame:
        frame, info = lake.read_with_info(MESSAGES, day)
        reads.add(attempt, key, f"{MESSAGES.name}/{day}", info.sha256)
        return first_queries(frame.lazy()).collect()

    held = frozenset(lake.keys(MESSAGES))
    for day in Period.WEEK.days_of(start):
        if day.isoformat() in held:
            yield read(day.isoformat()).lazy()
