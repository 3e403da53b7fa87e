"""Users, folded from partials, against plain Python over the rows."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.cohorts import user_cohorts, user_growth
from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.user_analytics import (
    USER_ANALYTICS,
    nobody,
    user_analytics,
    users_of_days,
)
from conversation_analytics_tests.core.metric_rows import DAY, turn
from conversation_analytics_tests.core.user_days import Held, held_days, holding
from conversation_analytics_tests.oracles import users_oracle

if TYPE_CHECKING:
    import random

Row = dict[str, Any]
MIDNIGHT = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
HALF_HOUR = dt.timedelta(minutes=30)
MICROSECOND = dt.timedelta(microseconds=1)


def overall(rows: list[Row], feedbacks: list[Row] | None = None, **options: Any) -> Row:
    """Return the row over all apps of the only user."""
    table = user_analytics(holding(rows, feedbacks, **options).users())
    return table.filter(pl.col("app_id").is_null()).row(0, named=True)


def like(**columns: Any) -> Row:
    return {
        "app_id": "support", "conversation_id": "c1", "message_id": "m", "rating": "like",
        "from_source": "user", "gone": False, "created_at": turn()["created_at"], "user_id": "u1",
        **columns,
    }  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(held=held_days())
def test_users_are_what_the_rows_of_all_days_say(held: Held) -> None:
    table = user_analytics(held.users())
    assert table.schema == USER_ANALYTICS.polars
    told = {
        (row.pop("app_id"), row.pop("user_id")): users_oracle.read(row) for row in table.to_dicts()
    }
    if not held.days:
        assert told == {}
        return
    assert told == users_oracle.users(held.messages, held.feedbacks, held.days[-1], held.zone)


@settings(max_examples=15, deadline=None)
@given(held=held_days(), batch_rows=st.integers(1, 40), rng=st.randoms(use_true_random=False))
def test_neither_batches_nor_the_order_of_rows_change_a_byte(
    held: Held, batch_rows: int, rng: random.Random
) -> None:
    other = Held(
        held.zone, held.days, rng.sample(held.messages, len(held.messages)), held.feedbacks
    )
    one, two = held.users(), other.users(batch_rows=batch_rows)
    for table in (user_analytics, user_growth, user_cohorts):
        assert_frame_equal(table(one), table(two), check_exact=True)


def test_days_that_do_not_ascend_are_refused_without_naming_a_user() -> None:
    (first, one), (second, two) = holding(
        [turn(), turn(created_at=MIDNIGHT)], last=MIDNIGHT.date()
    ).partials()
    for days in ([(second, two), (first, one)], [(first, one), (first, one)]):
        with pytest.raises(ContractError, match="expected a day after") as refused:
            users_of_days(days)
        assert "u1" not in str(refused.value)


def test_nobody_is_in_no_table() -> None:
    assert_frame_equal(user_analytics(nobody()), USER_ANALYTICS.empty())
    assert_frame_equal(user_analytics(holding([]).users()), USER_ANALYTICS.empty())


def test_a_user_of_several_apps_counts_once_over_all() -> None:
    rows = [turn(), turn(app_id="sales"), turn(app_id=None), turn(app_id="sales", user_id=None)]
    table = user_analytics(holding(rows).users())
    assert table.select("app_id", "user_id", "turns", "active_days").rows() == [
        ("", "u1", 1, 1), ("sales", "u1", 1, 1), ("support", "u1", 1, 1), (None, "u1", 3, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("batch_rows", [1, 10**6])
def test_a_session_goes_on_over_midnight_for_half_an_hour_of_silence(batch_rows: int) -> None:
    last = MIDNIGHT - dt.timedelta(minutes=10)

    def sessions(*rows: Row) -> int:
        users = holding(list(rows), last=MIDNIGHT.date()).users(batch_rows=batch_rows)
        (count,) = user_analytics(users).filter(pl.col("app_id").is_null())["sessions"]
        return int(count)

    before = turn(created_at=last)
    assert sessions(before, turn(created_at=last + HALF_HOUR)) == 1
    assert sessions(before, turn(created_at=last + HALF_HOUR + MICROSECOND)) == 2
    assert sessions(before, turn(created_at=last + HALF_HOUR, app_id="sales")) == 2


def test_costs_of_several_currencies_stay_apart_and_keep_every_digit() -> None:
    price = Decimal("123456789.1234567")
    row = overall([turn(), turn(currency="EUR", total_price=price), turn(currency="")])
    assert (row["currency"], row["cost"]) == (None, None)
    assert json.loads(row["costs"]) == {"": "0.0100000", "EUR": str(price), "USD": "0.0100000"}


def test_a_single_currency_has_a_column_of_its_own() -> None:
    row = overall([turn(), turn(), turn(total_price=None, currency="EUR")])
    assert (row["currency"], row["cost"]) == ("USD", Decimal("0.02"))
    unknown = overall([turn(total_price=None)])
    assert (unknown["currency"], unknown["cost"], unknown["costs"]) == (None, None, None)


def test_models_are_named_once_and_any_text_is_json() -> None:
    odd = 'a "b" \\ é \n\u2028{}'
    rows = [turn(), turn(), turn(model_provider=None), turn(model_id=odd), turn(model_id=None)]
    assert json.loads(overall(rows)["models"]) == [f"openai/{odd}", "openai/small", "small"]


def test_who_did_not_rate_has_no_likes_and_where_nobody_can_they_are_unknown() -> None:
    row = overall([turn()], [like(user_id="another")])
    assert (row["likes"], row["dislikes"], row["satisfaction"]) == (0, 0, None)
    row = overall([turn()], [])
    assert (row["likes"], row["dislikes"]) == (0, 0)
    row = overall([turn()], None)
    assert (row["likes"], row["dislikes"]) == (None, None)
    ratings = [like(), like(app_id="sales"), like(rating="dislike"), like(from_source="admin")]
    row = overall([turn()], ratings)
    assert (row["likes"], row["dislikes"]) == (2, 1)
    assert row["satisfaction"] == Decimal("0.6666667")


@pytest.mark.parametrize(
    ("days_ago", "status"),
    [
        ([6], "new"), ([0, 6], "new"), ([0, 7], "returning"), ([6, 13], "returning"),
        ([0, 7, 60], "returning"), ([0, 14], "resurrected"), ([6, 60], "resurrected"),
        ([7], "dormant"), ([60, 8], "dormant"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("batch_rows", [1, 10**6])
def test_the_status_compares_the_last_week_with_the_one_before(
    days_ago: list[int], status: str, batch_rows: int
) -> None:
    last = DAY + dt.timedelta(days=100)
    noon = dt.datetime.combine(last, dt.time(12), dt.UTC)
    rows = [turn(created_at=noon - dt.timedelta(days=n)) for n in days_ago]
    table = user_analytics(holding(rows, last=last).users(batch_rows=batch_rows))
    assert set(table["status"]) == {status}
