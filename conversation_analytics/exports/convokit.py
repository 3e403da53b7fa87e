"""Conversations as a ConvoKit corpus: https://convokit.cornell.edu/documentation/data_format.html.

A turn is two utterances, `<id>:user` and `<id>:assistant`; the answer replies to its query, the
query to the answer of `parent_message_id`. A parent that is not exported (of an earlier day,
another conversation, or nowhere) leaves the query a root of its conversation, and stands in its
meta. Both have the time of the turn. Speakers are `user:<user_id>` (`user`: not known) and
`assistant:<app_id>` (`assistant`: no app), so that ids of users and apps cannot meet.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.exports.selection import Selection, day_sql, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from conversation_analytics.lake.sql import LakeSql
    from conversation_analytics.lake.store import Lake

FILES: Final = (
    "utterances.jsonl", "speakers.json", "conversations.json", "corpus.json", "index.json",
)  # fmt: skip

_SHARED: Final = ("app_id", "model_provider", "model_id", "status", "currency")
_CONVERSATION: Final = ("user_id", "app_id", "model_provider", "model_id", "mode", "name", "status")


def _texts(*names: str) -> dict[str, list[str]]:
    return {name: ["<class 'str'>"] for name in names}


_INDEX: Final[Mapping[str, Any]] = {
    "utterances-index": {
        **_texts("role", "message_id", "parent_message_id", "day", "created_at", *_SHARED),
        **_texts("total_price"),
        "tokens": ["<class 'int'>"],
        "latency_s": ["<class 'float'>"],
    },
    "speakers-index": _texts("kind", "user_id", "app_id"),
    "conversations-index": _texts(*_CONVERSATION, "created_at"),
    "overall-index": _texts("source", "first_day", "last_day", "app_id"),
    "version": 1,
    "vectors": [],
}


def export_corpus(lake: Lake, sql: LakeSql, selection: Selection, folder: Path) -> int:
    """Write the files of a corpus into `folder`, the utterances day by day.

    No more than a day is held in memory, and the ids of queries without their parent.

    Returns:
        Turns written; a turn is two utterances.

    Raises:
        LakeError: what is stored cannot be read.
        LakeUnavailableError: the storage does not answer, or a day was replaced meanwhile.
    """
    where, given = selection.where(), selection.given
    keys = selection.keys(lake, MESSAGES)
    orphans = frozenset(
        row["id"]
        for row in rows_of(
            sql,
            f"SELECT id FROM messages WHERE {where} AND parent_message_id IS NOT NULL AND NOT "
            f"EXISTS (SELECT 1 FROM messages AS parent WHERE {selection.where('parent')} "
            "AND parent.id = messages.parent_message_id AND parent.id <> messages.id "
            "AND parent.conversation_id = messages.conversation_id)",
            given,
        )
    )
    turns = 0
    with (folder / "utterances.jsonl").open("w", encoding="ascii") as sink:
        for key in keys:
            text = day_sql("*", MESSAGES.name, key, selection, MESSAGES.sort_by)
            for row in rows_of(sql, text, given):
                for utterance in _utterances(row, key, orphaned=row["id"] in orphans):
                    sink.write(_json(utterance) + "\n")
                turns += 1
    _write_object(folder / "speakers.json", _speakers(sql, where, given))
    _write_object(folder / "conversations.json", _conversations(sql, where, given))
    about = {
        "source": "conversation-analytics",
        "first_day": keys[0] if keys else None,
        "last_day": keys[-1] if keys else None,
        "app_id": selection.app,
    }
    for name, content in (("corpus.json", about), ("index.json", _INDEX)):
        (folder / name).write_text(_json(content) + "\n", encoding="ascii")
    return turns


def _utterances(row: Mapping[str, Any], day: str, *, orphaned: bool) -> Iterator[dict[str, Any]]:
    identifier, parent = row["id"], row["parent_message_id"]
    shared = {
        "message_id": identifier,
        "parent_message_id": parent,
        "day": day,
        "created_at": _instant(row["created_at"]),
        **{name: row[name] for name in _SHARED},
    }
    common = {
        "conversation_id": row["conversation_id"],
        "timestamp": row["created_at"].timestamp(),
        "vectors": [],
    }
    price = None if row["total_price"] is None else format(row["total_price"], "f")
    yield {
        "id": f"{identifier}:user",
        **common,
        "speaker": _speaker("user", row["user_id"]),
        "text": row["query"] or "",
        "reply-to": None if parent is None or orphaned else f"{parent}:assistant",
        "meta": {
            "role": "user", **shared, "tokens": row["message_tokens"],
            "total_price": None, "latency_s": None,
        },
    }  # fmt: skip
    yield {
        "id": f"{identifier}:assistant",
        **common,
        "speaker": _speaker("assistant", row["app_id"]),
        "text": row["answer"] or "",
        "reply-to": f"{identifier}:user",
        "meta": {
            "role": "assistant", **shared, "tokens": row["answer_tokens"],
            "total_price": price, "latency_s": row["latency_s"],
        },
    }  # fmt: skip


def _speakers(
    sql: LakeSql, where: str, given: dict[str, object] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, column in (("assistant", "app_id"), ("user", "user_id")):
        text = f"SELECT DISTINCT {column} FROM messages WHERE {where} ORDER BY 1"
        for row in rows_of(sql, text, given):
            ids = {"user_id": None, "app_id": None, column: row[column]}
            yield _speaker(kind, row[column]), {"kind": kind, **ids}


def _conversations(
    sql: LakeSql, where: str, given: dict[str, object] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = ", ".join(f"held.{name}" for name in (*_CONVERSATION, "created_at"))
    rows = rows_of(
        sql,
        f"SELECT own.conversation_id, {columns} FROM (SELECT DISTINCT conversation_id FROM "
        f"messages WHERE {where}) AS own LEFT JOIN conversations AS held "
        "ON held.id = own.conversation_id ORDER BY own.conversation_id, held.partition_day",
        given,
    )
    for identifier, claims in groupby(rows, lambda row: str(row["conversation_id"])):
        row = next(claims)  # the earliest day's
        meta = {name: row[name] for name in _CONVERSATION}
        yield identifier, {**meta, "created_at": _instant(row["created_at"])}


def _speaker(kind: str, identifier: str | None) -> str:
    return kind if identifier is None else f"{kind}:{identifier}"


def _instant(value: Any) -> str | None:
    return None if value is None else str(value.isoformat()).replace("+00:00", "Z")


def _write_object(path: Path, items: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Write one JSON object, an entry a line."""
    with path.open("w", encoding="ascii") as sink:
        between = "{\n"
        for identifier, meta in items:
            sink.write(f"{between}{_json(identifier)}: {_json({'meta': meta, 'vectors': []})}")
            between = ",\n"
        sink.write("{}\n" if between == "{\n" else "\n}\n")


def _json(value: Any) -> str:
    # ASCII: ConvoKit reads in the encoding of the reader's machine.
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
