"""Ratings from Dify's `message_feedbacks` behind the real NocoDB to satisfaction in the report."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from conversation_analytics.core import schemas
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.dify import FEEDBACKS, load_dify_rows
from conversation_analytics.stack.nocodb_seed import DifyBase, create_dify_base
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.postgres import PostgresServer

pytestmark = [pytest.mark.nocodb, pytest.mark.postgres]

DAY = "2026-11-10"
AT = dt.datetime(2026, 11, 10, 12, tzinfo=dt.UTC)


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


@pytest.fixture
def base(nocodb: NocodbServer, postgres: PostgresServer) -> DifyBase:
    made = create_dify_base(nocodb, postgres, title="ratings", database="ratings")
    load_dify_rows(made.dsn, "conversations", [{"id": uuid(1), "created_at": AT}])
    turn = {"conversation_id": uuid(1), "query": "q", "answer": "a", "created_at": AT}
    load_dify_rows(made.dsn, "messages", [{"id": uuid(n), **turn} for n in (11, 12, 13, 14)])
    rating = {"conversation_id": uuid(1), "created_at": AT}
    load_dify_rows(
        made.dsn,
        FEEDBACKS,
        [
            rating | {"id": uuid(n), "message_id": uuid(n - 10), "rating": what, "from_source": who}
            for n, what, who in (
                (21, "like", "user"), (22, "dislike", "user"), (23, "like", "user"),
                (24, "like", "admin"),
            )
        ],
    )  # fmt: skip
    return made


def settings_of(nocodb: NocodbServer, base: DifyBase, folder: Path, **more: str) -> Settings:
    return parse_settings(
        {
            "NOCODB_BASE_URL": nocodb.base_url,
            "NOCODB_API_TOKEN": nocodb.api_token,
            "NOCODB_PROJECT_ID": base.base_id,
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": DAY,
            "SOURCE_FRESH_HOURS": "0",
        }
        | more
    )


def ratings(settings: Settings) -> dict[str, Any]:
    """Run the day and return what its report says about ratings over all apps."""
    assert run_job(settings, "daily", DAY, DAY).success
    report = open_lake(settings).read(schemas.DAILY_REPORT, DAY)
    values = dict(report.filter(report["app_id"].is_null()).select("metric", "value").iter_rows())
    names = ("likes", "dislikes", "satisfaction", "rating_coverage", "likes_per_1000_turns")
    return {name: values[name] for name in names}


def test_ratings_become_satisfaction_and_follow_the_source(
    nocodb: NocodbServer, base: DifyBase, tmp_path: Path
) -> None:
    settings = settings_of(nocodb, base, tmp_path, NOCODB_FEEDBACKS_TABLE=FEEDBACKS)
    assert ratings(settings) == {
        "likes": 2, "dislikes": 1, "satisfaction": Decimal("0.6666667"),
        "rating_coverage": Decimal("0.75"), "likes_per_1000_turns": 500,
    }  # fmt: skip
    with psycopg.connect(base.dsn) as connection:
        # Dify changes a rating in place, and deletes one that is taken back.
        connection.execute("UPDATE message_feedbacks SET rating = 'like' WHERE id = %s", [uuid(22)])
        connection.execute("DELETE FROM message_feedbacks WHERE id = %s", [uuid(21)])
    assert ratings(settings)["satisfaction"] == 1
    assert ratings(settings)["likes"] == 2
    feedbacks = open_lake(settings).read(schemas.FEEDBACKS, DAY)
    assert dict(feedbacks.select("id", "gone").iter_rows()) == {
        uuid(n): n == 21 for n in (21, 22, 23, 24)
    }


def test_without_a_table_of_ratings_satisfaction_is_unknown(
    nocodb: NocodbServer, base: DifyBase, tmp_path: Path
) -> None:
    settings = settings_of(nocodb, base, tmp_path)
    assert set(ratings(settings).values()) == {None}
    assert open_lake(settings).keys(schemas.RAW_FEEDBACKS) == []
