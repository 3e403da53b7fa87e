"""The rows of a daily report by app, metric and currency, and how values are written."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.metrics import METRICS_BY_NAME, NO_APP, Grain, Metric, MetricType
from conversation_analytics.core.periods import Period, Span, runs_of_days

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    import polars as pl

ALL_APPS = "All apps"
NO_APP_LABEL = "(no app)"
UNKNOWN = "–"  # noqa: RUF001 - the dash that stands for unknown

Key = tuple[str | None, str, str | None]
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class DayValues:
    """The values of one day, or of other days together.

    Attributes:
        span: the days, in the analytics time zone.
        values: by app (None: over all apps), metric name and currency; None is unknown.
        apps: the apps of the day, most turns first, then by name.
        currencies: of the money metrics over all apps, an unknown currency (None) last.
        only: the one app that everything is of; None: of all apps.
    """

    span: Span
    values: Mapping[Key, Decimal | None]
    apps: tuple[str, ...]
    currencies: tuple[str | None, ...]
    only: str | None = None

    @property
    def day(self) -> dt.date:
        """The first day."""
        return self.span.first

    @property
    def within(self) -> str:
        """When, in words."""
        if self.span.first == self.span.last:
            return "on this day"
        return "on these days" if (one := self.span.period) is None else f"in this {one.value}"

    def get(
        self, metric: str, app: str | None = None, currency: str | None = None
    ) -> Decimal | None:
        """Return a value; None if it is unknown or has no row."""
        return self.values.get((app, metric, currency))

    def text(self, metric: str, app: str | None = None, currency: str | None = None) -> str:
        """Return a value as people read it, with its unit."""
        return value_text(METRICS_BY_NAME[metric], self.get(metric, app, currency), currency)


def days_of(report: pl.DataFrame) -> list[DayValues]:
    """Return the days of `report` (schema `schemas.DAILY_REPORT`) in ascending order."""
    by_day: dict[dt.date, dict[Key, Decimal | None]] = {}
    columns = ("day", "app_id", "metric", "currency", "value")
    for day, app, metric, currency, value in report.select(columns).iter_rows():
        by_day.setdefault(day, {})[app, metric, currency] = value
    return [day_values(Span.of(Period.DAY, day), by_day[day]) for day in sorted(by_day)]


def one_day(report: pl.DataFrame, day: dt.date | None = None) -> DayValues:
    """Return the only day of `report`, or the given one.

    Raises:
        ContractError: the report has no rows of the day, or, without a day, of several.
    """
    days = {found.day: found for found in days_of(report)}
    if day is None and len(days) == 1:
        return next(iter(days.values()))
    if day is None or day not in days:
        wanted = "exactly one day" if day is None else day.isoformat()
        got = ", ".join(found.isoformat() for found in days) or "no row"
        raise ContractError(
            f"daily_report: expected rows of {wanted}, got {got}; materialize the partition again"
        )
    return days[day]


def app_label(app: str | None) -> str:
    """Return what people read for an app id."""
    if app is None:
        return ALL_APPS
    return NO_APP_LABEL if app == NO_APP else app


def value_text(metric: Metric, value: Decimal | None, currency: str | None = None) -> str:
    """Write a value with its unit, as in `1,204`, `3.2%`, `850 ms`, `USD 12.40`."""
    if value is None:
        return UNKNOWN
    match metric.type:
        case MetricType.COUNT:
            return f"{value:,.0f}"
        case MetricType.RATIO:
            return _percent(value)
        case MetricType.DURATION:
            return _duration(value)
        case MetricType.MONEY:
            code = "" if metric.grain is Grain.APP else f"{currency_label(currency)} "
            return f"{code}{_money(value)}"
        case MetricType.SPEED | MetricType.RATE:
            return f"{value:,.1f} {metric.unit}"


def heading(metric: Metric, currency: str | None) -> str:
    """Return the name of a column, with the currency or unit that `bare_text` leaves out."""
    if metric.grain is Grain.APP_CURRENCY:
        return f"{metric.title} {currency_label(currency)}"
    return f"{metric.title}, {metric.unit}" if metric.type is MetricType.SPEED else metric.title


def bare_text(metric: Metric, value: Decimal | None, currency: str | None) -> str:
    """Write a value as `value_text`, without what `heading` says."""
    text = value_text(metric, value, currency)
    if metric.grain is Grain.APP_CURRENCY:
        return text.removeprefix(f"{currency_label(currency)} ")
    return text.removesuffix(f" {metric.unit}") if metric.type is MetricType.SPEED else text


def currency_label(currency: str | None) -> str:
    """Return what people read for a currency."""
    return currency or "unknown currency"


def plain_number(value: Decimal | None) -> str:
    """Write a number exactly, without exponent or needless zeros; '' if it is unknown."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def compact_number(value: float) -> str:
    """Write the number of an axis, as in `250`, `1.5k`, `2M`."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


def long_date(day: dt.date) -> str:
    """Write a day as in `Sunday 1 March 2026`, whatever the locale."""
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return f"{names[day.weekday()]} {day.day} {month_name(day.month)} {day.year}"


def month_name(month: int) -> str:
    """Return the English name of a month, 1 to 12."""
    return (
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    )[month - 1]  # fmt: skip


def period_title(period: Period, start: dt.date) -> str:
    """Write a period as in `20 November 2026`, `Week 47 of 2026`, `November 2026`."""
    if period is Period.WEEK:
        year, week, _ = start.isocalendar()
        return f"Week {week} of {year}"
    month = f"{month_name(start.month)} {start.year}"
    return month if period is Period.MONTH else f"{start.day} {month}"


def span_title(span: Span) -> str:
    """Write days as `period_title` does, others as in `28 October to 3 November 2026`."""
    if span.period is not None:
        return period_title(span.period, span.first)
    first, last = span.first, span.last
    end = f"{last.day} {month_name(last.month)} {last.year}"
    if first == last:
        return end
    start = str(first.day)
    if (first.year, first.month) != (last.year, last.month):
        start += f" {month_name(first.month)}"
    return f"{start} to {end}" if first.year == last.year else f"{start} {first.year} to {end}"


def days_named(days: Iterable[dt.date]) -> str:
    """Write ascending days, as in `2026-11-03, 2026-11-05 to 2026-11-07`."""
    return ", ".join(
        one.first.isoformat() if one.first == one.last else f"{one.first} to {one.last}"
        for one in runs_of_days(days)
    )


def short_span(first: dt.date, last: dt.date) -> str:
    """Write days as in `16 Nov to 22 Nov`."""
    return " to ".join(f"{day.day} {month_name(day.month)[:3]}" for day in (first, last))


def _percent(share: Decimal) -> str:
    percent = share * 100
    return f"{percent:.2f}%" if 0 < abs(percent) < 1 else f"{percent:.1f}%"


def _duration(seconds: Decimal) -> str:
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 2) < _MINUTE:
        return f"{seconds:.2f} s"
    whole = int(seconds.to_integral_value(ROUND_HALF_EVEN))
    return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"


def _money(amount: Decimal) -> str:
    if amount == 0 or abs(amount) >= 1:
        return f"{amount:,.2f}"
    # Prices of single turns are far below a cent: three digits, at least two places.
    places = min(7, max(2, 2 - amount.adjusted()))
    return f"{amount:.{places}f}"


def day_values(span: Span, values: Mapping[Key, Decimal | None]) -> DayValues:
    """Return values with their apps and currencies found out."""
    apps = {app for app, _, _ in values if app is not None}
    currencies = {currency for app, metric, currency in values if app is None and metric == "cost"}
    return DayValues(
        span,
        values,
        tuple(sorted(apps, key=lambda app: (-(values.get((app, "turns", None)) or 0), app))),
        tuple(sorted(currencies, key=lambda code: (code is None, code or ""))),
    )
