"""Rows for the tests of metrics, as hypothesis strategies and as frames."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import strategies as st

from conversation_analytics.core.schemas import CONVERSATIONS, FEEDBACKS, MESSAGES

DAY = dt.date(2026, 3, 1)
_MIDNIGHT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)

Row = dict[str, Any]

_apps = st.sampled_from([None, "support", "sales"])
_models = st.sampled_from([None, "small", "large"])
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
_times = st.integers(0, 86_399_999_999).map(lambda us: _MIDNIGHT + dt.timedelta(microseconds=us))

conversation_rows: st.SearchStrategy[list[Row]] = st.lists(
    st.fixed_dictionaries(
        {
            "app_id": _apps,
            "model_provider": st.sampled_from([None, "openai"]),
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
            "model_provider": st.sampled_from([None, "openai"]),
            "model_id": _models,
            "invoke_from": _origins,
            "user_id": st.sampled_from([None, "u1", "u2", "u3"]),
            "status": st.sampled_from([None, "normal", "error"]),
            "answer": st.sampled_from([None, "", "yes"]),
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
)


feedback_rows: st.SearchStrategy[list[Row] | None] = st.none() | st.lists(
    st.fixed_dictionaries(
        {
            "app_id": st.sampled_from([None, "support", "rated only"]),
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


def conversations_frame(rows: list[Row]) -> pl.LazyFrame:
    """Return the rows in the schema of conversations."""
    return pl.LazyFrame(rows, schema=CONVERSATIONS.polars)


def messages_frame(rows: list[Row]) -> pl.LazyFrame:
    """Return the rows in the schema of messages."""
    return pl.LazyFrame(rows, schema=MESSAGES.polars)
