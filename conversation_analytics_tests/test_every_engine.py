"""Every engine gives the same lake, byte for byte, and each partition tells which one made it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from conversation_analytics.core.engine import CPU, CpuEngine, EngineChoice
from conversation_analytics.resources.engines import ENGINE
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.engines import STREAMING, Noting
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.core.engine import Engine

SUNDAY, MONDAY, TUESDAY = "2026-11-08", "2026-11-09", "2026-11-10"
JOBS = {
    "daily": (SUNDAY, TUESDAY),
    "weekly": ("2026-11-02", MONDAY),
    "monthly": ("2026-11-01", "2026-11-01"),
    "users": (None, None),
    "topics": ("2026-11-02", MONDAY),
}


def settings_of(folder: Path, **changed: str) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": "2026-11-01",
            "SAMPLE_TURNS_PER_DAY": "150",
            "SOURCE_FRESH_HOURS": "0",
            "TOPIC_MIN_USERS": "2",
            "TOPIC_MIN_CONVERSATIONS": "3",
            **changed,
        }
    )


def made_with(engine: Engine, folder: Path, jobs: tuple[str, ...] = tuple(JOBS)) -> dict[str, str]:
    """Run the jobs, and return the digest of every file of the lake."""
    settings = settings_of(folder)
    with dg.instance_for_test() as instance, ENGINE.using(engine):
        for job in jobs:
            assert run_job(settings, job, *JOBS[job], instance=instance).success
    root = folder / "lake"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_streaming_changes_no_byte_of_the_lake(tmp_path: Path) -> None:
    plain, streaming = Noting(CPU), Noting(STREAMING)
    expected = made_with(plain, tmp_path / "plain")
    found = made_with(streaming, tmp_path / "streaming")
    assert len(plain.plans) == len(streaming.plans) > 50
    assert {name.split("/")[0] for name in expected} >= {
        "messages", "daily_partials", "daily_report", "weekly_report", "monthly_report",
        "model_performance", "category_partials", "message_language", "categories", "topics",
        "user_analytics", "user_growth", "user_cohorts", "reports",
    }  # fmt: skip
    assert {name for name in expected if found.get(name) != expected[name]} == set()
    assert found.keys() == expected.keys()


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (EngineChoice(), {"engine": "cpu"}),
        (EngineChoice("cpu-streaming"), {"engine": "cpu-streaming"}),
        (
            EngineChoice("cpu-streaming", "0", "device 0 is out of memory", 2**30),
            {"engine": "cpu-streaming", "device": "0", "because": "device 0 is out of memory"},
        ),
    ],
    ids=["in memory", "streaming", "after a GPU"],
)
def test_every_partition_tells_what_computed_it(
    tmp_path: Path, choice: EngineChoice, told: dict[str, str]
) -> None:
    with dg.instance_for_test() as instance, ENGINE.using(CpuEngine(choice)):
        result = run_job(settings_of(tmp_path), "daily", MONDAY, instance=instance)
    events = [event.materialization for event in result.get_asset_materialization_events()]
    stored = [event for event in events if "seconds" in event.metadata]
    names = {event.asset_key.path[-1] for event in stored}
    assert names >= {"raw_messages", "messages", "daily_partials", "daily_report"}
    assert names >= {"conversation_documents", "message_documents", "report_documents"}
    for event in stored:
        values = {name: value.value for name, value in event.metadata.items()}
        assert {name: values.get(name) for name in ("engine", "device", "because")} == {
            "device": None, "because": None, **told,
        }  # fmt: skip
        assert isinstance(values["seconds"], float)
        assert ("size_bytes" in values) is ("path" in values)  # a file of the lake
