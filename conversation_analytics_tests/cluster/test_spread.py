"""Range runs over real Dask processes: the same bytes, each day once, whoever dies."""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from conversation_analytics.cluster import spread as spread_module
from conversation_analytics.cluster.scheduler import ClusterPlace
from conversation_analytics.cluster.spread import FEWEST_DAYS, DaskDays, _batches
from conversation_analytics.cluster.versions import versions_here
from conversation_analytics.core import errors
from conversation_analytics.core.schemas import DAILY_PARTIALS, MESSAGES, RAW_MESSAGES
from conversation_analytics.core.tables import TABLES
from conversation_analytics.definitions import build_definitions
from conversation_analytics.io_managers import retries
from conversation_analytics.materialize import failures_of
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.cluster.dask_processes import DaskProcesses, running_dask
from conversation_analytics_tests.platform import QUIET
from conversation_analytics_tests.test_road import hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from conversation_analytics.stack.seaweedfs import S3Server

FIRST, LAST = "2026-11-09", "2026-11-14"
DAYS = [f"2026-11-{day:02}" for day in range(9, 15)]
RANGE = {
    "dagster/asset_partition_range_start": FIRST,
    "dagster/asset_partition_range_end": LAST,
}
LIGHT = ("raw_conversations", "raw_messages", "raw_feedbacks", "conversations", "messages",
         "feedbacks", "conversation_dead_letters", "message_dead_letters",
         "feedback_dead_letters")  # fmt: skip
"""Assets that need no model, which takes seconds to be read."""


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with running_dask(tmp_path_factory.mktemp("dask")) as found:
        yield found


def settings_in(folder: Path, **more: str) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": FIRST,
            "SAMPLE_TURNS_PER_DAY": "12",
            "SOURCE_FRESH_HOURS": "0",
            **more,
        }
    )


def run(
    settings: Settings,
    assets: Sequence[str] = (),
    spread: DaskDays | None = None,
    on_partition: Callable[[str, str | None], None] = lambda *_: None,
) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """Run the range; return the result and what the run's log says."""
    job = build_definitions(settings, on_partition, spread).resolve_job_def("daily")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            QUIET, instance=instance, tags=RANGE, raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
        )  # fmt: skip
        return result, [one.user_message for one in instance.all_logs(result.run_id)]


def materialized(result: dg.ExecuteInProcessResult) -> Counter[tuple[str, str]]:
    return Counter(
        (event.asset_key.path[-1], event.partition or "")
        for event in result.get_asset_materialization_events()
        if event.asset_key
    )


def reason(result: dg.ExecuteInProcessResult) -> str:
    (told,) = failures_of(result, "days")
    return re.sub(r"0x\w+|pytest-\d+/\w+", "", told)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[tuple[str, str]]]:
    """What a run in one process leaves, and what it materialises."""
    folder = tmp_path_factory.mktemp("alone")
    result, _ = run(settings_in(folder))
    assert result.success
    return folder, materialized(result)


def test_a_cluster_leaves_the_same_bytes(
    dask: DaskProcesses, alone: tuple[Path, Counter[tuple[str, str]]], tmp_path: Path
) -> None:
    settings = settings_in(tmp_path, EXECUTOR="dask", DASK_SCHEDULER_ADDRESS=dask.address)
    heard: Counter[str] = Counter()
    result, log = run(settings, on_partition=lambda asset, _: heard.update([asset]))
    assert result.success
    assert hashes(tmp_path / "lake") == hashes(alone[0] / "lake")
    assert materialized(result) == alone[1]
    assert set(materialized(result).values()) == {1}
    assert heard["daily_partials"] == heard["raw_messages"] == len(DAYS)
    # What the operator sees: of each computed day the worker, of the run the progress.
    partials = [
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(DAILY_PARTIALS.name)
    ]
    assert len({str(told["worker"].value) for told in partials}) == 2
    assert {str(told["dask_dashboard"].value)[-7:] for told in partials} == {"/status"}
    begun = next(line for line in log if line.startswith("daily_partials: 6 days in 6 batches"))
    assert dask.address in begun
    done = [line for line in log if line.startswith("dask_batch step=daily_partials")]
    assert re.search(r"done=6/6 worker=\S+ seconds=\S+ threads=2 elapsed=\S+$", done[-1])
    assert not [line for line in log if line.startswith("dask_batch step=daily_report")]


@pytest.mark.s3
def test_workers_need_no_disk_of_the_run(
    dask: DaskProcesses, s3_server: S3Server, s3_prefix: str, tmp_path: Path
) -> None:
    on_s3 = {
        "S3_ENABLED": "true",
        "S3_BUCKET": s3_server.bucket,
        "S3_ENDPOINT_URL": s3_server.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
    }
    alone = settings_in(tmp_path / "a", **on_s3, S3_PREFIX=f"{s3_prefix}/alone")
    spread = settings_in(tmp_path / "b", **on_s3, S3_PREFIX=f"{s3_prefix}/dask",
                         EXECUTOR="dask", DASK_SCHEDULER_ADDRESS=dask.address)  # fmt: skip
    for settings in (alone, spread):
        assert run(settings, LIGHT)[0].success
    lakes = open_lake(alone), open_lake(spread)
    for table in [one for one in TABLES if one.name in LIGHT]:
        digests = [[lake.stat(table, day).sha256 for day in DAYS] for lake in lakes]
        assert digests[0] == digests[1]
    assert not (tmp_path / "b" / "lake").exists()


