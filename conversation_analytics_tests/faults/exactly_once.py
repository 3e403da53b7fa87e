"""The oracle of the chaos suite: rows that went in against rows in every zone."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from conversation_analytics.assets.checks import reconcile
from conversation_analytics.core import tables
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.zones import DAILY
from conversation_analytics.io_managers.document_io import UNDATED
from conversation_analytics.resources.connections import open_documents, open_lake

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from conversation_analytics.settings import Settings

Payloads = dict[str, str]
"""Id to the row as served, JSON text."""

SHOWN = {
    SourceTable.CONVERSATIONS: ("name", "status"),
    SourceTable.MESSAGES: ("query", "answer", "answer_tokens", "conversation_id"),
    SourceTable.FEEDBACKS: ("message_id", "rating"),
}
"""Columns that are compared after typing; they are typed as they are served."""

_UNFIT = re.compile("[\\x00\ud800-\udfff]")


@dataclass
class Verdict:
    """What differs between the rows that went in and every zone.

    Attributes:
        lost: "zone id" of rows that are missing, or not in their final state.
        repeated: "zone id" of rows that are there more than once, or should not be there.
        sums: equations between the zones that do not hold.
    """

    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    sums: list[str] = field(default_factory=list)

    def require_nothing(self) -> None:
        """Fail with the first differences."""
        assert (self.lost[:5], self.repeated[:5], self.sums[:5]) == ([], [], []), (
            f"lost {len(self.lost)}, repeated {len(self.repeated)}, sums {len(self.sums)}"
        )

    def compare(
        self, zone: str, wanted: Mapping[str, object], found: Iterable[tuple[str, object]]
    ) -> None:
        """Compare ids with contents against what a zone holds."""
        there = list(found)
        counts = Counter(row_id for row_id, _ in there)
        contents = dict(there)
        for row_id, content in wanted.items():
            if row_id not in counts:
                self.lost.append(f"{zone} {row_id}: missing")
            elif contents[row_id] != content:
                self.lost.append(f"{zone} {row_id}: not in its final state")
        self.repeated += [
            f"{zone} {row_id}: {count} times, expected {int(row_id in wanted)}"
            for row_id, count in sorted(counts.items())
            if count > int(row_id in wanted)
        ]


def compare_zones(
    settings: Settings,
    days: Collection[str],
    wanted: Mapping[SourceTable, Payloads],
    *,
    dead: Collection[str] = (),
    exact: bool = True,
) -> Verdict:
    """Compare the rows of some days with raw zone, curated zone, dead letters and documents.

    Args:
        settings: of the platform; lake and documents are opened from them.
        days: the partitions the rows lie in; they hold nothing else.
        wanted: the rows in their final state, those without a time of creation left out.
        dead: ids that belong into the dead letters.
        exact: the raw zone holds the very text; else only the columns `SHOWN` are compared.
    """
    verdict, lake = Verdict(), open_lake(settings)
    with closing(open_documents(settings)) as store:
        collections = {
            SourceTable.CONVERSATIONS: settings.mongodb_conversations_collection,
            SourceTable.MESSAGES: settings.mongodb_messages_collection,
        }
        for table, payloads in wanted.items():
            zones = DAILY[table]
            raw, curated, letters = zones.raw, zones.curated, zones.dead_letters
            good = {
                row_id: _shown(table, json.loads(payload))
                for row_id, payload in payloads.items()
                if row_id not in dead
            }
            bad = {row_id: payload for row_id, payload in payloads.items() if row_id in dead}
            stored = [
                row
                for day in days
                for row in lake.read(raw, day).select("id", "payload").iter_rows()
            ]
            if exact:
                verdict.compare(raw.name, payloads, stored)
            else:
                verdict.compare(
                    raw.name, good, ((i, _shown(table, json.loads(text))) for i, text in stored)
                )
            verdict.compare(
                curated.name,
                good,
                (
                    (row["id"], _shown(table, row))
                    for day in days
                    for row in lake.read(curated, day).iter_rows(named=True)
                ),
            )
            verdict.compare(
                letters.name,
                bad,
                (
                    row
                    for day in days
                    for row in lake.read(letters, day).select("source_id", "payload").iter_rows()
                ),
            )
            if table is SourceTable.FEEDBACKS:
                continue  # no documents are made of them
            documents = store.find(collections[table], {})
            if table is SourceTable.MESSAGES:
                documents = [d for d in documents if d["day"] != UNDATED]
                verdict.compare(
                    "message documents", good, ((d["_id"], _shown(table, d)) for d in documents)
                )
                continue
            headers = [d for d in documents if d["header_day"] not in {None, UNDATED}]
            verdict.compare(
                "conversation documents", good, ((d["_id"], _shown(table, d)) for d in headers)
            )
            turns = [
                (turn["id"], _shown(SourceTable.MESSAGES, turn | {"conversation_id": d["_id"]}))
                for d in documents
                for turn in d["messages"]
                if turn["day"] != UNDATED
            ]
            messages = wanted[SourceTable.MESSAGES].items()
            verdict.compare(
                "turns inside conversation documents",
                {i: _shown(SourceTable.MESSAGES, json.loads(p)) for i, p in messages
                 if i not in dead},
                turns,
            )  # fmt: skip
        names = {"conversations": collections[SourceTable.CONVERSATIONS],
                 "messages": collections[SourceTable.MESSAGES]}  # fmt: skip
        for day in days:
            verdict.sums += reconcile(
                lake, store, day, names, settings.mongodb_analytics_reports_collection
            ).differences()
    return verdict


def require_readable(settings: Settings) -> int:
    """Read every partition of the lake, by us and by any Parquet reader; return how many."""
    lake = open_lake(settings)
    for path in parquet_files(settings.parquet_base_dir):
        pq.ParquetFile(path).read()
    count = 0
    for schema in tables.TABLES:
        undated = schema.name.startswith(("undated", "raw_undated"))
        keys: list[str | None] = [None] if undated else [*lake.keys(schema)]
        for key in keys:
            if lake.exists(schema, key):
                lake.read(schema, key)
                count += 1
    return count


def read_one(settings: Settings, chance: random.Random) -> None:
    """Read one partition of the days there are, as an analyst does while a run goes on."""
    lake = open_lake(settings)
    schema = chance.choice([s for s in tables.TABLES if "undated" not in s.name])
    if keys := lake.keys(schema):
        lake.read(schema, chance.choice(keys))


def parquet_files(root: Path) -> list[Path]:
    """Return the Parquet files that a reader of the plain folder finds."""
    return sorted(p for p in root.rglob("*.parquet") if not p.name.startswith("."))


def strays(root: Path) -> list[str]:
    """Return the files of a lake that belong to nobody: dot-files that are no table's lock."""
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob(".*")
        if not (path.name == ".lock" and path.parent.parent == root)
    )


def digests(root: Path) -> dict[str, str]:
    """Return the digest of each file below `root`, dot-files left out, by relative path."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def _shown(table: SourceTable, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(
        _UNFIT.sub("\ufffd", value) if isinstance(value, str) else value
        for value in map(row.get, SHOWN[table])
    )
