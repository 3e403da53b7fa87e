"""What the platform asks of a source, whichever it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime as dt

    import polars as pl


class SourceTable(StrEnum):
    """The tables a source serves."""

    CONVERSATIONS = "conversations"
    MESSAGES = "messages"


class Source(Protocol):
    """A place conversations come from. Implementations are safe to call from several threads."""

    def read_window(self, table: SourceTable, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        """Return every row created in `[start, end)` (aware UTC), each id once.

        The frame has the columns of `schemas.RAW_MESSAGES` in that schema's order.
        """

    def read_undated(self, table: SourceTable) -> pl.DataFrame:
        """Return every row that has no time of creation, same columns, `created_at` null."""

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        """Return the rows created or updated at or after `since` (aware UTC).

        Columns: `id` String, `created_at` and `changed_at` Datetime(us, UTC) (both may be
        null), `fingerprint` String, which differs whenever the row visibly differs.
        """

    def describe(self) -> dict[str, str]:
        """Return what the operator may know about this source: no credentials."""

    def close(self) -> None:
        """Give back connections."""
