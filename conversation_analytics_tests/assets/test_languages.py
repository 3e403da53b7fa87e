"""The asset of languages on the sample source."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.assets.lineage import stale_days
from conversation_analytics.core.languages import (
    MESSAGE_LANGUAGE,
    LanguageOptions,
    message_languages,
)
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.definitions import daily_graph
from conversation_analytics.language.detectors import NaiveBayesDetector
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

DAY = "2026-11-02"


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("languages")
    given = {
        "PARQUET_BASE_DIR": str(folder / "lake"),
        "SQLITE_PATH": str(folder / "documents.sqlite"),
        "ANALYTICS_START_DATE": DAY,
        "SAMPLE_TURNS_PER_DAY": "60",
    }
    assert run_job(parse_settings(given), "daily", DAY).success
    return given


def stale(settings: Settings) -> dict[str, str]:
    with contextlib.closing(open_documents(settings)) as documents:
        days = stale_days(daily_graph(settings), open_lake(settings), documents, settings, [DAY])
        return {one.asset: one.reason for day in days for one in day.assets}


def test_every_turn_has_its_languages(variables: dict[str, str]) -> None:
    lake = open_lake(parse_settings(variables))
    messages, rows = lake.read(MESSAGES, DAY), lake.read(MESSAGE_LANGUAGE, DAY)
    assert rows["id"].sort().to_list() == messages["id"].sort().to_list()
    assert rows.equals(message_languages(messages, NaiveBayesDetector(), LanguageOptions()))
    assert {"en", "th", "zh"} <= set(rows["query_language"])


def test_other_candidates_make_languages_stale_and_what_is_made_of_them(
    variables: dict[str, str],
) -> None:
    assert stale(parse_settings(variables)) == {}
    changed = stale(parse_settings({**variables, "LANGUAGES": "en,th"}))
    assert changed[MESSAGE_LANGUAGE.name] == "made of other inputs or with other settings"
    assert "messages" not in changed
    same = {**variables, "LANGUAGES": "de,fr,pt,es,id,zh,vi,th,en"}
    assert stale(parse_settings(same)) == {}


def test_without_a_translator_nothing_lacks_translations(variables: dict[str, str]) -> None:
    settings = parse_settings({**variables, "TRANSLATOR_URL": "http://localhost:5000"})
    assert stale(settings) == {
        "translations": "missing",
        "translation_documents": "missing",
    }
    assert "translations" not in daily_graph(parse_settings(variables))
