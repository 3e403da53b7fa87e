"""Which rows of the lake an export is of, as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conversation_analytics.core.tables import period_of
from conversation_analytics.lake.sql import DAY_COLUMN, SqlLimits

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.sql import LakeSql
    from conversation_analytics.lake.store import Lake

LIMITS = SqlLimits(memory="512MB")
"""Memory of an export beside the rows of a day; what is over goes to the disk meanwhile."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The days and the app that an export is of.

    Attributes:
        first: first day; None: the first one held.
        last: last day, included; None: the last one held.
        app: id of the app, '' is no app; None: of all apps.
    """

    first: dt.date | None = None
    last: dt.date | None = None
    app: str | None = None

    @property
    def given(self) -> dict[str, object] | None:
        """What stands for `$app`."""
        return None if self.app is None else {"app": self.app}

    def keys(self, lake: Lake, table: TableSchema) -> list[str]:
        """Return the partitions of a table that are held and begin within the days."""
        low = "" if self.first is None else self.first.isoformat()
        high = "~" if self.last is None else self.last.isoformat()
        return [key for key in lake.keys(table) if low <= key <= high]

    def where(self, name: str = "") -> str:
        """Return the condition on a table of days, by its alias where it has one."""
        prefix = f"{name}." if name else ""
        days = [f"{prefix}{DAY_COLUMN} >= DATE '{self.first.isoformat()}'"] if self.first else []
        if self.last:
            days.append(f"{prefix}{DAY_COLUMN} <= DATE '{self.last.isoformat()}'")
        if self.app is not None:
            days.append(f"coalesce({prefix}app_id, '') = $app")
        return " AND ".join(days) or "true"


def is_of_days(table: TableSchema) -> bool:
    """Say whether a table has partitions: days, weeks or months."""
    return period_of(table) is not None


def rows_of(sql: LakeSql, text: str, given: dict[str, object] | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query, read as they are taken."""
    for batch in sql.query(text, given).batches:
        yield from batch.to_pylist()


def day_sql(columns: str, table: str, key: str, selection: Selection, order: Sequence[str]) -> str:
    """Return the SQL of one partition in its order; `key` is one of `Selection.keys`."""
    app = " AND coalesce(app_id, '') = $app" if selection.app is not None else ""
    return (
        f"SELECT {columns} FROM {table} WHERE {DAY_COLUMN} = DATE '{key}'{app} "
        f"ORDER BY {', '.join(order)}"
    )
