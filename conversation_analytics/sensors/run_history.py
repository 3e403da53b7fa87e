"""Runs that a sensor wants, against what Dagster knows: under way, and tried before."""

import contextlib
import datetime as dt
import fcntl
import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from conversation_analytics.core.periods import Period
from conversation_analytics.settings import Settings

REASON_TAG = "conversation_analytics/reason"
PROCESS_TAG = "conversation_analytics/process"
_PROCESSES = "processes"
_UNDER_WAY = [dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]
_LONGEST_WAIT = dt.timedelta(hours=1)
LOOK_INTERVAL = dt.timedelta(minutes=10)
LOOK_DAYS = 35
"""How often, and how many days back, the sensors over the lake look for what is stale."""


@dataclass(frozen=True, slots=True)
class RunsUnderWay:
    """Runs that are queued or started.

    Attributes:
        ranges: first and last partition of each run of days, both included.
        unpartitioned: names of the jobs of the other runs.
    """

    ranges: tuple[tuple[str, str], ...]
    unpartitioned: frozenset[str]

    def cover(
        self, day: dt.date | None, unpartitioned_job: str, last_day: dt.date | None = None
    ) -> bool:
        """Say whether the day (None: the rows without a time) is being materialised.

        With `last_day`: whether any day from one to the other is.
        """
        if day is None:
            return unpartitioned_job in self.unpartitioned
        end = (last_day or day).isoformat()
        return any(first <= end and day.isoformat() <= last for first, last in self.ranges)


@contextlib.contextmanager
def living_process(instance: dg.DagsterInstance) -> Iterator[dict[str, str]]:
    """Yield the tags for runs that this process computes itself, and that end with it.

    Dagster launches no process for them and so never hears that it was killed: it would show
    them as started for ever. Here the process holds a lock, which ends with it in any case.
    """
    folder = Path(instance.root_directory) / _PROCESSES
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / uuid.uuid4().hex
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield {PROCESS_TAG: path.name}
        finally:
            path.unlink(missing_ok=True)


def has_lost_its_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Say whether a run was of a `living_process` that lives no more."""
    return PROCESS_TAG in run.tags and _lock_of(instance, run) != "held"


def was_killed_here(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Say whether a run was of a `living_process` of this very folder that was killed.

    Where records are shared, a process of another machine has left nothing here.
    """
    return PROCESS_TAG in run.tags and _lock_of(instance, run) == "free"


def _lock_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Literal["held", "free", "none"]:
    try:
        with (Path(instance.root_directory) / _PROCESSES / run.tags[PROCESS_TAG]).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "held"
    except FileNotFoundError:
        return "none"
    return "free"


def runs_under_way(instance: dg.DagsterInstance) -> RunsUnderWay:
    """Return what is queued or running now, runs left out whose process was killed."""
    ranges, others = [], set()
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY)):
        if has_lost_its_process(instance, run):
            continue
        if key := run.tags.get(PARTITION_NAME_TAG):
            ranges.append((key, key))
        elif first := run.tags.get(ASSET_PARTITION_RANGE_START_TAG):
            ranges.append((first, run.tags[ASSET_PARTITION_RANGE_END_TAG]))
        else:
            others.add(run.job_name)
    return RunsUnderWay(tuple(ranges), frozenset(others))


@dataclass(frozen=True, slots=True)
class Attempts:
    """Earlier runs for the same reason.

    Attributes:
        count: how many there were.
        next_at: not before this instant may the next one start; None: at once.
    """

    count: int
    next_at: dt.datetime | None


def earlier_attempts(instance: dg.DagsterInstance, reason: str, interval: dt.timedelta) -> Attempts:
    """Count the runs tagged with `reason`, and say when another one makes sense.

    The pause doubles from `interval` with each attempt, to one hour at most.
    """
    records = instance.get_run_records(dg.RunsFilter(tags={REASON_TAG: reason}))
    if not records:
        return Attempts(0, None)
    ended = max(record.update_timestamp for record in records)
    pause = min(interval * 2 ** min(len(records), 16), _LONGEST_WAIT)
    return Attempts(len(records), ended.replace(tzinfo=ended.tzinfo or dt.UTC) + pause)


