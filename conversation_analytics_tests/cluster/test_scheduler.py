"""Connections to real Dask clusters, and what is said where there is none."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dask
import distributed
import pytest

from conversation_analytics.cluster.scheduler import ClusterPlace, DaskCluster
from conversation_analytics.core.errors import (
    ClusterUnavailableError,
    SettingsError,
    TransientError,
    WorkerMismatchError,
)
from conversation_analytics.stack.processes import free_port
from conversation_analytics_tests.cluster.dask_processes import running_dask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics.cluster.requests import BatchRequest, DoneBatch

_OURS = {"PYTHONPATH": str(Path(__file__).parents[2])}


def request(**values: object) -> BatchRequest:
    return cast("BatchRequest", values)


def told(asked: BatchRequest) -> DoneBatch:
    values = cast("dict[str, Any]", asked)
    if values.get("fails"):
        raise TransientError(f"no answer to {values['number']}")
    return {"worker": str(os.getpid()), "seconds": 0.0, "written": {"n": {values["number"]: {}}}}


def ends_its_process(_: BatchRequest) -> DoneBatch:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.fixture(scope="module")
def local() -> Iterator[DaskCluster]:
    """A cluster of this machine, on which a task may end no worker."""
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        cluster = DaskCluster(ClusterPlace("", 1))
        cluster.open()
        yield cluster
        cluster.close()
    # Nothing is left of it.
    assert [one for one in multiprocessing.active_children() if "Dask" in one.name] == []


def test_every_request_is_answered_once(local: DaskCluster) -> None:
    done: list[str] = []
    requests = [(f"batch {n}", request(number=str(n))) for n in range(9)]
    local.compute(told, requests, lambda batch, _: done.extend(batch["written"]["n"]))
    assert sorted(done) == [str(n) for n in range(9)]


def test_the_first_error_is_raised_and_nothing_new_is_given_out(local: DaskCluster) -> None:
    done: list[str] = []
    requests = [(f"{n}", request(number=str(n), fails=n == 1)) for n in range(40)]
    with pytest.raises(TransientError, match="no answer to 1"):
        local.compute(told, requests, lambda batch, _: done.extend(batch["written"]["n"]))
    assert "0" in done
    assert len(done) < 39
    local.compute(told, [("more", request(number="more"))], lambda *_: done.append("more"))
    assert done[-1] == "more"


def test_days_that_end_their_worker_are_told(local: DaskCluster) -> None:
    with pytest.raises(ClusterUnavailableError, match=r"heavy: expected .* 1 of them that ended"):
        local.compute(ends_its_process, [("heavy", request())], lambda *_: None)


@pytest.mark.parametrize("keys", ["none", "others"])
def test_a_cluster_of_this_machine_admits_nobody_else(local: DaskCluster, keys: str) -> None:
    assert local.address.startswith("tls://127.0.0.1:")
    security = distributed.Security() if keys == "none" else distributed.Security.temporary()
    with pytest.raises((OSError, TypeError)):
        distributed.Client(local.address, security=security, timeout=2)


def test_a_scheduler_that_does_not_answer_is_told() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    cluster = DaskCluster(ClusterPlace(address, 1, connect_s=0.5))
    with pytest.raises(ClusterUnavailableError, match=f"Dask scheduler {address}: expected an ans"):
        cluster.open()


def test_a_connection_that_was_lost_is_made_again() -> None:
    with contextlib.closing(DaskCluster(ClusterPlace("", 1))) as cluster:
        first = cluster.address
        cluster.open().close()
        assert cluster.threads() == 1
        assert cluster.address != first  # of this machine: another one


def test_tls_without_certificates_is_told() -> None:
    cluster = DaskCluster(ClusterPlace(f"tls://127.0.0.1:{free_port()}", 1, connect_s=0.5))
    with pytest.raises(SettingsError, match=r"no certificates .* distributed\.comm\.tls"):
        cluster.open()


def test_a_cluster_of_ones_own_speaks_tls(tmp_path: Path) -> None:
    """As docs/dask.md says; the certificate signs for itself."""
    keys, pem = distributed.Security.temporary(), tmp_path / "keys.pem"
    pem.write_text(f"{keys.tls_client_key}{keys.tls_client_cert}", encoding="utf-8")
    named = {f"distributed.comm.tls.{name}": str(pem)
             for name in ("ca-file", "client.cert", "client.key")}  # fmt: skip
    done: list[DoneBatch] = []
    with (
        running_dask(tmp_path, workers=1, pem=pem, environment=_OURS) as processes,
        dask.config.set(named),
        contextlib.closing(DaskCluster(ClusterPlace(processes.address, 1))) as cluster,
    ):
        assert processes.address.startswith("tls://")
        cluster.compute(told, [("days", request(number="1"))], lambda batch, _: done.append(batch))
    assert len(done) == 1


def test_a_scheduler_without_workers_is_told(tmp_path: Path) -> None:
    with running_dask(tmp_path, workers=0) as processes:
        cluster = DaskCluster(ClusterPlace(processes.address, 1, no_workers_s=0.2))
        with pytest.raises(ClusterUnavailableError, match=r"got none in 0\.2 s: start some with"):
            cluster.open()


def test_a_cluster_without_our_code_is_told(tmp_path: Path) -> None:
    # It has the platform, but not its tests: their folder is none of its paths.
    with (
        running_dask(tmp_path, workers=1) as processes,
        contextlib.closing(DaskCluster(ClusterPlace(processes.address, 1))) as cluster,
        pytest.raises(WorkerMismatchError, match=r"days: expected .* cannot load its code"),
    ):
        cluster.compute(told, [("days", request(number="1"))], lambda *_: None)


def fails(_: BatchRequest) -> DoneBatch:
    raise RuntimeError("of an asset")


def test_any_other_error_stays_what_it_is(local: DaskCluster) -> None:
    with pytest.raises(RuntimeError, match="of an asset"):
        local.compute(fails, [("days", request())], lambda *_: None)
