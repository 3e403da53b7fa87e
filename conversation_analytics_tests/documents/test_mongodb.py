from __future__ import annotations

import contextlib
import datetime as dt
import socket
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import bson
import pymongo
import pytest
from bson.decimal128 import Decimal128

from conversation_analytics.core.documents import ConversationSlice, Document
from conversation_analytics.core.errors import (
    DocumentError,
    DocumentStoreUnavailableError,
    SettingsError,
)
from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.documents.store import MongoConfig, ReplaceOutcome
from conversation_analytics.stack.mongod import mongod_program
from conversation_analytics.stack.processes import free_port, running_process
from conversation_analytics_tests.conftest import require
from conversation_analytics_tests.documents.test_sqlite import QUERIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from conversation_analytics.documents import collections

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.fixture
def mongo_store(mongo_config: MongoConfig) -> Iterator[MongoStore]:
    store = MongoStore(mongo_config)
    yield store
    store.close()


@pytest.fixture
def database(mongo_config: MongoConfig) -> Iterator[Database[Document]]:
    with pymongo.MongoClient[Document](mongo_config.uri) as client:
        yield client[mongo_config.database]


@pytest.mark.mongodb
def test_stored_form(mongo_store: MongoStore, database: Database[Document]) -> None:
    document = {"_id": "m1", "price": Decimal("0.0012000"), "at": NOON, "n": 1}
    mongo_store.replace_partition("messages", "d1", [document])
    stored = database["messages"].find_one()
    assert stored is not None
    assert list(stored) == ["_id", "price", "at", "n", "_partition", "_hash"]
    assert stored["price"] == Decimal128("0.0012000")
    assert stored["at"] == NOON.replace(tzinfo=None)
    assert stored["_partition"] == "d1"
    assert len(stored["_hash"]) == 64


@pytest.mark.mongodb
def test_a_document_the_server_refuses_does_not_take_others_with_it(
    mongo_store: MongoStore, database: Database[Document]
) -> None:
    database.create_collection("messages", validator={"value": {"$ne": 7}})
    documents: list[Document] = [{"_id": f"m{number}", "value": number} for number in range(20)]
    with pytest.raises(DocumentError, match=r"1 documents .*'m7'.*validator") as caught:
        mongo_store.replace_partition("messages", "d1", documents)
    assert caught.value.__cause__ is None  # the driver's error quotes the document
    assert mongo_store.count("messages", "d1") == 19


@pytest.mark.mongodb
def test_any_order_of_days_gives_the_same_bytes(
    mongo_store: MongoStore, database: Database[Document]
) -> None:
    def piece(day: int) -> ConversationSlice:
        message = {"id": f"m{day}", "created_at": NOON, "price": Decimal("1.10"), "n": 2**40}
        return ConversationSlice("c", {"name": "n", "created_at": NOON} if day == 1 else None,
                                 [message])  # fmt: skip

    for name, days in (("up", [1, 2, 3]), ("down", [3, 2, 1]), ("mixed", [2, 3, 2, 1, 3])):
        for day in days:
            mongo_store.merge_conversations(name, f"d{day}", [piece(day)])
    up, down, mixed = (
        bson.encode(document)
        for name in ("up", "down", "mixed")
        for document in database[name].find()
    )
    assert up == down == mixed


@pytest.mark.mongodb
def test_unchanged_documents_are_not_rewritten(
    mongo_store: MongoStore, database: Database[Document]
) -> None:
    documents: list[Document] = [{"_id": f"m{number}"} for number in range(20)]
    slices = [ConversationSlice("c", {"name": "n"}, [{"id": "m", "created_at": NOON}])]

    def write() -> tuple[ReplaceOutcome, ReplaceOutcome]:
        return (
            mongo_store.replace_partition("messages", "d1", documents),
            mongo_store.merge_conversations("conversations", "d1", slices),
        )

    write()
    before = database.client.admin.command("serverStatus")["opcounters"]
    assert write() == (ReplaceOutcome(unchanged=20), ReplaceOutcome(unchanged=1))
    after = database.client.admin.command("serverStatus")["opcounters"]
    assert [after[name] - before[name] for name in ("insert", "update", "delete")] == [0, 0, 0]


def stages(plan: Any) -> set[str]:
    if isinstance(plan, Mapping):
        own = {plan["stage"]} if isinstance(plan.get("stage"), str) else set()
        return own.union(*(stages(value) for value in plan.values()))
    if isinstance(plan, list):
        return set().union(*(stages(value) for value in plan))
    return set()


