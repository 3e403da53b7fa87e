"""Where rows of a person are: through the index of users, without reading any other partition.

Where the raw zone of a day is gone by age, typed rows and dead letters say whose they are; where
these are gone, too, the partials of the day do, which know users but not their conversations.
"""

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from conversation_analytics.assets.erasing_day import RowIds, Subject
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.schemas import DAILY_PARTIALS, TableSchema
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.suppression import RowNames, row_names, row_owners
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
_NOBODYS: Final = pl.DataFrame(
    schema={"id": pl.String, "users": pl.List(pl.String), "conversation": pl.String}
)


@dataclass(frozen=True, slots=True)
class Found:
    """Where rows of a user are.

    Attributes:
        subject: the user, with the conversations in which nobody else has a turn.
        conversations: in which the user has a turn, or that are theirs.
        days: ids of their rows by day (None: without a time) and table; none where the partials
            alone tell of them.
        keys: days that were looked at, these among them.
    """

    subject: Subject
    conversations: frozenset[str]
    days: Mapping[str | None, RowIds]
    keys: frozenset[str | None]


class _Reader:
    """Raw partitions by what the index has of them."""

    def __init__(self, lake: Lake, settings: Settings) -> None:
        self._lake = lake
        self._settings = settings

    def index_all(self) -> None:
        """Make the index of partitions that were written before there was one."""
        self.index(not_indexed(self._lake))

    def index(self, places: Iterable[Place]) -> None:
        """Note in the index whose rows partitions have."""
        for schema, key in places:
            add_to_index(self._lake, schema, key, self._owners((schema, key), None))

    def look(
        self,
        user: str | None,
        conversations: Iterable[str] = (),
        tables: Collection[SourceTable] = tuple(SourceTable),
    ) -> list[tuple[SourceTable, str | None, pl.DataFrame]]:
        """Return table, day and `row_owners` where the user or one of the conversations may be."""
        users, talks = [] if user is None else [user], sorted(conversations)
        marks = [*map(user_mark, users), *map(conversation_mark, talks)]
        spelled = {text for one in (*users, *talks) for text in _spellings(one)}
        return [
            (TABLES_OF[schema.name], key, self._owners((schema, key), sorted(spelled)))
            for schema, key in places_of(self._lake, marks)
            if TABLES_OF[schema.name] in tables
        ]

    def _owners(self, place: Place, wanted: list[str] | None) -> pl.DataFrame:
        """Return the owners of the rows that may hold one of the texts; None: of all rows."""
        lake = self._lake
        if not lake.exists(*place):
            return self._owners_without_raw(*place)
        rows = lake.scan(*place)[0]
        if wanted is not None:
            # Most rows are of others, and taking JSON apart takes long. What is written with
            # escapes may be spelled in any way: it is taken apart in any case.
            may_hold = pl.col("payload").str.contains_any([*wanted, "\\u", "\\/"])
            rows = rows.filter(may_hold)
        return row_owners(rows.select("id", "payload").collect(), self._names(place[0]))

    def _names(self, raw: TableSchema) -> RowNames:
        settings = self._settings
        table = TABLES_OF[raw.name]
        return row_names(column_contract(settings), table, settings.pseudonym_columns)

    def _owners_without_raw(self, raw: TableSchema, key: str | None) -> pl.DataFrame:
        table = TABLES_OF[raw.name]
        zones = (UNDATED if key is None else DAILY)[table]
        talk = "id" if table is SourceTable.CONVERSATIONS else "conversation_id"
        found = [_NOBODYS]
        typed = self._held(zones.curated, key, ("id", "user_id", talk))
        if typed is not None:
            found.append(typed.select("id", users=_listed("user_id"), conversation=talk))
        dead = self._held(zones.dead_letters, key, ("source_id", "payload"))
        if dead is not None:
            found.append(row_owners(dead.rename({"source_id": "id"}), self._names(raw)))
        if typed is None and key is not None:
            partials = self._held(DAILY_PARTIALS, key, ("user_id", "conversation_id"))
            if partials is not None:
                no_id = pl.lit(None, pl.String)
                found.append(
                    partials.select(
                        id=no_id, users=_listed("user_id"), conversation="conversation_id"
                    )
                )
        return pl.concat(found)

    def _held(
        self, schema: TableSchema, key: str | None, columns: Sequence[str]
    ) -> pl.DataFrame | None:
        """Return columns of what is stored in this version; an earlier one's is removed whole."""
        if not self._lake.exists(schema, key):
            return None
        try:
            rows, _ = self._lake.scan(schema, key)
        except OutdatedPartitionError:
            return None
        return rows.select(sorted(set(columns))).collect()


def _listed(column: str) -> pl.Expr:
    """Return the text in a list, or an empty list for null."""
    return pl.concat_list(column).list.drop_nulls()


def _spellings(text: str) -> tuple[str, str]:
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


def index_places(lake: Lake, settings: Settings, places: Iterable[Place]) -> None:
    """Note in the index whose rows raw partitions have.

    Args:
        lake: the lake.
        settings: of this process.
        places: the partitions.

    Raises:
        AnalyticsError: a storage refuses or does not answer.
    """
    _Reader(lake, settings).index(places)


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
    for table, _, owners in reader.look(user):
        if table is not SourceTable.FEEDBACKS:
            theirs.update(owners.filter(own)["conversation"].drop_nulls())
    shown = reader.look(user, theirs)
    whole = frozenset(theirs) - _spoken_in_by_others(shown, own)
    inside = pl.col("conversation").is_in(_values(whole)).fill_null(value=False)
    nobodys = pl.col("users").list.len() == 0
    days: dict[str | None, dict[SourceTable, frozenset[str]]] = {}
    for table, key, owners in shown:
        loose = inside if table is SourceTable.FEEDBACKS else nobodys & inside
        told = owners.filter(own | loose)
        if not told.is_empty():
            days.setdefault(key, {})[table] = frozenset(told["id"].drop_nulls())
    keys = frozenset(key for _, key, _ in shown)
    return Found(Subject(user, whole), frozenset(theirs), days, keys)


def conversations_with_turns(
    lake: Lake, settings: Settings, conversations: Collection[str], *, first_kept: dt.date | None
) -> frozenset[str]:
    """Return the conversations of which the lake holds a turn, typed or not, whoever spoke.

    Args:
        lake: the lake; an index that is missing is written.
        settings: of this process.
        conversations: as the lake has them.
        first_kept: days before it do not count; None: all do.

    Raises:
        AnalyticsError: a storage refuses or does not answer.
    """
    sought = frozenset(conversations)
    if not sought:
        return frozenset()
    reader = _Reader(lake, settings)
    reader.index_all()
    oldest = "" if first_kept is None else first_kept.isoformat()
    found: set[str] = set()
    for _, key, owners in reader.look(None, sought, (SourceTable.MESSAGES,)):
        if key is None or key >= oldest:
            found.update(owners["conversation"].drop_nulls())
    return sought & found


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
