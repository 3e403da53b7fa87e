"""Conversations as JSONL the short way: DuckDB sorts everything, whatever memory that takes."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from conversation_analytics.core.schemas import CONVERSATIONS, MESSAGES
from conversation_analytics.exports.selection import rows_of

if TYPE_CHECKING:
    from typing import BinaryIO

    from conversation_analytics.exports.selection import Selection
    from conversation_analytics.lake.sql import LakeSql

_JSON = msgspec.json.Encoder(decimal_format="number")


def export_conversations_sorted_by_duckdb(
    sql: LakeSql, selection: Selection, sink: BinaryIO
) -> int:
    """Write what `export_conversations` writes; headers are held in memory."""
    where = selection.where()
    app = "" if selection.app is None else "coalesce(app_id, '') = $app AND "
    headers: dict[str, dict[str, Any]] = {}
    for row in rows_of(
        sql,
        f"SELECT * FROM conversations WHERE {app}(({where}) OR id IN (SELECT conversation_id FROM "
        f"messages WHERE {where})) ORDER BY id, partition_day",
        selection.given,
    ):
        headers.setdefault(row["id"], {one.name: row[one.name] for one in CONVERSATIONS.columns})
    turns = rows_of(
        sql,
        f"SELECT * FROM messages WHERE {where} "
        "ORDER BY conversation_id, created_at, id, partition_day",
        selection.given,
    )
    written = 0
    without_turns = iter(sorted(headers))
    before = next(without_turns, None)
    for identifier, own in groupby(turns, lambda row: str(row["conversation_id"])):
        while before is not None and before < identifier:
            sink.write(_JSON.encode(headers[before] | {"turns": []}) + b"\n")
            written, before = written + 1, next(without_turns, None)
        if before == identifier:
            before = next(without_turns, None)
        nothing = dict.fromkeys(one.name for one in CONVERSATIONS.columns) | {"id": identifier}
        told = [
            {"day": row["partition_day"]}
            | {one.name: row[one.name] for one in MESSAGES.columns if one.name != "conversation_id"}
            for row in own
        ]
        sink.write(_JSON.encode(headers.get(identifier, nothing) | {"turns": told}) + b"\n")
        written += 1
    while before is not None:
        sink.write(_JSON.encode(headers[before] | {"turns": []}) + b"\n")
        written, before = written + 1, next(without_turns, None)
    return written
