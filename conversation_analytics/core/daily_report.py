"""The daily report: every metric of the registry, for each app and over all apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.metrics import metric_values
from conversation_analytics.core.schemas import DAILY_REPORT

if TYPE_CHECKING:
    import datetime as dt

    from conversation_analytics.core.engine import Engine


def daily_report_plan(partials: pl.LazyFrame, day: dt.date) -> pl.LazyFrame:
    """Plan the report of one day.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of that day.
        day: calendar day in the analytics time zone.

    Returns:
        Schema `schemas.DAILY_REPORT`, rows in no particular order. `app_id` is null in the
        rows over all apps and `metrics.NO_APP` ('') for rows whose source names no app. A day
        without rows has the rows over all apps: counts 0, everything else null.
    """
    return metric_values(partials, days=1).select(
        pl.lit(day, dtype=pl.Date).alias("day"), *DAILY_REPORT.polars.names()[1:]
    )


def daily_report(partials: pl.LazyFrame, day: dt.date, engine: Engine) -> pl.DataFrame:
    """Compute the report of one day; see `daily_report_plan`.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of that day.
        day: calendar day in the analytics time zone.
        engine: computes it.

    Returns:
        Schema and row order of `schemas.DAILY_REPORT`.
    """
    return DAILY_REPORT.conform(engine.collect(daily_report_plan(partials, day)))
