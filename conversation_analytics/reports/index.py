"""The pages that lead to the reports: a calendar of days, and lists of weeks and months."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from conversation_analytics.core.periods import NAMES, Period, Span
from conversation_analytics.reports.markup import html_text
from conversation_analytics.reports.page import page
from conversation_analytics.reports.values import (
    long_date,
    month_name,
    period_title,
    short_span,
    span_title,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

START = "index.html"
"""The page to begin with, a calendar."""
INDEX = {Period.DAY: START, Period.WEEK: "weekly/index.html",
         Period.MONTH: "monthly/index.html"}  # fmt: skip
"""Where below `reports/` the pages of this module are: days have the one at the top."""
USERS = "users/index.html"
"""The page of growth and retention, below `reports/`."""
RANGES = "ranges"
"""Folder of the reports of any days."""
_NAMES = {Period.DAY: "Days", Period.WEEK: "Weeks", Period.MONTH: "Months"}
_DAY = r"\d{4}-\d\d-\d\d"
_PAGE = re.compile(rf"(daily|weekly|monthly)/({_DAY})\.html")
_RANGE = re.compile(rf"{RANGES}/({_DAY})_({_DAY})(?:_([A-Za-z0-9-]+))?\.html")


@dataclass(frozen=True, slots=True, order=True)
class RangePage:
    """The page of any days.

    Attributes:
        first: first day.
        last: last day, included.
        app: what the page's name says of the one app that it is of; '' for all apps.
    """

    first: dt.date
    last: dt.date
    app: str = ""

    @property
    def name(self) -> str:
        """The name of its files in the folder `RANGES`, without an ending."""
        days = f"{self.first.isoformat()}_{self.last.isoformat()}"
        return f"{days}_{self.app}" if self.app else days


@dataclass(frozen=True, slots=True)
class Listed:
    """The reports there are.

    Attributes:
        periods: the first days of those of days, weeks and months, ascending.
        ranges: those of any days, ascending.
    """

    periods: Mapping[Period, tuple[dt.date, ...]]
    ranges: tuple[RangePage, ...] = ()


def pages_listed(paths: Iterable[str]) -> Listed:
    """Return the reports among paths below `reports/`."""
    periods = {folder: period for period, folder in NAMES.items()}
    found: dict[Period, set[dt.date]] = {period: set() for period in NAMES}
    ranges = set()
    for path in paths:
        if match := _PAGE.fullmatch(path):
            found[periods[match[1]]].add(dt.date.fromisoformat(match[2]))
        elif match := _RANGE.fullmatch(path):
            first, last = map(dt.date.fromisoformat, match.group(1, 2))
            ranges.add(RangePage(first, last, match[3] or ""))
    return Listed(
        {period: tuple(sorted(days)) for period, days in found.items()}, tuple(sorted(ranges))
    )


def index_pages(listed: Listed) -> dict[str, str]:
    """Render the pages that lead to reports, by their path below `reports/`.

    Args:
        listed: the reports there are, of `pages_listed`.

    Returns:
        `START` last: it links to every report and to `USERS`, so that whoever finds
        a link there knows that the other pages have been written, too.
    """
    lists = {
        INDEX[period]: _list(period, listed.periods[period])
        for period in (Period.WEEK, Period.MONTH)
    }
    return {**lists, START: _calendar(listed)}


def no_users_page() -> str:
    """Render what stands at `USERS` until users have been folded for the first time."""
    text = (
        "Growth and retention of users are not told yet: the job `users` makes this page. It runs "
        "after every backfill and each night, or now: `conversation-analytics repair`."
    )
    return page(
        "Users", f'{others(None, "../")}<h1>Users</h1>\n<p class="sub">{html_text(text)}</p>'
    )


def navigation(span: Span, *, before: bool = False) -> str:
    """Return the links at the top of a report: to the lists, and to what it is part of.

    Args:
        span: the days of the report.
        before: link to the period before, which is known to have a report.
    """
    links = [_link("../", one, f"All {_NAMES[one].lower()}") for one in INDEX]
    links.append(f'<a href="../{USERS}">Users</a>')
    period = span.period
    if period is Period.DAY:
        links += [_to("../", one, one.start_of(span.first)) for one in (Period.WEEK, Period.MONTH)]
    if before and period is not None:
        earlier = period.before(span.first)
        links.append(_to("../", period, earlier, f"← {period_title(period, earlier)}"))
    return f"<nav>{''.join(links)}</nav>\n"


def _link(up: str, period: Period, text: str) -> str:
    return f'<a href="{up}{INDEX[period]}">{text}</a>'


def _to(up: str, period: Period, start: dt.date, text: str = "") -> str:
    shown = text or period_title(period, start)
    return f'<a href="{up}{NAMES[period]}/{start.isoformat()}.html">{shown}</a>'


def others(here: Period | None, up: str) -> str:
    """Return the links at the top of a list; None: of the page of users."""
    links = [
        f'<b aria-current="page">{_NAMES[one]}</b>' if one is here else _link(up, one, _NAMES[one])
        for one in INDEX
    ]
    users = f'<a href="{up}{USERS}">Users</a>'
    links.append(users if here else '<b aria-current="page">Users</b>')
    return f"<nav>{''.join(links)}</nav>\n"


def _calendar(listed: Listed) -> str:
    held = {period: frozenset(days) for period, days in listed.periods.items()}
    days = listed.periods[Period.DAY]
    months = sorted({day.replace(day=1) for day in days}, reverse=True)
    body = "".join(_month(first, held) for first in months)
    latest = [
        _to("", period, found[-1], long_date(found[-1]) if period is Period.DAY else "")
        for period in INDEX
        if (found := listed.periods[period])
    ]
    count = len(days)
    sub = f"{count:,} {'day' if count == 1 else 'days'}."
    if latest:
        sub += f" Latest: {', '.join(latest)}."
    return page(
        "Reports",
        f'{others(Period.DAY, "")}<h1>Reports</h1>\n<p class="sub">{sub}</p>\n'
        f'<div class="months">\n{body}</div>\n{_ranges(listed.ranges)}',
    )


def _ranges(ranges: tuple[RangePage, ...]) -> str:
    entries = "".join(
        f'<a href="{RANGES}/{one.name}.html">{span_title(Span(one.first, one.last))} '
        f"<span>{html_text(one.app) or 'all apps'}</span></a>"
        for one in reversed(ranges)
    )
    below = f'<div class="list">{entries}</div>' if entries else ""
    return (
        f'<section class="card below" id="{RANGES}"><h2>Any days</h2>{below}'
        '<p class="note">A page of the days you want: '
        "<code>conversation-analytics report FIRST LAST</code></p></section>"
    )


def _month(first: dt.date, held: Mapping[Period, frozenset[dt.date]]) -> str:
    title = f"{month_name(first.month)} {first.year}"
    if first in held[Period.MONTH]:
        title = _to("", Period.MONTH, first, title)
    weeks = "".join(_weeks(first, held))
    return (
        f'<section class="card"><h2>{title}</h2><div class="month"><span></span>'
        f"{''.join(f'<span>{name}</span>' for name in ('Mo', 'Tu', 'We', 'Th', 'Fr', 'Sa', 'Su'))}"
        f"{weeks}</div></section>\n"
    )


def _weeks(first: dt.date, held: Mapping[Period, frozenset[dt.date]]) -> Iterator[str]:
    start = Period.WEEK.start_of(first)
    last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
    while start <= last:
        number = f"W{start.isocalendar().week:02}"
        known = start in held[Period.WEEK]
        yield _to("", Period.WEEK, start, number) if known else f"<span>{number}</span>"
        for day in Period.WEEK.days_of(start):
            if day.month != first.month:
                yield "<span></span>"
            elif day in held[Period.DAY]:
                yield _to("", Period.DAY, day, str(day.day))
            else:
                yield f"<span>{day.day}</span>"
        start += dt.timedelta(days=7)


def _list(period: Period, listed: tuple[dt.date, ...]) -> str:
    starts = sorted(listed, reverse=True)

    def year_of(start: dt.date) -> int:
        return start.isocalendar().year if period is Period.WEEK else start.year

    body = "".join(
        f'<section class="card"><h2>{year}</h2><div class="list">'
        f"{''.join(_entry(period, start) for start in found)}</div></section>\n"
        for year, found in groupby(starts, key=year_of)
    )
    title = f"{period.value.title()}ly reports"
    count = f"{len(starts):,} {period.value if len(starts) == 1 else f'{period.value}s'}."
    return page(
        title,
        f'{others(period, "../")}<h1>{title}</h1>\n<p class="sub">{count}</p>\n'
        f'<div class="years">\n{body}</div>',
    )


def _entry(period: Period, start: dt.date) -> str:
    if period is Period.MONTH:
        return _to("../", period, start, month_name(start.month))
    name = f"Week {start.isocalendar().week}"
    span = short_span(start, period.end_of(start))
    return _to("../", period, start, f"{name} <span>{span}</span>")
