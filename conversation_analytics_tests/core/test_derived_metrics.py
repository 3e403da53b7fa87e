"""Metrics of packages: their values are those of their formulas over the built-in ones."""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from conversation_analytics.core.derived_metrics import (
    APP_SUMS,
    MONEY_SUMS,
    DerivedMetric,
    derived_metric,
)
from conversation_analytics.core.drill_down import contribution, conversations_sql
from conversation_analytics.core.errors import ExtensionError
from conversation_analytics.core.metrics import (
    BUILT_IN_NAMES,
    DIMENSION_METRICS,
    METRICS_BY_NAME,
    Grain,
    MetricType,
    app_sums,
    dimension_values,
    metric_values,
    metrics_markdown,
    money_sums,
    use_metrics,
)
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.zones import DAILY
from conversation_analytics.sample.source import SampleSource
from conversation_analytics.sample.traffic import SampleTraffic

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = dt.date(2026, 11, 2)
PLAIN = DerivedMetric("mine", "Mine", "units", MetricType.RATE, {"errors": 1}, {"turns": 1})


@pytest.fixture(scope="module")
def partials() -> pl.DataFrame:
    zone = dt.UTC
    start = dt.datetime(2026, 11, 2, tzinfo=zone)
    source = SampleSource(SampleTraffic(turns_per_day=150), DAY, DAY)
    rows = {
        table: type_rows(
            source.read_window(table, start, start + dt.timedelta(days=1)),
            DAILY[table].curated, where=str(table),
        ).frame.lazy()
        for table in SourceTable
    }  # fmt: skip
    return daily_partials(
        rows[SourceTable.CONVERSATIONS], rows[SourceTable.MESSAGES], rows[SourceTable.FEEDBACKS],
        day=DAY,
    ).collect()  # fmt: skip


@pytest.fixture(autouse=True)
def taken_back() -> Iterator[None]:
    yield
    use_metrics(())


def values(frame: pl.LazyFrame) -> dict[tuple[Any, ...], Decimal | None]:
    rows = frame.select(pl.all().exclude("unit", "value"), "value").collect().iter_rows()
    return {row[:-1]: row[-1] for row in rows}


def test_a_metric_said_in_another_way_has_the_same_values(partials: pl.DataFrame) -> None:
    """Each on the right is built in: the oracle compares those with plain Python over the rows."""
    same = {
        "error_rate": ({"errors": 1}, {"turns": 1}),
        "turns_per_conversation": ({"turns": 1}, {"conversations_active": 1}),
        "likes_per_1000_turns": ({"likes": 1000}, {"turns": 1}),
        "rating_coverage": ({"likes": 1, "dislikes": 1}, {"turns": 1}),
        "cost_per_conversation": ({"cost": 1}, {"conversations_active": 1}),
        "output_speed": ({"latency_answer_tokens": 1}, {"latency_sum_s": 1}),
        "daily_active_users": ({"user_days": 1}, {"days": 1}),
        "errors": ({"errors": 1}, {}),
    }
    added = [
        derived_metric(DerivedMetric(f"my_{name}", "t", "u", MetricType.RATE, over, under), "x 1")
        for name, (over, under) in same.items()
    ]
    before = values(metric_values(partials.lazy(), days=1))
    use_metrics(added)
    found = values(metric_values(partials.lazy(), days=1))
    for (app, name, currency), value in found.items():
        if name.startswith("my_"):
            assert value == found[app, name.removeprefix("my_"), currency], name
    mine = {key for key in found if key[1].startswith("my_")}
    assert {key[1] for key in mine} == {f"my_{name}" for name in same}
    assert {key: found[key] for key in found.keys() - mine} == before
    assert sum(value is not None for key, value in found.items() if key in mine) > len(same)


def test_factors_and_signs(partials: pl.DataFrame) -> None:
    metric = derived_metric(
        dataclasses.replace(PLAIN, numerator={"turns": 3, "errors": -2}, denominator={}), "x 1"
    )
    assert metric.formula == "3 * turns - 2 * errors"
    use_metrics([metric])
    found = values(metric_values(partials.lazy(), days=1))
    turns, errors = found[None, "turns", None], found[None, "errors", None]
    assert turns
    assert errors
    assert found[None, "mine", None] == 3 * turns - 2 * errors


