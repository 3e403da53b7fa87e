"""From rows as served to typed rows: a bad row never takes good rows with it.

Every row comes out either typed or as a dead letter, never both and never neither.

What is understood, by the type of the column:

- text: a string. Columns that hold an id also take a whole number; an empty id is null, and
  so is the nil UUID that Dify writes as parent of an API call's first turn.
- integer: `12`, `12.0`, `"12"`; not `12.5`, nor what does not fit 64 bits.
- decimal: a number or numeric text, read from its digits and never through a float, rounded
  half-even to 7 places (the source's own columns have no more); 13 digits before the point.
- number: a finite number or numeric text.
- boolean: true, false, 0, 1, `"t"`, `"f"`, `"true"`, `"false"`, `"0"`, `"1"`.
- instant: `YYYY-MM-DD HH:MM:SS` with `T` or a space, a fraction cut to microseconds, `Z`, an
  offset or, meaning UTC, nothing.
- JSON (`inputs`, `message_metadata`): any value, or a string of JSON text; stored as compact
  JSON with sorted keys. A string that is no JSON is stored as a JSON string, an empty one as
  null: no row is lost for it.

Which title carries which column is the contract's to say (`core.contract`). Where it says
nothing, titles match whatever their case when only one title does so. Columns of NocoDB itself
(`Id` beside `id`, `CreatedAt`, `nc_order`, ...) are put aside; they remain in the raw zone.
Every other column keeps its value in `extra` under its own title; nulls are left out there.

Characters that neither Parquet nor MongoDB can hold (lone surrogates, NUL) are replaced by
U+FFFD and the row is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from conversation_analytics.core.columnar import Titles, typed_columns
from conversation_analytics.core.contract import SETTING, TableContract
from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.schemas import INSTANT, MONEY, TableSchema
from conversation_analytics.core.values import (
    ID_COLUMNS,
    JSON_COLUMNS,
    NIL_UUID,
    WrongValueError,
    decode_json,
    encode_json,
    first_token,
    typed_boolean,
    typed_id,
    typed_instant,
    typed_integer,
    typed_json,
    typed_money,
    typed_number,
    typed_parent,
    typed_text,
)
from conversation_analytics.core.zones import DAILY, UNDATED

SOURCE_NAMES = {"latency_s": "provider_response_latency"}
DERIVED = frozenset({"user_id", "time_to_first_token_s", "extra", "gone"})

NOCODB_COLUMNS = frozenset(
    {
        "Id", "CreatedAt", "UpdatedAt", "CreatedBy", "UpdatedBy", "ncRecordId", "ncRecordHash",
        "nc_order", "nc_created_by", "nc_updated_by", "nc_row_color_info",
    }
)  # fmt: skip
# Columns Dify is known to have that have no place of their own: kept in `extra`, not news.
DIFY_COLUMNS = frozenset(
    {
        "app_model_config_id", "override_model_configs", "introduction", "system_instruction",
        "system_instruction_tokens", "read_at", "read_account_id", "message",
    }
)  # fmt: skip

_DEAD_LETTERS = {
    zones.curated.name: zones.dead_letters
    for tables in (DAILY, UNDATED)
    for zones in tables.values()
}
_CHUNK_ROWS = 512
_SAMPLE_ROWS = 16
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TypedRows:
    """Rows sorted into typed and dead ones.

    Attributes:
        frame: the typed rows in the given schema.
        dead_letters: the other rows, in the schema of `CONVERSATION_DEAD_LETTERS`.
        missing_optional: source columns that no row has, in schema order; null in `frame`.
        new_columns: source columns this package does not know, sorted; kept in `extra`.
        suggestion: where one column is missing and one is new, the lines of the contract that
            say it was renamed; for a person to judge.
    """

    frame: pl.DataFrame
    dead_letters: pl.DataFrame
    missing_optional: tuple[str, ...]
    new_columns: tuple[str, ...]
    suggestion: str | None = None


_AS_DIFY = TableContract(frozenset())


def type_rows(
    raw: pl.DataFrame,
    schema: TableSchema,
    *,
    where: str,
    contract: TableContract = _AS_DIFY,
) -> TypedRows:
    """Type raw rows.

    Args:
        raw: rows as served, with the columns of `schemas.RAW_MESSAGES`.
        schema: `CONVERSATIONS`, `MESSAGES`, `FEEDBACKS` or their undated forms. A row without a
            time of creation is a dead letter in the first three. Where no payload has
            `created_at`, the time that the reader put beside the payload counts.
        where: table and partition, for messages.
        contract: how the source names the columns, which it must have and which to leave out.
            By default Dify's names, and no more columns than the schema requires.

    Returns:
        `frame.height + dead_letters.height == raw.height`.

    Raises:
        ContractError: no row has a required column, or the schema is none of those six.
    """
    if schema.name not in _DEAD_LETTERS:
        raise ContractError(
            f"{where}: rows are typed as {', '.join(DAILY)}, got schema {schema.name}; pass a "
            "curated schema of core.zones"
        )
    return _typed(raw, schema, where, contract, columnar=True)


def type_rows_one_by_one(
    raw: pl.DataFrame,
    schema: TableSchema,
    *,
    where: str,
    contract: TableContract = _AS_DIFY,
) -> TypedRows:
    """Do what `type_rows` does, without the quick way for usual rows; to compare with."""
    return _typed(raw, schema, where, contract, columnar=False)


def _typed(
    raw: pl.DataFrame,
    schema: TableSchema,
    where: str,
    contract: TableContract,
    *,
    columnar: bool,
) -> TypedRows:
    if raw.is_empty():
        return TypedRows(schema.empty(), _dead_schema(schema).empty(), (), ())
    dated = any(zones.curated.name == schema.name for zones in DAILY.values())
    batch = _Batch(schema, contract, raw, dated=dated)
    payloads = raw["payload"]
    usual = _usual_rows(raw, batch) if columnar else None
    left = _left(raw, usual)
    start = 0
    while start < len(left):
        numbers = left[start : start + _CHUNK_ROWS]
        chunk = _decoded(payloads.gather(numbers).to_list(), numbers.to_list(), batch.dead)
        _rename_old_keys(chunk.values(), contract)
        if batch.learn(chunk, others=usual is not None):
            batch.type_chunk(chunk)
            start += _CHUNK_ROWS
        else:  # a title turned out to be ambiguous: once more, with all the titles met so far
            batch.restart()
            usual = None
            left = _left(raw, usual)
            start = 0
    if batch.numbers or usual is not None:
        _require_columns(batch, where)
    frame, reasons = batch.finish(usual)
    missing = batch.missing() if batch.numbers or usual is not None else []
    new = batch.news()
    return TypedRows(
        frame=frame,
        dead_letters=_dead_letters(raw, reasons, schema),
        missing_optional=tuple(contract.at_source(name) for name in missing),
        new_columns=tuple(new),
        suggestion=suggested_name(_table(schema), missing, new),
    )


def match_titles(
    titles: Iterable[str], columns: Iterable[str], contract: TableContract
) -> dict[str, str]:
    """Find which title of the source carries each of our columns.

    A title that the contract names for a column counts alone; ignored titles carry nothing.

    Args:
        titles: of the source.
        columns: our names, as the contract has them.
        contract: of the table.

    Returns:
        Column to title, each title once; columns that no title carries are left out.
    """
    free = set(titles) - contract.ignored
    wanted = list(columns)
    matched: dict[str, str] = {}
    for column in wanted:
        if (title := contract.at_source(column)) in free:
            matched[column] = title
            free.discard(title)
    by_lower: dict[str, list[str]] = {}
    for title in free:
        by_lower.setdefault(title.lower(), []).append(title)
    for column in wanted:
        if column not in matched and column not in contract.names:
            alike = by_lower.get(column, [])
            if len(alike) == 1:
                matched[column] = alike[0]
    return {column: matched[column] for column in wanted if column in matched}


def named(column: str, contract: TableContract) -> str:
    """Say which column is meant, by our name and by the source's where that is another."""
    title = contract.at_source(column)
    return column if title == column else f"{column} ({title!r} at the source)"


