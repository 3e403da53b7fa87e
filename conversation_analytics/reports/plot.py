"""The daily report as one PNG, for the Dagster UI."""

from __future__ import annotations

import io
from itertools import accumulate
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from conversation_analytics.reports.markup import printable
from conversation_analytics.reports.values import app_label, long_date, one_day

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

    from conversation_analytics.reports.values import DayValues

_TOP_APPS = 10
_MAX_LABEL = 24  # in characters of usual width
_BLUES = ("#a9c4f5", "#6f9bea", "#3b6fd4", "#1f3f85")
_PERCENTILES = ("p50", "p90", "p95", "p99")


def plot_png(report: pl.DataFrame, hourly: pl.DataFrame | None = None) -> bytes:
    """Draw turns by app and latency percentiles, and turns by hour if given.

    The bytes depend on the arguments (and on matplotlib's version) alone. matplotlib is
    imported here, without pyplot, so that threads do not share state.

    Args:
        report: rows of one day, schema `schemas.DAILY_REPORT`.
        hourly: columns `hour` (0 to 23, local) and `turns`.

    Returns:
        A PNG file.

    Raises:
        ContractError: the report is not of exactly one day.
    """
    from matplotlib import rc_context  # noqa: PLC0415 - 0.3 s that only a plot is worth
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.style import context  # noqa: PLC0415

    today = one_day(report)
    # Whatever matplotlibrc the machine has, the defaults count.
    with context("default"), rc_context({"font.size": 9.0}):
        figure = Figure(figsize=(10, 3.6 if hourly is None else 6.4), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"Daily report, {long_date(today.day)}", fontsize=12)
        grid = figure.add_gridspec(1 if hourly is None else 2, 2)
        _turns(figure.add_subplot(grid[0, 0]), today)
        _latency(figure.add_subplot(grid[0, 1]), today)
        if hourly is not None:
            _hours(figure.add_subplot(grid[1, :]), dict(hourly.select("hour", "turns").iter_rows()))
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _turns(axes: Axes, today: DayValues) -> None:
    apps = today.apps[:_TOP_APPS]
    turns = [float(today.get("turns", app) or 0) for app in apps]
    bars = axes.barh(range(len(apps)), turns, color=_BLUES[2])
    axes.bar_label(bars, [today.text("turns", app) for app in apps], padding=3)
    axes.set(title="Turns by app", xlabel="turns", xlim=(0, max([1.0, *turns]) * 1.18))
    _name_rows(axes, [app_label(app) for app in apps])


def _latency(axes: Axes, today: DayValues) -> None:
    apps = (None, *today.apps[:_TOP_APPS])
    drawn = 0
    for number, percentile in enumerate(_PERCENTILES):
        found = [(today.get(f"latency_{percentile}", app), y) for y, app in enumerate(apps)]
        known = [(float(value), y) for value, y in found if value is not None]
        if not known:
            continue
        drawn += 1
        axes.plot(
            [value for value, _ in known], [y for _, y in known], "o", color=_BLUES[number],
            label=percentile, clip_on=False,
        )  # fmt: skip
    axes.set(title="Latency", xlabel="latency, seconds")
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="#e6e6e6")
    axes.set_axisbelow(True)
    if not drawn:
        axes.text(0.5, 0.5, "no latency is known", ha="center", transform=axes.transAxes)
        axes.set_xticks([])
        _name_rows(axes, [])
        return
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, frameon=False,
        handletextpad=0.1, columnspacing=0.8,
    )  # fmt: skip
    _name_rows(axes, [app_label(app) for app in apps])


def _hours(axes: Axes, turns: dict[int, int]) -> None:
    axes.bar(range(24), [turns.get(hour, 0) for hour in range(24)], color=_BLUES[2])
    axes.set(
        title="Turns by hour", xlabel="hour of the day, local time", ylabel="turns",
        xticks=range(24), xlim=(-0.6, 23.6),
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)


def _name_rows(axes: Axes, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), [_drawable(label) for label in labels], parse_math=False)
    axes.set_ylim(max(len(labels), 1) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _wide(char: str) -> float:
    return 1.5 if char in "mwMW@%" or east_asian_width(char) in "WF" else 1.0


def _drawable(label: str) -> str:
    """Return a label in characters that the font has: matplotlib warns about each other one."""
    from matplotlib.font_manager import FontProperties, findfont, get_font  # noqa: PLC0415

    font = get_font(findfont(FontProperties()))
    shown = " ".join(printable(label).split())
    if sum(map(_wide, shown)) > _MAX_LABEL:
        widths = accumulate(map(_wide, shown))
        shown = "".join(char for char, end in zip(shown, widths, strict=True) if end < _MAX_LABEL)
        shown += "…"
    return "".join(char if font.get_char_index(ord(char)) else "□" for char in shown)
