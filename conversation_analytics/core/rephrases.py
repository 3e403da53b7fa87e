"""Turns in which a user asks again what the turn before asked: the answer was not it.

A turn rephrases where its query is at least `LIKENESS` like the query of the turn before of the
same conversation, at most `WITHIN_S` after it, and the turn is no regeneration (which repeats the
query by itself). Likeness is the normalised Indel similarity of the case-folded texts without
white space at their ends, 0 to 1 (1 is the same text): twice the longest common subsequence over
the sum of the lengths. It needs no words, so that it works in every script. That a user who
repeats or rewords soon was not served is the usual reading in dialogue systems (Ponnusamy et al.,
"Feedback-Based Self-Learning in Large-Scale Conversational AI Agents", 2020).
"""

from __future__ import annotations

import polars as pl
from rapidfuzz import fuzz, process

from conversation_analytics.core.partials import population

LIKENESS = 0.7
WITHIN_S = 120
_LONGEST = 2000  # characters that are compared
_MICROS = 1_000_000


def rephrased_turns(messages: pl.LazyFrame) -> pl.DataFrame:
    """Find the turns that ask again.

    Args:
        messages: schema `schemas.MESSAGES`; turns of the same conversation on other days are
            not compared.

    Returns:
        Column `id` String, ascending.
    """
    conversation, order = "conversation_id", ["created_at", "id"]
    family = (conversation, "parent_message_id")
    regenerated = (
        pl.col("parent_message_id").is_not_null()
        & pl.col("id").shift(1).over(family, order_by=order).is_not_null()
    )
    before = pl.col("query").shift(1).over(conversation, order_by=order)
    waited = pl.col("created_at") - pl.col("created_at").shift(1).over(conversation, order_by=order)
    pairs = (
        population(messages)
        .select(
            "id",
            comparable(pl.col("query")).alias("query"),
            comparable(before).alias("before"),
            (waited.dt.total_microseconds() <= WITHIN_S * _MICROS).alias("soon"),
            regenerated.alias("regenerated"),
        )
        .filter(
            pl.col("soon")
            & ~pl.col("regenerated")
            & (pl.col("query") != "")
            & (pl.col("before") != "")
        )
        .select("id", "query", "before")
        .collect()
    )
    if pairs.is_empty():
        return pairs.select("id")
    likeness = process.cpdist(
        pairs["query"].to_list(), pairs["before"].to_list(), scorer=fuzz.ratio, workers=1
    )
    return pairs.filter(pl.Series(likeness) >= LIKENESS * 100).select("id").sort("id")


def comparable(text: pl.Expr) -> pl.Expr:
    """Return what is compared of a text: its beginning, in lower case, without white space."""
    return text.str.strip_chars().str.slice(0, _LONGEST).str.to_lowercase()
