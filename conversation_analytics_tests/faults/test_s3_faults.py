"""An S3 server that is busy, loses its answers or is killed while the lake is written."""

from __future__ import annotations

import os
import random
import signal
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.core import schemas
from conversation_analytics.core.errors import LakeUnavailableError
from conversation_analytics.io_managers import retries
from conversation_analytics.lake import s3
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.processes import LOOPBACK
from conversation_analytics.stack.seaweedfs import S3Server, running_seaweedfs, weed_program
from conversation_analytics_tests.conftest import require
from conversation_analytics_tests.faults.exactly_once import compare_zones
from conversation_analytics_tests.faults.sample_runs import Failures, rows_of, run_daily
from conversation_analytics_tests.faults.tcp_proxy import Cut, Fault, TcpProxy, http_request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.s3, pytest.mark.timeout(3600)]

DAY = "2026-11-10"
SMALL, LARGE = "25", "40"
SEED = 20261110
TABLES = (
    schemas.RAW_CONVERSATIONS, schemas.RAW_MESSAGES, schemas.CONVERSATIONS, schemas.MESSAGES,
    schemas.DAILY_PARTIALS, schemas.DAILY_REPORT,
)  # fmt: skip
FEW_RETRIES = 2
FOREVER = 10**9
_SLOW_DOWN = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code></Error>'
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SLOW_DOWN), _SLOW_DOWN)
)
Digests = dict[str, str | None]


class Bucket:
    """The S3 server behind a proxy; it can be killed and started again.

    Clients sign the proxy's address and send it as Host, which goes through unchanged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self.server = self._start(None)
        self.proxy = TcpProxy(self.server.port, http_request)

    def settings(self, folder: Path, turns: str, prefix: str, **changes: str) -> Settings:
        return parse_settings({
            "S3_ENABLED": "true", "S3_BUCKET": self.server.bucket, "S3_PREFIX": prefix,
            "S3_ENDPOINT_URL": f"http://{LOOPBACK}:{self.proxy.port}",
            "AWS_ACCESS_KEY_ID": self.server.access_key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_key,
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": DAY, "SAMPLE_TURNS_PER_DAY": turns,
        } | changes)  # fmt: skip

    def kill(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)

    def start_again(self) -> None:
        port = self.server.port
        self._running.close()
        self.server = self._start(port)

    def close(self) -> None:
        self.proxy.close()
        self._running.close()

    def _start(self, port: int | None) -> S3Server:
        return self._running.enter_context(
            running_seaweedfs(self._folder, port, access_key="chaos", secret_key="chaos-secret")
        )


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    require(weed_program)
    server = Bucket(tmp_path_factory.mktemp("seaweedfs"))
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster repeats a step soon: the faults here are over within seconds."""
    monkeypatch.setattr(retries, "WAIT_S", 0.1)


def digests(settings: Settings) -> Digests:
    """Digest of each table's day, read whole; None where there is none."""
    lake, found = open_lake(settings), {}
    for table in TABLES:
        there = lake.exists(table, DAY)
        found[table.name] = lake.read_with_info(table, DAY)[1].sha256 if there else None
    return found


@dataclass(frozen=True)
class Calm:
    """A prefix with the day in it, and what undisturbed runs do there.

    Attributes:
        folder: of the documents.
        prefix: in the bucket.
        digests: what they leave, by SAMPLE_TURNS_PER_DAY.
        puts: how many PUTs they send, at least.
    """

    folder: Path
    prefix: str
    digests: dict[str, Digests]
    puts: int


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> Calm:
    folder, prefix = tmp_path_factory.mktemp("documents"), f"faults-{uuid.uuid4().hex}"
    found, puts = {}, []
    for turns in (SMALL, LARGE, SMALL):
        settings = bucket.settings(folder, turns, prefix)
        with bucket.proxy.failing(Fault(is_put, lambda: None, FOREVER)) as fault:
            assert run_daily(settings, DAY) == {}
        puts.append(fault.met)
        found[turns] = digests(settings)
    assert all(found[SMALL][name] != found[LARGE][name] for name in found[SMALL])
    assert min(puts) >= len(TABLES)
    return Calm(folder, prefix, found, min(puts))


