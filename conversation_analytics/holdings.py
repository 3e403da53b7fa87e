"""What the lake holds of each table, for the commands that tell it."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conversation_analytics.core import tables, zones
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.periods import starts_of
from conversation_analytics.core.staleness import PENDING
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.windows import days_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.store import Lake


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of a table.

    Attributes:
        table: its name.
        partitions: how many; None of a table without partitions that is there.
        first: key of the first partition, a day; None where there is none.
        last: key of the last one.
        missing: partitions that lack between these two.
        rows: rows in them, those of another version left out.
        outdated: partitions of another version, which `repair` makes again.
    """

    table: str
    partitions: int | None
    first: str | None
    last: str | None
    missing: int
    rows: int
    outdated: int

    @property
    def empty(self) -> bool:
        """Whether nothing was ever made of it."""
        return self.partitions == 0

    @property
    def rows_told(self) -> str:
        """The rows as people read them."""
        return rows_told(self.rows, self.outdated)


def holdings(lake: Lake) -> Iterator[Holding]:
    """Yield what is held of each table.

    Raises:
        LakeError: an object cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    for schema in tables.TABLES:
        period = tables.period_of(schema)
        if period is None:
            there = lake.exists(schema, None)
            rows, outdated = count_rows(lake, schema, [None] if there else [])
            partitions = None if there else 0
            yield Holding(schema.name, partitions, None, None, 0, rows, outdated)
            continue
        keys = lake.keys(schema)
        if not keys:
            yield Holding(schema.name, 0, None, None, 0, 0, 0)
            continue
        span = days_between(dt.date.fromisoformat(keys[0]), dt.date.fromisoformat(keys[-1]))
        missing = len(starts_of(period, span)) - len(keys)
        rows, outdated = count_rows(lake, schema, keys)
        yield Holding(schema.name, len(keys), keys[0], keys[-1], missing, rows, outdated)


def rows_told(rows: int, outdated: int) -> str:
    """Return what `count_rows` counted, as people read it."""
    return f"{rows:,}" + (f" + {outdated} outdated" if outdated else "")


def count_rows(lake: Lake, schema: TableSchema, keys: Iterable[str | None]) -> tuple[int, int]:
    """Return the rows of partitions, and how many partitions are of another version.

    Raises:
        LakeError: an object cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    rows = outdated = 0
    for key in keys:
        try:
            rows += lake.row_count(schema, key)
        except OutdatedPartitionError:  # `repair` makes it again
            outdated += 1
    return rows, outdated


def count_dead_letters(lake: Lake) -> int:
    """Return how many rows could not be typed, of all days and of none.

    Raises:
        LakeError: an object cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    daily = [table.dead_letters for table in zones.DAILY.values()]
    undated = [table.dead_letters for table in zones.UNDATED.values()]
    return sum(count_rows(lake, one, lake.keys(one))[0] for one in daily) + sum(
        count_rows(lake, one, [None])[0] for one in undated if lake.exists(one, None)
    )


def waiting_translations(lake: Lake) -> tuple[int, int]:
    """Return the rows that wait to be translated, and of how many days they are.

    Raises:
        LakeError: an object cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    inputs = []
    for key in lake.keys(TRANSLATIONS):
        with contextlib.suppress(OutdatedPartitionError):  # made again with all its rows
            inputs.append(lake.stat(TRANSLATIONS, key).inputs)
    waiting = [int(one[PENDING]) for one in inputs if PENDING in one]
    return sum(waiting), len(waiting)
