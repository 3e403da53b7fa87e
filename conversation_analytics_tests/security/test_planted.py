"""Secrets, message text and user ids are planted; a run and runs that fail tell none of them.

Everything that the platform and Dagster write is looked through: standard output and error of
every command, the log file, Dagster's databases and compute logs, reports, and the documents
that are of no single conversation.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pymongo
import pytest

from conversation_analytics.core import schemas
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import parse_settings
from conversation_analytics.stack.nocodb_seed import load_native_rows
from conversation_analytics_tests.commands import clean_environment, typed
from conversation_analytics_tests.security.test_pickle import is_pickle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.lake.store import Lake
    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import NativeBase
    from conversation_analytics.stack.seaweedfs import S3Server

pytestmark = [
    pytest.mark.nocodb, pytest.mark.mongodb, pytest.mark.s3, pytest.mark.timeout(600),
]  # fmt: skip

DAY = "2026-11-10"
MONGO_PASSWORD = "PLANTED-mongo/p@ss:word"
SECRETS = {
    "MongoDB's password": "PLANTED-mongo",
    "a wrong password of MongoDB": "PLANTED-wrong-mongo",
    "the token of NocoDB": "PLANTED-nocodb-token",
    "the secret of S3": "PLANTED-s3-secret",
    "the key of the translator": "PLANTED-translator-key",
    "the key of the namer of topics": "PLANTED-namer-key",
    "the secrets of the webhooks": "UExBTlRFRC13ZWJob29rLXNlY3JldC1vZi0zMi1i",
    "the addresses of the webhooks": "PLANTED-webhook-path",
    "the key of the pseudonyms": "PLANTED-pseudonym-key",
}
WORDS = {
    name: f"PLANTED {name} zebrafish umbrella"
    for name in ("query", "answer", "conversation name", "summary", "error text", "inputs",
                 "metadata", "bad row", "column nobody knows")
}  # fmt: skip
USERS = tuple(f"PLANTED-user-{number}" for number in range(3))
WEBHOOK_SECRET = "whsec_UExBTlRFRC13ZWJob29rLXNlY3JldC1vZi0zMi1ieXRlcyE="


def spellings(text: str) -> set[bytes]:
    """Return how a text may be written: plain, quoted for an address, and in JSON."""
    return {text.encode(), quote(text, safe="").encode(), json.dumps(text)[1:-1].encode()}


def require_none_of(told: dict[str, str], places: dict[str, bytes]) -> None:
    """Fail with what was found where; the places have to hold something."""
    assert places
    found = [
        f"{what} in {place}"
        for what, text in told.items()
        for place, data in places.items()
        if any(one in data for one in spellings(text))
    ]
    assert found == [], "\n".join(found)


PLANTED_TEXT = {**WORDS, **{f"user {number}": user for number, user in enumerate(USERS)}}


def message(number: int) -> dict[str, object]:
    failed = number % 3 == 0
    at = f"{DAY} 10:{number:02}:00+00:00"
    return {
        "id": f"00000000-0000-4000-8000-{number:012}", "app_id": "app",
        "conversation_id": f"c-{number % 4}", "model_provider": "p", "model_id": "m",
        "inputs": json.dumps({"note": WORDS["inputs"]}), "query": f"{WORDS['query']} {number}",
        "answer": f"{WORDS['answer']} {number}", "message_tokens": 5, "answer_tokens": 7,
        "message_unit_price": "0.001", "message_price_unit": "0.001",
        "answer_unit_price": "0.001", "answer_price_unit": "0.001", "total_price": "0.000012",
        "currency": "USD", "status": "error" if failed else "normal",
        "error": WORDS["error text"] if failed else None, "provider_response_latency": 1.5,
        "message_metadata": json.dumps({"retriever": WORDS["metadata"]}),
        "from_source": "api", "invoke_from": "web-app", "from_end_user_id": USERS[number % 3],
        "created_at": at, "updated_at": at,
    }  # fmt: skip


def conversation(number: int) -> dict[str, object]:
    at = f"{DAY} 10:00:00+00:00"
    return {
        "id": f"c-{number}", "app_id": "app", "name": WORDS["conversation name"], "mode": "chat",
        "summary": WORDS["summary"], "status": "normal", "from_source": "api",
        "from_end_user_id": USERS[number % 3], "invoke_from": "web-app",
        "inputs": json.dumps({"note": WORDS["inputs"]}), "created_at": at, "updated_at": at,
    }  # fmt: skip


@contextlib.contextmanager
def echoing(status: int) -> Iterator[str]:
    """Run a server that refuses everything and quotes the whole request, credentials and all."""

    class Handler(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = f"refused: {WORDS['query']} {USERS[0]} {dict(self.headers)} {sent!r}"
            body = json.dumps({"msg": told, "error": told, "message": told}).encode()
            self.send_response(status, told[:200].replace("\n", " "))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = refuse  # noqa: N815 - names of the library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


@dataclass
class Platform:
    """A platform of real servers with planted rows, and all that its commands have printed."""

    folder: Path
    environment: dict[str, str]
    printed: dict[str, bytes]

    def run(self, name: str, *words: str, **changes: str) -> int:
        done = typed(self.folder, *words, **{**self.environment, **changes})
        self.printed[f"output of {name}"] = (done.stdout + done.stderr).encode()
        return done.returncode

    def materialize(self, name: str, **changes: str) -> int:
        """Run the day's job as Dagster's own command does, which prints its whole event log."""
        done = subprocess.run(
            [sys.executable, "-m", "dagster", "job", "execute", "-m",
             "conversation_analytics.definitions", "-j", "daily",
             "--tags", json.dumps({"dagster/partition": DAY})],
            cwd=self.folder, env=clean_environment(**{**self.environment, **changes}),
            capture_output=True, check=False, timeout=240,
        )  # fmt: skip
        self.printed[f"output of {name}"] = done.stdout + done.stderr
        return done.returncode

    def written(self) -> dict[str, bytes]:
        """Return what commands printed, the log, and every file of Dagster's."""
        files = [self.folder / "platform.jsonl", *(self.folder / "home").rglob("*")]
        held = {str(path.relative_to(self.folder)): path.read_bytes()
                for path in files if path.is_file()}  # fmt: skip
        assert any(name.endswith(".db") for name in held)
        return self.printed | held

    def lake(self) -> Lake:
        return open_lake(parse_settings(self.environment))


