"""The platform with the rights that docs/documents.md grants and no others, on a real MongoDB."""

from __future__ import annotations

import json
import re
import secrets
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from pymongo.errors import ConnectionFailure, OperationFailure

from conversation_analytics.core.errors import DocumentError
from conversation_analytics.documents import collections
from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.documents.store import MongoConfig
from conversation_analytics.resources.connections import collection_specs
from conversation_analytics.settings import parse_settings
from conversation_analytics.stack.mongod import mongod_program, running_mongod
from conversation_analytics.stack.processes import LOOPBACK, free_port, running_process
from conversation_analytics_tests.commands import ROOT
from conversation_analytics_tests.conftest import require
from conversation_analytics_tests.documents.test_rules import conversation_pieces
from conversation_analytics_tests.documents.test_views import fill
from conversation_analytics_tests.documents.test_whole_partitions import PARTS, documents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.mongodb

DATABASE = "conversation_analytics"
TEXT = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
ROLES = [json.loads(one) for one in re.findall(r"db\.createRole\((.*)\)$", TEXT, re.MULTILINE)]
USERS = [json.loads(one) for one in re.findall(r"db\.createUser\((.*)\)$", TEXT, re.MULTILINE)]


def is_primary(port: int) -> bool:
    try:
        with pymongo.MongoClient[dict[str, Any]](
            LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=1000
        ) as client:
            return bool(client.admin.command("hello")["isWritablePrimary"])
    except ConnectionFailure:
        return False


@contextmanager
def with_access_control(folder: Path, port: int) -> Iterator[None]:
    key = folder / "key"
    key.write_text(secrets.token_urlsafe(64).replace("-", "a").replace("_", "b"))
    key.chmod(0o600)
    command = [
        str(mongod_program()), f"--dbpath={folder / 'db'}", f"--bind_ip={LOOPBACK}",
        f"--port={port}", "--replSet=rs0", "--nounixsocket", "--wiredTigerCacheSizeGB=0.25",
        "--auth", f"--keyFile={key}",
    ]  # fmt: skip
    with running_process(
        "mongod", command, data_dir=folder, ready=lambda: is_primary(port), deadline_seconds=60
    ):
        yield


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Give the URI of each user of the documentation, and of one with readWrite alone."""
    require(mongod_program)
    folder = tmp_path_factory.mktemp("guarded")
    port = free_port()
    with running_mongod(folder, port) as server, pymongo.MongoClient[Any](server.uri) as client:
        for role in ROLES:
            client.admin.command("createRole", role.pop("role"), **role)
        plain = {"user": "plain", "roles": [{"role": "readWrite", "db": DATABASE}]}
        for user in (*USERS, plain):
            client.admin.command("createUser", user["user"], pwd="p4ss", roles=user["roles"])
    names = [*(user["user"] for user in USERS), "plain"]
    with with_access_control(folder, port):
        yield {
            name: f"mongodb://{name}:p4ss@{LOOPBACK}:{port}/?replicaSet=rs0&authSource=admin"
            for name in names
        }


def test_the_platform_writes_and_reads_with_its_role_alone(uris: dict[str, str]) -> None:
    store = MongoStore(MongoConfig(uris["platform"], DATABASE))
    for days in ("24800", "3650", "0"):
        for spec in collection_specs(parse_settings({"MONGODB_TTL_DAYS": days})):
            store.ensure(spec)
    fill(store)
    store.merge_conversations("conversations", "2026-11-23", conversation_pieces())
    assert store.count_slice("conversations", "2026-11-23") == (2, 2)
    assert store._limits().bytes == 20_132_659  # as the server's cache has it
    store._transaction_bytes = PARTS
    for version in (1, 2):
        store.replace_partition("many", "d", documents(version))
    assert store.count("many", "d") == len(documents(2))
    with pymongo.MongoClient[Any](uris["platform"]) as client:
        # What a writer that was killed leaves behind: its session is ended.
        left = client.start_session()
        store._generations().update_one(
            {"_id": "many/d"}, {"$set": {"session": left.session_id["id"]}}
        )
        store.replace_partition("many", "d", documents(3))
    assert store.count("many", "d") == len(documents(3))
    store.close()


def test_an_application_reads_what_it_may_and_no_more(uris: dict[str, str]) -> None:
    writer = MongoStore(MongoConfig(uris["platform"], DATABASE))
    fill(writer)
    writer.close()
    store = MongoStore(MongoConfig(uris["reader"], DATABASE))
    assert len(store.find("analytics_reports", {"period": "daily"})) == 2
    for forbidden in (
        lambda: store.find("user_analytics", {}),
        lambda: store.find("document_partitions", {}),
        lambda: store.replace_partition("analytics_reports", "daily/2026-11-21", []),
    ):
        with pytest.raises(DocumentError, match="not authorised"):
            forbidden()
    store.close()
    with pymongo.MongoClient[Any](uris["reader"]) as client:
        database = client[DATABASE]
        assert database["analytics_reports_daily_metrics"].find_one({"metric": "turns"})
        with pytest.raises(OperationFailure):
            database["analytics_reports_model_usage"].find_one()


def test_what_a_user_lacks_is_told_before_anything_is_written(uris: dict[str, str]) -> None:
    names = [spec.name for spec in collection_specs(parse_settings({}))]
    lacking = {
        "platform": None,
        "plain": r"lacks collMod on 10 of 10 collections .* as conversations: grant",
        "reader": r"lacks find, insert, .*collMod on 10 of 10 collections",
    }
    for user, told in lacking.items():
        store = MongoStore(MongoConfig(uris[user], DATABASE))
        expected = pytest.raises(DocumentError, match=told) if told else nullcontext()
        with expected:
            store.check_rights(names)
        store.close()
    nobody = uris["platform"].replace("platform:p4ss@", "").replace("&authSource=admin", "")
    store = MongoStore(MongoConfig(nobody, DATABASE))
    with pytest.raises(DocumentError, match=r"not authorised .* its role, which docs/documents"):
        store.check_rights(names)
    store.close()


def test_a_user_who_may_not_set_rules_is_told_what_to_grant(uris: dict[str, str]) -> None:
    store = MongoStore(MongoConfig(uris["plain"], DATABASE))
    store.replace_partition("there", "d", [{"_id": "of before"}])
    with pytest.raises(DocumentError, match=r"there, validator: .* lacks collMod .* the role"):
        store.ensure(collections.topics("there"))
    store.ensure(collections.topics("new"))  # a new collection gets its rules as it is made
    with pytest.raises(DocumentError, match="1 documents cannot be stored"):
        store.replace_partition("new", "d", [{"_id": "bad"}])
    store.close()
