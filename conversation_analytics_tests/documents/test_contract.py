"""One suite for every store."""

from __future__ import annotations

import datetime as dt
import random
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conversation_analytics.core import documents as core_documents
from conversation_analytics.core.documents import ConversationSlice, Document, merge_slice
from conversation_analytics.core.errors import DocumentError
from conversation_analytics.documents import collections, encoding, mongodb, sqlite
from conversation_analytics.documents.store import (
    DocumentStore,
    MongoConfig,
    ReplaceOutcome,
    SqliteConfig,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
DAYS = ("2026-11-21", "2026-11-22", "2026-11-23")


def turn(identifier: str, minutes: int = 0, model: str | None = "gpt-4.1") -> Document:
    return {
        "id": identifier,
        "query": "Xin chào",
        "answer": "สวัสดี 👋",
        "model_id": model,
        "total_price": Decimal("0.0012000"),
        "created_at": NOON + dt.timedelta(minutes=minutes),
    }


def header(user: str = "u1", minutes: int = 0) -> Document:
    return {
        "user_id": user,
        "app_id": "a1",
        "name": "title",
        "created_at": NOON + dt.timedelta(minutes=minutes),
    }


def unchecked(spec: collections.CollectionSpec) -> collections.CollectionSpec:
    """Return it without rules: what is stored here is shorter than real documents."""
    return replace(spec, rules="")


def contents(store: DocumentStore, collection: str) -> list[Document]:
    return store.find(collection, {})


def simple(*ids: str, value: int = 0) -> list[Document]:
    return [{"_id": identifier, "value": value} for identifier in ids]


# Partitions -----------------------------------------------------------------------------------


def test_replace_makes_the_partition_hold_exactly_the_documents(store: DocumentStore) -> None:
    ids = [f"m{number:02}" for number in range(30)]
    assert store.replace_partition("messages", "d1", simple(*ids)) == ReplaceOutcome(inserted=30)
    assert store.replace_partition("messages", "d2", simple("x")) == ReplaceOutcome(inserted=1)
    changed = [*simple(*ids[:10]), *simple(*ids[10:15], value=1), *simple("new")]
    outcome = store.replace_partition("messages", "d1", changed)
    assert outcome == ReplaceOutcome(inserted=1, replaced=5, unchanged=10, deleted=15)
    expected = sorted([*changed, *simple("x")], key=lambda one: str(one["_id"]))
    assert contents(store, "messages") == expected
    assert (store.count("messages", "d1"), store.count("messages", "d2")) == (16, 1)


def test_replace_with_nothing_empties_the_partition_alone(store: DocumentStore) -> None:
    store.replace_partition("messages", "d1", simple("a", "b"))
    store.replace_partition("messages", "d2", simple("c"))
    assert store.replace_partition("messages", "d1", []) == ReplaceOutcome(deleted=2)
    assert contents(store, "messages") == simple("c")


def test_the_same_documents_again_change_nothing(store: DocumentStore) -> None:
    documents = [{"_id": f"m{number}", **turn("t", number)} for number in range(20)]
    store.replace_partition("messages", "d1", documents)
    assert store.replace_partition("messages", "d1", documents) == ReplaceOutcome(unchanged=20)


def test_an_id_of_another_partition_is_taken_over_and_not_deleted_with_it(
    store: DocumentStore,
) -> None:
    store.replace_partition("messages", "d1", simple("a", "b"))
    assert store.replace_partition("messages", "d2", simple("b", "c")) == ReplaceOutcome(
        inserted=1, replaced=1
    )
    assert store.count("messages", "d1") == 1
    assert store.replace_partition("messages", "d1", simple("a")) == ReplaceOutcome(unchanged=1)
    assert contents(store, "messages") == simple("a", "b", "c")


def test_values_come_back_exactly(store: DocumentStore) -> None:
    given = {
        "_id": "e\u0301 \U0001f600 'quoted\" \\ ; $a.b",
        "decimal": Decimal("0.0012000"),
        "many_digits": Decimal("9999999999999.9999999"),
        "exponent": Decimal("1E-7"),
        "negative": Decimal("-12.50"),
        "none": None,
        "yes": True,
        "integer": 2**62,
        "small": -1,
        "float": 0.1,
        "whole": 2.0,
        "text": "NUL \0, \u2028, é, 你好, ไทย, \U0001f468\u200d\U0001f469",
        "json": '{"$where": "1", "a.b": 1.10}',
        "empty": "",
        "list": [1, "two", None, {"three": Decimal("3.00")}],
        "nested": {"deep": {"at": NOON}},
        "instant": dt.datetime(2026, 3, 29, 3, 30, 0, 123456, dt.timezone(dt.timedelta(hours=2))),
        "before_epoch": dt.datetime(1969, 12, 31, 23, 59, 59, 999999, dt.UTC),
    }
    expected = {
        **given,
        "instant": dt.datetime(2026, 3, 29, 1, 30, 0, 123000, dt.UTC),
        "before_epoch": dt.datetime(1969, 12, 31, 23, 59, 59, 999000, dt.UTC),
    }
    store.replace_partition("messages", "d1", [given])
    got = store.get("messages", str(given["_id"]))
    assert got == expected
    assert got is not None
    assert list(got) == list(given)
    for name in ("decimal", "exponent", "negative"):
        assert str(got[name]) == str(given[name])
    assert type(got["whole"]) is float
    assert got["instant"].tzinfo is not None
    assert store.replace_partition("messages", "d1", [given]) == ReplaceOutcome(unchanged=1)
    assert store.get("messages", "not there") is None


@pytest.mark.parametrize(
    "bad",
    [
        {"text": "lone \ud800 surrogate"},
        {"text": "x" * (17 * 1024 * 1024)},
        {"number": float("nan")},
        {"number": float("inf")},
        {"number": Decimal("NaN")},
        {"number": Decimal("1." + "1" * 40)},
        {"number": 2**63},
        {"at": dt.datetime(2026, 11, 22)},  # noqa: DTZ001 it is what is refused
        {"early": dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))},
        {"late": dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(dt.timedelta(hours=-2)))},
        {"fields": {"gpt-4.1": 1}},
        {"$set": 1},
        {"fields": {1: "one"}},
        {"_hash": "mine"},
        {"bytes": b"raw"},
    ],
    ids="-".join,
)
def test_a_bad_document_never_takes_good_ones_with_it(
    store: DocumentStore, bad: dict[Any, Any]
) -> None:
    store.replace_partition("messages", "d1", simple("bad", "stale"))
    documents = [*simple(*"abcdefghijk", value=3), {"_id": "bad", **bad}, *simple("z", value=3)]
    with pytest.raises(DocumentError, match=r"messages, d1: 1 documents .*'bad'") as caught:
        store.replace_partition("messages", "d1", documents)
    assert len(str(caught.value)) < 400
    kept = {document["_id"]: document["value"] for document in contents(store, "messages")}
    assert kept == {**dict.fromkeys("abcdefghijkz", 3), "bad": 0}


