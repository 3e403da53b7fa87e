"""The pages that lead to the reports: a calendar of days, and lists of weeks and months."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from itertools import groupby
from typing import TYPE_CHECKING

from conversation_analytics.core.periods import NAMES, Period
from conversation_analytics.reports.page import page
from conversation_analytics.reports.values import long_date, month_name, period_title, short_span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

START = "index.html"
"""The page to begin with, a calendar."""
INDEX = {Period.DAY: START, Period.WEEK: "weekly/index.html",
         Period.MONTH: "monthly/index.html"}  # fmt: skip
"""Where below `reports/` the pages of this module are: days have the one at the top."""
_NAMES = {Period.DAY: "Days", Period.WEEK: "Weeks", Period.MONTH: "Months"}
_PAGE = re.compile(r"(daily|weekly|monthly)/(\d{4}-\d\d-\d\d)\.html")


def pages_listed(paths: Iterable[str]) -> dict[Period, tuple[dt.date, ...]]:
    """Return the first days of the reports among paths below `reports/`, ascending."""
    periods = {folder: period for period, folder in NAMES.items()}
    found: dict[Period, set[dt.date]] = {period: set() for period in NAMES}
    for path in paths:
        if match := _PAGE.fullmatch(path):
            found[periods[match[1]]].add(dt.date.fromisoformat(match[2]))
    return {period: tuple(sorted(days)) for period, days in found.items()}


def index_pages(listed: Mapping[Period, tuple[dt.date, ...]]) -> dict[str, str]:
    """Render the pages that lead to reports, by their path below `reports/`.

    Args:
        listed: first days of the reports there are, of `pages_listed`.

    Returns:
        `START` last: it links to every report, so that whoever finds a link there knows that the
        other pages have been written, too.
    """
    lists = {INDEX[period]: _list(period, listed) for period in (Period.WEEK, Period.MONTH)}
    return {**lists, START: _calendar(listed)}


def navigation(period: Period, start: dt.date, *, before: bool = False) -> str:
    """Return the links at the top of a report: to the lists, and to what it is part of.

    Args:
        period: of the report.
        start: its first day.
        before: link to the period before, which is known to have a report.
    """
    links = [_link("../", one, f"All {_NAMES[one].lower()}") for one in INDEX]
    if period is Period.DAY:
        links += [_to("../", one, one.start_of(start)) for one in (Period.WEEK, Period.MONTH)]
    if before:
        earlier = period.before(start)
        links.append(_to("../", period, earlier, f"← {period_title(period, earlier)}"))
    return f"<nav>{''.join(links)}</nav>\n"


def _link(up: str, period: Period, text: str) -> str:
    return f'<a href="{up}{INDEX[period]}">{text}</a>'


def _to(up: str, period: Period, start: dt.date, text: str = "") -> str:
    shown = text or period_title(period, start)
    return f'<a href="{up}{NAMES[period]}/{start.isoformat()}.html">{shown}</a>'


def _others(here: Period, up: str) -> str:
    links = (
        f'<b aria-current="page">{_NAMES[one]}</b>' if one is here else _link(up, one, _NAMES[one])
        for one in INDEX
    )
    return f"<nav>{''.join(links)}</nav>\n"


def _calendar(listed: Mapping[Period, tuple[dt.date, ...]]) -> str:
    held = {period: frozenset(days) for period, days in listed.items()}
    days = listed[Period.DAY]
    months = sorted({day.replace(day=1) for day in days}, reverse=True)
    body = "".join(_month(first, held) for first in months)
    latest = [
        _to("", period, found[-1], long_date(found[-1]) if period is Period.DAY else "")
        for period in INDEX
        if (found := listed[period])
    ]
    count = len(days)
    sub = f"{count:,} {'day' if count == 1 else 'days'}."
    if latest:
        sub += f" Latest: {', '.join(latest)}."
    return page(
        "Reports",
        f'{_others(Period.DAY, "")}<h1>Reports</h1>\n<p class="sub">{sub}</p>\n'
        f'<div class="months">\n{body}</div>',
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


def _list(period: Period, listed: Mapping[Period, tuple[dt.date, ...]]) -> str:
    starts = sorted(listed[period], reverse=True)

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
        f'{_others(period, "../")}<h1>{title}</h1>\n<p class="sub">{count}</p>\n'
        f'<div class="years">\n{body}</div>',
    )


def _entry(period: Period, start: dt.date) -> str:
    if period is Period.MONTH:
        return _to("../", period, start, month_name(start.month))
    name = f"Week {start.isocalendar().week}"
    span = short_span(start, period.end_of(start))
    return _to("../", period, start, f"{name} <span>{span}</span>")
