from __future__ import annotations

import random

import numpy as np

from conversation_analytics.evaluation.intents import (
    _auroc,
    halves,
    intent_quality,
    topic_quality,
)
from conversation_analytics_tests.language.letters import Letters

WORDS = {"fruit": "apple pear plum ripe sweet", "tools": "saw nail drill hammer axe",
         "cars": "motor wheel tyre oil brake", "sea": "ship wave sail rope harbour"}  # fmt: skip


def labelled(each: int = 60) -> list[tuple[str, str]]:
    rng = random.Random(1)
    return [
        (" ".join(rng.sample(words.split(), 3)) + f" {number}", label)
        for label, words in WORDS.items()
        for number in range(each)
    ]


def test_what_is_easy_is_right_and_what_is_outside_is_seen() -> None:
    quality = intent_quality(labelled(), Letters(), examples=10, outside={"sea"})
    assert quality.labels == 3
    assert quality.texts == 150
    assert quality.outside == 60
    assert quality.accuracy > 0.95
    assert quality.auroc > 0.95


def test_topics_agree_with_labels() -> None:
    quality = topic_quality(labelled(), Letters(), 200)
    assert quality.topics == 4
    assert quality.ami > 0.95


def test_halves_share_no_text() -> None:
    first, second = halves(labelled())
    assert not {text for text, _ in first} & {text for text, _ in second}
    assert len(first) + len(second) == 240
    assert min(len(first), len(second)) > 80


def test_auroc_counts_pairs() -> None:
    assert _auroc(np.array([0.9, 0.8]), np.array([0.1])) == 1
    assert _auroc(np.array([0.5]), np.array([0.5])) == 0.5
    assert _auroc(np.array([0.1, 0.9]), np.array([0.5])) == 0.5
