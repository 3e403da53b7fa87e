"""Rows for the tests of metrics, as hypothesis strategies and as frames."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import strategies as st

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.partials import PLAIN, PartialOptions, daily_partials
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import CONVERSATIONS, FEEDBACKS, MESSAGES

DAY = dt.date(2026, 3, 1)
_MIDNIGHT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)

Row = dict[str, Any]

_apps = st.sampled_from([None, "support", "sales"])
_models = st.sampled_from([None, "", "small", "large"])
_origins = st.sampled_from([None, "web-app", "service-api", "debugger"])
_tokens = st.none() | st.sampled_from([0, -1, 10**9, 10**9 + 1, 2**63 - 1]) | st.integers(0, 5000)
_seconds = (
    st.none()
    | st.sampled_from(
        [0.0, -1.0, 1.0, 1.02, 1e-9, 5e-324, 9.9e8, 1e9, 1e12, float("nan"), float("inf")]
    )
    | st.floats(0.001, 500.0)
)
_prices = (
    st.none()
    | st.sampled_from([Decimal("-0.5"), Decimal(10**9), Decimal("9999999999999.9999999")])
    | st.decimals(0, 1000, places=7)
)
_gaps = st.sampled_from([0, 1, 119_999_999, 120_000_000, 120_000_001, 1_800_000_000, 1_800_000_001])
_times = (st.integers(0, 86_399_999_999) | _gaps | _gaps.map(lambda us: 86_399_999_999 - us)).map(
    lambda us: _MIDNIGHT + dt.timedelta(microseconds=us)
)
_talks = st.sampled_from(["c1", "c2", "c3", "c4"])
_queries = st.sampled_from(
    [
        None,
        "",
        " ",
        "Where is my order?",
        "where is my order",
        "WHERE IS MY PARCEL?",
        "订单在哪里",
        "订单在哪",
    ]
)
MARKERS = ("[HUMAN]", "一位同事")
"""Texts that hand a conversation over to a person."""


def _numbered(rows: list[Row]) -> list[Row]:
    return [{"id": f"m{number:03}", **row} for number, row in enumerate(rows)]


conversation_rows: st.SearchStrategy[list[Row]] = st.lists(
    st.fixed_dictionaries(
        {
            "app_id": _apps,
            "model_provider": st.sampled_from([None, "", "openai"]),
            "model_id": _models,
            "invoke_from": _origins,
            "created_at": _times,
        }
    ),
    max_size=8,
)
message_rows: st.SearchStrategy[list[Row]] = st.lists(
    st.fixed_dictionaries(
        {
            "app_id": _apps,
            "model_provider": st.sampled_from([None, "", "openai"]),
            "model_id": _models,
            "invoke_from": _origins,
            "user_id": st.sampled_from([None, "u1", "u2", "u3"]),
            "conversation_id": _talks,
            "parent_message_id": st.sampled_from([None, "p1", "p2"]),
            "query": _queries,
            "inputs": st.sampled_from(
                [None, "{}", '{"shop.name":"a"}', '{"shop.name":""}', '{"shop.name":null}', "[]"]
            ),
            "status": st.sampled_from([None, "normal", "error"]),
            "answer": st.sampled_from([None, "", "yes", "please wait [HUMAN]", "一位同事会联系您"]),
            "message_tokens": _tokens,
            "answer_tokens": _tokens,
            "total_price": _prices,
            "currency": st.sampled_from([None, "", "USD", "RMB"]),
            "latency_s": _seconds,
            "time_to_first_token_s": _seconds,
            "created_at": _times,
        }
    ),
    max_size=25,
).map(_numbered)


feedback_rows: st.SearchStrategy[list[Row] | None] = st.none() | st.lists(
    st.fixed_dictionaries(
        {
            "app_id": st.sampled_from([None, "support", "rated only"]),
            "conversation_id": st.none() | _talks,
            "message_id": st.sampled_from(["m000", "m001", "m002", "of another day"]),
            "rating": st.sampled_from([None, "like", "dislike", "?"]),
            "from_source": st.sampled_from([None, "user", "admin"]),
            "gone": st.sampled_from([None, False, True]),
            "created_at": _times,
        }
    ),
    max_size=12,
)
"""None: there is no table of ratings."""


def turn(**columns: Any) -> Row:
    """Return a plain turn, with `columns` instead."""
    return {
        "app_id": "support", "model_provider": "openai", "model_id": "small",
        "invoke_from": "web-app", "user_id": "u1", "status": "normal", "answer": "yes",
        "conversation_id": "c1", "query": "What is it?",
        "message_tokens": 100, "answer_tokens": 50, "total_price": Decimal("0.01"),
        "currency": "USD", "latency_s": 2.0, "time_to_first_token_s": 0.5, "created_at": _MIDNIGHT,
        **columns,
    }  # fmt: skip


def conversation(**columns: Any) -> Row:
    """Return a plain conversation, with `columns` instead."""
    return {
        "app_id": "support", "model_provider": "openai", "model_id": "small",
        "invoke_from": "web-app", "created_at": _MIDNIGHT, **columns,
    }  # fmt: skip


def feedbacks_frame(rows: list[Row] | None) -> pl.LazyFrame | None:
    """Return the rows in the schema of feedbacks; None where there is no table of them."""
    return None if rows is None else pl.LazyFrame(rows, schema=FEEDBACKS.polars)


def partials_of(
    conversations: list[Row],
    messages: list[Row],
    feedbacks: list[Row] | None = None,
    *,
    day: dt.date = DAY,
    languages: pl.LazyFrame | None = None,
    options: PartialOptions = PLAIN,
) -> pl.LazyFrame:
    """Return the partials of the rows of a day, as the platform makes them."""
    turns = messages_frame(messages)
    return daily_partials(
        conversations_frame(conversations), turns, feedbacks_frame(feedbacks), day=day,
        rephrases=rephrased_turns(turns, engine=CPU).lazy(), languages=languages, options=options,
    )  # fmt: skip


def conversations_frame(rows: list[Row]) -> pl.LazyFrame:
    """Return the rows in the schema of conversations."""
    return pl.LazyFrame(rows, schema=CONVERSATIONS.polars)


def messages_frame(rows: list[Row]) -> pl.LazyFrame:
    """Return the rows in the schema of messages."""
    return pl.LazyFrame(rows, schema=MESSAGES.polars)
