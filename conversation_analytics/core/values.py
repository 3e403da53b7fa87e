"""How one served value is typed; what is understood is told in `core.rows`."""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec

JSON_COLUMNS = frozenset({"inputs", "message_metadata"})
ID_COLUMNS = frozenset(
    {
        "id", "conversation_id", "message_id", "parent_message_id", "app_id",
        "from_end_user_id", "from_account_id", "workflow_run_id",
    }
)  # fmt: skip
NIL_UUID = "00000000-0000-0000-0000-000000000000"
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
UNFIT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)",
    re.DOTALL,
)
_SHORT = 256  # characters
_ESCAPE_LENGTH = len(r"\u0000")


class WrongValueError(Exception):
    """A value has no place in its column; the message names the expected type."""


def decode_json(text: str) -> Any:
    """Decode JSON text with its numbers kept exact and its characters made fit to store.

    Numbers with a point or an exponent become `Decimal`; lone surrogates and NUL become U+FFFD.

    Raises:
        ValueError: the text is no JSON, is nested too deep, or a number is out of all range.
    """
    if UNFIT.search(text):
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


def typed_text(value: Any) -> str:
    """Return a string as it is."""
    if isinstance(value, str):
        return value
    raise WrongValueError("text")


def typed_id(value: Any) -> str | None:
    """Return text or a whole number as text; an empty one is null."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise WrongValueError("an id (text or a whole number)")


def typed_parent(value: Any) -> str | None:
    """Return an id; the nil UUID is null."""
    found = typed_id(value)
    return None if found == NIL_UUID else found


def _numeric(value: Any, expected: str) -> Decimal:
    """Return a JSON number or numeric text as the exact decimal it is."""
    if isinstance(value, bool):
        raise WrongValueError(expected)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        try:
            return Decimal(value.strip())
        except InvalidOperation as error:  # an exponent beyond what Decimal holds
            raise WrongValueError(expected) from error
    raise WrongValueError(expected)


def typed_integer(value: Any) -> int:
    """Return a whole number of 64 bits, however it is spelled."""
    expected = "a 64-bit integer"
    if type(value) is int and value in _INT64:
        return value
    number = _numeric(value, expected)
    if number.is_zero():
        return 0
    # The size is looked at first: 1e999999 written out would fill the memory.
    if number.adjusted() >= _INT64_DIGITS or number != number.to_integral_value():
        raise WrongValueError(expected)
    whole = int(number)
    if whole not in _INT64:
        raise WrongValueError(expected)
    return whole


def typed_money(value: Any) -> Decimal:
    """Return a number or numeric text, rounded half-even to 7 places."""
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
        raise WrongValueError(expected)
    rounded = _CONTEXT.quantize(number, _PLACE)
    if abs(rounded) >= _MONEY_LIMIT:
        raise WrongValueError(expected)
    return rounded


def typed_number(value: Any) -> float:
    """Return a finite number."""
    expected = "a finite number"
    number = float(_numeric(value, expected))
    if not math.isfinite(number):
        raise WrongValueError(expected)
    return number


def typed_boolean(value: Any) -> bool:
    """Return a boolean, however it is spelled."""
    if isinstance(value, bool):
        return value
    if type(value) is int and value in (0, 1):
        return value == 1
    if isinstance(value, str) and (found := _BOOLEANS.get(value.strip().lower())) is not None:
        return found
    raise WrongValueError("a boolean")


def typed_instant(value: Any) -> dt.datetime:
    """Return an instant in UTC."""
    expected = "an instant (YYYY-MM-DD HH:MM:SS, UTC or with an offset)"
    if not (isinstance(value, str) and _INSTANT.fullmatch(text := value.strip())):
        raise WrongValueError(expected)
    try:
        instant = dt.datetime.fromisoformat(text.upper())
        return (
            instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant.astimezone(dt.UTC)
        )
    except (ValueError, OverflowError) as error:
        raise WrongValueError(expected) from error


def typed_json(value: Any) -> str | None:
    """Return any value, or the value of a JSON text, as compact JSON text with sorted keys."""
    if isinstance(value, str) and len(value) <= _SHORT:
        return _json_of_short_text(value)
    return typed_metadata(value)[0]


@lru_cache(maxsize=4096)
def _json_of_short_text(text: str) -> str | None:
    return typed_metadata(text)[0]  # app inputs repeat


def first_token(metadata: Any) -> float | None:
    """Read `usage.time_to_first_token`; what is no finite number there is unknown, hence null."""
    usage = metadata.get("usage") if isinstance(metadata, dict) else None
    first = usage.get("time_to_first_token") if isinstance(usage, dict) else None
    try:
        return None if first is None else typed_number(first)
    except WrongValueError:
        return None


def typed_metadata(value: Any) -> tuple[str | None, float | None]:
    """Return what `typed_json` does, and the seconds to the first token in it."""
    if isinstance(value, str):
        if not value.strip():
            return None, None
        try:
            value = decode_json(value)
        except ValueError:
            return encode_json(value), None
    return (None, None) if value is None else (encode_json(value), first_token(value))
