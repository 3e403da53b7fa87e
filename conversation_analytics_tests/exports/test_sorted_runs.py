"""Records in order, within a bound of memory."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.exports.sorted_runs import Record, SortedRuns

if TYPE_CHECKING:
    from pathlib import Path

places = st.tuples(
    st.sampled_from(["a", "b", "\u00e4", "\uffff", "\U0001f600"]),
    st.sampled_from([0, 1]),
    st.integers(-(1 << 62), 1 << 62),
    st.text(max_size=3),
    st.sampled_from(["2026-11-09", "2026-11-10"]),
)


@given(
    st.lists(st.tuples(places, st.binary(max_size=90_000)), unique_by=lambda one: one[0]),
    st.integers(1, 4_000),
    st.integers(2, 3),
)
def test_whatever_fits_in_memory_the_order_is_that_of_sorting(
    found: list[tuple[tuple[str, int, int, str, str], bytes]], memory_bytes: int, fan_in: int
) -> None:
    records: list[Record] = [(*place, data) for place, data in found]
    with SortedRuns(memory_bytes, fan_in) as runs:
        for one in records:
            runs.add(one)
        assert list(runs) == sorted(records)


def test_what_is_held_is_bounded_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", os.fspath(tmp_path))
    tracemalloc.start()
    try:
        with SortedRuns(1 << 20) as runs:
            for number in range(20_000):
                place = (f"c{number * 7919 % 20_000:05}", 1, number, "m", "2026-11-09")
                runs.add((*place, b"x" * 1_000))
            assert runs.spilled > 20
            assert list(tmp_path.iterdir())
            read = sum(1 for _ in runs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == 20_000
    assert peak < 8 << 20  # 28 MB of records
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", os.fspath(tmp_path))

    def fail() -> None:
        with SortedRuns(1) as runs:
            runs.add(("c", 0, 0, "", "2026-11-09", b"{}"))
            assert runs.spilled == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []
