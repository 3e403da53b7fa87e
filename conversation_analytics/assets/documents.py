"""Documents that applications query, made from the curated zone and the reports."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import UNDATED_GROUP, DailyChain, lake_in, lake_ins
from conversation_analytics.core import schemas
from conversation_analytics.core.dead_letters import ledger_entries, ledger_id
from conversation_analytics.core.documents import (
    conversation_slices,
    message_documents,
    report_documents,
)
from conversation_analytics.core.partitions import Partitioned
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.zones import DAILY
from conversation_analytics.core.zones import UNDATED as UNDATED_ZONES
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.io_managers.document_io import UNDATED

_GROUP = "documents"


def document_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the assets that write to the document store."""
    settings = chain.settings
    store = "mongodb" if settings.mongodb_uri else "sqlite"
    common: dict[str, Any] = {
        "group_name": _GROUP, "io_manager_key": "document_io", "kinds": {store},
        "dagster_type": dg.Any,
    }  # fmt: skip
    conversations = {
        "collection": settings.mongodb_conversations_collection, "documents": "merge",
    }  # fmt: skip
    messages = {"collection": settings.mongodb_messages_collection, "documents": "replace"}

    @dg.asset(
        name="conversation_documents",
        ins=lake_ins(schemas.CONVERSATIONS, schemas.MESSAGES),
        description="One document per conversation with its turns inside. A day owns its own "
        "turns of the document, the day of creation its header.",
        metadata=conversations,
        **common,
        **chain.asset,
    )
    def conversation_documents(
        conversations: Partitioned[pl.DataFrame], messages: Partitioned[pl.DataFrame]
    ) -> Partitioned[list[Any]]:
        return conversations.map(lambda key, frame: conversation_slices(frame, messages[key], key))

    @dg.asset(
        name="undated_conversation_documents",
        ins=lake_ins(schemas.UNDATED_CONVERSATIONS, schemas.UNDATED_MESSAGES),
        description="Conversations and turns without a time of creation, as documents.",
        metadata=conversations,
        **{**common, "group_name": UNDATED_GROUP},
    )
    def undated_conversation_documents(
        undated_conversations: pl.DataFrame, undated_messages: pl.DataFrame
    ) -> list[Any]:
        return conversation_slices(undated_conversations, undated_messages, UNDATED)

    @dg.asset(
        name="undated_message_documents",
        ins=lake_ins(schemas.UNDATED_MESSAGES),
        description="One document per turn without a time of creation.",
        metadata=messages,
        **{**common, "group_name": UNDATED_GROUP},
    )
    def undated_message_documents(undated_messages: pl.DataFrame) -> list[Any]:
        return message_documents(undated_messages, UNDATED)

    return [
        conversation_documents,
        _per_day(chain, schemas.MESSAGES, "message_documents", message_documents,
                 "One document per turn, query and answer.", messages, common),
        _per_day(chain, schemas.DAILY_REPORT, "report_documents", report_documents,
                 "One document per day and app, and one over all apps, with every metric.",
                 {"collection": settings.mongodb_analytics_reports_collection,
                  "documents": "replace"}, common),
        *_dead_letter_documents(chain, common),
        undated_conversation_documents,
        undated_message_documents,
    ]  # fmt: skip


def _dead_letter_documents(
    chain: DailyChain, common: dict[str, Any]
) -> tuple[dg.AssetsDefinition, dg.AssetsDefinition]:
    collection = chain.settings.mongodb_dead_letters_collection
    tables = chain.settings.source_tables
    where = {"collection": collection, "documents": "replace"}
    description = (
        "The ledger of rows that could not be typed: reason, first and last seen, how often, and "
        "when a row landed after all. The rows themselves are in the lake's dead letters."
    )

    def entries(
        store: DocumentStore, key: str, dead: Mapping[SourceTable, pl.DataFrame]
    ) -> list[dict[str, Any]]:
        names = [ledger_id(table, i) for table in dead for i in dead[table]["source_id"]]
        moved = (store.get(collection, name) for name in names)
        before = [*store.find(collection, {"day": key}), *filter(None, moved)]
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        return ledger_entries(dead, before, key, now)

    @dg.asset(
        name="dead_letter_documents",
        ins=lake_ins(*(DAILY[table].dead_letters for table in tables)),
        description=description,
        metadata=where,
        **common,
        **chain.asset,
    )
    def dead_letter_documents(
        documents: dg.ResourceParam[DocumentStore], **days: Partitioned[pl.DataFrame]
    ) -> Partitioned[list[dict[str, Any]]]:
        by_table = {table: days[DAILY[table].dead_letters.name] for table in tables}
        first = next(iter(by_table.values()))
        return first.map(
            lambda key, _: entries(documents, key, {t: rows[key] for t, rows in by_table.items()})
        )

    @dg.asset(
        name="undated_dead_letter_documents",
        ins=lake_ins(*(UNDATED_ZONES[table].dead_letters for table in tables)),
        description=description,
        metadata=where,
        **{**common, "group_name": UNDATED_GROUP},
    )
    def undated_dead_letter_documents(
        documents: dg.ResourceParam[DocumentStore], **frames: pl.DataFrame
    ) -> Callable[[], list[dict[str, Any]]]:
        dead = {table: frames[UNDATED_ZONES[table].dead_letters.name] for table in tables}
        # The IO manager calls it: only then is the ledger read that is to be replaced.
        return lambda: entries(documents, UNDATED, dead)

    return dead_letter_documents, undated_dead_letter_documents


def _per_day(
    chain: DailyChain,
    table: schemas.TableSchema,
    name: str,
    build: Callable[[pl.DataFrame, str], list[dict[str, Any]]],
    description: str,
    metadata: dict[str, str],
    common: dict[str, Any],
) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        ins={"rows": lake_in(table)},
        description=description,
        metadata=metadata,
        **common,
        **chain.asset,
    )
    def documents(rows: Partitioned[pl.DataFrame]) -> Partitioned[list[dict[str, Any]]]:
        return rows.map(lambda key, frame: build(frame, key))

    return documents
