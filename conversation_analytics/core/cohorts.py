"""Who comes, stays and comes back: growth by period, and retention by cohort.

Growth accounting after J. Hsu, "Diligence at Social Capital, part 1" (2015): the active users of a
period are new, returning (active in the period before; retained, there) or resurrected (active
before that); those who were active in the period before and are not now have gone dormant
(churned). Retention of day n is the share of the users who came first on a day that has a turn n
days later; of week n the same by ISO weeks.

Users of the first days held count as new: nobody knows of the days before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import APP, MONEY, Column, TableSchema
from conversation_analytics.core.user_analytics import (
    COHORT_UNITS,
    DAYS_LATER,
    EVERY,
    GROWTH_UNITS,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from conversation_analytics.core.user_analytics import Users

USER_GROWTH = TableSchema(
    name="user_growth",
    columns=(
        APP,
        Column("period", pl.String(), "`day`, `week` (ISO) or `month`", required=True,
               low_cardinality=True),
        Column("start", pl.Date(), "first day of the period", required=True),
        Column("complete", pl.Boolean(),
               "whether all of its days are held, and all of the period before it", required=True),
        Column("days_held", pl.Int64(), "days of the period that are held", required=True),
        Column("active", pl.Int64(), "users with a turn"),
        Column("new", pl.Int64(), "active users who were never before"),
        Column("returning", pl.Int64(), "active users who were active in the period before"),
        Column("resurrected", pl.Int64(), "active users who were before, not in the period before"),
        Column("dormant", pl.Int64(), "users of the period before who are not active now"),
    ),
    sort_by=("app_id", "period", "start"),
    description="Growth: the users of one app (or over all apps) in one day, week or month, by "
    "where they come from. Every period of which a day is held, from the app's first one on.",
)  # fmt: skip

USER_COHORTS = TableSchema(
    name="user_cohorts",
    columns=(
        APP,
        Column("unit", pl.String(), "`day` or `week`", required=True, low_cardinality=True),
        Column("cohort", pl.Date(), "day of the first turn, or the Monday of its ISO week",
               required=True),
        Column("later", pl.Int64(),
               f"so many units later: days {', '.join(map(str, DAYS_LATER))}, every week",
               required=True),
        Column("size", pl.Int64(), "users of the cohort"),
        Column("users", pl.Int64(), "those of them who had a turn then"),
        Column("retention", MONEY, "users / size"),
    ),
    sort_by=("app_id", "unit", "cohort", "later"),
    description="Retention: of the users who came first on a day or in a week, how many were there "
    "later. Only days and weeks of which every day is held are told.",
)  # fmt: skip

_LENGTH_DAYS = {Period.DAY: 1, Period.WEEK: 7}


def user_growth(users: Users) -> pl.DataFrame:
    """Compute the growth table.

    Args:
        users: of all days held.

    Returns:
        Schema and row order of `USER_GROWTH`.
    """
    return USER_GROWTH.conform(pl.concat([_growth(users, unit) for unit in GROWTH_UNITS]))


def _growth(users: Users, unit: Period) -> pl.DataFrame:
    counted = users.growth.filter(pl.col("unit") == unit.value).drop("unit")
    first = counted.group_by("app_id").agg(pl.col("start").min().alias("first"))
    counts = ("active", "new", "returning")
    before = pl.col("start").dt.offset_by(f"-{EVERY[unit]}").alias("start")
    active_then = counted.select("app_id", "start", then="active")
    return (
        _held(users.days, unit)
        .join(first, how="cross")
        .filter(pl.col("start") >= pl.col("first"))
        .join(counted, on=["app_id", "start"], how="left", nulls_equal=True)
        .with_columns(before.alias("before"))
        .join(
            active_then, left_on=["app_id", "before"], right_on=["app_id", "start"], how="left",
            nulls_equal=True,
        )
        .with_columns(pl.col(*counts, "then").fill_null(0), pl.lit(unit.value).alias("period"))
        .with_columns(
            (pl.col("active") - pl.col("new") - pl.col("returning")).alias("resurrected"),
            (pl.col("then") - pl.col("returning")).alias("dormant"),
        )
    )  # fmt: skip


def _held(days: Sequence[dt.date], unit: Period) -> pl.DataFrame:
    """Return the periods of which a day is held: `start`, `days_held`, `whole`, `complete`."""
    held: dict[dt.date, int] = {}
    for day in days:
        start = unit.start_of(day)
        held[start] = held.get(start, 0) + 1
    whole = {start: n == len(unit.days_of(start)) for start, n in held.items()}
    return pl.DataFrame(
        {
            "start": list(held),
            "days_held": list(held.values()),
            "whole": list(whole.values()),
            "complete": [
                whole[start] and whole.get(unit.before(start), False) for start in held
            ],
        },
        schema={
            "start": pl.Date(), "days_held": pl.Int64(), "whole": pl.Boolean(),
            "complete": pl.Boolean(),
        },
    )  # fmt: skip


def user_cohorts(users: Users) -> pl.DataFrame:
    """Compute the retention table.

    Args:
        users: of all days held.

    Returns:
        Schema and row order of `USER_COHORTS`.
    """
    if not users.days:
        return USER_COHORTS.empty()
    return USER_COHORTS.conform(pl.concat([_retention(users, unit) for unit in COHORT_UNITS]))


def _retention(users: Users, unit: Period) -> pl.DataFrame:
    seen = users.retention.filter(pl.col("unit") == unit.value)
    sizes = seen.filter(pl.col("start") == pl.col("cohort")).select(
        "app_id", "cohort", size="users"
    )
    days = _LENGTH_DAYS[unit]
    weeks = (pl.lit(users.days[-1]) - pl.col("cohort")).dt.total_days().floordiv(days) + 1
    later = pl.lit(list(DAYS_LATER)) if unit is Period.DAY else pl.int_ranges(0, weeks)
    told = _held(users.days, unit).filter("whole")
    return (
        sizes.with_columns(later.cast(pl.List(pl.Int64())).alias("later"))
        .explode("later", empty_as_null=False)
        .with_columns((pl.col("cohort") + pl.duration(days=pl.col("later") * days)).alias("start"))
        .join(told, on="start", how="semi")
        .join(seen, on=["app_id", "cohort", "start"], how="left", nulls_equal=True)
        .with_columns(pl.col("users").fill_null(0), pl.lit(unit.value).alias("unit"))
        .with_columns((pl.col("users").cast(MONEY) / pl.col("size").cast(MONEY)).alias("retention"))
    )
