"""The step `daily_partials` of a large day in Dagster, against the bare Polars plan.

Both read the same four Parquet files of a lake, look for rephrased questions, make the partials
and write them as Parquet of the same codec; the rows are compared first. The step is a whole run
of that asset in this process, with an ephemeral instance: its executor, events, IO managers,
digests of what is read and written, metadata. Each process has
done the same with a tiny day before, as the warm workers of the platform have.

python benchmarks/platform_overhead.py [TURNS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import dagster as dg
import polars as pl
import pyarrow.parquet  # noqa: F401 - the lake reads with it: not to be timed
from polars.testing import assert_frame_equal
from rapidfuzz import process  # noqa: F401 - as above
from shared.made_up_days import FIRST, made_up_day
from shared.measured import alone, medians, print_beside

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    FEEDBACKS,
    MESSAGES,
)
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings

ROUNDS = 3
DAY = FIRST.isoformat()
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
TABLES = (CONVERSATIONS, MESSAGES, FEEDBACKS, MESSAGE_LANGUAGE)


def settings_in(folder: Path) -> Settings:
    """Return the settings of a platform in the folder."""
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": DAY,
        }
    )


def write_curated(folder: Path, turns: int) -> None:
    """Write a day of the curated zone."""
    lake = open_lake(settings_in(folder))
    conversations, messages, feedbacks = made_up_day(0, turns, turns // 6)
    # Each fifth turn in another language: what was found, not how.
    languages = messages.select(
        "id", "conversation_id", "app_id", "created_at",
        query_language=pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("de"))
        .otherwise(pl.lit("en")), query_confidence=1.0, query_by=pl.lit("text"),
        answer_language=pl.lit("en"), answer_confidence=1.0, answer_by=pl.lit("text"),
    )  # fmt: skip
    frames = (conversations, messages, feedbacks, MESSAGE_LANGUAGE.conform(languages))
    for table, frame in zip(TABLES, frames, strict=True):
        lake.write(table, DAY, frame)


def step(folder: Path) -> None:
    """Run the asset."""
    job = build_definitions(settings_in(folder)).resolve_job_def("daily")
    with dg.DagsterInstance.ephemeral() as instance:
        chosen = [dg.AssetKey(DAILY_PARTIALS.name)]
        job.execute_in_process(QUIET, instance=instance, partition_key=DAY, asset_selection=chosen)


def bare(folder: Path) -> None:
    """Run the plan."""
    lake = open_lake(settings_in(folder))
    conversations, messages, feedbacks, languages = (
        pl.scan_parquet(lake.scan_paths(table, [DAY])) for table in TABLES
    )
    asked_again = rephrased_turns(messages, engine=CPU).lazy()
    partials = daily_partials(
        conversations, messages, feedbacks, day=FIRST, rephrases=asked_again, languages=languages
    ).collect()
    DAILY_PARTIALS.conform(partials).write_parquet(
        folder / "bare.parquet", compression="zstd", compression_level=3, row_group_size=20_000
    )


def warm(folder: Path) -> None:
    """Do both with a tiny day: Dagster imports its storages, a second of them, at first use."""
    tiny = folder / "tiny"
    step(tiny)
    bare(tiny)


def check(folder: Path) -> None:
    """Compare the rows of both."""
    step(folder)
    bare(folder)
    made = open_lake(settings_in(folder)).read(DAILY_PARTIALS, DAY)
    assert_frame_equal(made, pl.read_parquet(folder / "bare.parquet"), check_exact=True)
    print(f"{made.height} partials, the same from both")


def main(turns: int) -> None:
    """Print what both take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone(write_curated, folder, turns // 60 * 60)
        alone(write_curated, folder / "tiny", 60)
        alone(check, folder)
        taken = medians(
            {"bare plan": bare, "Dagster's step": step}, folder, rounds=ROUNDS, before=warm
        )
    print(f"{turns} turns")
    print_beside(taken, "bare plan")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
