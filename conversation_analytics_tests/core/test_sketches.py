import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.sketches import bucket, bucket_value, quantile, quantiles

positive = st.floats(1e-9, 1e9)


def sketch(values: list[float]) -> pl.DataFrame:
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float64})
    return frame.select(bucket(pl.col("x")).alias("bucket"), pl.lit(1, pl.Int64).alias("turns"))


@settings(deadline=None, max_examples=40)
@given(positive)
def test_a_bucket_stands_for_its_values_within_one_percent(x: float) -> None:
    index = sketch([x])["bucket"][0]
    value = pl.select(bucket_value(pl.lit(index, pl.Int64))).item()
    assert abs(value - x) <= 0.01 * x


def test_the_bucket_is_the_ceiling_of_the_logarithm() -> None:
    values = [0.001, 0.5, 1.0, 1.01, 1.03, 42.0, 5e-324, 1e300]
    expected = [math.ceil(math.log(x) / math.log(1.02)) for x in values]
    assert sketch(values)["bucket"].to_list() == expected


@pytest.mark.parametrize("x", [0.0, -0.0, -3.5])
def test_zero_and_below_fall_into_the_null_bucket_and_count_as_zero(x: float) -> None:
    counted = sketch([x, x, 5.0])
    assert counted["bucket"].null_count() == 2
    assert quantile(counted, 0.5, engine=CPU) == 0.0
    assert quantile(counted, 1.0, engine=CPU) == pytest.approx(5.0, rel=0.01)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.just(0.0) | positive, min_size=1, max_size=60), st.integers(1, 1000))
def test_a_quantile_is_within_one_percent_of_the_nearest_rank(values: list[float], q: int) -> None:
    exact = sorted(values)[-(-q * len(values) // 1000) - 1]
    assert quantile(sketch(values), q / 1000, engine=CPU) == pytest.approx(exact, rel=0.01, abs=0)


@settings(deadline=None, max_examples=40)
@given(st.lists(positive, max_size=20), st.lists(positive, min_size=1, max_size=20))
def test_sketches_merge_by_concatenation(left: list[float], right: list[float]) -> None:
    merged = pl.concat([sketch(left), sketch(right)])
    assert quantile(merged, 0.9, engine=CPU) == quantile(sketch(left + right), 0.9, engine=CPU)


def test_an_empty_sketch_has_no_quantile() -> None:
    assert quantile(sketch([]), 0.5, engine=CPU) is None
    no_values = pl.DataFrame({"bucket": [3], "turns": [0]})
    assert quantile(no_values, 0.5, engine=CPU) is None


@pytest.mark.parametrize("q", [0.0, -0.1, 1.1])
def test_a_quantile_outside_its_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="expected 0 < q <= 1"):
        quantile(sketch([1.0]), q, engine=CPU)


def test_groups_are_kept_apart_and_a_null_key_is_a_group() -> None:
    frame = pl.LazyFrame(
        {"app": ["a", "a", None], "bucket": [0, 100, None], "turns": [1, 3, 2]},
    )
    found = quantiles(frame, ["app"], {"low": 250, "high": 500}).sort("app").collect()
    assert found["app"].to_list() == [None, "a"]
    assert found["low"].to_list() == [0.0, pytest.approx(1.0, rel=0.01)]
    assert found["high"].to_list() == [0.0, pytest.approx(1.02**100, rel=0.01)]


def test_the_bounds_of_a_measured_time_have_buckets_within_one_percent() -> None:
    bounds = [5e-324, 1e-300, 1e-9, 1.0, 9.99e8]
    indexes = sketch(bounds)["bucket"]
    assert indexes.null_count() == 0
    assert indexes.is_sorted()
    found = pl.select(bucket_value(pl.lit(indexes[1:]))).to_series().to_list()
    assert found == [pytest.approx(bound, rel=0.01, abs=0) for bound in bounds[1:]]
