from __future__ import annotations

import re
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets.partitions import daily_chain, translated_with
from conversation_analytics.assets.translations import translation_assets
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.staleness import PENDING
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY, TRANSLATIONS
from conversation_analytics.core.translator import TranslatorLimits
from conversation_analytics.definitions import _resources
from conversation_analytics.lake.sql import open_sql
from conversation_analytics.materialize import failures_of
from conversation_analytics.resources.connections import open_documents, open_lake, open_translator
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.commands import ROOT
from conversation_analytics_tests.core.translating import WatchedEngine, day_of
from conversation_analytics_tests.platform import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIRST, SECOND = "2026-11-20", "2026-11-21"
ENGINE = WatchedEngine(limits=TranslatorLimits(50, 200))


def watched() -> WatchedEngine:
    return ENGINE


@pytest.fixture(autouse=True)
def nothing_was_asked() -> None:
    ENGINE.calls.clear()


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[..., Settings]:
    def build(**changes: str) -> Settings:
        return parse_settings(
            {
                "PARQUET_BASE_DIR": str(tmp_path / "lake"),
                "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
                **changes,
            }
        )

    return build


def translating(**changes: str) -> dict[str, str]:
    return {
        "TRANSLATOR": "in_process",
        "TRANSLATOR_FACTORY": f"{__name__}:watched",
        "TRANSLATOR_PRICE": "20",
        "TRANSLATOR_CURRENCY": "EUR",
        **changes,
    }


def write_day(settings: Settings, day: str, *texts: tuple[str, str] | str) -> None:
    rows, languages = day_of(*texts)
    missing = [pl.lit(None, column.dtype).alias(column.name) for column in MESSAGES.columns
               if column.name not in rows.columns]  # fmt: skip
    lake = open_lake(settings)
    lake.write(MESSAGES, day, rows.with_columns(missing).select(MESSAGES.polars.names()))
    decided = pl.lit("detector")
    told = languages.with_columns(
        conversation_id=pl.lit("c1"), app_id=pl.lit(None), created_at=rows["created_at"],
        query_by=decided, answer_by=decided,
    )  # fmt: skip
    lake.write(MESSAGE_LANGUAGE, day, MESSAGE_LANGUAGE.conform(told))


def definitions_of(settings: Settings) -> dg.Definitions:
    assets = translation_assets(daily_chain(settings))
    partitions = daily_chain(settings).partitions
    upstream = [
        dg.AssetSpec(name, partitions_def=partitions)
        for name in (MESSAGES.name, MESSAGE_LANGUAGE.name)
    ]
    job = dg.define_asset_job("translate", dg.AssetSelection.assets(*assets))
    return dg.Definitions(
        assets=[*assets, *upstream], jobs=[job], resources=_resources(settings, lambda _a, _p: None)
    )


def run(
    settings: Settings, first: str, last: str, definitions: dg.Definitions | None = None
) -> dg.ExecuteInProcessResult:
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    job = (definitions or definitions_of(settings)).resolve_job_def("translate")
    return job.execute_in_process(QUIET, tags=tags, raise_on_error=False)


def test_days_are_translated_into_the_lake_and_the_documents(
    settings_of: Callable[..., Settings],
) -> None:
    settings = settings_of(**translating())
    write_day(settings, FIRST, "a dog", ("hello", "en"), "a dog")
    write_day(settings, SECOND, "a dog", "a cat")
    result = run(settings, FIRST, SECOND)
    assert result.success
    lake = open_lake(settings)
    frames = [lake.read(TRANSLATIONS, day) for day in (FIRST, SECOND)]
    assert [frame["translated"].to_list() for frame in frames] == [
        ["A DOG", None, "A DOG"], ["A DOG", "A CAT"],
    ]  # fmt: skip
    assert sorted(ENGINE.texts) == ["a cat", "a dog"]
    assert lake.keys(TRANSLATION_MEMORY) == [FIRST, SECOND]
    assert lake.stat(TRANSLATIONS, FIRST).inputs.keys() == {
        "messages", "message_language", *translated_with(settings),
    }  # fmt: skip
    with_documents = open_documents(settings)
    found = with_documents.find("translations", {"day": SECOND}, sort=[("message_id", 1)])
    with_documents.close()
    assert [(one["text_sha256"] is not None, one["translated"]) for one in found] == [
        (True, "A DOG"), (True, "A CAT"),
    ]  # fmt: skip
    assert {one["source_language"] for one in found} == {"th"}
    shown = str(result.all_events)
    assert "A DOG" not in shown
    assert "a dog" not in shown


