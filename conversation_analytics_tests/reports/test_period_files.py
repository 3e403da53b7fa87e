from __future__ import annotations

import csv
import datetime as dt
import html
import io
import re
from decimal import Decimal

import polars as pl
import pytest

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.drill_down import conversations_sql
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.hourly import hours_of_week
from conversation_analytics.core.metrics import METRICS, METRICS_BY_NAME, Grain
from conversation_analytics.core.model_performance import model_performance
from conversation_analytics.core.partials import PartialOptions, partials_of_days
from conversation_analytics.core.period_report import period_report
from conversation_analytics.core.periods import Period, Span
from conversation_analytics.core.schemas import DAILY_REPORT
from conversation_analytics.reports import charts, tables
from conversation_analytics.reports.daily import daily_html
from conversation_analytics.reports.labels import labels_of_period, models_of_day
from conversation_analytics.reports.period import (
    PeriodReport,
    period_csv,
    period_html,
    period_markdown,
)
from conversation_analytics_tests.core.metric_rows import Row, conversation, partials_of, turn
from conversation_analytics_tests.reports.test_report_files import (
    HOSTILE,
    Tags,
    assert_leads_only_to_reports,
)

MONDAY, TUESDAY = dt.date(2026, 11, 16), dt.date(2026, 11, 17)
OPTIONS = PartialOptions(input_dimensions=("plan",))


def at(day: dt.date, hour: int = 9) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(hour), tzinfo=dt.UTC)


def shown(
    days: dict[dt.date, list[Row]],
    before: dict[dt.date, list[Row]] | None = None,
    period: Period = Period.WEEK,
) -> PeriodReport:
    start = period.start_of(min(days))
    own, then = (
        {day: partials_of([], rows, day=day, options=OPTIONS).collect() for day, rows in of.items()}
        for of in (days, before or {})
    )
    report = period_report(
        partials_of_days(own.values()),
        partials_of_days(then.values()),
        period,
        start,
        engine=CPU,
    )
    reports = [daily_report(frame.lazy(), day, engine=CPU) for day, frame in own.items()]
    return PeriodReport(
        Span.of(period, start), report, pl.concat([DAILY_REPORT.empty(), *reports]),
        hours_of_week(pl.concat(own.values())),
    )  # fmt: skip


def hostile_rows(day: dt.date) -> list[Row]:
    return [
        turn(
            app_id=text, user_id=f"u{n}", model_id=text, model_provider=text, currency=text,
            inputs=f'{{"plan":"<i>{n}</i>"}}', conversation_id=f"c{n}", created_at=at(day),
        )
        for n, text in enumerate(HOSTILE)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def hostile() -> PeriodReport:
    return shown({MONDAY: hostile_rows(MONDAY), TUESDAY: hostile_rows(TUESDAY)})


def test_hostile_names_are_text_and_the_page_loads_nothing(hostile: PeriodReport) -> None:
    page = period_html(hostile)
    tags = Tags()
    tags.feed(page)
    assert "<script>alert(1)" not in page
    assert "<i>" not in page
    assert "<b onclick" not in page
    assert "<script>alert(1)</script>" in tags.text
    assert tags.scripts == 1
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    assert not re.search(r'<[^>]* (on[a-z]+|style)="', page)  # the policy would refuse them
    assert_leads_only_to_reports(tags.addresses)


def test_the_order_of_rows_changes_nothing(hostile: PeriodReport) -> None:
    mixed = PeriodReport(
        hostile.span,
        hostile.report.sample(fraction=1.0, shuffle=True, seed=3),
        hostile.days.sample(fraction=1.0, shuffle=True, seed=4),
        hostile.hours.sample(fraction=1.0, shuffle=True, seed=5),
    )
    assert period_html(mixed) == period_html(hostile)
    assert period_markdown(mixed) == period_markdown(hostile)


def test_no_cell_of_the_csv_is_a_formula(hostile: PeriodReport) -> None:
    rows = list(csv.DictReader(io.StringIO(period_csv(hostile.report))))
    assert len(rows) == hostile.report.height
    for row in rows:
        for name, cell in row.items():
            if name not in ("value", "previous"):
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), (name, cell)


def test_every_day_tells_its_numbers_and_leads_to_its_report() -> None:
    page = period_html(shown({MONDAY: [turn(created_at=at(MONDAY)) for _ in range(1200)]}))
    assert '<a href="../daily/2026-11-16.html"><rect class="hit"' in page
    assert "<title>Mon 2026-11-16: 1,200</title>" in page
    assert "<title>Mon 2026-11-16: USD 12.00</title>" in page
    assert "<title>Tue 2026-11-17: not held</title>" in page
    assert "../daily/2026-11-17.html" not in page
    assert "p50 1.99 s\np90 1.99 s" in page or re.search(r"p50 \d\.\d\d s\np90 ", page)
    assert "1 of 7 days are held" in page


