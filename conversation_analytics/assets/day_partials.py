"""Reading the partials of the days that a period is made of."""

import datetime as dt
from collections.abc import Iterable, Iterator

import polars as pl

from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.io_managers.read_log import ReadLog, StepAttempt
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake


def input_name(day: str) -> str:
    """Return what periods record the partials of a day as."""
    return f"{DAILY_PARTIALS.name}/{day}"


def read_partials(
    lake: Lake, reads: ReadLog, attempt: StepAttempt, key: str, days: Iterable[dt.date]
) -> Iterator[pl.DataFrame]:
    """Yield the partials of the days, and note that period `key` was made of them."""

    @retry_if_transient()
    def read(day: str) -> pl.DataFrame:
        frame, info = lake.read_with_info(DAILY_PARTIALS, day)
        reads.add(attempt, key, input_name(day), info.sha256)
        return frame

    for day in days:
        yield read(day.isoformat())
