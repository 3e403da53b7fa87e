"""How long pages of reports take to be made, and to be shown by a browser.

A day, a month and a year of made-up turns in 19 apps, and the calendar of a year, read from a lake
as the platform does. Chromium's time is that of drawing the page and writing a picture of it, less
the same for an empty page; the best of five.

python benchmarks/report_html_render.py [TURNS_A_DAY] [CHROMIUM]
"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from shared.made_up_days import FIRST, partials_in, write_day

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.hourly import hourly_turns, hours_of_week
from conversation_analytics.core.model_performance import model_performance
from conversation_analytics.core.partials import partials_of_days
from conversation_analytics.core.period_report import period_report
from conversation_analytics.core.periods import NAMES, Period, Span
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.reports.conversations import conversations_csv
from conversation_analytics.reports.daily import daily_html
from conversation_analytics.reports.index import START, index_pages, pages_listed
from conversation_analytics.reports.period import PeriodReport, period_html
from conversation_analytics.resources.range_reports import report_of_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from conversation_analytics.lake.store import Lake

GOAL_S = 1.0
DAYS_OF_YEAR = 365
TRIES = 5


def day_page(partials: pl.DataFrame, day: dt.date) -> dict[str, str]:
    """Return the page of a day, and its conversations."""
    talks = partials.filter(pl.col("kind") == "conversations")
    page = daily_html(
        daily_report(partials.lazy(), day, CPU), generated_for=day, hourly=hourly_turns(partials),
        models=model_performance(partials.lazy(), day, engine=CPU), conversations=talks,
    )  # fmt: skip
    return {"day.html": page, "day.conversations.csv": conversations_csv(talks)}


def month_page(partials: list[pl.DataFrame], start: dt.date) -> dict[str, str]:
    """Return the page of the month that begins with `start`."""
    nothing = DAILY_PARTIALS.empty().lazy()
    report = period_report(partials_of_days(partials), nothing, Period.MONTH, start, engine=CPU)
    reports = [
        daily_report(found.lazy(), day, engine=CPU)
        for day, found in zip(Period.MONTH.days_of(start), partials, strict=True)
    ]
    hours = hours_of_week(pl.concat(found.filter(pl.col("kind") == "hours") for found in partials))
    shown = PeriodReport(Span.of(Period.MONTH, start), report, pl.concat(reports), hours)
    return {"month.html": period_html(shown)}


def year_page(lake: Lake, last: dt.date) -> dict[str, str]:
    """Return the page of the 365 days up to `last`."""
    span = Span(last - dt.timedelta(days=DAYS_OF_YEAR - 1), last)
    return {"year.html": period_html(report_of_range(lake, span, linked=False, engine=CPU).shown)}


def calendar_page(last: dt.date) -> dict[str, str]:
    """Return the calendar of the 365 days up to `last`."""
    days = [last - dt.timedelta(days=number) for number in range(DAYS_OF_YEAR)]
    paths = (
        f"{folder}/{period.start_of(day)}.html" for period, folder in NAMES.items() for day in days
    )
    return {START: index_pages(pages_listed(paths))[START]}


def drawn_s(chromium: str, address: str, folder: Path) -> float:
    """Return the least seconds in which Chromium starts and draws a page."""
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={folder}/profile", f"--screenshot={folder}/page.png",
        "--window-size=1280,900", address,
    ]  # fmt: skip
    best = float("inf")
    for _ in range(TRIES):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - the browser that the caller names
        best = min(best, time.perf_counter() - began)
    return best


def main(turns: int, chromium: str | None) -> None:
    """Measure and print."""
    browser = chromium or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lake = partials_in(folder)
        for number in range(DAYS_OF_YEAR):
            write_day(folder, number, turns // 60 * 60, turns // 3, rows=False)
        month = [lake.read(DAILY_PARTIALS, day.isoformat()) for day in Period.MONTH.days_of(FIRST)]
        empty = folder / "empty.html"
        empty.write_text("<!DOCTYPE html><title>empty</title>")
        base = drawn_s(browser, empty.as_uri(), folder) if browser else 0.0
        last = FIRST + dt.timedelta(days=DAYS_OF_YEAR - 1)
        ways: dict[str, Callable[[], dict[str, str]]] = {
            "a day": lambda: day_page(month[0], FIRST),
            "a month": lambda: month_page(month, FIRST),
            "a year": lambda: year_page(lake, last),
            "the calendar of a year": lambda: calendar_page(last),
        }
        for what, make in ways.items():
            began = time.perf_counter()
            files = make()
            print(f"{what}: made in {time.perf_counter() - began:.2f} s")
            for file, text in files.items():
                path = folder / file
                path.write_text(text)
                told = f"  {file}: {path.stat().st_size / 1e3:,.0f} kB"
                if browser and file.endswith(".html"):
                    shown = max(drawn_s(browser, path.as_uri(), folder) - base, 0.0)
                    told += f", drawn in {shown:.2f} s"
                    told += "" if shown < GOAL_S else f": ABOVE THE GOAL of {GOAL_S} s"
                print(told)


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 6_000, sys.argv[2] if len(sys.argv) > 2 else None
    )
