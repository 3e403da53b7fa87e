"""Pages of a client over MongoDB, against `skip` and `limit`; and the lake alone against both.

    python benchmarks/client_pages.py [--conversations 50000] [--uri mongodb://...]

All read the conversations of one period, 50 a page, the newest first, at three depths, in turns:

- ours: `conversations_of_period` over MongoDB, with the cursor of the page before;
- skip: `find().sort().skip(n).limit(50)` of the same documents with the same index: what a first
  script does. A document written meanwhile moves its pages.
- lake: `conversations_of_period` over the Parquet files alone, on local disk.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pymongo

from conversation_analytics.client import Client
from conversation_analytics.client.cursors import call_digest, encode_cursor
from conversation_analytics.client.lake_reading import LakeReading
from conversation_analytics.client.reading import Kind, StoreReading
from conversation_analytics.core.documents import conversation_slices
from conversation_analytics.core.schemas import CONVERSATIONS, MESSAGES, TableSchema
from conversation_analytics.documents import collections
from conversation_analytics.documents.store import MongoConfig, open_store
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.store import Lake
from conversation_analytics.stack.mongod import running_mongod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DATABASE = "benchmark_client"
DAYS, TURNS, PAGE, ROUNDS = 50, 4, 50, 7


def frame(table: TableSchema, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with every column of the table."""
    missing = [
        pl.lit(None, one.dtype).alias(one.name)
        for one in table.columns
        if one.name not in rows.columns
    ]
    return table.conform(rows.with_columns(missing))


def day_of(number: int, conversations: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the conversations of a day and their turns, of about 500 bytes."""
    start = START + dt.timedelta(days=number)
    ids = pl.DataFrame({"n": range(conversations)}).select(
        id=pl.format("c{}-{}", pl.lit(number), pl.col("n")),
        created_at=pl.lit(start) + pl.duration(seconds=pl.col("n") * 86_000 // conversations),
        user_id=pl.format("u{}", pl.col("n") % 997),
        app_id=pl.lit("a1"),
        name=pl.lit("Where is my order?"),
        gone=pl.lit(value=False),
    )
    turns = ids.join(pl.DataFrame({"t": range(TURNS)}), how="cross").select(
        pl.format("{}-{}", "id", "t").alias("id"),
        pl.col("id").alias("conversation_id"),
        pl.col("created_at") + pl.duration(seconds=pl.col("t")),
        "user_id", "app_id", "gone",
        model_id=pl.lit("gpt-4o"),
        query=pl.lit("What is the state of my order? " * 4),
        answer=pl.lit("It left the warehouse this morning. " * 8),
    )  # fmt: skip
    return frame(CONVERSATIONS, ids), frame(MESSAGES, turns)


@contextlib.contextmanager
def server(uri: str | None) -> Iterator[str]:
    """Give the URI of a MongoDB."""
    if uri:
        yield uri
        return
    with tempfile.TemporaryDirectory() as folder, running_mongod(Path(folder)) as started:
        yield started.uri


def main() -> None:
    """Print the median milliseconds of a page at each depth, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=50_000)
    parser.add_argument("--uri")
    given = parser.parse_args()
    with server(given.uri) as uri, tempfile.TemporaryDirectory() as folder:
        store = open_store(MongoConfig(uri, DATABASE))
        lake = Lake(LocalObjects(Path(folder)))
        store.ensure(collections.conversations())
        for number in range(DAYS):
            headers, turns = day_of(number, given.conversations // DAYS)
            day = (START + dt.timedelta(days=number)).date().isoformat()
            lake.write(CONVERSATIONS, day, headers)
            lake.write(MESSAGES, day, turns)
            store.merge_conversations(
                "conversations", day, conversation_slices(headers, turns, day)
            )
        until = START + dt.timedelta(days=DAYS)
        over_mongo = Client(StoreReading(store, {kind: kind.value for kind in Kind}))
        over_lake = Client(LakeReading(lake, 5, 5))
        with pymongo.MongoClient[dict[str, Any]](uri, tz_aware=True) as plain:
            collection = plain[DATABASE]["conversations"]
            bounds = {"created_at": {"$gte": START, "$lt": until}}
            newest = [("created_at", -1), ("_id", -1)]
            call = call_digest("conversations_of_period", [{}, START, until])
            print(f"{given.conversations} conversations of {TURNS} turns, {DAYS} days; ms a page")
            for depth in (0, given.conversations // 2, given.conversations - 2 * PAGE):
                cursor = None
                if depth:
                    skipped = (
                        collection.find(bounds, {"created_at": 1}).sort(newest).skip(depth - 1)
                    )
                    [last] = skipped.limit(1)
                    cursor = encode_cursor(call, last["created_at"], last["_id"])

                def skip(depth: int = depth) -> list[str]:
                    found = collection.find(bounds, {"messages": 0}).sort(newest)
                    return [one["_id"] for one in found.skip(depth).limit(PAGE)]

                def ours(client: Client, cursor: str | None = cursor) -> list[str]:
                    page = client.conversations_of_period(START, until, cursor=cursor, limit=PAGE)
                    return [one.id for one in page.items]

                ways: dict[str, Callable[[], list[str]]] = {
                    "skip": skip,
                    "ours": lambda: ours(over_mongo),
                    "lake": lambda: ours(over_lake),
                }
                medians = timed(ways)
                print(
                    f"behind {depth:>6}: "
                    + ", ".join(f"{name} {1000 * taken:.1f}" for name, taken in medians.items())
                    + f"; skip / ours {medians['skip'] / medians['ours']:.1f}"
                    + f", lake / ours {medians['lake'] / medians['ours']:.0f}"
                )
            plain.drop_database(DATABASE)
        store.close()


def timed(ways: dict[str, Callable[[], list[str]]]) -> dict[str, float]:
    """Return the median seconds of each way, asked in turns, and check that they agree."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        answers = []
        for name, way in ways.items():
            began = time.perf_counter()
            answers.append(way())
            seconds[name].append(time.perf_counter() - began)
        if any(answer != answers[0] for answer in answers):
            message = "the ways do not give the same page"
            raise SystemExit(message)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


if __name__ == "__main__":
    main()
