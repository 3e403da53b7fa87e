"""The table of users, against hand-written SQL of DuckDB over the rows; and a fold's memory.

Two ways of ours: merged from stored daily partials, as the platform does, and from the rows, where
the partials of each day are made first (of every kind, not of users alone: more than the peer
does). Days, turns, errors, sessions, tokens, cost, models, likes and times of every user of each
app and over all apps are compared first. Partials are read from a lake, as the platform does, every
page checksum verified.

Two densities: the hard case has a third as many users as turns a day, so that a user who is there
has one conversation, of 5.6 turns, and there is little to save; in the usual case for a chat a user
has 20 turns a day. Then the fold of twice as many days against so many.

python benchmarks/user_analytics.py [DAYS] [TURNS_A_DAY] [FOLD_DAYS] [FOLD_USERS_A_DAY]
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet  # noqa: F401 - the lake reads with it: not to be timed
from shared.made_up_days import day_of, file_of, partials_in, write_day
from shared.measured import alone, medians, print_beside
from shared.report_sql import connected

from conversation_analytics.core.cohorts import user_cohorts, user_growth
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    FEEDBACKS,
    MESSAGES,
)
from conversation_analytics.core.user_analytics import fold_input, user_analytics, users_of_days

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 3
KEYS = ["app_id", "user_id"]
SQL = """
WITH turns AS (
    SELECT coalesce(app_id, '') AS app_id, user_id, created_at, status = 'error' AS error,
        message_tokens, answer_tokens, total_price, coalesce(currency, '') AS currency,
        concat_ws('/', model_provider, model_id) AS model
    FROM read_parquet('{messages}')
    WHERE invoke_from IS DISTINCT FROM 'debugger' AND user_id IS NOT NULL
), said AS (
    SELECT *, created_at - lag(created_at)
        OVER (PARTITION BY app_id, user_id ORDER BY created_at) AS silence
    FROM turns
), users AS (
    SELECT app_id, user_id, min(created_at) AS first_at, max(created_at) AS last_at,
        count(DISTINCT (created_at AT TIME ZONE 'UTC')::DATE) AS active_days,
        count_if(silence IS NULL OR silence > INTERVAL 30 MINUTE) AS sessions, count(*) AS turns,
        count_if(error) AS errors, sum(message_tokens) AS message_tokens,
        sum(answer_tokens) AS answer_tokens, list_sort(list(DISTINCT model)) AS models
    FROM said GROUP BY GROUPING SETS ((app_id, user_id), (user_id))
), spent AS (
    SELECT app_id, user_id, currency, sum(total_price) AS cost
    FROM turns GROUP BY GROUPING SETS ((app_id, user_id, currency), (user_id, currency))
), costs AS (
    SELECT app_id, user_id, list(currency ORDER BY currency) AS currencies,
        list(cost ORDER BY currency) AS costs
    FROM spent WHERE cost IS NOT NULL GROUP BY app_id, user_id
), rated AS (
    SELECT coalesce(app_id, '') AS app_id, user_id, count_if(rating = 'like') AS likes,
        count_if(rating = 'dislike') AS dislikes
    FROM read_parquet('{feedbacks}') WHERE from_source IS DISTINCT FROM 'admin'
        AND NOT coalesce(gone, false) AND user_id IS NOT NULL
    GROUP BY GROUPING SETS ((1, 2), (2))
)
SELECT users.* EXCLUDE (models), coalesce(likes, 0) AS likes, coalesce(dislikes, 0) AS dislikes,
    CASE WHEN len(costs) = 1 THEN costs[1] END AS cost, to_json(models)::VARCHAR AS models
