from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.changes import Cursor, Look, look
from conversation_analytics.core.schemas import INSTANT

UTC = ZoneInfo("UTC")
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
LAG = dt.timedelta(hours=1)
Row = tuple[str, dt.datetime | None, dt.datetime | None, str]
SCHEMA = pl.Schema(
    {"id": pl.String(), "created_at": INSTANT, "changed_at": INSTANT, "fingerprint": pl.String()}
)


def at(minutes: float) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


LATER = at(600)


def see(rows: list[Row], cursor: Cursor, max_days: int = 10, now: dt.datetime = LATER) -> Look:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return look(
        [("messages", frame)],
        cursor,
        zone=UTC,
        first_day=dt.date(2026, 1, 1),
        lag=LAG,
        max_days=max_days,
        now=now,
    )


def days(found: Look) -> list[str]:
    return [day.day.isoformat() for day in found.days]


def test_a_new_row_asks_for_its_day_once() -> None:
    rows: list[Row] = [("a", at(1), None, "x")]
    first = see(rows, Cursor(NOON))
    assert days(first) == ["2026-11-22"]
    assert see(rows, first.cursor).days == ()


def test_a_repeated_look_gives_the_same_run_keys() -> None:
    rows: list[Row] = [("a", at(1), None, "x"), ("b", at(2), at(3), "y")]
    assert see(rows, Cursor(NOON)).days == see(rows[::-1], Cursor(NOON)).days


def test_a_change_of_an_old_row_asks_for_the_day_of_its_creation() -> None:
    old = dt.datetime(2026, 3, 1, 23, 59, tzinfo=dt.UTC)
    assert days(see([("a", old, at(5), "x")], Cursor(NOON))) == ["2026-03-01"]


def test_a_finished_answer_is_seen_though_updated_at_stood_still() -> None:
    first = see([("a", at(1), at(1), "unfinished")], Cursor(NOON))
    assert days(see([("a", at(1), at(1), "finished")], first.cursor)) == ["2026-11-22"]


def test_days_over_the_limit_follow_in_the_next_look() -> None:
    rows: list[Row] = [(str(n), NOON - dt.timedelta(days=n), at(n), "x") for n in range(5)]
    cursor, seen = Cursor(NOON), []
    for _ in range(4):
        found = see(rows, cursor, max_days=2)
        seen += days(found)
        cursor = found.cursor
    assert sorted(seen) == ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22"]


def test_a_row_dated_in_the_future_does_not_hide_later_ones() -> None:
    found = see([("a", at(10_000), None, "x")], Cursor(NOON), now=at(5))
    assert found.cursor.watermark == at(5)


def test_rows_without_a_time_of_creation_are_counted_apart() -> None:
    found = see([("a", None, at(1), "x")], Cursor(NOON))
    assert (found.days, found.undated) == ((), 1)


def test_days_before_the_first_partition_are_left_alone() -> None:
    assert see([("a", dt.datetime(2025, 1, 1, tzinfo=dt.UTC), at(1), "x")], Cursor(NOON)).days == ()


def test_a_cursor_survives_its_text() -> None:
    cursor = see([("a", at(1), None, "x")], Cursor(NOON)).cursor
    assert Cursor.from_json(cursor.to_json()) == cursor


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 60 * 24), st.sampled_from("xyz")),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 4),
)
def test_every_change_is_asked_for_however_it_is_cut_into_looks(
    changes: list[tuple[int, int, str]], max_days: int
) -> None:
    """Rows change over time; a look sees those changed since the watermark less the lag."""
    cursor, asked, expected = Cursor(NOON), set(), set()
    state: dict[str, Row] = {}
    for minute, (row, age_minutes, fingerprint) in enumerate(changes):
        created = at(-age_minutes)
        kept = state.get(str(row))
        state[str(row)] = (str(row), kept[1] if kept else created, at(minute), fingerprint)
        expected.add(((kept[1] if kept else None) or created).date())
        since = cursor.watermark - LAG
        visible = [r for r in state.values() if max(filter(None, r[1:3])) >= since]
        found = see(visible, cursor, max_days)
        asked |= {day.day for day in found.days}
        cursor = found.cursor
    for _ in range(40):
        since = cursor.watermark - LAG
        found = see(
            [r for r in state.values() if max(filter(None, r[1:3])) >= since], cursor, max_days
        )
        asked |= {day.day for day in found.days}
        cursor = found.cursor
    assert asked == expected
