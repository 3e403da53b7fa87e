"""Telling ids of a person in text from longer ids that they are part of."""

from __future__ import annotations

import html
import json
import re
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from conversation_analytics.core.pseudonyms import USER_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORTEST: Final = 4
"""Characters; what is shorter stands anywhere by chance."""
_LATIN: Final = r"A-Za-z0-9_\-\u00c0-\u024f"
_OTHER: Final = r"[^\W\u0000-\u024f]|[0-9_\-]"
"""A letter of the other scripts. Many write no spaces: an id in Latin letters may stand right
beside theirs."""
_NEAR: Final = 300  # characters before a value: the name of its field
_ESCAPES: Final = (r"\\[nrtbf]", r"\\u[0-9A-Fa-f]{4}", r"%[0-9A-Fa-f]{2}")
"""What ends in a letter or a digit and is a quote, the end of a line or a space."""
_LAST_OF_LATIN: Final = "\u024f"


def spellings(text: str) -> frozenset[str]:
    """Return a text as it may stand in JSON, HTML, an address or by itself."""
    return frozenset(
        {
            text,
            html.escape(text),
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            quote(text, safe="", errors="surrogatepass"),
        }
    )


@dataclass(frozen=True)
class SoughtIds:
    """Ids that are looked for, each in every spelling.

    A hit has no letter, digit, `_` or `-` directly on either side: `user 1` is not in `user 10`.
    Ids of fewer than four characters, or of digits alone, are numbers, words and parts of either
    everywhere: they are found only as the whole value of a column or a JSON field of users.

    Attributes:
        ids: not empty.
        fields: names of the columns and fields that hold users, in lower case.
    """

    ids: frozenset[str] = field(repr=False)
    fields: frozenset[str] = USER_COLUMNS

    @classmethod
    def of(cls, ids: Iterable[str]) -> SoughtIds:
        """Return ids in the columns of users that there always are."""
        return cls(frozenset(ids))

    @property
    def whole(self) -> frozenset[str]:
        """The ids that are found as whole values only."""
        return frozenset(one for one in self.ids if len(one) < _SHORTEST or one.isdigit())

    @cached_property
    def anywhere(self) -> tuple[str, ...]:
        """Spellings of the ids that are found anywhere: no text without one has a hit of them."""
        found = (spellings(one) for one in self.ids - self.whole)
        return tuple(sorted(frozenset[str]().union(*found)))

    @cached_property
    def as_value(self) -> str | None:
        """Regular expression of the other ids, as a value of JSON or of JSON in JSON's text.

        Without a match there is no hit of them; None: there are none.
        """
        if not self.whole:
            return None
        values = sorted(frozenset[str]().union(*map(spellings, self.whole)))
        one = f"(?:{'|'.join(map(re.escape, values))})"
        return rf':\s*\[?\s*(?:\\*"{one}\\*"|{one}\s*(?:[,}}\]]|$))'

    def in_text(self, text: str) -> bool:
        """Say whether there is a hit in a text; a text alone is no value of a field."""
        if any(one in text for one in self.anywhere) and self._text.search(text):
            return True
        return self._values is not None and any(
            self._names.search(text, max(0, at.start() - _NEAR), at.start())
            for at in self._values.finditer(text)
        )

    def in_bytes(self, data: bytes) -> bool:
        """Say whether there is a hit in UTF-8 text, whatever stands around it."""
        encoded = (one.encode("utf-8", "surrogatepass") for one in self.anywhere)
        if not (self.whole or any(one in data for one in encoded)):
            return False
        return self.in_text(data.decode("utf-8", "surrogateescape"))

    def in_footer(self, data: bytes) -> bool:
        """Say whether there is a hit in a footer of Parquet, where texts follow their lengths."""
        if self.in_bytes(data):
            return True
        long = (one.encode("utf-8", "surrogatepass") for one in self.ids - self.whole)
        return any(_length(len(one)) + one in data for one in long)

    def in_bson(self, data: bytes) -> bool:
        """Say whether there is a hit in a document of MongoDB."""
        if self.in_bytes(data):
            return True
        whole = [one.encode("utf-8", "surrogatepass") for one in self.whole]
        return any(
            name.encode() + b"\0" + struct.pack("<i", len(one) + 1) + one + b"\0" in data
            for one in whole
            if one in data
            for name in self.fields
        )

    @cached_property
    def _text(self) -> re.Pattern[str]:
        return re.compile("|".join(map(_bounded, self.anywhere)))

    @cached_property
    def _values(self) -> re.Pattern[str] | None:
        return None if self.as_value is None else re.compile(self.as_value)

    @cached_property
    def _names(self) -> re.Pattern[str]:
        names = "|".join(sorted(map(re.escape, self.fields)))
        return re.compile(rf'(?i:\b(?:{names}))\\*"\s*$')


def _bounded(text: str) -> str:
    before = _beside(text[0], "<")
    for escape in _ESCAPES:
        before += f"|(?<={escape})"
    return f"(?:{before}){re.escape(text)}{_beside(text[-1], '')}"


def _beside(edge: str, behind: str) -> str:
    """Return what lets no letter of the edge's own script stand beside it."""
    if edge > _LAST_OF_LATIN:
        return f"(?{behind}!{_OTHER})"
    return f"(?{behind}![{_LATIN}])"


def _length(size: int) -> bytes:
    """Return a length as the footer has it: seven bits a byte, the low ones first."""
    found = bytearray()
    while size > 0x7F:  # noqa: PLR2004 - seven bits
        found.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*found, size])
