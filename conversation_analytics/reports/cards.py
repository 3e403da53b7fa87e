"""The cards that reports of any period are put together from.

Every text from outside is escaped here.
"""

from __future__ import annotations

import shlex
from decimal import Decimal
from typing import TYPE_CHECKING

from conversation_analytics.core.drill_down import conversations_sql
from conversation_analytics.core.metrics import METRICS, METRICS_BY_NAME, Grain, Metric, MetricType
from conversation_analytics.reports import charts, tables
from conversation_analytics.reports.drawings import Drawing
from conversation_analytics.reports.markup import html_text
from conversation_analytics.reports.values import (
    UNKNOWN,
    DayValues,
    app_label,
    bare_text,
    currency_label,
    heading,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

_TOP_APPS = 12
_LONG_VALUE = 9  # characters that a tile holds in large type
_TILES = (
    "turns", "conversations_new", "active_users", "engaged_users", "error_rate", "latency_p50",
    "latency_p95", "satisfaction",
)  # fmt: skip
TABLE = (
    "turns", "conversations_new", "active_users", "engaged_users", "error_rate",
    "empty_answer_rate", "message_tokens", "answer_tokens", "latency_p50", "latency_p95",
    "time_to_first_token_p50", "output_speed", "satisfaction", "rating_coverage",
)  # fmt: skip
LATENCIES = ("latency_p50", "latency_p90", "latency_p95", "latency_p99")


def tiles(
    today: DayValues,
    before: DayValues | None,
    *,
    anchors: Mapping[str, str] | None = None,
    days: Sequence[DayValues | None] = (),
) -> str:
    """Show the metrics that matter most, and how they have changed since the period before.

    Args:
        today: of the page.
        before: of the period before; None where it is not known.
        anchors: where a tile leads, by metric; the others lead to their definition.
        days: of the period, None for those that are not held: their course is drawn.
    """
    shown: list[tuple[str, str | None]] = [(name, None) for name in _TILES]
    shown += [("cost", code) for code in today.currencies]
    parts = []
    for name, code in shown:
        metric = METRICS_BY_NAME[name]
        change = "" if before is None else change_text(today, before, name, code)
        title, text = metric.title, today.text(name, None, code)
        if metric.grain is Grain.APP_CURRENCY and (code or today.get(name, None, code) is not None):
            # The currency stands above: with it an amount does not fit into a tile.
            title = f"{title}, {currency_label(code)}"
            text = text.removeprefix(f"{currency_label(code)} ")
        style = "value long" if len(text) > _LONG_VALUE else "value"
        course = [None if day is None else as_float(day.get(name, None, code)) for day in days]
        anchor = (anchors or {}).get(name) or definition_anchor(name)
        parts.append(
            f'<a class="tile" href="#{anchor}" title="{html_text(metric.formula)}">'
            f'<div class="name">{html_text(title)}</div>'
            f'<div class="{style}">{html_text(text)}</div>'
            f'<div class="change">{html_text(change)}</div>{charts.spark(course)}</a>'
        )
    return f'<div class="tiles">{"".join(parts)}</div>'


def definition_anchor(name: str) -> str:
    """Return the fragment of the row that defines a metric."""
    return f"metric-{name}"


def change_text(today: DayValues, before: DayValues, name: str, currency: str | None) -> str:
    """Say how a value over all apps has changed since the period before; '' if it is unknown."""
    new, old = today.get(name, None, currency), before.get(name, None, currency)
    if new is None or old is None:
        return "" if new is None else "unknown before"
    if METRICS_BY_NAME[name].type is MetricType.RATIO:
        return f"{_signed((new - old) * 100, 2)} points"
    if old == 0:
        return "unchanged" if new == 0 else "0 before"
    # Of the amount before: a price may be below 0.
    return f"{_signed((new - old) / abs(old) * 100, 1)}%"


def _signed(number: Decimal, places: int) -> str:
    text = f"{abs(number):.{places}f}"
    if not text.strip("0."):
        return f"±{text}"
    return f"{'▲' if number > 0 else '▼'} {text}"


def hourly_card(today: DayValues, hourly: pl.DataFrame) -> str:
    """Show the turns by hour: columns `hour`, `turns`."""
    return card("Turns by hour", hourly_chart(hourly) or nothing(f"No turns {today.within}."))


def hourly_chart(hourly: pl.DataFrame) -> Drawing | None:
    """Draw the turns by hour, columns `hour`, `turns`; None where there are none."""
    turns = dict(hourly.select("hour", "turns").iter_rows())
    if not any(turns.values()):
        return None
    points = [
        charts.Point(
            f"{hour:02}",
            (float(turns.get(hour, 0)),),
            f"{hour:02}:00, {turns.get(hour, 0):,} turns",
        )
        for hour in range(24)
    ]
    return charts.columns(
        "Turns by hour of the day", points, x_title="hour of the day, local time", y_title="turns",
        whole=True,
    )  # fmt: skip


def turns_card(today: DayValues) -> str:
    """Show the turns of the busiest apps."""
    chart, (_, rest) = turns_chart(today), _top(today.apps, "turns")
    return card("Turns by app", chart or nothing(f"No turns {today.within}."), note=rest)


def turns_chart(today: DayValues) -> Drawing | None:
    """Draw the turns of the busiest apps; None where there are none."""
    if not today.get("turns"):
        return None
    rows = [_row(today, app, ("turns",)) for app in _top(today.apps, "turns")[0]]
    return charts.bars("Turns by app", rows, series=("turns",), x_title="turns", whole=True)


def latency_card(today: DayValues) -> str:
    """Show the latency percentiles of the busiest apps."""
    chart, (_, rest) = latency_chart(today), _top(today.apps, "turns")
    unknown = nothing(f"No latency was measured {today.within}.")
    return card("Latency", chart or unknown, note=rest if chart else "")


def latency_chart(today: DayValues) -> Drawing | None:
    """Draw the latency percentiles of the busiest apps; None where none was measured."""
    if today.get(LATENCIES[0]) is None:
        return None
    series = [name.removeprefix("latency_") for name in LATENCIES]
    rows = [_row(today, app, LATENCIES) for app in (None, *_top(today.apps, "turns")[0])]
    return charts.ranges(
        "Latency percentiles by app", rows, series=series, x_title="latency, seconds"
    )


def cost_card(today: DayValues, currency: str | None) -> str:
    """Show the dearest apps in one currency."""
    name = currency_label(currency)
    costs = {app: today.get("cost", app, currency) for app in today.apps}
    known = {app: cost for app, cost in costs.items() if cost is not None}
    # The dearest apps, not the busiest: one expensive app with few turns shall not hide.
    apps, rest = _top(sorted(known, key=lambda app: -known[app]), "cost")
    rows = [_row(today, app, ("cost",), currency) for app in apps]
    if not rows:
        return card(
            "Cost", nothing(f"No prices{f' in {name}' if currency else ''} {today.within}.")
        )
    title = f"Cost by app, {name}"
    return card(title, charts.bars(title, rows, series=("cost",), x_title=name), note=rest)


def errors_card(today: DayValues) -> str:
    """Show the apps with most errors and empty answers."""
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
            tuple(as_float(today.get(name, app)) for name in ("errors", "empty_answers")),
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
        x_title="turns (share of the app's turns)", whole=True,
    )  # fmt: skip
    what = "No errors and no empty answers" if today.get("turns") else "No turns"
    body = chart if rows else nothing(f"{what} {today.within}.")
    return card("Errors and empty answers", body, note=rest)


