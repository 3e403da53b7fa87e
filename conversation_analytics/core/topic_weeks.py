"""Topics of a week: whose ids stay the same from week to week, and what may be shown of them."""

from __future__ import annotations

import base64
import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from conversation_analytics.core.embedding import embed_each_once
from conversation_analytics.core.topic_labels import topic_words
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.core.topics import find_topics, nearest_topic, sample_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from conversation_analytics.core.embedding import Embedder, Vectors
    from conversation_analytics.core.topics import Integers

WORDS: Final = "words"
"""What `label_by` says where a label is made of words of the conversations."""
_WEEKS_AT_REST: Final = 8
_EXAMPLES: Final = 3
_BATCH: Final = 4096


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """What the deployment decides.

    Attributes:
        min_users: users below which nothing of a topic is shown.
        min_conversations: conversations, likewise.
        sample: distinct texts that are clustered at most; the others join the nearest topic.
        same: cosine of two centres from which on they are one topic, a week later.
    """

    min_users: int = 5
    min_conversations: int = 5
    sample: int = 20_000
    same: float = 0.75


@dataclass(frozen=True, slots=True)
class WeekOfTopics:
    """Both tables of a week: schemas `TOPICS` and `CONVERSATION_TOPICS`."""

    topics: pl.DataFrame
    conversations: pl.DataFrame


def week_of_topics(
    start: dt.date,
    texts: pl.DataFrame,
    before: pl.DataFrame,
    embedder: Embedder,
    segment: Callable[[str], Sequence[str]],
    options: TopicOptions,
    common: Collection[str] = (),
) -> WeekOfTopics:
    """Find the topics of a week.

    Vectors of the sample alone are held, the others pass by in batches.

    Args:
        start: its Monday.
        texts: `conversation_id`, `user_id`, `text`, one row a conversation.
        before: `TOPICS` of the week before, or without rows.
        embedder: makes the vectors.
        segment: text to its words.
        options: limits.
        common: words that name no topic.
    """
    texts = texts.sort("conversation_id")
    if texts.is_empty():
        at_rest = _at_rest(start, before, frozenset())
        return WeekOfTopics(_table(at_rest), CONVERSATION_TOPICS.empty())
    sample = sample_texts(texts["text"].to_list(), options.sample)
    vectors = embed_each_once(embedder, sample)
    tree = find_topics(vectors)
    topic, cosine = _nearest(texts["text"].to_list(), sample, vectors, tree.centres, embedder)
    kept, topic = np.unique(topic, return_inverse=True)  # a centre may be nobody's nearest
    centres, group = tree.centres[kept], tree.group[kept]
    sizes = np.bincount(topic, minlength=len(kept))
    ids = _ids(start, centres, sizes, before, options.same)
    placed = texts.with_columns(topic=pl.Series(topic, dtype=pl.Int64), cosine=pl.Series(cosine))
    words = topic_words(
        zip(placed["topic"], placed["text"], placed["user_id"], strict=True),
        segment, topics=len(kept), min_users=options.min_users, common=common,
    )  # fmt: skip
    held = {row["topic_id"]: row for row in before.iter_rows(named=True)}
    rows = []
    for number, identifier in enumerate(ids):
        own = placed.filter(pl.col("topic") == number).sort(
            "cosine", "conversation_id", descending=[True, False]
        )
        users = own["user_id"].n_unique()
        shown = users >= options.min_users and own.height >= options.min_conversations
        examples = own["conversation_id"].head(_EXAMPLES).to_list()
        rows.append(
            {
                "start": start,
                "topic_id": identifier,
                "group_id": int(group[number]),
                "shown": shown,
                "label": (label := ", ".join(words[number]) or None if shown else None),
                "label_by": WORDS if label else None,
                "named_from": None,
                "words": _json(words[number]) if shown else None,
                "examples": _json(examples) if shown else None,
                "conversations": own.height,
                "users": users,
                "previous_conversations": held.get(identifier, {}).get("conversations"),
                "last_seen": start,
                "centre": _encode(centres[number]),
            }
        )
    of_conversations = placed.select(
        start=pl.lit(start),
        conversation_id="conversation_id",
        topic_id=pl.Series([ids[one] for one in topic]),
        similarity=pl.col("cosine").cast(pl.Float64).round(4),
    )
    return WeekOfTopics(
        _table(rows + _at_rest(start, before, frozenset(ids))),
        CONVERSATION_TOPICS.conform(of_conversations),
    )


