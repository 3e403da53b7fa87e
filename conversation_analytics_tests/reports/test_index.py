from __future__ import annotations

import datetime as dt
import re

from conversation_analytics.core.periods import Period, Span
from conversation_analytics.reports.index import (
    START,
    RangePage,
    index_pages,
    navigation,
    pages_listed,
)

FRIDAY, WEEK, MONTH = dt.date(2027, 1, 1), dt.date(2026, 12, 28), dt.date(2027, 1, 1)
PATHS = [
    "daily/2027-01-01.html", "daily/2027-01-01.csv", "daily/2027-01-01.conversations.csv",
    "daily/2026-12-31.html", "weekly/2026-12-28.html", "monthly/2027-01-01.html",
    "monthly/2027-01-01.inputs.json", "ranges/2027-01-01_2027-01-09_app-1.html",
    "ranges/2027-01-01_2027-01-01.html", "ranges/2027-01-01_2027-01-01.csv", "index.html",
    "weekly/index.html", "users/index.html", "notes/2027-01-01.html",
]  # fmt: skip


def links(page: str) -> set[str]:
    return set(re.findall(r'href="([^"]*)"', page))


def test_only_pages_of_reports_are_listed_and_each_once() -> None:
    found = pages_listed([*PATHS, *PATHS])
    assert found.periods == {
        Period.DAY: (dt.date(2026, 12, 31), FRIDAY),
        Period.WEEK: (WEEK,),
        Period.MONTH: (MONTH,),
    }
    assert found.ranges == (
        RangePage(FRIDAY, FRIDAY), RangePage(FRIDAY, dt.date(2027, 1, 9), "app-1"),
    )  # fmt: skip


def test_the_calendar_leads_to_every_report_and_the_lists_to_their_own_and_each_other() -> None:
    pages = index_pages(pages_listed(PATHS))
    assert list(pages)[-1] == START
    reports = {path for path in PATHS[:-1] if path.endswith(".html") and "index" not in path}
    assert links(pages[START]) == reports | {
        "weekly/index.html", "monthly/index.html", "users/index.html",
    }  # fmt: skip
    assert links(pages["weekly/index.html"]) == {
        "../weekly/2026-12-28.html", "../index.html", "../monthly/index.html",
        "../users/index.html",
    }  # fmt: skip
    assert links(pages["monthly/index.html"]) == {
        "../monthly/2027-01-01.html", "../index.html", "../weekly/index.html",
        "../users/index.html",
    }  # fmt: skip
    assert "<h2>2026</h2>" in pages["weekly/index.html"]  # the ISO year of week 53
    assert "Week 53" in pages["weekly/index.html"]
    assert "Latest: " in pages[START]


def test_days_stand_below_their_weekdays() -> None:
    page = index_pages(pages_listed(PATHS))[START]
    january = page[page.index("January 2027") :].split("</section>")[0]
    cells = re.findall(r"<span>([^<]*)</span>|<a [^>]*>(\d+|W\d+)</a>", january)
    texts = [a or b for a, b in cells][8:]
    assert texts[:8] == ["W53", "", "", "", "", "1", "2", "3"]
    assert texts[8:11] == ["W01", "4", "5"]
    assert len(texts) == 5 * 8


def test_no_reports_are_no_error() -> None:
    pages = index_pages(pages_listed([]))
    assert "0 days." in pages[START]
    assert "0 weeks." in pages["weekly/index.html"]


def test_a_day_leads_to_its_week_and_month_and_a_week_only_to_a_known_one_before() -> None:
    assert links(navigation(Span.of(Period.DAY, FRIDAY))) == {
        "../users/index.html", "../index.html", "../weekly/index.html", "../monthly/index.html",
        "../weekly/2026-12-28.html", "../monthly/2027-01-01.html",
    }  # fmt: skip
    before = {"../weekly/2026-12-21.html"}
    week = Span.of(Period.WEEK, WEEK)
    assert links(navigation(week, before=True)) >= before
    assert not links(navigation(week)) & before
