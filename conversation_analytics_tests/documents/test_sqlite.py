from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversation_analytics.core.documents import ConversationSlice
from conversation_analytics.core.errors import DocumentError, DocumentStoreUnavailableError
from conversation_analytics.documents import collections
from conversation_analytics.documents.sqlite import SqliteStore
from conversation_analytics.documents.store import ReplaceOutcome, SqliteConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(SqliteConfig(tmp_path / "documents.sqlite"))
    yield store
    store.close()


def dump(store: SqliteStore, collection: str) -> list[tuple[Any, ...]]:
    connection = store._connected()
    return [
        *connection.execute(f'SELECT * FROM "documents {collection}" ORDER BY id'),
        *connection.execute(f'SELECT * FROM "elements {collection}" ORDER BY 1, 2, 3'),
    ]


DAYS = ["2026-11-21", "2026-11-22", "2026-11-23"]


def pieces() -> st.SearchStrategy[list[ConversationSlice]]:
    message = st.builds(
        lambda number, minute: {
            "id": f"m{number}",
            "created_at": NOON + dt.timedelta(minutes=minute),
        },
        st.integers(0, 3),
        st.integers(0, 2),
    )
    piece = st.builds(
        ConversationSlice,
        st.sampled_from(["c1", "c2", "c3"]),
        st.none() | st.builds(lambda name: {"name": name}, st.sampled_from("xy")),
        st.lists(message, max_size=3, unique_by=lambda one: str(one["id"])),
    )
    return st.lists(piece, max_size=3, unique_by=lambda one: one.conversation_id)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    history=st.lists(st.tuples(st.sampled_from(DAYS), pieces()), max_size=6),
    number=st.uuids(),
)
def test_any_history_of_days_ends_in_the_same_bytes(
    sqlite_store: SqliteStore, history: list[tuple[str, list[ConversationSlice]]], number: object
) -> None:
    once, often = f"once-{number}", f"often-{number}"
    for day, slices in history:
        sqlite_store.merge_conversations(often, day, slices)
    for day, slices in sorted(dict(history).items(), reverse=True):
        sqlite_store.merge_conversations(once, day, slices)
    for name in (often, once):
        sqlite_store.ensure(replace(collections.conversations(name), rules=""))
    assert dump(sqlite_store, often) == dump(sqlite_store, once)
    for day, slices in dict(history).items():
        assert sqlite_store.count_slice(often, day) == (
            sum(one.header is not None for one in slices),
            sum(len(one.messages) for one in slices),
        )


def test_unchanged_documents_are_not_rewritten(sqlite_store: SqliteStore) -> None:
    documents = [{"_id": f"m{number}", "value": number} for number in range(50)]
    sqlite_store.replace_partition("messages", "d1", documents)
    sqlite_store.merge_conversations("conversations", "d1", [ConversationSlice("c", {}, [])])
    before = sqlite_store._connected().total_changes
    sqlite_store.replace_partition("messages", "d1", documents)
    sqlite_store.merge_conversations("conversations", "d1", [ConversationSlice("c", {}, [])])
    assert sqlite_store._connected().total_changes == before


QUERIES: list[tuple[collections.CollectionSpec, dict[str, Any]]] = [
    (collections.conversations(), {"user_id": "u"}),
    (collections.conversations(), {"user_id": "u", "created_at": NOON}),
    (collections.conversations(), {"app_id": "a"}),
    (collections.conversations(), {"days": "d1"}),
    (collections.messages(), {"conversation_id": "c"}),
    (collections.messages(), {"user_id": "u"}),
    (collections.messages(), {"user_id": None}),
    (collections.messages(), {"model_id": "m"}),
    (collections.conversations(), {"models": "m"}),
    (collections.messages(), {"_partition": "d1"}),
    (collections.messages(), {"_id": "m"}),
    (collections.analytics_reports(), {"period": "daily", "day": "d1", "app_id": None}),
    (collections.analytics_reports(), {"period": "daily", "day": "d1"}),
]


@pytest.mark.parametrize(("spec", "equals"), QUERIES)
def test_documented_queries_use_an_index(
    sqlite_store: SqliteStore, spec: collections.CollectionSpec, equals: dict[str, Any]
) -> None:
    sqlite_store.ensure(spec)
    sql, values = sqlite_store._select(spec.name, equals)
    plan = sqlite_store._connected().execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    steps = [str(step[3]) for step in plan]
    assert any(step.startswith("SEARCH") for step in steps)
    assert not any(step.startswith("SCAN") for step in steps), steps


