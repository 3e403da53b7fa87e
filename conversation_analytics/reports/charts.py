"""Charts as inline SVG: axes with units, hover titles, colours from the page's style sheet.

Every text given to these functions is escaped here.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conversation_analytics.reports.markup import html_text
from conversation_analytics.reports.values import compact_number

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

_WIDTH = 560
_MIN_BAR = 1.5
_ROW = 26
_LABELS = 172  # room for the labels left of horizontal charts
_GAP = 8  # between a label and its row
_MAX_END = 170
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a horizontal chart.

    Attributes:
        label: name at the left.
        values: one number per series, None where unknown.
        texts: what the hover titles say about each number.
        strong: set off, as the row over all apps is.
        ends: what stands at the ends of the bars, where that is shorter than `texts`.
    """

    label: str
    values: tuple[float | None, ...]
    texts: tuple[str, ...]
    strong: bool = False
    ends: tuple[str, ...] = ()


def columns(
    title: str,
    points: Sequence[tuple[str, float, str]],
    *,
    x_title: str,
    y_title: str,
    width: int = 2 * _WIDTH,
    height: int = 220,
) -> str:
    """Draw vertical bars.

    Args:
        title: what the chart shows, for screen readers.
        points: label, number and hover text of each bar.
        x_title: name of the horizontal axis.
        y_title: name and unit of the vertical axis.
        width: of the drawing, in its own units.
        height: of the drawing, in its own units.
    """
    left, right, top, bottom = 52, 8, 22, 38
    plot_width, plot_height = width - left - right, height - top - bottom
    ticks = nice_ticks(max((value for _, value, _ in points), default=0), whole=True)
    parts = _horizontal_grid(ticks, left, top, plot_width, plot_height, compact_number)
    step = plot_width / max(len(points), 1)
    for index, (label, value, text) in enumerate(points):
        x, tall = left + index * step, plot_height * value / ticks[-1]
        if value > 0:
            tall = max(tall, _MIN_BAR)
            parts.append(
                f'<rect class="s1" x="{_n(x + step * 0.12)}" y="{_n(top + plot_height - tall)}" '
                f'width="{_n(step * 0.76)}" height="{_n(tall)}" rx="2"/>'
            )
        # The whole height answers to the pointer, so that low bars and zeros tell their number.
        parts.append(
            f'<rect class="hit" x="{_n(x)}" y="{top}" width="{_n(step)}" '
            f'height="{_n(plot_height)}">{_title(text)}</rect>'
        )
        parts.append(_text(x + step / 2, top + plot_height + 15, label, "tick middle"))
    parts.append(_text(left + plot_width / 2, height - 4, x_title, "axis middle"))
    parts.append(_text(0, 12, y_title, "axis"))
    return _svg(title, width, height, parts)


def bars(title: str, rows: Sequence[Row], *, series: Sequence[str], x_title: str) -> str:
    """Draw horizontal bars, for several series one below the other in each row.

    Args:
        title: what the chart shows, for screen readers.
        rows: from top to bottom.
        series: names for the legend, which a single series does not need.
        x_title: name and unit of the horizontal axis.
    """
    top = 8 if len(series) == 1 else 28
    row_height = _ROW if len(series) == 1 else 15 * len(series) + 8
    ends = [[_short(text, _MAX_END) for text in row.ends or row.texts] for row in rows]
    right = 12 + max((_text_width(text) for row in ends for text in row), default=0)
    plot_width, plot_height = _WIDTH - _LABELS - right, row_height * len(rows)
    known = [value for row in rows for value in row.values if value is not None]
    ticks = nice_ticks(max(known, default=0))
    parts = _vertical_grid(ticks, top, plot_width, plot_height)
    if len(series) > 1:
        parts += _legend([(f"s{i + 1}", name) for i, name in enumerate(series)])
    thick = (row_height - 8) / len(series)
    for index, row in enumerate(rows):
        y = top + index * row_height + 4
        parts.append(_label(row, y + (row_height - 8) / 2 + 4))
        for number, value in enumerate(row.values):
            bar_y = y + number * thick
            long = 0.0 if value is None else max(plot_width * value / ticks[-1], 0.0)
            if value:
                long = max(long, _MIN_BAR)
                parts.append(
                    f'<rect class="s{number + 1}" x="{_LABELS}" y="{_n(bar_y)}" '
                    f'width="{_n(long)}" height="{_n(thick - 1)}" rx="2"/>'
                )
            name = f", {series[number]}" if len(series) > 1 else ""
            parts.append(
                f'<rect class="hit" x="{_LABELS}" y="{_n(bar_y)}" width="{_n(_WIDTH - _LABELS)}" '
                f'height="{_n(thick)}">{_title(f"{row.label}{name}: {row.texts[number]}")}</rect>'
            )
            end = bar_y + thick / 2 + 3.5
            parts.append(_text(_LABELS + long + 6, end, ends[index][number], "end"))
    parts.append(_x_title(x_title, top + plot_height + 34, plot_width))
    return _svg(title, _WIDTH, top + plot_height + 40, parts)


