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
WINDOWS = ((0, 6), (7, 13))
"""Days before the last one held: of the last seven days, and of the seven before."""
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
    """Return the columns of `user_analytics` by person; `as_of` is the last day held."""
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
        found[app, user] = {
            "first_at": turns[0]["created_at"],
            "last_at": turns[-1]["created_at"],
            "first_day": days[0],
            "last_day": days[-1],
            "cohort": days[0] - dt.timedelta(days=days[0].weekday()),
            "status": status(days, as_of),
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
            "languages": languages(turns),
            "likes": None if feedbacks is None else likes,
            "dislikes": None if feedbacks is None else dislikes,
            "satisfaction": quotient(likes, len(rated)),
        }
    return found


def language(row: Row) -> Any:
    """Return the language of a turn's query; made up of its id where the row does not say."""
    if "query_language" in row:
        return row["query_language"]
    number = sum(map(ord, row.get("id") or ""))
    return (None, "en", "th", "und", "zxx", "en", "vi")[number % 7]


def languages(turns: list[Row]) -> list[str]:
    """Return the languages that a user asked in, most turns first, then by code."""
    said = [language(row) for row in turns]
    known = {one for one in said if one not in {None, "und", "zxx"}}
    return sorted((one for one in known if one), key=lambda one: (-said.count(one), one))


def status(days: list[dt.date], as_of: dt.date) -> str:
    """Say where a user stands who was there on `days`, ascending."""
    this_week, week_before = (
        [day for day in days if least <= (as_of - day).days <= most] for least, most in WINDOWS
    )
    if not this_week:
        return "dormant"
    if this_week == days:
        return "new"
    return "returning" if week_before else "resurrected"


def label(row: Row) -> str | None:
    """Say the model: `provider/model`, where the provider is known."""
    provider, model = row["model_provider"], row["model_id"]
    return f"{provider}/{model}" if provider and model else model or None


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
    costs = {currency: Decimal(cost) for currency, cost in json.loads(row["costs"] or "{}").items()}
    models = json.loads(row["models"]) if row["models"] else []
    languages = json.loads(row["languages"]) if row["languages"] else []
    return row | {"costs": costs, "models": models, "languages": languages}


def growth(messages: list[Row], held: list[dt.date], zone: str, unit: str) -> dict[Any, Row]:
    """Return the columns of `user_growth` by app and first day of the period."""
    active: dict[str | None, dict[str, set[dt.date]]] = defaultdict(lambda: defaultdict(set))
    for (app, user), turns in turns_by_person(messages).items():
        active[app][user] = {start_of(local_day(row, zone), unit) for row in turns}
    found = {}
    for app, by_user in active.items():
        first = min(day for days in by_user.values() for day in days)
        for start in sorted({start_of(day, unit) for day in held}):
            if start < first:
                continue
            before = start_of(start - dt.timedelta(days=1), unit)
            now = {user for user, days in by_user.items() if start in days}
            then = {user for user, days in by_user.items() if before in days}
            new = {user for user in now if min(by_user[user]) == start}
            found[app, start] = {
                "complete": whole(start, held, unit) and whole(before, held, unit),
                "days_held": sum(start_of(day, unit) == start for day in held),
                "active": len(now),
                "new": len(new),
                "returning": len(now & then),
                "resurrected": len(now - then - new),
                "dormant": len(then - now),
            }
    return found


def whole(start: dt.date, held: list[dt.date], unit: str) -> bool:
    """Say whether every day of the period is held."""
    days = (start + dt.timedelta(days=n) for n in range(31))
    return all(day in held for day in days if start_of(day, unit) == start)


def start_of(day: dt.date, unit: str) -> dt.date:
    """Return the first day of the day, week or month."""
    if unit == "month":
        return day.replace(day=1)
    return day - dt.timedelta(days=day.weekday()) if unit == "week" else day


def retention(messages: list[Row], held: list[dt.date], zone: str) -> dict[Any, tuple[int, int]]:
    """Return size and users there by app, unit, cohort and how much later."""
    cohorts: dict[Any, list[set[dt.date]]] = defaultdict(list)
    for (app, _), turns in turns_by_person(messages).items():
        for unit in ("day", "week"):
            starts = {start_of(local_day(row, zone), unit) for row in turns}
            cohorts[app, unit, min(starts)].append(starts)
    found = {}
    for (app, unit, cohort), members in cohorts.items():
        length = 7 if unit == "week" else 1
        for later in range(100) if unit == "week" else (0, 1, 7, 30):
            start = cohort + dt.timedelta(days=later * length)
            if whole(start, held, unit):
                there = sum(start in starts for starts in members)
                found[app, unit, cohort, later] = (len(members), there)
    return found
