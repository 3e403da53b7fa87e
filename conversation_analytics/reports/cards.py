"""The cards that reports of any period are put together from.

Every text from outside is escaped here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conversation_analytics.core.metrics import METRICS, METRICS_BY_NAME, Grain, Metric, MetricType
from conversation_analytics.reports import charts
from conversation_analytics.reports.markup import html_text
from conversation_analytics.reports.values import (
    UNKNOWN,
    DayValues,
    app_label,
    currency_label,
    plain_number,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    import polars as pl

_TOP_APPS = 12
TREND_DAYS = 60
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
_TRENDS = ("turns", "active_users", "error_rate", "latency_p95")
_LATENCIES = ("latency_p50", "latency_p90", "latency_p95", "latency_p99")


def tiles(today: DayValues, before: DayValues | None) -> str:
    """Show the metrics that matter most, and how they have changed since the period before."""
    shown: list[tuple[str, str | None]] = [(name, None) for name in _TILES]
    shown += [("cost", code) for code in today.currencies]
    parts = []
    for name, code in shown:
        metric = METRICS_BY_NAME[name]
        change = "" if before is None else change_text(today, before, name, code)
        title, text = metric.title, today.text(name, None, code)
        if metric.grain is Grain.APP_CURRENCY and today.get(name, None, code) is not None:
            # The currency stands above: with it an amount does not fit into a tile.
            title = f"{title}, {currency_label(code)}"
            text = text.removeprefix(f"{currency_label(code)} ")
        style = "value long" if len(text) > _LONG_VALUE else "value"
        parts.append(
            f'<div class="tile" title="{html_text(metric.formula)}">'
            f'<div class="name">{html_text(title)}</div>'
            f'<div class="{style}">{html_text(text)}</div>'
            f'<div class="change">{html_text(change)}</div></div>'
        )
    return f'<div class="tiles">{"".join(parts)}</div>'


def change_text(today: DayValues, before: DayValues, name: str, currency: str | None) -> str:
    """Say how a value over all apps has changed since the period before."""
    new, old = today.get(name, None, currency), before.get(name, None, currency)
    span = f"{today.period.value} before"
    if new is None or old is None:
        return f"no value the {span}" if old is None else ""
    if METRICS_BY_NAME[name].type is MetricType.RATIO:
        return f"{_signed((new - old) * 100, 2)} points vs {span}"
    if old == 0:
        return f"as the {span}" if new == 0 else f"0 the {span}"
    return f"{_signed((new - old) / old * 100, 1)}% vs {span}"


def _signed(number: Decimal, places: int) -> str:
    text = f"{abs(number):.{places}f}"
    if not text.strip("0."):
        return f"±{text}"
    return f"{'▲' if number > 0 else '▼'} {text}"


def hourly_card(today: DayValues, hourly: pl.DataFrame) -> str:
    """Show the turns by hour: columns `hour`, `turns`."""
    turns = dict(hourly.select("hour", "turns").iter_rows())
    if not any(turns.values()):
        return card("Turns by hour", nothing(f"No turns {today.within}."), wide=True)
    points = [
        (f"{hour:02}", float(turns.get(hour, 0)), f"{hour:02}:00, {turns.get(hour, 0):,} turns")
        for hour in range(24)
    ]
    chart = charts.columns(
        "Turns by hour of the day", points, x_title="hour of the day, local time", y_title="turns"
    )
    return card("Turns by hour", chart, wide=True)


def turns_card(today: DayValues) -> str:
    """Show the turns of the busiest apps."""
    apps, rest = _top(today.apps, "turns")
    rows = [_row(today, app, ("turns",)) for app in apps]
    body = nothing(f"No turns {today.within}.")
    if today.get("turns"):
        body = charts.bars("Turns by app", rows, series=("turns",), x_title="turns")
    return card("Turns by app", body, note=rest)


def latency_card(today: DayValues) -> str:
    """Show the latency percentiles of the busiest apps."""
    if today.get(_LATENCIES[0]) is None:
        return card("Latency", nothing(f"No latency was measured {today.within}."))
    apps, rest = _top(today.apps, "turns")
    series = [name.removeprefix("latency_") for name in _LATENCIES]
    rows = [_row(today, app, _LATENCIES) for app in (None, *apps)]
    chart = charts.ranges(
        "Latency percentiles by app", rows, series=series, x_title="latency, seconds"
    )
    return card("Latency", chart, note=rest)


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
    what = "No errors and no empty answers" if today.get("turns") else "No turns"
    body = chart if rows else nothing(f"{what} {today.within}.")
    return card("Errors and empty answers", body, note=rest)


def trend_card(days: Sequence[DayValues]) -> str:
    """Show the metrics that matter most over days."""
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
    return card("Trend", f'<div class="trends">{"".join(parts)}</div>', wide=True)


def apps_card(today: DayValues) -> str:
    """Show a sortable table of all apps."""
    money = money_columns(today)
    keys: list[tuple[str, str | None]] = [*((name, None) for name in TABLE), *money]
    heads = ["App"]
    for name, code in keys:
        title = METRICS_BY_NAME[name].title
        heads.append(title if name in TABLE else f"{title} {currency_label(code)}")
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
    return card("Apps", body, wide=True, note=note)


def _table_row(today: DayValues, app: str | None, keys: Sequence[tuple[str, str | None]]) -> str:
    label = html_text(app_label(app))
    cells = [f'<td data-v="{label}" title="{label}"><bdi>{label}</bdi></td>']
    for name, code in keys:
        value = plain_number(today.get(name, app, code))
        cells.append(f'<td data-v="{value}">{html_text(today.text(name, app, code))}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def definitions_card(today: DayValues) -> str:
    """Show every metric with its value over all apps and its definition."""
    rows = "".join(
        f"<tr><td>{html_text(name)}</td><td>{html_text(text)}</td>"
        f"<td>{html_text(metric.formula)}</td><td>{html_text(metric.null_rule)}</td>"
        f"<td><code>{html_text(drill_down(today, metric.name))}</code></td></tr>"
        for name, metric, text in overall(today)
    )
    return (
        '<section class="card wide"><details><summary>All metrics and their definitions</summary>'
        '<div class="scroll"><table class="left"><thead><tr><th scope="col">Metric</th>'
        '<th scope="col">Value, all apps</th><th scope="col">Definition</th>'
        f'<th scope="col">Unknown ({UNKNOWN})</th><th scope="col">Its conversations</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div></details></section>\n"
    )


def drill_down(today: DayValues, metric: str) -> str:
    """Return the command that lists the conversations behind a figure over all apps."""
    last = today.period.end_of(today.day)
    return f"conversation-analytics query --metric {metric} --from {today.day} --to {last}"


def overall(today: DayValues) -> Iterator[tuple[str, Metric, str]]:
    """Yield title, metric and text of every value over all apps."""
    for metric in METRICS:
        money = metric.grain is Grain.APP_CURRENCY
        for code in today.currencies if money else (None,):
            value = today.get(metric.name, None, code)
            yield metric.title, metric, value_text(metric, value, code)


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
        tuple(_number(today.get(name, app, currency)) for name in names),
        texts,
        strong=app is None,
        ends=tuple(text.removeprefix(f"{currency_label(currency)} ") for text in texts),
    )


def _number(value: Decimal | None, *, scale: int = 1) -> float | None:
    return None if value is None else float(value * scale)


def nothing(text: str) -> str:
    """Return a plain text in place of a chart."""
    return f'<p class="note">{html_text(text)}</p>'


def card(title: str, body: str, *, wide: bool = False, note: str = "") -> str:
    """Return a card: `title` and `note` are plain text, `body` is HTML."""
    below = f'<p class="note">{html_text(note)}</p>' if note else ""
    style = "card wide" if wide else "card"
    return f'<section class="{style}"><h2>{html_text(title)}</h2>{body}{below}</section>\n'
