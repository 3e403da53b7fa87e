"""A source that shows nothing of people who were erased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from conversation_analytics.core.suppression import row_names
from conversation_analytics.lake.suppressions import change_suppressions, read_suppressions

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    import polars as pl

    from conversation_analytics.core.contract import Contract
    from conversation_analytics.core.source import Source, SourceTable
    from conversation_analytics.core.suppression import Suppressions
    from conversation_analytics.lake.store import Lake


@dataclass(frozen=True, slots=True)
class SuppressedSource:
    """A source without the rows that the lake's suppression list leaves out.

    The list is read with every request, so that an erasure counts for runs under way, too. Ids of
    new rows that are left out are noted in it: from then on they count as held.

    Attributes:
        source: where the rows come from, with pseudonyms where there is a key.
        lake: whose list counts.
        contract: how the source names its columns.
        pseudonym_key: of the settings, or ''.
        more_users: titles of further columns that hold users.
    """

    source: Source
    lake: Lake
    contract: Contract
    pseudonym_key: str
    more_users: tuple[str, ...] = ()

    def read_window(self, table: SourceTable, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        """Return the rows created in `[start, end)` (aware UTC), in the raw schema."""
        return self._rows(table, self.source.read_window(table, start, end))

    def read_undated(self, table: SourceTable) -> pl.DataFrame:
        """Return the rows without a time of creation, in the raw schema."""
        return self._rows(table, self.source.read_undated(table))

    def read_ids(self, table: SourceTable, ids: Sequence[str]) -> pl.DataFrame:
        """Return the rows with these ids of rows, in the raw schema."""
        return self._rows(table, self.source.read_ids(table, ids))

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        """Return the rows created or updated since, without those that were left out before."""
        shown = self.source.changes_since(table, since)
        held = read_suppressions(self.lake, self.pseudonym_key)
        if held is None or shown.is_empty():
            return shown
        return shown.filter(~held.left_out(table, shown["id"]))

    def describe(self) -> dict[str, str]:
        """Return what the operator may know about the source."""
        return self.source.describe()

    def close(self) -> None:
        """Give back connections."""
        self.source.close()

    def _rows(self, table: SourceTable, rows: pl.DataFrame) -> pl.DataFrame:
        # After the rows were read: an erasure that began meanwhile counts.
        held = read_suppressions(self.lake, self.pseudonym_key)
        if held is None:
            return rows
        names = row_names(self.contract, table, self.more_users)
        out = held.suppressed(rows, names)
        left_out = rows.filter(out)
        if not held.left_out(table, left_out["id"]).all():

            def noted(held: Suppressions) -> Suppressions:
                # Asked of the list as it is now: somebody may have been taken off it.
                owners = zip(left_out["id"], held.left_out_for(left_out, names), strict=True)
                return held.with_rows(table, {one: of for one, of in owners if of is not None})

            change_suppressions(self.lake, self.pseudonym_key, noted)
        return rows.filter(~out)
