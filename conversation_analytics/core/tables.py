"""Every table of the lake, and the data dictionary made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.cohorts import USER_COHORTS, USER_GROWTH
from conversation_analytics.core.corrections import CORRECTIONS
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.model_performance import MODEL_PERFORMANCE
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import (
    CATEGORY_PARTIALS,
    CONVERSATION_DEAD_LETTERS,
    CONVERSATIONS,
    DAILY_PARTIALS,
    DAILY_REPORT,
    FEEDBACK_DEAD_LETTERS,
    FEEDBACKS,
    MESSAGE_DEAD_LETTERS,
    MESSAGES,
    MONTHLY_REPORT,
    RAW_CONVERSATIONS,
    RAW_FEEDBACKS,
    RAW_MESSAGES,
    RAW_UNDATED_CONVERSATIONS,
    RAW_UNDATED_FEEDBACKS,
    RAW_UNDATED_MESSAGES,
    UNDATED_CONVERSATION_DEAD_LETTERS,
    UNDATED_CONVERSATIONS,
    UNDATED_FEEDBACK_DEAD_LETTERS,
    UNDATED_FEEDBACKS,
    UNDATED_MESSAGE_DEAD_LETTERS,
    UNDATED_MESSAGES,
    WEEKLY_REPORT,
)
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY, TRANSLATIONS
from conversation_analytics.core.user_analytics import USER_ANALYTICS

if TYPE_CHECKING:
    from conversation_analytics.core.schemas import TableSchema

TABLES: tuple[TableSchema, ...] = (
    RAW_CONVERSATIONS, RAW_MESSAGES, RAW_FEEDBACKS,
    RAW_UNDATED_CONVERSATIONS, RAW_UNDATED_MESSAGES, RAW_UNDATED_FEEDBACKS,
    CONVERSATIONS, MESSAGES, FEEDBACKS,
    CONVERSATION_DEAD_LETTERS, MESSAGE_DEAD_LETTERS, FEEDBACK_DEAD_LETTERS,
    UNDATED_CONVERSATIONS, UNDATED_MESSAGES, UNDATED_FEEDBACKS,
    UNDATED_CONVERSATION_DEAD_LETTERS, UNDATED_MESSAGE_DEAD_LETTERS,
    UNDATED_FEEDBACK_DEAD_LETTERS,
    DAILY_PARTIALS, DAILY_REPORT, WEEKLY_REPORT, MONTHLY_REPORT, MODEL_PERFORMANCE,
    USER_ANALYTICS, USER_GROWTH, USER_COHORTS,
    MESSAGE_LANGUAGE, CORRECTIONS, CATEGORIES, CATEGORY_PARTIALS, TOPICS, CONVERSATION_TOPICS,
    TRANSLATIONS, TRANSLATION_MEMORY,
)  # fmt: skip

_PERIODS = {
    WEEKLY_REPORT.name: Period.WEEK,
    MONTHLY_REPORT.name: Period.MONTH,
    TOPICS.name: Period.WEEK,
    CONVERSATION_TOPICS.name: Period.WEEK,
}
_WHOLE = frozenset(
    {CORRECTIONS.name, USER_ANALYTICS.name, USER_GROWTH.name, USER_COHORTS.name}
    | {table.name for table in TABLES if "undated" in table.name}
)

_NAMED_SOURCES = 6


def period_of(table: TableSchema) -> Period | None:
    """Return what a partition of a table is of; None: the table has no partitions."""
    return None if table.name in _WHOLE else _PERIODS.get(table.name, Period.DAY)


def dictionary_markdown() -> str:
    """Render `docs/data-dictionary.md`: every table of the lake with its columns."""
    # Imported here: what it tells is of tables that import this module's neighbours.
    from conversation_analytics.core.column_lineage import COLUMN_SOURCES  # noqa: PLC0415

    lines = [
        "# Data dictionary",
        "",
        "Every table of the lake. Times are UTC, money is exact decimal, unknown is null and",
        "never 0. *Made of* names the columns whose values go into a value; the UI's catalog holds",
        "the same as column lineage. Generated from `conversation_analytics/core` by `make docs`.",
    ]
    for table in TABLES:
        lines += [
            "",
            f"## {table.name}",
            "",
            f"{table.description} Sorted by {', '.join(table.sort_by)}.",
            "",
            "| column | type | required | meaning | made of |",
            "|---|---|---|---|---|",
        ]
        sources = COLUMN_SOURCES.get(table.name, {})
        lines += [
            f"| `{c.name}` | {c.dtype} | {'yes' if c.required else ''} | {c.description} | "
            f"{_made_of(sources.get(c.name, ()))} |"
            for c in table.columns
        ]
    return "\n".join(lines) + "\n"


def _made_of(sources: tuple[str, ...]) -> str:
    if len(sources) > _NAMED_SOURCES:
        tables = dict.fromkeys(one.split(".")[0] for one in sources)
        return f"{len(sources)} columns of {', '.join(f'`{one}`' for one in tables)}"
    return ", ".join(f"`{one}`" for one in sources)