def suggested_name(table: str, missing: Sequence[str], new: Sequence[str]) -> str | None:
    """Return the contract's lines for a renamed column: one is missing and one is new."""
    if len(missing) != 1 or len(new) != 1:
        return None
    # A JSON string is a TOML string.
    return f"[{table}.names] {missing[0]} = {json.dumps(new[0], ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class _Usual:
    """Rows that were typed as columns, and their positions in the raw frame (UInt32)."""

    frame: pl.DataFrame
    numbers: pl.Series


def _usual_rows(raw: pl.DataFrame, batch: _Batch) -> _Usual | None:
    """Type the usual rows as columns, and tell the batch the titles they have."""
    first = raw["payload"].head(_SAMPLE_ROWS).to_list()
    sample = _decoded(first, range(len(first)), {})
    _rename_old_keys(sample.values(), batch.contract)
    # In the order served: the decoder looks for each key after the one before.
    every = tuple(dict.fromkeys(title for row in sample.values() for title in row))
    if not sample or any(
        name in every and name not in batch.contract.names.values() for name in batch.contract.names
    ):
        return None
    batch.learn(sample, others=False)
    required = {column.name for column in batch.schema.columns if column.required}
    frame, numbers = typed_columns(
        raw,
        batch.schema,
        Titles(every, batch.titles_of, tuple(batch.new)),
        sample=list(sample.values()),
        one_by_one={
            column.name: _converter(column.name, column.dtype).one
            for column in batch.schema.columns
            if column.name not in DERIVED
        },
        required=frozenset(required | ({"created_at"} if batch.dated else set())),
    )
    return None if frame.is_empty() else _Usual(frame, numbers)