FROM users
LEFT JOIN costs ON costs.user_id = users.user_id AND costs.app_id IS NOT DISTINCT FROM users.app_id
LEFT JOIN rated ON rated.user_id = users.user_id AND rated.app_id IS NOT DISTINCT FROM users.app_id
"""


def from_rows_with_duckdb(folder: Path, _days: int) -> pl.DataFrame:
    """Return the users of all days in the folder."""
    files = {table.name: folder / f"{table.name}-*.parquet" for table in (MESSAGES, FEEDBACKS)}
    with connected() as connection:
        users: pl.DataFrame = connection.sql(SQL.format(**files)).pl()
    return users


def from_partials(folder: Path, days: int) -> pl.DataFrame:
    """Return the users, folded from stored partials."""
    return user_analytics(users_of_days(stored(folder, days)))


def from_rows(folder: Path, days: int) -> pl.DataFrame:
    """Return the users, by way of partials that are made first."""

    def made() -> Iterator[tuple[dt.date, pl.DataFrame]]:
        for number in range(days):
            tables = (
                pl.scan_parquet(file_of(folder, table, number))
                for table in (CONVERSATIONS, MESSAGES, FEEDBACKS)
            )
            yield day_of(number), daily_partials(*tables, day=day_of(number)).collect()

    return user_analytics(users_of_days(made()))


def stored(folder: Path, days: int) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """Yield days with their partials."""
    for number in range(days):
        key = day_of(number).isoformat()
        partials, _ = partials_in(folder).scan(DAILY_PARTIALS, key)
        yield day_of(number), fold_input(partials).collect()


def folded(folder: Path, days: int) -> None:
    """Make all that the asset `fold_users` makes."""
    users = users_of_days(stored(folder, days))
    for table in (user_analytics, user_growth, user_cohorts):
        table(users)


def check(folder: Path, days: int) -> None:
    """Compare every figure of every user.

    Raises:
        SystemExit: one differs.
    """
    theirs = from_rows_with_duckdb(folder, days).sort(KEYS)
    for way in (from_partials, from_rows):
        own = way(folder, days).sort(KEYS)
        own = own.with_columns(pl.col("models").str.replace_all(", ", ",", literal=True))
        for name in theirs.columns:
            if not own[name].cast(pl.String).equals(theirs[name].cast(pl.String)):
                raise SystemExit(f"{way.__name__}: {name} differs from DuckDB's")
    print(f"{theirs.height} users, {theirs.width} columns equal to those of DuckDB")


def main(days: int, turns: int, fold_days: int, fold_users: int) -> None:
    """Print what each takes."""
    for case, users in (("hard: 5.6", turns // 3), ("usual: 20", turns // 20)):
        print(f"{case} turns a day of each user: {days} days of {turns} turns")
        compare(days, turns, users)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone(write_days_of_users, folder, 2 * fold_days, fold_users)
        few, many = (alone(folded, folder, times * fold_days) for times in (1, 2))
    print(f"fold of partials, {fold_users} users a day of {5 * fold_users}")
    print_beside({f"{fold_days} days": few, f"{2 * fold_days} days": many}, f"{fold_days} days")


def compare(days: int, turns: int, users: int) -> None:
    """Print what each takes for days of so many turns, with so many users in all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(days):
            alone(write_day, folder, number, turns // 60 * 60, users)
        alone(check, folder, days)
        peer = "rows with DuckDB"
        ways = {
            peer: from_rows_with_duckdb, "rows with ours": from_rows, "from partials": from_partials
        }  # fmt: skip
        print_beside(medians(ways, folder, days, rounds=ROUNDS), peer)


def write_days_of_users(folder: Path, days: int, users: int) -> None:
    """Write partials of days, of the kinds that tell of users, with so many of them each."""
    names = ("turns", "errors", "sessions", "message_tokens", "answer_tokens")
    for number in range(days):
        n = (pl.int_range(users) * 5 + number * 7919) % (5 * users)
        midnight = dt.datetime.combine(day_of(number), dt.time(), dt.UTC)
        rows = (
            pl.LazyFrame()
            .select(
                user_id=pl.format("user---------------{}", n.cast(pl.String).str.zfill(17)),
                app_id=pl.format("app-{}", n % 19),
                model_provider=pl.lit("provider"),
                model_id=pl.format("model-{}", (n + number) % 5),
                currency=pl.lit("USD"),
                day=pl.lit(day_of(number)),
                first_at=midnight + pl.duration(seconds=n % 80_000),
                last_at=midnight + pl.duration(seconds=n % 80_000 + 600),
                cost=pl.lit(1),
                **dict.fromkeys(names, n % 7 + 1),
            )
            .collect()
        )
        kinds = (("users", ["model_provider", "model_id", "currency", "cost"]),
                 ("user_models", ["day", "first_at", "last_at", "errors", "sessions"]))  # fmt: skip
        both = pl.concat(
            [rows.drop(without).with_columns(kind=pl.lit(kind)) for kind, without in kinds],
            how="diagonal",
        )
        whole = both.with_columns(
            pl.lit(None).alias(name) for name in DAILY_PARTIALS.polars if name not in both.columns
        )
        key = day_of(number).isoformat()
        partials_in(folder).write(DAILY_PARTIALS, key, DAILY_PARTIALS.conform(whole))


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers + [31, 60_000, 60, 10_000][len(numbers) :]))