def test_the_heat_map_has_the_turns_of_each_local_hour() -> None:
    rows = [turn(created_at=at(TUESDAY, 13)) for _ in range(3)] + [turn(created_at=at(TUESDAY, 4))]
    page = period_html(shown({TUESDAY: rows}))
    assert "<title>Tue 13:00, 3 turns</title>" in page
    assert "<title>Tue 04:00, 1 turns</title>" in page
    assert "<title>Mon 13:00, 0 turns</title>" in page
    assert page.count('<rect class="cell ') == 7 * 24
    assert "3 in an hour, at most" in page


def test_tiles_say_how_much_has_changed_since_the_period_before() -> None:
    before = MONDAY - dt.timedelta(days=7)
    now = [turn(created_at=at(MONDAY)) for _ in range(3)]
    then = [turn(created_at=at(before), status="error"), turn(created_at=at(before))]
    page = period_html(shown({MONDAY: now}, {before: then}))
    assert '<div class="value">3</div><div class="change">▲ 50.0%</div>' in page
    assert '<div class="change">▼ 50.00 points</div>' in page
    assert "Changes against Week 46 of 2026." in page
    assert 'href="../weekly/2026-11-09.html"' in page
    alone = period_html(shown({MONDAY: now}))
    assert "Changes against" not in alone
    assert "2026-11-09" not in alone


def test_a_price_below_zero_that_falls_points_downwards() -> None:
    before = MONDAY - dt.timedelta(days=7)
    page = period_html(
        shown(
            {MONDAY: [turn(created_at=at(MONDAY), total_price=Decimal(-2))]},
            {before: [turn(created_at=at(before), total_price=Decimal(-1))]},
        )
    )
    assert '<div class="value">-2.00</div><div class="change">▼ 100.0%</div>' in page


def test_only_currencies_that_have_prices_now_or_before_are_shown() -> None:
    before = MONDAY - dt.timedelta(days=7)
    now = {MONDAY: [turn(created_at=at(MONDAY))]}
    page = period_html(shown(now))  # nothing before: a row without a currency
    assert re.findall(r'class="name">Cost[^<]*', page) == ['class="name">Cost, USD']
    assert "<h2>Cost by day</h2>" not in page
    yuan = period_html(shown(now, {before: [turn(created_at=at(before), currency="CNY")]}))
    assert [name[17:] for name in re.findall(r'class="name">Cost[^<]*', yuan)] == [", CNY", ", USD"]
    assert "<h2>Cost by day, USD</h2>" in yuan


def test_counts_have_whole_numbers_on_their_axes() -> None:
    page = period_html(shown({MONDAY: [turn(created_at=at(MONDAY))]}))
    for title in ("Users by day", "Turns by day", "Turns by app", "Length of conversations"):
        card = page[page.index(f"<h2>{title}</h2>") :].split("</section>")[0]
        assert not re.findall(r">0\.\d+</text>", card), title


def test_a_period_without_turns_says_so_in_every_card() -> None:
    page = period_html(shown({MONDAY: []}, period=Period.MONTH))
    assert "<svg" not in page
    for text in ("No turns in this month.", "No latency was measured", "No prices in this month.",
                 "None on any day that is held.", "No conversations in this month."):  # fmt: skip
        assert text in page


def test_models_stand_side_by_side_with_bars_and_their_latency() -> None:
    rows = [
        turn(created_at=at(MONDAY), model_id="slow", latency_s=9.0),
        turn(created_at=at(MONDAY), model_id="quick", latency_s=1.0),
        turn(created_at=at(MONDAY), model_id="quick", latency_s=1.0, currency="CNY"),
        turn(created_at=at(MONDAY), model_id=None, model_provider=None),
    ]
    days = {MONDAY: rows}
    page = period_html(shown(days))
    partials = partials_of([], rows, day=MONDAY).collect().lazy()
    daily = daily_html(
        daily_report(partials, MONDAY, engine=CPU), generated_for=MONDAY,
        models=model_performance(partials, MONDAY, engine=CPU),
    )  # fmt: skip
    for one in (page, daily):
        card = one[one.index("<h2>Models side by side</h2>") :].split("</section>")[0]
        names = re.findall(r"<tr><td[^>]*><bdi>([^<]*)</bdi>", card)
        assert names == ["quick", "(unknown)", "slow", "All turns"]
        assert "<small><bdi>openai</bdi></small>" in card
        assert "Cost per 1k tokens CNY" in card
        assert '<td data-v="2">2<svg class="bar"' in card
        assert '<rect class="s1" width="50"' in card  # half of the turns of quick
        assert "<title>slow, p50: 8.9" in one or "<title>slow, p50: 9.0" in one


