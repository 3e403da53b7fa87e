from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal
from html.parser import HTMLParser

import polars as pl
import pytest

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.schemas import CONVERSATIONS, MESSAGES
from conversation_analytics.reports.daily import daily_csv, daily_html, daily_markdown
from conversation_analytics.reports.plot import plot_png

DAY = dt.date(2026, 11, 20)
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
HOSTILE = ("<script>alert(1)</script>", '=HYPERLINK("x")', "+1", "-1", "@sum", "\ttab", "plain")


@pytest.fixture(scope="module")
def report() -> pl.DataFrame:
    rows = [
        {
            "id": f"m{n}", "conversation_id": f"c{n}", "app_id": app, "user_id": f"u{n}",
            "model_id": "model", "created_at": NOON, "answer": "yes", "status": "normal",
            "answer_tokens": 5, "message_tokens": 7, "latency_s": 1.5, "currency": "USD",
            "total_price": Decimal("0.0012345"),
        }
        for n, app in enumerate(HOSTILE)
    ]  # fmt: skip
    messages = pl.DataFrame(rows, schema_overrides={k: MESSAGES.polars[k] for k in rows[0]})
    whole = MESSAGES.conform(pl.concat([MESSAGES.empty(), messages], how="diagonal"))
    partials = daily_partials(CONVERSATIONS.empty().lazy(), whole.lazy())
    return daily_report(partials, DAY)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text = ""
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_app_as_text_and_loads_nothing(report: pl.DataFrame) -> None:
    page = daily_html(report, None, generated_for=DAY)
    tags = Tags()
    tags.feed(page)
    assert "<script>alert(1)" not in page
    assert "<script>alert(1)</script>" in tags.text
    assert [a for a in tags.addresses if not a.startswith(("#", "data:"))] == []
    assert "prefers-color-scheme" in page


def test_the_order_of_rows_changes_neither_page_nor_plot_nor_markdown(report: pl.DataFrame) -> None:
    shuffled = report.sample(fraction=1.0, shuffle=True, seed=3)
    assert daily_html(report, None, generated_for=DAY) == daily_html(
        shuffled, None, generated_for=DAY
    )
    assert daily_markdown(report) == daily_markdown(shuffled)
    assert plot_png(report) == plot_png(shuffled)
    assert plot_png(report).startswith(b"\x89PNG\r\n")


def test_no_cell_of_the_csv_is_a_formula_and_no_value_is_lost(report: pl.DataFrame) -> None:
    rows = list(csv.DictReader(io.StringIO(daily_csv(report))))
    assert len(rows) == report.height
    for row in rows:
        for name, cell in row.items():
            if name != "value":
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), (name, cell)
    told = sorted(Decimal(row["value"]) for row in rows if row["value"])
    assert told == sorted(value for value in report["value"] if value is not None)


def test_the_markdown_names_the_turns_of_the_day(report: pl.DataFrame) -> None:
    text = daily_markdown(report)
    assert "<script>alert(1)" not in text
    assert str(len(HOSTILE)) in text
