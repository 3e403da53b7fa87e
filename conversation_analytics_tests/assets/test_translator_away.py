"""A translator that fails in the middle of a day: the rest of the day is made, and it is told."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from conversation_analytics.assets.lineage import stale_days
from conversation_analytics.assets.translations import SKIPPED_WITHOUT_TRANSLATOR
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY
from conversation_analytics.definitions import daily_graph
from conversation_analytics.io_managers import retries
from conversation_analytics.materialize import failures_of
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.sensors.run_failures import run_failures
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.alerts.receiver import receiving
from conversation_analytics_tests.language.translators.scripted_server import (
    KEY,
    Answer,
    scripted,
)
from conversation_analytics_tests.platform import run_job
from conversation_analytics_tests.sensors.test_run_failures import config, look

if TYPE_CHECKING:
    from pathlib import Path

DAY = "2026-11-02"
OTHERS = ("de", "es", "fr", "id", "pt", "th", "vi", "zh")
LANGUAGES = Answer(body=[{"code": code, "name": "", "targets": ["en"]} for code in OTHERS])


def answered(text: str) -> Answer:
    return Answer(body={"translatedText": [text]})


def settings_of(folder: Path, url: str) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": DAY,
            "SAMPLE_TURNS_PER_DAY": "40",
            "TRANSLATOR_URL": url,
            "TRANSLATOR_API_KEY": KEY,
            "TRANSLATOR_BATCH_TEXTS": "1",
            "MAX_RETRIES": "0",
        }
    )


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Answer(503, b"starting"), "TranslatorUnavailableError", "Is TRANSLATOR_URL right"),
        (Answer(403, {"error": "banned"}), "TranslatorAuthError", "it refuses TRANSLATOR_API_KEY"),
    ],
    ids=["503", "403"],
)
def test_the_rest_of_the_day_is_made_and_the_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Answer, error: str, words: str
) -> None:
    monkeypatch.setattr(retries, "WAIT_S", 0.0)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        receiving() as receiver,
        scripted(LANGUAGES, answered("one"), answered("two"), fault) as server,
    ):
        settings = settings_of(tmp_path, server.base_url)
        sensor = run_failures(config(receiver.port))
        cursor = look(sensor, instance, None).cursor
        result = run_job(settings, "daily", DAY, instance=instance, raise_on_error=False)
        look(sensor, instance, cursor)
        sent = [json.loads(one.content)["q"][0] for one in server.asked if one.method == "POST"]
    made = {str(event.asset_key.path[-1]) for event in result.get_asset_materialization_events()
            if event.asset_key}  # fmt: skip
    assert made == set(daily_graph(settings)) - SKIPPED_WITHOUT_TRANSLATOR
    checks = result.get_asset_check_evaluations()
    assert checks
    assert all(check.passed for check in checks if check.severity is dg.AssetCheckSeverity.ERROR)

    [failure] = failures_of(result, DAY)
    assert failure.startswith("translations (2026-11-02): ")
    assert words in failure
    [alert] = receiver.requests
    for told in (alert.body.decode(), failure):
        assert KEY not in told
        assert not any(text in told for text in sent)
    assert error in alert.body.decode()
    assert words in alert.body.decode()

    lake = open_lake(settings)
    assert lake.read(TRANSLATION_MEMORY, DAY)["translated"].sort().to_list() == ["one", "two"]
    with contextlib.closing(open_documents(settings)) as documents:
        [day] = stale_days(daily_graph(settings), lake, documents, settings, [DAY])
    assert [(one.asset, one.reason) for one in day.assets] == [
        ("translations", "missing"), ("translation_documents", "missing"),
    ]  # fmt: skip
    with scripted(LANGUAGES, answered("more")) as server:
        again = settings_of(tmp_path, server.base_url)
        assert run_job(again, "daily", DAY).success
        later = [json.loads(one.content)["q"][0] for one in server.asked if one.method == "POST"]
    assert set(sent[:2]).isdisjoint(later)
    assert len(later) == len(set(later))