@pytest.mark.mongodb
@pytest.mark.parametrize(("spec", "equals"), QUERIES)
def test_documented_queries_use_an_index(
    mongo_store: MongoStore,
    database: Database[Document],
    spec: collections.CollectionSpec,
    equals: dict[str, Any],
) -> None:
    mongo_store.ensure(spec)
    sort: list[tuple[str, Any]] = [] if spec.name == "analytics_reports" else [("created_at", -1)]
    by_time = (
        sort
        if {"user_id", "app_id", "conversation_id", "model_id", "models"} & equals.keys()
        else []
    )
    command = mongo_store._find_command(spec.name, equals, by_time, 10)
    plan = database.command("explain", command)["queryPlanner"]
    used = stages(plan["winningPlan"])
    assert used & {"IXSCAN", "IDHACK"}
    assert "COLLSCAN" not in used
    if by_time:
        assert "SORT" not in used  # the page comes off the index in order


@pytest.mark.mongodb
def test_probing_a_partition_reads_the_index_alone(
    mongo_store: MongoStore, database: Database[Document]
) -> None:
    mongo_store.replace_partition("messages", "d1", [{"_id": "a"}])
    cursor = database["messages"].find({"_partition": {"$eq": "d1"}}, {"_id": 1, "_hash": 1})
    assert "FETCH" not in stages(cursor.explain()["queryPlanner"]["winningPlan"])


@pytest.mark.mongodb
def test_wrong_credentials_are_a_permanent_error(mongo_config: MongoConfig) -> None:
    uri = mongo_config.uri.replace("mongodb://", "mongodb://someone:s3cret@", 1)
    store = MongoStore(MongoConfig(uri, mongo_config.database))
    with pytest.raises(DocumentError, match="credentials") as caught:
        store.ping()
    assert "s3cret" not in str(caught.value)
    assert "someone" not in str(caught.value)
    store.close()


def test_an_unreachable_server_is_a_transient_error_within_the_timeout() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: refused
        uri = f"mongodb://someone:s3cret@127.0.0.1:{reserved.getsockname()[1]}/"
        store = MongoStore(MongoConfig(uri, "x", server_selection_timeout_s=0.5))
        for call in (
            store.ping,
            lambda: store.replace_partition("messages", "d1", [{"_id": "a"}]),
            lambda: store.find("messages", {}),
        ):
            start = time.monotonic()
            with pytest.raises(DocumentStoreUnavailableError) as caught:
                call()
            assert time.monotonic() - start < 5
            assert "s3cret" not in str(caught.value)
        store.close()


def test_a_server_that_never_answers_is_a_transient_error_within_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/?directConnection=true"
        store = MongoStore(MongoConfig(uri, "x", server_selection_timeout_s=0.5))
        with pytest.raises(DocumentStoreUnavailableError):
            store.ping()
        store.close()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.mongodb
def test_a_connection_opened_before_there_was_a_primary_is_given_up(tmp_path: Path) -> None:
    require(mongod_program)
    port = free_port()
    data = tmp_path / "db"
    data.mkdir()
    command = [str(mongod_program()), f"--dbpath={data}", f"--port={port}", "--replSet=rs0",
               "--bind_ip=127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB=0.25"]  # fmt: skip
    uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    store = MongoStore(MongoConfig(uri, "x"))
    with (
        pymongo.MongoClient[Document](uri) as client,
        running_process(
            "mongod",
            command,
            data_dir=tmp_path,
            ready=lambda: listens(port),
            deadline_seconds=60,
        ),
    ):
        with pytest.raises(DocumentStoreUnavailableError):
            store.begin("messages", "d1")
        client.admin.command("replSetInitiate", {
            "_id": "rs0", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]
        })  # fmt: skip
        deadline = time.monotonic() + 60
        while not client.admin.command("hello")["isWritablePrimary"]:
            assert time.monotonic() < deadline
        with pytest.raises(DocumentStoreUnavailableError, match=r"messages, d1.*no primary yet"):
            store.replace_partition("messages", "d1", [{"_id": "a"}])
        store.replace_partition("messages", "d1", [{"_id": "a"}])
        assert store.find("messages", {}) == [{"_id": "a"}]
        store.close()


