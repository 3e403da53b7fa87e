"""SQL over the lake: DuckDB with one read-only view per table.

Everything DuckDB reads comes through `lake://`, the lake's current objects; its own access to
files, the network and extensions is switched off, so that SQL can read the lake and nothing else.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb
import polars as pl
from duckdb.func import ARROW, SPECIAL
from rapidfuzz import fuzz, process

from conversation_analytics.core.errors import AnalyticsError, LakeError, QueryError
from conversation_analytics.core.rephrases import comparable
from conversation_analytics.core.schemas import INSTANT, MONEY
from conversation_analytics.core.tables import TABLES, period_of
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.snapshot import NO_DAY, PROTOCOL, Snapshot, SnapshotFiles
from conversation_analytics.lake.temporary_folders import SQL, TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    import pyarrow as pa

    from conversation_analytics.core.schemas import Column, TableSchema
    from conversation_analytics.lake.store import Lake

_Result = TypeVar("_Result")

DAY_COLUMN: Final = "partition_day"
_DAY_MEANING: Final = (
    "day of the partition, in ANALYTICS_TIMEZONE: bound it to read those days only"
)
_TYPES: Final[dict[pl.DataType | type[pl.DataType], str]] = {
    pl.String(): "VARCHAR",
    pl.Int64(): "BIGINT",
    pl.Float64(): "DOUBLE",
    pl.Boolean(): "BOOLEAN",
    pl.Date(): "DATE",
    INSTANT: "TIMESTAMPTZ",
    MONEY: "DECIMAL(20,7)",
}
_READING: Final = frozenset({"SELECT", "EXPLAIN", "MULTI"})  # MULTI is what PIVOT becomes
_ONLY_READS: Final = (
    "SQL here reads the lake's views and nothing else (SELECT, FROM, WITH, VALUES, PIVOT, "
    "DESCRIBE, SUMMARIZE, SHOW, EXPLAIN): no other files, no settings, no extensions"
)
_BATCH_ROWS: Final = 8_192
_SIGNAL_POLL_S: Final = 0.2
_LAST_WORDS_S: Final = 2.0  # what an interrupted query gets to end
_S3_THREADS: Final = 8  # they wait for answers, not for a core
_PLANNING: Final = (
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.BinderException,
    duckdb.CatalogException,
)
# What fails on rows may quote them; these words say as much and quote nothing.
_ON_ROWS: Final[tuple[tuple[type[duckdb.Error], str], ...]] = (
    (duckdb.ConversionException, "a value cannot be converted; TRY_CAST gives NULL there"),
    (duckdb.OutOfRangeException, "a value is out of range; TRY(...) gives NULL there"),
    (duckdb.InvalidInputException, "a function was given a value that it does not take"),
)


@dataclass(frozen=True, slots=True)
class SqlLimits:
    """What a query may use.

    Attributes:
        memory: of DuckDB, as it writes sizes (`4GB`, `50%` of the machine's).
        spill: disk below the system's temporary folder, for what exceeds the memory.
    """

    memory: str = "50%"
    spill: str = "20GB"


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a query, computed while it is read, once.

    Attributes:
        schema: columns in order; names may repeat.
        batches: the rows. Raises what `LakeSql.query` raises.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class LakeSql:
    """A DuckDB over the lake's tables; a context manager, which removes what was spilled.

    What a process that was killed has spilled is removed by the next one that makes this object.

    A view per table of `core.schemas.TABLES`, of the same name and columns, also where nothing
    is stored of it yet. Tables of day partitions have `partition_day DATE` at the end: bounds on
    it decide which objects are opened. Columns that older partitions lack have there what
    `Column.absent` says. Times are shown in UTC. What a table holds is looked up at its first
    use, and stays that for as long as this object lives.
    """

    def __init__(self, lake: Lake, limits: SqlLimits | None = None) -> None:
        limits = limits or SqlLimits()
        self._snapshot = Snapshot(lake)
        self._files = SnapshotFiles(self._snapshot)
        self._spill = TemporaryFolder(SQL)
        self._limits = limits
        # Python hears Ctrl-C only where its main thread is not inside DuckDB.
        self._thread = ThreadPoolExecutor(1, "lake-sql")
        self._running: Future[Any] | None = None
        threads = os.cpu_count() or 1
        if not isinstance(lake.objects, LocalObjects):
            threads = max(threads, _S3_THREADS)
        self._connection = duckdb.connect(
            config={
                "memory_limit": limits.memory,
                "temp_directory": os.fspath(self._spill.path),
                "max_temp_directory_size": limits.spill,
                "threads": str(threads),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
                "errors_as_json": "true",
            }
        )
        self._connection.register_filesystem(self._files)
        self._connection.create_function(
            "likeness", _likeness, ["VARCHAR", "VARCHAR"], "DOUBLE", type=ARROW,
            null_handling=SPECIAL,
        )  # fmt: skip
        for schema in TABLES:
            self._connection.execute(_view(schema))
        for statement in (
            "SET TimeZone = 'UTC'",
            f"SET allowed_directories = ['{PROTOCOL}://']",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self._connection.execute(statement)
        self._files.go_live()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End what runs, and remove what was spilled.

        A single step that hears nothing meanwhile (`repeat('x', 4000000000)`) is not waited for:
        it goes on in its thread, which the end of the process then waits for.
        """
        try:
            self._connection.interrupt()
            self._thread.shutdown(wait=False, cancel_futures=True)
            if self._is_idle():
                self._connection.close()
        finally:
            self._spill.remove()

    def _is_idle(self) -> bool:
        """Say whether what ran has ended, after a little patience."""
        return self._running is None or wait([self._running], _LAST_WORDS_S).not_done == set()

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> Rows:
        """Run one statement that reads.

        Args:
            sql: the statement.
            parameters: what stands for `$name` in it, by name: values, never SQL.

        Raises:
            QueryError: it is no SQL, not one statement, does more than read, names what there
                is not, fails on the rows, or needs more than the limits. The text quotes the
                statement at most, never a row.
            LakeError: an object is torn, or not of the pinned schema.
            LakeUnavailableError: the storage does not answer, or a partition was replaced while
                it was read.
        """
        cursor = self._cursor()
        self._require_reading(cursor, sql)
        given = None if parameters is None else dict(parameters)
        reader = self._do(
            cursor, sql, lambda: cursor.sql(sql, params=given).to_arrow_reader(_BATCH_ROWS), given
        )
        return Rows(reader.schema, self._batches(cursor, sql, reader, given))

    def count(self, sql: str) -> int:
        """Return how many rows `query` gives, reading no more columns than that takes.

        Raises what `query` raises.
        """
        self._require_reading(self._cursor(), sql)
        inner = sql.rstrip().rstrip(";")
        rows = self.query(f"SELECT count(*) FROM (\n{inner}\n)")
        return sum(batch.column(0)[0].as_py() for batch in rows.batches)

    def overview(self) -> Rows:
        """Return a row for each view: view, days, first_day, last_day, rows, columns.

        Days are null for a table without partitions, columns are `name TYPE, ...`. Looks at the
        footer of every object.

        Raises:
            LakeError: an object is torn, or not of the pinned schema.
            LakeUnavailableError: the storage does not answer.
        """
        import pyarrow as pa  # noqa: PLC0415  (import budget)

        return Rows(
            _overview_schema(),
            iter(
                [
                    pa.RecordBatch.from_pylist(
                        [self._overview(schema) for schema in TABLES], schema=_overview_schema()
                    )
                ]
            ),
        )

    def _overview(self, schema: TableSchema) -> dict[str, object]:
        days: list[str] | None = None
        if period_of(schema) is not None:
            names = self._snapshot.names(schema.name)
            keys = dict.fromkeys(name.split("/")[2] for name in names)
            days = [key for key in keys if key != NO_DAY]
        return {
            "view": schema.name,
            "days": None if days is None else len(days),
            "first_day": dt.date.fromisoformat(days[0]) if days else None,
            "last_day": dt.date.fromisoformat(days[-1]) if days else None,
            "rows": self.count(f"FROM {schema.name}"),
            "columns": ", ".join(f"{name} {kind}" for name, kind in _columns(schema)),
        }

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection whose statements change nothing, EXPLAIN ANALYZE DROP neither."""
        cursor = self._connection.cursor()
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        return cursor

    def _require_reading(self, cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
        try:
            sql.encode()
        except UnicodeEncodeError as error:
            raise QueryError("SQL: expected Unicode text, got other bytes in it") from error
        statements = self._do(cursor, sql, lambda: cursor.extract_statements(sql))
        if len(statements) != 1:
            raise QueryError(f"SQL: expected one statement, got {len(statements)}")
        if (kind := _kind(statements[0])) not in _READING:
            raise QueryError(f"SQL: expected a statement that reads, got {kind}; {_ONLY_READS}")

    def _batches(
        self,
        cursor: duckdb.DuckDBPyConnection,
        sql: str,
        reader: pa.RecordBatchReader,
        given: dict[str, object] | None,
    ) -> Iterator[pa.RecordBatch]:
        def following() -> pa.RecordBatch | None:
            try:
                return reader.read_next_batch()
            except StopIteration:
                return None

        while (batch := self._do(cursor, sql, following, given)) is not None:
            yield batch

    def _do(
        self,
        cursor: duckdb.DuckDBPyConnection,
        sql: str,
        work: Callable[[], _Result],
        given: dict[str, object] | None = None,
    ) -> _Result:
        self._snapshot.failure = None
        self._running = future = self._thread.submit(work)
        try:
            # A signal may reach another thread than this one, which it then does not wake.
            while not wait([future], _SIGNAL_POLL_S).done:
                pass
            return future.result()
        except (duckdb.Error, OSError, ValueError) as error:
            if not future.done() or future.exception() is not error:
                raise
            raise self._told(error, sql, given) from None
        except BaseException:  # Ctrl-C
            cursor.interrupt()
            raise

    def _told(self, error: Exception, sql: str, given: dict[str, object] | None) -> AnalyticsError:
        """Return an error of DuckDB in a sentence that quotes no row."""
        failure = self._snapshot.failure
        if isinstance(failure, AnalyticsError):
            return failure
        if isinstance(failure, FileNotFoundError | PermissionError):
            return QueryError(_ONLY_READS)
        if failure is not None:
            raise failure
        if isinstance(error, duckdb.OutOfMemoryException):
            return QueryError(
                f"the query needs more than {self._limits.memory} of memory and "
                f"{self._limits.spill} of disk: name the columns you need, and bound {DAY_COLUMN}"
            )
        if isinstance(error, duckdb.PermissionException | duckdb.TransactionException):
            return QueryError(_ONLY_READS)
        if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
            # A relation's error lacks the place; nothing is read before it comes again.
            error = self._again(error, sql, given)
        return QueryError(_sentence(error, sql, self._is_of_the_plan(error, sql, given)))

    def _again(
        self, error: duckdb.Error, sql: str, given: dict[str, object] | None
    ) -> duckdb.Error:
        try:
            self._cursor().execute(sql, given)
        except (duckdb.BinderException, duckdb.CatalogException) as placed:
            return placed
        return error

    def _is_of_the_plan(self, error: Exception, sql: str, given: dict[str, object] | None) -> bool:
        """Say whether it comes before a row is read, so that it cannot quote one."""
        if isinstance(error, _PLANNING):
            return True
        try:
            self._cursor().execute(f"EXPLAIN\n{sql}", given)
        except duckdb.Error as planning:
            return type(planning) is type(error)
        return False


def _kind(statement: duckdb.Statement) -> str:
    try:
        return statement.type.name
    except ValueError:  # one that DuckDB's Python does not know, which is none that reads
        return "another"


def _likeness(one: Any, other: Any) -> Any:  # DuckDB evaluates annotations: none of pyarrow
    """Return how alike texts are, as `core.rephrases` does: 0 to 1, null without text."""
    import pyarrow as pa  # noqa: PLC0415  (import budget)

    texts = pl.DataFrame({"one": pl.Series(one), "other": pl.Series(other)}).select(
        comparable(pl.col("one")), comparable(pl.col("other"))
    )
    scores = process.cpdist(
        texts["one"].fill_null("").to_list(), texts["other"].fill_null("").to_list(),
        scorer=fuzz.ratio, workers=1,
    )  # fmt: skip
    there = (texts["one"] != "") & (texts["other"] != "")
    return pa.array(
        [float(score) / 100 if known else None for score, known in zip(scores, there, strict=True)],
        pa.float64(),
    )


def _overview_schema() -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415  (import budget)

    types: dict[str, pa.DataType] = {
        "view": pa.string(),
        "days": pa.int64(),
        "first_day": pa.date32(),
        "last_day": pa.date32(),
        "rows": pa.int64(),
        "columns": pa.string(),
    }
    return pa.schema(types)


def open_sql(lake: Lake, limits: SqlLimits | None = None) -> LakeSql:
    """Return SQL over the lake; nothing is read yet."""
    return LakeSql(lake, limits)


def _columns(schema: TableSchema) -> tuple[tuple[str, str], ...]:
    columns = tuple((column.name, _sql_type(schema, column)) for column in schema.columns)
    return columns if period_of(schema) is None else (*columns, (DAY_COLUMN, "DATE"))


def _sql_type(schema: TableSchema, column: Column) -> str:
    if column.dtype not in _TYPES:
        raise LakeError(f"{schema.name}.{column.name}: {column.dtype} has no SQL type")
    return _TYPES[column.dtype]


def _view(schema: TableSchema) -> str:
    """Return the statement that makes the view of a table."""
    fields = ", ".join(
        f"'{column.name}': {{name: '{column.name}', type: '{_sql_type(schema, column)}', "
        f"default_value: {_literal(column.absent)}}}"
        for column in schema.columns
    )
    selected = [f'"{column.name}"' for column in schema.columns]
    if period_of(schema) is not None:
        # DuckDB evaluates bounds on it per file name, before it opens a file.
        selected.append(f"TRY_CAST(split_part(filename, '/', -2) AS DATE) AS {DAY_COLUMN}")
    return (
        f'CREATE VIEW "{schema.name}" AS SELECT {", ".join(selected)} FROM read_parquet('
        f"'{PROTOCOL}://{schema.name}/*.parquet', schema = MAP {{{fields}}}, filename = true)"
    )


def _literal(value: str | bool | None) -> str:  # noqa: FBT001 - a cell
    """Return a default as text, which DuckDB casts: all defaults of a table are of one type."""
    if value is None:
        return "NULL::VARCHAR"
    return "'" + str(value).replace("'", "''") + "'"


def _sentence(error: Exception, sql: str, of_the_plan: bool) -> str:  # noqa: FBT001
    details = _details(error)
    text = " ".join(str(details.get("exception_message", "")).split("\n")[0].split()).rstrip(".!")
    where = _place(details, sql)
    if details.get("error_subtype") == "MISSING_ENTRY" and details.get("type") == "Table":
        there = ", ".join(schema.name for schema in TABLES)
        return f"{where}: there is no table {details.get('name')}; there are {there}"
    if details.get("error_subtype") == "COLUMN_NOT_FOUND":
        return f"{where}: there is no column {details.get('name')}{_columns_there(details, sql)}"
    if of_the_plan and text:
        return f"{where}: {text}"
    for kind, words in _ON_ROWS:
        if isinstance(error, kind):
            return f"{where}: {words} (the value is not shown here)"
    return f"{where}: DuckDB gave up with {type(error).__name__} while it read the rows"


def _details(error: Exception) -> dict[str, Any]:
    """Return DuckDB's own description of an error."""
    text = str(error)
    start = text.find("{")
    if start >= 0:
        try:
            found = json.loads(text[start:])
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
    return {"exception_message": text.partition("Error: ")[2] or text}


def _place(details: dict[str, Any], sql: str) -> str:
    position = str(details.get("position", ""))
    if not position.isdigit():
        return "SQL"
    before = sql.encode()[: int(position)].decode(errors="ignore")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"SQL, line {line}, column {column}"


def _columns_there(details: dict[str, Any], sql: str) -> str:
    """Name the columns of the tables that the statement names, else DuckDB's candidates."""
    words = set(re.findall(r"\w+", sql.lower()))
    named = [schema for schema in TABLES if schema.name in words]
    if not named:
        candidates = details.get("candidates")
        return f"; there are {candidates}" if candidates else ""
    return "".join(
        f"; {schema.name} has {', '.join(name for name, _ in _columns(schema))}" for schema in named
    )
