"""Taking a person out of the documents of a day: they are replaced by what the lake holds now."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from conversation_analytics.assets.erasing_day import DayWork, RowIds
from conversation_analytics.core.categories import CATEGORIES, category_documents
from conversation_analytics.core.dead_letters import ledger_id
from conversation_analytics.core.documents import (
    Document,
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
from conversation_analytics.documents.store import DocumentStore, ReplaceOutcome
from conversation_analytics.io_managers.document_io import (
    UNDATED,
    record_inputs,
    stored_documents,
)
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

_Follow = Mapping[str, Mapping[str, str]]


def erase_day_documents(
    lake: Lake,
    store: DocumentStore,
    settings: Settings,
    day: DayWork,
    follow: _Follow,
) -> dict[str, int]:
    """Replace the documents of a day that has been rewritten in the lake.

    Documents that have not been made, or were removed by age, are not made.

    Args:
        lake: with the day as it is now.
        store: the document store.
        settings: of this process.
        day: what was made of it.
        follow: by input, the digest it has now by each that it had before.

    Returns:
        Documents removed or rewritten, by collection.

    Raises:
        AnalyticsError: a storage refuses or does not answer.
    """
    key = day.key or UNDATED
    prefix = "undated_" if day.key is None else ""
    zones = UNDATED_ZONES if day.key is None else DAILY
    conversations = zones[SourceTable.CONVERSATIONS].curated
    messages = zones[SourceTable.MESSAGES].curated
    told: dict[str, int] = {}

    def replace(
        asset: str,
        collection: str,
        tables: Sequence[TableSchema],
        write: Callable[[int, Sequence[pl.DataFrame]], ReplaceOutcome],
    ) -> None:
        if stored_documents(store, asset, key) is None:
            return
        since = store.begin(collection, key)
        if not all(lake.exists(table, day.key) for table in tables):
            return
        outcome = write(since, [lake.read(table, day.key) for table in tables])
        # A report that was computed again is no document of the person.
        if (changed := outcome.deleted + outcome.replaced) and asset != "report_documents":
            told[collection] = told.get(collection, 0) + changed
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
        ) -> ReplaceOutcome:
            return store.replace_partition(collection, key, build(frames[0], key), since)

        replace(asset, collection, (table,), write)
    _ledger(store, settings.mongodb_dead_letters_collection, key, day.rows, told)
    follow_documents(store, f"{prefix}dead_letter_documents", key, follow)
    return told


def follow_documents(
    store: DocumentStore, asset: str, key: str, follow: _Follow, *, written: bool = False
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


def _ledger(
    store: DocumentStore, collection: str, key: str, rows: RowIds, told: dict[str, int]
) -> None:
    """Remove the entries of rows that are gone: they are of no table any more."""
    ids = [ledger_id(table, one) for table, several in rows.items() for one in sorted(several)]
    known: list[dict[str, Any]] = store.find(collection, {"day": key})
    gone = [entry["_id"] for entry in known if entry["_id"] in set(ids)]
    if gone:
        told[collection] = store.discard(collection, gone)
