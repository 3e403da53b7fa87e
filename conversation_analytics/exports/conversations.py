"""Conversations with their turns, one JSON object a line, by conversation id."""

from __future__ import annotations

import datetime as dt
from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from conversation_analytics.core.schemas import CONVERSATIONS, MESSAGES
from conversation_analytics.exports.selection import Selection, rows_of
from conversation_analytics.exports.sorted_runs import SortedRuns

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from conversation_analytics.exports.sorted_runs import Record
    from conversation_analytics.lake.sql import LakeSql

# Decimals as numbers, times in ISO 8601 with Z, NaN as null: as rows of a query are written.
_JSON: Final = msgspec.json.Encoder(decimal_format="number")
_HEADER: Final = tuple(column.name for column in CONVERSATIONS.columns)
_TURN: Final = tuple(one.name for one in MESSAGES.columns if one.name != "conversation_id")
# Kinds of records: the order within a conversation.
_OF_HEADER, _OF_TURN = 0, 1
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LAST: Final = 1 << 62  # behind every time: of a turn that has none


def export_conversations(
    sql: LakeSql, selection: Selection, sink: BinaryIO, runs: SortedRuns | None = None
) -> int:
    """Write a line for each conversation that was created, or has turns, in the days.

    A line has the columns of `CONVERSATIONS` (null but for `id` where no day knows them) and
    `turns` of the days in order, each with the columns of `MESSAGES` and its `day`. The rows are
    read as they lie and sorted here, as they will be written: one conversation is held in memory,
    and what `runs` holds.

    Args:
        sql: the lake.
        selection: days and app.
        sink: where lines go.
        runs: sorts, within its limits.

    Returns:
        Conversations written.

    Raises:
        LakeError: what is stored cannot be read.
        LakeUnavailableError: the storage does not answer, or a day was replaced meanwhile.
        OSError: a disk is full.
    """
    written = 0
    with runs or SortedRuns() as records:
        _add_headers(sql, selection, records)
        _add_turns(sql, selection, records)
        for identifier, own in groupby(records, lambda record: record[0]):
            sink.write(_line(identifier, own))
            written += 1
    return written


def _add_headers(sql: LakeSql, selection: Selection, records: SortedRuns) -> None:
    app = "" if selection.app is None else "coalesce(app_id, '') = $app AND "
    rows = rows_of(
        sql,
        f"SELECT * FROM conversations WHERE {app}(({selection.where()}) OR id IN "
        f"(SELECT conversation_id FROM messages WHERE {selection.where()}))",
        selection.given,
    )
    for row in rows:
        day = row["partition_day"].isoformat()  # the earliest day's is the first
        header = _JSON.encode({name: row[name] for name in _HEADER})
        records.add((row["id"], _OF_HEADER, 0, "", day, header))


def _add_turns(sql: LakeSql, selection: Selection, records: SortedRuns) -> None:
    rows = rows_of(sql, f"SELECT * FROM messages WHERE {selection.where()}", selection.given)
    for row in rows:
        day, at = row["partition_day"], row["created_at"]
        turn = _JSON.encode({"day": day} | {name: row[name] for name in _TURN})
        microseconds = _LAST if at is None else (at - _EPOCH) // _MICROSECOND
        place = (row["conversation_id"], _OF_TURN, microseconds, row["id"], day.isoformat())
        records.add((*place, turn))


def _line(identifier: str, own: Iterable[Record]) -> bytes:
    """Return the line of a conversation from its records, which are JSON already."""
    header, turns = None, []
    for _, kind, *_, data in own:
        if kind == _OF_TURN:
            turns.append(data)
        elif header is None:
            header = data
    if header is None:
        header = _JSON.encode(dict.fromkeys(_HEADER) | {"id": identifier})
    return header.removesuffix(b"}") + b',"turns":[' + b",".join(turns) + b"]}\n"
