"""Which table is meant, which of its columns are loaded, and what each is for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from conversation_analytics.core.contract import (
    SETTING,
    TableContract,
    columns_of,
    default_contract,
)
from conversation_analytics.core.errors import (
    ContractError,
    SourceRequestError,
    SourceUnavailableError,
)
from conversation_analytics.core.rows import (
    DIFY_COLUMNS,
    NOCODB_COLUMNS,
    match_titles,
    named,
    suggested_name,
)
from conversation_analytics.core.source import SourceTable

if TYPE_CHECKING:
    from conversation_analytics.nocodb.client import NocoDBClient

# Computed or joined by the server for every row: 13 to 25 times slower, and no data of the row.
COMPUTED: Final = frozenset(
    {"LinkToAnotherRecord", "Links", "Lookup", "Rollup", "Formula", "Count", "QrCode", "Barcode",
     "Button"}
)  # fmt: skip
# NocoDB's own book-keeping about a row, which is not part of it.
_BOOK_KEEPING: Final = frozenset({"CreatedBy", "LastModifiedBy", "Order", "Meta", "Deleted"})

_PROMPT: Final = "message"
# Without it a turn cannot be typed, whatever the contract says.
_ALWAYS: Final = {
    SourceTable.CONVERSATIONS: frozenset[str](),
    SourceTable.MESSAGES: frozenset({"conversation_id"}),
    SourceTable.FEEDBACKS: frozenset({"message_id"}),
}
# Small columns that tell a finished or changed turn from the one seen before.
_TELLING: Final = (
    "status", "answer_tokens", "message_tokens", "total_price", "provider_response_latency",
    "workflow_run_id", "dialogue_count", "is_deleted", "rating",
)  # fmt: skip
_PLAIN_TITLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table in NocoDB.

    Attributes:
        title: its key in the rows served.
        reference: what stands for it in `fields`, `sort` and `where`.
        uidt: NocoDB's type.
    """

    title: str
    reference: str
    uidt: str


@dataclass(frozen=True, slots=True)
class TableLayout:
    """What the reader has to know about a table.

    Attributes:
        table: whose rows it holds.
        id: id of the table in NocoDB.
        title: its title.
        key: primary key; the keyset goes along it.
        row_id: column with the id of the row: `id` by the contract, else the primary key.
        created_at: `created_at`, else NocoDB's own time of creation.
        changes: columns whose time moves when a row is added or changed, `created_at` apart.
        columns: loaded columns, in the server's order.
        light: columns that show whether a row changed; no text of it.
        required: titles that every row served must have.
    """

    table: SourceTable
    id: str
    title: str
    key: Column
    row_id: Column
    created_at: Column
    changes: tuple[Column, ...]
    columns: tuple[Column, ...]
    light: tuple[Column, ...]
    required: frozenset[str]


class _Table(msgspec.Struct):
    id: str
    title: str
    table_name: str | None = None


class _Column(msgspec.Struct):
    id: str
    title: str
    uidt: str
    # Booleans are 0 and 1 on some databases.
    pk: bool | int | None = None
    system: bool | int | None = None


class _TableMeta(msgspec.Struct):
    title: str
    columns: list[_Column]
    table_name: str | None = None


_TABLE: Final = msgspec.json.Decoder(_Table)
_TABLE_META: Final = msgspec.json.Decoder(_TableMeta)

_SETTING: Final = {
    SourceTable.CONVERSATIONS: "NOCODB_CONVERSATION_TABLE",
    SourceTable.MESSAGES: "NOCODB_MESSAGES_TABLE",
    SourceTable.FEEDBACKS: "NOCODB_FEEDBACKS_TABLE",
}


