"""A month's report merged from 31 daily partials, against a scan of the month's rows.

Scans are hand-written SQL of DuckDB for the same figures (`shared/report_sql.py`), and our own
plan, which makes the partials of each day from its rows. Figures are compared first; ours has
those that SQL leaves out as well. Partials are read from a lake, as the platform does, every
object verified.

python benchmarks/partials_merge.py [TURNS_A_DAY] [TURNS_A_USER_OF_ALL]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet  # noqa: F401 - the lake reads with it: not to be timed
from polars.testing import assert_frame_equal
from shared.made_up_days import day_of, file_of, megabytes, partials_in, write_day
from shared.measured import alone, medians, print_beside
from shared.report_sql import report_of_rows, require_equal, values_of

from conversation_analytics.core.metrics import metric_values
from conversation_analytics.core.partials import daily_partials, merged_kinds, partials_of_days
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    FEEDBACKS,
    MESSAGES,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DAYS = 31
ROUNDS = 3


def scanned(folder: Path) -> pl.DataFrame:
    """Return the values of the month, from its rows."""

    def days() -> Iterator[pl.DataFrame]:
        for number in range(DAYS):
            tables = (
                pl.scan_parquet(file_of(folder, table, number))
                for table in (CONVERSATIONS, MESSAGES, FEEDBACKS)
            )
            yield daily_partials(*tables, day=day_of(number)).collect()

    return metric_values(partials_of_days(days()), days=DAYS).collect()


def merged(folder: Path) -> pl.DataFrame:
    """Return the values of the month, from its partials, as the report of a month has them."""
    lake = partials_in(folder)
    days = (
        merged_kinds(lake.scan(DAILY_PARTIALS, day_of(number).isoformat())[0]).collect()
        for number in range(DAYS)
    )
    return metric_values(partials_of_days(days), days=DAYS).collect()


def check(folder: Path) -> None:
    """Compare every figure."""
    order = ["app_id", "metric", "currency"]
    assert_frame_equal(merged(folder).sort(order), scanned(folder).sort(order), check_exact=True)
    require_equal(merged(folder), values_of(*report_of_rows(folder)), "DuckDB")


def main(turns: int, turns_a_user: int) -> None:
    """Print what both take for `turns` turns a day, with so many fewer users in all."""
    turns = turns // 60 * 60
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(DAYS):
            alone(write_day, folder, number, turns, turns // turns_a_user)
        alone(check, folder)
        own, sql, merge = (
            "scan of rows with our plan",
            "scan of rows with DuckDB",
            "merge of partials",
        )
        ways = {own: scanned, sql: report_of_rows, merge: merged}
        taken = medians(ways, folder, rounds=ROUNDS)
        rows = megabytes(folder, CONVERSATIONS, MESSAGES, FEEDBACKS)
        paths = partials_in(folder).scan_paths(DAILY_PARTIALS)
        partials = sum(Path(path).stat().st_size for path in paths)
        print(
            f"{DAYS * turns} turns in {DAYS} days: rows {rows:.0f} MB, "
            f"partials {partials / 1e6:.0f} MB"
        )
    print_beside(taken, own)
    print(f"merge / DuckDB {taken[merge].cpu_s / taken[sql].cpu_s:.3f}")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers + [323_000, 3][len(numbers) :]))
