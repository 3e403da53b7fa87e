"""Commands as a container runs them: another user, no rights, nothing that can be written."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NOBODY = 65534
# Everything below / is read-only in a mount namespace of its own, but the scratch folder.
_READ_ONLY = 'mount --bind "$1" "$1"; mount -o remount,bind,ro /; cd "$1"; shift; exec "$@"'


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder that the confined user may write."""
    # Not below pytest's own, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="scratch-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        yield folder


def _as_nobody(*capabilities: str) -> list[str]:
    granted = ",".join(["-all", *(f"+{one}" for one in capabilities)])
    return [
        "setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs",
        f"--bounding-set={granted}", f"--inh-caps={granted}", f"--ambient-caps={granted}",
    ]  # fmt: skip


@functools.cache
def _user() -> tuple[str, ...]:
    """Return what makes a command another user's; a Python in root's home needs a right to read."""
    if os.geteuid() != 0:
        return ()
    plain = _as_nobody()
    # Through a shell: what setpriv itself starts is still found with root's eyes.
    runs = subprocess.run(
        [*plain, "sh", "-c", '"$0" -c ""', sys.executable], capture_output=True, check=False
    )
    return tuple(plain if runs.returncode == 0 else _as_nobody("dac_read_search"))


def confined(command: Sequence[str], scratch: Path) -> list[str]:
    """Return the command that runs `command` with `scratch` as the only place it can write.

    It needs util-linux, and root or user namespaces; without, tests are skipped but for CI.
    """
    if (problem := _problem()) is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must not skip tests: {problem}")
        pytest.skip(problem)
    return [*_namespace(), os.fspath(scratch), *_user(), *command]


def _namespace() -> list[str]:
    mine = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--mount", "--propagation=private", *mine, "sh", "-ec", _READ_ONLY, "sh"]


@functools.cache
def _problem() -> str | None:
    for program in ("unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} (util-linux) is not installed"
    with scratch_folder() as scratch:
        tried = subprocess.run(
            [*_namespace(), os.fspath(scratch), "true"], capture_output=True, text=True, check=False
        )
    return None if tried.returncode == 0 else f"no read-only mounts here: {tried.stderr.strip()}"
