"""What every source has to do: see `core.source.Source`."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.contracts.broken import broken
from conversation_analytics.core.contract import Contract, default_contract
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.served_rows import CHANGES
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.zones import DAILY

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from conversation_analytics.core.source import Source

_NO_ID = "an id that no source has"
_THREADS = 4


def check_source(
    source: Source,
    start: dt.datetime,
    end: dt.datetime,
    *,
    tables: Sequence[SourceTable] = (SourceTable.CONVERSATIONS, SourceTable.MESSAGES),
    contract: Contract | None = None,
) -> None:
    """Check a source on a window whose rows do not change meanwhile.

    Args:
        source: is read, not closed.
        start: aware UTC.
        end: aware UTC; `[start, end)` holds rows of each of `tables`, and some dead letters at
            most: not all rows may be so bad that they cannot be typed.
        tables: those that have rows in the window; the others are asked, too.
        contract: how the source names its columns; None: as Dify does.

    Raises:
        ContractBrokenError: something does not hold.
    """
    for table in SourceTable:
        rows = source.read_window(table, start, end)
        where = f"read_window of {table}"
        _check_raw(table, rows, where)
        _check_window(rows, start, end, where)
        _check_halves(source, table, rows, start, end)
        _check_undated(source, table)
        _check_ids(source, table, rows)
        _check_changes(source, table, rows, start)
        if table in tables:
            _check_typed(table, rows, contract or default_contract())
    _check_threads(lambda: source.read_window(SourceTable.MESSAGES, start, end))
    told = source.describe()
    if not all(isinstance(one, str) for pair in told.items() for one in pair):
        broken("describe", "texts by name", told)


def _check_raw(table: SourceTable, rows: pl.DataFrame, where: str) -> None:
    schema = DAILY[table].raw.polars
    if rows.schema != schema or rows.columns != schema.names():
        broken(where, f"the columns {dict(schema)} in this order", dict(rows.schema))
    if rows["id"].null_count() or rows["id"].n_unique() != rows.height:
        broken(where, "an id in every row, each once", _first(rows, ~rows["id"].is_unique()))
    if not rows["gone"].not_().all():
        broken(where, "gone false: only the platform says so", _first(rows, rows["gone"]))
    for name in ("payload", "sha256", "content_sha256", "fingerprint"):
        if not (rows[name].fill_null("") != "").all():
            broken(where, f"{name} in every row", _first(rows, rows[name].fill_null("") == ""))
    for row_id, payload, digest in rows.select("id", "payload", "sha256").iter_rows():
        if hashlib.sha256(payload.encode()).hexdigest() != digest:
            broken(f"{where}, row {row_id}", "sha256 to be that of the payload", digest)


def _check_window(rows: pl.DataFrame, start: dt.datetime, end: dt.datetime, where: str) -> None:
    inside = rows.select(
        one=((pl.col("created_at") >= start) & (pl.col("created_at") < end)).fill_null(value=False)
    )["one"]
    if not inside.all():
        broken(where, f"created_at in [{start}, {end})", _first(rows, ~inside))


def _check_halves(
    source: Source, table: SourceTable, rows: pl.DataFrame, start: dt.datetime, end: dt.datetime
) -> None:
    # At a row's own time: there a bound that is open or closed where it should not be is seen.
    middle = rows["created_at"].sort()[rows.height // 2] if rows.height else start
    halves = [source.read_window(table, *one) for one in ((start, middle), (middle, end))]
    _same(rows, pl.concat(halves), f"read_window of {table} in two halves, parted at {middle}")


def _check_undated(source: Source, table: SourceTable) -> None:
    undated = source.read_undated(table)
    _check_raw(table, undated, f"read_undated of {table}")
    if undated["created_at"].count():
        dated = _first(undated, undated["created_at"].is_not_null())
        broken(f"read_undated of {table}", "created_at null", dated)


def _check_ids(source: Source, table: SourceTable, rows: pl.DataFrame) -> None:
    where = f"read_ids of {table}"
    ids = rows["id"].to_list()
    found = source.read_ids(table, [*ids[::2], _NO_ID])
    _check_raw(table, found, where)
    _same(rows.filter(pl.col("id").is_in(ids[::2])), found, where)
    if source.read_ids(table, []).height:
        broken(f"{where} without ids", "no rows", "some")


def _check_changes(
    source: Source, table: SourceTable, rows: pl.DataFrame, start: dt.datetime
) -> None:
    where = f"changes_since {start} of {table}"
    changes = source.changes_since(table, start)
    if changes.schema != CHANGES or changes.columns != CHANGES.names():
        broken(where, f"the columns {dict(CHANGES)} in this order", dict(changes.schema))
    seen = rows.join(changes, on="id", how="left", suffix="_seen")
    # A null fingerprint is a row that was not listed.
    other = seen["fingerprint"].ne_missing(seen["fingerprint_seen"])
    if other.any():
        broken(where, "every row of the window with its fingerprint", _first(rows, other))


def _check_typed(table: SourceTable, rows: pl.DataFrame, contract: Contract) -> None:
    where = f"read_window of {table}"
    if rows.is_empty():
        broken(where, "rows in the window given", "none")
    typed = type_rows(rows, DAILY[table].curated, where=where, contract=contract.tables[table])
    if typed.frame.is_empty():
        reasons = typed.dead_letters["reason"].unique().sort().to_list()
        broken(where, "rows that can be typed", f"only dead letters: {reasons}")


def _check_threads(read: Callable[[], pl.DataFrame]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        first, *others = pool.map(lambda _: read(), range(_THREADS))
    for one in others:
        _same(first, one, "read_window of messages in several threads at once")


def _same(expected: pl.DataFrame, got: pl.DataFrame, where: str) -> None:
    """Compare rows whatever their order."""
    columns = ["id", "created_at", "content_sha256", "fingerprint"]
    if not expected.select(columns).sort("id").equals(got.select(columns).sort("id")):
        broken(where, f"the same {expected.height} rows again", f"{got.height} rows, or others")


def _first(rows: pl.DataFrame, wrong: pl.Series) -> str:
    """Return which rows are wrong: their count, and the id of the first."""
    ids = rows.filter(wrong)["id"]
    return f"otherwise in {len(ids)} rows, the first with id {ids[0] if len(ids) else None!r}"
