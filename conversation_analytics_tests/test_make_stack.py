"""The program of `make stack`, whole: servers, `.env`, what a user does with it, and its end."""

from __future__ import annotations

import contextlib
import re
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pymongo
import pytest
from dotenv import dotenv_values

from conversation_analytics.stack.mongod import mongod_program
from conversation_analytics.stack.seaweedfs import weed_program
from conversation_analytics_tests.commands import (
    clean_environment,
    descendants,
    running,
    typed,
    wait_until,
)
from conversation_analytics_tests.conftest import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.mongodb,
    pytest.mark.s3,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc"),
]
STACK = [sys.executable, "-m", "conversation_analytics.stack", "--data-dir", "servers"]
# A shell that starts a program in the background makes it ignore these.
DEAF = ["/bin/sh", "-c", "trap '' INT TERM; exec \"$@\"", "sh"]


@contextlib.contextmanager
def started(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the stack until the block ends; it is killed there if the test did not end it."""
    log = folder / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=clean_environment(), stdout=output,
            stderr=subprocess.STDOUT, process_group=0,
        )  # fmt: skip
    try:
        wait_until(
            lambda: "Running until Ctrl-C" in log.read_text() or process.poll() is not None,
            "the stack", log, 300,
        )  # fmt: skip
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.kill()  # nothing happens where it ended; its servers die with it
        process.wait()


def ends_with_all_it_started(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    servers = descendants(process.pid)
    assert len(servers) >= 2
    process.send_signal(number)
    assert process.wait(90) == 0
    deadline = time.monotonic() + 20
    while left := running(servers):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.1)


def settings_in(file: Path) -> dict[str, str]:
    return {name: value for name, value in dotenv_values(file).items() if value is not None}


@pytest.mark.nocodb
@pytest.mark.postgres
@pytest.mark.usefixtures("nocodb", "postgres")  # skipped, or given time to install, where they are
def test_the_stack_serves_check_and_backfill_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    options = ("--days", "2", "--turns-per-day", "30")
    with started(tmp_path, *DEAF, *STACK, *options) as process:
        file = tmp_path / ".env"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        settings = settings_in(file)

        check = typed(tmp_path, "check")
        assert check.returncode == 0, check.stdout + check.stderr
        assert "FAIL" not in check.stdout

        day = settings["ANALYTICS_START_DATE"]
        backfill = typed(tmp_path, "backfill", day, day)
        assert backfill.returncode == 0, backfill.stderr

        status = typed(tmp_path, "status")
        [messages] = re.findall(r"(?m)^messages +1 .* ([0-9]+) *$", status.stdout)
        assert int(messages) > 0
        assert re.search(r"(?m)^undated_messages .* 3 *$", status.stdout)
        assert "dead letters: 0" in status.stdout
        with pymongo.MongoClient[dict[str, object]](settings["MONGODB_URI"]) as client:
            stored = client[settings["MONGODB_DATABASE"]]["messages"].count_documents({})
        assert stored == int(messages) + 3

        output = (tmp_path / "output.txt").read_text()
        for name, value in settings.items():
            if "TOKEN" in name or "SECRET" in name:
                assert value not in output + check.stdout + backfill.stdout + status.stdout
        ends_with_all_it_started(process, signal.SIGINT)
    assert "Stopped; the data is kept" in (tmp_path / "output.txt").read_text()


def test_the_stack_without_nocodb_leaves_an_env_of_the_users_alone(tmp_path: Path) -> None:
    require(mongod_program)
    require(weed_program)
    mine = "CHUNK_SIZE=7\n"
    (tmp_path / ".env").write_text(mine)
    with started(tmp_path, *STACK, "--no-nocodb") as process:
        assert (tmp_path / ".env").read_text() == mine
        assert "Your .env is left alone" in (tmp_path / "output.txt").read_text()
        settings = settings_in(tmp_path / ".env.stack")
        check = typed(tmp_path, "check", **settings)
        assert check.returncode == 0, check.stdout + check.stderr
        assert "s3://" in check.stdout

        second = subprocess.run(
            [*STACK, "--no-nocodb"], cwd=tmp_path, env=clean_environment(),
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert second.returncode == 1
        assert "Is the stack running already?" in second.stderr
        assert "Traceback" not in second.stderr
        ends_with_all_it_started(process, signal.SIGTERM)
