"""Reading the partials of the days that a period is made of."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from conversation_analytics.core.engine import Engine, taken_by
from conversation_analytics.core.partials import merged_kinds
from conversation_analytics.core.schemas import CATEGORY_PARTIALS, DAILY_PARTIALS, TableSchema
from conversation_analytics.io_managers.read_log import ReadLog, StepAttempt
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake


@dataclass(frozen=True, slots=True)
class HeldDays:
    """The days that have partials.

    Attributes:
        daily: those of `daily_partials`; no other day is held.
        categories: those of `category_partials`, which come later, or never.
    """

    daily: frozenset[str]
    categories: frozenset[str]

    def those(self, days: Iterable[dt.date]) -> list[dt.date]:
        """Return which of the days are held."""
        return [day for day in days if day.isoformat() in self.daily]

    def tables(self, day: str) -> tuple[TableSchema, ...]:
        """Return the tables that hold partials of a day that is held."""
        return (DAILY_PARTIALS, *([CATEGORY_PARTIALS] if day in self.categories else []))

    def inputs(self, days: Iterable[dt.date]) -> dict[str, tuple[TableSchema, str]]:
        """Return table and partition key of all partials of these days, by the input's name."""
        return {
            input_name(table, day): (table, day)
            for day in (one.isoformat() for one in self.those(days))
            for table in self.tables(day)
        }


def held_days(lake: Lake) -> HeldDays:
    """Return the days that have partials now."""
    return HeldDays(*(frozenset(lake.keys(one)) for one in (DAILY_PARTIALS, CATEGORY_PARTIALS)))


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
