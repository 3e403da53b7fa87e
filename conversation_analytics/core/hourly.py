"""Turns by local hour, from the partials of the kind `hours`."""

from __future__ import annotations

import polars as pl

_HOURS_A_DAY = 24


def hours_of_week(partials: pl.DataFrame) -> pl.DataFrame:
    """Count the turns of each local hour of the week, over all apps.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of any days.

    Returns:
        Columns `bucket` Int64 (24 * weekday + hour, Monday 0; only those with turns, ascending) and
        `turns` Int64. The hour that a clock change repeats counts both.
    """
    of_hours = partials.filter(pl.col("kind") == "hours")
    return of_hours.group_by("bucket").agg(pl.col("turns").sum()).sort("bucket")


def hourly_turns(partials: pl.DataFrame) -> pl.DataFrame:
    """Count the turns of each local hour of the day, as `hours_of_week`.

    Returns:
        Columns `hour` Int64 (0 to 23, only hours with turns, ascending) and `turns` Int64.
    """
    of_day = hours_of_week(partials).with_columns(hour=pl.col("bucket") % _HOURS_A_DAY)
    return of_day.group_by("hour").agg(pl.col("turns").sum()).sort("hour")
