"""Pages of users while users have new turns, over MongoDB, SQLite and the lake."""

from __future__ import annotations

import datetime as dt
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import polars as pl
import pymongo
import pytest

from conversation_analytics.client import open_client
from conversation_analytics.core.documents import UserDocuments
from conversation_analytics.core.user_analytics import USER_ANALYTICS
from conversation_analytics.documents.encoding import storable_document
from conversation_analytics.resources.connections import (
    collection_specs,
    open_documents,
    open_lake,
)
from conversation_analytics.settings import Settings, parse_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conversation_analytics.client import Client

NOON = dt.datetime(2026, 11, 9, 12, tzinfo=dt.UTC)
USERS = [f"u{number}" for number in range(9)]
LATEST_FIRST = {user: 10 - number for number, user in enumerate(USERS)}
"""Minute of the last turn."""


def table(minutes: dict[str, int], app: str | None) -> pl.DataFrame:
    rows = [
        {
            "app_id": app, "user_id": user, "first_at": NOON,
            "last_at": NOON + dt.timedelta(minutes=minute), "first_day": NOON.date(),
            "last_day": NOON.date(), "cohort": NOON.date(), "status": "new", "turns": 1,
        }
        for user, minute in minutes.items()
    ]  # fmt: skip
    names = USER_ANALYTICS.polars.names()
    frame = pl.DataFrame(rows, schema={n: USER_ANALYTICS.polars[n] for n in names if n in rows[0]})
    lacking = [pl.lit(None, USER_ANALYTICS.polars[n]).alias(n) for n in names if n not in rows[0]]
    return USER_ANALYTICS.conform(frame.with_columns(lacking).select(names))


def lake_and_sqlite(tmp_path: Path) -> dict[str, str]:
    return {
        "PARQUET_BASE_DIR": str(tmp_path / "lake"),
        "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
    }


@pytest.fixture(params=["lake", "sqlite", pytest.param("mongodb", marks=pytest.mark.mongodb)])
def place(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Client, Callable[[dict[str, int]], None]]]:
    """A client, and what a nightly fold writes where it reads."""
    given = lake_and_sqlite(tmp_path)
    uri, database = "", f"test_{uuid.uuid4().hex}"
    if request.param == "mongodb":
        uri = request.getfixturevalue("mongodb_uri")
        given |= {"MONGODB_URI": uri, "MONGODB_DATABASE": database}
    settings = parse_settings(given)

    def fold(minutes: dict[str, int]) -> None:
        users = pl.concat([table(minutes, None), table(minutes, "a1")])
        if request.param == "lake":
            open_lake(settings).write(USER_ANALYTICS, None, users)
        else:
            write_documents(settings, users)

    with closing(
        open_client(settings, "lake" if request.param == "lake" else "documents")
    ) as client:
        yield client, fold
    if uri:
        with pymongo.MongoClient[dict[str, object]](uri) as server:
            server.drop_database(database)


def write_documents(settings: Settings, users: pl.DataFrame) -> None:
    [spec] = [one for one in collection_specs(settings) if one.name == "user_analytics"]
    with closing(open_documents(settings)) as store:
        store.ensure(spec)
        documents = [storable_document(one) for one in UserDocuments(users)]
        store.replace_partition(spec.name, "users", documents)


@pytest.mark.parametrize("app", [None, "a1"], ids=["all-apps", "app"])
def test_by_id_each_user_comes_once_though_users_have_new_turns(
    place: tuple[Client, Callable[[dict[str, int]], None]], app: str | None
) -> None:
    client, fold = place
    fold(LATEST_FIRST)
    seen: list[str] = []
    cursor: str | None = None
    for minute in range(50, 60):
        page = client.users(app_id=app, order="user_id", limit=2, cursor=cursor)
        seen += [one.user_id for one in page.items]
        if page.next is None:
            break
        cursor = page.next
        moved = dict.fromkeys((USERS[0], USERS[-1], USERS[minute % len(USERS)]), minute)
        fold(LATEST_FIRST | moved)
    assert seen == USERS


def test_by_last_turn_who_has_a_new_one_moves_to_the_front(
    place: tuple[Client, Callable[[dict[str, int]], None]],
) -> None:
    client, fold = place
    fold(LATEST_FIRST)
    first = client.users(limit=3)
    assert [one.user_id for one in first.items] == USERS[:3]
    fold(LATEST_FIRST | {"u7": 59})
    rest = client.users(limit=9, cursor=first.next)
    assert [one.user_id for one in rest.items] == ["u3", "u4", "u5", "u6", "u8"]
    assert client.users(limit=1).items[0].user_id == "u7"
