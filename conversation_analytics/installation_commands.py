"""The commands `check`, `status` and `completion`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.logs import configure_logs
from conversation_analytics.settings import load_settings

if TYPE_CHECKING:
    from conversation_analytics.core.findings import Finding
    from conversation_analytics.holdings import Holding
    from conversation_analytics.lake.store import Lake
    from conversation_analytics.settings import Settings

_ENV_FILE = Path(".env")
_EXIT_FAILED = 1
_EXIT_WRONG_SETTINGS = 2
_MARKS = {"ok": ("ok   ", "green"), "warn": ("warn ", "yellow"), "fail": ("FAIL ", "red")}
_PROGRAM = "conversation-analytics"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
def check(*, as_json: bool) -> None:
    """Look at the whole installation; say what is wrong and how to mend it.

    Settings, versions, source with its tables and columns, lake, documents, translator, rights,
    clocks, disks, Dagster's daemon. Nothing is changed.

    Exit code 0: everything works, or only warns. 1: something does not. 2: a setting is wrong.

    Example: conversation-analytics check

    Example: conversation-analytics check --json | jq '.findings[] | select(.state != "ok")'
    """
    from conversation_analytics.core.findings import Finding, worst  # noqa: PLC0415 - budget
    from conversation_analytics.installation import findings  # noqa: PLC0415

    found: list[Finding] = []
    try:
        settings = load_settings(os.environ, _ENV_FILE)
        configure_logs(settings)
        for one in findings(settings, _ENV_FILE):
            found.append(one)
            if not as_json:
                mark, colour = _MARKS[one.state]
                click.echo(f"{click.style(mark, fg=colour)} {one.text}")
    except SettingsError as error:
        if not as_json:
            raise
        found.append(Finding("settings", "fail", str(error)))
        _print_findings(found)
        sys.exit(_EXIT_WRONG_SETTINGS)
    if as_json:
        _print_findings(found)
    if worst(found) == "fail":
        sys.exit(_EXIT_FAILED)


def _print_findings(found: list[Finding]) -> None:
    from conversation_analytics.core.findings import worst  # noqa: PLC0415 - import budget

    told = {
        "version": importlib.metadata.version(_PROGRAM),
        "state": worst(found),
        "findings": [dataclasses.asdict(one) for one in found],
    }
    click.echo(json.dumps(told, indent=1))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
def status(*, as_json: bool) -> None:
    """Show per table which days, weeks and months the lake holds, the gaps, and dead letters.

    Example: conversation-analytics status

    Example: conversation-analytics status --json | jq '.tables[] | select(.missing > 0).table'
    """
    from conversation_analytics.holdings import (  # noqa: PLC0415 - import budget
        count_dead_letters,
        holdings,
        waiting_translations,
    )
    from conversation_analytics.resources.connections import open_lake  # noqa: PLC0415

    settings = load_settings(os.environ, _ENV_FILE)
    configure_logs(settings)
    lake = open_lake(settings)
    if as_json:
        rows, days = waiting_translations(lake)
        told = {
            "tables": [dataclasses.asdict(one) for one in holdings(lake)],
            "dead_letters": count_dead_letters(lake),
            "translations_waiting": {"rows": rows, "days": days},
        }
        click.echo(json.dumps(told, indent=1))
        return
    held = list(holdings(lake))
    _print_holdings([one for one in held if not one.empty])
    if none := [one.table for one in held if one.empty]:
        click.echo(click.wrap_text(f"none yet: {', '.join(none)}", _width(), "", "  "))
    click.echo(f"dead letters: {count_dead_letters(lake)}")
    click.echo(f"translations: {translations_told(settings, lake) or 'none waits'}")
    click.echo("What is missing or stale: conversation-analytics repair --dry-run")


def _width() -> int:
    import shutil  # noqa: PLC0415 - import budget

    return max(40, shutil.get_terminal_size().columns)


def _print_holdings(held: list[Holding]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - import budget
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    # Fits 80 columns: nobody should have to put a table's name together again.
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
    table.add_column("table", overflow="fold")
    for name in ("parts", "first", "last", "gaps", "rows"):
        table.add_column(name, justify="left" if name in ("first", "last") else "right")
    for one in held:
        whole = one.partitions is None
        table.add_row(
            one.table, "-" if whole else str(one.partitions), one.first or "-", one.last or "-",
            "-" if whole else str(one.missing), one.rows_told,
        )  # fmt: skip
    Console().print(table)


def translations_told(settings: Settings, lake: Lake) -> str:
    """Say what keeps messages from being translated; nothing where nothing does."""
    from conversation_analytics.holdings import waiting_translations  # noqa: PLC0415 - budget

    if not settings.translator_kind:
        return "skipped: no translator is configured (TRANSLATOR_URL)"
    rows, days = waiting_translations(lake)
    if not days:
        return ""
    return (
        f"{rows:,} rows of {days} days wait: the sensor repair_stale or "
        "`conversation-analytics repair` goes on with them"
    )


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes the shell complete commands and options.

    Example: conversation-analytics completion bash >> ~/.bashrc

    Example: conversation-analytics completion fish | source
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - import budget

    maker = get_completion_class(shell)
    if maker is None:
        raise click.UsageError(f"Click knows no completion for {shell}")
    root = context.find_root()
    variable = f"_{_PROGRAM.replace('-', '_').upper()}_COMPLETE"
    click.echo(maker(root.command, {}, _PROGRAM, variable).source())


COMMANDS = (check, completion, status)
