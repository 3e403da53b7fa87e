"""Two runs on one partition: the older one is refused, whenever it was stopped."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from conversation_analytics.core.documents import ConversationSlice, Document
from conversation_analytics.core.errors import DocumentStoreUnavailableError
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.documents.mongo_transactions import Publication, Write
from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.documents.sqlite import SqliteStore
from conversation_analytics.documents.store import (
    DocumentStore,
    MongoConfig,
    ReplaceOutcome,
    SqliteConfig,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DAY = "2026-11-22"


def documents(version: str, count: int = 30) -> list[Document]:
    return [{"_id": f"m{number:03}", "version": version} for number in range(count)]


def slices(version: str, count: int = 30) -> list[ConversationSlice]:
    return [
        ConversationSlice(f"c{number:03}", {"version": version}, [{"id": f"{version}-{number}"}])
        for number in range(count)
    ]


def write(store: DocumentStore, version: str, since: int | None, collection: str) -> ReplaceOutcome:
    if collection == "messages":
        return store.replace_partition("messages", DAY, documents(version), since)
    return store.merge_conversations("conversations", DAY, slices(version), since)


def versions(store: DocumentStore, collection: str) -> list[str]:
    return [one["version"] for one in store.find(collection, {})]


both = pytest.mark.parametrize("collection", ["messages", "conversations"])


@both
def test_who_began_before_another_run_wrote_is_refused(
    store: DocumentStore, collection: str
) -> None:
    for version in ("new", "newer"):  # of generation 0 there is no record yet
        late = store.begin(collection, DAY)
        write(store, version, store.begin(collection, DAY), collection)
        with pytest.raises(PartitionReplacedError, match=f"{collection}, {DAY}: another run"):
            write(store, "late", late, collection)
        assert versions(store, collection) == [version] * 30
    assert write(store, "last", store.begin(collection, DAY), collection).replaced == 30


@both
def test_who_began_before_a_partition_was_superseded_is_refused(
    store: DocumentStore, collection: str
) -> None:
    for _ in range(2):  # of generation 0 there is no record yet, nor a collection
        late = store.begin(collection, DAY)
        other = store.begin(collection, "2026-11-21")
        store.supersede(collection, DAY)
        assert store.begin(collection, DAY) > late
        assert store.begin(collection, "2026-11-21") == other
        with pytest.raises(PartitionReplacedError, match=f"{collection}, {DAY}: another run"):
            write(store, "late", late, collection)
    assert versions(store, collection) == []
    write(store, "new", store.begin(collection, DAY), collection)
    store.supersede(collection, DAY)
    assert versions(store, collection) == ["new"] * 30


@both
def test_runs_that_change_nothing_refuse_nobody(store: DocumentStore, collection: str) -> None:
    write(store, "old", None, collection)
    since = store.begin(collection, DAY)
    assert write(store, "old", None, collection) == ReplaceOutcome(unchanged=30)
    assert store.begin(collection, DAY) == since
    assert write(store, "new", since, collection) == ReplaceOutcome(replaced=30)


def test_other_partitions_and_collections_go_on(store: DocumentStore) -> None:
    since = store.begin("messages", DAY)
    store.replace_partition("messages", "2026-11-21", [{"_id": "x"}])
    store.replace_partition("others", DAY, [{"_id": "x"}])
    assert store.replace_partition("messages", DAY, [{"_id": "y"}], since).inserted == 1


# --- two processes, one of them stopped ---

_RUN = """
import os, pathlib, signal, sys
from {module} import documents, slices
from conversation_analytics.documents.store import MongoConfig, SqliteConfig, open_store
kind, where, database, collection, stop_at = sys.argv[1:]
calls = 0

def stop(*_):
    global calls
    calls += 1
    if calls == int(stop_at):
        os.kill(os.getpid(), signal.SIGSTOP)

if kind == "sqlite":
    from conversation_analytics.documents import sqlite
    config = SqliteConfig(pathlib.Path(where))
    write = sqlite.SqliteStore.merge_conversations, sqlite.SqliteStore.replace_partition
    before = sqlite.SqliteStore._writing
    def writing(self, doing):
        if "indexes" not in doing:
            stop()
        return before(self, doing)
    sqlite.SqliteStore._writing = writing
else:
    from pymongo.collection import Collection
    from pymongo.client_session import ClientSession
    config = MongoConfig(where, database, batch_size=7)
    bulk, commit = Collection.bulk_write, ClientSession.commit_transaction
    def bulk_write(self, *arguments, **named):
        stop()
        return bulk(self, *arguments, **named)
    def commit_transaction(self):
        stop()
        return commit(self)
    Collection.bulk_write, ClientSession.commit_transaction = bulk_write, commit_transaction
