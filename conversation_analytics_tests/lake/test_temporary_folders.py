"""Folders of spilled rows: in use they stay, and go with whoever used them."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conversation_analytics.lake.sql import open_sql
from conversation_analytics.lake.store import open_lake
from conversation_analytics.lake.temporary_folders import (
    EXPORT,
    SQL,
    TemporaryFolder,
    remove_leftovers,
)
from conversation_analytics_tests.commands import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

SAID = "I am Anna Kowalska"
USING_FOLDERS = f"""
import sys
from pathlib import Path
from conversation_analytics.exports.sorted_runs import SortedRuns
from conversation_analytics.lake.sql import open_sql
from conversation_analytics.lake.store import open_lake

with open_sql(open_lake(Path(sys.argv[1]))) as sql, SortedRuns(memory_bytes=1) as runs:
    (sql._spill.path / "duckdb_temp_storage").write_text({SAID!r})
    runs.add(("c", 1, 1, "m", "2026-11-09", {SAID.encode()!r}))
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.fspath(folder))
    return folder


@contextmanager
def using_folders(temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that has spilled rows of a query and of an export."""
    with subprocess.Popen(
        [sys.executable, "-c", USING_FOLDERS, str(temporary.parent / "lake")],
        env=clean_environment(TMPDIR=str(temporary)), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def spilled(temporary: Path) -> list[Path]:
    """Return the files in which somebody's words stand."""
    files = [one for one in temporary.rglob("*") if one.is_file()]
    return [one for one in files if SAID.encode() in one.read_bytes()]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_process_spilled_is_removed_by_the_next_query(
    temporary: Path, how: signal.Signals
) -> None:
    with using_folders(temporary) as process:
        before = spilled(temporary)
        assert {one.parent.name[: len(SQL)] for one in before} == {SQL, EXPORT[: len(SQL)]}
        # While it lives nobody takes anything from it.
        with open_sql(open_lake(temporary.parent / "lake")):
            assert spilled(temporary) == before
        assert remove_leftovers() == 0
        process.send_signal(how)
        assert process.wait() == -how
    assert spilled(temporary) == before
    with open_sql(open_lake(temporary.parent / "lake")) as sql:
        assert list(temporary.iterdir()) == [sql._spill.path]
    assert not list(temporary.iterdir())


def test_a_process_that_ends_leaves_nothing(temporary: Path) -> None:
    with using_folders(temporary) as process:
        process.communicate("")
        assert process.returncode == 0
    assert not list(temporary.iterdir())


def test_a_folder_is_of_its_user_alone_and_removed_once(temporary: Path) -> None:
    folder = TemporaryFolder(EXPORT)
    assert folder.path.parent == temporary
    assert folder.path.stat().st_mode & 0o077 == 0
    folder.remove()
    assert not folder.path.exists()
    folder.path.mkdir()  # of somebody else by now
    folder.remove()
    assert folder.path.exists()


def test_what_an_earlier_version_left_without_a_lock_is_removed(temporary: Path) -> None:
    for beginning in (SQL, EXPORT):
        left = temporary / f"{beginning}abc"
        left.mkdir()
        (left / "0").write_text(SAID)
    assert remove_leftovers() == 2
    assert not list(temporary.iterdir())


def test_what_is_none_of_its_own_is_left_alone(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = temporary.parent / "elsewhere"
    elsewhere.mkdir()
    (temporary / f"{SQL}link").symlink_to(elsewhere)
    (temporary / f"{SQL}file").touch()
    (temporary / "conversation-analytics-other").mkdir()
    assert remove_leftovers() == 0
    (temporary / f"{SQL}theirs").mkdir()
    user = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: user + 1)
    assert remove_leftovers() == 0
    assert len(list(temporary.iterdir())) == 4
    assert elsewhere.is_dir()


def test_a_folder_taken_for_a_leftover_while_it_is_made_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = tempfile.mkdtemp

    def interrupted(**options: Any) -> str:
        made.append(make(**options))
        if len(made) == 1:
            assert remove_leftovers() == 1  # before there is a lock in it
        return made[-1]

    monkeypatch.setattr("tempfile.mkdtemp", interrupted)
    with TemporaryFolder(SQL) as folder:
        assert [folder] == [Path(made[1])] == list(temporary.iterdir())
        assert remove_leftovers() == 0


def test_a_folder_removed_before_its_lock_is_had_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    removed: list[Path] = []

    def waiting(handle: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not removed:
            removed.extend(temporary.iterdir())
            shutil.rmtree(removed[0])
        lock(handle, operation)

    monkeypatch.setattr("fcntl.flock", waiting)
    with TemporaryFolder(SQL) as folder:
        assert folder.is_dir()
        assert [folder] != removed
        assert remove_leftovers() == 0


def test_folders_in_use_outlive_any_number_of_others_that_clean_up(temporary: Path) -> None:
    lost: list[str] = []
    done = threading.Event()

    def use() -> None:
        for number in range(60):
            with TemporaryFolder(SQL if number % 2 else EXPORT) as folder:
                (folder / "rows").write_text(SAID)
                if not (folder / "rows").is_file():
                    lost.append(folder.name)

    def clean_up() -> None:
        while not done.is_set():
            remove_leftovers()

    cleaning = [threading.Thread(target=clean_up) for _ in range(2)]
    using = [threading.Thread(target=use) for _ in range(4)]
    for thread in (*cleaning, *using):
        thread.start()
    for thread in using:
        thread.join()
    done.set()
    for thread in cleaning:
        thread.join()
    assert lost == []
    remove_leftovers()
    assert not list(temporary.iterdir())


def test_what_cannot_be_removed_is_told(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left = temporary / f"{SQL}abc"
    left.mkdir()
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    assert remove_leftovers() == 0
    assert [one.levelname for one in caplog.records] == ["WARNING"]
    assert f"folder={left}" in caplog.text
