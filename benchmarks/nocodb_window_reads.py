"""Window reads from the real NocoDB over PostgreSQL, against a naive and a bare reader.

    python benchmarks/nocodb_window_reads.py --rows 6000

All read the same messages from the same server on this machine:

- ours: `NocoDBSource.read_window` a day, discovery included, days shared out over threads;
- bare: the least that can be written: requests, json.loads, keyset, column names typed in
  by hand, same days and threads, nothing checked, nothing parsed;
- naive: pages by offset, sorted by time, every field as served by default.

Ratios carry over between machines, times do not.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import statistics
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from conversation_analytics.core.source import SourceTable
from conversation_analytics.nocodb.client import NocoDBClient, NocoDBConfig
from conversation_analytics.nocodb.reader import NocoDBSource
from conversation_analytics.stack.dify import COLUMNS, load_dify_rows
from conversation_analytics.stack.nocodb import running_nocodb
from conversation_analytics.stack.nocodb_seed import create_dify_base
from conversation_analytics.stack.postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import DifyBase

FIRST = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
PAGE = 1000
TURNS = 5
FIELDS = ",".join(column.name for column in COLUMNS["messages"] if column.name != "message")
Window = tuple[dt.datetime, dt.datetime]


def conversations(count: int, days: int) -> Iterator[dict[str, Any]]:
    """Yield conversations evenly over the days."""
    for number in range(count):
        at = FIRST + number * days * DAY / count
        yield {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"c{number}")), "name": f"c {number}",
               "created_at": at, "updated_at": at}  # fmt: skip


def messages(count: int, days: int) -> Iterator[dict[str, Any]]:
    """Turns of 300 + 900 characters with a prompt of 1,200, evenly over the days."""
    for number in range(count):
        at = FIRST + number * days * DAY / count
        yield {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"m{number}")),
            "conversation_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"c{number // TURNS}")),
            "query": f"question {number} " + "q" * 290,
            "answer": f"answer {number} " + "a" * 890,
            "message": {"role": "user", "text": "p" * 1200},
            "inputs": {"city": "Bangkok"},
            "message_metadata": '{"usage": {"time_to_first_token": 0.4}}',
            "total_price": "0.0012345",
            "created_at": at,
            "updated_at": at,
        }


def ours(server: NocodbServer, base: DifyBase, windows: list[Window], threads: int) -> int:
    """Read the windows with this package; return the number of rows."""
    config = NocoDBConfig(server.base_url, server.api_token, base.base_id)
    with (
        contextlib.closing(NocoDBSource(NocoDBClient(config))) as source,
        ThreadPoolExecutor(threads) as pool,
    ):
        frames = pool.map(lambda window: source.read_window(SourceTable.MESSAGES, *window), windows)
        return sum(frame.height for frame in frames)


def bare(server: NocodbServer, base: DifyBase, windows: list[Window], threads: int) -> int:
    """Read the windows with the shortest loop there is; return the number of rows."""
    url = f"{server.base_url}/api/v2/tables/{base.messages_table_id}/records"

    def read(window: Window) -> int:
        start, end = window
        rows: list[dict[str, Any]] = []
        with requests.Session() as session:
            session.headers["xc-token"] = server.api_token
            day = (
                f"(created_at,gte,exactDate,{start:%F %T})~and(created_at,lt,exactDate,{end:%F %T})"
            )
            where = day
            while True:
                params = {"fields": FIELDS, "sort": "id", "limit": str(PAGE), "where": where}
                page = json.loads(session.get(url, params=params, timeout=600).content)["list"]
                rows += page
                if len(page) < PAGE:
                    return len(rows)
                where = f"{day}~and(id,gt,{rows[-1]['id']})"

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(read, windows))


def naive(server: NocodbServer, base: DifyBase) -> int:
    """Read the table page by page from the top; return the number of rows."""
    url = f"{server.base_url}/api/v2/tables/{base.messages_table_id}/records"
    count = 0
    with requests.Session() as session:
        session.headers["xc-token"] = server.api_token
        while True:
            params = {"sort": "created_at", "limit": str(PAGE), "offset": str(count)}
            answer = session.get(url, params=params, timeout=600).json()
            count += len(answer["list"])
            if answer["pageInfo"]["isLastPage"]:
                return count


def timed(name: str, expected: int, read: Callable[[], int]) -> float:
    """Run `read`, print and return its seconds; end the program if rows are missing."""
    began = time.perf_counter()
    found = read()
    seconds = time.perf_counter() - began
    if found != expected:
        sys.exit(f"{name} read {found} rows, expected {expected}: no figure from a wrong reader")
    print(f"{name:6} {seconds:8.2f} s {found / seconds:8.0f} rows/s", flush=True)
    return seconds


def main() -> None:
    """Start the servers, fill them, time the three readers and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--days", type=int, default=6)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5, help="of ours and bare, in turn")
    options = parser.parse_args()
    rows, days, threads = options.rows, options.days, options.threads
    windows = [(FIRST + day * DAY, FIRST + (day + 1) * DAY) for day in range(days)]
    with (
        tempfile.TemporaryDirectory() as folder,
        running_postgres(Path(folder) / "postgres") as postgres,
        running_nocodb(Path(folder) / "nocodb") as server,
    ):
        base = create_dify_base(server, postgres, title="benchmark", database="benchmark")
        load_dify_rows(base.dsn, "conversations", conversations(-(-rows // TURNS), days))
        load_dify_rows(base.dsn, "messages", messages(rows, days))
        bare(server, base, windows, threads)  # warms the server up
        pairs = []
        for turn in range(options.rounds):
            both = {"ours": lambda: ours(server, base, windows, threads),
                    "bare": lambda: bare(server, base, windows, threads)}  # fmt: skip
            # Neither always goes first.
            order = sorted(both, reverse=bool(turn % 2))
            pairs.append({name: timed(name, rows, both[name]) for name in order})
        ours_s = statistics.median(pair["ours"] for pair in pairs)
        bare_s = statistics.median(pair["bare"] for pair in pairs)
        naive_s = timed("naive", rows, lambda: naive(server, base))
    print(f"{rows} rows, {days} days, {threads} threads, median of {options.rounds}")
    print(f"ours is {naive_s / ours_s:.1f} times as fast as naive (goal: 10 or more)")
    print(f"ours has {bare_s / ours_s:.2f} of the speed of bare (goal: 0.9 or more)")


if __name__ == "__main__":
    main()