def discover(
    client: NocoDBClient, table: SourceTable, contract: TableContract | None = None
) -> TableLayout:
    """Find `table` by the title or id in the configuration and lay out its columns.

    Args:
        client: asks the server.
        table: whose rows are wanted.
        contract: of that table; None is `default_contract()`'s.

    Raises:
        SourceRequestError: there is no such table, or more than one.
        ContractError: a required column is missing.
        AnalyticsError: as `NocoDBClient.get_json_bytes`.
    """
    table_id = resolve_table(client, table)
    path = client.table_path(table_id)
    try:
        meta = _TABLE_META.decode(client.get_json_bytes(path))
    except msgspec.ValidationError as error:
        raise _unexpected(path, error) from None
    if contract is None:
        contract = default_contract().tables[table]
    return lay_out(table, table_id, meta, contract, load_prompt=client.config.load_prompt)


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A table in NocoDB.

    Attributes:
        id: its id.
        title: its title.
        name: its name in the database; empty where the server does not say.
        key: its primary key; None where it has none, or one of several columns.
        columns: those that are stored, by title.
    """

    id: str
    title: str
    name: str
    key: Column | None
    columns: dict[str, Column]


def described(client: NocoDBClient, table_id: str) -> TableDescription:
    """Return what NocoDB says of a table.

    Raises:
        ContractError: a column can be asked for neither by title nor by id.
        AnalyticsError: as `NocoDBClient.get_json_bytes`.
    """
    path = client.table_path(table_id)
    try:
        meta = _TABLE_META.decode(client.get_json_bytes(path))
    except msgspec.ValidationError as error:
        raise _unexpected(path, error) from None
    stored = [column for column in meta.columns if column.uidt not in COMPUTED]
    keys = [_column(column) for column in stored if column.pk]
    return TableDescription(
        table_id,
        meta.title,
        meta.table_name or "",
        keys[0] if len(keys) == 1 else None,
        {one.title: _column(one) for one in stored if one.uidt not in _BOOK_KEEPING},
    )


def resolve_table(client: NocoDBClient, table: SourceTable) -> str:
    """Return the id of the configured table.

    Raises:
        SourceRequestError: there is no such table, or more than one.
        AnalyticsError: as `NocoDBClient.get_json_bytes`.
    """
    config = client.config
    wanted = {
        SourceTable.CONVERSATIONS: config.conversations_table,
        SourceTable.MESSAGES: config.messages_table,
        SourceTable.FEEDBACKS: config.feedbacks_table,
    }[table]
    return find_table(client, wanted, _SETTING[table])


def find_table(client: NocoDBClient, wanted: str, setting: str) -> str:
    """Return the id of the table that is called `wanted` by id, title or name in the database.

    Args:
        client: asks the server.
        wanted: value of the setting.
        setting: its name, for messages.

    Raises:
        SourceRequestError: there is no such table, or more than one.
        AnalyticsError: as `NocoDBClient.get_json_bytes`.
    """
    config = client.config
    listing = client.get_tables()
    try:
        tables = [_TABLE.decode(row) for row in listing.rows]
    except msgspec.ValidationError as error:
        raise _unexpected(client.tables_path(), error) from None
    for found in (
        [one for one in tables if one.id == wanted],
        [one for one in tables if one.title == wanted],
        [one for one in tables if one.table_name == wanted],
    ):
        if len(found) == 1:
            return found[0].id
        if found:
            ids = ", ".join(one.id for one in found)
            raise SourceRequestError(
                f"base {config.project_id} has {len(found)} tables {wanted!r} (ids {ids}): put "
                f"the id of the right one into {setting}"
            )
    titles = ", ".join(sorted(repr(one.title) for one in tables))
    raise SourceRequestError(
        f"base {config.project_id} has no table {wanted!r} by title or id; it has: {titles}. "
        f"Correct {setting} (or NOCODB_PROJECT_ID); a database just connected may not be "
        "read in yet"
    )


def lay_out(
    table: SourceTable,
    table_id: str,
    meta: _TableMeta,
    contract: TableContract,
    *,
    load_prompt: bool,
) -> TableLayout:
    """Return which columns are loaded and what each is for.

    Args:
        table: whose rows the table holds.
        table_id: id in NocoDB.
        meta: NocoDB's description of the table.
        contract: how the source names the columns, which it must have and which to leave out.
        load_prompt: keep the column `message` of the messages.

    Raises:
        ContractError: a required column is missing.
    """
    stored = [column for column in meta.columns if column.uidt not in COMPUTED]
    keys = [_column(column) for column in stored if column.pk]
    by_title = {
        column.title: _column(column)
        for column in stored
        if column.uidt not in _BOOK_KEEPING and column.title not in contract.ignored
    }
    if not load_prompt and table is SourceTable.MESSAGES:
        by_title.pop(_PROMPT, None)
    titles = match_titles(by_title, sorted(columns_of(table)), contract)
    by_name = {name: by_title[title] for name, title in titles.items()}
    created = by_name.get("created_at")
    if created is None and "created_at" not in contract.names:
        created = _of_type(by_title, "CreatedTime")
    required = contract.required | _ALWAYS[table] | (contract.names.keys() & {"id"})
    missing = [
        named(name, contract)
        for name in sorted(required - by_name.keys())
        if name != "created_at" or created is None
    ]
    if len(keys) != 1:
        missing.insert(0, f"a primary key of one column (it has {len(keys)})")
    if missing or created is None:  # the second for the type checker
        there = ", ".join(f"{column.title} ({column.uidt})" for column in meta.columns)
        absent = sorted(columns_of(table) - by_name.keys())
        taken = {column.title for column in by_name.values()} | NOCODB_COLUMNS | DIFY_COLUMNS
        suggestion = suggested_name(table.value, absent, sorted(by_title.keys() - taken))
        raise ContractError(
            f"table {meta.title!r} ({table}) lacks: {', '.join(missing)}; it has: {there}. Name "
            f"its columns in the file of {SETTING}"
            + (f" (perhaps: {suggestion})" if suggestion else "")
            + f", or point {_SETTING[table]} at the right table"
        )
    key = keys[0]
    row_id = by_name.get("id", key)
    changes = tuple(
        column
        for column in by_title.values()
        if column is not created
        and (
            column is by_name.get("updated_at")
            or column.uidt in {"CreatedTime", "LastModifiedTime"}
        )
    )
    telling = [by_name[name] for name in _TELLING if name in by_name]
    # The key is needed to read at all, even where it is to be ignored.
    columns = {key.title: key} | by_title if key.title not in by_title else by_title
    return TableLayout(
        table=table,
        id=table_id,
        title=meta.title,
        key=key,
        row_id=row_id,
        created_at=created,
        changes=changes,
        columns=tuple(columns.values()),
        light=tuple(dict.fromkeys((key, row_id, created, *changes, *telling))),
        required=frozenset(by_name[name].title for name in required & by_name.keys()),
    )


def _of_type(columns: dict[str, Column], uidt: str) -> Column | None:
    return next((column for column in columns.values() if column.uidt == uidt), None)


def _column(column: _Column) -> Column:
    # A comma or a bracket in a title would change the query; ids are plain, but only newer
    # servers take them everywhere.
    reference = column.title if _PLAIN_TITLE.fullmatch(column.title) else column.id
    if not _PLAIN_ID.fullmatch(reference):
        raise ContractError(
            f"column {column.title!r} has neither a plain title nor a plain id: rename it in "
            "NocoDB to letters, digits and underscores"
        )
    return Column(column.title, reference, column.uidt)


def _unexpected(path: str, error: msgspec.ValidationError) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"NocoDB's answer to GET {path} is not of the form expected: {error}. Is NOCODB_BASE_URL "
        "NocoDB's own address?"
    )
