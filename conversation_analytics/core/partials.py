"""Daily partials: the small, mergeable rows every report is made from.

Three kinds of rows share the schema `schemas.DAILY_PARTIALS`:

- `counts`: additive counts and sums by app, provider, model and currency. Conversations
  are counted on the day of their creation and have no currency.
- `users`: one row per app and user who had a turn. Turns without a user are left out.
- `sketch`: counts in buckets of latency and of time to first token, by app and model.

Population: rows with `invoke_from='debugger'` are left out, a null stays in. Sums are over
known values; a sum without any known value is null, never 0. Every function here is a plan
over LazyFrames and translates to cudf-polars.

What counts as known: a time above 0 and below 1e9 seconds (the source writes 0 until an answer
ends, and where it failed), a token count of 0 to 1e9, a price within 1e9 of its currency: sums
of what one wrong row may hold would not fit 64 bits or the money type, and would take the whole
day with them. A currency of '' is no currency. `implausible` counts what is left out.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.schemas import DAILY_PARTIALS, MONEY
from conversation_analytics.core.sketches import bucket

if TYPE_CHECKING:
    from collections.abc import Iterable

KEYS = (
    "kind", "app_id", "model_provider", "model_id", "currency", "user_id", "metric", "bucket",
)  # fmt: skip
SKETCHED = ("latency_s", "time_to_first_token_s")

_COUNT_KEYS = ("app_id", "model_provider", "model_id", "currency")
_ADDITIVE = (
    "conversations_new", "turns", "errors", "empty_answers", "message_tokens", "answer_tokens",
    "cost", "latency_turns", "latency_answer_tokens", "likes", "dislikes",
)  # fmt: skip
_LONGEST_S = 1e9
_MOST_TOKENS = 10**9
_HIGHEST_PRICE = Decimal(10**9)
_MICROS = 1_000_000


def population(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that count: all but those of the debugger. Needs `invoke_from`."""
    return rows.filter(pl.col("invoke_from").ne_missing("debugger"))


def known_sum(values: pl.Expr) -> pl.Expr:
    """Return the sum of the known values, null if there is none: for `agg` only."""
    return pl.when(values.count() > 0).then(values.sum())


def seconds_sum(seconds: pl.Expr) -> pl.Expr:
    """Return the known sum of seconds, rounded to microseconds each: for `agg` only.

    Whole microseconds are added up because the sum of floats depends on the order of rows,
    and engines differ in it.
    """
    return known_sum((seconds * _MICROS).round().cast(pl.Int64)) / _MICROS


def additive_sums() -> list[pl.Expr]:
    """Return the aggregations that merge the additive columns of partials."""
    return [
        *(known_sum(pl.col(name)).alias(name) for name in _ADDITIVE),
        seconds_sum(pl.col("latency_sum_s")).alias("latency_sum_s"),
    ]


