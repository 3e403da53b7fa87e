"""Latency sketches: counts in buckets that grow by 2%, so that percentiles can be merged.

A positive value x falls into bucket ceil(ln x / ln 1.02); the null bucket counts values
of 0 and below. Counts of equal buckets are added up, whatever days or apps they come
from, and every percentile of the merged counts is within 1% of the exact one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conversation_analytics.core.engine import Engine

GROWTH = 1.02
_LN_GROWTH = math.log(GROWTH)
_ZERO_BUCKET = -(2**40)  # sorts the null bucket before every real one


def bucket(value: pl.Expr) -> pl.Expr:
    """Return the bucket of a Float64 expression: Int64, null for values of 0 and below.

    Unknown and non-finite values must be filtered out before: they would count as 0.
    """
    # The guard stands inside the logarithm: both branches of when/then are computed, and
    # the cast of ln 0 = -inf would fail.
    return (pl.when(value > 0).then(value).log() / _LN_GROWTH).ceil().cast(pl.Int64)


def bucket_value(index: pl.Expr) -> pl.Expr:
    """Return the value that stands for a bucket: Float64, 0 for the null bucket.

    It is 2 * 1.02^b / 2.02, at most 0.99% away from either end of (1.02^(b-1), 1.02^b].
    """
    middle = (index.cast(pl.Float64) * _LN_GROWTH).exp() * (2 / (1 + GROWTH))
    return pl.when(index.is_null()).then(0.0).otherwise(middle)


def quantiles(
    sketch: pl.LazyFrame, by: Sequence[str], per_mille: Mapping[str, int]
) -> pl.LazyFrame:
    """Compute quantiles by nearest rank: the value of rank ceil(q * n), ranks from 1.

    Args:
        sketch: columns `by`, `bucket` Int64 and `turns` Int64 (values in the bucket); equal
            buckets may occur several times.
        by: the columns that tell sketches apart; their nulls are a group of their own.
        per_mille: name of each new column, and its quantile in thousandths (1 to 1000).

    Returns:
        Columns `by`, then one Float64 column per quantile, one row per group that has values.
    """
    counts = (
        sketch.group_by(*by, "bucket")
        .agg(pl.col("turns").sum())
        .filter(pl.col("turns") > 0)
        .with_columns(pl.col("bucket").fill_null(_ZERO_BUCKET))
        .with_columns(
            pl.col("turns").cum_sum().over(by, order_by="bucket").alias("rank"),
            pl.col("turns").sum().over(by).alias("values"),
        )
    )
    # Whole numbers, because 0.07 * 100 is a little above 7.
    found = counts.group_by(by).agg(
        pl.when(pl.col("rank") >= (pl.col("values") * q + 999) // 1000)
        .then(pl.col("bucket"))
        .min()
        .alias(name)
        for name, q in per_mille.items()
    )
    return found.with_columns(
        bucket_value(pl.when(pl.col(name) > _ZERO_BUCKET).then(pl.col(name))).alias(name)
        for name in per_mille
    )


def quantile(buckets: pl.DataFrame, q: float, engine: Engine) -> float | None:
    """Return one quantile of one sketch, in the unit of its values; None without values.

    Args:
        buckets: columns `bucket` Int64 and `turns` Int64.
        q: above 0 and at most 1, in steps of a thousandth.
        engine: computes it.

    Raises:
        ValueError: q is outside (0, 1].
    """
    if not 0 < q <= 1:
        raise ValueError(f"quantile: expected 0 < q <= 1, got {q}")
    sketch = buckets.lazy().select(pl.lit(0).alias("sketch"), "bucket", "turns")
    plan = quantiles(sketch, ["sketch"], {"value": max(1, round(q * 1000))})
    rows = engine.collect(plan)
    return float(rows["value"][0]) if rows.height else None