def ranges(title: str, rows: Sequence[Row], *, series: Sequence[str], x_title: str) -> str:
    """Draw a line from the least to the greatest number of each row, with a dot for each.

    Args:
        title: what the chart shows, for screen readers.
        rows: from top to bottom, numbers in ascending order.
        series: names of the dots, for the legend.
        x_title: name and unit of the horizontal axis.
    """
    top = 28
    plot_width, plot_height = _WIDTH - _LABELS - 20, _ROW * len(rows)
    known = [value for row in rows for value in row.values if value is not None]
    ticks = nice_ticks(max(known, default=0))
    parts = _vertical_grid(ticks, top, plot_width, plot_height)
    parts += _legend([(f"q{i + 1}", name) for i, name in enumerate(series)])
    for index, row in enumerate(rows):
        y = top + (index + 0.5) * _ROW
        parts.append(_label(row, y + 4))
        dots = [
            (_LABELS + plot_width * value / ticks[-1], number)
            for number, value in enumerate(row.values)
            if value is not None
        ]
        if not dots:
            parts.append(_text(_LABELS + 6, y + 4, "no measurement", "tick"))
            continue
        ends = f'x1="{_n(dots[0][0])}" x2="{_n(dots[-1][0])}" y1="{_n(y)}" y2="{_n(y)}"'
        parts.append(f'<line class="span" {ends}/>')
        parts += [
            f'<circle class="q{number + 1}" cx="{_n(x)}" cy="{_n(y)}" r="5">'
            f"{_title(f'{row.label}, {series[number]}: {row.texts[number]}')}</circle>"
            for x, number in dots
        ]
    parts.append(_x_title(x_title, top + plot_height + 34, plot_width))
    return _svg(title, _WIDTH, top + plot_height + 40, parts)


