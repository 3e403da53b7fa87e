"""Each day in one line of text, as people put it into a chat."""

import datetime as dt
from collections.abc import Mapping

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import DailyChain, lake_in
from conversation_analytics.core.partitions import Partitioned
from conversation_analytics.core.schemas import DAILY_REPORT
from conversation_analytics.lake.store import Lake
from conversation_analytics.reports.values import one_day


def assets(chain: DailyChain, options: Mapping[str, str]) -> list[dg.AssetsDefinition]:
    """Return the asset; EXT_ONE_LINE_METRICS names what it tells."""
    names = options.get("metrics", "turns,active_users,error_rate").split(",")

    @dg.asset(
        name="one_line",
        group_name="reports",
        ins={DAILY_REPORT.name: lake_in(DAILY_REPORT)},
        description="The day in one line: `reports/one_line/<day>.txt`.",
        **chain.asset,
    )
    def one_line(
        lake: dg.ResourceParam[Lake], daily_report: Partitioned[pl.DataFrame]
    ) -> dg.MaterializeResult[None]:
        for key in daily_report:
            values = one_day(daily_report[key], dt.date.fromisoformat(key))
            line = f"{key}: " + ", ".join(f"{name} {values.text(name)}" for name in names)
            lake.put_report(f"one_line/{key}.txt", f"{line}\n".encode())
        return dg.MaterializeResult()

    return [one_line]
