"""Where rows have been that appear on another day: their time of creation was corrected."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conversation_analytics.core.changes import Left, SeenRow
from conversation_analytics.core.source import Source, SourceTable
from conversation_analytics.core.suppression import row_names, row_owners
from conversation_analytics.core.tables import TABLES
from conversation_analytics.core.zones import DAILY, UNDATED
from conversation_analytics.lake.store import Lake
from conversation_analytics.lake.user_index import conversation_mark, places_of, user_mark
from conversation_analytics.resources.connections import column_contract
from conversation_analytics.sensors.held_rows import HeldRows
from conversation_analytics.settings import Settings

_TABLES = {table.name: table for table in TABLES}
_MOST_ROWS = 100
"""Rows that are looked for in one look: each costs its whole row, all together one pass over the
index of the raw zone."""
_ASKED_FOR = dt.timedelta(days=1)
"""A former day is asked for no longer: a row that went back to it never leaves it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a look reads.

    Attributes:
        source: where the rows are.
        lake: where they may be held.
        held_rows: of the raw zone.
        settings: of this process.
    """

    source: Source
    lake: Lake
    held_rows: HeldRows
    settings: Settings


class FormerDays:
    """Finds the raw partitions that hold rows of another day. Not safe for several threads."""

    def __init__(self) -> None:
        """Begin without any row that was looked for."""
        self._found: dict[tuple[str, str], dict[str, str]] = {}

    def of(self, rows: Iterable[SeenRow], reading: Reading) -> dict[str, str]:
        """Return the partitions by name, with the digest they had when they were found.

        Args:
            rows: that their own day does not hold; one that is shown again is not looked for again.
            reading: what is read.

        Raises:
            AnalyticsError: source or lake do not answer.
        """
        shown = {(row.name, row.digest): row for row in rows}
        self._found = {name: places for name, places in self._found.items() if name in shown}
        new = [row for name, row in shown.items() if name not in self._found][:_MOST_ROWS]
        for table in reading.settings.source_tables:
            if of_table := {row.id: row for row in new if row.table is table}:
                places = _places(table, of_table, reading)
                for row in of_table.values():
                    self._found[row.name, row.digest] = places.get(row.id, {})
        return {name: sha256 for places in self._found.values() for name, sha256 in places.items()}


def _places(
    table: SourceTable, rows: Mapping[str, SeenRow], reading: Reading
) -> dict[str, dict[str, str]]:
    """Return by id of a row which partitions but that of its day hold it."""
    settings, lake = reading.settings, reading.lake
    names = row_names(column_contract(settings), table, settings.pseudonym_columns)
    owners = row_owners(reading.source.read_ids(table, sorted(rows)), names)
    marks: set[bytes] = set()
    for users, conversation in owners.select("users", "conversation").iter_rows():
        marks |= {conversation_mark(conversation)} if conversation else set(map(user_mark, users))
    own = {DAILY[table].raw.name, UNDATED[table].raw.name}
    found: dict[str, dict[str, str]] = {}
    for schema, key in places_of(lake, marks) if marks else ():
        if schema.name not in own:
            continue
        day = None if key is None else dt.date.fromisoformat(key)
        held = set(reading.held_rows.rows(lake, table, day)["id"])
        for row_id in [one for one, row in rows.items() if one in held and row.day != day]:
            place = {f"{schema.name}/{key or ''}": lake.stat(schema, key).sha256}
            found[row_id] = found.get(row_id, {}) | place
    return found


def left_behind(
    lake: Lake, left: Mapping[str, Left], found: Mapping[str, str], now: dt.datetime
) -> dict[str, Left]:
    """Return the former days that have not been read again with another outcome since.

    Args:
        lake: the lake.
        left: of the cursor.
        found: of `FormerDays.of`.
        now: the present.
    """
    every = {name: Left(sha256, now + _ASKED_FOR) for name, sha256 in found.items()} | dict(left)
    return {
        name: one
        for name, one in every.items()
        if now < one.until and _digest(lake, name) == one.sha256
    }


def _digest(lake: Lake, name: str) -> str | None:
    table, key = _TABLES[name.partition("/")[0]], name.partition("/")[2] or None
    return lake.stat(table, key).sha256 if lake.exists(table, key) else None


def day_of(name: str) -> dt.date | None:
    """Return the day of a partition that `FormerDays.of` names; None: rows without a time."""
    key = name.partition("/")[2]
    return dt.date.fromisoformat(key) if key else None
