"""Topics of a week that nobody named: made of the messages of its days, and of the week before."""

import contextlib
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator

import dagster as dg
import polars as pl

from conversation_analytics.assets.day_partials import input_name
from conversation_analytics.assets.lineage import stored_day
from conversation_analytics.assets.partitions import DailyChain
from conversation_analytics.assets.periods import (
    PERIODS_PER_RUN,
    StalePeriod,
    period_partitions,
)
from conversation_analytics.assets.week_topics import digest_of_topics, read_topic_changes
from conversation_analytics.core.conversation_texts import conversation_texts, first_queries
from conversation_analytics.core.documents import Document
from conversation_analytics.core.engine import CPU, Engine, taken_by
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.lanes import PLANS
from conversation_analytics.core.partitions import Described, Partitioned
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.staleness import StaleAsset, StoredPartition, stale_assets
from conversation_analytics.core.topic_changes import topic_documents
from conversation_analytics.core.topic_names import (
    NAMES_VERSION,
    conversations_told,
    known_names,
    name_topics,
)
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.io_managers.lake_io import begin_outputs, column_schema
from conversation_analytics.io_managers.read_log import ReadLog, StepAttempt, attempt_of
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.language.common_words import COMMON_WORDS_VERSION, common_words
from conversation_analytics.language.embedders import embedder_version
from conversation_analytics.language.segmenter import words
from conversation_analytics.resources.connections import open_topic_namer
from conversation_analytics.resources.engines import embedder_of
from conversation_analytics.settings import Settings

JOB = "topics"
_DOCUMENTS = "topic_documents"
_TABLES = (TOPICS, CONVERSATION_TOPICS)
MADE_TOGETHER = (frozenset(table.name for table in _TABLES), frozenset({_DOCUMENTS}))
"""The assets of a week, step by step."""
TOPIC_ASSETS = frozenset().union(*MADE_TOGETHER)
_VERSION = "1"
_Weeks = dict[str, Described[pl.DataFrame]]


def topic_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the topics of weeks, the topic of each conversation, and documents of topics."""
    settings = chain.settings

    @dg.multi_asset(
        name="find_topics",
        group_name="language",
        op_tags=PLANS,
        partitions_def=period_partitions(chain, Period.WEEK),
        backfill_policy=dg.BackfillPolicy.multi_run(PERIODS_PER_RUN),
        outs={
            schema.name: dg.AssetOut(
                io_manager_key="lake_io",
                dagster_type=dg.Any,
                kinds={"polars", "parquet", "scikitlearn"},
                description=f"{schema.description} Ids go on from the week before, if it is held. "
                "Weeks are made by themselves once they are over, and again where their messages "
                "or the week before have changed; the running week only by hand.",
                metadata={"dagster/column_schema": column_schema(schema)},
            )
            for schema in _TABLES
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
        engine: dg.ResourceParam[Engine],
    ) -> tuple[_Weeks, _Weeks]:
        from conversation_analytics.core.topic_weeks import (  # noqa: PLC0415 - import budget
            TopicOptions,
            week_of_topics,
        )

        step = context.get_step_execution_context()
        attempt = attempt_of(step)
        begin_outputs(step, lake, reads)
        options = TopicOptions(settings.topic_min_users, settings.topic_min_conversations)
        origin, common = found_with(settings), common_words()
        topics: _Weeks = {}
        conversations: _Weeks = {}
        with retry_if_transient():  # the embedder, too, asks for another engine
            embedder = embedder_of(engine.choice, settings.embedder)
            for key in sorted(context.partition_keys):
                start = dt.date.fromisoformat(key)
                before = Period.WEEK.before(start).isoformat()
                if before in topics:
                    held = topics[before].value
                    reads.add(attempt, key, input_name(TOPICS, before), lake.digest(TOPICS, held))
                else:
                    held = _before(lake, reads, attempt, key, before)
                queries = pl.concat(
                    [first_queries(_empty()), *_queries(lake, reads, engine, attempt, start)]
                )
                texts = engine.collect(conversation_texts(queries))
                week = week_of_topics(start, texts, held, embedder, words, options, common)
                told, named = _named(lake, settings, key, week.topics, held, queries)
                shown = told.filter(pl.col("shown") & (pl.col("conversations") > 0))
                facts = {
                    "conversations": week.conversations.height,
                    "topics": told.filter(pl.col("conversations") > 0).height,
                    "topics_shown": shown.height,
                    "conversations_shown": int(shown["conversations"].sum()),
                    **named,
                }
                topics[key] = Described(told, facts, origin)
                conversations[key] = Described(week.conversations, facts, origin)
        return topics, conversations

    return [of_weeks, _documents(chain)]


def _named(
    lake: Lake,
    settings: Settings,
    key: str,
    topics: pl.DataFrame,
    before: pl.DataFrame,
    queries: pl.LazyFrame,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the topics with the names of the model, if one is set, and counts for the UI.

    Names that are held of the same texts are taken over: what a model says is no function of them.
    """
    namer = open_topic_namer(settings)
    if namer is None:
        return topics, {}
    with contextlib.closing(namer), retry_if_transient():
        tables = [before]
        try:
            if lake.exists(TOPICS, key):
                tables.append(lake.read(TOPICS, key))
        except OutdatedPartitionError:
            pass  # of another version: its names are asked for again
        wanted = pl.Series(sorted(conversations_told(topics)), dtype=pl.String).implode()
        told = queries.filter(pl.col("conversation_id").is_in(wanted))
        texts = CPU.collect(conversation_texts(told, characters=None))  # some rows, in memory
        found = name_topics(topics, texts, namer, known_names(tables, namer.model))
    return found.topics, {"names_asked": found.asked, "names_left_out": found.left_out}