def match_topics(before: Vectors, now: Vectors, same: float) -> dict[int, int]:
    """Return which topic of now is which of before: at most one each, the nearest altogether.

    Args:
        before: centres, unit vectors, shape (topics before, dimensions).
        now: likewise.
        same: least cosine.

    Returns:
        Index before by index now.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - import budget

    if not len(before) or not len(now):
        return {}
    cosines = (now @ before.T).round(4)
    # What is too far counts as nothing, so that it never takes a place from a true pair.
    rows, columns = linear_sum_assignment(np.where(cosines >= same, cosines, 0), maximize=True)
    return {
        int(row): int(column)
        for row, column in zip(rows, columns, strict=True)
        if cosines[row, column] >= same
    }


def _nearest(
    texts: list[str], sample: Sequence[str], vectors: Vectors, centres: Vectors, embedder: Embedder
) -> tuple[Integers, Vectors]:
    """Return topic and cosine of each text; each distinct one is embedded once."""
    found: dict[str, tuple[int, float]] = {}

    def place(some: Sequence[str], where: Vectors) -> None:
        topics, cosines = nearest_topic(centres, where)
        found.update(zip(some, zip(topics.tolist(), cosines.tolist(), strict=True), strict=True))

    place(sample, vectors)
    others = sorted(set(texts) - found.keys())
    for first in range(0, len(others), _BATCH):
        batch = others[first : first + _BATCH]
        place(batch, embedder.embed(batch))
    return (
        np.array([found[text][0] for text in texts], dtype=np.int64),
        np.array([found[text][1] for text in texts], dtype=np.float32),
    )


def _ids(
    start: dt.date, centres: Vectors, sizes: Integers, before: pl.DataFrame, same: float
) -> list[str]:
    known = before["topic_id"].to_list()
    old = [_decode(text) for text in before["centre"]]
    matched = match_topics(np.array(old), centres, same) if known else {}
    ids = {now: known[then] for now, then in matched.items()}
    largest = sorted(range(len(centres)), key=lambda one: (-sizes[one], one))
    fresh = [one for one in largest if one not in ids]
    ids |= {one: f"{start.isoformat()}-{number:03d}" for number, one in enumerate(fresh, 1)}
    return [ids[one] for one in range(len(centres))]


def _at_rest(start: dt.date, before: pl.DataFrame, ids: frozenset[str]) -> list[dict[str, Any]]:
    """Return topics of before without conversations now: they may come back under their id."""
    oldest = start - dt.timedelta(weeks=_WEEKS_AT_REST)
    return [
        {
            **row,
            "start": start,
            "conversations": 0,
            "users": 0,
            "previous_conversations": row["conversations"],
            # It is told once that it is gone, if it had been shown.
            "shown": (shown := bool(row["shown"] and row["conversations"])),
            "label": row["label"] if shown else None,
            "label_by": row["label_by"] if shown else None,
            "named_from": None,
            "words": row["words"] if shown else None,
            "examples": None,
            "group_id": None,
        }
        for row in before.iter_rows(named=True)
        if row["topic_id"] not in ids and row["last_seen"] >= oldest
    ]


def _table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return TOPICS.conform(pl.DataFrame(rows, schema=TOPICS.polars))


def _json(values: Sequence[str]) -> str:
    return json.dumps(list(values), ensure_ascii=False)


def _encode(centre: Vectors) -> str:
    return base64.b64encode(centre.astype("<f2").tobytes()).decode()


def _decode(text: str) -> Vectors:
    vector = np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float32)
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float32)
