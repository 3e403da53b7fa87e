"""Dify's three tables, as its PostgreSQL has them and as NocoDB's own tables would.

Only the keys are required, where Dify requires most columns: short rows make readable
tests, and rows without times, as imports leave them, must be possible.
"""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.types.json import Json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONVERSATIONS = "conversations"
MESSAGES = "messages"
FEEDBACKS = "message_feedbacks"

_UUID = "uuid"
_TIME = "timestamp without time zone"
_NOW = f"{_TIME} DEFAULT (now() AT TIME ZONE 'UTC')"
_TEXT = "text"
_NAME = "character varying(255)"
_COUNT = "integer DEFAULT 0"
_UNIT_PRICE = "numeric(10,4)"
_FINE_PRICE = "numeric(10,7)"


@dataclass(frozen=True, slots=True)
class DifyColumn:
    """A column of Dify's.

    Attributes:
        name: its name in PostgreSQL, and its title in NocoDB's own table.
        pg_type: type in PostgreSQL, with default and constraint.
        uidt: type of NocoDB's own column ("UI data type").
    """

    name: str
    pg_type: str
    uidt: str


def _columns(*specs: tuple[str, str, str]) -> tuple[DifyColumn, ...]:
    return tuple(DifyColumn(*spec) for spec in specs)


COLUMNS: dict[str, tuple[DifyColumn, ...]] = {
    CONVERSATIONS: _columns(
        ("id", "uuid PRIMARY KEY", "SingleLineText"),
        ("app_id", _UUID, "SingleLineText"),
        ("app_model_config_id", _UUID, "SingleLineText"),
        ("model_provider", _NAME, "SingleLineText"),
        ("override_model_configs", _TEXT, "LongText"),
        ("model_id", _NAME, "SingleLineText"),
        ("mode", _NAME, "SingleLineText"),
        ("name", _NAME, "SingleLineText"),
        ("summary", _TEXT, "LongText"),
        ("inputs", "json", "JSON"),
        ("introduction", _TEXT, "LongText"),
        ("system_instruction", _TEXT, "LongText"),
        ("system_instruction_tokens", _COUNT, "Number"),
        ("status", "character varying(255) DEFAULT 'normal'", "SingleLineText"),
        ("invoke_from", _NAME, "SingleLineText"),
        ("from_source", _NAME, "SingleLineText"),
        ("from_end_user_id", _UUID, "SingleLineText"),
        ("from_account_id", _UUID, "SingleLineText"),
        ("read_at", _TIME, "DateTime"),
        ("read_account_id", _UUID, "SingleLineText"),
        ("dialogue_count", _COUNT, "Number"),
        ("created_at", _NOW, "DateTime"),
        ("updated_at", _NOW, "DateTime"),
        ("is_deleted", "boolean DEFAULT false", "Checkbox"),
    ),
    MESSAGES: _columns(
        ("id", "uuid PRIMARY KEY", "SingleLineText"),
        ("app_id", _UUID, "SingleLineText"),
        ("model_provider", _NAME, "SingleLineText"),
        ("model_id", _NAME, "SingleLineText"),
        ("override_model_configs", _TEXT, "LongText"),
        ("conversation_id", "uuid NOT NULL REFERENCES conversations (id)", "SingleLineText"),
        ("inputs", "json", "JSON"),
        ("query", _TEXT, "LongText"),
        ("message", "json", "JSON"),
        ("message_tokens", _COUNT, "Number"),
        ("message_unit_price", _UNIT_PRICE, "Decimal"),
        ("message_price_unit", f"{_FINE_PRICE} DEFAULT 0.001", "Decimal"),
        ("answer", _TEXT, "LongText"),
        ("answer_tokens", _COUNT, "Number"),
        ("answer_unit_price", _UNIT_PRICE, "Decimal"),
        ("answer_price_unit", f"{_FINE_PRICE} DEFAULT 0.001", "Decimal"),
        ("parent_message_id", _UUID, "SingleLineText"),
        ("provider_response_latency", "double precision DEFAULT 0", "Decimal"),
        ("total_price", _FINE_PRICE, "Decimal"),
        ("currency", _NAME, "SingleLineText"),
        ("status", "character varying(255) DEFAULT 'normal'", "SingleLineText"),
        ("error", _TEXT, "LongText"),
        ("message_metadata", _TEXT, "LongText"),
        ("invoke_from", _NAME, "SingleLineText"),
        ("from_source", _NAME, "SingleLineText"),
        ("from_end_user_id", _UUID, "SingleLineText"),
        ("from_account_id", _UUID, "SingleLineText"),
        ("created_at", _NOW, "DateTime"),
        ("updated_at", _NOW, "DateTime"),
        ("agent_based", "boolean DEFAULT false", "Checkbox"),
        ("workflow_run_id", _UUID, "SingleLineText"),
    ),
    FEEDBACKS: _columns(
        ("id", "uuid PRIMARY KEY", "SingleLineText"),
        ("app_id", _UUID, "SingleLineText"),
        ("conversation_id", _UUID, "SingleLineText"),
        ("message_id", _UUID, "SingleLineText"),
        ("rating", _NAME, "SingleLineText"),
        ("content", _TEXT, "LongText"),
        ("from_source", _NAME, "SingleLineText"),
        ("from_end_user_id", _UUID, "SingleLineText"),
        ("from_account_id", _UUID, "SingleLineText"),
        ("created_at", _NOW, "DateTime"),
        ("updated_at", _NOW, "DateTime"),
    ),
}
_UUID_COLUMNS = frozenset(
    column.name
    for columns in COLUMNS.values()
    for column in columns
    if column.pg_type.startswith(_UUID)
)
_TIME_COLUMNS = frozenset(
    column.name for columns in COLUMNS.values() for column in columns if column.uidt == "DateTime"
)