def test_a_day_made_again_has_the_same_bytes_and_asks_nobody(
    settings_of: Callable[..., Settings],
) -> None:
    settings = settings_of(**translating())
    write_day(settings, FIRST, "a dog", "see https://x.example now")
    assert run(settings, FIRST, FIRST).success
    before = open_lake(settings).stat(TRANSLATIONS, FIRST).sha256
    ENGINE.calls.clear()
    assert run(settings, FIRST, FIRST).success
    assert ENGINE.calls == []
    assert open_lake(settings).stat(TRANSLATIONS, FIRST).sha256 == before


A_THIRD = {"TRANSLATOR_CHARACTERS_PER_RUN": "200", "TRANSLATOR_BATCH_CHARACTERS": "200"}
LONG = [f"{word}" + " goes for a walk" * 6 for word in ("dog", "cat", "hen", "cow", "ant", "bee")]
"""Texts of 99 characters: two of them are a budget."""


def pending(settings: Settings, day: str) -> tuple[str | None, int]:
    """Return what the day's partition says of rows that wait, and how many do."""
    lake = open_lake(settings)
    statuses = lake.read(TRANSLATIONS, day)["status"].to_list()
    return lake.stat(TRANSLATIONS, day).inputs.get(PENDING), statuses.count("pending")


def test_the_budget_is_of_the_run_and_pending_rows_are_told(
    settings_of: Callable[..., Settings],
) -> None:
    settings = settings_of(**translating(**A_THIRD))
    write_day(settings, FIRST, *LONG[:2])
    write_day(settings, SECOND, LONG[2])
    result = run(settings, FIRST, SECOND)
    assert result.success
    events = result.asset_materializations_for_node("translations")
    told = {event.partition: event.metadata["pending"].value for event in events}
    assert told == {FIRST: 0, SECOND: 1}
    assert pending(settings, FIRST) == (None, 0)
    assert pending(settings, SECOND) == ("1", 1)
    assert run(settings, SECOND, SECOND).success
    assert pending(settings, SECOND) == (None, 0)


def test_the_runs_of_a_command_have_one_budget(settings_of: Callable[..., Settings]) -> None:
    settings = settings_of(**translating(**A_THIRD))
    write_day(settings, FIRST, *LONG[:2])
    write_day(settings, SECOND, *LONG[2:4])
    command = definitions_of(settings)
    for day in (FIRST, SECOND):
        assert run(settings, day, day, command).success
    assert pending(settings, FIRST) == (None, 0)
    assert pending(settings, SECOND) == ("2", 2)
    assert run(settings, SECOND, SECOND).success
    assert sorted(ENGINE.texts) == sorted(LONG[:4])


