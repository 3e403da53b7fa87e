"""Runs of the platform's jobs in this process, with progress on the terminal."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
import rich.text
import sqlalchemy.exc
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from conversation_analytics.assets.corrections import JOB as CORRECTIONS_JOB
from conversation_analytics.assets.lineage import (
    FILES,
    PartitionRange,
    assets_to_make,
    days_of_moved_rows,
    ranges_to_make,
    stale_days,
    whole_steps,
)
from conversation_analytics.assets.periods import PERIODS_PER_RUN, stale_periods
from conversation_analytics.assets.results import JOB as RESULTS_JOB
from conversation_analytics.assets.results import RESULTS, stale_results
from conversation_analytics.assets.topics import JOB as TOPICS
from conversation_analytics.assets.topics import MADE_TOGETHER, stale_topics
from conversation_analytics.assets.undated import JOB as UNDATED_JOB
from conversation_analytics.assets.undated import stale_undated
from conversation_analytics.assets.users import USERS, stale_users
from conversation_analytics.core.errors import AnalyticsError, RecordsError, SettingsError
from conversation_analytics.core.period_report import PERIOD_REPORTS
from conversation_analytics.core.periods import NAMES, Period
from conversation_analytics.definitions import (
    build_definitions,
    daily_graph,
    daily_steps,
    spread_of,
    undated_steps,
)
from conversation_analytics.installation import dagster_home
from conversation_analytics.lane_runs import execute_in_lanes, use_lanes
from conversation_analytics.lost_runs import end_killed_commands, end_lost_runs
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.sensors.run_history import living_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dagster_shared.error import SerializableErrorInfo

    from conversation_analytics.assets.lineage import StaleDay
    from conversation_analytics.assets.periods import StalePeriod
    from conversation_analytics.core.staleness import StaleAsset
    from conversation_analytics.lost_runs import LostRuns
    from conversation_analytics.settings import Settings

_HOME_LOCK = ".conversation-analytics.lock"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a job.

    Attributes:
        job: its name.
        partitions: what to make of which partitions; None for a job without partitions.
        assets: what to make of a job without partitions; none stands for all of it.
    """

    job: str
    partitions: PartitionRange | None = None
    assets: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Which rows it is about."""
        if self.partitions is not None:
            return self.partitions.label
        labels = {UNDATED_JOB: "rows without a time", CORRECTIONS_JOB: "all rows"}
        return labels.get(self.job, "all days")


UNDATED = PlannedRun(UNDATED_JOB)
"""The rows without a time, from the source to the documents."""
CORRECTIONS = PlannedRun(CORRECTIONS_JOB)
"""The table of corrections."""


def runs_of(ranges: Iterable[PartitionRange]) -> list[PlannedRun]:
    """Return a run for each range, of the job of its period."""
    return [PlannedRun(NAMES[one.period], one) for one in ranges]


def look_for_stale_days(settings: Settings, keys: Sequence[str]) -> list[StaleDay]:
    """Return the days among `keys` that have assets to make again.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    with contextlib.closing(open_documents(settings)) as documents:
        return list(
            stale_days(daily_graph(settings), open_lake(settings), documents, settings, keys)
        )


def look_for_stale_periods(settings: Settings, days: Iterable[dt.date]) -> list[StalePeriod]:
    """Return the weeks and months that tell of `days` and have assets to make again.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    lake, wanted = open_lake(settings), list(days)
    today = dt.datetime.now(settings.analytics_timezone).date()
    with contextlib.closing(open_documents(settings)) as documents:
        return [
            one
            for period in PERIOD_REPORTS
            for one in stale_periods(lake, documents, settings, period, wanted, today)
        ]


def look_for_stale_undated(settings: Settings, days: Iterable[str]) -> tuple[StaleAsset, ...]:
    """Return the assets of rows without a time to make again; see `stale_undated`.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    graph = undated_steps(settings).graph
    with contextlib.closing(open_documents(settings)) as documents:
        return stale_undated(graph, open_lake(settings), documents, settings, days)


def runs_of_stale_undated(settings: Settings, stale: Sequence[StaleAsset]) -> list[PlannedRun]:
    """Return the run that makes these assets of rows without a time, and what is made with them."""
    steps = undated_steps(settings).steps
    names = whole_steps([one.asset for one in stale], steps)
    return [PlannedRun(UNDATED_JOB, assets=names)] if names else []