@dataclass(frozen=True, slots=True)
class WantedRun:
    """A run that a sensor wants.

    Attributes:
        job: its job.
        day: its partition; None for the job of the rows without a time.
        digest: of why it is wanted; another reason, another digest.
        why: the reason for people, e.g. "3 rows differ".
        assets: those to make; None for all of the job.
        last: last day that the run reads, where these are several; None: `day` alone.
    """

    job: str
    day: dt.date | None
    digest: str
    why: str
    assets: tuple[str, ...] | None = None
    last: dt.date | None = None

    @property
    def name(self) -> str:
        """What people call the partition."""
        if self.day:
            return self.day.isoformat()
        return "rows without a time" if self.job == "undated" else self.job


def request_stale(
    context: dg.SensorEvaluationContext,
    wanted: Sequence[WantedRun],
    settings: Settings,
    *,
    days: int,
    quiet: str,
    beside: tuple[list[dg.RunRequest], list[str]] | None = None,
    stopped: Sequence[str] = (),
) -> dg.SensorResult:
    """Ask for the runs of what is stale, and say so in one line of the tick's log.

    Args:
        context: of the tick.
        wanted: runs, the most urgent first.
        settings: of this process.
        days: that were looked at.
        quiet: what the tick says where nothing is stale.
        beside: requests that were planned otherwise, and what waits.
        stopped: what no run may make, each in a sentence: it is told before what waits.
    """
    requests, waiting = plan_runs(
        context.instance, wanted,
        interval=LOOK_INTERVAL, max_runs=settings.sensor_max_runs, now=dt.datetime.now(dt.UTC),
    )  # fmt: skip
    if beside is not None:
        requests, waiting = requests + beside[0], waiting + beside[1]
    waiting = [*stopped, *waiting]
    context.log.info("looked: days=%d stale=%d runs=%d", days, len(wanted), len(requests))
    if requests:
        return dg.SensorResult(run_requests=requests)
    return dg.SensorResult(skip_reason=dg.SkipReason("; ".join(waiting[:5]) or quiet))


def first_day_looked_at(settings: Settings) -> dt.date:
    """Return the first of the days that sensors over the lake look at."""
    today = dt.datetime.now(settings.analytics_timezone).date()
    return today - dt.timedelta(days=LOOK_DAYS)


def first_day_made_again(settings: Settings, period: Period = Period.DAY) -> dt.date:
    """Return the first of the days looked at whose `period` is a partition.

    Dagster refuses the whole tick over one run of a day, week or month before ANALYTICS_START_DATE.
    """
    return max(first_day_looked_at(settings), period.start_of(settings.analytics_start_date))


def digest_of(told: Iterable[str]) -> str:
    """Return a short digest of why a run is wanted."""
    return hashlib.sha256("|".join(told).encode()).hexdigest()[:16]


def plan_runs(
    instance: dg.DagsterInstance,
    wanted: Sequence[WantedRun],
    *,
    interval: dt.timedelta,
    max_runs: int,
    now: dt.datetime,
) -> tuple[list[dg.RunRequest], list[str]]:
    """Return the runs to start now, and for the others why they wait.

    Args:
        instance: of Dagster.
        wanted: runs, the most urgent first.
        interval: pause after a first attempt for the same reason; it doubles with each.
        max_runs: start so many at most.
        now: the present.
    """
    requests: list[dg.RunRequest] = []
    waiting: list[str] = []
    under_way = runs_under_way(instance) if wanted else RunsUnderWay((), frozenset())
    for run in wanted:
        reason = f"{run.day or 'undated'}:{run.digest}"
        if under_way.cover(run.day, run.job, run.last):
            waiting.append(f"{run.name}: {run.why}, a run is under way")
            continue
        attempts = earlier_attempts(instance, reason, interval)
        if attempts.next_at and attempts.next_at > now:
            waiting.append(
                f"{run.name}: {run.why} after {attempts.count} runs, see what failed; next try "
                f"after {attempts.next_at:%F %T} UTC"
            )
            continue
        if len(requests) == max_runs:
            waiting.append(f"{run.name}: {run.why}, {max_runs} runs come first")
            continue
        requests.append(
            dg.RunRequest(
                run_key=f"{reason}:{attempts.count}",
                job_name=run.job,
                partition_key=run.day.isoformat() if run.day else None,
                asset_selection=[dg.AssetKey(name) for name in run.assets] if run.assets else None,
                tags={REASON_TAG: reason, "conversation_analytics/why": run.why},
            )
        )
    return requests, waiting
