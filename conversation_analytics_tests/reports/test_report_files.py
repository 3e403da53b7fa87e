from __future__ import annotations

import csv
import datetime as dt
import io
import re
from decimal import Decimal
from html.parser import HTMLParser

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets.report_types import report_frame_type
from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.metrics import METRICS
from conversation_analytics.core.schemas import DAILY_REPORT
from conversation_analytics.reports import charts
from conversation_analytics.reports.daily import (
    daily_csv,
    daily_drawings,
    daily_html,
    daily_markdown,
)
from conversation_analytics.reports.drawings import picture
from conversation_analytics_tests.core.metric_rows import (
    Row,
    partials_of,
    turn,
)

DAY = dt.date(2026, 11, 20)
HOSTILE = (
    "<script>alert(1)</script>", '=HYPERLINK("x")', "+1", "-1", "@sum", "\ttab", "plain", None,
    "\"quoted\" & <b onclick='x'>", "\u202egnp.exe", "W" * 300, "a|b `c` [d](http://evil.example)",
    "www.evil.example", "me@evil.example", "two\nlines", "客服助手" * 9, "مرحبا", "🎉 party", "$x$",
)  # fmt: skip
METRIC_LINES = len(METRICS)  # over all apps, in one currency


def report_of(rows: list[Row]) -> pl.DataFrame:
    return daily_report(partials_of([], rows), DAY, engine=CPU)


HOURLY = pl.DataFrame({"hour": [3, 4], "turns": [1, 1234]})


def drawn(report: pl.DataFrame, hourly: pl.DataFrame = HOURLY) -> str:
    return picture("A day", daily_drawings(report, hourly))


@pytest.fixture(scope="module")
def report() -> pl.DataFrame:
    return report_of([turn(app_id=app, user_id=f"u{n}") for n, app in enumerate(HOSTILE)])


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


def assert_leads_only_to_reports(addresses: list[str]) -> None:
    """Fragments, pages of this program and the CSV beside one: nothing that the rows name."""
    name = r"((\.\./)?(daily|weekly|monthly)/)?[0-9-]{10}(\.conversations\.csv|\.html)"
    known = re.compile(rf"(#[a-z0-9_-]+|{name}|(\.\./)?((weekly|monthly|users)/)?index\.html)")
    assert [one for one in addresses if not known.fullmatch(one)] == []


def test_the_page_shows_every_app_as_text_and_loads_nothing(report: pl.DataFrame) -> None:
    page = daily_html(report, generated_for=DAY)
    tags = Tags()
    tags.feed(page)
    assert "<script>alert(1)" not in page
    assert "<script>alert(1)</script>" in tags.text
    assert tags.scripts == 1  # the page's own, whose digest the policy names
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    assert_leads_only_to_reports(tags.addresses)
    assert "prefers-color-scheme" in page


def test_the_order_of_rows_changes_neither_page_nor_plot_nor_markdown(report: pl.DataFrame) -> None:
    shuffled = report.sample(fraction=1.0, shuffle=True, seed=3)
    assert daily_html(report, generated_for=DAY) == daily_html(shuffled, generated_for=DAY)
    assert daily_markdown(report) == daily_markdown(shuffled)
    assert drawn(report) == drawn(shuffled)
    assert "Turns by app" in drawn(report)


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
    assert f"| Turns | {len(HOSTILE)} |" in text


