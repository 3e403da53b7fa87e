"""Dask's own scheduler and workers, as an operator starts them: processes with nothing of ours."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conversation_analytics.stack.processes import free_port, running_process

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_DASK = (sys.executable, "-m", "dask")
_QUIET = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(slots=True)
class DaskProcesses:
    """A scheduler and its workers, each of one thread; nobody replaces one that is killed."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def kill_worker(self, number: int = 0) -> None:
        os.killpg(self.workers[number].pid, signal.SIGKILL)

    def kill_scheduler(self) -> None:
        os.killpg(self.scheduler.pid, signal.SIGKILL)


@contextlib.contextmanager
def running_dask(
    folder: Path,
    workers: int = 2,
    environment: Mapping[str, str] | None = None,
    pem: Path | None = None,
) -> Iterator[DaskProcesses]:
    """Run a scheduler and workers, each with its own empty folder and environment.

    With `pem`, a key and its certificate, they speak TLS.
    """
    protocol = "tls" if pem else "tcp"
    keys = [f"--tls-{name}={pem}" for name in ("ca-file", "cert", "key")] if pem else []
    with contextlib.ExitStack() as stack:
        port = free_port()
        home = folder / "scheduler"
        home.mkdir()
        scheduler = stack.enter_context(
            running_process(
                "scheduler",
                [*_DASK, "scheduler", "--host", "127.0.0.1", "--port", str(port),
                 "--dashboard-address", "127.0.0.1:0", "--protocol", protocol, *keys],
                data_dir=home, ready=lambda: _answers(port), deadline_seconds=60,
                environment=environment, stop_signal=signal.SIGKILL,
            )
        )  # fmt: skip
        found = DaskProcesses(f"{protocol}://127.0.0.1:{port}", scheduler)
        for number in range(workers):
            home = folder / f"worker{number}"
            home.mkdir()
            # The run waits for a worker by itself.
            command = [*_DASK, "worker", found.address, "--nthreads", "1", "--no-nanny",
                       "--host", "127.0.0.1", "--no-dashboard", "--memory-limit", "0",
                       "--local-directory", str(home), *keys]  # fmt: skip
            found.workers.append(
                stack.enter_context(
                    running_process(
                        "worker", command, data_dir=home, ready=lambda: True, deadline_seconds=60,
                        environment={**_QUIET, **(environment or {})}, stop_signal=signal.SIGKILL,
                    )
                )
            )  # fmt: skip
        yield found


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