def test_the_models_of_a_day_have_the_values_of_the_report_of_the_same_turns() -> None:
    rows = [
        turn(
            created_at=at(MONDAY),
            app_id=f"a{n % 2}",
            model_id=f"m{n % 3}",
            currency=("USD", None)[n % 2],
        )
        for n in range(9)
    ]
    partials = partials_of([], rows, day=MONDAY).collect().lazy()
    of_period = labels_of_period(shown({MONDAY: rows}).report)[0]
    of_day = models_of_day(model_performance(partials, MONDAY, engine=CPU))
    known = {key: value for key, value in of_day.values.items() if value is not None}
    assert known == {key: value for key, value in of_period.values.items() if value is not None}
    assert of_day.labels == of_period.labels


def test_dimensions_of_inputs_have_a_table_without_columns_that_nobody_knows() -> None:
    rows = [turn(created_at=at(MONDAY), inputs='{"plan":"pro"}')]
    page = period_html(shown({MONDAY: rows}))
    card = page[page.index("<h2>By plan</h2>") :].split("</section>")[0]
    assert "<bdi>pro</bdi>" in card
    assert "Latency p50" not in card
    assert "Output speed" in card


def test_every_metric_has_its_definition_and_the_statement_of_its_conversations() -> None:
    rows = [turn(created_at=at(MONDAY), currency=code) for code in ("USD", "it's", None)]
    page = period_html(shown({MONDAY: rows}))
    codes = {code for _, code in re.findall(r"(--currency (\S+))</code>", html.unescape(page))}
    assert codes == {"USD", "''", "'it'\"'\"'s'"}
    sunday = MONDAY + dt.timedelta(days=6)
    for metric in METRICS:
        assert f'id="metric-{metric.name}"' in page
        money = metric.grain is Grain.APP_CURRENCY
        for code in ("USD", "it's", "") if money else (None,):
            sql = conversations_sql(metric, start=MONDAY, end=sunday, currency=code)
            assert f"<pre><code>{html.escape(sql)}</code></pre>" in page
    assert page.count('<details class="sql">') == sum(
        3 if metric.grain is Grain.APP_CURRENCY else 1 for metric in METRICS
    )


def test_the_markdown_has_each_value_beside_the_one_before() -> None:
    before = MONDAY - dt.timedelta(days=7)
    text = period_markdown(
        shown({MONDAY: [turn(created_at=at(MONDAY))] * 3}, {before: [turn(created_at=at(before))]})
    )
    assert "# Week 47 of 2026" in text
    assert "| Turns | 3 | 1 | ▲ 200.0% |" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) >= len(METRICS_BY_NAME)


def test_a_line_stops_where_a_day_is_unknown_and_a_spark_needs_two() -> None:
    points = [charts.Point(str(n), (value,), "") for n, value in enumerate((1.0, None, 2.0, 3.0))]
    drawing = charts.lines("x", points, series=("a",), x_title="day", y_title="y")
    path = re.findall(r'class="line s1" d="([^"]*)"', drawing.in_page())[0]
    assert [letter for letter in path if letter.isalpha()] == ["M", "M", "L"]
    assert charts.spark([None, 1.0]) == ""
    assert charts.spark([0.0, 0.0]) == ""
    assert charts.spark([1.0, None, 2.0]).count("M") == 2


@pytest.mark.parametrize(
    ("value", "most", "width"),
    [(Decimal(1), Decimal(4), 25), (Decimal(4), Decimal(4), 100), (Decimal(-1), Decimal(4), None),
     (None, Decimal(4), None), (Decimal(0), Decimal(0), None), (Decimal(9), Decimal(4), 100)],
)  # fmt: skip
def test_a_bar_is_as_wide_as_its_share(
    value: Decimal | None, most: Decimal, width: int | None
) -> None:
    found = re.findall(r'<rect class="s1" width="(\d+)"', tables.number(value, "x", most))
    assert found == ([] if width is None else [str(width)])


def test_a_month_names_days_by_number_and_is_told_about_its_weekdays() -> None:
    start = dt.date(2026, 11, 1)
    rows = [turn(created_at=at(start)), conversation(created_at=at(start))][:1]
    page = period_html(shown({start: rows}, period=Period.MONTH))
    assert ">29</text>" in page
    assert "<h1>November 2026</h1>" in page
    assert "A month has some weekdays once more than others." in page


def test_the_models_of_a_day_are_those_over_all_apps() -> None:
    # The app that comes last has fewer turns, slower ones and its own error.
    rows = [
        turn(app_id=app, latency_s=latency, status=status, created_at=at(MONDAY))
        for app, latency, status in (
            ("a", 1.0, "normal"), ("a", 1.0, "normal"), ("z", 50.0, "error"),
        )
    ]  # fmt: skip
    performance = model_performance(partials_of([], rows, day=MONDAY), MONDAY, engine=CPU)
    assert set(performance["app_id"]) == {None, "a", "z"}
    for frame in (performance, performance.reverse()):
        found = models_of_day(frame)
        assert found.values["openai/small", "turns", None] == 3
        assert found.values["openai/small", "errors", None] == 1
        assert found.values["openai/small", "cost", "USD"] == Decimal("0.03")
