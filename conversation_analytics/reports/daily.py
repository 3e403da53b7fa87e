"""The daily report as an HTML page, Markdown and CSV.

Same input, same bytes: nothing here looks at the clock. Frames have the schema
`schemas.DAILY_REPORT`. Every text from outside is escaped for its kind of file.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from conversation_analytics.core.metrics import METRICS_BY_NAME, MODEL, PROVIDER
from conversation_analytics.reports.cards import (
    TABLE,
    apps_card,
    cost_card,
    definitions_card,
    errors_card,
    hourly_card,
    hourly_chart,
    latency_card,
    latency_chart,
    money_columns,
    overall,
    tiles,
    turns_card,
    turns_chart,
)
from conversation_analytics.reports.conversations import ANCHORS, conversations_card
from conversation_analytics.reports.index import navigation
from conversation_analytics.reports.labels import label_cards, labels_of_period, models_of_day
from conversation_analytics.reports.markup import csv_text, html_text, markdown_text
from conversation_analytics.reports.page import page
from conversation_analytics.reports.values import (
    app_label,
    currency_label,
    long_date,
    one_day,
    plain_number,
)

if TYPE_CHECKING:
    import datetime as dt

    import polars as pl

    from conversation_analytics.reports.drawings import Drawing


def daily_html(
    report: pl.DataFrame,
    *,
    generated_for: dt.date,
    hourly: pl.DataFrame | None = None,
    models: pl.DataFrame | None = None,
    labels: pl.DataFrame | None = None,
    conversations: pl.DataFrame | None = None,
    zone: str = "UTC",
) -> str:
    """Render a day as one self-contained HTML file, light or dark, for screen and paper.

    Args:
        report: rows of the day, schema `schemas.DAILY_REPORT`.
        generated_for: the day to show.
        hourly: columns `hour` (0 to 23, local) and `turns`; hours that are missing have none.
        models: of the day, schema `model_performance.MODEL_PERFORMANCE`.
        labels: values of the day by dimension, columns of `metrics.dimension_values`.
        conversations: partials of the kind `conversations` of the day.
        zone: IANA name of the analytics time zone, for times of day.

    What is None has no card.

    Raises:
        ContractError: the report has no rows of the day.
    """
    today = one_day(report, generated_for)
    of_models = [] if models is None else label_cards(today, models_of_day(models))
    others = (
        []
        if labels is None
        else [
            label_cards(today, one)
            for one in labels_of_period(labels)
            if one.dimension not in {MODEL, PROVIDER}
        ]
    )
    cards = [
        *([] if hourly is None else [hourly_card(today, hourly)]),
        turns_card(today),
        latency_card(today),
        *of_models[:-1],
        *(one for cards in others for one in cards[:-1]),
        *(cost_card(today, currency) for currency in today.currencies),
        errors_card(today),
        *of_models[-1:],
        *(one for cards in others for one in cards[-1:]),
        *([] if conversations is None
          else [conversations_card(today.day, conversations, zone)]),
        apps_card(today),
        definitions_card(today),
    ]  # fmt: skip
    count = len(today.apps)
    body = (
        f"{navigation(today.span)}"
        f"<h1>{html_text(long_date(today.day))}</h1>\n"
        f'<p class="sub">Daily report over {count} {"app" if count == 1 else "apps"}. '
        "Debugger turns are left out.</p>\n"
        f"{tiles(today, None, anchors=None if conversations is None else ANCHORS)}\n"
        f'<div class="cards">\n{"".join(cards)}</div>'
    )
    return page(f"Daily report {today.day.isoformat()}", body)


def daily_drawings(report: pl.DataFrame, hourly: pl.DataFrame) -> list[Drawing]:
    """Return the drawings that tell most of a day.

    Args:
        report: rows of one day, schema `schemas.DAILY_REPORT`.
        hourly: columns `hour` (0 to 23, local) and `turns`.

    Raises:
        ContractError: the report is not of exactly one day.
    """
    today = one_day(report)
    found = (turns_chart(today), latency_chart(today), hourly_chart(hourly))
    return [one for one in found if one is not None]


def daily_markdown(report: pl.DataFrame) -> str:
    """Render a day as Markdown: the metrics over all apps, and a table by app.

    Raises:
        ContractError: the report is not of exactly one day.
    """
    today = one_day(report)
    lines = [f"# Daily report {today.day.isoformat()}", "", "| metric | value |", "|---|---:|"]
    lines += [
        f"| {markdown_text(name)} | {markdown_text(text)} |" for name, _, text, _ in overall(today)
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
