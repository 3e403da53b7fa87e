"""kill -9 at any moment of a run from the source to the report, again and again."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import shutil
import signal
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from conversation_analytics.core import schemas
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.windows import day_window
from conversation_analytics.resources.connections import open_documents, open_lake, open_source
from conversation_analytics.sensors.run_history import RunsUnderWay, runs_under_way
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.faults.exactly_once import (
    Payloads,
    compare_zones,
    digests,
    read_one,
    require_readable,
    strays,
)
from conversation_analytics_tests.faults.killing import DONE, Aim, command

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]

DAYS = ("2026-11-09", "2026-11-10")
SMALL, LARGE = "15", "25"
SEED = 20261109
KILLS_A_ROUND = 4
MOST_DELAY_S = 0.004
KILLED = (-signal.SIGKILL, -signal.SIGALRM)


def environment(folder: Path, turns: str, home: Path) -> dict[str, str]:
    return {
        "PARQUET_BASE_DIR": str(folder / "lake"),
        "SQLITE_PATH": str(folder / "documents.sqlite"),
        "ANALYTICS_START_DATE": DAYS[0],
        "SAMPLE_TURNS_PER_DAY": turns,
        "DAGSTER_HOME": str(home),
    }


def settings_of(folder: Path, turns: str) -> Settings:
    values = environment(folder, turns, folder)
    del values["DAGSTER_HOME"]
    return parse_settings(values)


def rows_of(settings: Settings) -> dict[SourceTable, Payloads]:
    source, zone = open_source(settings), settings.analytics_timezone
    windows = [day_window(day, zone) for day in map(_date, DAYS)]
    return {
        table: {
            row_id: payload
            for window in windows
            for row_id, payload in source.read_window(table, window.start, window.end)
            .select("id", "payload")
            .iter_rows()
        }
        for table in SourceTable
    }


def _date(day: str) -> dt.date:
    return dt.date.fromisoformat(day)


def finish(folder: Path, values: dict[str, str], aim: Aim | None = None) -> float:
    """Run to the end; return how long that took."""
    started = time.monotonic()
    with command(folder, values, "backfill", DAYS[0], DAYS[-1], aim=aim) as process:
        process.join(240)
        assert process.exitcode == DONE, (folder / "printed.txt").read_text()[-2000:]
    return time.monotonic() - started


def kill_somewhere(
    folder: Path, values: dict[str, str], chance: random.Random, seconds: float
) -> bool:
    """Start a run and kill it at a random moment, reading the lake all the while.

    Returns:
        Whether it was killed; else it was done before.
    """
    deadline = time.monotonic() + chance.uniform(0.0, seconds)
    settings = settings_of(folder, values["SAMPLE_TURNS_PER_DAY"])
    with command(folder, values, "backfill", DAYS[0], DAYS[-1]) as process:
        while (left := deadline - time.monotonic()) > 0 and process.exitcode is None:
            process.join(min(left, 0.1))
            read_one(settings, chance)
        process.kill()
        process.join()
        return was_killed(folder, process.exitcode)


def kill_at_change(folder: Path, values: dict[str, str], aim: Aim) -> bool:
    """Start a run and kill it when it changes a file of the lake, or just afterwards."""
    with command(folder, values, "backfill", DAYS[0], DAYS[-1], aim=aim) as process:
        process.join(240)
        return was_killed(folder, process.exitcode)


def was_killed(folder: Path, exitcode: int | None) -> bool:
    assert exitcode in {*KILLED, DONE}, (folder / "printed.txt").read_text()[-2000:]
    return exitcode in KILLED


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What runs without a fault leave.

    Attributes:
        home: DAGSTER_HOME, kept through all the kills.
        old: folder with the days as they were before.
        expected: digests of the lake's files after the run that is to be killed.
        seconds: how long that run takes.
        changes: how many changes to files it makes.
    """

    home: Path
    old: Path
    expected: dict[str, str]
    seconds: float
    changes: int


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root = tmp_path_factory.mktemp("undisturbed")
    home, old, calm = (root / name for name in ("home", "old", "calm"))
    for folder in (old, calm):
        folder.mkdir()
    finish(old, environment(old, SMALL, home))
    seconds = finish(calm, environment(calm, LARGE, home), Aim())
    changes = int((calm / "changes.txt").read_text())
    assert changes > 100
    return Undisturbed(home, old, digests(calm / "lake"), seconds, changes)


