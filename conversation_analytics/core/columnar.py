"""The quick way from rows as served to typed rows: whole columns instead of single values.

It takes only rows of which every value has the form that is usual in its column. Every other row
is left to `core.rows`, which says what is wrong with it or reads the unusual form.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import polars as pl

from conversation_analytics.core.schemas import INSTANT, MONEY
from conversation_analytics.core.values import (
    ID_COLUMNS,
    JSON_COLUMNS,
    NIL_UUID,
    UNFIT,
    WrongValueError,
    encode_json,
    typed_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from conversation_analytics.core.schemas import Column, TableSchema

_CHUNK_ROWS: Final = 1024
_NUMBER: Final = "number of the row"
_BAD: Final = "to be left"
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_MONEY_TEXT: Final = r"^-?[0-9]{1,13}(\.[0-9]{1,7})?$"
_INSTANT_TEXT: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|\+00:00)?$"
)
_FIRST_YEAR: Final = "0001"
_FORBIDDEN: Final = frozenset('"\\')


@dataclass(frozen=True, slots=True)
class Titles:
    """Which titles the rows have, and what for.

    Attributes:
        all: every title, ignored ones too, best in the order served.
        of: lake column to the title that carries it.
        extra: titles kept in `extra`, sorted.
    """

    all: tuple[str, ...]
    of: Mapping[str, str]
    extra: tuple[str, ...]


def typed_columns(
    raw: pl.DataFrame,
    schema: TableSchema,
    titles: Titles,
    *,
    sample: Sequence[Mapping[str, Any]],
    one_by_one: Mapping[str, Callable[[Any], Any]],
    required: frozenset[str],
) -> tuple[pl.DataFrame, pl.Series]:
    """Type the rows that are as rows usually are.

    Args:
        raw: rows as served, with the columns of `schemas.RAW_MESSAGES`.
        schema: of the result.
        titles: of the rows; a row with another one is left.
        sample: decoded rows, to see which form the values of a column have.
        one_by_one: by lake column, types a value that is not null or raises `WrongValueError`.
        required: lake columns where null leaves the row.

    Returns:
        The typed rows in the order of `raw`, with the columns of the schema unsorted, and the
        positions in `raw` of those rows (UInt32). Nothing, where titles cannot be decoded so.
    """
    nothing = schema.empty(), pl.Series(dtype=pl.UInt32)
    if any(not title.isprintable() or _FORBIDDEN & set(title) for title in titles.all):
        return nothing
    carried = {title: column for column, title in titles.of.items()}
    by_name = {column.name: column for column in schema.columns}
    forms: dict[str, Any] = {
        title: _form(by_name[carried[title]], [row.get(title) for row in sample])
        if title in carried
        else Any
        for title in titles.all
    }
    decode = _decoder(tuple(forms.items())).decode
    frames = []
    payloads = _fit(raw["payload"]).cast(pl.Binary)  # text would be encoded again
    for start in range(0, raw.height, _CHUNK_ROWS):
        chunk = payloads.slice(start, _CHUNK_ROWS)
        numbers, rows = [], []
        for number, text in enumerate(chunk.to_list()):
            if text is None:
                continue
            try:
                rows.append(decode(text))
            except (ValueError, RecursionError, ArithmeticError):
                continue  # the other way finds out what is wrong with it
            numbers.append(number)
        if rows:
            served = zip(*map(msgspec.structs.astuple, rows), strict=True)
            columns = dict(zip(titles.all, served, strict=True))
            part = raw.slice(start, _CHUNK_ROWS)
            whole = part if len(rows) == part.height else part[numbers]
            frame = _chunk(whole, schema, titles, forms, one_by_one, columns)
            frames.append(
                frame.with_columns(
                    pl.Series(_NUMBER, [start + number for number in numbers], dtype=pl.UInt32)
                )
            )
    if not frames:
        return nothing
    frame = _cast(pl.concat(frames), schema, required)
    return frame.drop(_NUMBER), frame[_NUMBER]


def _fit(payloads: pl.Series) -> pl.Series:
    """Return the texts, null where one may hold characters that cannot be stored."""
    escaped = payloads.str.contains(r"\u", literal=True)
    if not escaped.any():
        return payloads
    return payloads.set(payloads.str.contains(UNFIT.pattern), None)


def _form(column: Column, values: Iterable[Any]) -> Any:
    """Return the type in which the values of a column are decoded."""
    kinds = {type(value) for value in values} - {type(None)}
    forms: tuple[tuple[Any, tuple[Any, ...], set[type]], ...] = (
        (str | None, (pl.String(), MONEY, INSTANT), {str}),
        (msgspec.Raw, (MONEY,), {int, Decimal}),
        (_Int64 | None, (pl.Int64(),), {int}),
        (float | None, (pl.Float64(),), {int, Decimal}),
        (bool | None, (pl.Boolean(),), {bool}),
    )
    fitting = (form for form, dtypes, usual in forms if column.dtype in dtypes and kinds <= usual)
    return Any if column.name in JSON_COLUMNS else next(fitting, Any)


@lru_cache(maxsize=32)
def _decoder(forms: tuple[tuple[str, Any], ...]) -> msgspec.json.Decoder[Any]:
    fields = [(f"value_{n}", form, None) for n, (_, form) in enumerate(forms)]
    row = msgspec.defstruct(
        "Row",
        fields,
        rename={f"value_{n}": title for n, (title, _) in enumerate(forms)},
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(row, float_hook=Decimal)


def _chunk(
    raw: pl.DataFrame,
    schema: TableSchema,
    titles: Titles,
    forms: Mapping[str, Any],
    one_by_one: Mapping[str, Callable[[Any], Any]],
    served: Mapping[str, Sequence[Any]],
) -> pl.DataFrame:
    """Return the schema's columns, those that `_cast` can cast still as text, and `_BAD`."""
    bad: set[int] = set()
    columns = {"gone": raw["gone"], "created_at": raw["created_at"]}
    for column in schema.columns:
        if (title := titles.of.get(column.name)) is None:
            continue
        form, values = forms[title], served[title]
        if column.name == "message_metadata":
            metadata = [typed_metadata(value) for value in values]
            columns[column.name] = _series(column, [text for text, _ in metadata])
            first = [seconds for _, seconds in metadata]
            columns["time_to_first_token_s"] = pl.Series(first, dtype=pl.Float64)
        elif form is Any:
            typed = _one_by_one(one_by_one[column.name], values, bad)
            columns[column.name] = _series(column, typed)
        elif form is msgspec.Raw:
            columns[column.name] = pl.Series([_number_text(v) for v in values], dtype=pl.String)
        elif form == str | None:
            columns[column.name] = pl.Series(values, dtype=pl.String)
        else:
            columns[column.name] = _series(column, values)
    columns["extra"] = pl.Series(_extra(titles, served, raw.height), dtype=pl.String)
    wrong = [position in bad for position in range(raw.height)] if bad else [False] * raw.height
    return pl.DataFrame(
        [
            columns[column.name].alias(column.name)
            if column.name in columns
            else pl.repeat(None, raw.height, dtype=column.dtype, eager=True).alias(column.name)
            for column in schema.columns
        ]
        + [pl.Series(_BAD, wrong, dtype=pl.Boolean)]
    )


