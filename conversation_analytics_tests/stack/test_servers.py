from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import psycopg
import pymongo
import pytest
import requests
from obstore.exceptions import BaseError as ObstoreError
from obstore.store import S3Store

from conversation_analytics.stack import nocodb_install
from conversation_analytics.stack.errors import StackStartError, StackUnavailableError
from conversation_analytics.stack.local import running_stack, write_environment
from conversation_analytics.stack.mongod import running_mongod
from conversation_analytics.stack.nocodb import running_nocodb
from conversation_analytics.stack.postgres import running_postgres
from conversation_analytics.stack.processes import port_is_free
from conversation_analytics.stack.seaweedfs import running_seaweedfs

if TYPE_CHECKING:
    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.seaweedfs import S3Server

DAYS = [dt.date(2026, 11, 9), dt.date(2026, 11, 10)]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def s3_store(server: S3Server, secret_key: str) -> S3Store:
    return S3Store(
        server.bucket,
        endpoint=server.endpoint_url,
        access_key_id=server.access_key,
        secret_access_key=secret_key,
        region=server.region,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


@pytest.mark.mongodb
def test_mongod_keeps_its_data_over_a_restart_on_another_port(tmp_path: Path) -> None:
    with (
        running_mongod(tmp_path) as first,
        pymongo.MongoClient[dict[str, Any]](first.uri) as client,
        client.start_session() as session,
        session.start_transaction(),
    ):
        client["kept"]["things"].insert_one({"_id": 1}, session=session)
    assert is_gone(first.pid)
    with (
        running_mongod(tmp_path) as second,
        pymongo.MongoClient[dict[str, Any]](second.uri) as client,
    ):
        assert second.port != first.port
        assert client["kept"]["things"].find_one() == {"_id": 1}
    assert is_gone(second.pid)
    assert port_is_free(second.port)


@pytest.mark.s3
def test_s3_keeps_objects_and_refuses_a_wrong_key(tmp_path: Path) -> None:
    with running_seaweedfs(tmp_path, access_key="key", secret_key="right") as first:
        obstore.put(s3_store(first, "right"), "a/b", b"kept")
        with pytest.raises(ObstoreError):
            obstore.get(s3_store(first, "wrong"), "a/b")
        with pytest.raises(ObstoreError):
            obstore.put(s3_store(first, "right"), "a/b", b"other", mode="create")
    assert is_gone(first.pid)
    with running_seaweedfs(tmp_path, access_key="key", secret_key="right") as second:
        assert bytes(obstore.get(s3_store(second, "right"), "a/b").bytes()) == b"kept"
    assert is_gone(second.pid)
    assert "right" not in repr(second)


@pytest.mark.postgres
def test_postgres_keeps_its_data_and_asks_for_the_password(tmp_path: Path) -> None:
    with running_postgres(tmp_path) as first:
        with psycopg.connect(first.dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(first.dsn.replace(first.password, "wrong"))
    assert is_gone(first.pid)
    with running_postgres(tmp_path) as second, psycopg.connect(second.dsn) as connection:
        assert connection.execute("SELECT id FROM kept").fetchall() == [(1,)]
        # An open connection does not hold up the stop.
    assert is_gone(second.pid)
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600
    assert second.password not in repr(second)


@pytest.mark.nocodb
def test_nocodb_keeps_token_and_bases_over_a_restart(tmp_path: Path, nocodb: NocodbServer) -> None:
    # `nocodb` is asked for so that this test is skipped where it is.
    with running_nocodb(tmp_path) as first:
        base_id = first.request("POST", "/api/v1/db/meta/projects", {"title": "kept"})["id"]
    assert is_gone(first.pid)
    with running_nocodb(tmp_path) as second:
        assert second.api_token == first.api_token != nocodb.api_token
        bases = second.request("GET", "/api/v1/db/meta/projects/")["list"]
        assert [base["id"] for base in bases] == [base_id]
        with pytest.raises(StackStartError, match="404 to GET /api/v2/meta/tables/none"):
            second.request("GET", "/api/v2/meta/tables/none")
        assert requests.get(f"{second.base_url}/api/v1/db/meta/projects/", timeout=60).status_code
    assert is_gone(second.pid)
    assert second.api_token not in repr(second)


def test_without_node_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StackUnavailableError, match=r"`node`.*install Node.js 20"):
        nocodb_install.node_programs()


def test_a_failed_install_says_why_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, cache = tmp_path / "bin", tmp_path / "cache"
    programs.mkdir()
    for name, script in (("node", "echo v22.1.0"), ("npm", "echo no such registry; exit 7")):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("CONVERSATION_ANALYTICS_CACHE", str(cache))
    with pytest.raises(StackStartError, match=r"(?s)`npm install`.*status 7.*no such registry"):
        nocodb_install.ensure_installed()
    assert not nocodb_install.install_dir().exists()
    assert not list(cache.glob("nocodb-installing-*"))


def test_settings_go_to_env_unless_there_is_one_already(tmp_path: Path) -> None:
    written = write_environment({"SOURCE": "sample"}, tmp_path, force=False)
    assert written == tmp_path / ".env"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert "SOURCE=sample\n" in written.read_text()
    assert write_environment({"SOURCE": "sample"}, tmp_path, force=False) == written
    other = write_environment({"SOURCE": "nocodb"}, tmp_path, force=False)
    assert other == tmp_path / ".env.stack"
    assert "SOURCE=sample\n" in written.read_text()
    assert write_environment({"SOURCE": "nocodb"}, tmp_path, force=True) == written
    assert "SOURCE=nocodb\n" in written.read_text()


def test_a_folder_named_env_is_left_alone_and_one_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    written = write_environment({"SOURCE": "sample"}, tmp_path, force=False)
    assert written == tmp_path / ".env.stack"
    with pytest.raises(StackStartError, match=r"cannot write .*\.env"):
        write_environment({"SOURCE": "sample"}, tmp_path, force=True)


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StackStartError, match="choose another data directory"),
        running_stack(tmp_path / "file" / "data", days=[], rows={}),
    ):
        pass