@pytest.fixture
def mongodb_with_password(mongodb_uri: str, mongodb_database: str) -> Iterator[str]:
    """Connection string of a user of MongoDB whose password is planted."""
    with pymongo.MongoClient[dict[str, object]](mongodb_uri) as client:
        database = client[mongodb_database]
        roles = ["readWrite", "dbAdmin"]
        database.command("createUser", "planted", pwd=MONGO_PASSWORD, roles=roles)
        parts = urlsplit(mongodb_uri)
        yield (
            f"mongodb://planted:{quote(MONGO_PASSWORD, safe='')}@{parts.netloc}/{mongodb_database}"
            f"?{parts.query}"
        ).rstrip("?")
        database.command("dropUser", "planted")


@pytest.fixture
def platform(
    nocodb: NocodbServer,
    native_base: NativeBase,
    mongodb_with_password: str,
    mongodb_database: str,
    s3_server: S3Server,
    s3_prefix: str,
    tmp_path: Path,
) -> Platform:
    rows = [message(number) for number in range(12)]
    rows.append(message(12) | {"conversation_id": None, "query": WORDS["bad row"]})
    load_native_rows(nocodb, native_base, [conversation(number) for number in range(4)], rows)
    environment = {
        "DAGSTER_HOME": str(tmp_path / "home"),
        "LOG_LEVEL": "DEBUG", "LOG_FILE": str(tmp_path / "platform.jsonl"),
        "ANALYTICS_START_DATE": DAY, "SOURCE_FRESH_HOURS": "0",
        "MAX_RETRIES": "1", "RETRY_DELAY": "0.01", "DEAD_LETTER_ROWS": "100",
        "NOCODB_BASE_URL": nocodb.base_url, "NOCODB_API_TOKEN": nocodb.api_token,
        "NOCODB_PROJECT_ID": native_base.base_id,
        "PSEUDONYM_KEY": "PLANTED-pseudonym-key-of-enough-characters",
        "MONGODB_URI": mongodb_with_password, "MONGODB_DATABASE": mongodb_database,
        "S3_ENABLED": "true", "S3_BUCKET": s3_server.bucket, "S3_PREFIX": s3_prefix,
        "S3_ENDPOINT_URL": s3_server.endpoint_url, "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key, "AWS_REGION": s3_server.region,
        "ALERT_WEBHOOK_URL": "https://hooks.invalid/PLANTED-webhook-path",
        "ALERT_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "REPORT_WEBHOOK_URL": "https://hooks.invalid/PLANTED-webhook-path",
        "REPORT_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "TOPIC_NAMER_URL": "http://127.0.0.1:9/v1", "TOPIC_NAMER_MODEL": "m",
        "TOPIC_NAMER_API_KEY": "PLANTED-namer-key",
    }  # fmt: skip
    (tmp_path / "home").mkdir()
    return Platform(tmp_path, environment, {})


