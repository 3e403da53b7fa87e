"""`daily_partials` of 90 days with EXECUTOR=dask: two workers against one, and against bare plans.

All read the same Parquet files of a lake, make the partials of a day (with the search for rephrased
questions) and write them as Parquet of the same codec; rows are compared first. Workers have one
thread each and one thread of Polars. Each way has done some days before, as warm workers have.

- ours: the asset in Dagster with EXECUTOR=dask: events, IO managers, fences, digests of all that is
  read and written, metadata, the cluster's lines in the run's log;
- mapped plan: `Client.map` of the bare plan over batches of as many days on the same workers;
- one process: the bare plan, day after day, in a fresh process.

Wall-clock needs two free processors. Processor time (of workers and driver) is printed beside it,
for a machine that has others at work; so is its load.

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

ROUNDS = 3
WARM_DAYS = 8
GOAL_WORKERS, GOAL_OVERHEAD = 1.7, 1.25
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
TABLES = (CONVERSATIONS, MESSAGES, FEEDBACKS, MESSAGE_LANGUAGE)
WORKERS_ENVIRONMENT = {"POLARS_MAX_THREADS": "1", "DASK_LOGGING__DISTRIBUTED": "critical"}


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
            rephrases=rephrased_turns(messages).lazy(), languages=languages,
        ).collect()  # fmt: skip
        DAILY_PARTIALS.conform(partials).write_parquet(
            Path(folder) / "bare" / f"{key}.parquet", compression="zstd", compression_level=3,
            row_group_size=20_000,
        )  # fmt: skip


def timed_bare(folder: str, days: int) -> tuple[float, float]:
    """Return wall and processor seconds of the bare plan over the days, in this process."""
    bare_days(folder, keys_of(min(days, WARM_DAYS)))
    wall, cpu = time.perf_counter(), time.process_time()
    bare_days(folder, keys_of(days))
    return time.perf_counter() - wall, time.process_time() - cpu


def in_one_process(folder: Path, days: int) -> tuple[float, float]:
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

    def mapped(self, days: int) -> None:
        """Map the bare plan."""
        batches = list(_batches(tuple(keys_of(days)), self.workers))
        futures = self.client.map(bare_days, [str(self.folder)] * len(batches), batches, pure=False)
        self.client.gather(futures)

    def timed(self, work: Callable[[int], None], days: int) -> tuple[float, float]:
        """Return wall seconds, and processor seconds of workers and of this process."""
        begun = sum(self.client.run(time.process_time).values()) + time.process_time()
        wall = time.perf_counter()
        work(days)
        wall = time.perf_counter() - wall
        return wall, sum(self.client.run(time.process_time).values()) + time.process_time() - begun


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
    taken: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "bare").mkdir()
        write_curated(folder, days, turns // 60 * 60)
        one, two = (stack.enter_context(workers_of(folder, n)) for n in (1, 2))
        for workers in (one, two):
            check(workers)
        ways: dict[str, Callable[[], tuple[float, float]]] = {
            "ours, one worker": lambda: one.timed(one.ours, days),
            "ours, two workers": lambda: two.timed(two.ours, days),
            "mapped plan, one worker": lambda: one.timed(one.mapped, days),
            "mapped plan, two workers": lambda: two.timed(two.mapped, days),
            "bare plan, one process": lambda: in_one_process(folder, days),
        }
        loads = []
        for _ in range(ROUNDS):
            for way, work in ways.items():
                taken.setdefault(way, []).append(work())
                loads.append(os.getloadavg()[0])
    wall, cpu = (
        {way: statistics.median(times[n] for times in several) for way, several in taken.items()}
        for n in (0, 1)
    )
    print(
        f"{days} days of {turns} turns, medians of {ROUNDS}; {os.cpu_count()} processors, load of "
        f"the machine {min(loads):.1f} to {max(loads):.1f}"
    )
    for way, seconds in wall.items():
        print(f"{way:26} {seconds:7.2f} s wall {cpu[way]:7.2f} s of processors")
    ratios = (
        ("two workers against one", wall["ours, one worker"] / wall["ours, two workers"],
         f"goal >= {GOAL_WORKERS}"),
        ("the same of the mapped plan", wall["mapped plan, one worker"]
         / wall["mapped plan, two workers"], "what the machine gives"),
        ("ours against the mapped plan, two workers, wall", wall["ours, two workers"]
         / wall["mapped plan, two workers"], f"goal <= {GOAL_OVERHEAD}"),
        ("ours against the mapped plan, two workers, processors", cpu["ours, two workers"]
         / cpu["mapped plan, two workers"], f"goal <= {GOAL_OVERHEAD}"),
        ("ours with one worker against one process, processors", cpu["ours, one worker"]
         / cpu["bare plan, one process"], f"goal <= {GOAL_OVERHEAD}"),
    )  # fmt: skip
    for what, ratio, goal in ratios:
        print(f"{what:54} {ratio:5.2f}  ({goal})")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers + [12_000, 90][len(numbers) :]))
