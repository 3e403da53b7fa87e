"""Which text stands for a conversation: its first queries."""

from __future__ import annotations

import polars as pl

from conversation_analytics.core.embedding import MAX_CHARACTERS
from conversation_analytics.core.engine import WHITE_SPACE

FIRST_QUERIES = 3
"""What a conversation is about is said at its beginning."""


def first_queries(messages: pl.LazyFrame, texts: pl.LazyFrame | None = None) -> pl.LazyFrame:
    """Return the first queries of each conversation.

    Args:
        messages: `schemas.MESSAGES`, of one day or several; debugger's turns are left out.
        texts: `message_id` and `text` that stand for queries, such as translations; a query that
            is not in it stands for itself.

    Returns:
        `conversation_id`, `user_id`, `created_at`, `text`: at most `FIRST_QUERIES` rows a
        conversation, in the order of the conversation. Empty queries are left out.
    """
    turns = messages.filter(
        pl.col("invoke_from").is_null() | (pl.col("invoke_from") != "debugger")
    ).select("id", "conversation_id", "user_id", "created_at", text="query")
    if texts is not None:
        turns = turns.join(
            texts.select(id="message_id", instead="text"), on="id", how="left"
        ).with_columns(text=pl.coalesce("instead", "text"))
    spoken = (
        turns.with_columns(pl.col("text").str.strip_chars(WHITE_SPACE))
        .filter(pl.col("text").is_not_null() & (pl.col("text") != ""))
        .sort("conversation_id", "created_at", "id", nulls_last=True)
    )
    return _first(spoken).select("conversation_id", "user_id", "created_at", "text")


def conversation_texts(
    queries: pl.LazyFrame, characters: int | None = MAX_CHARACTERS
) -> pl.LazyFrame:
    """Return one text per conversation, of the queries of one day or of several put together.

    Args:
        queries: rows of `first_queries`.
        characters: of a text at most; None: all. Who redacts takes all: what is cut through its
            middle is not found.

    Returns:
        `conversation_id`, `user_id`, `text`, sorted by conversation: its first queries, a line
        each, cut to `characters`.
    """
    ordered = queries.sort("conversation_id", "created_at", nulls_last=True, maintain_order=True)
    users = (
        ordered.filter(pl.col("user_id").is_not_null())
        .unique("conversation_id", keep="first", maintain_order=True)
        .select("conversation_id", "user_id")
    )
    # A column a query, since the GPU engine puts no texts of a group together.
    lines = [f"line_{place}" for place in range(FIRST_QUERIES)]
    texts = (
        _first(ordered)
        .group_by("conversation_id")
        .agg(
            pl.when(pl.col("place") == place).then(pl.col("text")).max().alias(line)
            for place, line in enumerate(lines)
        )
    )
    text = pl.concat_str(lines, separator="\n", ignore_nulls=True)
    if characters is not None:
        text = text.str.slice(0, characters)
    return (
        texts.join(users, on="conversation_id", how="left")
        .select("conversation_id", "user_id", text.alias("text"))
        .sort("conversation_id")
    )


def _first(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the first rows of each conversation, with `place` from 0, of rows sorted by it."""
    place = pl.col("row") - pl.col("row").min().over("conversation_id")
    return (
        rows.with_row_index("row")
        .with_columns(place.alias("place"))
        .filter(pl.col("place") < FIRST_QUERIES)
    )
