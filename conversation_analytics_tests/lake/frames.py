"""Frames of any lake table, for the tests of the lake."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
from hypothesis import strategies as st

from conversation_analytics.core.schemas import MESSAGES

if TYPE_CHECKING:
    from conversation_analytics.core.schemas import TableSchema

_LARGEST_MONEY = Decimal("9999999999999.9999999")


def _values(dtype: pl.DataType) -> st.SearchStrategy[object]:
    strategies: dict[pl.DataType, st.SearchStrategy[object]] = {
        pl.String(): st.one_of(st.text(max_size=8), st.sampled_from(["", "ผู้ใช้", "😀\x00'\"", "a"])),
        pl.Int64(): st.integers(-(2**63), 2**63 - 1),
        pl.Float64(): st.floats(),
        pl.Boolean(): st.booleans(),
        pl.Date(): st.dates(),
        pl.Datetime("us", "UTC"): st.datetimes(timezones=st.just(dt.UTC)),
        pl.Decimal(20, 7): st.one_of(
            st.decimals(-_LARGEST_MONEY, _LARGEST_MONEY, places=7),
            st.sampled_from([_LARGEST_MONEY, -_LARGEST_MONEY, Decimal("1e-7"), Decimal(0)]),
        ),
    }
    return st.none() | strategies[dtype]


def frames(schema: TableSchema, max_rows: int = 4) -> st.SearchStrategy[pl.DataFrame]:
    """Give frames of the schema with any values, in any row order."""
    row = st.tuples(*(_values(dtype) for dtype in schema.polars.values()))
    return st.lists(row, max_size=max_rows).map(
        lambda rows: pl.DataFrame(rows, schema=schema.polars, orient="row")
    )


def message_rows(count: int, day: str = "2026-11-22", version: str = "a") -> pl.DataFrame:
    """Give `count` turns spread over a day, with distinct ids, conformed."""
    midnight = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    step = dt.timedelta(days=1) / max(count, 1)
    rows = [
        {
            **dict.fromkeys(MESSAGES.polars),
            "id": f"{day}-{number:07d}",
            "conversation_id": f"c{number // 5}",
            "query": f"ข้อความ {version} {number} 😀",
            "answer": f"answer {number * 7919 % 1009}",
            "total_price": Decimal(number) / 10**7,
            "currency": "USD" if number % 3 else None,
            "latency_s": number / 7,
            "status": "normal",
            "created_at": midnight + number * step,
        }
        for number in range(count)
    ]
    return MESSAGES.conform(pl.DataFrame(rows, schema=MESSAGES.polars))
