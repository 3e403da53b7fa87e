"""An embedder for tests that needs no weights: counts of letters, hashed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.embedding import Vectors


class Letters:
    """Texts of the same words are near each other."""

    name = "letters"
    version = "1"
    dimensions = 64

    def __init__(self) -> None:
        """Count what is embedded."""
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of the words of each text."""
        self.embedded += texts
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split() or [""]:
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
                vectors[row] += np.random.default_rng(seed).normal(size=self.dimensions)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / norms, dtype=np.float32)