def is_put(name: str) -> bool:
    return name.startswith("PUT ")


@dataclass
class Reader:
    """An analyst who reads all the while.

    Attributes:
        looks: how many tables were read.
        odd: tables that were neither as before nor as after.
    """

    looks: int = 0
    odd: list[str] = field(default_factory=list)

    @contextmanager
    def watching(self, settings: Settings, *valid: Digests) -> Iterator[None]:
        """Read past the proxy; LakeError, a torn object, ends the test."""
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.05):
                try:
                    found = digests(settings)
                except LakeUnavailableError:  # killed: nothing is read
                    continue
                self.looks += 1
                self.odd += [
                    name
                    for name, digest in found.items()
                    if digest not in {state[name] for state in valid}
                ]

        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            try:
                yield
            finally:
                done.set()
            looking.result()


class Trial:
    """Runs that replace the day by its other version, and meet faults."""

    def __init__(self, bucket: Bucket, calm: Calm, ledger: Ledger, fault: str) -> None:
        self.bucket = bucket
        self.tally = ledger.tally(fault)
        self._calm = calm
        self._turns = [LARGE, SMALL]
        self._reader = Reader()
        self.failed = 0
        found = digests(self.settings(SMALL))
        if found == calm.digests[LARGE]:
            self._turns.reverse()
        elif found != calm.digests[SMALL]:  # the test before failed
            assert run_daily(self.settings(SMALL), DAY) == {}

    def settings(self, turns: str, **changes: str) -> Settings:
        return self.bucket.settings(self._calm.folder, turns, self._calm.prefix, **changes)

    def next_run(self, **changes: str) -> Settings:
        """Settings of a run that replaces what is there by the other version."""
        return self.settings(self._turns[0], **changes)

    @contextmanager
    def read_meanwhile(self) -> Iterator[None]:
        """Look that every table is as before or as after, never in between or away."""
        old, new = (self._calm.digests[turns] for turns in (self._turns[1], self._turns[0]))
        direct = self.next_run(S3_ENDPOINT_URL=self.bucket.server.endpoint_url)
        with self._reader.watching(direct, old, new):
            yield
        assert all(digest in {old[name], new[name]} for name, digest in digests(direct).items())
        assert self._reader.odd == []
        self.tally.tries += 1

    def check(self, failures: Failures, expected: Collection[str] = ()) -> None:
        """After a run: it was quiet or told why; the next one leaves the new version whole."""
        for name, told in failures.values():
            assert name in expected, told
            assert f"s3://{self.bucket.server.bucket}/{self._calm.prefix}/" in told
            assert "check " in told
            assert self.bucket.server.secret_key not in told
        self.failed += bool(failures)
        settings = self.next_run()
        if failures:
            assert run_daily(settings, DAY) == {}
        verdict = compare_zones(settings, [DAY], rows_of(settings, [DAY]))
        self.tally.add(verdict)
        verdict.require_nothing()
        assert digests(settings) == self._calm.digests[self._turns[0]]
        self._turns.reverse()

    def end(self) -> None:
        assert self._reader.looks > 0
        self.tally.outcome = (
            f"{self.tally.tries - self.failed} runs recovered by themselves, {self.failed} said "
            "what to do and the next run completed; readers saw old or new, nothing in between"
        )


