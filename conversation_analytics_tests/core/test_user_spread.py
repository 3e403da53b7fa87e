from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings

from conversation_analytics.core.user_analytics import USER_ANALYTICS, user_analytics
from conversation_analytics.core.user_spread import (
    COUNTS,
    SPREAD,
    share_of_the_busiest,
    user_spread,
)
from conversation_analytics_tests.core.metric_rows import turn
from conversation_analytics_tests.core.user_days import Held, Row, held_days, holding

MONDAY = dt.date(2026, 3, 2)


def turns_of(user: str, count: int, **columns: object) -> list[Row]:
    at = dt.datetime.combine(MONDAY, dt.time(12), dt.UTC)
    return [turn(user_id=user, created_at=at, **columns) for _ in range(count)]


def spread_of(rows: list[Row]) -> dict[tuple[str, str | None], list[tuple[str, int, float | None]]]:
    found: dict[tuple[str, str | None], list[tuple[str, int, float | None]]] = {}
    table = user_spread(user_analytics(holding(rows, last=MONDAY).users()))
    assert table.schema == SPREAD
    for measure, currency, _, label, users, share in table.iter_rows():
        found.setdefault((measure, currency), []).append((label, users, share))
    return found


def test_users_are_counted_by_their_turns_with_the_classes_between() -> None:
    rows = [*turns_of("a", 1), *turns_of("b", 1), *turns_of("c", 5), *turns_of("d", 13)]
    assert spread_of(rows)["turns", None] == [
        ("1", 2, 0.1), ("2", 0, 0.0), ("3 to 5", 1, 0.25), ("6 to 10", 0, 0.0),
        ("11 to 20", 1, 0.65),
    ]  # fmt: skip


def test_costs_are_counted_by_currency_also_of_users_who_pay_in_several() -> None:
    rows = [
        *turns_of("a", 1, total_price=Decimal("0.001"), currency="USD"),
        *turns_of("a", 1, total_price=Decimal(250), currency="CNY"),
        *turns_of("b", 1, total_price=Decimal("0.0009999"), currency="USD"),
    ]
    found = spread_of(rows)
    assert [one[:2] for one in found["cost", "USD"]] == [
        ("below 0.001", 1), ("0.001 to below 0.01", 1),
    ]  # fmt: skip
    assert found["cost", "CNY"] == [("100 or more", 1, 1.0)]


@settings(max_examples=25, deadline=None)
@given(held=held_days())
def test_every_user_is_in_one_class_of_each_count(held: Held) -> None:
    table = user_analytics(held.users())
    everywhere = table.filter(pl.col("app_id").is_null())
    spread = user_spread(table)
    for measure in (*COUNTS, "status") if everywhere.height else ():
        own = spread.filter(pl.col("measure") == measure)
        assert own["users"].sum() == everywhere.height
        if measure != "status":
            assert own["share"].sum() == pytest.approx(1)
    priced = sum(len(json.loads(costs)) for costs in everywhere["costs"].drop_nulls())
    assert spread.filter(pl.col("measure") == "cost")["users"].sum() == priced


def test_a_tenth_is_at_least_one_user_and_nobody_is_nothing() -> None:
    rows = [*turns_of("a", 8), *turns_of("b", 1), *turns_of("c", 1)]
    assert share_of_the_busiest(user_analytics(holding(rows, last=MONDAY).users())) == 0.8
    assert share_of_the_busiest(USER_ANALYTICS.empty()) is None
    assert user_spread(USER_ANALYTICS.empty()).height == 0