def test_every_sum_is_a_column_with_conversations_behind_it(partials: pl.DataFrame) -> None:
    own = partials.lazy().with_columns(pl.col("app_id").fill_null(""))
    apps = app_sums(own, 1)
    columns = {
        Grain.APP: apps.collect_schema().names(),
        Grain.APP_CURRENCY: money_sums(own, apps).collect_schema().names(),
    }
    for sums, grain in ((APP_SUMS, Grain.APP), (MONEY_SUMS, Grain.APP_CURRENCY)):
        assert set(sums) <= set(columns[grain])
        for name, behind in sums.items():
            assert behind in BUILT_IN_NAMES
            under = {"cost": 1} if grain is Grain.APP_CURRENCY else {}
            made = derived_metric(dataclasses.replace(PLAIN, numerator={name: 1},
                                                      denominator=under), "x 1")  # fmt: skip
            assert made.grain is grain
            builtin = METRICS_BY_NAME[behind]
            assert contribution(made) == contribution(builtin)
            assert conversations_sql(made, start=DAY, end=DAY) == conversations_sql(
                builtin, start=DAY, end=DAY
            )


@pytest.mark.parametrize("turns", [0, None], ids=["none", "unknown"])
def test_nothing_to_divide_by_is_unknown(turns: int | None) -> None:
    sums = pl.DataFrame({"errors": [1], "turns": [turns]}, schema_overrides={"turns": pl.Int64})
    assert sums.select(derived_metric(PLAIN, "x 1").expression).item() is None


def test_the_greatest_sums_and_factors_do_not_overflow() -> None:
    over = {"message_tokens": 1_000_000}
    metric = derived_metric(dataclasses.replace(PLAIN, numerator=over), "x 1")
    # A hundred million turns of the most tokens that count: 64 bits do not hold the product.
    sums = pl.DataFrame({"message_tokens": [10**17], "turns": [10**8]})
    assert sums.select(metric.expression).item() == Decimal(10**15)
    # What it is divided by has a place below 10^13.
    sums = pl.DataFrame({"message_tokens": [10**17], "turns": [10**13]})
    assert sums.select(metric.expression).item() is None


def test_a_metric_of_turns_has_values_by_model(partials: pl.DataFrame) -> None:
    of_turns, of_users = (
        derived_metric(dataclasses.replace(PLAIN, name=name, numerator={total: 2}), "x 1")
        for name, total in (("of_turns", "errors"), ("of_users", "active_users"))
    )
    use_metrics([of_turns, of_users])
    assert of_turns in DIMENSION_METRICS
    assert of_users not in DIMENSION_METRICS
    found = values(dimension_values(partials.lazy()))
    models = {key[2] for key in found if key[1] == "model" and key[3] == "of_turns"}
    assert models
    assert "of_users" not in {key[3] for key in found}


def test_a_day_without_rows_has_it_too() -> None:
    use_metrics([derived_metric(PLAIN, "x 1")])
    assert values(metric_values(DAILY_PARTIALS.empty().lazy(), days=1))[None, "mine", None] is None


def test_the_page_of_metrics_has_it() -> None:
    use_metrics([derived_metric(PLAIN, "my-package 1.2")])
    [line] = [line for line in metrics_markdown().splitlines() if line.startswith("| `mine` |")]
    assert "| errors / turns |" in line
    assert "my-package 1.2" in line


def test_two_of_one_name_are_refused() -> None:
    metric = derived_metric(PLAIN, "x 1")
    with pytest.raises(ValueError, match="two metrics have one name"):
        use_metrics([metric, metric])
    assert "mine" not in METRICS_BY_NAME


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "Mine"}, "name: expected lower-case letters"),
        ({"name": "a" * 61}, "at most 60"),
        ({"title": ""}, "title: expected 1 to 200 printable characters"),
        ({"unit": "a|b"}, "unit: expected 1 to 200 printable characters without |, got 'a|b'"),
        ({"type": "share"}, "type: expected a MetricType (count, ratio, money"),
        ({"numerator": {}}, "numerator: expected one sum or more"),
        ({"numerator": {"cost": 1, "turns": 1}}, "there is no sum 'turns' beside cost; there are"),
        ({"numerator": {"latency_p95": 1}}, "there is no sum 'latency_p95'; there are conv"),
        ({"numerator": {"turns": 0}}, "turns: expected a whole factor of at most 1000000, not 0"),
        ({"numerator": {"turns": True}}, "turns: expected a whole factor"),
        ({"denominator": {"turns": 0.5}}, "turns: expected a whole factor"),
    ],
    ids=lambda one: "-".join(f"{k}={v}" for k, v in one.items()) if isinstance(one, dict) else "",
)  # fmt: skip
def test_what_is_no_metric_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ExtensionError) as caught:
        derived_metric(dataclasses.replace(PLAIN, **change), "x 1")
    assert told in str(caught.value)
