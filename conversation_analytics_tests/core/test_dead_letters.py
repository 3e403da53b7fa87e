from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.dead_letters import ledger_entries
from conversation_analytics.core.schemas import MESSAGE_DEAD_LETTERS
from conversation_analytics.core.source import SourceTable

DAY = "2026-11-10"
MESSAGES = SourceTable.MESSAGES
NOON = dt.datetime(2026, 11, 11, 12, tzinfo=dt.UTC)


def at(hours: int) -> dt.datetime:
    return NOON + dt.timedelta(hours=hours)


def dead(rows: dict[str, tuple[str, str]]) -> dict[SourceTable, pl.DataFrame]:
    """Rows by id, each with its reason and its digest."""
    return {
        MESSAGES: pl.DataFrame(
            [(row_id, reason, "{}", sha256) for row_id, (reason, sha256) in rows.items()],
            schema=MESSAGE_DEAD_LETTERS.polars,
            orient="row",
        )
    }


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "_id": "messages/a", "table": "messages", "source_id": "a", "day": DAY, "reason": "r",
        "sha256": "1", "first_seen": NOON, "last_seen": NOON, "count": 1, "landed_at": None,
    } | changes  # fmt: skip


def test_a_new_dead_letter_is_seen_once() -> None:
    assert ledger_entries(dead({"a": ("r", "1")}), [], DAY, NOON) == [entry()]


def test_what_is_found_again_as_it_was_leaves_its_entry_alone() -> None:
    assert ledger_entries(dead({"a": ("r", "1")}), [entry()], DAY, at(5)) == [entry()]


def test_another_version_or_reason_counts() -> None:
    [found] = ledger_entries(dead({"a": ("r", "2")}), [entry()], DAY, at(5))
    assert found == entry(sha256="2", last_seen=at(5), count=2)
    [again] = ledger_entries(dead({"a": ("s", "2")}), [found], DAY, at(6))
    assert again == entry(sha256="2", reason="s", last_seen=at(6), count=3)


def test_a_row_that_lands_keeps_its_entry_and_may_die_again() -> None:
    [landed] = ledger_entries(dead({}), [entry()], DAY, at(1))
    assert landed == entry(landed_at=at(1))
    assert ledger_entries(dead({}), [landed], DAY, at(2)) == [landed]
    [back] = ledger_entries(dead({"a": ("r", "1")}), [landed], DAY, at(3))
    assert back == entry(last_seen=at(3), count=2)


def test_a_row_that_moved_to_another_day_takes_its_history_along() -> None:
    [moved] = ledger_entries(dead({"a": ("r", "1")}), [entry(day="2026-11-09")], DAY, at(1))
    assert moved == entry(last_seen=at(1), count=2)


LOOKS = st.lists(
    st.dictionaries(
        st.sampled_from("abc"), st.tuples(st.sampled_from("rs"), st.sampled_from("12")), max_size=3
    ),
    max_size=8,
)


@given(LOOKS)
def test_the_ledger_tells_what_is_dead_and_forgets_nothing(
    looks: list[dict[str, tuple[str, str]]],
) -> None:
    entries: list[dict[str, Any]] = []
    expected: dict[str, tuple[dt.datetime, int]] = {}
    before: dict[str, tuple[str, str]] = {}
    for number, rows in enumerate(looks):
        entries = ledger_entries(dead(rows), entries, DAY, at(number))
        for row_id, told in rows.items():
            first, count = expected.get(row_id, (at(number), 0))
            expected[row_id] = (first, count + (before.get(row_id) != told))
        before = rows
        still = {e["source_id"]: (e["reason"], e["sha256"]) for e in entries if not e["landed_at"]}
        assert still == rows
    assert {e["source_id"]: (e["first_seen"], e["count"]) for e in entries} == expected
    assert [e["_id"] for e in entries] == sorted(e["_id"] for e in entries)
