"""Where rows of a person are: through the index of users, without reading any other partition."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from conversation_analytics.assets.erasing_day import RowIds, Subject
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.suppression import row_names, row_owners
from conversation_analytics.core.zones import DAILY, UNDATED
from conversation_analytics.lake.store import Lake
from conversation_analytics.lake.user_index import (
    Place,
    add_to_index,
    conversation_mark,
    not_indexed,
    places_of,
    user_mark,
)
from conversation_analytics.resources.connections import column_contract
from conversation_analytics.settings import Settings

TABLES_OF: Final[Mapping[str, SourceTable]] = {
    zones.raw.name: table for of in (DAILY, UNDATED) for table, zones in of.items()
}
"""The table of the source by the name of the raw one."""
_NOTHING: Final = pl.DataFrame(schema={"id": pl.String, "payload": pl.String})


@dataclass(frozen=True, slots=True)
class Found:
    """Where rows of a user are.

    Attributes:
        subject: the user, with the conversations in which nobody else has a turn.
        conversations: in which the user has a turn, or that are theirs.
        days: ids of their rows in the raw zone by day (None: without a time) and table.
        keys: days that were looked at, these among them.
    """

    subject: Subject
    conversations: frozenset[str]
    days: Mapping[str | None, RowIds]
    keys: frozenset[str | None]


class _Reader:
    """Raw partitions by what the index has of them, each read once."""

    def __init__(self, lake: Lake, settings: Settings) -> None:
        self._lake = lake
        self._settings = settings
        self._frames: dict[tuple[str, str | None], pl.DataFrame] = {}

    def index_all(self) -> None:
        """Make the index of partitions that were written before there was one."""
        for schema, key in not_indexed(self._lake):
            add_to_index(self._lake, schema, key, self._owners(schema.name, (schema, key)))

    def look(self, marks: Iterable[bytes]) -> list[tuple[SourceTable, str | None, pl.DataFrame]]:
        """Return table, day and `row_owners` of the partitions that may have one of the marks."""
        found = []
        for schema, key in places_of(self._lake, marks):
            name = (schema.name, key)
            if name not in self._frames:
                self._frames[name] = self._owners(schema.name, (schema, key))
            found.append((TABLES_OF[schema.name], key, self._frames[name]))
        return found

    def _owners(self, name: str, place: Place) -> pl.DataFrame:
        lake, settings = self._lake, self._settings
        rows = lake.scan(*place)[0] if lake.exists(*place) else _NOTHING.lazy()
        contract, more = column_contract(settings), settings.pseudonym_columns
        names = row_names(contract, TABLES_OF[name], more)
        return row_owners(rows.select("id", "payload").collect(), names)


def find_rows(lake: Lake, settings: Settings, user: str, known: Iterable[str] = ()) -> Found:
    """Return where rows of a user are; nothing is written but an index that is missing.

    Theirs are the rows that name them; and rows without a user, and ratings, in conversations in
    which nobody else has a turn.

    Args:
        lake: the lake.
        settings: of this process.
        user: as the lake has it.
        known: conversations that were found to be theirs before.

    Raises:
        AnalyticsError: a storage refuses or does not answer.
    """
    reader = _Reader(lake, settings)
    reader.index_all()
    own = pl.col("users").list.contains(user)
    theirs = set(known)
    for table, _, owners in reader.look([user_mark(user)]):
        if table is not SourceTable.FEEDBACKS:
            theirs.update(owners.filter(own)["conversation"].drop_nulls())
    shown = reader.look([user_mark(user), *map(conversation_mark, theirs)])
    whole = frozenset(theirs) - _spoken_in_by_others(shown, own)
    inside = pl.col("conversation").is_in(_values(whole)).fill_null(value=False)
    nobodys = pl.col("users").list.len() == 0
    days: dict[str | None, dict[SourceTable, frozenset[str]]] = {}
    for table, key, owners in shown:
        loose = inside if table is SourceTable.FEEDBACKS else nobodys & inside
        if ids := frozenset(owners.filter(own | loose)["id"]):
            days.setdefault(key, {})[table] = ids
    keys = frozenset(key for _, key, _ in shown)
    return Found(Subject(user, whole), frozenset(theirs), days, keys)


def _spoken_in_by_others(
    shown: Sequence[tuple[SourceTable, str | None, pl.DataFrame]], own: pl.Expr
) -> set[str]:
    others: set[str] = set()
    for table, _, owners in shown:
        if table is not SourceTable.FEEDBACKS:
            told = owners.filter((pl.col("users").list.len() > 0) & ~own)
            others.update(told["conversation"].drop_nulls())
    return others


def _values(ids: Iterable[str]) -> pl.Series:
    return pl.Series(sorted(ids), dtype=pl.String).implode()
