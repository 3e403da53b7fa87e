"""A table of the lake as one Parquet, CSV or JSONL file, day by day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from conversation_analytics.core.errors import ExportError
from conversation_analytics.exports.selection import Selection, day_sql, is_of_days
from conversation_analytics.reports.rows import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    import pyarrow as pa

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.sql import LakeSql
    from conversation_analytics.lake.store import Lake

TableFormat = Literal["parquet", "csv", "jsonl"]


def export_table(
    lake: Lake,
    sql: LakeSql,
    table: TableSchema,
    selection: Selection,
    form: TableFormat,
    sink: BinaryIO,
) -> int:
    """Write the rows of a table, the first day first, each day in the table's order.

    Tables of days have `partition_day` as their last column. CSV text that a spreadsheet would
    run gets an apostrophe in front. No more than a day is held in memory.

    Returns:
        Rows written.

    Raises:
        ExportError: the table has no apps, or no days, and some are asked for.
        LakeError: what is stored cannot be read.
        LakeUnavailableError: the storage does not answer, or a day was replaced meanwhile.
    """
    if selection.app is not None and "app_id" not in table.polars:
        raise ExportError(f"{table.name} has no app_id: leave out --app")
    if not is_of_days(table) and (selection.first or selection.last):
        raise ExportError(f"{table.name} has no days: leave out --from and --to")
    schema = _in_utc(sql.query(f"SELECT * FROM {table.name} WHERE false").schema)
    counted = _Counted(_batches(lake, sql, table, selection, schema))
    write_rows(form, schema, counted, sink)
    return counted.rows


class _Counted:
    """Batches, and how many rows there were."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self.rows = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.rows += batch.num_rows
            yield batch


def _batches(
    lake: Lake, sql: LakeSql, table: TableSchema, selection: Selection, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa  # noqa: PLC0415 - import budget

    if is_of_days(table):
        texts = [
            day_sql("*", table.name, key, selection, table.sort_by)
            for key in selection.keys(lake, table)
        ]
    else:
        where = "" if selection.app is None else " WHERE coalesce(app_id, '') = $app"
        texts = [f"SELECT * FROM {table.name}{where} ORDER BY {', '.join(table.sort_by)}"]
    for text in texts:
        rows = sql.query(text, selection.given)
        # A day is one row group of Parquet, however its rows came.
        whole = pa.Table.from_batches(list(rows.batches), rows.schema)
        yield from whole.cast(schema).combine_chunks().to_batches()


def _in_utc(schema: pa.Schema) -> pa.Schema:
    """Name the zone as the lake does: DuckDB says Etc/UTC, which some readers do not know."""
    import pyarrow as pa  # noqa: PLC0415 - import budget

    def named(field: pa.Field[pa.DataType]) -> pa.Field[pa.DataType]:
        zoned = pa.types.is_timestamp(field.type) and field.type.tz is not None
        return field.with_type(pa.timestamp("us", "UTC")) if zoned else field

    return pa.schema([named(field) for field in schema])
