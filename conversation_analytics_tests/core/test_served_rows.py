"""Rows that somebody has, as a source serves them."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import pytest

from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.schemas import RAW_MESSAGES
from conversation_analytics.core.served_rows import CHANGES, served_changes, served_rows
from conversation_analytics.core.source import SourceTable

MESSAGES = SourceTable.MESSAGES
NOON = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)


def test_rows_become_the_raw_schema_and_the_last_of_an_id_counts() -> None:
    rows: list[dict[str, object]] = [
        {
            "id": 2,
            "created_at": "2026-11-02T13:00:00+01:00",
            "query": "a",
            "price": Decimal("0.10"),
        },
        {"id": "1", "created_at": "yesterday", "query": "é\u2028"},
        {"id": "2", "created_at": "2026-11-02 12:00:00", "query": "b", "price": Decimal("0.10")},
    ]
    raw = served_rows(MESSAGES, rows)
    assert raw.schema == RAW_MESSAGES.polars
    assert raw.select("id", "created_at").rows() == [("2", NOON), ("1", None)]
    assert json.loads(raw["payload"][0])["query"] == "b"
    assert '"price":0.10' in raw["payload"][0]
    assert json.loads(raw["payload"][1]) == rows[1]
    assert served_rows(MESSAGES, []).schema == RAW_MESSAGES.polars


def test_the_content_stays_where_only_the_time_of_change_moves() -> None:
    row = {"id": "1", "created_at": "2026-11-02 12:00:00", "query": "a"}
    before, after, other = (
        served_rows(MESSAGES, [{**row, **more}])
        for more in ({"updated_at": "x"}, {"updated_at": "y"}, {"updated_at": "x", "query": "b"})
    )
    assert before["content_sha256"].equals(after["content_sha256"])
    assert not before["content_sha256"].equals(other["content_sha256"])
    for one in (after, other):
        assert not before["fingerprint"].equals(one["fingerprint"])


def test_changes_are_what_was_created_or_updated_since() -> None:
    times = [
        ("old", "2026-11-02 10:00:00", None), ("new", "2026-11-02 12:00:00", None),
        ("updated", "2026-11-02 10:00:00", "2026-11-02 12:30:00"),
        ("no time", None, None), ("undated", None, "2026-11-02 12:30:00"),
        ("no text", "2026-11-02 10:00:00", 7),
    ]  # fmt: skip
    raw = served_rows(
        MESSAGES, [{"id": i, "created_at": at, "updated_at": changed} for i, at, changed in times]
    )
    changes = served_changes(raw, NOON)
    assert changes.schema == CHANGES
    assert sorted(changes["id"]) == ["new", "undated", "updated"]
    assert changes.join(raw, on=["id", "fingerprint"]).height == 3


@pytest.mark.parametrize("row", [{}, {"id": None}, {"id": ""}, {"id": 1.5}, {"id": True}], ids=str)
def test_a_row_without_an_id_is_named_by_its_number(row: dict[str, object]) -> None:
    with pytest.raises(ContractError, match=r"messages, row 2: expected an id"):
        served_rows(MESSAGES, [{"id": 1}, row])
