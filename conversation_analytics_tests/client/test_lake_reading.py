"""The lake as documents, on days made by hand: what runs over midnight, ties, two claims."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from conversation_analytics.client.client import Client, every
from conversation_analytics.client.lake_reading import LakeReading
from conversation_analytics.client.reading import Kind, StoreReading
from conversation_analytics.core.documents import conversation_slices, message_documents
from conversation_analytics.core.errors import LakeUnavailableError, ReadRequestError
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    MESSAGES,
    UNDATED_CONVERSATIONS,
    UNDATED_MESSAGES,
)
from conversation_analytics.documents.store import SqliteConfig, open_store
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.store import Lake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.core.schemas import TableSchema

FIRST, SECOND, THIRD = "2026-11-20", "2026-11-21", "2026-11-22"
START = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
END = START + dt.timedelta(days=3)


def at(hours: float, micros: int = 0) -> dt.datetime:
    return START + dt.timedelta(hours=hours, microseconds=micros)


def frame(table: TableSchema, *rows: dict[str, Any]) -> pl.DataFrame:
    known = pl.DataFrame(list(rows), schema_overrides=table.polars, infer_schema_length=None)
    empty = [
        pl.lit(None, one.dtype).alias(one.name)
        for one in table.columns
        if one.name not in known.columns
    ]
    return table.conform(known.with_columns(empty)) if rows else table.empty()


def conversation(identifier: str, when: dt.datetime | None, user: str = "u1") -> dict[str, Any]:
    return {"id": identifier, "created_at": when, "user_id": user, "app_id": "a1", "gone": False}


def turn(
    identifier: str, of: str, when: dt.datetime | None, model: str | None = "m1"
) -> dict[str, Any]:
    return {
        "id": identifier, "conversation_id": of, "created_at": when, "model_id": model,
        "user_id": "u1", "query": "q", "answer": "a", "gone": False,
    }  # fmt: skip


DAYS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    FIRST: (
        [
            conversation("over-midnight", at(23)),
            conversation("claimed-twice", at(5)),
            # Two in one millisecond: a document holds no more of a time.
            conversation("tie-b", at(7, micros=100)),
            conversation("tie-a", at(7, micros=900)),
            conversation("empty", at(8)),
            conversation("other", at(9), user="u2"),
        ],
        [
            turn("t1", "over-midnight", at(23)),
            turn("t2", "claimed-twice", at(5)),
            turn("t3", "tie-a", at(7, micros=500)),
            turn("t4", "tie-a", at(7, micros=400)),
        ],
    ),
    SECOND: (
        [conversation("claimed-twice", at(29)), conversation("late", at(30))],
        [
            turn("t5", "over-midnight", at(24.5), "m2"),
            turn("t6", "claimed-twice", at(29), None),
            turn("t7", "without-header", at(26)),
            turn("t8", "late", at(30)),
        ],
    ),
    THIRD: ([], [turn("t9", "over-midnight", at(50)), turn("t10", "without-header", at(51))]),
}
UNDATED = (
    [conversation("undated", None)],
    [turn("t11", "undated", None), turn("t12", "over-midnight", None)],
)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Client]]:
    """Give a client over the lake and one over the documents made from it."""
    folder = tmp_path_factory.mktemp("midnight")
    lake = Lake(LocalObjects(folder / "lake"))
    with closing(open_store(SqliteConfig(folder / "documents.sqlite"))) as store:
        for key, (conversations, turns) in {**DAYS, "undated": UNDATED}.items():
            headers, messages = frame(CONVERSATIONS, *conversations), frame(MESSAGES, *turns)
            if key == "undated":
                lake.write(UNDATED_CONVERSATIONS, None, headers)
                lake.write(UNDATED_MESSAGES, None, messages)
            else:
                lake.write(CONVERSATIONS, key, headers)
                lake.write(MESSAGES, key, messages)
            store.merge_conversations(
                "conversations", key, conversation_slices(headers, messages, key)
            )
            store.replace_partition("messages", key, message_documents(messages, key))
        names = {kind: kind.value for kind in Kind}
        yield Client(LakeReading(lake, 5, 5)), Client(StoreReading(store, names))


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_pages_of_a_user_are_those_of_the_documents(
    clients: tuple[Client, Client], limit: int
) -> None:
    found, wanted = (
        list(every(lambda c, one=one: one.conversations_of_user("u1", cursor=c, limit=limit)))  # type: ignore[misc]
        for one in clients
    )
    assert [one.id for one in found] == [
        "late", "over-midnight", "empty", "tie-b", "tie-a", "claimed-twice", "undated",
    ]  # fmt: skip
    assert found == wanted


@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize(
    ("since", "until"),
    [(START, END), (at(7), at(8)), (at(7, micros=1), at(7, micros=999)), (at(5, micros=1), at(29)),
     (at(28), at(29.5))],
    ids=["all", "an-hour", "within-a-millisecond", "between", "later-claim"],
)  # fmt: skip
def test_pages_of_a_period_are_those_of_the_documents(
    clients: tuple[Client, Client], since: dt.datetime, until: dt.datetime, limit: int
) -> None:
    found, wanted = (
        list(
            every(
                lambda c, one=one: one.conversations_of_period(since, until, cursor=c, limit=limit)  # type: ignore[misc]
            )
        )
        for one in clients
    )
    assert found == wanted


@pytest.mark.parametrize(
    "identifier",
    ["over-midnight", "claimed-twice", "tie-a", "empty", "without-header", "undated", "none"],
)
def test_a_conversation_is_that_of_the_documents(
    clients: tuple[Client, Client], identifier: str
) -> None:
    found, wanted = (one.conversation(identifier) for one in clients)
    assert found == wanted
    assert (found is None) == (identifier == "none")


def test_a_conversation_over_midnight_has_all_of_its_days(clients: tuple[Client, Client]) -> None:
    found = clients[0].conversation("over-midnight")
    assert found is not None
    assert found.conversation.days == (FIRST, SECOND, THIRD, "undated")
    assert found.conversation.models == ("m1", "m2")
    assert [one.id for one in found.turns] == ["t12", "t1", "t5", "t9"]


def test_other_kinds_are_not_asked_for_by_id(tmp_path: Path) -> None:
    with pytest.raises(ReadRequestError, match="pages"):
        LakeReading(Lake(LocalObjects(tmp_path)), 5, 5).get(Kind.USERS, "u1")


def test_an_empty_lake_holds_nothing(tmp_path: Path) -> None:
    client = Client(LakeReading(Lake(LocalObjects(tmp_path)), 5, 5))
    assert client.conversation("c1") is None
    assert client.conversations_of_period(START, END).items == ()
    assert client.report("daily", START.date()) is None
    assert client.users().items == ()
    assert client.topics(START.date()) == ()


def test_a_day_replaced_meanwhile_is_read_again(tmp_path: Path) -> None:
    reading = LakeReading(Lake(LocalObjects(tmp_path)), 5, 5)
    asked = []

    def ask(_: object) -> str:
        asked.append(1)
        if len(asked) < 3:
            raise LakeUnavailableError("replaced")
        return "answer"

    assert reading._asked(ask) == "answer"
    asked.clear()

    def never(_: object) -> str:
        raise LakeUnavailableError("replaced")

    with pytest.raises(LakeUnavailableError):
        reading._asked(never)
