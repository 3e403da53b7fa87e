"""The tests of the example: what the platform makes of the definitions."""

from __future__ import annotations

import polars as pl
import pytest
from asked_again_metrics import METRICS

from conversation_analytics.core.derived_metrics import derived_metric

SUMS = {"message_tokens": 900, "answer_tokens": 100, "conversations_active": 4,
        "regenerations": 3, "rephrases": 2, "turns": 20}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "formula", "value"),
    [
        ("asked_again_rate", "(regenerations + rephrases) / turns", 0.25),
        (
            "tokens_per_conversation",
            "(message_tokens + answer_tokens) / conversations_active",
            250,
        ),
    ],
)
def test_the_value_is_what_the_formula_says(name: str, formula: str, value: float) -> None:
    [metric] = [derived_metric(one, "example 1.0") for one in METRICS if one.name == name]
    assert metric.formula == formula
    assert pl.DataFrame(SUMS).select(metric.expression).item() == pytest.approx(value)
    nothing = pl.DataFrame(dict.fromkeys(SUMS, 0))
    assert nothing.select(metric.expression).item() is None
