"""The command line's runs on a machine with a GPU, or what looks like one."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.test_utils import instance_for_test

from conversation_analytics.lane_runs import execute_in_lanes, job_of_process, use_lanes
from conversation_analytics.logs import configure_logs
from conversation_analytics.materialize import UNDATED, failures_of, materialize
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.executors.test_local import FIRST, RANGE, environment
from conversation_analytics_tests.platform import QUIET, run_job
from conversation_analytics_tests.test_road import hashes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def gpu_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A driver that lists a device; what it needs to compute there is not installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: Pretended (UUID: GPU-0000)'\n")
    program.chmod(0o755)
    settings = environment(tmp_path, "lanes") | {"ENABLE_GPU": "true", "GPU_MIN_ROWS": "1"}
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


def test_lanes_are_used_where_a_gpu_is_wanted_and_there(
    gpu_machine: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert use_lanes(parse_settings(gpu_machine))
    assert not use_lanes(parse_settings(gpu_machine | {"ENABLE_GPU": "false"}))
    assert not use_lanes(parse_settings(gpu_machine | {"CUDA_VISIBLE_DEVICES": "-1"}))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not use_lanes(parse_settings(gpu_machine))


def test_a_run_in_lanes_leaves_the_same_bytes_and_tells_of_each_partition(
    gpu_machine: dict[str, str], tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    done = run_job(parse_settings(environment(alone, "in_process")), "daily", FIRST, FIRST)
    heard: list[tuple[str, str | None]] = []
    tags = RANGE | {"dagster/asset_partition_range_end": FIRST}
    with instance_for_test() as instance:
        result = execute_in_lanes(
            "daily", instance, QUIET, tags, [], lambda *one: heard.append(one)
        )
        moved = [
            entry.user_message
            for entry in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            if "instead of a GPU" in entry.user_message
        ]
    assert gpu_machine["GPU_MIN_ROWS"] == "1"
    assert failures_of(result, FIRST) == []
    assert hashes(tmp_path / "lake") == hashes(alone / "lake")
    made = {event.asset_key.path[-1] for event in done.get_asset_materialization_events()
            if event.asset_key}  # fmt: skip
    assert {name for name, _ in heard} == made
    assert {key for _, key in heard} == {FIRST}
    assert any("daily_partials" in one for one in moved)
    assert all("device GPU-0000: cudf-polars" in one for one in moved)


@pytest.mark.usefixtures("gpu_machine")
def test_a_process_that_loads_a_job_logs_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FILE", str(tmp_path / "log.jsonl"))
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    try:
        job_of_process("daily")
        logging.getLogger("conversation_analytics.lake").debug("partition written")
    finally:
        configure_logs(parse_settings({}))
    assert '"partition written"' in (tmp_path / "log.jsonl").read_text()


@pytest.mark.usefixtures("gpu_machine")
def test_what_fails_in_lanes_is_told_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "lake").touch()  # no folder can be made there
    settings = parse_settings(dict(os.environ))
    # Another job than above: Dagster builds each once in a process, with the settings of then.
    failures = materialize(settings, [UNDATED])
    assert failures
    assert all("(rows without a time): LakeError: cannot " in one for one in failures)
