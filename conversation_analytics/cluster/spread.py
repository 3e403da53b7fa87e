"""The days of a range run, shared out over the workers of a Dask cluster."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from conversation_analytics.assets.from_source import source_assets
from conversation_analytics.assets.partitions import daily_chain
from conversation_analytics.cluster.requests import files_to_send, settings_to_send
from conversation_analytics.cluster.scheduler import ClusterPlace, DaskCluster
from conversation_analytics.cluster.versions import versions_here
from conversation_analytics.cluster.worker import compute_days, steps_for_workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Self

    from conversation_analytics.cluster.requests import BatchRequest, DoneBatch
    from conversation_analytics.io_managers.day_spread import RangeStep, WrittenDays
    from conversation_analytics.settings import Settings

FEWEST_DAYS: Final = 4
"""A shorter range is computed in the run's process: the way to a cluster takes longer."""
_MOST_DAYS: Final = 4
_BATCHES_PER_THREAD: Final = 8
_logger = logging.getLogger("conversation_analytics.cluster")


class DaskDays:
    """A `DaySpread` over a Dask cluster, which is opened at the first range and then kept.

    It is entered by whoever may use it: the last to leave closes the cluster.
    """

    def __init__(self, settings: Settings, place: ClusterPlace | None = None) -> None:
        """Keep the settings; nothing is started or asked yet.

        Raises:
            SettingsError: Dask is not installed.
        """
        DaskCluster.require_dask()
        self._settings = settings
        self._steps = steps_for_workers(source_assets(daily_chain(settings)))
        self._cluster = DaskCluster(
            place or ClusterPlace(settings.dask_scheduler_address, settings.max_workers)
        )
        self._users = 0

    def __enter__(self) -> Self:
        """Keep the cluster open until the end of the block, once it has been opened."""
        self._users += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the cluster if nobody else uses it."""
        self._users -= 1
        if not self._users:
            self._cluster.close()

    def takes(self, step: str, days: int) -> bool:
        """See `DaySpread.takes`."""
        return step in self._steps and days >= FEWEST_DAYS

    def compute(self, step: RangeStep) -> WrittenDays:
        """See `DaySpread.compute`.

        Raises:
            ClusterUnavailableError: the cluster does not answer, or has no workers.
            WorkerMismatchError: a worker is of another version.
            AnalyticsError: as computing the days in this process would.
        """
        started, cluster = time.perf_counter(), self._cluster
        threads, dashboard = cluster.threads(), cluster.dashboard
        batches = list(_batches(step.days, threads))
        step.tell(
            f"{step.name}: {len(step.days)} days in {len(batches)} batches over {threads} threads "
            f"of the Dask cluster {cluster.address}, dashboard {dashboard}"
        )
        requests = self._requests(step, batches)
        written: dict[str, dict[str, dict[str, Any]]] = {}
        stored = 0

        def keep(done: DoneBatch, threads: int) -> None:
            nonlocal stored
            days: set[str] = set()
            for table, by_day in done["written"].items():
                for day, metadata in by_day.items():
                    where = {"worker": done["worker"], "dask_dashboard": dashboard}
                    written.setdefault(table, {})[day] = {**metadata, **where}
                    step.stored(table, day)
                    days.add(day)
            stored += len(days)
            line = (
                f"dask_batch step={step.name} first={min(days)} days={len(days)} "
                f"done={stored}/{len(step.days)} worker={done['worker']} "
                f"seconds={done['seconds']:.3f} threads={threads} "
                f"elapsed={time.perf_counter() - started:.3f}"
            )
            _logger.info(line)
            step.tell(line)

        cluster.compute(compute_days, requests, keep)
        return {table: dict(sorted(by_day.items())) for table, by_day in written.items()}

    def _requests(
        self, step: RangeStep, batches: list[tuple[str, ...]]
    ) -> Iterator[tuple[str, BatchRequest]]:
        settings = settings_to_send(self._settings, self._cluster.address)
        files = files_to_send(self._settings)
        for days in batches:
            wanted = frozenset(days)
            yield (
                f"{step.name} {days[0]} to {days[-1]}",
                {
                    "versions": versions_here(),
                    "settings": settings,
                    "files": files,
                    "step": step.name,
                    "attempt": step.attempt,
                    "days": days,
                    "begun": {
                        (table, day): generation.version
                        for (table, day), generation in step.begun.items()
                        if day in wanted
                    },
                },
            )


def _batches(days: tuple[str, ...], threads: int) -> Iterator[tuple[str, ...]]:
    """Cut days into batches: few enough for one to be lost, several for each thread."""
    size = -(-len(days) // max(1, threads * _BATCHES_PER_THREAD))
    size = max(1, min(size, _MOST_DAYS))
    for first in range(0, len(days), size):
        yield days[first : first + size]
