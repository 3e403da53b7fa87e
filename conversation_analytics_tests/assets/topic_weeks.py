"""Weeks of messages about a few subjects, put straight into the lake."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.settings import parse_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conversation_analytics.lake.store import Lake
    from conversation_analytics.settings import Settings

SUBJECTS = {
    "refund": ["I want my money back for order", "please refund the payment of order",
               "when do I get the refund of order"],
    "parcel": ["where is my parcel", "the delivery of my parcel is late", "track the shipment"],
    "password": ["I forgot my password", "reset the password of my account",
                 "cannot log in to my account"],
    "weather": ["will it rain tomorrow in the city", "what is the weather like today",
                "is it sunny at the weekend"],
}  # fmt: skip


def topic_settings(folder: Path, first: dt.date, **variables: str) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": first.isoformat(),
            "TOPIC_MIN_USERS": "3",
            "TOPIC_MIN_CONVERSATIONS": "3",
            **variables,
        }
    )


def write_day(lake: Lake, day: dt.date, conversations: Mapping[str, int], users: int = 6) -> None:
    """Replace the messages of a day: so many conversations of a turn each, by subject."""
    rows = [
        {
            "id": f"{day}-{subject}-{number}",
            "conversation_id": f"c-{day}-{subject}-{number}",
            "query": f"{SUBJECTS[subject][number % 3]} {number}",
            "user_id": f"u{number % users}",
            "created_at": dt.datetime(day.year, day.month, day.day, 12, tzinfo=dt.UTC),
        }
        for subject, count in conversations.items()
        for number in range(count)
    ]
    # Columns that topics do not look at stay unknown.
    frame = pl.DataFrame(rows, schema={column: MESSAGES.polars[column] for column in (
        "id", "conversation_id", "query", "user_id", "created_at")})  # fmt: skip
    others = [pl.lit(None, column.dtype).alias(column.name) for column in MESSAGES.columns
              if column.name not in frame.columns and not column.required]  # fmt: skip
    lake.write(MESSAGES, day.isoformat(), MESSAGES.conform(frame.with_columns(others)))
