"""Taking the rows of one person out of one day: of every table of the lake, and of the documents.

Tables of rows lose the rows. Aggregates stay as they are where at least ERASURE_MIN_USERS others
were there, in every app of the person on that day; else they are computed again from the rows
that are left. Every partition records the digests of what it was made of: where an input changed
by the erasure alone, the record follows, so that nothing is stale afterwards that was not before.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import polars as pl

from conversation_analytics.assets.lineage import files_inputs_path
from conversation_analytics.assets.partitions import computed_with, partial_options
from conversation_analytics.assets.report_files import texts_of_day
from conversation_analytics.assets.translations import personal_spans
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU, Engine
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.model_performance import MODEL_PERFORMANCE, model_performance
from conversation_analytics.core.partials import category_partials, daily_partials, population
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import (
    CATEGORY_PARTIALS,
    CONVERSATIONS,
    DAILY_PARTIALS,
    DAILY_REPORT,
    FEEDBACKS,
    MESSAGES,
    TableSchema,
)
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY, TRANSLATIONS
from conversation_analytics.core.translations import TranslationOptions, memory_keys, texts_of
from conversation_analytics.core.zones import DAILY, UNDATED
from conversation_analytics.lake.store import Generation, Lake
from conversation_analytics.settings import Settings

RowIds = Mapping[SourceTable, frozenset[str]]
"""Ids of rows by table of the source."""
_Report = Callable[[pl.LazyFrame, dt.date, Engine], pl.DataFrame]
_ROWS_OF_PEOPLE = ("users", "user_languages", "user_models", "user_ratings", "conversations")
_AGGREGATES = (DAILY_REPORT.name, MODEL_PERFORMANCE.name)
_DERIVED = (
    MESSAGE_LANGUAGE, TRANSLATIONS, TRANSLATION_MEMORY, CATEGORIES,
    DAILY_PARTIALS, CATEGORY_PARTIALS, DAILY_REPORT, MODEL_PERFORMANCE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose rows go.

    Attributes:
        user: id as the lake has it: a pseudonym where there is a key.
        conversations: in which nobody else has a turn.
    """

    user: str
    conversations: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One partition of a day, before and after.

    Attributes:
        schema: its table.
        since: what it was when it was read.
        before: its rows.
        after: without the person.
        sha256: digest of `before`.
        inputs: what it was made of.
        own: rows of the person; None: all that are gone.
    """

    schema: TableSchema
    since: Generation
    before: pl.DataFrame
    after: pl.DataFrame
    sha256: str
    inputs: Mapping[str, str]
    own: int | None = None

    @property
    def gone(self) -> int:
        """Rows of the person."""
        return self.before.height - self.after.height if self.own is None else self.own


@dataclass(frozen=True, slots=True)
class DayWork:
    """What an erasure makes of the lake's partitions of a day.

    Attributes:
        key: of the day; None: the rows without a time.
        tables: what is stored of it, upstream first, by name.
        kept: whether the aggregates stay as they are.
        rows: ids of the person's rows.
        touched: conversations that lost a turn.
        shared: of them, those in which others have turns.
    """

    key: str | None
    tables: Mapping[str, Rewritten]
    kept: bool
    rows: RowIds
    touched: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()


def look_at_day(
    lake: Lake,
    settings: Settings,
    subject: Subject,
    key: str | None,
    rows: RowIds,
    *,
    kept: bool | None = None,
    touched: frozenset[str] = frozenset(),
) -> DayWork:
    """Return what is stored of a day, with and without the person; nothing is written.

    Partitions that an earlier version wrote cannot be read: they are left out, see `outdated`.

    Args:
        lake: the lake.
        settings: of this process.
        subject: whose rows go.
        key: of the day; None: the rows without a time.
        rows: ids of the person's rows in the raw zone of this day.
        kept: whether aggregates stay as they are; None: to be decided.
        touched: conversations that are known to lose a turn, though it is gone already.

    Raises:
        LakeError: a partition cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    zones = UNDATED if key is None else DAILY
    stored: dict[str, Rewritten] = {}
    for schema in _tables(key):
        if (found := _stored(lake, schema, key)) is not None:
            stored[schema.name] = found
    gone: dict[SourceTable, frozenset[str]] = {}
    for table in SourceTable:
        curated = stored.get(zones[table].curated.name)
        own = frozenset[str]() if curated is None else _own_rows(curated.before, table, subject)
        gone[table] = rows.get(table, frozenset()) | own
        for schema, column in (
            (zones[table].raw, "id"), (zones[table].curated, "id"),
            (zones[table].dead_letters, "source_id"),
        ):  # fmt: skip
            _drop(stored, schema, column, gone[table])
    if key is None:
        return DayWork(key, stored, kept=True, rows=gone)
    left, losing = _conversations(stored, gone[SourceTable.MESSAGES])
    touched |= losing
    for schema, column in ((MESSAGE_LANGUAGE, "id"), (TRANSLATIONS, "message_id")):
        _drop(stored, schema, column, gone[SourceTable.MESSAGES])
    _drop(stored, CATEGORIES, "conversation_id", touched)
    if gone[SourceTable.MESSAGES] and MESSAGES.name in stored:
        _forget_translations(stored, settings)
    if kept is None:
        least = _fewest_others(stored, subject)
        kept = least is None or least >= settings.erasure_min_users
    _partials(stored, settings, subject, touched - left, kept=kept, key=key)
    shared = (touched & left) - subject.conversations
    return DayWork(key, stored, kept, gone, touched, shared)


