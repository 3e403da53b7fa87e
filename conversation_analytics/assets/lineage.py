"""What is stored of a day, asset by asset, and so which assets have to be made again."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conversation_analytics.assets.corrections import corrected_on, correction_rows
from conversation_analytics.assets.partitions import (
    MAX_DAYS_PER_RUN,
    categorised_with,
    dead_letter_limit,
    origins,
)
from conversation_analytics.core.errors import ExtensionError, OutdatedPartitionError
from conversation_analytics.core.periods import NAMES, Period
from conversation_analytics.core.staleness import (
    AWAITED,
    StaleAsset,
    StoredPartition,
    awaited_place,
    stale_assets,
)
from conversation_analytics.core.tables import TABLES
from conversation_analytics.core.zones import DAILY
from conversation_analytics.io_managers.document_io import stored_documents
from conversation_analytics.language.taxonomy_files import read_taxonomy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import dagster as dg

    from conversation_analytics.documents.store import DocumentStore
    from conversation_analytics.lake.store import Lake
    from conversation_analytics.settings import Settings

_TABLES = {table.name: table for table in TABLES}
USER_FILES = "user_report_files"
FILES = {**{f"{name}_report_files": name for name in NAMES.values()}, USER_FILES: "users"}
"""The assets of report files, and the folder of each."""
USERS_PAGE = "index"
"""The key of the page of users in its folder."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A typed table of a day with more dead letters than are allowed: nothing is made of it.

    Attributes:
        table: its name.
        dead: rows that could not be typed.
        raw: all rows.
    """

    table: str
    dead: int
    raw: int


@dataclass(frozen=True, slots=True)
class StaleDay:
    """A day that is not as it should be.

    Attributes:
        key: partition key.
        assets: to make again, upstream first; none where all that is stale is stopped.
        stops: why the others are left out.
        left_out: what is made of the tables of `stops`, and these: nothing of an extension that is
            made of any of them may be made, either.
    """

    key: str
    assets: tuple[StaleAsset, ...]
    stops: tuple[Stop, ...] = ()
    left_out: frozenset[str] = frozenset()

    @property
    def stopped(self) -> str:
        """What stops this day and what to do, in a sentence; empty: nothing does."""
        if not self.stops:
            return ""
        counts = ", ".join(f"{one.dead} of {one.raw} {one.table}" for one in self.stops)
        return (
            f"{self.key}: stopped, nothing more is made of it: {counts} are dead letters. Look at "
            "the reasons; mend the source and `conversation-analytics backfill "
            f"{self.key} {self.key}`, or the contract and `conversation-analytics replay "
            f"{self.key} {self.key}`, or allow more (DEAD_LETTER_SHARE, DEAD_LETTER_ROWS)"
        )


def made_from(
    assets: Iterable[dg.AssetsDefinition], *, dated: bool = True
) -> dict[str, tuple[str, ...]]:
    """Return the inputs of each daily asset (or undated one), every asset after its inputs.

    What is not of a day, as the table of corrections, is none of these inputs.

    Raises:
        ExtensionError: assets are made of each other.
    """
    inputs: dict[str, tuple[str, ...]] = {}
    daily = [one for one in assets if (one.partitions_def is not None) is dated]
    names = {key for one in daily for key in one.keys}
    for definition in daily:
        for key, needed in definition.asset_deps.items():
            inputs[key.path[-1]] = tuple(sorted(one.path[-1] for one in needed if one in names))
    ordered: dict[str, tuple[str, ...]] = {}
    while len(ordered) < len(inputs):
        left = sorted(inputs.keys() - ordered.keys())
        for name in left:
            if ordered.keys() >= set(inputs[name]):
                ordered[name] = inputs[name]
        if ordered.keys().isdisjoint(left):
            raise ExtensionError(
                f"assets: expected an order to make them in, got {', '.join(left)}, which "
                "are made of each other; correct their package or take it out of EXTENSIONS"
            )
    return ordered


def steps_of(assets: Iterable[dg.AssetsDefinition]) -> tuple[frozenset[str], ...]:
    """Return the names of the assets that each definition makes together."""
    return tuple(frozenset(key.path[-1] for key in one.keys) for one in assets)


def whole_steps(names: Iterable[str], steps: Sequence[frozenset[str]]) -> tuple[str, ...]:
    """Return `names` and what can only be made together with them, sorted."""
    wanted = set(names)
    return tuple(sorted(set().union(*(step for step in steps if step & wanted))))


def assets_to_make(day: StaleDay, steps: Sequence[frozenset[str]]) -> tuple[str, ...]:
    """Return what to make again of a day: its stale assets, and what is made with them.

    Args:
        day: of `stale_days`.
        steps: assets that are made together.
    """
    stopped = set(whole_steps(day.left_out, steps))
    wanted = whole_steps([one.asset for one in day.assets], steps)
    return tuple(name for name in wanted if name not in stopped)


@dataclass(frozen=True, slots=True)
class PartitionRange:
    """Consecutive partitions of which the same assets are to be made, in one run.

    Attributes:
        first: first day of the first one, which is its key.
        last: first day of the last one, included.
        partitions: how many there are.
        assets: names, sorted; none stands for all of the job.
        period: what a partition is.
    """

    first: dt.date
    last: dt.date
    partitions: int
    assets: tuple[str, ...] = ()
    period: Period = Period.DAY

    @property
    def label(self) -> str:
        """What people call it."""
        first, last = self.period.label(self.first), self.period.label(self.last)
        return first if first == last else f"{first} to {last}"


def ranges_to_make(
    wanted: Mapping[str, tuple[str, ...]],
    period: Period = Period.DAY,
    max_partitions: int = MAX_DAYS_PER_RUN,
) -> tuple[PartitionRange, ...]:
    """Put partitions together that follow each other and want the same assets.

    Args:
        wanted: assets to make by partition key; partitions without any are left out.
        period: what a partition is.
        max_partitions: of a range.
    """
    ranges: list[PartitionRange] = []
    for key, assets in sorted(wanted.items()):
        start = dt.date.fromisoformat(key)
        if not assets:
            continue
        before = ranges[-1] if ranges else None
        if (
            before is not None
            and before.assets == assets
            and before.last == period.before(start)
            and before.partitions < max_partitions
        ):
            ranges[-1] = replace(before, last=start, partitions=before.partitions + 1)
        else:
            ranges.append(PartitionRange(start, start, 1, assets, period))
    return tuple(ranges)


def downstream(graph: Mapping[str, tuple[str, ...]], names: Iterable[str]) -> tuple[str, ...]:
    """Return `names` and everything that is made of them, in the order of `graph`.

    Args:
        graph: inputs of each asset, an asset after its inputs.
        names: assets.
    """
    found = set(names)
    for asset, inputs in graph.items():
        if found.intersection(inputs):
            found.add(asset)
    return tuple(asset for asset in graph if asset in found)


def days_held(lake: Lake) -> tuple[str, ...]:
    """Return the days of which the raw zone holds at least one table, oldest first."""
    return tuple(sorted(set().union(*(lake.keys(zones.raw) for zones in DAILY.values()))))


def _awaited(lake: Lake, stored: Iterable[StoredPartition | None]) -> dict[str, str]:
    """Return the digests now of the partitions to which rows of `stored` have moved."""
    names = {
        name
        for partition in stored
        if partition is not None
        for name in partition.inputs
        if name.startswith(AWAITED)
    }
    digests = {}
    for name in names:
        table, key = awaited_place(name)
        schema = _TABLES[table]
        digests[name] = lake.stat(schema, key).sha256 if lake.exists(schema, key) else ""
    return digests


def days_of_moved_rows(lake: Lake, settings: Settings, keys: Iterable[str]) -> list[str]:
    """Return the days among `keys` with rows that another day may hold by now, in order.

    Raises:
        LakeError: a partition is there and cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    found = []
    raw = [DAILY[table].raw for table in settings.source_tables]
    for key in sorted(keys):
        stats = [lake.stat(schema, key) for schema in raw if lake.exists(schema, key)]
        stored = [StoredPartition(info.sha256, info.inputs) for info in stats]
        now = _awaited(lake, stored)
        if any(now[name] != one.inputs.get(name, now[name]) for one in stored for name in now):
            found.append(key)
    return found


