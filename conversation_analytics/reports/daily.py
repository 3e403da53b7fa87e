"""The daily report as an HTML page, Markdown and CSV, and the page that lists the days.

Same input, same bytes: nothing here looks at the clock. Frames have the schema
`schemas.DAILY_REPORT`. Every text from outside is escaped for its kind of file.
"""

from __future__ import annotations

import calendar
import csv
import datetime as dt
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conversation_analytics.core.metrics import METRICS_BY_NAME
from conversation_analytics.reports.cards import (
    TABLE,
    TREND_DAYS,
    apps_card,
    card,
    cost_card,
    definitions_card,
    errors_card,
    hourly_card,
    latency_card,
    money_columns,
    overall,
    tiles,
    trend_card,
    turns_card,
)
from conversation_analytics.reports.markup import csv_text, html_text, markdown_text
from conversation_analytics.reports.page import page
from conversation_analytics.reports.values import (
    app_label,
    currency_label,
    days_of,
    long_date,
    month_name,
    one_day,
    plain_number,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import polars as pl


@dataclass(frozen=True, slots=True)
class Section:
    """One more card at the end of the page.

    Attributes:
        title: plain text, escaped by the page.
        body: HTML, escaped by the caller.
    """

    title: str
    body: str


def daily_html(
    report: pl.DataFrame,
    history: pl.DataFrame | None,
    *,
    generated_for: dt.date,
    hourly: pl.DataFrame | None = None,
    sections: Sequence[Section] = (),
) -> str:
    """Render a day as one self-contained HTML file, light or dark, for screen and paper.

    Args:
        report: rows of the day, schema `schemas.DAILY_REPORT`.
        history: rows of days before it, same schema, for the trends and the changes.
        generated_for: the day to show.
        hourly: columns `hour` (0 to 23, local) and `turns`; hours that are missing have none.
        sections: more cards, shown in this order before the definitions.

    Raises:
        ContractError: the report has no rows of the day.
    """
    today = one_day(report, generated_for)
    earlier = [day for day in ([] if history is None else days_of(history)) if day.day < today.day]
    yesterday = next((day for day in earlier if day.day == today.day - dt.timedelta(days=1)), None)
    cards = [
        *([] if hourly is None else [hourly_card(today, hourly)]),
        turns_card(today),
        latency_card(today),
        *(cost_card(today, currency) for currency in today.currencies),
        errors_card(today),
        *([trend_card([*earlier, today][-TREND_DAYS:])] if earlier else []),
        apps_card(today),
        *(card(section.title, section.body, wide=True) for section in sections),
        definitions_card(today),
    ]
    count = len(today.apps)
    body = (
        f"<h1>{html_text(long_date(today.day))}</h1>\n"
        f'<p class="sub">Daily report over {count} {"app" if count == 1 else "apps"}. '
        "Debugger turns are left out.</p>\n"
        f"{tiles(today, yesterday)}\n"
        f'<div class="cards">\n{"".join(cards)}</div>'
    )
    return page(f"Daily report {today.day.isoformat()}", body)


def daily_markdown(report: pl.DataFrame) -> str:
    """Render a day as Markdown: the metrics over all apps, and a table by app.

    Raises:
        ContractError: the report is not of exactly one day.
    """
    today = one_day(report)
    lines = [f"# Daily report {today.day.isoformat()}", "", "| metric | value |", "|---|---:|"]
    lines += [
        f"| {markdown_text(name)} | {markdown_text(text)} |" for name, _, text in overall(today)
    ]
    names = TABLE
    money = money_columns(today)
    titles = [METRICS_BY_NAME[name].title for name in names]
    titles += [f"{METRICS_BY_NAME[name].title} {currency_label(code)}" for name, code in money]
    lines += [
        "",
        f"| app | {' | '.join(map(markdown_text, titles))} |",
        f"|---|{'---:|' * len(titles)}",
    ]
    for app in (*today.apps, None):
        texts = [today.text(name, app) for name in names]
        texts += [today.text(name, app, code) for name, code in money]
        cells = " | ".join(markdown_text(text) for text in (app_label(app), *texts))
        lines.append(f"| {cells} |")
    return "\n".join(lines) + "\n"


def daily_csv(report: pl.DataFrame) -> str:
    """Render the report's rows as CSV (RFC 4180), in the report's order, safe in spreadsheets.

    Columns: `day`, `app_id` (`(all apps)`, `(no app)` or the id), `metric`, `currency`, `unit`,
    `value` (exact decimal, empty where unknown). Text that a spreadsheet would run as a
    formula has an apostrophe in front; numbers are left alone.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    columns = ("day", "app_id", "metric", "currency", "unit", "value")
    writer.writerow(columns)
    for day, app, metric, currency, unit, value in report.select(columns).iter_rows():
        name = "(all apps)" if app is None else app_label(app)
        texts = [csv_text(text) for text in (name, metric, currency or "", unit)]
        writer.writerow([day.isoformat(), *texts, plain_number(value)])
    return out.getvalue()


def index_html(days: Iterable[dt.date]) -> str:
    """Render the page that links to `YYYY-MM-DD.html` beside it, as calendars, newest first."""
    listed = set(days)
    months = sorted({(day.year, day.month) for day in listed}, reverse=True)
    body = "".join(
        f'<section class="card"><h2>{month_name(month)} {year}</h2>'
        f'<div class="month">{"".join(_month(year, month, listed))}</div></section>\n'
        for year, month in months
    )
    count = len(listed)
    latest = (
        f' Latest: <a href="{max(listed).isoformat()}.html">{long_date(max(listed))}</a>.'
        if listed
        else ""
    )
    return page(
        "Daily reports",
        f'<h1>Daily reports</h1>\n<p class="sub">{count} {"day" if count == 1 else "days"}.'
        f'{latest}</p>\n<div class="months">\n{body}</div>',
    )


def _month(year: int, month: int, listed: set[dt.date]) -> Iterator[str]:
    yield from (f"<span>{name}</span>" for name in ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"))
    first, length = calendar.monthrange(year, month)
    yield from ("<span></span>" for _ in range(first))
    for number in range(1, length + 1):
        day = dt.date(year, month, number)
        if day in listed:
            yield f'<a href="{day.isoformat()}.html">{number}</a>'
        else:
            yield f"<span>{number}</span>"
