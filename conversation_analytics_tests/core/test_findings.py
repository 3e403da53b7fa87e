"""What is said of clocks and disks."""

from __future__ import annotations

import pytest

from conversation_analytics.core.findings import (
    LITTLE_BYTES,
    NO_BYTES,
    Finding,
    State,
    clock_finding,
    disk_finding,
    worst,
)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((), "ok"),
        (("ok", "ok"), "ok"),
        (("ok", "warn", "ok"), "warn"),
        (("warn", "fail", "ok"), "fail"),
    ],
    ids=["none", "all well", "a warning", "a failure"],
)
def test_the_worst_counts(states: tuple[State, ...], expected: State) -> None:
    assert worst(Finding(str(number), state, "") for number, state in enumerate(states)) == expected


@pytest.mark.parametrize(
    ("ahead_s", "state", "says"),
    [
        (None, "ok", "does not tell its time"),
        (0.4, "ok", "goes as the clock here"),
        (-0.9, "ok", "goes as the clock here"),
        (30.0, "ok", "30 s ahead of the clock here"),
        (31.0, "warn", "31 s ahead of the clock here, expected at most 30 s"),
        (-3600.0, "warn", "3,600 s behind the clock here, expected at most 30 s"),
    ],
)
def test_a_clock(ahead_s: float | None, state: State, says: str) -> None:
    found = clock_finding("their clock", ahead_s)
    assert (found.name, found.state, found.says) == ("their clock", state, says)
    assert bool(found.mend) == (state == "warn")


@pytest.mark.parametrize(
    ("free_bytes", "state"),
    [(0, "fail"), (NO_BYTES - 1, "fail"), (NO_BYTES, "warn"), (LITTLE_BYTES - 1, "warn"),
     (LITTLE_BYTES, "ok")],
)  # fmt: skip
def test_a_disk(free_bytes: int, state: State) -> None:
    found = disk_finding("disk of lake", "/srv", free_bytes)
    assert found.state == state
    assert found.says.startswith("/srv: ")
    assert bool(found.mend) == (state != "ok")


def test_a_finding_is_one_line_with_what_to_do() -> None:
    assert Finding("lake", "fail", "refused", "correct the key").text == (
        "lake: refused - correct the key"
    )
    assert Finding("lake", "ok", "answers").text == "lake: answers"
