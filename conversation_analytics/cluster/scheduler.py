"""The Dask cluster of a process: the given one, or one of this machine. All that Dask is told."""

from __future__ import annotations

import functools
import gc
import importlib.util
import logging
import time
import uuid
from collections import deque
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from conversation_analytics.core.errors import (
    AnalyticsError,
    ClusterUnavailableError,
    SettingsError,
    WorkerMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from distributed import Client, Future, LocalCluster

    from conversation_analytics.cluster.requests import BatchRequest, DoneBatch
    from conversation_analytics.settings import Settings

Told = TypeVar("Told")
_CONNECT_S: Final = 10.0
_NO_WORKERS_S: Final = 60.0
_LOOK_S: Final = 2.0
_AHEAD: Final = 2
"""Batches given out for each thread of the cluster: the one it is at, and the next."""
NOT_LOADED: Final = "Error during deserialization"
_HERE: Final = "a cluster of this machine"


@dataclass(frozen=True, slots=True)
class ClusterPlace:
    """Which cluster is meant.

    Attributes:
        address: of its scheduler; empty: one of this machine, started when it is first needed.
        workers: processes of a cluster of this machine.
        no_workers_s: how long a cluster may be without workers before that is an error.
        connect_s: how long its scheduler may take to answer.
    """

    address: str
    workers: int
    no_workers_s: float = _NO_WORKERS_S
    connect_s: float = _CONNECT_S

    @property
    def name(self) -> str:
        """The place in words."""
        return self.address or _HERE


@dataclass(slots=True)
class _Work:
    """Requests that wait, those that are given out, and the first failure."""

    waiting: deque[tuple[str, BatchRequest]]
    running: dict[Future[DoneBatch], str] = field(default_factory=dict)
    failure: AnalyticsError | None = None

    @property
    def goes_on(self) -> bool:
        """Whether anything is to be waited for, or to be given out."""
        return bool(self.running) or (bool(self.waiting) and self.failure is None)

    def give_out(
        self, client: Client, function: Callable[[BatchRequest], DoneBatch], most: int
    ) -> None:
        """Give out requests until so many are running; none after a failure."""
        while self.waiting and self.failure is None and len(self.running) < most:
            name, request = self.waiting.popleft()
            key = f"{name} {uuid.uuid4().hex[:8]}"
            # As one thing: Dask would look for tasks in each of the request's parts.
            task = functools.partial(function, request)
            self.running[client.submit(task, key=key, pure=False)] = name

    def finished(self) -> list[tuple[Future[DoneBatch], str]]:
        """Wait a little; return, and forget, what has come to an end."""
        import distributed  # noqa: PLC0415

        try:
            ended = distributed.wait(
                list(self.running), timeout=_LOOK_S, return_when="FIRST_COMPLETED"
            ).done
        except distributed.TimeoutError:
            return []
        return [(future, self.running.pop(future)) for future in ended]

    def let_go(self) -> None:
        """Tell the scheduler that nobody wants what is still running."""
        for future in self.running:
            future.release()


class DaskCluster:
    """A connection to the cluster, opened when it is first needed."""

    def __init__(self, place: ClusterPlace) -> None:
        """Keep the place; nothing is started or asked yet."""
        self._place = place
        self._local: LocalCluster | None = None
        self._client: Client | None = None

    @property
    def address(self) -> str:
        """Address of the scheduler.

        Raises:
            ClusterUnavailableError, SettingsError: as `open`.
        """
        client = self.open()
        return str(client.scheduler.address if client.scheduler else self._place.address)

    @property
    def dashboard(self) -> str:
        """Address of Dask's dashboard; it shows what the workers are at."""
        return str(self.open().dashboard_link or "")

    def threads(self) -> int:
        """Return the threads that all workers have now.

        Raises:
            ClusterUnavailableError: the scheduler does not answer.
        """
        return self._threads_of(self.open())

    def _threads_of(self, client: Client) -> int:
        try:
            held: Mapping[str, int] = client.nthreads()
        except (OSError, TimeoutError) as error:
            raise self._away(type(error).__name__) from error
        return sum(held.values())

    def offers(self) -> list[Mapping[str, float]]:
        """Return what each worker offers beside its threads: Dask's `resources`, mostly none.

        Raises:
            ClusterUnavailableError: the scheduler does not answer.
        """
        client = self.open()
        if client.scheduler is None:
            raise self._away("the connection was lost")
        try:
            told = client.sync(client.scheduler.identity, n_workers=-1)
        except (OSError, TimeoutError) as error:
            raise self._away(type(error).__name__) from error
        return [worker["resources"] for worker in told["workers"].values()]

    @staticmethod
    def require_dask() -> None:
        """Look whether Dask is there, without loading it.

        Raises:
            SettingsError: it is not installed.
        """
        for package in ("distributed", "dagster_dask"):
            if importlib.util.find_spec(package) is None:
                raise SettingsError(
                    f"EXECUTOR wants a Dask cluster, but {package} is not installed: install the "
                    "extra conversation-analytics[dask], or set EXECUTOR=in_process"
                )

    def ask_all(self, function: Callable[[Settings], Told], settings: Settings) -> list[Told]:
        """Let every worker call `function`, and return what each says.

        Raises:
            ClusterUnavailableError: the scheduler or a worker does not answer.
            WorkerMismatchError: a worker cannot load the function.
        """
        client = self.open()
        try:
            told: Mapping[str, Told] = client.run(function, settings)
        except ImportError as error:
            raise without_our_code(self._place.name) from error
        except OSError as error:
            raise self._away(type(error).__name__) from error
        return list(told.values())

    def open(self) -> Client:
        """Connect where there is no connection; without an address start a cluster.

        Raises:
            ClusterUnavailableError: the scheduler does not answer, or has no workers.
            SettingsError: Dask has no certificates for a tls:// address.
        """
        if self._client is not None and self._client.status == "running":
            return self._client
        self.close()  # what is left of a connection that was lost
        import distributed  # noqa: PLC0415 - a third of a second, and an extra

        if not self._place.address:
            self._local = _local_cluster(self._place.workers)
        client: distributed.Client | None = None
        failed: AnalyticsError | None = None
        try:
            client = distributed.Client(
                self._local or self._place.address, timeout=self._place.connect_s
            )
        except OSError:
            failed = self._away("no answer")
        except TypeError:  # Dask's way to say that there is no certificate
            failed = SettingsError(
                f"DASK_SCHEDULER_ADDRESS: {self._place.address}: Dask has no certificates to speak "
                "TLS with: name them in Dask's own configuration, distributed.comm.tls.*, see "
                "docs/dask.md"
            )
        if client is None or failed is not None:
            # A client that is half made closes as it is collected, and waits for a lock of Dask
            # that the thread in which that happens may hold. Here it holds none.
            gc.collect()
            raise failed or self._away("no answer")
        self._client = client
        self._wait_for_workers(client)
        return client

    def compute(
        self,
        function: Callable[[BatchRequest], DoneBatch],
        requests: Iterable[tuple[str, BatchRequest]],
        done: Callable[[DoneBatch, int], None],
    ) -> None:
        """Let the workers call `function` for each of the requests, and wait for all of them.

        What a lost worker was at is given to another one. After a failure nothing new is given
        out, and what has begun is waited for: nobody writes any more once this has raised.

        Args:
            function: at the top of a module that workers can import.
            requests: with a name that the dashboard shows.
            done: called in this thread with each result and the threads of the cluster.

        Raises:
            AnalyticsError: the first error of a worker, as it was there.
            ClusterUnavailableError: the scheduler does not answer; there are no workers any more;
                or the same request has ended several of them.
        """
        client, work, alive_at = self.open(), _Work(deque(requests)), time.monotonic()
        try:
            while work.goes_on:
                threads = self._threads_of(client)
                if threads:
                    alive_at = time.monotonic()
                elif time.monotonic() - alive_at > self._place.no_workers_s:
                    raise self._without_workers()
                work.give_out(client, function, max(1, threads * _AHEAD))
                for future, name in work.finished():
                    try:
                        result = self._result(future, name)
                    except AnalyticsError as error:
                        work.failure = work.failure or error
                    else:
                        done(result, threads)
        except CancelledError as error:
            raise self._away("the connection was lost") from error
        finally:
            work.let_go()
        if work.failure is not None:
            raise work.failure

    def close(self) -> None:
        """Leave the cluster; one of this machine ends."""
        client, self._client = self._client, None
        local, self._local = self._local, None
        if client is not None:
            client.close()
        if local is not None:
            local.close()

    def _result(self, future: Future[DoneBatch], name: str) -> DoneBatch:
        import distributed  # noqa: PLC0415

        try:
            return future.result()
        except distributed.KilledWorker as error:
            raise ClusterUnavailableError(
                f"{self._place.name}: {name}: expected a worker to compute these days, got "
                f"{error.allowed_failures + 1} of them that ended at it: give workers more memory "
                "(a day is computed as a whole), and look at their logs"
            ) from error
        except (ImportError, RuntimeError) as error:
            # The scheduler says so in words, a worker with an ImportError.
            if isinstance(error, RuntimeError) and NOT_LOADED not in str(error):
                raise
            raise without_our_code(f"{self._place.name}: {name}") from error

    def _wait_for_workers(self, client: Client) -> None:
        import distributed  # noqa: PLC0415

        try:
            client.wait_for_workers(1, timeout=self._place.no_workers_s)
        except (distributed.TimeoutError, TimeoutError) as error:
            self.close()
            raise self._without_workers() from error

    def _away(self, got: str) -> ClusterUnavailableError:
        return ClusterUnavailableError(
            f"Dask scheduler {self._place.name}: expected an answer, got none ({got}): is `dask "
            "scheduler` up and DASK_SCHEDULER_ADDRESS right, and may this machine reach it?"
        )

    def _without_workers(self) -> ClusterUnavailableError:
        return ClusterUnavailableError(
            f"Dask scheduler {self._place.name}: expected workers, got none in "
            f"{self._place.no_workers_s:g} s: start some with `dask worker {self._place.address}`"
        )


def without_our_code(where: str) -> WorkerMismatchError:
    """Return the error of a cluster that cannot load what it is sent."""
    return WorkerMismatchError(
        f"{where}: expected this platform on the scheduler and its workers, got one that cannot "
        "load its code: install the same lock and the same code on each of them"
    )


def _local_cluster(workers: int) -> LocalCluster:
    """Start workers of one thread each on this machine.

    They speak TLS with keys that are nowhere but in their memory: whoever can connect to a
    scheduler can run code, and other users of the machine can connect to its ports.
    """
    import distributed  # noqa: PLC0415

    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        security=distributed.Security.temporary(),
        memory_limit=0,  # as in one process: the machine's own limit counts
        silence_logs=logging.ERROR,
        env={"POLARS_MAX_THREADS": "1"},  # workers share the processors out among them
    )
