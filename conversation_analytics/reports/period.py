"""Reports of weeks and months as an HTML page, Markdown and CSV.

Same input, same bytes: nothing here looks at the clock. Every text from outside is escaped for its
kind of file. Frames have the schemas of `core.period_report`.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.metrics import LENGTHS, METRICS_BY_NAME, Grain
from conversation_analytics.core.periods import Period
from conversation_analytics.reports import charts
from conversation_analytics.reports.cards import (
    LATENCIES,
    TABLE,
    apps_card,
    as_float,
    card,
    change_text,
    cost_card,
    definitions_card,
    errors_card,
    latency_card,
    nothing,
    tiles,
    turns_card,
)
from conversation_analytics.reports.index import navigation
from conversation_analytics.reports.labels import label_cards, labels_of_period
from conversation_analytics.reports.markup import csv_text, html_text, markdown_text
from conversation_analytics.reports.page import page
from conversation_analytics.reports.values import (
    DayValues,
    app_label,
    currency_label,
    day_values,
    days_of,
    long_date,
    period_title,
    plain_number,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOURS = 24


@dataclass(frozen=True, slots=True)
class PeriodReport:
    """What a page shows.

    Attributes:
        period: week or month.
        start: its first day.
        report: rows of the period, schema of `period_report.PERIOD_REPORTS`.
        days: reports of its days, schema `schemas.DAILY_REPORT`.
        hours: columns `bucket` (24 * weekday + local hour, Monday 0), `turns`, over all apps.
    """

    period: Period
    start: dt.date
    report: pl.DataFrame
    days: pl.DataFrame
    hours: pl.DataFrame


def period_html(shown: PeriodReport) -> str:
    """Render a week or month as one self-contained HTML file, light or dark, screen or paper."""
    now, before = _values(shown, "value"), _values(shown, "previous")
    every = shown.period.days_of(shown.start)
    found = {day.day: day for day in days_of(shown.days)}
    days = _Days(tuple(every), found, weekdays=shown.period is Period.WEEK)
    known = before if before.get("turns") else None
    dimensions = [label_cards(now, one) for one in labels_of_period(shown.report)]
    cards = [
        days.columns_card("turns"),
        days.users_card(),
        days.latency_card(),
        days.errors_card(),
        *(days.columns_card("cost", currency) for currency in now.currencies),
        _heat_card(now, shown.hours),
        _lengths_card(now),
        turns_card(now),
        latency_card(now),
        *(one for found in dimensions for one in found[:-1]),
        *(cost_card(now, currency) for currency in now.currencies),
        errors_card(now),
        *(one for found in dimensions for one in found[-1:]),
        apps_card(now),
        definitions_card(now),
    ]
    count = len(now.apps)
    title = period_title(shown.period, shown.start)
    held = f"{len(found)} of {len(every)} days are held"
    against = (
        f" Changes against {period_title(shown.period, shown.period.before(shown.start))}."
        if known
        else ""
    )
    body = (
        f"{navigation(shown.period, shown.start, before=known is not None)}"
        f"<h1>{html_text(title)}</h1>\n"
        f'<p class="sub">{html_text(_span(shown))}, {count} {"app" if count == 1 else "apps"}; '
        f"{held}. Debugger turns are left out.{html_text(against)}</p>\n"
        f"{tiles(now, known, days=[found.get(day) for day in every])}\n"
        f'<div class="cards">\n{"".join(cards)}</div>'
    )
    return page(title, body)


@dataclass(frozen=True, slots=True)
class _Days:
    """The days of a period, those that are held and those that are not."""

    every: tuple[dt.date, ...]
    held: Mapping[dt.date, DayValues]
    weekdays: bool

    def columns_card(self, name: str, code: str | None = None) -> str:
        """Show a count, or an amount of money, by day."""
        metric = METRICS_BY_NAME[name]
        money = metric.grain is Grain.APP_CURRENCY
        title = f"{metric.title} by day{f', {currency_label(code)}' if money else ''}"
        points = self._points(((name, code),))
        if not any(point.values[0] for point in points):
            plain = f"{metric.title} by day" if code is None else title
            return card(plain, nothing("None on any day that is held."))
        unit = currency_label(code) if money else metric.unit
        chart = charts.columns(title, points, x_title=self._x_title, y_title=unit, whole=not money)
        return card(title, chart)

    def users_card(self) -> str:
        """Show active and engaged users by day."""
        return self._lines_card("Users by day", ("active_users", "engaged_users"), "users")

    def latency_card(self) -> str:
        """Show the percentiles of latency by day."""
        return self._lines_card("Latency by day", LATENCIES, "latency, seconds")

    def errors_card(self) -> str:
        """Show the shares of turns that failed or have no answer, by day."""
        names = ("error_rate", "empty_answer_rate")
        return self._lines_card("Errors by day", names, "% of turns", scale=100)

    def _lines_card(self, title: str, names: Sequence[str], unit: str, *, scale: int = 1) -> str:
        points = self._points(tuple((name, None) for name in names), scale)
        known = [value for point in points for value in point.values if value is not None]
        if not known or (scale == 1 and not any(known)):  # no errors are worth a line, no users not
            return card(title, nothing("None on any day that is held."))
        chart = charts.lines(
            title, points, series=[_short_title(name) for name in names], x_title=self._x_title,
            y_title=unit, whole=unit == "users",
        )  # fmt: skip
        return card(title, chart)

    @property
    def _x_title(self) -> str:
        return "day; a click opens its report"

    def _points(self, keys: Sequence[tuple[str, str | None]], scale: int = 1) -> list[charts.Point]:
        return [self._point(day, keys, scale) for day in self.every]

    def _point(
        self, day: dt.date, keys: Sequence[tuple[str, str | None]], scale: int
    ) -> charts.Point:
        label = f"{WEEKDAYS[day.weekday()]} {day.day}" if self.weekdays else str(day.day)
        when = f"{WEEKDAYS[day.weekday()]} {day.isoformat()}"
        found = self.held.get(day)
        if found is None:
            return charts.Point(label, (None,) * len(keys), f"{when}: not held")
        texts = [
            found.text(name, None, code)
            if len(keys) == 1
            else f"{_short_title(name)} {found.text(name, None, code)}"
            for name, code in keys
        ]
        return charts.Point(
            label,
            tuple(as_float(found.get(name, None, code), scale=scale) for name, code in keys),
            f"{when}: {texts[0]}" if len(keys) == 1 else "\n".join((when, *texts)),
            f"../daily/{day.isoformat()}.html",
        )


def _short_title(name: str) -> str:
    return METRICS_BY_NAME[name].title.removeprefix("Latency ").lower()


def _span(shown: PeriodReport) -> str:
    return f"{long_date(shown.start)} to {long_date(shown.period.end_of(shown.start))}"


def _values(shown: PeriodReport, column: str) -> DayValues:
    columns = ("app_id", "metric", "currency", "value", "previous")
    whole = shown.report.filter(pl.col("dimension").is_null())
    # A period without prices has a row without a currency, which shall be none of the other's.
    prices = whole.filter((pl.col("metric") == "cost") & pl.col("app_id").is_null())
    priced = {
        code
        for code, *both in prices.select("currency", "value", "previous").iter_rows()
        if any(one is not None for one in both)
    }
    values = {
        (app, metric, code): now if column == "value" else then
        for app, metric, code, now, then in whole.select(columns).iter_rows()
        if not priced or code in priced or METRICS_BY_NAME[metric].grain is Grain.APP
    }
    return day_values(shown.start, values, shown.period)


def _heat_card(now: DayValues, hours: pl.DataFrame) -> str:
    title = "Turns by weekday and hour"
    turns: dict[int, int] = dict(hours.select("bucket", "turns").iter_rows())
    if not any(turns.values()):
        return card(title, nothing(f"No turns {now.within}."))
    cells = [
        [
            (
                number := turns.get(_HOURS * day + hour, 0),
                f"{name} {hour:02}:00, {number:,} turns",
            )
            for hour in range(_HOURS)
        ]
        for day, name in enumerate(WEEKDAYS)
    ]
    chart = charts.heat(
        title, cells, rows=WEEKDAYS, columns=[f"{hour:02}" for hour in range(_HOURS)],
        x_title="hour of the day, local time",
    )  # fmt: skip
    often = "A month has some weekdays once more than others." if now.period is Period.MONTH else ""
    return card(title, chart, note=often)


def _lengths_card(now: DayValues) -> str:
    title = "Length of conversations"
    if not now.get("conversations_active"):
        return card(title, nothing(f"No conversations {now.within}."))
    rows = [
        charts.Row(
            f"{least} turns or more" if most is None else f"{least} to {most} turns",
            (float(now.get(name) or 0),),
            (now.text(name),),
        )
        for name, _, least, most in LENGTHS
    ]
    return card(
        title, charts.bars(title, rows, series=(title,), x_title="conversations", whole=True)
    )


def period_markdown(shown: PeriodReport) -> str:
    """Render a week or month as Markdown: metrics beside the period before, and a table by app."""
    now, before = _values(shown, "value"), _values(shown, "previous")
    span = shown.period.value
    lines = [
        f"# {period_title(shown.period, shown.start)}",
        "",
        f"{_span(shown)}.",
        "",
        f"| metric | value | {span} before | change |",
        "|---|---:|---:|---|",
    ]
    for name, code in _over_all_apps(now):
        metric = METRICS_BY_NAME[name]
        cells = (
            metric.title,
            now.text(name, None, code),
            before.text(name, None, code),
            change_text(now, before, name, code),
        )
        lines.append(f"| {' | '.join(map(markdown_text, cells))} |")
    titles = " | ".join(markdown_text(METRICS_BY_NAME[name].title) for name in TABLE)
    lines += ["", f"| app | {titles} |", f"|---|{'---:|' * len(TABLE)}"]
    for app in (*now.apps, None):
        row = (app_label(app), *(now.text(name, app) for name in TABLE))
        lines.append(f"| {' | '.join(map(markdown_text, row))} |")
    return "\n".join(lines) + "\n"


def _over_all_apps(now: DayValues) -> list[tuple[str, str | None]]:
    return [
        (metric.name, code)
        for metric in METRICS_BY_NAME.values()
        for code in (now.currencies if metric.grain is Grain.APP_CURRENCY else (None,))
    ]


def period_csv(report: pl.DataFrame) -> str:
    """Render the report's rows as CSV (RFC 4180), in the report's order, safe in spreadsheets.

    Columns: `start`, `app_id` (`(all apps)`, `(no app)` or the id), `dimension`, `label`,
    `metric`, `currency`, `unit`, `value`, `previous` (exact decimals, empty where unknown). Text
    that a spreadsheet would run as a formula has an apostrophe in front; numbers are left alone.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    columns = (
        "start", "app_id", "dimension", "label", "metric", "currency", "unit", "value", "previous",
    )  # fmt: skip
    writer.writerow(columns)
    for start, app, *texts, value, previous in report.select(columns).iter_rows():
        name = "(all apps)" if app is None else app_label(app)
        cells = [csv_text(text or "") for text in (name, *texts)]
        writer.writerow([start.isoformat(), *cells, plain_number(value), plain_number(previous)])
    return out.getvalue()
