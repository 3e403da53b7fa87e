"""Conversations as a corpus, read back by ConvoKit itself."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from conversation_analytics.core.schemas import CONVERSATIONS, MESSAGES
from conversation_analytics.exports.convokit import FILES, export_corpus
from conversation_analytics.exports.selection import Selection
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.sql import open_sql
from conversation_analytics.lake.store import Lake
from conversation_analytics_tests.exports.conftest import DAYS
from conversation_analytics_tests.lake.frames import message_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conversation_analytics.core.schemas import TableSchema


def rows(lake: Lake, table: TableSchema, days: tuple[str, ...] = DAYS) -> pl.DataFrame:
    return pl.concat(lake.read(table, day).with_columns(day=pl.lit(day)) for day in days)


def exported(lake: Lake, folder: Path, selection: Selection | None = None) -> Path:
    folder.mkdir()
    with open_sql(lake) as sql:
        export_corpus(lake, sql, selection or Selection(), folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    return folder


def expected_utterances(turns: pl.DataFrame) -> list[list[Any]]:
    """Return what ConvoKit is to find of one conversation, straightforwardly."""
    held = set(turns["id"])
    found: list[list[Any]] = []
    for row in turns.sort("created_at", "id").iter_rows(named=True):
        parent = row["parent_message_id"]
        at = row["created_at"].timestamp()
        user = "user" if row["user_id"] is None else f"user:{row['user_id']}"
        reply = f"{parent}:assistant" if parent in held and parent != row["id"] else None
        found += [
            [f"{row['id']}:user", user, row["query"] or "", reply, at],
            [f"{row['id']}:assistant", f"assistant:{row['app_id']}", row["answer"] or "",
             f"{row['id']}:user", at],
        ]  # fmt: skip
    return found


@pytest.mark.convokit
def test_convokit_finds_the_same_conversations(
    lake: Lake, tmp_path: Path, load_corpus: Callable[[Path], Any]
) -> None:
    found = load_corpus(exported(lake, tmp_path / "corpus"))
    assert found["again"] == found["first"]  # what ConvoKit writes of it is the same
    corpus = found["first"]
    turns, headers = rows(lake, MESSAGES), rows(lake, CONVERSATIONS)
    assert set(corpus["conversations"]) == set(turns["conversation_id"])
    assert len(corpus["conversations"]) > 50
    named = {row["id"]: row for row in headers.iter_rows(named=True)}
    whole = 0
    for identifier, conversation in corpus["conversations"].items():
        own = turns.filter(pl.col("conversation_id") == identifier)
        wanted = expected_utterances(own)
        assert [one[:5] for one in conversation["utterances"]] == wanted
        assert conversation["whole"] == (sum(one[3] is None for one in wanted) == 1)
        whole += conversation["whole"]
        header = named.get(identifier)
        for name in ("user_id", "app_id", "model_id", "name", "mode", "status"):
            assert conversation["meta"][name] == (header and header[name])
        by_id = {row["id"]: row for row in own.iter_rows(named=True)}
        for *_, meta in conversation["utterances"]:
            row = by_id[meta["message_id"]]
            for name in ("parent_message_id", "model_id", "status", "currency", "day"):
                assert meta[name] == row[name]
            if meta["role"] == "assistant":
                assert meta["tokens"] == row["answer_tokens"]
                assert meta["latency_s"] == row["latency_s"]
                price = row["total_price"]
                assert meta["total_price"] == (None if price is None else format(price, "f"))
            else:
                assert meta["tokens"] == row["message_tokens"]
    assert whole > 50
    users = {None if u is None else str(u) for u in turns["user_id"]}
    wanted_speakers = {"user" if one is None else f"user:{one}" for one in users}
    wanted_speakers |= {f"assistant:{one}" for one in set(turns["app_id"])}
    assert set(corpus["speakers"]) == wanted_speakers
    for identifier, meta in corpus["speakers"].items():
        assert meta["kind"] == identifier.partition(":")[0]
        assert (meta["user_id"] or meta["app_id"]) == identifier.partition(":")[2]
    assert corpus["meta"]["first_day"] == DAYS[0]


def hostile_lake(folder: Path) -> Lake:
    """Texts that break files, parents that are not there, ids that could meet."""
    lake = Lake(LocalObjects(folder))
    day = message_rows(8, DAYS[0]).sort("id")
    ids = day["id"].to_list()
    day = day.with_columns(
        pl.Series("conversation_id", ["c", "c", "c", "c", "d", 'e"\n\u2028', "f", "f"]),
        pl.Series("query", ["<##bin{0}&&@**>", '\u2028\r\n"', "\0", "", "ไทย", "{}", None, "😀"]),
        pl.Series("answer", ["=1+1", None, "a", "b", "c", "d", "e", "f"]),
        pl.Series("user_id", ["u", "u", None, "assistant", "", "u", "u", "u"]),
        pl.Series("app_id", ["u", "u", "u", "u", None, "u", "u", ""]),
        pl.Series(
            "parent_message_id",
            [None, ids[0], "nowhere", ids[0], ids[0], ids[5], ids[7], None],
        ),
    )  # fmt: skip
    lake.write(MESSAGES, DAYS[0], MESSAGES.conform(day))
    return lake


@pytest.mark.convokit
def test_hostile_rows_come_back_as_they_are(
    tmp_path: Path, load_corpus: Callable[[Path], Any]
) -> None:
    lake = hostile_lake(tmp_path / "lake")
    corpus = load_corpus(exported(lake, tmp_path / "corpus"))["first"]
    turns = {row["id"]: row for row in rows(lake, MESSAGES, DAYS[:1]).iter_rows(named=True)}
    replies = {}
    for identifier, conversation in corpus["conversations"].items():
        for one, _, text, reply, _, meta in conversation["utterances"]:
            row = turns[meta["message_id"]]
            assert row["conversation_id"] == identifier
            column = "query" if meta["role"] == "user" else "answer"
            assert text == (row[column] or "")
            assert meta["parent_message_id"] == row["parent_message_id"]
            replies[one] = reply
    ids = sorted(turns)
    parents = [replies[f"{one}:user"] for one in ids]
    # Siblings reply to one answer; nowhere, another conversation and itself are no parents.
    first, later = f"{ids[0]}:assistant", f"{ids[7]}:assistant"
    assert parents == [None, first, None, first, None, None, later, None]
    assert {one: meta["kind"] for one, meta in corpus["speakers"].items()} == {
        "user:u": "user", "user": "user", "user:assistant": "user", "user:": "user",
        "assistant:u": "assistant", "assistant": "assistant", "assistant:": "assistant",
    }  # fmt: skip


def test_days_and_an_app_bound_what_is_exported(lake: Lake, tmp_path: Path) -> None:
    app = str(rows(lake, MESSAGES)["app_id"].drop_nulls().sort()[0])
    day = dt.date.fromisoformat(DAYS[1])
    folder = exported(lake, tmp_path / "corpus", Selection(day, day, app))
    utterances = [json.loads(one) for one in (folder / "utterances.jsonl").read_text().splitlines()]
    own = rows(lake, MESSAGES, DAYS[1:2]).filter(pl.col("app_id") == app)
    assert [one["meta"]["message_id"] for one in utterances[::2]] == own["id"].to_list()
    there = {one["id"] for one in utterances}
    assert all(one["reply-to"] is None or one["reply-to"] in there for one in utterances)
    speakers = json.loads((folder / "speakers.json").read_text())
    assert {one["speaker"] for one in utterances} == set(speakers)
    conversations = json.loads((folder / "conversations.json").read_text())
    assert set(conversations) == set(own["conversation_id"])


def test_a_lake_without_turns_is_a_corpus_without_any(tmp_path: Path) -> None:
    folder = exported(Lake(LocalObjects(tmp_path / "lake")), tmp_path / "corpus")
    assert (folder / "utterances.jsonl").read_text() == ""
    assert json.loads((folder / "speakers.json").read_text()) == {}
