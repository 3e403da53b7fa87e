"""Topics of a week that nobody named: made of the messages of its days, and of the week before."""

import contextlib
import datetime as dt
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping

import dagster as dg
import polars as pl

from conversation_analytics.assets.day_partials import input_name
from conversation_analytics.assets.lineage import stored_day
from conversation_analytics.assets.partitions import DailyChain, placed_in
from conversation_analytics.assets.periods import (
    PERIODS_PER_RUN,
    StalePeriod,
    period_partitions,
)
from conversation_analytics.assets.topic_inputs import Findable, HeldWeeks
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
_logger = logging.getLogger("conversation_analytics.topics")
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
                    held = _before(lake, settings, reads, attempt, key, before)
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
            week without messages is left out. So is one with messages of another version: its
            days are made again first. Of one that has lost messages by age only the documents
            are looked at: topics that have been found of more are kept.
        today: weeks that are not over by then are left out: they change with every turn.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    weeks, with_topics = HeldWeeks(lake, settings, today), frozenset(lake.keys(TOPICS))
    starts = {Period.WEEK.start_of(day) for day in days if day.isoformat() in weeks.days}
    touched = starts | {Period.WEEK.after(start) for start in starts}
    for start in list(touched):
        before = Period.WEEK.before(start)
        # Ids cannot go on from what an earlier version wrote: it comes first, however long ago.
        while _is_old(lake, before, with_topics) and _can_be_found(weeks, before):
            touched.add(before)
            before = Period.WEEK.before(before)
    stale, waiting, lost = [], [], []
    for start in sorted(touched):
        if Period.WEEK.end_of(start) >= today or start < weeks.first_partition:
            continue
        week, before = weeks.week(start), Period.WEEK.before(start)
        if not week.digests:
            continue
        old_before = _is_old(lake, before, with_topics)
        if Findable.LATER in {
            week.findable,
            weeks.week(before).findable if old_before else Findable.NOW,
        }:
            waiting.append(start)
            continue
        lost_before = old_before and not _can_be_found(weeks, before)
        told = frozenset[str]() if lost_before else with_topics
        inputs = {input_name(MESSAGES, day): digest for day, digest in week.digests.items()}
        stored = stored_day(TOPIC_ASSETS, lake, documents, start.isoformat())
        found_of = stored[TOPICS.name]
        gone = week.findable is Findable.NEVER or (
            found_of is not None and not found_of.outdated and weeks.lacks(found_of.inputs)
        )
        if gone and (found_of is None or found_of.outdated):
            if found_of is not None:
                lost.append(start)
            continue
        if found := _stale_assets(lake, settings, start, stored, inputs, told, only_told=gone):
            stale.append(StalePeriod(Period.WEEK, start, found))
    _tell(waiting, "days of another version, which `conversation-analytics repair` makes again")
    _tell(lost, "of another version, and their messages are gone: they are never found again")
    return tuple(stale)


def _stale_assets(
    lake: Lake,
    settings: Settings,
    start: dt.date,
    stored: dict[str, StoredPartition | None],
    messages: Mapping[str, str | None],
    with_topics: frozenset[str],
    *,
    only_told: bool,
) -> tuple[StaleAsset, ...]:
    """Return what is stale of a week.

    Args:
        lake: the lake.
        settings: of this process.
        start: first day of the week.
        stored: what is stored of its assets.
        messages: digests of its messages, by the input's name.
        with_topics: keys of the weeks that ids go on from, if they are the week before.
        only_told: its topics stay as they are; only the documents of them are looked at.
    """
    before = Period.WEEK.before(start).isoformat()
    weeks = {input_name(TOPICS, key): digest_of_topics(lake, key) for key in {before} & with_topics}
    # Documents tell of two weeks, and so record this one with its key, too.
    itself = input_name(TOPICS, start.isoformat())
    known = {name: StoredPartition(sha256, {}) for name, sha256 in {**messages, **weeks}.items()}
    all_stored = {**known, **stored, itself: stored[TOPICS.name]}
    made: dict[str, tuple[str, ...]] = {
        itself: (*messages, *weeks), CONVERSATION_TOPICS.name: (*messages, *weeks),
    }  # fmt: skip
    graph = ({} if only_told else made) | {_DOCUMENTS: (itself, *weeks)}
    origin = found_with(settings)
    beside = {
        itself: origin, CONVERSATION_TOPICS.name: origin,
        _DOCUMENTS: placed_in(settings, _DOCUMENTS),
    }  # fmt: skip
    found = stale_assets(all_stored, graph, beside)
    return tuple(
        StaleAsset(TOPICS.name if one.asset == itself else one.asset, one.reason) for one in found
    )


def _is_old(lake: Lake, start: dt.date, with_topics: frozenset[str]) -> bool:
    """Say whether a week has topics, and an earlier version wrote them."""
    key = start.isoformat()
    return key in with_topics and digest_of_topics(lake, key) is None


def _can_be_found(weeks: HeldWeeks, start: dt.date) -> bool:
    return weeks.week(start).findable is not Findable.NEVER


def _tell(weeks: list[dt.date], why: str) -> None:
    if weeks:
        _logger.warning(
            "left out topics=%s weeks=%d: %s",
            ",".join(map(Period.WEEK.label, weeks)), len(weeks), why,
        )  # fmt: skip


def _empty() -> pl.LazyFrame:
    return MESSAGES.empty().lazy()


def _before(
    lake: Lake, settings: Settings, reads: ReadLog, attempt: StepAttempt, key: str, before: str
) -> pl.DataFrame:
    """Return the topics that ids go on from.

    None where an earlier version wrote them and they can never be found again.

    Raises:
        OutdatedPartitionError: an earlier version wrote them, and they are to be found again first.
    """

    @retry_if_transient()
    def read() -> pl.DataFrame:
        if not lake.exists(TOPICS, before):
            return TOPICS.empty()
        try:
            frame, info = lake.read_with_info(TOPICS, before)
        except OutdatedPartitionError:
            today = dt.datetime.now(settings.analytics_timezone).date()
            start = dt.date.fromisoformat(before)
            if _can_be_found(HeldWeeks(lake, settings, today), start):
                raise
            _tell([start], f"of another version, and messages are gone; ids of {key} begin anew")
            return TOPICS.empty()
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
