"""What the lake holds of results, as rows of other days are compared with it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.assets.result_days import LakeResultDays
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.contract import default_contract
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.suppression import Suppressions
from conversation_analytics.core.zones import DAILY, UNDATED
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import parse_settings

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.core.schemas import TableSchema

SETTINGS = parse_settings({})
FIRST, SECOND, THIRD = "2026-11-09", "2026-11-10", "2026-11-11"


def category(conversation: str, value: str) -> dict[str, object]:
    return {
        "conversation_id": conversation, "category_type": "topic", "category_value": value,
        "confidence_score": 0.5, "nearest": value, "created_by": "model", "taxonomy_hash": "t",
        "text_sha256": "x",
    }  # fmt: skip


def hold(lake: Lake, day: str, ids: list[str], table: TableSchema = CATEGORIES) -> None:
    rows = [category(name, f"of {day}") for name in ids]
    frame = pl.DataFrame(rows, schema=CATEGORIES.polars).select(list(table.polars))
    lake.write(table, day, frame)
    turns = [
        {"id": f"m-{name}", "conversation_id": name, "app_id": "app", "query_language": "th",
         "query_confidence": 1.0, "query_by": "detector", "answer_language": None,
         "answer_confidence": None, "answer_by": "none",
         "created_at": dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")}
        for name in ids
    ]  # fmt: skip
    lake.write(MESSAGE_LANGUAGE, day, pl.DataFrame(turns, schema=MESSAGE_LANGUAGE.polars))


def test_each_call_tells_what_is_held_by_then(tmp_path: Path) -> None:
    lake = Lake(LocalObjects(tmp_path))
    held = LakeResultDays(lake, SETTINGS, ("topic",))
    assert held.days() == []
    hold(lake, FIRST, ["a", "b"])
    hold(lake, SECOND, ["b", "c"])
    lake.write(CATEGORIES, THIRD, CATEGORIES.empty())  # no languages yet: nothing is sent of it
    assert held.days() == [FIRST, SECOND]
    assert held.having(SECOND, {"a", "b", "x"}) == {"b"}
    assert held.having(SECOND, set()) == frozenset()
    [row] = held.rows(SECOND, {"b", "a"})
    read: dict[str, str] = {}
    assert row in held.read(SECOND, read.__setitem__)
    assert read.keys() == {"categories", "message_language"}
    cells = {"conversation_id": "b", "day": SECOND, "topic": f"of {SECOND}", "language": "th"}
    assert row == {**row, **cells}
    hold(lake, SECOND, ["c"])
    assert held.having(SECOND, {"a", "b", "x"}) == frozenset()


def test_a_day_that_is_to_be_made_again_keeps_its_rows(tmp_path: Path) -> None:
    lake = Lake(LocalObjects(tmp_path))
    earlier = dataclasses.replace(CATEGORIES, columns=CATEGORIES.columns[:-1])
    hold(lake, FIRST, ["a"], earlier)
    held = LakeResultDays(lake, SETTINGS, ("topic",))
    assert held.days() == [FIRST]
    assert held.having(FIRST, {"a", "b"}) == {"a", "b"}
    assert held.rows(FIRST, {"a", "b"}) == []


def test_what_is_known_to_be_gone(tmp_path: Path) -> None:
    lake = Lake(LocalObjects(tmp_path))
    claims = {("a", FIRST), ("b", FIRST), ("a", ""), ("b", "tomorrow"), ("b", THIRD)}
    assert LakeResultDays(lake, SETTINGS, ("topic",)).gone(claims) == frozenset()
    erased = Suppressions(b"key", key_shown=True).with_conversations(["a"], "somebody")
    by_erasure = LakeResultDays(lake, SETTINGS, ("topic",), erased=erased)
    assert by_erasure.gone(claims) == {("a", FIRST), ("a", "")}
    by_age = LakeResultDays(lake, SETTINGS, ("topic",), first_kept=dt.date.fromisoformat(SECOND))
    assert by_age.gone(claims) == {("a", FIRST), ("b", FIRST)}


def raw(lake: Lake, table: SourceTable, day: str | None, *rows: dict[str, object]) -> None:
    """Store rows of the raw zone as they were served."""
    schema = (UNDATED if day is None else DAILY)[table].raw
    noon = None if day is None else dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")
    served = [(row["id"], noon, json.dumps(row), "", "", "", False) for row in rows]
    lake.write(schema, day, pl.DataFrame(served, schema=schema.polars, orient="row"))


def test_turns_count_as_held_whether_they_could_be_typed_or_not(tmp_path: Path) -> None:
    lake = Lake(LocalObjects(tmp_path))
    held = LakeResultDays(lake, SETTINGS, ("topic",))
    ids = {"typed", "untypable", "undated", "header", "spoken of", "dead", "gone"}
    assert held.with_turns(ids) == frozenset()
    turns = SourceTable.MESSAGES
    raw(lake, turns, FIRST, {"id": "1", "conversation_id": "typed", "query": "spoken of"})
    raw(lake, turns, SECOND, {"id": "2", "conversation_id": "untypable", "query": ["no text"]})
    raw(lake, turns, None, {"id": "3", "conversation_id": "undated"})
    raw(lake, SourceTable.CONVERSATIONS, FIRST, {"id": "header"})
    assert held.with_turns(ids) == {"typed", "untypable", "undated"}
    assert held.with_turns(set()) == frozenset()

    # Older than days are kept: its turns do not keep a row.
    second = dt.date.fromisoformat(SECOND)
    by_age = LakeResultDays(lake, SETTINGS, ("topic",), first_kept=second)
    assert by_age.with_turns(ids) == {"untypable", "undated"}

    # Purged or erased: the index remembers the conversation, the rows are not there.
    raw(lake, turns, SECOND)
    assert held.with_turns(ids) == {"typed", "undated"}


def test_dead_letters_tell_of_turns_where_the_raw_zone_is_gone_by_age(tmp_path: Path) -> None:
    lake = Lake(LocalObjects(tmp_path))
    held = LakeResultDays(lake, SETTINGS, ("topic",))
    row = {
        "id": "1",
        "conversation_id": "dead",
        "query": "?",
        "answer": "!",
        "provider_response_latency": "long",
    }
    raw(lake, SourceTable.MESSAGES, FIRST, {**row})
    assert held.with_turns({"dead"}) == {"dead"}
    zones = DAILY[SourceTable.MESSAGES]
    contract = default_contract().tables[SourceTable.MESSAGES]
    rows = lake.read(zones.raw, FIRST)
    typed = type_rows(rows, zones.curated, where="test", contract=contract)
    assert typed.dead_letters.height == 1
    lake.write(zones.curated, FIRST, typed.frame)
    lake.write(zones.dead_letters, FIRST, typed.dead_letters)
    lake.remove(zones.raw, FIRST)
    assert held.with_turns({"dead"}) == {"dead"}