def test_ids_and_values_with_nul_are_like_any_other(store: DocumentStore) -> None:
    store.ensure(unchecked(collections.messages()))
    document = {"_id": "a\0b", "user_id": "u\0v"}
    store.replace_partition("messages", "d1", [document, {"_id": "a", "user_id": "u"}])
    assert store.find("messages", {"user_id": "u\0v"}) == [document]
    assert store.find("messages", {"user_id": "u"}) == [{"_id": "a", "user_id": "u"}]
    assert store.get("messages", "a\0b") == document
    assert store.replace_partition("messages", "d2", [document]) == ReplaceOutcome(replaced=1)
    assert store.replace_partition("messages", "d2", []) == ReplaceOutcome(deleted=1)
    assert store.get("messages", "a\0b") is None
    for day in DAYS:
        store.merge_conversations(
            "conversations", day, [ConversationSlice("c\0", header(), [turn(f"m\0{day}")])]
        )
    assert [store.count_slice("conversations", day) for day in DAYS] == [(1, 1)] * 3
    store.merge_conversations("conversations", DAYS[0], [])
    store.merge_conversations("conversations", DAYS[2], [])
    (found,) = contents(store, "conversations")
    assert (found["_id"], found["days"]) == ("c\0", [DAYS[1]])


def test_the_first_and_the_last_instant_come_back(store: DocumentStore) -> None:
    first = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
    last = dt.datetime(9999, 12, 31, 23, 59, 59, 999000, dt.UTC)
    document = {"_id": "m", "first": first, "last": last}
    store.replace_partition("messages", "d1", [document])
    assert store.get("messages", "m") == document


