"""A month's report merged from 31 daily partials, against a scan of the month's rows.

The scan is hand-written SQL of DuckDB for the same figures (`shared/report_sql.py`), which are
compared first; the merge computes those that SQL leaves out as well.

python benchmarks/partials_merge.py [TURNS_A_DAY]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import polars as pl
from shared.made_up_days import file_of, megabytes, write_day
from shared.measured import alone, medians, print_beside
from shared.report_sql import report_of_rows, require_equal, values_of

from conversation_analytics.core.metrics import metric_values
from conversation_analytics.core.partials import partials_of_days
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    FEEDBACKS,
    MESSAGES,
)

DAYS = 31
ROUNDS = 3


def merged(folder: Path) -> pl.DataFrame:
    """Return the values of the month, from its partials, as the report of a month has them."""
    days = (pl.read_parquet(file_of(folder, DAILY_PARTIALS, number)) for number in range(DAYS))
    return metric_values(partials_of_days(days), days=DAYS).collect()


def check(folder: Path) -> None:
    """Compare every figure."""
    require_equal(merged(folder), values_of(*report_of_rows(folder)), "DuckDB")


def main(turns: int) -> None:
    """Print what both take for `turns` turns a day."""
    turns = turns // 60 * 60
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(DAYS):
            alone(write_day, folder, number, turns, turns // 3)
        alone(check, folder)
        ways = {"scan of rows with DuckDB": report_of_rows, "merge of partials": merged}
        taken = medians(ways, folder, rounds=ROUNDS)
        rows = megabytes(folder, CONVERSATIONS, MESSAGES, FEEDBACKS)
        print(
            f"{DAYS * turns} turns in {DAYS} days: rows {rows:.0f} MB, partials "
            f"{megabytes(folder, DAILY_PARTIALS):.0f} MB"
        )
    print_beside(taken, "scan of rows with DuckDB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 323_000)
