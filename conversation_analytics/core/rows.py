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

Column titles match whatever their case when only one title does so. Columns of NocoDB itself
(`Id` beside `id`, `CreatedAt`, `nc_order`, ...) are put aside; they remain in the raw zone.
Every other column keeps its value in `extra` under its own title; nulls are left out there.

Characters that neither Parquet nor MongoDB can hold (lone surrogates, NUL) are replaced by
U+FFFD and the row is kept.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl

from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.schemas import (
    CONVERSATION_DEAD_LETTERS,
    CONVERSATIONS,
    INSTANT,
    MESSAGE_DEAD_LETTERS,
    MESSAGES,
    MONEY,
    UNDATED_CONVERSATIONS,
    TableSchema,
)

JSON_COLUMNS = frozenset({"inputs", "message_metadata"})
ID_COLUMNS = frozenset(
    {
        "id", "conversation_id", "parent_message_id", "app_id", "from_end_user_id",
        "from_account_id", "workflow_run_id",
    }
)  # fmt: skip
SOURCE_NAMES = {"latency_s": "provider_response_latency"}
DERIVED = frozenset({"user_id", "time_to_first_token_s", "extra"})

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

_NIL_UUID = "00000000-0000-0000-0000-000000000000"
_INTEGER_DIGITS = 13
_PLACE = Decimal("1e-7")
_MONEY_LIMIT = Decimal(10) ** _INTEGER_DIGITS
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_INT64 = range(-(2**63), 2**63)
_INT64_DIGITS = 19
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
    r"(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_BOOLEANS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
_UNFIT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)",
    re.DOTALL,
)
_CHUNK_ROWS = 512
_ESCAPE_LENGTH = len(r"\u0000")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TypedRows:
    """Rows sorted into typed and dead ones.

    Attributes:
        frame: the typed rows in the given schema.
        dead_letters: the other rows, in the schema of `CONVERSATION_DEAD_LETTERS`.
        missing_optional: source columns that no row has, in schema order; null in `frame`.
        new_columns: source columns this package does not know, sorted; kept in `extra`.
    """

    frame: pl.DataFrame
    dead_letters: pl.DataFrame
    missing_optional: tuple[str, ...]
    new_columns: tuple[str, ...]


class _WrongValueError(Exception):
    """A value has no place in its column; the message names the expected type."""


def type_rows(raw: pl.DataFrame, schema: TableSchema, *, where: str) -> TypedRows:
    """Type raw rows.

    Args:
        raw: rows as served, with the columns of `schemas.RAW_MESSAGES`.
        schema: `CONVERSATIONS`, `MESSAGES` or their undated forms. A row without a time of
            creation is a dead letter in the first two. Where no payload has `created_at`, the
            time that the reader put beside the payload counts.
        where: table and partition, for messages.

    Returns:
        `frame.height + dead_letters.height == raw.height`.

    Raises:
        ContractError: no row has a required column, or the schema is none of those four.
    """
    if "inputs" not in schema.polars:
        raise ContractError(
            f"{where}: rows are typed as conversations or messages, got schema {schema.name}; "
            "pass schemas.CONVERSATIONS, schemas.MESSAGES or their undated forms"
        )
    if raw.is_empty():
        return TypedRows(schema.empty(), _dead_schema(schema).empty(), (), ())
    dated = schema.name in (CONVERSATIONS.name, MESSAGES.name)
    batch = _Batch(schema, raw["created_at"].to_list(), dated=dated)
    payloads = raw["payload"].to_list()
    start = 0
    while start < len(payloads):
        chunk = _decoded(payloads[start : start + _CHUNK_ROWS], start, batch.dead)
        if batch.learn(chunk):
            batch.type_chunk(chunk)
            start += _CHUNK_ROWS
        else:  # a title turned out to be ambiguous: once more, with all the titles met so far
            batch.restart()
            start = 0
    if batch.numbers:
        _require_columns(batch, where)
    frame, reasons = batch.finish()
    return TypedRows(
        frame=frame,
        dead_letters=_dead_letters(raw, reasons, schema),
        missing_optional=tuple(
            SOURCE_NAMES.get(column.name, column.name)
            for column in schema.columns
            if batch.numbers and column.name not in batch.titles_of and column.name not in DERIVED
        ),
        new_columns=tuple(sorted(title for title in batch.new if title not in DIFY_COLUMNS)),
    )


