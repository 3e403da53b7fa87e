"""Growth and retention, folded from partials, against plain Python over the rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from conversation_analytics.core.cohorts import (
    USER_COHORTS,
    USER_GROWTH,
    user_cohorts,
    user_growth,
)
from conversation_analytics.core.user_analytics import nobody
from conversation_analytics_tests.core.metric_rows import turn
from conversation_analytics_tests.core.user_days import Held, Row, held_days, holding
from conversation_analytics_tests.oracles import users_oracle
from conversation_analytics_tests.oracles.metrics_oracle import quotient

if TYPE_CHECKING:
    from conversation_analytics.core.user_analytics import Users

MONDAY = dt.date(2026, 3, 2)
WEEK = dt.timedelta(days=7)


def on(day: dt.date, **columns: object) -> Row:
    """Return a turn at noon of a day."""
    return turn(created_at=dt.datetime.combine(day, dt.time(12), dt.UTC), **columns)


def growth_of(users: Users, period: str) -> list[tuple[int, ...]]:
    """Return the counts over all apps, period after period."""
    counts = ("active", "new", "returning", "resurrected", "dormant")
    return (
        user_growth(users)
        .filter(pl.col("app_id").is_null() & (pl.col("period") == period))
        .select(counts)
        .rows()
    )


@settings(max_examples=30, deadline=None)
@given(held=held_days())
def test_growth_and_retention_are_what_the_rows_say(held: Held) -> None:
    users = held.users()
    growth = user_growth(users)
    assert growth.schema == USER_GROWTH.polars
    assert_frame_equal(growth, USER_GROWTH.conform(growth))
    for unit in ("day", "week", "month"):
        rows = growth.filter(pl.col("period") == unit).drop("period").to_dicts()
        told = {(row.pop("app_id"), row.pop("start")): row for row in rows}
        assert told == users_oracle.growth(held.messages, held.days, held.zone, unit)

    cohorts = user_cohorts(users)
    assert cohorts.schema == USER_COHORTS.polars
    assert_frame_equal(cohorts, USER_COHORTS.conform(cohorts))
    keys = ("app_id", "unit", "cohort", "later")
    told_cohorts = {
        tuple(row[key] for key in keys): (row["size"], row["users"]) for row in cohorts.to_dicts()
    }
    assert told_cohorts == users_oracle.retention(held.messages, held.days, held.zone)
    assert all(
        row["retention"] == quotient(row["users"], row["size"]) for row in cohorts.to_dicts()
    )


def test_nobody_grows_and_nobody_stays() -> None:
    for users in (nobody(), holding([]).users()):
        assert_frame_equal(user_growth(users), USER_GROWTH.empty())
        assert_frame_equal(user_cohorts(users), USER_COHORTS.empty())


@pytest.mark.parametrize("period", ["week", "month"])
def test_a_period_in_which_nobody_was_there_is_told(period: str) -> None:
    later = dt.date(2026, 5, 1) if period == "month" else MONDAY + 2 * WEEK
    users = holding([on(MONDAY), on(later)], last=later).users()
    assert growth_of(users, period) == [(1, 1, 0, 0, 0), (0, 0, 0, 0, 1), (1, 0, 0, 1, 0)]


def test_the_parts_of_growth_add_up() -> None:
    rows = [on(MONDAY, user_id="a"), on(MONDAY, user_id="b"), on(MONDAY + WEEK, user_id="b"),
            on(MONDAY + WEEK, user_id="c"), on(MONDAY + 2 * WEEK, user_id="a")]  # fmt: skip
    users = holding(rows, last=MONDAY + 2 * WEEK).users()
    assert growth_of(users, "week") == [(2, 2, 0, 0, 0), (2, 1, 1, 0, 1), (1, 0, 0, 1, 2)]


def test_a_day_that_is_not_held_is_not_told_and_makes_its_weeks_incomplete() -> None:
    lost = MONDAY + WEEK + dt.timedelta(days=2)
    rows = [on(MONDAY), on(MONDAY + WEEK), on(MONDAY + 2 * WEEK), on(MONDAY + 4 * WEEK)]
    last = MONDAY + 4 * WEEK + dt.timedelta(days=6)
    users = holding(rows, last=last, lost=frozenset({lost})).users()
    growth = user_growth(users).filter(pl.col("app_id").is_null())
    assert lost not in set(growth.filter(pl.col("period") == "day")["start"])
    weeks = growth.filter(pl.col("period") == "week")
    assert weeks.select("days_held", "complete").rows() == [
        (7, False), (6, False), (7, False), (7, True), (7, True),
    ]  # fmt: skip
    told = user_cohorts(users).filter(pl.col("app_id").is_null())
    assert told.filter(pl.col("unit") == "week")["later"].to_list() == [0, 2, 3, 4]
    assert told.filter(pl.col("unit") == "day")["later"].to_list() == [0, 1, 7, 30]


def test_retention_is_the_share_of_those_who_came_first_on_a_day_or_in_a_week() -> None:
    rows = [
        *(on(MONDAY, user_id=user) for user in ("a", "b", "c")),
        on(MONDAY + dt.timedelta(days=1), user_id="a"),
        on(MONDAY + WEEK, user_id="a"), on(MONDAY + WEEK, user_id="b"),
        on(MONDAY + WEEK, user_id="later"),
    ]  # fmt: skip
    users = holding(rows, last=MONDAY + WEEK + dt.timedelta(days=6)).users()
    told = user_cohorts(users).filter(pl.col("app_id").is_null() & (pl.col("cohort") == MONDAY))
    assert told.select("unit", "later", "size", "users", "retention").rows() == [
        ("day", 0, 3, 3, Decimal(1)),
        ("day", 1, 3, 1, Decimal("0.3333333")),
        ("day", 7, 3, 2, Decimal("0.6666667")),
        ("week", 0, 3, 3, Decimal(1)),
        ("week", 1, 3, 2, Decimal("0.6666667")),
    ]
