"""What must come out of a translation as it went in, taken out before and put back after.

Code, addresses, tags, placeholders and numbers of things become tokens of one word. Engines
drop or bend most kinds of tokens (braces, tags, brackets); of 30 that were tried on two neural
models, invented words in capitals with a number inside came back whole every time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FindSpans = Callable[[str], Iterable[tuple[int, int]]]
"""Gives start and end of each span of a text to keep from the engine."""


class Style(StrEnum):
    """How tokens are written; the second is for texts whose tokens did not all come back."""

    WORD = "word"
    URL = "url"


_WRITTEN: Final = {Style.WORD: "ZX{}Z", Style.URL: "URL{}X"}
_TOKEN: Final = {
    Style.WORD: re.compile(r"ZX ?(\d{1,5}) ?Z", re.IGNORECASE),
    Style.URL: re.compile(r"URL ?(\d{1,5}) ?X", re.IGNORECASE),
}
# Each with what a text must have for it to be worth a search. Quantifiers are bounded, or exclude
# what follows them: no text takes quadratic time. A pattern begins with the characters it may
# begin with, and looks back after them: that is what the engine scans fast for. What overlaps
# becomes one span.
_KEPT: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    # code in blocks and lines
    ("```", re.compile(r"```.*?(?:```|\Z)", re.DOTALL)),
    ("~~~", re.compile(r"^~~~.*?(?:^~~~|\Z)", re.DOTALL | re.MULTILINE)),
    ("`", re.compile(r"(`{1,2})(?!`)[^`\n]{1,300}\1(?!`)")),
    # tags and entities
    ("<", re.compile(r"</?[A-Za-z][^<>\n]{0,500}>|<!--[^<>]{0,2000}-->")),
    ("&", re.compile(r"&(?:[A-Za-z]{2,10}|#x?[0-9A-Fa-f]{1,6});")),
    # addresses of the web, of mail, of files
    ("://", re.compile(
        r"[A-Za-z](?<![A-Za-z0-9].)[A-Za-z0-9+.-]{1,10}://[!-~]*[A-Za-z0-9/_=&#~-]")),
    ("www.", re.compile(r"(?i:www)\.[!-~]*[A-Za-z0-9/_=&#~-]")),
    ("@", re.compile(
        r"[\w.+-](?<![\w.+-].)[\w.+-]{0,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}")),
    ("/", re.compile(r"/(?<![\w/<].)[\w.@-]{1,80}(?:/[\w.@-]{1,80}){1,20}")),
    ("\\", re.compile(r"\\(?<![\w\\].)[\w.@-]{1,80}(?:\\[\w.@-]{1,80}){1,20}")),
    # placeholders of programs, and typed ones of personal data
    ("{", re.compile(r"\{\{[^{}\n]{1,80}\}\}|\$\{[^{}\n]{1,80}\}|\{[^{}\n]{1,80}\}")),
    ("$", re.compile(r"\$(?<!\w.)[A-Za-z_]\w{0,40}")),
    ("%", re.compile(r"%(?<![\w%].)(?:\([A-Za-z_]\w{0,40}\))?[sdif](?!\w)")),
    ("[", re.compile(r"\[[A-Z][A-Z0-9_]{1,40}\]")),
    # our own tokens
    ("zx", _TOKEN[Style.WORD]),
    ("url", _TOKEN[Style.URL]),
)  # fmt: skip


_DIGIT: Final = re.compile(r"[0-9]")
_KEPT_OF_DIGITS: Final = (  # orders, days, digests; not amounts
    re.compile(r"\d(?<![\w.,].)[\d-]{3,40}\d(?![\w%])"),
    re.compile(r"[A-Z](?<!\w.)[A-Z]{0,5}[-_#]?\d[\d-]{3,40}\d(?![\w%])"),
    re.compile(r"[0-9a-fA-F](?<!\w.)(?=[a-fA-F-]{0,40}\d)[0-9a-fA-F-]{11,127}(?!\w)"),
)


@dataclass(frozen=True, slots=True)
class Masked:
    """A text with what is kept from the engine taken out.

    Attributes:
        texts: what stands before, between and after the spans: one more than spans.
        spans: what was taken out, in order.
    """

    texts: tuple[str, ...]
    spans: tuple[str, ...]

    def render(self, style: Style = Style.WORD) -> str:
        """Return the text with a token in the place of each span."""
        if not self.spans:
            return self.texts[0]
        token = _WRITTEN[style]
        parts = [self.texts[0]]
        for number, text in enumerate(self.texts[1:]):
            parts += (token.format(number), text)
        return "".join(parts)

    @property
    def has_words(self) -> bool:
        """Whether anything is left to translate: a letter outside of the spans."""
        return any(map(_has_letter, self.texts))


@dataclass(frozen=True, slots=True)
class Restored:
    """A translation with the spans put back.

    Attributes:
        text: all spans are in it: those whose token was lost stand at the end.
        survived: spans whose token came back exactly once.
    """

    text: str
    survived: int


def normalise(text: str) -> str:
    """Return the text in Unicode's composed form, lines ended by a line feed."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", text)


def mask(text: str, find: FindSpans | None = None) -> Masked:
    """Take out what an engine must not touch, or not see.

    Args:
        text: normalised.
        find: further spans, of personal data for one; overlapping ones become one.
    """
    spans = [] if find is None else [(start, end) for start, end in find(text) if start < end]
    lower = text.lower()
    for sign, pattern in _KEPT:
        if sign in lower:
            spans += [found.span() for found in pattern.finditer(text)]
    if _DIGIT.search(text) is not None:
        for pattern in _KEPT_OF_DIGITS:
            spans += [found.span() for found in pattern.finditer(text)]
    if not spans:
        return Masked((text,), ())
    texts, kept, at = [], [], 0
    for start, end in _merged(spans):
        texts.append(text[at:start])
        kept.append(text[start:end])
        at = end
    return Masked((*texts, text[at:]), tuple(kept))


def restore(translated: str, masked: Masked, style: Style = Style.WORD) -> Restored:
    """Put the spans back into a translation of `masked.render(style)`.

    Tokens that nobody gave are dropped. A span whose token is lost is put at the end: nothing
    of the text is lost, and its place is known to be wrong by `survived`.
    """
    seen = survivors(translated, style)

    def span(found: re.Match[str]) -> str:
        number = int(found[1])
        return masked.spans[number] if number < len(masked.spans) else ""

    text = _TOKEN[style].sub(span, translated) if seen else translated
    lost = [span for number, span in enumerate(masked.spans) if number not in seen]
    survived = sum(seen.get(number) == 1 for number in range(len(masked.spans)))
    return Restored(" ".join([text, *lost]), survived)


def survivors(translated: str, style: Style) -> dict[int, int]:
    """Return how often each token stands in a translation, by number."""
    counts: dict[int, int] = {}
    for found in _TOKEN[style].finditer(translated):
        counts[int(found[1])] = counts.get(int(found[1]), 0) + 1
    return counts


def without_tokens(text: str, style: Style) -> str:
    """Return the text with a space for each token, for what looks at its words."""
    return _TOKEN[style].sub(" ", text)


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    spans.sort()
    at: tuple[int, int] | None = None
    for start, end in spans:
        if at is None:
            at = (start, end)
        elif start < at[1]:
            at = (at[0], max(at[1], end))
        else:
            yield at
            at = (start, end)
    if at is not None:
        yield at


def _has_letter(text: str) -> bool:
    return any(map(str.isalpha, text))
