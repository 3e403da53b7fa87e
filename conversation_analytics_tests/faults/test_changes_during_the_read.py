"""A second client inserts, updates and deletes in PostgreSQL while NocoDB is read."""

from __future__ import annotations

import datetime as dt
import json
import random
import threading
import uuid
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
import pytest

from conversation_analytics.core import schemas
from conversation_analytics.core.source import SourceTable
from conversation_analytics.resources.connections import open_lake, open_source
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.dify import load_dify_rows
from conversation_analytics_tests.faults.exactly_once import Payloads, Verdict, compare_zones
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import DifyBase
    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.nocodb,
    pytest.mark.postgres,
    pytest.mark.timeout(3600),
]

DAY = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
NEXT = DAY + dt.timedelta(days=1)
KEY = "2026-11-10"
CONVERSATIONS, MESSAGES = 6, 90
PAGE = 9
SEED = 20261110
PAUSE_S = 0.002
COLUMNS = {
    SourceTable.CONVERSATIONS: ("id", "name", "status"),
    SourceTable.MESSAGES: ("id", "query", "answer", "answer_tokens", "conversation_id"),
}


class SecondClient:
    """Writes to PostgreSQL until it is stopped; knows which rows it never deleted."""

    def __init__(self, dsn: str, seed: int) -> None:
        self._dsn = dsn
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self.conversations = [self._uuid() for _ in range(CONVERSATIONS)]
        self.alive = [self._uuid() for _ in range(MESSAGES)]
        self.deleted: list[str] = []
        self.writes = 0

    def _uuid(self) -> str:
        """An id that says nothing about its order in time: it lands on any page."""
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def fill(self) -> None:
        """Insert the rows there are at the beginning."""
        load_dify_rows(
            self._dsn,
            "conversations",
            [self._conversation(row_id) for row_id in self.conversations],
        )
        load_dify_rows(self._dsn, "messages", [self._message(row_id) for row_id in self.alive])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write beside whatever is done inside."""
        self._stop.clear()
        thread = threading.Thread(target=self._write, name="second client")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _conversation(self, row_id: str) -> dict[str, Any]:
        at = self._moment()
        return {
            "id": row_id, "name": "n", "status": "normal", "created_at": at, "updated_at": at,
        }  # fmt: skip

    def _message(self, row_id: str) -> dict[str, Any]:
        at = self._moment()
        return {
            "id": row_id, "conversation_id": self._chance.choice(self.conversations),
            "query": f"q {row_id}", "answer": "", "answer_tokens": 0, "status": "normal",
            "created_at": at, "updated_at": at,
        }  # fmt: skip

    def _moment(self) -> dt.datetime:
        return DAY + dt.timedelta(seconds=self._chance.randrange(86_400))

    def _write(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._stop.wait(PAUSE_S):
                kind = self._chance.random()
                # Between bounds: in the long run chance alone would delete every row.
                if kind < 0.3 and len(self.alive) < 2 * MESSAGES:
                    row = self._message(self._uuid())
                    self._insert(connection, "messages", row)
                    self.alive.append(row["id"])
                elif 0.3 <= kind < 0.35:
                    row = self._conversation(self._uuid())
                    self._insert(connection, "conversations", row)
                    self.conversations.append(row["id"])
                elif 0.35 <= kind < 0.65 and len(self.alive) > MESSAGES // 2:
                    gone = self.alive.pop(self._chance.randrange(len(self.alive)))
                    connection.execute("DELETE FROM messages WHERE id = %s", [gone])
                    self.deleted.append(gone)
                else:
                    # As Dify before its PR 23869: the answer comes, updated_at stays.
                    connection.execute(
                        "UPDATE messages SET answer = %s, answer_tokens = %s WHERE id = %s",
                        [f"a {self.writes}", self.writes, self._chance.choice(self.alive)],
                    )
                self.writes += 1

    @staticmethod
    def _insert(connection: psycopg.Connection[Any], table: str, row: dict[str, Any]) -> None:
        names = ", ".join(row)
        marks = ", ".join(["%s"] * len(row))
        naive = [v.replace(tzinfo=None) if isinstance(v, dt.datetime) else v for v in row.values()]
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})".encode(), naive)


def rows_of(dsn: str) -> dict[SourceTable, Payloads]:
    """What PostgreSQL holds, read without NocoDB."""
    found: dict[SourceTable, Payloads] = {}
    with psycopg.connect(dsn) as connection:
        for table, names in COLUMNS.items():
            rows = connection.execute(f"SELECT {', '.join(names)} FROM {table}".encode()).fetchall()
            found[table] = {
                str(row[0]): json.dumps(dict(zip(names, row, strict=True)), default=str)
                for row in rows
            }
    return found


def settings_of(folder: Path, server: NocodbServer, base: DifyBase, gone_rows: str) -> Settings:
    return parse_settings(
        {
            "NOCODB_BASE_URL": server.base_url,
            "NOCODB_API_TOKEN": server.api_token,
            "NOCODB_PROJECT_ID": base.base_id,
            "CHUNK_SIZE": str(PAGE),
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": KEY,
            "GONE_ROWS": gone_rows,
        }
    )


def test_every_window_holds_each_row_that_lives_all_the_while_once(
    tmp_path: Path, nocodb: NocodbServer, dify_base: DifyBase, ledger: Ledger, rounds: int
) -> None:
    tally = ledger.tally("a second client writes while a window is read")
    client = SecondClient(dify_base.dsn, SEED)
    client.fill()
    settings = settings_of(tmp_path, nocodb, dify_base, "flag")
    with closing(open_source(settings)) as source:
        for _ in range(rounds):
            before, writes = rows_of(dify_base.dsn)[SourceTable.MESSAGES], client.writes
            with client.writing():
                found = source.read_window(SourceTable.MESSAGES, DAY, NEXT)["id"].to_list()
            after = rows_of(dify_base.dsn)[SourceTable.MESSAGES]
            tally.tries += 1
            verdict = Verdict()
            verdict.lost = sorted((before.keys() & after.keys()).difference(found))
            verdict.repeated = sorted(set(found)) if len(set(found)) < len(found) else []
            tally.add(verdict)
            verdict.require_nothing()
            assert client.writes > writes
            assert set(found) <= before.keys() | after.keys() | set(client.deleted)
    tally.outcome = f"whole windows, {client.writes} writes beside them"


@pytest.mark.parametrize("gone_rows", ["purge", "flag"])
def test_one_further_run_shows_the_final_state(
    tmp_path: Path, nocodb: NocodbServer, dify_base: DifyBase, ledger: Ledger, gone_rows: str,
    rounds: int,
) -> None:  # fmt: skip
    tally = ledger.tally(f"a second client writes during runs, then one further run ({gone_rows})")
    client = SecondClient(dify_base.dsn, SEED + 1)
    client.fill()
    settings = settings_of(tmp_path, nocodb, dify_base, gone_rows)
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(max(rounds // 8, 1)):
            with client.writing():
                # A check may see two tables of different moments: the rows are what counts.
                run_job(settings, "daily", KEY, instance=instance, raise_on_error=False)
            result = run_job(settings, "daily", KEY, instance=instance)
            assert all(evaluation.passed for evaluation in errors_of(result))
            tally.tries += 1
            wanted = rows_of(dify_base.dsn)
            alive = wanted[SourceTable.MESSAGES].keys()
            assert alive == set(client.alive)
            raw = open_lake(settings).read(schemas.RAW_MESSAGES, KEY)
            for row in raw.iter_rows(named=True):
                assert row["gone"] == (row["id"] not in alive)
                if row["gone"] and gone_rows == "flag":
                    assert row["id"] in client.deleted
                    wanted[SourceTable.MESSAGES][row["id"]] = row["payload"]
            verdict = compare_zones(settings, [KEY], wanted, exact=False)
            tally.add(verdict)
            verdict.require_nothing()
    tally.outcome = "every row at its final state; rows deleted meanwhile as GONE_ROWS says"


def errors_of(result: dg.ExecuteInProcessResult) -> list[Any]:
    """The checks that say that something is wrong, not only odd."""
    return [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.severity is dg.AssetCheckSeverity.ERROR
    ]