def as_uuid(identifier: str) -> str:
    """Return `identifier` if it is a UUID, else the UUID that always stands for it."""
    try:
        return str(uuid.UUID(identifier))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, identifier))


def _pg_value(name: str, value: Any, *, convert_ids: bool) -> Any:
    if value is None:
        return None
    if name in _UUID_COLUMNS:
        return as_uuid(value) if convert_ids else value
    if name in _TIME_COLUMNS:
        # COPY would drop an offset in silence.
        time = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
        return time if time.tzinfo is None else time.astimezone(dt.UTC).replace(tzinfo=None)
    if isinstance(value, dict | list):
        return Json(value)
    return value


def create_dify_database(dsn: str, database: str) -> str:
    """Create `database` with Dify's empty tables; one that exists already stays as it is.

    Args:
        dsn: connection string of any database of the server, in URL form.
        database: name of the new one.

    Returns:
        The connection string of the new database.
    """
    new_dsn = f"{dsn.rpartition('/')[0]}/{database}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
        if found.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    with psycopg.connect(new_dsn) as connection:
        for table, columns in COLUMNS.items():  # conversations first: messages refer to them
            body = sql.SQL(", ").join(
                # The types are constants of this module.
                sql.SQL("{} " + column.pg_type).format(sql.Identifier(column.name))
                for column in columns
            )
            connection.execute(
                sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(sql.Identifier(table), body)
            )
            connection.execute(
                sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (created_at)").format(
                    sql.Identifier(f"{table}_created_at_idx"), sql.Identifier(table)
                )
            )
    return new_dsn


def empty_dify_tables(dsn: str) -> None:
    """Remove every row of all tables."""
    with psycopg.connect(dsn) as connection:
        connection.execute("TRUNCATE message_feedbacks, messages, conversations")


def load_dify_rows(
    dsn: str, table: str, rows: Iterable[Mapping[str, Any]], *, convert_ids: bool = False
) -> int:
    """Insert rows with COPY, all or none; a row whose id exists already is replaced.

    Args:
        dsn: connection string of the database.
        table: a name of `COLUMNS`; load conversations before messages.
        rows: mappings with Dify's column names; all have the columns of the first, the other
            columns get Dify's defaults. Times are datetimes or ISO text, aware or UTC; JSON
            columns are dicts or JSON text; prices Decimal or text.
        convert_ids: turn ids that are no UUID into UUIDs with `as_uuid`.

    Returns:
        The number of rows.

    Raises:
        psycopg.Error: a value, a column or a foreign key is wrong.
        KeyError: a row lacks a column of the first row.
    """
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        return 0
    names = list(first)
    target = sql.Identifier(table)
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    changes = sql.SQL(", ").join(
        sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in names
    )
    count = 0
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE loading ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA"
            ).format(columns, target)
        )
        copying = sql.SQL("COPY loading ({}) FROM STDIN").format(columns)
        with cursor.copy(copying) as copy:
            for row in itertools.chain((first,), remaining):
                copy.write_row(
                    [_pg_value(name, row[name], convert_ids=convert_ids) for name in names]
                )
                count += 1
        cursor.execute(
            sql.SQL(
                "INSERT INTO {0} ({1}) SELECT {1} FROM loading ON CONFLICT (id) DO UPDATE SET {2}"
            ).format(target, columns, changes)
        )
    return count
