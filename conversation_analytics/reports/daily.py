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

from conversation_analytics.core.metrics import METRICS, METRICS_BY_NAME, Grain, Metric, MetricType
from conversation_analytics.reports import charts
from conversation_analytics.reports.markup import csv_text, html_text, markdown_text
from conversation_analytics.reports.page import page
from conversation_analytics.reports.values import (
    UNKNOWN,
    DayValues,
    app_label,
    currency_label,
    days_of,
    long_date,
    month_name,
    one_day,
    plain_number,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from decimal import Decimal

    import polars as pl

_TOP_APPS = 12
_TREND_DAYS = 60
_LONG_VALUE = 9  # characters that a tile holds in large type
_TILES = (
    "turns", "conversations_new", "active_users", "engaged_users", "error_rate", "latency_p50",
    "latency_p95", "satisfaction",
)  # fmt: skip
_TABLE = (
    "turns", "conversations_new", "active_users", "engaged_users", "error_rate",
    "empty_answer_rate", "message_tokens", "answer_tokens", "latency_p50", "latency_p95",
    "time_to_first_token_p50", "output_speed", "satisfaction", "rating_coverage",
)  # fmt: skip
_TRENDS = ("turns", "active_users", "error_rate", "latency_p95")
_LATENCIES = ("latency_p50", "latency_p90", "latency_p95", "latency_p99")


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
    cards = [
        *([] if hourly is None else [_hourly_card(hourly)]),
        _turns_card(today),
        _latency_card(today),
        *(_cost_card(today, currency) for currency in today.currencies),
        _errors_card(today),
        *([_trend_card([*earlier, today][-_TREND_DAYS:])] if earlier else []),
        _apps_card(today),
        *(_card(section.title, section.body, wide=True) for section in sections),
        _definitions_card(today),
    ]
    count = len(today.apps)
    body = (
        f"<h1>{html_text(long_date(today.day))}</h1>\n"
        f'<p class="sub">Daily report over {count} {"app" if count == 1 else "apps"}. '
        "Debugger turns are left out.</p>\n"
        f"{_tiles(today, earlier)}\n"
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
        f"| {markdown_text(name)} | {markdown_text(text)} |" for name, _, text in _overall(today)
    ]
    names = _TABLE
    money = _money_columns(today)
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


def _tiles(today: DayValues, earlier: Sequence[DayValues]) -> str:
    yesterday = next((day for day in earlier if day.day == today.day - dt.timedelta(days=1)), None)
    shown: list[tuple[str, str | None]] = [(name, None) for name in _TILES]
    shown += [("cost", code) for code in today.currencies]
    tiles = []
    for name, code in shown:
        metric = METRICS_BY_NAME[name]
        change = "" if yesterday is None else _change(today, yesterday, name, code)
        title, text = metric.title, today.text(name, None, code)
        if metric.grain is Grain.APP_CURRENCY and today.get(name, None, code) is not None:
            # The currency stands above: with it an amount does not fit into a tile.
            title = f"{title}, {currency_label(code)}"
            text = text.removeprefix(f"{currency_label(code)} ")
        style = "value long" if len(text) > _LONG_VALUE else "value"
        tiles.append(
            f'<div class="tile" title="{html_text(metric.formula)}">'
            f'<div class="name">{html_text(title)}</div>'
            f'<div class="{style}">{html_text(text)}</div>'
            f'<div class="change">{html_text(change)}</div></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _change(today: DayValues, yesterday: DayValues, name: str, currency: str | None) -> str:
    new, old = today.get(name, None, currency), yesterday.get(name, None, currency)
    if new is None or old is None:
        return "no value the day before" if old is None else ""
    if METRICS_BY_NAME[name].type is MetricType.RATIO:
        return f"{_signed((new - old) * 100, 2)} points vs day before"
    if old == 0:
        return "as the day before" if new == 0 else "0 the day before"
    return f"{_signed((new - old) / old * 100, 1)}% vs day before"


def _signed(number: Decimal, places: int) -> str:
    text = f"{abs(number):.{places}f}"
    if not text.strip("0."):
        return f"±{text}"
    return f"{'▲' if number > 0 else '▼'} {text}"


def _hourly_card(hourly: pl.DataFrame) -> str:
    turns = dict(hourly.select("hour", "turns").iter_rows())
    if not any(turns.values()):
        return _card("Turns by hour", _nothing("No turns on this day."), wide=True)
    points = [
        (f"{hour:02}", float(turns.get(hour, 0)), f"{hour:02}:00, {turns.get(hour, 0):,} turns")
        for hour in range(24)
    ]
    chart = charts.columns(
        "Turns by hour of the day", points, x_title="hour of the day, local time", y_title="turns"
    )
    return _card("Turns by hour", chart, wide=True)


def _turns_card(today: DayValues) -> str:
    apps, rest = _top(today.apps, "turns")
    rows = [_row(today, app, ("turns",)) for app in apps]
    body = _nothing("No turns on this day.")
    if today.get("turns"):
        body = charts.bars("Turns by app", rows, series=("turns",), x_title="turns")
    return _card("Turns by app", body, note=rest)


def _latency_card(today: DayValues) -> str:
    if today.get(_LATENCIES[0]) is None:
        return _card("Latency", _nothing("No latency was measured on this day."))
    apps, rest = _top(today.apps, "turns")
    series = [name.removeprefix("latency_") for name in _LATENCIES]
    rows = [_row(today, app, _LATENCIES) for app in (None, *apps)]
    chart = charts.ranges(
        "Latency percentiles by app", rows, series=series, x_title="latency, seconds"
    )
    return _card("Latency", chart, note=rest)


def _cost_card(today: DayValues, currency: str | None) -> str:
    name = currency_label(currency)
    costs = {app: today.get("cost", app, currency) for app in today.apps}
    known = {app: cost for app, cost in costs.items() if cost is not None}
    # The dearest apps, not the busiest: one expensive app with few turns shall not hide.
    apps, rest = _top(sorted(known, key=lambda app: -known[app]), "cost")
    rows = [_row(today, app, ("cost",), currency) for app in apps]
    if not rows:
        return _card("Cost", _nothing(f"No prices{f' in {name}' if currency else ''} on this day."))
    title = f"Cost by app, {name}"
    return _card(title, charts.bars(title, rows, series=("cost",), x_title=name), note=rest)


def _errors_card(today: DayValues) -> str:
    failing = [
        app for app in today.apps if today.get("errors", app) or today.get("empty_answers", app)
    ]
    apps, rest = _top(
        sorted(
            failing,
            key=lambda app: max(today.get(name, app) or 0 for name in ("errors", "empty_answers")),
            reverse=True,
        ),
        "errors or empty answers",
    )
    rows = [
        charts.Row(
            app_label(app),
            tuple(_number(today.get(name, app)) for name in ("errors", "empty_answers")),
            tuple(
                f"{today.text(name, app)} ({today.text(rate, app)})"
                for name, rate in (
                    ("errors", "error_rate"),
                    ("empty_answers", "empty_answer_rate"),
                )
            ),
        )
        for app in apps
    ]
    chart = charts.bars(
        "Errors and empty answers by app", rows, series=("errors", "empty answers"),
        x_title="turns (share of the app's turns)",
    )  # fmt: skip
    nothing = "No errors and no empty answers" if today.get("turns") else "No turns"
    body = chart if rows else _nothing(f"{nothing} on this day.")
    return _card("Errors and empty answers", body, note=rest)


def _trend_card(days: Sequence[DayValues]) -> str:
    shown: list[tuple[str, str | None]] = [(name, None) for name in _TRENDS]
    shown += [("cost", code) for code in days[-1].currencies if code is not None]
    parts = []
    for name, code in shown:
        metric = METRICS_BY_NAME[name]
        percent = metric.type is MetricType.RATIO
        points = [
            (
                day.day,
                _number(day.get(name, None, code), scale=100 if percent else 1),
                f"{day.day.isoformat()}: {day.text(name, None, code)}",
            )
            for day in days
        ]
        unit = {MetricType.RATIO: "%", MetricType.MONEY: currency_label(code)}
        y_title = f"{metric.title}, {unit.get(metric.type, metric.unit)}"
        parts.append(charts.trend(f"{metric.title} over days", points, y_title=y_title))
    return _card("Trend", f'<div class="trends">{"".join(parts)}</div>', wide=True)


def _apps_card(today: DayValues) -> str:
    money = _money_columns(today)
    keys: list[tuple[str, str | None]] = [*((name, None) for name in _TABLE), *money]
    heads = ["App"]
    for name, code in keys:
        title = METRICS_BY_NAME[name].title
        heads.append(title if name in _TABLE else f"{title} {currency_label(code)}")
    head = "".join(
        f'<th scope="col"><button type="button">{html_text(text)}</button></th>' for text in heads
    )
    rows = "".join(_table_row(today, app, keys) for app in today.apps)
    body = (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody><tfoot>{_table_row(today, None, keys)}</tfoot></table></div>"
    )
    note = (
        "A click on a heading sorts. A user of several apps counts once in the last row; "
        "percentiles there are of all turns, not averages."
    )
    return _card("Apps", body, wide=True, note=note)


def _table_row(today: DayValues, app: str | None, keys: Sequence[tuple[str, str | None]]) -> str:
    label = html_text(app_label(app))
    cells = [f'<td data-v="{label}" title="{label}"><bdi>{label}</bdi></td>']
    for name, code in keys:
        value = plain_number(today.get(name, app, code))
        cells.append(f'<td data-v="{value}">{html_text(today.text(name, app, code))}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _definitions_card(today: DayValues) -> str:
    rows = "".join(
        f"<tr><td>{html_text(name)}</td><td>{html_text(text)}</td>"
        f"<td>{html_text(metric.formula)}</td><td>{html_text(metric.null_rule)}</td></tr>"
        for name, metric, text in _overall(today)
    )
    return (
        '<section class="card wide"><details><summary>All metrics and their definitions</summary>'
        '<div class="scroll"><table class="left"><thead><tr><th scope="col">Metric</th>'
        '<th scope="col">Value, all apps</th><th scope="col">Definition</th>'
        f'<th scope="col">Unknown ({UNKNOWN})</th></tr></thead><tbody>{rows}</tbody></table>'
        "</div></details></section>\n"
    )


def _overall(today: DayValues) -> Iterator[tuple[str, Metric, str]]:
    """Yield title, metric and text of every value over all apps."""
    for metric in METRICS:
        money = metric.grain is Grain.APP_CURRENCY
        for code in today.currencies if money else (None,):
            value = today.get(metric.name, None, code)
            yield metric.title, metric, value_text(metric, value, code)


def _money_columns(today: DayValues) -> list[tuple[str, str | None]]:
    names = [metric.name for metric in METRICS if metric.grain is Grain.APP_CURRENCY]
    return [(name, code) for code in today.currencies for name in names]


def _top(apps: Sequence[str], most: str) -> tuple[Sequence[str], str]:
    """Return the first apps, which charts show, and what to say about the others."""
    left = len(apps) - _TOP_APPS
    rest = "" if left <= 0 else f"The {_TOP_APPS} apps with most {most}; {left} more in the table."
    return apps[:_TOP_APPS], rest


def _row(
    today: DayValues, app: str | None, names: Sequence[str], currency: str | None = None
) -> charts.Row:
    texts = tuple(today.text(name, app, currency) for name in names)
    return charts.Row(
        app_label(app),
        tuple(_number(today.get(name, app, currency)) for name in names),
        texts,
        strong=app is None,
        ends=tuple(text.removeprefix(f"{currency_label(currency)} ") for text in texts),
    )


def _number(value: Decimal | None, *, scale: int = 1) -> float | None:
    return None if value is None else float(value * scale)


def _nothing(text: str) -> str:
    return f'<p class="note">{html_text(text)}</p>'


def _card(title: str, body: str, *, wide: bool = False, note: str = "") -> str:
    below = f'<p class="note">{html_text(note)}</p>' if note else ""
    style = "card wide" if wide else "card"
    return f'<section class="{style}"><h2>{html_text(title)}</h2>{body}{below}</section>\n'
