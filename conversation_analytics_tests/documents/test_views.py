"""The views of the reports and of the users, on both stores, with the queries that docs show."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from conversation_analytics.core.documents import report_document
from conversation_analytics.core.errors import DocumentError
from conversation_analytics.documents import collections
from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.documents.sqlite import SqliteStore
from conversation_analytics.documents.store import MongoConfig, SqliteConfig, open_store
from conversation_analytics.resources.connections import collection_specs
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.commands import ROOT
from conversation_analytics_tests.documents.test_mongodb import stages
from conversation_analytics_tests.documents.test_rules import users

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conversation_analytics.core.documents import Document
    from conversation_analytics.documents.store import DocumentStore

TEXT = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^\| ([^|]+) \| (\w+) \| `({[^`]*})` \|$", TEXT, re.MULTILINE)
SPECS = {spec.name: spec for spec in collection_specs(parse_settings({}))}
VIEWS = {view.name: spec for spec in SPECS.values() for view in spec.views}
WEEKS = ("2026-11-16", "2026-11-23")


def row(metric: str, value: str, dimension: str = "", label: str = "") -> dict[str, Any]:
    return {
        "metric": metric, "unit": "turns", "currency": None, "value": Decimal(value),
        "previous": None, "dimension": dimension, "label": label,
    }  # fmt: skip


def report(period: str, day: str, app: str | None) -> Document:
    rows = [row("turns", "10"), row("conversations_1_2", "4"), row("conversations_21_up", "1")]
    if period != "daily":
        rows += [
            row("turns", "6", "model", "p/gpt-4.1"),
            row("turns", "10", "provider", "p"),
            row("turns", "7", "language", "de"),
            row("turns", "3", "category:topic", "billing"),
            row("turns", "2", "plan", "gold"),
        ]
    return report_document(period, day, app, rows)


def fill(store: DocumentStore) -> None:
    for spec in (SPECS["analytics_reports"], SPECS["user_analytics"]):
        store.ensure(spec)
    for period, days in (("daily", ["2026-11-21"]), ("weekly", WEEKS), ("monthly", ["2026-11-01"])):
        for day in days:
            documents = [report(period, day, app) for app in (None, "a1")]
            store.replace_partition("analytics_reports", f"{period}/{day}", documents)
    store.replace_partition("user_analytics", "users", users())


@pytest.fixture
def filled(store: DocumentStore) -> DocumentStore:
    fill(store)
    return store


def plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    return float(str(value)) if type(value).__name__ == "Decimal128" else value


def read(
    config: MongoConfig | SqliteConfig, store: Any, view: str, where: Mapping[str, Any]
) -> Any:
    """Return the rows of a view, as any client gets them, and the steps of the plan."""
    if isinstance(config, MongoConfig):
        with pymongo.MongoClient[dict[str, Any]](config.uri) as client:
            database = client[config.database]
            found = [*database[view].find(where)]
            plan = database.command("explain", {"find": view, "filter": dict(where)})
        rows = [{name: plain(value) for name, value in one.items()} for one in found]
        return rows, stages(plan)
    connection = store._connected()
    conditions = [f'"{n}" IS NULL' if v is None else f'"{n}" = ?' for n, v in where.items()]
    sql = f'SELECT * FROM "{view}" WHERE {" AND ".join(conditions) or "1"}'
    values = [value for value in where.values() if value is not None]
    cursor = connection.execute(sql, values)
    names = [one[0] for one in cursor.description]
    rows = [dict(zip(names, one, strict=True)) for one in cursor]
    steps = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    return rows, {str(step[3]) for step in steps}


@pytest.mark.parametrize(
    ("view", "where"), [query[1:] for query in QUERIES], ids=[query[0] for query in QUERIES]
)
def test_a_documented_query_of_a_view_comes_off_an_index(
    config: MongoConfig | SqliteConfig, filled: DocumentStore, view: str, where: str
) -> None:
    rows, steps = read(config, filled, view, json.loads(where))
    assert rows
    if isinstance(config, MongoConfig):
        assert "IXSCAN" in steps
        assert "COLLSCAN" not in steps
    else:
        scans = {step for step in steps if step.startswith("SCAN")}
        assert all("element" in step for step in scans), steps
        assert any(step.startswith("SEARCH") for step in steps)


def test_every_view_is_documented_with_a_query() -> None:
    assert {query[1] for query in QUERIES} == VIEWS.keys()


def test_what_the_views_show(config: MongoConfig | SqliteConfig, filled: DocumentStore) -> None:
    def rows(view: str, *names: str, **where: Any) -> Any:
        found, _ = read(config, filled, f"analytics_reports_{view}", where)
        return sorted(tuple(one.get(name) for name in names) for one in found)

    whole = [("conversations_1_2", 4.0), ("conversations_21_up", 1.0), ("turns", 10.0)]
    assert rows("daily_metrics", "metric", "value", app_id=None) == whole
    assert rows("weekly_metrics", "metric", "value", app_id="a1", day=WEEKS[1]) == whole
    assert rows("monthly_metrics", "metric", "value", app_id=None) == whole
    of_week = {"period": "weekly", "day": WEEKS[0], "app_id": "a1"}
    assert rows("length_distribution", "metric", "value", **of_week) == whole[:2]
    cut = ("dimension", "label", "metric", "value")
    assert rows("model_usage", *cut, **of_week) == [
        ("model", "p/gpt-4.1", "turns", 6.0), ("provider", "p", "turns", 10.0),
    ]  # fmt: skip
    assert rows("language_distribution", *cut, **of_week) == [("language", "de", "turns", 7.0)]
    assert rows("category_distribution", *cut, **of_week) == [
        ("category:topic", "billing", "turns", 3.0)
    ]
    assert rows("input_distribution", *cut, **of_week) == [("plan", "gold", "turns", 2.0)]
    (user,), _ = read(config, filled, "user_analytics_activity", {"user_id": "0-u"})
    assert user["turns"] == 7
    assert user["last_at"] == "2026-11-23T12:00:00.000Z"


def test_views_follow_the_name_of_their_collection_and_the_version(
    config: MongoConfig | SqliteConfig,
) -> None:
    spec = collections.analytics_reports("reports-2")
    first = spec.views[0]
    older = replace(spec, views=(replace(first, fields=first.fields[:2]),))
    for wanted in (older, spec):
        for _ in range(2):
            store = open_store(config)
            store.ensure(wanted)
            store.close()
    store = open_store(config)
    store.replace_partition("reports-2", "daily/2026-11-21", [report("daily", "2026-11-21", "a")])
    rows, _ = read(config, store, "reports-2_daily_metrics", {})
    assert len(rows) == 3
    assert rows[0].keys() == {one.name for one in first.fields}
    store.close()


@pytest.mark.mongodb
def test_a_collection_in_the_place_of_a_view_is_told(mongo_config: MongoConfig) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongo_config.uri) as client:
        client[mongo_config.database].create_collection("user_analytics_activity")
    store = MongoStore(mongo_config)
    with pytest.raises(DocumentError, match="expected the view of user_analytics, got a collec"):
        store.ensure(SPECS["user_analytics"])
    store.close()


# Documents that grow old ----------------------------------------------------------------------

NOW = dt.datetime.now(dt.UTC)


def dated(*ages: int) -> list[Document]:
    return [{"_id": f"{age:03}", "created_at": NOW - dt.timedelta(days=age)} for age in ages]


def of_messages(days: int | None) -> collections.CollectionSpec:
    return replace(collections.messages(), rules="", keep_days=days)


@pytest.mark.parametrize(
    ("days", "left"), [(None, 3), (0, 3), (30, 2), (7, 1)], ids=["as it is", "never", "30", "7"]
)
def test_old_documents_leave_sqlite_when_a_run_begins(
    tmp_path: Path, days: int | None, left: int
) -> None:
    store = SqliteStore(SqliteConfig(tmp_path / "documents.sqlite"))
    without_time: list[Document] = [{"_id": "missing"}, {"_id": "null", "created_at": None}]
    store.replace_partition("messages", "d1", [*dated(1, 20, 40), *without_time])
    store.ensure(of_messages(days))
    found = [one["_id"] for one in store.find("messages", {})]
    assert found == [*["001", "020", "040"][:left], "missing", "null"]
    store.close()


@pytest.mark.mongodb
def test_mongodb_has_an_index_that_follows_the_setting(mongo_config: MongoConfig) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongo_config.uri) as client:
        target = client[mongo_config.database]["messages"]
        for days, seconds in (
            (None, None), (30, 2_592_000), (None, 2_592_000), (7, 604_800), (7, 604_800), (0, None),
        ):  # fmt: skip
            store = MongoStore(mongo_config)
            store.ensure(of_messages(days))
            store.close()
            index = target.index_information().get("ttl_created_at", {})
            assert index.get("expireAfterSeconds") == seconds
            assert seconds is None or index["key"] == [("created_at", 1)]


@pytest.mark.mongodb
def test_the_server_deletes_what_is_old(mongo_config: MongoConfig) -> None:
    store = MongoStore(mongo_config)
    store.ensure(of_messages(30))
    store.replace_partition("messages", "d1", dated(1, 20, 40))
    deadline = time.monotonic() + 30
    while store.count("messages", "d1") == 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [one["_id"] for one in store.find("messages", {})] == ["001", "020"]
    store.close()


@pytest.mark.mongodb
def test_an_index_of_somebody_else_on_the_same_field_is_named(
    mongo_config: MongoConfig,
) -> None:
    store = MongoStore(mongo_config)
    with pymongo.MongoClient[dict[str, Any]](mongo_config.uri) as client:
        target = client[mongo_config.database]["messages"]
        for keys, setting in (
            ([("created_at", 1)], ", MONGODB_TTL_DAYS"),
            ([("user_id", 1), ("created_at", 1), ("_id", 1)], ""),
        ):
            target.create_index(keys, name="mine")
            told = rf"messages{setting}: .* beside 'mine' .*dropIndex\('mine'\)"
            with pytest.raises(DocumentError, match=told) as refusal:
                store.ensure(of_messages(30))
            assert ("or set MONGODB_TTL_DAYS=0" in str(refusal.value)) == bool(setting)
            target.drop_indexes()
        store.ensure(of_messages(30))
        assert "ttl_created_at" in target.index_information()
    store.close()


def test_what_grows_old_is_of_conversations_and_the_setting_says_when() -> None:
    specs = collection_specs(parse_settings({"MONGODB_TTL_DAYS": "90"}))
    kept = {spec.name for spec in specs if not spec.dated_by}
    assert kept == {"analytics_reports", "topics"}
    assert {spec.keep_days for spec in specs} == {90}