def _left(raw: pl.DataFrame, usual: _Usual | None) -> pl.Series:
    every = pl.int_range(raw.height, dtype=pl.UInt32, eager=True)
    return every if usual is None else every.filter(~every.is_in(usual.numbers.implode()))


class _Batch:
    """The state of typing one frame, chunk after chunk.

    Chunks keep the decoded rows in the processor's cache, and the memory at that of the
    typed values.
    """

    def __init__(
        self,
        schema: TableSchema,
        contract: TableContract,
        raw: pl.DataFrame,
        *,
        dated: bool,
    ) -> None:
        self.schema = schema
        self.contract = contract
        self.gone = raw["gone"]
        self.dated = dated
        self.served_at = raw["created_at"]
        self.served = {
            SOURCE_NAMES.get(column.name, column.name): column.name
            for column in schema.columns
            if column.name not in DERIVED
        }
        self.titles: set[str] = set()
        self.titles_of: dict[str, str] = {}
        self.new: list[str] = []
        self.restart()

    def restart(self) -> None:
        """Forget the rows, not the titles."""
        self.numbers: list[int] = []
        self.columns: dict[str, list[Any]] = {name: [] for name in self.schema.polars}
        self.dead: dict[int, list[str]] = {}

    def learn(self, chunk: Mapping[int, Row], *, others: bool) -> bool:
        """Take in the chunk's titles; False if rows already typed were typed by other ones.

        Args:
            chunk: decoded rows by number.
            others: rows were typed elsewhere by the titles known so far.
        """
        titles = self.titles.union(*chunk.values())
        titles -= self.contract.ignored
        if titles == self.titles:
            return True
        known, self.titles = self.titles_of, titles
        by_name = match_titles(titles, self.served, self.contract)
        self.titles_of = {self.served[name]: title for name, title in by_name.items()}
        self.new = sorted(titles - {*self.titles_of.values(), *NOCODB_COLUMNS})
        # A column that only now appears changes nothing for the rows before: theirs is null.
        return not (self.numbers or others) or (
            all(self.titles_of.get(name) == title for name, title in known.items())
            and ("created_at" in known or "created_at" not in self.titles_of)
        )

    def missing(self) -> list[str]:
        """Return the columns that no row has, as the contract names them, in schema order."""
        return [served for served, name in self.served.items() if name not in self.titles_of]

    def news(self) -> list[str]:
        """Return the titles this package does not know, sorted."""
        return [title for title in self.new if title not in DIFY_COLUMNS]

    def type_chunk(self, chunk: Mapping[int, Row]) -> None:
        """Convert the rows of a chunk, column by column."""
        numbers, rows = list(chunk), list(chunk.values())
        self.numbers += numbers
        for column in self.schema.columns:
            name = column.name
            if name in DERIVED:
                continue
            title = self.titles_of.get(name)
            if title is not None:
                served = [row.get(title) for row in rows]
                typed = self._converted(served, numbers, _converter(name, column.dtype), title)
            elif name == "created_at":
                served = typed = self.served_at.gather(numbers).to_list()
            else:
                served = typed = [None] * len(rows)
            self.columns[name] += typed
            if (column.required or (self.dated and name == "created_at")) and None in typed:
                for number, value, given in zip(numbers, typed, served, strict=True):
                    # A value of a wrong type has its reason already.
                    if value is None and (given is None or given == ""):
                        reason = f"column {title or name}: required, got {_shape(given)}"
                        self.dead.setdefault(number, []).append(reason)
        end_users = self.columns["from_end_user_id"][-len(rows) :] if rows else []
        accounts = self.columns["from_account_id"][-len(rows) :] if rows else []
        self.columns["user_id"] += [
            end_user or account for end_user, account in zip(end_users, accounts, strict=True)
        ]
        if "time_to_first_token_s" in self.columns and rows:
            self.columns["time_to_first_token_s"] += [
                None if text is None else first_token(decode_json(text))
                for text in self.columns["message_metadata"][-len(rows) :]
            ]
        self.columns["extra"] += [_extra(row, self.new) for row in rows]
        self.columns["gone"] += self.gone.gather(numbers).to_list()

    def _converted(
        self, values: list[Any], numbers: Sequence[int], converter: _Converter, title: str
    ) -> list[Any]:
        """Convert values; a wrong one becomes null and kills its row."""
        if converter.all_fit is not None and converter.all_fit(values):
            return values
        typed: list[Any] = []
        for number, value in zip(numbers, values, strict=True):
            try:
                typed.append(None if value is None else converter.one(value))
            except WrongValueError as error:
                reason = f"column {title}: expected {error}, got {_shape(value)}"
                self.dead.setdefault(number, []).append(reason)
                typed.append(None)
        return typed

    def finish(self, usual: _Usual | None) -> tuple[pl.DataFrame, dict[int, list[str]]]:
        """Return the frame of the good rows, and the reasons by number of the others.

        Args:
            usual: rows typed elsewhere, to go between these ones.
        """
        frame = pl.DataFrame(
            [
                pl.Series(column.name, self.columns[column.name], column.dtype, strict=True)
                for column in self.schema.columns
            ]
        )
        numbers = pl.Series(self.numbers, dtype=pl.UInt32)
        if self.dead:
            good = ~numbers.is_in(pl.Series(list(self.dead), dtype=pl.UInt32).implode())
            frame, numbers = frame.filter(good), numbers.filter(good)
        if usual is not None:
            # Rows of the same key keep the order they came in.
            order = pl.concat([usual.numbers, numbers]).arg_sort()
            frame = pl.concat([usual.frame, frame])
            frame = frame if numbers.is_empty() else frame[order]
        return self.schema.conform(frame), self.dead


