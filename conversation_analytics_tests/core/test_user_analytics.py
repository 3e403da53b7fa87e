"""Users, growth and cohorts, folded from partials, against plain Python over the rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.cohorts import (
    USER_COHORTS,
    USER_GROWTH,
    user_cohorts,
    user_growth,
)
from conversation_analytics.core.partials import PartialOptions
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.core.user_analytics import (
    USER_ANALYTICS,
    Users,
    nobody,
    user_analytics,
    users_of_days,
)
from conversation_analytics_tests.core.metric_rows import (
    DAY,
    feedback_rows,
    message_rows,
    partials_of,
    turn,
)
from conversation_analytics_tests.core.test_period_report import moved
from conversation_analytics_tests.oracles import users_oracle
from conversation_analytics_tests.oracles.metrics_oracle import local_day

Row = dict[str, Any]
ZONE = "America/New_York"  # clocks go forward on 2026-03-08
OPTIONS = PartialOptions(ZONE)


def folded(messages: list[Row], feedbacks: list[Row] | None = None) -> Users:
    """Fold the partials of each day that has rows, as the platform makes and stores them."""
    every = [*messages, *(feedbacks or [])]

    def of_day(day: dt.date) -> pl.DataFrame:
        turns, ratings = (
            None if rows is None else [row for row in rows if local_day(row, ZONE) == day]
            for rows in (messages, feedbacks)
        )
        plan = partials_of([], turns or [], ratings, day=day, options=OPTIONS)
        return DAILY_PARTIALS.conform(plan.collect())

    return users_of_days(map(of_day, sorted({local_day(row, ZONE) for row in every})))


several_days = st.lists(st.integers(0, 45), min_size=1, max_size=8)
late = st.integers(45, 60).map(lambda days: DAY + dt.timedelta(days=days))


@settings(max_examples=40, deadline=None)
@given(messages=message_rows, feedbacks=feedback_rows, shifts=several_days, as_of=late)
def test_users_growth_and_retention_are_what_the_rows_say(
    messages: list[Row], feedbacks: list[Row] | None, shifts: list[int], as_of: dt.date
) -> None:
    messages = moved(messages, shifts)
    if feedbacks is not None:
        raters = ["u1", None, "u2"]
        feedbacks = [
            {**row, "user_id": raters[n % 3]} for n, row in enumerate(moved(feedbacks, shifts))
        ]
    users = folded(messages, feedbacks)

    table = user_analytics(users, as_of)
    assert table.schema == USER_ANALYTICS.polars
    told = {(row.pop("app_id"), row.pop("user_id")): users_oracle.read(row)
            for row in table.to_dicts()}  # fmt: skip
    assert told == users_oracle.users(messages, feedbacks, as_of, ZONE)

    growth = user_growth(users, as_of)
    assert growth.schema == USER_GROWTH.polars
    for period in ("week", "month"):
        of_period = growth.filter(pl.col("period") == period).drop("period").to_dicts()
        told_growth = {(row.pop("app_id"), row.pop("start")): row for row in of_period}
        assert told_growth == users_oracle.growth(messages, as_of, ZONE, period)

    cohorts = user_cohorts(users, as_of)
    assert cohorts.schema == USER_COHORTS.polars
    keys = ("app_id", "unit", "cohort", "later")
    told_cohorts = {
        tuple(row[key] for key in keys): (row["size"], row["users"]) for row in cohorts.to_dicts()
    }
    assert told_cohorts == users_oracle.retention(messages, as_of, ZONE)


@settings(max_examples=15, deadline=None)
@given(messages=message_rows, shifts=several_days, seed=st.randoms())
def test_the_order_of_rows_changes_no_byte(
    messages: list[Row], shifts: list[int], seed: Any
) -> None:
    messages = moved(messages, shifts)
    other = list(messages)
    seed.shuffle(other)
    as_of = DAY + dt.timedelta(days=50)
    for table in (user_analytics, user_growth, user_cohorts):
        one, two = (table(folded(rows), as_of) for rows in (messages, other))
        assert_frame_equal(one, two, check_exact=True)


def test_nobody_is_in_no_table() -> None:
    as_of = DAY
    assert_frame_equal(user_analytics(nobody(), as_of), USER_ANALYTICS.empty())
    assert_frame_equal(user_growth(nobody(), as_of), USER_GROWTH.empty())
    assert_frame_equal(user_cohorts(nobody(), as_of), USER_COHORTS.empty())


def test_a_user_of_two_currencies_has_both_and_no_single_cost() -> None:
    rows = [turn(id="1"), turn(id="2", currency="EUR", total_price=Decimal(2))]
    table = user_analytics(folded(rows), DAY).filter(pl.col("app_id").is_null())
    assert table.select("currency", "cost", "costs", "models").rows() == [
        (None, None, '{"EUR": 2.0000000, "USD": 0.0100000}', '["openai/small"]')
    ]


def test_a_week_in_which_nobody_was_there_is_told() -> None:
    week = dt.timedelta(days=7)
    first = turn(created_at=turn()["created_at"] + dt.timedelta(hours=12))
    again = {**first, "id": "2", "created_at": first["created_at"] + 2 * week}
    growth = user_growth(folded([first, again]), DAY + 2 * week + dt.timedelta(days=6))
    overall = growth.filter(pl.col("app_id").is_null() & (pl.col("period") == "week"))
    columns = ("active", "new", "returning", "resurrected", "dormant")
    assert overall.select(columns).rows() == [
        (1, 1, 0, 0, 0), (0, 0, 0, 0, 1), (1, 0, 0, 1, 0), (0, 0, 0, 0, 1),
    ]  # fmt: skip
