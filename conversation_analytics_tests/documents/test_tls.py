"""A real MongoDB that takes TLS only, with certificates made for the test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.core.errors import DocumentError, DocumentStoreUnavailableError
from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.documents.store import MongoConfig
from conversation_analytics.stack.mongod import mongod_program
from conversation_analytics.stack.processes import free_port, running_process
from conversation_analytics_tests.commands import typed
from conversation_analytics_tests.conftest import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRETS = ("someone", "s3cret")


@dataclass(frozen=True)
class TlsServer:
    """A mongod whose certificate is of 127.0.0.1; `ca` has signed it, `other` has not."""

    port: int
    folder: Path

    def uri(self, options: str, host: str = "127.0.0.1", user: str = "") -> str:
        return f"mongodb://{user}{host}:{self.port}/?{options}".replace("FOLDER", str(self.folder))


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def make_certificates(folder: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must not skip tests: openssl is missing")
        pytest.skip("openssl is missing: install it to test TLS")

    def made(words: str) -> None:
        subprocess.run([openssl, *words.split()], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        made(f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -out {name}.pem "
             f"-keyout {name}.key -addext keyUsage=keyCertSign")  # fmt: skip
    made("req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -out server.csr -keyout server.key")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    made("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
         "-extfile names -out server.crt")  # fmt: skip
    both = [(folder / name).read_text() for name in ("server.crt", "server.key")]
    (folder / "server.pem").write_text("".join(both))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    require(mongod_program)
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder)
    (folder / "db").mkdir()
    port = free_port()
    command = [
        str(mongod_program()), f"--dbpath={folder / 'db'}", f"--port={port}", "--replSet=rs0",
        "--bind_ip=127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB=0.25",
        "--tlsMode=requireTLS", f"--tlsCertificateKeyFile={folder / 'server.pem'}",
        f"--tlsCAFile={folder / 'ca.pem'}", "--tlsAllowConnectionsWithoutCertificates",
    ]  # fmt: skip
    started = TlsServer(port, folder)
    with running_process(
        "mongod", command, data_dir=folder, ready=lambda: listens(port), deadline_seconds=60
    ):
        config = MongoConfig(started.uri("tls=true&tlsCAFile=FOLDER/ca.pem&directConnection=true"))
        store = MongoStore(config)
        store._connected().admin.command(
            "replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
        )
        store.close()
        yield started


@pytest.mark.mongodb
def test_documents_are_written_by_tls(server: TlsServer, tmp_path: Path) -> None:
    uri = server.uri("replicaSet=rs0&tls=true&tlsCAFile=FOLDER/ca.pem")
    store = MongoStore(MongoConfig(uri, server_selection_timeout_s=60))
    store.ping()
    store.replace_partition("messages", "d1", [{"_id": "a"}])
    assert store.find("messages", {}) == [{"_id": "a"}]
    store.close()
    checked = typed(tmp_path, "check", MONGODB_URI=uri)
    assert checked.returncode == 0, checked.stdout
    assert f"ok    documents: mongodb 127.0.0.1:{server.port}" in checked.stdout


OF_NOBODY_KNOWN = (
    "its certificate is not trusted (self-signed certificate in certificate chain): name the file "
    "of the authority that signed it with tlsCAFile"
)
OF_ANOTHER_NAME = (
    "its certificate is not trusted (Hostname mismatch, certificate is not valid for 'localhost'): "
    "put the name that the certificate was made for into MONGODB_URI"
)
CLOSED = "as a server does that takes TLS only: then MONGODB_URI needs tls=true, and tlsCAFile"
REFUSALS = {
    "plain": ("directConnection=true", "127.0.0.1", DocumentStoreUnavailableError, CLOSED),
    "authority": ("tls=true&tlsCAFile=FOLDER/other.pem", "127.0.0.1", DocumentError,
                  OF_NOBODY_KNOWN),
    "none": ("tls=true", "127.0.0.1", DocumentError, OF_NOBODY_KNOWN),
    "name": ("tls=true&tlsCAFile=FOLDER/ca.pem", "localhost", DocumentError, OF_ANOTHER_NAME),
}  # fmt: skip


@pytest.mark.mongodb
@pytest.mark.parametrize("case", REFUSALS)
def test_a_connection_that_nobody_should_trust_is_refused(server: TlsServer, case: str) -> None:
    options, host, kind, told = REFUSALS[case]
    uri = server.uri(options, host, "someone:s3cret@")
    store = MongoStore(MongoConfig(uri, server_selection_timeout_s=2))
    with pytest.raises(kind) as caught:
        store.ping()
    store.close()
    assert type(caught.value) is kind
    assert f"MongoDB at {host}:{server.port}" in str(caught.value)
    assert told in str(caught.value)
    assert not [one for one in SECRETS if one in str(caught.value)]


@pytest.mark.mongodb
def test_check_says_what_is_wrong_with_tls(server: TlsServer, tmp_path: Path) -> None:
    uri = server.uri("tls=true&tlsCAFile=FOLDER/other.pem", user="someone:s3cret@")
    checked = typed(tmp_path, "check", MONGODB_URI=uri)
    assert checked.returncode == 1
    [line] = [one for one in checked.stdout.splitlines() if "documents" in one]
    assert f"MongoDB at 127.0.0.1:{server.port}: its certificate is not trusted" in line
    assert not [one for one in SECRETS if one in checked.stdout + checked.stderr]


@pytest.mark.mongodb
def test_tls_to_a_server_that_speaks_none_is_told(mongodb_uri: str) -> None:
    host = mongodb_uri.removeprefix("mongodb://").partition("/")[0]
    uri = f"mongodb://someone:s3cret@{host}/?tls=true&directConnection=true"
    store = MongoStore(MongoConfig(uri, server_selection_timeout_s=2))
    with pytest.raises(DocumentStoreUnavailableError, match="no TLS came about") as caught:
        store.ping()
    store.close()
    assert not [one for one in SECRETS if one in str(caught.value)]


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "no-pem"])
def test_a_file_of_tls_that_cannot_be_used_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    uri = f"mongodb://someone:s3cret@127.0.0.1/?tls=true&tlsCAFile={tmp_path}/ca.pem"
    store = MongoStore(MongoConfig(uri))
    with pytest.raises(DocumentError, match=r"MONGODB_URI: a file that it names \(tlsCAFile") as e:
        store.ping()
    store.close()
    assert not [one for one in SECRETS if one in str(e.value)]
