"""Files of reports as the platform writes them, and the pages that lead to them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import posixpath
import re
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets.lineage import files_inputs_path
from conversation_analytics.assets.periods import stale_periods
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.lake.store import Lake
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.resources.report_pages import lead_to
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

FRIDAY, SATURDAY, MONDAY = dt.date(2026, 11, 20), dt.date(2026, 11, 21), dt.date(2026, 11, 16)
MONTH = dt.date(2026, 11, 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("files")
    settings = parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": FRIDAY.isoformat(),
            "ANALYTICS_TIMEZONE": "Asia/Bangkok",
            "SAMPLE_TURNS_PER_DAY": "30",
        }
    )
    with dg.DagsterInstance.ephemeral() as instance:
        run_job(settings, "daily", FRIDAY.isoformat(), SATURDAY.isoformat(), instance=instance)
        run_job(settings, "weekly", MONDAY.isoformat(), instance=instance)
        run_job(settings, "monthly", MONTH.isoformat(), instance=instance)
    return settings


def text_of(lake: Lake, path: str) -> str:
    return lake.get_report(path).decode()


def test_every_link_of_every_page_leads_to_a_file(made: Settings) -> None:
    lake = open_lake(made)
    written = set(lake.reports())
    pages = {path for path in written if path.endswith(".html")}
    assert pages == {
        "index.html", "weekly/index.html", "monthly/index.html", "users/index.html",
        "daily/2026-11-20.html",
        "daily/2026-11-21.html", "weekly/2026-11-16.html", "monthly/2026-11-01.html",
    }  # fmt: skip
    for page in pages:
        text = text_of(lake, page)
        for link in re.findall(r'href="([^"#]+)"', text):
            assert posixpath.normpath(posixpath.join(posixpath.dirname(page), link)) in written
        for anchor in re.findall(r'href="#([^"]+)"', text):
            assert f'id="{anchor}"' in text


def test_the_page_of_a_day_shows_its_models_hours_and_conversations(made: Settings) -> None:
    lake = open_lake(made)
    page = text_of(lake, f"daily/{FRIDAY}.html")
    for title in ("Turns by hour", "Models side by side", "Conversations to look at"):
        assert f"<h2>{title}</h2>" in page
    assert "Failed last, Asia/Bangkok" in page
    partials = lake.read(DAILY_PARTIALS, FRIDAY.isoformat())
    talks = partials.filter(pl.col("kind") == "conversations")
    rows = list(csv.DictReader(io.StringIO(text_of(lake, f"daily/{FRIDAY}.conversations.csv"))))
    assert {row["conversation_id"] for row in rows} == set(talks["conversation_id"])
    assert sum(int(row["turns"]) for row in rows) == talks["turns"].sum()


@pytest.mark.parametrize(("period", "start"), [(Period.WEEK, MONDAY), (Period.MONTH, MONTH)])
def test_the_files_of_a_period_note_what_they_were_made_of(
    made: Settings, period: Period, start: dt.date
) -> None:
    lake, folder = open_lake(made), f"{period.value}ly"
    assert {path.split(".", 1)[1] for path in lake.reports() if path.startswith(f"{folder}/2")} == {
        "html", "md", "csv", "inputs.json",
    }  # fmt: skip
    inputs = json.loads(lake.get_report(files_inputs_path(folder, start.isoformat())))
    days = {
        f"{table}/{day}"
        for table in ("daily_partials", "category_partials")
        for day in (FRIDAY, SATURDAY)
    }
    assert inputs.keys() == days | {f"{folder}_report"}
    assert "2 of " in text_of(lake, f"{folder}/{start}.html")


def test_files_that_are_lost_are_made_again_alone(made: Settings) -> None:
    lake = open_lake(made)
    path = files_inputs_path("weekly", MONDAY.isoformat())
    kept = lake.get_report(path)
    documents = open_documents(made)
    try:
        assert stale_periods(lake, documents, made, Period.WEEK, [FRIDAY], FRIDAY) == ()
        lake.put_report(path, json.dumps({"weekly_report": "another"}).encode())
        (found,) = stale_periods(lake, documents, made, Period.WEEK, [FRIDAY], FRIDAY)
        assert [asset.asset for asset in found.assets] == ["weekly_report_files"]
    finally:
        lake.put_report(path, kept)
        documents.close()


class _Beside(Lake):
    """A lake in which another run stores a page just after the first listing."""

    def reports(self) -> list[str]:
        found = super().reports()
        self.put_report("daily/2026-11-22.html", b"of another run")
        return found


def test_the_page_of_users_is_there_before_any_user_and_is_left_alone_after(tmp_path: Path) -> None:
    lake = open_lake(parse_settings({"PARQUET_BASE_DIR": str(tmp_path)}))
    lead_to(lake, [])
    assert "not told yet" in text_of(lake, "users/index.html")
    lake.put_report("users/index.html", b"made")
    lead_to(lake, ["daily/2026-11-21.html"])
    assert text_of(lake, "users/index.html") == "made"
    assert 'href="users/index.html"' in text_of(lake, "index.html")


def test_a_page_that_another_run_adds_meanwhile_is_listed(tmp_path: Path) -> None:
    lake = open_lake(parse_settings({"PARQUET_BASE_DIR": str(tmp_path)}))
    beside = _Beside(lake.objects)
    beside.put_report("daily/2026-11-21.html", b"")
    lead_to(beside, ["daily/2026-11-21.html"])
    page = text_of(lake, "index.html")
    assert 'href="daily/2026-11-21.html"' in page
    assert 'href="daily/2026-11-22.html"' in page


def test_pages_that_are_listed_cost_no_listing(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_lake(made)
    monkeypatch.setattr(Lake, "reports", lambda _: pytest.fail("listed"))
    lead_to(lake, [f"daily/{FRIDAY}.html", f"weekly/{MONDAY}.html"])
