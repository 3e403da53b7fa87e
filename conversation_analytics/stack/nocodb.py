"""A private NocoDB, the real one from npm, with an administrator and an API token."""

from __future__ import annotations

import contextlib
import json
import secrets
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from conversation_analytics.stack.errors import StackStartError
from conversation_analytics.stack.nocodb_install import ensure_installed, node_programs
from conversation_analytics.stack.processes import (
    LOOPBACK,
    free_port,
    running_process,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMIN_EMAIL = "admin@example.com"
_DEADLINE_SECONDS = 240.0
_REQUEST_SECONDS = 60.0
_OK = 200
_SERVER = Path(__file__).with_name("nocodb_server.js")


@dataclass(frozen=True, slots=True)
class NocodbServer:
    """A running NocoDB.

    Attributes:
        base_url: address, plain HTTP on 127.0.0.1, no slash at its end.
        api_token: for header `xc-token`, not shown by `repr`.
        admin_email: for the web page.
        admin_password: for the web page, not shown by `repr`.
        pid: process id.
    """

    base_url: str
    api_token: str = field(repr=False)
    admin_email: str
    admin_password: str = field(repr=False)
    pid: int

    def request(
        self, method: str, path: str, body: object = None, params: dict[str, str] | None = None
    ) -> Any:
        """Return the JSON answer of the API at `path` (with its leading slash).

        Raises:
            StackStartError: the answer is not 2xx.
        """
        return _request(
            method, self.base_url + path, {"xc-token": self.api_token}, body, params=params
        )


def _request(
    method: str,
    url: str,
    headers: dict[str, str],
    body: object = None,
    params: dict[str, str] | None = None,
) -> Any:
    answer = requests.request(
        method, url, headers=headers, json=body, params=params, timeout=_REQUEST_SECONDS
    )
    if not answer.ok:
        message = (
            f"NocoDB answered {answer.status_code} to {method} {urllib.parse.urlsplit(url).path}: "
            f"{answer.text[:500]}"
        )
        raise StackStartError(message)
    return answer.json()


def _is_healthy(base_url: str) -> bool:
    try:
        answer = requests.get(base_url + "/api/v1/health", timeout=5)
    except (requests.ConnectionError, requests.Timeout):
        return False
    return answer.status_code == _OK


def _secrets_of(data_dir: Path) -> dict[str, str]:
    """Return the secrets made up at the first start and kept for the next ones."""
    path = data_dir / "secrets.json"
    if not path.exists():
        made = {"password": secrets.token_urlsafe(16) + "a1!A", "jwt": secrets.token_hex(32)}
        write_private(path, json.dumps(made))
    kept: dict[str, str] = json.loads(path.read_text())
    return kept


def _api_token(base_url: str, data_dir: Path, password: str) -> str:
    path = data_dir / "api_token"
    if path.exists():
        return path.read_text()
    signed_in = _request(
        "POST",
        base_url + "/api/v1/auth/user/signin",
        {},
        {"email": ADMIN_EMAIL, "password": password},
    )
    made = _request(
        "POST",
        base_url + "/api/v1/tokens",
        {"xc-auth": signed_in["token"]},
        {"description": "conversation analytics"},
    )
    token: str = made["token"]
    write_private(path, token)
    return token


@contextlib.contextmanager
def running_nocodb(data_dir: Path, port: int | None = None) -> Iterator[NocodbServer]:
    """Run NocoDB on `data_dir` (made if absent, kept afterwards) until the block ends.

    The first call on a machine installs it from npm (about 4 minutes); every start takes
    about half a minute. Its own data lies in SQLite; administrator and token stay the same
    over restarts.

    Raises:
        StackUnavailableError: Node or npm is absent or too old.
        StackStartError: the install failed, it was not ready within 240 s, or it refused
            the set-up.
    """
    data_dir = data_dir.absolute()
    installed = ensure_installed()
    node, _ = node_programs()
    data_dir.mkdir(parents=True, exist_ok=True)
    kept = _secrets_of(data_dir)
    chosen = free_port() if port is None else port
    base_url = f"http://{LOOPBACK}:{chosen}"
    database = urllib.parse.quote(str(data_dir / "nocodb.sqlite"))
    with running_process(
        "nocodb",
        [node, str(_SERVER), str(installed), str(chosen)],
        data_dir=data_dir,
        ready=lambda: _is_healthy(base_url),
        deadline_seconds=_DEADLINE_SECONDS,
        environment={
            "NC_DB": f"sqlite3:///?d={database}",
            "NC_TOOL_DIR": str(data_dir),
            "NC_ADMIN_EMAIL": ADMIN_EMAIL,
            "NC_ADMIN_PASSWORD": kept["password"],
            "NC_AUTH_JWT_SECRET": kept["jwt"],
            "NC_DISABLE_TELE": "true",
        },
    ) as process:
        yield NocodbServer(
            base_url=base_url,
            api_token=_api_token(base_url, data_dir, kept["password"]),
            admin_email=ADMIN_EMAIL,
            admin_password=kept["password"],
            pid=process.pid,
        )
