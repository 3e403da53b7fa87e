"""Opaque cursors: where a page ended, and of which call it was a page.

A cursor holds a sort key and an id, no operator and no name; whoever forges one gets to another
place in the pages of the same call, and nowhere else.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.errors import ReadRequestError

if TYPE_CHECKING:
    from conversation_analytics.documents.store import Scalar

_VERSION: Final = 1
_LONGEST: Final = 2_000


def call_digest(name: str, arguments: object) -> str:
    """Return what identifies a call, however its pages are cut."""
    text = json.dumps([name, arguments], default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def encode_cursor(call: str, value: Scalar, identifier: str) -> str:
    """Return the cursor behind an item of the call `call` with this sort key and id."""
    key = {"at": value.isoformat()} if isinstance(value, dt.datetime) else value
    text = json.dumps([_VERSION, call, key, identifier], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(call: str, cursor: str) -> tuple[Scalar, str]:
    """Return the sort key and the id that a page goes on behind.

    Raises:
        ReadRequestError: it is no cursor, or one of another call.
    """
    try:
        if len(cursor) > _LONGEST:
            raise ValueError  # noqa: TRY301 - told below
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        version, of_call, key, identifier = found
        value = _instant(key["at"]) if isinstance(key, dict) else key
        right = (
            version == _VERSION
            and isinstance(identifier, str)
            and (value is None or type(value) in (str, int, dt.datetime))
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        right, of_call = False, None
    if not right:
        raise ReadRequestError(
            f"cursor: expected what `next` of a page gave, got text of {len(str(cursor))} "
            "characters; begin with the first page (no cursor)"
        )
    if of_call != call:
        raise ReadRequestError(
            "cursor: expected one of the same call with the same arguments, got one of another; "
            "begin with the first page (no cursor)"
        )
    return value, identifier


def _instant(text: str) -> dt.datetime:
    value = dt.datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError
    return value.astimezone(dt.UTC)