def heat(
    title: str,
    cells: Sequence[Sequence[tuple[float, str]]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    x_title: str,
) -> str:
    """Draw a table of numbers as shades: the darker, the more; empty cells stay empty.

    Args:
        title: what the chart shows, for screen readers.
        cells: by row and column a number and its hover text.
        rows: names at the left.
        columns: names below, every third of which is shown.
        x_title: name of the columns.
    """
    left, cell, height = 46, 43, 24
    most = max((number for row in cells for number, _ in row), default=0.0)
    parts = []
    for y, (name, row) in enumerate(zip(rows, cells, strict=True)):
        parts.append(_text(0, y * height + 16, name, "tick"))
        for x, (number, text) in enumerate(row):
            shade = f"{0.12 + 0.88 * number / most:.2f}" if number else "1"
            parts.append(
                f'<rect class="{"s1" if number else "none"}" x="{left + x * cell}" '
                f'y="{y * height}" width="{cell - 2}" height="{height - 2}" rx="3" '
                f'fill-opacity="{shade}">{_title(text)}</rect>'
            )
    bottom = len(rows) * height + 14
    parts += [_text(left + x * cell, bottom, columns[x], "tick") for x in range(0, len(columns), 3)]
    width = left + len(columns) * cell
    parts.append(_x_title(x_title, bottom + 18, width))
    return _svg(title, width, bottom + 24, parts)


def trend(
    title: str,
    points: Sequence[tuple[dt.date, float | None, str]],
    *,
    y_title: str,
    tick_text: Callable[[float], str] = compact_number,
) -> str:
    """Draw numbers over days; unknown days are gaps, the last known day is set off.

    Args:
        title: what the chart shows, for screen readers.
        points: day, number or None, and hover text, days ascending.
        y_title: name and unit of the vertical axis.
        tick_text: writes the numbers of the vertical axis.
    """
    width, height, left, right, top, bottom = 360, 170, 46, 18, 24, 24
    plot_width, plot_height = width - left - right, height - top - bottom
    ticks = nice_ticks(max((value or 0 for _, value, _ in points), default=0))
    parts = _horizontal_grid(ticks, left, top, plot_width, plot_height, tick_text)
    first, days = points[0][0], max((points[-1][0] - points[0][0]).days, 1)
    placed = [
        (
            left + plot_width * (day - first).days / days,
            None if value is None else top + plot_height * (1 - value / ticks[-1]),
            day,
            text,
        )
        for day, value, text in points
    ]
    path, drawing, before = "", False, first
    for x, y, day, _ in placed:
        joined = drawing and (day - before).days == 1
        if y is not None:
            path += f"{'L' if joined else 'M'}{_n(x)} {_n(y)}"
        drawing, before = y is not None, day
    parts.append(f'<path class="line" d="{path}"/>')
    known = [(x, y, text) for x, y, _, text in placed if y is not None]
    for number, (x, y, text) in enumerate(known):
        last = number == len(known) - 1
        parts.append(
            f'<circle class="{"s1" if last else "dot"}" cx="{_n(x)}" cy="{_n(y)}" '
            f'r="{4 if last else 2.5}">{_title(text)}</circle>'
        )
    for x, _, day, _ in (placed[0], placed[-1]) if len(placed) > 1 else placed:
        side = "tick" if x < left + plot_width / 2 else "tick last"
        parts.append(_text(x, height - 6, day.isoformat(), side))
    parts.append(_text(0, 12, y_title, "axis"))
    return _svg(title, width, height, parts)


def nice_ticks(largest: float, *, whole: bool = False) -> list[float]:
    """Return about five round numbers from 0 to at least `largest`.

    Args:
        largest: the greatest number to show; 0 and below give the axis 0 to 1.
        whole: whole numbers only.
    """
    if largest <= 0:
        return [0.0, 1.0]
    rough = largest / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    return [round(step * i, 10) for i in range(math.ceil(largest / step - 1e-9) + 1)]


def _horizontal_grid(
    ticks: Sequence[float],
    left: float,
    top: float,
    width: float,
    height: float,
    tick_text: Callable[[float], str],
) -> list[str]:
    parts = []
    for tick in ticks:
        y = top + height * (1 - tick / ticks[-1])
        kind = "base" if tick == 0 else "grid"
        ends = f'x1="{left}" x2="{_n(left + width)}" y1="{_n(y)}" y2="{_n(y)}"'
        parts.append(f'<line class="{kind}" {ends}/>')
        parts.append(_text(left - 6, y + 4, tick_text(tick), "tick last"))
    return parts


def _vertical_grid(ticks: Sequence[float], top: float, width: float, height: float) -> list[str]:
    parts = []
    for tick in ticks:
        x = _LABELS + width * tick / ticks[-1]
        kind = "base" if tick == 0 else "grid"
        ends = f'x1="{_n(x)}" x2="{_n(x)}" y1="{top}" y2="{_n(top + height)}"'
        parts.append(f'<line class="{kind}" {ends}/>')
        parts.append(_text(x, top + height + 16, compact_number(tick), "tick middle"))
    return parts


def _legend(items: Sequence[tuple[str, str]]) -> list[str]:
    parts, x = [], float(_LABELS)
    for style, name in items:
        parts.append(f'<circle class="{style}" cx="{_n(x + 5)}" cy="10" r="5"/>')
        parts.append(_text(x + 15, 14, name, "tick"))
        x += 32 + _text_width(name)
    return parts


def _label(row: Row, y: float) -> str:
    style = "label strong last" if row.strong else "label last"
    shown = _short(row.label, _LABELS - _GAP)
    return (
        f'<text class="{style}" x="{_LABELS - _GAP}" y="{_n(y)}">'
        f"{html_text(shown)}{_title(row.label) if shown != row.label else ''}</text>"
    )


def _x_title(text: str, y: float, width: float) -> str:
    return _text(_LABELS + width / 2, y, text, "axis middle")


def _character_width(character: str) -> float:
    """Return at least what a character takes in the widest of the page's fonts, at 12 px."""
    if unicodedata.east_asian_width(character) in "WF":
        return 12.5
    if unicodedata.combining(character):
        return 0.0
    if character in " .,:;'!|ijl()[]/-":
        return 4.9
    if character in "mw%@MW—…":
        return 12.2
    return 9.3 if character.isupper() else 7.7


def _text_width(text: str) -> float:
    return sum(map(_character_width, text))


def _short(text: str, room: float) -> str:
    """Return `text`, its end replaced by an ellipsis where it needs more than `room`."""
    if _text_width(text) <= room:
        return text
    kept, used = "", _character_width("…")
    for character in text:
        used += _character_width(character)
        if used > room:
            break
        kept += character
    return kept + "…"


def _title(text: str) -> str:
    return f"<title>{html_text(text)}</title>"


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{_n(x)}" y="{_n(y)}">{html_text(text)}</text>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    label = html_text(title)
    return (
        f'<div class="chart"><svg viewBox="0 0 {_n(width)} {_n(height)}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg></div>'
    )


def _n(number: float) -> str:
    """Write a coordinate, short and the same on every machine."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
