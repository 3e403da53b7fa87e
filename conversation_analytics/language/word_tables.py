"""How often words are said in each of some languages: what tells short texts apart."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_RAREST: Final = 2e-7
"""Frequency of a word that a language's list lacks; the lists begin at 1e-6."""
_WITHOUT_MARKS: Final = 0.03
"""Share of people who write a word without its accents: `nao`, `cam on`."""
_NO_SPACES: Final = frozenset({"zh", "ja", "ko", "th", "yue", "wuu", "km", "lo", "my"})
"""Their words are not what stands between spaces."""


@dataclass(frozen=True, slots=True)
class WordTable:
    """Words of some languages.

    Attributes:
        place: row of each word; row 0 is that of words in no list.
        logs: natural logarithm of the frequency, shape (words, languages), float32; row 0 is 0.
    """

    place: Mapping[str, int]
    logs: npt.NDArray[np.float32]

    def scores(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the sum of the logarithms of a text's words, shape (texts, languages)."""
        import numpy as np  # noqa: PLC0415 - import budget

        rows: list[int] = []
        starts = []
        for text in texts:
            starts.append(len(rows))
            rows.append(0)  # so that no text is without a row
            for word in _WORD.findall(text.lower()):
                row = self.place.get(word)
                if row is None and ("'" in word or "\u2019" in word):
                    rows += [self.place.get(part, 0) for part in re.split("['\u2019]", word)]
                else:
                    rows.append(row or 0)
        if not starts:
            return np.empty((0, self.logs.shape[1]), dtype=np.float32)
        return np.asarray(np.add.reduceat(self.logs[rows], starts, axis=0), dtype=np.float32)


@functools.cache
def word_table(languages: tuple[str, ...]) -> WordTable | None:
    """Return the words of these languages; None where one of them has no list."""
    import numpy as np  # noqa: PLC0415 - import budget
    import wordfreq  # noqa: PLC0415 - 100,000 words, only where languages are told

    if any(one in _NO_SPACES for one in languages) or not (
        set(languages) <= wordfreq.available_languages("small").keys()
    ):
        return None
    place: dict[str, int] = {}
    found: list[list[float]] = [[0.0] * len(languages)]
    for column, language in enumerate(languages):
        for word, frequency in wordfreq.get_frequency_dict(language, "small").items():
            plain = _without_marks(word)
            for spelling, share in ((word, 1.0), (plain, _WITHOUT_MARKS))[: 1 + (plain != word)]:
                row = place.setdefault(spelling, len(found))
                if row == len(found):
                    found.append([0.0] * len(languages))
                found[row][column] += frequency * share
    frequencies = np.array(found, dtype=np.float32)
    logs = np.log(np.maximum(frequencies, np.float32(_RAREST)))
    logs[0] = 0
    wordfreq.get_frequency_dict.cache_clear()
    return WordTable(place, logs)


def _without_marks(word: str) -> str:
    if word.isascii():
        return word
    plain = unicodedata.normalize("NFD", word).replace("\u0111", "d")
    return "".join(sign for sign in plain if not unicodedata.combining(sign))