def outdated(lake: Lake, key: str | None) -> list[TableSchema]:
    """Return the tables of a day that an earlier version wrote, and that can be made again."""
    found = []
    for schema in _tables(key):
        if lake.exists(schema, key) and not schema.name.startswith("raw_"):
            try:
                lake.stat(schema, key)
            except OutdatedPartitionError:
                found.append(schema)
    return found


def recorded(
    one: Rewritten,
    follow: Mapping[str, Mapping[str, str]],
    newest: Mapping[str, str],
    settings: Settings,
    work: DayWork,
) -> dict[str, str]:
    """Return what a partition records of its inputs after the erasure.

    Args:
        one: the partition.
        follow: by input, the digest it has now by each that it had before.
        newest: by input, the digest of what is stored of it, or is about to be.
        settings: of this process.
        work: of the day.
    """
    computed = not work.kept and one.schema.name in (
        DAILY_PARTIALS.name, CATEGORY_PARTIALS.name, *_AGGREGATES
    )  # fmt: skip
    if one.schema.name == CATEGORIES.name and work.shared:
        return dict(one.inputs)  # what others said there is to be categorised again
    inputs = {}
    for name, sha256 in one.inputs.items():
        followed = follow.get(name, {}).get(sha256, sha256)
        inputs[name] = newest.get(name, sha256) if computed else followed
    if computed and one.schema.name == DAILY_PARTIALS.name and _computable(work.tables):
        inputs |= computed_with(partial_options(settings))
    return inputs


