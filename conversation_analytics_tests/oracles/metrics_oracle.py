"""Every metric in plain Python over lists of dicts: slow, obvious, and without Polars."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import math
from collections import Counter
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

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
LENGTHS = {
    "conversations_1_2": 2,
    "conversations_3_5": 5,
    "conversations_6_10": 10,
    "conversations_11_20": 20,
    "conversations_21_up": 10**9,
}
"""Most turns of each bucket."""


def report(
    conversations: list[Row],
    messages: list[Row],
    feedbacks: list[Row] | None = None,
    *,
    days: int = 1,
    zone: str = "UTC",
    markers: tuple[str, ...] = (),
) -> dict[Key, Any]:
    """Return the value of every metric: int, Decimal or (percentiles, speed) float, or None."""
    conversations = [row for row in conversations if row["invoke_from"] != "debugger"]
    messages = [known(row) for row in messages if row["invoke_from"] != "debugger"]
    mark_regenerated(messages, zone)
    mark_rephrased(messages, zone)
    values: dict[Key, Any] = {}
    ratings = [row for row in feedbacks or [] if counts(row)]
    every = conversations + messages + ratings
    for app in [None, *sorted({row["app_id"] or "" for row in every})]:
        new = [row for row in conversations if app is None or (row["app_id"] or "") == app]
        turns = [row for row in messages if app is None or (row["app_id"] or "") == app]
        rated = [row for row in ratings if app is None or (row["app_id"] or "") == app]
        known_at_all = feedbacks is not None and bool(every)
        of_app = {
            **app_metrics(new, turns),
            **rating_metrics(rated, len(turns), known=known_at_all),
            **conversation_metrics(turns, markers),
            **user_metrics(turns, days, zone),
        }
        talks = bool(turns) or any(row["conversation_id"] is not None for row in rated)
        satisfied = satisfied_conversations(rated) if feedbacks is not None and talks else None
        of_app["satisfied_conversations"] = satisfied
        for name, value in of_app.items():
            values[app, name, None] = value
        for (name, currency), value in money_metrics(turns).items():
            values[app, name, currency] = value
            for per, count in (
                ("conversation", of_app["conversations_active"]),
                ("active_user", of_app["active_users"]),
                ("satisfied_conversation", satisfied),
            ):
                if name == "cost":
                    values[app, f"cost_per_{per}", currency] = (
                        None if value is None else quotient(value, count or 0)
                    )
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


def local_day(row: Row, zone: str) -> dt.date:
    """Return the day of the turn where the platform's clocks hang."""
    created_at: dt.datetime = row["created_at"]
    return created_at.astimezone(ZoneInfo(zone)).date()


def mark_regenerated(messages: list[Row], zone: str) -> None:
    """Say of each turn whether the same day had an earlier one of the same parent."""
    seen = set()
    for row in sorted(messages, key=lambda row: (row["created_at"], row["id"])):
        family = (row["conversation_id"], row["parent_message_id"], local_day(row, zone))
        row["regenerated"] = row["parent_message_id"] is not None and family in seen
        seen.add(family)


def mark_rephrased(messages: list[Row], zone: str) -> None:
    """Say of each turn whether it asks again what the turn before it asked."""
    last: dict[Any, Row] = {}
    for row in sorted(messages, key=lambda row: (row["created_at"], row["id"])):
        talk = (row["conversation_id"], local_day(row, zone))
        before = last.get(talk)
        last[talk] = row
        row["rephrased"] = (
            before is not None
            and not row["regenerated"]
            and row["created_at"] - before["created_at"] <= dt.timedelta(seconds=120)
            and alike(row["query"], before["query"]) >= 0.7
        )


def alike(one: str | None, other: str | None) -> float:
    """Return twice the longest common subsequence over both lengths; 0 without text."""
    one, other = ((text or "").strip().lower() for text in (one, other))
    if not one or not other:
        return 0.0
    best = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one, 1):
        for j, b in enumerate(other, 1):
            best[i][j] = best[i - 1][j - 1] + 1 if a == b else max(best[i - 1][j], best[i][j - 1])
    return 2 * best[-1][-1] / (len(one) + len(other))


