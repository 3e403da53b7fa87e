"""Every plan of the analytics is one that the GPU engine takes, which needs no GPU to say so."""

from __future__ import annotations

import datetime as dt
import importlib
import os
from typing import Any

import polars as pl
import pytest

from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.daily_report import daily_report_plan
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.metrics import dimension_values, metric_values
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
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    FEEDBACKS,
    MESSAGES,
)
from conversation_analytics.core.user_analytics import fold_input

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
}


def untranslated(plan: pl.LazyFrame) -> list[Any]:
    if os.environ.get("GPU_PLANS") == "required":  # `make test-gpu-plans`
        translate = importlib.import_module("cudf_polars.dsl.translate")
    else:
        translate = pytest.importorskip("cudf_polars.dsl.translate", reason="needs the gpu extra")
    # The streaming executor asks for the device's memory: not there without a GPU.
    translator = translate.Translator(plan._ldf.visit(), pl.GPUEngine(executor="in-memory"))
    translator.translate_ir()
    return list(translator.errors)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_plan_translates_to_the_gpu(plan: pl.LazyFrame) -> None:
    assert untranslated(plan) == []


def test_a_plan_that_does_not_translate_is_told() -> None:
    assert untranslated(_TURNS.select(pl.col("query").str.split(" "))) != []
