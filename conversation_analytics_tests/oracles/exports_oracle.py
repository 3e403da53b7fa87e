"""Conversations as JSONL the short way: DuckDB sorts everything, within its own limits."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import msgspec

from conversation_analytics.core.schemas import CONVERSATIONS, MESSAGES
from conversation_analytics.exports.selection import Selection, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from conversation_analytics.lake.sql import LakeSql

# Decimals as numbers, times in ISO 8601 with Z, NaN as null: as rows of a query are written.
_JSON: Final = msgspec.json.Encoder(decimal_format="number")
_HEADER: Final = tuple(column.name for column in CONVERSATIONS.columns)
_TURN: Final = tuple(one.name for one in MESSAGES.columns if one.name != "conversation_id")


def export_conversations_sorted_by_duckdb(
    sql: LakeSql, selection: Selection, sink: BinaryIO
) -> int:
    """Write what `export_conversations` writes; one conversation is held in memory here."""
    written = 0
    for identifier, header, turns in _merged(_headers(sql, selection), _turns(sql, selection)):
        line = {name: (header or {}).get(name) for name in _HEADER} | {"id": identifier}
        sink.write(_JSON.encode({**line, "turns": turns}) + b"\n")
        written += 1
    return written


def _headers(sql: LakeSql, selection: Selection) -> Iterator[tuple[str, dict[str, Any]]]:
    app = "" if selection.app is None else "coalesce(app_id, '') = $app AND "
    rows = rows_of(
        sql,
        f"SELECT * FROM conversations WHERE {app}(({selection.where()}) OR id IN "
        f"(SELECT conversation_id FROM messages WHERE {selection.where()})) "
        "ORDER BY id, partition_day",
        selection.given,
    )
    for identifier, claims in groupby(rows, lambda row: str(row["id"])):
        yield identifier, next(claims)  # the earliest day's


def _turns(sql: LakeSql, selection: Selection) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    rows = rows_of(
        sql,
        f"SELECT * FROM messages WHERE {selection.where()} "
        "ORDER BY conversation_id, created_at, id, partition_day",
        selection.given,
    )
    for identifier, own in groupby(rows, lambda row: str(row["conversation_id"])):
        yield (
            identifier,
            [{"day": row["partition_day"]} | {name: row[name] for name in _TURN} for row in own],
        )


def _merged(
    headers: Iterator[tuple[str, dict[str, Any]]], turns: Iterator[tuple[str, list[dict[str, Any]]]]
) -> Iterator[tuple[str, dict[str, Any] | None, list[dict[str, Any]]]]:
    """Join what is sorted by id on either side."""
    header, own = next(headers, None), next(turns, None)
    while header is not None or own is not None:
        if own is None or (header is not None and header[0] < own[0]):
            assert header is not None
            yield header[0], header[1], []
            header = next(headers, None)
        elif header is None or own[0] < header[0]:
            yield own[0], None, own[1]
            own = next(turns, None)
        else:
            yield own[0], header[1], own[1]
            header, own = next(headers, None), next(turns, None)
