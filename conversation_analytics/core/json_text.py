r"""JSON taken apart without touching its values: each stays the text it is.

The fast way decodes. Where that fails for what stands inside (half a character, as in `"\ud800"`;
nesting thousands deep; bytes that are no UTF-8; `NaN`), the text is cut along its brackets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from conversation_analytics.core.values import decode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOKEN: Final = re.compile(
    rb"""\s*+("(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]++)""", re.DOTALL
)
_SPACE: Final = re.compile(rb"\s*+\Z")
_OPENERS: Final = frozenset({b"{", b"["})
_SEPARATORS: Final = frozenset({b",", b":"})
_OPENED_BY: Final = {b"}": b"{", b"]": b"["}
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def members(text: bytes) -> Mapping[str, bytes | msgspec.Raw]:
    """Return the text of each value of a JSON object by its key; the last one of a key counts.

    Raises:
        ValueError: the text is no object with whole brackets and strings.
    """
    try:
        return _FIELDS.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _cut_members(text)


def _cut_members(text: bytes) -> dict[str, bytes | msgspec.Raw]:
    if not text.lstrip().startswith(b"{"):
        raise ValueError("no object")
    items = elements(text)
    if len(items) % 2:
        raise ValueError("a key without a value")
    return {
        str(decode_json(title.decode("utf-8", "replace"))): value
        for title, value in zip(items[::2], items[1::2], strict=True)
    }


def elements(text: bytes) -> list[bytes]:
    """Return what stands between the outermost brackets, cut at its commas and colons.

    Raises:
        ValueError: brackets or strings do not end, or nothing stands between two commas.
    """
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