def conversation_metrics(turns: list[Row], markers: tuple[str, ...]) -> dict[str, Any]:
    """Return the metrics of whole conversations, as far as they are in the period."""
    talks: dict[str, list[Row]] = {}
    for row in turns:
        talks.setdefault(row["conversation_id"], []).append(row)
    lengths = Counter(
        next(name for name, most in LENGTHS.items() if len(rows) <= most) for rows in talks.values()
    )
    abandoned = handed_off = 0
    for rows in talks.values():
        last = max(row["created_at"] for row in rows)
        abandoned += any(
            row["created_at"] == last and (row["status"] == "error" or not row["answer"])
            for row in rows
        )
        handed_off += any(marker in (row["answer"] or "") for row in rows for marker in markers)
    handoffs_known = bool(markers) and bool(turns)
    continued = sum(len(rows) >= 2 for rows in talks.values())
    return {
        "conversations_active": len(talks),
        "turns_per_conversation": quotient(len(turns), len(talks)),
        **{name: lengths[name] for name in LENGTHS},
        "continued_conversations": continued,
        "continued_rate": quotient(continued, len(talks)),
        "abandoned_conversations": abandoned,
        "abandonment_rate": quotient(abandoned, len(talks)),
        "handed_off_conversations": handed_off if handoffs_known else None,
        "handoff_rate": quotient(handed_off, len(talks)) if handoffs_known else None,
        "containment_rate": quotient(len(talks) - handed_off, len(talks))
        if handoffs_known
        else None,
    }


def satisfied_conversations(ratings: list[Row]) -> int:
    """Count the conversations with more likes than dislikes."""
    score: Counter[str] = Counter()
    for row in ratings:
        if row["conversation_id"] is not None:
            score[row["conversation_id"]] += 1 if row["rating"] == "like" else -1
    return sum(points > 0 for points in score.values())


def user_metrics(turns: list[Row], days: int, zone: str) -> dict[str, Any]:
    """Return the metrics of what users do over the days."""
    known = [row for row in turns if row["user_id"] is not None]
    times: dict[Any, list[dt.datetime]] = {}
    for row in known:
        times.setdefault((row["app_id"] or "", row["user_id"]), []).append(row["created_at"])
    sessions = 0
    for moments in times.values():
        moments.sort()
        sessions += 1 + sum(
            later - earlier > dt.timedelta(minutes=30)
            for earlier, later in itertools.pairwise(moments)
        )
    users = len({row["user_id"] for row in known})
    user_days = len({(row["user_id"], local_day(row, zone)) for row in known})
    return {
        "daily_active_users": quotient(user_days, days) if known else None,
        "stickiness": quotient(user_days, days * users),
        "sessions": sessions if known or not turns else None,
        "turns_per_session": quotient(len(known), sessions),
    }


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
        "regenerations": (again := sum(row["regenerated"] for row in turns)),
        "regeneration_rate": quotient(again, len(turns)),
        "rephrases": (asked := sum(row["rephrased"] for row in turns)),
        "rephrase_rate": quotient(asked, len(turns)),
        "empty_answers": empty,
        "empty_answer_rate": quotient(empty, len(turns)),
        "message_tokens": known_sum(row["message_tokens"] for row in turns) if turns else 0,
        "answer_tokens": known_sum(row["answer_tokens"] for row in turns) if turns else 0,
        "output_speed": spoken / seconds if spoken is not None and seconds > 0 else None,
        "dify_total_price": known_sum(row["total_price"] for row in turns),
        "dify_average_response_time": seconds / len(turns) if timed else None,
        "dify_tokens_per_second": (
            told / seconds
            if (told := known_sum(row["answer_tokens"] for row in turns)) is not None
            and seconds > 0
            else None
        ),
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
