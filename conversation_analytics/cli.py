"""The command `conversation-analytics`."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
import os
import shutil
import signal
import sys
import textwrap
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conversation_analytics.core.errors import (
    AnalyticsError,
    OutdatedPartitionError,
    SettingsError,
)
from conversation_analytics.core.windows import days_between
from conversation_analytics.exports.command import export
from conversation_analytics.installation_commands import COMMANDS as INSTALLATION_COMMANDS
from conversation_analytics.installation_commands import translations_told
from conversation_analytics.logs import configure_logs
from conversation_analytics.personal_data_commands import COMMANDS as PERSONAL_DATA_COMMANDS
from conversation_analytics.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from conversation_analytics.assets.lineage import StaleDay
    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.sql import Rows
    from conversation_analytics.lake.store import Lake
    from conversation_analytics.materialize import PlannedRun
    from conversation_analytics.resources.range_reports import RangeReport

_ENV_FILE = Path(".env")
_EXIT_FAILED = 1
_EXIT_WRONG_SETTINGS = 2
_EXIT_INTERRUPTED = 130
_MOST_DAYS = 100_000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="conversation-analytics")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Colours; auto: on a terminal, unless NO_COLOR is set.",
)
@click.pass_context
def cli(context: click.Context, color: str) -> None:
    """Conversation analytics: from NocoDB to a Parquet lake, documents and reports.

    Example: conversation-analytics run, then conversation-analytics status
    """
    # Click takes the context's word, Rich the environment's.
    if color == "always":
        context.color = True
        os.environ.pop("NO_COLOR", None)
        os.environ["FORCE_COLOR"] = "1"
    elif color == "never" or os.environ.get("NO_COLOR"):
        context.color = False
        os.environ.pop("FORCE_COLOR", None)
        os.environ["NO_COLOR"] = "1"


cli.add_command(export)
for _command in (*INSTALLATION_COMMANDS, *PERSONAL_DATA_COMMANDS):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; an expected error is one plain sentence and an exit code.

    1: something failed. 2: wrong settings or arguments. 130: interrupted (SIGINT, SIGTERM).
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Dagster says so of backfill policies and partitioned checks, and nobody can act on it.
    warnings.filterwarnings("ignore", message=".* is currently in (beta|preview)")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold what an ASCII terminal cannot
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(cli.main(prog_name="conversation-analytics", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(_INTERRUPTED, err=True)
        sys.exit(_EXIT_INTERRUPTED)
    except SettingsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(_EXIT_WRONG_SETTINGS)
    except AnalyticsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(_EXIT_FAILED)
    except BrokenPipeError:  # who reads us has seen enough, as in `status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_EXIT_FAILED)
    except OSError as error:  # no storage of ours in particular: a full disk, a lost folder
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}", err=True)
        sys.exit(_EXIT_FAILED)


_INTERRUPTED = (
    "interrupted: what is stored is whole, for a day is replaced whole or not at all. "
    "The same command again does the rest."
)


def _settings() -> Settings:
    settings = load_settings(os.environ, _ENV_FILE)
    configure_logs(settings)
    if settings.names_extensions:
        from conversation_analytics.extensions import use_extensions  # noqa: PLC0415 - budget

        use_extensions(settings)
    return settings


def _day(_context: click.Context, _parameter: click.Parameter, text: str) -> dt.date:
    try:
        # Python takes 20261101 and 2026-W45-1 as well, and nobody who types a week means a day.
        return dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no date: give YYYY-MM-DD") from error


def _optional_day(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> dt.date | None:
    return None if text is None else _day(context, parameter, text)


def _between(keys: Iterable[str], first: dt.date | None, last: dt.date | None) -> list[str]:
    """Return the keys from `first` to `last`, both included; None is no bound."""
    if first and last and last < first:
        raise click.UsageError(f"{last} is before {first}: give the first day first")
    low, high = (first or dt.date.min).isoformat(), (last or dt.date.max).isoformat()
    return [key for key in keys if low <= key <= high]


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
@click.option(
    "--days", type=click.IntRange(1, _MOST_DAYS), default=14, show_default=True,
    help="How many days, yesterday the last.",
)  # fmt: skip
def run(days: int) -> None:
    """Run the main job: the last days from the source to the report, then say what came out."""
    settings = _settings()
    last = _today(settings) - dt.timedelta(days=1)
    if last < settings.analytics_start_date:
        raise click.UsageError(
            f"yesterday, {last}, is before ANALYTICS_START_DATE {settings.analytics_start_date}: "
            "set that setting to the first day you want"
        )
    first = max(last - dt.timedelta(days=min(days, last.toordinal()) - 1),
                settings.analytics_start_date)  # fmt: skip
    started = time.perf_counter()
    _run_range(settings, first, last)
    _summary(settings, first, last, time.perf_counter() - started)


@cli.command()
@click.argument("first", callback=_optional_day, required=False)
@click.argument("last", callback=_optional_day, required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be made again, and make nothing.")
def repair(first: dt.date | None, last: dt.date | None, *, dry_run: bool) -> None:
    """Make again what is missing or was made of rows that have changed since, and only that.

    FIRST and LAST bound the days; without them every day that has been read is looked at.
    Example: conversation-analytics repair --dry-run
    """
    from conversation_analytics import materialize  # noqa: PLC0415 - import budget
    from conversation_analytics.assets.lineage import days_held  # noqa: PLC0415
    from conversation_analytics.resources.connections import open_lake  # noqa: PLC0415

    settings = _settings()
    keys = _days_to_make(settings, _between(days_held(open_lake(settings)), first, last))
    days = [dt.date.fromisoformat(key) for key in keys]
    looked = materialize.look_for_stale_days(settings, keys)
    stale = [day for day in looked if day.assets]
    for day in stale:
        first_stale = day.assets[0]
        click.echo(
            f"{day.key}: {len(day.assets)} stale, first {first_stale.asset}: {first_stale.reason}"
        )
    click.echo(f"{len(stale)} of {len(keys)} days have something to make again")
    for day in looked:
        if day.stops:
            click.echo(f"warning: {day.stopped}", err=True)
    undated = materialize.look_for_stale_undated(settings, keys)
    if undated:
        click.echo(
            f"rows without a time: {len(undated)} stale, first {undated[0].asset}: "
            f"{undated[0].reason}"
        )
    _tell_budget(settings, stale)
    topics = materialize.look_for_stale_topics(settings, days, _today(settings))
    for week in topics:
        click.echo(f"{week.label}: {week.assets[0].asset}: {week.assets[0].reason}")
    click.echo(
        f"{len(topics)} weeks have topics to find again"
        + (", and those after them whose ids go on from there" if topics else "")
    )
    merges = materialize.look_for_stale_periods(settings, days)
    for one in merges:
        click.echo(f"{one.label}: {one.assets[0].asset}: {one.assets[0].reason}")
    click.echo(
        f"{len(merges)} weeks and months have something to merge again"
        + (", beside those of these days" if stale else "")
    )
    users = materialize.look_for_stale_users(settings)
    if users:
        click.echo(f"users: {users[0].asset}: {users[0].reason}")
    results = materialize.look_for_stale_results(settings, days)
    if settings.nocodb_results_table:
        click.echo(f"{len(results)} days have results to send to NocoDB")
    if dry_run or not (stale or undated or topics or merges or users or results):
        return
    # Days first: what they hold by then is no row without a time any more.
    runs = [
        *materialize.runs_of_stale_days(settings, stale),
        *materialize.runs_of_stale_undated(settings, undated),
    ]
    _materialize(settings, runs, days)


def _days_to_make(settings: Settings, keys: Iterable[str]) -> list[str]:
    """Return those of the days that can be made again; say how many are no partitions any more."""
    from conversation_analytics.assets.retention import whole_days  # noqa: PLC0415

    whole, first = whole_days(settings, _today(settings), keys), settings.analytics_start_date
    days = [key for key in whole if key >= first.isoformat()]
    if early := len(whole) - len(days):
        click.echo(
            f"left out: {early} days before ANALYTICS_START_DATE {first}; set an earlier one to "
            "make them again"
        )
    return days


def _tell_budget(settings: Settings, stale: Iterable[StaleDay]) -> None:
    """Say what translating may send, before it is sent."""
    days = sum("translations" in {one.asset for one in day.assets} for day in stale)
    if days:
        limit = settings.translator_characters_per_run
        most = f"at most {limit:,}" if limit else "any number of"
        click.echo(
            f"translations: {days} days may have texts to send; this command sends {most} "
            f"characters to {settings.translator_kind}"
            + (", the rest waits for the next one" if limit else "")
            + " (TRANSLATOR_CHARACTERS_PER_RUN)"
        )


@cli.command()
@click.argument("first", callback=_optional_day, required=False)
@click.argument("last", callback=_optional_day, required=False)
def replay(first: dt.date | None, last: dt.date | None) -> None:
    """Type the rows of all days with dead letters again, and make what follows from them.

    For after a new version, or a changed column contract. Rows come from the raw zone; nothing is
    asked of the source. Days with dead letters that an earlier version wrote are repaired with it.

    Example: conversation-analytics replay 2026-11-01 2026-11-21
    """
    from conversation_analytics import materialize  # noqa: PLC0415 - import budget
    from conversation_analytics.assets import lineage  # noqa: PLC0415
    from conversation_analytics.core import zones  # noqa: PLC0415
    from conversation_analytics.definitions import daily_graph, daily_steps  # noqa: PLC0415
    from conversation_analytics.resources.connections import open_lake  # noqa: PLC0415

    settings = _settings()
    lake = open_lake(settings)
    tables = [zones.DAILY[table].dead_letters for table in settings.source_tables]
    held = {key for table in tables for key in lake.keys(table)}
    days = _days_to_make(settings, _between(sorted(held), first, last))
    dead: dict[tuple[str, str], int | None] = {
        (table.name, key): rows
        for table in tables
        for key in sorted(frozenset(days) & frozenset(lake.keys(table)))
        if (rows := _row_count(lake, table, key)) != 0
    }
    counts = {place: rows for place, rows in dead.items() if rows is not None}
    older = sorted({key for name, key in dead if (name, key) not in counts})
    click.echo(
        f"{sum(counts.values())} dead letters on {len({key for _, key in counts})} days"
        + (
            f"; {len(older)} days have some of an earlier version, uncounted: these days are made "
            "again with all that is stale of them"
            if older
            else ""
        )
    )
    if not dead:
        return
    graph, steps = daily_graph(settings), daily_steps(settings)
    # Of these days other tables, too, may be of that version, and nothing can be made of them.
    stale = materialize.look_for_stale_days(settings, older)
    names_of = {day.key: [one.asset for one in day.assets] for day in stale}
    for table_name, key in dead:
        names_of.setdefault(key, []).append(table_name)
    wanted = {
        key: lineage.whole_steps(
            lineage.downstream(graph, lineage.whole_steps(names, steps)), steps
        )
        for key, names in sorted(names_of.items())
    }
    runs = materialize.runs_of(lineage.ranges_to_make(wanted))
    _materialize(settings, runs, map(dt.date.fromisoformat, wanted))
    by_name = {table.name: table for table in tables}
    left = {(name, key): lake.row_count(by_name[name], key) for name, key in dead}
    landed = sum(counts.values()) - sum(left[place] for place in counts)
    click.echo(f"{landed} rows landed, {sum(left.values())} dead letters are left")


def _row_count(lake: Lake, schema: TableSchema, key: str) -> int | None:
    """Return the rows of a partition; None: of another version, which does not tell."""
    try:
        return lake.row_count(schema, key)
    except OutdatedPartitionError:
        return None


@cli.command()
def metrics() -> None:
    """Print every metric of this deployment with its definition, in Markdown.

    docs/metrics.md, and the metrics of the packages in EXTENSIONS.
    """
    _settings()
    from conversation_analytics.core.metrics import metrics_markdown  # noqa: PLC0415 - budget

    click.echo(metrics_markdown(), nl=False)


@cli.command(hidden=True)
def home() -> None:
    """Check the settings, create DAGSTER_HOME and its database before `dagster dev` starts.

    Its daemon and web server would race for the database, and bury a wrong setting in a page
    of text. Runs that were killed with everything else are ended: Dagster would wait for them.
    """
    from conversation_analytics.materialize import (  # noqa: PLC0415 - import budget
        end_runs_lost,
        prepare_home,
    )

    _settings()
    prepare_home()
    lost = end_runs_lost()
    for run_id in lost.ended:
        click.echo(f"run {run_id} was lost with the process that computed it: ended")
    for run_id in lost.doubtful:
        click.echo(
            f"run {run_id} is unfinished, and nothing here tells whether it goes on. If it does "
            "not, end it in the UI: Runs, the run, Terminate, 'Force termination immediately'",
            err=True,
        )


@cli.command()
@click.argument("first", callback=_day)
@click.argument("last", callback=_day)
@click.option("--app", help="Of this app alone, by its id; '' is no app. Without: all apps.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files into this folder instead of the lake; they link to nothing.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "csv", "json"]),
    help="Only this one: printed, or a file in --out.",
)
def report(
    first: dt.date, last: dt.date, app: str | None, out: Path | None, form: str | None
) -> None:
    """Report on the days FIRST to LAST, both included, beside as many days before.

    A page, Markdown and CSV, as of weeks and months: in the lake below reports/ranges/, and
    listed in reports/index.html. Made of the days that are held now; what is missing is told.

    Example: conversation-analytics report 2026-11-05 2026-11-18

    Example: conversation-analytics report 2026-11-18 2026-11-18 --format csv > day.csv
    """
    settings = _settings()
    _check_days(settings, first, last)
    from conversation_analytics.core.engine import CPU  # noqa: PLC0415 - import budget
    from conversation_analytics.core.periods import Span  # noqa: PLC0415
    from conversation_analytics.resources import range_reports  # noqa: PLC0415
    from conversation_analytics.resources.connections import open_lake  # noqa: PLC0415

    lake = open_lake(settings)
    linked = out is None and form is None
    made = range_reports.report_of_range(lake, Span(first, last), CPU, app, linked=linked)
    if app is not None and app not in made.apps:
        raise click.UsageError(_no_such_app(app, made.apps))
    _tell_missing(made)
    if form is not None and out is None:
        (text,) = range_reports.files_of(made, [form]).values()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    if out is None:
        for ending, where in range_reports.publish_range(lake, made).items():
            click.echo(f"{ending:<5} {where}")
        return
    out.mkdir(parents=True, exist_ok=True)
    files = range_reports.files_of(made) if form is None else range_reports.files_of(made, [form])
    for name, text in files.items():
        with _replaced(out / name) as sink:
            sink.write(text.encode())
        click.echo(f"{name.rpartition('.')[2]:<5} {out / name}")


def _no_such_app(app: str, apps: Sequence[str]) -> str:
    import difflib  # noqa: PLC0415 - import budget

    names = [one or "''" for one in apps]
    close = difflib.get_close_matches(app, names)
    meant = f"meant {' or '.join(close)}? " if close else ""
    return f"no app {app!r} on these days; {meant}There are {', '.join(names) or 'none'}"


def _tell_missing(made: RangeReport) -> None:
    """Say which days are not held, and how to make them; on stderr, beside any output."""
    from conversation_analytics.reports.values import days_named  # noqa: PLC0415 - import budget
    from conversation_analytics.resources.range_reports import commands_for  # noqa: PLC0415

    span = made.shown.span
    if missing := made.missing:
        click.echo(
            f"warning: {len(missing)} of {len(span.days)} days are not held and add "
            f"nothing: {days_named(missing)}. Make them, then repeat this command: "
            f"{commands_for(missing)}",
            err=True,
        )
    if before := made.missing_before:
        click.echo(
            f"note: of the {len(span.days)} days before, {len(before)} are not held: "
            f"{days_named(before)}; "
            + ("changes are against the others" if made.shown.before_held else "no changes"),
            err=True,
        )


def _today(settings: Settings) -> dt.date:
    return dt.datetime.now(settings.analytics_timezone).date()


def _check_days(settings: Settings, first: dt.date, last: dt.date) -> None:
    """Refuse days that cannot be there.

    Raises:
        UsageError: the last comes first, or they are before the first day or in the future.
    """
    if last < first:
        raise click.UsageError(f"{last} is before {first}: give the first day first")
    if first < settings.analytics_start_date:
        raise click.UsageError(
            f"{first} is before ANALYTICS_START_DATE {settings.analytics_start_date}: "
            "set that setting to the first day you want"
        )
    if last > (today := _today(settings)):
        raise click.UsageError(
            f"{last} is in the future: the last day there is, is {today} "
            f"({settings.analytics_timezone.key})"
        )


def _run_range(settings: Settings, first: dt.date, last: dt.date) -> None:
    _check_days(settings, first, last)
    from conversation_analytics.assets.lineage import ranges_to_make  # noqa: PLC0415
    from conversation_analytics.assets.retention import first_whole  # noqa: PLC0415
    from conversation_analytics.definitions import daily_names  # noqa: PLC0415
    from conversation_analytics.materialize import CORRECTIONS, UNDATED, runs_of  # noqa: PLC0415

    kept = first_whole(settings, _today(settings))
    if kept is not None and first < kept:
        raise click.UsageError(
            f"{first} is older than RETENTION_..._DAYS keep days: {kept} is the first that can be "
            "made whole; give a later day, or set these to more days"
        )
    days, every = list(days_between(first, last)), daily_names(settings)
    ranges = ranges_to_make({day.isoformat(): every for day in days})
    corrections = [CORRECTIONS] if settings.nocodb_corrections_table else []
    _materialize(settings, [*corrections, UNDATED, *runs_of(ranges)], days)


def _materialize(
    settings: Settings, runs: Iterable[PlannedRun], changed: Iterable[dt.date]
) -> None:
    """Run, then make again what tells of the days that may have changed.

    Topics of weeks that are over, reports of weeks and months, users.
    """
    from conversation_analytics.materialize import (  # noqa: PLC0415 - import budget
        follow_ups,
        materialize,
    )

    today = _today(settings)
    failures = materialize(settings, runs, lambda: follow_ups(settings, changed, today))
    for failure in failures:
        click.echo(f"failed: {failure}", err=True)
    if failures:
        sys.exit(_EXIT_FAILED)


def _summary(settings: Settings, first: dt.date, last: dt.date, seconds: float) -> None:
    from rich.console import Console  # noqa: PLC0415 - import budget
    from rich.table import Table  # noqa: PLC0415

    from conversation_analytics.core import tables  # noqa: PLC0415
    from conversation_analytics.core.periods import starts_of  # noqa: PLC0415
    from conversation_analytics.resources.connections import open_lake  # noqa: PLC0415

    lake = open_lake(settings)
    days = list(days_between(first, last))
    table = Table("table", "partitions", "rows", title=f"{first} to {last}")
    table.columns[0].overflow = "fold"
    for schema in tables.TABLES:
        period = tables.period_of(schema)
        if period is None:
            present = [None] if lake.exists(schema, None) else []
            table.add_row(schema.name, "-", _told(lake, schema, present))
            continue
        wanted = {start.isoformat() for start in starts_of(period, days)}
        keys = sorted(wanted.intersection(lake.keys(schema)))
        table.add_row(schema.name, str(len(keys)), _told(lake, schema, keys))
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
    if told := translations_told(settings, lake):
        console.print(f"translate  {told}", highlight=False)
    console.print(f"{seconds:.1f} s. Next: `make dev` opens the Dagster UI.", highlight=False)


def _told(lake: Lake, schema: TableSchema, keys: Iterable[str | None]) -> str:
    from conversation_analytics.holdings import count_rows, rows_told  # noqa: PLC0415 - budget

    return rows_told(*count_rows(lake, schema, keys))


@cli.command()
@click.argument("sql", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "jsonl", "parquet", "markdown"]),
    help="Default: by the ending of --output, else a table on a terminal and csv in a pipe.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file, whole or not at all, instead of printing.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Rows that a table shows at most; files have all.",
)
@click.option("--raw", is_flag=True, help="CSV: leave text that a spreadsheet would run as it is.")
@click.option("--tables", is_flag=True, help="List the views, as without SQL.")
@click.option(
    "--metric",
    metavar="NAME",
    help="Instead of SQL: the conversations behind a figure of a report, of --from to --to.",
)
@click.option("--from", "first", callback=_optional_day, metavar="DAY", help="Its first day.")
@click.option("--to", "last", callback=_optional_day, metavar="DAY", help="Its last day [--from].")
@click.option("--app", help="Its app; '' is no app. Without: all apps.")
@click.option("--model", help="Its provider/model; '' is no model. Without: all models.")
@click.option("--currency", help="Its currency; '' is none. Without: all, one below the other.")
@click.option("--print-sql", is_flag=True, help="Print the statement of --metric and run nothing.")
def query(
    sql: str | None,
    form: str | None,
    output: Path | None,
    limit: int,
    *,
    raw: bool,
    tables: bool,
    metric: str | None,
    first: dt.date | None,
    last: dt.date | None,
    app: str | None,
    model: str | None,
    currency: str | None,
    print_sql: bool,
) -> None:
    """Ask the lake: one SQL statement of DuckDB that reads, with a view for each table.

    Without SQL: the views there are. `-` reads the statement from standard input. Bounds on
    partition_day decide which days are opened at all.
    Example: conversation-analytics query "SELECT partition_day, count(*) FROM messages GROUP BY 1"
    Example: conversation-analytics query --metric error_rate --from 2026-11-16 --to 2026-11-22
    """
    if sql is not None and tables:
        raise click.UsageError("--tables lists the views and takes no SQL")
    if sql == "-":
        sql = _typed_sql()
    figure = (first, last, app, model, currency)
    if metric is not None:
        if sql is not None or tables:
            raise click.UsageError("--metric makes its own SQL: leave out the SQL and --tables")
        sql = _drill_down(metric, *figure)
    elif print_sql or any(one is not None for one in figure):
        raise click.UsageError(
            "--from, --to, --app, --model, --currency and --print-sql take --metric; in SQL write "
            "WHERE partition_day BETWEEN ... AND ..."
        )
    if print_sql:
        click.echo(sql)
    else:
        _ask(sql, form, output, limit, raw=raw)


def _ask(sql: str | None, form: str | None, output: Path | None, limit: int, *, raw: bool) -> None:
    from conversation_analytics.lake.sql import open_sql  # noqa: PLC0415 - import budget
    from conversation_analytics.resources.connections import open_lake  # noqa: PLC0415

    form = form or _format_of(output)
    if form == "table" and output is not None:
        raise click.UsageError("--output takes a format for files: csv, json, jsonl, parquet, ...")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet on a terminal is noise: give --output FILE")
    try:
        with open_sql(open_lake(_settings())) as lake_sql:
            rows = lake_sql.overview() if sql is None else lake_sql.query(sql)
            if form != "table":
                _write_query(rows, form, output, raw=raw)
            elif sql is None:
                _print_views(rows)
            else:
                _print_table(rows, limit, functools.partial(lake_sql.count, sql))
    except KeyboardInterrupt:
        # One step of a query may hear nothing for minutes, and a usual exit waits for it.
        click.echo(_INTERRUPTED, err=True)
        os._exit(_EXIT_INTERRUPTED)


def _drill_down(
    name: str,
    first: dt.date | None,
    last: dt.date | None,
    app: str | None,
    model: str | None,
    currency: str | None,
) -> str:
    """Return the SQL of the conversations behind a figure."""
    import difflib  # noqa: PLC0415 - import budget

    from conversation_analytics.core.drill_down import conversations_sql  # noqa: PLC0415
    from conversation_analytics.core.metrics import METRICS_BY_NAME  # noqa: PLC0415

    if name not in METRICS_BY_NAME:
        _settings()  # which may name packages with metrics of their own
    if (metric := METRICS_BY_NAME.get(name)) is None:
        close = difflib.get_close_matches(name.lower().replace("-", "_"), METRICS_BY_NAME)
        meant = f"meant {' or '.join(close)}? " if close else ""
        raise click.UsageError(f"no metric {name!r}; {meant}There are {', '.join(METRICS_BY_NAME)}")
    if first is None:
        raise click.UsageError("--metric takes the days of the figure: --from DAY and --to DAY")
    return conversations_sql(
        metric, start=first, end=last or first, app_id=app, model=model, currency=currency
    )


_ENDINGS = {
    ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".parquet": "parquet", ".md": "markdown",
}  # fmt: skip


def _typed_sql() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError("SQL from standard input: expected UTF-8 text") from error


def _format_of(output: Path | None) -> str:
    if output is None:
        return "table" if sys.stdout.isatty() else "csv"
    if (form := _ENDINGS.get(output.suffix.lower())) is None:
        raise click.UsageError(
            f"--output {output.name}: expected a name with {', '.join(_ENDINGS)}, or --format"
        )
    return form


def _print_table(rows: Rows, limit: int, total: Callable[[], int]) -> None:
    """Print the first rows and how many there are."""
    from rich.console import Console  # noqa: PLC0415 - import budget

    from conversation_analytics.reports.rows import show_rows  # noqa: PLC0415

    shown, more = show_rows(rows.schema, rows.batches, Console(), limit)
    if more:
        click.echo(f"{total():,} rows, the first {shown:,} shown (--limit)")
    else:
        click.echo(f"{shown:,} row{'' if shown == 1 else 's'}")


def _print_views(rows: Rows) -> None:
    """Print each view with what it holds, and its columns below."""
    indent = "    "
    width = max(40, shutil.get_terminal_size().columns)
    for view in (row for batch in rows.batches for row in batch.to_pylist()):
        held = f"{view['rows']:,} row{'' if view['rows'] == 1 else 's'}"
        if view["days"]:
            held += f", {view['days']} days, {view['first_day']} to {view['last_day']}"
        click.echo(f"{view['view']}: {held}")
        click.echo(
            textwrap.fill(
                view["columns"], width, initial_indent=indent, subsequent_indent=indent,
                break_long_words=False, break_on_hyphens=False,
            )
        )  # fmt: skip


def _write_query(rows: Rows, form: str, output: Path | None, *, raw: bool) -> None:
    from conversation_analytics.reports.rows import FILE_FORMATS, write_rows  # noqa: PLC0415

    form_of_file = next(one for one in FILE_FORMATS if one == form)
    with _replaced(output) if output else contextlib.nullcontext(sys.stdout.buffer) as sink:
        write_rows(form_of_file, rows.schema, rows.batches, sink, raw=raw)
        sink.flush()


@contextlib.contextmanager
def _replaced(output: Path) -> Iterator[BinaryIO]:
    """Give a file beside `output` that takes its place at the end, or leaves no trace."""
    target = output.resolve()
    if target.exists() and not target.is_file():  # a pipe or a device is written as it is
        with target.open("wb") as sink:
            yield sink
        return
    from conversation_analytics.exports.files import new_file  # noqa: PLC0415 - import budget

    with new_file(target, overwrite=True) as sink:
        yield sink


if __name__ == "__main__":
    main()
