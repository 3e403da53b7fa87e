"""The statements themselves: every metric has one, and text in them stays text."""

from __future__ import annotations

import datetime as dt

import pytest

from conversation_analytics.core import drill_down
from conversation_analytics.core.drill_down import contribution, conversations_sql
from conversation_analytics.core.errors import QueryError
from conversation_analytics.core.metrics import METRICS, METRICS_BY_NAME, Metric

FIRST, LAST = dt.date(2026, 11, 1), dt.date(2026, 11, 7)


def test_every_metric_has_its_conversations_and_nothing_else_has() -> None:
    assert set(drill_down._WAYS) == set(METRICS_BY_NAME)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_statement_reads_the_days_of_the_figure_by_constants(metric: Metric) -> None:
    sql = conversations_sql(metric, start=FIRST, end=LAST)
    read = sql.count("\n  FROM messages") + sql.count("\n  FROM daily_partials")
    read += sql.count("\n  FROM conversations") + sql.count("\n  FROM feedbacks")
    assert read >= 1
    days = "partition_day BETWEEN DATE '2026-11-01' AND DATE '2026-11-07'"
    assert sql.count(days) == read
    assert f" AS {contribution(metric)}, " in sql


def test_text_is_quoted() -> None:
    sql = conversations_sql(
        METRICS_BY_NAME["cost"], start=FIRST, end=FIRST, app_id="a'); DROP VIEW x; --",
        currency="U'SD", model="m'",
    )  # fmt: skip
    assert "= 'a''); DROP VIEW x; --'" in sql
    assert "= 'U''SD'" in sql
    assert "= 'm'''" in sql


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("errors", {"end": FIRST - dt.timedelta(1)}, "2026-10-31 is before 2026-11-01"),
        ("errors", {"currency": "USD"}, "errors has no currency"),
        ("sessions", {"model": "openai/small"}, r"sessions has no value by model.*error_rate"),
        ("errors", {"app_id": "\udcff"}, "expected Unicode text"),
    ],
)
def test_what_no_figure_has_is_refused(name: str, arguments: dict[str, str], text: str) -> None:
    given: dict[str, object] = {"start": FIRST, "end": LAST, **arguments}
    with pytest.raises(QueryError, match=text):
        conversations_sql(METRICS_BY_NAME[name], **given)  # type: ignore[arg-type]