def _cast(frame: pl.DataFrame, schema: TableSchema, required: frozenset[str]) -> pl.DataFrame:
    """Cast what is text still, and leave out the rows where one of the texts is not usual."""
    casts = {
        column.name: cast(pl.col(column.name))
        for column in schema.columns
        if frame.schema[column.name] == pl.String()
        and (cast := _CASTS.get(column.dtype)) is not None
    }
    for name in ID_COLUMNS & frame.schema.keys():
        null = ["", NIL_UUID] if name == "parent_message_id" else [""]
        casts[name] = pl.when(~pl.col(name).is_in(null)).then(pl.col(name))
    bad = [
        pl.col(_BAD),
        *(
            cast.is_null() & pl.col(name).is_not_null()
            for name, cast in casts.items()
            if name not in ID_COLUMNS
        ),
        *(casts.get(name, pl.col(name)).is_null() for name in sorted(required)),
    ]
    return (
        frame.with_columns(pl.any_horizontal(bad).alias(_BAD), **casts)
        .filter(~pl.col(_BAD))
        .drop(_BAD)
        .with_columns(user_id=pl.coalesce("from_end_user_id", "from_account_id"))
    )


def _money(text: pl.Expr) -> pl.Expr:
    usual = text.str.contains(_MONEY_TEXT)
    return pl.when(usual).then(text).cast(MONEY)


def _instant(text: pl.Expr) -> pl.Expr:
    usual = text.str.contains(_INSTANT_TEXT) & (text >= _FIRST_YEAR)
    plain = pl.when(usual).then(text.str.head(19).str.replace("T", " ", literal=True))
    return plain.str.strptime(
        pl.Datetime("us"), "%Y-%m-%d %H:%M:%S", strict=False
    ).dt.replace_time_zone("UTC")


_CASTS: Final[Mapping[Any, Callable[[pl.Expr], pl.Expr]]] = {MONEY: _money, INSTANT: _instant}


def _one_by_one(convert: Callable[[Any], Any], values: Iterable[Any], bad: set[int]) -> list[Any]:
    typed: list[Any] = []
    for position, value in enumerate(values):
        try:
            typed.append(None if value is None else convert(value))
        except WrongValueError:
            typed.append(None)
            bad.add(position)
    return typed


def _extra(titles: Titles, served: Mapping[str, Sequence[Any]], height: int) -> list[str | None]:
    kept = [title for title in titles.extra if served[title].count(None) < height]
    if not kept:
        return [None] * height
    extras: list[str | None] = []
    for row in zip(*(served[title] for title in kept), strict=True):
        pairs = zip(kept, row, strict=True)
        extra = {title: value for title, value in pairs if value is not None}
        extras.append(encode_json(extra) if extra else None)
    return extras


def _series(column: Column, values: Sequence[Any]) -> pl.Series:
    return pl.Series(column.name, values, column.dtype, strict=True)


def _number_text(raw: msgspec.Raw | None) -> str | None:
    text = None if raw is None else bytes(raw).decode()
    return None if text == "null" else text
