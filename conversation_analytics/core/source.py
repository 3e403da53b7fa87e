"""What the platform asks of a source, whichever it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    import polars as pl

SERVED_BY: Final = "source"
"""Under which raw partitions record the kind of source that served them."""
SAMPLE: Final = "sample"
"""The kind of the source whose rows are made up."""


class SourceTable(StrEnum):
    """The tables a source serves; feedbacks (ratings of turns) only where configured."""

    CONVERSATIONS = "conversations"
    MESSAGES = "messages"
    FEEDBACKS = "feedbacks"


class Source(Protocol):
    """A place conversations come from. Implementations are safe to call from several threads."""

    def read_window(self, table: SourceTable, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        """Return every row created in `[start, end)` (aware UTC), each id once.

        The frame has the columns of `schemas.RAW_MESSAGES` in that schema's order; `gone` is
        false. `content_sha256` stays the same while nothing but the row's times of change
        moves.
        """

    def read_undated(self, table: SourceTable) -> pl.DataFrame:
        """Return every row that has no time of creation, same columns, `created_at` null."""

    def read_ids(self, table: SourceTable, ids: Sequence[str]) -> pl.DataFrame:
        """Return the rows with these ids that the source has, whenever they were created.

        Same columns; each id once; `created_at` is null where the row has none.
        """

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        """Return the rows created or updated at or after `since` (aware UTC).

        Columns: `id` String, `created_at` and `changed_at` Datetime(us, UTC) (both may be
        null), `fingerprint` String, the same as in the raw frames as long as the row's small
        columns are the same.
        """

    def describe(self) -> dict[str, str]:
        """Return what the operator may know about this source: no credentials."""

    def close(self) -> None:
        """Give back connections."""
