"""A MongoDB that breaks off, steps down or is killed while documents are written."""

from __future__ import annotations

import os
import random
import signal
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

from conversation_analytics.core.source import SourceTable
from conversation_analytics.io_managers import retries
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.mongod import MongodServer, mongod_program, running_mongod
from conversation_analytics.stack.processes import LOOPBACK
from conversation_analytics_tests.conftest import require
from conversation_analytics_tests.faults.exactly_once import compare_zones
from conversation_analytics_tests.faults.sample_runs import Failures, rows_of, run_daily
from conversation_analytics_tests.faults.tcp_proxy import Cut, Fault, TcpProxy, mongodb_request
from conversation_analytics_tests.faults.test_hostile_rows import (
    CONVERSATION,
    Served,
    message,
    payload,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from pymongo.database import Database

    from conversation_analytics.core.documents import Document
    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.mongodb, pytest.mark.timeout(3600)]

DAY = "2026-11-10"
# Of the same day: rows that stay, that change, that come and that go.
SMALL, LARGE = "25", "40"
SEED = 20261110
DOCUMENTS = ("conversation_documents", "message_documents", "report_documents")
COLLECTIONS = ("conversations", "messages", "analytics_reports")
WRITES = frozenset({"insert", "update", "delete", "commitTransaction"})
FOREVER = 10**9
DATABASE = "faults"
WRITE_CONCERN = {"code": 64, "errmsg": "waiting for replication timed out"}
States = dict[str, Counter[bytes]]
"""Every document, encoded, by collection."""


class Mongo:
    """A replica set of one whose only address is a proxy's; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self.server = self._start(None)
        self.proxy = TcpProxy(self.server.port, mongodb_request)
        self.direct = self._connected()
        self._hide()

    @property
    def uri(self) -> str:
        return f"mongodb://{LOOPBACK}:{self.proxy.port}/?replicaSet=rs0"

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.server.pid, signal.SIGKILL)

    def start_again(self) -> None:
        port = self.server.port
        self._running.close()
        self.server = self._start(port)
        # What was opened while the server started has no sessions, and never gets any.
        self.direct.close()
        self.direct = self._connected()
        self._hide()

    def step_down(self) -> None:
        with suppress(PyMongoError):  # it closes connections, this one among them
            self.direct.admin.command("replSetStepDown", 1, force=True)

    def close(self) -> None:
        self.direct.close()
        self.proxy.close()
        self._running.close()

    def _start(self, port: int | None) -> MongodServer:
        return self._running.enter_context(running_mongod(self._folder, port, test_commands=True))

    def _connected(self) -> pymongo.MongoClient[Document]:
        return pymongo.MongoClient(LOOPBACK, self.server.port, directConnection=True)

    def _hide(self) -> None:
        """Give the set's member the proxy's address, which every client then uses."""
        config = self.direct.admin.command("replSetGetConfig")["config"]
        config["members"][0]["host"] = f"{LOOPBACK}:{self.proxy.port}"
        config["version"] += 1
        self.direct.admin.command("replSetReconfig", config, force=True)


@pytest.fixture(scope="module")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongo]:
    require(mongod_program)
    server = Mongo(tmp_path_factory.mktemp("mongod"))
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster repeats a step soon: the faults here are over within a second or two."""
    monkeypatch.setattr(retries, "WAIT_S", 0.1)


@dataclass(frozen=True)
class Versions:
    """The same day with fewer and with more rows: two lakes, and what documents they give.

    Attributes:
        root: folder of both lakes.
        mongo: where the documents go.
        states: of the documents, by SAMPLE_TURNS_PER_DAY.
        writes: how many a run sends that replaces one by the other, at least.
    """

    root: Path
    mongo: Mongo
    states: dict[str, States]
    writes: int

    def settings(self, turns: str) -> Settings:
        return parse_settings(lake_of(self.root, turns) | {
            "MONGODB_URI": self.mongo.uri, "MONGODB_DATABASE": DATABASE,
        })  # fmt: skip


