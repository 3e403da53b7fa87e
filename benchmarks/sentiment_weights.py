"""Train the sentiment weights of the package; prints quality on each corpus held out.

python benchmarks/sentiment_weights.py hutto_ICWSM_2014 [OUT.npz]
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from conversation_analytics.language.embedders import USE_MULTILINGUAL, load_embedder

CORPORA = ("amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets", "tweets")
NEUTRAL = 0.5
STRENGTH = 0.2
"""Best of 0.05 to 8 on corpora left out: strong weights do not carry over to other texts."""


def _read(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    lines = (folder / f"{name}_GroundTruth.txt").read_text("utf-8", errors="replace").splitlines()
    rows = [line.split("\t") for line in lines]
    rating = np.array([float(row[1]) for row in rows])
    gold = np.where(rating > NEUTRAL, 2, np.where(rating < -NEUTRAL, 0, 1))
    return load_embedder(USE_MULTILINGUAL).embed([row[2] for row in rows]), gold


def _train(parts: list[tuple[np.ndarray, np.ndarray]]) -> LogisticRegression:
    weights = np.concatenate([np.full(len(gold), 1 / len(gold)) for _, gold in parts])
    model = LogisticRegression(C=STRENGTH, max_iter=500, class_weight="balanced")
    return model.fit(
        np.vstack([vectors for vectors, _ in parts]),
        np.concatenate([gold for _, gold in parts]),
        sample_weight=weights / weights.mean(),
    )


def _told(model: LogisticRegression, vectors: np.ndarray, gold: np.ndarray) -> str:
    found = model.predict(vectors)
    even = 1 / np.bincount(gold)[gold]
    plain = f1_score(gold, found, average="macro")
    return f"{plain:.3f} ({f1_score(gold, found, average='macro', sample_weight=even):.3f})"


def main() -> None:
    """Train on all corpora; measure on each with the others as training."""
    corpora = {name: _read(Path(sys.argv[1]), name) for name in CORPORA}
    with threadpool_limits(1):
        print("macro-F1, all classes of the same weight in brackets")
        for held in CORPORA:
            model = _train([part for name, part in corpora.items() if name != held])
            print(f"{held}, never seen: {_told(model, *corpora[held])}")
        vectors, gold = corpora["tweets"]
        shown = np.arange(len(gold)) % 2 == 0
        others = [part for name, part in corpora.items() if name != "tweets"]
        model = _train([*others, (vectors[shown], gold[shown])])
        print(f"tweets, every second one seen: {_told(model, vectors[~shown], gold[~shown])}")
        model = _train(list(corpora.values()))
    if len(sys.argv) > 2:
        np.savez(
            sys.argv[2],
            coef=model.coef_.astype(np.float32),
            intercept=model.intercept_.astype(np.float32),
        )


if __name__ == "__main__":
    main()
