"""What each call asks of MongoDB, what importing the client costs, and where it stands."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from conversation_analytics.client import Client, client_of_environment, open_client
from conversation_analytics.client.cursors import call_digest, decode_cursor, encode_cursor
from conversation_analytics.client.reading import Kind, collection_names
from conversation_analytics.core.errors import ReadRequestError, SettingsError
from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.documents.paging import PageQuery, segments
from conversation_analytics.documents.sqlite import SqliteStore
from conversation_analytics.documents.store import MongoConfig, SqliteConfig
from conversation_analytics.resources.connections import collection_specs
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.documents.test_mongodb import stages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conversation_analytics.core.documents import Document

DAY = dt.date(2026, 11, 20)
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
HEAVY = ("dagster", "polars", "pymongo", "duckdb", "pandas", "pyarrow", "numpy", "obstore",
         "click", "requests")  # fmt: skip


class Recording:
    """Finds nothing, and keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Kind, PageQuery]] = []

    def get(self, kind: Kind, identifier: str) -> Document | None:  # noqa: ARG002
        return None

    def get_many(self, kind: Kind, identifiers: Sequence[str]) -> list[Document]:  # noqa: ARG002
        return []

    def page(self, kind: Kind, query: PageQuery) -> list[Document]:
        self.asked.append((kind, query))
        return []

    def close(self) -> None:
        pass


CALLS: dict[str, tuple[Any, Any]] = {  # the call, and a sort key that its pages go on behind
    "turns": (lambda c: c.turns("c1"), NOON),
    "user": (lambda c: c.conversations_of_user("u1"), NOON),
    "user-since": (lambda c: c.conversations_of_user("u1", since=NOON), NOON),
    "period": (lambda c: c.conversations_of_period(NOON, NOON + dt.timedelta(1)), NOON),
    "period-app": (
        lambda c: c.conversations_of_period(NOON, NOON + dt.timedelta(1), app_id="a1"), NOON,
    ),
    "category": (lambda c: c.conversations_of_category("topic", "x", DAY, DAY), str(DAY)),
    "categories": (lambda c: c.categories("c1"), "topic"),
    "translations": (lambda c: c.translations("c1"), NOON),
    "translations-turn": (lambda c: c.translations_of_turn("m1"), "answer"),
    "report": (lambda c: c.report("daily", DAY), str(DAY)),
    "reports-app": (lambda c: c.reports("monthly", DAY, DAY, app_id="a1"), str(DAY)),
    "user-figures": (lambda c: c.user("u1", app_id="a1"), "u1"),
    "users": (lambda c: c.users(), NOON),
    "users-app": (lambda c: c.users(app_id="a1"), NOON),
    "users-by-id": (lambda c: c.users(order="user_id"), "u1"),
    "users-by-id-app": (lambda c: c.users(app_id="a1", order="user_id"), "u1"),
    "topics": (lambda c: c.topics(DAY), 5),
}  # fmt: skip


@pytest.fixture(scope="module")
def indexed(mongodb_uri: str) -> Iterator[MongoStore]:
    store = MongoStore(MongoConfig(mongodb_uri, "test_client_calls"))
    for spec in collection_specs(parse_settings({})):
        store.ensure(spec)
    yield store
    store._connected().drop_database("test_client_calls")
    store.close()


@pytest.mark.mongodb
@pytest.mark.parametrize(("call", "key"), CALLS.values(), ids=CALLS)
def test_every_call_comes_off_an_index_in_order(indexed: MongoStore, call: Any, key: Any) -> None:
    reading = Recording()
    call(Client(reading))
    [(kind, query)] = reading.asked
    name = collection_names(parse_settings({}))[kind]
    for one in (query, replace(query, after=(key, "id"))):
        for segment in segments(one):
            command = indexed._page_command(name, one, segment)
            plan = indexed._database().command("explain", command)["queryPlanner"]
            used = stages(plan["winningPlan"])
            assert "IXSCAN" in used or used == {"EOF"}, used  # EOF: a text that is null, too
            assert used.isdisjoint({"COLLSCAN", "SORT"}), used