def write_partition(path: str, partition: str) -> None:
    store = SqliteStore(SqliteConfig(Path(path)))
    for version in range(5):
        documents = [{"_id": f"{partition}-{n}", "value": version} for n in range(200)]
        store.replace_partition("messages", partition, documents)
    store.close()


def test_writer_processes_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_partition, args=(str(path), f"d{number}"))
        for number in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    store = SqliteStore(SqliteConfig(path))
    assert [store.count("messages", f"d{number}") for number in range(4)] == [200] * 4
    assert {one["value"] for one in store.find("messages", {})} == {4}
    store.close()


def test_a_writer_that_never_ends_gives_a_transient_error_in_time(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    store = SqliteStore(SqliteConfig(path, busy_timeout_s=0.3))
    store.replace_partition("messages", "d1", [{"_id": "a"}])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    with pytest.raises(DocumentStoreUnavailableError, match="messages, d1"):
        store.replace_partition("messages", "d1", [{"_id": "b"}])
    assert 0.2 < time.monotonic() - start < 5
    assert store.count("messages", "d1") == 1
    other.execute("ROLLBACK")
    other.close()
    assert store.replace_partition("messages", "d1", [{"_id": "b"}]) == ReplaceOutcome(
        inserted=1, deleted=1
    )
    store.close()


def test_a_file_that_is_no_database_is_a_permanent_error(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    path.write_bytes(random.Random(1).randbytes(8192))
    store = SqliteStore(SqliteConfig(path))
    with pytest.raises(DocumentError, match=r"documents\.sqlite"):
        store.ping()
    store.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SqliteStore(SqliteConfig(tmp_path / "file" / "documents.sqlite"))
    with pytest.raises(DocumentError, match=r"cannot make the folder of .*choose a place"):
        store.ping()


_FULL_DISK = """
import resource, sys
from pathlib import Path
from conversation_analytics.core.errors import DocumentError
from conversation_analytics.documents.sqlite import SqliteStore
from conversation_analytics.documents.store import SqliteConfig
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    SqliteStore(SqliteConfig(Path(sys.argv[1]))).replace_partition(
        "messages", "d1", [{"_id": str(number), "text": "x" * 1000} for number in range(5000)]
    )
except DocumentError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_documents_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    store = SqliteStore(SqliteConfig(path))
    store.replace_partition("messages", "d1", [{"_id": "old"}])
    command = [sys.executable, "-c", _FULL_DISK, str(path)]
    said = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    assert "messages, d1" in said
    assert "free space" in said
    assert store.find("messages", {}) == [{"_id": "old"}]
    assert store.replace_partition("messages", "d1", [{"_id": "new"}]).inserted == 1
    store.close()


def test_a_transaction_that_is_rolled_back_takes_its_new_tables_with_it(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_store.ping()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_store, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sqlite_store.replace_partition("messages", "d1", [{"_id": "a"}])
    assert sqlite_store.count("messages", "d1") == 0
    sqlite_store.replace_partition("messages", "d1", [{"_id": "a"}])
    assert sqlite_store.count("messages", "d1") == 1


def test_the_file_may_be_deleted_while_the_store_is_closed(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    for _ in range(2):
        sqlite_store.merge_conversations("c", "d1", [ConversationSlice("c", {}, [])])
        assert sqlite_store.count_slice("c", "d1") == (1, 0)
        sqlite_store.close()
        (tmp_path / "documents.sqlite").unlink()


def test_names_that_differ_in_case_only_are_refused(sqlite_store: SqliteStore) -> None:
    sqlite_store.replace_partition("messages", "d1", [{"_id": "a"}])
    with pytest.raises(DocumentError, match="case"):
        sqlite_store.replace_partition("Messages", "d1", [{"_id": "a"}])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_gets_a_connection_of_its_own(sqlite_store: SqliteStore) -> None:
    sqlite_store.replace_partition("messages", "d1", [{"_id": "a"}])
    child = os.fork()
    if child == 0:
        sqlite_store.replace_partition("messages", "d2", [{"_id": "b"}])
        os._exit(len(sqlite_store._inherited) - 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [one["_id"] for one in sqlite_store.find("messages", {})] == ["a", "b"]
