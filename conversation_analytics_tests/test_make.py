"""The README's make targets, in a folder that has the files they need and an environment."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from conversation_analytics.stack.processes import free_port
from conversation_analytics_tests.commands import (
    ROOT,
    clean_environment,
    descendants,
    running,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with blanks in its name, like a clone; `.venv` is the environment of the tests."""
    folder = tmp_path / "a clone of mine"
    folder.mkdir()
    for name in (
        "Makefile", "requirements.txt", "requirements-dev.txt", "pyproject.toml", "setup.cfg",
        "workspace.yaml",
    ):  # fmt: skip
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


# The environment is there: `-o` says that it is up to date.
MAKE = ("make", "-o", ".venv/.runtime", "-o", ".venv/.dev")


def test_make_run_ends_with_a_summary_and_a_report(checkout: Path) -> None:
    start = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=2)
    result = subprocess.run(
        [*MAKE, "run"], cwd=checkout, capture_output=True, text=True, check=False, timeout=240,
        env=clean_environment(SAMPLE_TURNS_PER_DAY="20", ANALYTICS_START_DATE=start.isoformat()),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = re.search(r"report +(\S.*\.html)", result.stdout)
    assert report is not None, result.stdout
    assert Path(report[1]).is_file()
    assert (checkout / "data" / "dagster").is_dir()


@contextlib.contextmanager
def make_dev(
    checkout: Path, port: int, log: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `make dev` in a process group of its own, which is killed after the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*MAKE, "dev", f"PORT={port}"], cwd=checkout, stdout=output, stderr=subprocess.STDOUT,
            env=clean_environment(**environment), process_group=0,
        )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_make_dev_serves_the_ui_until_ctrl_c(checkout: Path) -> None:
    port, log = free_port(), checkout / "output.txt"
    url = f"http://127.0.0.1:{port}/graphql"
    query = {"query": "{assetNodes{assetKey{path}}}"}

    def lists_the_assets() -> bool:
        try:
            answer = requests.post(url, json=query, timeout=30).json()
        except requests.ConnectionError:
            return False
        return {"assetKey": {"path": ["daily_report"]}} in answer["data"]["assetNodes"]

    with make_dev(checkout, port, log) as process:
        wait_until(lists_the_assets, "the UI", log)
        started = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(60)
        wait_until(lambda: not running(started), "the end of all it started", log, 60)


def test_make_dev_stops_at_a_wrong_setting(checkout: Path) -> None:
    log = checkout / "output.txt"
    with make_dev(checkout, free_port(), log, IO_THREADS="many") as process:
        assert process.wait(120) == 2
    assert "IO_THREADS is 'many': allowed is 1 to 64" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("python", ["false", "no-such-python"])
def test_a_python_that_does_not_fit_is_told_before_anything_is_made(
    checkout: Path, python: str
) -> None:
    (checkout / ".venv").unlink()
    result = subprocess.run(
        [*MAKE[:1], "run", f"PYTHON={python}"], cwd=checkout, env=clean_environment(),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 2
    assert f"{python} is not Python 3.11, 3.12 or 3.13; name one" in result.stdout
    assert not (checkout / ".venv").exists()


def test_make_help_lists_every_target_of_the_readme(checkout: Path) -> None:
    result = subprocess.run(
        MAKE[:1], cwd=checkout, env=clean_environment(), capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z-]+)`", readme)):
        assert re.search(rf"^{target} ", result.stdout, re.MULTILINE), target
