"""Exports of a long range: memory against a short one, time against pandas.

    python benchmarks/exports.py [--turns 20000] [--days 4,40] [--ways jsonl,duckdb]

Each export is a process of its own, over a local lake of as many turns a day:

- ours: `conversation-analytics export`;
- duckdb: conversations as JSONL with DuckDB sorting all turns within 512 MB: the same bytes;
- pandas: `pandas.read_parquet` of the table's folder, then `to_csv`: the obvious script. It neither
  bounds its memory nor neutralises formulas, and writes no file atomically.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from client_pages import TURNS, day_of

from conversation_analytics.core.schemas import CONVERSATIONS, MESSAGES
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.store import Lake

_PANDAS = (
    "import sys, pandas; pandas.read_parquet(sys.argv[1] + '/messages')"
    ".to_csv(sys.argv[2], index=False)"
)

_DUCKDB = (
    "import sys, pathlib; from conversation_analytics.exports.selection import LIMITS, Selection;"
    "from conversation_analytics.lake.objects import LocalObjects;"
    "from conversation_analytics.lake.sql import open_sql;"
    "from conversation_analytics.lake.store import Lake;"
    "from conversation_analytics_tests.oracles import exports_oracle as oracle;"
    "lake = Lake(LocalObjects(pathlib.Path(sys.argv[1])));"
    "sql = open_sql(lake, LIMITS); sink = open(sys.argv[2], 'wb');"
    "oracle.export_conversations_sorted_by_duckdb(sql, Selection(), sink); sink.close();"
    "sql.close()"
)


def measured(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - this script's own commands
        words, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"{words}: exit code {process.returncode}"
        raise SystemExit(message)
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Print seconds and peak memory of each export, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20_000)
    parser.add_argument("--days", default="4,40")
    parser.add_argument("--ways", default="csv,parquet,jsonl,convokit,duckdb,pandas")
    given = parser.parse_args()
    ours = [sys.executable, "-m", "conversation_analytics.cli", "export", "--overwrite"]
    ways = {
        "csv": [*ours, "--format", "csv", "--table", "messages"],
        "parquet": [*ours, "--format", "parquet", "--table", "messages"],
        "jsonl": [*ours, "--format", "jsonl"],
        "convokit": [*ours, "--format", "convokit"],
        "duckdb": [sys.executable, "-c", _DUCKDB],
        "pandas": [sys.executable, "-c", _PANDAS],
    }
    ways = {name: ways[name] for name in given.ways.split(",")}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    counts = [int(one) for one in given.days.split(",")]
    for days in counts:
        with tempfile.TemporaryDirectory() as folder:
            root = f"{folder}/lake"
            lake = Lake(LocalObjects(Path(root)))
            for number in range(days):
                headers, turns = day_of(number, given.turns // TURNS)
                day = str(turns["created_at"].dt.date().min())
                # Texts that differ, so that they take room.
                turns = turns.with_columns(pl.format("{} {}", "answer", "id").alias("answer"))
                lake.write(CONVERSATIONS, day, headers)
                lake.write(MESSAGES, day, turns)
            for name, words in ways.items():
                out = f"{folder}/{name}"
                command = [*words, root, out] if words[1] == "-c" else [*words, "--out", out]
                found[name].append(measured(command, {"PARQUET_BASE_DIR": root}))
                seconds, peak = found[name][-1]
                print(f"{days:>4} days, {name:9} {seconds:6.1f} s, peak {peak:6.0f} MB")
            if {"jsonl", "duckdb"} <= ways.keys():
                same = filecmp.cmp(f"{folder}/jsonl", f"{folder}/duckdb", shallow=False)
                print(f"{days:>4} days, jsonl, duckdb: {'the same bytes' if same else 'DIFFERENT'}")
    for name, runs in found.items():
        print(
            f"{name:9} peak {runs[-1][1] / runs[0][1]:.2f} for {counts[-1] / counts[0]:.0f} times"
        )
    for one, peer in (("csv", "pandas"), ("jsonl", "duckdb")):
        if not {one, peer} <= ways.keys():
            continue
        (seconds, peak), (of_peer, peak_of_peer) = found[one][-1], found[peer][-1]
        print(f"{one} / {peer}: time {seconds / of_peer:.2f}, peak {peak / peak_of_peer:.2f}")


if __name__ == "__main__":
    main()
