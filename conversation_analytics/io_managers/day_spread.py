"""Computing the days of a range in other processes, as the IO manager of the lake asks for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from conversation_analytics.io_managers.read_log import Begun, StepAttempt

WrittenDays = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Metadata of what was stored: by table and day."""


@dataclass(frozen=True, slots=True)
class RangeStep:
    """A step of a run over a range of days.

    Attributes:
        name: of the step's function.
        attempt: of the run that asks.
        days: partition keys in ascending order.
        begun: what the step replaces, as it was before the step began.
        tell: writes a line to the run's log.
        stored: called with table and day once a day is stored.
    """

    name: str
    attempt: StepAttempt
    days: tuple[str, ...]
    begun: Begun
    tell: Callable[[str], None]
    stored: Callable[[str, str | None], None]


class DaySpread(Protocol):
    """Computes and stores the days of steps elsewhere, with the very functions of the assets."""

    def takes(self, step: str, days: int) -> bool:
        """Say whether it computes this many days of a step; else the run's process does."""

    def compute(self, step: RangeStep) -> WrittenDays:
        """Compute and store all days of all outputs of a step, each day once.

        Raises:
            AnalyticsError: as computing them here would; or where they should be computed does
                not answer.
        """
