"""Private child processes on loopback: start, wait until ready, stop, leave nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from conversation_analytics.stack.errors import StackStartError, StackUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LOOPBACK = "127.0.0.1"
STOP_SECONDS = 15.0
_POLL_SECONDS = 0.1
_LOG_TAIL_BYTES = 2000
_CHILD = Path(__file__).with_name("_child.py")
# Port and port + 10000 both stay below Linux's range for outgoing connections (32768),
# so that no client of this machine takes one between our look and the server's bind.
_PORTS = range(11000, 22000)

logger = logging.getLogger(__name__)


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free, and so is the one 10000 above it.

    SeaweedFS opens its gRPC port 10000 above each of its HTTP ports.

    Raises:
        StackStartError: none of 200 random candidates was free.
    """
    chooser = random.SystemRandom()
    for _ in range(200):
        port = chooser.choice(_PORTS)
        if port_is_free(port) and port_is_free(port + 10000):
            return port
    message = (
        f"no free port found on {LOOPBACK}: 200 candidates in {_PORTS.start}-{_PORTS.stop} were "
        "taken; stop other servers of this machine and try again"
    )
    raise StackStartError(message)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step, readable by its owner only."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w") as file:  # mkstemp made it 0600
        file.write(text)
    Path(name).replace(path)


def log_tail(path: Path) -> str:
    """Return the last 2000 bytes of a log file, empty where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        return log.read().decode("utf-8", errors="replace")


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path`; where somebody else does, wait or say so at once.

    Raises:
        StackStartError: another process holds it and `wait` is false.
    """
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = (
                f"{what}: {path.parent} is in use by another process; stop that one, or choose "
                "another data directory"
            )
            raise StackStartError(message) from error
        yield


def stop_process(
    process: subprocess.Popen[bytes], stop_signal: signal.Signals = signal.SIGTERM
) -> None:
    """Ask the process to stop, wait 15 s, then kill what is left of its group."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("pid %d ignored %s for %g s", process.pid, stop_signal, STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):  # the normal case: the group is empty
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_ready(
    name: str,
    process: subprocess.Popen[bytes],
    ready: Callable[[], bool],
    deadline_seconds: float,
    log_path: Path,
) -> None:
    started = time.monotonic()
    while True:
        if process.poll() is not None:
            found = f"ended with status {process.returncode}"
            break
        if ready():
            logger.info(
                "%s ready pid=%d seconds=%.1f", name, process.pid, time.monotonic() - started
            )
            return
        if time.monotonic() - started > deadline_seconds:
            found = f"was not ready after {deadline_seconds:g} s"
            break
        time.sleep(_POLL_SECONDS)
    message = f"{name} {found}; its log {log_path} ends with:\n{log_tail(log_path)}"
    raise StackStartError(message)


@contextlib.contextmanager
def running_process(
    name: str,
    command: Sequence[str],
    *,
    data_dir: Path,
    ready: Callable[[], bool],
    deadline_seconds: float,
    environment: Mapping[str, str] | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the length of a `with` block.

    It gets its own process group (a Ctrl-C in the terminal reaches us, not it) and, on
    Linux, `stop_signal` when the calling thread ends. Its output goes to
    `data_dir/<name>.log`.

    Args:
        name: short name for messages and the log file.
        command: program and arguments.
        data_dir: existing folder of the server, used by one process at a time.
        ready: tells whether the server answers; called every 0.1 s.
        deadline_seconds: longest wait for `ready`.
        environment: variables of the server beside PATH, HOME, LANG and TMPDIR; nothing else
            is inherited, so that no credential of the caller reaches it.
        stop_signal: what asks the server to stop in good order.

    Raises:
        StackUnavailableError: the program does not exist.
        StackStartError: the folder is in use, or the server ended or was not ready in time.
    """
    if not (os.path.sep not in command[0] or Path(command[0]).exists()):
        message = f"{name}: program {command[0]} does not exist; install the `stack` extra again"
        raise StackUnavailableError(message)
    inherited = {
        key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ
    }
    log_path = data_dir / f"{name}.log"
    wrapper = [sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), str(int(stop_signal))]
    with locked(data_dir / f"{name}.lock", name), log_path.open("ab") as log:
        process = subprocess.Popen(
            [*wrapper, *command],
            cwd=data_dir,
            env={**inherited, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            _wait_until_ready(name, process, ready, deadline_seconds, log_path)
            yield process
        finally:
            stop_process(process, stop_signal)
