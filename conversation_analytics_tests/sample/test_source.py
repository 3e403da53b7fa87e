from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import re
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.core.errors import SourceRequestError
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.schemas import FEEDBACKS, MESSAGES, RAW_MESSAGES
from conversation_analytics.core.source import Source, SourceTable
from conversation_analytics.core.windows import day_window
from conversation_analytics.core.zones import DAILY
from conversation_analytics.sample.source import SampleSource
from conversation_analytics.sample.traffic import SampleTraffic

FIRST, LAST = dt.date(2026, 11, 1), dt.date(2026, 11, 4)
START = dt.datetime(2026, 10, 31, tzinfo=dt.UTC)
END = dt.datetime(2026, 11, 7, tzinfo=dt.UTC)
SCHEMAS = {table: zones.curated for table, zones in DAILY.items()}
TABLES = pytest.mark.parametrize("table", list(SourceTable))


def sample(zone: str = "UTC", *, load_prompt: bool = False) -> SampleSource:
    return SampleSource(SampleTraffic(5, 120, ZoneInfo(zone)), FIRST, LAST, load_prompt)


def test_it_is_a_source() -> None:
    source: Source = sample()
    assert source.describe()["source"] == "sample"
    source.close()


@TABLES
def test_payloads_are_the_rows_as_nocodb_serves_them(table: SourceTable) -> None:
    frame = sample().read_window(table, START, END)
    assert frame.schema == RAW_MESSAGES.polars
    for row_id, created_at, payload, sha256 in frame.select(
        "id", "created_at", "payload", "sha256"
    ).iter_rows():
        row = msgspec.json.decode(payload)
        assert row["id"] == row_id
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", row["created_at"])
        assert dt.datetime.fromisoformat(row["created_at"]) == created_at
        assert hashlib.sha256(payload.encode()).hexdigest() == sha256
        assert "message" not in row


def test_the_prompt_is_served_only_when_asked_for() -> None:
    frame = sample(load_prompt=True).read_window(SourceTable.MESSAGES, START, END)
    assert all("message" in msgspec.json.decode(payload) for payload in frame["payload"])


@TABLES
@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.datetimes(START.replace(tzinfo=None), END.replace(tzinfo=None)), max_size=4),
    zone=st.sampled_from(["UTC", "Asia/Bangkok"]),
)
def test_any_windows_that_cover_the_time_serve_each_row_once(
    table: SourceTable, cuts: list[dt.datetime], zone: str
) -> None:
    source = sample(zone)
    edges = [START, *sorted(cut.replace(tzinfo=dt.UTC) for cut in cuts), END]
    parts = [source.read_window(table, start, end) for start, end in itertools.pairwise(edges)]
    assert pl.concat(parts).rows() == source.read_window(table, START, END).rows()


@TABLES
def test_days_outside_the_range_are_empty(table: SourceTable) -> None:
    source, utc = sample(), ZoneInfo("UTC")
    for day in (FIRST - dt.timedelta(days=1), LAST + dt.timedelta(days=1)):
        window = day_window(day, utc)
        assert source.read_window(table, window.start, window.end).is_empty()


def test_every_turn_has_its_conversation() -> None:
    source = sample()
    turns = type_rows(
        source.read_window(SourceTable.MESSAGES, START, END), MESSAGES, where="sample"
    ).frame
    conversations = source.read_window(SourceTable.CONVERSATIONS, START, END)
    assert set(turns["conversation_id"]) <= set(conversations["id"])


@TABLES
def test_all_rows_can_be_typed(table: SourceTable) -> None:
    raw = sample(load_prompt=True).read_window(table, START, END)
    result = type_rows(raw, SCHEMAS[table], where="sample")
    assert result.dead_letters.is_empty()
    assert (result.missing_optional, result.new_columns) == ((), ())
    assert result.frame["created_at"].to_list() == raw["created_at"].to_list()


@TABLES
def test_changes_are_the_rows_created_or_updated_since(table: SourceTable) -> None:
    source = sample()
    since = dt.datetime(2026, 11, 3, 9, 30, tzinfo=dt.UTC)
    changes = source.changes_since(table, since)
    raw = source.read_window(table, START, END)
    rows = type_rows(raw, SCHEMAS[table], where="sample").frame
    expected = rows.filter((pl.col("created_at") >= since) | (pl.col("updated_at") >= since))
    assert changes.select("id", "created_at", "changed_at").rows() == (
        expected.select("id", "created_at", "updated_at").rows()
    )
    fingerprints = dict(raw.select("id", "fingerprint").iter_rows())
    assert all(fingerprints[i] == f for i, f in changes.select("id", "fingerprint").iter_rows())


@TABLES
def test_rows_are_found_by_their_ids_whatever_their_day(table: SourceTable) -> None:
    source = sample()
    raw = pl.concat([source.read_window(table, START, END), source.read_undated(table)])
    wanted = raw["id"].sort()[::50].to_list()
    found = source.read_ids(table, [*wanted, "no such id"])
    assert found.sort("id").rows() == raw.filter(pl.col("id").is_in(wanted)).sort("id").rows()


def test_changes_up_to_no_end_are_refused() -> None:
    source = SampleSource(SampleTraffic(), FIRST, dt.date.max)
    with pytest.raises(SourceRequestError, match="last_day"):
        source.changes_since(SourceTable.MESSAGES, START)


def test_a_handful_of_rows_is_undated() -> None:
    source = sample()
    frames = [source.read_undated(table) for table in SourceTable]
    assert [frame.height for frame in frames] == [1, 3, 0]
    assert all(frame["created_at"].null_count() == frame.height for frame in frames)


def test_ratings_are_of_turns_that_were_served_before_them() -> None:
    source = sample()
    turns = dict(
        source.read_window(SourceTable.MESSAGES, START, END).select("id", "created_at").iter_rows()
    )
    raw = source.read_window(SourceTable.FEEDBACKS, START, END)
    ratings = type_rows(raw, FEEDBACKS, where="sample").frame
    assert set(ratings["rating"]) == {"like", "dislike"}
    assert 0.03 < ratings.height / len(turns) < 0.15
    late = [
        at - turns[message_id]
        for message_id, at in ratings.select("message_id", "created_at").iter_rows()
        if message_id in turns
    ]
    assert len(late) >= ratings.height - 1  # one may be of a turn of before the first day
    assert min(late) >= dt.timedelta(0)