class _Batch:
    """The state of typing one frame, chunk after chunk.

    Chunks keep the decoded rows in the processor's cache, and the memory at that of the
    typed values.
    """

    def __init__(
        self,
        schema: TableSchema,
        served_at: Sequence[dt.datetime | None],
        *,
        dated: bool,
    ) -> None:
        self.schema = schema
        self.dated = dated
        self.served_at = served_at
        self.titles: set[str] = set()
        self.titles_of: dict[str, str] = {}
        self.new: list[str] = []
        self.restart()

    def restart(self) -> None:
        """Forget the rows, not the titles."""
        self.numbers: list[int] = []
        self.columns: dict[str, list[Any]] = {name: [] for name in self.schema.polars}
        self.dead: dict[int, list[str]] = {}

    def learn(self, chunk: Mapping[int, Row]) -> bool:
        """Take in the chunk's titles; False if rows already typed were typed by other ones."""
        titles = self.titles.union(*chunk.values())
        if titles == self.titles:
            return True
        known, self.titles = self.titles_of, titles
        self.titles_of = _match_titles(titles, self.schema)
        self.new = sorted(titles - {*self.titles_of.values(), *NOCODB_COLUMNS})
        # A column that only now appears changes nothing for the rows before: theirs is null.
        return not self.numbers or (
            all(self.titles_of.get(name) == title for name, title in known.items())
            and ("created_at" in known or "created_at" not in self.titles_of)
        )

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
                served = typed = [self.served_at[number] for number in numbers]
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
                _first_token(text) for text in self.columns["message_metadata"][-len(rows) :]
            ]
        self.columns["extra"] += [_extra(row, self.new) for row in rows]

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
            except _WrongValueError as error:
                reason = f"column {title}: expected {error}, got {_shape(value)}"
                self.dead.setdefault(number, []).append(reason)
                typed.append(None)
        return typed

    def finish(self) -> tuple[pl.DataFrame, dict[int, list[str]]]:
        """Return the frame of the good rows, and the reasons by number of the others."""
        frame = pl.DataFrame(
            [
                pl.Series(column.name, self.columns[column.name], column.dtype, strict=True)
                for column in self.schema.columns
            ]
        )
        if self.dead:
            good = [number not in self.dead for number in self.numbers]
            frame = frame.filter(pl.Series(good, dtype=pl.Boolean))
        return self.schema.conform(frame), self.dead


def decode_json(text: str) -> Any:
    """Decode JSON text with its numbers kept exact and its characters made fit to store.

    Numbers with a point or an exponent become `Decimal`; lone surrogates and NUL become U+FFFD.

    Raises:
        ValueError: the text is no JSON, is nested too deep, or a number is out of all range.
    """
    if _UNFIT.search(text):
        text = _ESCAPE.sub(_fit_escape, text)
    try:
        return _DECODER.decode(text)
    except (RecursionError, ArithmeticError) as error:
        raise ValueError("nested too deep or a number out of range") from error


def encode_json(value: Any) -> str:
    """Encode what `decode_json` gave as compact JSON text with sorted keys."""
    return _ENCODER.encode(value).decode()


_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(order="sorted", decimal_format="number")


def _fit_escape(match: re.Match[str]) -> str:
    """Replace an escape that stands for a NUL or for half a character."""
    escape = match.group()
    if len(escape) != _ESCAPE_LENGTH:
        return escape  # a surrogate pair, or a short escape such as \\n
    digits = escape[2:].lower()
    half = digits[0] == "d" and digits[1] in "89abcdef"  # a surrogate without its partner
    return r"\ufffd" if half or digits == "0000" else escape


def _decoded(
    payloads: Sequence[str | None], start: int, dead: dict[int, list[str]]
) -> dict[int, Row]:
    """Decode payloads to objects by row number; those that are none go to `dead`."""
    rows: dict[int, Row] = {}
    for number, payload in enumerate(payloads, start):
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


def _match_titles(titles: Iterable[str], schema: TableSchema) -> dict[str, str]:
    """Map lake columns to the source titles that carry them; absent ones are left out."""
    exact = set(titles)
    by_lower: dict[str, list[str]] = {}
    for title in exact:
        by_lower.setdefault(title.lower(), []).append(title)
    matched = {}
    for column in schema.columns:
        if column.name in DERIVED:
            continue
        wanted = SOURCE_NAMES.get(column.name, column.name)
        if wanted in exact:
            matched[column.name] = wanted
        elif len(alike := by_lower.get(wanted, [])) == 1:
            matched[column.name] = alike[0]
    return matched


def _require_columns(batch: _Batch, where: str) -> None:
    required = list(batch.schema.required)
    if batch.dated and not any(batch.served_at):
        required.append("created_at")
    missing = [name for name in required if name not in batch.titles_of]
    if missing:
        raise ContractError(
            f"{where}: expected the required columns {', '.join(missing)}, which no row has; "
            f"columns there are: {', '.join(sorted(batch.titles)) or 'none'}. Check that the "
            "right table is configured, and rename its columns"
        )


@dataclass(frozen=True, slots=True)
class _Converter:
    """How values of one column are typed.

    Attributes:
        one: types a value that is not null, or raises `_WrongValueError`.
        all_fit: a fast look whether all values of a list are typed as they are.
    """

    one: Callable[[Any], Any]
    all_fit: Callable[[list[Any]], bool] | None = None


