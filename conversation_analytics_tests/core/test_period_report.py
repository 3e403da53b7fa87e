"""Reports of weeks and months against the oracle over the rows of their days."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.metrics import METRICS, MODEL, PROVIDER
from conversation_analytics.core.partials import PartialOptions, partials_of_days
from conversation_analytics.core.period_report import (
    PERIOD_REPORTS,
    period_report,
    range_report,
)
from conversation_analytics.core.periods import Period, Span
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics_tests.core.metric_rows import (
    MARKERS,
    conversation,
    conversation_rows,
    feedback_rows,
    message_rows,
    partials_of,
    turn,
)
from conversation_analytics_tests.engines import STREAMING, Noting
from conversation_analytics_tests.oracles import metrics_oracle
from conversation_analytics_tests.oracles.metrics_oracle import local_day

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = dict[str, Any]
ZONE = "America/New_York"  # clocks go forward on 2026-03-08
OPTIONS = PartialOptions(ZONE, MARKERS)
NOTHING = DAILY_PARTIALS.empty().lazy()
PERCENT = Decimal("0.011")  # of the sketches, and of rounding to seven places


def moved(rows: list[Row], shifts: Sequence[int]) -> list[Row]:
    """Spread the rows, which are of one day, over the days after it."""
    return [
        {**row, "created_at": row["created_at"] + dt.timedelta(days=shifts[n % len(shifts)])}
        for n, row in enumerate(rows)
    ]


def merged(days: Sequence[dt.date], *tables: list[Row] | None) -> pl.LazyFrame:
    """Merge the partials of each of the days, as the platform makes and stores them."""

    def of_day(day: dt.date) -> pl.DataFrame:
        conversations, messages, feedbacks = (
            None if rows is None else [row for row in rows if local_day(row, ZONE) == day]
            for rows in tables
        )
        plan = partials_of(conversations or [], messages or [], feedbacks, day=day, options=OPTIONS)
        return DAILY_PARTIALS.conform(plan.collect())

    return partials_of_days(of_day(day) for day in days)


@settings(max_examples=40)
@given(
    conversations=conversation_rows,
    messages=message_rows,
    feedbacks=feedback_rows,
    shifts=st.lists(st.integers(0, 13), min_size=1, max_size=5),
)
def test_a_week_beside_the_week_before_is_what_their_rows_say(
    conversations: list[Row],
    messages: list[Row],
    feedbacks: list[Row] | None,
    shifts: list[int],
) -> None:
    start = dt.date(2026, 3, 9)
    week, before = (Period.WEEK.days_of(one) for one in (start, Period.WEEK.before(start)))
    rows = [
        None if some is None else moved(some, [2 + shift for shift in shifts])
        for some in (conversations, messages, feedbacks)
    ]
    report = period_report(
        merged(week, *rows), merged(before, *rows), Period.WEEK, start, engine=CPU
    )
    whole = report.filter(pl.col("dimension").is_null())
    for column, days in (("value", week), ("previous", before)):
        told = {
            (app, metric, currency): value
            for app, metric, currency, value in whole.select(
                "app_id", "metric", "currency", column
            ).iter_rows()
        }
        for key, expected in oracle(days, *rows).items():
            assert agree(told.get(key), expected), (column, key)


def oracle(days: Sequence[dt.date], *tables: list[Row] | None) -> dict[Any, Any]:
    conversations, messages, feedbacks = (
        None if rows is None else [dict(row) for row in rows if local_day(row, ZONE) in days]
        for rows in tables
    )
    return metrics_oracle.report(
        conversations or [], messages or [], feedbacks,
        days=len(days), zone=ZONE, markers=MARKERS,
    )  # fmt: skip


def agree(told: Decimal | None, expected: Any) -> bool:
    if told is None or expected is None:
        return told is None and expected is None
    if isinstance(expected, float):
        return abs(told - Decimal(expected)) <= PERCENT * abs(Decimal(expected)) + Decimal("1e-6")
    return bool(told == expected)


@pytest.mark.parametrize("period", PERIOD_REPORTS)
def test_the_report_has_schema_and_order_of_its_table(period: Period) -> None:
    start = period.start_of(dt.date(2026, 3, 9))
    now = partials_of([conversation()], [turn(app_id=app) for app in ("b", "a")], day=start)
    report = period_report(now, NOTHING, period, start, engine=CPU)
    schema = PERIOD_REPORTS[period]
    assert report.schema == schema.polars
    assert_frame_equal(report, schema.conform(report))
    assert report.select(schema.sort_by).is_unique().all()
    assert report["start"].unique().to_list() == [start]


def test_an_app_of_the_week_before_that_is_silent_now_is_in_the_report() -> None:
    before = partials_of([], [turn(app_id="gone", conversation_id="c")])
    report = period_report(NOTHING, before, Period.WEEK, dt.date(2026, 3, 2), engine=CPU)
    gone = report.filter((pl.col("app_id") == "gone") & pl.col("dimension").is_null())
    row = gone.row(by_predicate=pl.col("metric") == "turns", named=True)
    assert (row["value"], row["previous"], row["unit"]) == (None, Decimal(1), "turns")
    assert {metric.name for metric in METRICS} == set(gone["metric"])


def test_models_and_providers_have_rows_of_their_own_that_add_up_to_the_app() -> None:
    turns = [
        turn(id=str(n), model_provider=provider, model_id=model)
        for n, (provider, model) in enumerate(
            [("openai", "small"), ("openai", "large"), ("openai", "large"), (None, None)]
        )
    ]
    report = period_report(
        partials_of([], turns), NOTHING, Period.MONTH, dt.date(2026, 3, 1), engine=CPU
    )
    counted = report.filter((pl.col("metric") == "turns") & (pl.col("app_id") == "support"))

    def of(dimension: str) -> dict[str | None, Decimal]:
        rows = counted.filter(pl.col("dimension") == dimension)
        return dict(rows.select("label", "value").iter_rows())

    assert of(MODEL) == {"openai/large": 2, "openai/small": 1, None: 1}
    assert of(PROVIDER) == {"openai": 3, None: 1}


@pytest.mark.parametrize("start", [dt.date(2026, 3, 2), dt.date(2026, 3, 9)])
def test_the_report_of_any_seven_days_is_the_week_of_them(start: dt.date) -> None:
    now = partials_of([conversation()], [turn(), turn(user_id="u2")], day=start)
    before = partials_of([], [turn(app_id="other")], day=start - dt.timedelta(days=3))
    week = period_report(now, before, Period.WEEK, start, engine=CPU)
    span = Span(start, Period.WEEK.end_of(start))
    assert_frame_equal(range_report(now, before, span, engine=CPU), week, check_exact=True)


def test_users_per_day_are_of_the_days_that_are_held() -> None:
    start = dt.date(2026, 3, 9)  # a week that has begun, after one of which no day is held
    now = partials_of([], [turn(user_id="u1"), turn(user_id="u2")], day=start)
    span = Span(start, Period.WEEK.end_of(start))
    for report in (
        period_report(now, NOTHING, Period.WEEK, start, days=2, days_before=0, engine=CPU),
        range_report(now, NOTHING, span, days=2, days_before=0, engine=CPU),
    ):
        told = {
            row["metric"]: (row["value"], row["previous"])
            for row in report.filter(pl.col("app_id") == "support").to_dicts()
            if row["dimension"] is None
        }
        assert told["active_users"] == (2, None)
        assert told["daily_active_users"] == (1, None)
        assert told["stickiness"] == (Decimal("0.5"), None)


def test_the_caller_chooses_the_engine() -> None:
    partials = partials_of([conversation()], [turn(), turn(user_id=None)])
    start = dt.date(2026, 3, 1)
    streaming = Noting(STREAMING)
    plain, streamed = (
        period_report(partials, NOTHING, Period.MONTH, start, engine) for engine in (CPU, streaming)
    )
    assert len(streaming.plans) == 1
    assert_frame_equal(plain, streamed, check_exact=True)
