"""Reports of any days, made of the daily partials that the lake holds."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import taken_by
from conversation_analytics.core.errors import LakeError
from conversation_analytics.core.hourly import hours_of_week
from conversation_analytics.core.metrics import NO_APP
from conversation_analytics.core.partials import merged_kinds, partials_of_days
from conversation_analytics.core.period_report import range_report
from conversation_analytics.core.periods import runs_of_days
from conversation_analytics.core.schemas import CATEGORY_PARTIALS, DAILY_PARTIALS, DAILY_REPORT
from conversation_analytics.reports.index import RANGES, RangePage
from conversation_analytics.reports.period import (
    PeriodReport,
    period_csv,
    period_html,
    period_json,
    period_markdown,
)
from conversation_analytics.resources.report_pages import lead_to

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator

    from conversation_analytics.core.engine import Engine
    from conversation_analytics.core.periods import Span
    from conversation_analytics.lake.store import Lake

FORMATS = {
    "html": period_html,
    "md": period_markdown,
    "csv": lambda shown: period_csv(shown.told),
    "json": period_json,
}
"""What gives the text of a report, by the ending of its file."""
_FILES = ("html", "md", "csv")
_PLAIN = re.compile(r"[A-Za-z0-9-]{1,64}")
_NAMELESS = "no-app"


@dataclass(frozen=True, slots=True)
class RangeReport:
    """The report of any days.

    Attributes:
        shown: what its files say.
        missing: days of it that are not held.
        missing_before: days of those before it that are not held.
        apps: the apps of the days, whichever the report is of; `NO_APP` for none.
    """

    shown: PeriodReport
    missing: tuple[dt.date, ...]
    missing_before: tuple[dt.date, ...]
    apps: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its files, without an ending."""
        return RangePage(self.shown.span.first, self.shown.span.last, _named(self.shown.only)).name


def report_of_range(
    lake: Lake, span: Span, engine: Engine, only: str | None = None, *, linked: bool = True
) -> RangeReport:
    """Make the report of any days, as the lake holds them now.

    Args:
        lake: the lake.
        span: the days.
        engine: computes it.
        only: the one app that it is of, `NO_APP` for none; None: of all apps.
        linked: whether it will be among the reports of the lake.

    Raises:
        LakeError: no day is held, or what is held cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    held = frozenset(lake.keys(DAILY_PARTIALS))
    categorised = frozenset(lake.keys(CATEGORY_PARTIALS))
    own, then = (_those(held, one.days) for one in (span, span.before()))
    if not own:
        raise LakeError(
            f"no day from {span.first} to {span.last} is held (table daily_partials); make them "
            f"first: {commands_for(span.days)}"
        )
    days, hours, apps = [DAILY_REPORT.empty()], [DAILY_PARTIALS.empty()], set[str]()

    def partials(wanted: Iterable[dt.date], *, told: bool) -> Iterator[pl.DataFrame]:
        for day in wanted:
            key = day.isoformat()
            tables = (DAILY_PARTIALS, *([CATEGORY_PARTIALS] if key in categorised else []))
            found = pl.concat(
                engine.collect(merged_kinds(taken_by(engine, lake.scan(table, key)[0])))
                for table in tables
            )
            if told:
                apps.update(found["app_id"].fill_null(NO_APP).unique())
            if only is not None:
                found = found.filter(pl.col("app_id").fill_null(NO_APP) == only)
            if told:
                days.append(daily_report(found.lazy(), day, engine))
                hours.append(found.filter(pl.col("kind") == "hours"))
            yield found

    now = partials_of_days(partials(own, told=True))
    before = partials_of_days(partials(then, told=False))
    report = range_report(now, before, span, engine, days=len(own), days_before=len(then))
    shown = PeriodReport(
        span, report, pl.concat(days), hours_of_week(pl.concat(hours)),
        only=only, before_held=len(then), linked=linked,
    )  # fmt: skip
    return RangeReport(
        shown,
        tuple(day for day in span.days if day not in own),
        tuple(day for day in span.before().days if day not in then),
        tuple(sorted(apps)),
    )


def files_of(report: RangeReport, endings: Iterable[str] = _FILES) -> dict[str, str]:
    """Return the texts of a report by the names of their files."""
    return {f"{report.name}.{ending}": FORMATS[ending](report.shown) for ending in endings}


def publish_range(lake: Lake, report: RangeReport) -> dict[str, str]:
    """Store the files of a report in the lake, and lead to its page.

    Returns:
        Where other tools find them, by the endings of their names.

    Raises:
        LakeError: the storage refuses.
        LakeUnavailableError: the storage does not answer.
    """
    stored = {
        name.rpartition(".")[2]: lake.put_report(f"{RANGES}/{name}", text.encode())
        for name, text in files_of(report).items()
    }
    lead_to(lake, [f"{RANGES}/{report.name}.html"])
    return stored


def commands_for(days: Iterable[dt.date]) -> str:
    """Return the commands that make the days, ascending."""
    return "; ".join(
        f"conversation-analytics backfill {run.first} {run.last}" for run in runs_of_days(days)
    )


def _those(held: frozenset[str], days: Iterable[dt.date]) -> list[dt.date]:
    return [day for day in days if day.isoformat() in held]


def _named(app: str | None) -> str:
    """Return an app as a part of a file's name."""
    if app is None:
        return ""
    if app == NO_APP:
        return _NAMELESS
    if _PLAIN.fullmatch(app) and app != _NAMELESS:
        return app
    return f"app-{hashlib.sha256(app.encode()).hexdigest()[:16]}"
