"""Every metric in plain Python over lists of dicts: slow, obvious, and without Polars."""

from __future__ import annotations

import decimal
import math
from collections import Counter
from decimal import Decimal
from typing import Any

Row = dict[str, Any]
Key = tuple[str | None, str, str | None]
"""App (None: over all apps; '': no app), metric, currency."""

PERCENTILES = {
    "latency_p50": ("latency_s", 50),
    "latency_p90": ("latency_s", 90),
    "latency_p95": ("latency_s", 95),
    "latency_p99": ("latency_s", 99),
    "time_to_first_token_p50": ("time_to_first_token_s", 50),
    "time_to_first_token_p95": ("time_to_first_token_s", 95),
}


def report(
    conversations: list[Row], messages: list[Row], feedbacks: list[Row] | None = None
) -> dict[Key, Any]:
    """Return the value of every metric: int, Decimal or (percentiles, speed) float, or None."""
    conversations = [row for row in conversations if row["invoke_from"] != "debugger"]
    messages = [known(row) for row in messages if row["invoke_from"] != "debugger"]
    values: dict[Key, Any] = {}
    ratings = [row for row in feedbacks or [] if counts(row)]
    every = conversations + messages + ratings
    for app in [None, *sorted({row["app_id"] or "" for row in every})]:
        new = [row for row in conversations if app is None or (row["app_id"] or "") == app]
        turns = [row for row in messages if app is None or (row["app_id"] or "") == app]
        for name, value in app_metrics(new, turns).items():
            values[app, name, None] = value
        rated = [row for row in ratings if app is None or (row["app_id"] or "") == app]
        known_at_all = feedbacks is not None and bool(every)
        for name, value in rating_metrics(rated, len(turns), known=known_at_all).items():
            values[app, name, None] = value
        for (name, currency), value in money_metrics(turns).items():
            values[app, name, currency] = value
    return values


def counts(feedback: Row) -> bool:
    """Tell whether a rating is a user's, is a rating, and was not taken back."""
    return (
        feedback["from_source"] != "admin"
        and feedback["rating"] in ("like", "dislike")
        and not feedback["gone"]
    )


def rating_metrics(ratings: list[Row], turns: int, *, known: bool) -> dict[str, Any]:
    """Return the metrics of ratings; all None where they are not known."""
    likes = sum(row["rating"] == "like" for row in ratings)
    dislikes = len(ratings) - likes
    values = {
        "likes": likes,
        "dislikes": dislikes,
        "satisfaction": quotient(likes, len(ratings)),
        "rating_coverage": quotient(len(ratings), turns),
        "likes_per_1000_turns": quotient(1000 * likes, turns),
    }
    return values if known else dict.fromkeys(values)


def known(row: Row) -> Row:
    """Return the turn with what cannot be left out."""

    def among(name: str, least: int, most: int) -> Any:
        value = row[name]
        return value if value is not None and least <= value <= most else None

    return row | {
        "message_tokens": among("message_tokens", 0, 10**9),
        "answer_tokens": among("answer_tokens", 0, 10**9),
        "total_price": among("total_price", -(10**9), 10**9),
        "currency": row["currency"] or None,
    }


def app_metrics(conversations: list[Row], turns: list[Row]) -> dict[str, Any]:
    """Return the metrics that have no currency."""
    by_user = Counter(row["user_id"] for row in turns if row["user_id"] is not None)
    users_known = bool(by_user) or not turns
    errors = sum(row["status"] == "error" for row in turns)
    empty = sum(row["answer"] is None or row["answer"] == "" for row in turns)
    timed = [row for row in turns if is_time(row["latency_s"])]
    seconds = sum(round(row["latency_s"] * 1_000_000) for row in timed) / 1_000_000
    spoken = known_sum(row["answer_tokens"] for row in timed)
    return {
        "conversations_new": len(conversations),
        "turns": len(turns),
        "active_users": len(by_user) if users_known else None,
        "engaged_users": sum(n >= 2 for n in by_user.values()) if users_known else None,
        "errors": errors,
        "error_rate": quotient(errors, len(turns)),
        "empty_answers": empty,
        "empty_answer_rate": quotient(empty, len(turns)),
        "message_tokens": known_sum(row["message_tokens"] for row in turns) if turns else 0,
        "answer_tokens": known_sum(row["answer_tokens"] for row in turns) if turns else 0,
        "output_speed": spoken / seconds if spoken is not None and seconds > 0 else None,
        **{
            name: nearest_rank([row[column] for row in turns if is_time(row[column])], percent)
            for name, (column, percent) in PERCENTILES.items()
        },
    }


def money_metrics(turns: list[Row]) -> dict[tuple[str, str | None], Decimal | None]:
    """Return the metrics that have a currency, by name and currency."""
    currencies = {
        row["currency"]
        for row in turns
        if row["currency"] is not None or row["total_price"] is not None
    }
    values: dict[tuple[str, str | None], Decimal | None] = {}
    for currency in currencies or {None}:
        paid = [row for row in turns if row["currency"] == currency]
        cost = known_sum(row["total_price"] for row in paid)
        tokens = sum((row["message_tokens"] or 0) + (row["answer_tokens"] or 0) for row in paid)
        values["cost", currency] = cost
        values["cost_per_1k_tokens", currency] = (
            None if cost is None else quotient(cost * 1000, tokens)
        )
    return values


def known_sum(values: Any) -> Any:
    """Sum what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None


def quotient(part: Decimal | int, whole: int) -> Decimal | None:
    """Divide exactly and round to 7 places; None if the whole is 0."""
    if whole == 0:
        return None
    with decimal.localcontext(prec=60):
        return (Decimal(part) / whole).quantize(Decimal("1e-7"), decimal.ROUND_HALF_EVEN)


def is_time(seconds: float | None) -> bool:
    """Tell whether a time is a measurement."""
    return seconds is not None and math.isfinite(seconds) and 0 < seconds < 1e9


def nearest_rank(values: list[float], percent: int) -> float | None:
    """Return the value of rank ceil(percent / 100 * n)."""
    if not values:
        return None
    rank = -(-percent * len(values) // 100)
    return sorted(values)[rank - 1]
