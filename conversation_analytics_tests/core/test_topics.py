from __future__ import annotations

import datetime as dt
import json
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from conversation_analytics.core.conversation_texts import conversation_texts, first_queries
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.topic_labels import topic_words
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.core.topic_weeks import (
    TopicOptions,
    WeekOfTopics,
    match_topics,
    week_of_topics,
)
from conversation_analytics.core.topics import find_topics, nearest_topic, sample_texts
from conversation_analytics.core.ward import ward_tree
from conversation_analytics_tests.language.letters import Letters

MONDAY = dt.date(2026, 11, 2)
WEEK = dt.timedelta(weeks=1)
SUBJECTS = ("refund money back", "parcel late delivery", "password login account")


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(0, 10_000))
def test_the_tree_is_that_of_scikit_learn(count: int, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    tree = ward_tree(points, np.ones(count))
    for clusters in {1, 2, count // 2, count} - {0}:
        ours = tree.cut_into(clusters)
        theirs = AgglomerativeClustering(clusters).fit_predict(points)
        assert len(set(ours)) == clusters
        assert adjusted_rand_score(ours, theirs) == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 12), st.integers(0, 1000))
def test_a_point_of_weight_two_is_two_points(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 4)).astype(np.float32)
    weights = rng.integers(1, 4, count)
    many = ward_tree(np.repeat(points, weights, axis=0), np.ones(weights.sum()))
    few = ward_tree(points, weights.astype(float))
    assert np.allclose(few.heights, many.heights[-(count - 1) :], rtol=1e-3)


def conversations(week: int, each: int, users: int, subjects: tuple[str, ...]) -> pl.DataFrame:
    rng = random.Random(week)
    rows = [
        {
            "conversation_id": f"{week}-{subject}-{number}",
            "user_id": f"u{number % users}",
            "text": " ".join(rng.sample(subject.split(), 3)) + f" {week}{number}",
        }
        for subject in subjects
        for number in range(each)
    ]
    return pl.DataFrame(rows, schema={name: pl.String() for name in ("conversation_id", "user_id",
                                                                     "text")})  # fmt: skip


def find(
    start: dt.date, texts: pl.DataFrame, before: pl.DataFrame | None = None, **options: int
) -> WeekOfTopics:
    held = TOPICS.empty() if before is None else before
    return week_of_topics(start, texts, held, Letters(), str.split, TopicOptions(**options))


def test_subjects_are_found_and_named() -> None:
    week = find(MONDAY, conversations(0, 20, 8, SUBJECTS))
    assert week.topics.height == 3
    assert week.topics["shown"].all()
    words = {frozenset(json.loads(one)) for one in week.topics["words"]}
    assert words == {frozenset(one.split()) for one in SUBJECTS} or all(
        set(subject.split()) & set().union(*words) for subject in SUBJECTS
    )
    by_subject = week.conversations.with_columns(
        subject=pl.col("conversation_id").str.split("-").list.get(1)
    )
    assert by_subject.group_by("subject").agg(pl.col("topic_id").n_unique())[
        "topic_id"
    ].to_list() == [1, 1, 1]
    assert week.conversations.height == 60


def test_ids_go_on_and_come_back() -> None:
    first = find(MONDAY, conversations(0, 20, 8, SUBJECTS))
    second = find(MONDAY + WEEK, conversations(1, 30, 8, SUBJECTS[:2]), first.topics)
    third = find(MONDAY + 2 * WEEK, conversations(2, 10, 8, SUBJECTS), second.topics)
    assert set(second.topics["topic_id"]) == set(first.topics["topic_id"])
    resting = second.topics.filter(pl.col("conversations") == 0)
    assert resting["previous_conversations"].to_list() == [20]
    assert resting["shown"].to_list() == [True]
    going = second.topics.filter(pl.col("conversations") > 0)
    assert going["previous_conversations"].to_list() == [20, 20]
    assert set(third.topics["topic_id"]) == set(first.topics["topic_id"])
    back = third.topics.filter(pl.col("topic_id") == resting["topic_id"][0])
    assert back["previous_conversations"].to_list() == [0]


def test_a_topic_at_rest_is_shown_once_and_forgotten_after_a_while() -> None:
    before = find(MONDAY, conversations(0, 20, 8, SUBJECTS)).topics
    for weeks in range(1, 11):
        before = find(MONDAY + weeks * WEEK, conversations(0, 0, 1, ()), before).topics
        assert before["shown"].to_list() == [True] * before.height if weeks == 1 else True
        if weeks > 1:
            assert not before["shown"].any()
            assert before["label"].null_count() == before.height
    assert before.is_empty()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(1, 8))
