"""A full disk and a folder that cannot be written: what was there stays, the error helps."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.faults.exactly_once import (
    digests,
    parquet_files,
    require_readable,
    strays,
)
from conversation_analytics_tests.faults.killing import DONE, command
from conversation_analytics_tests.faults.limits import Limits, failures_under

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

DAY = "2026-11-09"
NO_LIMITS = Limits()
FAILED = 1
SMALLEST_HOME, LARGEST_HOME = 4096, 300_000


def environment(folder: Path, turns: int) -> dict[str, str]:
    return {
        "PARQUET_BASE_DIR": str(folder / "lake"),
        "SQLITE_PATH": str(folder / "documents" / "documents.sqlite"),
        "ANALYTICS_START_DATE": DAY,
        "SAMPLE_TURNS_PER_DAY": str(turns),
    }


def settings_of(folder: Path, turns: int) -> Settings:
    return parse_settings(environment(folder, turns))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `before` and `after`: the same day with fewer and with more rows."""
    root = tmp_path_factory.mktemp("undisturbed")
    assert failures_under(NO_LIMITS, environment(root / "before", 20), DAY, DAY) == {}
    shutil.copytree(root / "before", root / "after")
    assert failures_under(NO_LIMITS, environment(root / "after", 40), DAY, DAY) == {}
    return root


@pytest.fixture
def folder(tmp_path: Path, undisturbed: Path) -> Path:
    shutil.copytree(undisturbed / "before", tmp_path / "platform")
    return tmp_path / "platform"


@pytest.fixture
def read_only(folder: Path) -> Iterator[Path]:
    """The lake, readable alone; writable again afterwards, for pytest to clean up."""
    modes = {path: path.stat().st_mode for path in (folder / "lake").rglob("*")}
    modes[folder / "lake"] = (folder / "lake").stat().st_mode
    for path, mode in modes.items():
        path.chmod(mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    yield folder
    for path, mode in modes.items():
        path.chmod(mode)


def require_mended(folder: Path, undisturbed: Path) -> None:
    assert failures_under(NO_LIMITS, environment(folder, 40), DAY, DAY) == {}
    assert digests(folder / "lake") == digests(undisturbed / "after" / "lake")
    assert strays(folder / "lake") == []


def test_a_full_disk_leaves_old_partitions_and_says_what_to_do(
    tmp_path: Path, undisturbed: Path, ledger: Ledger, rounds: int
) -> None:
    tally = ledger.tally("the disk is full (RLIMIT_FSIZE)")
    old, new = (digests(undisturbed / name / "lake") for name in ("before", "after"))
    sizes = sorted(path.stat().st_size for path in parquet_files(undisturbed / "after" / "lake"))
    smallest, largest = sizes[0], sizes[-1]
    tries = max(rounds // 4, 2)
    for number in range(tries):
        folder = tmp_path / str(number)
        shutil.copytree(undisturbed / "before", folder)
        # From "nothing fits" to "the largest file does not fit".
        limit = smallest // 2 + (largest - 1 - smallest // 2) * number // (tries - 1)
        failures = failures_under(Limits(file_bytes=limit), environment(folder, 40), DAY, DAY)
        tally.tries += 1
        assert failures
        for name, message in failures.values():
            assert name in ("LakeError", "DocumentError", "DocumentStoreUnavailableError")
            assert "free space" in message, message
        require_readable(settings_of(folder, 40))
        for path, digest in digests(folder / "lake").items():
            assert digest in (old.get(path), new[path]), path
        require_mended(folder, undisturbed)
        shutil.rmtree(folder)
    tally.outcome = "old files whole, the error says to free space, the next run completes"


def test_a_read_only_lake_stays_readable_and_says_what_to_do(
    read_only: Path, undisturbed: Path, ledger: Ledger
) -> None:
    tally = ledger.tally("the folder of the lake is read-only")
    before = digests(read_only / "lake")
    limits = Limits(obey_modes=True)
    failures = failures_under(limits, environment(read_only, 40), DAY, DAY)
    tally.tries += 1
    assert failures
    for name, message in failures.values():
        assert name == "LakeError"
        assert "give this user access to PARQUET_BASE_DIR" in message
    assert digests(read_only / "lake") == before
    require_readable(settings_of(read_only, 40))
    for path in [read_only / "lake", *(read_only / "lake").rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    require_mended(read_only, undisturbed)
    tally.outcome = "nothing changed, the error names the setting, the next run completes"


def test_the_command_line_says_what_to_do(read_only: Path) -> None:
    values = environment(read_only, 40) | {"DAGSTER_HOME": str(read_only / "home")}
    printed = backfill(read_only, values, FAILED, Limits(obey_modes=True))
    assert "give this user access to PARQUET_BASE_DIR" in printed


def test_a_home_without_space_is_told_in_a_sentence(
    folder: Path, tmp_path: Path, ledger: Ledger, rounds: int
) -> None:
    tally = ledger.tally("the disk of DAGSTER_HOME is full (RLIMIT_FSIZE)")
    healthy = tmp_path / "healthy"
    shutil.copytree(folder, healthy)
    values = environment(healthy, 40) | {"DAGSTER_HOME": str(healthy / "home")}
    backfill(healthy, values, DONE, NO_LIMITS)
    tries = max(rounds // 4, 2)
    for number in range(tries):
        values = environment(folder, 40) | {"DAGSTER_HOME": str(folder / f"home{number}")}
        # From "no database can be made" to "the last records of the run do not fit".
        limit = SMALLEST_HOME + (LARGEST_HOME - SMALLEST_HOME) * number // (tries - 1)
        printed = backfill(folder, values, FAILED, Limits(file_bytes=limit))
        tally.tries += 1
        assert "free space" in printed.lower()
        assert "DAGSTER_HOME" in printed
        require_readable(settings_of(folder, 40))
    backfill(folder, values, DONE, NO_LIMITS)
    assert digests(folder / "lake") == digests(healthy / "lake")
    tally.outcome = "one sentence says what to do; the same command then completes"


def backfill(folder: Path, values: dict[str, str], exitcode: int, limits: Limits) -> str:
    """Run the command; return what it printed."""
    with command(folder, values, "backfill", DAY, DAY, limits=limits) as process:
        process.join(240)
        printed = (folder / "printed.txt").read_text()
        assert process.exitcode == exitcode, printed[-2000:]
    assert "Traceback" not in printed
    return printed
