"""Names of topics: the words that set one apart from the others (c-TF-IDF)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

_COMMON = 0.4
"""A word that so large a share of the topics uses says nothing about one of them."""
_FEW_TOPICS = 5


def topic_words(
    texts: Iterable[tuple[int, str, str | None]],
    segment: Callable[[str], Sequence[str]],
    *,
    topics: int,
    min_users: int,
    common: Collection[str] = (),
    count: int = 5,
) -> list[list[str]]:
    """Return the words of each topic, the most telling first.

    A word counts once a text, and is shown only if enough users said it: a rare word may be
    somebody's name.

    Args:
        texts: topic (from 0), text and user of each; users that are unknown count as one.
        segment: text to its words.
        topics: how many there are.
        min_users: users of the topic that a word needs.
        common: words that tell nothing of a topic, unless it has no others.
        count: words of a topic at most.
    """
    users: list[defaultdict[str, set[str | None]]] = [defaultdict(set) for _ in range(topics)]
    uses: list[Counter[str]] = [Counter() for _ in range(topics)]
    for topic, text, user in texts:
        for word in set(segment(text)):
            users[topic][word].add(user)
            uses[topic][word] += 1
    total: Counter[str] = Counter()
    spread: Counter[str] = Counter()
    for one in uses:
        total.update(one)
        spread.update(one.keys())
    mean = sum(total.values()) / max(topics, 1)
    named = []
    for topic in range(topics):
        size = max(sum(uses[topic].values()), 1)
        scores = {
            word: times / size * math.log(1 + mean / total[word])
            for word, times in uses[topic].items()
            if len(users[topic][word]) >= min_users
            and not _is_short(word)
            and (topics < _FEW_TOPICS or spread[word] <= _COMMON * topics + 1)
        }
        ranked = sorted(scores, key=lambda word: (-scores[word], word))
        telling = [word for word in ranked if word not in common]
        named.append((telling or ranked)[:count])
    return named


def _is_short(word: str) -> bool:
    """One letter is no word, unless it is a sign that is one (Chinese)."""
    return len(word) == 1 and word.isascii()
