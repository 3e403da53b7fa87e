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
    changed_days,
    differing,
    is_unfinished,
    next_cursor,
    suspects,
    watched_rows,
)
from conversation_analytics.core.landing import GonePolicy, land
from conversation_analytics.core.schemas import INSTANT, MESSAGES, RAW_MESSAGES
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.windows import day_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

UTC = ZoneInfo("UTC")
# Before midnight: answers come on the day after that of their turn.
BEGIN = dt.datetime(2026, 11, 10, 22, 30, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
LAG, SETTLE = 10 * MINUTE, dt.timedelta(seconds=30)
ROWS_A_ROUND = 5
SHOWN = {
    "id": pl.String(), "created_at": INSTANT, "changed_at": INSTANT, "fingerprint": pl.String(),
}  # fmt: skip


class Simulation:
    """A table of a source, the raw zone made of it, and looks at it once a minute.

    Attributes:
        created: when each row was created.
        changed: what each row's `updated_at` says.
        answers: what each row holds.
        stored: how often each row was written in another state than before.
        runs: how many runs were started.
    """

    def __init__(self, table: SourceTable) -> None:
        self.created: dict[str, dt.datetime] = {}
        self.changed: dict[str, dt.datetime] = {}
        self.answers: dict[str, str] = {}
        self.stored: Counter[str] = Counter()
        self.runs = 0
        self._table = table
        self._raw: dict[dt.date | None, pl.DataFrame] = {}
        self._cursor = Cursor(BEGIN)

    def add(self, row_id: str, created: dt.datetime, answer: str) -> None:
        self.created[row_id] = self.changed[row_id] = created
        self.answers[row_id] = answer

    def held(self) -> dict[str, str]:
        """Return the answer of each row, as the raw zone holds it."""
        frames = [self._partition(None), *self._raw.values()]
        return dict(pl.concat(frames).select("id", "payload").iter_rows())

    def look(self, now: dt.datetime) -> None:
        """Look as the sensor does, and run the days it asks for."""
        since = self._cursor.watermark - LAG
        shown = pl.DataFrame(
            [
                (row_id, created, self.changed[row_id], self._fingerprint(row_id))
                for row_id, created in self.created.items()
                if max(created, self.changed[row_id]) >= since
            ],
            schema=SHOWN, orient="row",
        )  # fmt: skip
        found = suspects(
            self._table, shown, self._partition, same=self._cursor.same, zone=UTC,
            first_day=BEGIN.date(), settled_before=now - SETTLE, now=now,
        )  # fmt: skip
        doubtful = {row.name: row for row in found.doubtful}
        if self._table is SourceTable.MESSAGES:
            for row in watched_rows(self._table, self._unfinished(), UTC):
                doubtful.setdefault(row.name, row)
        asked = self._read([row.id for row in doubtful.values()])
        changed = differing(doubtful.values(), asked, self._partition, gone_differs=True)
        names = {row.name for row in changed}
        whole = changed | set(found.absent)
        same = [*found.same, *(row for row in found.doubtful if row.name not in names)]
        self._cursor = next_cursor(
            self._cursor, [shown], whole, same, settled_before=now - SETTLE, lag=LAG
        )
        for day in changed_days(whole):
            assert day.day is not None
            self._run(day.day)

    def _fingerprint(self, row_id: str) -> str:
        # The small columns tell nothing of the answer: the worst case.
        return f"{self.changed[row_id]}"

    def _read(self, ids: Sequence[str]) -> pl.DataFrame:
        rows = []
        for row_id in ids:
            answer, fingerprint = self.answers[row_id], self._fingerprint(row_id)
            sha256 = f"{answer} {fingerprint}"
            rows.append((row_id, self.created[row_id], answer, sha256, answer, fingerprint, False))
        return pl.DataFrame(rows, schema=RAW_MESSAGES.polars, orient="row")

    def _partition(self, day: dt.date | None) -> pl.DataFrame:
        return self._raw.get(day, self._read([]))

    def _unfinished(self) -> pl.DataFrame:
        rows = [
            {"id": row_id, "created_at": self.created[row_id], "answer": answer, "status": "normal"}
            for row_id, answer in self.held().items()
        ]
        return pl.DataFrame(rows, schema=MESSAGES.polars).filter(is_unfinished())

    def _run(self, day: dt.date) -> None:
        window = day_window(day, UTC)
        ids = [i for i, created in self.created.items() if window.start <= created < window.end]
        landing = land(
            self._read(ids), self._raw.get(day), window=window, policy=GonePolicy.FLAG,
            find=self._read, held_elsewhere=lambda _: frozenset(),
        )  # fmt: skip
        before = set(self._partition(day).select("id", "sha256").iter_rows())
        after = set(landing.frame.select("id", "sha256").iter_rows())
        self.stored.update(row_id for row_id, _ in after - before)
        self._raw[day] = landing.frame
        self.runs += 1


def test_answers_filled_in_late_without_a_trace_are_found(ledger: Ledger, rounds: int) -> None:
    tally = ledger.tally("answers filled in 5 s to 2 h later, `updated_at` and counts unchanged")
    chance = random.Random(3)
    simulation = Simulation(SourceTable.MESSAGES)
    turns = {}
    for number in range(ROWS_A_ROUND * rounds):
        created = BEGIN + dt.timedelta(seconds=chance.randint(0, 3600))
        turns[f"m{number}"] = (created, created + dt.timedelta(seconds=chance.randint(5, 7200)))
    for minute in range(200):
        now = BEGIN + minute * MINUTE
        for row_id, (created, filled) in turns.items():
            if created <= now and row_id not in simulation.created:
                simulation.add(row_id, created, "")
            if filled <= now:
                simulation.answers[row_id] = "done"
        simulation.look(now)
    held = simulation.held()
    tally.tries += len(turns)
    tally.lost += sum(held.get(row_id) != "done" for row_id in turns)
    tally.repeated += sum(times > 2 for times in simulation.stored.values())
    assert (tally.lost, tally.repeated) == (0, 0)
    tally.outcome = "each is held in its final state, stored twice at most"


def test_times_that_move_without_a_change_rewrite_nothing(ledger: Ledger, rounds: int) -> None:
    tally = ledger.tally("conversations whose `updated_at` moves, and nothing else")
    chance = random.Random(4)
    simulation = Simulation(SourceTable.CONVERSATIONS)
    for number in range(ROWS_A_ROUND * rounds):
        simulation.add(f"c{number}", BEGIN, "done")
    simulation.look(BEGIN + MINUTE)
    assert simulation.runs == 1
    for minute in range(2, 80):
        now = BEGIN + minute * MINUTE
        touched = chance.sample(sorted(simulation.created), ROWS_A_ROUND)
        for row_id in touched:
            simulation.changed[row_id] = now - 2 * SETTLE
        tally.tries += len(touched)
        if minute == 40:
            # Its run reads the others again, with the times they have by now.
            simulation.add("new", now - 2 * SETTLE, "done")
        simulation.look(now)
    tally.repeated += sum(times > 1 for times in simulation.stored.values())
    assert simulation.stored.keys() == simulation.created.keys()
    assert (simulation.runs, tally.repeated) == (2, 0)
    tally.outcome = "no run is started; a run for another reason stores none of them again"