def test_a_budget_that_a_text_may_not_fit_into_is_refused(
    settings_of: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(**translating(**A_THIRD))
    write_day(settings, FIRST, "a dog")
    monkeypatch.setattr(ENGINE, "limits", TranslatorLimits(50, 201))
    [failure] = failures_of(run(settings, FIRST, FIRST), FIRST)
    assert "TRANSLATOR_CHARACTERS_PER_RUN is 200, but watched takes texts of 201" in failure
    assert ENGINE.calls == []


def test_without_a_translator_both_are_skipped_and_the_run_succeeds(
    settings_of: Callable[..., Settings],
) -> None:
    settings = settings_of()
    assert open_translator(settings) is None
    write_day(settings, FIRST, "a dog")
    result = run(settings, FIRST, FIRST)
    assert result.success
    assert result.get_asset_materialization_events() == []
    [seen] = result.get_asset_observation_events()
    assert "TRANSLATOR_URL" in str(
        seen.asset_observation_data.asset_observation.metadata["skipped"]
    )
    skipped = [event.step_key for event in result.all_events if event.is_step_skipped]
    assert skipped == ["translation_documents"]
    assert not open_lake(settings).exists(TRANSLATIONS, FIRST)


def test_the_documented_sql_runs(settings_of: Callable[..., Settings]) -> None:
    settings = settings_of(**translating())
    write_day(settings, SECOND, "a dog", ("hello", "en"), "a cat")
    assert run(settings, SECOND, SECOND).success
    text = (ROOT / "docs" / "translations.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    with open_sql(open_lake(settings)) as lake_sql:
        answers = [
            [row for batch in lake_sql.query(sql).batches for row in batch.to_pylist()]
            for sql in filter(str.strip, block.split(";"))
        ]
    assert answers[0] == []
    assert [row["characters"] for row in answers[1]] == [10]
    assert [row["translated"] for row in answers[2]] == ["A DOG", "A CAT"]


def test_an_engine_gets_no_personal_data(settings_of: Callable[..., Settings]) -> None:
    settings = settings_of(**translating())
    write_day(settings, FIRST, "call +66 81 234 5678 now")
    assert run(settings, FIRST, FIRST).success
    assert ENGINE.texts == ["call ZX0Z now"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, ""),
        ({"TRANSLATOR_URL": "http://localhost:5000"}, "LibreTranslate"),
        ({"TRANSLATOR_URL": "http://localhost:5000", "TRANSLATOR": "none"}, ""),
        ({"TRANSLATOR": "deepl", "TRANSLATOR_API_KEY": "k:fx"}, "DeepL"),
        ({"TRANSLATOR": "openai", "TRANSLATOR_URL": "http://x/v1", "TRANSLATOR_MODEL": "m"},
         "OpenAIChat"),
        ({"TRANSLATOR": "apertium", "TRANSLATOR_URL": "http://x:2737"}, "Apertium"),
        (translating(), "WatchedEngine"),
    ],
)  # fmt: skip
def test_the_engine_is_the_one_of_the_settings(changes: dict[str, str], kind: str) -> None:
    opened = open_translator(parse_settings(changes))
    assert ("" if opened is None else type(opened).__name__) == kind


@pytest.mark.parametrize(
    "changes",
    [
        {"TRANSLATOR": "libretranslate"}, {"TRANSLATOR": "deepl"},
        {"TRANSLATOR": "openai", "TRANSLATOR_URL": "http://x"}, {"TRANSLATOR": "in_process"},
        {"TRANSLATOR_PRICE": "20"}, {"TRANSLATOR_PRICE": "-1"}, {"TRANSLATION_FIELDS": "name"},
        {"TRANSLATION_TARGET": "auto"}, translating(TRANSLATOR_CHARACTERS_PER_RUN="4999"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="TRANSLAT"):
        parse_settings(changes)


def test_a_purged_text_leaves_the_memory_when_its_day_is_made_again(
    settings_of: Callable[..., Settings],
) -> None:
    settings = settings_of(**translating(GONE_ROWS="purge"))
    write_day(settings, FIRST, "I am Anna", "a dog")
    write_day(settings, SECOND, "a cat")
    assert run(settings, FIRST, SECOND).success
    lake = open_lake(settings)
    write_day(settings, FIRST, "a dog")  # as `land` leaves it: the source deleted the row
    assert run(settings, FIRST, FIRST).success
    held = {day: lake.read(TRANSLATION_MEMORY, day)["translated"].to_list()
            for day in (FIRST, SECOND)}  # fmt: skip
    assert held == {FIRST: ["A DOG"], SECOND: ["A CAT"]}
    assert lake.read(TRANSLATIONS, FIRST)["translated"].to_list() == ["A DOG"]
    assert ENGINE.texts.count("a dog") == 1
