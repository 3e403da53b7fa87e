"""The results that the lake holds, day by day, as they are sent to NocoDB."""

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence

import polars as pl

from conversation_analytics.assets.day_partials import input_name
from conversation_analytics.assets.finding_rows import conversations_with_turns
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.periods import Period
from conversation_analytics.core.results import (
    CONVERSATION_ID,
    WEEK_TOPIC,
    Cell,
    conversation_results,
)
from conversation_analytics.core.schemas import TableSchema
from conversation_analytics.core.suppression import Suppressions
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

OWN_TABLES = (CATEGORIES, MESSAGE_LANGUAGE)
"""What a day needs to have results."""
TOPIC_TABLES = (TOPICS, CONVERSATION_TOPICS)
"""What its week adds, where it is there."""

Note = Callable[[str, str], None]
"""Takes the name and the digest of what was read."""


class LakeResultDays:
    """`ResultDays` of a lake; nothing is remembered between two calls."""

    def __init__(
        self,
        lake: Lake,
        settings: Settings,
        types: Sequence[str],
        *,
        first_kept: dt.date | None = None,
        erased: Suppressions | None = None,
    ) -> None:
        """Remember the lake and what is known to be gone.

        Args:
            lake: the lake.
            settings: of this process.
            types: names of the taxonomy's types in their order.
            first_kept: days before it are removed by age; None: none are.
            erased: the list of erased people; None: nobody was.
        """
        self._lake = lake
        self._settings = settings
        self._types = types
        self._first_kept = first_kept
        self._erased = erased

    def days(self) -> list[str]:
        """See `ResultDays.days`."""
        return sorted(frozenset.intersection(*(frozenset(self._lake.keys(t)) for t in OWN_TABLES)))

    def having(self, day: str, ids: Collection[str]) -> frozenset[str]:
        """See `ResultDays.having`: of a day that is to be made again first, all of them."""
        try:
            plan, _ = self._lake.scan(CATEGORIES, day)
        except OutdatedPartitionError:
            return frozenset(ids)
        sought = pl.col(CONVERSATION_ID).is_in(pl.Series(sorted(ids), dtype=pl.String).implode())
        found = plan.select(CONVERSATION_ID).filter(sought).collect()
        return frozenset(found[CONVERSATION_ID])

    def gone(self, claims: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """See `ResultDays.gone`."""
        return frozenset(
            (conversation, day)
            for conversation, day in claims
            if self._is_erased(conversation) or self._is_too_old(day)
        )

    def with_turns(self, ids: Collection[str]) -> frozenset[str]:
        """See `ResultDays.with_turns`; days that are removed by age have none."""
        return conversations_with_turns(
            self._lake, self._settings, ids, first_kept=self._first_kept
        )

    def _is_erased(self, conversation: str) -> bool:
        listed = self._erased
        return listed is not None and listed.conversation(conversation) in listed.conversations

    def _is_too_old(self, day: str) -> bool:
        try:
            return self._first_kept is not None and dt.date.fromisoformat(day) < self._first_kept
        except ValueError:  # what people wrote is no date
            return False

    def rows(self, day: str, ids: Collection[str]) -> list[Mapping[str, Cell]]:
        """See `ResultDays.rows`."""
        try:
            rows = self.read(day, lambda _name, _sha256: None)
        except OutdatedPartitionError:
            return []
        return [row for row in rows if row[CONVERSATION_ID] in ids]

    def read(self, day: str, note: Note) -> list[dict[str, Cell]]:
        """Return the rows of a day.

        Args:
            day: partition key.
            note: is told what was read.

        Raises:
            LakeError: the day has no results, or what is stored cannot be read.
            LakeUnavailableError: the storage does not answer.
        """
        categories, languages = (self._table(table, day, table.name, note) for table in OWN_TABLES)
        return conversation_results(
            day, self._types, categories, languages, self._week_topics(day, note)
        )

    def _table(self, table: TableSchema, partition: str, name: str, note: Note) -> pl.DataFrame:
        frame, info = self._lake.read_with_info(table, partition)
        note(name, info.sha256)
        return frame

    def _week_topics(self, day: str, note: Note) -> pl.DataFrame:
        """Return the label of the topic that each conversation of the day's week belongs to.

        Topics of too few people are not told here either.
        """
        week = Period.WEEK.start_of(dt.date.fromisoformat(day)).isoformat()
        held = all(self._lake.exists(table, week) for table in TOPIC_TABLES)
        if not held or not topic_digests(self._lake, week):
            nothing = {CONVERSATION_ID: pl.String(), WEEK_TOPIC: pl.String()}
            return pl.DataFrame(schema=nothing)
        topics, belongs = (
            self._table(table, week, input_name(table, week), note) for table in TOPIC_TABLES
        )
        shown = topics.filter(pl.col("shown")).select("topic_id", pl.col("label").alias(WEEK_TOPIC))
        return belongs.join(shown, on="topic_id").select(CONVERSATION_ID, WEEK_TOPIC)


def topic_digests(lake: Lake, week: str) -> dict[str, str]:
    """Return the digests of a week's topics, by name; none where they are to be made again."""
    try:
        return {input_name(table, week): lake.stat(table, week).sha256 for table in TOPIC_TABLES}
    except OutdatedPartitionError:
        return {}
