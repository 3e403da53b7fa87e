"""Models side by side: one row per app, model and currency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.metrics import (
    MODEL,
    MODEL_METRICS,
    Grain,
    MetricType,
    dimension_values,
)
from conversation_analytics.core.schemas import APP, MONEY, Column, TableSchema

if TYPE_CHECKING:
    import datetime as dt

    from conversation_analytics.core.engine import Engine

MODEL_PERFORMANCE = TableSchema(
    name="model_performance",
    columns=(
        Column("start", pl.Date(), "the day", required=True),
        APP,
        Column("model", pl.String(), "provider/model; null: the source names none",
               low_cardinality=True),
        Column("currency", pl.String(), "currency of the money in this row", low_cardinality=True),
        *(
            Column(metric.name, pl.Int64() if metric.type is MetricType.COUNT else MONEY,
                   f"{metric.formula}; {metric.unit}")
            for metric in MODEL_METRICS
        ),
    ),
    sort_by=("start", "app_id", "model", "currency"),
    description="One model of one app (or of all apps) on one day: models side by side.",
)  # fmt: skip


def model_performance_plan(partials: pl.LazyFrame) -> pl.LazyFrame:
    """Plan what `model_performance` puts side by side: the metrics of every model."""
    return dimension_values(partials).filter(pl.col("dimension") == MODEL)


def model_performance(partials: pl.LazyFrame, start: dt.date, engine: Engine) -> pl.DataFrame:
    """Compute volume, latency, speed, cost, errors and satisfaction of every model.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of a day or any other period.
        start: first day of the period.
        engine: computes the metrics.

    Returns:
        Schema and row order of `MODEL_PERFORMANCE`. A model whose turns have several
        currencies has a row for each, alike but for the money.
    """
    values = engine.collect(model_performance_plan(partials))
    keys = ["app_id", "label"]
    wide = {
        grain: _wide(values, [*keys, *extra], [m.name for m in MODEL_METRICS if m.grain is grain])
        for grain, extra in ((Grain.APP, []), (Grain.APP_CURRENCY, ["currency"]))
    }
    rows = wide[Grain.APP].join(wide[Grain.APP_CURRENCY], on=keys, how="left", nulls_equal=True)
    return MODEL_PERFORMANCE.conform(
        rows.rename({"label": "model"}).with_columns(start=pl.lit(start, dtype=pl.Date))
    )


def _wide(values: pl.DataFrame, keys: list[str], metrics: list[str]) -> pl.DataFrame:
    return values.filter(pl.col("metric").is_in(metrics)).group_by(keys).agg(
        pl.col("value").filter(pl.col("metric") == name).first().cast(MONEY).alias(name)
        for name in metrics
    )  # fmt: skip