@pytest.mark.parametrize("times", [1, 4])
def test_a_server_that_is_busy(
    bucket: Bucket, calm: Calm, ledger: Ledger, rounds: int, times: int
) -> None:
    trial = Trial(bucket, calm, ledger, f"S3: 503 SlowDown, {times} times")
    chance = random.Random(SEED + times)
    for _ in range(max(rounds // 8, 1)):
        wanted = chance.choice([is_put, lambda _: True])
        fault = Fault(wanted, SLOW_DOWN, times, skip=chance.randrange(calm.puts - times))
        with bucket.proxy.failing(fault), trial.read_meanwhile():
            failures = run_daily(trial.next_run(), DAY)
        assert fault.met == times
        assert failures == {}
        trial.check(failures)
    trial.end()


def test_a_server_that_stays_busy(
    bucket: Bucket, calm: Calm, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(bucket, calm, ledger, "S3: 503 SlowDown at every PUT")
    with (
        bucket.proxy.failing(Fault(is_put, SLOW_DOWN, FOREVER)),
        few_retries(monkeypatch),
        trial.read_meanwhile(),
    ):
        failures = run_daily(trial.next_run(), DAY)
    assert failures.keys() >= {"raw_conversations", "raw_messages"}
    trial.check(failures, ["LakeUnavailableError"])
    trial.end()


@contextmanager
def few_retries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let requests give up soon: the real number outlasts 40 s."""
    with monkeypatch.context() as patch:
        patch.setattr(s3, "S3Config", partial(s3.S3Config, max_retries=FEW_RETRIES))
        yield


@pytest.mark.parametrize(
    "request_name",
    [
        "GET /analytics/PREFIX/daily_partials/",  # read in the body of daily_report
        "GET /analytics/PREFIX/daily_report/",  # read in the body of daily_report_files
        "PUT /analytics/PREFIX/messages/",
        "PUT /analytics/PREFIX/reports/",
    ],
)
def test_an_outage_that_outlasts_a_requests_retries_repeats_the_step(
    bucket: Bucket,
    calm: Calm,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    request_name: str,
) -> None:
    what = request_name.replace("/analytics/PREFIX/", "").rstrip("/")
    trial = Trial(bucket, calm, ledger, f"S3: 503 longer than the retries of a {what}")
    started = request_name.replace("PREFIX", calm.prefix)
    fault = Fault(lambda name: name.startswith(started), SLOW_DOWN, FEW_RETRIES + 1)
    with bucket.proxy.failing(fault), few_retries(monkeypatch), trial.read_meanwhile():
        failures = run_daily(trial.next_run(), DAY)
    assert fault.met == FEW_RETRIES + 1
    assert failures == {}
    trial.check(failures)
    trial.end()


@pytest.mark.parametrize("cut", list(Cut), ids=[cut.name.lower() for cut in Cut])
def test_connections_that_break_during_puts(
    bucket: Bucket, calm: Calm, ledger: Ledger, rounds: int, cut: Cut
) -> None:
    trial = Trial(bucket, calm, ledger, f"S3: the connection breaks {cut.value}")
    chance = random.Random(f"{SEED} {cut.name}")
    for _ in range(max(rounds // 8, 1)):
        times = chance.choice([1, 2])
        fault = Fault(is_put, cut, times, skip=chance.randrange(calm.puts - times))
        with bucket.proxy.failing(fault), trial.read_meanwhile():
            failures = run_daily(trial.next_run(), DAY)
        assert fault.met == times
        assert failures == {}
        trial.check(failures)
    trial.end()


def test_a_server_that_is_killed_and_started_again(
    bucket: Bucket, calm: Calm, ledger: Ledger, rounds: int
) -> None:
    trial = Trial(bucket, calm, ledger, "S3: kill -9 in the middle of a PUT, restart")
    chance = random.Random(SEED)
    for _ in range(max(rounds // 8, 1)):
        killed = threading.Event()

        def kill(killed: threading.Event = killed) -> None:
            bucket.kill()
            killed.set()

        with (
            ThreadPoolExecutor(1) as pool,
            bucket.proxy.failing(Fault(is_put, kill, skip=chance.randrange(calm.puts))),
            trial.read_meanwhile(),
        ):
            running = pool.submit(run_daily, trial.next_run(), DAY)
            assert killed.wait(60)
            # Here and not in the proxy's thread: a server dies with the thread that started it.
            bucket.start_again()
            failures = running.result()
        trial.check(failures, ["LakeUnavailableError"])
    trial.end()


def test_wrong_credentials(bucket: Bucket, calm: Calm, ledger: Ledger) -> None:
    trial = Trial(bucket, calm, ledger, "S3: wrong credentials")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        with trial.read_meanwhile():
            failures = run_daily(trial.next_run(**{name: "not-this-one"}), DAY)
        assert failures.keys() >= {"raw_conversations", "raw_messages"}
        for _, told in failures.values():
            assert "the server answered 403" in told
            assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in told
            assert "not-this-one" not in told
    trial.check(failures, ["LakeError"])
    trial.tally.outcome = "nothing changed, the error names the settings, the next run completed"
