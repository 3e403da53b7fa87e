"""Which text stands for a conversation: its first queries."""

from __future__ import annotations

import polars as pl

from conversation_analytics.core.embedding import MAX_CHARACTERS

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
    return (
        turns.with_columns(pl.col("text").str.strip_chars())
        .filter(pl.col("text").is_not_null() & (pl.col("text") != ""))
        .sort("conversation_id", "created_at", "id", nulls_last=True)
        .group_by("conversation_id", maintain_order=True)
        .head(FIRST_QUERIES)
        .select("conversation_id", "user_id", "created_at", "text")
    )


def conversation_texts(queries: pl.LazyFrame) -> pl.LazyFrame:
    """Return one text per conversation, of the queries of one day or of several put together.

    Args:
        queries: rows of `first_queries`.

    Returns:
        `conversation_id`, `user_id`, `text`, sorted by conversation: its first queries, a line
        each, cut to `MAX_CHARACTERS`.
    """
    return (
        queries.sort("conversation_id", "created_at", nulls_last=True, maintain_order=True)
        .group_by("conversation_id", maintain_order=True)
        .agg(
            pl.col("user_id").drop_nulls().first(),
            pl.col("text").head(FIRST_QUERIES).str.join("\n").str.slice(0, MAX_CHARACTERS),
        )
        .select("conversation_id", "user_id", "text")
    )
