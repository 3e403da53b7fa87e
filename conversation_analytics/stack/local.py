"""The whole stack at once: real servers on loopback, sample rows, and the settings for them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import secrets
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from conversation_analytics.stack.dify import (
    CONVERSATIONS,
    FEEDBACKS,
    MESSAGES,
    load_dify_rows,
)
from conversation_analytics.stack.errors import StackStartError
from conversation_analytics.stack.mongod import running_mongod
from conversation_analytics.stack.nocodb import running_nocodb
from conversation_analytics.stack.nocodb_seed import DifyBase, create_dify_base
from conversation_analytics.stack.postgres import running_postgres
from conversation_analytics.stack.processes import (
    LOOPBACK,
    free_port,
    port_is_free,
    write_private,
)
from conversation_analytics.stack.seaweedfs import running_seaweedfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.postgres import PostgresServer

    Rows = Iterable[Mapping[str, Any]]
    RowsOfDay = Callable[[dt.date], Rows]

DIFY_DATABASE = "dify"
MONGODB_DATABASE = "conversation_analytics"
_ONE_DAY = dt.timedelta(days=1)
_SERVERS = ("mongod", "seaweedfs", "postgres", "nocodb")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StackState:
    """What a restart needs to find everything where it was; kept in `stack.json` (mode 0600).

    Attributes:
        ports: TCP port of each server; the same ones again, since `.env` names them.
        access_key: S3 key id.
        secret_key: its secret.
        base_id: NocoDB base, None until it exists.
        conversations_table_id: its table, None until it exists.
        messages_table_id: its table, None until it exists.
        first_day: first day loaded, ISO text, None until one is.
        last_day: last day loaded, ISO text, None until one is.
    """

    ports: dict[str, int]
    access_key: str
    secret_key: str = field(repr=False)
    base_id: str | None = None
    conversations_table_id: str | None = None
    messages_table_id: str | None = None
    first_day: str | None = None
    last_day: str | None = None


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A line of the table that the user sees.

    Attributes:
        name: what it is.
        address: where it answers, without credentials.
        pid: process id.
        data_dir: its folder.
    """

    name: str
    address: str
    pid: int
    data_dir: Path


@dataclass(frozen=True, slots=True)
class LocalStack:
    """The running stack.

    Attributes:
        servers: one entry a server.
        environment: settings that point to it, credentials included.
        rows_loaded: rows loaded by this start, by table.
    """

    servers: tuple[RunningServer, ...]
    environment: dict[str, str] = field(repr=False)
    rows_loaded: dict[str, int]


def write_environment(environment: Mapping[str, str], folder: Path, *, force: bool) -> Path:
    """Write the settings to `.env` in `folder`, or beside it where one is there already.

    Args:
        environment: variables and values.
        folder: folder of the `.env`.
        force: replace a `.env` of other content.

    Returns:
        The file that now holds the settings: `.env`, or `.env.stack`.

    Raises:
        StackStartError: the file cannot be written.
    """
    lines = [f"{name}={value}\n" for name, value in environment.items()]
    text = "# Written by `python -m conversation_analytics.stack`.\n" + "".join(lines)
    path = folder / ".env"
    if path.exists() and not force and (path.is_dir() or path.read_bytes() != text.encode()):
        path = folder / ".env.stack"
    try:
        write_private(path, text)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}; move away what is there"
        raise StackStartError(message) from error
    return path


def _state(path: Path) -> StackState:
    if path.exists():
        try:
            return StackState(**json.loads(path.read_text()))
        except (TypeError, json.JSONDecodeError) as error:
            message = (
                f"{path} is not a state of this version; remove its folder {path.parent} to "
                "start afresh"
            )
            raise StackStartError(message) from error
    ports: dict[str, int] = {}
    for name in _SERVERS:
        while (port := free_port()) in ports.values():
            pass
        ports[name] = port
    made = StackState(ports, access_key=secrets.token_hex(10), secret_key=secrets.token_hex(20))
    _keep(made, path)
    return made


def _keep(state: StackState, path: Path) -> None:
    write_private(path, json.dumps(dataclasses.asdict(state), indent=2))


def _require_free_ports(state: StackState, names: Iterable[str], path: Path) -> None:
    taken = [f"{name} {state.ports[name]}" for name in names if not port_is_free(state.ports[name])]
    if taken:
        message = (
            f"ports of {LOOPBACK} in use: {', '.join(taken)}. Is the stack running already? "
            f"Otherwise stop their users, or remove {path.parent} to start afresh"
        )
        raise StackStartError(message)


def _base(
    state: StackState, path: Path, nocodb: NocodbServer, postgres: PostgresServer
) -> tuple[StackState, DifyBase]:
    if state.base_id and state.conversations_table_id and state.messages_table_id:
        dsn = f"{postgres.dsn.rpartition('/')[0]}/{DIFY_DATABASE}"
        ids = (state.base_id, state.conversations_table_id, state.messages_table_id)
        return state, DifyBase(*ids, dsn)
    base = create_dify_base(nocodb, postgres, title="Dify", database=DIFY_DATABASE)
    state = dataclasses.replace(
        state,
        base_id=base.base_id,
        conversations_table_id=base.conversations_table_id,
        messages_table_id=base.messages_table_id,
    )
    _keep(state, path)
    return state, base


