"""Documents per second of `replace_partition` and `merge_conversations`.

python benchmarks/documents_replace.py sqlite://data/benchmark.sqlite 20000
python benchmarks/documents_replace.py mongodb://127.0.0.1:27017/ 20000
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from conversation_analytics.core.documents import ConversationSlice, Document
from conversation_analytics.documents import collections
from conversation_analytics.documents.store import MongoConfig, SqliteConfig, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from conversation_analytics.documents.store import ReplaceOutcome

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def message(number: int, version: int) -> Document:
    """Return a message of about 700 bytes."""
    return {
        "_id": f"message-{number:09}",
        "conversation_id": f"conversation-{number // 5:09}",
        "user_id": f"user-{number % 997}",
        "query": "What is the state of my order? " * 4,
        "answer": f"{version}: it left the warehouse this morning. " * 6,
        "message_tokens": number % 500,
        "message_unit_price": Decimal("0.0010000"),
        "answer_unit_price": Decimal("0.0020000"),
        "total_price": Decimal(number % 100_000).scaleb(-7),
        "latency_s": 1.25,
        "created_at": NOON + dt.timedelta(milliseconds=number),
    }


def slices(count: int, version: int) -> list[ConversationSlice]:
    """Return conversations of five messages each."""
    turns: dict[str, list[Document]] = {}
    for number in range(count):
        turn = message(number, version)
        turn["id"] = turn.pop("_id")
        turns.setdefault(turn.pop("conversation_id"), []).append(turn)
    return [
        ConversationSlice(one, {"user_id": "u", "created_at": NOON}, its)
        for one, its in turns.items()
    ]


def main(where: str, count: int) -> None:
    """Print a line for each kind of write."""
    config = (
        SqliteConfig(Path(where.removeprefix("sqlite://")))
        if where.startswith("sqlite://")
        else MongoConfig(where, "benchmark_documents")
    )
    store = open_store(config)
    store.ensure(collections.messages())

    def timed(what: str, write: Callable[[], ReplaceOutcome]) -> None:
        start, cpu = time.perf_counter(), time.process_time()
        outcome = write()
        wall, used = time.perf_counter() - start, time.process_time() - cpu
        print(f"{what:24} {count / wall:9,.0f} messages/s  cpu {used:6.2f} s  {outcome}")

    parts = [("new", 0, count), ("same", 0, count), ("all changed", 1, count)]
    for what, version, size in [*parts, ("withdrawn", 1, 0)]:
        documents = [message(number, version) for number in range(size)]
        timed(
            f"replace, {what}",
            lambda documents=documents: store.replace_partition("messages", "d", documents),  # type: ignore[misc]
        )
    for what, version, size in [*parts, ("withdrawn", 1, 0)]:
        given = slices(size, version)
        timed(
            f"merge, {what}",
            lambda given=given: store.merge_conversations("conversations", "d", given),  # type: ignore[misc]
        )
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
