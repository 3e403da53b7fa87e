"""The npm install of NocoDB, made once a machine and kept in a cache folder."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from conversation_analytics.stack.errors import StackStartError, StackUnavailableError
from conversation_analytics.stack.processes import locked, log_tail

VERSION = "0.301.3"
_OLDEST_NODE = 20
_INSTALL_SECONDS = 1200.0
# xlsx's newer releases are served by a host of their own only; this one is in the registry.
_PACKAGE = {
    "private": True,
    "dependencies": {"nocodb": VERSION},
    "overrides": {"xlsx": "0.18.5"},
}

logger = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Return the cache folder: `CONVERSATION_ANALYTICS_CACHE`, else `~/.cache/...`."""
    named = os.environ.get("CONVERSATION_ANALYTICS_CACHE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "conversation-analytics"


def install_dir() -> Path:
    """Return where the install of this version is, or will be."""
    return cache_dir() / f"nocodb-{VERSION}"


def node_programs() -> tuple[str, str]:
    """Return the paths of `node` and `npm`.

    Raises:
        StackUnavailableError: one is absent, or Node is older than 20.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    hint = "install Node.js 20 or newer with npm, or leave NocoDB out (`--no-nocodb`)"
    if node is None or npm is None:
        missing = "node" if node is None else "npm"
        message = f"NocoDB needs `{missing}`, which is not on PATH: {hint}"
        raise StackUnavailableError(message)
    shown = subprocess.run([node, "--version"], capture_output=True, check=False, text=True)
    major = re.match(r"v(\d+)\.", shown.stdout)
    if major is None or int(major[1]) < _OLDEST_NODE:
        message = f"NocoDB needs Node.js {_OLDEST_NODE} or newer, found {shown.stdout!r}: {hint}"
        raise StackUnavailableError(message)
    return node, npm


def _run_npm(command: list[str], folder: Path, environment: dict[str, str], log_path: Path) -> None:
    with log_path.open("ab") as log:
        try:
            status = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=_INSTALL_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired as error:
            message = f"`npm {command[1]}` of NocoDB took over {_INSTALL_SECONDS:g} s; try again"
            raise StackStartError(message) from error
    if status != 0:
        message = (
            f"`npm {command[1]}` of NocoDB ended with status {status}; it needs the npm registry, "
            f"Python and a C++ compiler. Its log {log_path} ends with:\n{log_tail(log_path)}"
        )
        raise StackStartError(message)


def ensure_installed() -> Path:
    """Return the folder with NocoDB in it, installing it first where absent (about 4 minutes).

    The install is made in a folder beside it and renamed when whole, so that a killed one
    leaves nothing half behind; a second process waits for the first.

    Raises:
        StackUnavailableError: Node or npm is absent or too old.
        StackStartError: npm failed.
    """
    node, npm = node_programs()
    target = install_dir()
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    headers_root = Path(node).resolve().parent.parent
    if (headers_root / "include" / "node" / "node.h").exists():
        # sqlite3 is compiled: with the headers at hand node-gyp downloads none.
        environment["npm_config_nodedir"] = str(headers_root)
    with locked(target.parent / "nocodb.lock", "install of NocoDB", wait=True):
        if target.exists():  # made by whoever held the lock
            return target
        logger.info("installing NocoDB %s from npm into %s (minutes)", VERSION, target)
        started = time.monotonic()
        log_path = target.parent / "nocodb-install.log"
        folder = Path(tempfile.mkdtemp(prefix="nocodb-installing-", dir=target.parent))
        try:
            (folder / "package.json").write_text(json.dumps(_PACKAGE))
            (folder / ".npmrc").write_text("omit-lockfile-registry-resolved=true\n")
            install = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
            _run_npm(install, folder, environment, log_path)
            _run_npm([npm, "rebuild", "sqlite3"], folder, environment, log_path)
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        logger.info("installed NocoDB %s in %.0f s", VERSION, time.monotonic() - started)
    return target
