"""Runs of the command line in processes that are killed: 200 kills fit into minutes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conversation_analytics_tests.faults.processes import warm_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.process import BaseProcess

    from conversation_analytics_tests.faults.limits import Limits

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
_WRITES = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.utime", "fcntl.flock"})
DONE = 0


@dataclass(frozen=True, slots=True)
class Aim:
    """A kill when the process changes files, as seen by Python's audit hooks.

    Attributes:
        events: which of them count.
        number: at which of them, from 1.
        delay_s: how long after it; 0 is just before the operation.
    """

    events: frozenset[str] = _WRITES
    number: int = 0
    delay_s: float = 0.0


@contextmanager
def command(
    folder: Path,
    environment: Mapping[str, str],
    *words: str,
    aim: Aim | None = None,
    limits: Limits | None = None,
) -> Iterator[BaseProcess]:
    """Start `conversation-analytics WORDS...` in `folder`; kill it at the end if it still runs.

    What it prints is in `folder`/printed.txt; the number of its changes to files, where an aim
    is given and it was not killed, in `folder`/changes.txt.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = warm_context().Process(
        target=_typed, args=(folder, kept | dict(environment), words, aim, limits), daemon=True
    )
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _typed(
    folder: Path,
    environment: dict[str, str],
    words: tuple[str, ...],
    aim: Aim | None,
    limits: Limits | None,
) -> None:
    if limits is not None:
        limits.impose()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open("printed.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["conversation-analytics", *words]
    from conversation_analytics.cli import main  # noqa: PLC0415 - preloaded by the server

    changes = _counted(environment["PARQUET_BASE_DIR"], aim) if aim else None
    try:
        main()
    finally:
        if changes is not None:
            Path("changes.txt").write_text(str(changes[0]))


def _counted(root: str, aim: Aim) -> list[int]:
    """Count the process's changes below `root`; kill it at the wanted one."""
    count = [0]
    lock = threading.Lock()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in aim.events or not _changes_files(event, arguments, root):
            return
        with lock:
            count[0] += 1
            number = count[0]
        if number != aim.number:
            return
        if aim.delay_s:
            # The kernel ends the process in the middle of whatever it does by then.
            signal.setitimer(signal.ITIMER_REAL, aim.delay_s)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def _changes_files(event: str, arguments: tuple[Any, ...], root: str) -> bool:
    if event == "fcntl.flock":
        return True
    path = arguments[0]
    below = isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(root)
    if event != "open" or not below:
        return below
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
