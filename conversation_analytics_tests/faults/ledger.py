"""What the chaos suite did, and what it cost: one line a fault."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics_tests.faults.exactly_once import Verdict

ROUNDS_VARIABLE = "CHAOS_ROUNDS"
"""How many tries of a fault, more or less: a fault that takes long is tried a part of that."""

KILLS_VARIABLE = "CHAOS_KILLS"
"""How many times a run is killed."""

TABLE_VARIABLE = "CHAOS_TABLE"
"""A file to write the table to."""

_FEW_ROUNDS = 4
_FAILED = "not finished: a test failed"
_PREFACE = """# Faults

What the chaos suite does to the platform, and what it cost: rows in against rows out of every
zone. Lost: a row (or its final state) that is missing somewhere. Repeated: a row that is somewhere
twice, or where it should not be. `make chaos` runs it whole and writes this page; CI runs a short
version and writes nothing. The tests are in `conversation_analytics_tests/faults`.

"""


def chaos_rounds() -> int:
    """Return how many tries are wanted."""
    return int(os.environ.get(ROUNDS_VARIABLE) or _FEW_ROUNDS)


def chaos_kills() -> int:
    """Return how often a run is to be killed."""
    return int(os.environ.get(KILLS_VARIABLE) or chaos_rounds())


@dataclass
class Tally:
    """One line of the table, while it is counted.

    Attributes:
        tries: how often the fault was produced.
        lost: rows lost over all tries.
        repeated: rows repeated over all tries.
        outcome: what came of it, in words.
    """

    tries: int = 0
    lost: int = 0
    repeated: int = 0
    outcome: str = _FAILED

    def add(self, verdict: Verdict) -> None:
        """Count the rows of a comparison."""
        self.lost += len(verdict.lost)
        self.repeated += len(verdict.repeated)


@dataclass
class Ledger:
    """Every fault's tally, in the order they were met.

    Attributes:
        tallies: by fault.
        met: faults of the test that runs now.
        failed: faults of which a test failed, whatever another one says of them.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def tally(self, fault: str) -> Tally:
        """Return the line of a fault; the same line for the same words."""
        self.met.add(fault)
        return self.tallies.setdefault(fault, Tally())

    def close_test(self, *, failed: bool) -> None:
        """Note how the test ended that met faults since the last call."""
        if failed:
            self.failed |= self.met
        self.met.clear()

    def lines(self) -> Iterator[str]:
        """Yield the table, as Markdown."""
        yield "| fault | tries | lost | repeated | outcome |"
        yield "|---|---:|---:|---:|---|"
        for fault, tally in sorted(self.tallies.items()):
            counts = f"{tally.tries} | {tally.lost} | {tally.repeated}"
            outcome = _FAILED if fault in self.failed else tally.outcome
            yield f"| {fault} | {counts} | {outcome} |"

    def page(self) -> str:
        """Return the page of the docs."""
        return _PREFACE + "\n".join(self.lines()) + "\n"