store = open_store(config)
if int(stop_at) > 2:
    store._transaction_bytes = 5_000  # several transactions
since = store.begin(collection, "2026-11-22")
try:
    if collection == "messages":
        store.replace_partition("messages", "2026-11-22", documents("stopped"), since)
    else:
        store.merge_conversations("conversations", "2026-11-22", slices("stopped"), since)
except Exception as error:
    print(type(error).__name__, error)
else:
    print("done")
"""


@both
@pytest.mark.parametrize("stop_at", [1, 2, 5, 8])
def test_a_run_that_was_stopped_and_goes_on_changes_nothing(
    config: MongoConfig | SqliteConfig, store: DocumentStore, collection: str, stop_at: int
) -> None:
    if isinstance(config, MongoConfig):
        where = ["mongodb", config.uri, config.database]
    else:
        where = ["sqlite", str(config.path), "-"]
        stop_at = 1  # a SQLite write is one transaction
    write(store, "old", None, collection)
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN.format(module=__name__), *where, collection, str(stop_at)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status
        start = time.monotonic()
        write(store, "new", None, collection)
        assert time.monotonic() - start < 20  # not the minute that an open transaction lives
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert said.startswith("PartitionReplacedError"), said
    assert versions(store, collection) == ["new"] * 30


@pytest.mark.mongodb
@both
def test_without_transactions_the_generation_is_compared_before_each_batch(
    mongo_config: MongoConfig, monkeypatch: pytest.MonkeyPatch, collection: str
) -> None:
    store, other = MongoStore(mongo_config), MongoStore(mongo_config)
    for one in (store, other):
        monkeypatch.setattr(one, "_has_transactions", False)
    write(store, "old", None, collection)
    plainly = Publication._write_plainly
    calls: list[int] = []

    def write_and_be_overtaken(publication: Publication, writes: Sequence[Write]) -> Any:
        calls.append(1)
        if len(calls) == 2:
            write(other, "new", None, collection)
        return plainly(publication, writes)

    monkeypatch.setattr(Publication, "_write_plainly", write_and_be_overtaken)
    with pytest.raises(PartitionReplacedError):
        write(store, "late", None, collection)
    assert versions(store, collection) == ["new"] * 30
    assert write(other, "newer", None, collection).replaced == 30
    store.close()
    other.close()


@pytest.mark.mongodb
def test_a_user_who_may_not_end_sessions_waits_for_the_server(
    mongo_config: MongoConfig, store: DocumentStore
) -> None:
    del store
    mine = MongoStore(mongo_config)
    write(mine, "old", None, "messages")
    with pymongo.MongoClient[Document](mongo_config.uri) as client:
        fence = client[mongo_config.database]["_partition_generations"]
        # What a writer that was killed leaves behind.
        left = client.start_session()
        fence.update_one({}, {"$set": {"session": left.session_id["id"]}})
        client.admin.command(
            "configureFailPoint", "failCommand", mode={"times": 1},
            data={"failCommands": ["killSessions"], "errorCode": 13},
        )  # fmt: skip
        try:
            assert write(mine, "new", None, "messages").replaced == 30
        finally:
            client.admin.command("configureFailPoint", "failCommand", mode="off")
        (record,) = fence.find()
        assert "session" not in record
    mine.close()


def test_a_writer_stopped_in_its_sqlite_transaction_is_waited_for_and_then_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "documents.sqlite"
    store = SqliteStore(SqliteConfig(path, busy_timeout_s=0.3))
    write(store, "old", None, "messages")
    since = store.begin("messages", DAY)
    stopped = sqlite3.connect(path, isolation_level=None)
    stopped.execute("BEGIN IMMEDIATE")
    with pytest.raises(DocumentStoreUnavailableError, match="locked by another writer"):
        write(store, "new", since, "messages")
    assert versions(store, "messages") == ["old"] * 30  # readers never wait
    stopped.execute("ROLLBACK")
    stopped.close()
    assert write(store, "new", since, "messages").replaced == 30
    store.close()


def test_a_file_of_before_generations_is_written_as_ever(tmp_path: Path) -> None:
    store = SqliteStore(SqliteConfig(tmp_path / "documents.sqlite"))
    write(store, "old", None, "messages")
    store._connected().execute('DROP TABLE "partition generations"')
    assert store.begin("messages", DAY) == 0
    assert write(store, "new", 0, "messages").replaced == 30
    assert open_store(SqliteConfig(tmp_path / "documents.sqlite")).begin("messages", DAY) == 1
    store.close()