@pytest.mark.parametrize(
    "aimed",
    [
        pytest.param(False, id="anywhere", marks=pytest.mark.slow),  # the aimed one finds more
        pytest.param(True, id="while publishing"),
    ],
)
def test_runs_that_are_killed_end_like_undisturbed_ones(
    tmp_path: Path, ledger: Ledger, kills: int, undisturbed: Undisturbed, *, aimed: bool
) -> None:
    tally = ledger.tally(
        "kill -9 as a file of the lake is written" if aimed else "kill -9 at a random moment"
    )
    chance, wanted_kills = random.Random(SEED + aimed), (kills + 1) // 2
    hit = tmp_path / "hit"
    settings, values = settings_of(hit, LARGE), environment(hit, LARGE, undisturbed.home)
    wanted = rows_of(settings)
    # Every other round begins with nothing, the rest replace what an earlier run left.
    for again in itertools.cycle((True, False)):
        if again:
            shutil.copytree(undisturbed.old, hit)
        else:
            hit.mkdir()
        changes_left, killed = undisturbed.changes, True
        for _ in range(min(KILLS_A_ROUND, wanted_kills - tally.tries)):
            if aimed:
                # What is written already is not written again: there is less to aim at.
                number = chance.randint(1, max(changes_left // 2, 1))
                changes_left -= number
                delay_s = chance.choice((0.0, chance.uniform(1e-5, MOST_DELAY_S)))
                killed = kill_at_change(hit, values, Aim(number=number, delay_s=delay_s))
            else:
                killed = kill_somewhere(hit, values, chance, undisturbed.seconds)
            tally.tries += killed
            require_readable(settings)
            if not killed:
                break
        if killed:
            finish(hit, values)
        verdict = compare_zones(settings, DAYS, wanted)
        tally.add(verdict)
        verdict.require_nothing()
        assert digests(hit / "lake") == undisturbed.expected
        assert strays(hit / "lake") == []
        if tally.tries >= wanted_kills:
            break
        shutil.rmtree(hit)
    tally.outcome = "every file as after an undisturbed run; readable at any time; no strays"


def test_a_killed_run_is_not_under_way_for_ever(
    tmp_path: Path, ledger: Ledger, undisturbed: Undisturbed
) -> None:
    tally = ledger.tally("kill -9 of a command whose days the sensor waits for")
    values = environment(tmp_path, SMALL, undisturbed.home)
    with dg.DagsterInstance.from_config(str(undisturbed.home)) as instance:
        with command(tmp_path, values, "backfill", DAYS[0], DAYS[-1]) as process:
            while not runs_under_way(instance).cover(_date(DAYS[-1]), "undated"):
                assert process.exitcode is None, (tmp_path / "printed.txt").read_text()[-2000:]
                process.join(0.1)
        tally.tries += 1
        assert process.exitcode == -signal.SIGKILL
        assert runs_under_way(instance) == RunsUnderWay((), frozenset())
    tally.outcome = "the days are free as soon as the process is gone"


def test_the_comparison_sees_a_lost_and_a_repeated_row(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = shutil.copytree(undisturbed.old, tmp_path / "old")
    settings = settings_of(folder, SMALL)
    wanted = rows_of(settings)
    compare_zones(settings, DAYS, wanted).require_nothing()
    lake = open_lake(settings)
    raw = lake.read(schemas.RAW_MESSAGES, DAYS[1])
    lake.write(schemas.RAW_MESSAGES, DAYS[1], raw[1:].vstack(raw[-1:]))
    with closing(open_documents(settings)) as store:
        kept = store.find("messages", {"day": DAYS[0]}, limit=1)
        store.replace_partition("messages", DAYS[0], kept)
    verdict = compare_zones(settings, DAYS, wanted)
    assert [line.split()[0] for line in verdict.repeated] == ["raw_messages"]
    assert {line.split()[0] for line in verdict.lost} == {"raw_messages", "message"}
    assert verdict.sums
