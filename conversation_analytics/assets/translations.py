"""Translations of the messages of a day, and their documents."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import (
    DailyChain,
    lake_in,
    told_apart_with,
    translated_with,
)
from conversation_analytics.core.documents import Document, translation_documents
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.languages import MESSAGE_LANGUAGE, languages_of_texts
from conversation_analytics.core.partitions import Described, Partitioned
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.staleness import PENDING
from conversation_analytics.core.translation_confidence import DetectLanguages
from conversation_analytics.core.translation_sending import Budget
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.translations import (
    Road,
    TranslationFacts,
    TranslationOptions,
    translate_day,
)
from conversation_analytics.io_managers.lake_io import column_schema
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.lake.translation_memory import LakeTranslationMemory
from conversation_analytics.language.detectors import NaiveBayesDetector
from conversation_analytics.settings import Settings

DOCUMENTS: Final = "translation_documents"
SKIPPED_WITHOUT_TRANSLATOR: Final = frozenset({TRANSLATIONS.name, DOCUMENTS})
"""The assets that a run leaves out where no engine is configured: they are not stale then."""

_REASON: Final = (
    "skipped: no translator is configured; set TRANSLATOR_URL to a LibreTranslate, or TRANSLATOR"
)


def translation_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the table of translations and its documents."""
    settings = chain.settings
    detect = _detect(settings)
    # Of the process: of a run that Dagster launched, or of all runs of a command.
    budget = Budget(settings.translator_characters_per_run or None)

    @dg.asset(
        name=TRANSLATIONS.name,
        group_name="language",
        io_manager_key="lake_io",
        kinds={"parquet"},
        ins={
            MESSAGES.name: lake_in(MESSAGES),
            MESSAGE_LANGUAGE.name: lake_in(MESSAGE_LANGUAGE),
        },
        output_required=False,
        dagster_type=dg.Any,
        description=f"{TRANSLATIONS.description} What an engine has answered once is in the table "
        "translation_memory, and never asked again. Skipped where no translator is configured.",
        metadata={
            "dagster/column_schema": column_schema(TRANSLATIONS),
            "threads": 1,  # one day after the other: two would send the same texts
        },
        **chain.asset,
    )
    def translations(
        context: dg.AssetExecutionContext,
        translator: dg.ResourceParam[Any],
        lake: dg.ResourceParam[Lake],
        messages: Partitioned[pl.DataFrame],
        message_language: Partitioned[pl.DataFrame],
    ) -> Iterator[dg.Output[Any]]:
        if translator is None:
            context.log.info(_REASON)
            context.log_event(dg.AssetObservation(TRANSLATIONS.name, metadata={"skipped": _REASON}))
            return
        longest = translator.limits.characters
        if budget.limit is not None and budget.limit < longest:
            raise SettingsError(
                f"TRANSLATOR_CHARACTERS_PER_RUN is {budget.limit}, but {translator.engine} takes "
                f"texts of {longest} characters, and such a text would wait for ever: raise it"
            )
        options = TranslationOptions(
            settings.translation_target,
            settings.translation_fields,
            settings.translator_price,
            settings.translator_currency or None,
        )
        road = Road(
            translator,
            LakeTranslationMemory(lake),
            options,
            budget,
            personal_spans,
            detect,
        )

        @retry_if_transient()
        def translate(key: str, frame: pl.DataFrame) -> Described[pl.DataFrame]:
            rows, facts = translate_day(frame, message_language[key], key, road)
            told = _told(facts)
            waiting = {PENDING: str(told["pending"])} if told["pending"] else {}
            return Described(rows, told, translated_with(settings) | waiting)

        yield dg.Output(messages.map(translate))

    @dg.asset(
        name=DOCUMENTS,
        group_name="documents",
        io_manager_key="document_io",
        kinds={"mongodb" if settings.mongodb_uri else "sqlite"},
        dagster_type=dg.Any,
        ins={"rows": lake_in(TRANSLATIONS)},
        description="One document per text that had to be translated, with the translation or why "
        "there is none. Skipped with the translations.",
        metadata={
            "collection": settings.mongodb_translations_collection,
            "documents": "replace",
        },
        **chain.asset,
    )
    def documents(rows: Partitioned[pl.DataFrame]) -> Partitioned[list[Document]]:
        return rows.map(lambda key, frame: translation_documents(frame, key))

    return [translations, documents]


def personal_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where personal data stands in a text that is to be sent."""
    from conversation_analytics.core.personal_data import find  # noqa: PLC0415 - import budget

    return ((span.start, span.end) for span in find(text))


def _detect(settings: Settings) -> DetectLanguages:
    options, _ = told_apart_with(settings)
    return lambda texts: languages_of_texts(texts, NaiveBayesDetector(), options)


def _told(facts: TranslationFacts) -> dict[str, str | int]:
    counts = dataclasses.asdict(facts)
    statuses = counts.pop("statuses")
    pending = sum(rows for name, rows in statuses.items() if name.startswith("pending"))
    return {
        **counts,
        "statuses": ", ".join(f"{name} {rows}" for name, rows in statuses.items()) or "none",
        "pending": pending,
    }
