"""The reader against the real NocoDB, over Dify's PostgreSQL and with tables of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import itertools
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from conversation_analytics.core.contract import parse_contract
from conversation_analytics.core.errors import (
    ContractError,
    SourceAuthError,
    SourceRequestError,
    SourceUnavailableError,
)
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.schemas import MESSAGES, RAW_MESSAGES
from conversation_analytics.core.source import SourceTable
from conversation_analytics.nocodb.client import NocoDBClient, NocoDBConfig
from conversation_analytics.nocodb.reader import NocoDBSource
from conversation_analytics.stack.dify import load_dify_rows
from conversation_analytics.stack.nocodb_seed import (
    create_dify_base,
    insert_rows,
    load_native_rows,
    update_rows,
)
from conversation_analytics.stack.postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import DifyBase, NativeBase
    from conversation_analytics.stack.postgres import PostgresServer

pytestmark = pytest.mark.nocodb

DAY = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
NEXT = DAY + dt.timedelta(days=1)
MICROSECOND = dt.timedelta(microseconds=1)
CONVERSATION_ID = str(uuid.UUID(int=1))
CONVERSATION = {"id": CONVERSATION_ID, "name": "n", "created_at": DAY, "updated_at": DAY}


def message(number: int, created_at: dt.datetime | None, **values: Any) -> dict[str, Any]:
    """A row whose UUID says nothing about its order in time."""
    name = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    return {
        "id": str(uuid.UUID(name)),
        "conversation_id": CONVERSATION_ID,
        "query": f"question {number}",
        "answer": "answer",
        "created_at": created_at,
        "updated_at": created_at,
    } | values


def around_midnight() -> list[dict[str, Any]]:
    """Forty rows in the day, several at exactly its first instant, and neighbours outside."""
    times = [
        *[DAY] * 9,
        *[NEXT] * 9,
        NEXT - MICROSECOND,
        DAY - MICROSECOND,
        *(
            DAY + dt.timedelta(minutes=46 * step, milliseconds=250 * (step % 4))
            for step in range(30)
        ),
    ]
    rows = [message(number, time) for number, time in enumerate(times)]
    return rows + [message(100 + number, None) for number in range(8)]


def ids_in(rows: list[dict[str, Any]], start: dt.datetime, end: dt.datetime) -> list[str]:
    """What a window must hold, where the source cuts the part below a second."""
    return sorted(
        row["id"]
        for row in rows
        if row["created_at"] and start <= row["created_at"].replace(microsecond=0) < end
    )


def config_of(server: NocodbServer, base: DifyBase | NativeBase, **changes: Any) -> NocoDBConfig:
    config = NocoDBConfig(
        base_url=server.base_url,
        api_token=server.api_token,
        project_id=base.base_id,
        max_retries=1,
        retry_delay_s=0.01,
        page_size=7,
    )
    return dataclasses.replace(config, **changes)


@contextlib.contextmanager
def source_of(
    server: NocodbServer, base: DifyBase | NativeBase, **changes: Any
) -> Iterator[NocoDBSource]:
    source = NocoDBSource(NocoDBClient(config_of(server, base, **changes)))
    with contextlib.closing(source):
        yield source


@pytest.fixture(scope="module")
def dify(nocodb: NocodbServer, postgres: PostgresServer) -> DifyBase:
    """Rows around midnight in PostgreSQL, read-only for the tests of this module."""
    base = create_dify_base(nocodb, postgres, title="windows", database="windows")
    load_dify_rows(base.dsn, "conversations", [CONVERSATION])
    load_dify_rows(base.dsn, "messages", around_midnight())
    return base


@pytest.mark.postgres
@pytest.mark.parametrize("changes", [{}, {"api_version": "v1", "auth": "bearer"}], ids=["v2", "v1"])
def test_a_day_over_postgresql(nocodb: NocodbServer, dify: DifyBase, changes: Any) -> None:
    with source_of(nocodb, dify, **changes) as source:
        frame = source.read_window(SourceTable.MESSAGES, DAY, NEXT)
        assert frame.schema == RAW_MESSAGES.polars
        assert frame["id"].sort().to_list() == ids_in(around_midnight(), DAY, NEXT)
        assert frame.rows() == frame.sort("created_at", "id").rows()
        undated = source.read_undated(SourceTable.MESSAGES)
        assert undated.height == 8
        assert undated["created_at"].null_count() == 8
        assert source.read_window(SourceTable.CONVERSATIONS, DAY, NEXT).height == 1
        assert source.read_undated(SourceTable.CONVERSATIONS).is_empty()
        assert source.read_window(SourceTable.MESSAGES, NEXT, NEXT).is_empty()


@pytest.mark.postgres
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.timedeltas(dt.timedelta(), dt.timedelta(days=1)), max_size=3))
def test_windows_that_tile_a_day_hold_each_row_once(
    nocodb: NocodbServer, dify: DifyBase, cuts: list[dt.timedelta]
) -> None:
    edges = sorted([DAY, NEXT, *(DAY + cut for cut in cuts)])
    with source_of(nocodb, dify, page_size=1000) as source:
        found = [
            row_id
            for start, end in itertools.pairwise(edges)
            for row_id in source.read_window(SourceTable.MESSAGES, start, end)["id"]
        ]
    assert sorted(found) == ids_in(around_midnight(), DAY, NEXT)


@pytest.mark.postgres
def test_threads_share_a_source(nocodb: NocodbServer, dify: DifyBase) -> None:
    hours = [DAY + dt.timedelta(hours=hour) for hour in range(25)]
    with source_of(nocodb, dify) as source, ThreadPoolExecutor(4) as pool:
        frames = pool.map(
            lambda hour: source.read_window(
                SourceTable.MESSAGES, hour, hour + dt.timedelta(hours=1)
            ),
            hours[:-1],
        )
        found = sorted(row_id for frame in frames for row_id in frame["id"])
    assert found == ids_in(around_midnight(), DAY, NEXT)


def test_a_day_in_tables_of_nocodb_itself(nocodb: NocodbServer, native_base: NativeBase) -> None:
    load_native_rows(nocodb, native_base, [CONVERSATION], around_midnight())
    # As an accidental line of the grid, and a row entered twice.
    insert_rows(nocodb, native_base.messages_table_id, [{"query": None}, message(0, DAY)])
    for changes in ({}, {"messages_table": native_base.messages_table_id, "api_version": "v1"}):
        with source_of(nocodb, native_base, **changes) as source:
            frame = source.read_window(SourceTable.MESSAGES, DAY, NEXT)
            assert frame["id"].sort().to_list() == ids_in(around_midnight(), DAY, NEXT)
            undated = source.read_undated(SourceTable.MESSAGES)
            assert undated.height == 9
            assert undated["id"].str.contains(r"^Id=\d+$").sum() == 1
            conversation = source.read_window(SourceTable.CONVERSATIONS, DAY, NEXT)
            assert conversation["id"].to_list() == [CONVERSATION_ID]
            assert "messages" not in json.loads(conversation["payload"][0])  # the link
            assert all(result.ok for result in source.probe())


@pytest.mark.postgres
def test_a_payload_is_the_exact_text_of_the_answer(
    nocodb: NocodbServer, dify_base: DifyBase
) -> None:
    load_dify_rows(dify_base.dsn, "conversations", [CONVERSATION])
    hard = message(
        1,
        DAY,
        query='quote " back \\ line\n \U0001f600 \u0e2a\u0e27\u0e31 ),~(',
        message={"role": "user", "text": "the full prompt"},
        inputs='{"price": 1.50, "n": 12345678901234567890}',
        total_price=Decimal("0.0012345"),
        message_unit_price=Decimal("123456.7890"),
    )
    load_dify_rows(dify_base.dsn, "messages", [hard])
    with source_of(nocodb, dify_base) as source:
        row = source.read_window(SourceTable.MESSAGES, DAY, NEXT).row(0, named=True)
    served = json.loads(row["payload"], parse_float=Decimal)
    assert "message" not in served
    assert "conversations" not in served
    answer = requests.get(
        f"{nocodb.base_url}/api/v2/tables/{dify_base.messages_table_id}/records",
        headers={"xc-token": nocodb.api_token},
        params={"fields": ",".join(served)},
        timeout=30,
    )
    assert row["payload"] in answer.text
    assert row["sha256"] == hashlib.sha256(row["payload"].encode()).hexdigest()
    assert served["query"] == hard["query"]
    assert Decimal(str(served["total_price"])) == hard["total_price"]
    assert Decimal(str(served["message_unit_price"])) == hard["message_unit_price"]
    with source_of(nocodb, dify_base, load_prompt=True) as source:
        payload = source.read_window(SourceTable.MESSAGES, DAY, NEXT)["payload"][0]
    assert json.loads(payload)["message"] == hard["message"]


@pytest.mark.postgres
def test_rows_that_postgresql_holds_and_python_cannot_spoil_no_other(
    nocodb: NocodbServer, dify_base: DifyBase
) -> None:
    """Half a character in `inputs`, nesting, and times outside of the calendar: all were seen."""
    load_dify_rows(dify_base.dsn, "conversations", [CONVERSATION])
    rows = [message(number, DAY) for number in range(8)]
    load_dify_rows(dify_base.dsn, "messages", rows)
    spoiled = {
        0: ("inputs", '{"a": "\\ud800"}'),
        1: ("inputs", '{"a": "\\u0000"}'),
        2: ("inputs", "[" * 2000 + "]" * 2000),
        3: ("updated_at", "infinity"),
        4: ("updated_at", "0044-03-15 BC"),
        5: ("created_at", "infinity"),
        6: ("created_at", "10000-01-01"),
    }
    with psycopg.connect(dify_base.dsn) as connection:
        for number, (name, value) in spoiled.items():
            connection.execute(
                sql.SQL("update messages set {} = %s where id = %s").format(sql.Identifier(name)),
                (value, rows[number]["id"]),
            )
    readable = sorted(row["id"] for number, row in enumerate(rows) if number not in {5, 6})
    with source_of(nocodb, dify_base, page_size=100) as source:
        assert source.read_window(SourceTable.MESSAGES, DAY, NEXT)["id"].to_list() == readable
        changes = source.changes_since(SourceTable.MESSAGES, DAY)
        assert changes["id"].to_list() == readable


@pytest.mark.postgres
def test_a_finished_turn_has_another_fingerprint(nocodb: NocodbServer, dify_base: DifyBase) -> None:
    load_dify_rows(dify_base.dsn, "conversations", [CONVERSATION])
    rows = [message(number, DAY, answer="", answer_tokens=0) for number in range(9)]
    load_dify_rows(dify_base.dsn, "messages", rows)
    with source_of(nocodb, dify_base) as source:
        before = source.changes_since(SourceTable.MESSAGES, DAY)
        assert before.columns == ["id", "created_at", "changed_at", "fingerprint"]
        assert before.height == 9
        assert before.equals(source.changes_since(SourceTable.MESSAGES, DAY))
        # As Dify before its PR 23869: the answer comes, updated_at stays.
        load_dify_rows(dify_base.dsn, "messages", [rows[4] | {"answer": "x", "answer_tokens": 5}])
        after = source.changes_since(SourceTable.MESSAGES, DAY)
        changed = after.join(before, on=["id", "fingerprint"], how="anti")
        assert changed["id"].to_list() == [rows[4]["id"]]
        # As Dify since: an old row is found by updated_at alone.
        load_dify_rows(dify_base.dsn, "messages", [rows[3] | {"updated_at": NEXT}])
        late = source.changes_since(SourceTable.MESSAGES, NEXT)
        assert late.rows() == [(rows[3]["id"], DAY, NEXT, late["fingerprint"][0])]
        assert source.changes_since(SourceTable.MESSAGES, NEXT + MICROSECOND).height == 1
        later = NEXT + dt.timedelta(seconds=1)
        assert source.changes_since(SourceTable.MESSAGES, later).is_empty()


@pytest.mark.postgres
def test_a_row_has_the_same_digests_in_a_window_by_its_id_and_in_a_look(
    nocodb: NocodbServer, dify_base: DifyBase, native_base: NativeBase
) -> None:
    rows = [
        message(
            number, DAY + dt.timedelta(minutes=number), updated_at=DAY + dt.timedelta(hours=20),
            total_price=Decimal("0.0012345"), provider_response_latency=1.5 / (number + 1),
            message_tokens=number, status="normal",
        )
        for number in range(150)
    ]  # fmt: skip
    load_dify_rows(dify_base.dsn, "conversations", [CONVERSATION])
    load_dify_rows(dify_base.dsn, "messages", rows)
    load_native_rows(nocodb, native_base, [CONVERSATION], rows)
    for base in (dify_base, native_base):
        with source_of(nocodb, base, page_size=40) as source:
            window = source.read_window(SourceTable.MESSAGES, DAY, NEXT)
            wanted = window["id"].to_list()
            found = source.read_ids(SourceTable.MESSAGES, [*wanted, str(uuid.UUID(int=7))])
            assert found.sort("id").equals(window.sort("id"))
            shown = source.changes_since(SourceTable.MESSAGES, DAY)
            assert shown.select("id", "fingerprint").rows() == (
                window.sort("id").select("id", "fingerprint").rows()
            )
            assert source.read_ids(SourceTable.MESSAGES, []).is_empty()


@pytest.mark.postgres
def test_the_content_stays_the_same_where_only_a_time_of_change_moves(
    nocodb: NocodbServer, dify_base: DifyBase
) -> None:
    load_dify_rows(dify_base.dsn, "conversations", [CONVERSATION])
    row = message(1, DAY)

    def read() -> dict[str, Any]:
        load_dify_rows(dify_base.dsn, "messages", [row])
        with source_of(nocodb, dify_base) as source:
            return source.read_ids(SourceTable.MESSAGES, [row["id"]]).row(0, named=True)

    before = read()
    row["updated_at"] = NEXT
    viewed = read()
    row["answer"] = "another"
    edited = read()
    digests = [one["content_sha256"] for one in (before, viewed, edited)]
    assert digests[0] == digests[1] != digests[2]
    assert len({one["sha256"] for one in (before, viewed, edited)}) == 3
    assert before["fingerprint"] != viewed["fingerprint"] == edited["fingerprint"]


RENAMED = """
[messages]
ignored = ["answer_unit_price"]
[messages.names]
query = "user_text"
created_at = "sent_at"
updated_at = "edited_at"
conversation_id = "thread"
status = "state"
"""


def test_renamed_columns_are_read_by_the_contract_and_named_without_it(
    nocodb: NocodbServer, native_base: NativeBase
) -> None:
    contract = parse_contract(RENAMED, "test")
    messages = contract.tables[SourceTable.MESSAGES]
    table_id = native_base.messages_table_id
    columns = nocodb.request("GET", f"/api/v2/meta/tables/{table_id}")["columns"]
    for name, title in messages.names.items():
        found = next(one for one in columns if one["title"] == name)
        nocodb.request(
            "PATCH",
            f"/api/v2/meta/columns/{found['id']}",
            {key: found[key] for key in ("column_name", "uidt")} | {"title": title},
        )
    load_native_rows(nocodb, native_base, [CONVERSATION], [])
    rows = around_midnight()
    insert_rows(
        nocodb, table_id, [{messages.at_source(key): row[key] for key in row} for row in rows]
    )
    insert_rows(nocodb, table_id, [{"user_text": None, "sent_at": DAY}])  # nulls are served too
    client = NocoDBClient(config_of(nocodb, native_base))
    with contextlib.closing(NocoDBSource(client, contract)) as source:
        raw = source.read_window(SourceTable.MESSAGES, DAY, NEXT)
        assert all(result.ok for result in source.probe())
        assert source.changes_since(SourceTable.MESSAGES, NEXT).height > 0
    served = json.loads(raw["payload"][0])
    assert {"user_text", "sent_at"} <= served.keys()
    assert "answer_unit_price" not in served
    typed = type_rows(raw, MESSAGES, where="test", contract=messages)
    assert typed.frame["id"].sort().to_list() == ids_in(rows, DAY, NEXT)
    assert typed.dead_letters.height == 1  # the line of nulls
    assert typed.new_columns == (native_base.foreign_key,)
    with (
        source_of(nocodb, native_base) as source,
        pytest.raises(ContractError, match="lacks: conversation_id, query; it has") as caught,
    ):
        source.read_window(SourceTable.MESSAGES, DAY, NEXT)
    assert "NOCODB_COLUMN_CONTRACT" in str(caught.value)


def test_changes_in_tables_of_nocodb_itself(nocodb: NocodbServer, native_base: NativeBase) -> None:
    began = dt.datetime.now(dt.UTC).replace(microsecond=0)
    keys = insert_rows(
        nocodb, native_base.messages_table_id, [message(number, DAY) for number in range(3)]
    )
    with source_of(nocodb, native_base) as source:
        # Old by created_at, new by NocoDB's own CreatedAt: an import of old rows is seen.
        before = source.changes_since(SourceTable.MESSAGES, began)
        assert before.height == 3
        update_rows(nocodb, native_base.messages_table_id, [{"Id": keys[1], "answer": "edited"}])
        after = source.changes_since(SourceTable.MESSAGES, began)
        changed = after.join(before, on=["id", "fingerprint"], how="anti")
        assert changed["id"].to_list() == [message(1, DAY)["id"]]
        assert changed["changed_at"][0] >= began


@pytest.mark.postgres
def test_what_is_wrong_is_told_with_the_setting_to_mend(
    nocodb: NocodbServer, dify: DifyBase
) -> None:
    with (
        source_of(nocodb, dify, messages_table="mesages") as source,
        pytest.raises(SourceRequestError, match=r"'messages'.*NOCODB_MESSAGES_TABLE"),
    ):
        source.read_window(SourceTable.MESSAGES, DAY, NEXT)
    with (
        source_of(nocodb, dify, messages_table="conversations") as source,
        pytest.raises(ContractError, match="lacks: answer, conversation_id, query; it has: id"),
    ):
        source.read_window(SourceTable.MESSAGES, DAY, NEXT)
    with source_of(nocodb, dify, api_token="wrong-token") as source:
        with pytest.raises(SourceAuthError, match="NOCODB_API_TOKEN") as caught:
            source.read_window(SourceTable.MESSAGES, DAY, NEXT)
        assert "wrong-token" not in str(caught.value)
        assert [(result.name, result.ok) for result in source.probe()] == [
            ("url", True),
            ("token", False),
        ]
    with source_of(nocodb, dify, project_id="p0000") as source:
        assert "NOCODB_PROJECT_ID" in source.probe()[-1].hint
    with source_of(nocodb, dify, conversations_table="absent") as source:
        results = {result.name: result for result in source.probe()}
        assert not results["conversations"].ok
        assert "NOCODB_CONVERSATION_TABLE" in results["conversations"].detail
        assert results["messages"].ok
        assert nocodb.api_token not in repr(source.describe())
    with source_of(nocodb, dify, base_url="http://127.0.0.1:9") as source:
        assert [result.ok for result in source.probe()] == [False]


@pytest.mark.postgres
def test_a_database_in_another_time_zone_is_an_error_not_shifted_days(
    nocodb: NocodbServer, postgres: PostgresServer
) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shifted")
        connection.execute("ALTER DATABASE shifted SET timezone TO 'Asia/Shanghai'")
    base = create_dify_base(nocodb, postgres, title="shifted", database="shifted")
    load_dify_rows(base.dsn, "conversations", [CONVERSATION])
    load_dify_rows(base.dsn, "messages", around_midnight())
    with source_of(nocodb, base) as source:
        with pytest.raises(SourceRequestError, match="SET timezone TO 'UTC'"):
            source.read_window(SourceTable.MESSAGES, DAY, NEXT)
        failed = [result for result in source.probe() if not result.ok]
        assert [result.name for result in failed] == ["conversations", "messages"]
        assert "SET timezone TO 'UTC'" in failed[0].detail


@pytest.mark.postgres
def test_a_database_that_is_away_is_unavailable_and_comes_back(
    nocodb: NocodbServer, tmp_path: Path
) -> None:
    with running_postgres(tmp_path / "pg") as server:
        base = create_dify_base(nocodb, server, title="away", database="away")
        load_dify_rows(base.dsn, "conversations", [CONVERSATION])
        with source_of(nocodb, base) as source:
            assert source.read_window(SourceTable.CONVERSATIONS, DAY, NEXT).height == 1
        port = server.port
    with source_of(nocodb, base) as source:
        with pytest.raises(SourceUnavailableError, match="ECONNREFUSED"):
            source.read_window(SourceTable.CONVERSATIONS, DAY, NEXT)
        with running_postgres(tmp_path / "pg", port):
            assert source.read_window(SourceTable.CONVERSATIONS, DAY, NEXT).height == 1
