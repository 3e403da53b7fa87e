"""Turns by hour of the local day."""

from __future__ import annotations

import polars as pl


def hourly_turns(messages: pl.LazyFrame, zone: str) -> pl.LazyFrame:
    """Count the turns of each local hour, debugger rows left out as in every report.

    Args:
        messages: of one day, schema `schemas.MESSAGES`.
        zone: IANA name of the analytics time zone.

    Returns:
        Columns `hour` Int32 (0 to 23, only hours with turns, ascending) and `turns` Int64.
        The hour that a clock change repeats counts both.
    """
    return (
        messages.filter(pl.col("invoke_from").is_null() | (pl.col("invoke_from") != "debugger"))
        .group_by(
            pl.col("created_at").dt.convert_time_zone(zone).dt.hour().cast(pl.Int32).alias("hour")
        )
        .agg(pl.len().cast(pl.Int64).alias("turns"))
        .sort("hour")
    )