def daily_partials(
    conversations: pl.LazyFrame, messages: pl.LazyFrame, feedbacks: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Reduce the rows of one day, or of any other period, to partials.

    Args:
        conversations: schema `schemas.CONVERSATIONS`.
        messages: schema `schemas.MESSAGES`.
        feedbacks: schema `schemas.FEEDBACKS`, the ratings given in that time, of whichever
            turns; None where there is no such table: ratings are then unknown, not 0.

    Returns:
        Schema `schemas.DAILY_PARTIALS`, one row per key, in no particular order: see
        `TableSchema.conform` for the order in files.
    """
    turns = population(messages).with_columns(
        *(_known(name) for name in _KNOWN),
        pl.when(pl.col("currency") != "").then(pl.col("currency")).alias("currency"),
    )
    counts = [_conversation_counts(population(conversations)), _turn_counts(turns)]
    if feedbacks is not None:
        # Where ratings are read, an app without any has 0 of them.
        counts = [piece.with_columns(likes=pl.lit(0), dislikes=pl.lit(0)) for piece in counts]
        counts.append(_ratings(feedbacks))
    pieces = (*counts, _user_days(turns), *(_sketch(turns, name) for name in SKETCHED))
    return merge_partials(pl.concat([_as_partials(piece) for piece in pieces]))


def merge_partials(partials: pl.LazyFrame) -> pl.LazyFrame:
    """Merge partials of any days into partials of the whole range.

    Merging is associative and commutative, and equals the partials of all the rows at once.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, rows of several days one below the other.

    Returns:
        The same schema, one row per key, in no particular order. `users` rows keep the first
        and last turn of the range.
    """
    merged = partials.group_by(KEYS).agg(
        *additive_sums(), pl.col("first_at").min(), pl.col("last_at").max()
    )
    return _as_partials(merged)


def _conversation_counts(conversations: pl.LazyFrame) -> pl.LazyFrame:
    nothing = ("turns", "errors", "empty_answers", "latency_turns")
    return (
        conversations.group_by("app_id", "model_provider", "model_id")
        .agg(pl.len().alias("conversations_new"))
        .with_columns(pl.lit("counts").alias("kind"), *(pl.lit(0).alias(name) for name in nothing))
    )


def _turn_counts(turns: pl.LazyFrame) -> pl.LazyFrame:
    return (
        turns.group_by(_COUNT_KEYS)
        .agg(
            pl.len().alias("turns"),
            (pl.col("status") == "error").sum().alias("errors"),
            (pl.col("answer").fill_null("") == "").sum().alias("empty_answers"),
            known_sum(pl.col("message_tokens")).alias("message_tokens"),
            known_sum(pl.col("answer_tokens")).alias("answer_tokens"),
            known_sum(pl.col("total_price")).alias("cost"),
            pl.col("latency_s").count().alias("latency_turns"),
            seconds_sum(pl.col("latency_s")).alias("latency_sum_s"),
            known_sum(
                pl.when(pl.col("latency_s").is_not_null()).then(pl.col("answer_tokens"))
            ).alias("latency_answer_tokens"),
        )
        .with_columns(pl.lit("counts").alias("kind"), pl.lit(0).alias("conversations_new"))
    )


def _ratings(feedbacks: pl.LazyFrame) -> pl.LazyFrame:
    nothing = ("conversations_new", "turns", "errors", "empty_answers", "latency_turns")
    return (
        counted_ratings(feedbacks)
        .group_by("app_id")
        .agg(
            (pl.col("rating") == "like").sum().alias("likes"),
            (pl.col("rating") == "dislike").sum().alias("dislikes"),
        )
        .with_columns(pl.lit("counts").alias("kind"), *(pl.lit(0).alias(name) for name in nothing))
    )


def counted_ratings(feedbacks: pl.LazyFrame) -> pl.LazyFrame:
    """Return the ratings that count: likes and dislikes by users, not taken back."""
    return feedbacks.filter(
        pl.col("from_source").ne_missing("admin")
        & pl.col("rating").is_in(["like", "dislike"])
        & ~pl.col("gone").fill_null(value=False)
    )


def _user_days(turns: pl.LazyFrame) -> pl.LazyFrame:
    return (
        turns.filter(pl.col("user_id").is_not_null())
        .group_by("app_id", "user_id")
        .agg(
            pl.len().alias("turns"),
            pl.col("created_at").min().alias("first_at"),
            pl.col("created_at").max().alias("last_at"),
        )
        .with_columns(pl.lit("users").alias("kind"))
    )


def _sketch(turns: pl.LazyFrame, name: str) -> pl.LazyFrame:
    return (
        turns.filter(pl.col(name).is_not_null())
        .with_columns(bucket(pl.col(name)).alias("bucket"))
        .group_by("app_id", "model_provider", "model_id", "bucket")
        .agg(pl.len().alias("turns"))
        .with_columns(pl.lit("sketch").alias("kind"), pl.lit(name).alias("metric"))
    )


def implausible(messages: pl.LazyFrame) -> pl.LazyFrame:
    """Count the values that partials leave out, in one row.

    A time of 0 is not among them: it is how the source writes that there is none.

    Args:
        messages: schema `schemas.MESSAGES`.

    Returns:
        One Int64 column for each of `latency_s`, `time_to_first_token_s`, `message_tokens`,
        `answer_tokens` and `total_price`.
    """
    return population(messages).select(
        (pl.col(name).is_not_null() & ~known & pl.col(name).ne_missing(0))
        .sum()
        .cast(pl.Int64)
        .alias(name)
        for name, known in _KNOWN.items()
    )


def _seconds_known(name: str) -> pl.Expr:
    # NaN is above every number in Polars, hence not below the bound.
    return (pl.col(name) > 0) & (pl.col(name) < _LONGEST_S)


def _tokens_known(name: str) -> pl.Expr:
    return (pl.col(name) >= 0) & (pl.col(name) <= _MOST_TOKENS)


_KNOWN = {
    **{name: _seconds_known(name) for name in SKETCHED},
    **{name: _tokens_known(name) for name in ("message_tokens", "answer_tokens")},
    "total_price": (pl.col("total_price") >= pl.lit(-_HIGHEST_PRICE, MONEY))
    & (pl.col("total_price") <= pl.lit(_HIGHEST_PRICE, MONEY)),
}


def _known(name: str) -> pl.Expr:
    return pl.when(_KNOWN[name]).then(pl.col(name)).alias(name)


def _as_partials(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Select the columns of the schema; those that `rows` lacks become typed nulls."""
    present = set(rows.collect_schema().names())
    return rows.select(_partial_columns(present))


def _partial_columns(present: set[str]) -> Iterable[pl.Expr]:
    for column in DAILY_PARTIALS.columns:
        value = pl.col(column.name) if column.name in present else pl.lit(None)
        yield value.cast(column.dtype).alias(column.name)
