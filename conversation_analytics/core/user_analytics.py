"""Users over all days: folded from daily partials, day after day, in bounded memory.

What is kept while folding is a row per user, a row per user and model, and eight bytes for each
day on which a user was there: not the partials of a year.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.metrics import NO_APP
from conversation_analytics.core.partials import SESSION_GAP_S, known_sum
from conversation_analytics.core.schemas import APP, INSTANT, MONEY, Column, TableSchema

if TYPE_CHECKING:
    from collections.abc import Iterable

NEW_DAYS = 7
"""A user is new for so many days, and dormant after as many without a turn."""

USER_ANALYTICS = TableSchema(
    name="user_analytics",
    columns=(
        APP,
        Column("user_id", pl.String(), "user", required=True),
        Column("first_at", INSTANT, "first turn held", required=True),
        Column("last_at", INSTANT, "last turn held", required=True),
        Column("first_day", pl.Date(), "local day of the first turn", required=True),
        Column("last_day", pl.Date(), "local day of the last turn", required=True),
        Column("cohort", pl.Date(), "Monday of the ISO week of `first_day`", required=True),
        Column("status", pl.String(),
               f"`dormant`: no turn in the last {NEW_DAYS} days held; `new`: the first one within "
               "them; else `active`", required=True, low_cardinality=True),
        Column("active_days", pl.Int64(), "days with a turn"),
        Column("sessions", pl.Int64(),
               f"runs of turns in one app with gaps of at most {SESSION_GAP_S // 60} minutes"),
        Column("turns", pl.Int64(), "turns"),
        Column("errors", pl.Int64(), "turns with status error"),
        Column("message_tokens", pl.Int64(), "tokens in; null: no turn has a count"),
        Column("answer_tokens", pl.Int64(), "tokens out, as `message_tokens`"),
        Column("currency", pl.String(), "currency of `cost`; null: of several, or unknown",
               low_cardinality=True),
        Column("cost", MONEY, "sum of prices, where they are all of one currency"),
        Column("costs", pl.String(), "JSON object: sum of prices by currency ('': unknown)"),
        Column("models", pl.String(), "JSON array of the models that answered: provider/model"),
        Column("likes", pl.Int64(), "likes given; null: no ratings are read"),
        Column("dislikes", pl.Int64(), "dislikes given, as `likes`"),
        Column("satisfaction", MONEY, "likes / (likes + dislikes), null without ratings"),
    ),
    sort_by=("app_id", "user_id"),
    description="One user of one app (or over all apps), over all days held.",
)  # fmt: skip

_PERSON = ["app_id", "user_id"]
_MICROS = 1_000_000
_TOTALS = {
    "person": pl.UInt32(), "first_at": INSTANT, "last_at": INSTANT,
    "sessions": pl.Int64(), "turns": pl.Int64(), "errors": pl.Int64(),
}  # fmt: skip
_SPENT_BY = ["person", "model_provider", "model_id", "currency"]
_SPENDING = {
    "person": pl.UInt32(), "model_provider": pl.String(), "model_id": pl.String(),
    "currency": pl.String(), "message_tokens": pl.Int64(), "answer_tokens": pl.Int64(),
    "cost": MONEY,
}  # fmt: skip
_RATINGS = {"person": pl.UInt32(), "likes": pl.Int64(), "dislikes": pl.Int64()}


@dataclass(frozen=True, slots=True)
class Users:
    """What is known of every user from the days taken in so far.

    Attributes:
        people: `app_id` (`NO_APP` for none), `user_id`, `person`: the number of the pair.
        totals: a row per person who had a turn.
        spending: a row per person, model and currency.
        ratings: a row per person who rated.
        days: `person`, `day`: a row for each day with a turn.
    """

    people: pl.DataFrame
    totals: pl.DataFrame
    spending: pl.DataFrame
    ratings: pl.DataFrame
    days: pl.DataFrame


def nobody() -> Users:
    """Return the users of no days."""
    return Users(
        pl.DataFrame(schema={"app_id": pl.String(), "user_id": pl.String(), "person": pl.UInt32()}),
        pl.DataFrame(schema=_TOTALS),
        pl.DataFrame(schema=_SPENDING),
        pl.DataFrame(schema=_RATINGS),
        pl.DataFrame(schema={"person": pl.UInt32(), "day": pl.Date()}),
    )


def users_of_days(days: Iterable[pl.DataFrame]) -> Users:
    """Fold the partials of days, in ascending order, into what is known of their users.

    Args:
        days: frames of the schema `schemas.DAILY_PARTIALS`, of a day each, the earliest first;
            each is let go once it was taken in.
    """
    users = nobody()
    for partials in days:
        users = with_day(users, partials)
    return users


def with_day(users: Users, partials: pl.DataFrame) -> Users:
    """Return the users with one more day.

    Args:
        users: of earlier days.
        partials: schema `schemas.DAILY_PARTIALS`, of a later day.
    """
    own = partials.filter(
        pl.col("kind").is_in(["users", "user_models", "user_ratings"])
    ).with_columns(pl.col("app_id").fill_null(NO_APP))
    people = _with_people(users.people, own)
    rows = own.join(people, on=_PERSON, how="left", maintain_order="left")
    turns = rows.filter(pl.col("kind") == "users")
    spending = rows.filter(pl.col("kind") == "user_models").select(list(_SPENDING))
    ratings = rows.filter(pl.col("kind") == "user_ratings").select(list(_RATINGS))
    return Users(
        people,
        _joined(pl.concat([users.totals, turns.select(list(_TOTALS))])),
        _summed(pl.concat([users.spending, spending]), _SPENT_BY),
        _summed(pl.concat([users.ratings, ratings]), ["person"]),
        pl.concat([users.days, turns.select("person", "day")]),
    )


def _with_people(people: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    unseen = rows.select(_PERSON).unique().join(people, on=_PERSON, how="anti").sort(_PERSON)
    numbers = pl.int_range(people.height, people.height + unseen.height, dtype=pl.UInt32())
    return pl.concat([people, unseen.with_columns(numbers.alias("person"))])


def _joined(totals: pl.DataFrame) -> pl.DataFrame:
    """Add up; a session that goes on from the days before was counted on both sides."""
    before = pl.col("last_at").shift(1).over("person", order_by="first_at")
    silence = (pl.col("first_at") - before).dt.total_microseconds()
    goes_on = (silence <= SESSION_GAP_S * _MICROS).fill_null(value=False)
    return (
        totals.with_columns(pl.col("sessions") - goes_on.cast(pl.Int64))
        .group_by("person")
        .agg(
            pl.col("first_at").min(),
            pl.col("last_at").max(),
            pl.col("sessions", "turns", "errors").sum(),
        )
    )


def _summed(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    sums = [known_sum(pl.col(name)).alias(name) for name in rows.columns if name not in by]
    return rows.group_by(by).agg(sums).select(rows.columns)


def scoped(users: Users) -> pl.DataFrame:
    """Return whom rows of persons are told under: each under the app, and over all apps.

    Returns:
        `person`, `app_id` (null: over all apps), `user_id`.
    """
    everywhere = users.people.with_columns(pl.lit(None, dtype=pl.String).alias("app_id"))
    return pl.concat([users.people, everywhere]).select("person", *_PERSON)


def user_analytics(users: Users, as_of: dt.date) -> pl.DataFrame:
    """Compute the table of users.

    Args:
        users: of all days held.
        as_of: the last day held, from which it is told who is new or dormant.

    Returns:
        Schema and row order of `USER_ANALYTICS`.
    """
    people = scoped(users)
    totals = (
        people.join(users.totals, on="person")
        .group_by(_PERSON)
        .agg(
            pl.col("first_at").min(),
            pl.col("last_at").max(),
            pl.col("sessions", "turns", "errors").sum(),
        )
    )
    days = (
        people.join(users.days, on="person")
        .group_by(_PERSON)
        .agg(
            pl.col("day").min().alias("first_day"),
            pl.col("day").max().alias("last_day"),
            pl.col("day").n_unique().cast(pl.Int64).alias("active_days"),
        )
    )
    spent = _summed(
        people.join(users.spending, on="person").drop("person"),
        [*_PERSON, *_SPENT_BY[1:]],
    )
    ratings = _summed(people.join(users.ratings, on="person").drop("person"), _PERSON)
    parts = (days, _tokens(spent), _costs(spent), _models(spent), ratings)
    for part in parts:
        totals = totals.join(part, on=_PERSON, how="left", nulls_equal=True)
    since = as_of - dt.timedelta(days=NEW_DAYS - 1)
    rated = pl.col("likes") + pl.col("dislikes")
    return USER_ANALYTICS.conform(
        totals.with_columns(
            pl.col("first_day").dt.truncate("1w").alias("cohort"),
            pl.when(pl.col("last_day") < since)
            .then(pl.lit("dormant"))
            .when(pl.col("first_day") >= since)
            .then(pl.lit("new"))
            .otherwise(pl.lit("active"))
            .alias("status"),
            (pl.col("likes").cast(MONEY) / pl.when(rated > 0).then(rated.cast(MONEY))).alias(
                "satisfaction"
            ),
        )
    )


def _tokens(spent: pl.DataFrame) -> pl.DataFrame:
    return _summed(spent.select(*_PERSON, "message_tokens", "answer_tokens"), _PERSON)


def _costs(spent: pl.DataFrame) -> pl.DataFrame:
    paid = (
        _summed(spent.select(*_PERSON, "currency", "cost"), [*_PERSON, "currency"])
        .filter(pl.col("cost").is_not_null())
        .sort("currency", nulls_last=False)
    )
    entry = pl.concat_str(
        _quoted(pl.col("currency").fill_null("")), pl.lit(": "), pl.col("cost").cast(pl.String)
    )
    alone = pl.len() == 1
    return paid.group_by(_PERSON, maintain_order=True).agg(
        pl.when(alone).then(pl.col("currency").first()).alias("currency"),
        pl.when(alone).then(pl.col("cost").first()).alias("cost"),
        pl.concat_str(pl.lit("{"), entry.str.join(", "), pl.lit("}")).alias("costs"),
    )


def _models(spent: pl.DataFrame) -> pl.DataFrame:
    label = (
        pl.when(pl.col("model_provider").is_null())
        .then(pl.col("model_id"))
        .otherwise(pl.col("model_provider") + "/" + pl.col("model_id"))
    )
    used = (
        spent.select(*_PERSON, label.alias("model"))
        .filter(pl.col("model").is_not_null())
        .unique()
        .sort("model")
    )
    return used.group_by(_PERSON, maintain_order=True).agg(
        pl.concat_str(pl.lit("["), _quoted(pl.col("model")).str.join(", "), pl.lit("]")).alias(
            "models"
        )
    )


def _quoted(text: pl.Expr) -> pl.Expr:
    """Return the texts as JSON strings."""
    encoded = pl.struct(text.alias("t")).struct.json_encode()  # {"t":"..."}
    return encoded.str.slice(5, encoded.str.len_chars() - 6)