def _load(
    state: StackState,
    path: Path,
    dsn: str,
    days: tuple[dt.date, ...],
    rows: Mapping[str, RowsOfDay],
    undated: Mapping[str, Rows],
) -> tuple[StackState, dict[str, int]]:
    """Load the days after the last one loaded; one interrupted is replaced by the next start."""
    loaded = dict.fromkeys(rows, 0)
    last = dt.date.fromisoformat(state.last_day) if state.last_day else None
    if last is None:  # only once: somebody may have mended them at the source since
        for table, without_time in undated.items():
            loaded[table] += load_dify_rows(dsn, table, without_time)
    new = [day for day in days if last is None or day > last]
    if new:
        # Turns after midnight belong to conversations of the evening before.
        before = new[0] - _ONE_DAY
        loaded[CONVERSATIONS] += load_dify_rows(dsn, CONVERSATIONS, rows[CONVERSATIONS](before))
    for day in new:
        for table in rows:
            loaded[table] += load_dify_rows(dsn, table, rows[table](day))
        state = dataclasses.replace(
            state, first_day=state.first_day or day.isoformat(), last_day=day.isoformat()
        )
        _keep(state, path)
    return state, loaded


@contextlib.contextmanager
def running_stack(
    data_dir: Path,
    *,
    days: Iterable[dt.date],
    rows: Mapping[str, RowsOfDay],
    undated: Mapping[str, Rows] = MappingProxyType({}),
    with_nocodb: bool = True,
) -> Iterator[LocalStack]:
    """Run MongoDB, S3 and, if wanted, PostgreSQL with NocoDB over it, until the block ends.

    Data, ports and credentials are kept in `data_dir`: another start finds all of them again
    and loads only the days that came since.

    Args:
        data_dir: folder of everything, made if absent.
        days: calendar days to load, ascending.
        rows: for tables of Dify's, conversations first, a function from day to rows with Dify's
            columns.
        undated: for such tables, rows without times; loaded by the first start.
        with_nocodb: without it the settings name the sample source.

    Raises:
        StackUnavailableError: a program is not installed.
        StackStartError: a server did not start, or a port of the last time is taken.
    """
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make {data_dir}: {error.strerror}; choose another data directory"
        raise StackStartError(message) from error
    path = data_dir / "stack.json"
    state = _state(path)
    _require_free_ports(state, _SERVERS if with_nocodb else _SERVERS[:2], path)
    with contextlib.ExitStack() as running:
        mongod = running.enter_context(running_mongod(data_dir / "mongod", state.ports["mongod"]))
        s3 = running.enter_context(
            running_seaweedfs(
                data_dir / "seaweedfs",
                state.ports["seaweedfs"],
                access_key=state.access_key,
                secret_key=state.secret_key,
            )
        )
        servers = [
            RunningServer("MongoDB", mongod.uri, mongod.pid, data_dir / "mongod"),
            RunningServer("S3 (SeaweedFS)", s3.endpoint_url, s3.pid, data_dir / "seaweedfs"),
        ]
        environment = {
            "SOURCE": "sample",
            "MONGODB_URI": mongod.uri,
            "MONGODB_DATABASE": MONGODB_DATABASE,
            "S3_ENABLED": "true",
            "S3_BUCKET": s3.bucket,
            "S3_ENDPOINT_URL": s3.endpoint_url,
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            "AWS_REGION": s3.region,
        }
        loaded: dict[str, int] = {}
        if with_nocodb:
            postgres = running.enter_context(
                running_postgres(data_dir / "postgres", state.ports["postgres"])
            )
            nocodb = running.enter_context(
                running_nocodb(data_dir / "nocodb", state.ports["nocodb"])
            )
            state, base = _base(state, path, nocodb, postgres)
            state, loaded = _load(state, path, base.dsn, tuple(days), rows, undated)
            logger.info("stack loaded rows=%s", loaded)
            servers += [
                RunningServer(
                    "PostgreSQL",
                    f"{postgres.host}:{postgres.port}/{DIFY_DATABASE}",
                    postgres.pid,
                    data_dir / "postgres",
                ),
                RunningServer("NocoDB", nocodb.base_url, nocodb.pid, data_dir / "nocodb"),
            ]
            environment |= {
                "SOURCE": "nocodb",
                "NOCODB_BASE_URL": nocodb.base_url,
                "NOCODB_API_TOKEN": nocodb.api_token,
                "NOCODB_PROJECT_ID": base.base_id,
                "NOCODB_CONVERSATION_TABLE": CONVERSATIONS,
                "NOCODB_MESSAGES_TABLE": MESSAGES,
                "NOCODB_FEEDBACKS_TABLE": FEEDBACKS,
            }
            if state.first_day is not None:
                environment["ANALYTICS_START_DATE"] = state.first_day
        yield LocalStack(tuple(servers), environment, loaded)