def _converter(name: str, dtype: pl.DataType | type[pl.DataType]) -> _Converter:
    if name in JSON_COLUMNS:
        return _Converter(_json)
    if name == "parent_message_id":
        return _Converter(_parent, _all_parents)
    return _Converter(_id, _all_ids) if name in ID_COLUMNS else _BY_TYPE[dtype]


def _all_texts(values: list[Any]) -> bool:
    return {str, type(None)}.issuperset(map(type, values))


def _all_ids(values: list[Any]) -> bool:
    return _all_texts(values) and "" not in values


def _all_parents(values: list[Any]) -> bool:
    return _all_ids(values) and _NIL_UUID not in values


def _all_booleans(values: list[Any]) -> bool:
    return {bool, type(None)}.issuperset(map(type, values))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _WrongValueError("text")


def _id(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _WrongValueError("an id (text or a whole number)")


def _parent(value: Any) -> str | None:
    found = _id(value)
    return None if found == _NIL_UUID else found


def _numeric(value: Any, expected: str) -> Decimal:
    """Return a JSON number or numeric text as the exact decimal it is."""
    if isinstance(value, bool):
        raise _WrongValueError(expected)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        try:
            return Decimal(value.strip())
        except InvalidOperation as error:  # an exponent beyond what Decimal holds
            raise _WrongValueError(expected) from error
    raise _WrongValueError(expected)


def _integer(value: Any) -> int:
    expected = "a 64-bit integer"
    if type(value) is int and value in _INT64:
        return value
    number = _numeric(value, expected)
    if number.is_zero():
        return 0
    # The size is looked at first: 1e999999 written out would fill the memory.
    if number.adjusted() >= _INT64_DIGITS or number != number.to_integral_value():
        raise _WrongValueError(expected)
    whole = int(number)
    if whole not in _INT64:
        raise _WrongValueError(expected)
    return whole


def _money(value: Any) -> Decimal:
    return _money_of_text(value) if isinstance(value, str) else _exact_money(value)


@lru_cache(maxsize=4096)
def _money_of_text(text: str) -> Decimal:
    return _exact_money(text)  # unit prices repeat


def _exact_money(value: Any) -> Decimal:
    expected = f"a decimal of at most {_INTEGER_DIGITS} digits before the point"
    number = _numeric(value, expected)
    if number.is_zero():
        return Decimal(0)
    if number.adjusted() >= _INTEGER_DIGITS:
        raise _WrongValueError(expected)
    rounded = _CONTEXT.quantize(number, _PLACE)
    if abs(rounded) >= _MONEY_LIMIT:
        raise _WrongValueError(expected)
    return rounded


def _number(value: Any) -> float:
    expected = "a finite number"
    number = float(_numeric(value, expected))
    if not math.isfinite(number):
        raise _WrongValueError(expected)
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if type(value) is int and value in (0, 1):
        return value == 1
    if isinstance(value, str) and (found := _BOOLEANS.get(value.strip().lower())) is not None:
        return found
    raise _WrongValueError("a boolean")


def _instant(value: Any) -> dt.datetime:
    expected = "an instant (YYYY-MM-DD HH:MM:SS, UTC or with an offset)"
    if not (isinstance(value, str) and _INSTANT.fullmatch(text := value.strip())):
        raise _WrongValueError(expected)
    try:
        instant = dt.datetime.fromisoformat(text.upper())
        return (
            instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant.astimezone(dt.UTC)
        )
    except (ValueError, OverflowError) as error:
        raise _WrongValueError(expected) from error


def _json(value: Any) -> str | None:
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = decode_json(value)
        except ValueError:
            return encode_json(value)
    return None if value is None else encode_json(value)


_BY_TYPE: dict[Any, _Converter] = {
    pl.String(): _Converter(_text, _all_texts),
    pl.Int64(): _Converter(_integer),
    pl.Float64(): _Converter(_number),
    pl.Boolean(): _Converter(_boolean, _all_booleans),
    MONEY: _Converter(_money),
    INSTANT: _Converter(_instant),
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


class _Usage(msgspec.Struct):
    time_to_first_token: Any = None


class _Metadata(msgspec.Struct):
    usage: _Usage | None = None


_METADATA = msgspec.json.Decoder(_Metadata, float_hook=Decimal)


def _first_token(metadata: str | None) -> float | None:
    """Read `usage.time_to_first_token`; what is no finite number there is unknown, hence null."""
    if metadata is None or "time_to_first_token" not in metadata:
        return None
    try:
        usage = _METADATA.decode(metadata).usage
        first = None if usage is None else usage.time_to_first_token
        return None if first is None else _number(first)
    except (msgspec.ValidationError, _WrongValueError):
        return None


def _dead_schema(schema: TableSchema) -> TableSchema:
    conversations = (CONVERSATIONS.name, UNDATED_CONVERSATIONS.name)
    return CONVERSATION_DEAD_LETTERS if schema.name in conversations else MESSAGE_DEAD_LETTERS


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
