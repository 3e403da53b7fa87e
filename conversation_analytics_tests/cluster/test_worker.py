"""What a worker does, called in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.assets.from_source import source_assets
from conversation_analytics.assets.partitions import daily_chain
from conversation_analytics.cluster import worker
from conversation_analytics.cluster.requests import settings_to_send
from conversation_analytics.cluster.versions import differences, versions_here
from conversation_analytics.core.errors import LakeError, WorkerMismatchError
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.schemas import MESSAGE_DEAD_LETTERS, MESSAGES, RAW_MESSAGES
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.lake.frames import message_rows
from conversation_analytics_tests.made_up_packages import put_package
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.cluster.requests import BatchRequest
    from conversation_analytics.lake.store import Lake

DAYS = ("2026-11-09", "2026-11-10")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(tmp_path_factory.mktemp("lake")),
            "ANALYTICS_START_DATE": DAYS[0],
            "SAMPLE_TURNS_PER_DAY": "12",
        }
    )


@pytest.fixture(scope="module")
def lake(settings: Settings) -> Lake:
    job_assets = ["raw_messages"]
    run_job(settings, "daily", DAYS[0], DAYS[-1], assets=job_assets)
    return open_lake(settings)


def request_for(settings: Settings, lake: Lake, step: str = "type_messages") -> BatchRequest:
    tables = (MESSAGES, MESSAGE_DEAD_LETTERS)
    return {
        "versions": versions_here(),
        "settings": settings_to_send(settings, "tcp://127.0.0.1:1"),
        "files": {},
        "step": step,
        "attempt": ("run", step, 0),
        "days": DAYS,
        "begun": {(t.name, day): lake.begin(t, day).version for t in tables for day in DAYS},
    }


def test_the_steps_that_workers_take(settings: Settings) -> None:
    assert worker.steps_for_workers(source_assets(daily_chain(settings))) == {
        "type_conversations", "type_messages", "type_feedbacks", "message_language", "categories",
        "daily_partials", "category_partials", "model_performance",
    }  # fmt: skip


def test_every_output_of_a_step_is_stored(settings: Settings, lake: Lake) -> None:
    done = worker.compute_days(request_for(settings, lake))
    assert set(done["written"]) == {"messages", "message_dead_letters"}
    for day in DAYS:
        told = done["written"]["messages"][day]
        assert told["dagster/row_count"] == lake.row_count(MESSAGES, day) > 0
        assert told["sha256"] == lake.stat(MESSAGES, day).sha256
        assert lake.stat(MESSAGES, day).inputs == {
            "raw_messages": lake.stat(RAW_MESSAGES, day).sha256
        }
        assert lake.row_count(MESSAGE_DEAD_LETTERS, day) == 0


def test_a_repeated_task_finds_what_the_lost_worker_stored(settings: Settings, lake: Lake) -> None:
    for day in DAYS:
        lake.remove(MESSAGES, day)
    request = request_for(settings, lake)  # begun when there was nothing
    first = worker.compute_days(request)["written"]["messages"]
    again = worker.compute_days(request)["written"]["messages"]
    assert [told["changed"] for told in first.values()] == [True, True]
    assert [told["sha256"] for told in again.values()] == [t["sha256"] for t in first.values()]


def test_another_writer_is_noticed(settings: Settings, lake: Lake) -> None:
    request = request_for(settings, lake)
    other = message_rows(3, version="other")
    lake.write(MESSAGES, DAYS[1], other)
    with pytest.raises(PartitionReplacedError, match="another run replaced"):
        worker.compute_days(request)
    assert_frame_equal(lake.read(MESSAGES, DAYS[1]), other)


def test_another_version_is_told_before_anything_is_done(settings: Settings, lake: Lake) -> None:
    request = request_for(settings, lake)
    request["versions"] = {**request["versions"], "polars": "0.1", "conversation-analytics": "f00"}
    request["step"] = "a step that is not there"
    with pytest.raises(WorkerMismatchError) as told:
        worker.compute_days(request)
    assert f"polars: {pl.__version__} there, 0.1 here" in str(told.value)
    assert "conversation-analytics: " in str(told.value)


def test_versions_differ_by_name() -> None:
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == [
        "b: 2 there, 3 here", "c: none there, 4 here",
    ]  # fmt: skip


def test_packages_that_decide_figures_are_among_the_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_package(tmp_path, "more-figures", "m = []\n", {"metrics:m": "m"}, "2.5")
    put_package(tmp_path, "another-source", "s = 1\n", {"sources:s": "s"})
    versions_here.cache_clear()
    without = versions_here()
    monkeypatch.syspath_prepend(str(tmp_path))
    versions_here.cache_clear()
    found = versions_here()
    versions_here.cache_clear()
    assert {**without, "more-figures": "2.5"} == found


def test_a_lake_that_is_not_shared_is_told(settings: Settings, lake: Lake, tmp_path: Path) -> None:
    request = request_for(settings, lake)
    values = {**request["settings"].values, "PARQUET_BASE_DIR": tmp_path / "elsewhere"}
    request["settings"] = Settings(values)
    with pytest.raises(LakeError, match=r"elsewhere, got no such folder: share it .*S3_ENABLED"):
        worker.compute_days(request)