def test_nothing_is_shown_of_too_few(
    each: int, users: int, min_users: int, min_conversations: int
) -> None:
    texts = conversations(0, each, users, SUBJECTS)
    week = find(MONDAY, texts, min_users=min_users, min_conversations=min_conversations)
    joined = texts.join(week.conversations, on="conversation_id")
    for row in week.topics.iter_rows(named=True):
        own = joined.filter(pl.col("topic_id") == row["topic_id"])
        enough = own["user_id"].n_unique() >= min_users and own.height >= min_conversations
        assert row["shown"] == enough
        assert enough or (row["label"], row["words"], row["examples"]) == (None, None, None)
        for word in json.loads(row["words"] or "[]"):
            said = own.filter(pl.col("text").str.split(" ").list.contains(word))
            assert said["user_id"].n_unique() >= min_users


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_conversations_does_not_matter(rng: random.Random) -> None:
    texts = conversations(0, 15, 6, SUBJECTS)
    order = list(range(texts.height))
    rng.shuffle(order)
    here, there = find(MONDAY, texts), find(MONDAY, texts[order])
    assert here.topics.equals(there.topics)
    assert here.conversations.equals(there.conversations)


def test_unknown_users_count_as_one() -> None:
    texts = conversations(0, 20, 8, SUBJECTS).with_columns(user_id=pl.lit(None, pl.String))
    assert not find(MONDAY, texts, min_users=2).topics["shown"].any()


def test_a_week_without_or_with_one_conversation() -> None:
    nothing = find(MONDAY, conversations(0, 0, 1, ()))
    assert nothing.topics.is_empty()
    assert nothing.conversations.schema == CONVERSATION_TOPICS.polars
    assert find(MONDAY, conversations(0, 1, 1, SUBJECTS[:1])).topics.height == 1


def test_each_text_is_embedded_once_and_beyond_the_sample_in_batches() -> None:
    texts = conversations(0, 30, 8, SUBJECTS)
    embedder = Letters()
    options = TopicOptions(sample=10)
    week = week_of_topics(MONDAY, texts, TOPICS.empty(), embedder, str.split, options)
    assert sorted(embedder.embedded) == sorted(set(texts["text"]))
    assert week.conversations.height == 90


@given(st.lists(st.text(max_size=4)), st.integers(1, 10))
def test_a_sample_is_of_distinct_texts_and_does_not_depend_on_order(
    texts: list[str], limit: int
) -> None:
    sample = sample_texts(texts, limit)
    assert len(sample) == min(limit, len(set(texts)))
    assert set(sample) <= set(texts)
    assert sample == sample_texts(texts[::-1] * 2, limit)


def test_many_texts_are_put_into_small_clusters_first() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(8, 16, dtype=np.float32)
    gold = rng.integers(0, 8, 6000)
    points = centres[gold] + rng.normal(scale=0.08, size=(6000, 16)).astype(np.float32)
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    tree = find_topics(points)
    found, _ = nearest_topic(tree.centres, points)
    assert len(tree.centres) == 8
    assert len({*zip(gold.tolist(), found.tolist(), strict=True)}) == 8


def test_topics_are_matched_one_to_one_and_only_if_near() -> None:
    before = np.eye(3, dtype=np.float32)
    now = np.array([[0, 1, 0], [0.6, 0.8, 0], [0, 0.1, -1]], dtype=np.float32)
    assert match_topics(before, now, 0.75) == {0: 1}
    assert match_topics(before, now, 0.5) == {0: 1, 1: 0}
    assert match_topics(before[:0], now, 0.5) == {}


def test_words_of_all_topics_say_nothing() -> None:
    texts = [
        (topic, f"please {word}", f"u{user}")
        for topic, word in enumerate(["refund", "parcel", "login", "bug", "invoice", "visa"])
        for user in range(3)
    ]
    found = topic_words(texts, str.split, topics=6, min_users=3)
    assert found == [["refund"], ["parcel"], ["login"], ["bug"], ["invoice"], ["visa"]]


def test_common_words_name_a_topic_only_if_there_are_no_others() -> None:
    said = {0: "would like a refund", 1: "how are you", 2: "where is the parcel"}
    texts = [(topic, text, f"u{user}") for topic, text in said.items() for user in range(3)]
    common = {"would", "like", "how", "are", "you", "where", "is", "the", "a"}
    found = topic_words(texts, str.split, topics=3, min_users=3, common=common)
    assert found == [["refund"], ["are", "how", "you"], ["parcel"]]


def test_the_text_of_a_conversation_is_its_first_queries() -> None:
    at = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
    rows = [
        {"id": f"m{n}", "conversation_id": "c", "user_id": "u", "query": query,
         "invoke_from": source, "created_at": at + dt.timedelta(minutes=n)}
        for n, (query, source) in enumerate(
            [("hi", None), ("  ", None), ("try", "debugger"), ("hola", "web-app"), (None, None),
             ("three", None), ("four", None)]
        )
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema_overrides=dict(MESSAGES.polars), orient="row")
    frame = pl.concat([MESSAGES.empty(), frame], how="diagonal_relaxed")[::-1]
    translated = pl.LazyFrame({"message_id": ["m3"], "text": ["hello"]})
    texts = conversation_texts(first_queries(frame.lazy(), translated)).collect()
    assert texts.rows() == [("c", "u", "hi\nhello\nthree")]
    parts = [first_queries(part.lazy()) for part in (frame[:3], frame[3:])]
    assert conversation_texts(pl.concat(parts)).collect().rows() == [("c", "u", "hi\nhola\nthree")]
