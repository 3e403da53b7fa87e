"""The test of the example: the line of a day whose report is in the lake."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg
from one_line_asset import assets

from conversation_analytics.assets.partitions import daily_chain
from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.schemas import DAILY_PARTIALS, DAILY_REPORT
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import parse_settings

if TYPE_CHECKING:
    from pathlib import Path

DAY = "2026-11-02"


def test_the_line_tells_the_day(tmp_path: Path) -> None:
    settings = parse_settings(
        {"PARQUET_BASE_DIR": str(tmp_path / "lake"), "ANALYTICS_START_DATE": DAY}
    )
    lake = open_lake(settings)
    report = daily_report(DAILY_PARTIALS.empty().lazy(), dt.date.fromisoformat(DAY), CPU)
    lake.write(DAILY_REPORT, DAY, report, lake.begin(DAILY_REPORT, DAY))
    chain = daily_chain(settings)
    made = assets(chain, {"metrics": "turns,error_rate"})
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [*made, dg.AssetSpec(DAILY_REPORT.name, partitions_def=chain.partitions)],
            instance=instance,
            partition_key=DAY,
            resources=build_definitions(settings).resources,
        )
    assert lake.get_report(f"one_line/{DAY}.txt").decode() == f"{DAY}: turns 0, error_rate –\n"  # noqa: RUF001 - the dash that stands for unknown
