"""Users, growth and retention in plain Python over lists of dicts: slow and obvious."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

from conversation_analytics_tests.oracles.metrics_oracle import (
    counts,
    known,
    known_sum,
    local_day,
    quotient,
)

Row = dict[str, Any]
Person = tuple[str | None, str]
"""App (None: over all apps; '': no app) and user."""


def turns_by_person(messages: list[Row]) -> dict[Person, list[Row]]:
    """Return the turns that count of each user of each app, and over all apps, in order."""
    found: dict[Person, list[Row]] = defaultdict(list)
    for row in sorted(messages, key=lambda row: row["created_at"]):
        if row["invoke_from"] != "debugger" and row["user_id"] is not None:
            for app in (None, row["app_id"] or ""):
                found[app, row["user_id"]].append(known(row))
    return found


def users(
    messages: list[Row], feedbacks: list[Row] | None, as_of: dt.date, zone: str
) -> dict[Person, Row]:
    """Return the columns of `user_analytics` by person."""
    found = {}
    for (app, user), turns in turns_by_person(messages).items():
        days = sorted({local_day(row, zone) for row in turns})
        costs: dict[str, Decimal] = {}
        for currency in {row["currency"] for row in turns}:
            cost = known_sum(r["total_price"] for r in turns if r["currency"] == currency)
            if cost is not None:
                costs[currency or ""] = cost
        rated = [
            row["rating"]
            for row in feedbacks or []
            if counts(row) and row["user_id"] == user and app in (None, row["app_id"] or "")
        ]
        likes, dislikes = rated.count("like"), rated.count("dislike")
        since = as_of - dt.timedelta(days=6)
        found[app, user] = {
            "first_at": turns[0]["created_at"],
            "last_at": turns[-1]["created_at"],
            "first_day": days[0],
            "last_day": days[-1],
            "cohort": days[0] - dt.timedelta(days=days[0].weekday()),
            "status": ("dormant" if days[-1] < since else "new" if days[0] >= since else "active"),
            "active_days": len(days),
            "sessions": sessions(turns),
            "turns": len(turns),
            "errors": sum(row["status"] == "error" for row in turns),
            "message_tokens": known_sum(row["message_tokens"] for row in turns),
            "answer_tokens": known_sum(row["answer_tokens"] for row in turns),
            "currency": (next(iter(costs)) or None) if len(costs) == 1 else None,
            "cost": next(iter(costs.values())) if len(costs) == 1 else None,
            "costs": costs,
            "models": sorted({model for row in turns if (model := label(row)) is not None}),
            "likes": likes if rated else None,
            "dislikes": dislikes if rated else None,
            "satisfaction": quotient(likes, len(rated)),
        }
    return found


def label(row: Row) -> str | None:
    """Say the model: `provider/model`, where the provider is known."""
    provider, model = row["model_provider"], row["model_id"]
    return f"{provider}/{model}" if provider and model else model


def sessions(turns: list[Row]) -> int:
    """Count runs of turns of one app with gaps of at most 30 minutes."""
    count = 0
    last: dict[str | None, dt.datetime] = {}
    for row in turns:
        app, now = row["app_id"], row["created_at"]
        count += app not in last or now - last[app] > dt.timedelta(minutes=30)
        last[app] = now
    return count


def read(row: Row) -> Row:
    """Return a row of `user_analytics` with its JSON read, as the oracle has it."""
    costs = json.loads(row["costs"], parse_float=Decimal) if row["costs"] else {}
    models = json.loads(row["models"]) if row["models"] else []
    return row | {"costs": costs, "models": models}


def growth(messages: list[Row], as_of: dt.date, zone: str, period: str) -> dict[Any, Row]:
    """Return the columns of `user_growth` by app and first day of the period."""
    active: dict[str | None, dict[str, set[dt.date]]] = defaultdict(lambda: defaultdict(set))
    for (app, user), turns in turns_by_person(messages).items():
        active[app][user] = {start_of(local_day(row, zone), period) for row in turns}
    found = {}
    for app, by_user in active.items():
        start, before = min(day for days in by_user.values() for day in days), None
        while start <= as_of:
            now = {user for user, days in by_user.items() if start in days}
            then = {user for user, days in by_user.items() if before in days}
            new = {user for user in now if min(by_user[user]) == start}
            following = next_start(start, period)
            found[app, start] = {
                "complete": following - dt.timedelta(days=1) <= as_of,
                "active": len(now),
                "new": len(new),
                "returning": len(now & then),
                "resurrected": len(now - then - new),
                "dormant": len(then - now),
            }
            before, start = start, following
    return found


def start_of(day: dt.date, period: str) -> dt.date:
    """Return the first day of the week or month."""
    return day.replace(day=1) if period == "month" else day - dt.timedelta(days=day.weekday())


def next_start(start: dt.date, period: str) -> dt.date:
    """Return the first day of the next week or month."""
    return start_of(start + dt.timedelta(days=31 if period == "month" else 7), period)


def retention(messages: list[Row], as_of: dt.date, zone: str) -> dict[Any, tuple[int, int]]:
    """Return size and users there by app, unit, cohort and how much later."""
    cohorts: dict[Any, list[set[dt.date]]] = defaultdict(list)
    for (app, _), turns in turns_by_person(messages).items():
        days = {local_day(row, zone) for row in turns}
        cohorts[app, "day", min(days)].append(days)
        weeks = {start_of(day, "week") for day in days}
        cohorts[app, "week", min(weeks)].append(weeks)
    found = {}
    for (app, unit, cohort), members in cohorts.items():
        length = 7 if unit == "week" else 1
        for later in range(500) if unit == "week" else (1, 7, 30):
            start = cohort + dt.timedelta(days=later * length)
            if start + dt.timedelta(days=length - 1) > as_of:
                break
            found[app, unit, cohort, later] = (
                len(members), sum(start in days for days in members),
            )  # fmt: skip
    return found