@pytest.mark.parametrize(
    "value",
    [{"$gt": ""}, ["a"], 2**63, "\ud800", 0.5, b"x", dt.datetime(2026, 1, 1)],  # noqa: DTZ001 it is what is refused
    ids=lambda value: type(value).__name__,
)
def test_what_no_document_holds_cannot_be_asked_for(store: DocumentStore, value: Any) -> None:
    store.replace_partition("messages", "d1", simple("a"))
    with pytest.raises(DocumentError, match=r"messages, field value: .*correct the query"):
        store.find("messages", {"value": value})
    with pytest.raises(DocumentError, match=r"messages, field _id: .*correct the query"):
        store.get("messages", value)


def test_a_negative_limit_is_refused(store: DocumentStore) -> None:
    with pytest.raises(DocumentError, match="limit: expected 0 or more"):
        store.find("messages", {}, limit=-1)


@pytest.mark.parametrize("key", ["", "\ud800", "a\0", "x" * 201, {"$gt": ""}, None])
def test_partition_keys_are_checked(store: DocumentStore, key: Any) -> None:
    store.replace_partition("messages", "d1", simple("a"))
    for call in (
        lambda: store.replace_partition("messages", key, simple("b")),
        lambda: store.merge_conversations("conversations", key, []),
        lambda: store.begin("messages", key),
        lambda: store.count("messages", key),
        lambda: store.count_slice("conversations", key),
    ):
        with pytest.raises(DocumentError, match="partition: expected 1 to 200 printable"):
            call()
    assert contents(store, "messages") == simple("a")


def test_deep_nesting_is_refused(store: DocumentStore) -> None:
    nested: Document = {}
    for _ in range(3000):
        nested = {"in": nested}
    with pytest.raises(DocumentError, match="deep"):
        store.replace_partition("messages", "d1", [{"_id": "bad", "in": nested}, *simple("a")])
    assert contents(store, "messages") == simple("a")


def test_repeated_or_missing_ids_write_nothing(store: DocumentStore) -> None:
    with pytest.raises(DocumentError, match="'b'"):
        store.replace_partition("messages", "d1", simple("a", "b", "b"))
    nameless: list[Document] = [{"value": 1}, {"_id": 7}, {"_id": ""}, {"_id": ["a"]}]
    for document in nameless:
        with pytest.raises(DocumentError, match="1 of 2 documents"):
            store.replace_partition("messages", "d1", [*simple("a"), document])
    assert contents(store, "messages") == []


@pytest.mark.parametrize("name", ["", "a b", 'a"; DROP TABLE x', "$cmd", "system.users", "a\0b"])
def test_collection_names_are_checked(store: DocumentStore, name: str) -> None:
    with pytest.raises(DocumentError, match="collection"):
        store.replace_partition(name, "d1", simple("a"))
    with pytest.raises(DocumentError, match="collection"):
        store.get(name, "a")


# Queries --------------------------------------------------------------------------------------


def test_find_equals_sorts_and_limits(store: DocumentStore) -> None:
    documents: list[Document] = [
        {"_id": "1", "user": "u", "at": NOON, "flag": True, "n": 1, "price": Decimal("10.5")},
        {"_id": "2", "user": "u", "at": NOON - dt.timedelta(days=1), "flag": False, "n": 0,
         "price": Decimal("9.5")},
        {"_id": "3", "user": "v", "at": NOON, "flag": 1, "n": None, "price": None},
        {"_id": "4", "user": "u", "at": None, "flag": None, "price": Decimal(100)},
        {"_id": "5", "user": '{"$gt": ""}', "at": '{"$date":"2026-11-22T12:00:00.000Z"}'},
    ]  # fmt: skip
    store.replace_partition("things", "d1", documents)

    def ids(equals: dict[str, Any], **options: Any) -> str:
        return "".join(one["_id"] for one in store.find("things", equals, **options))

    assert ids({}) == "12345"
    assert ids({}, sort=[("_id", -1)], limit=2) == "54"
    assert ids({"user": "u"}, sort=[("at", -1)]) == "124"
    assert ids({"user": "u"}, sort=[("at", 1)], limit=1) == "4"
    assert ids({}, sort=[("price", 1)]) == "35214"
    assert ids({"at": NOON}) == "13"
    assert ids({"at": NOON}, sort=[("user", -1)]) == "31"
    assert ids({"flag": True}) == "1"
    assert ids({"flag": 1}) == "3"
    assert ids({"n": None}) == "345"
    assert ids({"user": '{"$gt": ""}'}) == "5"
    assert ids({"user": "u", "flag": False}) == "2"
    assert ids({"_partition": "d1", "_id": "3"}) == "3"
    assert ids({"_partition": "other"}) == ""
    assert ids({}, limit=0) == ""


