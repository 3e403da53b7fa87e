"""Fill a NocoDB: over Dify's PostgreSQL, as most users have it, or with tables of its own."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from conversation_analytics.stack.dify import (
    COLUMNS,
    CONVERSATIONS,
    FEEDBACKS,
    MESSAGES,
    create_dify_database,
)
from conversation_analytics.stack.errors import StackStartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.postgres import PostgresServer

_BATCH = 100  # the server refuses more rows in a request
_COMPLETE_LOOKS = 3
_ATTACH_SECONDS = 60.0
_PRICE_DIGITS = 7


@dataclass(frozen=True, slots=True)
class DifyBase:
    """A base over Dify's PostgreSQL.

    Attributes:
        base_id: id of the base (project).
        conversations_table_id: id of the table `conversations`.
        messages_table_id: id of the table `messages`.
        dsn: connection string of the PostgreSQL database, to load rows; not shown by `repr`.
    """

    base_id: str
    conversations_table_id: str
    messages_table_id: str
    dsn: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NativeBase:
    """A base with tables of NocoDB's own: integer `Id`, `CreatedAt`, `UpdatedAt`, Dify's columns.

    Attributes:
        base_id: id of the base (project).
        conversations_table_id: id of the table `conversations`.
        messages_table_id: id of the table `messages`.
        foreign_key: column of `messages` behind its link to `conversations`; holds their `Id`.
    """

    base_id: str
    conversations_table_id: str
    messages_table_id: str
    foreign_key: str


def create_base(server: NocodbServer, title: str) -> str:
    """Return the id of a new, empty base.

    Raises:
        StackStartError: NocoDB refused it.
    """
    created = server.request("POST", "/api/v1/db/meta/projects", {"title": title})
    identifier: str = created["id"]
    return identifier


def _columns_of(server: NocodbServer, table_id: str) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = server.request("GET", f"/api/v2/meta/tables/{table_id}")[
        "columns"
    ]
    return columns


def _is_complete(server: NocodbServer, table_id: str, name: str) -> bool:
    """Tell whether every column is there, and the link that a foreign key makes."""
    found = _columns_of(server, table_id)
    titles = {column["title"] for column in found}
    linked = any(column["uidt"] in {"Links", "LinkToAnotherRecord"} for column in found)
    wanted = name != FEEDBACKS  # Dify has no foreign key on it
    return linked is wanted and titles.issuperset(column.name for column in COLUMNS[name])


def create_dify_base(
    server: NocodbServer, postgres: PostgresServer, *, title: str, database: str
) -> DifyBase:
    """Create a base over Dify's tables in a PostgreSQL database, which is created where absent.

    NocoDB reads the schema in a job of its own: this waits until every table has all its
    columns.

    Raises:
        StackStartError: NocoDB refused the source or had not read it after 60 s.
    """
    dsn = create_dify_database(postgres.dsn, database)
    base_id = create_base(server, title)
    connection = {
        "host": postgres.host,
        "port": postgres.port,
        "user": postgres.user,
        "password": postgres.password,
        "database": database,
    }
    server.request(
        "POST",
        f"/api/v1/db/meta/projects/{base_id}/bases",
        {
            "alias": "dify",
            "type": "pg",
            "config": {"client": "pg", "connection": connection, "searchPath": ["public"]},
            "inflection_column": "none",
            "inflection_table": "none",
            "is_data_readonly": True,
        },
    )
    started = time.monotonic()
    # Its list of tables was seen whole and then, for a moment, without one.
    complete = 0
    while True:
        listed = server.request("GET", f"/api/v2/meta/bases/{base_id}/tables")["list"]
        ids: dict[str, str] = {table["title"]: table["id"] for table in listed}
        if COLUMNS.keys() <= ids.keys() and all(
            _is_complete(server, ids[name], name) for name in COLUMNS
        ):
            complete += 1
            if complete == _COMPLETE_LOOKS:
                break
        else:
            complete = 0
        if time.monotonic() - started > _ATTACH_SECONDS:
            message = (
                f"NocoDB did not finish reading PostgreSQL database {database} in "
                f"{_ATTACH_SECONDS:g} s: it shows {sorted(ids)}, wanted {sorted(COLUMNS)} with all "
                "their columns; see its log"
            )
            raise StackStartError(message)
        time.sleep(0.2)
    return DifyBase(base_id, ids[CONVERSATIONS], ids[MESSAGES], dsn)


def _create_native_table(server: NocodbServer, base_id: str, name: str) -> str:
    columns = [
        {"title": column.name, "column_name": column.name, "uidt": column.uidt}
        | ({"meta": {"precision": _PRICE_DIGITS}} if column.uidt == "Decimal" else {})
        for column in COLUMNS[name]
    ]
    created = server.request(
        "POST",
        f"/api/v2/meta/bases/{base_id}/tables",
        {"title": name, "table_name": name, "columns": columns},
    )
    identifier: str = created["id"]
    return identifier


def create_native_base(server: NocodbServer, *, title: str) -> NativeBase:
    """Create a base with empty tables of NocoDB's own, messages linked to conversations.

    Raises:
        StackStartError: NocoDB refused it.
    """
    base_id = create_base(server, title)
    conversations = _create_native_table(server, base_id, CONVERSATIONS)
    messages = _create_native_table(server, base_id, MESSAGES)
    server.request(
        "POST",
        f"/api/v2/meta/tables/{conversations}/columns",
        {
            "title": "messages",
            "uidt": "Links",
            "type": "hm",
            "parentId": conversations,
            "childId": messages,
        },
    )
    foreign_key = next(
        column["title"]
        for column in _columns_of(server, messages)
        if column["uidt"] == "ForeignKey"
    )
    return NativeBase(base_id, conversations, messages, foreign_key)


def _plain(value: Any) -> Any:
    """Return a value as NocoDB's JSON takes it: times as UTC text, decimals as text."""
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo is None else value.astimezone(dt.UTC)).strftime(
            "%Y-%m-%d %H:%M:%S.%f+00:00"
        )
    return str(value) if isinstance(value, Decimal) else value


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while batch := [
        {name: _plain(value) for name, value in row.items()}
        for row in itertools.islice(remaining, _BATCH)
    ]:
        yield batch


