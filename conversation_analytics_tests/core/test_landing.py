"""Landing a read against the partition held before: nothing lost, nothing twice."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.landing import GonePolicy, Landing, land
from conversation_analytics.core.schemas import RAW_MESSAGES
from conversation_analytics.core.windows import day_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DAY = day_window(dt.date(2026, 3, 29), ZoneInfo("Europe/Berlin"))  # 23 hours
INSIDE, OUTSIDE = DAY.start + dt.timedelta(hours=5), DAY.end
Rows = dict[str, tuple[dt.datetime | None, str]]
IDS = st.sampled_from("abcdef")
VERSIONS = ["v1", "v2", "v2 later"]
ROWS = st.dictionaries(
    IDS, st.tuples(st.sampled_from([INSIDE, OUTSIDE, None]), st.sampled_from(VERSIONS))
)


def frame(
    rows: Mapping[str, tuple[dt.datetime | None, str]], *, gone: bool = False
) -> pl.DataFrame:
    data = [
        # In "v2 later" only a time of change moved since "v2".
        (i, time, version, version, version.split()[0], version, gone)
        for i, (time, version) in rows.items()
    ]
    return RAW_MESSAGES.conform(pl.DataFrame(data, schema=RAW_MESSAGES.polars, orient="row"))


def found_nowhere(ids: Sequence[str]) -> pl.DataFrame:
    pytest.fail(f"asked for {len(ids)} rows")


def landed(
    source: Rows,
    held: pl.DataFrame | None,
    *,
    unseen: frozenset[str] = frozenset(),
    policy: GonePolicy = GonePolicy.FLAG,
    elsewhere: frozenset[str] = frozenset(),
) -> Landing:
    """Land the rows of the day, where the window read overlooks the ids `unseen`."""

    def find(ids: Sequence[str]) -> pl.DataFrame:
        return frame({i: source[i] for i in ids if i in source})

    read = {i: row for i, row in source.items() if row[0] == INSIDE and i not in unseen}
    return land(
        frame(read), held, window=DAY, policy=policy, find=find,
        held_elsewhere=lambda moved: elsewhere.intersection(moved["id"]),
    )  # fmt: skip


def states(landing: Landing) -> dict[str, tuple[str, bool]]:
    rows = landing.frame.select("id", "sha256", "gone").rows()
    assert len({row[0] for row in rows}) == len(rows), "an id came twice"
    return {row_id: (sha256, gone) for row_id, sha256, gone in rows}


@given(
    source=ROWS,
    earlier=st.dictionaries(IDS, st.sampled_from(VERSIONS)),
    unseen=st.frozensets(IDS),
    elsewhere=st.frozensets(IDS),
    policy=st.sampled_from(GonePolicy),
)
def test_each_row_is_where_the_rules_put_it(
    source: Rows,
    earlier: dict[str, str],
    unseen: frozenset[str],
    elsewhere: frozenset[str],
    policy: GonePolicy,
) -> None:
    held = frame({i: (INSIDE, v) for i, v in earlier.items()})
    expected: dict[str, tuple[str, bool]] = {}
    for row_id in {*source, *earlier}:
        at_source, before = source.get(row_id), earlier.get(row_id)
        if at_source is not None and at_source[0] == INSIDE:
            # A new row that the pages overlooked is for the next look at the source.
            if row_id not in unseen or before is not None:
                same = before is not None and before.split()[0] == at_source[1].split()[0]
                expected[row_id] = (before if before and same else at_source[1], False)
        elif before is None:
            continue
        elif at_source is not None:
            if row_id not in elsewhere:
                expected[row_id] = (before, False)
        elif policy is not GonePolicy.PURGE:
            expected[row_id] = (before, policy is GonePolicy.FLAG)
    got = landed(source, held, unseen=unseen, policy=policy, elsewhere=elsewhere)
    assert states(got) == expected


@given(source=ROWS, policy=st.sampled_from(GonePolicy))
def test_landing_the_same_read_again_changes_nothing(source: Rows, policy: GonePolicy) -> None:
    first = landed(source, None, policy=policy)
    again = landed(source, RAW_MESSAGES.conform(first.frame), policy=policy)
    assert RAW_MESSAGES.conform(again.frame).equals(RAW_MESSAGES.conform(first.frame))
    assert (again.new, again.changed, again.gone) == (0, 0, 0)


def test_a_gone_row_that_comes_back_is_no_longer_gone() -> None:
    held = frame({"a": (INSIDE, "v1")}, gone=True)
    assert states(landed({"a": (INSIDE, "v1")}, held)) == {"a": ("v1", False)}


def test_the_counts_say_what_happened() -> None:
    held = frame(dict.fromkeys("abcd", (INSIDE, "v1")))
    source: Rows = {
        "a": (INSIDE, "v2"), "b": (INSIDE, "v1"), "c": (OUTSIDE, "v1"), "e": (INSIDE, "v1"),
    }  # fmt: skip
    assert landed(source, held, unseen=frozenset("b")).facts() == {
        "rows_new": 1,
        "rows_changed": 1,
        "rows_missed_by_the_read": 1,
        "rows_moved_to_another_day": 1,
        "rows_gone_at_the_source": 1,
        "rows_with_values_of_gone_columns": 0,
    }


def test_without_absent_rows_the_source_is_not_asked_again() -> None:
    rows = frame({"a": (INSIDE, "v1")})
    got = land(
        rows, rows, window=DAY, policy=GonePolicy.FLAG, find=found_nowhere,
        held_elsewhere=lambda _: frozenset(),
    )  # fmt: skip
    assert states(got) == {"a": ("v1", False)}


def test_a_row_of_the_undated_table_that_got_a_time_is_moved() -> None:
    held = frame({"a": (None, "v1"), "b": (None, "v1")})

    def find(ids: Sequence[str]) -> pl.DataFrame:
        return frame({"a": (INSIDE, "v2")}) if "a" in ids else frame({})

    got = land(
        frame({"b": (None, "v1")}), held, window=None, policy=GonePolicy.FLAG, find=find,
        held_elsewhere=lambda _: frozenset("a"),
    )  # fmt: skip
    assert (states(got), got.moved) == ({"b": ("v1", False)}, 1)


VALUES = st.dictionaries(
    st.sampled_from(["id", "answer", "mood", "price"]),
    st.none()
    | st.text()
    | st.integers()
    | st.lists(st.floats(allow_nan=False, allow_infinity=False)),
)


def payload_frame(*payloads: str) -> pl.DataFrame:
    rows = frame({str(number): (INSIDE, "v") for number in range(len(payloads))})
    digests = [hashlib.sha256(one.encode()).hexdigest() for one in payloads]
    return rows.with_columns(
        payload=pl.Series(payloads), sha256=pl.Series(digests), content_sha256=pl.Series(digests)
    )


def read_again(served: str, held: str, policy: GonePolicy = GonePolicy.FLAG) -> Landing:
    return land(
        payload_frame(served), payload_frame(held), window=DAY, policy=policy,
        find=found_nowhere, held_elsewhere=lambda _: frozenset(),
    )  # fmt: skip


@given(served=VALUES, held=VALUES, policy=st.sampled_from(GonePolicy))
def test_values_of_a_column_that_is_gone_stay(
    served: dict[str, object], held: dict[str, object], policy: GonePolicy
) -> None:
    got = read_again(json.dumps(served), json.dumps(held), policy)
    kept = {name: value for name, value in held.items() if name not in served}
    known = {name: value for name, value in kept.items() if value is not None}
    (row,) = got.frame.iter_rows(named=True)
    if served == held or policy is GonePolicy.PURGE or not known:
        assert json.loads(row["payload"]) == served
        assert got.completed == 0
    else:
        assert json.loads(row["payload"]) == {**served, **known}
        assert got.completed == 1
    assert row["sha256"] == hashlib.sha256(row["payload"].encode()).hexdigest()
    again = land(
        payload_frame(json.dumps(served)), got.frame, window=DAY, policy=policy,
        find=found_nowhere, held_elsewhere=lambda _: frozenset(),
    )  # fmt: skip
    assert again.frame.equals(got.frame)
    assert (again.changed, again.completed) == (0, 0)


def test_the_values_stay_as_they_were_served() -> None:
    held = '{"id":"1","price":0.10000000000000000001,"note":"\\ud83d","n":1e2}'
    (row,) = read_again('{"id":"1","answer":"b"}', held).frame.iter_rows(named=True)
    assert row["payload"] == (
        '{"id":"1","answer":"b","price":0.10000000000000000001,"note":"\\ud83d","n":1e2}'
    )


@pytest.mark.parametrize("held", ["[1]", "no JSON", "{", '{"a":1'])
def test_what_is_no_row_of_columns_is_replaced(held: str) -> None:
    (row,) = read_again('{"id":"1"}', held).frame.iter_rows(named=True)
    assert row["payload"] == '{"id":"1"}'
    (row,) = read_again(held, '{"id":"1"}').frame.iter_rows(named=True)
    assert row["payload"] == held
