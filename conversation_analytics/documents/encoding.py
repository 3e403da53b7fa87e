"""What may be stored, the same for every store, and its JSON text.

A document is refused here rather than by one store only, so that what works on a laptop
works on MongoDB.
"""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

from conversation_analytics.core.documents import (
    MAX_TURN_BYTES,
    RESERVED_HEADER_FIELDS,
    ConversationSlice,
    Document,
    cut_to_milliseconds,
    merge_slice,
    stored_size,
)

E = TypeVar("E")

PARTITION: Final = "_partition"
HASH: Final = "_hash"
MAX_BYTES: Final = 16 * 1024 * 1024 - 1024
"""Largest encoded document: MongoDB's limit less room for the store's own fields."""

_MAX_DEPTH: Final = 90
_INT64: Final = 2**63
_DECIMAL128: Final = decimal.Context(
    prec=34,
    Emin=-6143,
    Emax=6144,
    clamp=1,
    traps=[decimal.Inexact, decimal.Overflow, decimal.InvalidOperation],
)


class UnstorableError(ValueError):
    """A value has no place in a document; the text names the kind of problem, never the value."""


class OversizeError(UnstorableError):
    """A document is larger than `MAX_BYTES`."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("document over 16 MB")


def _same(value: Any) -> Any:
    return value


def _integer(value: int) -> int:
    if not -_INT64 <= value < _INT64:
        raise UnstorableError("integer over 64 bits")
    return value


def _float(value: float) -> float:
    if not math.isfinite(value):
        raise UnstorableError("number that is not finite")
    return value


def _decimal(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise UnstorableError("number that is not finite")
    try:
        return _DECIMAL128.create_decimal(value)
    except decimal.DecimalException:
        raise UnstorableError("decimal of more than 34 digits") from None


def _instant(value: dt.datetime) -> dt.datetime:
    if value.tzinfo is None:
        raise UnstorableError("time without a zone")
    try:
        return cut_to_milliseconds(value)
    except OverflowError:
        raise UnstorableError("time outside the years 1 to 9999 in UTC") from None


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnstorableError("text with a lone surrogate") from None
    return value


_SCALARS: Final[dict[type, Callable[[Any], Any]]] = {
    str: _text,
    type(None): _same,
    bool: _same,
    int: _integer,
    float: _float,
    Decimal: _decimal,
    dt.datetime: _instant,
}


@functools.lru_cache(maxsize=4096)
def _field_name(key: object) -> str:
    if not isinstance(key, str) or not key or key[0] == "$" or "." in key or "\0" in key:
        raise UnstorableError("field name with '$', '.', NUL or without text")
    return _text(key)


def _mapping(value: Mapping[Any, Any], depth: int) -> Document:
    fields: Document = {}
    for key, item in value.items():
        convert = _SCALARS.get(type(item))
        fields[_field_name(key)] = storable(item, depth + 1) if convert is None else convert(item)
    return fields


def storable(value: object, depth: int = 0) -> Any:
    """Return `value` as every store gives it back: UTC, milliseconds, lists, plain dicts.

    Raises:
        UnstorableError: NaN or infinity, over 64 bits, over 34 digits, a lone surrogate, a time
            without a zone, a field name of '.' or '$', too deep, or a type without a place.
    """
    convert = _SCALARS.get(type(value))
    if convert is not None:
        return convert(value)
    if depth > _MAX_DEPTH:
        raise UnstorableError(f"nested more than {_MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, (list, tuple)):
        return [storable(item, depth + 1) for item in value]
    for kind, convert_kind in _SCALARS.items():  # subclasses, such as the driver's Int64
        if isinstance(value, kind):
            return convert_kind(value)
    raise UnstorableError(f"value of type {type(value).__name__}")


def storable_document(document: Mapping[str, Any]) -> Document:
    """Return `document` as `storable` has it.

    Raises:
        UnstorableError: as `storable`, or a field of the store's own is in use.
    """
    if PARTITION in document or HASH in document:
        raise UnstorableError(f"field name {PARTITION} or {HASH}")
    return _mapping(document, 0)


def storable_slice(conversation: ConversationSlice) -> ConversationSlice:
    """Return `conversation` as `storable` has it.

    Raises:
        UnstorableError: as `storable`, the header uses a field that is computed, or a message
            has no `id`.
    """
    header = None
    if conversation.header is not None:
        if RESERVED_HEADER_FIELDS & conversation.header.keys():
            raise UnstorableError("header field that is computed")
        header = storable_document(conversation.header)
    messages = [_mapping(message, 2) for message in conversation.messages]
    if not all(isinstance(message.get("id"), str) for message in messages):
        raise UnstorableError("message without id")
    identifier = _text(conversation.conversation_id)
    return ConversationSlice(identifier, header, messages, conversation.by_age)


def merge_encoded(
    existing: Mapping[str, Any] | None,
    conversation: ConversationSlice,
    day: str,
    encode: Callable[[Document], E],
) -> tuple[Document, E] | None:
    """Return the document of `merge_slice` and its encoding; cut where it is too large.

    Args:
        existing: the document as stored, without the store's own fields.
        conversation: of `storable_slice`.
        day: partition key of the slice.
        encode: the store's; raises OversizeError.

    Raises:
        UnstorableError: a single turn, or what is not turns, is too large.
    """
    merged = merge_slice(existing, conversation, day)
    if merged is None:
        return None
    try:
        return merged, encode(merged)
    except OversizeError:
        if any(stored_size(message) > MAX_TURN_BYTES for message in conversation.messages):
            raise
    merged = merge_slice(existing, conversation, day, cut=True)
    return None if merged is None else (merged, encode(merged))


def instant_text(instant: dt.datetime) -> str:
    """Return a UTC `instant` as ISO text of constant width, so that text order is time order."""
    return instant.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _extended(value: object) -> dict[str, str]:
    if isinstance(value, dt.datetime):
        return {"$date": instant_text(value)}
    return {"$numberDecimal": str(value)}


_encode = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    separators=(",", ":"),
    default=_extended,
).encode


def json_text(value: object) -> str:
    """Return a value of `storable` as compact extended JSON, fields in their order."""
    return _encode(value)


def _restored(fields: dict[str, Any]) -> Any:
    if len(fields) == 1:
        if "$date" in fields:
            return dt.datetime.fromisoformat(fields["$date"])
        if "$numberDecimal" in fields:
            return Decimal(fields["$numberDecimal"])
    return fields


def from_json_text(text: str) -> Document:
    """Return the document that `json_text` wrote."""
    document: Document = json.loads(text, object_hook=_restored)
    return document
