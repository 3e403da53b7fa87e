"""Charts as inline SVG: axes with units, hover titles, colours from the page's style sheet.

Every text given to these functions is escaped here.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conversation_analytics.reports.drawings import Drawing
from conversation_analytics.reports.drawings import short as _n
from conversation_analytics.reports.markup import html_text
from conversation_analytics.reports.values import compact_number

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH = 560
_MIN_BAR = 1.5
_ROW = 26
_LABELS = 172  # room for the labels left of horizontal charts
_GAP = 8  # between a label and its row
_MAX_END = 170
_TICKS = 5
_LEFT, _TOP, _PLOT = 52, 26, 160  # of charts along days or hours: margins, height of the plot
_LONG_TOTAL = 100_000
_SHADES = ("q1", "q2", "q3", "q4")
_SERIES = ("s1", "s2")
_STACK = ("s1", "s3", "s2")
_BELOW = "s4"


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


@dataclass(frozen=True, slots=True)
class Point:
    """One step of a chart along days or hours.

    Attributes:
        label: name below the axis; where there is no room for all, some are left out.
        values: one number per series, None where unknown.
        text: what it says on hover.
        link: where a click leads; '' for nowhere.
    """

    label: str
    values: tuple[float | None, ...]
    text: str
    link: str = ""


def columns(
    title: str, points: Sequence[Point], *, x_title: str, y_title: str, whole: bool = False
) -> Drawing:
    """Draw vertical bars.

    Args:
        title: what the chart shows, for screen readers.
        points: one number each.
        x_title: name of the horizontal axis.
        y_title: name and unit of the vertical axis.
        whole: whole numbers on the axis only.
    """
    frame = _Frame.of(points, whole=whole)
    parts = frame.grid()
    for index, point in enumerate(points):
        value = point.values[0]
        if value:
            tall = max(_PLOT * value / frame.top, _MIN_BAR)
            parts.append(
                f'<rect class="s1" x="{_n(frame.left(index) + frame.step * 0.12)}" '
                f'y="{_n(_TOP + _PLOT - tall)}" width="{_n(frame.step * 0.76)}" '
                f'height="{_n(tall)}" rx="2"/>'
            )
    parts += frame.names(points)
    return frame.finished(title, parts, frame.hits(points), x_title, y_title)


def lines(
    title: str,
    points: Sequence[Point],
    *,
    series: Sequence[str],
    x_title: str,
    y_title: str,
    whole: bool = False,
) -> Drawing:
    """Draw a line for each series; what is unknown is a gap.

    Args:
        title: what the chart shows, for screen readers.
        points: a number for each series.
        series: names for the legend, which a single series does not need.
        x_title: name of the horizontal axis.
        y_title: name and unit of the vertical axis.
        whole: whole numbers on the axis only.
    """
    frame = _Frame.of(points, whole=whole)
    parts = frame.grid()
    styles = _SHADES[-len(series) :] if len(series) > 2 else _SERIES  # noqa: PLR2004 - colours
    if len(series) > 1:
        parts += _legend(list(zip(styles, series, strict=False)), right=_WIDTH - 8)
    for number in range(len(series)):
        path, drawing, dots = "", False, []
        for index, point in enumerate(points):
            value = point.values[number]
            if value is not None:
                x, y = frame.left(index) + frame.step / 2, _TOP + _PLOT * (1 - value / frame.top)
                path += f"{'L' if drawing else 'M'}{_n(x)} {_n(y)}"
                dots.append(f'<circle class="{styles[number]}" cx="{_n(x)}" cy="{_n(y)}" r="3"/>')
            drawing = value is not None
        parts.append(f'<path class="line {styles[number]}" d="{path}"/>')
        parts += dots
    parts += frame.names(points)
    return frame.finished(title, parts, frame.hits(points), x_title, y_title)


def stacked(
    title: str,
    points: Sequence[Point],
    *,
    series: Sequence[str],
    x_title: str,
    y_title: str,
) -> Drawing:
    """Draw whole numbers on top of each other, and those of the last series below the axis.

    Args:
        title: what the chart shows, for screen readers.
        points: a number for each series, at least 0.
        series: names for the legend; at most four.
        x_title: name of the horizontal axis.
        y_title: name and unit of the vertical axis.
    """
    ups = [sum(value or 0 for value in point.values[:-1]) for point in points]
    downs = [point.values[-1] or 0 for point in points]
    ticks = nice_ticks(max([*ups, *downs], default=0), whole=True)
    above = next(tick for tick in ticks if tick and tick >= max(ups, default=0))
    below = next(tick for tick in ticks if tick >= max(downs, default=0))
    scale, tall = _PLOT / (above + below), _PLOT * above / (above + below)
    frame = _Frame(ticks, (_WIDTH - _LEFT - 8) / max(len(points), 1))
    parts = []
    for tick in (
        *(one for one in ticks if one <= above),
        *(-one for one in ticks if 0 < one <= below),
    ):
        y = _TOP + tall - tick * scale
        ends = f'x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{_n(y)}" y2="{_n(y)}"'
        parts.append(f'<line class="{"grid" if tick else "base"}" {ends}/>')
        parts.append(_text(_LEFT - 6, y + 4, compact_number(abs(tick)), "tick last"))
    styles = (*_STACK[: len(series) - 1], _BELOW)
    parts += _legend(list(zip(styles, series, strict=True)), right=_WIDTH - 8)
    for index, point in enumerate(points):
        x, y = frame.left(index) + frame.step * 0.12, _TOP + tall
        for style, value in zip(styles, point.values, strict=True):
            high = (value or 0) * scale
            if style != _BELOW:
                y -= high
            top = _TOP + tall if style == _BELOW else y
            if high:
                parts.append(
                    f'<rect class="{style}" x="{_n(x)}" y="{_n(top)}" '
                    f'width="{_n(frame.step * 0.76)}" height="{_n(high)}"/>'
                )
    parts += frame.names(points)
    return frame.finished(title, parts, frame.hits(points), x_title, y_title)


def spark(values: Sequence[float | None]) -> str:
    """Draw the course of a number without axes, from 0 up; '' where fewer than two are known."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or max(known) <= 0:  # noqa: PLR2004 - a line has two ends
        return ""
    path, drawing, width, height = "", False, 120, 26
    for index, value in enumerate(values):
        if value is not None:
            x = width * index / (len(values) - 1)
            y = 2 + (height - 4) * (1 - max(value, 0.0) / max(known))
            path += f"{'L' if drawing else 'M'}{_n(x)} {_n(y)}"
        drawing = value is not None
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
        f'aria-hidden="true"><path class="line s1" d="{path}"/></svg>'
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plot of charts along days or hours: how high it is, and how wide a step."""

    ticks: Sequence[float]
    step: float

    @classmethod
    def of(cls, points: Sequence[Point], *, whole: bool = False) -> _Frame:
        known = [value for point in points for value in point.values if value is not None]
        ticks = nice_ticks(max(known, default=0), whole=whole)
        return cls(ticks, (_WIDTH - _LEFT - 8) / max(len(points), 1))

    @property
    def top(self) -> float:
        """The number at the upper edge."""
        return self.ticks[-1]

    def left(self, index: int) -> float:
        """Return where the step of a point begins."""
        return _LEFT + index * self.step

    def grid(self) -> list[str]:
        """Draw the horizontal lines and their numbers."""
        parts = []
        for tick in self.ticks:
            y = _TOP + _PLOT * (1 - tick / self.top)
            kind = "base" if tick == 0 else "grid"
            ends = f'x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{_n(y)}" y2="{_n(y)}"'
            parts.append(f'<line class="{kind}" {ends}/>')
            parts.append(_text(_LEFT - 6, y + 4, compact_number(tick), "tick last"))
        return parts

    def hits(self, points: Sequence[Point]) -> list[str]:
        """Draw what answers to the pointer: the whole height of each point.

        So low bars, zeros and gaps tell their number, too.
        """
        parts = []
        for index, point in enumerate(points):
            hit = (
                f'<rect class="hit" x="{_n(self.left(index))}" y="{_TOP}" '
                f'width="{_n(self.step)}" height="{_PLOT}">{_title(point.text)}</rect>'
            )
            link = html_text(point.link)
            parts.append(f'<a href="{link}">{hit}</a>' if link else hit)
        return parts

    def names(self, points: Sequence[Point]) -> list[str]:
        """Draw the names of the points, of as many as have room."""
        longest = max((_text_width(point.label) for point in points), default=0)
        every = max(1, math.ceil(longest * 1.15 / self.step))
        return [
            _text(
                self.left(index) + self.step / 2, _TOP + _PLOT + 16, points[index].label,
                "tick middle",
            )
            for index in range(0, len(points), every)
        ]  # fmt: skip

    def finished(
        self, title: str, parts: list[str], hits: list[str], x_title: str, y_title: str
    ) -> Drawing:
        """Add the names of the axes."""
        height = _TOP + _PLOT + 40
        middle = _LEFT + (_WIDTH - 8 - _LEFT) / 2
        parts.append(_text(middle, height - 5, x_title, "axis middle"))
        parts.append(_text(0, 12, y_title, "axis"))
        return Drawing(title, _WIDTH, height, "".join(parts), "".join(hits))


def bars(
    title: str, rows: Sequence[Row], *, series: Sequence[str], x_title: str, whole: bool = False
) -> Drawing:
    """Draw horizontal bars, for several series one below the other in each row.

    Args:
        title: what the chart shows, for screen readers.
        rows: from top to bottom.
        series: names for the legend, which a single series does not need.
        x_title: name and unit of the horizontal axis.
        whole: whole numbers on the axis only.
    """
    top = 8 if len(series) == 1 else 28
    row_height = _ROW if len(series) == 1 else 15 * len(series) + 8
    ends = [[_short(text, _MAX_END) for text in row.ends or row.texts] for row in rows]
    right = 12 + max((_text_width(text) for row in ends for text in row), default=0)
    plot_width, plot_height = _WIDTH - _LABELS - right, row_height * len(rows)
    known = [value for row in rows for value in row.values if value is not None]
    ticks = nice_ticks(max(known, default=0), whole=whole)
    parts = _vertical_grid(ticks, top, plot_width, plot_height)
    if len(series) > 1:
        parts += _legend([(f"s{i + 1}", name) for i, name in enumerate(series)])
    thick, hits = (row_height - 8) / len(series), []
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
            hits.append(
                f'<rect class="hit" x="{_LABELS}" y="{_n(bar_y)}" width="{_n(_WIDTH - _LABELS)}" '
                f'height="{_n(thick)}">{_title(f"{row.label}{name}: {row.texts[number]}")}</rect>'
            )
            end = bar_y + thick / 2 + 3.5
            parts.append(_text(_LABELS + long + 6, end, ends[index][number], "end"))
    parts.append(_x_title(x_title, top + plot_height + 34, plot_width))
    height = top + plot_height + 40
    return Drawing(title, _WIDTH, height, "".join(parts), "".join(hits))


def ranges(title: str, rows: Sequence[Row], *, series: Sequence[str], x_title: str) -> Drawing:
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
    return Drawing(title, _WIDTH, top + plot_height + 40, "".join(parts))


def heat(
    title: str,
    cells: Sequence[Sequence[tuple[int, str]]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    x_title: str,
) -> Drawing:
    """Draw a table of counts as shades, the stronger the more, with the sum of each row.

    Args:
        title: what the chart shows, for screen readers.
        cells: by row and column a count and its hover text.
        rows: names at the left.
        columns: names below, every third of which is shown.
        x_title: name of the columns.
    """
    left, right, size, high = 36, 52, (_WIDTH - 36 - 52) / max(len(columns), 1), 24
    most = max((number for row in cells for number, _ in row), default=0)
    parts = []
    for y, (name, row) in enumerate(zip(rows, cells, strict=True)):
        parts.append(_text(0, y * high + 16, name, "label"))
        for x, (number, text) in enumerate(row):
            shade = f"{0.14 + 0.86 * number / most:.2f}" if number else "1"
            parts.append(
                f'<rect class="cell {"s1" if number else "none"}" x="{_n(left + x * size)}" '
                f'y="{y * high}" width="{_n(size - 2)}" height="{high - 2}" rx="3" '
                f'fill-opacity="{shade}">{_title(text)}</rect>'
            )
        total = sum(number for number, _ in row)
        shown = f"{total:,}" if total < _LONG_TOTAL else compact_number(total)
        parts.append(_text(_WIDTH, y * high + 16, shown, "tick last"))
    bottom = len(rows) * high + 14
    parts += [
        _text(left + (x + 0.5) * size - 1, bottom, columns[x], "tick middle")
        for x in range(0, len(columns), 3)
    ]
    parts.append(_text(left + (_WIDTH - left - right) / 2, bottom + 20, x_title, "axis middle"))
    parts.append(_text(_WIDTH, bottom, "all day", "axis last"))
    below = bottom + 44
    parts.append(_text(left, below, "0", "tick last"))
    for step in range(6):
        shade = f"{0.14 + 0.86 * step / 5:.2f}" if step else "1"
        parts.append(
            f'<rect class="{"s1" if step else "none"}" x="{left + 6 + step * 20}" y="{below - 11}" '
            f'width="18" height="14" rx="3" fill-opacity="{shade}"/>'
        )
    parts.append(_text(left + 132, below, f"{most:,} in an hour, at most", "tick"))
    return Drawing(title, _WIDTH, below + 8, "".join(parts))


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


def _vertical_grid(ticks: Sequence[float], top: float, width: float, height: float) -> list[str]:
    parts = []
    for tick in ticks:
        x = _LABELS + width * tick / ticks[-1]
        kind = "base" if tick == 0 else "grid"
        ends = f'x1="{_n(x)}" x2="{_n(x)}" y1="{top}" y2="{_n(top + height)}"'
        parts.append(f'<line class="{kind}" {ends}/>')
        parts.append(_text(x, top + height + 16, compact_number(tick), "tick middle"))
    return parts


def _legend(items: Sequence[tuple[str, str]], *, right: float | None = None) -> list[str]:
    """Draw the names of series from where bars begin, or so that they end at `right`."""
    parts, x = [], float(_LABELS)
    if right is not None:
        x = right - sum(32 + _text_width(name) for _, name in items) + 14
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