def files_of_day(lake: Lake, key: str, zone: str) -> Mapping[str, str] | None:
    """Return the texts of the report's files of a day, from what the lake holds of it now.

    Returns:
        By the endings of their names; None where one of the tables they tell is missing.

    Raises:
        LakeError: a table cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    tables = (DAILY_REPORT, DAILY_PARTIALS, CATEGORY_PARTIALS, MODEL_PERFORMANCE)
    if not all(lake.exists(table, key) for table in tables):
        return None
    report, partials, categories, models = (lake.read(table, key) for table in tables)
    return texts_of_day(key, report, partials, categories, models, zone, CPU)


def has_files(lake: Lake, key: str) -> bool:
    """Say whether a day has files of its report."""
    return lake.has_report(files_inputs_path("daily", key))


_NONE = Rewritten(
    MESSAGES, Generation(None), MESSAGES.empty(), MESSAGES.empty(), "", {}
)  # what is not stored


def _tables(key: str | None) -> tuple[TableSchema, ...]:
    zones = (UNDATED if key is None else DAILY).values()
    of_rows = [[zone.raw, zone.curated, zone.dead_letters] for zone in zones]
    every = [schema for of_table in of_rows for schema in of_table]
    every.sort(key=lambda schema: not schema.name.startswith("raw_"))
    return (*every, *(() if key is None else _DERIVED))


def _stored(lake: Lake, schema: TableSchema, key: str | None) -> Rewritten | None:
    since = lake.begin(schema, key)
    if since.version is None:
        return None
    try:
        frame, info = lake.read_with_info(schema, key)
    except OutdatedPartitionError:
        if schema.name.startswith("raw_"):
            raise
        return None
    return Rewritten(schema, since, frame, frame, info.sha256, info.inputs)


def _changed(
    stored: dict[str, Rewritten], schema: TableSchema, after: pl.DataFrame, own: int | None = None
) -> None:
    stored[schema.name] = replace(stored[schema.name], after=schema.conform(after), own=own)


def _drop(
    stored: dict[str, Rewritten], schema: TableSchema, column: str, ids: frozenset[str]
) -> None:
    if schema.name in stored and ids:
        _changed(stored, schema, stored[schema.name].after.filter(~_among(column, ids)))


def _among(column: str, ids: frozenset[str]) -> pl.Expr:
    return pl.col(column).is_in(pl.Series(sorted(ids), dtype=pl.String).implode())


def _own_rows(frame: pl.DataFrame, table: SourceTable, subject: Subject) -> frozenset[str]:
    """Return the typed rows of the person: where the raw zone is not held any more, too."""
    column = "id" if table is SourceTable.CONVERSATIONS else "conversation_id"
    inside = _among(column, subject.conversations).fill_null(value=False)
    nobodys = pl.lit(value=True) if table is SourceTable.FEEDBACKS else pl.col("user_id").is_null()
    own = pl.col("user_id").eq_missing(pl.lit(subject.user)) | (nobodys & inside)
    return frozenset(frame.filter(own)["id"])


def _conversations(
    stored: Mapping[str, Rewritten], gone: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the conversations that still have turns, and those that lose one."""
    turns = stored.get(MESSAGES.name, _NONE)
    lost = turns.before.filter(_among("id", gone))
    return (
        frozenset(turns.after["conversation_id"].drop_nulls()),
        frozenset(lost["conversation_id"].drop_nulls()),
    )


def _forget_translations(stored: dict[str, Rewritten], settings: Settings) -> None:
    """Leave in the day's memory what its other messages have; the rest is asked for again."""
    memory, languages = stored.get(TRANSLATION_MEMORY.name), stored.get(MESSAGE_LANGUAGE.name)
    if memory is None or languages is None:
        return
    options = TranslationOptions(
        settings.translation_target, settings.translation_fields, None, None
    )
    texts = texts_of(stored[MESSAGES.name].after, languages.after, options)
    keys = memory_keys(texts, memory.before, settings.translator_batch_characters, personal_spans)
    _changed(stored, TRANSLATION_MEMORY, memory.before.filter(_among("key", keys)))