def runs_of_stale_days(settings: Settings, stale: Iterable[StaleDay]) -> list[PlannedRun]:
    """Return the runs that make the stale assets of days, and what is made with them.

    Of days that are stopped nothing that is made of the table that stops them.
    """
    steps = daily_steps(settings)
    wanted = {day.key: assets_to_make(day, steps) for day in stale}
    return runs_of(ranges_to_make(wanted))


def look_for_stale_topics(
    settings: Settings, days: Iterable[dt.date], today: dt.date
) -> list[StalePeriod]:
    """Return the weeks over by `today` that tell of `days` and whose topics are to be found again.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    with contextlib.closing(open_documents(settings)) as documents:
        return list(stale_topics(open_lake(settings), documents, settings, days, today))


def follow_ups(settings: Settings, days: Iterable[dt.date], today: dt.date) -> Iterator[PlannedRun]:
    """Yield the runs that make again what tells of changed `days`.

    Days whose rows have moved to others, topics, then `merges_of`, then what goes to NocoDB.

    Each is looked for only when the one before is done: a week of topics with other ids makes the
    next one stale, and both the reports of these weeks. No week of topics is yielded twice.

    Args:
        settings: of this process.
        days: that may have changed.
        today: weeks that are not over by then get no topics.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    touched, last = set(days), None
    keys = [day.isoformat() for day in touched]
    if moved := days_of_moved_rows(open_lake(settings), settings, keys):
        # Rows stayed in these days until another one held them, which these runs have made.
        yield from runs_of_stale_days(settings, look_for_stale_days(settings, moved))
    while stale := [
        one
        for one in look_for_stale_topics(settings, touched, today)
        if last is None or one.start > last
    ]:
        wanted = {
            one.key: whole_steps([asset.asset for asset in one.assets], MADE_TOGETHER)
            for one in stale
        }
        first = ranges_to_make(wanted, Period.WEEK, PERIODS_PER_RUN)[0]
        yield PlannedRun(TOPICS, first)
        last = first.last
        touched |= {one.start for one in stale if one.start <= last}
    yield from merges_of(settings, touched)
    weeks = {Period.WEEK.start_of(day) for day in touched}
    every = {day for start in weeks for day in Period.WEEK.days_of(start)}
    wanted = dict.fromkeys(look_for_stale_results(settings, every), (RESULTS,))
    for one in ranges_to_make(wanted):
        yield PlannedRun(RESULTS_JOB, one)


def look_for_stale_results(settings: Settings, days: Iterable[dt.date]) -> dict[str, str]:
    """Return the days whose results are to be sent to NocoDB; see `stale_results`.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    return stale_results(open_lake(settings), settings, days)


def merges_of(settings: Settings, days: Iterable[dt.date]) -> list[PlannedRun]:
    """Return the runs that make again what tells of changed `days`: weeks, months, users.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    stale = look_for_stale_periods(settings, days)
    runs = []
    for period in PERIOD_REPORTS:
        wanted = {
            one.key: tuple(sorted(asset.asset for asset in one.assets))
            for one in stale
            if one.period is period
        }
        runs += runs_of(ranges_to_make(wanted, period, PERIODS_PER_RUN))
    return [*runs, *([PlannedRun(USERS)] if look_for_stale_users(settings) else [])]