def apps_card(today: DayValues) -> str:
    """Show a sortable table of all apps."""
    money = money_columns(today)
    keys: list[tuple[str, str | None]] = [*((name, None) for name in TABLE), *money]
    heads = ["App", *(heading(METRICS_BY_NAME[name], code) for name, code in keys)]
    most = max((today.get("turns", app) or Decimal(0) for app in today.apps), default=Decimal(0))
    rows = (_table_row(today, app, keys, most) for app in today.apps)
    note = (
        "A click on a heading sorts. A user of several apps counts once in the last row; "
        "percentiles there are of all turns, not averages."
    )
    body = tables.sortable(heads, rows, _table_row(today, None, keys))
    return card("Apps", body, wide=True, note=note)


def _table_row(
    today: DayValues,
    app: str | None,
    keys: Sequence[tuple[str, str | None]],
    most_turns: Decimal | None = None,
) -> str:
    cells = [tables.named(app_label(app))]
    for name, code in keys:
        value = today.get(name, app, code)
        text = bare_text(METRICS_BY_NAME[name], value, code)
        cells.append(tables.number(value, text, most_turns if name == "turns" else None))
    return tables.row(cells)


def definitions_card(today: DayValues) -> str:
    """Show every metric with its value over all apps, its definition and its conversations."""
    rows, seen = [], set()
    whose = "all apps" if today.only is None else "this app"
    for name, metric, text, code in overall(today):
        anchor = "" if metric.name in seen else f' id="{definition_anchor(metric.name)}"'
        seen.add(metric.name)
        of_currency = f", {currency_label(code)}" if metric.grain is Grain.APP_CURRENCY else ""
        rows.append(
            f"<tr{anchor}><td>{html_text(name + of_currency)}</td><td>{html_text(text)}</td>"
            f"<td>{html_text(metric.formula)}{_behind(metric, today, code)}</td>"
            f"<td>{html_text(metric.null_rule)}</td></tr>"
        )
    return (
        '<section class="card wide" id="definitions"><details><summary>All metrics, their '
        "definitions and the conversations behind them</summary>"
        '<div class="scroll"><table class="left"><thead><tr><th scope="col">Metric</th>'
        f'<th scope="col">Value, {html_text(whose)}</th><th scope="col">Definition</th>'
        f'<th scope="col">Unknown ({UNKNOWN})</th></tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div></details></section>\n"
    )


