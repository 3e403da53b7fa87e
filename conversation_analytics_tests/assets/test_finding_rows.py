"""Conversations that several people share: each loses their own turns only."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from conversation_analytics.assets.erasing import carry_out, request_erasure
from conversation_analytics.assets.erasing_notes import Erasing
from conversation_analytics.assets.finding_rows import find_rows
from conversation_analytics.core.contract import default_contract
from conversation_analytics.core.documents import conversation_slices, message_documents
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.schemas import CONVERSATIONS, MESSAGES
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.zones import DAILY
from conversation_analytics.documents.store import SqliteConfig, open_store
from conversation_analytics.io_managers.document_io import record_inputs
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import parse_settings

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.lake.store import Lake

FIRST, LAST = "2026-11-21", "2026-11-22"
Row = dict[str, Any]


def raw(table: SourceTable, day: str, rows: list[Row]) -> pl.DataFrame:
    noon = dt.datetime.fromisoformat(f"{day}T12:00Z")
    schema = DAILY[table].raw
    served = [{"created_at": f"{day} 12:00:00+00:00", **row} for row in rows]
    frame = pl.DataFrame(
        [(row["id"], noon, json.dumps(row), "", row["id"], row["id"], False) for row in served],
        schema=schema.polars,
        orient="row",
    )
    return schema.conform(frame)


def turn(row_id: str, talk: str, user: str | None) -> Row:
    return {
        "id": row_id, "conversation_id": talk, "from_end_user_id": user, "query": "?",
        "answer": "!", "status": "normal",
    }  # fmt: skip


def rating(row_id: str, message: str, talk: str, **by: str) -> Row:
    return {"id": row_id, "message_id": message, "conversation_id": talk, "rating": "like", **by}


def write(lake: Lake, table: SourceTable, day: str, rows: list[Row]) -> None:
    zones, frame = DAILY[table], raw(table, day, rows)
    lake.write(zones.raw, day, frame)
    contract = default_contract().tables[table]
    typed = type_rows(frame, zones.curated, where="test", contract=contract)
    lake.write(zones.curated, day, typed.frame)
    lake.write(zones.dead_letters, day, typed.dead_letters)


def filled(lake: Lake, user: str = "u1", other: str = "u2") -> None:
    """The user alone in `alone`, with another in `shared`, which is the other's."""
    write(lake, SourceTable.CONVERSATIONS, FIRST, [
        {"id": "alone", "from_end_user_id": user}, {"id": "shared", "from_end_user_id": other},
    ])  # fmt: skip
    write(lake, SourceTable.MESSAGES, FIRST, [
        turn("m1", "alone", user), turn("m2", "alone", None), turn("m3", "shared", other),
        turn("m4", "shared", user), turn("m5", "shared", None), turn("", "alone", user),
    ])  # fmt: skip
    write(lake, SourceTable.MESSAGES, LAST, [turn("m6", "alone", None), turn("m7", "other", "u3")])
    write(lake, SourceTable.FEEDBACKS, LAST, [
        rating("f1", "m1", "alone", from_account_id="staff"),
        rating("f2", "m3", "shared", from_end_user_id=user),
        rating("f3", "m4", "shared", from_account_id="staff"),
    ])  # fmt: skip


def test_only_their_own_rows_go_from_what_they_share(tmp_path: Path) -> None:
    settings = parse_settings({"PARQUET_BASE_DIR": str(tmp_path / "lake")})
    lake = open_lake(settings)
    filled(lake)
    found = find_rows(lake, settings, "u1")
    assert found.subject.conversations == {"alone"}
    assert found.conversations == {"alone", "shared"}
    assert found.days == {
        FIRST: {
            SourceTable.CONVERSATIONS: {"alone"},
            SourceTable.MESSAGES: {"m1", "m2", "m4", ""},
        },
        LAST: {SourceTable.MESSAGES: {"m6"}, SourceTable.FEEDBACKS: {"f1", "f2"}},
    }
    assert find_rows(lake, settings, "nobody").days == {}


