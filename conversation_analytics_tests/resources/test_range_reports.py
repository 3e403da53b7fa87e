"""Reports of any days, over a folder and over the real S3 server."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.errors import LakeError
from conversation_analytics.core.partials import partials_of_days
from conversation_analytics.core.period_report import period_report
from conversation_analytics.core.periods import Period, Span
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.s3 import S3Config, S3Objects
from conversation_analytics.lake.store import Lake
from conversation_analytics.resources.range_reports import (
    commands_for,
    files_of,
    publish_range,
    report_of_range,
)
from conversation_analytics_tests.core.metric_rows import Row, conversation, partials_of, turn

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.stack.seaweedfs import S3Server

FIRST, LAST = dt.date(2026, 10, 26), dt.date(2026, 11, 15)
EVERY = Span(FIRST, LAST).days
DAY = dt.timedelta(days=1)
WORDS = ("html", "md", "csv", "json")


def rows_of(day: dt.date) -> list[Row]:
    """Return turns whose number, users, apps, models and prices change from day to day."""
    at = dt.datetime.combine(day, dt.time(9), dt.UTC)
    return [
        turn(
            created_at=at + dt.timedelta(minutes=7 * n),
            app_id=("app-1", "app 2/ä", None)[n % 3],
            user_id=f"u{(day.day + n) % 5}",
            model_id=f"m{n % 2}",
            conversation_id=f"c{day.day}-{n % 4}",
            latency_s=0.5 + n + day.day / 10,
            total_price=Decimal(n + 1) / 1000,
            currency=("USD", "CNY")[n % 2],
            status="error" if n == day.day % 4 else "normal",
        )
        for n in range(4 + day.day % 5)
    ]


def partials_on(day: dt.date) -> pl.DataFrame:
    at = dt.datetime.combine(day, dt.time(8), dt.UTC)
    rows = rows_of(day)
    talks = [conversation(id=f"c{day.day}-0", app_id="app-1", created_at=at)]
    return DAILY_PARTIALS.conform(partials_of(talks, rows, day=day).collect())


@pytest.fixture(scope="module")
def partials() -> dict[dt.date, pl.DataFrame]:
    return {day: partials_on(day) for day in EVERY}


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def lake(
    request: pytest.FixtureRequest, tmp_path: Path, partials: dict[dt.date, pl.DataFrame]
) -> Lake:
    if request.param == "local":
        found = Lake(LocalObjects(tmp_path / "lake"))
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        prefix = request.getfixturevalue("s3_prefix")
        config = S3Config(
            bucket=server.bucket, prefix=prefix, endpoint_url=server.endpoint_url,
            access_key_id=server.access_key, secret_access_key=server.secret_key,
            region=server.region,
        )  # fmt: skip
        found = Lake(S3Objects(config))
    for day, frame in partials.items():
        found.write(DAILY_PARTIALS, day.isoformat(), frame)
    return found


@pytest.fixture
def folder(tmp_path: Path, partials: dict[dt.date, pl.DataFrame]) -> Lake:
    found = Lake(LocalObjects(tmp_path / "lake"))
    for day, frame in partials.items():
        found.write(DAILY_PARTIALS, day.isoformat(), frame)
    return found


def of_days(partials: dict[dt.date, pl.DataFrame], span: Span) -> pl.LazyFrame:
    return partials_of_days(partials[day] for day in span.days if day in partials)


def test_a_week_has_the_figures_of_the_weekly_report(
    folder: Lake, partials: dict[dt.date, pl.DataFrame]
) -> None:
    week = Span.of(Period.WEEK, dt.date(2026, 11, 9))
    expected = period_report(
        of_days(partials, week),
        of_days(partials, week.before()),
        Period.WEEK,
        week.first,
        engine=CPU,
    )
    made = report_of_range(folder, Span(week.first, week.last), engine=CPU)
    assert_frame_equal(made.shown.report, expected, check_exact=True)
    assert expected.filter(pl.col("value") != pl.col("previous")).height > 0


def test_a_day_has_the_figures_of_the_daily_report(
    folder: Lake, partials: dict[dt.date, pl.DataFrame]
) -> None:
    made = report_of_range(folder, Span(LAST, LAST), engine=CPU)
    whole = made.shown.report.filter(pl.col("dimension").is_null())
    columns = ["app_id", "metric", "currency", "unit", "value"]
    known = pl.col("value").is_not_null()
    expected = daily_report(partials[LAST].lazy(), LAST, engine=CPU)
    assert_frame_equal(
        whole.filter(known).select(columns).sort(columns),
        expected.filter(known).select(columns).sort(columns),
        check_exact=True,
    )


def test_a_month_has_the_figures_of_the_monthly_report(
    folder: Lake, partials: dict[dt.date, pl.DataFrame]
) -> None:
    month = Span.of(Period.MONTH, dt.date(2026, 11, 1))
    nothing = DAILY_PARTIALS.empty().lazy()
    held = len(partials.keys() & set(month.days))
    expected = period_report(
        of_days(partials, month), nothing, Period.MONTH, month.first, days=held, engine=CPU
    )
    made = report_of_range(folder, Span(month.first, month.last), engine=CPU)
    columns = [name for name in expected.columns if name != "previous"]
    known = pl.col("value").is_not_null()  # the days before October's have other currencies
    assert_frame_equal(
        made.shown.report.filter(known).select(columns),
        expected.filter(known).select(columns),
        check_exact=True,
    )


@pytest.mark.parametrize("app", ["app-1", "app 2/ä", ""])
def test_the_report_of_an_app_has_the_figures_of_the_app(folder: Lake, app: str) -> None:
    span = Span(dt.date(2026, 11, 3), dt.date(2026, 11, 10))
    every, own = (
        report_of_range(folder, span, engine=CPU),
        report_of_range(folder, span, CPU, app),
    )
    assert own.apps == every.apps == ("", "app 2/ä", "app-1")
    told = own.shown.told
    assert told["app_id"].unique().to_list() == [app]
    expected = every.shown.report.filter(pl.col("app_id") == app)
    known = pl.col("value").is_not_null() | pl.col("previous").is_not_null()
    assert_frame_equal(told.filter(known), expected.filter(known), check_exact=True)
    page = files_of(own)[f"{own.name}.html"]
    turns = expected.filter((pl.col("metric") == "turns") & pl.col("dimension").is_null())
    assert f'<div class="name">Turns</div><div class="value">{turns["value"][0]:.0f}</div>' in page
    assert "<h2>Apps</h2>" not in page
    assert "--app " in page
    assert own.name.startswith("2026-11-03_2026-11-10_")
    assert own.name.isascii()
    assert "/" not in own.name


def test_the_files_are_stored_and_listed_and_the_same_again(lake: Lake) -> None:
    made = report_of_range(lake, Span(dt.date(2026, 10, 30), dt.date(2026, 11, 5)), engine=CPU)
    assert made.missing == ()
    assert made.missing_before == Span(FIRST - 3 * DAY, FIRST - DAY).days
    stored = publish_range(lake, made)
    assert sorted(stored) == ["csv", "html", "md"]
    name = "ranges/2026-10-30_2026-11-05"
    page = lake.get_report(f"{name}.html")
    assert "<h1>30 October to 5 November 2026</h1>" in page.decode()
    assert 'href="../daily/2026-11-01.html"' in page.decode()
    assert f'href="{name}.html"' in lake.get_report("index.html").decode()
    assert lake.has_report("users/index.html")
    again = report_of_range(lake, Span(dt.date(2026, 10, 30), dt.date(2026, 11, 5)), engine=CPU)
    publish_range(lake, again)
    assert lake.get_report(f"{name}.html") == page
    one = report_of_range(lake, Span(LAST, LAST), CPU, "app-1")
    publish_range(lake, one)
    index = lake.get_report("index.html").decode()
    assert 'href="ranges/2026-11-15_2026-11-15_app-1.html"' in index


def test_days_that_are_not_held_are_named_everywhere(
    tmp_path: Path, partials: dict[dt.date, pl.DataFrame]
) -> None:
    lake = Lake(LocalObjects(tmp_path / "lake"))
    lost = {dt.date(2026, 11, 4), dt.date(2026, 11, 5), dt.date(2026, 11, 7), dt.date(2026, 11, 2)}
    for day in Span(dt.date(2026, 11, 1), dt.date(2026, 11, 8)).days:
        if day not in lost:
            lake.write(DAILY_PARTIALS, day.isoformat(), partials[day])
    made = report_of_range(lake, Span(dt.date(2026, 11, 3), dt.date(2026, 11, 8)), engine=CPU)
    assert list(made.missing) == sorted(lost - {dt.date(2026, 11, 2)})
    assert len(made.missing_before) == 5
    assert commands_for(made.missing) == (
        "conversation-analytics backfill 2026-11-04 2026-11-05; "
        "conversation-analytics backfill 2026-11-07 2026-11-07"
    )
    texts = {name.rpartition(".")[2]: text for name, text in files_of(made, WORDS).items()}
    named = "2026-11-04 to 2026-11-05, 2026-11-07"
    assert f"3 of 6 days are held (not {named})" in texts["html"]
    assert "of which 1 of 6 days are held" in texts["html"]
    assert f"Days that are not held: {named}." in texts["md"]
    assert json.loads(texts["json"])["days_not_held"] == ["2026-11-04", "2026-11-05", "2026-11-07"]
    assert "<title>Wed 2026-11-04: not held</title>" in texts["html"]


def test_no_day_is_an_error_with_the_command_that_makes_them(folder: Lake) -> None:
    with pytest.raises(LakeError, match="backfill 2025-01-01 2025-01-03") as told:
        report_of_range(folder, Span(dt.date(2025, 1, 1), dt.date(2025, 1, 3)), engine=CPU)
    assert "is held" in str(told.value)


def test_every_format_has_the_same_figures(folder: Lake) -> None:
    made = report_of_range(folder, Span(dt.date(2026, 11, 3), dt.date(2026, 11, 10)), engine=CPU)
    texts = {name.rpartition(".")[2]: text for name, text in files_of(made, WORDS).items()}
    document = json.loads(texts["json"], parse_float=Decimal)
    assert (document["first"], document["last"], document["app"]) == (
        "2026-11-03", "2026-11-10", None,
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert len(rows) == len(document["rows"]) == made.shown.report.height
    for of_csv, of_json in zip(rows, document["rows"], strict=True):
        value = of_json["value"]
        assert of_csv["metric"] == of_json["metric"]
        assert (None if of_csv["value"] == "" else Decimal(of_csv["value"])) == value
    (turns,) = [
        row["value"]
        for row in document["rows"]
        if (row["metric"], row["app_id"], row["dimension"]) == ("turns", None, None)
    ]
    assert f"| Turns | {turns} |" in texts["md"]
    assert f'<div class="value">{turns}</div>' in texts["html"]


def test_a_page_elsewhere_links_to_no_other(folder: Lake) -> None:
    span = Span(dt.date(2026, 11, 3), dt.date(2026, 11, 10))
    (page,) = files_of(report_of_range(folder, span, linked=False, engine=CPU), ["html"]).values()
    assert "../" not in page
    assert "<nav>" not in page


def test_a_single_day_has_its_hours_in_place_of_its_days(folder: Lake) -> None:
    (page,) = files_of(report_of_range(folder, Span(LAST, LAST), engine=CPU), ["html"]).values()
    assert "<h2>Turns by hour</h2>" in page
    assert f"<title>09:00, {len(rows_of(LAST))} turns</title>" in page
    assert "<h2>Turns by day</h2>" not in page
    assert "Changes against 14 November 2026." in page


HOSTILE_APPS = (
    "..", "../../x", "/etc/passwd", "a\\b", "a\0b", "\uff0e\uff0e\uff0fx", "a\u2215b", "no-app",
    "x" * 300, "a b", "-\n", "a.conversations",
)  # fmt: skip


def test_no_app_names_a_file_outside_of_its_folder(lake: Lake) -> None:
    day = EVERY[0]
    at = dt.datetime.combine(day, dt.time(9), dt.UTC)
    rows = [turn(app_id=app, created_at=at, conversation_id=app) for app in HOSTILE_APPS]
    lake.write(DAILY_PARTIALS, day.isoformat(), partials_of([], rows).collect())
    for app in HOSTILE_APPS:
        made = report_of_range(lake, Span(day, day), CPU, app)
        names = list(files_of(made))
        assert len(names) == 3
        for name in names:
            assert re.fullmatch(r"2026-10-26_2026-10-26_app-[0-9a-f]{16}\.(html|md|csv)", name)
        publish_range(lake, made)
    stored = [info.path for info in lake.objects.list("") if "2026-10-26_" in info.path]
    assert len(stored) == 3 * len(HOSTILE_APPS)
    assert all(path.startswith("reports/ranges/") for path in stored)
