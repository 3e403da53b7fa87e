"""Telling languages apart with py3langid (naive Bayes over byte n-grams; Lui and Baldwin 2012)."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from py3langid.langid import LanguageIdentifier


class NaiveBayesDetector:
    """A `core.languages.LanguageDetector`. The model is read at the first use, once a process."""

    @property
    def name(self) -> str:
        """See `LanguageDetector.name`."""
        return f"py3langid {importlib.metadata.version('py3langid')}"

    def detect(self, texts: Sequence[str], candidates: Sequence[str]) -> list[tuple[str, float]]:
        """See `LanguageDetector.detect`.

        Candidates are of `core.languages.KNOWN`.
        """
        if len(candidates) == 1:
            return [(candidates[0], 1.0)] * len(texts)
        identifier = _identifier(tuple(candidates))
        return [identifier.classify(text) for text in texts]


@functools.cache
def _identifier(candidates: tuple[str, ...]) -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415 - heavy

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(candidates)
    return identifier
