"""Users over all days: folded from daily partials, day after day, in bounded memory.

What is kept while folding is a row per user, a row per user, model and currency, and counts by
period: nothing that grows with the days, but for the few rows of `Users.growth` and
`Users.retention`. Days are taken in by batches, so that what is kept is gone through a few times
a year and not once a day.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.language_codes import NO_LANGUAGE, UNDETERMINED
from conversation_analytics.core.metrics import MODEL_LABEL, NO_APP
from conversation_analytics.core.partials import SESSION_GAP_S
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import APP, INSTANT, MONEY, Column, TableSchema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FOLD_VERSION = 2
"""To be raised where the same partials give other tables: stored ones are made again then."""
STATUS_DAYS = 7
"""Status compares the last so many days with as many before them."""

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
               f"as of the last day held: `dormant`: no turn in the last {STATUS_DAYS} days; "
               f"`new`: the first one is among them; `returning`: had one in the {STATUS_DAYS} "
               "days before, too; `resurrected`: had one only before these",
               required=True, low_cardinality=True),
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
        Column("costs", pl.String(),
               "JSON object: sum of prices by currency ('': unknown), as text, since a JSON number "
               "would be read as a float; null: no turn has a price"),
        Column("models", pl.String(),
               "JSON array of the models that answered: provider/model; null: none is named"),
        Column("languages", pl.String(),
               "JSON array of the languages of the user's queries, most turns first, `und` and "
               "`zxx` left out; null: none is known"),
        Column("likes", pl.Int64(), "likes given; null: no ratings are read"),
        Column("dislikes", pl.Int64(), "dislikes given, as `likes`"),
        Column("satisfaction", MONEY, "likes / (likes + dislikes), null without ratings"),
    ),
    sort_by=("app_id", "user_id"),
    description="One user of one app (or over all apps) who had a turn, over all days held.",
)  # fmt: skip

DAYS_LATER = (0, 1, 7, 30)
"""Retention by days is told of so many days later; by weeks of all."""
COHORT_UNITS = (Period.DAY, Period.WEEK)
GROWTH_UNITS = (Period.DAY, Period.WEEK, Period.MONTH)
EVERY = {Period.DAY: "1d", Period.WEEK: "1w", Period.MONTH: "1mo"}
"""Length of a period, for Polars."""

_BATCH_ROWS = 250_000
_PERSON = ["app_id", "user_id"]
_PRICED = ["model_provider", "model_id", "currency"]
_SUMS = ("turns", "errors", "sessions")
_MICROS = 1_000_000
_SPENT = ("message_tokens", "answer_tokens", "cost")
_TAKEN_OF = {
    "users": (*_PERSON, "day", *_SUMS, "first_at", "last_at"),
    "user_models": (*_PERSON, *_PRICED, *_SPENT),
    "user_ratings": (*_PERSON, "likes", "dislikes"),
    "user_languages": (*_PERSON, "label", "turns"),
}
_KINDS = tuple(_TAKEN_OF)
_TAKEN = tuple(dict.fromkeys(name for names in _TAKEN_OF.values() for name in names))
_NUMBER = pl.Int64()
_APP = 2**32
"""A person is `_APP` times the number of an app, plus that of a user: below it, over all apps."""
_DAY = 2**20
"""More than there are days before or after 1970: a user and a day are one number."""
_OF_DAY = ("app", "person", "day", "first_at", "last_at", "turns", "errors")
_TOTALS = {
    "person": _NUMBER, "first_day": pl.Date(), "last_day": pl.Date(), "active_days": pl.Int64(),
    "first_at": INSTANT, "last_at": INSTANT, **dict.fromkeys(_SUMS, pl.Int64()),
}  # fmt: skip
_SPENDING = {
    "person": _NUMBER, "price": _NUMBER,
    "message_tokens": pl.Int64(), "answer_tokens": pl.Int64(), "cost": MONEY,
}  # fmt: skip
_RATINGS = {"person": _NUMBER, "likes": pl.Int64(), "dislikes": pl.Int64()}
_SAID = {"person": _NUMBER, "label": pl.String(), "turns": pl.Int64()}
_IN_PERIOD = {"unit": pl.String(), "app_id": pl.String(), "start": pl.Date()}
_GROWTH = _IN_PERIOD | dict.fromkeys(("active", "new", "returning"), pl.Int64())
_RETENTION = _IN_PERIOD | {"cohort": pl.Date(), "users": pl.Int64()}


@dataclass(frozen=True, slots=True)
class Users:
    """What is known of every user from the days taken in so far.

    Attributes:
        days: the days taken in, ascending.
        rated: whether ratings were read on any of them.
        names: `user_id` and `user`: a number.
        apps: `app_id` (`NO_APP`: no app) and `app`: a number from 0.
        prices: `model_provider`, `model_id`, `currency`, `price`: the number of the three.
        totals: a row per person who had a turn: a user of an app, or over all apps.
        spending: a row per person (of an app only) and price.
        ratings: a row per person (of an app only) who rated.
        languages: a row per person (of an app only) and language, with its turns.
        recent: `person`, `day`: a row for each turn day among the last days, for the status.
        growth: `unit`, `app_id`, `start`: users with a turn in the period, those who never had one
            before, and those who had one in the period before.
        retention: `unit`, `app_id`, `cohort`, `start`: users of the cohort with a turn in the
            period.
    """

    days: tuple[dt.date, ...]
    rated: bool
    names: pl.DataFrame
    apps: pl.DataFrame
    prices: pl.DataFrame
    totals: pl.DataFrame
    spending: pl.DataFrame
    ratings: pl.DataFrame
    languages: pl.DataFrame
    recent: pl.DataFrame
    growth: pl.DataFrame
    retention: pl.DataFrame


def nobody() -> Users:
    """Return the users of no days."""
    return Users(
        days=(),
        rated=False,
        names=pl.DataFrame(schema={"user_id": pl.String(), "user": _NUMBER}),
        apps=pl.DataFrame(schema={"app_id": pl.String(), "app": _NUMBER}),
        prices=pl.DataFrame(schema={**dict.fromkeys(_PRICED, pl.String()), "price": _NUMBER}),
        totals=pl.DataFrame(schema=_TOTALS),
        spending=pl.DataFrame(schema=_SPENDING),
        ratings=pl.DataFrame(schema=_RATINGS),
        languages=pl.DataFrame(schema=_SAID),
        recent=pl.DataFrame(schema={"person": _NUMBER, "day": pl.Date()}),
        growth=pl.DataFrame(schema=_GROWTH),
        retention=pl.DataFrame(schema=_RETENTION),
    )


def fold_input(partials: pl.LazyFrame) -> pl.LazyFrame:
    """Return what the fold reads of partials: a few columns of the rows of users, and the counts.

    The counts tell whether ratings are read.
    """
    return partials.filter(pl.col("kind").is_in([*_KINDS, "counts"])).select("kind", *_TAKEN)


def users_of_days(
    days: Iterable[tuple[dt.date, pl.DataFrame]], *, batch_rows: int = _BATCH_ROWS
) -> Users:
    """Fold the partials of days, in ascending order, into what is known of their users.

    Args:
        days: a day and its partials, schema `schemas.DAILY_PARTIALS` or `fold_input` of them, the
            earliest first; each frame is let go once it was taken in.
        batch_rows: rows of partials to hold before they are folded; the result is the same.

    Raises:
        ContractError: the days do not ascend.
    """
    users = nobody()
    held: dict[str, list[pl.DataFrame]] = {kind: [] for kind in _KINDS}
    batch: list[dt.date] = []
    rows = 0
    last: dt.date | None = None
    for day, partials in days:
        if last is not None and day <= last:
            raise ContractError(
                f"daily_partials of {day}: expected a day after {last}, which was taken in before: "
                "sessions are joined over midnight in the order of days; pass the days sorted"
            )
        last = day
        # Where ratings are read, apps have counts of them, though these be 0.
        if partials["likes"].null_count() < partials.height:
            users = replace(users, rated=True)
        for kind, frames in held.items():
            of_kind = partials.select("kind", *_TAKEN_OF[kind]).filter(pl.col("kind") == kind)
            frames.append(of_kind.drop("kind"))
            rows += of_kind.height
        batch.append(day)
        if rows >= batch_rows:
            users = _with_days(users, batch, held)
            held, batch, rows = {kind: [] for kind in _KINDS}, [], 0
    return _with_days(users, batch, held) if batch else users


def _with_days(
    users: Users, days: Sequence[dt.date], partials: Mapping[str, Sequence[pl.DataFrame]]
) -> Users:
    own = {
        kind: pl.concat(frames).with_columns(pl.col("app_id").fill_null(NO_APP))
        for kind, frames in partials.items()
    }
    names, apps = (
        _numbered(known, pl.concat([rows.select(name) for rows in own.values()]), number)
        for known, name, number in ((users.names, "user_id", "user"), (users.apps, "app_id", "app"))
    )
    person = ((pl.col("app") + 1) * _APP + pl.col("user")).alias("person")
    turns, spending, ratings, languages = (
        own[kind]
        .join(names, on="user_id", how="left", maintain_order="left")
        .join(apps, on="app_id", how="left", maintain_order="left")
        .drop("user_id", "app_id")
        .with_columns(person)
        for kind in _KINDS
    )
    prices = _numbered(users.prices, spending.select(_PRICED), "price")
    spending = spending.join(prices, on=_PRICED, how="left", nulls_equal=True)
    turns = _sessions_joined(turns, users.totals)
    rows = _with_days_before(pl.concat([turns.drop("user"), _everywhere(turns)]), users.totals)
    return Users(
        days=(*users.days, *days),
        rated=users.rated,
        names=names,
        apps=apps,
        prices=prices,
        totals=_totals(users.totals, rows),
        spending=_summed([users.spending, spending.select(list(_SPENDING))], ["person", "price"]),
        ratings=_summed([users.ratings, ratings.select(list(_RATINGS))], ["person"]),
        languages=_summed([users.languages, languages.select(list(_SAID))], ["person", "label"]),
        recent=pl.concat([users.recent, rows.select("person", "day")]).filter(
            pl.col("day") > days[-1] - dt.timedelta(days=2 * STATUS_DAYS)
        ),
        growth=_summed([users.growth, _growth(rows, apps)], list(_IN_PERIOD)),
        retention=_summed([users.retention, _retention(rows, apps)], [*_IN_PERIOD, "cohort"]),
    )


def _numbered(known: pl.DataFrame, rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return `known` with a number, named `name`, for each of `rows` that it lacks."""
    by = rows.columns
    unseen = rows.unique().join(known, on=by, how="anti", nulls_equal=True)
    numbers = pl.int_range(known.height, known.height + unseen.height, dtype=_NUMBER)
    return pl.concat([known, unseen.with_columns(numbers.alias(name))])


