"""The documented commands, as a person types them, in a folder of their own."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from conversation_analytics.assets.partitions import origin
from conversation_analytics.assets.topics import JOB as TOPICS_JOB
from conversation_analytics.core import schemas
from conversation_analytics.core.period_report import PERIOD_REPORTS
from conversation_analytics.core.periods import NAMES, Period, starts_of
from conversation_analytics.definitions import build_definitions, daily_graph
from conversation_analytics.documents.store import SqliteConfig, open_store
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.commands import CLI, ROOT, clean_environment, typed, wait_until
from conversation_analytics_tests.core.translating import LOG_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

FEW = {"SAMPLE_TURNS_PER_DAY": "20"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_run_then_status_then_check(tmp_path: Path) -> None:
    ran = typed(tmp_path, "run", "--days", "2", SAMPLE_TURNS_PER_DAY="30")
    assert ran.returncode == 0, ran.stderr
    settings = parse_settings({})
    jobs = build_definitions(settings)
    today = dt.datetime.now(dt.UTC).date()
    days = [today - dt.timedelta(days=back) for back in (1, 2)]
    partitions = {"undated": 1, "users": 1} | {
        NAMES[period]: len(starts_of(period, days)) for period in PERIOD_REPORTS
    }
    weeks = starts_of(Period.WEEK, days)
    partitions[TOPICS_JOB] = sum(Period.WEEK.end_of(week) < today for week in weeks)
    steps = 2 * len(daily_graph(settings)) + sum(
        count * len(set(jobs.resolve_job_def(name).asset_layer.executable_asset_keys))
        for name, count in partitions.items()
    )
    assert re.search(rf"^done .* {steps}/{steps} ", ran.stdout, re.MULTILINE), ran.stdout
    report = re.search(r"report +(\S+\.html)", ran.stdout)
    assert report is not None, ran.stdout
    assert Path(report[1]).is_file()
    assert (tmp_path / "data" / "documents.sqlite").is_file()

    status = typed(tmp_path, "status")
    assert status.returncode == 0, status.stderr
    assert re.search(r"messages .* 2 ", status.stdout)
    assert "dead letters: 0" in status.stdout

    check = typed(tmp_path, "check")
    assert check.returncode == 0, check.stdout
    assert "FAIL" not in check.stdout


def test_a_backfill_of_a_range(tmp_path: Path) -> None:
    ran = typed(
        tmp_path, "backfill", "2026-11-01", "2026-11-03",
        SAMPLE_TURNS_PER_DAY="20", ANALYTICS_START_DATE="2026-11-01",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    days = sorted(p.name for p in (tmp_path / "data/lake/messages/year=2026/month=11").iterdir())
    assert days == ["day=01", "day=02", "day=03"]


def test_days_of_another_version_are_told_and_made_again_before_what_is_made_of_them(
    tmp_path: Path,
) -> None:
    few = {**FEW, "ANALYTICS_START_DATE": "2026-11-02"}
    ran = typed(tmp_path, "backfill", "2026-11-02", "2026-11-02", **few)
    assert ran.returncode == 0, ran.stderr
    lake = Lake(LocalObjects(tmp_path / "data" / "lake"))
    now = schemas.DAILY_PARTIALS
    older = replace(now, columns=now.columns[:-1])
    lake.write(older, "2026-11-02", older.empty())
    typed_rows = schemas.MESSAGES
    before = replace(typed_rows, columns=tuple(c for c in typed_rows.columns if c.name != "query"))
    lake.write(before, "2026-11-02", before.empty())
    status = typed(tmp_path, "status", COLUMNS="200", **few)
    assert status.returncode == 0, status.stderr
    told = status.stdout
    assert re.search(r"daily_partials .* 0 \+ 1 outdated$", told, re.MULTILINE), told
    repaired = typed(tmp_path, "repair", **few)
    assert repaired.returncode == 0, repaired.stderr
    assert "first messages: made by another version" in repaired.stdout
    assert "left out topics=2026-W45 weeks=1" in repaired.stderr
    assert "left out period=week count=1 first=2026-W45" in repaired.stderr
    assert "users left out: " in repaired.stderr
    again = typed(tmp_path, "repair", "--dry-run", **few)
    assert "0 of 1 days have something to make again" in again.stdout
    assert "0 weeks and months have something to merge again" in again.stdout
    assert "users: " not in again.stdout
    assert "left out" not in again.stderr
    # Once the first day is a later one, it is no partition any more.
    lake.write(older, "2026-11-02", older.empty())
    later = typed(tmp_path, "repair", **{**few, "ANALYTICS_START_DATE": "2026-11-09"})
    assert later.returncode == 0, later.stderr
    assert "left out: 1 days before ANALYTICS_START_DATE 2026-11-09" in later.stdout
    assert "0 of 0 days have something to make again" in later.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("backfill", "2026-11-03", "2026-11-01"), "give the first day first"),
        (("backfill", "1999-01-01", "1999-01-02"), "ANALYTICS_START_DATE"),
        (("backfill", "yesterday", "today"), "YYYY-MM-DD"),
        (("backfill", "20261101", "20261102"), "YYYY-MM-DD"),
        (("backfill", "2026-11-01", "2999-01-01"), "is in the future"),
        (("report", "2026-11-03", "2026-11-01"), "give the first day first"),
        (("report", "1999-01-01", "1999-01-02"), "ANALYTICS_START_DATE"),
        (("report", "2026-W45", "2026-W46"), "YYYY-MM-DD"),
        (("report", "2026-02-30", "2026-03-01"), "YYYY-MM-DD"),
        (("report", "2026-11-01", "2999-01-01"), "is in the future"),
        (("report", "2026-11-01"), "Missing argument 'LAST'"),
        (("report", "2026-11-01", "2026-11-02", "--format", "pdf"), "'html', 'md', 'csv', 'json'"),
        (("run", "--days", "0"), "range"),
        (("run", "--days", "999999999"), "range"),
    ],
    ids=[
        "backwards",
        "before-start",
        "no-date",
        "short-date",
        "future",
        "report-backwards",
        "report-before-start",
        "report-week",
        "report-no-such-day",
        "report-future",
        "report-one-day",
        "report-format",
        "no-days",
        "too-many",
    ],
)
def test_a_wrong_range_is_told_plainly(tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    result = typed(tmp_path, *words)
    assert result.returncode == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_a_report_of_any_days_is_a_page_that_is_listed(tmp_path: Path) -> None:
    settings = {"SAMPLE_TURNS_PER_DAY": "20", "ANALYTICS_START_DATE": "2026-11-01"}
    days = ("2026-11-01", "2026-11-03")
    assert typed(tmp_path, "backfill", *days, **settings).returncode == 0
    made = typed(tmp_path, "report", *days, **settings)
    assert (made.returncode, made.stderr) == (
        0, "note: of the 3 days before, 3 are not held: 2026-10-29 to 2026-10-31; no changes\n",
    )  # fmt: skip
    files = dict(line.split(maxsplit=1) for line in made.stdout.splitlines())
    assert list(files) == ["html", "md", "csv"]
    page = Path(files["html"])
    assert page == tmp_path / "data/lake/reports/ranges/2026-11-01_2026-11-03.html"
    assert "<h1>1 to 3 November 2026</h1>" in page.read_text()
    index = (page.parents[1] / "index.html").read_text()
    assert 'href="ranges/2026-11-01_2026-11-03.html"' in index

    # Into a folder, or printed: the lake's reports stay as they are.
    before = sorted(page.parents[1].rglob("*"))
    out = typed(tmp_path, "report", *days, "--out", "for/you", **settings)
    assert out.returncode == 0, out.stderr
    assert sorted(path.name for path in (tmp_path / "for/you").iterdir()) == [
        f"2026-11-01_2026-11-03.{ending}" for ending in ("csv", "html", "md")
    ]
    printed = typed(tmp_path, "report", *days, "--format", "csv", **settings)
    assert printed.stdout == page.with_suffix(".csv").read_bytes().decode().replace("\r\n", "\n")
    assert sorted(page.parents[1].rglob("*")) == before

    # A day that is not held is named with the command that makes it.
    more = typed(tmp_path, "report", "2026-11-02", "2026-11-05", "--format", "md", **settings)
    assert more.returncode == 0
    assert "warning: 2 of 4 days are not held and add nothing" in more.stderr
    assert "conversation-analytics backfill 2026-11-04 2026-11-05" in more.stderr
    assert "Days that are not held: 2026-11-04 to 2026-11-05." in more.stdout
    none = typed(tmp_path, "report", "2026-11-05", "2026-11-06", **settings)
    assert none.returncode == 1
    assert "error: no day from 2026-11-05 to 2026-11-06 is held" in none.stderr
    unknown = typed(tmp_path, "report", *days, "--app", "5f0d1c52", **settings)
    assert unknown.returncode == 2
    assert "no app '5f0d1c52' on these days" in unknown.stderr


def test_a_wrong_setting_is_one_plain_error(tmp_path: Path) -> None:
    result = typed(tmp_path, "status", PARQUET_COMPRESSION="rar")
    assert result.returncode == 2
    assert "PARQUET_COMPRESSION is 'rar'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_start_in_the_future_is_told_by_its_name(tmp_path: Path) -> None:
    result = typed(tmp_path, "run", ANALYTICS_START_DATE="2999-01-01")
    assert result.returncode == 2
    assert "is before ANALYTICS_START_DATE 2999-01-01" in result.stderr


def data_is_a_file(folder: Path) -> None:
    (folder / "data").write_text("in the way")


def lake_is_a_file(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "lake").write_text("in the way")


def env_is_a_folder(folder: Path) -> None:
    (folder / ".env").mkdir()


def env_is_utf16(folder: Path) -> None:
    (folder / ".env").write_text("CHUNK_SIZE=7", encoding="utf-16")


@pytest.mark.parametrize(
    ("words", "spoil", "code", "text"),
    [
        ("run", data_is_a_file, 2, "set DAGSTER_HOME"),
        ("home", data_is_a_file, 2, "set DAGSTER_HOME"),
        ("status", lake_is_a_file, 1, "move it away"),
        ("check", lake_is_a_file, 1, "move it away"),
        ("status", env_is_a_folder, 2, "cannot read .env"),
        ("status", env_is_utf16, 2, "UTF-8"),
    ],
)
def test_what_stands_in_the_way_is_told_plainly(
    tmp_path: Path, words: str, spoil: Callable[[Path], None], code: int, text: str
) -> None:
    spoil(tmp_path)
    result = typed(tmp_path, words)
    assert result.returncode == code, result.stderr
    assert text in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_a_log_file_that_cannot_be_opened_is_a_wrong_setting(tmp_path: Path) -> None:
    result = typed(tmp_path, "status", LOG_FILE=str(tmp_path))
    assert result.returncode == 2
    assert "cannot write LOG_FILE" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_failed_run_tells_what_to_do_not_the_cause_of_causes(tmp_path: Path) -> None:
    lake_is_a_file(tmp_path)
    result = typed(tmp_path, "run", "--days", "1", SAMPLE_TURNS_PER_DAY="20")
    assert result.returncode == 1
    assert re.search(r"failed: raw_messages \(\S+\): LakeError: .*: move it away", result.stderr)
    assert "NotADirectoryError" not in result.stderr


def test_ctrl_c_ends_a_backfill_of_several_runs_and_its_days_can_be_made_again(
    tmp_path: Path,
) -> None:
    words = ("backfill", "2026-09-01", "2026-10-05")  # a run of 31 days and one of 4
    settings = {"SAMPLE_TURNS_PER_DAY": "2", "ANALYTICS_START_DATE": "2026-09-01"}
    lake, log = tmp_path / "data" / "lake", tmp_path / "output.txt"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*CLI, *words], cwd=tmp_path, env=clean_environment(**settings), stdout=output,
            stderr=subprocess.STDOUT, process_group=0,
        ) as process,
    ):  # fmt: skip
        wait_until(lambda: any(lake.glob("raw_messages/*/*/*/*.parquet")), "a day", log)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, log.read_text()
    assert "interrupted: what is stored is whole" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not list(lake.glob("raw_messages/year=2026/month=10/day=05/*"))

    again = typed(tmp_path, "backfill", "2026-09-01", "2026-09-02", **settings)
    assert again.returncode == 0, again.stderr
    assert len(list(lake.glob("daily_report/*/*/*/*.parquet"))) == 2


def test_the_same_command_twice_at_once_is_the_same_as_once(tmp_path: Path) -> None:
    words = ("backfill", "2026-11-01", "2026-11-02")
    settings = {"SAMPLE_TURNS_PER_DAY": "20", "ANALYTICS_START_DATE": "2026-11-01"}
    both = [
        subprocess.Popen(
            [*CLI, *words], cwd=tmp_path, env=clean_environment(**settings),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    assert typed(tmp_path, "check").returncode == 0


def test_status_in_a_plain_ascii_pipe_cuts_no_name(tmp_path: Path) -> None:
    plain = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "COLUMNS": "80"}
    folder = tmp_path / "été 2026"
    folder.mkdir()
    result = typed(folder, "status", **plain)
    assert result.returncode == 0, result.stderr
    assert "…" not in result.stdout
    assert "\\u2026" not in result.stdout
    assert typed(folder, "check", **plain).returncode == 0


def test_check_names_misspelt_settings_of_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NOCODB_TOKEN=t0k3n-value\nDAGSTER_HOME=x\nPATH_TO_X=y\n")
    result = typed(tmp_path, "check")
    assert result.returncode == 0
    assert "NOCODB_TOKEN is no setting and has no effect - meant NOCODB_API_TOKEN?" in result.stdout
    assert result.stdout.count("warn") == 1
    assert "t0k3n-value" not in result.stdout


def test_the_example_env_as_the_readme_has_it_copied_works(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")
    result = typed(tmp_path, "check")
    assert result.returncode == 0, result.stdout
    assert "warn" not in result.stdout


def test_check_tells_what_does_not_answer(tmp_path: Path) -> None:
    result = typed(
        tmp_path, "check", NOCODB_BASE_URL="http://127.0.0.1:9", NOCODB_API_TOKEN="t0k3n-value",
        NOCODB_PROJECT_ID="p1", MAX_RETRIES="0", SOURCE="nocodb",
    )  # fmt: skip
    assert result.returncode == 1
    assert "FAIL" in result.stdout
    assert "t0k3n-value" not in result.stdout + result.stderr


def test_check_tells_of_the_translator_and_shows_no_key(tmp_path: Path) -> None:
    assert "translator: none is configured" in typed(tmp_path, "check").stdout
    result = typed(
        tmp_path, "check", TRANSLATOR_URL="http://127.0.0.1:9", TRANSLATOR_API_KEY="k3y-value",
        RETRY_DELAY="0.01",
    )  # fmt: skip
    assert result.returncode == 1
    assert "FAIL  translator: libretranslate gave no usable answer" in result.stdout
    assert "TRANSLATOR_URL" in result.stdout
    assert "k3y-value" not in result.stdout + result.stderr


def test_repair_translates_what_waits_a_budget_at_a_time(tmp_path: Path) -> None:
    log = tmp_path / "sent"
    translating = {
        "TRANSLATOR": "in_process", "TRANSLATOR_BATCH_CHARACTERS": "300",
        "TRANSLATOR_FACTORY": "conversation_analytics_tests.core.translating:logged_engine",
        "TRANSLATOR_CHARACTERS_PER_RUN": "900", LOG_VARIABLE: str(log), **FEW,
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    ran = typed(tmp_path, "run", "--days", "1", **FEW)
    assert "skipped: no translator is configured" in ran.stdout
    assert "0 of 1 days" in typed(tmp_path, "repair", "--dry-run", **FEW).stdout
    told = typed(tmp_path, "repair", "--dry-run", **translating).stdout
    assert "first translations: missing" in told
    assert "1 days may have texts to send; this command sends at most 900 characters" in told
    assert not log.exists()
    sent: list[int] = []
    while "0 of 1 days" not in (repaired := typed(tmp_path, "repair", **translating)).stdout:
        assert repaired.returncode == 0, repaired.stderr
        texts = [json.loads(line) for line in log.read_text().splitlines()]
        assert len(texts) == len(set(texts))
        sent.append(sum(map(len, texts)) - sum(sent))
        assert 0 < sent[-1] <= 900
        if len(sent) == 1:
            assert "of 1 days wait: the sensor" in typed(tmp_path, "status", **translating).stdout
    assert len(sent) > 1


def test_repair_makes_what_is_lost_again_and_nothing_else(tmp_path: Path) -> None:
    settings = {"SAMPLE_TURNS_PER_DAY": "20", "ANALYTICS_START_DATE": "2026-11-01"}
    assert typed(tmp_path, "backfill", "2026-11-01", "2026-11-03", **settings).returncode == 0
    assert "0 of 3 days" in typed(tmp_path, "repair", **settings).stdout
    lake = tmp_path / "data/lake"
    lost = [
        lake / f"{table}/year=2026/month=11/day={day}/part-000.parquet"
        for table, day in [("daily_report", "01"), ("daily_report", "02"), ("messages", "03")]
    ]
    before = [file.read_bytes() for file in lost]
    for file in lost:
        file.unlink()
    kept = lake / "messages/year=2026/month=11/day=01/part-000.parquet"
    untouched = kept.stat()
    dry = typed(tmp_path, "repair", "--dry-run", **settings)
    assert "2026-11-01: 3 stale, first daily_report: missing" in dry.stdout
    assert "3 of 3 days have something to make again" in dry.stdout
    assert not lost[0].exists()
    assert "1 of 1 days" in typed(tmp_path, "repair", "2026-11-02", "2026-11-02", **settings).stdout
    assert [file.exists() for file in lost] == [False, True, False]
    done = typed(tmp_path, "repair", **settings)
    assert done.returncode == 0, done.stderr
    assert [file.read_bytes() for file in lost] == before
    assert kept.stat() == untouched
    assert "0 of 3 days" in typed(tmp_path, "repair", **settings).stdout


def ledger(folder: Path) -> list[tuple[str, int, bool]]:
    """Source id, count and whether it landed of each entry in the ledger of dead letters."""
    with contextlib.closing(
        open_store(SqliteConfig(path=folder / "data/documents.sqlite"))
    ) as store:
        entries = store.find("dead_letters", {})
    return [(e["source_id"], e["count"], e["landed_at"] is not None) for e in entries]


def test_replay_lands_dead_letters_once_the_contract_fits(tmp_path: Path) -> None:
    values = {
        "NOCODB_BASE_URL": "http://127.0.0.1:1", "NOCODB_API_TOKEN": "t",
        "NOCODB_PROJECT_ID": "p", "ANALYTICS_START_DATE": "2026-11-01",
        "PARQUET_BASE_DIR": "data/lake", "DEAD_LETTER_SHARE": "1",
    }  # fmt: skip
    settings, key = parse_settings(values), "2026-11-02"
    lake = Lake(LocalObjects(tmp_path / "data/lake"))
    common = {"query": "q", "answer": "a", "created_at": f"{key} 10:00:00+00:00"}
    payloads = {
        "before": {"id": "before", "conversation_id": "c", **common},
        "after": {"id": "after", "conv": "c", **common},
    }
    at = dt.datetime(2026, 11, 2, 10, tzinfo=dt.UTC)
    rows = [
        (row_id, at, json.dumps(payload), row_id, row_id, row_id, False)
        for row_id, payload in payloads.items()
    ]
    raw = pl.DataFrame(rows, schema=schemas.RAW_MESSAGES.polars, orient="row")
    for schema, frame in [
        (schemas.RAW_MESSAGES, raw),
        (schemas.RAW_CONVERSATIONS, schemas.RAW_CONVERSATIONS.empty()),
    ]:
        lake.write(schema, key, frame, inputs=origin(settings, key))
    made = typed(tmp_path, "repair", **values)
    assert made.returncode == 0, made.stderr
    assert lake.row_count(schemas.MESSAGE_DEAD_LETTERS, key) == 1
    assert ledger(tmp_path) == [("after", 1, False)]

    again = typed(tmp_path, "replay", **values)
    assert again.returncode == 0, again.stderr
    assert "1 dead letters on 1 days" in again.stdout
    assert "0 rows landed, 1 dead letters are left" in again.stdout

    (tmp_path / "contract.toml").write_text('[messages.names]\nconversation_id = "conv"\n')
    landed = typed(tmp_path, "replay", **values, NOCODB_COLUMN_CONTRACT="contract.toml")
    assert landed.returncode == 0, landed.stderr
    assert "1 rows landed, 0 dead letters are left" in landed.stdout
    assert ledger(tmp_path) == [("after", 1, True)]
    messages = lake.read(schemas.MESSAGES, key)
    assert messages.select("id", "conversation_id").rows() == [("after", "c"), ("before", "c")]
    assert "0 dead letters on 0 days" in typed(tmp_path, "replay", **values).stdout

    # As an earlier version left them: without one of the columns, beside rows that are older too.
    for now, lacking in (
        (schemas.MESSAGE_DEAD_LETTERS, "payload"),
        (schemas.DAILY_PARTIALS, schemas.DAILY_PARTIALS.columns[-1].name),
    ):
        older = replace(now, columns=tuple(one for one in now.columns if one.name != lacking))
        lake.write(older, key, older.empty())
    made_again = typed(tmp_path, "replay", **values)
    assert made_again.returncode == 0, made_again.stderr
    assert "0 dead letters on 0 days; 1 days have some of an earlier version" in made_again.stdout
    assert "0 rows landed, 1 dead letters are left" in made_again.stdout
    repaired = typed(tmp_path, "repair", "--dry-run", **values)
    assert "0 of 1 days have something to make again" in repaired.stdout