@pytest.mark.chaos
def test_a_killed_worker_loses_no_day(
    alone: tuple[Path, Counter[tuple[str, str]]], tmp_path: Path
) -> None:
    with running_dask(tmp_path) as dask:
        killed = threading.Event()

        def on_partition(asset: str, _day: str | None) -> None:
            if asset == MESSAGES.name and not killed.is_set():
                killed.set()  # the first day is stored: both workers are at others
                dask.kill_worker()

        settings = settings_in(tmp_path, EXECUTOR="dask", DASK_SCHEDULER_ADDRESS=dask.address)
        result, log = run(settings, LIGHT, on_partition=on_partition)
        assert dask.workers[0].wait(10) != 0
    assert result.success
    assert killed.is_set()
    light = {key: times for key, times in alone[1].items() if key[0] in LIGHT}
    assert materialized(result) == light
    assert set(light.values()) == {1}
    for name in LIGHT:
        assert hashes(tmp_path / "lake" / name) == hashes(alone[0] / "lake" / name)
    done = [line for line in log if line.startswith("dask_batch step=type_messages")]
    assert "threads=1" in done[-1]


def test_an_error_is_the_same_as_in_one_process(dask: DaskProcesses, tmp_path: Path) -> None:
    told = []
    for more in ({}, {"EXECUTOR": "dask", "DASK_SCHEDULER_ADDRESS": dask.address}):
        folder = tmp_path / more.get("EXECUTOR", "alone")
        settings = settings_in(folder, **more)
        assert run(settings, ["raw_messages"])[0].success
        (torn,) = (folder / "lake" / RAW_MESSAGES.name).rglob("day=11/*.parquet")
        torn.write_bytes(torn.read_bytes()[:-100])
        result, _ = run(settings, ["messages", "message_dead_letters"])
        told.append(reason(result).replace(str(folder), ""))
        # Permanent: tried once. The days of other batches are stored.
        assert not [e for e in result.all_events if e.is_step_restarted]
        assert MESSAGES.name in {path.name for path in (folder / "lake").iterdir()}
    assert told[0] == told[1]
    assert "day=11" in told[0]


def test_workers_of_another_version_are_told(
    dask: DaskProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {**versions_here(), "pyarrow": "1.2.3"}
    monkeypatch.setattr(spread_module, "versions_here", lambda: versions)
    settings = settings_in(tmp_path, EXECUTOR="dask", DASK_SCHEDULER_ADDRESS=dask.address)
    result, _ = run(settings, ["raw_messages", "messages", "message_dead_letters"])
    assert re.search(r"worker \S+: expected the versions .* pyarrow: \S+ there, 1\.2\.3 here",
                     reason(result))  # fmt: skip
    assert not open_lake(settings).keys(MESSAGES)


@pytest.mark.parametrize("died", ["workers", "scheduler"])
@pytest.mark.chaos
def test_a_cluster_that_goes_away_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, died: str
) -> None:
    monkeypatch.setattr(retries, "WAIT_S", 0.0)
    monkeypatch.setattr(retries, "MAX_RETRIES", 1)
    with running_dask(tmp_path, workers=1) as dask:

        def on_partition(asset: str, day: str | None) -> None:
            if asset == MESSAGES.name and day == FIRST:
                dask.kill_worker()
                if died == "scheduler":
                    dask.kill_scheduler()

        settings = settings_in(tmp_path)
        place = ClusterPlace(dask.address, 1, no_workers_s=1.0, connect_s=1.0)
        with DaskDays(settings, place) as days:
            result, _ = run(settings, LIGHT, days, on_partition)
        (failed,) = result.get_step_failure_events()
        assert failed.step_key == "type_messages"
        assert len([e for e in result.all_events if e.is_step_restarted]) == 1  # transient
        expected = (
            "expected workers, got none in 1 s" if died == "workers" else "expected an answer"
        )
        assert f"Dask scheduler {dask.address}: {expected}" in reason(result)


def test_a_short_range_stays_in_the_runs_process(tmp_path: Path) -> None:
    days = DaskDays(settings_in(tmp_path), ClusterPlace("tcp://127.0.0.1:9", 1))
    assert [days.takes("type_messages", n) for n in (1, FEWEST_DAYS - 1, FEWEST_DAYS)] == [
        False, False, True,
    ]  # fmt: skip
    assert not days.takes("raw_messages", 90)


@pytest.mark.parametrize("threads", [1, 2, 7, 1000])
@pytest.mark.parametrize("days", [1, 4, 31, 90])
def test_batches_hold_each_day_once(days: int, threads: int) -> None:
    keys = tuple(f"{n:03}" for n in range(days))
    batches = list(_batches(keys, threads))
    assert [key for batch in batches for key in batch] == list(keys)
    assert max(map(len, batches)) <= 4


@pytest.mark.parametrize("executor", ["dask", "dask_steps"])
def test_dask_that_is_not_installed_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(errors.SettingsError, match=r"install the extra .*\[dask\]"):
        build_definitions(settings_in(tmp_path, EXECUTOR=executor))


def test_errors_of_a_cluster_decide_over_repeats() -> None:
    assert issubclass(errors.ClusterUnavailableError, errors.TransientError)
    assert issubclass(errors.WorkerMismatchError, errors.PermanentError)
