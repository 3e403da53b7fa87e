"""Two runs on the same days, one of them stopped at any moment and continued when all is over.

The two read different sources, so that whatever is left of one beside the other shows.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import random
import signal
import sys
import time
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conversation_analytics.core import schemas
from conversation_analytics.documents.store import SqliteConfig
from conversation_analytics.io_managers import retries
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.faults.exactly_once import Verdict, compare_zones
from conversation_analytics_tests.faults.sample_runs import Failures, rows_of, run_daily

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from conversation_analytics.lake.store import Lake
    from conversation_analytics.stack.seaweedfs import S3Server
    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]

DAYS = ("2026-11-09", "2026-11-10")
VERSIONS = ("15", "25", "40")
SEED = 20261109
FILES = ("html", "md", "csv", "inputs.json")
Digests = dict[tuple[str, str], str]
RAW = (schemas.RAW_CONVERSATIONS, schemas.RAW_MESSAGES)
TABLES = (
    *RAW, schemas.CONVERSATIONS, schemas.MESSAGES, schemas.DAILY_PARTIALS, schemas.DAILY_REPORT,
)  # fmt: skip
LATE_ERRORS = {"PartitionReplacedError"}
# Of one that stopped while it held the table's lock, or was in its SQLite transaction.
WAITING_ERRORS = {"LakeUnavailableError", "DocumentStoreUnavailableError"}
_DEADLINE_S = 240.0
_PRELOADED = (
    "conversation_analytics_tests.faults.test_two_writers",
    "conversation_analytics.documents.mongodb",
    "conversation_analytics.documents.sqlite",
    "conversation_analytics.reports.daily",
    "conversation_analytics.sample.source",
    "obstore.store",
    "pandas",
    "pyarrow.parquet",
)


@dataclass(frozen=True)
class Place:
    """Where both runs write: a lake and documents.

    Attributes:
        environment: their settings, without the size of the source.
    """

    environment: dict[str, str]

    def settings(self, turns: str) -> Settings:
        return parse_settings(self.environment | {
            "ANALYTICS_START_DATE": DAYS[0], "SAMPLE_TURNS_PER_DAY": turns,
        })  # fmt: skip


@dataclass(frozen=True)
class Conduct:
    """What a run does beside running.

    Attributes:
        stop_at: it stops itself as it creates this file of the lake: it has noted what there
            is, and has not yet compared it. 0: never.
        repeats: how often a step is repeated that was told that it is late.
        patience_s: how long it waits for a lock; None: as long as ever.
    """

    stop_at: int = 0
    repeats: int = retries.MAX_RETRIES
    patience_s: float | None = None

    def adopt(self) -> None:
        """Make this process behave so."""
        retries.WAIT_S, retries.MAX_RETRIES = 0.1, self.repeats
        if self.patience_s is not None:
            for waiting in (LocalObjects, SqliteConfig):
                waiting.__init__.__defaults__ = (self.patience_s,)
        if self.stop_at:
            sys.addaudithook(_stopping(self.stop_at))


CALM = Conduct()
IMPATIENT = Conduct(repeats=0, patience_s=2.0)


@contextmanager
def running(
    place: Place, turns: str, conduct: Conduct = CALM
) -> Iterator[tuple[BaseProcess, Connection]]:
    """Run the daily job in a process; it sends what failed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_run, args=(theirs, place.environment, turns, conduct), daemon=True
    )
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _run(answer: Connection, environment: dict[str, str], turns: str, conduct: Conduct) -> None:
    warnings.simplefilter("ignore")  # of Dagster's, for pytest's filters are not here
    conduct.adopt()
    answer.send(run_daily(Place(environment).settings(turns), DAYS[0], DAYS[-1]))


