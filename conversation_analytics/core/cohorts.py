"""Who comes, stays and comes back: growth by period, and retention by cohort.

Growth accounting after J. Hsu, "Diligence at Social Capital, part 1" (2015): the active users of a
period are new, returning (active in the period before) or resurrected (active before that); those
who were active in the period before and are not now have gone dormant. Retention of day n is the
share of the users who came first on a day that has a turn n days later; of week n the same by ISO
weeks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import APP, MONEY, Column, TableSchema
from conversation_analytics.core.user_analytics import scoped

if TYPE_CHECKING:
    import datetime as dt

    from conversation_analytics.core.user_analytics import Users

USER_GROWTH = TableSchema(
    name="user_growth",
    columns=(
        APP,
        Column("period", pl.String(), "`week` (ISO) or `month`", required=True,
               low_cardinality=True),
        Column("start", pl.Date(), "first day of the period", required=True),
        Column("complete", pl.Boolean(), "whether its last day is held", required=True),
        Column("active", pl.Int64(), "users with a turn"),
        Column("new", pl.Int64(), "active users who were never before"),
        Column("returning", pl.Int64(), "active users who were active in the period before"),
        Column("resurrected", pl.Int64(), "active users who were before, not in the period before"),
        Column("dormant", pl.Int64(), "users of the period before who are not active now"),
    ),
    sort_by=("app_id", "period", "start"),
    description="Growth: the users of one app (or over all apps) in one week or month, by where "
    "they come from. Every period from the app's first one to the last day held.",
)  # fmt: skip

USER_COHORTS = TableSchema(
    name="user_cohorts",
    columns=(
        APP,
        Column("unit", pl.String(), "`day` or `week`", required=True, low_cardinality=True),
        Column("cohort", pl.Date(), "day of the first turn, or the Monday of its ISO week",
               required=True),
        Column("later", pl.Int64(), "so many days or weeks later", required=True),
        Column("size", pl.Int64(), "users of the cohort"),
        Column("users", pl.Int64(), "those of them who had a turn then"),
        Column("retention", MONEY, "users / size"),
    ),
    sort_by=("app_id", "unit", "cohort", "later"),
    description="Retention: of the users who came first on a day or in a week, how many were there "
    "later. Only days and weeks that are over are told.",
)  # fmt: skip

DAYS_LATER = (1, 7, 30)
_EVERY = {Period.DAY: "1d", Period.WEEK: "1w", Period.MONTH: "1mo"}
_LENGTH_DAYS = {Period.DAY: 1, Period.WEEK: 7}
_USER = ["app_id", "user"]


def _active(users: Users, every: str) -> pl.DataFrame:
    """Return `app_id`, `user` (a number), `start`: once for each period with a turn."""
    people = scoped(users).with_columns(pl.col("user_id").rank("dense").alias("user"))
    return (
        people.select("person", *_USER)
        .join(users.days, on="person")
        .select(*_USER, pl.col("day").dt.truncate(every).alias("start"))
        .unique()
    )


def user_growth(users: Users, as_of: dt.date) -> pl.DataFrame:
    """Compute the growth table.

    Args:
        users: of all days held.
        as_of: the last day held.

    Returns:
        Schema and row order of `USER_GROWTH`.
    """
    return USER_GROWTH.conform(
        pl.concat([_growth(users, as_of, period) for period in (Period.WEEK, Period.MONTH)])
    )


def _growth(users: Users, as_of: dt.date, period: Period) -> pl.DataFrame:
    every = _EVERY[period]
    before = pl.col("start").shift(1).over(_USER, order_by="start")
    counted = (
        _active(users, every)
        .with_columns(before.alias("before"))
        .group_by("app_id", "start")
        .agg(
            pl.len().cast(pl.Int64).alias("active"),
            pl.col("before").is_null().sum().cast(pl.Int64).alias("new"),
            (pl.col("before") == pl.col("start").dt.offset_by(f"-{every}"))
            .sum()
            .cast(pl.Int64)
            .alias("returning"),
        )
    )
    last = period.start_of(as_of)
    spine = (
        counted.group_by("app_id")
        .agg(pl.col("start").min())
        .with_columns(pl.date_ranges("start", pl.lit(last), every).alias("start"))
        .explode("start", empty_as_null=False)
    )
    counts = ("active", "new", "returning")
    return (
        spine.join(counted, on=["app_id", "start"], how="left", nulls_equal=True)
        .with_columns(pl.col(*counts).fill_null(0))
        .with_columns(
            pl.lit(period.value).alias("period"),
            (pl.col("start").dt.offset_by(every).dt.offset_by("-1d") <= as_of).alias("complete"),
            (pl.col("active") - pl.col("new") - pl.col("returning")).alias("resurrected"),
            (
                pl.col("active").shift(1).over("app_id", order_by="start").fill_null(0)
                - pl.col("returning")
            ).alias("dormant"),
        )
    )


def user_cohorts(users: Users, as_of: dt.date) -> pl.DataFrame:
    """Compute the retention table.

    Args:
        users: of all days held.
        as_of: the last day held.

    Returns:
        Schema and row order of `USER_COHORTS`.
    """
    weeks_over = (pl.lit(as_of) - pl.col("cohort")).dt.total_days().add(1).floordiv(7)
    return USER_COHORTS.conform(
        pl.concat(
            [
                _retention(users, as_of, Period.DAY, pl.lit(list(DAYS_LATER))),
                _retention(users, as_of, Period.WEEK, pl.int_ranges(0, weeks_over)),
            ]
        )
    )


def _retention(users: Users, as_of: dt.date, unit: Period, later: pl.Expr) -> pl.DataFrame:
    days = _LENGTH_DAYS[unit]
    active = _active(users, _EVERY[unit])
    firsts = active.group_by(_USER).agg(pl.col("start").min().alias("cohort"))
    sizes = firsts.group_by("app_id", "cohort").agg(pl.len().cast(pl.Int64).alias("size"))
    seen = (
        active.join(firsts, on=_USER, nulls_equal=True)
        .with_columns(
            (pl.col("start") - pl.col("cohort")).dt.total_days().floordiv(days).alias("later")
        )
        .group_by("app_id", "cohort", "later")
        .agg(pl.len().cast(pl.Int64).alias("users"))
    )
    end = pl.col("cohort") + pl.duration(days=(pl.col("later") + 1) * days - 1)
    return (
        sizes.with_columns(later.cast(pl.List(pl.Int64())).alias("later"))
        .explode("later", empty_as_null=False)
        .filter(end <= as_of)
        .join(seen, on=["app_id", "cohort", "later"], how="left", nulls_equal=True)
        .with_columns(pl.col("users").fill_null(0), pl.lit(unit.value).alias("unit"))
        .with_columns((pl.col("users").cast(MONEY) / pl.col("size").cast(MONEY)).alias("retention"))
    )
