"""The GPU lane: a worker a device, begun with its first step and kept for the next ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conversation_analytics.executors.devices import try_lease
from conversation_analytics.executors.workers import Worker, start_gpu_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dagster._core.execution.plan.step import ExecutionStep

    from conversation_analytics.executors.lanes import LaneConfig
    from conversation_analytics.executors.orders import WorkerSetup

_DEATHS_A_DEVICE = 2


class GpuLane:
    """Steps that wait for a device, and the workers that have one.

    Attributes:
        workers: at most one a device.
        leaving: workers that are to end, and until when (monotonic seconds) they may take; they
            keep their device meanwhile.
        waiting: steps, and since when (monotonic seconds) each waits.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        config: LaneConfig,
        list_devices: Callable[[], Sequence[str]],
    ) -> None:
        """Begin without devices: they are listed when the first step comes."""
        self._setup = setup
        self._config = config
        self._list_devices = list_devices
        self._devices: list[str] | None = None
        self._deaths: dict[str, int] = {}
        self._refused = ""
        self.workers: list[Worker] = []
        self.leaving: dict[Worker, float] = {}
        self.waiting: list[tuple[ExecutionStep, float]] = []

    @property
    def room(self) -> int:
        """Steps that could be executed beside those that are, as far as is known."""
        busy = sum(worker.order is not None for worker in self.workers)
        if not self._config.rules.gpu:
            return 0
        return 1 if self._devices is None else len(self._devices) - busy

    def add(self, step: ExecutionStep) -> None:
        """Let a step wait for a device."""
        if self._devices is None:
            self._devices = list(dict.fromkeys(self._list_devices()))
        self.waiting.append((step, time.monotonic()))

    def given_up(self) -> Iterator[tuple[ExecutionStep, str]]:
        """Take the steps that get no device, with the reason."""
        waiting, self.waiting = self.waiting, []
        for step, since in waiting:
            if not self._devices:
                yield step, self._refused or "no device is visible to this process"
            elif time.monotonic() - since > self._config.wait_s:
                yield step, f"no device was free for {self._config.wait_s:g} s"
            else:
                self.waiting.append((step, since))

    def ready(self) -> Iterator[tuple[ExecutionStep, Worker]]:
        """Take the steps that have a device now, with its worker.

        Workers that nothing has been for some time give their device back.
        """
        while self.waiting and (worker := self._free_worker()) is not None:
            yield self.waiting.pop(0)[0], worker
        for worker in list(self.workers):
            idle = worker.order is None and not self.waiting
            if idle and time.monotonic() - worker.idle_since > self._config.idle_s:
                self.release(worker)
        for worker, until in list(self.leaving.items()):
            if worker.exit_code is not None or time.monotonic() > until:
                worker.end(0)
                del self.leaving[worker]

    def refuse(self, worker: Worker, because: str) -> None:
        """Do without a device whose engine cannot be opened."""
        self._without(worker.device, because)
        self.release(worker)

    def lost(self, worker: Worker) -> None:
        """Count a worker that died or whose device failed: after two do without the device."""
        deaths = self._deaths[worker.device] = self._deaths.get(worker.device, 0) + 1
        if deaths >= _DEATHS_A_DEVICE:
            self._without(worker.device, f"{deaths} of its workers were lost in this run")

    def release(self, worker: Worker) -> None:
        """Have a worker end, without waiting for it."""
        self.workers.remove(worker)
        worker.stop()
        self.leaving[worker] = time.monotonic() + self._config.grace_s

    def _without(self, device: str, because: str) -> None:
        self._refused = because if device in because else f"device {device}: {because}"
        if self._devices is not None and device in self._devices:
            self._devices.remove(device)

    def _free_worker(self) -> Worker | None:
        for worker in self.workers:
            if worker.order is None and worker.exit_code is None:
                return worker
        taken = {worker.device for worker in self.workers}
        for device in list(self._devices or ()):
            if device in taken:
                continue
            try:
                begun = self._new_worker(device)
            except OSError as error:  # no folder for leases, no process: the CPU has room
                self._without(device, f"no worker could begin: {error}")
                continue
            if begun is not None:
                self.workers.append(begun)
                return begun
        return None

    def _new_worker(self, device: str) -> Worker | None:
        """Begin a worker, or return None where another run has the device."""
        lease = try_lease(self._config.lease_folder, device)
        if lease is None:
            return None
        return start_gpu_worker(self._setup, lease, device)
