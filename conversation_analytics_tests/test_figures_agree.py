"""A figure of a week is the same to the last digit wherever it is read."""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from conversation_analytics.core.metrics import METRICS, METRICS_BY_NAME, Grain
from conversation_analytics.core.schemas import DAILY_PARTIALS, WEEKLY_REPORT
from conversation_analytics.lake.sql import open_sql
from conversation_analytics.reports.markup import csv_text, html_text, markdown_text
from conversation_analytics.reports.values import app_label, currency_label, value_text
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.core.metric_rows import Row, conversation, partials_of, turn
from conversation_analytics_tests.core.test_same_bytes import OPTIONS, ugly_turns
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

MONDAY = dt.date(2026, 3, 2)
DAYS = [MONDAY + dt.timedelta(days=n) for n in (-3, 0, 1, 4)]
APPS = ["<script>alert(1)</script>", "../../etc", "=cmd()|'", 'a"b,c', "line\nend", "\u202ertl"]
Figure = tuple[str | None, str | None, str | None, str, str | None]
"""App, dimension, label, metric, currency."""
Told = dict[Figure, tuple[Decimal | None, Decimal | None]]


@pytest.fixture(params=["sqlite", pytest.param("mongodb", marks=pytest.mark.mongodb)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "sqlite":
        return {"SQLITE_PATH": str(tmp_path / "documents.sqlite")}
    return {
        "MONGODB_URI": request.getfixturevalue("mongodb_uri"),
        "MONGODB_DATABASE": f"figures_{tmp_path.name}",
    }


def rows_of(day: dt.date, draw: random.Random) -> tuple[list[Row], list[Row], list[Row]]:
    noon = dt.datetime.combine(day, dt.time(6), tzinfo=dt.UTC)
    turns = ugly_turns(day, draw) + [
        turn(
            id=f"{day}-{app}", app_id=app, model_id=app, currency=app, conversation_id=app,
            inputs='{"plan":"$where"}', created_at=noon, total_price=Decimal("-0.0000001"),
        )
        for app in APPS
    ]  # fmt: skip
    ratings = [
        {
            "app_id": draw.choice([None, *APPS]), "conversation_id": f"c{n % 4}",
            "message_id": f"{day}-{n}", "rating": draw.choice(["like", "dislike"]),
            "from_source": "user", "gone": False, "created_at": noon,
        }
        for n in range(9)
    ]  # fmt: skip
    return [conversation(app_id=app) for app in APPS], turns, ratings


def test_a_figure_of_a_week_is_the_same_wherever_it_is_read(
    tmp_path: Path, where: dict[str, str]
) -> None:
    settings = parse_settings(
        {
            "PARQUET_BASE_DIR": str(tmp_path / "lake"),
            "ANALYTICS_START_DATE": DAYS[0].isoformat(),
            **where,
        }
    )
    lake, draw, key = open_lake(settings), random.Random(5), MONDAY.isoformat()
    for day in DAYS:
        plan = partials_of(*rows_of(day, draw), day=day, options=OPTIONS)
        lake.write(DAILY_PARTIALS, day.isoformat(), DAILY_PARTIALS.conform(plan.collect()))
    with dg.DagsterInstance.ephemeral() as instance:
        run_job(settings, "weekly", key, instance=instance)

    stored = lake.read(WEEKLY_REPORT, key)
    columns = ("app_id", "dimension", "label", "metric", "currency", "value", "previous")
    parquet: Told = {
        (app, *figure): (value, previous)
        for app, *figure, value, previous in stored.select(columns).iter_rows()
    }
    assert len(parquet) == stored.height
    assert {figure[3] for figure in parquet} == set(METRICS_BY_NAME)
    assert set(APPS) < {figure[0] for figure in parquet}
    known = {figure[3] for figure, both in parquet.items() if None not in both}
    assert known == set(METRICS_BY_NAME)

    statement = f"SELECT {', '.join(columns)} FROM weekly_report WHERE start = DATE '{key}'"
    in_sql: Told = {}
    with open_sql(lake) as sql:
        for batch in sql.query(statement).batches:
            for app, *figure, value, previous in zip(*batch.to_pydict().values(), strict=True):
                in_sql[app, *figure] = (value, previous)
    assert in_sql == parquet

    store = open_documents(settings)
    try:
        documents = store.find("analytics_reports", {"period": "weekly", "day": key})
    finally:
        store.close()
    assert from_documents(documents) == parquet

    text = lake.get_report(f"weekly/{key}.csv").decode()
    assert from_csv(text) == {
        (in_csv(figure[0], "app"), *(in_csv(name) for name in figure[1:])): both
        for figure, both in parquet.items()
    }

    page = lake.get_report(f"weekly/{key}.html").decode()
    markdown = lake.get_report(f"weekly/{key}.md").decode()
    shown = re.findall(r"<tr(?: id=\"metric-\w+\")?><td>([^<]*)</td><td>([^<]*)</td>", page)
    lines = [line.split(" | ") for line in markdown.splitlines()]
    in_markdown = {(line[0].removeprefix("| "), line[1]) for line in lines if len(line) > 2}
    for metric in METRICS:
        currencies = {f[4] for f in parquet if f[:4] == (None, None, None, metric.name)}
        for currency in currencies:
            value, _ = parquet[None, None, None, metric.name, currency]
            told = value_text(metric, value, currency)
            of = f", {currency_label(currency)}" if metric.grain is Grain.APP_CURRENCY else ""
            assert (html_text(metric.title + of), html_text(told)) in shown, metric.name
            assert (markdown_text(metric.title), markdown_text(told)) in in_markdown, metric.name


def from_documents(documents: list[dict[str, Any]]) -> Told:
    return {
        (
            document["app_id"], one.get("dimension"), one.get("label"), one["name"],
            one["currency"],
        ): (one["value"], one["previous"])
        for document in documents
        for one in document["metrics"]
    }  # fmt: skip


def from_csv(text: str) -> dict[tuple[str, ...], tuple[Decimal | None, Decimal | None]]:
    def number(cell: str) -> Decimal | None:
        return Decimal(cell) if cell else None

    return {
        (row["app_id"], row["dimension"], row["label"], row["metric"], row["currency"]): (
            number(row["value"]), number(row["previous"]),
        )
        for row in csv.DictReader(io.StringIO(text, newline=""))
    }  # fmt: skip


def in_csv(name: str | None, column: str = "") -> str:
    if column == "app":
        return csv_text("(all apps)" if name is None else app_label(name))
    return csv_text(name or "")
