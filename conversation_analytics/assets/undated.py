"""Rows without a time of creation: what of them is to be made again, and which have a day now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from conversation_analytics.assets.lineage import downstream, stored_day
from conversation_analytics.core.source import SERVED_BY
from conversation_analytics.core.staleness import StaleAsset, stale_assets
from conversation_analytics.core.suppression import row_names, row_owners
from conversation_analytics.core.tables import TABLES
from conversation_analytics.core.zones import DAILY
from conversation_analytics.core.zones import UNDATED as UNDATED_ZONES
from conversation_analytics.io_managers.document_io import UNDATED
from conversation_analytics.lake.user_index import conversation_mark, places_of
from conversation_analytics.resources.connections import column_contract

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from conversation_analytics.core.source import SourceTable
    from conversation_analytics.documents.store import DocumentStore
    from conversation_analytics.lake.store import Lake
    from conversation_analytics.settings import Settings

JOB: Final = "undated"
_OF_LAKE: Final = frozenset(table.name for table in TABLES)


@dataclass(frozen=True, slots=True)
class UndatedSteps:
    """How rows without a time of creation go from the source to the documents.

    Attributes:
        graph: inputs of each asset, an asset after its inputs.
        steps: names of the assets that are made together.
    """

    graph: Mapping[str, tuple[str, ...]]
    steps: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class HoldingDay:
    """A day whose raw partition holds rows that the table of rows without a time holds, too.

    Attributes:
        name: of the partition, as inputs are called: table and key.
        sha256: digest of the partition.
        ids: of these rows.
    """

    name: str
    sha256: str
    ids: frozenset[str]


def days_holding(
    lake: Lake,
    settings: Settings,
    table: SourceTable,
    rows: pl.DataFrame,
    days: Iterable[str] | None = None,
) -> tuple[HoldingDay, ...]:
    """Return the days that hold any of these rows, found by the index of conversations.

    A row whose conversation cannot be told is not found.

    Args:
        lake: the lake.
        settings: of this process.
        table: of the source.
        rows: with `id` and `payload`, as in the raw schema.
        days: partition keys to look at; None: all that are held.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    if rows.is_empty():
        return ()
    names = row_names(column_contract(settings), table, settings.pseudonym_columns)
    talks = row_owners(rows.select("id", "payload"), names)["conversation"].drop_nulls().unique()
    schema = DAILY[table].raw
    held = lake.keys(schema)
    keys = held if days is None else sorted(set(held).intersection(days))
    among = [(schema, key) for key in keys]
    wanted = pl.col("id").is_in(rows["id"].unique().implode())
    found = []
    for place in places_of(lake, map(conversation_mark, talks), among):
        plan, info = lake.scan(*place)
        ids = frozenset(plan.select("id").filter(wanted).collect()["id"])
        if ids:
            found.append(HoldingDay(f"{schema.name}/{place[1]}", info.sha256, ids))
    return tuple(found)


def noted_beside(days: Iterable[HoldingDay], stored: pl.DataFrame) -> dict[str, str]:
    """Return what the raw table records of days that hold its rows, too.

    Where that is all there is, the rows have been compared with these days: what is held twice
    all the same is so at the source, and is not asked for again.

    Args:
        days: of `days_holding`, looked at before the rows were compared with them.
        stored: the rows of the table that are stored now.
    """
    ids = frozenset(stored["id"])
    return {day.name: day.sha256 for day in days if day.ids & ids}


def stale_undated(
    graph: Mapping[str, tuple[str, ...]],
    lake: Lake,
    documents: DocumentStore,
    settings: Settings,
    days: Iterable[str] | None = None,
) -> tuple[StaleAsset, ...]:
    """Return the assets of rows without a time to make again, upstream first.

    None where such rows have never been read. Beside what is missing or made of other rows than
    are stored now: the raw table, where a day holds a row of it by now, or where another kind of
    source served it.

    Args:
        graph: of `UndatedSteps`.
        lake: the lake.
        documents: the document store.
        settings: of this process.
        days: in which rows are looked for that have a time by now; None: in all that are held.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    in_lake = [name for name in graph if name in _OF_LAKE]
    others = [name for name in graph if name not in _OF_LAKE]
    stored = stored_day(in_lake, lake, documents, None) | stored_day(
        others, lake, documents, UNDATED
    )
    raw = {UNDATED_ZONES[table].raw: table for table in settings.source_tables}
    if all(stored[schema.name] is None for schema in raw):
        return ()
    keys = None if days is None else tuple(days)
    beside: dict[str, Mapping[str, str]] = {}
    found: dict[str, str] = {}
    for schema, table in raw.items():
        if (partition := stored[schema.name]) is None:
            continue
        beside[schema.name] = partition.inputs
        kind = settings.source_kind
        if partition.inputs.get(SERVED_BY, kind) != kind:  # an earlier version did not note it
            found[schema.name] = "read from another source"
            continue
        holding = days_holding(lake, settings, table, lake.read(schema, None), keys)
        if news := [day for day in holding if partition.inputs.get(day.name) != day.sha256]:
            found[schema.name] = f"rows of it are in {news[0].name} by now"
    stale = {one.asset: one.reason for one in stale_assets(stored, graph, beside)}
    found = stale | found
    return tuple(
        StaleAsset(asset, found.get(asset, "what it is made of is to be made again"))
        for asset in downstream(graph, found)
    )
