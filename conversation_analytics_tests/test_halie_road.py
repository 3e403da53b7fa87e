"""Real conversations through the real NocoDB into the real MongoDB and S3, and all rows counted.

Both kinds of source: NocoDB's own tables, and a PostgreSQL with Dify's columns. The rows of one
app have no time of creation: they must come out in the undated tables.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from conversation_analytics.assets.checks import reconcile
from conversation_analytics.core import schemas
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.dify import load_dify_rows
from conversation_analytics.stack.nocodb_seed import load_native_rows
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from conversation_analytics.documents.store import DocumentStore
    from conversation_analytics.lake.store import Lake
    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import DifyBase, NativeBase
    from conversation_analytics.stack.seaweedfs import S3Server

ROOT = Path(__file__).parents[1]
HALIE = Path(os.environ.get("SHARED_DATA_DIR", ROOT.parent / "shared" / "data")) / "halie"
FIRST, LAST = "2022-05-10", "2022-06-13"
pytestmark = [
    pytest.mark.nocodb,
    pytest.mark.postgres,
    pytest.mark.mongodb,
    pytest.mark.s3,
    pytest.mark.skipif(not HALIE.is_dir(), reason=f"no real data at {HALIE}: set SHARED_DATA_DIR"),
]


@dataclass(frozen=True)
class RealRows:
    """Rows of the data set, and how many belong to each day (None: no time)."""

    conversations: list[dict[str, Any]]
    messages: list[dict[str, Any]]

    def per_day(self, table: str) -> Counter[str | None]:
        rows = self.conversations if table == "conversations" else self.messages
        return Counter(r["created_at"][:10] if r["created_at"] else None for r in rows)

    @property
    def days(self) -> list[str]:
        both = set(self.per_day("conversations")) | set(self.per_day("messages"))
        return sorted(day for day in both if day)


def read(name: str) -> list[dict[str, Any]]:
    with gzip.open(HALIE / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def halie(conversations_per_app: int | None) -> RealRows:
    conversations, messages = read("conversations"), read("messages")
    if conversations_per_app is not None:
        taken: Counter[str] = Counter()
        kept = set()
        for row in sorted(conversations, key=lambda r: (r["created_at"] or "", r["id"])):
            if taken[row["app_id"]] < conversations_per_app:
                taken[row["app_id"]] += 1
                kept.add(row["id"])
        conversations = [row for row in conversations if row["id"] in kept]
        messages = [row for row in messages if row["conversation_id"] in kept]
    return RealRows(conversations, messages)


def platform(
    server: NocodbServer,
    base: DifyBase | NativeBase,
    mongodb_uri: str,
    database: str,
    s3: S3Server,
    prefix: str,
) -> Settings:
    return parse_settings(
        {
            "NOCODB_BASE_URL": server.base_url,
            "NOCODB_API_TOKEN": server.api_token,
            "NOCODB_PROJECT_ID": base.base_id,
            "MONGODB_URI": mongodb_uri,
            "MONGODB_DATABASE": database,
            "S3_ENABLED": "true",
            "S3_BUCKET": s3.bucket,
            "S3_PREFIX": prefix,
            "S3_ENDPOINT_URL": s3.endpoint_url,
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            "AWS_REGION": s3.region,
            "SOURCE_FRESH_HOURS": "0",
            "ANALYTICS_START_DATE": FIRST,
        }
    )


def ingest_and_count(settings: Settings, rows: RealRows) -> None:
    with dg.instance_for_test() as instance:
        assert run_job(settings, "undated", instance=instance).success
        result = run_job(settings, "daily", rows.days[0], rows.days[-1], instance=instance)
    failed = {
        check.check_name for check in result.get_asset_check_evaluations() if not check.passed
    }
    # The data set has no token counts, which a check rightly tells.
    assert failed <= {"plausible_values"}
    with closing(open_documents(settings)) as store:
        count(open_lake(settings), store, rows)


def count(lake: Lake, store: DocumentStore, rows: RealRows) -> None:
    collections = {"conversations": "conversations", "messages": "messages"}
    source = {table: rows.per_day(table) for table in collections}
    for day in rows.days:
        counted = reconcile(lake, store, day, collections)
        assert counted.differences() == []
        assert counted.raw_messages == source["messages"][day], day
        assert counted.raw_conversations == source["conversations"][day], day
        assert counted.dead_messages == counted.dead_conversations == 0, day
    undated = lake.read(schemas.UNDATED_MESSAGES, None)
    assert undated.height == source["messages"][None]
    assert lake.row_count(schemas.RAW_UNDATED_MESSAGES, None) == source["messages"][None]
    assert lake.row_count(schemas.UNDATED_CONVERSATIONS, None) == source["conversations"][None]
    assert store.count("messages", "undated") == source["messages"][None]
    in_lake = undated.height + sum(lake.row_count(schemas.MESSAGES, d) for d in rows.days)
    assert in_lake == len(rows.messages)


def texts(rows: RealRows) -> set[tuple[str, str]]:
    return {(row["query"] or "", row["answer"] or "") for row in rows.messages}


def lake_texts(settings: Settings, rows: RealRows) -> set[tuple[str, str]]:
    lake = open_lake(settings)
    frames = [lake.read(schemas.MESSAGES, day) for day in rows.days]
    frames.append(lake.read(schemas.UNDATED_MESSAGES, None))
    return {
        (query or "", answer or "")
        for frame in frames
        for query, answer in frame.select("query", "answer").iter_rows()
    }


def through_postgres(
    rows: RealRows, nocodb: NocodbServer, dify_base: DifyBase, settings: Settings
) -> None:
    load_dify_rows(dify_base.dsn, "conversations", rows.conversations, convert_ids=True)
    load_dify_rows(dify_base.dsn, "messages", rows.messages, convert_ids=True)
    assert nocodb.base_url
    ingest_and_count(settings, rows)
    assert lake_texts(settings, rows) == texts(rows)


@pytest.mark.timeout(900)
def test_some_real_conversations_through_difys_postgresql(
    nocodb: NocodbServer,
    dify_base: DifyBase,
    mongodb_uri: str,
    mongodb_database: str,
    s3_server: S3Server,
    s3_prefix: str,
) -> None:
    settings = platform(nocodb, dify_base, mongodb_uri, mongodb_database, s3_server, s3_prefix)
    through_postgres(halie(12), nocodb, dify_base, settings)


@pytest.mark.timeout(900)
def test_some_real_conversations_through_tables_of_nocodb_itself(
    nocodb: NocodbServer,
    native_base: NativeBase,
    mongodb_uri: str,
    mongodb_database: str,
    s3_server: S3Server,
    s3_prefix: str,
) -> None:
    rows = halie(6)
    load_native_rows(nocodb, native_base, rows.conversations, rows.messages)
    settings = platform(nocodb, native_base, mongodb_uri, mongodb_database, s3_server, s3_prefix)
    ingest_and_count(settings, rows)
    assert lake_texts(settings, rows) == texts(rows)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_set_through_difys_postgresql(
    nocodb: NocodbServer,
    dify_base: DifyBase,
    mongodb_uri: str,
    mongodb_database: str,
    s3_server: S3Server,
    s3_prefix: str,
) -> None:
    settings = platform(nocodb, dify_base, mongodb_uri, mongodb_database, s3_server, s3_prefix)
    through_postgres(halie(None), nocodb, dify_base, settings)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_set_through_tables_of_nocodb_itself(
    nocodb: NocodbServer,
    native_base: NativeBase,
    mongodb_uri: str,
    mongodb_database: str,
    s3_server: S3Server,
    s3_prefix: str,
) -> None:
    rows = halie(None)
    load_native_rows(nocodb, native_base, rows.conversations, rows.messages)
    settings = platform(nocodb, native_base, mongodb_uri, mongodb_database, s3_server, s3_prefix)
    ingest_and_count(settings, rows)
    assert lake_texts(settings, rows) == texts(rows)
