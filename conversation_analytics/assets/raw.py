"""Raw zone: rows exactly as the source serves them, one object a day."""

import datetime as dt

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import UNDATED_GROUP, DailyChain
from conversation_analytics.core.partitions import Partitioned
from conversation_analytics.core.schemas import (
    RAW_CONVERSATIONS,
    RAW_MESSAGES,
    RAW_UNDATED_CONVERSATIONS,
    RAW_UNDATED_MESSAGES,
    TableSchema,
)
from conversation_analytics.core.source import Source, SourceTable
from conversation_analytics.core.windows import day_window
from conversation_analytics.io_managers.lake_io import column_schema
from conversation_analytics.io_managers.retries import retry_if_transient

_GROUP = "raw"


def raw_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the assets that read the source."""
    return [
        _daily(chain, SourceTable.CONVERSATIONS, RAW_CONVERSATIONS),
        _daily(chain, SourceTable.MESSAGES, RAW_MESSAGES),
        _undated(chain, SourceTable.CONVERSATIONS, RAW_UNDATED_CONVERSATIONS),
        _undated(chain, SourceTable.MESSAGES, RAW_UNDATED_MESSAGES),
    ]


def _daily(chain: DailyChain, table: SourceTable, schema: TableSchema) -> dg.AssetsDefinition:
    zone = chain.settings.analytics_timezone

    @dg.asset(
        name=schema.name,
        group_name=_GROUP,
        io_manager_key="lake_io",
        kinds={chain.settings.source_kind, "parquet"},
        dagster_type=dg.Any,
        description=f"{schema.description} Read by keyset over the day's window of creation.",
        metadata={
            "dagster/column_schema": column_schema(schema),
            "threads": chain.settings.threads_io,
        },
        **chain.asset,
    )
    def read_days(
        context: dg.AssetExecutionContext, source: dg.ResourceParam[Source]
    ) -> Partitioned[pl.DataFrame]:
        def read(key: str) -> pl.DataFrame:
            window = day_window(dt.date.fromisoformat(key), zone)
            return source.read_window(table, window.start, window.end)

        return Partitioned(tuple(sorted(context.partition_keys)), read)

    return read_days


def _undated(chain: DailyChain, table: SourceTable, schema: TableSchema) -> dg.AssetsDefinition:
    @dg.asset(
        name=schema.name,
        group_name=UNDATED_GROUP,
        io_manager_key="lake_io",
        kinds={chain.settings.source_kind, "parquet"},
        description=f"{schema.description} Only rows without a time of creation: no day can "
        "hold them, and none is lost.",
        metadata={"dagster/column_schema": column_schema(schema)},
    )
    def read_undated(source: dg.ResourceParam[Source]) -> pl.DataFrame:
        with retry_if_transient():
            return source.read_undated(table)

    return read_undated