def one_conversation(day: dt.date) -> list[dict[str, Any]]:
    identifier = f"00000000-0000-4000-8000-{day:%Y%m%d}0000"
    return [{"id": identifier, "created_at": dt.datetime.combine(day, dt.time(23, 59))}]


def message_after_midnight(day: dt.date) -> list[dict[str, Any]]:
    conversation = one_conversation(day - dt.timedelta(days=1))[0]["id"]
    identifier = f"10000000-0000-4000-8000-{day:%Y%m%d}0000"
    created_at = dt.datetime.combine(day, dt.time(0, 1))
    return [{"id": identifier, "conversation_id": conversation, "created_at": created_at}]


@pytest.mark.nocodb
@pytest.mark.mongodb
@pytest.mark.s3
@pytest.mark.postgres
def test_the_stack_restarts_where_it_was_and_loads_only_new_days(
    tmp_path: Path,
    nocodb: NocodbServer,  # noqa: ARG001 - skips this test where NocoDB cannot run
) -> None:
    rows = {"conversations": one_conversation, "messages": message_after_midnight}
    with running_stack(tmp_path, days=DAYS[:1], rows=rows) as first:
        assert first.rows_loaded == {"conversations": 2, "messages": 1}
        with (
            pytest.raises(StackStartError, match="running already"),
            running_stack(tmp_path, days=DAYS, rows=rows),
        ):
            pass
    assert all(is_gone(server.pid) for server in first.servers)
    with running_stack(tmp_path, days=DAYS, rows=rows) as second:
        assert second.rows_loaded == {"conversations": 2, "messages": 1}
        assert second.environment == first.environment
        settings = second.environment
        assert settings["ANALYTICS_START_DATE"] == "2026-11-09"
        listed = requests.get(
            f"{settings['NOCODB_BASE_URL']}/api/v2/meta/bases/{settings['NOCODB_PROJECT_ID']}/tables",
            headers={"xc-token": settings["NOCODB_API_TOKEN"]},
            timeout=60,
        ).json()["list"]
        table = next(table["id"] for table in listed if table["title"] == "messages")
        answer = requests.get(
            f"{settings['NOCODB_BASE_URL']}/api/v2/tables/{table}/records",
            headers={"xc-token": settings["NOCODB_API_TOKEN"]},
            timeout=60,
        ).json()
        assert len(answer["list"]) == 2
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600
