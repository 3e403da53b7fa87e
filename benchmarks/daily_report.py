"""One day's report from its rows, against hand-written SQL of DuckDB, and pandas.

Each reads the Parquet files of a day and computes the same figures by app and over all apps: every
metric of the registry but those that follow from the others by a division, and but rephrased
questions, which SQL has no function for: they are left out on all sides, and what they take is
printed beside. Ours makes the partials of the day and merges the report out of them, as the
platform does, though that is more than the peers have to do. Percentiles are ours within 1%;
DuckDB's are exact, as they are in pandas.

python benchmarks/daily_report.py [TURNS]
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet  # noqa: F401 - pandas reads with it: not to be timed
from rapidfuzz import process  # noqa: F401 - as above

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import CONVERSATIONS, FEEDBACKS, MESSAGES, TableSchema
from shared.made_up_days import day_of, file_of, scan, write_day
from shared.measured import alone, medians, print_beside

ROUNDS = 3
USERS = 150_000
APP = (
    "conversations_new", "conversations_active", "turns", "conversations_1_2", "conversations_3_5",
    "conversations_6_10", "conversations_11_20", "conversations_21_up", "continued_conversations",
    "abandoned_conversations", "active_users", "engaged_users", "sessions", "errors",
    "empty_answers", "regenerations", "message_tokens", "answer_tokens", "likes", "dislikes",
    "satisfied_conversations", "dify_average_response_time", "output_speed", "latency_p50",
    "latency_p90", "latency_p95", "latency_p99", "time_to_first_token_p50",
    "time_to_first_token_p95",
)  # fmt: skip
MONEY = ("cost", "cost_per_1k_tokens")
Values = dict[tuple[str | None, str, str | None], float | None]

SQL = """
WITH turns AS (
    SELECT id, conversation_id, parent_message_id, coalesce(app_id, '') AS app, user_id, currency,
        created_at, status = 'error' AS error, coalesce(answer, '') = '' AS nothing,
        CASE WHEN message_tokens BETWEEN 0 AND 1000000000 THEN message_tokens END AS tokens_in,
        CASE WHEN answer_tokens BETWEEN 0 AND 1000000000 THEN answer_tokens END AS tokens_out,
        CASE WHEN total_price BETWEEN -1000000000 AND 1000000000 THEN total_price END AS price,
        CASE WHEN latency_s > 0 AND latency_s < 1e9 THEN latency_s END AS latency,
        CASE WHEN time_to_first_token_s > 0 AND time_to_first_token_s < 1e9
            THEN time_to_first_token_s END AS first_token
    FROM read_parquet('{messages}') WHERE invoke_from IS DISTINCT FROM 'debugger'
), counts AS (
    SELECT app, count(*) AS turns, count_if(error) AS errors, count_if(nothing) AS empty_answers,
        sum(tokens_in) AS message_tokens, sum(tokens_out) AS answer_tokens,
        sum(round(latency * 1000000)::BIGINT) / 1000000 AS seconds,
        sum(tokens_out) FILTER (latency IS NOT NULL) AS timed_tokens,
        quantile_disc(latency, [0.5, 0.9, 0.95, 0.99]) AS latencies,
        quantile_disc(first_token, [0.5, 0.95]) AS first_tokens
    FROM turns GROUP BY GROUPING SETS ((app), ())
), siblings AS (
    SELECT app, count(*) - 1 AS more FROM turns WHERE parent_message_id IS NOT NULL
    GROUP BY app, conversation_id, parent_message_id HAVING count(*) > 1
), regenerated AS (
    SELECT app, sum(more) AS regenerations FROM siblings GROUP BY GROUPING SETS ((app), ())
), chats AS (
    SELECT app, conversation_id, count(*) AS n,
        max(created_at) = max(created_at) FILTER (error OR nothing) AS abandoned
    FROM turns GROUP BY app, conversation_id
), lengths AS (
    SELECT app, count(*) AS conversations_active, count_if(n <= 2) AS conversations_1_2,
        count_if(n BETWEEN 3 AND 5) AS conversations_3_5,
        count_if(n BETWEEN 6 AND 10) AS conversations_6_10,
        count_if(n BETWEEN 11 AND 20) AS conversations_11_20,
        count_if(n > 20) AS conversations_21_up, count_if(n > 1) AS continued_conversations,
        count_if(abandoned) AS abandoned_conversations
    FROM chats GROUP BY GROUPING SETS ((app), ())
), said AS (
    SELECT app, user_id, created_at - lag(created_at)
        OVER (PARTITION BY app, user_id ORDER BY created_at) AS silence
    FROM turns WHERE user_id IS NOT NULL
), users AS (
    SELECT app, user_id, count(*) AS n,
        count_if(silence IS NULL OR silence > INTERVAL 30 MINUTE) AS sessions
    FROM said GROUP BY app, user_id
), everywhere AS (
    SELECT user_id, sum(n) AS n, sum(sessions) AS sessions FROM users GROUP BY user_id
), people AS (
    SELECT app, count(*) AS active_users, count_if(n > 1) AS engaged_users,
        sum(sessions) AS sessions FROM users GROUP BY app
    UNION ALL SELECT NULL, count(*), count_if(n > 1), sum(sessions) FROM everywhere
), created AS (
    SELECT coalesce(app_id, '') AS app, count(*) AS conversations_new
    FROM read_parquet('{conversations}') WHERE invoke_from IS DISTINCT FROM 'debugger'
    GROUP BY GROUPING SETS ((1), ())
), counted AS (
    SELECT coalesce(app_id, '') AS app, conversation_id, count_if(rating = 'like') AS likes,
        count_if(rating = 'dislike') AS dislikes
    FROM read_parquet('{feedbacks}') WHERE from_source IS DISTINCT FROM 'admin'
        AND rating IN ('like', 'dislike') AND NOT coalesce(gone, false)
    GROUP BY ALL
), rated AS (
    SELECT app, sum(likes) AS likes, sum(dislikes) AS dislikes,
        count_if(likes > dislikes) AS satisfied_conversations
    FROM counted GROUP BY GROUPING SETS ((app), ())
), money AS (
    SELECT app, nullif(currency, '') AS currency, sum(price) AS cost,
        1000 * cost / (sum(tokens_in) + sum(tokens_out)) AS cost_per_1k_tokens
    FROM turns GROUP BY GROUPING SETS ((1, 2), (2))
)
"""
OF_APPS = f"""
SELECT counts.app, {', '.join(APP)} FROM (
    SELECT *, seconds / turns AS dify_average_response_time, timed_tokens / seconds AS output_speed,
        latencies[1] AS latency_p50, latencies[2] AS latency_p90, latencies[3] AS latency_p95,
        latencies[4] AS latency_p99, first_tokens[1] AS time_to_first_token_p50,
        first_tokens[2] AS time_to_first_token_p95
    FROM counts
) AS counts
LEFT JOIN regenerated ON regenerated.app IS NOT DISTINCT FROM counts.app
LEFT JOIN lengths ON lengths.app IS NOT DISTINCT FROM counts.app
LEFT JOIN people ON people.app IS NOT DISTINCT FROM counts.app
LEFT JOIN created ON created.app IS NOT DISTINCT FROM counts.app
LEFT JOIN rated ON rated.app IS NOT DISTINCT FROM counts.app
"""
OF_CURRENCIES = f"SELECT app, currency, {', '.join(MONEY)} FROM money WHERE currency IS NOT NULL"
LENGTHS = {
    "1_2": (1, 2), "3_5": (3, 5), "6_10": (6, 10), "11_20": (11, 20), "21_up": (21, 10**9),
}  # fmt: skip
KEPT = [
    "id", "conversation_id", "parent_message_id", "app_id", "user_id", "currency", "created_at",
    "status", "answer", "message_tokens", "answer_tokens", "total_price", "latency_s",
    "time_to_first_token_s", "invoke_from",
]  # fmt: skip


def ours(folder: Path) -> pl.DataFrame:
    """Return the report of the day, made of its partials."""
    tables = (scan(folder, table) for table in (CONVERSATIONS, MESSAGES, FEEDBACKS))
    partials = daily_partials(*tables, day=day_of(0)).collect()
    return daily_report(partials.lazy(), day_of(0))


def rephrases(folder: Path) -> pl.DataFrame:
    """Return the turns that ask again."""
    return rephrased_turns(scan(folder, MESSAGES))


def with_duckdb(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return figures by app, and money by app and currency."""
    files = {table.name: file_of(folder, table, 0) for table in (CONVERSATIONS, MESSAGES, FEEDBACKS)}
    with duckdb.connect() as connection:
        sql = SQL.format(**files)
        return connection.sql(sql + OF_APPS).pl(), connection.sql(sql + OF_CURRENCIES).pl()


