"""The rules of each collection: what the builders make keeps them, what does not is refused."""

from __future__ import annotations

import copy
import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pymongo
import pytest

from conversation_analytics.core import schemas
from conversation_analytics.core.categories import CATEGORIES, category_documents
from conversation_analytics.core.dead_letters import ledger_entries
from conversation_analytics.core.documents import (
    ConversationSlice,
    Document,
    UserDocuments,
    conversation_slices,
    merge_slice,
    message_documents,
    report_documents,
    translation_documents,
)
from conversation_analytics.core.errors import DocumentError
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.topic_changes import TOPIC_CHANGES, topic_documents
from conversation_analytics.core.topic_tables import TOPICS
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.user_analytics import USER_ANALYTICS
from conversation_analytics.documents import collections
from conversation_analytics.documents.encoding import storable_slice
from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.documents.rules import broken
from conversation_analytics.documents.store import ReplaceOutcome
from conversation_analytics.resources.connections import collection_specs
from conversation_analytics.settings import parse_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conversation_analytics.documents.collections import CollectionSpec
    from conversation_analytics.documents.store import DocumentStore, MongoConfig, Rest

DAY = "2026-11-23"
MONDAY = dt.date(2026, 11, 23)
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
SPECS = {spec.name: spec for spec in collection_specs(parse_settings({}))}


def value_of(dtype: pl.DataType | type[pl.DataType]) -> Any:
    values = {
        "String": "text", "Date": MONDAY, "Datetime": NOON, "Int64": 7, "Float64": 1.0,
        "Boolean": True, "Decimal": Decimal("0.0012000"), "List": [],
    }  # fmt: skip
    return values[str(dtype.base_type())]


NUMBERED = frozenset({"id", "user_id", "source_id", "topic_id", "message_id"})


def frame(table: schemas.TableSchema, **fixed: Any) -> pl.DataFrame:
    """Two rows: one with a value in each column, one with null where it may be."""

    def value(column: schemas.Column, number: int) -> Any:
        if column.name in fixed:
            told = fixed[column.name]
            return f"{number}-{told}" if column.name in NUMBERED else told
        return value_of(column.dtype) if number == 0 or column.required else None

    rows = [{one.name: value(one, number) for one in table.columns} for number in range(2)]
    return pl.DataFrame(rows, schema=table.polars)


def conversation_pieces() -> list[ConversationSlice]:
    return conversation_slices(
        frame(schemas.CONVERSATIONS, id="c"),
        frame(schemas.MESSAGES, id="m", conversation_id="0-c"),
        DAY,
    )


def topics() -> list[Document]:
    now = frame(TOPICS, topic_id="t", words='["a"]', examples='["c"]', conversations=3, users=2)
    changes = pl.DataFrame(
        [
            {name: value_of(dtype) for name, dtype in TOPIC_CHANGES.items()}
            | {"topic_id": f"{number}-t", "share": 0.5, "change": ["new", None][number]}
            for number in range(2)
        ],
        schema=TOPIC_CHANGES,
    )
    return topic_documents(now, changes, MONDAY)


def users() -> list[Document]:
    lists = {"costs": '{"USD":"0.1","":"1"}', "models": '["p/m"]', "languages": '["de"]'}
    return list(UserDocuments(frame(USER_ANALYTICS, user_id="u", **lists)))


def reports(table: schemas.TableSchema, period: str) -> list[Document]:
    return report_documents(frame(table), DAY, period)


MADE: dict[str, Callable[[], Sequence[Document]]] = {
    "messages": lambda: message_documents(frame(schemas.MESSAGES, id="m"), DAY),
    "analytics_reports": lambda: [
        *reports(schemas.DAILY_REPORT, "daily"),
        *reports(schemas.WEEKLY_REPORT, "weekly"),
        *reports(schemas.MONTHLY_REPORT, "monthly"),
    ],
    "categories": lambda: category_documents(
        pl.concat([frame(CATEGORIES, conversation_id=one) for one in ("a", "b")]).unique(
            "conversation_id"
        ),
        DAY,
    ),
    "translations": lambda: translation_documents(frame(TRANSLATIONS, message_id="m"), DAY),
    "user_analytics": users,
    "topics": topics,
    "dead_letters": lambda: ledger_entries(
        {SourceTable.MESSAGES: frame(schemas.MESSAGE_DEAD_LETTERS, source_id="m")}, [], DAY, NOON
    ),
}


