"""What a worker of the cluster does: the days of a step, with the function of its asset."""

from __future__ import annotations

import atexit
import functools
import os
import socket
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import dagster as dg

from conversation_analytics.assets.from_source import source_assets
from conversation_analytics.assets.partitions import daily_chain
from conversation_analytics.cluster.requests import settings_there
from conversation_analytics.cluster.versions import differences, versions_here
from conversation_analytics.core.errors import (
    LakeError,
    TransientError,
    WorkerMismatchError,
)
from conversation_analytics.core.tables import TABLES
from conversation_analytics.extensions import use_extensions
from conversation_analytics.io_managers.lake_io import PLANNED, LakeIOManager
from conversation_analytics.io_managers.read_log import ReadLog
from conversation_analytics.lake.store import Generation
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.resources.engines import ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

    from conversation_analytics.cluster.requests import BatchRequest, DoneBatch
    from conversation_analytics.settings import Settings

_TABLES: Final = {table.name: table for table in TABLES}
_LAKE: Final = "lake_io"
_OPENED_THERE: Final = frozenset({"lake", "engine"})
"""Resources that a worker has."""


def steps_for_workers(assets: Iterable[dg.AssetsDefinition]) -> frozenset[str]:
    """Return the names of the steps whose days need nothing that a worker does not have.

    Those are functions of days of the lake, without the context of a run, whose days go to the
    lake. What reads the source, sends to a translator, draws reports or writes documents is not.
    """
    return frozenset(one.op.name for one in assets if _fits_a_worker(one))


def compute_days(request: BatchRequest) -> DoneBatch:
    """Compute and store some days of a step; this is what a task of the cluster runs.

    The days are computed by the asset's own function over the lake as this process opens it, and
    written as the IO manager writes them.

    Raises:
        WorkerMismatchError: this process is of another version than the one that asks.
        AnalyticsError: as the step in one process would.
    """
    started, me = time.perf_counter(), f"{socket.gethostname()}:{os.getpid()}"
    if told := differences(versions_here(), request["versions"]):
        raise WorkerMismatchError(
            f"worker {me}: expected the versions of the run, got {'; '.join(told)} (here is where "
            "the run is): install the same lock and the same code on both, and start it again"
        )
    # Dagster says so of backfill policies, and nobody can act on it.
    warnings.filterwarnings("ignore", message=".* is currently in (beta|preview)")
    settings = settings_there(request, _folder)
    use_extensions(settings)
    require_lake(settings, me)
    try:
        written = _written(_assets(settings)[request["step"]], request, settings)
    except dg.RetryRequested as asked:
        # Whether the step is repeated is for the run to say.
        if isinstance(asked.__cause__, TransientError):
            raise asked.__cause__ from None
        raise
    seconds = round(time.perf_counter() - started, 3)
    return {"worker": me, "seconds": seconds, "written": written}


def _written(
    asset: dg.AssetsDefinition, request: BatchRequest, settings: Settings
) -> dict[str, dict[str, dict[str, Any]]]:
    lake, attempt, days = open_lake(settings), request["attempt"], request["days"]
    io = LakeIOManager(lake, 1, ReadLog(), ENGINE, lambda _asset, _day: None)
    function = _function(asset)
    resources = {"lake": lake, "engine": ENGINE}
    needed = {one.name: resources[one.name] for one in function.get_resource_args()}
    inputs = {
        name: io.days(attempt, _TABLES[table], days, planned=planned)
        for name, table, planned in _inputs(asset)
    }
    begun = {place: Generation(version) for place, version in request["begun"].items()}
    written: dict[str, dict[str, dict[str, Any]]] = {}
    # A second output may be a by-product of writing the first: each is written as it comes.
    for output, values in _outputs(asset, function.decorated_fn(**inputs, **needed)):
        table = _TABLES[asset.keys_by_output_name[output].path[-1]]
        written[table.name] = {
            day: io.write(
                attempt,
                table,
                day,
                functools.partial(values.__getitem__, day),
                begun.get((table.name, day)),
            )
            for day in days
        }
    return written


def _outputs(asset: dg.AssetsDefinition, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each output of a step's function with its partitions."""
    if isinstance(value, Mapping):
        (only,) = asset.keys_by_output_name
        yield only, value
        return
    for output in value:
        yield output.output_name, output.value


def _inputs(asset: dg.AssetsDefinition) -> Iterator[tuple[str, str, bool]]:
    """Yield name, table, and whether it is planned, of each input that is read."""
    for name, key in asset.keys_by_input_name.items():
        definition = asset.op.ins[name]
        kind = definition.dagster_type
        if not (isinstance(kind, dg.DagsterType) and kind.is_nothing):
            yield name, key.path[-1], PLANNED in (definition.metadata or {})


def _function(asset: dg.AssetsDefinition) -> DecoratedOpFunction:
    return cast("DecoratedOpFunction", asset.op.compute_fn)


def _fits_a_worker(asset: dg.AssetsDefinition) -> bool:
    definition, function = asset.op, _function(asset)
    read = [name for name, _, _ in _inputs(asset)]
    return (
        asset.partitions_def is not None
        and bool(read)
        and not function.has_context_arg()
        and {one.name for one in function.get_resource_args()} <= _OPENED_THERE
        and {definition.ins[name].input_manager_key for name in read} == {_LAKE}
        and {one.io_manager_key for one in definition.outs.values()} == {_LAKE}
    )


def require_lake(settings: Settings, me: str) -> None:
    """Refuse a lake in a folder that this machine does not have.

    Raises:
        LakeError: there is no such folder.
    """
    folder = settings.parquet_base_dir
    if not settings.s3_enabled and not folder.is_dir():
        raise LakeError(
            f"worker {me}: expected the lake in {folder}, got no such folder: share it with every "
            "worker under this path, or put the lake on S3 (S3_ENABLED)"
        )


_LAST: list[tuple[Settings, Mapping[str, dg.AssetsDefinition]]] = []


def _assets(settings: Settings) -> Mapping[str, dg.AssetsDefinition]:
    """Return the assets by the name of their step; those of the last settings are kept."""
    for known, assets in _LAST:
        if known == settings:
            return assets
    made = {one.op.name: one for one in source_assets(daily_chain(settings))}
    _LAST[:] = [(settings, made)]
    return made


@functools.cache
def _folder() -> Path:
    """Return a folder of this process, which goes with it."""
    folder = tempfile.TemporaryDirectory(prefix="conversation-analytics-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