_SAME_PERSON = pl.col("person") == pl.col("person").shift(1)
"""Of rows that are sorted by person."""


def _sessions_joined(turns: pl.DataFrame, totals: pl.DataFrame) -> pl.DataFrame:
    """Sort by person and day; a session that goes on from the day before is one less.

    It was counted on both days. The rows come in the order of days, each of a day and a person.
    """
    before = totals.select("person", pl.col("last_at").alias("before"))
    rows = turns.sort("person", maintain_order=True).join(
        before, on="person", how="left", maintain_order="left"
    )
    before_it = pl.when(_SAME_PERSON).then(pl.col("last_at").shift(1)).otherwise("before")
    silence = (pl.col("first_at") - before_it).dt.total_microseconds()
    goes_on = (silence <= SESSION_GAP_S * _MICROS).fill_null(value=False)
    return rows.select(*_OF_DAY, "user", pl.col("sessions") - goes_on.cast(pl.Int64))


def _everywhere(turns: pl.DataFrame) -> pl.DataFrame:
    """Return a row per user and day over all apps, sorted by both."""
    # One number is grouped and sorted by in half the time of two.
    number = pl.col("user") * _DAY + pl.col("day").to_physical()
    return (
        turns.group_by(number.alias("number"))
        .agg(
            pl.col("user").first().alias("person"),
            pl.col("day").first(),
            pl.col("first_at").min(),
            pl.col("last_at").max(),
            pl.col(_SUMS).sum(),
        )
        .sort("number")
        .with_columns(pl.lit(None, _NUMBER).alias("app"))
        .select(*_OF_DAY, "sessions")
    )


