"""From rows that somebody has to the frames that a source serves: for sources of other packages.

A row is a mapping from column to value, named as Dify names them (or as the file of
NOCODB_COLUMN_CONTRACT says): text, numbers, booleans, times as text with an offset, or null.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.schemas import INSTANT
from conversation_analytics.core.values import (
    WrongValueError,
    decode_json,
    encode_json,
    typed_id,
    typed_instant,
)
from conversation_analytics.core.zones import DAILY

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from conversation_analytics.core.source import SourceTable

CHANGES: Final = pl.Schema(
    {"id": pl.String(), "created_at": INSTANT, "changed_at": INSTANT, "fingerprint": pl.String()}
)
"""What `Source.changes_since` returns."""
_OF_CHANGE: Final = frozenset({"updated_at"})


def served_rows(
    table: SourceTable, rows: Iterable[Mapping[str, Any]], *, created: str = "created_at"
) -> pl.DataFrame:
    """Return rows in the raw schema of `table`; of several with one id the last one counts.

    Args:
        table: what the rows are.
        rows: each with an `id` (text or a whole number).
        created: the column of the time of creation. A value that is no time counts as none: the
            row is served among the undated ones, and becomes a dead letter where it is typed.

    Raises:
        ContractError: a row has no id.
    """
    by_id: dict[str, tuple[dt.datetime | None, str, str]] = {}
    for number, row in enumerate(rows, start=1):
        content = {name: value for name, value in row.items() if name not in _OF_CHANGE}
        served = _instant(row.get(created)), encode_json(dict(row)), encode_json(content)
        by_id[_id(table, number, row.get("id"))] = served
    schema = DAILY[table].raw
    frame = pl.DataFrame(
        {
            "id": list(by_id),
            "created_at": [at for at, _, _ in by_id.values()],
            "payload": [payload for _, payload, _ in by_id.values()],
            "sha256": [_sha256(payload) for _, payload, _ in by_id.values()],
            "content_sha256": [_sha256(content)[:32] for _, _, content in by_id.values()],
            "fingerprint": [_sha256(payload)[:32] for _, payload, _ in by_id.values()],
            "gone": [False] * len(by_id),
        },
        schema=schema.polars,
    )
    return schema.conform(frame)


def served_changes(
    raw: pl.DataFrame, since: dt.datetime, *, changed: str = "updated_at"
) -> pl.DataFrame:
    """Return what `Source.changes_since` does, of rows in the raw schema.

    Args:
        raw: of `served_rows`.
        since: aware UTC.
        changed: the column of the time of change.
    """
    times = [_instant(decode_json(payload).get(changed)) for payload in raw["payload"]]
    seen = raw.with_columns(pl.Series("changed_at", times, dtype=INSTANT))
    return seen.filter(pl.max_horizontal("created_at", "changed_at") >= since).select(
        CHANGES.names()
    )


def _id(table: SourceTable, number: int, value: object) -> str:
    try:
        found = typed_id(value)
    except WrongValueError:
        found = None
    if found is None:
        raise ContractError(
            f"{table}, row {number}: expected an id, text or a whole number, got "
            f"{type(value).__name__}; correct the row at the source"
        )
    return found


def _instant(value: object) -> dt.datetime | None:
    try:
        return typed_instant(value)
    except WrongValueError:
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
