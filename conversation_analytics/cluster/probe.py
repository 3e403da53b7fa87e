"""Whether the Dask cluster of the settings could do its work now."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from conversation_analytics.cluster.requests import settings_there, settings_to_send
from conversation_analytics.cluster.scheduler import ClusterPlace, DaskCluster
from conversation_analytics.cluster.versions import differences, versions_here
from conversation_analytics.cluster.worker import require_lake
from conversation_analytics.core.errors import AnalyticsError, WorkerMismatchError
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.resources.connections import open_lake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conversation_analytics.settings import Settings

_ANY_DAY = "2000-01-01"


class _Look(TypedDict):
    """What a worker says of itself: host and process, versions, and why it has no lake."""

    worker: str
    versions: Mapping[str, str]
    problem: str


def probe_cluster(settings: Settings, patience_s: float = 5.0) -> str:
    """Ask every worker for its versions and for the lake, and say so.

    A cluster of this machine is not started.

    Args:
        settings: of this process.
        patience_s: how long the scheduler and a first worker are waited for.

    Raises:
        ClusterUnavailableError: the scheduler does not answer, or has no workers.
        WorkerMismatchError: a worker is of another version, or does not reach the lake.
        SettingsError: Dask is not installed, or has no certificates.
    """
    place = ClusterPlace(
        settings.dask_scheduler_address, settings.max_workers, patience_s, patience_s
    )
    with contextlib.closing(DaskCluster(place)) as cluster:
        if not place.address:
            cluster.require_dask()
            return f"{place.workers} processes of this machine, started when a range needs them"
        threads, sent = cluster.threads(), settings_to_send(settings, place.address)
        looks = cluster.ask_all(look, sent)
        for one in looks:
            if told := differences(one["versions"], versions_here()):
                raise WorkerMismatchError(
                    f"worker {one['worker']}: {'; '.join(told)}: install the same lock and the "
                    "same code, and start it again"
                )
            if one["problem"]:
                raise WorkerMismatchError(f"worker {one['worker']}: {one['problem']}")
        return (
            f"{place.address}: {len(looks)} workers of {threads} threads, of the same versions, "
            f"reach the lake; dashboard {cluster.dashboard}"
        )


def look(sent: Settings) -> _Look:
    """Look around in this process, a worker's."""
    me, problem = f"{socket.gethostname()}:{os.getpid()}", ""
    settings = settings_there(
        {"settings": sent, "files": {}, "versions": {}, "step": "", "attempt": ("", "", 0),
         "days": (), "begun": {}},
        Path,
    )  # fmt: skip
    try:
        require_lake(settings, me)
        open_lake(settings).exists(MESSAGES, _ANY_DAY)
    except AnalyticsError as error:
        problem = str(error)
    return {"worker": me, "versions": versions_here(), "problem": problem}
