"""Raw zone: rows exactly as the source serves them, one object a day."""

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import (
    UNDATED_GROUP,
    DailyChain,
    origin,
    served_by,
)
from conversation_analytics.assets.undated import days_holding, noted_beside
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.landing import GonePolicy, land
from conversation_analytics.core.partitions import (
    Described,
    Partitioned,
    PartitionReplacedError,
)
from conversation_analytics.core.schemas import TableSchema
from conversation_analytics.core.source import SAMPLE, SERVED_BY, Source, SourceTable
from conversation_analytics.core.staleness import awaited_name
from conversation_analytics.core.suppression import Suppressions, row_names, row_owners
from conversation_analytics.core.windows import day_window, local_day
from conversation_analytics.core.zones import DAILY, UNDATED
from conversation_analytics.io_managers.lake_io import column_schema
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.lake.suppressions import read_suppressions
from conversation_analytics.lake.user_index import add_to_index
from conversation_analytics.resources.connections import column_contract, pseudonyms_of
from conversation_analytics.resources.pseudonym_marker import require_one_key

_GROUP = "raw"


def raw_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the assets that read the source."""
    return [
        make(chain, table) for make in (_daily, _undated) for table in chain.settings.source_tables
    ]


def _daily(chain: DailyChain, table: SourceTable) -> dg.AssetsDefinition:
    schema = DAILY[table].raw
    zone = chain.settings.analytics_timezone

    @dg.asset(
        name=schema.name,
        group_name=_GROUP,
        io_manager_key="lake_io",
        kinds={chain.settings.source_kind, "parquet"},
        dagster_type=dg.Any,
        description=f"{schema.description} Read by keyset over the day's window of creation, and "
        "compared with what was held before: a row that is gone at the source stays, unless "
        "GONE_ROWS says otherwise.",
        metadata={
            "dagster/column_schema": column_schema(schema),
            "threads": chain.settings.threads_io,
        },
        **chain.asset,
    )
    def read_days(
        context: dg.AssetExecutionContext,
        source: dg.ResourceParam[Source],
        lake: dg.ResourceParam[Lake],
    ) -> Partitioned[Described[pl.DataFrame]]:
        _require_one_key(chain, lake)

        def read(key: str) -> Described[pl.DataFrame]:
            window = day_window(dt.date.fromisoformat(key), zone)
            elsewhere = _Elsewhere(lake, table, zone)
            landing = land(
                source.read_window(table, window.start, window.end),
                _held(chain, lake, schema, key),
                window=window,
                policy=_policy(chain, table),
                find=partial(source.read_ids, table),
                held_elsewhere=elsewhere.held,
            )
            admitted = _Admission.of(chain, lake, table, key, landing.frame)
            told = origin(chain.settings, key) | elsewhere.awaited
            return Described(admitted.frame, landing.facts(), told, admitted.look_again)

        return Partitioned(tuple(sorted(context.partition_keys)), read)

    return read_days


def _undated(chain: DailyChain, table: SourceTable) -> dg.AssetsDefinition:
    schema = UNDATED[table].raw

    @dg.asset(
        name=schema.name,
        group_name=UNDATED_GROUP,
        io_manager_key="lake_io",
        kinds={chain.settings.source_kind, "parquet"},
        dagster_type=dg.Any,
        description=f"{schema.description} Only rows without a time of creation: no day can "
        "hold them, and none is lost.",
        metadata={"dagster/column_schema": column_schema(schema)},
    )
    def read_undated(
        source: dg.ResourceParam[Source], lake: dg.ResourceParam[Lake]
    ) -> Callable[[], Described[pl.DataFrame]]:
        _require_one_key(chain, lake)

        def read() -> Described[pl.DataFrame]:
            shown = source.read_undated(table)
            held = _held(chain, lake, schema, None)
            either = shown if held is None else pl.concat([shown, held])
            holding = days_holding(lake, chain.settings, table, either)
            landing = land(
                shown,
                held,
                window=None,
                policy=_policy(chain, table),
                find=partial(source.read_ids, table),
                held_elsewhere=_Elsewhere(lake, table, chain.settings.analytics_timezone).held,
            )
            admitted = _Admission.of(chain, lake, table, None, landing.frame)
            beside = noted_beside(holding, admitted.frame) | served_by(chain.settings)
            return Described(admitted.frame, landing.facts(), beside, admitted.look_again)

        # The IO manager calls it, once it has noted what it is to replace.
        return read

    return read_undated


def _require_one_key(chain: DailyChain, lake: Lake) -> None:
    with retry_if_transient():
        require_one_key(lake, pseudonyms_of(chain.settings))


@dataclass(frozen=True)
class _Admission:
    """Rows about to be stored, without those of people who were erased since they were read.

    First the index, then the list, then the write: an erasure either finds the partition by the
    index, or has put the person on the list before that is looked at. One that lists a person
    after that, and is done before the partition is there, is met by the look after the write.

    Attributes:
        lake: whose list counts.
        pseudonym_key: of the settings, or ''.
        schema: the raw table.
        key: of the partition.
        table: of the source.
        frame: the rows that are stored.
        owners: of them, as `row_owners` gives them.
        listed: the list as it was when the rows were looked up; None: there was none.
    """

    lake: Lake
    pseudonym_key: str
    schema: TableSchema
    key: str | None
    table: SourceTable
    frame: pl.DataFrame
    owners: pl.DataFrame
    listed: Suppressions | None

    @classmethod
    def of(
        cls, chain: DailyChain, lake: Lake, table: SourceTable, key: str | None, rows: pl.DataFrame
    ) -> "_Admission":
        """Note whose rows the partition will hold, and leave out who is on the list.

        Rows that are held are looked up, too: of an erased person none stays by being gone at
        the source.
        """
        settings = chain.settings
        names = row_names(column_contract(settings), table, settings.pseudonym_columns)
        schema = (UNDATED if key is None else DAILY)[table].raw
        owners = row_owners(rows, names)
        with retry_if_transient():
            add_to_index(lake, schema, key, owners)
            listed = read_suppressions(lake, settings.pseudonym_key)
        if listed is not None:
            staying = listed.left_out_of(owners, table).is_null()
            rows, owners = rows.filter(staying), owners.filter(staying)
        return cls(lake, settings.pseudonym_key, schema, key, table, rows, owners, listed)

    def look_again(self) -> None:
        """Look at the list once more: the rows are stored now.

        Raises:
            PartitionReplacedError: somebody was put on it meanwhile whose rows are among them.
            LakeError: the list cannot be read.
            LakeUnavailableError: the storage does not answer.
        """
        listed = read_suppressions(self.lake, self.pseudonym_key)
        if listed is None or listed == self.listed:
            return
        left_out = listed.left_out_of(self.owners, self.table).is_not_null().sum()
        if left_out:
            raise PartitionReplacedError(
                f"{self.schema.name} of {self.key or 'no day'}: expected no row of an erased "
                f"person, got {left_out} of somebody who was erased while they were stored: run "
                "this partition again, which takes them out"
            )


def _held(
    chain: DailyChain, lake: Lake, schema: TableSchema, key: str | None
) -> pl.DataFrame | None:
    """Return the rows that a read is compared with; None: there are none.

    Rows that the sample made up were never at a real source, so they are not gone there.

    Raises:
        SettingsError: the sample would be put to the rows of a real source.
    """
    kind = chain.settings.source_kind
    if kind == SAMPLE:
        _require_made_up(lake, schema, key)
    if not lake.exists(schema, key):
        return None
    rows, info = lake.read_with_info(schema, key)
    return None if info.inputs.get(SERVED_BY, kind) == SAMPLE != kind else rows


def _require_made_up(lake: Lake, schema: TableSchema, key: str | None) -> None:
    """Check that no real source has filled this partition, or the ends of the table.

    An address that is missing, or misspelt, makes the sample the source: that must not cost the
    rows which are there.

    Raises:
        SettingsError: one has.
    """
    days = [] if key is None else lake.keys(schema)
    for place in dict.fromkeys([key, *days[:1], *days[-1:]]):
        if not lake.exists(schema, place):
            continue
        served_by = lake.stat(schema, place).inputs.get(SERVED_BY, SAMPLE)
        if served_by != SAMPLE:
            raise SettingsError(
                f"{schema.name}/{place or 'undated'}: expected rows of the sample, got what was "
                f"read from {served_by}: made-up rows are never put to real ones. Set what that "
                "source needs (is NOCODB_BASE_URL there, and spelt right?), or for the sample "
                "another PARQUET_BASE_DIR or S3_PREFIX"
            )


def _policy(chain: DailyChain, table: SourceTable) -> GonePolicy:
    if chain.settings.source_kind == SAMPLE:
        return GonePolicy.PURGE  # made up: a smaller sample leaves nothing behind
    policy = GonePolicy(chain.settings.gone_rows)
    if table is SourceTable.FEEDBACKS and policy is GonePolicy.KEEP:
        return GonePolicy.FLAG  # a rating that was taken back is none, but was one
    return policy


@dataclass(frozen=True)
class _Elsewhere:
    """Where rows that have moved are held by now.

    Attributes:
        lake: the lake.
        table: of the source.
        zone: of the days.
        awaited: partitions that did not hold all of them, as they are recorded, with their digest.
    """

    lake: Lake
    table: SourceTable
    zone: ZoneInfo
    awaited: dict[str, str] = field(default_factory=dict)

    def held(self, moved: pl.DataFrame) -> frozenset[str]:
        """Return the ids of moved rows that the partition of their new time holds already."""
        by_key: dict[str | None, set[str]] = {}
        for row_id, created_at in moved.select("id", "created_at").iter_rows():
            with contextlib.suppress(OverflowError):  # year 9999's last hours have no local day
                key = None if created_at is None else local_day(created_at, self.zone).isoformat()
                by_key.setdefault(key, set()).add(row_id)
        held: set[str] = set()
        for key, ids in by_key.items():
            schema = (UNDATED if key is None else DAILY)[self.table].raw
            there, sha256 = set[str](), ""
            if self.lake.exists(schema, key):
                rows, info = self.lake.read_with_info(schema, key)
                there, sha256 = ids.intersection(rows["id"]), info.sha256
            if there < ids:
                self.awaited[awaited_name(schema.name, key)] = sha256
            held |= there
        return frozenset(held)
