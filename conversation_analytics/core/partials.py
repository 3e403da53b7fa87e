"""Daily partials: the small, mergeable rows every report is made from.

Kinds of rows that share the schema `schemas.DAILY_PARTIALS`:

- `counts`: additive counts and sums by app, provider, model and currency. Conversations
  are counted on the day of their creation and have no currency.
- `dimensions`: the same by app, currency and a label: the language of the query or the answer,
  the category of the turn's conversation (in `schemas.CATEGORY_PARTIALS`), or the value of a key
  of the app's inputs.
- `hours`: turns by app and local hour of the week.
- `sketch`: counts in buckets of latency and of time to first token, by app and model.
- `conversations`: one row per app and conversation that had a turn or a rating.
- `users`: one row per day, app and user who had a turn. Turns without a user are left out.
- `user_ratings`: likes and dislikes by app and user, of users who rated.
- `user_languages`: turns by app, user and language of the query.
- `user_models`: additive counts and sums by app, user, provider, model and currency.

Population: rows with `invoke_from='debugger'` are left out, a null stays in. Sums are over
known values; a sum without any known value is null, never 0. Every function here is a plan
over LazyFrames and translates to cudf-polars.

What counts as known: a time above 0 and below 1e9 seconds (the source writes 0 until an answer
ends, and where it failed), a token count of 0 to 1e9, a price within 1e9 of its currency: sums
of what one wrong row may hold would not fit 64 bits or the money type, and would take the whole
day with them; `implausible` counts what is left out. A currency, provider, model or label of ''
is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.schemas import DAILY_PARTIALS, MONEY
from conversation_analytics.core.sketches import bucket

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

KEYS = DAILY_PARTIALS.sort_by
SKETCHED = ("latency_s", "time_to_first_token_s")
PARTIALS_VERSION = 3
"""To be raised where the same rows give other partials: stored ones are made again then."""
SESSION_GAP_S = 30 * 60
"""A user who is silent for longer begins a new session with the next turn."""

LANGUAGE = "language"
"""Dimension: language of the query."""
ANSWER_LANGUAGE = "answer_language"
"""Dimension: language of the answer."""
OF_CATEGORIES = "category:"
"""What dimensions of categories begin with; the type of the category follows."""

_MODEL = ("model_provider", "model_id")
_COUNT_KEYS = ("app_id", *_MODEL, "currency")
_ADDITIVE = (
    "conversations_new", "turns", "errors", "empty_answers", "regenerations", "rephrases",
    "message_tokens", "answer_tokens", "cost", "latency_turns", "latency_answer_tokens", "likes",
    "dislikes", "sessions", "handoffs",
)  # fmt: skip
_TURN_COUNTS = (
    "turns", "errors", "empty_answers", "regenerations", "rephrases", "latency_turns",
)  # fmt: skip
_TURN_SUMS = (
    *_TURN_COUNTS, "conversations_new", "message_tokens", "answer_tokens", "cost",
    "latency_sum_s", "latency_answer_tokens",
)  # fmt: skip
COLUMNS_OF = {
    "conversations": ("app_id", "conversation_id", "turns", "errors", "likes", "dislikes",
                      "handoffs", "first_at", "last_at", "failed_at"),
    "counts": (*_COUNT_KEYS, *_TURN_SUMS, "likes", "dislikes"),
    "dimensions": ("dimension", "label", "app_id", "currency", *_TURN_SUMS),
    "hours": ("app_id", "bucket", "turns"),
    "sketch": ("app_id", "model_provider", "model_id", "metric", "bucket", "turns"),
    "user_languages": ("app_id", "user_id", "label", "turns"),
    "user_ratings": ("app_id", "user_id", "likes", "dislikes"),
    "user_models": (*_COUNT_KEYS, "user_id", "turns", "message_tokens", "answer_tokens", "cost"),
    "users": ("day", "app_id", "user_id", "turns", "errors", "sessions", "first_at", "last_at"),
}  # fmt: skip
"""The columns that each kind of rows has; the others are null in it."""
_OF_SINGLE_USERS = ("user_languages", "user_models", "user_ratings")
_LONGEST_S = 1e9
_MOST_TOKENS = 10**9
_HIGHEST_PRICE = Decimal(10**9)
_MICROS = 1_000_000
_HOURS_A_DAY = 24
_LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True)
class PartialOptions:
    """What a deployment adds to the partials.

    Attributes:
        zone: IANA name of the analytics time zone, for the hours.
        handoff_markers: texts in an answer that hand the conversation over to a person; with
            none hand-offs are unknown.
        input_dimensions: keys of the messages' `inputs` to count by.
    """

    zone: str = "UTC"
    handoff_markers: tuple[str, ...] = ()
    input_dimensions: tuple[str, ...] = ()


PLAIN = PartialOptions()
"""UTC, no hand-offs, no dimensions."""


def population(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that count: all but those of the debugger. Needs `invoke_from`."""
    return rows.filter(pl.col("invoke_from").ne_missing("debugger"))