def test_every_collection_has_rules() -> None:
    assert MADE.keys() | {"conversations"} == SPECS.keys()
    assert all(spec.rules for spec in SPECS.values())


@pytest.mark.parametrize("name", MADE)
def test_what_the_builders_make_is_stored(store: DocumentStore, name: str) -> None:
    store.ensure(SPECS[name])
    made = MADE[name]()
    assert len(made) >= 2
    outcome = store.replace_partition(name, DAY, made)
    assert outcome == ReplaceOutcome(inserted=len(made))


def test_conversations_are_stored_whatever_happens_to_them(
    store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ensure(SPECS["conversations"])
    pieces = conversation_pieces()
    assert len(pieces) == 2
    store.merge_conversations("conversations", DAY, pieces)
    store.merge_conversations("conversations", "2026-11-24", pieces)  # headers of two days
    assert store.count_slice("conversations", DAY) == (2, 2)
    for module in ("core.documents", "documents.encoding"):
        monkeypatch.setattr(f"conversation_analytics.{module}.MAX_TURN_BYTES", 3000)
    for module in ("mongodb", "sqlite"):
        monkeypatch.setattr(f"conversation_analytics.documents.{module}.MAX_BYTES", 4000)
    store.merge_conversations("conversations", "2026-11-25", pieces)
    assert any(one.get("messages_truncated") for one in store.find("conversations", {}))


NEXT = "2026-11-24"


OTHER_VERSIONS: dict[str, tuple[Document, Document]] = {
    "added": ({"tool_name": None}, {"tool_name": {"bsonType": ["string", "null"]}}),
    "dropped": ({"extra": ...}, {"extra": ...}),
    "retyped": ({"extra": 7}, {"extra": {"bsonType": ["int", "long", "null"]}}),
}
"""What a version changes of turns and headers, and of their rules; `...` takes a column away."""


def of_version(fields: Document, changes: Document) -> Document:
    return {name: value for name, value in (fields | changes).items() if value is not ...}


def rules_of_version(changes: Document) -> str:
    rules = json.loads(SPECS["conversations"].rules)
    fields = rules["properties"]
    header = fields["other_headers"]["items"]["properties"]["header"]
    for part in (fields["messages"]["items"], header):
        part["properties"] = of_version(part["properties"], changes)
        part["required"] = sorted(part["properties"])
    rules["properties"] = of_version(fields, changes)
    return json.dumps(rules)


def of_two_days(changes: Document) -> dict[str, ConversationSlice]:
    """Return what two days know of a conversation, by day; both have a header of it."""
    (piece,) = (one for one in conversation_pieces() if one.header and one.messages)
    header = of_version({**(piece.header or {}), "extra": "text"}, changes)
    turn = of_version({**piece.messages[0], "extra": "text"}, changes)
    return {
        day: ConversationSlice(
            piece.conversation_id, {**header, "name": day}, [{**turn, "id": day, "day": day}]
        )
        for day in (DAY, NEXT)
    }


def store_of_two_days(store: DocumentStore, headers: Sequence[str]) -> None:
    store.ensure(SPECS["conversations"])
    for day, piece in of_two_days({}).items():
        header = piece.header if day in headers else None
        told = ConversationSlice(piece.conversation_id, header, piece.messages)
        store.merge_conversations("conversations", day, [told])


@pytest.mark.parametrize("days", [(DAY, NEXT), (NEXT, DAY)], ids=["in order", "backwards"])
@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_a_conversation_of_two_days_is_made_again_day_by_day_by_another_version(
    store: DocumentStore, version: str, days: tuple[str, str]
) -> None:
    changes, of_rules = OTHER_VERSIONS[version]
    store_of_two_days(store, (DAY, NEXT))
    store.ensure(replace(SPECS["conversations"], rules=rules_of_version(of_rules)))
    now, (first, second) = of_two_days(changes), days
    assert store.merge_conversations("conversations", first, [now[first]]).replaced == 1
    (half,) = store.find("conversations", {})
    assert {turn["day"]: turn["query"] for turn in half["messages"]} == {DAY: "text", NEXT: "text"}
    waiting = next(turn for turn in half["messages"] if turn["day"] == second)
    assert waiting.keys() == now[second].messages[0].keys()
    assert waiting.get("extra") == ("text" if version == "added" else None)
    store.merge_conversations("conversations", second, [now[second]])
    direct = merge_slice(None, storable_slice(now[DAY]), DAY)
    direct = merge_slice(direct, storable_slice(now[NEXT]), NEXT)
    assert store.find("conversations", {}) == [direct]
    assert store.merge_conversations("conversations", first, [now[first]]).unchanged == 1


@pytest.mark.parametrize("rest", ["withdrawn", "aged"])
@pytest.mark.parametrize("version", ["dropped", "retyped"])
def test_a_day_goes_though_the_rest_of_the_conversation_is_of_another_version(
    store: DocumentStore, version: str, rest: Rest
) -> None:
    store_of_two_days(store, (DAY,))
    store.ensure(
        replace(SPECS["conversations"], rules=rules_of_version(OTHER_VERSIONS[version][1]))
    )
    assert store.merge_conversations("conversations", DAY, [], rest=rest).replaced == 1
    (left,) = store.find("conversations", {})
    assert [turn["day"] for turn in left["messages"]] == [NEXT]
    assert (left["header_day"], left.get("name")) == (
        (DAY, DAY) if rest == "aged" else (None, None)
    )
    assert left.get("extra") is None


def test_a_column_that_came_is_what_rows_of_before_have_in_the_lake(store: DocumentStore) -> None:
    rules = json.loads(SPECS["conversations"].rules)
    assert schemas.MESSAGES.absent == {"gone": False}
    rules["properties"]["messages"]["items"]["properties"]["gone"]["bsonType"].remove("null")
    for day, piece in of_two_days({"gone": ...}).items():
        store.merge_conversations("conversations", day, [piece])
    store.ensure(replace(SPECS["conversations"], rules=json.dumps(rules)))
    store.merge_conversations("conversations", DAY, [of_two_days({})[DAY]])
    (held,) = store.find("conversations", {})
    assert {turn["day"]: turn["gone"] for turn in held["messages"]} == {DAY: True, NEXT: False}


def changed(name: str, **fields: Any) -> Document:
    document = copy.deepcopy(MADE[name]()[0])
    for path, value in fields.items():
        place: Any = document
        *outer, last = path.split("__")
        for step in outer:
            place = place[int(step) if step.isdigit() else step]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return document


BAD = {
    "missing": ("messages", {"query": ...}, "field query: missing"),
    "null": ("messages", {"conversation_id": None}, "field conversation_id: expected string, got"),
    "type": ("messages", {"total_price": "0.1"}, "field total_price: expected decimal or null"),
    "truth": ("messages", {"answer_tokens": True}, "field answer_tokens: expected int or long or"),
    "unknown": ("messages", {"model_usage": {"gpt-4": 1}}, "a field that the collection does not"),
    "period": ("analytics_reports", {"period": "yearly"}, "field period: expected one of daily"),
    "day": ("analytics_reports", {"day": "23.11.2026"}, "field day: expected text of the form"),
    "inside": ("analytics_reports", {"metrics__0__value": 1.5}, "field metrics.value: expected"),
    "list": ("user_analytics", {"models": "p/m"}, "field models: expected array, got string"),
    "element": ("user_analytics", {"models": [1]}, "field models: expected string, got long"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "why"), BAD.values(), ids=BAD)
def test_what_breaks_a_rule_is_refused_and_takes_nothing_with_it(
    store: DocumentStore, name: str, fields: dict[str, Any], why: str
) -> None:
    store.ensure(SPECS[name])
    bad = changed(name, **fields) | {"_id": "bad"}
    good = MADE[name]()
    with pytest.raises(DocumentError, match=r"1 documents cannot be stored.*'bad'") as caught:
        store.replace_partition(name, DAY, [*good[:1], bad, *good[1:]])
    assert f"because of: {why}" in str(caught.value)
    assert store.count(name, DAY) == len(good)


def test_a_conversation_that_breaks_a_rule_is_refused(store: DocumentStore) -> None:
    store.ensure(SPECS["conversations"])
    first, second = conversation_pieces()
    first.messages[0]["answer"] = 7
    with pytest.raises(DocumentError, match=r"'0-c'; because of: field messages.answer: expected"):
        store.merge_conversations("conversations", DAY, [first, second])
    assert [one["_id"] for one in store.find("conversations", {})] == ["1-c"]


def test_rules_hold_for_a_store_that_did_not_set_them(config: Any, store: DocumentStore) -> None:
    from conversation_analytics.documents.store import open_store  # noqa: PLC0415 - as below

    store.ensure(SPECS["messages"])
    other = open_store(config)
    with pytest.raises(DocumentError, match="'bad'"):
        other.replace_partition("messages", DAY, [{"_id": "bad"}])
    other.close()


@pytest.mark.mongodb
@pytest.mark.parametrize("name", MADE)
def test_the_server_and_this_code_judge_alike(mongo_config: MongoConfig, name: str) -> None:
    store = MongoStore(mongo_config)
    spec = SPECS[name]
    store.ensure(spec)
    rule = json.loads(spec.rules)
    document = MADE[name]()[0]
    values: list[Any] = [
        None,
        True,
        7,
        2**40,
        1.5,
        Decimal(1),
        NOON,
        "x",
        [],
        ["x"],
        [{}],
        {},
        {"a": 1},
    ]
    mutants = [
        document | {field: value} for field in document if field != "_id" for value in values
    ]
    mutants += [{k: v for k, v in document.items() if k != field} for field in [*document][1:]]
    mutants = [one | {"_id": str(number)} for number, one in enumerate(mutants)]
    wanted = {one["_id"] for one in mutants if broken(one, rule) is None}
    store._rules.clear()  # the server alone decides
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "_transactional", lambda: False)  # it names all of them at once
            store.replace_partition(name, DAY, mutants)
    except DocumentError:
        pass
    assert {one["_id"] for one in store.find(name, {})} == wanted
    assert 0 < len(wanted) < len(mutants)
    store.close()


@pytest.mark.mongodb
def test_rules_are_set_on_a_collection_that_is_there_and_changed_with_the_version(
    mongo_config: MongoConfig,
) -> None:
    old = replace(SPECS["categories"], rules=collections.topics().rules)

    def ensure(spec: CollectionSpec) -> None:
        store = MongoStore(mongo_config)
        store.ensure(spec)
        store.ensure(spec)
        store.close()

    with pymongo.MongoClient[Document](mongo_config.uri) as client:
        database = client[mongo_config.database]
        database["categories"].insert_one({"_id": "of before", "_partition": "d0"})

        def rules() -> Any:
            (there,) = database.list_collections(filter={"name": "categories"})
            return there["options"].get("validator", {}).get("$jsonSchema")

        for spec in (old, SPECS["categories"]):
            ensure(spec)
            assert rules() == json.loads(spec.rules)
        before = client.admin.command("serverStatus")["metrics"]["commands"]["collMod"]["total"]
        ensure(SPECS["categories"])
        after = client.admin.command("serverStatus")["metrics"]["commands"]["collMod"]["total"]
        assert after == before
        assert database["categories"].count_documents({}) == 1
