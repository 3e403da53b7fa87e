r"""A page of rows taken apart, each row left as the text it is.

The fast way decodes the page at once. Where that fails for what stands inside of a row (half a
character, as in `"\ud800"`; nesting thousands deep; bytes that are no UTF-8; `NaN`), the page is
cut along its brackets instead, so that one such row takes no other row of its page with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from conversation_analytics.core.values import decode_json

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(
    rb"""\s*+("(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]++)""", re.DOTALL
)
_SPACE: Final = re.compile(rb"\s*+\Z")
_OPENERS: Final = frozenset({b"{", b"["})
_SEPARATORS: Final = frozenset({b",", b":"})
_OPENED_BY: Final = {b"}": b"{", b"]": b"["}


class Listing(msgspec.Struct, frozen=True):
    """An answer with rows.

    Attributes:
        rows: the JSON text of each row, untouched.
        page_size: rows the server was willing to give; None where it does not say.
        is_last: whether no row follows; None where it does not say.
        counted: rows from this page's first one on, as the server counts them; None where it
            does not say. Good for a doubt, not for an end: it may be wrong.
    """

    rows: list[msgspec.Raw]
    page_size: int | None
    is_last: bool | None
    counted: int | None = None


class _PageInfo(msgspec.Struct):
    page_size: Any = msgspec.field(default=None, name="pageSize")
    is_last: Any = msgspec.field(default=None, name="isLastPage")
    total_rows: Any = msgspec.field(default=None, name="totalRows")


class _Answer(msgspec.Struct):
    rows: list[msgspec.Raw] = msgspec.field(name="list")
    page_info: _PageInfo | None = msgspec.field(default=None, name="pageInfo")


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_PAGE_INFO: Final = msgspec.json.Decoder(_PageInfo | None)


def take_apart(body: bytes) -> Listing:
    """Return the rows of a page.

    Raises:
        ValueError: the body is no whole object with a `list` in it.
        msgspec.DecodeError: its `pageInfo` is no object.
    """
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = _cut(body)
    info = answer.page_info or _PageInfo()
    return Listing(
        answer.rows,
        info.page_size if type(info.page_size) is int else None,
        info.is_last if isinstance(info.is_last, bool) else None,
        info.total_rows if type(info.total_rows) is int else None,
    )


def members(text: bytes) -> dict[str, bytes]:
    """Return the text of each value of a JSON object by its key; the last one of a key counts.

    Raises:
        ValueError: the text is no object with whole brackets and strings.
    """
    if not text.lstrip().startswith(b"{"):
        raise ValueError("no object")
    items = _items(text)
    if len(items) % 2:
        raise ValueError("a key without a value")
    return {
        str(decode_json(title.decode("utf-8", "replace"))): value
        for title, value in zip(items[::2], items[1::2], strict=True)
    }


def _cut(body: bytes) -> _Answer:
    values = members(body)
    rows = values.get("list", b"")
    if not rows.startswith(b"["):
        raise ValueError("no list")
    return _Answer(
        [msgspec.Raw(row) for row in _items(rows)],
        _PAGE_INFO.decode(values.get("pageInfo", b"null")),
    )


def _items(text: bytes) -> list[bytes]:
    """Return what stands between the outermost brackets, cut at its commas and colons."""
    items: list[bytes] = []
    start: int | None = None
    end = 0
    for token, at, after, depth in _tokens(text):
        if depth == 0 or (depth == 1 and token in _SEPARATORS):
            if start is not None:
                items.append(text[start:end])
            elif token in _SEPARATORS:
                raise ValueError("nothing between two commas")
            start = None
        elif start is None:
            start = at
        end = after
    return items


def _tokens(text: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield each token with its start, its end and the number of brackets around it."""
    opened: list[bytes] = []
    position = 0
    while match := _TOKEN.match(text, position):
        token, position = match.group(1), match.end()
        opener = _OPENED_BY.get(token)
        if opener is not None and (not opened or opened.pop() != opener):
            break
        yield token, match.start(1), position, len(opened)
        if token in _OPENERS:
            opened.append(token)
        if not opened:
            if _SPACE.match(text, position):
                return
            break
    raise ValueError("brackets or strings that do not end")
