"""`python -m conversation_analytics.stack`: the real servers, filled with sample rows."""

from __future__ import annotations

import datetime as dt
import logging
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Console
from rich.table import Table

from conversation_analytics.sample.traffic import SampleTraffic
from conversation_analytics.stack.errors import StackStartError, StackUnavailableError
from conversation_analytics.stack.local import LocalStack, running_stack, write_environment

if TYPE_CHECKING:
    from types import FrameType


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    # A second Ctrl-C would break off the stop, which ends by itself: 15 s a server at most.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _show(console: Console, stack: LocalStack, environment_file: Path) -> None:
    table = Table()
    for heading in ("server", "address", "pid", "data"):
        table.add_column(heading, overflow="fold")
    for server in stack.servers:
        table.add_row(server.name, server.address, str(server.pid), str(server.data_dir))
    console.print(table)
    for name, count in stack.rows_loaded.items():
        console.print(f"{count} rows loaded into {name}")
    console.print(f"Settings, with credentials: {environment_file}")
    if environment_file.name != ".env":
        console.print(
            "Your .env is left alone: use `--force` to replace it, or copy what you want from there"
        )


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/stack"),
    show_default=True,
    help="Folder of all servers; kept, so that the next start finds its data again.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=7,
    show_default=True,
    help="Complete days of sample rows up to yesterday (UTC); later starts add the new days.",
)
@click.option(
    "--turns-per-day",
    type=click.IntRange(1, 1_000_000),
    default=400,
    show_default=True,
    help="Turns of an average day.",
)
@click.option("--no-nocodb", is_flag=True, help="MongoDB and S3 only; the source is the sample.")
@click.option("--force", is_flag=True, help="Replace .env instead of writing .env.stack.")
def main(data_dir: Path, days: int, turns_per_day: int, *, no_nocodb: bool, force: bool) -> None:
    """Start the real servers on loopback, write settings for them, stop them on Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    console = Console(soft_wrap=True, highlight=False)
    traffic = SampleTraffic(seed=7, turns_per_day=turns_per_day)
    today = dt.datetime.now(tz=dt.UTC).date()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may start us with SIGINT ignored
        signal.signal(number, _stop)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # else `nohup` wants us to stay
        signal.signal(signal.SIGHUP, _stop)
    try:
        with running_stack(
            data_dir,
            days=[today - dt.timedelta(days=back) for back in range(days, 0, -1)],
            rows={
                "conversations": traffic.conversations,
                "messages": traffic.messages,
                "message_feedbacks": traffic.feedbacks,
            },
            undated={
                "conversations": traffic.undated_conversations(),
                "messages": traffic.undated_messages(),
            },
            with_nocodb=not no_nocodb,
        ) as stack:
            environment_file = write_environment(stack.environment, Path.cwd(), force=force)
            _show(console, stack, environment_file)
            console.print("Running until Ctrl-C")
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopped; the data is kept")
    except (StackUnavailableError, StackStartError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
