"""Some days of the sample source, whole, behind every kind of client."""

from __future__ import annotations

import os
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pymongo
import pytest

from conversation_analytics.client import Client, open_client
from conversation_analytics.resources.connections import (
    collection_specs,
    open_documents,
    open_lake,
)
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.client.week import DAYS, MONDAY
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics.stack.seaweedfs import S3Server


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Materialise the days into a local lake and SQLite; give the settings of both."""
    folder = tmp_path_factory.mktemp("client")
    given = {
        "PARQUET_BASE_DIR": str(folder / "lake"),
        "SQLITE_PATH": str(folder / "documents.sqlite"),
        "ANALYTICS_START_DATE": DAYS[0],
        "ANALYTICS_TIMEZONE": "Asia/Bangkok",  # days of the lake are not those of UTC
        "SAMPLE_TURNS_PER_DAY": "80",
        "SOURCE_FRESH_HOURS": "0",
        "TOPIC_MIN_USERS": "2",
        "TOPIC_MIN_CONVERSATIONS": "2",
        "TRANSLATOR": "in_process",
        "TRANSLATOR_FACTORY": "conversation_analytics_tests.client.week:engine",
    }
    settings = parse_settings(given)
    with dg.instance_for_test() as instance:
        run_job(settings, "daily", DAYS[0], DAYS[-1], instance=instance)
        run_job(settings, "undated", instance=instance)
        for job in ("weekly", "topics"):
            run_job(settings, job, MONDAY, instance=instance)
        run_job(settings, "users", instance=instance)
    return given


@pytest.fixture(scope="session")
def mongodb_variables(mongodb_uri: str, variables: dict[str, str]) -> Iterator[dict[str, str]]:
    """Write the same documents to MongoDB; that runs fill both alike is shown elsewhere."""
    name = f"test_{uuid.uuid4().hex}"
    given = {**variables, "MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": name}
    settings = parse_settings(given)
    with (
        closing(open_documents(parse_settings(variables))) as held,
        closing(open_documents(settings)) as store,
    ):
        for spec in collection_specs(settings):
            store.ensure(spec)
            store.replace_partition(spec.name, "copied", held.find(spec.name, {}))
    yield given
    with pymongo.MongoClient[dict[str, object]](mongodb_uri) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def s3_variables(s3_server: S3Server, variables: dict[str, str]) -> dict[str, str]:
    given = {
        **variables,
        "S3_ENABLED": "true",
        "S3_BUCKET": s3_server.bucket,
        "S3_PREFIX": f"test-{uuid.uuid4().hex}",
        "S3_ENDPOINT_URL": s3_server.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
        "AWS_REGION": s3_server.region,
        "PARQUET_BASE_DIR": os.devnull,
    }
    objects = open_lake(parse_settings(given)).objects
    root = Path(variables["PARQUET_BASE_DIR"])
    for file in sorted(root.rglob("*.parquet")):
        objects.put(file.relative_to(root).as_posix(), file.read_bytes())
    return given


PLACES = {
    "sqlite": ("variables", "documents", ()),
    "mongodb": ("mongodb_variables", "documents", (pytest.mark.mongodb,)),
    "lake": ("variables", "lake", ()),
}


@pytest.fixture(
    scope="session", params=[pytest.param(n, marks=marks) for n, (_, _, marks) in PLACES.items()]
)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """The client over each place in turn."""
    fixture, place, _ = PLACES[request.param]
    given: Any = place
    with closing(open_client(parse_settings(request.getfixturevalue(fixture)), given)) as opened:
        yield opened


@pytest.fixture(scope="session")
def s3_client(s3_variables: dict[str, str]) -> Iterator[Client]:
    with closing(open_client(parse_settings(s3_variables), "lake")) as opened:
        yield opened


@pytest.fixture(scope="session")
def sqlite_client(variables: dict[str, str]) -> Iterator[Client]:
    with closing(open_client(parse_settings(variables))) as opened:
        yield opened
