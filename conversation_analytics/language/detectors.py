"""Telling languages apart: by words, and by byte n-grams where words say too little."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import TYPE_CHECKING, Final

from conversation_analytics.language.word_tables import word_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    from py3langid.langid import LanguageIdentifier

_BYTES_WEIGHT: Final = 0.15
"""Byte n-grams overlap: they are far surer than they are right."""
_DECIDED: Final = 12.0
"""Words that are e^12 times likelier in one language than in the next need no n-grams."""
_PACKAGES: Final = ("py3langid", "wordfreq")


class NaiveBayesDetector:
    """A `core.languages.LanguageDetector`: naive Bayes over words (wordfreq) and byte n-grams.

    The n-grams are those of py3langid (Lui and Baldwin 2012); they alone count where a candidate
    has no list of words. Models are read at the first use, once a process.
    """

    @property
    def name(self) -> str:
        """See `LanguageDetector.name`."""
        return ", ".join(f"{one} {importlib.metadata.version(one)}" for one in _PACKAGES)

    def detect(self, texts: Sequence[str], candidates: Sequence[str]) -> list[tuple[str, float]]:
        """See `LanguageDetector.detect`.

        Candidates are of `core.languages.KNOWN`.
        """
        if len(candidates) == 1:
            return [(candidates[0], 1.0)] * len(texts)
        if not texts:
            return []
        import numpy as np  # noqa: PLC0415 - import budget

        names = tuple(candidates)
        table = word_table(names)
        if table is None:
            scores = _BYTES_WEIGHT * _of_bytes(texts, names)
        else:
            scores = table.scores(texts).astype(np.float64)
            first_two = np.partition(scores, -2, axis=1)[:, -2:]
            open_ones = np.flatnonzero(first_two[:, 1] - first_two[:, 0] < _DECIDED)
            scores[open_ones] += _BYTES_WEIGHT * _of_bytes(
                [texts[i] for i in open_ones.tolist()], names
            )
        best = scores.argmax(axis=1)
        sure = 1 / np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1)
        return [(names[int(i)], float(one)) for i, one in zip(best, sure, strict=True)]


def _of_bytes(texts: Sequence[str], candidates: tuple[str, ...]) -> npt.NDArray[np.float64]:
    import numpy as np  # noqa: PLC0415 - import budget

    identifier = _identifier(candidates)
    scores = np.empty((len(texts), len(candidates)))
    for row, text in enumerate(texts):
        found = dict(identifier.rank(text))
        scores[row] = [found[one] for one in candidates]
    return scores


@functools.cache
def _identifier(candidates: tuple[str, ...]) -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415 - heavy

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=False)
    identifier.set_languages(candidates)
    return identifier
