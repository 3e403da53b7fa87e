"""Dead letters: how many a day may have, and the ledger of them.

The ledger tells since when each is known, how often it was found, whether it landed. The lake's
tables of dead letters hold what is dead now, with the rows themselves; they are made
again whole. The ledger remembers, and holds no text of a conversation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    import polars as pl

    from conversation_analytics.core.documents import Document
    from conversation_analytics.core.source import SourceTable


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """How many rows of a day may be dead letters.

    Attributes:
        share: of the day's raw rows.
        rows: so many may be dead whatever their share, unless all of them are.
    """

    share: float = 0.01
    rows: int = 20

    def exceeded(self, dead: int, raw: int) -> bool:
        """Say whether `dead` of `raw` rows are too many."""
        return dead > self.share * raw and (dead > self.rows or dead >= raw)


def ledger_id(table: SourceTable, source_id: str) -> str:
    """Return the `_id` of a row's entry."""
    return f"{table}/{source_id}"


def ledger_entries(
    dead: Mapping[SourceTable, pl.DataFrame],
    before: Iterable[Document],
    key: str,
    now: dt.datetime,
) -> list[Document]:
    """Return the entries of a partition.

    Args:
        dead: what is dead now, by table; schema of `schemas.MESSAGE_DEAD_LETTERS`.
        before: the entries of this partition so far, and those that other partitions hold of the
            rows in `dead`.
        key: partition key.
        now: aware time.

    Returns:
        Documents sorted by `_id` with `table`, `source_id`, `day` (the key), `reason`, `sha256`,
        `first_seen`, `last_seen`, `count`, and `landed_at`: null as long as the row is dead.
        `last_seen` and `count` move when the row or its reason is another one than before, or
        when it had landed meanwhile: what is found again as it was leaves its entry as it is.
    """
    known = {entry["_id"]: entry for entry in before}
    entries: dict[str, Document] = {}
    for table, frame in dead.items():
        for source_id, reason, sha256 in frame.select("source_id", "reason", "sha256").iter_rows():
            name = ledger_id(table, source_id)
            told = {"day": key, "reason": reason, "sha256": sha256, "landed_at": None}
            old = known.get(name)
            if old is None:
                entries[name] = {
                    "_id": name, "table": str(table), "source_id": source_id, **told,
                    "first_seen": now, "last_seen": now, "count": 1,
                }  # fmt: skip
            elif told.items() <= old.items():
                entries[name] = old
            else:
                entries[name] = old | told | {"last_seen": now, "count": old["count"] + 1}
    for name, old in known.items():
        if name not in entries:
            entries[name] = old if old["landed_at"] else old | {"landed_at": now}
    return [entries[name] for name in sorted(entries)]
