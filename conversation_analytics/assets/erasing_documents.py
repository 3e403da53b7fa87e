"""Taking a person out of the documents of a day: they are replaced by what the lake holds now."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from conversation_analytics.assets.erasing_day import DayWork
from conversation_analytics.assets.erasing_notes import Follow
from conversation_analytics.core.categories import CATEGORIES, category_documents
from conversation_analytics.core.dead_letters import ledger_id
from conversation_analytics.core.documents import (
    ConversationSlice,
    Document,
    clean_text,
    conversation_slices,
    message_documents,
    report_documents,
    translation_documents,
)
from conversation_analytics.core.schemas import DAILY_REPORT, TableSchema
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.zones import DAILY
from conversation_analytics.core.zones import UNDATED as UNDATED_ZONES
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.io_managers.document_io import (
    UNDATED,
    record_inputs,
    stored_documents,
)
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

_IDS_AT_ONCE = 10_000


def erase_day_documents(
    lake: Lake,
    store: DocumentStore,
    settings: Settings,
    day: DayWork,
    follow: Follow,
) -> None:
    """Replace the documents of a day that has been rewritten in the lake.

    Documents that have not been made, or were removed by age, are not made.

    Args:
        lake: with the day as it is now.
        store: the document store.
        settings: of this process.
        day: what was made of it.
        follow: by input, the digest it has now by each that it had before.

    Raises:
        AnalyticsError: a storage refuses or does not answer.
    """
    key = day.key or UNDATED
    prefix = "undated_" if day.key is None else ""
    zones = UNDATED_ZONES if day.key is None else DAILY
    conversations = zones[SourceTable.CONVERSATIONS].curated
    messages = zones[SourceTable.MESSAGES].curated

    def replace(
        asset: str,
        collection: str,
        tables: Sequence[TableSchema],
        write: Callable[[int, Sequence[pl.DataFrame]], object],
    ) -> None:
        # The day has been rewritten: who began before may have read the person, also where the
        # documents that are there hold nothing of them yet.
        store.supersede(collection, key)
        if stored_documents(store, asset, key) is None:
            return
        since = store.begin(collection, key)
        if not all(lake.exists(table, day.key) for table in tables):
            return
        write(since, [lake.read(table, day.key) for table in tables])
        follow_documents(store, asset, key, follow, written=True)

    name = settings.mongodb_conversations_collection
    replace(
        f"{prefix}conversation_documents", name, (conversations, messages),
        lambda since, frames: store.merge_conversations(
            name, key, conversation_slices(frames[0], frames[1], key), since
        ),
    )  # fmt: skip
    single: list[tuple[str, str, TableSchema, Callable[[pl.DataFrame, str], list[Document]]]] = [
        (f"{prefix}message_documents", settings.mongodb_messages_collection, messages,
         message_documents),
    ]  # fmt: skip
    if day.key is not None:
        single += [
            ("category_documents", settings.mongodb_categories_collection, CATEGORIES,
             category_documents),
            ("translation_documents", settings.mongodb_translations_collection, TRANSLATIONS,
             translation_documents),
            ("report_documents", settings.mongodb_analytics_reports_collection, DAILY_REPORT,
             report_documents),
        ]  # fmt: skip
    for asset, collection, table, build in single:

        def write(
            since: int,
            frames: Sequence[pl.DataFrame],
            collection: str = collection,
            build: Callable[[pl.DataFrame, str], list[Document]] = build,
        ) -> object:
            return store.replace_partition(collection, key, build(frames[0], key), since)

        replace(asset, collection, (table,), write)
    store.supersede(settings.mongodb_dead_letters_collection, key)
    for collection, ids in _ledger(store, settings, day).items():
        store.discard(collection, ids)
    follow_documents(store, f"{prefix}dead_letter_documents", key, follow)


def documents_of(
    store: DocumentStore, settings: Settings, day: DayWork
) -> Mapping[str, Sequence[str]]:
    """Return the ids of the documents that a day loses with rows of the person, by collection.

    Conversations that lose a turn are among them; reports are nobody's.

    Args:
        store: the document store, as it is before anything is written.
        settings: of this process.
        day: what is to be made of it.

    Raises:
        AnalyticsError: the store refuses or does not answer.
    """
    key = day.key or UNDATED
    zones = UNDATED_ZONES if day.key is None else DAILY
    turns = _lost(day, zones[SourceTable.MESSAGES].curated, "id")
    headers = _lost(day, zones[SourceTable.CONVERSATIONS].curated, "id")
    talks = {*headers["id"], *turns["conversation_id"].drop_nulls()}
    built = [(settings.mongodb_messages_collection, message_documents(turns, key))]
    if day.key is not None:
        categories = _lost(day, CATEGORIES, "conversation_id")
        translations = _lost(day, TRANSLATIONS, "message_id")
        built += [
            (settings.mongodb_categories_collection, category_documents(categories, key)),
            (settings.mongodb_translations_collection, translation_documents(translations, key)),
        ]
    held = {
        collection: _held(store, collection, [one["_id"] for one in several])
        for collection, several in built
    }
    name = settings.mongodb_conversations_collection
    talking = _held(store, name, sorted(map(clean_text, talks)))
    held[name] = [one for one in talking if key in one["days"]]
    told = {collection: [one["_id"] for one in several] for collection, several in held.items()}
    return {**told, **_ledger(store, settings, day)}


def _lost(day: DayWork, schema: TableSchema, column: str) -> pl.DataFrame:
    """Return the rows that a table of a day loses; none where it is not stored."""
    one = day.tables.get(schema.name)
    if one is None:
        return schema.empty()
    left = one.after.select(column).unique()
    return one.before.join(left, on=column, how="anti", nulls_equal=True)


def _held(store: DocumentStore, collection: str, ids: Sequence[str]) -> list[Document]:
    """Return those of the documents that there are."""
    return [
        one
        for start in range(0, len(ids), _IDS_AT_ONCE)
        for one in store.get_many(collection, ids[start : start + _IDS_AT_ONCE])
    ]


def follow_documents(
    store: DocumentStore, asset: str, key: str, follow: Follow, *, written: bool = False
) -> None:
    """Let what a partition of documents was made of follow the erasure.

    Documents of another version stay outdated, unless they have been written.

    Args:
        store: the document store.
        asset: name of the asset of documents.
        key: of the partition.
        follow: by input, the digest it has now by each that it had before.
        written: whether the documents have just been written.
    """
    stored = stored_documents(store, asset, key)
    if stored is None or (stored.outdated and not written):
        return
    inputs = stored.inputs
    now = {name: follow.get(name, {}).get(digest, digest) for name, digest in inputs.items()}
    if stored.outdated or now != dict(inputs):
        record_inputs(store, asset, key, now)


def kept_headers_of(store: DocumentStore, settings: Settings, user: str) -> dict[str, str]:
    """Return the conversations whose header is the person's and outlived its day, with that day.

    Nothing of such a day may be left in the lake, so no day that is rewritten tells of them.

    Args:
        store: the document store.
        settings: of this process.
        user: as the lake has it.

    Raises:
        AnalyticsError: the store refuses or does not answer.
    """
    return {
        one["_id"]: one["header_day"]
        for field in ("user_id", "from_account_id")  # `user_id` is from_end_user_id if there is one
        for one in store.find(settings.mongodb_conversations_collection, {field: user})
        if one.get("header_kept")
    }


def erase_kept_headers(
    store: DocumentStore, settings: Settings, headers: Mapping[str, str]
) -> None:
    """Take headers out of their conversations; turns stay.

    Args:
        store: the document store.
        settings: of this process.
        headers: of `kept_headers_of`.

    Raises:
        AnalyticsError: the store refuses or does not answer.
    """
    for day in sorted(set(headers.values())):
        store.merge_conversations(
            settings.mongodb_conversations_collection, day,
            [ConversationSlice(one, None, []) for one in sorted(headers) if headers[one] == day],
            rest="left",
        )  # fmt: skip


def _ledger(store: DocumentStore, settings: Settings, day: DayWork) -> dict[str, list[str]]:
    """Return the entries of rows that are gone, by collection: they are of no table any more."""
    collection = settings.mongodb_dead_letters_collection
    ids = [ledger_id(table, one) for table, several in day.rows.items() for one in sorted(several)]
    known = _held(store, collection, ids)
    gone = [one["_id"] for one in known if one["day"] == (day.key or UNDATED)]
    return {collection: gone} if gone else {}
