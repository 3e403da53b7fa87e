"""How far a translation can be relied on: engines do not say.

Each sign is a factor between 0 and 1, and the confidence is their product. It says that
something is wrong with a translation, not how well it reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

DetectLanguages = Callable[[Sequence[str]], Sequence[tuple[str, float]]]
"""Gives language and confidence (0 to 1) of each text; `und` where it cannot tell."""

# Characters of a text as a share of its English version: of 200 lines of NTREX-128, but for
# Thai, Vietnamese, Indonesian and Italian, which are rules of thumb.
_CHARACTERS: Final = {
    "en": 1.0, "es": 1.14, "de": 1.2, "fr": 1.17, "pt": 1.15, "ru": 1.08, "ar": 0.92,
    "zh": 0.36, "ja": 0.42, "ko": 0.51, "hi": 1.09, "tr": 1.03, "uk": 1.02,
    "th": 0.95, "vi": 1.05, "id": 1.1, "it": 1.13,
}  # fmt: skip
_SPREAD: Final = 0.25  # of the logarithm of a line's ratio, as measured: 0.14 to 0.28
_SPREAD_OF_SHORT: Final = 1.5
_UNREMARKABLE: Final = 2.0
_A_NAME_WORDS: Final = 2
_UNKNOWN: Final = frozenset({"und", "zxx", ""})
_LOST_TOKEN, _COPY, _COPY_OF_A_NAME = 0.5, 0.1, 0.7
_STILL_SOURCE, _ANOTHER_LANGUAGE = 0.2, 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to judge a translation by.

    Attributes:
        source_text: words of the text, no tokens.
        translated: words of the translation, no tokens.
        source: language of the text.
        target: language wanted.
        tokens: placeholders given.
        survived: of them, those that came back once.
        detected: language of the translation and the detector's confidence, 0 to 1.
    """

    source_text: str
    translated: str
    source: str
    target: str
    tokens: int
    survived: int
    detected: tuple[str, float] = ("und", 0.0)


def confidence(seen: Seen) -> float:
    """Return 0 (useless) to 1 (nothing speaks against it), three decimals."""
    factors = (_of_tokens(seen), _of_length(seen), _of_copy(seen), _of_language(seen))
    return round(math.prod(factors), 3)


def _of_tokens(seen: Seen) -> float:
    if seen.survived == seen.tokens:
        return 1.0
    return _LOST_TOKEN * seen.survived / seen.tokens


def _of_length(seen: Seen) -> float:
    before, after = len(seen.source_text.strip()), len(seen.translated.strip())
    if not before or not after:
        return 1.0 if before == after else 0.0
    expected = _CHARACTERS.get(seen.target, 1.0) / _CHARACTERS.get(seen.source, 1.0)
    off = abs(math.log(after / before) - math.log(expected))
    beyond = off / (_SPREAD + _SPREAD_OF_SHORT / math.sqrt(before)) - _UNREMARKABLE
    return math.exp(-(beyond**2) / 2) if beyond > 0 else 1.0


def _of_copy(seen: Seen) -> float:
    words = seen.source_text.split()
    if words != seen.translated.split():
        return 1.0
    return _COPY_OF_A_NAME if len(words) <= _A_NAME_WORDS else _COPY


def _of_language(seen: Seen) -> float:
    language, certain = seen.detected
    if language in _UNKNOWN or language == seen.target:
        return 1.0
    factor = _STILL_SOURCE if language == seen.source else _ANOTHER_LANGUAGE
    return 1.0 - (1.0 - factor) * certain
