"""What the tables of a source must look like: names, required columns, columns left out.

The contract is a TOML file, for sources whose columns are not named as Dify names them:

    [messages]
    required = ["user_id"]        # stop where it is missing; by default see `REQUIRED`
    optional = ["answer"]         # do not
    ignored = ["embedding"]       # neither loaded nor kept in `extra`

    [messages.names]              # column here = column at the source
    query = "user_text"
    created_at = "sent_at"
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.zones import DAILY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SETTING: Final = "NOCODB_COLUMN_CONTRACT"
REQUIRED: Final[Mapping[SourceTable, frozenset[str]]] = {
    SourceTable.CONVERSATIONS: frozenset({"created_at"}),
    SourceTable.MESSAGES: frozenset({"created_at", "conversation_id", "query", "answer"}),
    SourceTable.FEEDBACKS: frozenset({"created_at", "message_id", "rating"}),
}
# `user_id` is derived, `extra` and `gone` are this platform's own; served under other names are
# the latency and what comes out of the metadata.
_DERIVED: Final = frozenset({"user_id", "extra", "gone", "latency_s", "time_to_first_token_s"})
_SERVED_TOO: Final = {
    SourceTable.CONVERSATIONS: frozenset[str](),
    SourceTable.MESSAGES: frozenset({"provider_response_latency"}),
    SourceTable.FEEDBACKS: frozenset(),
}
_KEYS: Final = ("required", "optional", "ignored", "names")


@dataclass(frozen=True, slots=True)
class TableContract:
    """The contract of one table.

    Attributes:
        required: columns, by our names, without which nothing is read.
        names: our name to the source's, where they differ.
        ignored: columns of the source, by its names, that are left alone.
    """

    required: frozenset[str]
    names: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    def at_source(self, column: str) -> str:
        """Return the source's name of our column."""
        return self.names.get(column, column)

    def missing(self, titles: Iterable[str]) -> tuple[str, ...]:
        """Return the required columns that are not among the source's `titles`, sorted."""
        there = set(titles)
        return tuple(sorted(name for name in self.required if self.at_source(name) not in there))


@dataclass(frozen=True, slots=True)
class Contract:
    """The contracts of all tables."""

    tables: Mapping[SourceTable, TableContract]


def columns_of(table: SourceTable) -> frozenset[str]:
    """Return the columns that a source may serve, by our names."""
    return frozenset(DAILY[table].curated.polars).difference(_DERIVED) | _SERVED_TOO[table]


def default_contract() -> Contract:
    """Return the contract of tables that are named as Dify names them."""
    return Contract({table: TableContract(REQUIRED[table]) for table in SourceTable})


def parse_contract(text: str, where: str) -> Contract:
    """Parse a contract file.

    Args:
        text: the file.
        where: what errors call it.

    Raises:
        SettingsError: it is no TOML, or names a table, key or column that there is not, or two
            of our columns are one at the source.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(where, f"no TOML: {error}") from error
    tables = {table.value for table in SourceTable}
    if unknown := sorted(data.keys() - tables):
        raise _wrong(where, f"table {unknown[0]!r}: expected one of {_listed(tables)}")
    return Contract(
        {table: _table(table, data.get(table.value, {}), where) for table in SourceTable}
    )


def _table(table: SourceTable, data: Any, where: str) -> TableContract:
    place = f"{where} [{table}]"
    if not isinstance(data, dict) or (unknown := sorted(data.keys() - set(_KEYS))):
        got = repr(unknown[0]) if isinstance(data, dict) else "no table"
        raise _wrong(place, f"{got}: expected {', '.join(_KEYS)}")
    required, optional, ignored = (
        _texts(data.get(key, []), f"{place} {key}") for key in ("required", "optional", "ignored")
    )
    names = data.get("names", {})
    if not isinstance(names, dict):
        raise _wrong(f"{place} names", 'expected lines of the form query = "user_text"')
    _texts(list(names.values()), f"{place} names")
    known = columns_of(table)
    for key, columns in (("required", required), ("optional", optional), ("names", names)):
        if unknown := sorted(set(columns) - known):
            raise _wrong(
                f"{place} {key}", f"column {unknown[0]!r}: expected one of {_listed(known)}"
            )
    if both := sorted(required & optional):
        raise _wrong(place, f"column {both[0]!r} is both required and optional")
    if "created_at" in optional:
        raise _wrong(place, "created_at cannot be optional: it says which day a row belongs to")
    whole = (REQUIRED[table] | required) - optional
    contract = TableContract(whole, dict(names), ignored)
    by_title: dict[str, str] = {}
    for column in sorted(known):
        title = contract.at_source(column)
        if title in by_title and (column in names or by_title[title] in names):
            raise _wrong(
                f"{place} names",
                f"{title!r} stands for both {by_title[title]} and {column}: name the other one "
                "too, or take this line out",
            )
        by_title[title] = column
    if left_out := sorted(column for column in whole if contract.at_source(column) in ignored):
        raise _wrong(place, f"column {left_out[0]!r} is required, but ignored")
    return contract


def _texts(values: Any, place: str) -> frozenset[str]:
    if not isinstance(values, list) or not all(isinstance(v, str) and v for v in values):
        raise _wrong(place, "expected names of columns in quotes")
    return frozenset(values)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _wrong(where: str, what: str) -> SettingsError:
    return SettingsError(f"{SETTING}: {where}: {what}")
