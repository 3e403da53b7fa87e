"""A private LibreTranslate on loopback: the real server, English and Portuguese."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from conversation_analytics.stack.libretranslate_install import ensure_installed
from conversation_analytics.stack.processes import LOOPBACK, free_port, running_process

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAIN = Path(__file__).with_name("_libretranslate_main.py")
_DEADLINE_SECONDS = 120.0
REQUESTS_A_MINUTE = 6
CHARACTERS = 2000
TEXTS = 20


@dataclass(frozen=True, slots=True)
class LibreTranslateServer:
    """A running LibreTranslate.

    Without a key a client may ask `REQUESTS_A_MINUTE`, in texts of `CHARACTERS`; with the key
    as often as it likes. A request has at most `TEXTS` texts.

    Attributes:
        port: TCP port on 127.0.0.1.
        pid: process id.
        data_dir: its folder, with `libretranslate.log`.
        api_key: the one key it knows.
        fails_on: a text with this in it makes the engine behind it fail; HTTP 500.
    """

    port: int
    pid: int
    data_dir: Path
    api_key: str = field(repr=False)
    fails_on: str

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://{LOOPBACK}:{self.port}"


def _is_up(port: int) -> bool:
    try:
        return requests.get(f"http://{LOOPBACK}:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False


@contextlib.contextmanager
def running_libretranslate(
    data_dir: Path, port: int | None = None, *, api_key: str = "test-key", fails_on: str = "KABOOM"
) -> Iterator[LibreTranslateServer]:
    """Run LibreTranslate until the block ends; installs it at its first use on a machine.

    Args:
        data_dir: folder of its keys and its log, made if absent.
        port: TCP port on 127.0.0.1; a free one where None.
        api_key: the key it is to know.
        fails_on: what makes the engine behind it fail.

    Raises:
        StackUnavailableError: not for this machine.
        StackStartError: it could not be installed, or was not ready within two minutes.
    """
    program = ensure_installed()
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    chosen = free_port() if port is None else port
    command = [
        os.fspath(program), "-P", os.fspath(_MAIN), "--host", LOOPBACK, "--port", str(chosen),
        "--req-limit", str(REQUESTS_A_MINUTE), "--char-limit", str(CHARACTERS),
        "--batch-limit", str(TEXTS), "--api-keys", "--disable-files-translation",
        "--disable-web-ui", "--threads", "2",
    ]  # fmt: skip
    environment = {
        "LT_API_KEYS_DB_PATH": os.fspath(data_dir / "keys.db"),
        "LT_KEY": api_key,
        "LT_FAILS_ON": fails_on,
        "XDG_DATA_HOME": os.fspath(data_dir / "share"),
        "XDG_CONFIG_HOME": os.fspath(data_dir / "config"),
        "XDG_CACHE_HOME": os.fspath(data_dir / "cache"),
        "HOME": os.fspath(data_dir),
        "OMP_NUM_THREADS": "1",
    }
    with running_process(
        "libretranslate",
        command,
        data_dir=data_dir,
        ready=lambda: _is_up(chosen),
        deadline_seconds=_DEADLINE_SECONDS,
        environment=environment,
    ) as process:
        yield LibreTranslateServer(chosen, process.pid, data_dir, api_key, fails_on)
