"""Every metric as SQL over the rows, run by DuckDB: what an analyst would write by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from conversation_analytics.core.schemas import FEEDBACKS

if TYPE_CHECKING:
    import polars as pl

Key = tuple[str | None, str, str | None]
"""App (None: over all apps; '': no app), metric, currency."""

_ROWS = """
CREATE MACRO half_even(n, d) AS CASE
    WHEN d > 0 THEN sign(n) * (abs(n) // d + CASE
        WHEN 2 * (abs(n) % d) > d THEN 1
        WHEN 2 * (abs(n) % d) = d THEN (abs(n) // d) % 2
        ELSE 0 END)
END;
CREATE MACRO ratio(part, whole) AS
    half_even(part::HUGEINT * 10000000, whole::HUGEINT)::HUGEINT;
CREATE TABLE turns AS
SELECT
    coalesce(app_id, '') AS app, user_id, status, answer, nullif(currency, '') AS currency,
    CASE WHEN message_tokens BETWEEN 0 AND 1000000000 THEN message_tokens END AS tokens_in,
    CASE WHEN answer_tokens BETWEEN 0 AND 1000000000 THEN answer_tokens END AS tokens_out,
    CASE WHEN total_price BETWEEN -1000000000 AND 1000000000 THEN total_price END AS price,
    CASE WHEN latency_s > 0 AND latency_s < 1e9 THEN latency_s END AS latency,
    CASE WHEN time_to_first_token_s > 0 AND time_to_first_token_s < 1e9
        THEN time_to_first_token_s END AS first_token
FROM messages WHERE invoke_from IS NULL OR invoke_from <> 'debugger';
CREATE TABLE begun AS
SELECT coalesce(app_id, '') AS app FROM conversations
WHERE invoke_from IS NULL OR invoke_from <> 'debugger';
CREATE TABLE ratings AS
SELECT coalesce(app_id, '') AS app, rating FROM feedbacks
WHERE from_source IS DISTINCT FROM 'admin' AND rating IN ('like', 'dislike')
    AND gone IS DISTINCT FROM true;
CREATE TABLE apps AS
SELECT DISTINCT app FROM (SELECT app FROM turns UNION ALL SELECT app FROM begun
    UNION ALL SELECT app FROM ratings)
UNION ALL SELECT NULL;
"""
_SCOPED = "(t.app = a.app OR a.app IS NULL)"
_BY_APP = f"""
SELECT
    a.app,
    (SELECT count(*) FROM begun t WHERE {_SCOPED}) AS conversations_new,
    count(t.app) AS turns,
    CASE WHEN count(t.app) = 0 THEN 0 WHEN count(t.user_id) > 0 THEN count(DISTINCT t.user_id)
        END AS active_users,
    CASE WHEN count(t.app) = 0 THEN 0 WHEN count(t.user_id) > 0 THEN
        (SELECT count(*) FROM (SELECT user_id FROM turns t WHERE {_SCOPED} AND user_id IS NOT NULL
            GROUP BY user_id HAVING count(*) >= 2)) END AS engaged_users,
    count(*) FILTER (t.status = 'error') AS errors,
    ratio(count(*) FILTER (t.status = 'error'), count(t.app)) AS error_rate,
    count(t.app) - count(*) FILTER (t.answer <> '') AS empty_answers,
    ratio(count(t.app) - count(*) FILTER (t.answer <> ''), count(t.app)) AS empty_answer_rate,
    CASE WHEN count(t.app) = 0 THEN 0 ELSE sum(t.tokens_in) END AS message_tokens,
    CASE WHEN count(t.app) = 0 THEN 0 ELSE sum(t.tokens_out) END AS answer_tokens,
    list_sort(list(t.latency) FILTER (t.latency IS NOT NULL)) AS latency,
    list_sort(list(t.first_token) FILTER (t.first_token IS NOT NULL)) AS time_to_first_token,
    1e6 * sum(t.tokens_out) FILTER (t.latency IS NOT NULL)
        / nullif(sum(round(t.latency * 1e6)), 0) AS output_speed
FROM apps a LEFT JOIN turns t ON {_SCOPED}
GROUP BY a.app
"""
_RATINGS = f"""
WITH counted AS (
    SELECT a.app, count(*) FILTER (t.rating = 'like') AS likes,
        count(*) FILTER (t.rating = 'dislike') AS dislikes,
        (SELECT count(*) FROM turns t WHERE {_SCOPED}) AS turns
    FROM apps a LEFT JOIN ratings t ON {_SCOPED} GROUP BY a.app
)
SELECT app, likes, dislikes, ratio(likes, likes + dislikes) AS satisfaction,
    ratio(likes + dislikes, turns) AS rating_coverage,
    ratio(1000 * likes, turns) AS likes_per_1000_turns
FROM counted
"""
_BY_CURRENCY = f"""
SELECT
    a.app, t.currency, (sum(t.price) * 10000000)::HUGEINT AS cost,
    half_even((sum(t.price) * 10000000)::HUGEINT * 1000,
        sum(coalesce(t.tokens_in, 0) + coalesce(t.tokens_out, 0))::HUGEINT)::HUGEINT
        AS cost_per_1k_tokens
FROM apps a LEFT JOIN turns t ON {_SCOPED}
GROUP BY a.app, t.currency
HAVING t.currency IS NOT NULL OR sum(t.price) IS NOT NULL
"""
_PER_MILLE = {
    "latency": {"p50": 500, "p90": 900, "p95": 950, "p99": 990},
    "time_to_first_token": {"p50": 500, "p95": 950},
}
NOT_IN_SQL = frozenset(
    {"conversations_active", "turns_per_conversation", "conversations_1_2", "conversations_3_5",
     "conversations_6_10", "conversations_11_20", "conversations_21_up", "continued_conversations",
     "continued_rate", "abandoned_conversations", "abandonment_rate", "handed_off_conversations",
     "handoff_rate", "containment_rate", "daily_active_users", "stickiness", "sessions",
     "turns_per_session", "regenerations", "regeneration_rate", "rephrases", "rephrase_rate",
     "cost_per_conversation", "cost_per_active_user", "cost_per_satisfied_conversation",
     "satisfied_conversations", "dify_total_price", "dify_average_response_time",
     "dify_tokens_per_second"}
)  # fmt: skip
"""Metrics that only the oracle in Python computes."""
IN_SEVENTH_PLACES = frozenset(
    {"error_rate", "empty_answer_rate", "cost", "cost_per_1k_tokens", "satisfaction",
     "rating_coverage", "likes_per_1000_turns"}
)  # fmt: skip
"""Metrics told as whole numbers of 1e-7, so that no digit is lost between the two programs."""


def report(
    conversations: pl.DataFrame, messages: pl.DataFrame, feedbacks: pl.DataFrame | None = None
) -> dict[Key, Any]:
    """Return the value of every metric over the rows of the lake's tables."""
    values: dict[Key, Any] = {}
    with duckdb.connect() as sql:
        sql.register("messages", messages.to_arrow())
        sql.register("conversations", conversations.to_arrow())
        ratings = FEEDBACKS.empty() if feedbacks is None else feedbacks
        sql.register("feedbacks", ratings.to_arrow())
        sql.execute(_ROWS)
        for row in _named(sql.execute(_BY_APP)):
            app = row.pop("app")
            for name, labels in _PER_MILLE.items():
                ranked = row.pop(name)
                for label, q in labels.items():
                    values[app, f"{name}_{label}", None] = _rank(ranked, q)
            values |= {(app, name, None): value for name, value in row.items()}
        apps = {app for app, _, _ in values}
        for row in _named(sql.execute(_RATINGS)):
            app = row.pop("app")
            known = feedbacks is not None and len(apps) > 1
            values |= {(app, name, None): value if known else None for name, value in row.items()}
        for row in _named(sql.execute(_BY_CURRENCY)):
            app, currency = row.pop("app"), row.pop("currency")
            apps.discard(app)
            values |= {(app, name, currency): value for name, value in row.items()}
        for app in apps:  # neither a currency nor a price
            values |= {(app, "cost", None): None, (app, "cost_per_1k_tokens", None): None}
    return values


def hours(messages: pl.DataFrame, zone: str) -> list[tuple[int, int]]:
    """Return local hour and turns of each hour that has some."""
    with duckdb.connect() as sql:
        sql.register("messages", messages.to_arrow())
        return sql.execute(
            "SELECT hour(created_at AT TIME ZONE $zone)::INT AS h, count(*) FROM messages "
            "WHERE invoke_from IS DISTINCT FROM 'debugger' GROUP BY h ORDER BY h",
            {"zone": zone},
        ).fetchall()


def _named(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _rank(ranked: list[float] | None, per_mille: int) -> float | None:
    return ranked[-(-per_mille * len(ranked) // 1000) - 1] if ranked else None
