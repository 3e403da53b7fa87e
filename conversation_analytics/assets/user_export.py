"""All that the lake holds of one person, as one JSON document."""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import polars as pl

from conversation_analytics.assets.erasing_day import look_at_day
from conversation_analytics.assets.erasing_notes import Erasing
from conversation_analytics.assets.finding_rows import find_rows
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.user_analytics import USER_ANALYTICS
from conversation_analytics.core.zones import DAILY, UNDATED

_Rows = list[dict[str, Any]]


def export_user(work: Erasing, user: str) -> dict[str, Any]:
    """Return what is held of a user; see docs/personal-data.md for its shape.

    It is what an erasure would remove, read through the same index. Documents are made of the
    lake and hold nothing beside it.

    Args:
        work: lake and settings.
        user: as the lake has it.

    Returns:
        `user_id`; `conversations` by id, each with `turns` in order, these with `language`,
        `translations` and `ratings`; `categories` and `topics` of conversations; `ratings` of
        turns of others; `days` (their counts by day); `analytics`; `rows_as_served` and
        `dead_letters`. Money is text, times are ISO 8601 in UTC, unknown is null.

    Raises:
        AnalyticsError: a storage refuses or does not answer.
    """
    found = find_rows(work.lake, work.settings, user)
    held: dict[str, _Rows] = {}
    for key in sorted(found.days, key=lambda one: one or ""):
        day = look_at_day(work.lake, work.settings, found.subject, key, found.days[key], kept=True)
        zones = (UNDATED if key is None else DAILY).items()
        tables = [(zone.raw.name, f"raw/{table}") for table, zone in zones]
        tables += [(zone.curated.name, str(table)) for table, zone in zones]
        tables += [(zone.dead_letters.name, f"dead/{table}") for table, zone in zones]
        tables += [(one.name, one.name) for one in (MESSAGE_LANGUAGE, TRANSLATIONS, CATEGORIES)]
        for name, told in tables:
            if name in day.tables:
                one = day.tables[name]
                gone = one.before.join(one.after, on=one.before.columns, how="anti",
                                       nulls_equal=True)  # fmt: skip
                held.setdefault(told, []).extend(_rows(gone, key))
        if DAILY_PARTIALS.name in day.tables:
            partials = day.tables[DAILY_PARTIALS.name].before
            own = partials.filter(pl.col("user_id") == user)
            held.setdefault("days", []).extend(_rows(own, key))
    return _document(user, held, _topics(work, found.conversations), _analytics(work, user))


def _document(user: str, held: Mapping[str, _Rows], topics: _Rows, users: _Rows) -> dict[str, Any]:
    languages = {row["id"]: row for row in held.get(MESSAGE_LANGUAGE.name, ())}
    translations = _by(held.get(TRANSLATIONS.name, ()), "message_id")
    ratings = _by(held.get(SourceTable.FEEDBACKS, ()), "message_id")
    turns = held.get(SourceTable.MESSAGES, [])
    for turn in turns:
        turn["language"] = languages.get(turn["id"])
        turn["translations"] = translations.get(turn["id"], [])
        turn["ratings"] = ratings.pop(turn["id"], [])
    conversations = {
        row["id"]: row | {"turns": []} for row in held.get(SourceTable.CONVERSATIONS, ())
    }
    for turn in turns:
        one = turn["conversation_id"]
        conversations.setdefault(one, {"id": one, "turns": []})["turns"].append(turn)
    return {
        "format": 1,
        "user_id": user,
        "conversations": [conversations[one] for one in sorted(conversations)],
        "ratings": [row for rows in ratings.values() for row in rows],
        "categories": held.get(CATEGORIES.name, []),
        "topics": topics,
        "days": held.get("days", []),
        "analytics": users,
        "dead_letters": {str(t): held[f"dead/{t}"] for t in SourceTable if f"dead/{t}" in held},
        "rows_as_served": {str(t): held[f"raw/{t}"] for t in SourceTable if f"raw/{t}" in held},
    }


def _topics(work: Erasing, conversations: Iterable[str]) -> _Rows:
    """Return the topics of conversations; weeks are few, and their tables small."""
    ids = pl.Series(sorted(conversations), dtype=pl.String).implode()
    rows: _Rows = []
    for key in work.lake.keys(CONVERSATION_TOPICS):
        plan = work.lake.scan(CONVERSATION_TOPICS, key)[0]
        own = plan.filter(pl.col("conversation_id").is_in(ids)).collect()
        rows += _rows(own, None)
    return rows


def _analytics(work: Erasing, user: str) -> _Rows:
    if not work.lake.exists(USER_ANALYTICS, None):
        return []
    plan = work.lake.scan(USER_ANALYTICS, None)[0]
    return list(_rows(plan.filter(pl.col("user_id") == user).collect(), None))


def _by(rows: Iterable[dict[str, Any]], name: str) -> dict[str, _Rows]:
    found: dict[str, _Rows] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return found


def _rows(frame: pl.DataFrame, key: str | None) -> Iterator[dict[str, Any]]:
    for row in frame.iter_rows(named=True):
        told = {name: _plain(value) for name, value in row.items()}
        yield told if key is None else {"partition_day": key, **told}


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def export_text(document: Mapping[str, Any]) -> str:
    """Return the document as JSON, the same for the same lake."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
