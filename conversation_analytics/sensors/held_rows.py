"""What the raw zone holds, kept in memory by digest so that a quiet look reads no partition."""

import datetime as dt
import logging
from collections import OrderedDict
from collections.abc import Iterable

import polars as pl

from conversation_analytics.core import schemas
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.schemas import TableSchema
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.windows import days_between
from conversation_analytics.core.zones import DAILY, UNDATED
from conversation_analytics.lake.store import Lake

_COLUMNS = ("id", "created_at", "content_sha256", "fingerprint", "gone")
_KEPT_PARTITIONS = 64
_logger = logging.getLogger("conversation_analytics.sensors.held_rows")


class HeldRows:
    """Digests of the rows in the raw zone. Not safe for several threads at once."""

    def __init__(self) -> None:
        """Start with nothing in memory."""
        self._kept: OrderedDict[tuple[str, str | None, str], pl.DataFrame] = OrderedDict()

    def rows(self, lake: Lake, table: SourceTable, day: dt.date | None) -> pl.DataFrame:
        """Return the rows of a raw partition (None: of the undated table).

        Returns:
            Columns `id`, `created_at`, `content_sha256`, `fingerprint` and `gone`; no rows where
            there is no such partition.
        """
        schema = (UNDATED if day is None else DAILY)[table].raw
        key = None if day is None else day.isoformat()
        return self._columns(lake, schema, key, pl.col(*_COLUMNS))

    def unfinished(
        self, lake: Lake, first: dt.date, last: dt.date, is_unfinished: pl.Expr
    ) -> pl.DataFrame:
        """Return `id` and `created_at` of the curated turns of these days without an answer.

        Days that an earlier version wrote are left out until they are made again.
        """
        columns = pl.col("id", "created_at")
        frames = [schemas.MESSAGES.empty().select(columns)]
        for day in map(dt.date.isoformat, days_between(first, last)):
            try:
                found = self._columns(lake, schemas.MESSAGES, day, columns, is_unfinished)
            except OutdatedPartitionError as error:
                _logger.warning("unfinished turns not watched: day=%s %s", day, error)
                continue
            frames.append(found)
        return pl.concat(frames)

    def newest(self, lake: Lake, tables: Iterable[SourceTable]) -> dt.datetime | None:
        """Return up to when all of `tables` are held; None where none of them is."""
        newest = []
        for table in tables:
            for key in reversed(lake.keys(DAILY[table].raw)):
                value = self.rows(lake, table, dt.date.fromisoformat(key))["created_at"].max()
                if isinstance(value, dt.datetime):
                    newest.append(value)
                    break
        return min(newest, default=None)

    def _columns(
        self,
        lake: Lake,
        schema: TableSchema,
        key: str | None,
        columns: pl.Expr,
        only: pl.Expr | None = None,
    ) -> pl.DataFrame:
        if not lake.exists(schema, key):
            empty = schema.empty()
            return (empty if only is None else empty.filter(only)).select(columns)
        name = (schema.name, key, lake.stat(schema, key).sha256)
        if name not in self._kept:
            frame = lake.read(schema, key)
            self._kept[name] = (frame if only is None else frame.filter(only)).select(columns)
            while len(self._kept) > _KEPT_PARTITIONS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return self._kept[name]
