"""How long pages of reports take to be made, and to be shown by a browser.

A day and a month of made-up turns in 20 apps, and the calendar of a year. Chromium's time is that
of drawing the page and writing a picture of it, less the same for an empty page; the best of five.

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

import polars as pl
from partials_merge import DAYS, FIRST, day_of

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.hourly import hourly_turns, hours_of_week
from conversation_analytics.core.model_performance import model_performance
from conversation_analytics.core.partials import daily_partials, partials_of_days
from conversation_analytics.core.period_report import period_report
from conversation_analytics.core.periods import NAMES, Period, Span
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.reports.conversations import conversations_csv
from conversation_analytics.reports.daily import daily_html
from conversation_analytics.reports.index import START, index_pages, pages_listed
from conversation_analytics.reports.period import PeriodReport, period_html

GOAL_S = 1.0
TRIES = 5


def day_page(partials: pl.DataFrame, day: dt.date) -> dict[str, str]:
    """Return the page of a day, and its conversations."""
    talks = partials.filter(pl.col("kind") == "conversations")
    page = daily_html(
        daily_report(partials.lazy(), day), generated_for=day, hourly=hourly_turns(partials),
        models=model_performance(partials.lazy(), day), conversations=talks,
    )  # fmt: skip
    return {"day.html": page, "day.conversations.csv": conversations_csv(talks)}


def month_page(partials: list[pl.DataFrame], start: dt.date) -> dict[str, str]:
    """Return the page of the month that begins with `start`."""
    nothing = DAILY_PARTIALS.empty().lazy()
    report = period_report(partials_of_days(partials), nothing, Period.MONTH, start)
    reports = [
        daily_report(found.lazy(), day)
        for day, found in zip(Period.MONTH.days_of(start), partials, strict=True)
    ]
    hours = hours_of_week(pl.concat(found.filter(pl.col("kind") == "hours") for found in partials))
    shown = PeriodReport(Span.of(Period.MONTH, start), report, pl.concat(reports), hours)
    return {"month.html": period_html(shown)}


def year_page(last: dt.date) -> dict[str, str]:
    """Return the calendar of the 365 days up to `last`."""
    days = [last - dt.timedelta(days=number) for number in range(365)]
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


def main(turns: int = 5_000, chromium: str | None = None) -> None:
    """Measure and print."""
    browser = chromium or shutil.which("chromium") or shutil.which("google-chrome")
    start = FIRST.date()
    partials = []
    for number in range(DAYS):
        conversations, messages = day_of(number, turns)
        day = start + dt.timedelta(days=number)
        made = daily_partials(conversations.lazy(), messages.lazy(), day=day)
        partials.append(made.collect())
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "empty.html")
        empty.write_text("<!DOCTYPE html><title>empty</title>")
        base = drawn_s(browser, empty.as_uri(), Path(folder)) if browser else 0.0
        for make in (
            lambda: day_page(partials[0], start),
            lambda: month_page(partials, start),
            lambda: year_page(start),
        ):
            began = time.perf_counter()
            files = make()
            took = time.perf_counter() - began
            print(f"{', '.join(files)}: made in {took:.2f} s")
            for name, text in files.items():
                path = Path(folder, name)
                path.write_text(text)
                told = f"  {name}: {path.stat().st_size / 1e3:,.0f} kB"
                if browser and name.endswith(".html"):
                    shown = max(drawn_s(browser, path.as_uri(), Path(folder)) - base, 0.0)
                    told += f", drawn in {shown:.2f} s"
                    told += "" if shown < GOAL_S else f": ABOVE THE GOAL of {GOAL_S} s"
                print(told)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
