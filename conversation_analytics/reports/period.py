"""Reports of weeks, months and any days as an HTML page, Markdown and CSV.

Same input, same bytes: nothing here looks at the clock. Every text from outside is escaped for its
kind of file. Frames have the schemas of `core.period_report`.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from conversation_analytics.core.metrics import LENGTHS, METRICS_BY_NAME, Grain
from conversation_analytics.core.periods import Period, Span
from conversation_analytics.core.schemas import DAILY_REPORT
from conversation_analytics.reports import charts
from conversation_analytics.reports.by_day import WEEKDAYS, Days
from conversation_analytics.reports.cards import (
    TABLE,
    apps_card,
    card,
    change_text,
    cost_card,
    definitions_card,
    errors_card,
    hourly_card,
    latency_card,
    latency_chart,
    nothing,
    tiles,
    turns_card,
    turns_chart,
)
from conversation_analytics.reports.index import navigation
from conversation_analytics.reports.labels import label_cards, labels_of_period
from conversation_analytics.reports.markup import csv_text, html_text, markdown_text
from conversation_analytics.reports.page import page
from conversation_analytics.reports.topics import topic_cards, topic_lines
from conversation_analytics.reports.values import (
    DayValues,
    app_label,
    day_values,
    days_named,
    days_of,
    long_date,
    plain_number,
    span_title,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from conversation_analytics.reports.drawings import Drawing

_HOURS = 24
_HEAT = "Turns by weekday and hour"
_JSON = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class PeriodReport:
    """What a page shows.

    Attributes:
        span: the days.
        report: rows of all of them, schema of `period_report.PERIOD_REPORTS`.
        days: reports of each of them that is held, schema `schemas.DAILY_REPORT`.
        hours: columns `bucket` (24 * weekday + local hour, Monday 0), `turns`, over all apps.
        only: the one app that everything is of; None: of all apps.
        before_held: how many days of the period before are held; None: not told.
        linked: whether the page is among the other pages, so that its links lead to them.
        topics: of the week, columns of `core.topic_changes.TOPIC_CHANGES`; None: none were found.
    """

    span: Span
    report: pl.DataFrame
    days: pl.DataFrame
    hours: pl.DataFrame
    only: str | None = None
    before_held: int | None = None
    linked: bool = True
    topics: pl.DataFrame | None = None

    @property
    def told(self) -> pl.DataFrame:
        """The rows that files tell: of one app without those over all apps, which are the same."""
        return self.report if self.only is None else self.report.drop_nulls("app_id")

    @property
    def title(self) -> str:
        """What people call it."""
        title = span_title(self.span)
        if self.only is None:
            return title
        return f"{title}, {f'app {self.only}' if self.only else app_label(self.only)}"


def period_html(shown: PeriodReport) -> str:
    """Render days as one self-contained HTML file, light or dark, for screen and paper."""
    now, before = _values(shown, "value"), _values(shown, "previous")
    found = _held(shown)
    known = before if before.get("turns") else None
    dimensions = [label_cards(now, one) for one in labels_of_period(shown.report)]
    topics = [] if shown.topics is None else topic_cards(shown.topics)
    by_app = shown.only is None
    cards = [
        *_cards_in_time(shown, now),
        _lengths_card(now),
        *([turns_card(now), latency_card(now)] if by_app else []),
        *topics[:-1],
        *(one for labels in dimensions for one in labels[:-1]),
        *([*(cost_card(now, code) for code in now.currencies), errors_card(now)] if by_app else []),
        *topics[-1:],
        *(one for labels in dimensions for one in labels[-1:]),
        *([apps_card(now)] if by_app else []),
        definitions_card(now),
    ]
    links = ""
    if shown.linked:
        links = navigation(shown.span, before=known is not None)
    course = [found.get(day) for day in shown.span.days] if len(shown.span.days) > 1 else []
    body = (
        f"{links}<h1>{html_text(shown.title)}</h1>\n"
        f'<p class="sub">{html_text(_told(shown, now, compared=known is not None))}</p>\n'
        f"{tiles(now, known, days=course)}\n"
        f'<div class="cards">\n{"".join(cards)}</div>'
    )
    return page(shown.title, body)


def period_drawings(
    span: Span, report: pl.DataFrame, turns: Mapping[dt.date, int], hours: pl.DataFrame
) -> list[Drawing]:
    """Return the drawings that tell most of days: by day, by app, by hour of the week.

    Args:
        span: the days.
        report: rows of all of them, schema of `period_report.PERIOD_REPORTS`.
        turns: of each day that is held, over all apps.
        hours: columns `bucket`, `turns`, as of `PeriodReport`.
    """
    now = _values(PeriodReport(span, report, DAILY_REPORT.empty(), hours), "value")
    held = {
        day: day_values(Span.of(Period.DAY, day), {(None, "turns", None): Decimal(count)})
        for day, count in turns.items()
    }
    by_day = Days(span.days, held, linked=False).columns("turns")
    found = (by_day, turns_chart(now), latency_chart(now), heat_chart(hours))
    return [one for one in found if one is not None]


def _cards_in_time(shown: PeriodReport, now: DayValues) -> list[str]:
    """Show the days, and the hours of the week; of a single day its hours."""
    if len(shown.span.days) == 1:
        hour = (pl.col("bucket") % _HOURS).alias("hour")
        return [hourly_card(now, shown.hours.group_by(hour).agg(pl.col("turns").sum()))]
    days = Days(shown.span.days, _held(shown), linked=shown.linked)
    return [
        days.columns_card("turns"),
        days.users_card(),
        days.latency_card(),
        days.errors_card(),
        *(days.columns_card("cost", currency) for currency in now.currencies),
        _heat_card(now, shown.hours),
    ]


def _told(shown: PeriodReport, now: DayValues, *, compared: bool) -> str:
    """Say which days and apps the report is of, and what it is compared with."""
    days, before, count = shown.span.days, shown.span.before(), len(now.apps)
    missing = _missing(shown)
    told = [_span_text(shown.span)]
    if shown.only is None:
        told[0] += f", {count} {'app' if count == 1 else 'apps'}"
    if missing or len(days) > 1:
        told[0] += f"; {len(days) - len(missing)} of {len(days)} days are held"
    if missing and shown.span.period is None:
        told[0] += f" (not {days_named(missing)})"
    told.append("Debugger turns are left out")
    if compared:
        against = f"Changes against {span_title(before)}"
        if shown.before_held not in (None, len(before.days)):
            against += f", of which {shown.before_held} of {len(before.days)} days are held"
        told.append(against)
    return f"{'. '.join(told)}."


def _held(shown: PeriodReport) -> dict[dt.date, DayValues]:
    return {day.day: day for day in days_of(shown.days)}


def _missing(shown: PeriodReport) -> list[dt.date]:
    held = _held(shown)
    return [day for day in shown.span.days if day not in held]


def _span_text(span: Span) -> str:
    first, last = long_date(span.first), long_date(span.last)
    return first if first == last else f"{first} to {last}"


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
    return replace(day_values(shown.span, values), only=shown.only)


def heat_chart(hours: pl.DataFrame) -> Drawing | None:
    """Draw the turns by weekday and hour, columns `bucket`, `turns`; None where there are none."""
    turns: dict[int, int] = dict(hours.select("bucket", "turns").iter_rows())
    if not any(turns.values()):
        return None
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
    return charts.heat(
        _HEAT, cells, rows=WEEKDAYS, columns=[f"{hour:02}" for hour in range(_HOURS)],
        x_title="hour of the day, local time",
    )  # fmt: skip


def _heat_card(now: DayValues, hours: pl.DataFrame) -> str:
    chart = heat_chart(hours)
    if chart is None:
        return card(_HEAT, nothing(f"No turns {now.within}."))
    whole_weeks = len(now.span.days) % len(WEEKDAYS) == 0
    often = "" if whole_weeks else "Some weekdays are among these days once more than others."
    if now.span.period is Period.MONTH and not whole_weeks:
        often = "A month has some weekdays once more than others."
    return card(_HEAT, chart, note=often)


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
    """Render days as Markdown: metrics beside those of the days before, and a table by app."""
    now, before = _values(shown, "value"), _values(shown, "previous")
    period = shown.span.period
    then = f"{period.value} before" if period else "as many days before"
    missing = _missing(shown)
    lines = [
        f"# {markdown_text(shown.title)}",
        "",
        f"{_span_text(shown.span)}.",
        "",
        *(
            [f"Days that are not held: {days_named(missing)}.", ""]
            if missing and not period
            else []
        ),
        f"| metric | value | {then} | change |",
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
    if shown.only is not None:
        return "\n".join(lines) + "\n"
    titles = " | ".join(markdown_text(METRICS_BY_NAME[name].title) for name in TABLE)
    lines += ["", f"| app | {titles} |", f"|---|{'---:|' * len(TABLE)}"]
    for app in (*now.apps, None):
        row = (app_label(app), *(now.text(name, app) for name in TABLE))
        lines.append(f"| {' | '.join(map(markdown_text, row))} |")
    if shown.topics is not None:
        lines += topic_lines(shown.topics)
    return "\n".join(lines) + "\n"


def _over_all_apps(now: DayValues) -> list[tuple[str, str | None]]:
    return [
        (metric.name, code)
        for metric in METRICS_BY_NAME.values()
        for code in (now.currencies if metric.grain is Grain.APP_CURRENCY else (None,))
    ]


def period_json(shown: PeriodReport) -> str:
    """Render days as one JSON object, numbers exact.

    Keys: `first`, `last`, `app` (null: all apps), `days`, `days_not_held`, `days_before` and
    `days_before_held` (null: not told), and `rows` with the columns of the report but `start`, in
    its order; `app_id` is null in the rows over all apps.
    """
    columns = ("app_id", "dimension", "label", "metric", "currency", "unit")
    rows = [
        dict(zip(columns, texts, strict=True))
        | {"value": _number(value), "previous": _number(previous)}
        for *texts, value, previous in shown.told.select(*columns, "value", "previous").iter_rows()
    ]
    document = {
        "first": shown.span.first,
        "last": shown.span.last,
        "app": shown.only,
        "days": len(shown.span.days),
        "days_not_held": _missing(shown),
        "days_before": len(shown.span.before().days),
        "days_before_held": shown.before_held,
        "rows": rows,
    }
    return msgspec.json.format(_JSON.encode(document), indent=1).decode() + "\n"


def _number(value: Decimal | None) -> Decimal | None:
    return None if value is None else Decimal(plain_number(value))


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