def lake_of(root: Path, turns: str) -> dict[str, str]:
    return {
        "PARQUET_BASE_DIR": str(root / turns),
        "SQLITE_PATH": str(root / f"{turns}.sqlite"),
        "ANALYTICS_START_DATE": DAY,
        "SAMPLE_TURNS_PER_DAY": turns,
    }


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory, mongo: Mongo) -> Versions:
    root = tmp_path_factory.mktemp("lakes")
    states: dict[str, States] = {}
    writes = []
    for turns in (SMALL, LARGE):
        assert run_daily(parse_settings(lake_of(root, turns)), DAY) == {}
    both = Versions(root, mongo, states, 0)
    for turns in (SMALL, LARGE, SMALL):
        with mongo.proxy.failing(Fault(WRITES.__contains__, lambda: None, FOREVER)) as fault:
            assert publish(both.settings(turns)) == {}
        writes.append(fault.met)
        states[turns] = states_of(mongo)
    assert all(states[SMALL][name] != states[LARGE][name] for name in COLLECTIONS)
    return Versions(root, mongo, states, min(writes))


def publish(settings: Settings, assets: Collection[str] = DOCUMENTS) -> Failures:
    return run_daily(settings, DAY, assets=assets)


def states_of(mongo: Mongo) -> States:
    """Every document there is at one moment, by collection, to be counted."""
    options: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
    held: Database[Any] = mongo.direct.get_database(DATABASE, codec_options=options)
    with mongo.direct.start_session(snapshot=True) as session:
        return {
            name: Counter(bytes(one.raw) for one in held[name].find(session=session))
            for name in COLLECTIONS
        }


@dataclass
class Reader:
    """An application that reads all the while.

    Attributes:
        looks: how often it has read.
        odd: collections that were neither as before nor as after.
    """

    looks: int = 0
    odd: list[str] = field(default_factory=list)

    @contextmanager
    def watching(self, mongo: Mongo, *valid: States) -> Iterator[None]:
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.02):
                with suppress(PyMongoError):  # down, or no primary: nothing is read
                    found = states_of(mongo)
                    self.looks += 1
                    self.odd += [
                        name
                        for name in COLLECTIONS
                        if not any(found[name] == state[name] for state in valid)
                    ]

        thread = threading.Thread(target=look, name="reader")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class Trial:
    """Runs that replace the day by its other version, and meet faults."""

    def __init__(self, versions: Versions, ledger: Ledger, fault: str) -> None:
        self.mongo = versions.mongo
        self.tally = ledger.tally(fault)
        self._versions = versions
        self._turns = [LARGE, SMALL]
        self._reader = Reader()
        self.failed = 0
        found = states_of(self.mongo)
        if found == versions.states[LARGE]:
            self._turns.reverse()
        elif found != versions.states[SMALL]:  # the test before failed
            assert publish(versions.settings(SMALL)) == {}

    def next_run(self) -> Settings:
        """Settings of a run that replaces what is there by the other version."""
        return self._versions.settings(self._turns[0])

    @contextmanager
    def read_meanwhile(self) -> Iterator[None]:
        """Look that every collection is as before or as after, never in between."""
        old, new = (self._versions.states[turns] for turns in (self._turns[1], self._turns[0]))
        with self._reader.watching(self.mongo, old, new):
            yield
        # Also where the run failed, and nobody has repeated it yet.
        after = states_of(self.mongo)
        assert all(after[name] in (old[name], new[name]) for name in COLLECTIONS)
        assert self._reader.odd == []
        self.tally.tries += 1

    def check(self, failures: Failures) -> None:
        """After a run: it was quiet or told why; the next one leaves the new version whole."""
        for step, (name, told) in failures.items():
            assert step in DOCUMENTS
            assert name == "DocumentStoreUnavailableError", told
            assert f", {DAY}" in told
            assert f"MongoDB at {LOOPBACK}:" in told
            assert "try again" in told
        self.failed += bool(failures)
        settings = self.next_run()
        if failures:
            assert publish(settings) == {}
        verdict = compare_zones(settings, [DAY], rows_of(settings, [DAY]))
        self.tally.add(verdict)
        verdict.require_nothing()
        assert states_of(self.mongo) == self._versions.states[self._turns[0]]
        self._turns.reverse()

    def end(self) -> None:
        assert self._reader.looks > 0
        self.tally.outcome = (
            f"{self.tally.tries - self.failed} runs recovered by themselves, {self.failed} said "
            "what to do and the next run completed; readers saw old or new, nothing in between"
        )