@pytest.mark.parametrize("field", ["a.b", "$where", "a'b", ""])
def test_field_names_of_queries_are_checked(store: DocumentStore, field: str) -> None:
    with pytest.raises(DocumentError, match="field"):
        store.find("things", {field: 1})
    with pytest.raises(DocumentError, match="field"):
        store.find("things", {}, sort=[(field, 1)])


def test_outside_values_are_values_not_operators(store: DocumentStore) -> None:
    store.merge_conversations(
        "conversations", "$header_day", [ConversationSlice("$_id", header("$name"), [turn("$id")])]
    )
    assert store.count_slice("conversations", "$header_day") == (1, 1)
    assert store.count_slice("conversations", "$_id") == (0, 0)
    (found,) = store.find("conversations", {"user_id": "$name"})
    assert found["_id"] == "$_id"


# Conversations --------------------------------------------------------------------------------


def test_one_document_for_each_conversation_over_all_days(store: DocumentStore) -> None:
    first = [
        ConversationSlice("c1", header(), [turn("m2", 2), turn("m1", 1)]),
        ConversationSlice("c2", header("u2"), [turn("m3", 3, None)]),
    ]
    second = [ConversationSlice("c1", None, [turn("m4", 1440, "claude")])]
    assert store.merge_conversations("conversations", DAYS[1], second) == ReplaceOutcome(inserted=1)
    assert store.merge_conversations("conversations", DAYS[0], first) == ReplaceOutcome(
        inserted=1, replaced=1
    )
    assert store.merge_conversations("conversations", DAYS[0], first) == ReplaceOutcome(unchanged=2)
    document = store.get("conversations", "c1")
    assert document is not None
    assert [(one["id"], one["day"]) for one in document["messages"]] == [
        ("m1", DAYS[0]),
        ("m2", DAYS[0]),
        ("m4", DAYS[1]),
    ]
    del document["messages"]
    assert document == {
        "_id": "c1",
        **header(),
        "header_day": DAYS[0],
        "days": [DAYS[0], DAYS[1]],
        "message_count": 3,
        "first_message_at": NOON + dt.timedelta(minutes=1),
        "last_message_at": NOON + dt.timedelta(days=1),
        "models": ["claude", "gpt-4.1"],
    }
    assert store.count_slice("conversations", DAYS[0]) == (2, 3)
    assert store.count_slice("conversations", DAYS[1]) == (0, 1)
    assert store.count_slice("conversations", DAYS[2]) == (0, 0)
    assert [one["_id"] for one in store.find("conversations", {"days": DAYS[0]})] == ["c1", "c2"]
    assert [one["_id"] for one in store.find("conversations", {"days": DAYS[1]})] == ["c1"]


def test_elements_are_found_by_a_store_that_wrote_nothing(
    config: MongoConfig | SqliteConfig, store: DocumentStore
) -> None:
    document = {"_id": "c0", "days": [DAYS[0], DAYS[1]], "messages": []}
    store.replace_partition("conversations", "d1", [document])
    store.ensure(unchecked(collections.conversations()))
    store.merge_conversations(
        "conversations", DAYS[1], [ConversationSlice("c1", header(), []),
                                   ConversationSlice("c0", None, [turn("m1")])]
    )  # fmt: skip
    other = open_store(config)
    assert [one["_id"] for one in other.find("conversations", {"days": DAYS[1]})] == ["c0", "c1"]
    assert other.find("conversations", {"days": DAYS[0]}) == []
    other.close()