def _decoded(
    payloads: Sequence[str | None], numbers: Sequence[int], dead: dict[int, list[str]]
) -> dict[int, dict[str, Any]]:
    """Decode payloads to objects by row number; those that are none go to `dead`."""
    rows: dict[int, dict[str, Any]] = {}
    for number, payload in zip(numbers, payloads, strict=True):
        try:
            value = None if payload is None else decode_json(payload)
        except ValueError:
            shape = f"text of {len(payload or '')} characters that is not JSON"
            dead[number] = [f"payload: expected a JSON object, got {shape}"]
            continue
        if isinstance(value, dict):
            rows[number] = value
        else:
            dead[number] = [f"payload: expected a JSON object, got {_shape(value)}"]
    return rows


def _require_columns(batch: _Batch, where: str) -> None:
    required = {*batch.schema.required, *batch.contract.required}
    # The reader found the time of creation itself, where a table of NocoDB's own has no other.
    known = batch.served_at.null_count() < len(batch.served_at)
    (required.add if batch.dated and not known else required.discard)("created_at")
    missing = [name for name in batch.missing() if name in required]
    if missing:
        names = ", ".join(named(name, batch.contract) for name in missing)
        suggestion = suggested_name(_table(batch.schema), batch.missing(), batch.news())
        raise ContractError(
            f"{where}: expected the required columns {names}, which no row has; "
            f"columns there are: {', '.join(sorted(batch.titles)) or 'none'}. Check that the "
            f"right table is configured, and name its columns in the file of {SETTING}"
            + (f", perhaps: {suggestion}" if suggestion else "")
        )


