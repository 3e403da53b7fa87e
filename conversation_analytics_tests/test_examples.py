"""docs/extending.md as written: its packages installed, its settings set, a run to the report."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.metrics import METRICS, use_metrics
from conversation_analytics.core.schemas import (
    DAILY_REPORT,
    MONTHLY_REPORT,
    RAW_MESSAGES,
    WEEKLY_REPORT,
)
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.extensions import use_extensions
from conversation_analytics.generated import generated_files
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, load_settings
from conversation_analytics_tests.commands import ROOT, typed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.store import Lake

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
DAY = "2026-11-02"  # a Monday
OUR_METRICS = {"asked_again_rate", "tokens_per_conversation"}
# A turn that is asked for a second time, one that is asked in nearly the same words, two others.
TURNS = [
    ("t1", "c1", None, "10:00:00", "Mein Hund schläft heute den ganzen Tag im Garten."),
    ("t2", "c1", "t1", "10:01:00", "Warum schläft mein Hund heute so lange im Haus?"),
    ("t3", "c1", "t1", "10:05:00", "Warum schläft mein Hund heute so lange im Haus?"),
    ("t4", "c2", None, "11:00:00", "Ich habe mein Passwort vergessen und brauche Hilfe."),
    ("t5", "c2", "t4", "11:00:30", "Ich habe mein Passwort vergessen und brauche Hilfe!"),
]


def commands() -> list[list[str]]:
    return [line.split() for line in re.findall(r"^ {4}pip (install .*)$", PAGE, re.MULTILINE)]


def documented_settings(folder: Path) -> dict[str, str]:
    lines = "".join(re.findall(r"```dotenv\n(.*?)```", PAGE, re.DOTALL)).splitlines()
    return dict(line.replace("/data", str(folder)).split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder into which every package of the page is installed."""
    sources, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("packages")
    # Building leaves files beside the sources.
    paths = [Path(command[-1]) for command in commands()]
    for path in paths:
        files = [one for one in (ROOT / path).rglob("*") if one.suffix in {".py", ".toml", ".yaml"}]
        for file in files:
            copy = sources / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    [options] = {tuple(command[1:-1]) for command in commands()}
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet",
         *options, "--target", str(target), *map(str, paths)],
        cwd=sources, check=True,
    )  # fmt: skip
    return target


