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

from typing import TYPE_CHECKING

import polars as pl
from rapidfuzz import fuzz, process

from conversation_analytics.core.engine import WHITE_SPACE
from conversation_analytics.core.partials import population, with_regenerated

if TYPE_CHECKING:
    from conversation_analytics.core.engine import Engine

LIKENESS = 0.7
WITHIN_S = 120
_LONGEST = 2000  # characters that are compared
_MICROS = 1_000_000


def rephrased_turns(messages: pl.LazyFrame, engine: Engine) -> pl.DataFrame:
    """Find the turns that ask again.

    Args:
        messages: schema `schemas.MESSAGES`; turns of the same conversation on other days are
            not compared.
        engine: finds the pairs; texts are compared on the CPU.

    Returns:
        Column `id` String, ascending.
    """
    pairs = engine.collect(pairs_in_haste(messages)).with_columns(
        pl.col("query", "before").str.to_lowercase()
    )
    if pairs.is_empty():
        return pairs.select("id")
    likeness = process.cpdist(
        pairs["query"].to_list(), pairs["before"].to_list(), scorer=fuzz.ratio, workers=1
    )
    return pairs.filter(pl.Series(likeness) >= LIKENESS * 100).select("id").sort("id")


def pairs_in_haste(messages: pl.LazyFrame) -> pl.LazyFrame:
    """Plan the turns whose query came soon after another one, with both.

    Args:
        messages: as of `rephrased_turns`.

    Returns:
        `id`, `query`, `before`: the beginnings of the texts, not empty, in the case they have:
        engines lower letters in different ways.
    """
    turns = population(messages).select(
        "id",
        "conversation_id",
        "parent_message_id",
        "created_at",
        _beginning(pl.col("query")).alias("query"),
    )
    # Sorting all turns takes a fraction of what windows by conversation take.
    ordered = with_regenerated(turns).sort("conversation_id", "created_at", "id")
    before = pl.col("conversation_id", "created_at", "query").shift(1).name.prefix("before_")
    waited = pl.col("created_at") - pl.col("before_created_at")
    return (
        ordered.with_columns(before)
        .filter(pl.col("conversation_id").eq_missing(pl.col("before_conversation_id")))
        .select(
            "id",
            "query",
            "regenerated",
            pl.col("before_query").alias("before"),
            (waited.dt.total_microseconds() <= WITHIN_S * _MICROS).alias("soon"),
        )
        .filter(
            pl.col("soon")
            & ~pl.col("regenerated")
            & (pl.col("query") != "")
            & (pl.col("before") != "")
        )
        .select("id", "query", "before")
    )


def comparable(text: pl.Expr) -> pl.Expr:
    """Return what is compared of a text: its beginning, in lower case, without white space."""
    return _beginning(text).str.to_lowercase()


def _beginning(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars(WHITE_SPACE).str.slice(0, _LONGEST)