def _documents(chain: DailyChain) -> dg.AssetsDefinition:
    settings = chain.settings

    @dg.asset(
        name=_DOCUMENTS,
        group_name="documents",
        io_manager_key="document_io",
        partitions_def=period_partitions(chain, Period.WEEK),
        backfill_policy=dg.BackfillPolicy.multi_run(PERIODS_PER_RUN),
        deps=[
            dg.AssetDep(
                TOPICS.name,
                partition_mapping=dg.TimeWindowPartitionMapping(
                    start_offset=-1, allow_nonexistent_upstream_partitions=True
                ),
            )
        ],
        kinds={"mongodb" if settings.mongodb_uri else "sqlite"},
        dagster_type=dg.Any,
        description="One document per topic shown and week, beside the week before. None of a "
        "topic of too few users or conversations.",
        metadata={
            "collection": settings.mongodb_topics_collection,
            "documents": "replace",
            "period": JOB,
        },
    )
    def documents(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        reads: dg.ResourceParam[ReadLog],
    ) -> Partitioned[list[Document]]:
        attempt = attempt_of(context.get_step_execution_context())

        def of_week(key: str) -> list[Document]:
            start = dt.date.fromisoformat(key)
            found = read_topic_changes(lake, reads, attempt, start, settings)
            return [] if found is None else topic_documents(*found, start)

        return Partitioned(tuple(sorted(context.partition_keys)), of_week)

    return documents


def found_with(settings: Settings) -> dict[str, str]:
    """Return what topics record of settings and versions; others make them stale."""
    told = [
        _VERSION, str(COMMON_WORDS_VERSION), settings.embedder, embedder_version(settings.embedder),
        settings.topic_min_users, settings.topic_min_conversations,
    ]  # fmt: skip
    if settings.topic_namer_url:
        told += [NAMES_VERSION, settings.topic_namer_model, settings.translation_target]
    return {"options": hashlib.sha256(json.dumps(told).encode()).hexdigest()}


def stale_topics(
    lake: Lake,
    documents: DocumentStore,
    settings: Settings,
    days: Iterable[dt.date],
    today: dt.date,
) -> tuple[StalePeriod, ...]:
    """Return the weeks whose topics are missing, or of other messages or another week before.

    A week that is to be made again makes the one after it stale only once it is made, and only
    if its topics are others then.

    Args:
        lake: the lake.
        documents: the document store.
        settings: of this process.
        days: days that may have changed: their weeks and the ones after these are looked at. A
            week without messages is left out.
        today: weeks that are not over by then are left out: they change with every turn.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    held, with_topics = frozenset(lake.keys(MESSAGES)), frozenset(lake.keys(TOPICS))
    starts = {Period.WEEK.start_of(day) for day in days if day.isoformat() in held}
    touched = starts | {Period.WEEK.after(start) for start in starts}
    for start in list(touched):
        before = Period.WEEK.before(start)
        # Ids cannot go on from what an earlier version wrote: it comes first, however long ago.
        while (key := before.isoformat()) in with_topics and digest_of_topics(lake, key) is None:
            touched.add(before)
            before = Period.WEEK.before(before)
    origin = found_with(settings)
    stale = []
    for start in sorted(one for one in touched if Period.WEEK.end_of(one) < today):
        own = [day for one in Period.WEEK.days_of(start) if (day := one.isoformat()) in held]
        if not own:
            continue
        inputs: dict[str, StoredPartition | None] = {
            input_name(MESSAGES, day): StoredPartition(lake.stat(MESSAGES, day).sha256, {})
            for day in own
        }
        weeks: dict[str, StoredPartition | None] = {
            input_name(TOPICS, key): StoredPartition(digest_of_topics(lake, key), {})
            for key in (Period.WEEK.before(start).isoformat(),)
            if key in with_topics
        }
        inputs |= weeks
        stored = inputs | stored_day(TOPIC_ASSETS, lake, documents, start.isoformat())
        # Documents tell of two weeks, and so record this one with its key, too.
        itself = input_name(TOPICS, start.isoformat())
        stored[itself] = stored.pop(TOPICS.name)
        graph = {
            itself: tuple(inputs),
            CONVERSATION_TOPICS.name: tuple(inputs),
            _DOCUMENTS: (itself, *weeks),
        }
        origins = {itself: origin, CONVERSATION_TOPICS.name: origin}
        found = [
            StaleAsset(TOPICS.name if one.asset == itself else one.asset, one.reason)
            for one in stale_assets(stored, graph, origins)
        ]
        if found:
            stale.append(StalePeriod(Period.WEEK, start, tuple(found)))
    return tuple(stale)


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
        reads.add(attempt, key, input_name(TOPICS, before), info.sha256)
        return frame

    return read()


def _queries(
    lake: Lake, reads: ReadLog, engine: Engine, attempt: StepAttempt, start: dt.date
) -> Iterator[pl.LazyFrame]:
    """Yield the first queries of each day, which alone are held of its messages."""
    key = start.isoformat()

    @retry_if_transient()
    def read(day: str) -> pl.DataFrame:
        turns, info = lake.scan(MESSAGES, day)
        reads.add(attempt, key, input_name(MESSAGES, day), info.sha256)
        return engine.collect(first_queries(taken_by(engine, turns)))

    held = frozenset(lake.keys(MESSAGES))
    for day in Period.WEEK.days_of(start):
        if day.isoformat() in held:
            yield read(day.isoformat()).lazy()
