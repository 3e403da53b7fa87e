"""Reports of weeks and months as an HTML page, Markdown and CSV.

Same input, same bytes: nothing here looks at the clock. Every text from outside is escaped for its
kind of file. Frames have the schemas of `core.period_report`.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conversation_analytics.core.metrics import (
    DIMENSION_METRICS,
    LENGTHS,
    METRICS_BY_NAME,
    MODEL,
    Grain,
)
from conversation_analytics.core.periods import Period
from conversation_analytics.reports import charts
from conversation_analytics.reports.cards import (
    TABLE,
    apps_card,
    card,
    change_text,
    cost_card,
    definitions_card,
    errors_card,
    latency_card,
    nothing,
    tiles,
    trend_card,
    turns_card,
)
from conversation_analytics.reports.markup import csv_text, html_text, markdown_text
from conversation_analytics.reports.page import page
from conversation_analytics.reports.values import (
    DayValues,
    app_label,
    currency_label,
    day_values,
    days_of,
    long_date,
    month_name,
    plain_number,
    value_text,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from decimal import Decimal

    import polars as pl

_UNKNOWN_LABEL = "(unknown)"
_MOST_LABELS = 30
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOURS = 24
_OF_LABELS = (
    "turns", "error_rate", "empty_answer_rate", "regeneration_rate", "rephrase_rate",
    "message_tokens", "answer_tokens", "latency_p50", "latency_p95", "time_to_first_token_p50",
    "output_speed", "satisfaction",
)  # fmt: skip
_Values = dict[tuple[str | None, str | None, str, str | None], "Decimal | None"]
"""By dimension, label, metric and currency, over all apps."""


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
    days = days_of(shown.days)
    held = f"{len(days)} of {len(shown.period.days_of(shown.start))} days are held"
    known = before if before.get("turns") else None
    cards = [
        *([trend_card(days)] if days else []),
        _heat_card(now, shown.hours),
        turns_card(now),
        latency_card(now),
        *(cost_card(now, currency) for currency in now.currencies),
        errors_card(now),
        _lengths_card(now),
        *_dimension_cards(now, shown.report),
        apps_card(now),
        definitions_card(now),
    ]
    count = len(now.apps)
    body = (
        f"<h1>{html_text(title_of(shown.period, shown.start))}</h1>\n"
        f'<p class="sub">{html_text(_span(shown))}, {count} {"app" if count == 1 else "apps"}; '
        f"{held}. Debugger turns are left out.</p>\n"
        f"{tiles(now, known)}\n"
        f'<div class="cards">\n{"".join(cards)}</div>'
    )
    return page(title_of(shown.period, shown.start), body)


def title_of(period: Period, start: dt.date) -> str:
    """Return the name of a week or month as people read it."""
    if period is Period.MONTH:
        return f"{month_name(start.month)} {start.year}"
    year, week, _ = start.isocalendar()
    return f"Week {week} of {year}"


def _span(shown: PeriodReport) -> str:
    return f"{long_date(shown.start)} to {long_date(shown.period.end_of(shown.start))}"


def _values(shown: PeriodReport, column: str) -> DayValues:
    rows = shown.report.select("app_id", "dimension", "metric", "currency", column).iter_rows()
    values = {
        (app, metric, currency): value
        for app, dimension, metric, currency, value in rows
        if dimension is None
    }
    return day_values(shown.start, values, shown.period)


def _heat_card(now: DayValues, hours: pl.DataFrame) -> str:
    turns = dict(hours.select("bucket", "turns").iter_rows())
    if not any(turns.values()):
        return card("Turns by weekday and hour", nothing(f"No turns {now.within}."), wide=True)
    cells = [
        [
            (
                float(number := turns.get(_HOURS * day + hour, 0)),
                f"{name} {hour:02}:00, {number:,} turns",
            )
            for hour in range(_HOURS)
        ]
        for day, name in enumerate(_DAYS)
    ]
    chart = charts.heat(
        "Turns by weekday and hour", cells, rows=_DAYS,
        columns=[f"{hour:02}" for hour in range(_HOURS)],
        x_title="hour of the day, local time; the darker, the more turns",
    )  # fmt: skip
    return card("Turns by weekday and hour", chart, wide=True)


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
    return card(title, charts.bars(title, rows, series=(title,), x_title="conversations"))


def _dimension_cards(now: DayValues, report: pl.DataFrame) -> list[str]:
    """Return a table for each dimension: models, providers, keys of inputs."""
    values: _Values = {}
    columns = ("app_id", "dimension", "label", "metric", "currency", "value")
    for app, dimension, label, metric, currency, value in report.select(columns).iter_rows():
        if app is None and dimension is not None:
            values[dimension, label, metric, currency] = value
    dimensions = sorted({key[0] or "" for key in values}, key=lambda name: (name != MODEL, name))
    return [_dimension_card(now, name, values) for name in dimensions]


def _dimension_card(now: DayValues, dimension: str, values: _Values) -> str:
    labels = sorted(
        {label for name, label, _, _ in values if name == dimension},
        key=lambda label: (-(values.get((dimension, label, "turns", None)) or 0), label or ""),
    )
    money: list[tuple[str, str | None]] = [
        (metric.name, code)
        for code in now.currencies
        for metric in DIMENSION_METRICS
        if metric.grain is Grain.APP_CURRENCY
    ]
    keys: list[tuple[str, str | None]] = [*((name, None) for name in _OF_LABELS), *money]
    title = {MODEL: "Models", "provider": "Providers"}.get(dimension, f"By {dimension}")
    heads = "".join(
        f'<th scope="col"><button type="button">{html_text(text)}</button></th>'
        for text in (title, *(_head(name, code) for name, code in keys))
    )
    rows = "".join(_label_row(dimension, label, keys, values) for label in labels[:_MOST_LABELS])
    left = len(labels) - _MOST_LABELS
    note = f"The {_MOST_LABELS} with most turns; {left} more in the CSV." if left > 0 else ""
    body = (
        f'<div class="scroll"><table class="sortable"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    return card(title, body, wide=True, note=note)


def _head(name: str, code: str | None) -> str:
    title = METRICS_BY_NAME[name].title
    return title if name in _OF_LABELS else f"{title} {currency_label(code)}"


def _label_row(
    dimension: str, label: str | None, keys: Sequence[tuple[str, str | None]], values: _Values
) -> str:
    shown = html_text(_UNKNOWN_LABEL if label is None else label)
    cells = [f'<td data-v="{shown}" title="{shown}"><bdi>{shown}</bdi></td>']
    for name, code in keys:
        value = values.get((dimension, label, name, code))
        text = value_text(METRICS_BY_NAME[name], value, code)
        cells.append(f'<td data-v="{plain_number(value)}">{html_text(text)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def period_markdown(shown: PeriodReport) -> str:
    """Render a week or month as Markdown: metrics beside the period before, and a table by app."""
    now, before = _values(shown, "value"), _values(shown, "previous")
    span = shown.period.value
    lines = [
        f"# {title_of(shown.period, shown.start)}",
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
