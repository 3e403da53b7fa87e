r"""A page of rows taken apart, each row left as the text it is.

The fast way decodes the page at once. Where that fails for what stands inside of a row (half a
character, as in `"\ud800"`; nesting thousands deep; bytes that are no UTF-8; `NaN`), the page is
cut along its brackets instead, so that one such row takes no other row of its page with it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from conversation_analytics.core.json_text import elements, members


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


def _cut(body: bytes) -> _Answer:
    values = members(body)
    rows = bytes(values.get("list", b""))
    if not rows.startswith(b"["):
        raise ValueError("no list")
    return _Answer(
        [msgspec.Raw(row) for row in elements(rows)],
        _PAGE_INFO.decode(values.get("pageInfo", b"null")),
    )
