"""A small lake with everything in it, made once, and copies of it to erase people from."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from conversation_analytics.core import schemas
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

DAYS = ("2026-11-09", "2026-11-10", "2026-11-11")
WEEK = DAYS[0]
KEY = "a-key-of-forty-characters,-made-up-123456"


def settings_in(folder: Path, **more: str) -> Settings:
    """Return the settings of a lake and documents in `folder`."""
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": DAYS[0],
            "SAMPLE_TURNS_PER_DAY": "60",
            "SOURCE_FRESH_HOURS": "0",
            # So that an id in a Parquet file is found as it is.
            "PARQUET_COMPRESSION": "none",
            "TRANSLATOR": "in_process",
            "TRANSLATOR_FACTORY": "conversation_analytics_tests.core.translating:WatchedEngine",
            "TOPIC_MIN_USERS": "1",
            "TOPIC_MIN_CONVERSATIONS": "1",
            **more,
        }
    )


def make_everything(settings: Settings) -> None:
    """Run every job over the days."""
    with dg.instance_for_test() as instance:
        run_job(settings, "daily", DAYS[0], DAYS[-1], instance=instance)
        run_job(settings, "undated", instance=instance)
        run_job(settings, "topics", WEEK, instance=instance)
        run_job(settings, "weekly", WEEK, instance=instance)
        run_job(settings, "monthly", "2026-11-01", instance=instance)
        run_job(settings, "users", instance=instance)


def copied(made: Path, folder: Path) -> Path:
    """Return a copy of a lake with its documents."""
    shutil.copytree(made, folder / "copy")
    return folder / "copy"


def busiest_user(settings: Settings) -> str:
    """Return the user who was there on most days, and on them wrote most."""
    lake = open_lake(settings)
    turns = pl.concat(
        [
            lake.read(schemas.MESSAGES, day).select("user_id", "id").with_columns(day=pl.lit(day))
            for day in DAYS
        ]
    )
    by_user = (
        turns.drop_nulls("user_id").group_by("user_id").agg(pl.col("day").n_unique(), pl.len())
    )
    return str(by_user.sort("day", "len", "user_id", descending=True)["user_id"][0])
