"""Reading the partials of the days that a period is made of."""

import datetime as dt
import functools
import logging
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from conversation_analytics.assets.retention import days_made_again
from conversation_analytics.core.engine import Engine, taken_by
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.partials import merged_kinds
from conversation_analytics.core.schemas import CATEGORY_PARTIALS, DAILY_PARTIALS, TableSchema
from conversation_analytics.io_managers.read_log import ReadLog, StepAttempt
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

Read = TypeVar("Read")
_logger = logging.getLogger("conversation_analytics.day_partials")


@dataclass(frozen=True, slots=True)
class HeldDays:
    """The days that have partials.

    Attributes:
        daily: those of `daily_partials`; no other day is held.
        categories: those of `category_partials`, which come later, or never.
        is_lost: whether an earlier version wrote partials, by table and day, that are never made
            again.
    """

    daily: frozenset[str]
    categories: frozenset[str]
    is_lost: Callable[[TableSchema, str], bool]

    def those(self, days: Iterable[dt.date]) -> list[dt.date]:
        """Return which of the days are held, and not lost."""
        return [
            day
            for day in days
            if (key := day.isoformat()) in self.daily and not self.is_lost(DAILY_PARTIALS, key)
        ]

    def tables(self, day: str) -> tuple[TableSchema, ...]:
        """Return the tables that hold partials of a day that is held, and not lost."""
        told = day in self.categories and not self.is_lost(CATEGORY_PARTIALS, day)
        return (DAILY_PARTIALS, *([CATEGORY_PARTIALS] if told else []))

    def lack(self, days: Iterable[dt.date]) -> bool:
        """Say whether partials of one of the days are lost."""
        return any(
            day in keys and self.is_lost(table, day)
            for day in map(dt.date.isoformat, days)
            for table, keys in ((DAILY_PARTIALS, self.daily), (CATEGORY_PARTIALS, self.categories))
        )

    def inputs(self, days: Iterable[dt.date]) -> dict[str, tuple[TableSchema, str]]:
        """Return table and partition key of all partials of these days, by the input's name."""
        return {
            input_name(table, day): (table, day)
            for day in (one.isoformat() for one in self.those(days))
            for table in self.tables(day)
        }


def held_days(lake: Lake, settings: Settings, today: dt.date) -> HeldDays:
    """Return the days that have partials now.

    Days of which an earlier version wrote partials, and which are never made again, are left out
    and named in the log: nothing that is made of partials waits for them.

    Args:
        lake: the lake.
        settings: of this process.
        today: in the analytics time zone.
    """
    daily, categories = (frozenset(lake.keys(one)) for one in (DAILY_PARTIALS, CATEGORY_PARTIALS))
    made_again = days_made_again(lake, settings, today)

    @functools.cache
    def is_lost(table: TableSchema, key: str) -> bool:
        return key not in made_again and unless_lost(lake.stat, table, key, made_again) is None

    return HeldDays(daily, categories, is_lost)


def unless_lost(
    read: Callable[[TableSchema, str], Read],
    table: TableSchema,
    key: str,
    made_again: Container[str],
) -> Read | None:
    """Return what is read of the partials of a day; None, and a line in the log, if they are lost.

    Args:
        read: given table and day.
        table: of partials.
        key: the day.
        made_again: days that are made again, see `days_made_again`.

    Raises:
        OutdatedPartitionError: an earlier version wrote them, and they are to be made again first.
    """
    try:
        return read(table, key)
    except OutdatedPartitionError as error:
        if key in made_again:
            raise
        _logger.warning(
            "left out day=%s: its rows are gone, or it is before ANALYTICS_START_DATE, so that its "
            "partials are never made again: %s", key, error,
        )  # fmt: skip
        return None


def input_name(table: TableSchema, day: str) -> str:
    """Return what periods record the partials of a day as."""
    return f"{table.name}/{day}"


def read_partials(
    lake: Lake,
    reads: ReadLog,
    engine: Engine,
    attempt: StepAttempt,
    key: str,
    held: HeldDays,
    days: list[dt.date],
) -> Iterator[pl.DataFrame]:
    """Yield the partials that reports merge of each of the days, and note it for period `key`.

    Args:
        lake: the lake.
        reads: where reading is noted.
        engine: what the rows are chosen with.
        attempt: of the step that reads.
        key: partition key of the period.
        held: the days that have partials.
        days: which of them to read.
    """

    @retry_if_transient()
    def read(table: TableSchema, day: str) -> pl.DataFrame:
        partials, info = lake.scan(table, day)
        reads.add(attempt, key, input_name(table, day), info.sha256)
        return engine.collect(merged_kinds(taken_by(engine, partials)))

    for day in map(dt.date.isoformat, days):
        yield pl.concat(read(table, day) for table in held.tables(day))
