"""Real servers for the tests: each starts with the first test that asks for it."""

from __future__ import annotations

import os
import signal
import uuid
from typing import TYPE_CHECKING

import hypothesis
import pymongo
import pytest

from conversation_analytics.stack.dify import empty_dify_tables
from conversation_analytics.stack.errors import StackUnavailableError
from conversation_analytics.stack.libretranslate import (
    LibreTranslateServer,
    running_libretranslate,
)
from conversation_analytics.stack.libretranslate_install import install_dir as libretranslate_dir
from conversation_analytics.stack.libretranslate_install import require_platform
from conversation_analytics.stack.mongod import mongod_program, running_mongod
from conversation_analytics.stack.nocodb import NocodbServer, running_nocodb
from conversation_analytics.stack.nocodb_install import install_dir, node_programs
from conversation_analytics.stack.nocodb_seed import (
    DifyBase,
    NativeBase,
    create_dify_base,
    create_native_base,
)
from conversation_analytics.stack.postgres import (
    PostgresServer,
    postgres_programs,
    running_postgres,
)
from conversation_analytics.stack.seaweedfs import S3Server, running_seaweedfs, weed_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_INSTALL_SECONDS = 1500

# A shared machine stalls for longer than hypothesis' 200 ms; CI repeats the same examples.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")


def pytest_configure() -> None:
    """Hear Ctrl-C: who starts the tests in the background ignores it, and so would the commands."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    installed = {"nocodb": install_dir().exists(), "libretranslate": libretranslate_dir().exists()}
    for item in items:  # whichever comes first installs the server within its own time limit
        names = getattr(item, "fixturenames", ())
        if any(name in names and not there for name, there in installed.items()):
            item.add_marker(pytest.mark.timeout(_INSTALL_SECONDS))


def require(program: Callable[[], object]) -> None:
    """Skip the tests that need a program this machine lacks; in CI they fail instead."""
    try:
        program()
    except StackUnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must not skip tests: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A replica set of one; `failCommand` is allowed."""
    require(mongod_program)
    with running_mongod(tmp_path_factory.mktemp("mongod"), test_commands=True) as server:
        yield server.uri


@pytest.fixture
def mongodb_database(mongodb_uri: str) -> Iterator[str]:
    """Name of a database nobody else uses, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with pymongo.MongoClient[dict[str, object]](mongodb_uri) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with one bucket."""
    require(weed_program)
    folder = tmp_path_factory.mktemp("seaweedfs")
    with running_seaweedfs(folder, access_key="test-key", secret_key="test-secret") as server:
        yield server


@pytest.fixture(scope="session")
def made_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of three days with every table, its documents and reports: see `erased`."""
    from conversation_analytics_tests.erased import (  # noqa: PLC0415 - for those who ask
        make_everything,
        settings_in,
    )

    folder = tmp_path_factory.mktemp("made")
    make_everything(settings_in(folder))
    return folder


@pytest.fixture
def s3_prefix() -> str:
    """Folder of the bucket nobody else uses, without a slash at either end."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL on a TCP port of 127.0.0.1."""
    require(postgres_programs)
    with running_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def nocodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NocodbServer]:
    """The real NocoDB; installed from npm at its first use on a machine."""
    require(node_programs)
    with running_nocodb(tmp_path_factory.mktemp("nocodb")) as server:
        yield server


@pytest.fixture(scope="session")
def libretranslate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibreTranslateServer]:
    """The real LibreTranslate; installed into its own environment at its first use."""
    require(require_platform)
    with running_libretranslate(tmp_path_factory.mktemp("libretranslate")) as server:
        yield server


@pytest.fixture(scope="session")
def shared_dify_base(nocodb: NocodbServer, postgres: PostgresServer) -> DifyBase:
    """The one base over PostgreSQL; tests ask for `dify_base`, which empties it."""
    return create_dify_base(nocodb, postgres, title="dify", database="dify")


@pytest.fixture
def dify_base(shared_dify_base: DifyBase) -> DifyBase:
    """A NocoDB base over PostgreSQL with Dify's tables, empty; fill it with `load_dify_rows`."""
    empty_dify_tables(shared_dify_base.dsn)
    return shared_dify_base


@pytest.fixture
def native_base(nocodb: NocodbServer) -> NativeBase:
    """A base with NocoDB's own tables, empty; fill it with `load_native_rows`."""
    return create_native_base(nocodb, title=f"native {uuid.uuid4().hex}")
