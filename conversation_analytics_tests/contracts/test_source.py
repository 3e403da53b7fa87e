"""The contract of sources: our own keep it, and each way to break it is told."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl
import pytest

from conversation_analytics.contracts import check_source
from conversation_analytics.contracts.broken import ContractBrokenError
from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.source import SourceTable
from conversation_analytics.sample.source import SampleSource
from conversation_analytics.sample.traffic import SampleTraffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DAY = dt.date(2026, 11, 2)
START = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
END = START + dt.timedelta(days=1)
SAMPLE = SampleSource(SampleTraffic(turns_per_day=40), DAY - dt.timedelta(days=1), DAY)


def as_it_is(rows: pl.DataFrame) -> pl.DataFrame:
    return rows


@dataclass
class Broken:
    """The sample, but for what is done to its answers."""

    window: Callable[[pl.DataFrame], pl.DataFrame] = as_it_is
    undated: Callable[[pl.DataFrame], pl.DataFrame] = as_it_is
    ids: Callable[[pl.DataFrame], pl.DataFrame] = as_it_is
    changes: Callable[[pl.DataFrame], pl.DataFrame] = as_it_is
    more: dt.timedelta = dt.timedelta(0)
    every_id: bool = False
    restless: bool = False
    described: dict[str, str] = field(default_factory=dict)
    read: int = 0

    def read_window(self, table: SourceTable, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        self.read += 1
        rows = self.window(SAMPLE.read_window(table, start, end + self.more))
        return rows.with_columns(fingerprint=pl.lit(str(self.read))) if self.restless else rows

    def read_undated(self, table: SourceTable) -> pl.DataFrame:
        return self.undated(SAMPLE.read_undated(table))

    def read_ids(self, table: SourceTable, ids: Sequence[str]) -> pl.DataFrame:
        if self.every_id and not ids:
            return SAMPLE.read_window(table, START, END)
        return self.ids(SAMPLE.read_ids(table, ids))

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        return self.changes(SAMPLE.changes_since(table, since))

    def describe(self) -> dict[str, str]:
        return self.described

    def close(self) -> None:
        """Nothing is open."""


def test_the_sample_keeps_it() -> None:
    check_source(SAMPLE, START, END, tables=list(SourceTable))
    check_source(Broken(), START, END)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (Broken(window=lambda rows: rows.drop("gone")), "read_window of conversations: expected"),
        (Broken(window=lambda rows: rows.select(pl.all().reverse())), ""),
        (Broken(window=lambda rows: pl.concat([rows, rows[:1]])), "an id in every row, each once"),
        (Broken(window=lambda rows: rows.with_columns(gone=pl.lit(value=True))), "gone false"),
        (Broken(window=lambda rows: rows.with_columns(fingerprint=pl.lit(""))), "fingerprint in"),
        (Broken(window=lambda rows: rows.with_columns(sha256=pl.lit("0"))), "that of the payload"),
        (Broken(more=dt.timedelta(hours=6)), "in two halves, parted at 2026-11-02"),
        (Broken(window=lambda rows: rows.with_columns(created_at=END)), r"created_at in \[2026"),
        (Broken(more=dt.timedelta(days=-1)), "rows in the window given"),
        (Broken(undated=lambda rows: rows.with_columns(created_at=START)), "created_at null"),
        (Broken(ids=lambda rows: rows[1:]), "read_ids of conversations: expected the same"),
        (Broken(every_id=True), "read_ids of conversations without ids: expected no rows"),
        (Broken(changes=lambda rows: rows[:0]), "every row of the window with its fingerprint"),
        (Broken(changes=lambda rows: rows.drop("changed_at")), "changes_since .* the columns"),
        (Broken(restless=True), "read_window of conversations in two halves"),
        (Broken(described={"port": 1}), "describe: expected texts by name"),  # type: ignore[dict-item]
    ],
    ids=["a column less", "another order of rows is fine", "twice", "gone", "no fingerprint",
         "digest", "bounds", "after the end", "too short", "dated", "an id less", "all without ids",
         "no changes", "a column of changes less", "other rows each time", "no text"],
)  # fmt: skip
def test_what_does_not_hold_is_told(source: Broken, told: str) -> None:
    if not told:
        check_source(source, START, END)
        return
    with pytest.raises(ContractBrokenError, match=told):
        check_source(source, START, END)


def test_a_bound_that_includes_its_end_is_found() -> None:
    with pytest.raises(ContractBrokenError, match="in two halves, parted at"):
        check_source(Broken(more=dt.timedelta(microseconds=1)), START, END)


def test_rows_that_cannot_be_typed_at_all_are_told() -> None:
    def unreadable(rows: pl.DataFrame) -> pl.DataFrame:
        digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        return rows.with_columns(payload=pl.lit("{}"), sha256=pl.lit(digest))

    with pytest.raises(ContractError, match="conversations"):
        check_source(Broken(window=unreadable), START, END)