def _fewest_others(stored: Mapping[str, Rewritten], subject: Subject) -> int | None:
    """Return the users who are left in the app where they are fewest; None: no app lost a row."""
    turns = stored.get(MESSAGES.name)
    if turns is None:
        partials = stored.get(DAILY_PARTIALS.name)
        if partials is None:
            return None
        users = partials.before.filter(pl.col("kind") == "users")
        apps = frozenset(users.filter(pl.col("user_id") == subject.user)["app_id"].fill_null(""))
        others = users.filter(pl.col("user_id") != subject.user)
    else:
        apps = frozenset[str]()
        for table in (CONVERSATIONS, MESSAGES, FEEDBACKS):
            if (one := stored.get(table.name)) is not None:
                lost = one.before.join(one.after.select("id"), on="id", how="anti")
                if "invoke_from" in lost.columns:
                    lost = population(lost.lazy()).collect()
                apps |= frozenset(lost["app_id"].fill_null(""))
        others = population(turns.after.lazy()).filter(pl.col("user_id").is_not_null()).collect()
    counts = dict(
        others.group_by(pl.col("app_id").fill_null(""))
        .agg(pl.col("user_id").n_unique())
        .iter_rows()
    )
    return min((counts.get(app, 0) for app in apps), default=None)


def _computable(stored: Mapping[str, Rewritten]) -> bool:
    return {CONVERSATIONS.name, MESSAGES.name, MESSAGE_LANGUAGE.name} <= stored.keys()


def _partials(
    stored: dict[str, Rewritten],
    settings: Settings,
    subject: Subject,
    ended: frozenset[str],
    *,
    kept: bool,
    key: str,
) -> None:
    day = dt.date.fromisoformat(key)
    own = pl.col("user_id").eq_missing(pl.lit(subject.user)) | (
        (pl.col("kind") == "conversations")
        & _among("conversation_id", ended | subject.conversations).fill_null(value=False)
    )
    for schema in (DAILY_PARTIALS, CATEGORY_PARTIALS):
        if schema.name in stored:
            _changed(stored, schema, stored[schema.name].before.filter(~own))
    if kept:
        return
    computed = _computable(stored)
    if DAILY_PARTIALS.name in stored:
        left = stored[DAILY_PARTIALS.name].after
        frame = _daily_partials(stored, settings, day) if computed else _withheld(left)
        _changed(stored, DAILY_PARTIALS, frame, stored[DAILY_PARTIALS.name].gone)
    if CATEGORY_PARTIALS.name in stored:
        left = stored[CATEGORY_PARTIALS.name].after
        frame = _category_partials(stored) if computed else _withheld(left)
        _changed(stored, CATEGORY_PARTIALS, frame, 0)
    if DAILY_PARTIALS.name not in stored:
        return
    partials = stored[DAILY_PARTIALS.name].after.lazy()
    reports: tuple[tuple[TableSchema, _Report], ...] = (
        (DAILY_REPORT, daily_report), (MODEL_PERFORMANCE, model_performance),
    )  # fmt: skip
    for schema, report in reports:
        if schema.name in stored:
            _changed(stored, schema, report(partials, day, CPU), 0)


def _daily_partials(
    stored: Mapping[str, Rewritten], settings: Settings, day: dt.date
) -> pl.DataFrame:
    turns = stored[MESSAGES.name].after.lazy()
    ratings = stored.get(FEEDBACKS.name)
    rated = SourceTable.FEEDBACKS in settings.source_tables and ratings is not None
    plan = daily_partials(
        stored[CONVERSATIONS.name].after.lazy(), turns,
        ratings.after.lazy() if rated and ratings is not None else None,
        day=day, rephrases=rephrased_turns(turns, CPU).lazy(),
        languages=stored[MESSAGE_LANGUAGE.name].after.lazy(), options=partial_options(settings),
    )  # fmt: skip
    return CPU.collect(plan)


def _category_partials(stored: Mapping[str, Rewritten]) -> pl.DataFrame:
    turns = stored[MESSAGES.name].after.lazy()
    rows = stored[CATEGORIES.name].after if CATEGORIES.name in stored else CATEGORIES.empty()
    rephrases = rephrased_turns(turns, CPU).lazy()
    return CPU.collect(category_partials(turns, rows.lazy(), rephrases))


def _withheld(partials: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of people alone: without the rows of the day no count can be made again."""
    return partials.filter(pl.col("kind").is_in(_ROWS_OF_PEOPLE))
