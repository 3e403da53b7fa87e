"""Looking at an installation: connections, rights, columns, clocks, disks, versions."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import os
import platform
import secrets
import shutil
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from conversation_analytics.core.errors import (
    AnalyticsError,
    OutdatedPartitionError,
    SettingsError,
)
from conversation_analytics.core.findings import (
    LITTLE_BYTES,
    LITTLE_TEMPORARY_BYTES,
    Finding,
    clock_finding,
    disk_finding,
)
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.source import SAMPLE, SERVED_BY
from conversation_analytics.settings import misspelt_settings, unknown_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conversation_analytics.core.findings import State
    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.objects import ObjectStore
    from conversation_analytics.lake.store import Lake
    from conversation_analytics.settings import Settings

_PROBE_PATH = "reports/probe"
_SHOWN = ("conversation-analytics", "dagster", "polars", "duckdb", "pymongo")
_TEMPORARY = "temporary files"
_SILENT = dt.timedelta(minutes=2)
"""Dagster's daemon tells that it lives every half a minute."""


def findings(settings: Settings, env_file: Path) -> Iterator[Finding]:
    """Yield what is found, one after the other as it is tried.

    Args:
        settings: of this process, so without a mistake.
        env_file: the dotenv file beneath the environment; need not exist.

    Raises:
        SettingsError: that file cannot be read.
    """
    yield Finding("settings", "ok", "every value is one that can be")
    for where, unknown in (
        (str(env_file), unknown_settings(env_file)),
        ("environment", misspelt_settings(os.environ)),
    ):
        for name, meant in unknown:
            told = f"{name} is no setting and has no effect"
            yield Finding(where, "warn", told, f"meant {meant}?")
    yield Finding("version", "ok", _versions())
    yield from _whole("source", _source(settings))
    yield from _whole("lake", _lake(settings))
    yield from _whole("documents", _documents(settings))
    yield from _whole("translator", _tried("translator", lambda: _translator(settings)))
    yield from _whole("tables of people", _tables_of_people(settings))
    yield from _whole("extensions", _extensions(settings))
    yield from _whole("taxonomy", _tried("taxonomy", lambda: _taxonomy(settings)))
    yield from _whole("definitions", _tried("definitions", lambda: _definitions(settings)))
    if settings.executor in {"dask", "dask_steps"}:
        yield from _whole("dask", _tried("dask", lambda: _cluster(settings)))
    try:
        home = dagster_home()
    except SettingsError as error:
        yield Finding("dagster", "fail", str(error))
        return
    yield from _whole("disks", _disks(settings, home))
    yield from _whole("dagster", _daemon(home))


