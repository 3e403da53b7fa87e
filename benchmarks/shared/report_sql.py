"""The figures of a report as hand-written SQL over the rows: the peer of reports, on DuckDB.

By app and over all apps: every metric of the registry but those that follow from the others by a
division, and but rephrased questions, which SQL has no function for. Percentiles are exact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import duckdb

from conversation_analytics.core.schemas import CONVERSATIONS, FEEDBACKS, MESSAGES

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

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
SELECT counts.app, {", ".join(APP)} FROM (
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


def connected() -> duckdb.DuckDBPyConnection:
    """Return a connection that prints no progress."""
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    return connection


def report_of_rows(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return figures by app, and money by app and currency, of all days in the folder."""
    tables = (CONVERSATIONS, MESSAGES, FEEDBACKS)
    sql = SQL.format(**{table.name: folder / f"{table.name}-*.parquet" for table in tables})
    with connected() as connection:
        return connection.sql(sql + OF_APPS).pl(), connection.sql(sql + OF_CURRENCIES).pl()


def values_of(of_apps: pl.DataFrame, of_currencies: pl.DataFrame) -> Values:
    """Return figures by app, metric and currency."""
    return {
        (row["app"], name, row.get("currency")): None if row[name] is None else float(row[name])
        for frame, names in ((of_apps, APP), (of_currencies, MONEY))
        for row in frame.iter_rows(named=True)
        for name in names
    }


def require_equal(report: pl.DataFrame, theirs: Values, peer: str) -> None:
    """Compare the figures of a peer with a report: percentiles within 1%, the others exactly.

    What was computed in floats is compared to nine digits.

    Raises:
        SystemExit: a figure differs.
    """
    own = {
        (row["app_id"], row["metric"], row["currency"]): row["value"]
        for row in report.iter_rows(named=True)
    }
    for key, value in theirs.items():
        got = None if own[key] is None else float(own[key])
        if got is None or value is None:
            same = got is value
        else:
            near = 0.0101 if "_p" in key[1] else 1e-9
            same = math.isclose(got, value, rel_tol=near, abs_tol=1e-6)
        if not same:
            raise SystemExit(f"{peer}: {key}: expected {value}, got {got}")
    print(f"{len(theirs)} figures equal to those of {peer}")
