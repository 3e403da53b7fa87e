"""The commands of compose.yaml, as processes: another user, nothing to write, the real servers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pymongo
import pytest
import requests
from botocore.exceptions import ClientError
from pymongo.errors import OperationFailure

from conversation_analytics.stack.processes import LOOPBACK, free_port
from conversation_analytics_tests.commands import descendants, wait_until
from conversation_analytics_tests.commands import running as still_running
from conversation_analytics_tests.deploy import compose
from conversation_analytics_tests.deploy.confined import scratch_folder
from conversation_analytics_tests.deploy.platform_processes import (
    Places,
    mongodb_server,
    run_to_its_end,
    running,
    s3_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.stack.postgres import PostgresServer

pytestmark = [pytest.mark.postgres, pytest.mark.s3, pytest.mark.mongodb]

LAUNCH = """
mutation($p: ExecutionParams!) {
  launchRun(executionParams: $p) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
RUNS = """
{ runsOrError { ... on Runs { results { runId parentRunId status tags { key value } } } } }
"""
REPOSITORY = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "conversation_analytics",
}


@pytest.fixture(scope="module")
def places(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """The servers behind the platform, as the file starts them, and prepared by the file's own."""
    folder = tmp_path_factory.mktemp("servers")
    variables = {**compose.filled_in(), "POSTGRES_PASSWORD": postgres.password}
    with (
        s3_server(folder / "s3", variables) as s3_port,
        mongodb_server(folder / "mongodb", variables) as mongodb_port,
    ):
        yield Places(postgres, s3_port, mongodb_port, free_port(), free_port(), variables)


@pytest.fixture(scope="module")
def prepared(places: Places) -> tuple[str, str]:
    """What `prepare` tells the first time, and the second."""
    with scratch_folder() as scratch:
        first = run_to_its_end("prepare", places, scratch)
        return first, run_to_its_end("prepare", places, scratch)


@pytest.fixture
def scratch() -> Iterator[Path]:
    with scratch_folder() as folder:
        yield folder


def ask(places: Places, query: str, **variables: object) -> Any:
    answer = requests.post(
        f"http://{LOOPBACK}:{places.webserver_port}/graphql",
        json={"query": query, "variables": variables}, timeout=60,
    ).json()  # fmt: skip
    assert "errors" not in answer, answer
    return answer["data"]


def launch(places: Places, job: str) -> str:
    selector = {**REPOSITORY, "jobName": job}
    launched = ask(places, LAUNCH, p={"selector": selector, "runConfigData": {}})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def status(places: Places, run: str) -> str:
    return str({one["runId"]: one for one in runs(places)}[run]["status"])


def runs(places: Places) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(places, RUNS)["runsOrError"]["results"]
    return found


def objects(places: Places, bucket: str, who: str) -> Any:
    client = s3_client(places, who)
    return {one["Key"]: one for one in client.list_objects_v2(Bucket=bucket).get("Contents", [])}


def s3_client(places: Places, who: str) -> Any:
    environment = places.service(who)["environment"]
    return boto3.client(
        "s3",
        endpoint_url=f"http://{LOOPBACK}:{places.s3_port}",
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def test_what_is_prepared_is_what_is_needed_and_may_be_prepared_again(
    places: Places, prepared: tuple[str, str]
) -> None:
    first, second = prepared
    assert first == second
    assert first.splitlines() == [
        "PostgreSQL: user dagster, database dagster",
        "MongoDB: replica set rs0, users platform, reader",
        "S3: buckets analytics, analytics-compute-logs",
        "Dagster: 0 runs on record",
    ]
    for secret in compose.secret_names():
        assert places.variables[secret] not in first


@pytest.mark.usefixtures("prepared")
def test_each_has_its_own_rights_and_no_more(places: Places) -> None:
    variables = places.variables
    with psycopg.connect(
        host=places.postgres.host, port=places.postgres.port, user="dagster", dbname="dagster",
        password=variables["DAGSTER_PG_PASSWORD"],
    ) as connection:  # fmt: skip
        [rights] = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = 'dagster'"
        )
        assert rights == (False, False, False)
    uri = (
        f"mongodb://reader:{variables['MONGODB_READER_PASSWORD']}@{LOOPBACK}:{places.mongodb_port}"
    )
    with pymongo.MongoClient[dict[str, Any]](f"{uri}/?replicaSet=rs0&authSource=admin") as client:
        database = client["conversation_analytics"]
        assert database["analytics_reports"].find_one() is None
        with pytest.raises(OperationFailure, match="not authorized"):
            database["messages"].find_one()
    bucket, logs = variables["S3_BUCKET"], variables["COMPUTE_LOGS_BUCKET"]
    assert objects(places, logs, "webserver") == {}
    for forbidden in (
        lambda: objects(places, bucket, "webserver"),
        lambda: s3_client(places, "webserver").put_object(Bucket=logs, Key="a", Body=b""),
        lambda: s3_client(places, "code").create_bucket(Bucket="another"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            forbidden()


@pytest.mark.usefixtures("prepared")
def test_the_processes_run_a_job_and_stop_when_told(places: Places, scratch: Path) -> None:
    with contextlib.ExitStack() as stack:
        code, webserver, daemon = (
            stack.enter_context(running(name, places, scratch))
            for name in ("code", "webserver", "daemon")
        )
        run = launch(places, "undated")
        wait_until(lambda: status(places, run) in {"SUCCESS", "FAILURE"}, "the run", daemon.log)
        assert status(places, run) == "SUCCESS", code.log.read_text()[-4000:]
        kept = objects(places, places.variables["COMPUTE_LOGS_BUCKET"], "webserver")
        assert any(run in key for key in kept)
        started = {pid for one in (code, webserver, daemon) for pid in descendants(one.process.pid)}
        for service in (webserver, daemon, code):
            assert service.stop() < 30
            assert service.process.returncode in {0, -15}, service.log.read_text()[-2000:]
        assert not still_running(started)
    assert {one.name for one in scratch.iterdir()} >= {"home"}
    assert objects(places, places.variables["S3_BUCKET"], "code")
