"""The command `conversation-analytics export`."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conversation_analytics.logs import configure_logs
from conversation_analytics.settings import load_settings

if TYPE_CHECKING:
    import datetime as dt

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.exports.selection import Selection
    from conversation_analytics.lake.sql import LakeSql
    from conversation_analytics.lake.store import Lake

_EXIT_INTERRUPTED = 130
_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.command()
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["parquet", "csv", "jsonl", "convokit"]),
    help="jsonl without --table, and convokit: conversations with their turns.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The file, or the folder of a ConvoKit corpus: whole, or not at all.",
)
@click.option("--table", metavar="NAME", help="A table of docs/data-dictionary.md.")
@click.option("--from", "first", type=_DAY, metavar="DAY", help="First day [the first one held].")
@click.option("--to", "last", type=_DAY, metavar="DAY", help="Last day [the last one held].")
@click.option("--app", help="Of this app alone, by its id; '' is no app. Without: all apps.")
@click.option("--overwrite", is_flag=True, help="Replace what --out names.")
def export(
    form: str,
    out: Path,
    table: str | None,
    first: dt.datetime | None,
    last: dt.datetime | None,
    app: str | None,
    *,
    overwrite: bool,
) -> None:
    """Write rows of the lake into a file, or conversations for other tools.

    The same lake gives the same bytes. What is pseudonymous in the lake stays so.

    Example: conversation-analytics export --format csv --table messages --out messages.csv

    Example: conversation-analytics export --format convokit --from 2026-11-16 --out corpus
    """
    if first and last and last < first:
        raise click.UsageError(f"{last:%Y-%m-%d} is before {first:%Y-%m-%d}: first day first")
    schema = _table(form, table)
    settings = load_settings(os.environ, Path(".env"))
    configure_logs(settings)
    from conversation_analytics.exports.selection import LIMITS, Selection  # noqa: PLC0415
    from conversation_analytics.lake.sql import open_sql  # noqa: PLC0415 - import budget
    from conversation_analytics.resources.connections import open_lake  # noqa: PLC0415

    selection = Selection(first and first.date(), last and last.date(), app)
    lake = open_lake(settings)
    try:
        with open_sql(lake, LIMITS) as sql:
            told = _write(lake, sql, schema, selection, form, out, overwrite=overwrite)
    except KeyboardInterrupt:
        # One step of a query may hear nothing for minutes, and a usual exit waits for it.
        click.echo("interrupted: nothing was written", err=True)
        os._exit(_EXIT_INTERRUPTED)
    click.echo(f"{told}: {out}")


def _table(form: str, name: str | None) -> TableSchema | None:
    from conversation_analytics.core.tables import TABLES  # noqa: PLC0415 - import budget

    if name is None:
        if form in {"csv", "parquet"}:
            raise click.UsageError(f"--format {form} takes --table NAME: rows of one table")
        return None
    if form == "convokit":
        raise click.UsageError("--format convokit is of conversations: leave out --table")
    by_name = {table.name: table for table in TABLES}
    if name not in by_name:
        close = difflib.get_close_matches(name, by_name)
        meant = f"meant {' or '.join(close)}? " if close else ""
        raise click.UsageError(f"no table {name!r}; {meant}There are {', '.join(by_name)}")
    return by_name[name]


def _write(
    lake: Lake,
    sql: LakeSql,
    table: TableSchema | None,
    selection: Selection,
    form: Any,
    out: Path,
    *,
    overwrite: bool,
) -> str:
    """Write the export; return what it holds."""
    from conversation_analytics.exports.files import new_file, new_folder  # noqa: PLC0415

    if form == "convokit":
        from conversation_analytics.exports.convokit import FILES, export_corpus  # noqa: PLC0415

        with new_folder(out, FILES, overwrite=overwrite) as folder:
            return f"{export_corpus(lake, sql, selection, folder):,} turns"
    with new_file(out, overwrite=overwrite) as sink:
        if table is None:
            from conversation_analytics.exports.conversations import (  # noqa: PLC0415
                export_conversations,
            )

            return f"{export_conversations(sql, selection, sink):,} conversations"
        from conversation_analytics.exports.tables import export_table  # noqa: PLC0415

        return f"{export_table(lake, sql, table, selection, form, sink):,} rows"
