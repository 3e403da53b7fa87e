"""Models side by side against the oracle over the turns of each model."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.metrics import DIMENSION_METRICS, Grain
from conversation_analytics.core.model_performance import MODEL_PERFORMANCE, model_performance
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics_tests.core.metric_rows import (
    DAY,
    conversation_rows,
    message_rows,
    partials_of,
    turn,
)
from conversation_analytics_tests.core.test_period_report import agree
from conversation_analytics_tests.oracles import metrics_oracle

Row = dict[str, Any]


def label(row: Row) -> str | None:
    """Say the model as people do: `provider/model`, where the provider is known."""
    provider, model = row["model_provider"], row["model_id"]
    return f"{provider}/{model}" if provider and model else model or None


@settings(max_examples=25)
@given(conversations=conversation_rows, messages=message_rows)
def test_each_model_is_what_its_turns_say(conversations: list[Row], messages: list[Row]) -> None:
    performance = model_performance(partials_of(conversations, messages), DAY, engine=CPU)
    rows = performance.to_dicts()
    spoken = [row for row in messages if row["invoke_from"] != "debugger"]
    models = {label(row) for row in spoken}
    assert {row["model"] for row in rows if row["turns"]} == models
    # Regenerations and rephrases depend on turns of other models: they are tested as metrics.
    names = [m for m in DIMENSION_METRICS if not m.name.startswith(("regeneration", "rephrase"))]
    for model in models:
        expected = metrics_oracle.report(
            [dict(row) for row in conversations if label(row) == model],
            [dict(row) for row in messages if label(row) == model],
        )
        for row in (one for one in rows if one["model"] == model):
            for metric in names:
                currency = row["currency"] if metric.grain is Grain.APP_CURRENCY else None
                told = row[metric.name]
                told = None if told is None else Decimal(told)
                key = (row["app_id"], metric.name, currency)
                assert agree(told, expected.get(key)), metric.name
        for app in {row["app_id"] for row in rows if row["model"] == model}:
            paid = {
                currency
                for (one, name, currency), cost in expected.items()
                if (one, name) == (app, "cost") and cost is not None
            }
            of_app = [row for row in rows if (row["app_id"], row["model"]) == (app, model)]
            assert {row["currency"] for row in of_app} == (paid or {None})


def test_a_model_of_two_currencies_has_a_row_for_each_alike_but_for_the_money() -> None:
    partials = partials_of([], [turn(currency="USD"), turn(currency="EUR", total_price=Decimal(2))])
    rows = model_performance(partials, DAY, engine=CPU).filter(pl.col("app_id") == "support")
    assert rows.select("currency", "cost", "turns").rows() == [
        ("EUR", Decimal(2), 2), ("USD", Decimal("0.01"), 2),
    ]  # fmt: skip


def test_a_day_without_turns_has_no_models() -> None:
    empty = model_performance(DAILY_PARTIALS.empty().lazy(), dt.date(2026, 3, 1), engine=CPU)
    assert_frame_equal(empty, MODEL_PERFORMANCE.empty())
