"""Rows of any query as a table for a terminal, CSV, JSON, Markdown or Parquet.

Decimals are written with all their digits, times in ISO 8601 (with Z where they have a zone,
which is UTC).
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from conversation_analytics.core.errors import QueryError
from conversation_analytics.reports.markup import csv_text, markdown_text, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    import pyarrow as pa
    from rich.console import Console

FileFormat = Literal["csv", "json", "jsonl", "parquet", "markdown"]
FILE_FORMATS: Final[tuple[FileFormat, ...]] = get_args(FileFormat)
NULL: Final = "NULL"
_EMPTY: Final = '""'
_NARROWEST: Final = 10  # cells of a column that is shown at all
_BORDERS: Final = 3  # cells that a column takes beside its text
# Decimals as numbers: JSON's are decimal, and exact for whoever reads them so.
_JSON: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def write_rows(
    form: FileFormat,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    sink: BinaryIO,
    *,
    raw: bool = False,
) -> None:
    """Write rows as a file of the given format, UTF-8, batch by batch.

    CSV has NULL as an empty cell and '' as `""`; text that a spreadsheet would run as a formula
    gets an apostrophe in front, unless `raw`. JSON is one array, JSONL one object a line; NaN
    and infinity are null there. A name that columns share is numbered in both and in Parquet.

    Raises:
        QueryError: a value or a type that the format does not have.
    """
    writers: dict[FileFormat, Callable[[], None]] = {
        "csv": lambda: _write_csv(schema, batches, sink, raw=raw),
        "json": lambda: _write_json(schema, batches, sink),
        "jsonl": lambda: _write_jsonl(schema, batches, sink),
        "parquet": lambda: _write_parquet(schema, batches, sink),
        "markdown": lambda: _write_markdown(schema, batches, sink),
    }
    writers[form]()


def show_rows(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    console: Console,
    limit: int,
) -> tuple[int, bool]:
    """Show the first rows as a table that fits the console.

    Columns that do not fit are left out, and named below; the first one is shown whole where half
    of the console holds it. Controls and line ends in text are
    shown as other characters.

    Args:
        schema: columns of the rows.
        batches: the rows; no more is read than is shown, and one batch.
        console: where to.
        limit: rows at most.

    Returns:
        Rows shown, and whether there are more.
    """
    from rich import box  # noqa: PLC0415 - import budget
    from rich.cells import cell_len  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    rows = list(islice(_rows(schema, batches), limit + 1))
    more, rows = len(rows) > limit, rows[:limit]
    texts = [[_shown(value) for value in row] for row in rows]
    needed = [
        max([cell_len(_flat(name)), *(cell_len(row[i]) for row in texts)])
        for i, name in enumerate(schema.names)
    ]
    widths = _widths(needed, console.width)
    shown = len(widths)
    table = Table(box=box.SQUARE)
    for index, (name, width) in enumerate(zip(schema.names, widths, strict=False)):
        table.add_column(
            Text(_flat(name)),
            width=width,
            justify="right" if _is_number(schema.field(index).type) else "left",
            overflow="ellipsis",
            no_wrap=True,
        )
    for row, text in zip(rows, texts, strict=True):
        table.add_row(
            *(
                Text(cell, style="dim" if value is None else "")
                for value, cell in zip(row[:shown], text[:shown], strict=True)
            )
        )
    console.print(table)
    if left_out := schema.names[shown:]:
        console.print(
            Text(
                f"{len(left_out)} column{' does' if len(left_out) == 1 else 's do'} not fit: "
                f"{', '.join(map(_flat, left_out))}"
            ),
            soft_wrap=True,
        )
    return len(rows), more


def _widths(needed: Sequence[int], width: int) -> list[int]:
    """Return the widths of the first columns, of as many as fit.

    None is cut below the narrowest. The first one, mostly an id, is whole up to half of the
    console; what is left over goes to the others from left to right.
    """
    least = [min(one, _NARROWEST) for one in needed]
    least[:1] = [max(least[0], min(needed[0], width // 2))] if needed else []
    left, count = width - 1, 0
    for one in least:
        if count and one + _BORDERS > left:
            break
        left -= one + _BORDERS
        count += 1
    given = least[:count]
    for index, one in enumerate(given):
        more = max(0, min(needed[index] - one, left))
        given[index] += more
        left -= more
    return given


def _write_csv(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], sink: BinaryIO, *, raw: bool
) -> None:
    def cell(value: Any) -> str:
        if value is None:
            return ""
        text = _text(value)
        if not raw and not isinstance(value, bool | int | float | Decimal):
            text = csv_text(text)
        if not text:
            return _EMPTY
        if any(mark in text for mark in '",\r\n') or text != text.strip():
            return '"' + text.replace('"', '""') + '"'
        return text

    sink.write((",".join(map(cell, schema.names)) + "\n").encode())
    for batch in batches:
        columns = [map(cell, _values(batch, i)) for i in range(batch.num_columns)]
        lines = [",".join(row) for row in zip(*columns, strict=True)]
        # A line of one NULL would be an empty line, which readers skip.
        sink.write("".join(f"{line or _EMPTY}\n" for line in lines).encode())


def _write_json(schema: pa.Schema, batches: Iterable[pa.RecordBatch], sink: BinaryIO) -> None:
    sink.write(b"[")
    between = b"\n"
    for line in _objects(schema, batches):
        sink.write(between + line)
        between = b",\n"
    sink.write(b"\n]\n")


def _write_jsonl(schema: pa.Schema, batches: Iterable[pa.RecordBatch], sink: BinaryIO) -> None:
    sink.writelines(line + b"\n" for line in _objects(schema, batches))


def _objects(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    names = _distinct(schema.names)
    for row in _rows(schema, batches):
        yield _JSON.encode(dict(zip(names, map(_json_value, row), strict=True)))


def _write_markdown(schema: pa.Schema, batches: Iterable[pa.RecordBatch], sink: BinaryIO) -> None:
    names = [markdown_text(name) for name in schema.names]
    rules = ["---:" if _is_number(kind) else "---" for kind in schema.types]
    sink.write(f"| {' | '.join(names)} |\n|{'|'.join(rules)}|\n".encode())
    for row in _rows(schema, batches):
        cells = (NULL if value is None else _markdown(value) for value in row)
        sink.write(f"| {' | '.join(cells)} |\n".encode())


def _markdown(value: Any) -> str:
    # A number or a date has no markup in it, and its minus needs no backslash.
    plain = isinstance(value, bool | int | float | Decimal | dt.date | dt.time)
    return _text(value) if plain else markdown_text(_text(value))


def _write_parquet(schema: pa.Schema, batches: Iterable[pa.RecordBatch], sink: BinaryIO) -> None:
    import pyarrow as pa  # noqa: PLC0415 - import budget
    import pyarrow.parquet as pq  # noqa: PLC0415

    names = _distinct(schema.names)
    renamed = pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])
    try:
        with pq.ParquetWriter(sink, renamed, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=renamed))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise QueryError(
            f"Parquet has no place for a column of the result ({type(error).__name__}): cast "
            "intervals and the like to VARCHAR, or take another --format"
        ) from error


def _rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(_values(batch, i) for i in range(len(schema.names))), strict=True)


def _values(batch: pa.RecordBatch, index: int) -> list[Any]:
    try:
        return batch.column(index).to_pylist()
    except (ValueError, OverflowError) as error:
        raise QueryError(
            f"column {batch.schema.names[index]!r} holds a time that is infinite, before year 1 or "
            "after 9999: cast it to VARCHAR, or leave it out"
        ) from error


def _distinct(names: Iterable[str]) -> list[str]:
    """Number the repeats of a name: a, a_1, a_2."""
    taken: list[str] = []
    for name in names:
        free, number = name, 0
        while free in taken:
            number += 1
            free = f"{name}_{number}"
        taken.append(free)
    return taken


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - import budget

    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _shown(value: Any) -> str:
    return NULL if value is None else _flat(_text(value))


def _flat(text: str) -> str:
    """Return text in one line, without anything that a terminal would obey."""
    return printable(text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", " ")).replace(
        "\r", "�"
    )


def _text(value: Any) -> str:
    """Return a value as text that is not NULL."""
    match value:
        case str():
            text = value
        case bool():
            text = "true" if value else "false"
        case Decimal():
            text = format(value, "f")
        case dt.datetime() | dt.date() | dt.time():
            text = _iso(value)
        case bytes():
            text = value.hex()
        case list() | dict():
            text = _JSON.encode(_json_value(value)).decode()
        case (int() as months, int() as days, int() as nanoseconds):  # an interval
            seconds = format(Decimal(nanoseconds).scaleb(-9).normalize(), "f")
            text = f"P{months}M{days}DT{seconds}S"
        case _:
            text = str(value)
    return text


def _iso(value: dt.datetime | dt.date | dt.time) -> str:
    text = value.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _json_value(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str() | Decimal():
            return value
        case list():
            return [_json_value(one) for one in value]
        case dict():
            return {str(name): _json_value(one) for name, one in value.items()}
    return _text(value)
