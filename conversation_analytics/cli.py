"""The command `conversation-analytics`."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conversation_analytics.core.errors import AnalyticsError
from conversation_analytics.core.windows import days_between
from conversation_analytics.logs import configure_logs
from conversation_analytics.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conversation_analytics.lake.store import Lake

_DEFAULT_HOME = Path("data/dagster")
_EXIT_FAILED = 1
_EXIT_WRONG_SETTINGS = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="conversation-analytics")
def cli() -> None:
    """Conversation analytics: from NocoDB to a Parquet lake, documents and reports."""


def main() -> None:
    """Run the command line; an expected error is one plain sentence and an exit code."""
    try:
        cli()
    except AnalyticsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(_EXIT_WRONG_SETTINGS)


def _settings() -> Settings:
    settings = load_settings(os.environ, Path(".env"))
    configure_logs(settings)
    return settings


def _day(_context: click.Context, _parameter: click.Parameter, text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no date: give YYYY-MM-DD") from error


@cli.command()
@click.argument("first", callback=_day)
@click.argument("last", callback=_day)
def backfill(first: dt.date, last: dt.date) -> None:
    """Materialise every asset for the days FIRST to LAST, both included.

    Days run in order, in runs of at most 31 days; a day is replaced whole, so repeating a
    range is safe. Example: conversation-analytics backfill 2026-11-01 2026-11-21
    """
    settings = _settings()
    _run_range(settings, first, last)


@cli.command()
@click.option("--days", default=14, show_default=True, help="How many days, yesterday the last.")
def run(days: int) -> None:
    """Run the main job: the last days from the source to the report, then say what came out."""
    settings = _settings()
    last = dt.datetime.now(settings.analytics_timezone).date() - dt.timedelta(days=1)
    first = max(last - dt.timedelta(days=days - 1), settings.analytics_start_date)
    started = time.perf_counter()
    _run_range(settings, first, last)
    _summary(settings, first, last, time.perf_counter() - started)


@cli.command(hidden=True)
def home() -> None:
    """Create DAGSTER_HOME and its database: daemon and web server would race for that."""
    import dagster as dg  # noqa: PLC0415 - import budget

    _prepare_home()
    with dg.DagsterInstance.get():
        pass


def _prepare_home() -> None:
    folder = Path(os.environ.get("DAGSTER_HOME") or _DEFAULT_HOME).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(folder)
    config = folder / "dagster.yaml"
    if not config.exists():
        # No telemetry, and no dialog that asks for an address at the first visit.
        config.write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n")


def _run_range(settings: Settings, first: dt.date, last: dt.date) -> None:
    if last < first:
        raise click.UsageError(f"{last} is before {first}: give the first day first")
    if first < settings.analytics_start_date:
        raise click.UsageError(
            f"{first} is before ANALYTICS_START_DATE {settings.analytics_start_date}: "
            "set that setting to the first day you want"
        )
    _prepare_home()

    from rich.progress import (  # noqa: PLC0415 - import budget of the other commands
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    ) as progress:  # fmt: skip
        _materialize(settings, list(days_between(first, last)), progress)


def _materialize(settings: Settings, days: list[dt.date], progress: object) -> None:
    import warnings  # noqa: PLC0415

    import dagster as dg  # noqa: PLC0415 - import budget
    from rich.progress import Progress  # noqa: PLC0415

    from conversation_analytics.assets.partitions import MAX_DAYS_PER_RUN  # noqa: PLC0415
    from conversation_analytics.definitions import build_definitions  # noqa: PLC0415

    assert isinstance(progress, Progress)  # noqa: S101 - narrows the lazily imported type
    for category in (dg.BetaWarning, dg.PreviewWarning):
        warnings.simplefilter("ignore", category)  # backfill policies, partitioned checks
    bar = progress.add_task("starting", total=None)

    def on_partition(asset: str, key: str | None) -> None:
        progress.update(bar, advance=1, description=f"{asset} {key or ''}")

    definitions = build_definitions(settings, on_partition)
    jobs = [definitions.resolve_job_def("undated"), definitions.resolve_job_def("daily")]
    # Every asset but `daily_report_files` reports each day it stores.
    per_day = sum(
        1
        for key in jobs[1].asset_layer.executable_asset_keys
        if key.path[-1] != "daily_report_files"
    )
    progress.update(
        bar, total=per_day * len(days) + len(set(jobs[0].asset_layer.executable_asset_keys))
    )
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.get() as instance:
        results = [jobs[0].execute_in_process(quiet, instance=instance, raise_on_error=False)]
        for start in range(0, len(days), MAX_DAYS_PER_RUN):
            part = days[start : start + MAX_DAYS_PER_RUN]
            tags = {
                "dagster/asset_partition_range_start": part[0].isoformat(),
                "dagster/asset_partition_range_end": part[-1].isoformat(),
            }
            results.append(
                jobs[1].execute_in_process(
                    quiet, instance=instance, tags=tags, raise_on_error=False
                )
            )
    failed = [result for result in results if not result.success]
    if failed:
        progress.stop()
        for result in failed:
            for event in result.get_step_failure_events():
                error = event.step_failure_data.error
                while error is not None and error.cause is not None:
                    error = error.cause
                text = error.message.strip() if error else "no error was recorded"
                click.echo(f"failed: {event.step_key}: {text}", err=True)
        sys.exit(_EXIT_FAILED)
    progress.update(bar, description="done")


def _summary(settings: Settings, first: dt.date, last: dt.date, seconds: float) -> None:
    from rich.console import Console  # noqa: PLC0415 - import budget
    from rich.table import Table  # noqa: PLC0415

    from conversation_analytics.core import schemas  # noqa: PLC0415
    from conversation_analytics.resources.connections import open_lake  # noqa: PLC0415

    lake = open_lake(settings)
    wanted = {day.isoformat() for day in days_between(first, last)}
    table = Table("table", "days", "rows", title=f"{first} to {last}")
    for schema in schemas.TABLES:
        if schema.name.startswith(("undated", "raw_undated")):
            count = lake.row_count(schema, None) if lake.exists(schema, None) else 0
            table.add_row(schema.name, "-", f"{count:,}")
            continue
        keys = sorted(wanted.intersection(lake.keys(schema)))
        rows = sum(lake.row_count(schema, key) for key in keys)
        table.add_row(schema.name, str(len(keys)), f"{rows:,}")
    for column in table.columns[1:]:
        column.justify = "right"
    console = Console()
    console.print(table)
    documents = "MongoDB" if settings.mongodb_uri else str(settings.sqlite_path)
    where = lake.describe()["root"]
    console.print(f"source     {settings.source_kind}", highlight=False)
    console.print(f"lake       {where}", highlight=False, soft_wrap=True)
    console.print(f"documents  {documents}", highlight=False, soft_wrap=True)
    console.print(
        f"report     {lake.objects.uri(f'reports/daily/{last}.html')}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(f"{seconds:.1f} s. Next: `make dev` opens the Dagster UI.", highlight=False)


@cli.command()
def status() -> None:
    """Show per table which days the lake holds, the gaps between them, and dead letters."""
    from rich.console import Console  # noqa: PLC0415 - import budget
    from rich.table import Table  # noqa: PLC0415

    from conversation_analytics.core import schemas  # noqa: PLC0415
    from conversation_analytics.resources.connections import open_lake  # noqa: PLC0415

    lake = open_lake(_settings())
    table = Table("table", "days", "first", "last", "missing between", "rows")
    for schema in schemas.TABLES:
        if schema.name.startswith(("undated", "raw_undated")):
            present = lake.exists(schema, None)
            rows = lake.row_count(schema, None) if present else 0
            table.add_row(schema.name, "-", "-", "-", "-", f"{rows:,}" if present else "none yet")
            continue
        keys = lake.keys(schema)
        if not keys:
            table.add_row(schema.name, "0", "-", "-", "-", "none yet")
            continue
        span = days_between(dt.date.fromisoformat(keys[0]), dt.date.fromisoformat(keys[-1]))
        missing = sum(1 for _ in span) - len(keys)
        rows = sum(lake.row_count(schema, key) for key in keys)
        table.add_row(schema.name, str(len(keys)), keys[0], keys[-1], str(missing), f"{rows:,}")
    Console().print(table)
    dead = _dead_letters(lake)
    click.echo(f"dead letters: {dead}")


def _dead_letters(lake: Lake) -> int:
    from conversation_analytics.core import schemas  # noqa: PLC0415 - import budget

    daily = (schemas.CONVERSATION_DEAD_LETTERS, schemas.MESSAGE_DEAD_LETTERS)
    undated = (schemas.UNDATED_CONVERSATION_DEAD_LETTERS, schemas.UNDATED_MESSAGE_DEAD_LETTERS)
    return sum(lake.row_count(s, key) for s in daily for key in lake.keys(s)) + sum(
        lake.row_count(s, None) for s in undated if lake.exists(s, None)
    )


@cli.command()
def check() -> None:
    """Try every configured connection; say what is wrong and how to mend it.

    Exit code 0: everything works. 1: something does not. 2: a setting is wrong.
    """
    settings = _settings()
    click.echo("ok    settings")
    failed = False
    for name, ok, detail in _probes(settings):
        failed = failed or not ok
        click.echo(f"{'ok   ' if ok else 'FAIL '} {name}: {detail}")
    sys.exit(_EXIT_FAILED if failed else 0)


def _probes(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    from conversation_analytics.resources import connections  # noqa: PLC0415 - import budget

    def lake() -> str:
        opened = connections.open_lake(settings)
        path = "reports/probe"
        opened.objects.put(path, b"probe")
        opened.objects.get(path)
        opened.objects.delete(path)
        return f"{opened.describe()['root']}: written, read and deleted a probe"

    def documents() -> str:
        store = connections.open_documents(settings)
        try:
            store.ping()
            return f"{' '.join(store.describe().values())}: answers"
        finally:
            store.close()

    if settings.source_kind == "nocodb":
        for probe in connections.open_nocodb(settings).probe():
            yield (
                f"nocodb {probe.name}",
                probe.ok,
                probe.detail + (f" - {probe.hint}" if not probe.ok and probe.hint else ""),
            )
    else:
        yield "source", True, "sample: made on this machine, nothing to reach"
    probes: list[tuple[str, Callable[[], str]]] = [("lake", lake), ("documents", documents)]
    for name, try_it in probes:
        try:
            yield name, True, try_it()
        except AnalyticsError as error:
            yield name, False, str(error)


if __name__ == "__main__":
    main()