def test_a_day_replaces_exactly_its_own_part(store: DocumentStore) -> None:
    store.merge_conversations(
        "conversations",
        DAYS[0],
        [
            ConversationSlice("c1", header(), [turn("m1"), turn("m2", 2)]),
            ConversationSlice("c2", header(), [turn("m3")]),
            ConversationSlice("c3", header(), [turn("m4")]),
        ],
    )
    store.merge_conversations(
        "conversations", DAYS[1], [ConversationSlice("c2", None, [turn("m5", 1440)])]
    )
    outcome = store.merge_conversations(
        "conversations", DAYS[0], [ConversationSlice("c1", header("u9"), [turn("m2", 2)])]
    )
    assert outcome == ReplaceOutcome(replaced=2, deleted=1)
    kept = {one["_id"]: one for one in contents(store, "conversations")}
    assert sorted(kept) == ["c1", "c2"]
    assert kept["c1"]["user_id"] == "u9"
    assert kept["c1"]["message_count"] == 1
    assert kept["c2"]["header_day"] is None
    assert "user_id" not in kept["c2"]
    assert kept["c2"]["days"] == [DAYS[1]]
    assert store.merge_conversations("conversations", DAYS[0], []) == ReplaceOutcome(deleted=1)
    assert store.merge_conversations("conversations", DAYS[1], []) == ReplaceOutcome(deleted=1)
    assert contents(store, "conversations") == []


def test_days_in_any_order_and_again_give_the_same_conversations(store: DocumentStore) -> None:
    dice = random.Random(7)
    ids = [f"c{number:02}" for number in range(20)]
    final = {
        day: [
            ConversationSlice(
                one,
                header(f"u-{day}") if dice.random() < 0.4 else None,
                [turn(f"{one}-{n}", dice.randrange(3)) for n in range(dice.randrange(4))],
            )
            for one in dice.sample(ids, 12)
        ]
        for day in DAYS
    }
    for number in range(3):
        name = f"run{number}"
        for day in dice.sample(DAYS, 3):  # an older state of each day
            part = dice.sample(final[day], 6)
            old = [
                ConversationSlice(ids[dice.randrange(20)] + "x", header("old"), [turn("old")]),
                *(ConversationSlice(one.conversation_id, header("old"), []) for one in part),
            ]
            store.merge_conversations(name, day, old)
        for day in dice.sample(DAYS, 3):
            store.merge_conversations(name, day, final[day])
    expected: dict[str, Document] = {}
    for day in DAYS:
        for piece in final[day]:
            merged = merge_slice(expected.get(piece.conversation_id), piece, day)
            if merged is not None:
                expected[piece.conversation_id] = merged
    for number in range(3):
        found = contents(store, f"run{number}")
        assert found == [expected[one] for one in sorted(expected)]
        # Same fields in the same order, and so the same bytes.
        assert [repr(one) for one in found] == [repr(expected[one]) for one in sorted(expected)]


def test_days_written_at_once_lose_nothing(config: MongoConfig | SqliteConfig) -> None:
    days = [f"2026-11-{number:02}" for number in range(1, 7)]
    failures: list[BaseException] = []

    def write(day: str) -> None:
        mine = open_store(config)
        try:
            for round_ in range(3):
                mine.merge_conversations(
                    "conversations",
                    day,
                    [
                        ConversationSlice(
                            f"c{number}",
                            header() if day == days[0] else None,
                            [turn(f"{day}-{number}", round_)],
                        )
                        for number in range(20)
                    ],
                )
        except BaseException as error:  # noqa: BLE001 it is shown below
            failures.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=write, args=(day,)) for day in days]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = open_store(config)
    assert [store.count_slice("conversations", day) for day in days] == [(20, 20)] + [(0, 20)] * 5
    assert all(one["days"] == days for one in contents(store, "conversations"))
    store.close()


