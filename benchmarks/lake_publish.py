"""Write, rewrite and read one day of turns in a local lake; one line a figure.

python benchmarks/lake_publish.py [ROWS]
"""

from __future__ import annotations

import datetime as dt
import itertools
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.lake.encoding import ParquetOptions
from conversation_analytics.lake.store import open_lake

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = "2026-11-22"


def turns(rows: int) -> pl.DataFrame:
    """Return `rows` made-up turns of one day, of the schema of messages."""
    number = pl.int_range(rows)
    midnight = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
    text = pl.format("{} how do I change item {}?", number * 7919 % 100_003, number)
    return MESSAGES.conform(
        pl.select(
            id=pl.format("turn-{}", number),
            conversation_id=pl.format("conversation-{}", number // 5),
            query=text,
            answer=pl.concat_str([text] * 6),
            message_tokens=number % 500,
            total_price=pl.lit(Decimal("0.0001234")),
            currency=pl.lit("USD"),
            latency_s=(number % 997) / 100,
            status=pl.lit("normal"),
            created_at=midnight + pl.duration(milliseconds=number * 86_400_000 // rows),
        ).select(
            pl.col(name) if name in _MADE else pl.lit(None, dtype).alias(name)
            for name, dtype in MESSAGES.polars.items()
        )
    )


_MADE = frozenset({
    "id", "conversation_id", "query", "answer", "message_tokens", "total_price", "currency",
    "latency_s", "status", "created_at",
})  # fmt: skip


def timed(name: str, rows: int, work: Callable[[], object]) -> None:
    """Run `work` five times and print its best time."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    print(f"{name:28s} {best * 1000:9.1f} ms {rows / best / 1000:9.0f} thousand rows/s")


def measure(compression: str, versions: list[pl.DataFrame]) -> None:
    """Print the times of one codec for two versions of a day."""
    rows = versions[0].height
    with tempfile.TemporaryDirectory() as folder:
        lake = open_lake(Path(folder), options=ParquetOptions(compression=compression))
        alternate = itertools.cycle(versions)
        timed(
            f"{compression}: write changed",
            rows,
            lambda: lake.write(MESSAGES, DAY, next(alternate)),
        )
        written = lake.write(MESSAGES, DAY, versions[0])
        timed(
            f"{compression}: write unchanged",
            rows,
            lambda: lake.write(MESSAGES, DAY, versions[0]),
        )
        timed(f"{compression}: read", rows, lambda: lake.read(MESSAGES, DAY))
        timed(f"{compression}: row_count", rows, lambda: lake.row_count(MESSAGES, DAY))
        print(f"{compression}: {written.size_bytes / rows:.1f} bytes a row")


def main(rows: int) -> None:
    """Print the times for `rows` rows."""
    first = turns(rows)
    second = first.with_columns(answer_tokens=pl.lit(1, pl.Int64()))
    for compression in ("zstd", "snappy"):
        measure(compression, [first, second])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
