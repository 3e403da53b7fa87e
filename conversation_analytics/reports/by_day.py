"""Charts of the days of a report, each of which leads to the report of its day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.metrics import METRICS_BY_NAME, Grain
from conversation_analytics.reports import charts
from conversation_analytics.reports.cards import LATENCIES, as_float, card, nothing
from conversation_analytics.reports.values import currency_label, month_name

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from conversation_analytics.reports.drawings import Drawing
    from conversation_analytics.reports.values import DayValues

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEK = 7
_MONTH = 31


@dataclass(frozen=True, slots=True)
class Days:
    """The days of a report, those that are held and those that are not.

    Attributes:
        every: all of them, ascending.
        held: the values of those that are held.
        linked: whether their reports are where a link from this one leads.
    """

    every: tuple[dt.date, ...]
    held: Mapping[dt.date, DayValues]
    linked: bool = True

    def columns_card(self, name: str, code: str | None = None) -> str:
        """Show a count, or an amount of money, by day."""
        title = METRICS_BY_NAME[name].title
        chart = self.columns(name, code)
        if chart is None and code is not None:
            title = f"{title} by day, {currency_label(code)}"
        elif chart is None:
            title = f"{title} by day"
        return card(chart.title if chart else title, chart or _none())

    def columns(self, name: str, code: str | None = None) -> Drawing | None:
        """Draw a count, or an amount of money, by day; None where there is none."""
        metric = METRICS_BY_NAME[name]
        money = metric.grain is Grain.APP_CURRENCY
        title = f"{metric.title} by day{f', {currency_label(code)}' if money else ''}"
        points = self._points(((name, code),))
        if not any(point.values[0] for point in points):
            return None
        unit = currency_label(code) if money else metric.unit
        return charts.columns(title, points, x_title=self._x_title, y_title=unit, whole=not money)

    def users_card(self) -> str:
        """Show active and engaged users by day."""
        return card("Users by day", self.users() or _none())

    def users(self) -> Drawing | None:
        """Draw active and engaged users by day; None where there are none."""
        return self._lines("Users by day", ("active_users", "engaged_users"), "users")

    def latency_card(self) -> str:
        """Show the percentiles of latency by day."""
        return card("Latency by day", self.latency() or _none())

    def latency(self) -> Drawing | None:
        """Draw the percentiles of latency by day; None where none is known."""
        return self._lines("Latency by day", LATENCIES, "latency, seconds")

    def errors_card(self) -> str:
        """Show the shares of turns that failed or have no answer, by day."""
        return card("Errors by day", self.errors() or _none())

    def errors(self) -> Drawing | None:
        """Draw the shares of turns that failed or have no answer, by day."""
        names = ("error_rate", "empty_answer_rate")
        return self._lines("Errors by day", names, "% of turns", scale=100)

    def _lines(
        self, title: str, names: Sequence[str], unit: str, *, scale: int = 1
    ) -> Drawing | None:
        points = self._points(tuple((name, None) for name in names), scale)
        known = [value for point in points for value in point.values if value is not None]
        if not known or (scale == 1 and not any(known)):  # no errors are worth a line, no users not
            return None
        return charts.lines(
            title, points, series=[_short_title(name) for name in names], x_title=self._x_title,
            y_title=unit, whole=unit == "users",
        )  # fmt: skip

    @property
    def _x_title(self) -> str:
        return "day; a click opens its report" if self.linked else "day"

    def _points(self, keys: Sequence[tuple[str, str | None]], scale: int = 1) -> list[charts.Point]:
        return [self._point(day, keys, scale) for day in self.every]

    def _point(
        self, day: dt.date, keys: Sequence[tuple[str, str | None]], scale: int
    ) -> charts.Point:
        label = str(day.day)
        if len(self.every) <= _WEEK:
            label = f"{WEEKDAYS[day.weekday()]} {label}"
        elif self.every[0].month != self.every[-1].month or len(self.every) > _MONTH:
            label += f" {month_name(day.month)[:3]}"
        when = f"{WEEKDAYS[day.weekday()]} {day.isoformat()}"
        found = self.held.get(day)
        if found is None:
            return charts.Point(label, (None,) * len(keys), f"{when}: not held")
        texts = [
            found.text(name, None, code)
            if len(keys) == 1
            else f"{_short_title(name)} {found.text(name, None, code)}"
            for name, code in keys
        ]
        return charts.Point(
            label,
            tuple(as_float(found.get(name, None, code), scale=scale) for name, code in keys),
            f"{when}: {texts[0]}" if len(keys) == 1 else "\n".join((when, *texts)),
            f"../daily/{day.isoformat()}.html" if self.linked else "",
        )


def _none() -> str:
    return nothing("None on any day that is held.")


def _short_title(name: str) -> str:
    return METRICS_BY_NAME[name].title.removeprefix("Latency ").lower()