def _table(schema: TableSchema) -> str:
    return schema.name.removeprefix("undated_")


def _rename_old_keys(rows: Iterable[dict[str, Any]], contract: TableContract) -> None:
    """Give rows of before the source renamed a column the key it has now.

    Rows as served have every column: one without the named title, but with our own name, is of
    before.
    """
    taken = set(contract.names.values())
    old = {name: title for name, title in contract.names.items() if name not in taken}
    if not old:
        return
    for row in rows:
        for name, title in old.items():
            if name in row and title not in row:
                row[title] = row.pop(name)


@dataclass(frozen=True, slots=True)
class _Converter:
    """How values of one column are typed.

    Attributes:
        one: types a value that is not null, or raises `WrongValueError`.
        all_fit: a fast look whether all values of a list are typed as they are.
    """

    one: Callable[[Any], Any]
    all_fit: Callable[[list[Any]], bool] | None = None


def _converter(name: str, dtype: pl.DataType | type[pl.DataType]) -> _Converter:
    if name in JSON_COLUMNS:
        return _Converter(typed_json)
    if name == "parent_message_id":
        return _Converter(typed_parent, _all_parents)
    return _Converter(typed_id, _all_ids) if name in ID_COLUMNS else _BY_TYPE[dtype]


def _all_texts(values: list[Any]) -> bool:
    return {str, type(None)}.issuperset(map(type, values))


def _all_ids(values: list[Any]) -> bool:
    return _all_texts(values) and "" not in values


def _all_parents(values: list[Any]) -> bool:
    return _all_ids(values) and NIL_UUID not in values


def _all_booleans(values: list[Any]) -> bool:
    return {bool, type(None)}.issuperset(map(type, values))


_BY_TYPE: dict[Any, _Converter] = {
    pl.String(): _Converter(typed_text, _all_texts),
    pl.Int64(): _Converter(typed_integer),
    pl.Float64(): _Converter(typed_number),
    pl.Boolean(): _Converter(typed_boolean, _all_booleans),
    MONEY: _Converter(typed_money),
    INSTANT: _Converter(typed_instant),
}


def _shape(value: Any) -> str:
    """Say what kind of value came, never the value: it may be message text or an id."""
    shapes: tuple[tuple[type, Callable[[Any], str]], ...] = (
        (bool, lambda _: "a boolean"),
        (str, lambda text: f"a string of {len(text)} characters"),
        (int, lambda _: "an integer"),
        (Decimal, lambda _: "a number with a fraction or exponent"),
        (dict, lambda items: f"an object of {len(items)} keys"),
        (list, lambda items: f"an array of {len(items)} values"),
    )
    return next((shape(value) for kind, shape in shapes if isinstance(value, kind)), "null")


def _extra(row: Row, new: Sequence[str]) -> str | None:
    kept = {title: row[title] for title in new if row.get(title) is not None}
    return encode_json(kept) if kept else None


def _dead_schema(schema: TableSchema) -> TableSchema:
    return _DEAD_LETTERS[schema.name]


def _dead_letters(
    raw: pl.DataFrame, reasons: Mapping[int, Sequence[str]], schema: TableSchema
) -> pl.DataFrame:
    numbers = sorted(reasons)
    rows = raw[numbers] if numbers else raw.clear()
    texts = ["; ".join(reasons[number]) for number in numbers]
    return _dead_schema(schema).conform(
        rows.select(
            pl.col("id").alias("source_id"),
            pl.Series("reason", texts, dtype=pl.String),
            "payload",
            "sha256",
        )
    )