@pytest.mark.parametrize(
    "arguments",
    [
        {"uri": "postgres://someone:s3cret@db/x"},
        {"uri": "mongodb://h/", "database": "a.b"},
        {"uri": "mongodb://h/", "batch_size": 0},
    ],
)
def test_wrong_settings_are_told_without_the_uri(arguments: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        MongoConfig(**arguments)
    assert "s3cret" not in str(caught.value)


def test_a_uri_the_driver_refuses_is_a_permanent_error_without_the_uri() -> None:
    store = MongoStore(MongoConfig("mongodb://someone:s3/cr@et@db:27017/x"))
    with pytest.raises(DocumentError, match="MONGODB_URI") as caught:
        store.ping()
    assert "cr@et" not in str(caught.value)


@contextlib.contextmanager
def failing(database: Database[Document], times: int, **data: Any) -> Iterator[None]:
    """Let the server itself fail the next commands of our stores."""
    admin = database.client.admin
    data["appName"] = "conversation-analytics"
    admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
    try:
        yield
    finally:
        admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.mark.mongodb
@pytest.mark.parametrize("command", ["find", "insert", "update", "delete"])
def test_connections_that_break_are_transient_and_repeating_mends_it(
    mongo_store: MongoStore, database: Database[Document], command: str
) -> None:
    mongo_store.replace_partition("messages", "d1", [{"_id": "a", "n": 0}, {"_id": "stale"}])
    wanted: list[Document] = [{"_id": "a", "n": 1}, {"_id": "b", "n": 1}]
    with (
        failing(database, 4, failCommands=[command], closeConnection=True),
        pytest.raises(DocumentStoreUnavailableError, match="messages, d1"),
    ):
        mongo_store.replace_partition("messages", "d1", wanted)
    mongo_store.replace_partition("messages", "d1", wanted)
    assert mongo_store.find("messages", {}) == wanted


@pytest.mark.mongodb
@pytest.mark.parametrize("command", ["insert", "update"])
def test_a_step_down_in_a_write_is_transient(
    mongo_store: MongoStore, database: Database[Document], command: str
) -> None:
    first = [ConversationSlice("c1", {"name": "n"}, [])]
    then = [ConversationSlice("c1", {"name": "m"}, []), ConversationSlice("c2", {}, [])]
    mongo_store.merge_conversations("conversations", "d1", first)
    with (
        failing(database, 4, failCommands=[command], errorCode=189),
        pytest.raises(DocumentStoreUnavailableError, match="conversations, d1"),
    ):
        mongo_store.merge_conversations("conversations", "d1", then)
    mongo_store.merge_conversations("conversations", "d1", then)
    assert mongo_store.count_slice("conversations", "d1") == (2, 0)


@pytest.mark.mongodb
def test_a_request_refused_as_a_whole_is_halved(
    mongo_store: MongoStore, database: Database[Document]
) -> None:
    documents: list[Document] = [{"_id": f"m{number}"} for number in range(7)]
    # Of the tree 7, 3, 1 the server refuses each: the first document alone remains bad.
    with (
        failing(database, 3, failCommands=["insert"], errorCode=10334),
        pytest.raises(DocumentError, match=r"1 documents .*'m0'"),
    ):
        mongo_store.replace_partition("messages", "d1", documents)
    assert mongo_store.find("messages", {}) == documents[1:]


@pytest.mark.mongodb
def test_a_lack_of_rights_is_a_permanent_error(
    mongo_store: MongoStore, database: Database[Document]
) -> None:
    with (
        failing(database, 1, failCommands=["insert"], errorCode=13),
        pytest.raises(DocumentError, match="its role, which docs"),
    ):
        mongo_store.replace_partition("messages", "d1", [{"_id": "a"}, {"_id": "b"}])


@pytest.mark.mongodb
def test_an_id_that_appears_between_probe_and_insert_is_taken_over(
    mongo_store: MongoStore, database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    database["messages"].insert_one({"_id": "a", "_partition": "other", "_hash": "h"})
    ids = mongo_store._ids
    probes: list[int] = []

    def too_early(*arguments: Any) -> set[str]:
        probes.append(1)
        return set() if len(probes) == 1 else ids(*arguments)

    monkeypatch.setattr(mongo_store, "_ids", too_early)
    outcome = mongo_store.replace_partition("messages", "d1", [{"_id": "a"}, {"_id": "b"}])
    assert outcome == ReplaceOutcome(inserted=1, replaced=1)
    assert mongo_store.count("messages", "d1") == 2


@pytest.mark.mongodb
def test_no_turn_of_a_conversation_over_16_mb_is_lost(mongo_store: MongoStore) -> None:
    text = "0123456789" * 90_000
    every = []
    for day in range(3):
        turns: list[Document] = [
            {"id": f"m{day}-{n}", "created_at": NOON + dt.timedelta(days=day, minutes=n),
             "answer": text}
            for n in range(10)
        ]  # fmt: skip
        piece = ConversationSlice("c", {"user_id": "u"} if day == 0 else None, turns)
        mongo_store.merge_conversations("conversations", f"d{day}", [piece])
        documents = [{"_id": one["id"], "conversation_id": "c", "answer": text} for one in turns]
        mongo_store.replace_partition("messages", f"d{day}", documents)
        every += [one["id"] for one in turns]
    conversation = mongo_store.get("conversations", "c")
    assert conversation is not None
    assert [one["id"] for one in conversation["messages"]] == every[:17]
    assert (conversation["messages_truncated"], conversation["message_count"]) == (True, 30)
    assert [one["message_count"] for one in conversation["truncated_days"]] == [3, 10]
    found = mongo_store.find("messages", {"conversation_id": "c"})
    assert [(one["_id"], one["answer"]) for one in found] == [(one, text) for one in every]
