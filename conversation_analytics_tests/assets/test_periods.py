"""Weeks and months: merged from days, made again where a day of theirs changed."""

from __future__ import annotations

import base64
import datetime as dt
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.assets import partitions, periods
from conversation_analytics.assets.periods import stale_periods
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.partials import partials_of_days
from conversation_analytics.core.period_report import PERIOD_REPORTS, period_report
from conversation_analytics.core.periods import NAMES, Period
from conversation_analytics.core.schemas import CATEGORY_PARTIALS, DAILY_PARTIALS
from conversation_analytics.core.zones import DAILY
from conversation_analytics.io_managers import retries
from conversation_analytics.io_managers.document_io import MADE_FROM
from conversation_analytics.materialize import look_for_stale_days, merges_of, runs_of_stale_days
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUNDAY, MONDAY = dt.date(2026, 11, 1), dt.date(2026, 11, 2)
LAST = dt.date(2026, 11, 10)
PARTIALS = (DAILY_PARTIALS, CATEGORY_PARTIALS)
WEEKS = [dt.date(2026, 10, 26), MONDAY, dt.date(2026, 11, 9)]


def settings_in(folder: Path) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": SUNDAY.isoformat(),
            "SAMPLE_TURNS_PER_DAY": "20",
        }
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def stale(settings: Settings, *days: dt.date, today: dt.date = LAST) -> dict[str, dict[str, str]]:
    documents = open_documents(settings)
    try:
        return {
            one.label: {asset.asset: asset.reason for asset in one.assets}
            for period in PERIOD_REPORTS
            for one in stale_periods(open_lake(settings), documents, settings, period, days, today)
        }
    finally:
        documents.close()


def make(settings: Settings, period: Period, start: dt.date, instance: dg.DagsterInstance) -> None:
    run_job(settings, NAMES[period], start.isoformat(), instance=instance)


