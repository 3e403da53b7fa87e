"""Documents that applications query, made from the curated zone and the reports."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import UNDATED_GROUP, DailyChain, lake_in, lake_ins
from conversation_analytics.core import schemas
from conversation_analytics.core.documents import (
    conversation_slices,
    message_documents,
    report_documents,
)
from conversation_analytics.core.partitions import Partitioned
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
        undated_conversation_documents,
        undated_message_documents,
    ]  # fmt: skip


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
