"""The commands `erase-user`, `unsuppress-user`, `export-user` and `retain`."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conversation_analytics.logs import configure_logs
from conversation_analytics.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics.assets.erasing_notes import Erasing
    from conversation_analytics.core.errors import AnalyticsError

_ENV_FILE = Path(".env")
_EXIT_FAILED = 1
_OWNER_ONLY = 0o600
_NONE_HELD = "no row of this id is held here"
_NO_TEXT = "the id is no UTF-8 text, which every id in the lake is: give it as the source has it"


def _settings() -> Settings:
    settings = load_settings(os.environ, _ENV_FILE)
    configure_logs(settings)
    if settings.names_extensions:
        from conversation_analytics.extensions import use_extensions  # noqa: PLC0415 - budget

        use_extensions(settings)
    return settings


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[Erasing]:
    from conversation_analytics.assets.erasing_notes import Erasing  # noqa: PLC0415 - import budget
    from conversation_analytics.resources.connections import (  # noqa: PLC0415
        open_documents,
        open_lake,
        pseudonyms_of,
    )
    from conversation_analytics.resources.pseudonym_marker import require_one_key  # noqa: PLC0415

    lake = open_lake(settings)
    require_one_key(lake, pseudonyms_of(settings))  # with another key nobody would be found
    with contextlib.closing(open_documents(settings)) as documents:
        yield Erasing(lake, documents, settings)


def _typed_id(user_id: str | None) -> str:
    """Return the id, from standard input where it is not given: it stays out of the history."""
    if user_id is None or user_id == "-":
        if sys.stdin.isatty():
            user_id = click.prompt("id of the user", hide_input=True, err=True)
        else:
            try:
                # The line ending alone: spaces may belong to the id.
                user_id = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError as error:
                raise click.UsageError(_NO_TEXT) from error
    user_id = str(user_id)
    if not user_id:
        raise click.UsageError("no id: give ID, or one line on standard input")
    try:
        user_id.encode()
    except UnicodeEncodeError as error:  # bytes of the command line that are no UTF-8
        raise click.UsageError(_NO_TEXT) from error
    return user_id


@click.command("erase-user")
@click.argument("user_id", metavar="[ID]", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and change nothing.")
@click.option("--later", is_flag=True, help="Only note it: the job erase_users carries it out.")
@click.option("--pending", "finish", is_flag=True, help="Finish what was noted or interrupted.")
def erase_user(user_id: str | None, *, dry_run: bool, later: bool, finish: bool) -> None:
    """Erase a person everywhere: lake, documents, report files; then search for them everywhere.

    ID is the user's id as the source has it; without ID, or with -, one line of standard input.
    From then on no read brings rows of them back. The proof is stored in the lake's
    erasures/proofs/. Interrupted: the same command again, or --pending, does the rest.
    Exit code 1: something of them is left, and where; the request stays then, for --pending.

    Example: conversation-analytics erase-user < id.txt
    """
    if finish and (user_id or dry_run or later):
        raise click.UsageError("--pending takes no ID and no other option")
    if dry_run and later:
        raise click.UsageError("--dry-run changes nothing, --later notes: give one of them")
    settings = _settings()
    failed: dict[str, AnalyticsError] = {}
    with _opened(settings) as work:
        from conversation_analytics.assets import erasing  # noqa: PLC0415 - import budget

        if finish:
            names = erasing.pending(work.lake)
            click.echo(f"{len(names)} erasures wait")
            proofs, failed = erasing.carry_out_each(work, names, _now)
        else:
            user = _typed_id(user_id)
            if dry_run:
                _tell_what_is_held(work, user)
                return
            name = erasing.request_erasure(work, user)
            if later:
                click.echo(f"noted as {name}: the job erase_users carries it out within the hour")
                return
            proofs = [erasing.carry_out(work, name, _now, user)]
        for proof in proofs:
            _tell(work, proof)
    for name, error in failed.items():
        click.echo(f"erasure {name} failed: {error}", err=True)
    if failed or any(proof["search"]["found"] for proof in proofs):
        sys.exit(_EXIT_FAILED)


def _tell_what_is_held(work: Erasing, user: str) -> None:
    from conversation_analytics.assets.erasing import rows_held, stored_id  # noqa: PLC0415

    days, rows = rows_held(work, stored_id(work.settings, user))
    click.echo(f"{days} days hold rows of this user; nothing was changed")
    if not rows:
        click.echo(_NONE_HELD)
    for table, count in rows.items():
        click.echo(f"{table}: {count:,} rows")


def _tell(work: Erasing, proof: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - import budget
    from rich.table import Table  # noqa: PLC0415

    from conversation_analytics.assets.erasing import proof_path  # noqa: PLC0415

    table = Table("table or collection", "before", "after")
    for part in ("rows", "documents"):
        for name, count in proof[part].items():
            table.add_row(name, f"{count['before']:,}", f"{count['after']:,}")
    for column in table.columns[1:]:
        column.justify = "right"
    if table.row_count:
        Console().print(table)
    else:
        click.echo(_NONE_HELD)
    search = proof["search"]
    click.echo(
        f"{proof['days']} days, {proof['partitions_rewritten']} partitions rewritten; aggregates "
        f"of {proof['days_recomputed']} days computed again"
    )
    if proof["days_recomputed"]:
        click.echo("weeks and months of these days follow: conversation-analytics repair")
    click.echo(f"looked for: {search['how']}")
    click.echo(
        f"searched {search['objects']:,} objects ({search['bytes']:,} bytes) and every document: "
        f"found {search['found']}"
    )
    for path in search["objects_holding"]:
        click.echo(f"  left in {path}", err=True)
    for name, count in search["documents_holding"].items():
        click.echo(f"  left in {count} documents of {name}", err=True)
    if search["found"]:
        click.echo(
            f"erasure {proof['erasure']} still waits: take out what is left, then erase-user "
            "--pending", err=True,
        )  # fmt: skip
    click.echo(f"proof {work.lake.objects.uri(proof_path(proof))}")


@click.command("unsuppress-user")
@click.argument("user_id", metavar="[ID]", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def unsuppress_user(user_id: str | None, *, dry_run: bool) -> None:
    """Take a person off the suppression list: one who was erased and consents again.

    ID as of erase-user. Rows of theirs that are read from then on come in: also those that were
    erased, if the source still has them and their day is read again. A note of it is stored in the
    lake's erasures/readmissions/.

    Example: conversation-analytics unsuppress-user < id.txt
    """
    with _opened(_settings()) as work:
        from conversation_analytics.assets import readmission  # noqa: PLC0415 - import budget

        note = readmission.readmit(work, _typed_id(user_id), _now(), dry_run=dry_run)
        if note is None:
            click.echo("this id is not on the suppression list; nothing was changed")
            return
        told = f"{note['conversations']} conversations and {sum(note['rows'].values())} rows"
        if dry_run:
            click.echo(f"would be taken off the list with {told}; nothing was changed")
            return
        click.echo(f"taken off the list with {told}: rows that are read from now on come in")
        click.echo("days that were read before: conversation-analytics backfill FIRST LAST")
        if note["without_owner"]:
            click.echo(
                f"{note['without_owner']} conversations and rows were listed by an earlier "
                "version, which did not note whose they are: they stay on the list"
            )
        click.echo(f"note {work.lake.objects.uri(readmission.readmission_path(note))}")


@click.command("export-user")
@click.argument("user_id", metavar="[ID]", required=False)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="Write this file, whole or not at all; only its owner may read it.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file that --out names.")
def export_user(user_id: str | None, out: Path, *, overwrite: bool) -> None:
    """Write all that is held of a person into one JSON file.

    ID as of erase-user. Conversations with their turns, ratings, languages and translations,
    categories, topics, counts by day, analytics, and the rows as the source served them.

    Example: conversation-analytics export-user --out person.json < id.txt
    """
    from conversation_analytics.exports.files import new_file  # noqa: PLC0415 - import budget

    with new_file(out, overwrite=overwrite, mode=_OWNER_ONLY) as sink, _opened(_settings()) as work:
        from conversation_analytics.assets.erasing import stored_id  # noqa: PLC0415
        from conversation_analytics.assets.user_export import export_text  # noqa: PLC0415
        from conversation_analytics.assets.user_export import export_user as export  # noqa: PLC0415

        document = export(work, stored_id(work.settings, _typed_id(user_id)))
        sink.write(export_text(document).encode("utf-8", "surrogatepass"))
    turns = sum(len(one["turns"]) for one in document["conversations"])
    click.echo(f"{len(document['conversations'])} conversations, {turns} turns: {out}")


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
def retain(*, dry_run: bool) -> None:
    """Remove days that are older than their zone keeps them: RETENTION_..._DAYS.

    The schedule `retain` does the same each night. Partials, reports, users and topics stay.
    Example: conversation-analytics retain --dry-run
    """
    settings = _settings()
    with _opened(settings) as work:
        from conversation_analytics.assets.retention import remove_old_days  # noqa: PLC0415

        today = _now().astimezone(settings.analytics_timezone).date()
        removals = remove_old_days(work.lake, work.documents, settings, today, dry_run=dry_run)
    for one in removals:
        size = "" if one.size_bytes is None else f", {one.size_bytes:,} bytes"
        click.echo(f"{one.name}: {len(one.keys)} partitions, {one.keys[0]} to {one.keys[-1]}{size}")
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{sum(len(one.keys) for one in removals)} partitions {verb}")


COMMANDS = (erase_user, unsuppress_user, export_user, retain)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
