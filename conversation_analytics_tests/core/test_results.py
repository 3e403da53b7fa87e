"""Rows of results: what they say, and which of them are sent."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.results import (
    Cell,
    HeldResult,
    conversation_results,
    result_changes,
    result_columns,
)

DAY = "2026-11-10"


def category(conversation: str, kind: str, value: str, confidence: float) -> dict[str, object]:
    return {
        "conversation_id": conversation, "category_type": kind, "category_value": value,
        "confidence_score": confidence, "nearest": value, "created_by": "model",
        "taxonomy_hash": "t", "text_sha256": "x",
    }  # fmt: skip


def turn(number: int, conversation: str, language: str | None, sure: float | None = 0.9,
         app: str | None = "app") -> dict[str, object]:  # fmt: skip
    return {
        "id": f"m{number}", "conversation_id": conversation, "app_id": app,
        "query_language": language, "query_confidence": sure, "query_by": "detector",
        "answer_language": None, "answer_confidence": None, "answer_by": "none",
        "created_at": None,
    }  # fmt: skip


def results(
    categories: list[dict[str, object]], turns: list[dict[str, object]], **topics: str
) -> list[dict[str, Cell]]:
    return conversation_results(
        DAY,
        ("topic", "mood"),
        pl.DataFrame(categories, schema=CATEGORIES.polars),
        pl.DataFrame(turns, schema=MESSAGE_LANGUAGE.polars),
        pl.DataFrame(
            {"conversation_id": list(topics), "week_topic": list(topics.values())},
            schema={"conversation_id": pl.String, "week_topic": pl.String},
        ),
    )


def test_a_row_says_what_the_day_says_of_a_conversation() -> None:
    [b, c] = results(
        [category("c", "topic", "shop", 0.87654321), category("c", "mood", "good", 1.0),
         category("b", "topic", "other", 0.2), category("b", "mood", "bad", 0.5)],
        [turn(1, "c", "th", 0.8), turn(2, "c", "en", 0.5), turn(3, "c", "th", 0.9),
         turn(4, "b", "und", None, None), turn(5, "b", None, None, None), turn(6, "gone", "de")],
        c="refunds, money",
    )  # fmt: skip
    digest = c.pop("content_hash")
    assert c == {
        "conversation_id": "c", "day": DAY, "app_id": "app", "language": "th",
        "language_confidence": 0.85, "topic": "shop", "topic_confidence": 0.8765, "mood": "good",
        "mood_confidence": 1.0, "week_topic": "refunds, money",
    }  # fmt: skip
    assert isinstance(digest, str)
    assert len(digest) == 32
    assert (b["language"], b["app_id"], b["week_topic"]) == (None, None, None)
    assert [one.name for one in result_columns(("topic", "mood"))] == [
        *(name for name in ("conversation_id", "day", "app_id", "language", "language_confidence")),
        *(name for name in ("topic", "topic_confidence", "mood", "mood_confidence")),
        *(name for name in ("week_topic", "content_hash")),
    ]


def test_languages_that_tie_are_always_the_same_one() -> None:
    turns = [turn(1, "c", "th"), turn(2, "c", "de")]
    both = [results([category("c", "topic", "x", 1)], some) for some in (turns, turns[::-1])]
    assert both[0] == both[1]
    assert both[0][0]["language"] == "de"


def test_cells_hold_what_every_database_takes() -> None:
    [row] = results([category("c", "topic", "x", 1)], [turn(1, "c", "de", app="a\0b" + "c" * 300)])
    assert row["app_id"] == "a\ufffdb" + "c" * 252
    json.dumps(row)


def test_a_type_that_is_named_like_a_column_is_refused() -> None:
    for wrong in ("language", "day", "content_hash"):
        with pytest.raises(ContractError, match=f"the column {wrong}(, [a-z_]+)? twice"):
            result_columns(("topic", wrong))
    with pytest.raises(ContractError, match="topic_confidence twice"):
        result_columns(("topic", "topic_confidence"))


def row(conversation: str, content: str) -> dict[str, Cell]:
    return {"conversation_id": conversation, "day": DAY, "content_hash": content}


def test_only_what_differs_is_sent_and_only_our_rows_are_deleted() -> None:
    changes = result_changes(
        [row("new", "1"), row("same", "1"), row("other", "2"), row("later", "3"),
         row("twice", "1"), row("theirs", "1"), row("future", "1"), row("emptied", "1")],
        [
            HeldResult(1, "same", DAY, "1"),
            HeldResult(2, "other", "2026-11-09", "1"),
            HeldResult(3, "later", "2026-11-11", "1"),
            HeldResult(10, "twice", DAY, "1"), HeldResult(9, "twice", DAY, "1"),
            HeldResult(11, "twice", "2026-11-12", "9"), HeldResult(8, "twice", "", ""),
            HeldResult(12, "theirs", "", ""),
            HeldResult(13, "gone", DAY, "1"), HeldResult(14, "gone", "2026-11-09", "1"),
            HeldResult(15, "by hand", DAY, ""),
            HeldResult(16, "future", "2999-01-01", "1"), HeldResult(17, "emptied", "", "1"),
        ],
        {("later", "2026-11-11"), ("twice", "2026-11-12")},
    )  # fmt: skip
    assert changes.inserts == (row("new", "1"),)
    assert changes.updates == (
        (2, row("other", "2")), (12, row("theirs", "1")),
        (16, row("future", "1")), (17, row("emptied", "1")),
    )  # fmt: skip
    assert changes.deletes == (10, 13, 14)
    assert (changes.unchanged, changes.later) == (2, 1)


conversations = st.sampled_from(["a", "b", "c"])
some_days = st.sampled_from(["", "2026-11-09", DAY, "2026-11-11", "2999-01-01", "tomorrow"])
held_rows = st.lists(
    st.builds(
        HeldResult, st.integers(1, 50), conversations, some_days, st.sampled_from(["", "1", "2"])
    ),
    max_size=8,
    unique_by=lambda one: one.row_id,
)
day_rows = st.dictionaries(conversations, st.sampled_from(["1", "2"])).map(
    lambda some: [row(name, content) for name, content in some.items()]
)
lakes = st.frozensets(st.tuples(conversations, st.sampled_from(["2026-11-09", "2026-11-11"])))


def applied(
    rows: list[dict[str, Cell]], held: list[HeldResult], trusted: frozenset[tuple[str, str]]
) -> list[HeldResult]:
    changes = result_changes(rows, held, trusted)
    changed = dict(changes.updates)
    kept = [one for one in held if one.row_id not in {*changes.deletes, *changed}]
    known = list(changed.items())
    new = list(enumerate(changes.inserts, start=100))
    return kept + [
        HeldResult(row_id, str(cells["conversation_id"]), DAY, str(cells["content_hash"]))
        for row_id, cells in known + new
    ]


@given(rows=day_rows, held=held_rows, trusted=lakes)
def test_what_was_sent_once_is_not_sent_again(
    rows: list[dict[str, Cell]], held: list[HeldResult], trusted: frozenset[tuple[str, str]]
) -> None:
    after = applied(rows, held, trusted)
    assert not result_changes(rows, after, trusted).any
    sent = {one["conversation_id"] for one in rows}
    for one in after:
        if one.content_hash:  # every row of ours is of the day, or of a later one of the lake
            assert one.conversation_id in sent
            assert one.day == DAY or (one.day > DAY and (one.conversation_id, one.day) in trusted)
    ours = [one for one in after if one.content_hash and one.day == DAY]
    assert len({one.conversation_id for one in ours}) == len(ours)
    left = {one.row_id for one in after}
    assert all(one.row_id in left for one in held if not one.content_hash)