def look_for_stale_users(settings: Settings) -> tuple[StaleAsset, ...]:
    """Return the assets of users that have to be made again.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    today = dt.datetime.now(settings.analytics_timezone).date()
    with contextlib.closing(open_documents(settings)) as documents:
        return stale_users(open_lake(settings), documents, settings, today)


class _Rate(ProgressColumn):
    """Partitions a second."""

    def render(self, task: Task) -> rich.text.Text:
        speed = task.finished_speed or task.speed
        return rich.text.Text(
            "" if speed is None else f"{speed:.1f}/s", style="progress.data.speed"
        )


def prepare_home() -> None:
    """Create DAGSTER_HOME and its database.

    Raises:
        SettingsError: the folder cannot be made.
        RecordsError: the database cannot be made.
    """
    folder = dagster_home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["DAGSTER_HOME"] = str(folder)
        config = folder / "dagster.yaml"
        with contextlib.ExitStack() as stack:
            # A folder that is given and only read, as in a container, has its database elsewhere.
            if os.access(folder, os.W_OK) or not config.exists():
                # Dagster makes its database at the first use, and of two first users one fails.
                lock = stack.enter_context((folder / _HOME_LOCK).open("a"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not config.exists():
                # No telemetry, and no dialog that asks for an address at the first visit.
                config.write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n")
            with _records_kept(), dg.DagsterInstance.get():
                pass
    except OSError as error:
        raise SettingsError(
            f"cannot make the folder of Dagster's records, {folder}: {error.strerror}; set "
            "DAGSTER_HOME to a folder that this user may write to"
        ) from error


def end_runs_lost() -> LostRuns:
    """End the runs in DAGSTER_HOME whose processes were killed; see `end_lost_runs`.

    Raises:
        RecordsError: Dagster's database could not be written or read.
    """
    with _records_kept(), dg.DagsterInstance.get() as instance:
        return end_lost_runs(instance)


def materialize(
    settings: Settings,
    runs: Iterable[PlannedRun],
    then: Callable[[], Iterable[PlannedRun]] = list,
) -> list[str]:
    """Run `runs` in order, then those that `then` finds after them.

    Args:
        settings: of this process.
        runs: the first runs.
        then: asked once the first runs are done; each of its runs is drawn when the one before
            is done.

    Returns:
        What failed, each in a sentence; a failed run does not keep the others from running.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came.
        RecordsError: Dagster's database could not be written or read.
    """
    prepare_home()
    failures: list[str] = []
    with _records_kept(), Progress(
        TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), _Rate(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    ) as progress:  # fmt: skip
        bar = progress.add_task("starting", total=None)

        def on_partition(asset: str, key: str | None) -> None:
            progress.update(bar, advance=1, description=f"{asset} {key or ''}")

        lanes = use_lanes(settings)
        with (
            spread_of(settings) or contextlib.nullcontext() as spread,
            _signals_heard() as interrupted,
            dg.DagsterInstance.get() as instance,
            living_process(instance) as process,
        ):
            end_killed_commands(instance)
            definitions = build_definitions(settings, on_partition, spread)

            def make(run: PlannedRun) -> None:
                if lanes:
                    told = _execute_in_lanes(run, instance, process, on_partition)
                    failures.extend(failures_of(told, run.label))
                else:
                    result = _execute(definitions, run, instance, process)
                    failures.extend(failures_of(result, run.label))
                    _tell_of_files(result, on_partition)
                if interrupted():
                    raise KeyboardInterrupt

            first = list(runs)
            total = sum(_size(definitions, run) for run in first)
            progress.update(bar, total=total)
            for run in first:
                make(run)
            try:
                for run in then():
                    total += _size(definitions, run)
                    progress.update(bar, total=total)
                    make(run)
            except AnalyticsError as error:
                failures.append(str(error))
        progress.update(bar, description="done" if not failures else "failed")
    return failures


def _tell_of_files(
    result: dg.ExecuteInProcessResult, on_partition: Callable[[str, str | None], None]
) -> None:
    """Report the files stored: the assets without an IO manager, which would do so itself."""
    for event in result.get_asset_materialization_events():
        name = event.asset_key.path[-1] if event.asset_key else ""
        if name in FILES or name == RESULTS:
            on_partition(name, event.partition)


def _size(definitions: dg.Definitions, run: PlannedRun) -> int:
    every = len(set(definitions.resolve_job_def(run.job).asset_layer.executable_asset_keys))
    if run.partitions is None:
        return len(run.assets) or every
    return (len(run.partitions.assets) or every) * run.partitions.partitions


def _execute(
    definitions: dg.Definitions,
    run: PlannedRun,
    instance: dg.DagsterInstance,
    process: Mapping[str, str],
) -> dg.ExecuteInProcessResult:
    return definitions.resolve_job_def(run.job).execute_in_process(
        _QUIET, instance=instance, tags=_tags(run, process), raise_on_error=False,
        asset_selection=_assets(run) or None,
    )  # fmt: skip


def _execute_in_lanes(
    run: PlannedRun,
    instance: dg.DagsterInstance,
    process: Mapping[str, str],
    on_partition: Callable[[str, str | None], None],
) -> dg.JobExecutionResult:
    tags = _tags(run, process)
    return execute_in_lanes(run.job, instance, _QUIET, tags, _assets(run), on_partition)


def _tags(run: PlannedRun, process: Mapping[str, str]) -> dict[str, str]:
    tags = dict(process)
    if run.partitions is not None:
        tags["dagster/asset_partition_range_start"] = run.partitions.first.isoformat()
        tags["dagster/asset_partition_range_end"] = run.partitions.last.isoformat()
    return tags


def _assets(run: PlannedRun) -> list[dg.AssetKey]:
    names = run.assets if run.partitions is None else run.partitions.assets
    return [dg.AssetKey(name) for name in names]


@contextlib.contextmanager
def _records_kept() -> Iterator[None]:
    """Turn a failure of Dagster's own database into one sentence.

    Raises:
        RecordsError: it could not be written or read.
    """
    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        raise _records_error(str(error.orig)) from error
    except Exception as error:
        # dagster-postgres raises one of its own, which is no SQLAlchemyError, from that.
        if not isinstance(error.__cause__, sqlalchemy.exc.DBAPIError):
            raise
        raise _records_error(type(error).__name__) from error


def _records_error(reason: str) -> RecordsError:
    return RecordsError(
        f"Dagster's records in DAGSTER_HOME ({os.environ['DAGSTER_HOME']}) cannot be written "
        f"or read: {reason}. See whether its database is up, free space on its disk, and repeat "
        "the command; what is stored of the days is whole"
    )


@contextlib.contextmanager
def _signals_heard() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT or SIGTERM came since.

    Dagster takes a signal for the failure of a step, or between two steps forgets it: the rest of
    the range would go on. Python writes every signal here, whoever handles it.
    """
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    heard: set[int] = set()

    def interrupted() -> bool:
        with contextlib.suppress(BlockingIOError):  # nothing came
            heard.update(os.read(reader, 4096))
        return not heard.isdisjoint({signal.SIGINT, signal.SIGTERM})

    try:
        yield interrupted
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def failures_of(result: dg.ExecuteInProcessResult | dg.JobExecutionResult, rows: str) -> list[str]:
    """Return what failed in a run, each in a sentence: which step, of which rows, and why.

    Raises:
        KeyboardInterrupt: it did not fail but was interrupted, which Dagster makes a failure.
    """
    told = []
    for event in result.get_step_failure_events():
        chain = _chain(event.step_failure_data.error)
        if any(one.cls_name == "DagsterExecutionInterruptedError" for one in chain):
            raise KeyboardInterrupt
        if any(one.cls_name == "DagsterAssetCheckFailedError" for one in chain):
            continue  # the checks themselves say more
        told.append(f"{event.step_key} ({rows}): {_reason(chain)}")
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.severity.value == "ERROR":
            of = check.partition or rows
            told.append(
                f"{check.asset_key.to_user_string()} ({of}): check {check.check_name}: "
                f"{check.description}"
            )
    if told or result.success:
        return told
    # No step began: a resource, say the translator, could not be opened.
    failed = [one for one in result.all_events if one.event_type is dg.DagsterEventType.RUN_FAILURE]
    return [
        f"run {result.run_id} ({rows}): {_reason(_chain(one.job_failure_data.error))}"
        for one in failed
    ] or [f"run {result.run_id} ({rows}): Dagster recorded no error"]


def _chain(error: SerializableErrorInfo | None) -> list[SerializableErrorInfo]:
    """Return an error and its causes, the first cause last."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.cause
    return chain


def _reason(chain: Sequence[SerializableErrorInfo]) -> str:
    """Return what of an error and its causes says most."""
    if not chain:
        return "no error recorded"
    # Ours say what to do; where there is none, the cause of all causes says most.
    ours = [one for one in chain if one.cls_name in _our_errors()]
    text = (ours or chain)[0 if ours else -1].message.strip()
    return text.removeprefix(f"{AnalyticsError.__module__}.")


def _our_errors() -> frozenset[str]:
    """Return the names of this package's error classes: Dagster keeps errors as text."""
    classes = [AnalyticsError]
    for one in classes:
        classes.extend(one.__subclasses__())
    return frozenset(one.__name__ for one in classes)
