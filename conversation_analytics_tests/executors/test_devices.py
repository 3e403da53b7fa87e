"""Which GPUs there are, and that no two runs have one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._config import process_config
from dagster._core.definitions.job_base import InMemoryJob

from conversation_analytics.executors.devices import (
    default_lease_folder,
    parse_listing,
    restrict,
    try_lease,
    visible_devices,
)
from conversation_analytics.executors.lanes import LanesExecutor
from conversation_analytics.executors.lanes_definition import LaneDefaults, lanes_executor

LISTING = """\
GPU 0: NVIDIA H200 (UUID: GPU-1b2c3d4e-0000-0000-0000-00000000000a)
GPU 1: NVIDIA H200 (UUID: GPU-5f6a7b8c-0000-0000-0000-00000000000b)
  MIG 3g.71gb     Device  0: (UUID: MIG-11111111-0000-0000-0000-00000000000c)
  MIG 4g.71gb     Device  1: (UUID: MIG-22222222-0000-0000-0000-00000000000d)
"""
WHOLE = "GPU-1b2c3d4e-0000-0000-0000-00000000000a"
HOLDER = """\
import sys, pathlib
from conversation_analytics.executors.devices import try_lease
lease = try_lease(pathlib.Path(sys.argv[1]), 'one')
print(lease is not None, flush=True)
sys.stdin.read()
"""
PARTS = (
    "MIG-11111111-0000-0000-0000-00000000000c",
    "MIG-22222222-0000-0000-0000-00000000000d",
)


def test_a_device_that_is_cut_counts_as_its_parts() -> None:
    assert parse_listing(LISTING) == {"0": (WHOLE,), "1": PARTS}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(None, (WHOLE, *PARTS), id="unset: all"),
        pytest.param("", (WHOLE, *PARTS), id="empty: all"),
        pytest.param("1", PARTS[:1], id="CUDA takes the first part of a number"),
        pytest.param("GPU-1b2c", (WHOLE,), id="the beginning of a UUID"),
        pytest.param("MIG-2222,0", (PARTS[1], WHOLE), id="in the order given"),
        pytest.param("0,7,1", (WHOLE,), id="the first unknown ends the list"),
        pytest.param("-1", (), id="none"),
        pytest.param("0,0", (WHOLE,), id="named twice"),
    ],
)
def test_cuda_visible_devices_restricts(wanted: str | None, expected: tuple[str, ...]) -> None:
    assert restrict(parse_listing(LISTING), wanted) == expected


def listing_program(folder: Path, *lines: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    program.chmod(0o755)


def test_the_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    listing_program(tmp_path, "cat <<END", LISTING + "END")
    assert visible_devices({}) == (WHOLE, *PARTS)
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "0"}) == (WHOLE,)


def test_a_driver_that_fails_has_no_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    listing_program(tmp_path, "echo 'GPU 0: half (UUID: GPU-1)'", "exit 9")
    assert visible_devices({}) == ()


def test_a_machine_without_a_driver_has_no_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_devices({}) == ()


def test_a_lease_is_had_once(tmp_path: Path) -> None:
    first = try_lease(tmp_path / "leases", WHOLE)
    assert first is not None
    assert try_lease(tmp_path / "leases", WHOLE) is None
    other = try_lease(tmp_path / "leases", PARTS[0])
    assert other is not None
    other.close()
    first.close()
    again = try_lease(tmp_path / "leases", WHOLE)
    assert again is not None
    again.close()


def test_the_kernel_takes_a_lease_back_from_a_process_that_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == "True\n"
        assert try_lease(tmp_path, "one") is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        lease = try_lease(tmp_path, "one")
    assert lease is not None
    lease.close()


def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="set GPU_LEASE_FOLDER"):
        try_lease(tmp_path, "one")


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError):
        try_lease(tmp_path / "link", "one")


def test_a_device_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    lease = try_lease(tmp_path / "leases", "../outside")
    assert lease is not None
    lease.close()
    assert [path.name for path in (tmp_path / "leases").iterdir()] == [".._outside.lock"]


@pytest.mark.parametrize(
    ("setting", "of_run", "expected"),
    [
        pytest.param(Path("/setting"), {}, Path("/setting"), id="the setting"),
        pytest.param(None, {}, default_lease_folder(), id="neither"),
        pytest.param(
            Path("/setting"), {"gpu": {"lease_folder": "/run"}}, Path("/run"), id="the run's"
        ),
    ],
)
def test_leases_lie_where_the_run_or_the_setting_says(
    setting: Path | None, of_run: dict[str, Any], expected: Path
) -> None:
    definition = lanes_executor(LaneDefaults(lease_folder=setting))

    @dg.job(executor_def=definition)
    def nothing() -> None:
        pass

    config = process_config(definition.config_schema.config_type, of_run).value
    assert config is not None
    assert definition.executor_creation_fn is not None
    with dg.DagsterInstance.ephemeral() as instance:
        executor = definition.executor_creation_fn(
            dg.InitExecutorContext(InMemoryJob(nothing), definition, config, instance)
        )
    assert isinstance(executor, LanesExecutor)
    assert executor.config.lease_folder == expected


def test_the_folder_is_the_users_on_the_whole_machine() -> None:
    assert str(os.getuid()) in default_lease_folder().name