def test_one_store_serves_many_threads(store: DocumentStore) -> None:
    def write(partition: str) -> None:
        for round_ in range(3):
            ids = [f"{partition}-{number}" for number in range(15)]
            store.replace_partition("messages", partition, simple(*ids, value=round_))
            assert store.count("messages", partition) == 15

    threads = [threading.Thread(target=write, args=(f"d{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one["value"] for one in contents(store, "messages")] == [2] * 90


def test_a_bad_conversation_stays_as_it_was(store: DocumentStore) -> None:
    store.merge_conversations("conversations", DAYS[0], [ConversationSlice("c1", header(), [])])
    slices = [
        ConversationSlice("c1", header("new"), [{**turn("m1"), "query": "\udfff"}]),
        ConversationSlice("c2", {**header(), "messages": []}, []),
        ConversationSlice("c3", header(), [{**turn("m1"), "id": None}]),
        ConversationSlice("c4", header(), [{**turn("m4"), "query": "x" * 17_000_000}]),
        ConversationSlice("c5", header(), [turn("m5")]),
    ]
    with pytest.raises(DocumentError, match=r"4 documents .*'c1', 'c2', 'c3', 'c4'"):
        store.merge_conversations("conversations", DAYS[0], slices)
    kept = contents(store, "conversations")
    assert [(one["_id"], one["user_id"]) for one in kept] == [("c1", "u1"), ("c5", "u1")]


def large(day: int, count: int, size: int) -> list[Document]:
    """Turns of a day that take so much together, with text that JSON and BSON write differently."""
    text = "Zeile\n" * (size // count // 6)
    return [
        {**turn(f"m{day}-{n:02}", day * 1440 + n, f"model-{day}"), "answer": text}
        for n in range(count)
    ]


def test_a_conversation_over_16_mb_keeps_its_beginning_and_tells_of_the_rest(
    store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a document of 16 MB, only a hundred times as small; test_mongodb.py has a large one.
    for module in (core_documents, encoding):
        monkeypatch.setattr(module, "MAX_TURN_BYTES", 150_000)
    for module in (mongodb, sqlite):
        monkeypatch.setattr(module, "MAX_BYTES", 160_000)
    turns = [large(day, 10, 90_000) for day in range(3)]

    def merge(collection: str, day: int, messages: list[Document]) -> None:
        piece = ConversationSlice("c1", header() if day == 0 else None, messages)
        store.merge_conversations(collection, DAYS[day], [piece])

    for day in (0, 1):
        merge("conversations", day, turns[day])
    (found,) = contents(store, "conversations")
    kept = [one["id"] for one in found["messages"]]
    every = [one["id"] for day in turns for one in day]
    assert kept == every[: len(kept)]
    assert 10 < len(kept) < 20
    assert found["messages_truncated"] is True
    (left,) = found["truncated_days"]
    assert (left["day"], left["message_count"]) == (DAYS[1], 20 - len(kept))
    assert left["first_message_id"] == every[len(kept)]
    assert found["message_count"] == 20

    merge("conversations", 2, turns[2])  # a later day, of which no turn fits
    (found,) = contents(store, "conversations")
    assert [one["id"] for one in found["messages"]] == kept
    assert found["message_count"] == 30
    assert found["days"] == list(DAYS)
    assert found["models"] == ["model-0", "model-1", "model-2"]
    assert found["last_message_at"] == turns[2][-1]["created_at"]
    assert [store.count_slice("conversations", day) for day in DAYS] == [(1, 10), (0, 10), (0, 10)]

    for day in (2, 0, 1):  # in any order the same
        merge("other", day, turns[day])
    assert contents(store, "other") == [found]
    piece = ConversationSlice("c1", None, turns[2])
    again = store.merge_conversations("conversations", DAYS[2], [piece])
    assert again == ReplaceOutcome(unchanged=1)

    merge("conversations", 1, turns[1][:1])  # what its own day leaves out does not come back
    (found,) = contents(store, "conversations")
    assert [one["id"] for one in found["messages"]] == every[:11]
    merge("conversations", 2, [])
    (found,) = contents(store, "conversations")
    assert "messages_truncated" not in found
    assert found["message_count"] == 11
    merge("conversations", 1, [])
    merge("conversations", 0, [])
    assert contents(store, "conversations")[0]["message_count"] == 0


def test_a_conversation_comes_once_a_day(store: DocumentStore) -> None:
    with pytest.raises(DocumentError, match="'c1'"):
        store.merge_conversations(
            "conversations", DAYS[0], [ConversationSlice("c1", None, [turn("m")])] * 2
        )


# The store itself -----------------------------------------------------------------------------


def test_a_server_tells_its_time(store: DocumentStore) -> None:
    before = dt.datetime.now(dt.UTC)
    told = store.server_time()
    after = dt.datetime.now(dt.UTC)
    if store.describe()["kind"] == "sqlite":
        assert told is None
    else:
        assert told is not None
        second = dt.timedelta(seconds=1)
        assert before - second <= told <= after + second


def test_ensure_ping_close_and_use_again(store: DocumentStore) -> None:
    store.ping()
    for spec in (
        collections.conversations(),
        unchecked(collections.messages()),
        collections.analytics_reports(),
    ):
        store.ensure(spec)
        store.ensure(spec)
    store.replace_partition("messages", "d1", simple("a"))
    store.close()
    store.close()
    assert store.count("messages", "d1") == 1
    assert contents(store, "messages") == simple("a")


def test_fields_that_are_searched_may_hold_anything(store: DocumentStore) -> None:
    store.ensure(unchecked(collections.messages()))
    documents: Sequence[Document] = [
        {"_id": "1", "user_id": None, "created_at": None, "conversation_id": "x" * 5000},
        {"_id": "2", "user_id": 7, "created_at": NOON},
        {"_id": "3"},
    ]
    store.replace_partition("messages", "d1", documents)
    assert contents(store, "messages") == documents


_WRITER = """
import itertools, pathlib, sys
from conversation_analytics.core.documents import ConversationSlice
from conversation_analytics.documents.store import MongoConfig, SqliteConfig, open_store
from {module} import killed_documents, killed_slices
kind, where, database = sys.argv[1:]
config = (SqliteConfig(pathlib.Path(where)) if kind == "sqlite"
          else MongoConfig(where, database, batch_size=50))
store = open_store(config)
for version in itertools.count(1):
    store.replace_partition("messages", "d1", killed_documents(version))
    store.merge_conversations("conversations", "d1", killed_slices(version))
    print(version, flush=True)
"""


def killed_documents(version: int) -> list[Document]:
    return [{"_id": f"m{n}", "version": version} for n in range(version % 2, 900, 1 + version % 3)]


def killed_slices(version: int) -> list[ConversationSlice]:
    return [
        ConversationSlice(f"c{n}", header(f"u{version}"), [turn(f"{version}-{n}")])
        for n in range(version % 2, 300, 1 + version % 3)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_kill_at_any_point_then_repeat(config: MongoConfig | SqliteConfig, seed: int) -> None:
    where = (
        ("mongodb", config.uri, config.database)
        if isinstance(config, MongoConfig)
        else ("sqlite", str(config.path), "-")
    )
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER.format(module=__name__), *where],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdout is not None
    with process:
        for _ in range(seed + 1):
            assert process.stdout.readline()
        time.sleep(random.Random(seed).random() * 0.15)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    store = open_store(config)
    store.replace_partition("messages", "other", simple("other"))
    for version in (1000, 1001):
        store.replace_partition("messages", "d1", killed_documents(version))
        store.merge_conversations("conversations", "d1", killed_slices(version))
        found = contents(store, "messages")
        expected = [*killed_documents(version), *simple("other")]
        assert found == sorted(expected, key=lambda one: str(one["_id"]))
        slices = killed_slices(version)
        assert store.count_slice("conversations", "d1") == (len(slices), len(slices))
        merged = [merge_slice(None, piece, "d1") for piece in slices]
        assert contents(store, "conversations") == sorted(
            (one for one in merged if one is not None), key=lambda one: str(one["_id"])
        )
    store.close()


def test_describe_and_repr_hold_no_credentials(config: MongoConfig | SqliteConfig) -> None:
    assert open_store(config).describe()["kind"] in {"sqlite", "mongodb"}
    secret = MongoConfig("mongodb://someone:s3cr%40t@db1.example:27017,db2.example/x?tls=false")
    for text in (repr(secret), str(open_store(secret).describe())):
        assert not re.search("s3cr|someone", text)
    assert open_store(secret).describe()["hosts"] == "db1.example:27017,db2.example:27017"
    served = MongoConfig("mongodb+srv://someone:s3cret@cluster.example/x")
    assert open_store(served).describe()["hosts"] == "cluster.example"
