"""`daily_partials` of 90 days with EXECUTOR=dask: two workers against one, and against bare plans.

All read the same Parquet files of a lake, make the partials of a day (with the search for rephrased
questions) and write them as Parquet of the same codec; rows are compared first. Workers have one
thread each and one thread of Polars. Each way has done some days before, as warm workers have.

- ours: the asset in Dagster with EXECUTOR=dask: events, IO managers, fences, digests of all that is
  read and written, metadata, the cluster's lines in the run's log;
- mapped plan: `Client.map` of the bare plan over batches of as many days on the same workers;
- one process: the bare plan, day after day, in a fresh process.

Wall-clock needs two free processors. Where others are at work, read the processor times: of all,
and of the driver and the busiest worker, which is what a run takes at most on processors of its
own.
Ratios are medians of those of each round.

python benchmarks/dask_days.py [TURNS A DAY] [DAYS]
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["POLARS_MAX_THREADS"] = "1"  # of every process here

import dagster as dg
import distributed
import polars as pl
from polars.testing import assert_frame_equal
from shared.made_up_days import FIRST, day_of, made_up_day

from conversation_analytics.cluster.scheduler import ClusterPlace
from conversation_analytics.cluster.spread import DaskDays, _batches
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    FEEDBACKS,
    MESSAGES,
)
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROUNDS = 5
WARM_DAYS = 8
GOAL_WORKERS, GOAL_OVERHEAD = 1.7, 1.25
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
OURS_1, OURS_2 = "ours, one worker", "ours, two workers"
MAPPED_1, MAPPED_2 = "mapped plan, one worker", "mapped plan, two workers"
BARE = "bare plan, one process"
_TOLD = ("wall_s", "cpu_s")
TABLES = (CONVERSATIONS, MESSAGES, FEEDBACKS, MESSAGE_LANGUAGE)
WORKERS_ENVIRONMENT = {"POLARS_MAX_THREADS": "1", "DASK_LOGGING__DISTRIBUTED": "critical"}


@dataclass(frozen=True, slots=True)
class Taken:
    """What one way took.

    Attributes:
        wall_s: from beginning to end.
        driver_s: processor time of the process that asks.
        workers_s: processor time of each worker.
    """

    wall_s: float
    driver_s: float
    workers_s: tuple[float, ...]

    @property
    def cpu_s(self) -> float:
        """Processor time of all."""
        return self.driver_s + sum(self.workers_s)

    @property
    def chain_s(self) -> float:
        """Processor time of the driver and of the busiest worker, one after the other.

        What it would take on processors of its own if the two never worked at the same time.
        """
        return self.driver_s + max(self.workers_s, default=0.0)


def settings_in(folder: Path) -> Settings:
    """Return the settings of a platform in the folder."""
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": FIRST.isoformat(),
            "EXECUTOR": "dask",
        }
    )


def keys_of(days: int) -> list[str]:
    """Return the partition keys of the first days."""
    return [day_of(number).isoformat() for number in range(days)]


def write_curated(folder: Path, days: int, turns: int) -> None:
    """Write days of the curated zone."""
    lake = open_lake(settings_in(folder))
    for number, key in enumerate(keys_of(days)):
        conversations, messages, feedbacks = made_up_day(number, turns, turns // 6)
        # Each fifth turn in another language: what was found, not how.
        languages = messages.select(
            "id", "conversation_id", "app_id", "created_at",
            query_language=pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("de"))
            .otherwise(pl.lit("en")), query_confidence=1.0, query_by=pl.lit("text"),
            answer_language=pl.lit("en"), answer_confidence=1.0, answer_by=pl.lit("text"),
        )  # fmt: skip
        frames = (conversations, messages, feedbacks, MESSAGE_LANGUAGE.conform(languages))
        for table, frame in zip(TABLES, frames, strict=True):
            lake.write(table, key, frame)


def bare_days(folder: str, keys: Sequence[str]) -> None:
    """Make the partials of some days with the bare plan."""
    lake = open_lake(settings_in(Path(folder)))
    for key in keys:
        conversations, messages, feedbacks, languages = (
            pl.scan_parquet(lake.scan_paths(table, [key])) for table in TABLES
        )
        partials = daily_partials(
            conversations, messages, feedbacks, day=dt.date.fromisoformat(key),
            rephrases=rephrased_turns(messages, CPU).lazy(), languages=languages,
        ).collect()  # fmt: skip
        DAILY_PARTIALS.conform(partials).write_parquet(
            Path(folder) / "bare" / f"{key}.parquet", compression="zstd", compression_level=3,
            row_group_size=20_000,
        )  # fmt: skip


def timed_bare(folder: str, days: int) -> Taken:
    """Say what the bare plan over the days takes in this process."""
    bare_days(folder, keys_of(min(days, WARM_DAYS)))
    wall, cpu = time.perf_counter(), time.process_time()
    bare_days(folder, keys_of(days))
    return Taken(time.perf_counter() - wall, time.process_time() - cpu, ())


def in_one_process(folder: Path, days: int) -> Taken:
    """Do so in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(timed_bare, str(folder), days).result()


