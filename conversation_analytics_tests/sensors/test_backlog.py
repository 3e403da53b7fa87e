"""Days that wait for translations alone: taken up again until nothing waits, and not for ever."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster._core.test_utils import create_run_for_test
from polars.testing import assert_frame_equal

from conversation_analytics.assets.lineage import StaleDay
from conversation_analytics.core.errors import TranslatorQuotaError
from conversation_analytics.core.staleness import StaleAsset
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.translator import TranslatorLimits
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.sensors import backlog
from conversation_analytics.sensors.backlog import is_backlog, plan_backlog
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.core.translating import WatchedEngine
from conversation_analytics_tests.platform import QUIET, run_job
from conversation_analytics_tests.sensors.ticks import tick, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)
KEYS = ("2026-11-18", "2026-11-19", "2026-11-20")
YESTERDAY = NOW.date() - dt.timedelta(days=1)
ENGINE = WatchedEngine(limits=TranslatorLimits(50, 200))


def watched() -> WatchedEngine:
    return ENGINE


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def day(key: str, reason: str = "7 rows wait for a later run") -> StaleDay:
    names = ("translations", "translation_documents")
    return StaleDay(key, tuple(StaleAsset(name, reason) for name in names))


def planned(
    instance: dg.DagsterInstance, days: list[StaleDay], after: dt.timedelta
) -> tuple[str | None, dict[str, str], str]:
    """Return the day asked for, the tags of its run, and what waits."""
    now = dt.datetime.now(dt.UTC) + after
    requests, waiting = plan_backlog(instance, "daily", days, now)
    assert len(requests) <= 1
    if not requests:
        return None, {}, "; ".join(waiting)
    return requests[0].partition_key, dict(requests[0].tags), ""


def start(
    instance: dg.DagsterInstance, key: str, tags: dict[str, str], *, done: bool = True
) -> None:
    status = dg.DagsterRunStatus.SUCCESS if done else dg.DagsterRunStatus.STARTED
    create_run_for_test(
        instance, job_name="daily", status=status, tags={PARTITION_NAME_TAG: key, **tags}
    )


def test_the_newest_day_comes_first_and_the_next_run_an_hour_after_it(
    instance: dg.DagsterInstance,
) -> None:
    days = [day(key, "missing") for key in KEYS]
    key, tags, _ = planned(instance, days, 0 * HOUR)
    assert key == KEYS[-1]
    start(instance, key, tags)
    left = [*days[:2], day(KEYS[2], "3 rows wait for a later run")]
    assert planned(instance, left, 0.9 * HOUR)[2].startswith("translations wait on 3 days; next")
    assert planned(instance, left, 1.1 * HOUR)[0] == KEYS[-1]
    assert planned(instance, left[:2], 1.1 * HOUR)[0] == KEYS[1]


def test_runs_that_change_nothing_become_rarer_and_days_take_turns(
    instance: dg.DagsterInstance,
) -> None:
    days = [day(key) for key in KEYS]
    asked: list[str] = []
    for pause in (0, 2, 4, 8, 16, 24, 24, 24, 24, 24):
        if pause:
            nothing, _, waits = planned(instance, days, (pause - 0.1) * HOUR)
            assert nothing is None
            assert "that changed nothing" in waits
        key, tags, _ = planned(instance, days, (pause + 0.1) * HOUR)
        assert key is not None
        asked.append(key)
        start(instance, key, tags)
    assert asked[:4] == [*reversed(KEYS), KEYS[-1]]


def test_nothing_is_asked_for_twice_at_once(instance: dg.DagsterInstance) -> None:
    days = [day(key) for key in KEYS]
    start(instance, KEYS[2], {}, done=False)  # a run of the whole day
    key, tags, _ = planned(instance, days, 0 * HOUR)
    assert key == KEYS[1]
    assert planned(instance, days[2:], 0 * HOUR)[2].endswith("all in runs under way")
    start(instance, key, tags, done=False)
    assert planned(instance, days, 99 * HOUR)[2].endswith("a run is under way")


def test_a_day_with_more_to_make_is_no_backlog() -> None:
    assert is_backlog(day(KEYS[0]))
    documents = StaleAsset("translation_documents", "missing")
    assert not is_backlog(StaleDay(KEYS[0], (documents,)))
    assert not is_backlog(StaleDay(KEYS[0], (*day(KEYS[0]).assets, StaleAsset("messages", "x"))))


def settings_of(folder: Path, budget: int) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": YESTERDAY.isoformat(),
            "SAMPLE_TURNS_PER_DAY": "100",
            "TRANSLATOR": "in_process",
            "TRANSLATOR_FACTORY": f"{__name__}:watched",
            "TRANSLATOR_BATCH_CHARACTERS": "200",
            "TRANSLATOR_CHARACTERS_PER_RUN": str(budget),
        }
    )


def answer(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Let the sensor ask, and run what it asks for."""
    [request] = tick("repair_stale", settings, instance).run_requests or []
    chosen = list(request.asset_selection or [])
    assert {str(key.path[-1]) for key in chosen} == {"translations", "translation_documents"}
    done = build_definitions(settings).resolve_job_def("daily").execute_in_process(
        QUIET, partition_key=request.partition_key, instance=instance, tags=request.tags,
        asset_selection=chosen,
    )  # fmt: skip
    assert done.success


def test_with_a_third_of_the_budget_needed_three_runs_translate_a_day_and_send_no_text_twice(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = YESTERDAY.isoformat()
    ENGINE.calls.clear()
    run_job(settings_of(tmp_path / "at once", 0), "daily", key)
    every = sorted(ENGINE.texts)
    total, longest = sum(map(len, every)), max(map(len, every))
    settings = settings_of(tmp_path, max(200, total // 3 + longest))
    assert total > 2 * settings.translator_characters_per_run

    ENGINE.calls.clear()
    monkeypatch.setattr(backlog, "PAUSE", dt.timedelta(0))
    run_job(settings, "daily", key, instance=instance)
    for _ in range(2):
        answer(settings, instance)
    assert told("repair_stale", settings, instance) == "All of 1 days are as they should be."
    assert sorted(ENGINE.texts) == every
    rows = open_lake(settings).read(TRANSLATIONS, key)
    assert set(rows["status"]) == {"translated", "same"}
    documents = open_documents(settings)
    assert {one["status"] for one in documents.find("translations", {})} == {"translated"}
    documents.close()
    at_once = open_lake(settings_of(tmp_path / "at once", 0)).read(TRANSLATIONS, key)
    assert_frame_equal(rows, at_once)


def test_where_no_progress_is_possible_the_sensor_does_not_ask_again_and_again(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = WatchedEngine(error=TranslatorQuotaError("456: used up"))
    monkeypatch.setitem(globals(), "ENGINE", engine)
    settings = settings_of(tmp_path, 0)
    run_job(settings, "daily", YESTERDAY.isoformat(), instance=instance)
    answer(settings, instance)
    assert len(engine.calls) == 2
    assert "after 1 runs that changed nothing" in told("repair_stale", settings, instance)