# A user of an app is one document, whose order SQLite looks after none the less.
LISTS = {name: call for name, call in CALLS.items() if name != "user-figures"}


@pytest.mark.parametrize(("call", "key"), LISTS.values(), ids=LISTS)
def test_every_list_comes_off_an_index_of_sqlite_in_order(
    tmp_path: Path, call: Any, key: Any
) -> None:
    reading = Recording()
    call(Client(reading))
    [(kind, query)] = reading.asked
    name = collection_names(parse_settings({}))[kind]
    with closing(SqliteStore(SqliteConfig(tmp_path / "documents.sqlite"))) as store:
        for spec in collection_specs(parse_settings({})):
            store.ensure(spec)
        for one in (query, replace(query, after=(key, "id"))):
            for segment in segments(one):
                with store._reading("plan") as connection:
                    sql, values = store._segment(name, one, segment)
                    steps = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
                plan = [step[3] for step in steps]
                assert len(plan) == 1, plan  # a second line would be a sort
                assert "USING INDEX" in plan[0]


def test_every_call_is_among_them() -> None:
    public = {name for name in vars(Client) if not name.startswith("_")}
    reading = Recording()
    for call, _ in CALLS.values():
        call(Client(reading))
    assert len(reading.asked) == len(CALLS)
    assert public == {
        "close", "conversation", "turns", "conversations_of_user", "conversations_of_period",
        "conversations_of_category", "categories", "translations", "translations_of_turn",
        "report", "reports", "user", "users", "topics",
    }  # fmt: skip


def test_importing_the_client_imports_nothing_heavy() -> None:
    script = (
        "import sys, json; import conversation_analytics.client as c;"
        "c.client_of_environment(environment={}, env_file=None);"
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == []


@pytest.mark.parametrize("place", ["documents", "lake"])
def test_reading_imports_no_dagster(tmp_path: Path, place: str) -> None:
    script = (
        "import sys, datetime as dt; import conversation_analytics.client as c;"
        f"client = c.client_of_environment({place!r}, environment={{"
        f"'PARQUET_BASE_DIR': {str(tmp_path / 'lake')!r}, "
        f"'SQLITE_PATH': {str(tmp_path / 'd.sqlite')!r}"
        "}, env_file=None);"
        "assert client.conversation('c1') is None;"
        "print('dagster' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_a_client_is_opened_from_a_dotenv_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"SQLITE_PATH={tmp_path / 'documents.sqlite'}\n")
    with client_of_environment(environment={}, env_file=file) as client:
        assert client.users().items == ()
    assert (tmp_path / "documents.sqlite").exists()
    with pytest.raises(SettingsError):
        client_of_environment(environment={"BATCH_SIZE": "none"}, env_file=None)


def test_no_other_place_is_opened() -> None:
    place: Any = "../documents"
    with pytest.raises(ReadRequestError, match="place"):
        open_client(parse_settings({}), place)


@pytest.mark.parametrize("value", [None, "2026-11-20", 5, NOON], ids=str)
def test_cursors_come_back(value: Any) -> None:
    call = call_digest("users", [{"app_id": None}])
    cursor = encode_cursor(call, value, "it's \0 日本")
    assert decode_cursor(call, cursor) == (value, "it's \0 日本")
    assert cursor.isascii()
    assert "$" not in cursor


def test_collections_are_named_by_the_settings() -> None:
    renamed = {
        f"MONGODB_{kind.upper()}_COLLECTION": f"mine_{number}" for number, kind in enumerate(Kind)
    }
    names = collection_names(parse_settings(renamed))
    assert names == {kind: f"mine_{number}" for number, kind in enumerate(Kind)}
    assert collection_names(parse_settings({})) == {kind: kind.value for kind in Kind}
