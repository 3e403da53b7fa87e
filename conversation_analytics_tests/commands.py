"""Running the documented commands as a person types them, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
CLI = (sys.executable, "-m", "conversation_analytics.cli")
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")


def clean_environment(**environment: str) -> dict[str, str]:
    """Return `environment` and what every process needs; no setting of this machine's."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    return {**kept, "COLUMNS": "120", **environment}


def typed(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `conversation-analytics WORDS` in `folder` until it ends."""
    return subprocess.run(
        [*CLI, *words], cwd=folder, env=clean_environment(**environment),
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def wait_until(met: Callable[[], bool], what: str, log: Path, seconds: float = 120) -> None:
    """Wait until `met()`; fail the test with the end of `log` where that takes too long."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s\n{log.read_text()[-4000:]}")
        time.sleep(0.1)


def descendants(pid: int) -> set[int]:
    """Return the processes that `pid` started, and those that they started (Linux)."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it just ended
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found: set[int] = set()
    new = {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def running(pids: set[int]) -> set[int]:
    """Return those of `pids` that still run; a zombie does not."""
    alive = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            alive.add(pid)
    return alive
