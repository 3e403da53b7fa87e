"""`conversation-analytics check` of a Dask cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.cluster import probe
from conversation_analytics.cluster.probe import probe_cluster
from conversation_analytics.cluster.versions import versions_here
from conversation_analytics.core.errors import ClusterUnavailableError, WorkerMismatchError
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.processes import free_port
from conversation_analytics_tests.cluster.dask_processes import DaskProcesses, running_dask
from conversation_analytics_tests.commands import typed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with running_dask(tmp_path_factory.mktemp("dask"), workers=1) as found:
        yield found


def settings_in(folder: Path, address: str) -> Settings:
    return parse_settings(
        {"PARQUET_BASE_DIR": str(folder), "EXECUTOR": "dask", "DASK_SCHEDULER_ADDRESS": address}
    )


def test_workers_are_asked_for_versions_and_lake(dask: DaskProcesses, tmp_path: Path) -> None:
    told = probe_cluster(settings_in(tmp_path, dask.address), patience_s=60)
    assert re.fullmatch(
        rf"{dask.address}: 1 workers of 1 threads, of the same versions, reach the lake; "
        r"dashboard http://127\.0\.0\.1:\d+/status", told,
    )  # fmt: skip


def test_a_worker_without_the_lake_is_told(dask: DaskProcesses, tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "elsewhere", dask.address)
    with pytest.raises(WorkerMismatchError, match=r"elsewhere, got no such folder: share it"):
        probe_cluster(settings, patience_s=60)


def test_a_worker_of_another_version_is_told(
    dask: DaskProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {**versions_here(), "numpy": "1.2.3"}
    monkeypatch.setattr(probe, "versions_here", lambda: versions)
    with pytest.raises(WorkerMismatchError, match=r"numpy: \S+ there, 1\.2\.3 here"):
        probe_cluster(settings_in(tmp_path, dask.address), patience_s=60)


def test_no_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnavailableError, match="expected an answer, got none"):
        probe_cluster(settings_in(tmp_path, f"tcp://127.0.0.1:{free_port()}"), patience_s=0.5)


def test_check_looks_at_the_cluster(dask: DaskProcesses, tmp_path: Path) -> None:
    given = typed(tmp_path, "check", EXECUTOR="dask", DASK_SCHEDULER_ADDRESS=dask.address)
    assert re.search(rf"^ok    dask: {dask.address}: 1 workers", given.stdout, re.MULTILINE)
    own = typed(tmp_path, "check", EXECUTOR="dask")
    assert "ok    dask: 2 processes of this machine, started when a range needs" in own.stdout
