"""Columns that are added, removed, renamed or retyped while days are read, in PostgreSQL.

NocoDB shows a database as it was when it last read its schema ("meta sync"): what it makes of a
change before that is tried too.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests

from conversation_analytics.core import schemas
from conversation_analytics.core.source import SourceTable
from conversation_analytics.io_managers import retries
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.dify import load_dify_rows
from conversation_analytics.stack.nocodb_seed import DifyBase, create_dify_base
from conversation_analytics_tests.faults.exactly_once import (
    Verdict,
    compare_zones,
    digests,
    require_readable,
    strays,
)
from conversation_analytics_tests.faults.http_proxy import HttpProxy, Script, is_page, query_of
from conversation_analytics_tests.faults.sample_runs import run_daily

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.postgres import PostgresServer
    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.nocodb,
    pytest.mark.postgres,
    pytest.mark.timeout(3600),
]

SEED = 20261110
PAGE = 8
BEFORE, AFTER = DAYS = ("2026-11-10", "2026-11-11")
CONVERSATIONS, MESSAGES = 6, 30
SYNC_SECONDS = 60
EVERY_TENTH = "CASE WHEN answer_tokens % 10 = 0 THEN 'many' ELSE answer_tokens::text END"
NO_DEFAULT = "ALTER COLUMN answer_tokens DROP DEFAULT, ALTER COLUMN answer_tokens TYPE"


@dataclass(frozen=True)
class Change:
    """A change of the table of messages.

    Attributes:
        does: SQL, after ALTER TABLE messages.
        undoes: SQL that lets the next test begin as this one.
        lost: the column the source does not have any more, by the name it had.
        contract: what has to be said before rows are read again; empty where nothing has.
        hint: what the error proposes.
        nulls: the column that is null from now on.
        spoils: every tenth row's count of tokens fits no more.
    """

    does: str
    undoes: str
    lost: str = ""
    contract: str = ""
    hint: str = ""
    nulls: str = ""
    spoils: bool = False


CHANGES = {
    "a column is added": Change("ADD COLUMN mood text DEFAULT 'fine'", "DROP COLUMN mood"),
    "an optional column is removed": Change(
        "DROP COLUMN answer_tokens", "ADD COLUMN answer_tokens integer",
        lost="answer_tokens", nulls="answer_tokens",
    ),
    "a required column is removed": Change(
        "DROP COLUMN answer", "ADD COLUMN answer text",
        lost="answer", nulls="answer", contract='[messages]\noptional = ["answer"]\n',
    ),
    "a column is renamed": Change(
        "RENAME COLUMN query TO user_text", "RENAME COLUMN user_text TO query",
        lost="query", contract='[messages.names]\nquery = "user_text"\n',
        hint='perhaps: [messages.names] query = "user_text"',
    ),
    "a column becomes text": Change(f"{NO_DEFAULT} text", f"{NO_DEFAULT} integer USING 0"),
    "a column becomes text and some values fit no more": Change(
        f"{NO_DEFAULT} text USING {EVERY_TENTH}", f"{NO_DEFAULT} integer USING 0", spoils=True
    ),
}  # fmt: skip


@dataclass
class Database:
    """Dify's PostgreSQL, the NocoDB before it, and the platform that reads it.

    Attributes:
        nocodb: behind the proxy.
        base: over the database.
        proxy: where the database changes between two pages.
        settings: of a platform that has read nothing yet.
        rows: what was loaded.
    """

    nocodb: NocodbServer
    base: DifyBase
    proxy: HttpProxy
    settings: Settings
    rows: dict[SourceTable, list[dict[str, Any]]] = field(default_factory=dict)

    def alter(self, change: str) -> None:
        with psycopg.connect(self.base.dsn, autocommit=True) as connection:
            connection.execute(f"ALTER TABLE messages {change}".encode())

    def sync(self) -> None:
        """Let NocoDB read the schema again, and wait until it shows what there is."""
        signed_in = requests.post(
            f"{self.nocodb.base_url}/api/v1/auth/user/signin",
            json={"email": self.nocodb.admin_email, "password": self.nocodb.admin_password},
            timeout=SYNC_SECONDS,
        ).json()
        base = self.base.base_id
        sources = self.nocodb.request("GET", f"/api/v1/db/meta/projects/{base}/bases")["list"]
        source = next(one["id"] for one in sources if one["alias"] == "dify")
        until = time.monotonic() + SYNC_SECONDS
        while True:
            asked = requests.post(
                f"{self.nocodb.base_url}/api/v2/meta/bases/{base}/meta-diff/{source}",
                headers={"xc-auth": signed_in["token"]},
                timeout=SYNC_SECONDS,
            )
            # A busy NocoDB refuses while the sync asked for before is under way.
            if asked.status_code != requests.codes.bad_request or time.monotonic() > until:
                break
            time.sleep(0.5)
        asked.raise_for_status()
        with psycopg.connect(self.base.dsn) as connection:
            found = connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'messages'"
            ).fetchall()
        wanted = {name for (name,) in found}
        until = time.monotonic() + SYNC_SECONDS
        path = f"/api/v2/meta/tables/{self.base.messages_table_id}"
        while wanted != (shown := self._shown(path)):
            assert time.monotonic() < until, (wanted, shown)
            time.sleep(0.05)

    def _shown(self, path: str) -> set[str]:
        return {
            column["title"]
            for column in self.nocodb.request("GET", path)["columns"]
            if column["uidt"] not in {"Links", "LinkToAnotherRecord"}
        }

    def fill(self) -> None:
        chance = random.Random(SEED)

        def row(day: str) -> dict[str, Any]:
            start = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
            at = start + dt.timedelta(seconds=chance.randrange(86_400))
            row_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            return {"id": row_id, "status": "normal", "created_at": at, "updated_at": at}

        conversations = [row(BEFORE) | {"name": "n"} for _ in range(CONVERSATIONS)]
        messages = [
            row(day) | {
                "conversation_id": chance.choice(conversations)["id"], "query": f"q {number}",
                "answer": f"a {number}", "answer_tokens": number,
            }
            for day in DAYS
            for number in range(MESSAGES)
        ]  # fmt: skip
        self.rows = {SourceTable.CONVERSATIONS: conversations, SourceTable.MESSAGES: messages}
        with psycopg.connect(self.base.dsn, autocommit=True) as connection:
            connection.execute("TRUNCATE messages, conversations")
        for table, rows in self.rows.items():
            load_dify_rows(self.base.dsn, table.value, rows)

    def wanted(self, change: Change) -> tuple[dict[SourceTable, dict[str, str]], set[str]]:
        """What must be in every zone, and the ids that belong into the dead letters.

        What was read before the change keeps its values.
        """
        wanted: dict[SourceTable, dict[str, str]] = {}
        dead: set[str] = set()
        for table, rows in self.rows.items():
            wanted[table] = {}
            for row in rows:
                kept = row | {"created_at": None, "updated_at": None}
                if table is SourceTable.MESSAGES and f"{row['created_at']:%F}" == AFTER:
                    kept |= {change.nulls: None} if change.nulls else {}
                    if change.spoils and row["answer_tokens"] % 10 == 0:
                        dead.add(row["id"])
                wanted[table][row["id"]] = json.dumps(kept)
        return wanted, dead


@pytest.fixture(scope="module")
def base(nocodb: NocodbServer, postgres: PostgresServer) -> DifyBase:
    """A base of this module's own: nobody else's columns change."""
    return create_dify_base(nocodb, postgres, title="columns", database="dify_columns")


@pytest.fixture
def database(tmp_path: Path, nocodb: NocodbServer, base: DifyBase) -> Iterator[Database]:
    proxy = HttpProxy(nocodb.base_url, keeps=False)
    variables = {
        "NOCODB_BASE_URL": proxy.url,
        "NOCODB_API_TOKEN": nocodb.api_token,
        "NOCODB_PROJECT_ID": base.base_id,
        "NOCODB_COLUMN_CONTRACT": str(tmp_path / "contract.toml"),
        "CHUNK_SIZE": str(PAGE),
        "RETRY_DELAY": "0.01",
        "MAX_RETRIES": "1",
        "DEAD_LETTER_SHARE": "1",
        "ANALYTICS_START_DATE": BEFORE,
        "PARQUET_BASE_DIR": str(tmp_path / "lake"),
        "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
    }
    (tmp_path / "contract.toml").write_text("")
    try:
        yield Database(nocodb, base, proxy, parse_settings(variables))
    finally:
        proxy.close()


@pytest.fixture(autouse=True)
def _no_waiting_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAIT_S", 0.01)


@pytest.mark.parametrize("when", ["between two days", "between two pages"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_table_that_changes(database: Database, ledger: Ledger, name: str, when: str) -> None:
    """Quiet where nothing required is lost; else a clear error, until the contract says so."""
    tally, change, settings = (
        ledger.tally(f"NocoDB: {name} {when}"),
        CHANGES[name],
        database.settings,
    )
    database.fill()
    assert run_daily(settings, BEFORE) == {}
    old = old_partitions(settings)
    assert len(old) > 5
    try:
        if when == "between two days":
            database.alter(change.does)
            if change.lost:
                is_told(settings, change, "It serves: id (SingleLineText)")
            database.sync()
            if change.contract:
                is_told(settings, change, "it has: id (SingleLineText)")
        else:
            with database.proxy.playing(changes_after_a_page(database, change)) as script:
                if change.contract:
                    is_told(settings, change, "it has: id (SingleLineText)")
                else:
                    assert run_daily(settings, AFTER) == {}
            assert script.met
        if change.contract:
            assert settings.nocodb_column_contract is not None
            settings.nocodb_column_contract.write_text(change.contract)
        assert run_daily(settings, AFTER) == {}
        tally.tries = 1
        verdict = compared(database, change)
        tally.add(verdict)
        verdict.require_nothing()
        assert old_partitions(settings) == old
        require_readable(settings)
        if not change.spoils:
            # Read again, the old day keeps the values of a column that is gone.
            assert run_daily(settings, BEFORE) == {}
            compared(database, change).require_nothing()
        extra = open_lake(settings).read(schemas.MESSAGES, AFTER)["extra"].to_list()
        assert all(("mood" in (one or "")) == (name == "a column is added") for one in extra)
    finally:
        database.alter(change.undoes)
        database.sync()
    tally.outcome = (
        "ContractError names it, the columns there are and NOCODB_COLUMN_CONTRACT; then complete"
        if change.contract
        else "read on; what fits no more is a dead letter"
        if change.spoils
        else "read on"
    )


def compared(database: Database, change: Change) -> Verdict:
    """Compare what went in with every zone; the raw zone has it as it was served."""
    wanted, dead = database.wanted(change)
    messages = wanted[SourceTable.MESSAGES]
    lake = open_lake(database.settings)
    raw = {
        row_id: payload
        for day in DAYS
        for row_id, payload in lake.read(schemas.RAW_MESSAGES, day)
        .select("id", "payload")
        .iter_rows()
    }
    served = {row_id: as_served(json.loads(payload)) for row_id, payload in raw.items()}
    loaded = {row_id: as_served(json.loads(payload)) for row_id, payload in messages.items()}
    for row_id in dead:
        loaded[row_id] |= {"answer_tokens": "many"}
        messages[row_id] = raw[row_id]  # dead letters hold the very text
    verdict = compare_zones(database.settings, DAYS, wanted, dead=dead, exact=False)
    for differences in (verdict.lost, verdict.repeated):
        differences[:] = [one for one in differences if not one.startswith("raw_messages ")]
    verdict.compare("raw_messages", loaded, served.items())
    return verdict


def as_served(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is compared of a message as served, whatever its columns were called then."""
    tokens = row.get("answer_tokens")
    return {
        "query": row.get("query", row.get("user_text")),
        "answer": row.get("answer"),
        "answer_tokens": None if tokens is None else str(tokens),
        "conversation_id": row["conversation_id"],
    }


