"""Typing of raw rows, one row and one value at a time: slow, obvious, and apart from the real one.

It uses the standard library's JSON instead of msgspec and no columns at all.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.schemas import TableSchema

IDS = {
    "id", "conversation_id", "parent_message_id", "app_id", "from_end_user_id",
    "from_account_id", "workflow_run_id",
}  # fmt: skip
NOCODB = {
    "Id", "CreatedAt", "UpdatedAt", "CreatedBy", "UpdatedBy", "ncRecordId", "ncRecordHash",
    "nc_order", "nc_created_by", "nc_updated_by", "nc_row_color_info",
}  # fmt: skip
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
DERIVED = {"user_id", "time_to_first_token_s", "extra", "gone"}


class WrongError(Exception):
    pass


def type_rows_slowly(
    raw: Sequence[tuple[str, dt.datetime | None, str]], schema: TableSchema
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return typed rows in input order, and the ids of the dead ones."""
    rows = [_object(payload) for _, _, payload in raw]
    titles = {title for row in rows if row is not None for title in row}
    dated = not schema.name.startswith("undated")
    typed, dead = [], []
    for (row_id, served_at, _), row in zip(raw, rows, strict=True):
        if row is None:
            dead.append(row_id)
            continue
        try:
            typed.append(_typed(row, titles, served_at, schema, dated=dated))
        except WrongError:
            dead.append(row_id)
    return typed, dead


def _object(payload: str) -> dict[str, Any] | None:
    try:
        value = _loads(payload)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _loads(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(name)

    def decimal(digits: str) -> Decimal:
        try:
            return Decimal(digits)
        except InvalidOperation as error:
            raise ValueError(digits) from error

    return _fit(json.loads(text, parse_float=decimal, parse_constant=refuse))


def _fit(value: Any) -> Any:
    if isinstance(value, str):
        return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, list):
        return [_fit(item) for item in value]
    if isinstance(value, dict):
        return {_fit(key): _fit(item) for key, item in value.items()}
    return value


def _typed(
    row: dict[str, Any],
    titles: set[str],
    served_at: dt.datetime | None,
    schema: TableSchema,
    *,
    dated: bool,
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    used = set()
    for column in schema.columns:
        name = column.name
        if name in DERIVED:
            continue
        wanted = "provider_response_latency" if name == "latency_s" else name
        alike = [title for title in titles if title.lower() == wanted]
        title = wanted if wanted in titles else alike[0] if len(alike) == 1 else None
        if title is None:
            value = served_at if name == "created_at" else None
        else:
            used.add(title)
            value = row.get(title)
            value = None if value is None else _value(name, column.dtype, value)
        if value is None and (column.required or (dated and name == "created_at")):
            raise WrongError
        result[name] = value
    result["user_id"] = result["from_end_user_id"] or result["from_account_id"]
    if "message_metadata" in schema.polars:
        result["time_to_first_token_s"] = _first_token(result["message_metadata"])
    left = {
        title: value
        for title, value in row.items()
        if title not in used and title not in NOCODB and value is not None
    }
    result["extra"] = _dumps(left) if left else None
    return result


def _value(name: str, dtype: Any, value: Any) -> Any:  # noqa: C901, PLR0911 - one type each
    if name in {"inputs", "message_metadata"}:
        return _json(value)
    if name in IDS:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise WrongError
        text = str(value)
        nil = name == "parent_message_id" and text == "00000000-0000-0000-0000-000000000000"
        return None if nil or not text else text
    if dtype == pl.String():
        return _kept_if(isinstance(value, str), value)
    if dtype == pl.Boolean():
        truths = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
        if isinstance(value, Decimal | list | dict):
            raise WrongError
        found = truths.get(str(value).strip().lower())
        return _kept_if(found is not None, found)
    if isinstance(dtype, pl.Datetime):
        return _instant(value)
    number = _number(value)
    if dtype == pl.Int64():
        whole = number.adjusted() < 30 and number == number.to_integral_value()
        return int(_kept_if(whole and -(2**63) <= number < 2**63, number))
    if dtype == pl.Float64():
        return _kept_if(math.isfinite(float(number)), float(number))
    if number.adjusted() > 20:
        raise WrongError
    with localcontext() as context:
        context.prec = 5000
        rounded = number.quantize(Decimal("0.0000001"), rounding=ROUND_HALF_EVEN)
    return _kept_if(abs(rounded) < 10**13, rounded)


def _kept_if(condition: object, value: Any) -> Any:
    if not condition:
        raise WrongError
    return value


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise WrongError
    if isinstance(value, str):
        value = value.strip()
        _kept_if(NUMBER.match(value), value)
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise WrongError from None
    return Decimal(0) if number == 0 else number


def _instant(value: Any) -> dt.datetime:
    _kept_if(isinstance(value, str), value)
    match = re.fullmatch(
        r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?"
        r"(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?",
        value.strip(),
        re.ASCII,
    )
    if match is None:
        raise WrongError
    part = match.groups()
    try:
        year, month, day, hour, minute = (int(digits) for digits in part[:5])
        microsecond = int(((part[6] or "") + "000000")[:6])
        instant = dt.datetime(
            year, month, day, hour, minute, int(part[5] or 0), microsecond, tzinfo=dt.UTC
        )
        minutes = 60 * int(part[9] or 0) + int(part[10] or 0)
        _kept_if(minutes < 24 * 60 and int(part[10] or 0) < 60, minutes)
        offset = dt.timedelta(minutes=minutes)
        return instant + offset if part[8] == "-" else instant - offset
    except (ValueError, OverflowError):
        raise WrongError from None


def _json(value: Any) -> str | None:
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = _loads(value)
        except ValueError:
            return _dumps(value)
    return None if value is None else _dumps(value)


def _dumps(value: Any) -> str:
    if isinstance(value, dict):
        items = sorted((key.encode(), key) for key in value)
        return "{" + ",".join(f"{_dumps(key)}:{_dumps(value[key])}" for _, key in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_dumps(item) for item in value) + "]"
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _first_token(metadata: str | None) -> float | None:
    value = None if metadata is None else _loads(metadata)
    for key in ("usage", "time_to_first_token"):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    try:
        number = float(_number(value))
    except WrongError:
        return None
    return number if math.isfinite(number) else None