def with_regenerated(turns: pl.LazyFrame) -> pl.LazyFrame:
    """Add `regenerated`: whether an earlier turn has the same conversation and parent.

    Args:
        turns: `id` (each once), `conversation_id`, `parent_message_id`, `created_at`.
    """
    again = _regenerated(turns).select("id", regenerated=pl.lit(value=True))
    return turns.join(again, on="id", how="left").with_columns(
        pl.col("regenerated").fill_null(value=False)
    )


def _regenerated(turns: pl.LazyFrame) -> pl.LazyFrame:
    """Return the turns with an earlier one of the same conversation and parent."""
    family = ("conversation_id", "parent_message_id")
    parent = pl.col("parent_message_id")
    # Few turns have a sibling at all: only these are sorted. A parent mostly is of one
    # conversation, and a window over one text takes half the time of one over two.
    shared = turns.filter(parent.is_not_null() & (pl.len().over(parent) > 1))
    siblings = shared.filter(pl.len().over(family) > 1)
    return siblings.sort(*family, "created_at", "id").filter(
        pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in family)
    )


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
    conversations: pl.LazyFrame,
    messages: pl.LazyFrame,
    feedbacks: pl.LazyFrame | None = None,
    *,
    day: dt.date,
    rephrases: pl.LazyFrame | None = None,
    languages: pl.LazyFrame | None = None,
    options: PartialOptions = PLAIN,
) -> pl.LazyFrame:
    """Reduce the rows of one day to partials.

    Args:
        conversations: schema `schemas.CONVERSATIONS`.
        messages: schema `schemas.MESSAGES`.
        feedbacks: schema `schemas.FEEDBACKS`, the ratings given that day, of whichever
            turns; None where there is no such table: ratings are then unknown, not 0.
        day: the day, in the analytics time zone.
        rephrases: column `id`, of turns that ask again; see `rephrases.rephrased_turns`. None
            where nobody has looked: they are then unknown.
        languages: `id`, `query_language` and `answer_language` of turns, each turn once; None:
            turns and users have none.
        options: of the deployment.

    Returns:
        Schema `schemas.DAILY_PARTIALS`, one row per key, in no particular order: see
        `TableSchema.conform` for the order in files.
    """
    # Cached by hand: each kind filters it in another way, and would compute it anew.
    known = _turns(messages, rephrases, options).cache()
    # Apps, models and currencies are few: grouping by one number for them takes a quarter of the
    # time. Sorted, since each number must stand for the same wherever the plan is computed.
    groups = known.select(_COUNT_KEYS).unique().sort(_COUNT_KEYS).with_row_index("group").cache()
    turns = known.join(groups, on=_COUNT_KEYS, how="left", nulls_equal=True).cache()
    regenerated = _regenerated(turns).cache()
    visits = _visits(turns).join(groups, on="group").cache()
    counts = [
        _conversation_counts(population(conversations)),
        _turn_counts(turns, regenerated, ("group",)).join(groups, on="group"),
    ]
    spoken = [_conversation_days(visits)]
    if feedbacks is not None:
        # Where ratings are read, an app or a conversation without any has 0 of them.
        nothing = (pl.lit(0).alias("likes"), pl.lit(0).alias("dislikes"))
        counts = [piece.with_columns(nothing) for piece in counts]
        spoken = [piece.with_columns(nothing) for piece in spoken]
        ratings = _rated_models(counted_ratings(feedbacks), turns)
        no_turns = [pl.lit(0).alias(name) for name in ("conversations_new", *_TURN_COUNTS)]
        counts.append(_ratings(ratings, _COUNT_KEYS[:-1]).with_columns(no_turns))
        rated = ratings.filter(pl.col("conversation_id").is_not_null())
        spoken.append(
            _ratings(rated, ("app_id", "conversation_id")).with_columns(turns=pl.lit(0), errors=0)
        )
    pieces = {
        "counts": counts,
        "conversations": spoken,
        "dimensions": [
            _turn_counts(
                _labelled(turns, key),
                _labelled(regenerated, key),
                ("dimension", "label", "app_id", "currency"),
            )
            for key in options.input_dimensions
        ]
        + ([] if languages is None else _by_language(turns, regenerated, languages)),
        "hours": [_hours(turns, groups, options.zone)],
        "sketch": [_sketch(turns, groups, name) for name in SKETCHED],
        "users": [_user_days(turns, visits, day)],
        "user_models": [_user_models(visits)],
        "user_languages": [] if languages is None else [_user_languages(turns, languages)],
        "user_ratings": [] if feedbacks is None else [_user_ratings(feedbacks)],
    }
    return pl.concat(
        [
            _as_partials(_one_below_the_other(kind, several).with_columns(kind=pl.lit(kind)))
            for kind, several in pieces.items()
            if several
        ]
    )


