from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.changes import Cursor, CursorError, Look, look
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


def see(
    rows: list[Row],
    cursor: Cursor,
    max_days: int = 10,
    now: dt.datetime = LATER,
    zone: ZoneInfo = UTC,
) -> Look:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return look(
        [("messages", frame)],
        cursor,
        zone=zone,
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
    assert found.days == ()
    assert found.undated is not None
    assert found.undated.rows == 1


def test_days_before_the_first_partition_are_left_alone() -> None:
    assert see([("a", dt.datetime(2025, 1, 1, tzinfo=dt.UTC), at(1), "x")], Cursor(NOON)).days == ()


def test_a_cursor_survives_its_text() -> None:
    cursor = see([("a", at(1), None, "x")], Cursor(NOON)).cursor
    assert Cursor.from_json(cursor.to_json()) == cursor


FAR = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
FIRST = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Bangkok", "America/New_York"])
def test_the_ends_of_time_stop_nothing_in_any_zone(zone: str) -> None:
    rows: list[Row] = [("a", FAR, FAR, "x"), ("b", FIRST, at(1), "x"), ("c", at(2), FAR, "x")]
    found = see(rows, Cursor(NOON), now=at(5), zone=ZoneInfo(zone))
    assert days(found) == ["2026-11-22"]
    assert [day.rows for day in found.days] == [1]
    assert found.ahead == 1


def test_a_row_of_tomorrow_waits_for_its_day_and_is_then_asked_for_once() -> None:
    rows: list[Row] = [("a", at(60 * 24), None, "x")]
    before = see(rows, Cursor(NOON), now=at(5))
    assert (before.days, before.ahead) == ((), 1)
    again = see(rows, before.cursor, now=at(60))
    assert (again.days, again.ahead) == ((), 1)
    then = see(rows, again.cursor, now=at(60 * 24 + 5))
    assert days(then) == ["2026-11-23"]
    assert see(rows, then.cursor, now=at(60 * 24 + 6)).days == ()


def test_more_days_than_fit_do_not_widen_the_overlap_look_after_look() -> None:
    """Ninety days of changes, five minutes apart, and only the last hour of them is asked for."""
    rows: list[Row] = [
        (str(n), NOON - dt.timedelta(days=n + 1), at(-5 * n), "x") for n in range(90)
    ]
    cursor, asked = Cursor(NOON), []
    for _ in range(60):
        since = (cursor.watermark - LAG).replace(microsecond=0)
        visible = [row for row in rows if row[2] is not None and row[2] >= since]
        found = see(visible, cursor, max_days=1)
        asked += days(found)
        cursor = found.cursor
    assert len(asked) == len(set(asked)) == 13


def test_a_row_that_changes_back_is_asked_for_again_under_another_key() -> None:
    cursor, keys = Cursor(NOON), []
    for status in "xyxyx":
        found = see([("a", at(1), at(1), status)], cursor)
        keys += [day.digest for day in found.days]
        cursor = found.cursor
    assert len(set(keys)) == 5


def test_undated_rows_count_among_the_partitions_and_keep_their_key_as_time_goes_on() -> None:
    rows: list[Row] = [("a", None, at(1), "x"), ("b", at(2), None, "x"), ("c", FAR, None, "x")]
    first = see(rows, Cursor(NOON), max_days=1, now=at(5))
    assert (days(first), first.undated, first.waiting) == (["2026-11-22"], None, 1)
    second, again = (see(rows, first.cursor, max_days=1, now=at(m)) for m in (6, 7))
    assert second.undated is not None
    assert second.undated == again.undated
    assert see(rows, second.cursor, max_days=1, now=at(8)).undated is None


def test_rows_of_the_second_the_overlap_begins_in_are_remembered() -> None:
    """The source compares whole seconds: it shows a row from just before the overlap."""
    start = Cursor(NOON + dt.timedelta(milliseconds=700))
    rows: list[Row] = [("a", at(-60), None, "x")]
    first = see(rows, start)
    assert days(first) == ["2026-11-22"]
    assert see(rows, first.cursor).days == ()


def test_a_clock_that_goes_back_loses_no_change() -> None:
    first = see([("a", at(100), None, "x")], Cursor(NOON), now=at(101))
    back = see([("a", at(100), None, "x")], first.cursor, now=at(-100))
    assert back.days == ()
    found = see([("a", at(100), None, "x"), ("b", at(-90), None, "x")], back.cursor, now=at(-80))
    assert days(found) == ["2026-11-22"]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "null", "[]", "{}", "5", '"2026"', '{"watermark": 5, "seen": {}}',
        '{"watermark": "2026-01-01T00:00:00", "seen": {}}',
        '{"watermark": "2026-01-01T00:00:00+00:00"}',
        '{"watermark": "2026-01-01T00:00:00+00:00", "seen": [1]}',
        '{"watermark": "2026-01-01T00:00:00+00:00", "seen": {}, "turn": "x"}',
        '{"watermark": "0001-01-01T00:00:00+12:00", "seen": {}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_text_that_is_no_cursor_says_what_to_do(text: str) -> None:
    with pytest.raises(CursorError, match="Reset the cursor"):
        Cursor.from_json(text)


def test_a_cursor_of_an_earlier_version_is_understood() -> None:
    text = '{"seen": {"messages/a": "1"}, "watermark": "2026-11-22T13:00:00+01:00"}'
    assert Cursor.from_json(text) == Cursor(NOON, {"messages/a": "1"}, 0)


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
