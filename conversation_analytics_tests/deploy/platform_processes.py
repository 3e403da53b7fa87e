"""The services of compose.yaml as processes of this machine, on real servers.

Commands, environment and health checks are the file's own; only places differ: hosts are loopback,
ports free ones, and the image's folders those of the working tree.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
import requests
from pymongo.errors import ConnectionFailure

from conversation_analytics.stack.mongod import mongod_program
from conversation_analytics.stack.processes import (
    LOOPBACK,
    free_port,
    port_is_free,
    running_process,
    write_private,
)
from conversation_analytics.stack.seaweedfs import weed_program
from conversation_analytics_tests.commands import ROOT, wait_until
from conversation_analytics_tests.deploy import compose
from conversation_analytics_tests.deploy.confined import confined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conversation_analytics.stack.postgres import PostgresServer

_BIN = Path(sys.executable).parent
_PROGRAMS = ("python", "dagster", "dagster-webserver", "dagster-daemon")
_S3_PORTS = ("master", "volume", "filer")


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are on this machine instead of in containers.

    Attributes:
        postgres: Dagster's server.
        s3_port: port of the S3 server.
        mongodb_port: port of MongoDB; a number nobody listens on where there is none.
        code_port: port of the code server.
        webserver_port: port of the web server.
        variables: what `.env` would hold.
    """

    postgres: PostgresServer
    s3_port: int
    mongodb_port: int
    code_port: int
    webserver_port: int
    variables: Mapping[str, str]

    def service(self, name: str) -> dict[str, Any]:
        """Return a service of the file, with its variables."""
        found: dict[str, Any] = compose.services(self.variables)[name]
        return found

    def words(self, words: list[str], folder: Path) -> list[str]:
        """Return a command of the file as it is typed here; `folder` is its DAGSTER_HOME."""
        places = {
            "/opt/dagster": os.fspath(folder),
            "/opt/deploy": os.fspath(compose.DEPLOY),
            "0.0.0.0": LOOPBACK,  # noqa: S104 - of the container, which publishes nothing
            compose.CODE_SERVER: "localhost",  # a name, as there
            ":3000/": f":{self.webserver_port}/",
        }
        ports = {"3000": str(self.webserver_port), "4000": str(self.code_port)}
        typed = [ports.get(word, word) for word in words]
        for there, here in places.items():
            typed = [word.replace(there, here) for word in typed]
        if typed[0] in _PROGRAMS:
            typed[0] = os.fspath(_BIN / typed[0])
        return typed

    def environment(self, name: str, scratch: Path, **more: str) -> dict[str, str]:
        """Return the environment of a service, with the image's own variables."""
        given: dict[str, str] = dict(self.service(name)["environment"])
        moved = {
            "DAGSTER_PG_HOST": self.postgres.host,
            "DAGSTER_PG_PORT": str(self.postgres.port),
            "COMPUTE_LOGS_ENDPOINT_URL": f"http://{LOOPBACK}:{self.s3_port}",
            "S3_ENDPOINT_URL": f"http://{LOOPBACK}:{self.s3_port}",
            "CODE_SERVER_HOST": LOOPBACK,
            "CODE_SERVER_PORT": str(self.code_port),
            "MONGODB_MEMBER": f"{LOOPBACK}:{self.mongodb_port}",
            "MONGODB_URI": given.get("MONGODB_URI", "").replace(
                "mongodb:27017", f"{LOOPBACK}:{self.mongodb_port}"
            ),
        }
        return {
            **given,
            **{key: value for key, value in moved.items() if key in given},
            "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}",
            "DAGSTER_HOME": os.fspath(scratch / "home"),
            "SCRATCH_DIR": os.fspath(scratch),
            "TMPDIR": os.fspath(scratch),
            "HOME": os.fspath(scratch),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }


def dagster_home(scratch: Path) -> Path:
    """Make the image's DAGSTER_HOME, which the confined user can only read."""
    folder = scratch / "home"
    if not folder.exists():
        folder.mkdir()
        for name in ("dagster.yaml", "workspace.yaml"):
            (folder / name).write_bytes((compose.DEPLOY / name).read_bytes())
        folder.chmod(0o555)
    return folder


@contextlib.contextmanager
def s3_server(folder: Path, variables: Mapping[str, str]) -> Iterator[int]:
    """Run the S3 server as the file does, with the keys of the file; give its port."""
    service = compose.services(variables)["s3"]
    script: str = service["entrypoint"][2]
    assert "/usr/bin/weed" in script
    assert "/tmp/s3.json" in script  # noqa: S108 - a tmpfs of the container
    ports: set[int] = set()
    while len(ports) < 1 + len(_S3_PORTS):
        ports.add(free_port())
    port, *others = ports
    moved = {
        "-dir=/data": f"-dir={folder / 'objects'}",
        "-s3.port=8333": f"-s3.port={port}",
        "-s3.ip.bind=0.0.0.0": f"-s3.ip.bind={LOOPBACK}",
        "-s3.config=/tmp/s3.json": f"-s3.config={folder / 's3.json'}",
    }
    words: list[str] = service["command"]
    assert set(moved) <= set(words)
    (folder / "objects").mkdir(parents=True)
    command = [
        "sh", "-ec",
        script.replace("/usr/bin/weed", os.fspath(weed_program())).replace(
            "/tmp/s3.json", os.fspath(folder / "s3.json")  # noqa: S108
        ),
        "sh",
        *(moved.get(word, word) for word in words),
        *(f"-{name}.port={number}" for name, number in zip(_S3_PORTS, others, strict=True)),
    ]  # fmt: skip
    [health] = [word for word in service["healthcheck"]["test"] if word.startswith("http")]

    def healthy() -> bool:
        return answers(health.replace("8333", str(port)))

    with running_process(
        "s3", command, data_dir=folder, ready=healthy, deadline_seconds=60,
        environment={**service["environment"], "HOME": os.fspath(folder)},
        stop_signal=signal.SIGKILL,  # to stop in good order takes it 16 s, which prove nothing here
    ):  # fmt: skip
        yield port


