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

import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet  # noqa: F401 - pandas reads with it: not to be timed
from rapidfuzz import process  # noqa: F401 - as above

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import CONVERSATIONS, FEEDBACKS, MESSAGES
from shared.made_up_days import day_of, file_of, scan, write_day
from shared.measured import alone, medians, print_beside

ROUNDS = 5
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
Values = dict[tuple[str | None, str, str | None], Decimal | None]

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
