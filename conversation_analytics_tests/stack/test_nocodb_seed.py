from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from conversation_analytics.stack.dify import as_uuid, load_dify_rows
from conversation_analytics.stack.nocodb_seed import insert_rows, load_native_rows, update_rows

if TYPE_CHECKING:
    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import DifyBase, NativeBase

BANGKOK = dt.timezone(dt.timedelta(hours=7))
CONVERSATION: dict[str, Any] = {
    "id": "conversation-1",
    "app_id": "app-1",
    "inputs": {"city": "Bangkok"},
    "dialogue_count": 2,
    "created_at": dt.datetime(2026, 11, 10, 6, 0, tzinfo=BANGKOK),
    "is_deleted": False,
}
MESSAGE: dict[str, Any] = {
    "id": "message-1",
    "conversation_id": "conversation-1",
    "query": "สวัสดี, (a)~b\n\t\\N",
    "answer": "hello",
    "message_tokens": 12,
    "total_price": Decimal("0.0012345"),
    "created_at": dt.datetime(2026, 11, 9, 23, 0, 1, tzinfo=dt.UTC),
    "updated_at": "2026-11-10T06:00:02+07:00",
    "inputs": '{"city": "Bangkok"}',
}


def records(server: NocodbServer, table_id: str, **params: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = server.request(
        "GET", f"/api/v2/tables/{table_id}/records", params=params
    )["list"]
    return rows


def test_a_uuid_stays_and_any_other_id_always_becomes_the_same_uuid() -> None:
    known = "5f0d1c52-8a7e-4b1f-9c36-2d4e6a8b0c11"
    assert as_uuid(known) == known
    assert as_uuid("message-1") == as_uuid("message-1") != as_uuid("message-2")


@pytest.mark.nocodb
@pytest.mark.postgres
def test_rows_loaded_into_postgresql_come_back_from_nocodb(
    nocodb: NocodbServer, dify_base: DifyBase
) -> None:
    load_dify_rows(dify_base.dsn, "conversations", [CONVERSATION], convert_ids=True)
    assert load_dify_rows(dify_base.dsn, "messages", [MESSAGE], convert_ids=True) == 1
    conversation = records(nocodb, dify_base.conversations_table_id)[0]
    assert conversation["created_at"] == "2026-11-09 23:00:00+00:00"
    assert conversation["inputs"] == {"city": "Bangkok"}
    message = records(nocodb, dify_base.messages_table_id)[0]
    assert message["id"] == as_uuid("message-1")
    assert message["query"] == MESSAGE["query"]
    assert Decimal(str(message["total_price"])) == MESSAGE["total_price"]
    assert message["updated_at"] == "2026-11-09 23:00:02+00:00"
    assert message["status"] == "normal"
    assert message["conversations"]["id"] == as_uuid("conversation-1")


@pytest.mark.nocodb
@pytest.mark.postgres
def test_loading_again_replaces_and_a_bad_row_leaves_nothing(
    nocodb: NocodbServer, dify_base: DifyBase
) -> None:
    load_dify_rows(dify_base.dsn, "conversations", [CONVERSATION], convert_ids=True)
    load_dify_rows(dify_base.dsn, "messages", [MESSAGE], convert_ids=True)
    orphan = MESSAGE | {"id": "message-2", "conversation_id": "nowhere"}
    changed = MESSAGE | {"answer": "changed"}
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        load_dify_rows(dify_base.dsn, "messages", [changed, orphan], convert_ids=True)
    assert [row["answer"] for row in records(nocodb, dify_base.messages_table_id)] == ["hello"]
    load_dify_rows(dify_base.dsn, "messages", [changed], convert_ids=True)
    assert [row["answer"] for row in records(nocodb, dify_base.messages_table_id)] == ["changed"]
    assert load_dify_rows(dify_base.dsn, "messages", []) == 0


@pytest.mark.nocodb
@pytest.mark.postgres
def test_each_test_finds_dify_tables_empty(nocodb: NocodbServer, dify_base: DifyBase) -> None:
    assert records(nocodb, dify_base.conversations_table_id) == []
    assert records(nocodb, dify_base.messages_table_id) == []


@pytest.mark.nocodb
def test_rows_of_nocodbs_own_tables_come_back_linked(
    nocodb: NocodbServer, native_base: NativeBase
) -> None:
    messages = [MESSAGE | {"id": f"message-{number}"} for number in range(205)]
    ids = load_native_rows(nocodb, native_base, [CONVERSATION], messages)
    assert [len(part) for part in ids] == [1, 205]
    rows = records(nocodb, native_base.messages_table_id, limit="1000", sort="Id")
    assert [row["id"] for row in rows] == [row["id"] for row in messages]
    assert [row["Id"] for row in rows] == ids[1]
    assert rows[0]["query"] == MESSAGE["query"]
    assert rows[0]["total_price"] == 0.0012345
    assert rows[0]["created_at"] == "2026-11-09 23:00:01+00:00"
    assert rows[204]["conversations"]["id"] == "conversation-1"


@pytest.mark.nocodb
def test_an_update_sets_updated_at_for_the_first_time(
    nocodb: NocodbServer, native_base: NativeBase
) -> None:
    ids = insert_rows(nocodb, native_base.messages_table_id, [MESSAGE, MESSAGE])
    update_rows(nocodb, native_base.messages_table_id, [{"Id": ids[1], "answer": "changed"}])
    first, second = records(nocodb, native_base.messages_table_id, sort="Id")
    assert (first["answer"], first["UpdatedAt"]) == ("hello", None)
    assert second["answer"] == "changed"
    assert second["UpdatedAt"] is not None
