"""Curated zone: typed rows with pinned schemas, and beside them what could not be typed."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import UNDATED_GROUP, DailyChain, lake_in
from conversation_analytics.core.contract import (
    SETTING,
    Contract,
    TableContract,
    default_contract,
)
from conversation_analytics.core.partitions import Described, Partitioned
from conversation_analytics.core.rows import TypedRows, type_rows
from conversation_analytics.core.schemas import TableSchema
from conversation_analytics.core.zones import DAILY, UNDATED, Zones
from conversation_analytics.io_managers.lake_io import column_schema

_GROUP = "curated"
_KINDS = {"polars", "parquet"}


def curated_assets(
    chain: DailyChain, contract: Contract | None = None
) -> list[dg.AssetsDefinition]:
    """Return the assets that type raw rows.

    Args:
        chain: what all daily assets have in common.
        contract: what the tables of the source look like; None is `default_contract()`.
    """
    contracts = (contract or default_contract()).tables
    tables = chain.settings.source_tables
    return [
        *(_daily(chain, DAILY[table], contracts[table]) for table in tables),
        *(_undated(UNDATED[table], contracts[table]) for table in tables),
    ]


def _out(schema: TableSchema, group: str = _GROUP) -> dg.AssetOut:
    return dg.AssetOut(
        io_manager_key="lake_io",
        description=schema.description,
        group_name=group,
        kinds=_KINDS,
        metadata={"dagster/column_schema": column_schema(schema)},
    )


def _facts(typed: TypedRows) -> dict[str, str | int]:
    facts: dict[str, str | int] = {
        "dead_letters": typed.dead_letters.height,
        "missing_optional_columns": ", ".join(typed.missing_optional) or "none",
        "new_columns_kept_in_extra": ", ".join(typed.new_columns) or "none",
    }
    if typed.suggestion is not None:
        facts["renamed_column_perhaps"] = f"{SETTING}: {typed.suggestion}"
    return facts


def _daily(chain: DailyChain, zones: Zones, contract: TableContract) -> dg.AssetsDefinition:
    schema, dead = zones.curated, zones.dead_letters

    @dg.multi_asset(
        name=f"type_{schema.name}",
        ins={"raw": lake_in(zones.raw)},
        outs={schema.name: _out(schema), dead.name: _out(dead)},
        **chain.asset,
    )
    def type_days(raw: Partitioned[pl.DataFrame]) -> Iterator[dg.Output[Any]]:
        # Dead letters are few: kept from the first output for the second.
        dead_letters: dict[str, pl.DataFrame] = {}

        def typed(key: str, frame: pl.DataFrame) -> Described[pl.DataFrame]:
            rows = type_rows(frame, schema, where=f"{schema.name} {key}", contract=contract)
            dead_letters[key] = rows.dead_letters
            return Described(rows.frame, _facts(rows))

        yield dg.Output(raw.map(typed), schema.name)
        yield dg.Output(dead_letters, dead.name)

    return type_days


def _undated(zones: Zones, contract: TableContract) -> dg.AssetsDefinition:
    schema, dead = zones.curated, zones.dead_letters

    @dg.multi_asset(
        name=f"type_{schema.name}",
        ins={"raw": lake_in(zones.raw)},
        outs={schema.name: _out(schema, UNDATED_GROUP), dead.name: _out(dead, UNDATED_GROUP)},
    )
    def type_undated(raw: pl.DataFrame) -> Iterator[dg.Output[Any]]:
        rows = type_rows(raw, schema, where=schema.name, contract=contract)
        yield dg.Output(Described(rows.frame, _facts(rows)), schema.name)
        yield dg.Output(rows.dead_letters, dead.name)

    return type_undated
