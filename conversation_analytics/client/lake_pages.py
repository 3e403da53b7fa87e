"""Pages of documents from the lake's tables of days, through its SQL.

What a caller gives is bound to `$` parameters. Bounds on the day are ISO dates made from checked
values: they stand in the text, since DuckDB opens only the days that constants leave.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from conversation_analytics.client.reading import Kind
from conversation_analytics.core.categories import CATEGORIES, category_documents
from conversation_analytics.core.documents import (
    conversation_slices,
    merge_slice,
    message_documents,
    translation_documents,
)
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    MESSAGES,
    UNDATED_CONVERSATIONS,
    UNDATED_MESSAGES,
)
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.documents.encoding import storable_document
from conversation_analytics.documents.paging import read_page
from conversation_analytics.lake.sql import DAY_COLUMN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from conversation_analytics.core.documents import Document
    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.documents.paging import PageQuery, Segment
    from conversation_analytics.documents.store import Scalar
    from conversation_analytics.lake.sql import LakeSql

_UNDATED: Final = "undated"
_SIGNS: Final = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<"}
_ONE_DAY: Final = dt.timedelta(days=1)
_DAY: Final = f"strftime({DAY_COLUMN}, '%Y-%m-%d')"
_SORTS: Final = {"created_at": "date_trunc('millisecond', created_at)"}
"""What a document holds of a column, where that is not all."""


def _both(dated: TableSchema, undated: TableSchema, *names: str) -> str:
    columns = ", ".join(names or (column.name for column in dated.columns))
    return (
        f"(SELECT {columns}, {DAY_COLUMN}, {_DAY} AS day FROM {dated.name} UNION ALL BY NAME "
        f"SELECT {columns}, NULL::DATE AS {DAY_COLUMN}, '{_UNDATED}' AS day FROM {undated.name})"
    )


_CONVERSATIONS: Final = _both(CONVERSATIONS, UNDATED_CONVERSATIONS)
_TURNS: Final = _both(MESSAGES, UNDATED_MESSAGES, "id", "conversation_id", "created_at", "model_id")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that are a document each.

    Attributes:
        source: SQL of the rows, with `partition_day` and `day`.
        identifier: SQL of the document's `_id`.
        build: makes the documents of the rows of one day.
    """

    source: str
    identifier: str
    build: Callable[[pl.DataFrame, str], list[Document]]


_ROWS: Final[Mapping[Kind, _Rows]] = {
    Kind.MESSAGES: _Rows(_both(MESSAGES, UNDATED_MESSAGES), "id", message_documents),
    Kind.TRANSLATIONS: _Rows(
        f"(SELECT *, {_DAY} AS day FROM {TRANSLATIONS.name} WHERE status <> 'same')",
        "message_id || ':' || field",
        translation_documents,
    ),
    Kind.CATEGORIES: _Rows(
        f"(SELECT *, {_DAY} AS day FROM {CATEGORIES.name})",
        "day || ':' || conversation_id || ':' || category_type",
        category_documents,
    ),
}


def row_page(sql: LakeSql, kind: Kind, query: PageQuery) -> list[Document]:
    """Return a page of documents that are a row each: messages, translations, categories."""
    rows = _ROWS[kind]

    def read(segment: Segment, limit: int) -> list[Document]:
        found = _segment(sql, rows.source, rows.identifier, query, segment, limit)
        documents = {
            document["_id"]: storable_document(document)
            for (day,), own in found.group_by("day")
            for document in rows.build(own.drop("day", "_id", DAY_COLUMN), str(day))
        }
        return [documents[one] for one in found["_id"]]

    return read_page(query, read)


def conversation_page(sql: LakeSql, query: PageQuery) -> list[Document]:
    """Return a page of conversations, without their messages."""

    def read(segment: Segment, limit: int) -> list[Document]:
        wanted = limit
        while True:
            found = _segment(sql, _CONVERSATIONS, "id", query, segment, wanted, "id AS _id, day")
            documents = conversations_by_id(sql, found["_id"].to_list())
            # Where two days claim a conversation, the earlier one shows.
            shown = [
                documents[one]
                for one, day in found.select("_id", "day").iter_rows()
                if documents[one]["header_day"] == day
            ]
            if len(shown) >= limit or found.height < wanted:
                return shown[:limit]
            wanted *= 2

    return read_page(query, read)