def _stopping(number: int) -> Callable[[str, tuple[Any, ...]], None]:
    created = [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not (isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
            return
        # The lake's files are written as .part-000.parquet.*.tmp and renamed.
        if Path(os.fspath(arguments[0])).name.startswith(".part-000.parquet."):
            created[0] += 1
            if created[0] == number:
                os.kill(os.getpid(), signal.SIGSTOP)

    return hook


def failures_of(process: BaseProcess, answer: Connection) -> Failures:
    """Wait for a run to end; return what failed."""
    assert wait([answer, process.sentinel], _DEADLINE_S), "the run does not end"
    found: Failures = answer.recv()
    process.join()
    return found


def is_stopped(process: BaseProcess) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def stop_after(process: BaseProcess, answer: Connection, seconds: float) -> bool:
    """Stop the process at that moment; return whether it was still running."""
    wait([answer, process.sentinel], seconds)
    if answer.poll() or process.exitcode is not None:
        return False
    os.kill(process.pid or 0, signal.SIGSTOP)
    return True


def wait_until_stopped(process: BaseProcess, answer: Connection) -> bool:
    """Wait until the process has stopped itself; return whether it did before it was done."""
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        if answer.poll() or process.exitcode is not None:
            return False
        if is_stopped(process):
            return True
        time.sleep(0.01)
    raise AssertionError("the run neither stops nor ends")


def digests(settings: Settings) -> Digests:
    """Digest of every table and report file of every day, read whole."""
    lake = open_lake(settings)
    tables = {
        (table.name, day): lake.read_with_info(table, day)[1].sha256
        for table in TABLES
        for day in DAYS
    }
    return tables | files_of(lake)


def files_of(lake: Lake) -> Digests:
    return {
        (ending, day): hashlib.sha256(lake.get_report(f"daily/{day}.{ending}")).hexdigest()
        for ending in FILES
        for day in DAYS
    }


@dataclass(frozen=True)
class Calm:
    """What undisturbed runs leave.

    Attributes:
        digests: by SAMPLE_TURNS_PER_DAY.
        files: those of the report's files among them.
        seconds: how long a run takes that replaces everything.
    """

    digests: dict[str, Digests]
    files: dict[str, Digests]
    seconds: float


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    place = local(tmp_path_factory.mktemp("calm"))
    found, files, seconds = {}, {}, 0.0
    for turns in VERSIONS:
        started = time.monotonic()
        again(place, turns)
        seconds = time.monotonic() - started
        found[turns] = digests(place.settings(turns))
        files[turns] = files_of(open_lake(place.settings(turns)))
    assert all(len({found[t][key] for t in found}) == len(found) for key in found[VERSIONS[0]])
    return Calm(found, files, seconds)


def local(folder: Path) -> Place:
    return Place({
        "PARQUET_BASE_DIR": str(folder / "lake"), "SQLITE_PATH": str(folder / "documents.sqlite"),
    })  # fmt: skip


def of_servers(s3_server: S3Server, mongodb_uri: str) -> Place:
    name = f"two-{uuid.uuid4().hex}"
    return Place({
        "S3_ENABLED": "true", "S3_BUCKET": s3_server.bucket, "S3_PREFIX": name,
        "S3_ENDPOINT_URL": s3_server.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
        "MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": name,
    })  # fmt: skip


@dataclass
class Told:
    """How often what came of it."""

    late: int = 0
    waited: int = 0
    quiet: int = 0

    def words(self) -> str:
        return (
            f"every zone wholly of one run; the stopped run was told {self.late} times that it "
            f"was late, {self.quiet} times it went on (from what there was, or again); "
            f"{self.waited} times the other run gave up waiting for it, and said so"
        )


def overtake(
    place: Place,
    run: tuple[BaseProcess, Connection],
    conduct: Conduct,
    other_turns: str,
    told: Told,
) -> bool:
    """With one run stopped, let the other run to its end; then the stopped one.

    Returns:
        Whether the other did come through.
    """
    process, answer = run
    with running(place, other_turns, IMPATIENT) as other:
        overtaking = failures_of(*other)
    for name, message in overtaking.values():
        assert name in WAITING_ERRORS, message
    os.kill(process.pid or 0, signal.SIGCONT)
    continued = failures_of(process, answer)
    for name, message in continued.values():
        assert name in LATE_ERRORS, message
        assert "run this partition again" in message
    if conduct.stop_at and not (conduct.repeats or overtaking):
        # It was about to publish what the other has published since.
        assert continued
    told.late += bool(continued)
    told.waited += bool(overtaking)
    told.quiet += not continued
    return not overtaking


def require_whole(place: Place, calm: Calm, runs: Collection[str], expected: str) -> Verdict:
    """Every raw day is of one of the runs; where all are of one, so is every zone.

    A run may replace one raw table and be late for the other, for its source differs: the next
    run makes every zone wholly its own.
    """
    raw = {(table.name, day) for table, day in itertools.product(RAW, DAYS)}
    found = digests(place.settings(expected))
    for key in raw:
        assert found[key] in {calm.digests[turns][key] for turns in runs}, key
    for turns in runs:
        if all(found[key] == calm.digests[turns][key] for key in raw):
            assert found.items() >= calm.digests[turns].items() - calm.files[turns].items()
            require_documents(place, turns)
    again(place, expected)
    assert digests(place.settings(expected)) == calm.digests[expected]
    return require_documents(place, expected)


def require_documents(place: Place, turns: str) -> Verdict:
    settings = place.settings(turns)
    verdict = compare_zones(settings, DAYS, rows_of(settings, DAYS))
    verdict.require_nothing()
    return verdict


def again(place: Place, turns: str) -> None:
    """Run to the end, undisturbed."""
    with running(place, turns) as run:
        assert failures_of(*run) == {}


def one_overtakes_the_other(
    place: Place, calm: Calm, ledger: Ledger, fault: str, tries: int, *, aimed: bool
) -> None:
    tally, told = ledger.tally(fault), Told()
    chance = random.Random(f"{SEED} {fault}")
    held, *runs = VERSIONS
    again(place, held)
    while tally.tries < tries:
        stopped, other = runs
        stop_at = chance.randint(1, len(TABLES)) if aimed else 0
        conduct = Conduct(stop_at, repeats=tally.tries % 2 * retries.MAX_RETRIES)
        with running(place, stopped, conduct) as run:
            if aimed:
                assert wait_until_stopped(*run)
            elif not stop_after(*run, chance.uniform(0.0, calm.seconds)):  # it was done before
                assert failures_of(*run) == {}
                held, runs = stopped, [held, other]
                continue
            tally.tries += 1
            through = overtake(place, run, conduct, other, told)
        expected, left = (other, stopped) if through else (stopped, other)
        # Where the other gave up, part of what it came upon may stand until the next run.
        tally.add(require_whole(place, calm, VERSIONS if not through else runs, expected))
        held, runs = expected, [held, left]
    tally.outcome = told.words()


@pytest.mark.parametrize(
    "aimed",
    [
        pytest.param(False, id="anywhere", marks=pytest.mark.slow),  # the aimed one finds more
        pytest.param(True, id="before publishing"),
    ],
)
def test_on_local_disk_and_sqlite(
    tmp_path: Path, calm: Calm, ledger: Ledger, rounds: int, *, aimed: bool
) -> None:
    when = "before it publishes a table" if aimed else "at a random moment"
    fault = f"two runs on the same days, one stopped {when}: local disk, SQLite"
    one_overtakes_the_other(local(tmp_path), calm, ledger, fault, max(rounds // 4, 2), aimed=aimed)


@pytest.mark.s3
@pytest.mark.mongodb
def test_on_s3_and_mongodb(
    s3_server: S3Server, mongodb_uri: str, calm: Calm, ledger: Ledger, rounds: int
) -> None:
    fault = "two runs on the same days, one stopped at a random moment: S3, MongoDB"
    place = of_servers(s3_server, mongodb_uri)
    one_overtakes_the_other(place, calm, ledger, fault, max(rounds // 4, 2), aimed=False)
