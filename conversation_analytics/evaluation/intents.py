"""Quality of categories and topics on texts whose intent is known."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from conversation_analytics.core.category_model import fit_category_model
from conversation_analytics.core.embedding import embed_each_once
from conversation_analytics.core.taxonomy import OTHER, CategoryType, Label
from conversation_analytics.core.topics import find_topics, nearest_topic, sample_texts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from conversation_analytics.core.embedding import Embedder

Labelled = tuple[str, str]
"""A text and its label."""


@dataclass(frozen=True, slots=True)
class IntentQuality:
    """How well few examples teach a model.

    Attributes:
        labels: how many there were to choose from.
        texts: tested, of these labels.
        outside: tested, of none of these labels.
        accuracy: share of `texts` whose best label is right, whatever its confidence.
        answered: share of `texts` that were given a label and not `other`.
        answered_right: share of right ones among these.
        outside_rejected: share of `outside` that is `other`.
        auroc: chance that a text of a label is surer than one of none; 0.5 is no better than dice.
        calibration_error: mean distance of confidence and share of right ones, ten bins.
        fit_seconds: CPU seconds to train, without embedding.
        texts_per_second: classified on one core, without embedding.
        confusions: the most frequent: expected, found, how often.
    """

    labels: int
    texts: int
    outside: int
    accuracy: float
    answered: float
    answered_right: float
    outside_rejected: float
    auroc: float
    calibration_error: float
    fit_seconds: float
    texts_per_second: float
    confusions: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class TopicQuality:
    """How well topics nobody named agree with labels.

    Attributes:
        texts: distinct ones.
        labels: how many there are.
        topics: how many were found.
        ami: adjusted mutual information; 1: the same grouping, 0: as by chance.
        ari: adjusted Rand index.
        cpu_seconds: without embedding.
    """

    texts: int
    labels: int
    topics: int
    ami: float
    ari: float
    cpu_seconds: float


def halves(rows: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Split by a digest of the text: the first half is to tune on, the second to report."""
    parts: tuple[list[Labelled], list[Labelled]] = ([], [])
    for row in rows:
        parts[hashlib.sha256(row[0].encode()).digest()[0] % 2].append(row)
    return parts


def intent_quality(
    rows: Sequence[Labelled],
    embedder: Embedder,
    *,
    examples: int = 10,
    outside: Collection[str] = (),
    seed: int = 0,
    most: int = 100,
) -> IntentQuality:
    """Train on a few examples a label and test on others.

    Args:
        rows: texts with labels; a text counts once.
        embedder: makes the vectors.
        examples: of each label; labels with fewer than twice as many texts are left out.
        outside: labels without examples: their texts fit none.
        seed: which texts are examples.
        most: texts of a label tested.
    """
    by_label: defaultdict[str, list[str]] = defaultdict(list)
    for text, label in dict(rows).items():
        by_label[label].append(text)
    train, tests = [], []
    for label, texts in sorted(by_label.items()):
        shuffled = sorted(texts, key=lambda text: hashlib.sha256(f"{seed}{text}".encode()).digest())
        if label in outside:
            tests += [(text, OTHER) for text in shuffled[:most]]
        elif len(texts) >= 2 * examples:
            train.append(Label(label, "", tuple(shuffled[:examples])))
            tests += [(text, label) for text in shuffled[examples : examples + most]]
    said = [text for text, _ in tests]
    vectors = embed_each_once(embedder, said)
    known = {text: row for row, text in enumerate(said)}
    seen = embed_each_once(embedder, [text for label in train for text in label.examples])
    order = {text: i for i, text in enumerate(t for label in train for t in label.examples)}
    started = time.process_time()
    model = fit_category_model(
        CategoryType("intent", tuple(train)), (), _Held(embedder, order, seen)
    )
    fitted = time.process_time()
    answers = model.classify(said, vectors)
    done = time.process_time()
    scores = model.scores(said, vectors)
    sure = model.confidences(scores)
    gold = [label for _, label in tests]
    inside = np.array([label != OTHER for label in gold])
    right = np.array([a.nearest == g for a, g in zip(answers, gold, strict=True)])
    given = np.array([answer.label != OTHER for answer in answers])
    wrong = Counter(
        (g, a.nearest) for a, g in zip(answers, gold, strict=True) if OTHER not in {g, a.nearest}
        and a.nearest != g
    )  # fmt: skip
    return IntentQuality(
        len(train), int(inside.sum()), int((~inside).sum()),
        float(right[inside].mean()), float(given[inside].mean()),
        float(right[inside & given].mean()),
        float((~given[~inside]).mean()) if (~inside).any() else float("nan"),
        _auroc(sure[inside], sure[~inside]), _calibration_error(sure, right),
        fitted - started, len(known) / max(done - fitted, 1e-9),
        tuple((*pair, count) for pair, count in wrong.most_common(10)),
    )  # fmt: skip


def topic_quality(rows: Sequence[Labelled], embedder: Embedder, sample: int) -> TopicQuality:
    """Find topics without looking at the labels, and compare.

    Args:
        rows: texts with labels; a text counts once.
        embedder: makes the vectors.
        sample: texts that are clustered at most; the others join the nearest topic.
    """
    from sklearn.metrics import (  # noqa: PLC0415 - only where something is measured
        adjusted_mutual_info_score,
        adjusted_rand_score,
    )

    gold = dict(rows)
    texts = sorted(gold)
    vectors = embed_each_once(embedder, texts)
    chosen = set(sample_texts(texts, sample))
    started = time.process_time()
    tree = find_topics(vectors[[text in chosen for text in texts]])
    found, _ = nearest_topic(tree.centres, vectors)
    seconds = time.process_time() - started
    labels = [gold[text] for text in texts]
    return TopicQuality(
        len(texts), len(set(labels)), len(tree.centres),
        float(adjusted_mutual_info_score(labels, found)),
        float(adjusted_rand_score(labels, found)), seconds,
    )  # fmt: skip


@dataclass(frozen=True)
class _Held:
    """An embedder that has embedded already, so that training alone is timed."""

    embedder: Embedder
    place: dict[str, int]
    vectors: np.ndarray

    @property
    def name(self) -> str:
        return self.embedder.name

    @property
    def version(self) -> str:
        return self.embedder.version

    @property
    def dimensions(self) -> int:
        return self.embedder.dimensions

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return self.vectors[[self.place[text] for text in texts]]


def _auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    if not len(inside) or not len(outside):
        return float("nan")
    ranks = np.searchsorted(np.sort(outside), inside, "left") + np.searchsorted(
        np.sort(outside), inside, "right"
    )
    return float(ranks.mean() / (2 * len(outside)))


def _calibration_error(sure: np.ndarray, right: np.ndarray) -> float:
    bins = np.minimum((sure * 10).astype(int), 9)
    parts = [(bins == one) for one in np.unique(bins)]
    return float(sum(part.mean() * abs(right[part].mean() - sure[part].mean()) for part in parts))