def _with_days_before(rows: pl.DataFrame, totals: pl.DataFrame) -> pl.DataFrame:
    """Add the person's first day of all, and the one before the row's, which may be null.

    Args:
        rows: the rows of a person stand together, sorted by day.
        totals: of the days before.
    """
    known = totals.select("person", "first_day", pl.col("last_day").alias("day_before"))
    rows = rows.join(known, on="person", how="left", maintain_order="left").with_columns(
        pl.when(_SAME_PERSON)
        .then(pl.col("day").shift(1))
        .otherwise("day_before")
        .alias("day_before")
    )
    first = pl.when(pl.col("day_before").is_null()).then("day").otherwise("first_day")
    return rows.with_columns(first.forward_fill().alias("first_day"))


def _totals(totals: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    new = rows.with_columns(
        pl.col("day").alias("last_day"), pl.lit(1, pl.Int64()).alias("active_days")
    )
    return (
        pl.concat([totals, new.select(list(_TOTALS))])
        .group_by("person")
        .agg(
            pl.col("first_day", "first_at").min(),
            pl.col("last_day", "last_at").max(),
            pl.col("active_days", *_SUMS).sum(),
        )
        .select(list(_TOTALS))
    )


def _enters(unit: Period) -> pl.Expr:
    """Say whether a row is the person's first one in its period."""
    start, before = (pl.col(name).dt.truncate(EVERY[unit]) for name in ("day", "day_before"))
    return before.is_null() | (before < start)


def _growth(rows: pl.DataFrame, apps: pl.DataFrame) -> pl.DataFrame:
    # The rows are gone through once, whatever the units.
    pairs = rows.group_by("app", "day", "day_before").agg(pl.len().cast(pl.Int64).alias("persons"))
    counted = []
    for unit in GROWTH_UNITS:
        start, before = (pl.col(name).dt.truncate(EVERY[unit]) for name in ("day", "day_before"))
        of_before = before == start.dt.offset_by(f"-{EVERY[unit]}")
        persons = pl.col("persons")
        counted.append(
            pairs.filter(_enters(unit))
            .group_by("app", start.alias("start"))
            .agg(
                pl.lit(unit.value).alias("unit"),
                persons.sum().alias("active"),
                persons.filter(pl.col("day_before").is_null()).sum().alias("new"),
                persons.filter(of_before).sum().alias("returning"),
            )
        )
    return pl.concat(counted).join(apps, on="app", how="left").select(list(_GROWTH))


def _retention(rows: pl.DataFrame, apps: pl.DataFrame) -> pl.DataFrame:
    later = (pl.col("day") - pl.col("first_day")).dt.total_days()
    counted = []
    for unit in COHORT_UNITS:
        # Of a year there would be 66,000 pairs of days.
        told = later.is_in(DAYS_LATER) if unit is Period.DAY else _enters(unit)
        start, cohort = (pl.col(name).dt.truncate(EVERY[unit]) for name in ("day", "first_day"))
        counted.append(
            rows.filter(told)
            .group_by("app", start.alias("start"), cohort.alias("cohort"))
            .agg(pl.lit(unit.value).alias("unit"), pl.len().cast(pl.Int64).alias("users"))
        )
    return pl.concat(counted).join(apps, on="app", how="left").select(list(_RETENTION))


def _summed(frames: Sequence[pl.DataFrame], by: list[str]) -> pl.DataFrame:
    """Add up what is known, by `by`; a sum without any known value is null."""
    columns = frames[0].columns
    names = [name for name in columns if name not in by]
    counted = [pl.col(name).count().alias(f"{name}_known") for name in names]
    sums = pl.concat(frames).group_by(by).agg(pl.col(names).sum(), *counted)
    return sums.with_columns(
        pl.when(pl.col(f"{name}_known") > 0).then(pl.col(name)).alias(name) for name in names
    ).select(columns)


def user_analytics(users: Users) -> pl.DataFrame:
    """Compute the table of users.

    Args:
        users: of all days held. The last one is the day as of which the status is told.

    Returns:
        Schema and row order of `USER_ANALYTICS`.
    """
    if not users.days:
        return USER_ANALYTICS.empty()
    spent = _scoped(users.spending, ["person", "price"])
    priced = spent.join(users.prices, on="price")
    parts = (
        _tokens(spent),
        _costs(priced),
        _models(priced),
        _languages(_scoped(users.languages, ["person", "label"])),
        _scoped(users.ratings, ["person"]),
        _active_recently(users.recent, users.days[-1]),
    )
    table = (
        users.totals.with_columns(
            (pl.col("person") % _APP).alias("user"), (pl.col("person") // _APP - 1).alias("app")
        )
        .join(users.names, on="user")
        .join(users.apps, on="app", how="left")
    )
    for part in parts:
        table = table.join(part, on="person", how="left")
    if users.rated:
        table = table.with_columns(pl.col("likes", "dislikes").fill_null(0))
    since = users.days[-1] - dt.timedelta(days=STATUS_DAYS - 1)
    rated = pl.col("likes") + pl.col("dislikes")
    return USER_ANALYTICS.conform(
        table.with_columns(
            pl.col("first_day").dt.truncate("1w").alias("cohort"),
            pl.when(pl.col("last_day") < since)
            .then(pl.lit("dormant"))
            .when(pl.col("first_day") >= since)
            .then(pl.lit("new"))
            .when(pl.col("before").is_not_null())
            .then(pl.lit("returning"))
            .otherwise(pl.lit("resurrected"))
            .alias("status"),
            (pl.col("likes").cast(MONEY) / pl.when(rated > 0).then(rated.cast(MONEY))).alias(
                "satisfaction"
            ),
        )
    )


def _scoped(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Return the rows of persons of an app, and their sums over all apps."""
    return pl.concat([rows, _summed([rows.with_columns(pl.col("person") % _APP)], by)])


def _active_recently(recent: pl.DataFrame, as_of: dt.date) -> pl.DataFrame:
    """Return whom the `STATUS_DAYS` before the last ones saw: `person`, `before`."""
    last = as_of - dt.timedelta(days=STATUS_DAYS)
    first = last - dt.timedelta(days=STATUS_DAYS - 1)
    return (
        recent.filter(pl.col("day").is_between(first, last))
        .select("person", pl.lit(value=True).alias("before"))
        .unique()
    )


def _tokens(spent: pl.DataFrame) -> pl.DataFrame:
    return _summed([spent.select("person", "message_tokens", "answer_tokens")], ["person"])


def _costs(spent: pl.DataFrame) -> pl.DataFrame:
    paid = (
        _summed([spent.select("person", "currency", "cost")], ["person", "currency"])
        .filter(pl.col("cost").is_not_null())
        .with_columns(
            pl.concat_str(
                _quoted("currency"), pl.lit(': "'), pl.col("cost").cast(pl.String), pl.lit('"')
            ).alias("entry")
        )
        .sort("person", "currency", nulls_last=False)
        .group_by("person", maintain_order=True)
        .agg("entry", pl.col("currency", "cost").first())
    )
    alone = pl.col("entry").list.len() == 1
    return paid.select(
        "person",
        pl.when(alone).then(pl.col("currency")).alias("currency"),
        pl.when(alone).then(pl.col("cost")).alias("cost"),
        pl.concat_str(pl.lit("{"), pl.col("entry").list.join(", "), pl.lit("}")).alias("costs"),
    )


def _models(spent: pl.DataFrame) -> pl.DataFrame:
    used = (
        spent.select("person", MODEL_LABEL.alias("model"))
        .filter(pl.col("model").is_not_null())
        .unique()
        .sort("person", "model")
        .select("person", _quoted("model"))
        .group_by("person", maintain_order=True)
        .agg("model")
    )
    return used.select(
        "person",
        pl.concat_str(pl.lit("["), pl.col("model").list.join(", "), pl.lit("]")).alias("models"),
    )


def _languages(said: pl.DataFrame) -> pl.DataFrame:
    known = (
        said.filter(~pl.col("label").is_in([UNDETERMINED, NO_LANGUAGE]))
        .sort("person", "turns", "label", descending=[False, True, False])
        .group_by("person", maintain_order=True)
        .agg(_quoted("label"))
    )
    texts = pl.col("label").list.join(", ")
    return known.select("person", pl.concat_str(pl.lit("["), texts, pl.lit("]")).alias("languages"))


def _quoted(name: str) -> pl.Expr:
    """Return the texts of a column as JSON strings; null as the empty one."""
    text = pl.col(name).fill_null("")
    encoded = pl.struct(text.alias("t")).struct.json_encode()  # {"t":"..."}
    return encoded.str.slice(5, encoded.str.len_chars() - 6).alias(name)