def with_pandas(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what `with_duckdb` does."""

    def read(table: TableSchema, columns: list[str]) -> pd.DataFrame:
        rows = pd.read_parquet(
            file_of(folder, table, 0), columns=columns, dtype_backend="pyarrow"
        )
        if "invoke_from" in columns:
            rows = rows[rows["invoke_from"].ne("debugger").fillna(value=True)]
        return rows.assign(app=rows["app_id"].fillna(""))

    turns = read(MESSAGES, KEPT)
    for name, most in (("message_tokens", 10**9), ("answer_tokens", 10**9)):
        turns[name] = turns[name].where(turns[name].between(0, most))
    for name in ("latency_s", "time_to_first_token_s"):
        turns[name] = turns[name].where((turns[name] > 0) & (turns[name] < 1e9))
    turns = turns.assign(
        error=(turns["status"] == "error").fillna(value=False),
        nothing=turns["answer"].fillna("") == "",
        micros=(turns["latency_s"] * 1e6).round(),
        timed_tokens=turns["answer_tokens"].where(turns["latency_s"].notna()),
    )
    ordered = turns.sort_values("created_at")
    family = ordered.loc[ordered["parent_message_id"].notna()]
    again = family.loc[family.duplicated(["conversation_id", "parent_message_id"]), "app"]
    failed = ordered["created_at"].where(ordered["error"] | ordered["nothing"])
    chats = (
        ordered.assign(failed_at=failed)
        .groupby(["app", "conversation_id"])
        .agg(n=("id", "size"), last=("created_at", "max"), failed_at=("failed_at", "max"))
        .reset_index()
    )
    chats["abandoned"] = (chats["failed_at"] == chats["last"]).fillna(value=False)
    said = ordered.loc[ordered["user_id"].notna(), ["app", "user_id", "created_at"]]
    silence = said.groupby(["app", "user_id"])["created_at"].diff()
    said["begins"] = silence.isna() | (silence > pd.Timedelta(minutes=30))
    users = said.groupby(["app", "user_id"])["begins"].agg(["size", "sum"]).reset_index()
    created = read(CONVERSATIONS, ["app_id", "invoke_from"])
    given = read(FEEDBACKS, ["app_id", "conversation_id", "rating", "from_source", "gone"])
    given = given[given["from_source"].ne("admin").fillna(value=True)]
    given = given[~given["gone"].fillna(value=False)]
    given = given.assign(likes=given["rating"] == "like", dislikes=given["rating"] == "dislike")
    rated = given.groupby(["app", "conversation_id"])[["likes", "dislikes"]].sum().reset_index()
    rows = []
    for app in [None, *turns["app"].unique()]:
        of = {
            name: frame if app is None else frame[frame["app"] == app]
            for name, frame in (
                ("turns", turns), ("chats", chats), ("users", users), ("created", created),
                ("rated", rated),
            )
        }  # fmt: skip
        people = of["users"].groupby("user_id")["size"].sum() if app is None else of["users"]["size"]
        one, n, seconds = of["turns"], of["chats"]["n"], of["turns"]["micros"].sum() / 1e6
        quantile = one["latency_s"].quantile([0.5, 0.9, 0.95, 0.99], interpolation="higher")
        first = one["time_to_first_token_s"].quantile([0.5, 0.95], interpolation="higher")
        rows.append(
            {
                "app": app,
                "conversations_new": len(of["created"]),
                "conversations_active": len(n),
                "turns": len(one),
                **{
                    f"conversations_{name}": n.between(least, most).sum()
                    for name, (least, most) in LENGTHS.items()
                },
                "continued_conversations": (n > 1).sum(),
                "abandoned_conversations": of["chats"]["abandoned"].sum(),
                "active_users": len(people),
                "engaged_users": (people > 1).sum(),
                "sessions": of["users"]["sum"].sum(),
                "errors": one["error"].sum(),
                "empty_answers": one["nothing"].sum(),
                "regenerations": len(again) if app is None else (again == app).sum(),
                "message_tokens": one["message_tokens"].sum(),
                "answer_tokens": one["answer_tokens"].sum(),
                "likes": of["rated"]["likes"].sum(),
                "dislikes": of["rated"]["dislikes"].sum(),
                "satisfied_conversations": (of["rated"]["likes"] > of["rated"]["dislikes"]).sum(),
                "dify_average_response_time": seconds / len(one),
                "output_speed": one["timed_tokens"].sum() / seconds,
                **{f"latency_p{q}": quantile[q / 100] for q in (50, 90, 95, 99)},
                **{f"time_to_first_token_p{q}": first[q / 100] for q in (50, 95)},
            }
        )
    sums = ["total_price", "message_tokens", "answer_tokens"]
    by_app = turns.groupby(["app", "currency"])[sums].sum().reset_index()
    everywhere = turns.groupby("currency")[sums].sum().reset_index()
    money = pd.concat([by_app, everywhere.assign(app=pd.NA)])
    tokens = money["message_tokens"] + money["answer_tokens"]
    return pd.DataFrame(rows), money.assign(
        cost=money["total_price"],
        cost_per_1k_tokens=1000 * money["total_price"].astype(float) / tokens,
    )


def values_of(of_apps: pl.DataFrame, of_currencies: pl.DataFrame) -> Values:
    """Return figures by app, metric and currency."""
    return {
        (row["app"], name, row.get("currency")): None if row[name] is None else float(row[name])
        for frame, names in ((of_apps, APP), (of_currencies, MONEY))
        for row in frame.iter_rows(named=True)
        for name in names
    }


def require_equal(folder: Path) -> None:
    """Compare every figure: counts and money to the last digit, percentiles within 1%."""
    own = {
        (row["app_id"], row["metric"], row["currency"]): row["value"]
        for row in ours(folder).iter_rows(named=True)
    }
    by_pandas = tuple(
        pl.DataFrame(frame[[*keys, *names]].astype(object).where(frame.notna(), None).to_dict("list"), strict=False)
        for frame, keys, names in zip(
            with_pandas(folder), (["app"], ["app", "currency"]), (APP, MONEY), strict=True
        )
    )
    peers = {"DuckDB": values_of(*with_duckdb(folder)), "pandas": values_of(*by_pandas)}
    for peer, theirs in peers.items():
        for key, value in theirs.items():
            got = None if own[key] is None else float(own[key])
            near = 0.0101 if "_p" in key[1] else 1e-6
            same = got == value or (
                None not in (got, value) and math.isclose(got, value, rel_tol=near, abs_tol=1e-6)
            )
            if not same:
                raise SystemExit(f"{peer}: {key}: expected {value}, got {got}")
    print(f"{len(theirs)} figures equal to those of {' and '.join(peers)}")


def main(turns: int) -> None:
    """Print what each takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone(write_day, folder, 0, turns // 60 * 60, USERS)
        alone(require_equal, folder)
        ways = {
            "DuckDB": with_duckdb, "pandas": with_pandas, "ours": ours,
            "rephrased questions, beside": rephrases,
        }  # fmt: skip
        taken = medians(ways, folder, rounds=ROUNDS)
    print(f"{turns} turns")
    print_beside(taken, "DuckDB")
    print(f"ours / pandas {taken['ours'].cpu_s / taken['pandas'].cpu_s:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
