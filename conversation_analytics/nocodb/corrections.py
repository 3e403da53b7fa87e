"""Corrections of categories that people keep in a table of NocoDB."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from conversation_analytics.core.corrections import CORRECTIONS
from conversation_analytics.core.errors import ContractError
from conversation_analytics.nocodb.discovery import described, find_table

if TYPE_CHECKING:
    from conversation_analytics.nocodb.client import NocoDBClient

logger = logging.getLogger("conversation_analytics.nocodb")

SETTING: Final = "NOCODB_CORRECTIONS_TABLE"
_COLUMNS: Final = tuple(column.name for column in CORRECTIONS.columns if column.name != "row_id")
_NEEDED: Final = ("type", "label")


def read_corrections(client: NocoDBClient, table: str) -> pl.DataFrame:
    """Return every row of the table of corrections.

    Args:
        client: asks the server.
        table: title or id.

    Returns:
        Schema `CORRECTIONS`: cells as text, without space around them, null where empty.

    Raises:
        SourceRequestError: there is no such table, or more than one.
        ContractError: it lacks a column, or its primary key cannot be used.
        AnalyticsError: as `NocoDBClient.get_json_bytes`.
    """
    layout = described(client, find_table(client, table, SETTING))
    key = layout.key
    there = layout.columns
    missing = [name for name in _NEEDED if name not in there]
    if not {"text", "conversation_id"} & there.keys():
        missing.append("text or conversation_id")
    if missing or key is None:
        raise ContractError(
            f"table {layout.title!r} of {SETTING} lacks: "
            f"{', '.join(missing) or 'a primary key of one column'}; it has: "
            f"{', '.join(sorted(there))}. Name its columns {', '.join(_COLUMNS)} (`by` may be "
            "missing, and one of text and conversation_id)"
        )
    wanted = {name: there[name] for name in _COLUMNS if name in there}
    params = {
        "fields": ",".join([key.reference, *(column.reference for column in wanted.values())]),
        "sort": key.reference,
        "limit": str(client.config.page_size),
    }
    path = client.records_path(layout.id)
    rows: dict[str, dict[str, str | None]] = {}
    after: dict[str, str] = {}
    sure = False
    while True:
        page = client.get_list(path, params | after).rows
        if not page:
            if sure:  # a server in trouble may give an empty page once
                break
            sure = True
            continue
        sure = False
        known = len(rows)
        for raw in page:
            row: dict[str, Any] = msgspec.json.decode(raw)
            row_id = _key(row.get(key.title), layout.title)
            rows[row_id] = {name: _cell(row.get(one.title)) for name, one in wanted.items()}
        if len(rows) == known:
            raise ContractError(
                f"table {layout.title!r} of {SETTING}: the server gives the same page again behind "
                f"its last row; is {key.title} its primary key?"
            )
        after = {"where": f"({key.reference},gt,{row_id})"}
    logger.info("nocodb read: table=corrections rows=%d", len(rows))
    found = [{"row_id": row_id, **cells} for row_id, cells in rows.items()]
    return CORRECTIONS.conform(pl.DataFrame(found, schema=CORRECTIONS.polars))


def _key(value: object, title: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isalnum():
        raise ContractError(
            f"table {title!r} of {SETTING}: expected a primary key of a number or plain letters "
            "and digits; make a table in NocoDB, which has an Id of its own"
        )
    return str(value)


def _cell(value: object) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return " ".join(text.split()) or None