def category_partials(
    messages: pl.LazyFrame, categories: pl.LazyFrame, rephrases: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Count the turns of one day by the categories of their conversations.

    Args:
        messages: schema `schemas.MESSAGES`.
        categories: `conversation_id`, `category_type` and `category_value`, each pair of
            conversation and type once. Turns of a conversation that has none are left out.
        rephrases: as of `daily_partials`.

    Returns:
        Schema `schemas.CATEGORY_PARTIALS`, in no particular order.
    """
    # By conversation first: a turn of each category would be as many rows as turns and types.
    turns = _turns(messages, rephrases, PLAIN).cache()
    talks = _turn_counts(turns, _regenerated(turns), ("conversation_id", "app_id", "currency"))
    labels = categories.select(
        "conversation_id",
        dimension=pl.lit(OF_CATEGORIES) + pl.col("category_type"),
        label=pl.col("category_value"),
    )
    labelled = talks.join(labels, on="conversation_id")
    merged = _merged(labelled, list(COLUMNS_OF["dimensions"]))
    return _as_partials(merged.with_columns(kind=pl.lit("dimensions")))


def merged_kinds(partials: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that reports merge: all but those that tell of single users."""
    return partials.filter(~pl.col("kind").is_in(_OF_SINGLE_USERS))


def partials_of_days(days: Iterable[pl.DataFrame]) -> pl.LazyFrame:
    """Put the partials of several days below each other, each kind without its empty columns.

    Most columns are null in most kinds. A day of 300,000 turns takes a fifth of the memory.

    Args:
        days: frames of the schema `schemas.DAILY_PARTIALS`, all of them or `merged_kinds`; each
            is let go once it was taken in.

    Returns:
        The same schema, for reports: `merged_kinds` alone.
    """
    kinds: dict[str, list[pl.DataFrame]] = {
        kind: [] for kind in COLUMNS_OF if kind not in _OF_SINGLE_USERS
    }
    for day in days:
        for kind, frames in kinds.items():
            frames.append(day.select("kind", *COLUMNS_OF[kind]).filter(pl.col("kind") == kind))
    return pl.concat(
        [_as_partials(pl.concat(frames).lazy()) for frames in kinds.values() if frames]
        or [DAILY_PARTIALS.empty().lazy()]
    )


def merge_partials(partials: pl.LazyFrame) -> pl.LazyFrame:
    """Merge partials of any days into partials of the whole range.

    Merging is associative and commutative.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, rows of several days one below the other.

    Returns:
        The same schema, one row per key, in no particular order. Rows of users stay apart by
        day, because sessions are joined from day to day.
    """
    return _as_partials(_merged(partials, DAILY_PARTIALS.polars.names()))


def _one_below_the_other(kind: str, pieces: list[pl.LazyFrame]) -> pl.LazyFrame:
    """Merge the pieces of one kind, each of which has a row per key."""
    if len(pieces) == 1:
        return pieces[0]
    columns = [name for name in DAILY_PARTIALS.polars if name in COLUMNS_OF[kind]]
    return _merged(pl.concat([_as_partials(piece).select(columns) for piece in pieces]), columns)


def _merged(rows: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
    """Merge the rows of equal keys, of partials that have these columns."""
    sums = [known_sum(pl.col(name)).alias(name) for name in _ADDITIVE if name in columns]
    if "latency_sum_s" in columns:
        sums.append(seconds_sum(pl.col("latency_sum_s")).alias("latency_sum_s"))
    times = {"first_at": pl.Expr.min, "last_at": pl.Expr.max, "failed_at": pl.Expr.max}
    sums += [of(pl.col(name)) for name, of in times.items() if name in columns]
    return rows.group_by([name for name in KEYS if name in columns]).agg(sums)


def _turns(
    messages: pl.LazyFrame, rephrases: pl.LazyFrame | None, options: PartialOptions
) -> pl.LazyFrame:
    """Return the turns that count, what is known of them, and what is told of each."""
    turns = population(messages).with_columns(
        *(_known(name) for name in _KNOWN),
        *map(_named, ("currency", *_MODEL)),
        _hands_over(options.handoff_markers).alias("handed_over"),
        (pl.col("answer").fill_null("") == "").alias("empty"),
    )
    if rephrases is None:
        return turns.with_columns(rephrased=pl.lit(None, dtype=pl.Boolean))
    asked_again = rephrases.select("id", rephrased=pl.lit(value=True))
    return turns.join(asked_again, on="id", how="left").with_columns(
        pl.col("rephrased").fill_null(value=False)
    )


def _named(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != "").then(pl.col(name)).alias(name)


def _hands_over(markers: tuple[str, ...]) -> pl.Expr:
    if not markers:
        return pl.lit(None, dtype=pl.Boolean)
    found = [
        pl.col("answer").str.contains(marker, literal=True).fill_null(value=False)
        for marker in markers
    ]
    return pl.any_horizontal(found)


def _conversation_counts(conversations: pl.LazyFrame) -> pl.LazyFrame:
    return (
        conversations.with_columns(map(_named, _MODEL))
        .group_by("app_id", *_MODEL)
        .agg(pl.len().alias("conversations_new"))
        .with_columns(*(pl.lit(0).alias(name) for name in _TURN_COUNTS))
    )


def _turn_counts(
    turns: pl.LazyFrame, regenerated: pl.LazyFrame, keys: tuple[str, ...]
) -> pl.LazyFrame:
    # Counted apart: to mark the few among all turns takes as long as all counts.
    again = regenerated.group_by(keys).agg(pl.len().alias("regenerations"))
    return (
        turns.group_by(keys)
        .agg(
            pl.len().alias("turns"),
            (pl.col("status") == "error").sum().alias("errors"),
            pl.col("empty").sum().alias("empty_answers"),
            known_sum(pl.col("rephrased").cast(pl.Int64)).alias("rephrases"),
            known_sum(pl.col("message_tokens")).alias("message_tokens"),
            known_sum(pl.col("answer_tokens")).alias("answer_tokens"),
            known_sum(pl.col("total_price")).alias("cost"),
            pl.col("latency_s").count().alias("latency_turns"),
            seconds_sum(pl.col("latency_s")).alias("latency_sum_s"),
            known_sum(
                pl.when(pl.col("latency_s").is_not_null()).then(pl.col("answer_tokens"))
            ).alias("latency_answer_tokens"),
        )
        .join(again, on=keys, how="left", nulls_equal=True)
        .with_columns(pl.col("regenerations").fill_null(0), pl.lit(0).alias("conversations_new"))
    )


def _visits(turns: pl.LazyFrame) -> pl.LazyFrame:
    """Sum up what conversations and users are made of: turns of one of both, and of one group."""
    failed = (pl.col("status") == "error") | pl.col("empty")
    return turns.group_by("conversation_id", "user_id", "group").agg(
        pl.len().cast(pl.Int64).alias("turns"),
        (pl.col("status") == "error").sum().cast(pl.Int64).alias("errors"),
        known_sum(pl.col("handed_over").cast(pl.Int64)).alias("handoffs"),
        known_sum(pl.col("message_tokens")).alias("message_tokens"),
        known_sum(pl.col("answer_tokens")).alias("answer_tokens"),
        known_sum(pl.col("total_price")).alias("cost"),
        pl.col("created_at").min().alias("first_at"),
        pl.col("created_at").max().alias("last_at"),
        pl.when(failed).then(pl.col("created_at")).max().alias("failed_at"),
    )


def _conversation_days(visits: pl.LazyFrame) -> pl.LazyFrame:
    return visits.group_by("app_id", "conversation_id").agg(
        pl.col("turns", "errors").sum(),
        known_sum(pl.col("handoffs")).alias("handoffs"),
        pl.col("first_at").min(),
        pl.col("last_at", "failed_at").max(),
    )


def counted_ratings(feedbacks: pl.LazyFrame) -> pl.LazyFrame:
    """Return the ratings that count: likes and dislikes by users, not taken back."""
    return feedbacks.filter(
        pl.col("from_source").ne_missing("admin")
        & pl.col("rating").is_in(["like", "dislike"])
        & ~pl.col("gone").fill_null(value=False)
    )


def _rated_models(ratings: pl.LazyFrame, turns: pl.LazyFrame) -> pl.LazyFrame:
    """Add the model of the rated turn, known where the turn is of the same day."""
    rated = turns.join(ratings.select(pl.col("message_id").alias("id")), on="id", how="semi")
    models = rated.select(pl.col("id").alias("message_id"), "model_provider", "model_id").unique(
        "message_id", keep="any"
    )
    return ratings.join(models, on="message_id", how="left")


def _ratings(ratings: pl.LazyFrame, keys: tuple[str, ...]) -> pl.LazyFrame:
    return ratings.group_by(keys).agg(
        (pl.col("rating") == "like").sum().alias("likes"),
        (pl.col("rating") == "dislike").sum().alias("dislikes"),
    )


def _user_ratings(feedbacks: pl.LazyFrame) -> pl.LazyFrame:
    by_users = counted_ratings(feedbacks).filter(pl.col("user_id").is_not_null())
    return _ratings(by_users, ("app_id", "user_id"))


def _labelled(turns: pl.LazyFrame, key: str) -> pl.LazyFrame:
    # A key with a point or a bracket is one key, not a path.
    path = "$['" + key.replace("\\", "\\\\").replace("'", "\\'") + "']"
    return turns.with_columns(
        pl.lit(key).alias("dimension"),
        pl.col("inputs").str.json_path_match(path).str.slice(0, _LONGEST_LABEL).alias("label"),
    ).with_columns(_named("label"))


def _by_language(
    turns: pl.LazyFrame, regenerated: pl.LazyFrame, languages: pl.LazyFrame
) -> list[pl.LazyFrame]:
    sides = {LANGUAGE: "query_language", ANSWER_LANGUAGE: "answer_language"}

    def said(rows: pl.LazyFrame, dimension: str, side: str) -> pl.LazyFrame:
        told = languages.select("id", label=side)
        return rows.join(told, on="id", how="left").with_columns(dimension=pl.lit(dimension))

    return [
        _turn_counts(
            said(turns, dimension, side),
            said(regenerated, dimension, side),
            ("dimension", "label", "app_id", "currency"),
        )
        for dimension, side in sides.items()
    ]


def _hours(turns: pl.LazyFrame, groups: pl.LazyFrame, zone: str) -> pl.LazyFrame:
    local = pl.col("created_at").dt.convert_time_zone(zone)
    hour_of_week = (local.dt.weekday().cast(pl.Int64) - 1) * _HOURS_A_DAY + local.dt.hour().cast(
        pl.Int64
    )
    counts = turns.group_by("group", hour_of_week.alias("bucket")).agg(pl.len().alias("turns"))
    return counts.join(groups, on="group").group_by("app_id", "bucket").agg(pl.col("turns").sum())


def _user_days(turns: pl.LazyFrame, visits: pl.LazyFrame, day: dt.date) -> pl.LazyFrame:
    user = ["app_id", "user_id"]
    by_users = visits.filter(pl.col("user_id").is_not_null())
    users = (
        by_users.group_by(user)
        .agg(pl.col("turns", "errors").sum(), pl.col("first_at").min(), pl.col("last_at").max())
        .with_row_index("person")
        .cache()
    )
    gap = pl.duration(seconds=SESSION_GAP_S)
    # Sorting by number takes half the time of a window by user.
    ordered = _moments(turns, by_users, users, gap).sort("person", "created_at")
    same = pl.col("person") == pl.col("person").shift(1)
    pauses = (
        ordered.filter(same & (pl.col("created_at") - pl.col("created_at").shift(1) > gap))
        .group_by("person")
        .agg(pl.len().alias("pauses"))
    )
    return users.join(pauses, on="person", how="left").with_columns(
        (pl.col("pauses").fill_null(0) + 1).alias("sessions"),
        pl.lit(day, dtype=pl.Date).alias("day"),
    )


def _moments(
    turns: pl.LazyFrame, visits: pl.LazyFrame, users: pl.LazyFrame, gap: pl.Expr
) -> pl.LazyFrame:
    """Return moments of the users that have the same pauses as all their turns have.

    Who was there for no longer than the gap had no pause. Of a visit no longer than that its first
    and last turn will do: no pause is within it, nor does another pause begin or end within it.

    Args:
        turns: as of `_turns`, with `group`.
        visits: of users.
        users: with a number each, `person`.
        gap: the longest silence that is no pause.

    Returns:
        `person`, `created_at`.
    """
    lasting = pl.col("last_at") - pl.col("first_at") > gap
    person = users.filter(lasting).select("person", "app_id", "user_id")
    told = visits.join(person, on=["app_id", "user_id"], nulls_equal=True).cache()
    visit = ["conversation_id", "user_id", "group"]
    inside = turns.select(*visit, "created_at").join(
        told.filter(lasting).select("person", *visit), on=visit, nulls_equal=True
    )
    return pl.concat(
        [
            *(
                told.select("person", pl.col(end).alias("created_at"))
                for end in ("first_at", "last_at")
            ),
            inside.select("person", "created_at"),
        ]
    )


def _user_models(visits: pl.LazyFrame) -> pl.LazyFrame:
    return (
        visits.filter(pl.col("user_id").is_not_null())
        .group_by("user_id", *_COUNT_KEYS)
        .agg(
            known_sum(pl.col(name)).alias(name)
            for name in ("turns", "message_tokens", "answer_tokens", "cost")
        )
    )


def _user_languages(turns: pl.LazyFrame, languages: pl.LazyFrame) -> pl.LazyFrame:
    return (
        turns.filter(pl.col("user_id").is_not_null())
        .select("id", "app_id", "user_id")
        .join(languages.select("id", label="query_language").drop_nulls(), on="id")
        .group_by("app_id", "user_id", "label")
        .agg(pl.len().alias("turns"))
    )


def _sketch(turns: pl.LazyFrame, groups: pl.LazyFrame, name: str) -> pl.LazyFrame:
    return (
        turns.select("group", name)
        .filter(pl.col(name).is_not_null())
        .group_by("group", bucket(pl.col(name)).alias("bucket"))
        .agg(pl.len().alias("turns"))
        .join(groups, on="group")
        .group_by("app_id", "model_provider", "model_id", "bucket")
        .agg(pl.col("turns").sum())
        .with_columns(pl.lit(name).alias("metric"))
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