def test_documents_and_dead_letters_lose_them_too(tmp_path: Path) -> None:
    settings = parse_settings({"PARQUET_BASE_DIR": str(tmp_path / "lake")})
    lake, store = open_lake(settings), open_store(SqliteConfig(tmp_path / "d.sqlite"))
    filled(lake)
    dead = DAILY[SourceTable.MESSAGES].dead_letters
    assert lake.read(dead, FIRST)["source_id"].to_list() == [""]
    turns, talks = lake.read(MESSAGES, FIRST), lake.read(CONVERSATIONS, FIRST)
    store.merge_conversations("conversations", FIRST, conversation_slices(talks, turns, FIRST))
    store.replace_partition("messages", FIRST, message_documents(turns, FIRST))
    entry = {"_id": "messages/", "day": FIRST, "table": "messages", "source_id": ""}
    store.replace_partition("dead_letters", FIRST, [entry])
    for asset in ("conversation_documents", "message_documents"):
        record_inputs(store, asset, FIRST, {"messages": lake.stat(MESSAGES, FIRST).sha256})
    work = Erasing(lake, store, settings)
    now = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)
    proof = carry_out(work, request_erasure(work, "u1"), lambda: now, "u1")
    assert proof["search"]["found"] == 0
    assert lake.row_count(dead, FIRST) == 0
    assert lake.read(MESSAGES, FIRST)["id"].to_list() == ["m3", "m5"]
    (shared,) = store.find("conversations", {})
    assert [one["id"] for one in shared["messages"]] == ["m3", "m5"]
    assert [one["_id"] for one in store.find("messages", {})] == ["m3", "m5"]
    assert store.find("dead_letters", {}) == []
    assert proof["documents"]["conversations"] == {"before": 2, "after": 0}
    store.close()


@pytest.mark.parametrize(
    ("user", "other", "how"),
    [
        ("user 1", "user 10", "anywhere, "),
        ("7", "17", "an id of fewer than four characters, "),
        ("12345", "123456", "an id of fewer than four characters, or of digits alone, "),
    ],
)
def test_people_with_longer_ids_do_not_stand_in_the_way_of_the_proof(
    tmp_path: Path, user: str, other: str, how: str
) -> None:
    settings = parse_settings({"PARQUET_BASE_DIR": str(tmp_path / "lake")})
    lake, store = open_lake(settings), open_store(SqliteConfig(tmp_path / "d.sqlite"))
    filled(lake, user, other)
    turns = lake.read(MESSAGES, FIRST)
    store.replace_partition("messages", FIRST, message_documents(turns, FIRST))
    record_inputs(
        store, "message_documents", FIRST, {"messages": lake.stat(MESSAGES, FIRST).sha256}
    )
    lake.put_report("daily/other.html", f"<td>{other}</td>".encode())
    work = Erasing(lake, store, settings)
    now = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)
    proof = carry_out(work, request_erasure(work, user), lambda: now, user)
    assert proof["search"]["found"] == 0
    assert proof["search"]["how"].startswith(how)
    assert proof["documents"]["messages"]["after"] == 0
    left = lake.read(MESSAGES, FIRST)["user_id"]
    assert set(left.drop_nulls()) == {other}
    # What is left of the person is found none the less.
    store.replace_partition(
        "messages", "left", [{"_id": "a", "user_id": user}, {"_id": "b", "query": f"of {other}"}]
    )
    lake.objects.put("notes/left.json", json.dumps({"user_id": user}).encode())
    served = io.BytesIO()
    raw(SourceTable.MESSAGES, LAST, [turn("m8", "new", user)]).write_parquet(served)
    lake.objects.put("notes/left.parquet", served.getvalue())
    again = carry_out(work, request_erasure(work, user), lambda: now, user)
    assert again["search"]["documents_holding"] == {"messages": 1}
    assert again["search"]["objects_holding"] == ["notes/left.json", "notes/left.parquet"]
    assert again["search"]["found"] == 3
    store.close()
