"""Of which weeks topics can be found (again): what is held of their messages."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from conversation_analytics.assets.retention import days_made_again
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.periods import Period
from conversation_analytics.core.retention import first_day_kept
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings


class Findable(Enum):
    """When topics of a week can be found."""

    NOW = "now"
    LATER = "later"
    """Messages that an earlier version wrote are made again first."""
    NEVER = "never"
    """Messages are gone, or are never made again: what has been found stays as it is."""


@dataclass(frozen=True, slots=True)
class WeekMessages:
    """What is held of the messages of a week.

    Attributes:
        digests: by day; of days that an earlier version wrote: None.
        findable: when topics can be found of all of them.
    """

    digests: Mapping[str, str | None]
    findable: Findable


class HeldWeeks:
    """The messages that the lake holds at one time, week by week."""

    def __init__(self, lake: Lake, settings: Settings, today: dt.date) -> None:
        """List the days.

        Args:
            lake: the lake.
            settings: of this process.
            today: in the analytics time zone.
        """
        self._lake = lake
        self.days = frozenset(lake.keys(MESSAGES))
        self._made_again = days_made_again(lake, settings, today)
        self.first_partition = Period.WEEK.start_of(settings.analytics_start_date)
        kept = first_day_kept(settings.retention_curated_days, today) or dt.date.min
        self._first_whole = max(kept, self.first_partition)
        self._looked_at: dict[dt.date, WeekMessages] = {}

    def week(self, start: dt.date) -> WeekMessages:
        """Return what is held of the week that begins with `start`.

        Raises:
            LakeError: messages cannot be read.
            LakeUnavailableError: the storage does not answer.
        """
        if start not in self._looked_at:
            self._looked_at[start] = self._look_at(start)
        return self._looked_at[start]

    def lacks(self, inputs: Mapping[str, str]) -> bool:
        """Say whether topics were found of messages of a day that is not held any more.

        Args:
            inputs: what the topics have recorded.
        """
        recorded = (name.partition("/") for name in inputs)
        return any(table == MESSAGES.name and day not in self.days for table, _, day in recorded)

    def _look_at(self, start: dt.date) -> WeekMessages:
        own = [day for one in Period.WEEK.days_of(start) if (day := one.isoformat()) in self.days]
        digests = {day: self._digest(day) for day in own}
        outdated = {day for day, digest in digests.items() if digest is None}
        if not own or start < self._first_whole or not outdated <= self._made_again:
            return WeekMessages(digests, Findable.NEVER)
        return WeekMessages(digests, Findable.LATER if outdated else Findable.NOW)

    def _digest(self, day: str) -> str | None:
        try:
            return self._lake.stat(MESSAGES, day).sha256
        except OutdatedPartitionError:
            return None
