"""Which text stands for a conversation, against plain Python over the rows."""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from conversation_analytics.core.conversation_texts import (
    FIRST_QUERIES,
    conversation_texts,
    first_queries,
)
from conversation_analytics.core.embedding import MAX_CHARACTERS
from conversation_analytics.core.engine import CPU
from conversation_analytics_tests.core.metric_rows import messages_frame, turn
from conversation_analytics_tests.engines import STREAMING

if TYPE_CHECKING:
    from conversation_analytics.core.engine import Engine

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SAID = ["where is it", " where\u3000", "", " \u00a0", None, "我的订单", "x" * (MAX_CHARACTERS // 2)]


def turns_of(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Return turns of which many share a conversation, a time or a text."""
    return [
        turn(
            id=f"t{n:03}",
            conversation_id=f"c{draw.randrange(count // 6 + 1)}",
            user_id=draw.choice([None, "u", "v"]),
            query=draw.choice(SAID),
            invoke_from=draw.choice([None, "web-app", "debugger"]),
            created_at=NOON + dt.timedelta(seconds=draw.randrange(9)),
        )
        for n in range(count)
    ]


def told(turns: list[dict[str, Any]]) -> list[tuple[str, str | None, str]]:
    """Return conversation, user and text by going through the rows."""
    found = []
    for talk in sorted({one["conversation_id"] for one in turns}):
        own = [
            one
            for one in turns
            if one["conversation_id"] == talk
            and one["invoke_from"] != "debugger"
            and (one["query"] or "").strip()
        ]
        own = sorted(own, key=lambda one: (one["created_at"], one["id"]))[:FIRST_QUERIES]
        if own:
            users = [one["user_id"] for one in own if one["user_id"] is not None]
            text = "\n".join(one["query"].strip() for one in own)[:MAX_CHARACTERS]
            found.append((talk, users[0] if users else None, text))
    return found


@pytest.mark.parametrize("engine", [CPU, STREAMING], ids=["in memory", "streaming"])
@pytest.mark.parametrize("seed", range(8))
def test_texts_are_those_of_the_first_queries(engine: Engine, seed: int) -> None:
    draw = random.Random(seed)
    turns = turns_of(draw, draw.choice([0, 1, 5, 120]))
    rows = messages_frame(turns)
    assert engine.collect(conversation_texts(first_queries(rows))).rows() == told(turns)


def test_queries_of_several_days_are_put_together_in_the_order_of_time() -> None:
    later = turn(id="a", conversation_id="c", query="second", created_at=NOON, user_id="u")
    sooner = turn(
        id="b", conversation_id="c", query="first", created_at=NOON - dt.timedelta(days=1),
        user_id=None,
    )  # fmt: skip
    days = [first_queries(messages_frame([one])) for one in (later, sooner)]
    assert CPU.collect(conversation_texts(pl.concat(days))).rows() == [("c", "u", "first\nsecond")]


def test_who_redacts_gets_the_whole_text() -> None:
    long = "word " * MAX_CHARACTERS + "end"
    rows = [
        turn(id=name, conversation_id="c", query=long, created_at=NOON + dt.timedelta(seconds=n))
        for n, name in enumerate("ab")
    ]
    queries = first_queries(messages_frame(rows))
    whole = CPU.collect(conversation_texts(queries, characters=None))
    assert whole["text"].to_list() == [f"{long}\n{long}"]
    cut = CPU.collect(conversation_texts(queries))
    assert cut["text"].to_list() == [long[:MAX_CHARACTERS]]
