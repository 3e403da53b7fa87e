"""From which columns each column of the lake is made: what a catalog shows as column lineage.

Told are the columns whose values go into a value, not those that only decide which rows count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.cohorts import USER_COHORTS, USER_GROWTH
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.metrics import METRICS
from conversation_analytics.core.model_performance import MODEL_PERFORMANCE
from conversation_analytics.core.schemas import (
    CATEGORY_PARTIALS,
    DAILY_PARTIALS,
    DAILY_REPORT,
    MONTHLY_REPORT,
    WEEKLY_REPORT,
)
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.user_analytics import USER_ANALYTICS
from conversation_analytics.core.zones import DAILY, UNDATED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conversation_analytics.core.schemas import TableSchema

Sources = tuple[str, ...]
"""Columns as `table.column`."""

_TURN_VALUES: Final[Mapping[str, Sources]] = {
    "app_id": ("messages.app_id",),
    "model_provider": ("messages.model_provider",),
    "model_id": ("messages.model_id",),
    "currency": ("messages.currency",),
    "turns": ("messages.id",),
    "errors": ("messages.status",),
    "empty_answers": ("messages.answer",),
    "regenerations": ("messages.parent_message_id", "messages.conversation_id"),
    "rephrases": ("messages.query",),
    "message_tokens": ("messages.message_tokens",),
    "answer_tokens": ("messages.answer_tokens",),
    "cost": ("messages.total_price",),
    "latency_turns": ("messages.latency_s",),
    "latency_sum_s": ("messages.latency_s",),
    "latency_answer_tokens": ("messages.latency_s", "messages.answer_tokens"),
}
_PARTIALS: Final[Mapping[str, Sources]] = {
    **_TURN_VALUES,
    "app_id": ("messages.app_id", "conversations.app_id", "feedbacks.app_id"),
    "model_provider": ("messages.model_provider", "conversations.model_provider"),
    "model_id": ("messages.model_id", "conversations.model_id"),
    "user_id": ("messages.user_id", "feedbacks.user_id"),
    "conversation_id": ("messages.conversation_id", "feedbacks.conversation_id"),
    "label": (
        "messages.inputs", "message_language.query_language", "message_language.answer_language",
    ),
    "bucket": ("messages.created_at", "messages.latency_s", "messages.time_to_first_token_s"),
    "conversations_new": ("conversations.id",),
    "likes": ("feedbacks.rating",),
    "dislikes": ("feedbacks.rating",),
    "sessions": ("messages.created_at",),
    "handoffs": ("messages.answer",),
    "first_at": ("messages.created_at",),
    "last_at": ("messages.created_at",),
    "failed_at": ("messages.created_at", "messages.status"),
}  # fmt: skip
_COUNTED: Final = tuple(name for name in _TURN_VALUES if name not in {
    "app_id", "model_provider", "model_id", "currency",
})  # fmt: skip
_REPORTED: Final = tuple(
    f"{DAILY_PARTIALS.name}.{name}"
    for name in (
        *_COUNTED, "conversations_new", "likes", "dislikes", "sessions", "handoffs", "bucket",
        "user_id", "conversation_id", "first_at", "last_at", "failed_at",
    )
)  # fmt: skip
# Values that metrics are computed from and that partials do not hold under this name.
_MERGED: Final[Mapping[str, Sources]] = {
    "active_users": ("user_id",),
    "rating": ("likes", "dislikes"),
}


def _curated() -> dict[str, dict[str, Sources]]:
    found: dict[str, dict[str, Sources]] = {}
    for zones in (DAILY, UNDATED):
        for zone in zones.values():
            raw = zone.raw.name
            own = {"id", "created_at", "gone"}
            found[zone.curated.name] = {
                column.name: (f"{raw}.{column.name if column.name in own else 'payload'}",)
                for column in zone.curated.columns
            }
            found[zone.dead_letters.name] = {
                "source_id": (f"{raw}.id",),
                "reason": (f"{raw}.payload",),
                "payload": (f"{raw}.payload",),
                "sha256": (f"{raw}.sha256",),
            }
    return found


def _report(table: TableSchema, *partials: str) -> dict[str, Sources]:
    """Return the sources of a report with a row per metric: each value is of all of them."""
    values = tuple(one for one in _REPORTED)
    labels = {name: tuple(f"{one}.{name}" for one in partials) for name in ("dimension", "label")}
    found = {
        "app_id": tuple(f"{one}.app_id" for one in partials),
        "currency": tuple(f"{one}.currency" for one in partials),
        "value": values,
        "previous": values,
        **labels,
    }
    names = table.polars.names()
    return {name: sources for name, sources in found.items() if name in names}


def _performance() -> dict[str, Sources]:
    held = set(DAILY_PARTIALS.polars.names())
    found: dict[str, Sources] = {
        "app_id": ("app_id",),
        "model": ("model_provider", "model_id"),
        "currency": ("currency",),
    }
    for metric in METRICS:
        if metric.name not in MODEL_PERFORMANCE.polars.names():
            continue
        used = metric.expression.meta.root_names()
        sources = [one for name in used for one in _MERGED.get(name, (name,))]
        # Percentiles come from the buckets of the sketch.
        found[metric.name] = tuple(
            dict.fromkeys(one if one in held else "bucket" for one in sources)
        )
    return {
        name: tuple(f"{DAILY_PARTIALS.name}.{one}" for one in sources)
        for name, sources in found.items()
    }


def _of(table: str, **columns: str) -> dict[str, Sources]:
    return {
        name: tuple(f"{table}.{one}" for one in sources.split())
        for name, sources in columns.items()
    }


_TEXT: Final = ("messages.query",)
_TAUGHT: Final = ("corrections.type", "corrections.label", "corrections.text")

COLUMN_SOURCES: Final[Mapping[str, Mapping[str, Sources]]] = {
    **_curated(),
    DAILY_PARTIALS.name: _PARTIALS,
    CATEGORY_PARTIALS.name: {
        **_TURN_VALUES,
        "dimension": ("categories.category_type",),
        "label": ("categories.category_value",),
    },
    DAILY_REPORT.name: _report(DAILY_REPORT, DAILY_PARTIALS.name),
    WEEKLY_REPORT.name: _report(WEEKLY_REPORT, DAILY_PARTIALS.name, CATEGORY_PARTIALS.name),
    MONTHLY_REPORT.name: _report(MONTHLY_REPORT, DAILY_PARTIALS.name, CATEGORY_PARTIALS.name),
    MODEL_PERFORMANCE.name: _performance(),
    USER_ANALYTICS.name: _of(
        DAILY_PARTIALS.name,
        app_id="app_id", user_id="user_id", first_at="first_at", last_at="last_at",
        first_day="day", last_day="day", cohort="day", status="day", active_days="day",
        sessions="sessions first_at last_at", turns="turns", errors="errors",
        message_tokens="message_tokens", answer_tokens="answer_tokens", currency="currency",
        cost="cost", costs="cost currency", models="model_provider model_id turns",
        languages="label turns", likes="likes", dislikes="dislikes", satisfaction="likes dislikes",
    ),
    USER_GROWTH.name: _of(
        DAILY_PARTIALS.name,
        app_id="app_id", start="day", complete="day", days_held="day", active="user_id",
        new="user_id day", returning="user_id day", resurrected="user_id day",
        dormant="user_id day",
    ),
    USER_COHORTS.name: _of(
        DAILY_PARTIALS.name,
        app_id="app_id", cohort="day", later="day", size="user_id day", users="user_id day",
        retention="user_id day",
    ),
    MESSAGE_LANGUAGE.name: _of(
        "messages",
        id="id", conversation_id="conversation_id", app_id="app_id", created_at="created_at",
        query_language="query", query_confidence="query", query_by="query",
        answer_language="answer", answer_confidence="answer", answer_by="answer",
    ),
    CATEGORIES.name: {
        "conversation_id": ("messages.conversation_id", "corrections.conversation_id"),
        "category_type": ("corrections.type",),
        "category_value": (*_TEXT, *_TAUGHT),
        "confidence_score": (*_TEXT, *_TAUGHT),
        "nearest": (*_TEXT, *_TAUGHT),
        "created_by": ("corrections.by",),
        "taxonomy_hash": _TAUGHT,
        "text_sha256": _TEXT,
    },
    TOPICS.name: {
        "words": _TEXT,
        "label": _TEXT,
        "centre": _TEXT,
        "examples": ("messages.conversation_id",),
        "conversations": ("messages.conversation_id",),
        "users": ("messages.user_id",),
        "last_seen": ("messages.created_at",),
    },
    CONVERSATION_TOPICS.name: {
        "conversation_id": ("messages.conversation_id",),
        "topic_id": _TEXT,
        "similarity": _TEXT,
    },
    TRANSLATIONS.name: {
        "message_id": ("messages.id",),
        "conversation_id": ("messages.conversation_id",),
        "created_at": ("messages.created_at",),
        "source": ("message_language.query_language", "message_language.answer_language"),
        "translated": ("messages.query", "messages.answer"),
        "text_sha256": ("messages.query", "messages.answer"),
        "characters": ("messages.query", "messages.answer"),
    },
}  # fmt: skip
"""Sources by table and column. A column that is not here comes from no column: a constant, the
partition, or what served it."""