def is_told(settings: Settings, change: Change, there_are: str) -> None:
    """The day fails with the column and what to do, and nothing of it is written."""
    before = digests(settings.parquet_base_dir)
    ((step, (kind, message)),) = run_daily(settings, AFTER).items()
    assert (step, kind) == ("raw_messages", "ContractError")
    for part in ("'messages'", change.lost, there_are, "NOCODB_COLUMN_CONTRACT"):
        assert part in message
    if "It serves" in there_are:
        assert f"shows the columns {change.lost} (" in message
    else:
        assert f"lacks: {change.lost}; it has" in message
        assert change.hint in message
    after = digests(settings.parquet_base_dir)
    assert before.items() <= after.items()
    assert not open_lake(settings).exists(schemas.RAW_MESSAGES, AFTER)
    assert strays(settings.parquet_base_dir) == []


def old_partitions(settings: Settings) -> dict[str, str]:
    year, month, day = BEFORE.split("-")
    return {
        path: digest
        for path, digest in digests(settings.parquet_base_dir).items()
        if f"year={year}/month={month}/day={day}" in path
    }


def changes_after_a_page(database: Database, change: Change) -> Script:
    """The database changes, and NocoDB reads its schema, when the second page is asked for."""
    script: Script

    def ask(target: str) -> str:
        where = query_of(target).get("where", "")
        if is_page(target) and "(id,gt," in where and not script.met:
            script.met[target] += 1
            database.alter(change.does)
            database.sync()
        return target

    script = Script(lambda _, answer: answer, targets=(), ask=ask)
    return script