def files_inputs_path(folder: str, key: str) -> str:
    """Return where report files of a day, week, month or of users say what they were made of."""
    return f"{folder}/{key}.inputs.json"


def stored_day(
    names: Iterable[str], lake: Lake, documents: DocumentStore, key: str | None
) -> dict[str, StoredPartition | None]:
    """Return what is stored of the assets `names` for partition `key`; None: they have none.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    return {name: _stored(name, lake, documents, key) for name in names}


def _stored(
    name: str, lake: Lake, documents: DocumentStore, key: str | None
) -> StoredPartition | None:
    if name in _TABLES:
        schema = _TABLES[name]
        if not lake.exists(schema, key):
            return None
        try:
            info = lake.stat(schema, key)
        except OutdatedPartitionError:
            if name.startswith("raw_"):
                raise  # what was read stays readable, or is an error
            return StoredPartition(None, {}, outdated=True)
        return StoredPartition(info.sha256, info.inputs)
    inputs: Mapping[str, str] | None
    if key is None:
        raise ValueError(f"{name} has partitions")
    if name in FILES:
        path = files_inputs_path(FILES[name], key)
        inputs = json.loads(lake.get_report(path)) if lake.has_report(path) else None
        return None if inputs is None else StoredPartition(None, inputs)
    return stored_documents(documents, name, key)


def stale_days(
    graph: Mapping[str, tuple[str, ...]],
    lake: Lake,
    documents: DocumentStore,
    settings: Settings,
    keys: Iterable[str],
) -> Iterator[StaleDay]:
    """Yield the days among `keys` that have assets to make again, or would have.

    What is made of a typed table with too many dead letters is left out, unless the table itself
    is to be made again: its check judges it in that run, and is in no run without it.

    Args:
        graph: of `made_from`.
        lake: the lake.
        documents: the document store.
        settings: of this process.
        keys: partition keys.
    """
    wanted = tuple(keys)
    if not wanted:
        return
    rows = correction_rows(lake, settings)
    categorised = categorised_with(settings, rows)
    files = settings.taxonomy_origin, settings.taxonomy_corrections_file
    corrections = read_taxonomy(*files, rows)[1]
    for key in wanted:
        stored = stored_day(graph, lake, documents, key)
        told = origins(settings, graph, key, categorised | corrected_on(lake, corrections, key))
        stale = stale_assets(stored, graph, told, _awaited(lake, stored.values()))
        if stale:
            yield _with_stops(StaleDay(key, stale), graph, lake, settings)


def _with_stops(
    day: StaleDay, graph: Mapping[str, tuple[str, ...]], lake: Lake, settings: Settings
) -> StaleDay:
    """Return the day without what is made of tables with too many dead letters."""
    stale = {one.asset for one in day.assets}
    limit = dead_letter_limit(settings)
    stops: list[Stop] = []
    left_out: set[str] = set()
    for zones in (DAILY[table] for table in settings.source_tables):
        name, dead_letters = zones.curated.name, zones.dead_letters
        after = downstream(graph, [name])
        if not stale.isdisjoint({name, dead_letters.name}) or stale.isdisjoint(after):
            continue  # typed again, or nothing to make of it
        dead, raw = lake.row_count(dead_letters, day.key), lake.row_count(zones.raw, day.key)
        if limit.exceeded(dead, raw):
            stops.append(Stop(name, dead, raw))
            left_out.update(after)
    assets = tuple(one for one in day.assets if one.asset not in left_out)
    return StaleDay(day.key, assets, tuple(stops), frozenset(left_out))