@contextlib.contextmanager
def mongodb_server(folder: Path, variables: Mapping[str, str]) -> Iterator[int]:
    """Run MongoDB with access control and the administrator of the file; give its port."""
    service = compose.services(variables)["mongodb"]
    port = free_port()
    (folder / "db").mkdir(parents=True)
    write_private(folder / "key", service["environment"]["MONGODB_SET_KEY"])
    plain = [
        os.fspath(mongod_program()), f"--dbpath={folder / 'db'}", f"--bind_ip={LOOPBACK}",
        f"--port={port}", "--nounixsocket", "--wiredTigerCacheSizeGB=0.25", "--oplogSize=64",
    ]  # fmt: skip
    # As the image's entry does: without a replica set and access control, for the one user.
    with _running_mongod(folder, plain, port), _client(port) as client:
        client.admin.command(
            "createUser",
            service["environment"]["MONGO_INITDB_ROOT_USERNAME"],
            pwd=service["environment"]["MONGO_INITDB_ROOT_PASSWORD"],
            roles=["root"],
        )
    guarded = [*plain, "--replSet", "rs0", "--keyFile", os.fspath(folder / "key")]
    with _running_mongod(folder, guarded, port):
        yield port


def _client(port: int) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=1000)


@contextlib.contextmanager
def _running_mongod(folder: Path, command: list[str], port: int) -> Iterator[None]:
    def says_hello() -> bool:
        try:
            with _client(port) as client:
                return bool(client.admin.command("hello")["ok"])
        except ConnectionFailure:
            return False

    with running_process("mongod", command, data_dir=folder, ready=says_hello, deadline_seconds=60):
        yield


def answers(url: str) -> bool:
    """Tell whether a server answers with a success."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs here.

    Attributes:
        name: of the file.
        process: leader of its own process group.
        log: its output.
        places: of this machine.
        scratch: the folder it may write.
        environment: its environment.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    places: Places
    scratch: Path
    environment: dict[str, str]

    def has_begun(self) -> bool:
        """Tell cheaply whether a health check is worth its three seconds of processor."""
        ports = {"code": self.places.code_port, "webserver": self.places.webserver_port}
        if self.name in ports:
            return not port_is_free(ports[self.name])
        return b"configured with the following daemons" in self.log.read_bytes()

    def is_healthy(self) -> bool:
        """Run the file's own health check, as the service runs."""
        if not self.has_begun():
            return False
        kind, *words = self.places.service(self.name)["healthcheck"]["test"]
        assert kind == "CMD"
        checked = subprocess.run(
            confined(self.places.words(words, self.scratch / "home"), self.scratch),
            env=self.environment, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        return checked.returncode == 0

    def stop(self) -> float:
        """Stop it as Docker does, where all are told if the file says so; return the seconds."""
        began = time.monotonic()
        service = self.places.service(self.name)
        if service["environment"].get("TINI_KILL_PROCESS_GROUP") == "1" and service["init"]:
            os.killpg(self.process.pid, signal.SIGTERM)
        else:
            self.process.terminate()
        self.process.wait(seconds(service["stop_grace_period"]))
        return time.monotonic() - began


def seconds(text: str) -> int:
    """Return the seconds of `30s` or `2m`."""
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


@contextlib.contextmanager
def running(name: str, places: Places, scratch: Path, **more: str) -> Iterator[Service]:
    """Run a service, confined, until the block ends; wait until its health check says yes."""
    environment = places.environment(name, scratch, **more)
    home = dagster_home(scratch)
    command = confined(places.words(places.service(name)["command"], home), scratch)
    log = scratch / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, process_group=0,
        )  # fmt: skip
    service = Service(name, process, log, places, scratch, environment)
    try:
        wait_until(
            lambda: process.poll() is not None or service.is_healthy(), f"health of {name}", log
        )
        assert process.poll() is None, log.read_text()[-4000:]
        yield service
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_to_its_end(name: str, places: Places, scratch: Path, **more: str) -> str:
    """Run a service that ends by itself; return its output."""
    home = dagster_home(scratch)
    ended = subprocess.run(
        confined(places.words(places.service(name)["command"], home), scratch),
        env=places.environment(name, scratch, **more), capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
