"""Topics beside the week before: growth is told, what is hidden stays hidden."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.topic_changes import (
    TOPIC_CHANGES,
    topic_changes,
    topic_documents,
)
from conversation_analytics.core.topic_tables import TOPICS

MONDAY = dt.date(2026, 11, 9)
LEAST = 5


def week(**counts: tuple[int, int]) -> pl.DataFrame:
    """Return `TOPICS` of conversations and users by id, shown as the platform decides it."""
    rows: list[dict[str, Any]] = []
    for name, (conversations, users) in counts.items():
        shown = conversations >= LEAST and users >= LEAST
        rows.append(
            {
                "start": MONDAY, "topic_id": name, "group_id": 0, "shown": shown,
                "label": f"about {name}" if shown else None,
                "label_by": "words" if shown else None,
                "words": f'["about", "{name}"]' if shown else None,
                "examples": '["c1"]' if shown else None,
                "conversations": conversations, "users": users, "last_seen": MONDAY,
                "centre": "",
            }
        )  # fmt: skip
    return TOPICS.conform(pl.DataFrame(rows, schema=TOPICS.polars))


def told(now: pl.DataFrame, before: pl.DataFrame | None) -> dict[str, tuple[object, ...]]:
    rows = topic_changes(now, before, LEAST, LEAST)
    return {
        row[0]: row[1:]
        for row in rows.select("topic_id", "conversations", "change", "conversations_before").rows()
    }


def test_growth_and_shrinkage_are_told_largest_first() -> None:
    before = week(a=(50, 9), b=(100, 9), c=(40, 9), d=(20, 8), hidden=(4, 4))
    now = week(a=(100, 9), b=(90, 9), c=(10, 9), hidden=(30, 9), fresh=(6, 6), d=(3, 3))
    assert list(told(now, before).items()) == [
        ("a", (100, "grown", 50)),
        ("b", (90, "no clear change", 100)),
        ("hidden", (30, "new", None)),
        ("c", (10, "shrunk", 40)),
        ("fresh", (6, "new", None)),
        ("d", (None, "gone", 20)),
    ]
    found = topic_changes(now, before, LEAST, LEAST)
    assert found["share"].sum() == 1
    assert found.filter(change="gone").select("users", "share", "group_id").null_count().row(0) == (
        1, 1, 1,
    )  # fmt: skip


def test_without_a_week_before_nothing_is_called_new() -> None:
    assert told(week(a=(9, 9)), None) == {"a": (9, None, None)}
    assert told(week(a=(9, 9)), TOPICS.empty()) == {"a": (9, "new", None)}
    empty = topic_changes(TOPICS.empty(), None, LEAST, LEAST)
    assert (empty.height, empty.schema) == (0, TOPIC_CHANGES)


counts = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda n: (n[0], min(n)))
few = st.one_of(st.none(), counts.filter(lambda n: min(n) < LEAST))


@given(counts, counts, st.tuples(few, few, few, few))
def test_what_is_hidden_changes_nothing_that_is_shown(
    now: tuple[int, int],
    before: tuple[int, int],
    hidden: tuple[tuple[int, int] | None, ...],
) -> None:
    """Whatever is below the limits, or whether it is there at all: the same rows."""

    def changes(now_hidden: object, before_hidden: object, other: object) -> pl.DataFrame:
        def made(one: tuple[int, int], **rest: object) -> pl.DataFrame:
            return week(a=one, b=(30, 9), **{k: v for k, v in rest.items() if v is not None})  # type: ignore[arg-type]

        return topic_changes(
            made(now, x=now_hidden, y=other), made(before, x=before_hidden, z=(40, 9)),
            LEAST, LEAST,
        )  # fmt: skip

    assert_frame_equal(changes(hidden[0], hidden[1], hidden[2]), changes(hidden[3], None, None))


def test_limits_that_were_raised_since_hide_what_was_shown() -> None:
    found = topic_changes(week(a=(50, 9), b=(50, 30)), week(a=(50, 30), b=(50, 9)), 10, LEAST)
    assert found.select("topic_id", "change", "users").rows() == [
        ("b", "new", 30), ("a", "gone", None),
    ]  # fmt: skip


def test_documents_are_of_the_topics_shown_alone() -> None:
    now = week(a=(50, 9), hidden=(4, 4))
    changes = topic_changes(now, week(a=(49, 9), d=(9, 9)), LEAST, LEAST)
    [document] = topic_documents(now, changes, MONDAY)
    assert document == {
        "_id": "2026-11-09:a", "week": "2026-11-09", "topic_id": "a", "group_id": 0,
        "label": "about a", "label_by": "words", "words": ["about", "a"],
        "examples": ["c1"], "conversations": 50,
        "users": 9, "share": 1.0, "change": "no clear change", "conversations_before": 49,
    }  # fmt: skip
