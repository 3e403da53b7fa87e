"""The table of models of some days from their partials, against a scan of the rows with DuckDB.

Both read Parquet files, of partials the rows of counts and sketches. Volume, errors, tokens, cost,
speed and percentiles by app and model, and over all apps, are compared first: percentiles within
1%, the others exactly.

python benchmarks/model_performance.py [DAYS] [TURNS_A_DAY]
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import polars as pl
from shared.made_up_days import FIRST, partials_in, write_day
from shared.measured import alone, medians, print_beside
from shared.report_sql import connected

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.model_performance import model_performance
from conversation_analytics.core.schemas import DAILY_PARTIALS, MESSAGES

ROUNDS = 3
SQL = """
WITH turns AS (
    SELECT coalesce(app_id, '') AS app_id, concat_ws('/', model_provider, model_id) AS model,
        currency, total_price, message_tokens, answer_tokens, status = 'error' AS error,
        coalesce(answer, '') = '' AS nothing,
        CASE WHEN latency_s > 0 THEN latency_s END AS latency,
        CASE WHEN time_to_first_token_s > 0 THEN time_to_first_token_s END AS first_token
    FROM read_parquet('{}') WHERE invoke_from IS DISTINCT FROM 'debugger'
), models AS (
    SELECT app_id, model, count(*) AS turns, count_if(error) AS errors,
        count_if(nothing) AS empty_answers, sum(message_tokens) AS message_tokens,
        sum(answer_tokens) AS answer_tokens,
        sum(answer_tokens) FILTER (latency IS NOT NULL) / sum(latency) AS output_speed,
        quantile_disc(latency, [0.5, 0.9, 0.95, 0.99]) AS latencies,
        quantile_disc(first_token, [0.5, 0.95]) AS first_tokens
    FROM turns GROUP BY GROUPING SETS ((1, 2), (2))
), money AS (
    SELECT app_id, model, currency, sum(total_price) AS cost
    FROM turns GROUP BY GROUPING SETS ((1, 2, 3), (2, 3))
)
SELECT models.* EXCLUDE (latencies, first_tokens), currency, cost, latencies[1] AS latency_p50,
    latencies[2] AS latency_p90, latencies[3] AS latency_p95, latencies[4] AS latency_p99,
    first_tokens[1] AS time_to_first_token_p50, first_tokens[2] AS time_to_first_token_p95
FROM models LEFT JOIN money
    ON models.model = money.model AND models.app_id IS NOT DISTINCT FROM money.app_id
"""


def from_partials(folder: Path) -> pl.DataFrame:
    """Return the table of models."""
    paths = partials_in(folder).scan_paths(DAILY_PARTIALS)
    of_models = pl.scan_parquet(paths).filter(pl.col("kind").is_in(["counts", "sketch"]))
    return model_performance(of_models, FIRST, engine=CPU)


def from_rows(folder: Path) -> pl.DataFrame:
    """Return the same of the rows."""
    with connected() as connection:
        sql = SQL.format(folder / f"{MESSAGES.name}-*.parquet")
        models: pl.DataFrame = connection.sql(sql).pl()
    return models


def check(folder: Path) -> None:
    """Compare every figure.

    Raises:
        SystemExit: one differs.
    """
    keys = ["app_id", "model", "currency"]
    theirs = from_rows(folder).sort(keys)
    own = from_partials(folder).sort(keys)
    if not own.select(keys).equals(theirs.select(keys)):
        raise SystemExit(f"expected {theirs.height} rows of the same keys, got {own.height}")
    for name in theirs.drop(keys).columns:
        near = 0.0101 if "_p" in name else 1e-9
        for got, value in zip(own[name], theirs[name], strict=True):
            if not math.isclose(got, value, rel_tol=near, abs_tol=1e-6):
                raise SystemExit(f"{name}: expected {value}, got {got}")
    print(f"{theirs.height} rows of {theirs.width} columns equal to those of DuckDB")


def main(days: int, turns: int) -> None:
    """Print what both take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(days):
            alone(write_day, folder, number, turns // 60 * 60, turns // 3)
        alone(check, folder)
        ways = {"scan of rows with DuckDB": from_rows, "from partials": from_partials}
        taken = medians(ways, folder, rounds=ROUNDS)
    print(f"{days} days of {turns} turns")
    print_beside(taken, "scan of rows with DuckDB")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers or [10, 300_000]))