def insert_rows(
    server: NocodbServer, table_id: str, rows: Iterable[Mapping[str, Any]]
) -> list[int]:
    """Insert rows into a table of NocoDB's own, 100 a request (about 460 rows/s).

    Returns:
        The `Id` of each row, in order.

    Raises:
        StackStartError: NocoDB refused a batch; those before it stay.
    """
    identifiers: list[int] = []
    for batch in _batches(rows):
        answer = server.request("POST", f"/api/v2/tables/{table_id}/records", batch)
        identifiers.extend(row["Id"] for row in answer)
    return identifiers


def update_rows(server: NocodbServer, table_id: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Change rows of a table of NocoDB's own; each names its `Id` and the columns to change.

    Raises:
        StackStartError: NocoDB refused a batch; those before it stay.
    """
    for batch in _batches(rows):
        server.request("PATCH", f"/api/v2/tables/{table_id}/records", batch)


def load_native_rows(
    server: NocodbServer,
    base: NativeBase,
    conversations: Iterable[Mapping[str, Any]],
    messages: Iterable[Mapping[str, Any]],
) -> tuple[list[int], list[int]]:
    """Insert conversations and messages; a message is linked where its conversation is new here.

    Returns:
        The `Id`s of the conversations and of the messages, in order.

    Raises:
        StackStartError: NocoDB refused a batch; those before it stay.
    """
    conversation_rows = list(conversations)
    conversation_ids = insert_rows(server, base.conversations_table_id, conversation_rows)
    by_name = dict(zip((row["id"] for row in conversation_rows), conversation_ids, strict=True))
    message_ids = insert_rows(
        server,
        base.messages_table_id,
        ({**row, base.foreign_key: by_name.get(row.get("conversation_id"))} for row in messages),
    )
    return conversation_ids, message_ids