@pytest.fixture(scope="module")
def made(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the settings of the page in `.env`, and the day made."""
    folder = tmp_path_factory.mktemp("deployment")
    (folder / "chats").mkdir()
    rows: dict[str, list[dict[str, object]]] = {
        "conversations": [
            {"id": name, "app_id": "shop", "created_at": f"{DAY} 09:00:00+00:00"}
            for name in ("c1", "c2")
        ],
        "messages": [
            {
                "id": name, "conversation_id": talk, "parent_message_id": parent, "app_id": "shop",
                "created_at": f"{DAY} {time}+00:00", "updated_at": f"{DAY} {time}+00:00",
                "query": query, "answer": "Der Hund ist müde und braucht seine Ruhe.",
                "message_tokens": 30, "answer_tokens": 20, "from_end_user_id": "u1",
            }
            for name, talk, parent, time, query in TURNS
        ],
    }  # fmt: skip
    for table, of_table in rows.items():
        lines = "".join(f"{json.dumps(row)}\n" for row in of_table)
        (folder / "chats" / f"{table}.jsonl").write_text(lines, encoding="utf-8")
    words = {"de>en": {"hund": "dog", "haus": "house", "passwort": "password"}}
    (folder / "words.json").write_text(json.dumps(words), encoding="utf-8")
    variables = [f"{name}={value}\n" for name, value in documented_settings(folder).items()]
    own = f"ANALYTICS_START_DATE={DAY}\nANALYTICS_TIMEZONE=UTC\nLANGUAGES=de,en\n"
    (folder / ".env").write_text("".join(variables) + own, encoding="utf-8")
    done = typed(folder, "backfill", DAY, DAY, PYTHONPATH=str(packages))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def settings(made: Path, packages: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Return the settings of the deployment, in this process, which has the packages, too."""
    monkeypatch.chdir(made)
    monkeypatch.syspath_prepend(str(packages))
    found = load_settings({}, made / ".env")
    use_extensions(found)
    yield found
    use_metrics(())


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return open_lake(settings)


def overall(lake: Lake, schema: TableSchema, key: str = DAY) -> dict[str, float]:
    report = lake.read(schema, key).filter(pl.col("app_id").is_null())
    if "dimension" in report.columns:
        report = report.filter(pl.col("dimension").is_null())
    values = report.select("metric", pl.col("value").cast(pl.Float64))
    return dict(values.drop_nulls().iter_rows())


def test_every_example_is_a_section_and_is_shown_whole() -> None:
    there = {str(one.parent.relative_to(ROOT)) for one in ROOT.glob("examples/*/pyproject.toml")}
    assert {command[-1].removeprefix("./") for command in commands()} == there
    assert len(commands()) == len(there)
    shown = re.findall(r"<!-- (examples/\S+) -->", PAGE)
    hidden = {
        str(file.relative_to(ROOT))
        for suffix in ("*.py", "*.yaml", "*.toml")
        for file in ROOT.glob(f"examples/*/**/{suffix}")
        if not file.name.startswith("test_") and "build" not in file.parts
    }
    assert sorted(shown) == sorted(hidden)
    assert generated_files()["docs/extending.md"] == PAGE
    for name in shown:
        assert (ROOT / name).read_text(encoding="utf-8") in PAGE


def test_check_lists_them_with_versions(made: Path, packages: Path) -> None:
    told = typed(made, "check", PYTHONPATH=str(packages))
    assert told.returncode == 0, told.stdout + told.stderr
    for line in (
        "ok    sources extension jsonl: conversation-source-jsonl 1.0 loads, in use",
        "ok    translators extension glossary: conversation-translator-glossary 1.0 loads, in use",
        "ok    metrics extension asked_again: conversation-metric-asked-again 1.0 loads, in use",
        "ok    taxonomies extension support: conversation-taxonomy-support 1.0 loads, in use",
        "ok    assets extension one_line: conversation-asset-one-line 1.0 loads, in use",
        "ok    definitions: what the settings name can be used together",
        f"ok    source: source jsonl, folder {made / 'chats'}: answers for conversations, messages",
    ):
        assert line in told.stdout


def test_the_source_lands(lake: Lake) -> None:
    assert lake.read(RAW_MESSAGES, DAY)["id"].to_list() == [turn[0] for turn in TURNS]


@pytest.mark.parametrize(
    ("schema", "key"),
    [(DAILY_REPORT, DAY), (WEEKLY_REPORT, DAY), (MONTHLY_REPORT, "2026-11-01")],
    ids=lambda one: getattr(one, "name", one),
)
def test_the_metrics_are_in_every_report(lake: Lake, schema: TableSchema, key: str) -> None:
    values = overall(lake, schema, key)
    assert values["turns"] == 5
    # One turn has an earlier one with its parent, one is like the one before within two minutes.
    assert (values["regenerations"], values["rephrases"]) == (1, 1)
    assert values["asked_again_rate"] == pytest.approx(2 / 5)
    assert values["tokens_per_conversation"] == pytest.approx(5 * 50 / 2)


def test_pages_files_documents_and_the_list_of_metrics_agree(
    lake: Lake, settings: Settings, made: Path, packages: Path
) -> None:
    from conversation_analytics.client import open_client  # noqa: PLC0415 - reads the settings

    page = lake.get_report(f"daily/{DAY}.html").decode()
    assert "Asked-again rate" in page
    assert "40.0%" in page
    assert "asked_again_rate" in lake.get_report(f"daily/{DAY}.csv").decode()
    assert "Asked-again rate" in lake.get_report(f"weekly/{DAY}.html").decode()
    with open_client(settings) as client:
        day = dt.date.fromisoformat(DAY)
        [report] = client.reports("daily", day, day).items
    assert {one.name for one in report.metrics} >= OUR_METRICS
    assert report.value("asked_again_rate") == Decimal("0.4")
    listed = typed(made, "metrics", PYTHONPATH=str(packages)).stdout
    assert "| (regenerations + rephrases) / turns |" in listed
    assert "conversation-metric-asked-again 1.0" in listed
    behind = typed(
        made, "query", "--metric", "asked_again_rate", "--from", DAY, "--to", DAY,
        PYTHONPATH=str(packages),
    )  # fmt: skip
    assert behind.returncode == 0, behind.stderr
    assert "c1" in behind.stdout


def test_taxonomy_translator_and_asset_did_their_part(lake: Lake) -> None:
    kinds = lake.read(CATEGORIES, DAY)["category_type"].unique().to_list()
    assert sorted(kinds) == ["desk", "urgency"]
    translated = lake.read(TRANSLATIONS, DAY).filter(pl.col("engine") == "glossary")
    assert "Mein dog schläft heute den ganzen Tag im Garten." in translated["translated"].to_list()
    line = lake.get_report(f"one_line/{DAY}.txt").decode()
    assert line == f"{DAY}: turns 5, asked_again_rate 40.0%\n"


def test_a_metric_that_is_taken_out_makes_reports_stale_and_goes(
    made: Path, packages: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "deployment"
    shutil.copytree(made, copy)
    monkeypatch.chdir(copy)
    lake, place = open_lake(settings), str(packages)
    whole = typed(copy, "repair", "--dry-run", PYTHONPATH=place)
    assert "0 of 1 days have something to make again" in whole.stdout
    before = overall(lake, DAILY_REPORT)
    repaired = typed(
        copy, "repair", PYTHONPATH=place, EXTENSIONS="conversation-asset-one-line",
        EXT_ONE_LINE_METRICS="turns",
    )  # fmt: skip
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "first daily_report: made of other inputs or with other settings" in repaired.stdout
    without = overall(lake, DAILY_REPORT)
    assert without == {name: one for name, one in before.items() if name not in OUR_METRICS}
    for schema, key in ((WEEKLY_REPORT, DAY), (MONTHLY_REPORT, "2026-11-01")):
        assert OUR_METRICS.isdisjoint(overall(lake, schema, key))
    # What is made of the report is made with it.
    assert lake.get_report(f"one_line/{DAY}.txt").decode() == f"{DAY}: turns 5\n"
    put_back = typed(copy, "repair", "--dry-run", PYTHONPATH=place)
    assert "first daily_report: made of other inputs or with other settings" in put_back.stdout


def test_a_name_that_is_not_installed_is_answered_with_those_that_are(
    made: Path, packages: Path
) -> None:
    wrong = typed(made, "metrics", SOURCE="jsonlines", PYTHONPATH=str(packages))
    assert wrong.returncode == 1
    assert wrong.stderr.startswith(
        "error: SOURCE is 'jsonlines': expected one of nocodb, sample, jsonl (of conversation-"
    )
    assert len(METRICS) > len(OUR_METRICS)