class Workers:
    """A cluster of this machine, for ours and for the mapped plan alike."""

    def __init__(
        self, folder: Path, workers: int, client: distributed.Client, address: str
    ) -> None:
        """Keep them."""
        self.folder, self.workers, self.client = folder, workers, client
        self.days = DaskDays(settings_in(folder), ClusterPlace(address, workers))

    def ours(self, days: int) -> None:
        """Run the asset."""
        keys = keys_of(days)
        shutil.rmtree(self.folder / "lake" / DAILY_PARTIALS.name, ignore_errors=True)
        definitions = build_definitions(settings_in(self.folder), spread=self.days)
        tags = {
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        }
        with dg.DagsterInstance.ephemeral() as instance:
            definitions.resolve_job_def("daily").execute_in_process(
                QUIET, instance=instance, tags=tags,
                asset_selection=[dg.AssetKey(DAILY_PARTIALS.name)],
            )  # fmt: skip

    def timed_ours(self, days: int) -> Taken:
        """Say what the run takes, having looked whether every day is there."""
        taken = self.timed(self.ours, days)
        there = open_lake(settings_in(self.folder)).keys(DAILY_PARTIALS)
        if sorted(there) != keys_of(days):
            raise SystemExit(f"expected {days} days, got {len(there)}")
        return taken

    def mapped(self, days: int) -> None:
        """Map the bare plan."""
        batches = list(_batches(tuple(keys_of(days)), self.workers))
        futures = self.client.map(bare_days, [str(self.folder)] * len(batches), batches, pure=False)
        self.client.gather(futures)

    def timed(self, work: Callable[[int], None], days: int) -> Taken:
        """Say what it takes."""
        before, here = self.client.run(time.process_time), time.process_time()
        wall = time.perf_counter()
        work(days)
        wall, here = time.perf_counter() - wall, time.process_time() - here
        after = self.client.run(time.process_time)
        return Taken(wall, here, tuple(after[one] - before[one] for one in after))


@contextlib.contextmanager
def workers_of(folder: Path, workers: int) -> Iterator[Workers]:
    """Start some."""
    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1", memory_limit=0,
            dashboard_address="127.0.0.1:0", silence_logs=logging.ERROR, env=WORKERS_ENVIRONMENT,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        found = Workers(folder, workers, client, cluster.scheduler_address)
        with found.days:
            yield found


def check(workers: Workers) -> None:
    """Compare the rows of both."""
    workers.ours(WARM_DAYS)
    workers.mapped(WARM_DAYS)
    lake = open_lake(settings_in(workers.folder))
    for key in keys_of(WARM_DAYS):
        bare = pl.read_parquet(workers.folder / "bare" / f"{key}.parquet")
        assert_frame_equal(lake.read(DAILY_PARTIALS, key), bare, check_exact=True)


def main(turns: int, days: int) -> None:
    """Print what each takes."""
    warnings.filterwarnings("ignore", message=".* is currently in (beta|preview)")
    taken: dict[str, list[Taken]] = {}
    loads = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "bare").mkdir()
        write_curated(folder, days, turns // 60 * 60)
        one, two = (stack.enter_context(workers_of(folder, n)) for n in (1, 2))
        for workers in (one, two):
            check(workers)
        ways: dict[str, Callable[[], Taken]] = {
            OURS_1: lambda: one.timed_ours(days),
            OURS_2: lambda: two.timed_ours(days),
            MAPPED_2: lambda: two.timed(two.mapped, days),
            MAPPED_1: lambda: one.timed(one.mapped, days),
            BARE: lambda: in_one_process(folder, days),
        }
        for _ in range(ROUNDS):
            for way, work in ways.items():
                taken.setdefault(way, []).append(work())
                loads.append(os.getloadavg()[0])
    print(
        f"{days} days of {turns} turns, {ROUNDS} rounds; {os.cpu_count()} processors, load of the "
        f"machine {min(loads):.1f} to {max(loads):.1f}"
    )
    for way, several in taken.items():
        wall, cpu = (statistics.median(getattr(one, of) for one in several) for of in _TOLD)
        print(f"{way:26} {wall:7.2f} s wall {cpu:7.2f} s of processors (medians)")

    def ratio(what: str, above: str, below: str, of: str, goal: str) -> None:
        pairs = zip(taken[above], taken[below], strict=True)
        found = [getattr(a, of) / getattr(b, of) for a, b in pairs]
        middle = statistics.median(found)
        print(f"{what:52} {middle:5.2f} ({min(found):.2f} to {max(found):.2f}) {goal}")

    ratio("two workers against one, wall", OURS_1, OURS_2, "wall_s", f"goal >= {GOAL_WORKERS}")
    ratio("the same of the mapped plan", MAPPED_1, MAPPED_2, "wall_s", "what the machine gives")
    ratio("two workers against one, driver and busiest worker", OURS_1, OURS_2, "chain_s",
          f"goal >= {GOAL_WORKERS}")  # fmt: skip
    for what, above, below, of in (
        ("ours against the mapped plan, two workers, wall", OURS_2, MAPPED_2, "wall_s"),
        ("the same, processors", OURS_2, MAPPED_2, "cpu_s"),
        ("ours with one worker against one process, processors", OURS_1, BARE, "cpu_s"),
    ):
        ratio(what, above, below, of, f"goal <= {GOAL_OVERHEAD}")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers + [12_000, 90][len(numbers) :]))
