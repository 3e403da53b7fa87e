from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.stack.errors import StackStartError, StackUnavailableError
from conversation_analytics.stack.processes import (
    LOOPBACK,
    free_port,
    port_is_free,
    running_process,
    stop_process,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def said(folder: Path, text: str) -> Callable[[], bool]:
    return lambda: text in (folder / "child.log").read_text()


def is_running(pid: int) -> bool:
    """A zombie that its new parent has not reaped yet does not run any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < deadline, f"pid {pid} is still there"
        time.sleep(0.05)


def test_a_free_port_is_free_and_so_is_its_sibling() -> None:
    port = free_port()
    assert port_is_free(port)
    assert port_is_free(port + 10000)
    with socket.create_server((LOOPBACK, port)):
        assert not port_is_free(port)


def test_a_process_runs_for_the_block_and_not_longer(tmp_path: Path) -> None:
    with running_process(
        "child", SLEEP, data_dir=tmp_path, ready=said(tmp_path, "up"), deadline_seconds=60
    ) as process:
        assert is_running(process.pid)
        assert os.getpgid(process.pid) == process.pid
    assert not is_running(process.pid)


def test_the_whole_process_group_is_stopped(tmp_path: Path) -> None:
    script = "sleep 60 & echo child $! up; wait"
    with running_process(
        "child",
        ["/bin/sh", "-c", script],
        data_dir=tmp_path,
        ready=said(tmp_path, "up"),
        deadline_seconds=60,
    ):
        grandchild = int((tmp_path / "child.log").read_text().split()[1])
        assert is_running(grandchild)
    wait_until_gone(grandchild)


def test_an_early_end_tells_the_status_and_the_end_of_the_log(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo the disk is full; exit 3"]
    with (
        pytest.raises(StackStartError, match=r"(?s)child ended with status 3.*the disk is full"),
        running_process(
            "child", command, data_dir=tmp_path, ready=lambda: False, deadline_seconds=60
        ),
    ):
        pass


def test_a_server_that_is_never_ready_is_stopped_at_the_deadline(tmp_path: Path) -> None:
    with (
        pytest.raises(StackStartError, match=r"(?s)not ready after 3 s.*up"),
        running_process("child", SLEEP, data_dir=tmp_path, ready=lambda: False, deadline_seconds=3),
    ):
        pass


def test_a_folder_serves_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        running_process("child", SLEEP, data_dir=tmp_path, ready=lambda: True, deadline_seconds=60),
        pytest.raises(StackStartError, match="in use by another process"),
        running_process("child", SLEEP, data_dir=tmp_path, ready=lambda: True, deadline_seconds=60),
    ):
        pass


def test_an_absent_program_is_named(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    with (
        pytest.raises(StackUnavailableError, match="absent does not exist"),
        running_process(
            "child", [absent], data_dir=tmp_path, ready=lambda: True, deadline_seconds=60
        ),
    ):
        pass


def test_no_variable_of_the_caller_reaches_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for you")
    command = ["/bin/sh", "-c", 'echo "[$AWS_SECRET_ACCESS_KEY][$GIVEN]"; exec sleep 60']
    with running_process(
        "child",
        command,
        data_dir=tmp_path,
        ready=said(tmp_path, "["),
        deadline_seconds=60,
        environment={"GIVEN": "given"},
    ):
        assert (tmp_path / "child.log").read_text() == "[][given]\n"


def test_a_process_that_ignores_the_signal_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("conversation_analytics.stack.processes.STOP_SECONDS", 0.3)
    process = subprocess.Popen(
        ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"],
        stdout=subprocess.PIPE,
        process_group=0,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        stop_process(process)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_server_dies_with_its_killed_parent(tmp_path: Path) -> None:
    script = f"""
        import time
        from pathlib import Path
        from conversation_analytics.stack.processes import running_process
        with running_process("child", {SLEEP!r}, data_dir=Path({str(tmp_path)!r}),
                             ready=lambda: "up" in Path("child.log").read_text(),
                             deadline_seconds=60) as process:
            print(process.pid, flush=True)
            time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    wait_until_gone(pid)
