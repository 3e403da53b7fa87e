"""Readers never meet half of a partition's replacement, however many transactions it takes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from conversation_analytics.core.documents import ConversationSlice, Document
from conversation_analytics.core.errors import DocumentStoreUnavailableError
from conversation_analytics.documents.mongo_snapshots import REPLACEMENTS
from conversation_analytics.documents.mongo_transactions import (
    SMALLEST_CACHE,
    Publication,
    transaction_bytes,
)
from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.documents.sqlite import SqliteStore
from conversation_analytics.documents.store import (
    DocumentStore,
    MongoConfig,
    SqliteConfig,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DAY = "2026-11-22"
OTHER = "2026-11-21"
PARTS = 10_000
"""Bytes of a transaction where several are wanted: some ten documents."""

both = pytest.mark.parametrize("collection", ["messages", "conversations"])


def documents(version: int) -> list[Document]:
    """Of each version some come, some go and all others change."""
    return [
        {"_id": f"m{n:03}", "version": version} for n in range(version % 7, 60, 1 + version % 3)
    ]


def slices(version: int) -> list[ConversationSlice]:
    return [
        ConversationSlice(str(one["_id"]), {"version": version}, [{"id": f"{one['_id']}-1"}])
        for one in documents(version)
    ]


def write(store: DocumentStore, collection: str, version: int) -> None:
    if collection == "messages":
        store.replace_partition(collection, DAY, documents(version))
    else:
        store.merge_conversations(collection, DAY, slices(version))


def expected(version: int) -> list[tuple[str, int]]:
    return [(one["_id"], one["version"]) for one in documents(version)]


def seen(store: DocumentStore, collection: str) -> tuple[list[tuple[str, int]], int]:
    count = (
        store.count(collection, DAY)
        if collection == "messages"
        else store.count_slice(collection, DAY)[1]
    )
    return [(one["_id"], one["version"]) for one in store.find(collection, {})], count


@pytest.fixture(params=["at once", "in parts"])
def in_parts(request: pytest.FixtureRequest) -> bool:
    return str(request.param) == "in parts"


@pytest.fixture
def writer(config: MongoConfig | SqliteConfig, in_parts: bool) -> Iterator[DocumentStore]:  # noqa: FBT001 a fixture
    opened = open_store(config)
    if isinstance(opened, MongoStore) and in_parts:
        opened._transaction_bytes = PARTS
    yield opened
    opened.close()


def hook(monkeypatch: pytest.MonkeyPatch, store: DocumentStore, then: Callable[[], None]) -> None:
    """Call `then` after everything that the store sends."""
    owner: Any = Publication if isinstance(store, MongoStore) else SqliteStore
    names = ("_commit",) if isinstance(store, MongoStore) else ("_write", "_delete")
    for name in names:
        send = getattr(owner, name)

        def sent(*given: Any, send: Any = send, **named: Any) -> None:
            send(*given, **named)
            then()

        monkeypatch.setattr(owner, name, sent)


@both
def test_whatever_has_been_sent_a_reader_sees_old_or_new(
    writer: DocumentStore,
    store: DocumentStore,
    in_parts: bool,  # noqa: FBT001 a fixture
    collection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(writer, collection, 1)
    looks: list[Any] = []
    with monkeypatch.context() as patch:
        hook(patch, writer, lambda: looks.append(seen(store, collection)))
        write(writer, collection, 2)
    old, new = ((expected(version), len(expected(version))) for version in (1, 2))
    if isinstance(writer, MongoStore):
        assert len(looks) > 3 if in_parts else len(looks) == 1
        assert looks == [old] * (len(looks) - 1) + [new]
    else:
        assert looks == [old] * len(looks)
    assert seen(store, collection) == new


class _KilledError(BaseException):
    """Stands for a kill: nothing after it is done."""


def kill_in_the_middle(
    writer: DocumentStore, collection: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def kill() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise _KilledError

    with monkeypatch.context() as patch:
        hook(patch, writer, kill)
        with pytest.raises(_KilledError):
            write(writer, collection, version)


@pytest.mark.mongodb
@both
@pytest.mark.parametrize("then", [2, 3])
def test_a_killed_replacement_is_not_seen_until_the_next_one_is_done(
    mongo_config: MongoConfig, collection: str, then: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = MongoStore(mongo_config), MongoStore(mongo_config)
    writer._transaction_bytes = PARTS
    write(writer, collection, 1)
    kill_in_the_middle(writer, collection, 2, monkeypatch)
    old = (expected(1), len(expected(1)))
    assert seen(reader, collection) == old
    looks: list[Any] = []
    with monkeypatch.context() as patch:
        hook(patch, writer, lambda: looks.append(seen(reader, collection)))
        write(writer, collection, then)
    assert len(looks) > 2
    assert looks[:-1] == [old] * (len(looks) - 1)
    assert seen(reader, collection) == (expected(then), len(expected(then)))
    assert marks(mongo_config) == 0
    writer.close()
    reader.close()


def marks(config: MongoConfig) -> int:
    with pymongo.MongoClient[Document](config.uri) as client:
        return client[config.database][REPLACEMENTS].count_documents({})


@pytest.mark.mongodb
def test_a_marker_goes_though_nothing_differs_any_more(
    mongo_config: MongoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MongoStore(mongo_config)
    store._transaction_bytes = PARTS
    write(store, "messages", 1)
    with monkeypatch.context() as patch:
        finish = Publication._begin_parts

        def begin_and_be_killed(publication: Publication) -> None:
            finish(publication)
            raise _KilledError

        patch.setattr(Publication, "_begin_parts", begin_and_be_killed)
        with pytest.raises(_KilledError):
            write(store, "messages", 2)
    assert marks(mongo_config) == 1
    write(store, "messages", 1)
    assert marks(mongo_config) == 0
    assert seen(store, "messages") == (expected(1), len(expected(1)))
    store.close()


@pytest.mark.mongodb
def test_where_no_moment_is_old_enough_half_a_partition_is_no_answer(
    mongo_config: MongoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MongoStore(mongo_config)
    store._transaction_bytes = PARTS
    store.replace_partition("messages", OTHER, [{"_id": "other", "version": 0}])
    write(store, "messages", 1)
    kill_in_the_middle(store, "messages", 2, monkeypatch)
    with pymongo.MongoClient[Document](mongo_config.uri) as client:
        window = {"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 0}
        client.admin.command(window)
        try:
            deadline = time.monotonic() + 30
            while True:  # until the server has let the old moment go
                client[mongo_config.database]["busy"].insert_one({})
                try:
                    store.find("messages", {})
                except DocumentStoreUnavailableError as error:
                    assert f"messages: {DAY} is half replaced" in str(error)  # noqa: PT017
                    break
                assert time.monotonic() < deadline
            with pytest.raises(DocumentStoreUnavailableError, match="half replaced"):
                store.count("messages", DAY)
            assert store.find("messages", {"_id": "other"}) == [{"_id": "other", "version": 0}]
            assert store.count("messages", OTHER) == 1
            write(store, "messages", 2)
            assert seen(store, "messages")[1] == len(expected(2))
        finally:
            client.admin.command({**window, "minSnapshotHistoryWindowInSeconds": 300})
    store.close()


@pytest.mark.mongodb
def test_what_the_server_has_no_room_for_goes_in_parts(
    mongo_config: MongoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MongoStore(mongo_config)
    write(store, "messages", 1)
    began: list[int] = []
    begin = Publication._begin_parts

    def begin_parts(publication: Publication) -> None:
        began.append(1)
        begin(publication)

    monkeypatch.setattr(Publication, "_begin_parts", begin_parts)
    with pymongo.MongoClient[Document](mongo_config.uri) as client:
        client.admin.command(
            "configureFailPoint", "failCommand", mode={"times": 4},
            data={"failCommands": ["update"], "errorCode": 388, "namespace":
                  f"{mongo_config.database}.messages", "appName": "conversation-analytics"},
        )  # fmt: skip
        try:
            write(store, "messages", 2)
        finally:
            client.admin.command("configureFailPoint", "failCommand", mode="off")
    assert began
    assert seen(store, "messages") == (expected(2), len(expected(2)))
    assert marks(mongo_config) == 0
    store.close()


def test_a_transaction_takes_a_small_part_of_the_cache() -> None:
    assert transaction_bytes(SMALLEST_CACHE) == 20_132_659
    assert transaction_bytes(64 << 30) == 256 << 20


def look(config: MongoConfig | SqliteConfig, stop: threading.Event, odd: list[Any]) -> None:
    """Read until told to stop; keep what is no version."""
    whole = [expected(version) for version in range(1, 9)]
    store = open_store(config)
    while not stop.is_set():
        found, _ = seen(store, "messages")
        if found not in whole:
            odd.append(found)
    store.close()


def test_readers_all_the_while(config: MongoConfig | SqliteConfig, writer: DocumentStore) -> None:
    write(writer, "messages", 1)
    stop = threading.Event()
    odd: Sequence[Any] = []
    readers = [threading.Thread(target=look, args=(config, stop, odd)) for _ in range(4)]
    for reader in readers:
        reader.start()
    for version in range(2, 9):
        write(writer, "messages", version)
    stop.set()
    for reader in readers:
        reader.join()
    assert odd == []
