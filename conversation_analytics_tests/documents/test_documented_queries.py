"""Every query of docs/documents.md has an index behind it, on a real MongoDB."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.resources.connections import collection_specs
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.commands import ROOT
from conversation_analytics_tests.documents.test_mongodb import stages

if TYPE_CHECKING:
    from conversation_analytics.documents.store import MongoConfig

TEXT = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^\| ([^|]+) \| (\w+) \| `({.*?})` \| `({.*?})` \|$", TEXT, re.MULTILINE)
SPECS = {spec.name: spec for spec in collection_specs(parse_settings({}))}
DAY = re.compile(r"\d{4}-\d\d-\d\d")


def with_times(text: str) -> dict[str, Any]:
    """Read a filter; bounds are times, and days stay text."""

    def bound(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {
            name: dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC)
            if name.startswith("$") and DAY.fullmatch(value)
            else value
            for name, value in pairs
        }

    found: dict[str, Any] = json.loads(text, object_pairs_hook=bound)
    return found


@pytest.mark.mongodb
@pytest.mark.parametrize(
    ("collection", "where", "order"), [row[1:] for row in QUERIES], ids=[row[0] for row in QUERIES]
)
def test_a_documented_query_comes_off_an_index_in_order(
    mongo_config: MongoConfig, collection: str, where: str, order: str
) -> None:
    store = MongoStore(mongo_config)
    try:
        store.ensure(SPECS[collection])
    finally:
        store.close()
    with pymongo.MongoClient[dict[str, Any]](mongo_config.uri) as client:
        found = client[mongo_config.database][collection].find(with_times(where))
        plan = found.sort(list(json.loads(order).items())).explain()["queryPlanner"]
    used = stages(plan["winningPlan"])
    assert "IXSCAN" in used
    assert used.isdisjoint({"COLLSCAN", "SORT"})


def test_every_collection_is_documented_with_a_query() -> None:
    assert {row[1] for row in QUERIES} == SPECS.keys()
    assert all(f"| `{name}` |" in TEXT for name in SPECS)
