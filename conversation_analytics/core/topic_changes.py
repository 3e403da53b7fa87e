"""Topics of a week beside the week before, as far as they may be shown.

A function of what may be shown alone: neither a topic of too few people nor how few they were
changes a row. So a topic that was hidden the week before is `new`, one that is hidden now is
`gone`, and shares are of the conversations of the topics shown.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from conversation_analytics.core.documents import clean_text

if TYPE_CHECKING:
    import datetime as dt

    from conversation_analytics.core.documents import Document

NEW, GONE, GROWN, SHRUNK, NO_CLEAR_CHANGE = "new", "gone", "grown", "shrunk", "no clear change"
_DEVIATIONS: Final = 2
"""So many standard deviations of a difference of counts are more than chance."""

TOPIC_CHANGES: Final = pl.Schema(
    {
        "topic_id": pl.String(),
        "group_id": pl.Int64(),
        "label": pl.String(),
        "conversations": pl.Int64(),
        "users": pl.Int64(),
        "share": pl.Float64(),
        "change": pl.String(),
        "conversations_before": pl.Int64(),
    }
)


def topic_changes(
    now: pl.DataFrame, before: pl.DataFrame | None, min_users: int, min_conversations: int
) -> pl.DataFrame:
    """Return the topics shown of a week, and those that were shown the week before and are not.

    Args:
        now: `TOPICS` of the week.
        before: of the week before; None: it has none.
        min_users: users below which nothing of a topic is shown.
        min_conversations: conversations, likewise.

    Returns:
        Columns of `TOPIC_CHANGES`, the largest topic first, then those that are gone (their
        `conversations`, `users`, `share` and `group_id` are null) with the largest before first.
        `label` is null where no word was said by enough users. `share` is of the conversations
        of the topics shown, 0 to 1. `change` is `new`, `gone`, `grown`, `shrunk`,
        `no clear change`, or null without a week before; grown and shrunk by more than chance: two
        standard deviations of the difference, 2 * sqrt(sum of both).
    """
    own = _shown(now, min_users, min_conversations)
    then = None if before is None else _shown(before, min_users, min_conversations)
    held = {} if then is None else {row["topic_id"]: row for row in then.iter_rows(named=True)}
    every = sum(own["conversations"])
    rows: list[dict[str, Any]] = []
    for row in own.iter_rows(named=True):
        count = row["conversations"]
        old = held.pop(row["topic_id"], None)
        count_before = None if old is None else old["conversations"]
        rows.append(
            {
                **{name: row[name] for name in ("topic_id", "group_id", "label", "users")},
                "conversations": count,
                "share": count / every,
                "change": None if then is None else _change(count, count_before),
                "conversations_before": count_before,
            }
        )
    rows += [
        {
            "topic_id": identifier,
            "label": old["label"],
            "change": GONE,
            "conversations_before": old["conversations"],
        }
        for identifier, old in held.items()
    ]
    return pl.DataFrame(rows, schema=TOPIC_CHANGES)


def topic_documents(now: pl.DataFrame, changes: pl.DataFrame, start: dt.date) -> list[Document]:
    """Return one document for each topic shown of a week.

    Args:
        now: `TOPICS` of the week.
        changes: of `topic_changes`, of the same week.
        start: its first day.
    """
    texts = {
        row["topic_id"]: (
            row["label_by"],
            json.loads(row["words"] or "[]"),
            json.loads(row["examples"] or "[]"),
        )
        for row in now.select("topic_id", "label_by", "words", "examples").iter_rows(named=True)
    }
    return [
        {
            "_id": f"{start.isoformat()}:{row['topic_id']}",
            "week": start.isoformat(),
            "topic_id": row["topic_id"],
            "group_id": row["group_id"],
            "label": None if row["label"] is None else clean_text(row["label"]),
            "label_by": texts[row["topic_id"]][0],
            "words": [clean_text(word) for word in texts[row["topic_id"]][1]],
            "examples": [clean_text(one) for one in texts[row["topic_id"]][2]],
            **{
                name: row[name]
                for name in ("conversations", "users", "share", "change", "conversations_before")
            },
        }
        for row in changes.iter_rows(named=True)
        if row["change"] != GONE
    ]


def _shown(topics: pl.DataFrame, min_users: int, min_conversations: int) -> pl.DataFrame:
    # The limits may have been raised since the table was made.
    return topics.filter(
        pl.col("shown")
        & (pl.col("conversations") >= max(1, min_conversations))
        & (pl.col("users") >= min_users)
    ).sort("conversations", "topic_id", descending=[True, False])


def _change(now: int, before: int | None) -> str:
    if before is None:
        return NEW
    if abs(now - before) <= _DEVIATIONS * math.sqrt(now + before):
        return NO_CLEAR_CHANGE
    return GROWN if now > before else SHRUNK