def test_a_full_run_and_runs_that_fail_tell_no_secret_and_nothing_of_anybody(
    platform: Platform, nocodb: NocodbServer, s3_server: S3Server, mongodb_database: str,
    mongodb_uri: str,
) -> None:  # fmt: skip
    wrong_uri = platform.environment["MONGODB_URI"].replace("PLANTED-mongo", "PLANTED-wrong-mongo")
    with echoing(401) as refusing, echoing(400) as engine:
        assert platform.run("a run", "backfill", DAY, DAY) == 0
        assert platform.run("check", "check") == 0
        planted = {"NOCODB_API_TOKEN": "PLANTED-nocodb-token", "NOCODB_BASE_URL": refusing}
        assert platform.run("a refused token", "backfill", DAY, DAY, **planted) == 1
        translator = {
            "TRANSLATOR": "libretranslate", "TRANSLATOR_URL": engine,
            "TRANSLATOR_API_KEY": "PLANTED-translator-key",
        }  # fmt: skip
        assert platform.materialize(
            "a wrong password of MongoDB, a translator that refuses", MONGODB_URI=wrong_uri,
            **translator,
        ) == 1  # fmt: skip
        wrong_s3 = {"AWS_SECRET_ACCESS_KEY": "PLANTED-s3-secret"}
        assert platform.run("a wrong secret of S3", "status", **wrong_s3) == 1
        everything = {"MONGODB_URI": wrong_uri, **planted, **translator, **wrong_s3}
        assert platform.run("check of all that fails", "check", **everything) == 1
        assert platform.run("a setting that is wrong", "status", MONGODB_URI=wrong_uri + "@") == 2
    told = platform.printed
    assert b"Error: NocoDB refused the token" in told["output of a refused token"]
    failed = told["output of a wrong password of MongoDB, a translator that refuses"]
    for asset in (b"report_documents", b"translations"):
        assert b"STEP_FAILURE" in failed
        assert asset in failed
    assert b"RUN_FAILURE" in failed

    secrets = SECRETS | {
        "the token of NocoDB that was taken": nocodb.api_token,
        "the secret of S3 that was taken": s3_server.secret_key,
    }
    written = platform.written()
    assert len(written) > 10
    require_none_of(secrets | PLANTED_TEXT, written)

    # Nothing of it goes through a pickle either.
    lake = platform.lake()
    objects = {info.path: lake.objects.get(info.path) or b"" for info in lake.objects.list("")}
    assert any(path.endswith(".parquet") for path in objects)
    assert [name for name, data in (written | objects).items() if is_pickle(data)] == []
    kinds = {path.suffix for path in (platform.folder / "home").rglob("*") if path.is_file()}
    assert kinds <= {".db", ".db-wal", ".db-shm", ".yaml", ".out", ".err", ".complete", ".lock", ""}

    # Reports, and the notes beside them.
    reports = {path: lake.get_report(path) for path in lake.reports()}
    assert any(path.endswith(".html") for path in reports)
    require_none_of(secrets | PLANTED_TEXT, reports)

    # Text is in the rows of its conversation alone, and no plain user id is anywhere.
    assert lake.row_count(schemas.MESSAGES, DAY) == 12
    assert lake.row_count(schemas.MESSAGE_DEAD_LETTERS, DAY) == 1
    with pymongo.MongoClient[dict[str, object]](mongodb_uri) as client:
        database = client[mongodb_database]
        names = database.list_collection_names()
        documents = {name: "\n".join(map(str, database[name].find())).encode() for name in names}
    assert {"conversations", "messages", "categories", "analytics_reports"} <= documents.keys()
    users = {name: text for name, text in PLANTED_TEXT.items() if text in USERS}
    require_none_of(secrets | users, documents)
    of_nobody = {
        name: data for name, data in documents.items()
        if name not in {"conversations", "messages", "translations", "dead_letters"}
    }  # fmt: skip
    require_none_of(PLANTED_TEXT, of_nobody)
    require_none_of({"the words of a bad row": WORDS["bad row"]},
                    {"dead_letters": documents["dead_letters"]})  # fmt: skip
    assert WORDS["query"].encode() in documents["messages"]  # what is looked for can be found


def test_what_is_planted_would_be_found() -> None:
    now = dt.datetime.now(dt.UTC)
    for text in ("PLANTED-mongo/p@ss", 'PLANTED "quoted"'):
        for spelled in spellings(text):
            with pytest.raises(AssertionError, match="it in the place"):
                require_none_of({"it": text}, {"the place": str(now).encode() + spelled})