@pytest.mark.parametrize("times", [1, 2, 5])
def test_connections_that_break_during_writes(
    versions: Versions, ledger: Ledger, rounds: int, times: int
) -> None:
    trial = Trial(versions, ledger, f"MongoDB: the connection breaks during writes, {times} times")
    chance = random.Random(SEED + times)
    for number in range(max(rounds // 4, 2)):
        cut = list(Cut)[number % 3]
        skip = chance.randrange(versions.writes - times)
        fault = Fault(WRITES.__contains__, cut, times, skip)
        with trial.mongo.proxy.failing(fault), trial.read_meanwhile():
            failures = publish(trial.next_run())
        assert fault.met == times
        trial.check(failures)
    trial.end()


def test_connections_that_break_at_every_write(
    versions: Versions, ledger: Ledger, rounds: int
) -> None:
    trial = Trial(versions, ledger, "MongoDB: the connection breaks at every write")
    for cut in list(Cut)[: max(rounds // 8, 1)]:
        fault = Fault(WRITES.__contains__, cut, FOREVER)
        with trial.mongo.proxy.failing(fault), trial.read_meanwhile():
            failures = publish(trial.next_run(), ["message_documents"])
        assert failures.keys() == {"message_documents"}
        trial.check(failures)
    trial.end()


@contextmanager
def refusing(mongo: Mongo, times: int, **data: Any) -> Iterator[None]:
    """Let the server itself fail the next commands of our stores."""
    data["appName"] = "conversation-analytics"
    mongo.direct.admin.command(
        "configureFailPoint", "failCommand", mode={"times": times}, data=data
    )
    try:
        yield
    finally:
        mongo.direct.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.mark.parametrize(
    ("fault", "data"),
    [
        ("NotWritablePrimary", {"errorCode": 10107}),
        ("a write-concern error", {"writeConcernError": WRITE_CONCERN}),
        ("connections closed by the server", {"closeConnection": True}),
    ],
)
def test_errors_of_the_server(
    versions: Versions, ledger: Ledger, rounds: int, fault: str, data: Mapping[str, Any]
) -> None:
    trial = Trial(versions, ledger, f"MongoDB: {fault} (failCommand)")
    chance = random.Random(f"{SEED} {fault}")
    for _ in range(max(rounds // 4, 2)):
        commands = [chance.choice(sorted(WRITES))]
        times = chance.choice([1, 2, 5])
        with (
            refusing(trial.mongo, times, failCommands=commands, **data),
            trial.read_meanwhile(),
        ):
            failures = publish(trial.next_run())
        trial.check(failures)
    trial.end()


def test_a_primary_that_steps_down_under_load(
    versions: Versions, ledger: Ledger, rounds: int
) -> None:
    trial = Trial(versions, ledger, "MongoDB: the primary steps down during a write")
    chance = random.Random(SEED)
    for _ in range(max(rounds // 8, 1)):
        skip = chance.randrange(versions.writes)
        fault = Fault(WRITES.__contains__, trial.mongo.step_down, skip=skip)
        with trial.mongo.proxy.failing(fault), trial.read_meanwhile():
            failures = publish(trial.next_run())
        assert fault.met == 1
        trial.check(failures)
    trial.end()


def test_a_server_that_is_killed_and_started_again(
    versions: Versions, ledger: Ledger, rounds: int
) -> None:
    trial = Trial(versions, ledger, "MongoDB: kill -9 in the middle of a write, then a restart")
    chance = random.Random(SEED)
    for _ in range(max(rounds // 8, 1)):
        killed = threading.Event()

        def kill(killed: threading.Event = killed) -> None:
            trial.mongo.kill()
            killed.set()

        fault = Fault(WRITES.__contains__, kill, skip=chance.randrange(versions.writes))
        with (
            ThreadPoolExecutor(1) as pool,
            trial.mongo.proxy.failing(fault),
            trial.read_meanwhile(),
        ):
            running = pool.submit(publish, trial.next_run())
            assert killed.wait(60)
            # Here and not in the proxy's thread: a server dies with the thread that started it.
            trial.mongo.start_again()
            failures = running.result()
        trial.check(failures)
    trial.end()


# --- rows that MongoDB does not take ---

SEVENTEEN_MB = 17 * 1024 * 1024
ODD_ROWS: tuple[dict[str, Any], ...] = (
    {"query": "half \ud83d of one", "answer": "\udc00"},
    {"inputs": {"a.b": 1, "$set": {"": 2}, "$where": "x"}, "message_metadata": {"\0": {"$ref": 1}}},
    {"query": "before \0 after", "brand.new": {"$a": {"b.c": [1]}}},
)


def served(*rows: Mapping[str, Any]) -> dict[str, str]:
    return {row["id"]: payload(row) for row in (message(i, **rows[i]) for i in range(len(rows)))}


def wanted(texts: dict[str, str]) -> dict[SourceTable, dict[str, str]]:
    conversations = {"conversation": payload(CONVERSATION)}
    return {SourceTable.CONVERSATIONS: conversations, SourceTable.MESSAGES: texts}


def from_source(tmp_path: Path, mongo: Mongo) -> Settings:
    return parse_settings(lake_of(tmp_path, SMALL) | {
        "MONGODB_URI": mongo.uri, "MONGODB_DATABASE": f"rows_{uuid.uuid4().hex}",
    })  # fmt: skip


def run_rows(settings: Settings, texts: dict[str, str]) -> Failures:
    return run_daily(settings, DAY, source=Served(texts))


def test_texts_and_keys_that_mongodb_does_not_take(
    tmp_path: Path, mongo: Mongo, ledger: Ledger
) -> None:
    tally = ledger.tally("MongoDB: lone surrogates and NUL in texts; NUL, dots, dollars in keys")
    settings, texts = from_source(tmp_path, mongo), served({}, *ODD_ROWS)
    tally.tries += len(ODD_ROWS)
    assert run_rows(settings, texts) == {}
    verdict = compare_zones(settings, [DAY], wanted(texts))
    tally.add(verdict)
    verdict.require_nothing()
    tally.outcome = "they land: lone surrogates and NUL as U+FFFD, JSON stays text"


def test_a_row_of_17_mb_takes_no_other_row_with_it(
    tmp_path: Path, mongo: Mongo, ledger: Ledger
) -> None:
    tally = ledger.tally("MongoDB: a row of 17 MB, more than a document holds")
    settings = from_source(tmp_path, mongo)
    small, other = {"answer": "a"}, {"conversation_id": "another"}
    before = served(small, {}, other)
    assert run_rows(settings, before) == {}
    texts = served({"answer": "a" * SEVENTEEN_MB}, {"query": "changed"}, other, other)
    tally.tries += 1
    failures = run_rows(settings, texts)
    assert failures.keys() == {"conversation_documents", "message_documents"}
    for step, row_id in (("message_documents", "m000"), ("conversation_documents", "conversation")):
        name, told = failures[step]
        assert name == "DocumentError"
        assert f"{DAY}: 1 documents cannot be stored, all others are: '{row_id}'" in told
        assert "document over 16 MB (1); mend these rows upstream" in told
    held = mongo.direct[settings.mongodb_database]
    turns = {one["_id"]: one["query"] for one in held["messages"].find()}
    assert turns == {"m000": "q 0", "m001": "changed", "m002": "q 2", "m003": "q 3"}
    assert [len(one["messages"]) for one in held["conversations"].find({"_id": "another"})] == [2]
    assert run_rows(settings, before) == {}
    verdict = compare_zones(settings, [DAY], wanted(before))
    tally.add(verdict)
    verdict.require_nothing()
    tally.outcome = "lake whole, other documents replaced; the error names the rows until mended"