def test_weeks_and_months_are_merges_of_their_days_and_follow_them(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    settings = settings_in(tmp_path)
    days = [SUNDAY + dt.timedelta(days=n) for n in range(10)]
    assert stale(settings, *days) == {}  # nothing is held, so there is nothing to merge
    run_job(settings, "daily", SUNDAY.isoformat(), LAST.isoformat(), instance=instance)
    assert {label: next(iter(why.values())) for label, why in stale(settings, *days).items()} == {
        "2026-W44": "missing", "2026-W45": "missing", "2026-W46": "missing", "2026-11": "missing",
    }  # fmt: skip
    run_job(settings, "weekly", WEEKS[0].isoformat(), WEEKS[-1].isoformat(), instance=instance)
    make(settings, Period.MONTH, SUNDAY, instance)
    assert stale(settings, *days) == {}

    lake = open_lake(settings)
    for period, start in ((Period.WEEK, MONDAY), (Period.MONTH, SUNDAY)):
        held, held_before = (
            [
                pl.concat(lake.read(one, day.isoformat()) for one in PARTIALS)
                for day in period.days_of(begin)
                if lake.exists(DAILY_PARTIALS, day.isoformat())
            ]
            for begin in (start, period.before(start))
        )
        now, before = partials_of_days(held), partials_of_days(held_before)
        assert len(held_before) < len(period.days_of(period.before(start)))
        expected = period_report(
            now,
            before,
            period,
            start,
            days=len(held),
            days_before=len(held_before),
            engine=CPU,
        )
        stored = lake.read(PERIOD_REPORTS[period], start.isoformat())
        assert_frame_equal(stored, expected, check_exact=True)
        turns = stored.filter(
            pl.col("app_id").is_null() & (pl.col("metric") == "turns")
            & pl.col("dimension").is_null()
        )  # fmt: skip
        counted = now.filter(pl.col("kind") == "counts").select("turns").collect()
        assert turns["value"].to_list() == [counted["turns"].sum()]

    # A day changes: its week, the week after it (which compares with it) and its month.
    key = MONDAY.isoformat()
    partials = lake.stat(DAILY_PARTIALS, key)
    fewer = lake.read(DAILY_PARTIALS, key).filter(pl.col("kind") != "hours")
    lake.write(DAILY_PARTIALS, key, fewer, inputs=partials.inputs)
    changed = f"daily_partials/{key} has changed since"
    assert {label: next(iter(why.values())) for label, why in stale(settings, MONDAY).items()} == {
        "2026-W45": changed, "2026-W46": changed, "2026-11": changed,
    }  # fmt: skip
    assert stale(settings, SUNDAY) == {"2026-W45": stale(settings, MONDAY)["2026-W45"]} | {
        "2026-11": stale(settings, MONDAY)["2026-11"]
    }
    wanted = {run.job: run for run in merges_of(settings, [MONDAY])}
    assert wanted.keys() == {"weekly", "monthly", "users"}
    run_job(settings, wanted.pop("users").job, instance=instance)
    assert wanted["weekly"].label == "2026-W45 to 2026-W46"
    for run in wanted.values():
        assert run.partitions is not None
        first, last = run.partitions.first.isoformat(), run.partitions.last.isoformat()
        run_job(settings, run.job, first, last, instance=instance)
    assert stale(settings, *days) == {}
    assert merges_of(settings, days) == []
    assert runs_of_stale_days(settings, []) == []

    # So it is with categories of a day that came later, or became others.
    made_of = lake.stat(CATEGORY_PARTIALS, key).inputs
    lake.write(CATEGORY_PARTIALS, key, CATEGORY_PARTIALS.empty(), inputs=made_of)
    changed = f"category_partials/{key} has changed since"
    assert {next(iter(why.values())) for why in stale(settings, MONDAY).values()} == {changed}


@pytest.mark.parametrize(("period", "start"), [(Period.WEEK, MONDAY), (Period.MONTH, SUNDAY)])
def test_the_picture_of_a_period_is_in_the_metadata_and_small(
    tmp_path: Path, instance: dg.DagsterInstance, period: Period, start: dt.date
) -> None:
    settings = settings_in(tmp_path)
    last = MONDAY + dt.timedelta(days=2)
    run_job(settings, "daily", MONDAY.isoformat(), last.isoformat(), instance=instance)
    result = run_job(settings, NAMES[period], start.isoformat(), instance=instance)
    (told,) = result.asset_materializations_for_node(PERIOD_REPORTS[period].name)
    plot = str(told.metadata["plot"].value)
    assert len(plot) < 60_000
    found = re.fullmatch(r"!\[[^\]]+\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", plot)
    assert found
    picture = base64.b64decode(found[1]).decode()
    titles = ["Turns by day", "Turns by app", "Latency percentiles by app",
              "Turns by weekday and hour"]  # fmt: skip
    assert re.findall(r'class="name"[^>]*>([^<]*)<', picture) == titles
    by_day, by_app, *_ = picture.split('class="name"')[1:]
    assert by_day.count('<rect class="s1"') == 3  # a bar for each day that is held
    lake = open_lake(settings)
    report = lake.read(PERIOD_REPORTS[period], start.isoformat())
    turns = report.filter((pl.col("metric") == "turns") & pl.col("dimension").is_null())
    shown = {
        int(text.replace(",", "")) for text in re.findall(r'class="end"[^>]*>([\d,]+)<', by_app)
    }
    assert shown == {int(one) for one in turns.drop_nulls("app_id")["value"]}


def test_a_new_day_makes_its_week_again_and_lost_documents_only_themselves(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    settings = settings_in(tmp_path)
    run_job(settings, "daily", MONDAY.isoformat(), instance=instance)
    make(settings, Period.WEEK, MONDAY, instance)
    make(settings, Period.MONTH, SUNDAY, instance)
    assert stale(settings, MONDAY) == {}
    documents = open_documents(settings)
    documents.replace_partition(MADE_FROM, f"weekly_report_documents/{MONDAY}", [])
    documents.close()
    assert set(stale(settings, MONDAY)["2026-W45"]) == {"weekly_report_documents"}

    tuesday = MONDAY + dt.timedelta(days=1)
    run_job(settings, "daily", tuesday.isoformat(), instance=instance)
    assert stale(settings, tuesday)["2026-W45"]["weekly_report"] == (
        f"daily_partials/{tuesday} has changed since"
    )


def test_the_partitions_of_weeks_and_months_are_made_of_days(tmp_path: Path) -> None:
    from conversation_analytics.definitions import build_definitions  # noqa: PLC0415

    repository = build_definitions(settings_in(tmp_path)).get_repository_def()
    graph = repository.asset_graph
    for name, start, day in (
        ("weekly_report", "2026-11-09", "2026-11-02"),
        ("monthly_report", "2026-11-01", "2026-11-09"),
    ):
        subset = graph.get(dg.AssetKey(name)).partitions_def
        assert subset is not None
        mapping = graph.get_partition_mapping(dg.AssetKey(name), dg.AssetKey("daily_partials"))
        partials = graph.get(dg.AssetKey("daily_partials")).partitions_def
        assert partials is not None
        upstream = mapping.get_upstream_mapped_partitions_result_for_partitions(
            subset.subset_with_partition_keys([start]), subset, partials
        ).partitions_subset
        assert day in set(upstream.get_partition_keys())


def test_a_merge_that_was_overtaken_replaces_no_newer_report(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "WAIT_S", 0.0)
    settings, schema = settings_in(tmp_path), PERIOD_REPORTS[Period.WEEK]
    run_job(settings, "daily", MONDAY.isoformat(), instance=instance)
    make(settings, Period.WEEK, MONDAY, instance)
    lake, key = open_lake(settings), MONDAY.isoformat()
    partials, info = lake.read_with_info(DAILY_PARTIALS, key)
    merges: list[str] = []

    def merge_overtaken(*arguments: Any, **options: Any) -> pl.DataFrame:
        found = period_report(*arguments, **options)
        merges.append(key)
        if len(merges) == 1:  # the day is rewritten, and a newer run merges it first
            lake.write(DAILY_PARTIALS, key, partials, inputs=info.inputs)
            lake.write(schema, key, schema.empty(), inputs={"by": "a newer run"})
        return found

    monkeypatch.setattr(periods, "period_report", merge_overtaken)
    lake.write(DAILY_PARTIALS, key, partials.head(0), inputs=info.inputs)
    make(settings, Period.WEEK, MONDAY, instance)
    assert len(merges) == 2
    assert stale(settings, MONDAY) == {"2026-11": stale(settings, MONDAY)["2026-11"]}


def test_reports_of_another_version_of_the_metrics_are_made_again(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, key = settings_in(tmp_path), MONDAY.isoformat()
    run_job(settings, "daily", key, instance=instance)
    make(settings, Period.WEEK, MONDAY, instance)
    assert look_for_stale_days(settings, [key]) == []
    assert "2026-W45" not in stale(settings, MONDAY)
    for module in (partitions, periods):
        monkeypatch.setattr(module, "computed_by", lambda: {"metrics": "another"})
    why = "made of other inputs or with other settings"
    assert stale(settings, MONDAY)["2026-W45"]["weekly_report"] == why
    [day] = look_for_stale_days(settings, [key])
    first = {one.asset for one in day.assets if one.reason == why}
    assert first == {"daily_report", "model_performance"}
    assert {one.asset for one in day.assets} == first | {"daily_report_files", "report_documents"}


def test_days_of_another_version_whose_rows_are_gone_hold_up_no_period_and_shorten_none(
    tmp_path: Path, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_in(tmp_path)
    days = [SUNDAY + dt.timedelta(days=n) for n in range(10)]
    run_job(settings, "daily", SUNDAY.isoformat(), LAST.isoformat(), instance=instance)
    run_job(settings, "weekly", WEEKS[0].isoformat(), WEEKS[-1].isoformat(), instance=instance)
    make(settings, Period.MONTH, SUNDAY, instance)
    lake, lost = open_lake(settings), MONDAY.isoformat()
    older = replace(DAILY_PARTIALS, columns=DAILY_PARTIALS.columns[:-1])
    lake.write(older, lost, older.empty())
    assert stale(settings, *days) == {}  # all that tell of it wait
    # Raw and curated went by age, up to Tuesday.
    for day in days[:3]:
        for zones in DAILY.values():
            lake.remove(zones.raw, day.isoformat())
    aged = Settings({**settings.values, "RETENTION_RAW_DAYS": (LAST - days[3]).days})
    found = stale(aged, *days)
    assert list(found) == ["2026-W46"]
    assert found["2026-W46"]["weekly_report"] == "made of other inputs or with other settings"
    assert f"left out day={lost}: its rows are gone" in caplog.text
    assert "kept as it is period=week reports=2026-W45" in caplog.text
    assert "kept as it is period=month reports=2026-11" in caplog.text
    make(settings, Period.WEEK, WEEKS[2], instance)
    assert stale(aged, *days) == {}
    # A report that is lost is merged again of what is left.
    lake.remove(PERIOD_REPORTS[Period.WEEK], MONDAY.isoformat())
    assert stale(aged, *days)["2026-W45"]["weekly_report"] == "missing"
    make(settings, Period.WEEK, MONDAY, instance)
    page = lake.get_report(f"weekly/{MONDAY}.html").decode()
    assert "6 of 7 days" in page


def test_categories_of_another_version_whose_rows_are_gone_leave_the_rest_of_the_day(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    settings = settings_in(tmp_path)
    run_job(settings, "daily", SUNDAY.isoformat(), instance=instance)
    lake, day = open_lake(settings), SUNDAY.isoformat()
    older = replace(CATEGORY_PARTIALS, columns=CATEGORY_PARTIALS.columns[:-1])
    lake.write(older, day, older.empty())
    for zones in DAILY.values():
        lake.remove(zones.raw, day)
    make(settings, Period.WEEK, WEEKS[0], instance)
    make(settings, Period.MONTH, SUNDAY, instance)
    recorded = lake.stat(PERIOD_REPORTS[Period.WEEK], WEEKS[0].isoformat()).inputs
    assert {name for name in recorded if "/" in name} == {f"daily_partials/{day}"}
    told = stale(settings, SUNDAY)
    assert set(told) <= {"2026-W45"}, "the week after has no days of its own"
    assert told == {}


def test_documents_of_reports_are_made_again_in_another_collection(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    settings = settings_in(tmp_path)
    run_job(settings, "daily", SUNDAY.isoformat(), instance=instance)
    make(settings, Period.WEEK, WEEKS[0], instance)
    assert "2026-W44" not in stale(settings, SUNDAY)
    moved = Settings({**settings.values, "MONGODB_ANALYTICS_REPORTS_COLLECTION": "figures"})
    assert list(stale(moved, SUNDAY)["2026-W44"]) == ["weekly_report_documents"]
    make(moved, Period.WEEK, WEEKS[0], instance)
    assert "2026-W44" not in stale(moved, SUNDAY)
