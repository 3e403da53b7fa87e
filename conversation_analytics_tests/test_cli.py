"""The documented commands, as a person types them, in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conversation_analytics.cli import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def typed(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
    }
    return subprocess.run(
        [sys.executable, "-m", "conversation_analytics.cli", *words],
        cwd=folder, env={**kept, "COLUMNS": "120", **environment},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def test_run_then_status_then_check(tmp_path: Path) -> None:
    ran = typed(tmp_path, "run", "--days", "2", SAMPLE_TURNS_PER_DAY="30")
    assert ran.returncode == 0, ran.stderr
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


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("backfill", "2026-11-03", "2026-11-01"), "give the first day first"),
        (("backfill", "1999-01-01", "1999-01-02"), "ANALYTICS_START_DATE"),
        (("backfill", "yesterday", "today"), "YYYY-MM-DD"),
    ],
    ids=["backwards", "before-the-start", "no-date"],
)
def test_a_wrong_range_is_told_plainly(tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    result = typed(tmp_path, *words)
    assert result.returncode == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_one_plain_error(tmp_path: Path) -> None:
    result = typed(tmp_path, "status", PARQUET_COMPRESSION="rar")
    assert result.returncode == 2
    assert "PARQUET_COMPRESSION is 'rar'" in result.stderr
    assert "Traceback" not in result.stderr


def test_check_tells_what_does_not_answer(tmp_path: Path) -> None:
    result = typed(
        tmp_path, "check", NOCODB_BASE_URL="http://127.0.0.1:9", NOCODB_API_TOKEN="t0k3n-value",
        NOCODB_PROJECT_ID="p1", MAX_RETRIES="0", SOURCE="nocodb",
    )  # fmt: skip
    assert result.returncode == 1
    assert "FAIL" in result.stdout
    assert "t0k3n-value" not in result.stdout + result.stderr


def test_the_readme_names_only_commands_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)\b", README)) - {"it"} <= targets
    commands = set(re.findall(r"conversation-analytics ([a-z-]+)", README)) - {"analytics"}
    assert commands
    assert commands <= set(cli.commands)


def test_the_readme_links_to_files_that_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_ci_runs_the_readme_test_command() -> None:
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
