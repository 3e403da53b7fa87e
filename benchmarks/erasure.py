"""Erasing one person from a lake of a year and a million messages, against rewriting the lake.

    python benchmarks/erasure.py [--days 365] [--turns 2760] [--users 3000]

The lake has the raw zone, the curated zone, languages, partials and daily reports of made-up days;
no documents. Erased is the user with the median number of days. Beside it, over a copy of the
same files:

- polars, every file: each Parquet file is read, filtered and written again: what one does who
  knows neither the days nor the files;
- polars, found by a scan: every file is read for the user's rows, and those that have any are
  written again.

Both peers follow no digests, keep no journal, render no page and prove nothing. The search of the
proof is timed by itself: it reads and decodes everything, as any proof must.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from shared.made_up_days import day_of, made_up_day

from conversation_analytics.assets.erasing import carry_out, request_erasure
from conversation_analytics.assets.erasing_notes import PENDING, Erasing
from conversation_analytics.core.contract import default_contract
from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.id_search import SoughtIds
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.model_performance import MODEL_PERFORMANCE, model_performance
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.schemas import DAILY_PARTIALS, DAILY_REPORT, TableSchema
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.suppression import row_names, row_owners
from conversation_analytics.core.zones import DAILY
from conversation_analytics.documents.store import SqliteConfig, open_store
from conversation_analytics.lake.search import search_lake
from conversation_analytics.lake.user_index import add_to_index
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings

if TYPE_CHECKING:
    from conversation_analytics.lake.store import Lake


def main() -> None:
    """Make the lake, erase, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--turns", type=int, default=2760, help="a day, a multiple of 60")
    parser.add_argument("--users", type=int, default=3000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = parse_settings({"PARQUET_BASE_DIR": str(folder / "lake")})
        for number in range(chosen.days):
            write_day(open_lake(settings), number, chosen.turns, chosen.users)
        user, days = median_user(folder / "lake")
        size = sum(path.stat().st_size for path in (folder / "lake").rglob("*.parquet"))
        print(
            f"{chosen.days} days, {chosen.days * chosen.turns:,} messages, {size / 1e6:.0f} MB; "
            f"the user was there on {days} days"
        )
        copy = folder / "copy"
        link(folder / "lake", copy)
        whole_s, whole_bytes = rewrite(copy, folder / "whole", user, only_theirs=False)
        found_s, found_bytes = rewrite(copy, folder / "found", user, only_theirs=True)
        erase_s, search_s, proof = erase(settings, folder, user)
    told(whole_s, whole_bytes, found_s, found_bytes, erase_s, search_s, proof)


def told(
    whole_s: float,
    whole_bytes: int,
    found_s: float,
    found_bytes: int,
    erase_s: float,
    search_s: float,
    proof: dict[str, Any],
) -> None:
    """Print what each took, and the ratios to the peers."""
    print(f"{'':34} {'s':>8} {'ratio':>6} {'MB written':>10} {'ratio':>6}")
    written = proof["bytes_written"]
    for name, seconds, size in (
        ("polars, every file", whole_s, whole_bytes),
        ("polars, found by a scan", found_s, found_bytes),
        ("erasure, without the search", erase_s, written),
    ):
        print(
            f"{name:34} {seconds:8.1f} {seconds / whole_s:6.3f} {size / 1e6:10.1f} "
            f"{size / whole_bytes:6.3f}"
        )
    touched = proof["bytes_touched"]
    print(f"search of the proof {search_s:.1f} s, {search_s / whole_s:.3f} of rewriting every file")
    print(f"bytes written {written / touched:.2f} of the bytes touched (goal: at most 3)")
    print(f"against the scan that finds the files: {erase_s / found_s:.2f} of its time")
    print(
        f"{proof['days']} days, {proof['partitions_rewritten']} partitions, found after: "
        f"{proof['search']['found']}"
    )


def write_day(lake: Lake, number: int, turns: int, users: int) -> None:
    """Write a day of the lake as the platform would, and its index."""
    key, day = day_of(number).isoformat(), day_of(number)
    frames = dict(zip(SourceTable, made_up_day(number, turns, users), strict=True))
    for table, frame in frames.items():
        zones = DAILY[table]
        raw = as_served(zones.raw, frame)
        add_to_index(lake, zones.raw, key, row_owners(raw, row_names(default_contract(), table)))
        held = lake.write(zones.raw, key, raw).sha256
        lake.write(zones.curated, key, frame, inputs={zones.raw.name: held})
        empty = zones.dead_letters.empty()
        lake.write(zones.dead_letters, key, empty, inputs={zones.raw.name: held})
    messages = frames[SourceTable.MESSAGES]
    languages = MESSAGE_LANGUAGE.conform(
        messages.select(
            "id", "conversation_id", "app_id", "created_at", query_language=pl.lit("en"),
            query_confidence=pl.lit(0.9), query_by=pl.lit("model"), answer_language=pl.lit("en"),
            answer_confidence=pl.lit(0.9), answer_by=pl.lit("model"),
        )
    )  # fmt: skip
    lake.write(MESSAGE_LANGUAGE, key, languages)
    plans = [frame.lazy() for frame in frames.values()]
    partials = DAILY_PARTIALS.conform(
        daily_partials(plans[0], plans[1], plans[2], day=day).collect()
    )
    lake.write(DAILY_PARTIALS, key, partials)
    lake.write(
        DAILY_REPORT,
        key,
        DAILY_REPORT.conform(daily_report(partials.lazy(), day, engine=CPU)),
    )
    lake.write(
        MODEL_PERFORMANCE,
        key,
        MODEL_PERFORMANCE.conform(model_performance(partials.lazy(), day, engine=CPU)),
    )


def as_served(schema: TableSchema, frame: pl.DataFrame) -> pl.DataFrame:
    """Return typed rows as raw ones: JSON of every column."""
    text = frame.with_columns(pl.selectors.temporal().cast(pl.String))
    return schema.conform(
        frame.select(
            "id", "created_at",
            payload=text.select(payload=pl.struct(pl.all()).struct.json_encode())["payload"],
            sha256=pl.col("id"), content_sha256=pl.col("id"), fingerprint=pl.col("id"),
            gone=pl.lit(value=False),
        )
    )  # fmt: skip


def median_user(lake: Path) -> tuple[str, int]:
    """Return the user with the median number of days, and the number."""
    rows = pl.scan_parquet(lake / "daily_partials" / "**/*.parquet", hive_partitioning=False)
    days = (
        rows.filter(pl.col("kind") == "users")
        .group_by("user_id")
        .agg(pl.col("day").n_unique())
        .sort("day", "user_id")
        .collect()
    )
    user, count = days.row(days.height // 2)
    return str(user), int(count)


def link(source: Path, target: Path) -> None:
    """Make the same files in another folder; nobody writes into a file that is there."""
    for path in source.rglob("*.parquet"):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, copy)


def rewrite(source: Path, target: Path, user: str, *, only_theirs: bool) -> tuple[float, int]:
    """Write the files of a lake without the user's rows; return seconds and bytes written."""
    begun, size = time.perf_counter(), 0
    for path in sorted(source.rglob("*.parquet")):
        frame = pl.read_parquet(path, hive_partitioning=False)
        theirs = pl.lit(value=False)
        if "payload" in frame.columns:
            theirs = pl.col("payload").str.contains(user, literal=True)
        elif "user_id" in frame.columns:
            theirs = pl.col("user_id") == user
        left = frame.filter(~theirs.fill_null(value=False))
        if only_theirs and left.height == frame.height:
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        left.write_parquet(copy, compression="zstd", compression_level=3)
        size += copy.stat().st_size
    return time.perf_counter() - begun, size


def erase(settings: Settings, folder: Path, user: str) -> tuple[float, float, dict[str, Any]]:
    """Erase a user; return seconds without the search, seconds of it, and the proof."""
    lake, store = open_lake(settings), open_store(SqliteConfig(folder / "documents.sqlite"))
    work = Erasing(lake, store, settings)
    begun = time.perf_counter()
    proof = carry_out(work, request_erasure(work, user), lambda: dt.datetime.now(dt.UTC), user)
    whole_s = time.perf_counter() - begun
    begun = time.perf_counter()
    search_lake(lake, SoughtIds.of([user]), PENDING)
    search_s = time.perf_counter() - begun
    store.close()
    return whole_s - search_s, search_s, proof


if __name__ == "__main__":
    main()
