"""Reports of weeks and months: merges of daily partials, beside the period before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.metrics import dimension_values, metric_values
from conversation_analytics.core.periods import Period, Span
from conversation_analytics.core.schemas import MONTHLY_REPORT, WEEKLY_REPORT, TableSchema

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from conversation_analytics.core.engine import Engine

PERIOD_REPORTS: Mapping[Period, TableSchema] = {
    Period.WEEK: WEEKLY_REPORT,
    Period.MONTH: MONTHLY_REPORT,
}
_VALUE = ("app_id", "dimension", "label", "metric", "currency")


def period_values(partials: pl.LazyFrame, *, days: int) -> pl.LazyFrame:
    """Compute every metric by app and, where it has them, by model, provider and dimension.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of the days of a period.
        days: days that are held, those without rows included.

    Returns:
        Columns `app_id`, `dimension`, `label`, `metric`, `currency`, `unit`, `value`;
        `dimension` is null in the rows of `metric_values`.
    """
    nothing = pl.lit(None, dtype=pl.String)
    whole = metric_values(partials, days=days).with_columns(
        nothing.alias("dimension"), nothing.alias("label")
    )
    columns = (*_VALUE, "unit", "value")
    return pl.concat([whole.select(columns), dimension_values(partials).select(columns)])


def period_report_plan(
    partials: pl.LazyFrame,
    before: pl.LazyFrame,
    period: Period,
    start: dt.date,
    *,
    days: int | None = None,
    days_before: int | None = None,
) -> pl.LazyFrame:
    """Plan the report of one week or month.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of the days of the period that are there.
        before: the same of the period before.
        period: week or month.
        start: first day of the period.
        days: how many days of the period are there; None: all.
        days_before: the same of the period before.

    Returns:
        Schema of `PERIOD_REPORTS[period]`, rows in no particular order. `previous` is the value
        of the period before, null where it is not known; a value that was known then and is
        not now has a row, too.
    """
    if days is None:
        days = len(period.days_of(start))
    if days_before is None:
        days_before = len(period.days_of(period.before(start)))
    both = _beside(period_values(partials, days=days), period_values(before, days=days_before))
    return both.select(
        pl.lit(start, dtype=pl.Date).alias("start"), *PERIOD_REPORTS[period].polars.names()[1:]
    )


def _beside(now: pl.LazyFrame, then: pl.LazyFrame) -> pl.LazyFrame:
    return now.join(
        then.rename({"value": "previous"}),
        on=[*_VALUE, "unit"], how="full", coalesce=True, nulls_equal=True,
    )  # fmt: skip


def range_report(
    partials: pl.LazyFrame,
    before: pl.LazyFrame,
    span: Span,
    engine: Engine,
    *,
    days: int | None = None,
    days_before: int | None = None,
) -> pl.DataFrame:
    """Compute the report of any days.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of the days that are there.
        before: the same of the days of `span.before()`.
        span: the days.
        engine: computes it.
        days: how many of the days are there; None: all.
        days_before: the same of the days before.

    Returns:
        Schema and row order of `WEEKLY_REPORT`, `start` being the first day.
    """
    every = len(span.days)
    both = _beside(
        period_values(partials, days=every if days is None else days),
        period_values(before, days=len(span.before().days) if days_before is None else days_before),
    )
    start = pl.lit(span.first, dtype=pl.Date).alias("start")
    plan = both.select(start, *WEEKLY_REPORT.polars.names()[1:])
    return WEEKLY_REPORT.conform(engine.collect(plan))


def period_report(
    partials: pl.LazyFrame,
    before: pl.LazyFrame,
    period: Period,
    start: dt.date,
    engine: Engine,
    *,
    days: int | None = None,
    days_before: int | None = None,
) -> pl.DataFrame:
    """Compute the report of one week or month; see `period_report_plan`.

    Args:
        partials: of the period.
        before: of the period before.
        period: week or month.
        start: first day of the period.
        engine: computes it.
        days: how many days of the period are there; None: all.
        days_before: the same of the period before.

    Returns:
        Schema and row order of `PERIOD_REPORTS[period]`.
    """
    plan = period_report_plan(partials, before, period, start, days=days, days_before=days_before)
    return PERIOD_REPORTS[period].conform(engine.collect(plan))