def conversations_by_id(sql: LakeSql, identifiers: Iterable[str]) -> dict[str, Document]:
    """Return the conversations that there are, by id, without their messages."""
    given = {"ids": sorted(set(identifiers))}
    if not given["ids"]:
        return {}
    headers = _frame(
        sql,
        f"SELECT * EXCLUDE ({DAY_COLUMN}) FROM {_CONVERSATIONS} WHERE id IN (SELECT unnest($ids))",
        given,
    ).partition_by("day", as_dict=True, include_key=False)
    turns = _frame(
        sql,
        f"SELECT * EXCLUDE ({DAY_COLUMN}) FROM {_TURNS} "
        "WHERE conversation_id IN (SELECT unnest($ids))",
        given,
    ).partition_by("day", as_dict=True, include_key=False)
    no_headers, no_turns = CONVERSATIONS.empty(), MESSAGES.empty()
    merged: dict[str, Document] = {}
    for key in sorted(headers.keys() | turns.keys()):
        (day,) = key
        for piece in conversation_slices(
            headers.get(key, no_headers), turns.get(key, no_turns), str(day)
        ):
            merged[piece.conversation_id] = (
                merge_slice(merged.get(piece.conversation_id), piece, str(day)) or {}
            )
    for document in merged.values():
        del document["messages"]
    return {one: storable_document(document) for one, document in merged.items()}


def _segment(
    sql: LakeSql,
    rows: str,
    identifier: str,
    query: PageQuery,
    segment: Segment,
    limit: int,
    columns: str = "",
) -> pl.DataFrame:
    """Return the first rows of a range, in order, with `day` and `_id`."""
    sort = _SORTS.get(query.sort, f'"{query.sort}"')
    where, given = ["true"], dict[str, object]()
    tests: list[tuple[str, str, Scalar]] = [(f'"{n}"', "eq", v) for n, v in query.equals.items()]
    tests += [(sort, comparison, value) for comparison, value in segment.conditions]
    if segment.beyond is not None:
        tests.append((f"({identifier})", "lt" if query.descending else "gt", segment.beyond))
    for number, (field, comparison, value) in enumerate(tests):
        if value is None:
            where.append(f"{field} IS {'NOT NULL' if comparison == 'ne' else 'NULL'}")
        else:
            where.append(f"{field} {_SIGNS[comparison]} $v{number}")
            given[f"v{number}"] = value
    where += _day_bounds(query, segment)
    order = "DESC" if query.descending else "ASC"
    return _frame(
        sql,
        f"SELECT {columns or f'*, {identifier} AS _id'} FROM {rows} WHERE {' AND '.join(where)} "
        f"ORDER BY {sort} {order}, {identifier} {order} LIMIT {int(limit)}",
        given,
    )


def _day_bounds(query: PageQuery, segment: Segment) -> list[str]:
    """Return conditions on the partitions that can hold the range."""
    bounds = []
    for comparison, value in segment.conditions:
        if isinstance(value, dt.datetime):
            # Local days: no zone is further from UTC than a day.
            low, high = _day_before(value), _day_after(value)
        elif isinstance(value, str) and query.sort == "day" and _is_day(value):
            low = high = dt.date.fromisoformat(value)
        else:
            continue
        if comparison in {"eq", "gt", "gte"}:
            bounds.append(f"{DAY_COLUMN} >= DATE '{low.isoformat()}'")
        if comparison in {"eq", "lt"}:
            bounds.append(f"{DAY_COLUMN} <= DATE '{high.isoformat()}'")
    return bounds


def _is_day(text: str) -> bool:
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _day_before(instant: dt.datetime) -> dt.date:
    day = instant.astimezone(dt.UTC).date()
    return day - _ONE_DAY if day > dt.date.min else day


def _day_after(instant: dt.datetime) -> dt.date:
    day = instant.astimezone(dt.UTC).date()
    return day + _ONE_DAY if day < dt.date.max else day


def _frame(sql: LakeSql, text: str, given: Mapping[str, Any]) -> pl.DataFrame:
    import pyarrow as pa  # noqa: PLC0415 - import budget

    rows = sql.query(text, given)
    return pl.DataFrame(pa.Table.from_batches(list(rows.batches), rows.schema))
