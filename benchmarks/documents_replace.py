"""Replacing a partition of documents in MongoDB, against blind upserts of the same documents.

    python benchmarks/documents_replace.py [--rows 20000] [--uri mongodb://...]

Without `--uri` it runs a mongod of its own. Both write the same documents, in batches of the
same size, into collections with the same indexes, in turns:

- ours: `replace_partition` and `merge_conversations`, in transactions, as the platform uses them;
- blind: `bulk_write` of `UpdateOne({"_id": ...}, {"$set": ...}, upsert=True)`, unordered: what a
  first script does. It leaves withdrawn documents behind and readers see half of it.

Cases: no document is there; every other one is there with an older content; all of them are; all
are there as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import statistics
import tempfile
import time
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
from bson.codec_options import CodecOptions, TypeRegistry
from bson.decimal128 import DecimalEncoder

from conversation_analytics.core.documents import ConversationSlice, Document
from conversation_analytics.documents import collections
from conversation_analytics.documents.store import MongoConfig, open_store
from conversation_analytics.stack.mongod import running_mongod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conversation_analytics.documents.store import DocumentStore

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
DATABASE = "benchmark_documents"
DAY = "2026-11-22"
BATCH = 1000
TURNS = 5


def message(number: int, version: int) -> Document:
    """Return a message of about 700 bytes."""
    return {
        "_id": f"message-{number:09}",
        "conversation_id": f"conversation-{number // TURNS:09}",
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


def slices(numbers: Sequence[int], version: int) -> list[ConversationSlice]:
    """Return the conversations of these messages."""
    turns: dict[str, list[Document]] = {}
    for number in numbers:
        turn = message(number, version)
        turn["id"] = turn.pop("_id")
        turns.setdefault(turn.pop("conversation_id"), []).append(turn)
    return [
        ConversationSlice(one, {"user_id": "u", "created_at": NOON}, its)
        for one, its in turns.items()
    ]


def plain(piece: ConversationSlice) -> Document:
    """Return a conversation as one document, as a first script would write it."""
    return {"_id": piece.conversation_id, **(piece.header or {}), "messages": piece.messages}


def upsert(target: pymongo.collection.Collection[Document], documents: Sequence[Document]) -> None:
    """Write documents blindly."""
    for start in range(0, len(documents), BATCH):
        target.bulk_write(
            [
                pymongo.UpdateOne({"_id": one["_id"]}, {"$set": one}, upsert=True)
                for one in documents[start : start + BATCH]
            ],
            ordered=False,
        )


class Rivals:
    """Both ways to write, on empty collections at each try."""

    def __init__(self, uri: str) -> None:
        """Connect both."""
        self._config = MongoConfig(uri, DATABASE, batch_size=BATCH)
        options: CodecOptions[Any] = CodecOptions(type_registry=TypeRegistry([DecimalEncoder()]))
        client: pymongo.MongoClient[Any] = pymongo.MongoClient(uri)
        self.database = client.get_database(DATABASE, codec_options=options)

    def emptied(self) -> DocumentStore:
        """Return a store on an empty database with the collections' indexes."""
        self.database.client.drop_database(DATABASE)
        store = open_store(self._config)
        for spec in (collections.messages(), collections.conversations()):
            store.ensure(replace(spec, rules=""))  # these documents are shorter than real ones
        return store

    def write(
        self, store: DocumentStore, kind: str, numbers: Sequence[int], version: int, *, blind: bool
    ) -> Callable[[], object]:
        """Return the write of some messages, with everything prepared that either way needs."""
        if kind == "messages":
            documents = [message(number, version) for number in numbers]
            if blind:
                return partial(upsert, self.database[kind], documents)
            return partial(store.replace_partition, kind, DAY, documents)
        pieces = slices(numbers, version)
        if blind:
            return partial(upsert, self.database[kind], [plain(piece) for piece in pieces])
        return partial(store.merge_conversations, kind, DAY, pieces)

    def seconds(
        self, kind: str, *, blind: bool, there: Sequence[int], rows: Sequence[int], version: int
    ) -> float:
        """Return how long the second write takes where `there` was written before, by the same."""
        with contextlib.closing(self.emptied()) as store:
            if there:
                self.write(store, kind, there, 0, blind=blind)()
            write = self.write(store, kind, rows, version, blind=blind)
            began = time.perf_counter()
            write()
            taken = time.perf_counter() - began
        expected = len(rows) if kind == "messages" else len({one // TURNS for one in rows})
        if (found := self.database[kind].count_documents({})) != expected:
            raise SystemExit(f"{kind}: expected {expected} documents, got {found}")
        return taken


@contextlib.contextmanager
def server(uri: str) -> Iterator[str]:
    """Yield the address of a server."""
    if uri:
        yield uri
        return
    with tempfile.TemporaryDirectory() as folder, running_mongod(Path(folder)) as own:
        yield own.uri


def main() -> None:
    """Print a line for each case: seconds of both, and the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--uri", default="")
    given = parser.parse_args()
    rows = range(given.rows)
    cases: list[tuple[str, Sequence[int], int]] = [
        ("new", (), 1),
        # Whole conversations, so that half of these are there, too.
        ("half there, older", [one for one in rows if one // TURNS % 2], 1),
        ("all there, older", rows, 1),
        ("all there, the same", rows, 0),
    ]
    with server(given.uri) as uri:
        rivals = Rivals(uri)
        print(f"{given.rows} messages, medians of {given.rounds} rounds")
        for kind in ("messages", "conversations"):
            for what, there, version in cases:
                taken: dict[bool, list[float]] = {True: [], False: []}
                for _ in range(given.rounds):
                    for blind in (True, False):
                        taken[blind].append(
                            rivals.seconds(
                                kind, blind=blind, there=there, rows=rows, version=version
                            )
                        )
                slow, ours = (statistics.median(taken[blind]) for blind in (True, False))
                print(
                    f"{kind:14} {what:20} blind {slow:6.2f} s, ours {ours:6.2f} s: "
                    f"{slow / ours:5.2f} times as fast"
                )
        rivals.database.client.drop_database(DATABASE)


if __name__ == "__main__":
    main()
