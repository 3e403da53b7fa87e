"""Replacing a day of documents in MongoDB under concurrent readers: does any of them see a mix?

    python benchmarks/documents_readers.py [--rows 50000] [--readers 20] [--cache-gb 0.25 2]

Every document of the day changes, in a mongod of its own, while readers ask for the documents of a
user every 50 ms: some fifty, from all over the day. What is not all of one version is a mix.

- ours: `replace_partition`, read by `DocumentStore.find`. With a cache of 0.25 GB (the least that a
  server takes) it goes in several transactions behind a marker, with 2 GB in one;
- ours, plain: the same write, read by the plain driver in a session with `snapshot=True`, as an
  application in any language can: this only helps where the write is one transaction;
- blind: `bulk_write` of upserts, read by a plain find: what a first script does.

All write in batches of 1000, into collections with the same indexes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
from documents_replace import BATCH, DATABASE, DAY, Rivals

from conversation_analytics.documents.store import MongoConfig, open_store
from conversation_analytics.stack.mongod import running_mongod

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Event

    from conversation_analytics.core.documents import Document

USERS = 997
PROCESSES = 4
PAUSE_S = 0.05  # of a reader between two reads, so that each way meets about the same load


@dataclass(frozen=True)
class Outcome:
    """What a write took, and what its readers saw.

    Attributes:
        seconds: of the write.
        looks: reads while it lasted.
        mixes: of them, those that saw documents of two versions.
        slowest: of them, in seconds.
    """

    seconds: float
    looks: int
    mixes: int
    slowest: float


def ours(uri: str) -> Callable[[str], list[Document]]:
    """Read as this platform's own client does."""
    store = open_store(MongoConfig(uri, DATABASE, batch_size=BATCH))
    return lambda user: store.find("messages", {"user_id": user})


def plain(uri: str) -> Callable[[str], list[Document]]:
    """Read as a first script does."""
    target = pymongo.MongoClient[Any](uri)[DATABASE]["messages"]
    return lambda user: list(target.find({"user_id": user}))


def snapshot(uri: str) -> Callable[[str], list[Document]]:
    """Read with the driver alone, of one moment."""
    client = pymongo.MongoClient[Any](uri)

    def look(user: str) -> list[Document]:
        with client.start_session(snapshot=True) as session:
            return list(client[DATABASE]["messages"].find({"user_id": user}, session=session))

    return look


KINDS = {"ours": ours, "ours, plain": snapshot, "blind": plain}


def read(kind: str, uri: str, threads: int, stop: Event, seen: Any) -> None:
    """Read in some threads until told to stop, then say what was seen."""
    look = KINDS[kind](uri)
    results: list[tuple[bool, float]] = []

    def reader(seed: int) -> None:
        dice = random.Random(seed)
        while not stop.wait(PAUSE_S):
            began = time.perf_counter()
            found = look(f"user-{dice.randrange(USERS)}")
            taken = time.perf_counter() - began
            results.append((len({one["answer"][0] for one in found}) > 1, taken))

    running = [threading.Thread(target=reader, args=(n,)) for n in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    seen.put(results)


def measure(kind: str, uri: str, rows: int, readers: int) -> Outcome:
    """Replace a day of old documents by new ones under readers."""
    rivals = Rivals(uri)
    store = rivals.emptied()
    blind = kind == "blind"
    rivals.write(store, "messages", range(rows), 1, blind=blind)()
    write = rivals.write(store, "messages", range(rows), 2, blind=blind)
    context = multiprocessing.get_context("spawn")
    stop, seen = context.Event(), context.Queue()
    processes = [
        context.Process(target=read, args=(kind, uri, readers // PROCESSES, stop, seen))
        for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    time.sleep(2)
    began = time.perf_counter()
    write()
    seconds = time.perf_counter() - began
    time.sleep(0.5)
    stop.set()
    results = [one for _ in processes for one in seen.get()]
    for process in processes:
        process.join()
    changed = {one["answer"][0] for one in rivals.database["messages"].find({}, {"answer": 1})}
    if changed != {"2"} or store.count("messages", DAY) not in {0, rows}:
        raise SystemExit(f"{kind}: expected {rows} documents of version 2, got {changed}")
    store.close()
    return Outcome(
        seconds, len(results), sum(mix for mix, _ in results), max(taken for _, taken in results)
    )


def main() -> None:
    """Print a line for each size of cache and each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache-gb", type=float, nargs="+", default=[0.25, 2.0])
    given = parser.parse_args()
    print(f"{given.rows} documents under {given.readers} readers, {given.rounds} rounds")
    for cache_gb in given.cache_gb:
        outcomes: dict[str, list[Outcome]] = {kind: [] for kind in KINDS}
        for _ in range(given.rounds):
            for kind in KINDS:
                with (
                    tempfile.TemporaryDirectory() as folder,
                    running_mongod(Path(folder), cache_gb=cache_gb) as server,
                ):
                    outcomes[kind].append(measure(kind, server.uri, given.rows, given.readers))
        slow = statistics.median(one.seconds for one in outcomes["blind"])
        for kind, found in outcomes.items():
            median = statistics.median(one.seconds for one in found)
            print(
                f"cache {cache_gb:4} GB, {kind:12} {median:6.2f} s ({slow / median:4.2f} times as "
                f"fast as blind), {sum(one.looks for one in found)} reads, "
                f"{sum(one.mixes for one in found)} mixes, slowest read "
                f"{max(one.slowest for one in found):.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
