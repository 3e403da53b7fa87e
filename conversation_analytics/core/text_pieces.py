"""Long texts cut into pieces that fit into a request, and pieces packed into requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.text_masking import Masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conversation_analytics.core.translator import TranslatorLimits

# Where a text may be cut, the best first: after paragraphs, lines, sentences, words.
_CUTS: Final = tuple(
    re.compile(cut, re.DOTALL)
    for cut in (
        r".+?(?:\n\s*\n|\Z)",
        r".+?(?:\n|\Z)",
        r".+?(?:[.!?]\s+|[\u3002\uff01\uff1f]|\Z)",  # the full stops of Chinese and Japanese too
        r".+?(?:\s+|\Z)",
    )
)
_TOKEN_CHARACTERS: Final = 9  # of ZX99999Z, and one


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that is translated by itself.

    Attributes:
        before: white space in front, which engines drop.
        masked: the part.
        after: white space behind.
    """

    before: str
    masked: Masked
    after: str


def cut(masked: Masked, characters: int) -> list[Piece]:
    """Return the pieces of a text, each of at most `characters` with its tokens.

    Together they are the text: nothing is lost, nothing added.
    """
    if _length(masked) <= characters:
        return [_piece(masked)]
    pieces: list[Piece] = []
    texts, spans, size = [""], list[str](), 0
    for atom, is_span in _atoms(masked, characters):
        length = _TOKEN_CHARACTERS if is_span else len(atom)
        if size and size + length > characters:
            pieces.append(_piece(Masked(tuple(texts), tuple(spans))))
            texts, spans, size = [""], [], 0
        if is_span:
            spans.append(atom)
            texts.append("")
        else:
            texts[-1] += atom
        size += length
    pieces.append(_piece(Masked(tuple(texts), tuple(spans))))
    return pieces


def pack(sizes: Iterable[int], limits: TranslatorLimits) -> Iterator[range]:
    """Yield the positions of consecutive texts that fit into one request.

    Args:
        sizes: characters of each text, each within the limits.
        limits: of the engine.
    """
    start = end = total = 0
    for end, size in enumerate(sizes):
        if end > start and (end - start == limits.texts or total + size > limits.characters):
            yield range(start, end)
            start, total = end, 0
        total += size
    if total or end > start:
        yield range(start, end + 1)


def _length(masked: Masked) -> int:
    return sum(map(len, masked.texts)) + _TOKEN_CHARACTERS * len(masked.spans)


def _atoms(masked: Masked, characters: int) -> Iterator[tuple[str, bool]]:
    yield from ((atom, False) for atom in _cut_text(masked.texts[0], characters, 0))
    for span, text in zip(masked.spans, masked.texts[1:], strict=True):
        yield span, True
        yield from ((atom, False) for atom in _cut_text(text, characters, 0))


def _cut_text(text: str, characters: int, level: int) -> Iterator[str]:
    """Yield parts of at most `characters`, cut no finer than it takes."""
    if len(text) <= characters:
        if text:
            yield text
    elif level == len(_CUTS):
        yield from (text[at : at + characters] for at in range(0, len(text), characters))
    else:
        for part in _CUTS[level].findall(text):
            yield from _cut_text(part, characters, level + 1)


def _piece(masked: Masked) -> Piece:
    first, last = masked.texts[0], masked.texts[-1]
    before = first[: len(first) - len(first.lstrip())]
    after = last[len(last.rstrip()) :] if masked.spans or last.strip() else ""
    texts = list(masked.texts)
    texts[0] = texts[0].lstrip()
    texts[-1] = texts[-1].rstrip()
    return Piece(before, Masked(tuple(texts), masked.spans), after)
