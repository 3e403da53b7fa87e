"""The run's side of its workers: how they begin, what they say, how they end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dagster._core.events import DagsterEvent

from conversation_analytics.executors.orders import STOP, EngineMissing, StepBroke, StepDone
from conversation_analytics.executors.worker_main import Surroundings, serve_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.process import BaseProcess

    from conversation_analytics.executors.devices import DeviceLease
    from conversation_analytics.executors.orders import StepOrder, WorkerSetup

# Imported once in the fork server. Opening an instance and executing a step import hundreds of
# modules lazily: what is missing here is paid by every worker.
PRELOAD = (
    "dagster",
    "polars",
    "pyarrow.parquet",
    "sqlalchemy.dialects.sqlite",
    "dagster._core.storage.event_log.sqlite.sqlite_event_log",
    "dagster._core.storage.runs.sqlite.sqlite_run_storage",
    "dagster._core.storage.schedules.sqlite.sqlite_schedule_storage",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.fs_io_manager",
    "dagster._core.run_coordinator.default_run_coordinator",
    "dagster._core.launcher.default_run_launcher",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.storage.root",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.definitions.external_asset",
    "dagster._core.system_config.composite_descent",
    "dagster._core.workspace.autodiscovery",
    "dagster._core.instance.factory",
    "dagster._core.secrets.loader",
    "dagster._core.secrets.env_file",
    "dagster._core.types.primitive_mapping",
    "dagster._core.types.transform_typing",
    "dagster._core.storage.migration.utils",
    "dagster._utils.temp_file",
    "dagster._core.utility_ops",
    "upath.implementations.local",
    "conversation_analytics.definitions",
    "conversation_analytics.executors.worker_main",
)
_KILLED_WITHIN_S = 5.0
Said = DagsterEvent | StepDone | StepBroke | EngineMissing


class Worker:
    """A process that executes steps, one at a time.

    Attributes:
        order: the step it executes; None where it is idle.
        ending: Dagster's word on the step is said; it closes what the step has used.
        broken: its device has failed it; with this process nothing more can be computed there.
        idle_since: monotonic seconds since when it is idle.
        device: the GPU it has; empty on the CPU.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes] | BaseProcess,
        connection: multiprocessing.connection.Connection,
        device: str = "",
    ) -> None:
        """Take over a process that has just begun."""
        self._process = process
        self.connection = connection
        self.device = device
        self.order: StepOrder | None = None
        self.ending = False
        self.broken = False
        self.idle_since = time.monotonic()
        self._stopped = False

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid or 0

    @property
    def exit_code(self) -> int | None:
        """None while it lives; the negative number of the signal that killed it."""
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll()
        return self._process.exitcode

    def start(self, order: StepOrder) -> None:
        """Order a step; where the worker has died the next `said` tells."""
        self.order = order
        with contextlib.suppress(OSError):
            self.connection.send(order)

    def finish(self) -> None:
        """Note that the step is over."""
        self.order = None
        self.ending = False
        self.idle_since = time.monotonic()

    def said(self) -> Said | None:
        """Return the next thing it says; call where the connection has something.

        Raises:
            EOFError: it is dead and has said all.
        """
        try:
            message: Said = self.connection.recv()
        except OSError as error:  # it died within a message
            raise EOFError from error
        return message

    def died(self) -> bool:
        """Whether it is dead and has said all; an idle one has nothing to say."""
        # The end of what a dead one says is something to receive, too: it is for who awaits a step.
        return self.exit_code is not None and (self.order is None or not self.connection.poll())

    def stop(self) -> None:
        """Ask it to end; a step is interrupted."""
        if not self._stopped:
            self._stopped = True
            with contextlib.suppress(OSError):
                self.connection.send(STOP)

    def end(self, grace_s: float) -> int | None:
        """Stop it, wait, kill it where it goes on, and return its exit code."""
        self.stop()
        if not self._wait(grace_s):
            self.kill()
        self.connection.close()
        return self.exit_code

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._wait(_KILLED_WITHIN_S)

    def _wait(self, seconds: float) -> bool:
        if isinstance(self._process, subprocess.Popen):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        else:
            self._process.join(seconds)
        return self.exit_code is not None


def start_cpu_worker(setup: WorkerSetup, preload: Sequence[str] = PRELOAD) -> Worker:
    """Fork a worker from the warm server, which begins with the first one.

    Args:
        setup: of the run.
        preload: modules that the server imports; it has one list as long as it lives.

    Raises:
        OSError: no process could be made, or the server died over it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    ours, theirs = context.Pipe()
    surroundings = Surroundings(dict(os.environ), str(Path.cwd()))
    process = context.Process(target=serve_in, args=(surroundings, theirs, setup), name="cpu-lane")
    try:
        with theirs:
            process.start()
    except (OSError, EOFError) as error:  # the server's own error ends it, and its pipe
        ours.close()
        raise OSError(
            f"no process for a CPU worker: {str(error) or type(error).__name__}"
        ) from error
    return Worker(process, ours)


def start_gpu_worker(setup: WorkerSetup, lease: DeviceLease, device: str) -> Worker:
    """Begin a fresh process that has one device, and the device's lease as long as it lives.

    Args:
        setup: of the run.
        lease: of the device; closed here.
        device: as CUDA_VISIBLE_DEVICES names it.

    Raises:
        OSError: no process could be made.
    """
    ours, theirs = multiprocessing.Pipe()
    descriptor = theirs.fileno()
    with theirs, contextlib.closing(lease):
        # A fresh interpreter rather than a fork: nothing has been loaded that looks for a device.
        process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
            [sys.executable, "-m", "conversation_analytics.executors.gpu_worker", str(descriptor)],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": device},
            pass_fds=(descriptor, lease.descriptor),
        )
    worker = Worker(process, ours, device)
    with contextlib.suppress(OSError):  # died already: its exit code tells
        ours.send([path or str(Path.cwd()) for path in sys.path])
        ours.send(setup)
    return worker
