"""Every plan of the analytics is one that the GPU engine takes, which needs no GPU to say so."""

from __future__ import annotations

import datetime as dt
import importlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.conversation_texts import conversation_texts, first_queries
from conversation_analytics.core.daily_report import daily_report_plan
from conversation_analytics.core.engine import CPU, EngineChoice, taken_by
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.metrics import dimension_values, metric_values
from conversation_analytics.core.model_performance import model_performance_plan
from conversation_analytics.core.partials import (
    PartialOptions,
    category_partials,
    daily_partials,
    implausible,
    merge_partials,
    merged_kinds,
    with_regenerated,
)
from conversation_analytics.core.period_report import period_report_plan
from conversation_analytics.core.periods import Period
from conversation_analytics.core.rephrases import pairs_in_haste
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    FEEDBACKS,
    MESSAGES,
)
from conversation_analytics.core.user_analytics import fold_input
from conversation_analytics.lake.encoding import (
    ParquetOptions,
    StoredPart,
    encode,
    read_footer,
    scan_parts,
)
from conversation_analytics_tests.engines import Noting
from conversation_analytics_tests.test_every_engine import made_with

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.date(2026, 10, 25)
_PARTIALS = DAILY_PARTIALS.empty().lazy()
_TURNS = MESSAGES.empty().lazy()
PLANS = {
    "daily partials, nothing but turns": daily_partials(
        CONVERSATIONS.empty().lazy(), _TURNS, day=DAY
    ),
    "daily partials, all there is": daily_partials(
        *(table.empty().lazy() for table in (CONVERSATIONS, MESSAGES, FEEDBACKS)),
        day=DAY,
        rephrases=_TURNS.select("id"),
        languages=MESSAGE_LANGUAGE.empty().lazy(),
        options=PartialOptions("Europe/Berlin", ("[HUMAN]", "Kollegin"), ("shop",)),
    ),
    "category partials": category_partials(_TURNS, CATEGORIES.empty().lazy()),
    "merge": merge_partials(_PARTIALS),
    "kinds that are merged": merged_kinds(_PARTIALS),
    "what the fold of users reads": fold_input(_PARTIALS),
    "daily report": daily_report_plan(_PARTIALS, DAY),
    "report of a period": period_report_plan(_PARTIALS, _PARTIALS, Period.MONTH, DAY),
    "metrics": metric_values(_PARTIALS, days=31),
    "metrics by dimension": dimension_values(_PARTIALS),
    "implausible values": implausible(_TURNS),
    "regenerated turns": with_regenerated(_TURNS),
    "turns that may ask again": pairs_in_haste(_TURNS),
    "models side by side": model_performance_plan(_PARTIALS),
    "first queries": first_queries(_TURNS),
    "texts of conversations": conversation_texts(first_queries(_TURNS)),
}


GPU = Noting(CPU, EngineChoice("gpu", "0"))


def translator_module() -> Any:
    if os.environ.get("GPU_PLANS") == "required":  # `make test-gpu-plans`
        return importlib.import_module("cudf_polars.dsl.translate")
    return pytest.importorskip("cudf_polars.dsl.translate", reason="needs the gpu extra")


def untranslated(plan: pl.LazyFrame) -> list[Any]:
    # The streaming executor asks for the device's memory: not there without a GPU.
    engine = pl.GPUEngine(executor="in-memory")
    translator = translator_module().Translator(plan._ldf.visit(), engine)
    translator.translate_ir()
    return list(translator.errors)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_plan_translates_to_the_gpu(plan: pl.LazyFrame) -> None:
    assert untranslated(plan) == []


def test_a_plan_that_does_not_translate_is_told() -> None:
    assert untranslated(_TURNS.select(pl.col("query").str.split(" "))) != []


def test_every_plan_that_the_road_computes_translates_to_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator_module()
    # What embeds on the device has NumPy's arrays for the device's here.
    monkeypatch.setattr("conversation_analytics.gpu.embedding.open_arrays", lambda _choice: np)
    engine = Noting(CPU, EngineChoice("gpu", "0"))
    made_with(engine, tmp_path)
    assert len(engine.plans) > 50
    assert [errors for plan in engine.plans if (errors := untranslated(plan))] == []


def test_rows_of_the_lake_are_taken_as_a_plan_that_translates() -> None:
    data = encode(MESSAGES.empty(), MESSAGES, ParquetOptions(), {})
    stored = scan_parts([StoredPart("x", data, read_footer(data, MESSAGES, "x"))], MESSAGES)
    assert taken_by(CPU, stored) is stored
    assert untranslated(stored.select("id")) != []
    assert untranslated(taken_by(GPU, stored).select("id")) == []
