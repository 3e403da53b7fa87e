"""Rule 6: no row appears or disappears between two zones, checked per partition."""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import DailyChain
from conversation_analytics.core import schemas
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.lake.store import Lake


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Row counts of one day, zone by zone."""

    day: str
    raw_conversations: int
    raw_messages: int
    curated_conversations: int
    curated_messages: int
    dead_conversations: int
    dead_messages: int
    debugger_messages: int
    report_turns: int
    report_conversations: int
    debugger_conversations: int
    document_headers: int
    document_turns: int
    message_documents: int

    def differences(self) -> list[str]:
        """Return each equation that does not hold, in words."""
        equations = (
            ("raw messages = curated + dead letters",
             self.raw_messages, self.curated_messages + self.dead_messages),
            ("raw conversations = curated + dead letters",
             self.raw_conversations, self.curated_conversations + self.dead_conversations),
            ("curated messages = message documents",
             self.curated_messages, self.message_documents),
            ("curated messages = turns inside conversation documents",
             self.curated_messages, self.document_turns),
            ("curated conversations = conversation documents begun this day",
             self.curated_conversations, self.document_headers),
            ("curated messages - debugger rows = turns of the report",
             self.curated_messages - self.debugger_messages, self.report_turns),
            ("curated conversations - debugger rows = new conversations of the report",
             self.curated_conversations - self.debugger_conversations,
             self.report_conversations),
        )  # fmt: skip
        return [
            f"{self.day}: {what}: {left} against {right}"
            for what, left, right in equations
            if left != right
        ]


def reconcile(
    lake: Lake, store: DocumentStore, key: str, collections: Mapping[str, str]
) -> Reconciliation:
    """Count the rows of day `key` in every zone.

    Args:
        lake: the lake.
        store: the document store.
        key: partition key.
        collections: names of the collections `conversations` and `messages`.
    """
    messages = lake.read(schemas.MESSAGES, key)
    conversations = lake.read(schemas.CONVERSATIONS, key)
    report = lake.read(schemas.DAILY_REPORT, key)
    headers, turns = store.count_slice(collections["conversations"], key)
    return Reconciliation(
        day=key,
        raw_conversations=lake.row_count(schemas.RAW_CONVERSATIONS, key),
        raw_messages=lake.row_count(schemas.RAW_MESSAGES, key),
        curated_conversations=conversations.height,
        curated_messages=messages.height,
        dead_conversations=lake.row_count(schemas.CONVERSATION_DEAD_LETTERS, key),
        dead_messages=lake.row_count(schemas.MESSAGE_DEAD_LETTERS, key),
        debugger_messages=_debugger_rows(messages),
        debugger_conversations=_debugger_rows(conversations),
        report_turns=_report_value(report, "turns"),
        report_conversations=_report_value(report, "conversations_new"),
        document_headers=headers,
        document_turns=turns,
        message_documents=store.count(collections["messages"], key),
    )


def _debugger_rows(frame: pl.DataFrame) -> int:
    return frame.filter(pl.col("invoke_from") == "debugger").height


def _report_value(report: pl.DataFrame, metric: str) -> int:
    overall = report.filter(pl.col("app_id").is_null() & (pl.col("metric") == metric))
    return int(overall["value"].item())


def reconciliation_check(chain: DailyChain) -> dg.AssetChecksDefinition:
    """Return the check that runs after the last asset of the daily chain."""
    collections = {
        "conversations": chain.settings.mongodb_conversations_collection,
        "messages": chain.settings.mongodb_messages_collection,
    }

    @dg.asset_check(
        asset="report_documents",
        name="rows_agree",
        additional_deps=["conversation_documents", "message_documents", "daily_report"],
        description="Raw = curated + dead letters = documents = the report's sum, day by day.",
        partitions_def=chain.partitions,
    )
    def rows_agree(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        documents: dg.ResourceParam[DocumentStore],
    ) -> dg.AssetCheckResult:
        days = [reconcile(lake, documents, key, collections) for key in context.partition_keys]
        differences = [line for day in days for line in day.differences()]
        return dg.AssetCheckResult(
            passed=not differences,
            description="; ".join(differences[:5]) or "every day agrees",
            metadata={
                "days": len(days),
                "messages": sum(day.curated_messages for day in days),
                "conversations": sum(day.curated_conversations for day in days),
                "dead_letters": sum(day.dead_messages + day.dead_conversations for day in days),
            },
        )

    return rows_agree
