"""The translation memory in the lake: one object a day."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import polars as pl

from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conversation_analytics.lake.store import Lake

_READS_AT_ONCE: Final = 8
_TRIES: Final = 20


class LakeTranslationMemory:
    """What engines have answered, found by key over all days, added to one day.

    A partition is the day whose messages had the texts first. Several runs may add to one
    day at once: whoever comes second reads again and adds to what is there. An answer that
    is there stays, so that what was made of it is made of it again, until no message of its day
    has the text any more.
    """

    def __init__(self, lake: Lake) -> None:
        """Keep the lake."""
        self._lake = lake

    def lookup(self, keys: Sequence[str]) -> pl.DataFrame:
        """Return what is known of these keys, each once, the earliest day's answer first.

        Reads every day's object, oldest first, until all keys are found. Columns: those of
        TRANSLATION_MEMORY, and `day` String.

        Raises:
            LakeError: an object cannot be read.
            LakeUnavailableError: the storage does not answer.
        """
        wanted = pl.DataFrame({"key": keys}, schema={"key": pl.String}).unique()
        found = [_nothing()]
        days = self._lake.keys(TRANSLATION_MEMORY) if keys else []
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            for some in _batched(days):
                if wanted.is_empty():
                    break
                for day, frame in zip(some, pool.map(self._read, some), strict=True):
                    here = frame.join(wanted, on="key", how="semi")
                    found.append(here.with_columns(day=pl.lit(day)))
                    wanted = wanted.join(here, on="key", how="anti")
        return pl.concat(found)

    def add(self, day: str, answers: pl.DataFrame) -> pl.DataFrame:
        """Add answers to a day; return what the day now has of these keys.

        Args:
            day: partition key.
            answers: schema TRANSLATION_MEMORY, each key once.

        Raises:
            PartitionReplacedError: others add all the time, 20 tries long.
            LakeError: the storage refuses.
            LakeUnavailableError: the storage does not answer.
        """

        def merged(held: pl.DataFrame) -> pl.DataFrame:
            return pl.concat([held, answers.join(held, on="key", how="anti")])

        return self._change(day, merged)[1].join(answers, on="key", how="semi")

    def forget(self, day: str, superfluous: Callable[[pl.DataFrame], frozenset[str]]) -> int:
        """Drop answers from a day; return how many.

        Args:
            day: partition key.
            superfluous: given what the day has (schema TRANSLATION_MEMORY), the keys to drop.

        Raises:
            PartitionReplacedError: others add all the time, 20 tries long.
            LakeError: the storage refuses.
            LakeUnavailableError: the storage does not answer.
        """

        def left(held: pl.DataFrame) -> pl.DataFrame | None:
            if held.is_empty():
                return None
            dropped = pl.Series(sorted(superfluous(held)), dtype=pl.String).implode()
            kept = held.filter(~pl.col("key").is_in(dropped))
            return kept if kept.height < held.height else None

        before, after = self._change(day, left)
        return before.height - after.height

    def _change(
        self, day: str, change: Callable[[pl.DataFrame], pl.DataFrame | None]
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Replace what a day has, again where others were quicker; return it before and after.

        Args:
            day: partition key.
            change: given what the day has; None: it stays.
        """
        tries = 0
        while True:
            since = self._lake.begin(TRANSLATION_MEMORY, day)
            there = self._lake.exists(TRANSLATION_MEMORY, day)
            held = self._read(day) if there else TRANSLATION_MEMORY.empty()
            changed = change(held)
            if changed is None:
                return held, held
            try:
                self._lake.write(TRANSLATION_MEMORY, day, changed, since)
            except PartitionReplacedError:
                tries += 1
                if tries == _TRIES:
                    raise
            else:
                return held, changed

    def _read(self, day: str) -> pl.DataFrame:
        return self._lake.read(TRANSLATION_MEMORY, day)


def _batched(days: list[str]) -> list[tuple[str, ...]]:
    return [tuple(days[at : at + _READS_AT_ONCE]) for at in range(0, len(days), _READS_AT_ONCE)]


def _nothing() -> pl.DataFrame:
    return TRANSLATION_MEMORY.empty().with_columns(day=pl.lit(None, pl.String))
