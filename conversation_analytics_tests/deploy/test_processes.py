"""The commands of compose.yaml, as processes: another user, nothing to write, the real servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
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
from conversation_analytics_tests.deploy.confined import confined, scratch_folder
from conversation_analytics_tests.deploy.platform_processes import (
    Places,
    dagster_home,
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


def failures(places: Places) -> str:
    """Return what the runs tell of their failures."""
    query = """
    { runsOrError { ... on Runs { results { runId eventConnection { events {
      __typename ... on MessageEvent { message }
      ... on ExecutionStepFailureEvent { error { message } }
      ... on RunFailureEvent { error { message } }
    } } } } } }
    """
    return json.dumps(
        [
            event
            for run in ask(places, query)["runsOrError"]["results"]
            for event in run["eventConnection"]["events"]
            if "Failure" in event["__typename"]
        ],
        indent=1,
    )


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
    objects(places, logs, "webserver")  # raises where it may not; another test may have left some
    reader, writer = s3_client(places, "webserver"), s3_client(places, "code")
    for forbidden, what in (
        (reader.list_objects_v2, {"Bucket": bucket}),
        (reader.put_object, {"Bucket": logs, "Key": "a", "Body": b""}),
        (writer.create_bucket, {"Bucket": "another"}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            forbidden(**what)


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
        # Python's own watcher of a process ends when it sees that process gone.
        wait_until(lambda: not still_running(started), "the end of all they started", code.log, 20)
    assert {one.name for one in scratch.iterdir()} >= {"home"}
    assert objects(places, places.variables["S3_BUCKET"], "code")


@pytest.mark.usefixtures("prepared")
def test_commands_work_beside_the_code_server(places: Places, scratch: Path) -> None:
    home = dagster_home(scratch)
    ours = ["python", "-m", "conversation_analytics.cli"]
    for words, told in (
        ([*ours, "home"], ""),
        ([*ours, "check"], "ok    documents: "),
        ([*ours, "status"], "messages"),
        (["dagster", "instance", "migrate"], ""),
    ):
        typed = subprocess.run(
            confined(places.words(words, home), scratch), env=places.environment("code", scratch),
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert typed.returncode == 0, typed.stdout + typed.stderr
        assert told in typed.stdout


@contextlib.contextmanager
def silent_source() -> Iterator[socket.socket]:
    """A NocoDB that takes connections and never says anything."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(120)
        yield listener


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_run_in_progress_ends_with_the_code_server_and_is_started_again(
    places: Places, scratch: Path, how: signal.Signals
) -> None:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(silent_source())
        never = running(
            "code", places, scratch,
            NOCODB_BASE_URL=f"http://{LOOPBACK}:{source.getsockname()[1]}",
            NOCODB_API_TOKEN="x", NOCODB_PROJECT_ID="p", NOCODB_TIMEOUT="600",
            NOCODB_CONVERSATION_TABLE="c", NOCODB_MESSAGES_TABLE="m", NOCODB_FEEDBACKS_TABLE="f",
        )  # fmt: skip
        code = stack.enter_context(never)
        stack.enter_context(running("webserver", places, scratch))
        daemon = stack.enter_context(running("daemon", places, scratch))
        run = launch(places, "undated")
        stack.enter_context(source.accept()[0])  # the step waits for an answer now
        wait_until(lambda: status(places, run) == "STARTED", "the start", daemon.log)
        started = descendants(code.process.pid)
        assert started, "the run is a child"
        if how is signal.SIGTERM:  # in the order of Compose and systemd: who depends comes first
            assert daemon.stop() < 60
            assert code.stop() < 60
            assert status(places, run) == "FAILURE", code.log.read_text()[-3000:]
        else:  # no power
            for service in (code, daemon):
                os.killpg(service.process.pid, signal.SIGKILL)
                service.process.wait()
            assert status(places, run) == "STARTED", "nobody has heard of it"
        wait_until(lambda: not still_running(started), "the end of the run's process", code.log, 30)
        stack.enter_context(running("code", places, scratch))
        assert status(places, run) == "FAILURE"
        stack.enter_context(running("daemon", places, scratch))

        def again() -> str | None:
            return next((one["status"] for one in runs(places) if one["parentRunId"] == run), None)

        wait_until(lambda: again() in {"SUCCESS", "FAILURE"}, "the second try", daemon.log, 240)
        assert again() == "SUCCESS", failures(places)