def test_every_row_of_a_markdown_table_has_its_cells_and_no_link(report: pl.DataFrame) -> None:
    lines = [line for line in daily_markdown(report).splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    names = 2 + METRIC_LINES
    assert set(widths[:names]) == {3}
    assert len(set(widths[names:])) == 1
    assert len(widths) - names == 2 + len(HOSTILE) + 1
    # Markdown makes links of these by themselves, without any bracket.
    assert not re.search(r"https?:|(?<!\\)@|www\.", "\n".join(lines))


def test_every_bar_and_every_hour_tells_its_number_on_hover() -> None:
    page = daily_html(report_of([turn(app_id="plain")]), generated_for=DAY, hourly=HOURLY)
    assert "<title>04:00, 1,234 turns</title>" in page
    assert "<title>05:00, 0 turns</title>" in page
    assert "<title>plain: 1</title>" in page
    assert "<title>plain: USD 0.0100</title>" in page
    for axis in ("hour of the day, local time", "latency, seconds", ">USD<", ">turns<"):
        assert axis in page


def test_the_dearest_app_is_shown_however_few_its_turns() -> None:
    busy = [turn(app_id=f"busy-{n}") for n in range(14) for _ in range(3)]
    page = daily_html(
        report_of([*busy, turn(app_id="dear", total_price=Decimal(99))]), generated_for=DAY
    )
    assert "<title>dear: USD 99.00</title>" in page


def test_a_day_without_turns_says_so_in_every_chart() -> None:
    hourly = pl.DataFrame(schema={"hour": pl.Int32, "turns": pl.Int64})
    page = daily_html(report_of([]), generated_for=DAY, hourly=hourly)
    assert "<svg" not in page
    for text in ("No turns on this day.", "No latency was measured", "No prices on this day."):
        assert text in page
    assert "No turns." in drawn(report_of([]), hourly)


def test_a_tile_names_the_currency_above_the_amount() -> None:
    rows = [turn(currency=code, total_price=Decimal("49911.54")) for code in ("USD", None)]
    page = daily_html(report_of(rows), generated_for=DAY)
    assert '<div class="name">Cost, USD</div><div class="value">49,911.54</div>' in page
    assert '<div class="name">Cost, unknown currency</div>' in page
    large = daily_html(report_of([turn(total_price=Decimal(123456789))]), generated_for=DAY)
    assert '<div class="value long">123,456,789.00</div>' in large


@pytest.mark.parametrize("label", ["5f0d1c52-8a7e-4b1f-9c36-2d4e6a8b0c11", "W" * 50, "客" * 50])
def test_the_label_of_a_chart_fits_beside_it(label: str) -> None:
    row = charts.Row(label, (1.0,), ("1",))
    drawing = charts.bars("chart", [row], series=("x",), x_title="x").in_page()
    shown = re.search(r'class="label last"[^>]*>([^<]*)<', drawing)
    assert shown
    room = int(re.findall(r'<text class="label last" x="(\d+)"', drawing)[0])
    # Widths of DejaVu Sans, the widest of the fonts a browser takes here, at 12 px.
    widths = {"W": 11.9, "客": 12.0, "…": 12.0, "-": 4.3, "f": 4.2}
    assert sum(widths.get(character, 7.7) for character in shown[1]) <= room


def test_five_hundred_apps_have_their_rows_and_small_charts() -> None:
    page = daily_html(
        report_of([turn(app_id=f"app-{n:03}") for n in range(500)]), generated_for=DAY
    )
    assert page.count("<bdi>app-") == 500
    assert "The 12 apps with most turns; 488 more in the table." in page
    assert len(page) < 1_000_000


def test_a_negative_price_is_told_and_takes_no_report_with_it() -> None:
    report = report_of([turn(total_price=Decimal("-0.5"))])
    assert "USD -0.500" in daily_html(report, generated_for=DAY)
    checked = dg.check_dagster_type(report_frame_type(DAILY_REPORT), report.to_pandas())
    assert checked.success, checked.description


def test_a_negative_count_is_still_refused() -> None:
    report = report_of([turn()]).with_columns(value=-pl.col("value"))
    assert not dg.check_dagster_type(report_frame_type(DAILY_REPORT), report.to_pandas()).success


def test_a_day_without_a_known_latency_has_a_picture_without_it() -> None:
    rows = [turn(app_id=app, latency_s=None) for app in ("a" * 36, "b" * 36)]
    assert "Turns by app" in drawn(report_of(rows))
    assert "Latency" not in drawn(report_of(rows))
    assert "Latency" in drawn(report_of([turn()]))