def _whole(name: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """Yield what is found, and what nobody has foreseen as a finding of its own.

    Whoever looks for a fault needs to hear of the other things, too.
    """
    try:
        yield from found
    except Exception as error:  # noqa: BLE001 - of libraries and extensions; told, with its place
        frame = traceback.extract_tb(error.__traceback__)[-1]
        # Not its text, which may quote a password.
        told = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
        yield Finding(name, "fail", told, "if its name does not say enough, report it with the "
                      "versions above")  # fmt: skip


def _tried(name: str, attempt: Callable[[], str]) -> Iterator[Finding]:
    """Yield what an attempt says, or its error, which has what to do."""
    try:
        yield Finding(name, "ok", attempt())
    except AnalyticsError as error:
        yield Finding(name, "fail", str(error))


def _versions() -> str:
    told = [f"{name} {importlib.metadata.version(name)}" for name in _SHOWN]
    return ", ".join([told[0], f"Python {platform.python_version()}", *told[1:]])


def _source(settings: Settings) -> Iterator[Finding]:
    if settings.source_kind == SAMPLE:
        yield Finding("source", "ok", "sample: made on this machine, nothing to reach")
        return
    from conversation_analytics.resources.connections import (  # noqa: PLC0415 - import budget
        open_nocodb,
        probe_source,
    )

    if settings.source_kind != "nocodb":
        yield from _tried("source", lambda: probe_source(settings))
        return
    try:
        source = open_nocodb(settings)
        with contextlib.closing(source):
            for probe in source.probe():
                hint = "" if probe.ok else probe.hint
                yield Finding(
                    f"nocodb {probe.name}", "ok" if probe.ok else "fail", probe.detail, hint
                )
            yield clock_finding("nocodb clock", source.clock_ahead_s)
    except AnalyticsError as error:
        yield Finding("nocodb", "fail", str(error))


def _lake(settings: Settings) -> Iterator[Finding]:
    from conversation_analytics.core.tables import TABLES, period_of  # noqa: PLC0415 - budget
    from conversation_analytics.resources.connections import (  # noqa: PLC0415
        open_lake,
        pseudonyms_of,
    )
    from conversation_analytics.resources.pseudonym_marker import require_this_key  # noqa: PLC0415

    try:
        lake = open_lake(settings)
        objects = lake.objects
        probe = f"{_PROBE_PATH}-{secrets.token_hex(4)}"  # others may look at the same time
        seen = objects.swap(probe, b"probe", None)
        now = dt.datetime.now(dt.UTC)
        written = objects.written_at(probe)
        objects.get(probe)
        objects.swap(probe, b"another", seen)
        guarded = _refuses_late_writers(objects, probe, seen)
        objects.delete(probe)
        if not guarded:
            yield Finding(
                "lake", "fail", f"{lake.describe()['root']}: a write that comes too late is not "
                "refused (If-Match of a PUT has no effect), so two runs could mix a day",
                "use a storage that compares the ETag of If-Match before it writes",
            )  # fmt: skip
            return
        require_this_key(lake, pseudonyms_of(settings))
        yield Finding("lake", "ok", f"{lake.describe()['root']}: written, read and deleted a probe")
        yield clock_finding("lake clock", (written - now).total_seconds() if written else None)
        outdated: list[str] = []
        for schema in TABLES:
            # The first and the last one tell: versions come one after the other.
            keys = lake.keys(schema) if period_of(schema) else ()
            for key in dict.fromkeys([*keys[:1], *keys[-1:]]):
                try:
                    lake.stat(schema, key)
                except OutdatedPartitionError:
                    outdated.append(f"{schema.name}/{key}")
        if outdated:
            yield Finding(
                "lake version", "warn",
                f"{len(outdated)} of the partitions looked at are of an earlier version, the first "
                f"{outdated[0]}",
                "`conversation-analytics repair` makes them again",
            )  # fmt: skip
        else:
            yield Finding("lake version", "ok", "the partitions looked at are of this version")
        if settings.source_kind != SAMPLE:
            yield from _sample_days(lake, settings)
    except AnalyticsError as error:
        yield Finding("lake", "fail", str(error))


def _refuses_late_writers(objects: ObjectStore, path: str, seen: str) -> bool:
    """Say whether a write on top of a version that is there no more is refused."""
    try:
        objects.swap(path, b"late", seen)
    except PartitionReplacedError:
        return True
    return False


def _sample_days(lake: Lake, settings: Settings) -> Iterator[Finding]:
    """Yield a warning if rows that were made up lie beside those of a real source."""
    from conversation_analytics.core.zones import DAILY, UNDATED  # noqa: PLC0415 - budget

    raw = [
        (zones[table].raw, key)
        for table in settings.source_tables
        for zones, keys in (
            (DAILY, lake.keys(DAILY[table].raw)),
            (UNDATED, [None] if lake.exists(UNDATED[table].raw, None) else []),
        )
        for key in keys
    ]

    def served_by_sample(place: tuple[TableSchema, str | None]) -> bool:
        try:
            return lake.stat(*place).inputs.get(SERVED_BY) == SAMPLE
        except OutdatedPartitionError:
            return False  # another finding tells of it

    with ThreadPoolExecutor(settings.threads_io) as pool:  # a request to S3 each
        answers = pool.map(served_by_sample, raw)
        made_up = [key for (_, key), yes in zip(raw, answers, strict=True) if yes]
    days = sorted({key for key in made_up if key is not None})
    told = [
        *([f"{len(days)} days, {days[0]} to {days[-1]}"] if days else []),
        *(["rows without a time"] if None in made_up else []),
    ]
    if told:
        yield Finding(
            "lake source", "warn",
            f"rows of the sample lie beside those of {settings.source_kind}, and are counted: "
            + " and ".join(told),
            "`conversation-analytics repair` reads them from the source of now instead",
        )  # fmt: skip


def _documents(settings: Settings) -> Iterator[Finding]:
    from conversation_analytics.io_managers.document_io import MADE_FROM  # noqa: PLC0415 - budget
    from conversation_analytics.resources import connections  # noqa: PLC0415

    try:
        with contextlib.closing(connections.open_documents(settings)) as store:
            store.ping()
            specs = connections.collection_specs(settings)
            store.check_rights([*(spec.name for spec in specs), MADE_FROM])
            where = " ".join(store.describe().values())
            yield Finding("documents", "ok", f"{where}: answers and may be written")
            theirs = store.server_time()
            if theirs is not None:
                ahead_s = (theirs - dt.datetime.now(dt.UTC)).total_seconds()
                yield clock_finding("documents clock", ahead_s)
    except AnalyticsError as error:
        yield Finding("documents", "fail", str(error))


def _translator(settings: Settings) -> str:
    from conversation_analytics.resources.connections import (  # noqa: PLC0415 - import budget
        probe_translator,
    )

    return probe_translator(settings)


def _cluster(settings: Settings) -> str:
    from conversation_analytics.cluster.probe import probe_cluster  # noqa: PLC0415 - import budget

    return probe_cluster(settings)


def _tables_of_people(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of the tables of NocoDB that people share with the platform."""
    from conversation_analytics.core.corrections import refused_told, rows_of  # noqa: PLC0415
    from conversation_analytics.language.taxonomy_files import refused_rows  # noqa: PLC0415
    from conversation_analytics.resources import connections  # noqa: PLC0415

    def corrections() -> str:
        rows = rows_of(connections.corrections_at_source(settings))
        refused = refused_rows(settings.taxonomy_origin, settings.taxonomy_corrections_file, rows)
        told = f"; left out: {refused_told(refused)}" if refused else ""
        return f"{len(rows) - len(refused)} of {len(rows)} rows can be used{told}"

    def results() -> str:
        with connections.open_results_table(settings) as table:
            return f"table {table.title!r} has its columns; nothing was written to it"

    if settings.nocodb_corrections_table:
        yield from _tried("corrections", corrections)
    if settings.nocodb_results_table:
        yield from _tried("results", results)


def _extensions(settings: Settings) -> Iterator[Finding]:
    """Yield each part that an installed package brings, and whether all that are named work."""
    from conversation_analytics import extensions  # noqa: PLC0415 - import budget

    for one in extensions.installed():
        where = "in use" if extensions.in_use(settings, one) else "not in use"
        try:
            extensions.check_loads(one)
        except AnalyticsError as error:
            state: State = "fail" if extensions.in_use(settings, one) else "warn"
            yield Finding(f"{one.kind} extension {one.name}", state, f"{error}; {where}")
        else:
            told = f"{one.distribution} {one.version} loads, {where}"
            yield Finding(f"{one.kind} extension {one.name}", "ok", told)


def _taxonomy(settings: Settings) -> str:
    from conversation_analytics.language.taxonomy_files import read_taxonomy  # noqa: PLC0415

    read_taxonomy(settings.taxonomy_origin, settings.taxonomy_corrections_file)
    return str(settings.taxonomy_origin or "the default one")


def _definitions(settings: Settings) -> str:
    from conversation_analytics.definitions import build_definitions  # noqa: PLC0415 - budget

    build_definitions(settings)
    return "what the settings name can be used together"


def dagster_home() -> Path:
    """Return the folder of Dagster's records: DAGSTER_HOME, or `data/dagster`.

    Raises:
        SettingsError: it begins with `~` and a user who is not there.
    """
    folder = os.environ.get("DAGSTER_HOME") or "data/dagster"
    try:
        return Path(folder).expanduser().absolute()
    except RuntimeError as error:
        reason = str(error).rstrip(".")
        raise SettingsError(
            f"DAGSTER_HOME: expected a folder, got {folder}: {reason}; write the folder out"
        ) from error


def _disks(settings: Settings, home: Path) -> Iterator[Finding]:
    """Yield how much room there is, once a disk."""
    places = {
        **({} if settings.s3_enabled else {"lake": settings.parquet_base_dir}),
        **({} if settings.mongodb_uri else {"documents": settings.sqlite_path.parent}),
        "Dagster's records": home,
        _TEMPORARY: Path(tempfile.gettempdir()),
    }
    on_disk: dict[int, tuple[Path, list[str]]] = {}
    for what, path in places.items():
        try:
            folder = next(
                one for one in (path.absolute(), *path.absolute().parents) if one.exists()
            )
            disk = folder.stat().st_dev
        except OSError as error:
            yield Finding(f"disk of {what}", "fail", f"{path}: {error.strerror}",
                          "correct the rights, or name another folder")  # fmt: skip
            continue
        on_disk.setdefault(disk, (folder, []))[1].append(what)
    for folder, things in on_disk.values():
        free = shutil.disk_usage(folder).free
        little = LITTLE_TEMPORARY_BYTES if things == [_TEMPORARY] else LITTLE_BYTES
        yield disk_finding(f"disk of {', '.join(things)}", str(folder), free, little)


def _daemon(home: Path) -> Iterator[Finding]:
    """Yield whether Dagster's records can be used, and whether its daemon lives."""
    if not (home / "dagster.yaml").is_file():
        yield Finding("dagster", "ok", f"{home}: not there yet, the first run makes it")
        return
    import dagster as dg  # noqa: PLC0415 - import budget
    from dagster._core.storage.runs import SqliteRunStorage  # noqa: PLC0415

    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            beats = instance.get_daemon_heartbeats()
            in_home = isinstance(instance.run_storage, SqliteRunStorage)
    except Exception as error:  # noqa: BLE001 - each storage of dagster.yaml has errors of its own
        yield Finding(
            "dagster", "fail", f"{home}: its records cannot be read ({type(error).__name__})",
            "is the database of dagster.yaml up, and its disk not full?",
        )  # fmt: skip
        return
    if in_home and not os.access(home, os.W_OK | os.X_OK):
        yield Finding(
            "dagster", "fail", f"{home}: this user may not write there",
            "set DAGSTER_HOME to a folder of this user, or correct the rights",
        )  # fmt: skip
        return
    yield Finding("dagster", "ok", f"{home}: its records can be read")
    if not beats:
        yield Finding(
            "daemon", "ok", "has not run here; schedules and sensors need it (`make dev`)"
        )
        return
    last = dt.datetime.fromtimestamp(max(one.timestamp for one in beats.values()), dt.UTC)
    since = dt.datetime.now(dt.UTC) - last
    if since <= _SILENT:
        yield Finding("daemon", "ok", f"lives, last heard of {since.total_seconds():.0f} s ago")
    else:
        yield Finding(
            "daemon", "warn", f"last heard of at {last:%Y-%m-%d %H:%M:%S} UTC",
            "sensors and schedules stand still: start it (`make dev`, or its service)",
        )  # fmt: skip
