"""A month's metrics merged from 31 daily partials, against a scan of the month's turns.

Both read Parquet files and give the same values, which is checked first.

python benchmarks/partials_merge.py [TURNS_A_DAY]
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.testing import assert_frame_equal

from conversation_analytics.core.metrics import metric_values
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    MESSAGES,
    TableSchema,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DAYS = 31
FIRST = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
TEXT = "how do I change item {}? "


def made_up(schema: TableSchema, rows: int, columns: dict[str, pl.Expr]) -> pl.DataFrame:
    """Return `rows` rows of the schema: the given columns of `n`, null in the others."""
    numbers = pl.DataFrame({"n": pl.int_range(rows, eager=True)})
    return schema.conform(
        numbers.select(
            columns.get(name, pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in schema.polars.items()
        )
    )


def day_of(number: int, turns: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return made-up conversations and turns of one day; users return on other days."""
    n = pl.col("n")
    mixed = (n * 7919 + number * 104_729) % 1_000_003
    midnight = FIRST + dt.timedelta(days=number)
    common = {
        "app_id": pl.format("app-{}", mixed % 20),
        "model_provider": pl.lit("provider"),
        "model_id": pl.format("model-{}", mixed % 3),
        "invoke_from": pl.when(mixed % 50 == 0).then(pl.lit("debugger")),
        "created_at": midnight + pl.duration(seconds=n % 86_400),
    }
    text = pl.format(TEXT, mixed)
    messages = {
        **common,
        "id": pl.format("turn-{}-{}", pl.lit(number), n),
        "conversation_id": pl.format("conversation-{}-{}", pl.lit(number), n // 5),
        "query": text,
        "answer": pl.concat_str([text] * 10),
        "message_tokens": mixed % 3000,
        "answer_tokens": mixed % 500,
        "total_price": (mixed % 90_000).cast(pl.Decimal(20, 7)) * pl.lit(Decimal("0.0000001")),
        "currency": pl.when(mixed % 10 == 0).then(pl.lit("CNY")).otherwise(pl.lit("USD")),
        "latency_s": (mixed % 9973 + 1) / 1000,
        "status": pl.when(mixed % 40 == 0).then(pl.lit("error")).otherwise(pl.lit("normal")),
        "user_id": pl.format("user-{}", mixed % max(turns // 2, 1)),
    }
    conversations = {**common, "id": pl.format("conversation-{}-{}", pl.lit(number), n)}
    return made_up(CONVERSATIONS, turns // 5, conversations), made_up(MESSAGES, turns, messages)


def write_month(folder: Path, turns: int) -> None:
    """Write conversations, turns and partials of each day, as the lake has them."""
    for number in range(DAYS):
        conversations, messages = day_of(number, turns)
        partials = daily_partials(conversations.lazy(), messages.lazy()).collect()
        for schema, frame in (
            (CONVERSATIONS, conversations),
            (MESSAGES, messages),
            (DAILY_PARTIALS, DAILY_PARTIALS.conform(partials)),
        ):
            frame.write_parquet(folder / f"{schema.name}-{number:02}.parquet")


def size_of(folder: Path, schema: TableSchema) -> float:
    """Return the megabytes of a table."""
    return sum(path.stat().st_size for path in folder.glob(f"{schema.name}-*")) / 1e6


def best(work: Callable[[], pl.DataFrame]) -> tuple[float, pl.DataFrame]:
    """Run `work` three times; return its best time in seconds, and what it gives."""
    seconds, frame = float("inf"), pl.DataFrame()
    for _ in range(3):
        start = time.perf_counter()
        frame = work()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, frame.sort("app_id", "metric", "currency", nulls_last=True)


def main(turns: int) -> None:
    """Print both times and their ratio for `turns` turns a day."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_month(folder, turns)

        def table(schema: TableSchema) -> pl.LazyFrame:
            return pl.scan_parquet(folder / f"{schema.name}-*.parquet")

        merge_s, merged = best(lambda: metric_values(table(DAILY_PARTIALS)).collect())
        scan_s, scanned = best(
            lambda: metric_values(daily_partials(table(CONVERSATIONS), table(MESSAGES))).collect()
        )
        assert_frame_equal(merged, scanned, check_exact=True)
        rows = DAYS * turns
        print(f"{rows} turns in {DAYS} days, {merged.height} values, equal to the last digit")
        print(f"scan of turns      {scan_s:8.3f} s  {size_of(folder, MESSAGES):8.1f} MB")
        print(f"merge of partials  {merge_s:8.3f} s  {size_of(folder, DAILY_PARTIALS):8.1f} MB")
        print(f"the merge takes 1/{scan_s / merge_s:.1f} of the scan's time")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
