"""What looking at an installation found, and how to mend it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

State = Literal["ok", "warn", "fail"]
_WORST: Final[tuple[State, ...]] = ("fail", "warn", "ok")

CLOCK_TOLERANCE: Final = dt.timedelta(seconds=30)
"""Clocks that differ by more put rows of the last seconds on the wrong side of a look."""
LITTLE_BYTES: Final = 2 * 1024**3
"""A disk with less free warns: a day is written beside the one it replaces."""
LITTLE_TEMPORARY_BYTES: Final = 512 * 1024**2
"""The same of a place for temporary files alone, as the memory that a container has for them."""
NO_BYTES: Final = 200 * 1024**2
"""A disk with less free fails."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: `ok`, `warn` (works, but somebody should look) or `fail`.
        says: what was found.
        mend: what to do about it; empty where there is nothing to do, or `says` has it.
    """

    name: str
    state: State
    says: str
    mend: str = ""

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.name}: {self.says}" + (f" - {self.mend}" if self.mend else "")


def worst(findings: Iterable[Finding]) -> State:
    """Return the worst state; `ok` of none."""
    states = {one.state for one in findings}
    return next((state for state in _WORST if state in states), "ok")


def clock_finding(name: str, ahead_s: float | None) -> Finding:
    """Say whether another clock goes as ours.

    Args:
        name: whose it is.
        ahead_s: how far it is ahead of ours, in seconds; None: it did not say.
    """
    if ahead_s is None:
        return Finding(name, "ok", "does not tell its time")
    told = f"{abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the clock here"
    if abs(ahead_s) <= CLOCK_TOLERANCE.total_seconds():
        return Finding(name, "ok", "goes as the clock here" if abs(ahead_s) < 1 else told)
    return Finding(
        name, "warn", f"{told}, expected at most {CLOCK_TOLERANCE.total_seconds():.0f} s",
        "let NTP set both clocks",
    )  # fmt: skip


def disk_finding(
    name: str, folder: str, free_bytes: int, little_bytes: int = LITTLE_BYTES
) -> Finding:
    """Say whether a disk has room.

    Args:
        name: what is on it.
        folder: a folder of it.
        free_bytes: what this user may still write there.
        little_bytes: less than this warns.
    """
    state: State = (
        "fail" if free_bytes < NO_BYTES else "warn" if free_bytes < little_bytes else "ok"
    )
    says = f"{folder}: {free_bytes / 1024**3:,.1f} GiB free"
    if state == "ok":
        return Finding(name, state, says)
    return Finding(
        name, state, f"{says}, expected at least {little_bytes / 1024**3:g} GiB",
        "free space there, or move it to another disk",
    )  # fmt: skip