def _behind(metric: Metric, today: DayValues, code: str | None) -> str:
    """Return how to list the conversations behind a figure: a command, and its SQL."""
    money = metric.grain is Grain.APP_CURRENCY
    currency = (code or "") if money else None
    first, last = today.span.first, today.span.last
    days = f"--from {first.isoformat()} --to {last.isoformat()}"
    command = f"conversation-analytics query --metric {metric.name} {days}"
    if currency is not None:
        command += f" --currency {shlex.quote(currency)}"
    if today.only is not None:
        command += f" --app {shlex.quote(today.only)}"
    sql = conversations_sql(metric, start=first, end=last, app_id=today.only, currency=currency)
    return (
        '<details class="sql"><summary>Conversations</summary>'
        f"<pre><code>{html_text(command)}</code></pre><p>or, in SQL over the lake:</p>"
        f"<pre><code>{html_text(sql)}</code></pre></details>"
    )


def overall(today: DayValues) -> Iterator[tuple[str, Metric, str, str | None]]:
    """Yield title, metric, text and currency of every value over all apps."""
    for metric in METRICS:
        money = metric.grain is Grain.APP_CURRENCY
        for code in today.currencies if money else (None,):
            value = today.get(metric.name, None, code)
            yield metric.title, metric, value_text(metric, value, code), code


def money_columns(today: DayValues) -> list[tuple[str, str | None]]:
    """Return the metrics of money in each currency that there is."""
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
        tuple(as_float(today.get(name, app, currency)) for name in names),
        texts,
        strong=app is None,
        ends=tuple(text.removeprefix(f"{currency_label(currency)} ") for text in texts),
    )


def as_float(value: Decimal | None, *, scale: int = 1) -> float | None:
    """Return a number for a chart."""
    return None if value is None else float(value * scale)


def nothing(text: str) -> str:
    """Return a plain text in place of a chart."""
    return f'<p class="note">{html_text(text)}</p>'


def card(
    title: str, body: str | Drawing, *, wide: bool = False, note: str = "", anchor: str = ""
) -> str:
    """Return a card: `title` and `note` are plain text, `body` is HTML or a drawing."""
    if isinstance(body, Drawing):
        body = body.in_page()
    below = f'<p class="note">{html_text(note)}</p>' if note else ""
    style = "card wide" if wide else "card"
    name = f' id="{anchor}"' if anchor else ""
    return f'<section class="{style}"{name}><h2>{html_text(title)}</h2>{body}{below}</section>\n'
