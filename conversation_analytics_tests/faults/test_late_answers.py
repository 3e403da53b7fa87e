"""Answers filled in without a trace, and conversations touched without a change."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from conversation_analytics.core.changes import (
    Cursor,
    SeenRow,
    changed_days,
    differing,
    is_unfinished,
    next_cursor,
    suspects,
    watched_rows,
)
from conversation_analytics.core.schemas import INSTANT, MESSAGES
from conversation_analytics.core.source import SourceTable

if TYPE_CHECKING:
    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = pytest.mark.chaos

UTC = ZoneInfo("UTC")
BEGIN = dt.datetime(2026, 11, 10, 22, 30, tzinfo=dt.UTC)
LAG, SETTLE = dt.timedelta(minutes=10), dt.timedelta(seconds=30)
SHOWN = {
    "id": pl.String(), "created_at": INSTANT, "changed_at": INSTANT, "fingerprint": pl.String(),
}  # fmt: skip
HELD = pl.Schema({"id": pl.String(), "content_sha256": pl.String(), "fingerprint": pl.String()})


class Simulation:
    """A source of turns, the raw zone made of it, and looks at one a minute."""

    def __init__(self) -> None:
        self.created: dict[str, dt.datetime] = {}
        self.changed: dict[str, dt.datetime] = {}
        self.answers: dict[str, str] = {}
        self.held: dict[str, tuple[str, str]] = {}
        self.stored: Counter[str] = Counter()
        self.runs = 0
        self.cursor = Cursor(BEGIN)

    def fingerprint(self, row_id: str) -> str:
        # The small columns tell nothing of the answer: the worst case.
        return f"{self.changed[row_id]}"

    def partition(self, day: dt.date | None) -> pl.DataFrame:
        rows = [(i, a, f) for i, (a, f) in self.held.items() if self.created[i].date() == day]
        return pl.DataFrame(rows, schema=HELD, orient="row")

    def unfinished(self) -> pl.DataFrame:
        rows = [
            {"id": i, "created_at": self.created[i], "answer": answer, "status": "normal"}
            for i, (answer, _) in self.held.items()
        ]
        return pl.DataFrame(rows, schema=MESSAGES.polars).filter(is_unfinished())

    def look(self, now: dt.datetime) -> None:
        """Look as the sensor does, and run the days it asks for."""
        since = self.cursor.watermark - LAG
        shown = pl.DataFrame(
            [
                (i, self.created[i], self.changed[i], self.fingerprint(i))
                for i in self.created
                if max(self.created[i], self.changed[i]) >= since
            ],
            schema=SHOWN, orient="row",
        )  # fmt: skip
        found = suspects(
            SourceTable.MESSAGES, shown, self.partition, same=self.cursor.same, zone=UTC,
            first_day=BEGIN.date(), settled_before=now - SETTLE, now=now,
        )  # fmt: skip
        doubtful = {row.name: row for row in found.doubtful}
        for row in watched_rows(SourceTable.MESSAGES, self.unfinished(), UTC):
            doubtful.setdefault(row.name, row)
        asked = pl.DataFrame(
            [(row.id, self.answers[row.id], "") for row in doubtful.values()],
            schema=HELD, orient="row",
        )  # fmt: skip
        changed = differing(doubtful.values(), asked, self.partition, gone_differs=True)
        whole: set[SeenRow] = set(changed) | set(found.absent)
        same = [*found.same, *(row for row in found.doubtful if row not in changed)]
        self.cursor = next_cursor(
            self.cursor, [shown], whole, same, settled_before=now - SETTLE, lag=LAG
        )
        for day in changed_days(whole):
            self.runs += 1
            for i, created in self.created.items():
                # Landing leaves a row alone whose content is as it was.
                as_held = i in self.held and self.held[i][0] == self.answers[i]
                if created.date() == day.day and not as_held:
                    self.stored[i] += 1
                    self.held[i] = (self.answers[i], self.fingerprint(i))


def test_answers_filled_in_late_without_a_trace_are_found(ledger: Ledger, rounds: int) -> None:
    tally = ledger.tally("answers filled in 5 s to 2 h later, `updated_at` and counts unchanged")
    chance = random.Random(3)
    simulation = Simulation()
    filled: dict[str, dt.datetime] = {}
    for number in range(5 * rounds):
        row_id = f"m{number}"
        created = BEGIN + dt.timedelta(seconds=chance.randint(0, 3600))
        simulation.created[row_id] = simulation.changed[row_id] = created
        simulation.answers[row_id] = ""
        filled[row_id] = created + dt.timedelta(seconds=chance.randint(5, 7200))
    everything = dict(simulation.created)
    simulation.created = {}
    for minute in range(200):
        now = BEGIN + dt.timedelta(minutes=minute)
        simulation.created = {i: at for i, at in everything.items() if at <= now}
        for row_id in simulation.created:
            if filled[row_id] <= now:
                simulation.answers[row_id] = "done"
        simulation.look(now)
    tally.tries += len(everything)
    tally.lost += sum(simulation.held.get(i, ("", ""))[0] != "done" for i in everything)
    tally.repeated += sum(times > 2 for times in simulation.stored.values())
    assert (tally.lost, tally.repeated) == (0, 0)
    tally.outcome = "each is held in its final state, stored twice at most"


def test_times_that_move_without_a_change_rewrite_nothing(ledger: Ledger, rounds: int) -> None:
    tally = ledger.tally("`updated_at` moves every minute, nothing else")
    chance = random.Random(4)
    simulation = Simulation()
    for number in range(5 * rounds):
        row_id = f"m{number}"
        simulation.created[row_id] = simulation.changed[row_id] = BEGIN
        simulation.answers[row_id] = "done"
    simulation.look(BEGIN + dt.timedelta(minutes=1))
    runs, touched = simulation.runs, 0
    for minute in range(2, 100):
        now = BEGIN + dt.timedelta(minutes=minute)
        for row_id in chance.sample(sorted(simulation.created), 5):
            simulation.changed[row_id] = now - dt.timedelta(seconds=40)
            touched += 1
        simulation.look(now)
    tally.tries += touched
    tally.repeated += sum(times > 1 for times in simulation.stored.values())
    assert simulation.stored.keys() == simulation.created.keys()
    assert (simulation.runs, tally.repeated) == (runs, 0)
    tally.outcome = "no run is started, no row is stored again"
