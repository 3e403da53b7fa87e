"""Days of 23 and 25 hours, and clocks that are ten minutes apart."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.core.changes import (
    Cursor,
    SeenRow,
    changed_days,
    next_cursor,
    suspects,
)
from conversation_analytics.core.schemas import INSTANT
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.windows import day_window, local_day
from conversation_analytics.resources.connections import open_source
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.faults.exactly_once import Payloads, compare_zones
from conversation_analytics_tests.faults.ledger import chaos_rounds
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

SHOWN = {
    "id": pl.String(), "created_at": INSTANT, "changed_at": INSTANT, "fingerprint": pl.String(),
}  # fmt: skip
BEGIN = dt.datetime(2026, 11, 10, 23, 30, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
SETTLE, LAG = dt.timedelta(seconds=30), dt.timedelta(hours=1)
EXAMPLES_A_ROUND = 4
UTC = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("zone", "days", "hours"),
    [
        ("Europe/Berlin", ("2026-03-29", "2026-03-30"), [23, 24]),
        ("Europe/Berlin", ("2026-10-25", "2026-10-26"), [25, 24]),
        # The clock goes forward at midnight: the day begins at 01:00.
        ("Africa/Cairo", ("2026-04-24", "2026-04-25"), [23, 24]),
        # The clock goes back at midnight: the hour before it comes twice.
        ("Africa/Cairo", ("2026-10-29", "2026-10-30"), [25, 24]),
    ],
)
def test_days_of_23_and_25_hours_hold_each_row_once(
    tmp_path: Path, ledger: Ledger, zone: str, days: tuple[str, str], hours: list[int]
) -> None:
    tally = ledger.tally("days of 23 and 25 hours")
    values = parse_settings(
        {
            "PARQUET_BASE_DIR": str(tmp_path / "lake"),
            "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
            "ANALYTICS_TIMEZONE": zone,
            "ANALYTICS_START_DATE": days[0],
            "SAMPLE_TURNS_PER_DAY": "60",
        }
    )
    windows = [day_window(dt.date.fromisoformat(day), ZoneInfo(zone)) for day in days]
    assert [(w.end - w.start) / dt.timedelta(hours=1) for w in windows] == hours
    wanted: dict[SourceTable, Payloads] = {}
    with closing(open_source(values)) as source:
        for table in SourceTable:
            # As one window: no edge between two days could lose a row here.
            rows = source.read_window(table, windows[0].start, windows[-1].end)
            wanted[table] = dict(rows.select("id", "payload").iter_rows())
    assert len(wanted[SourceTable.MESSAGES]) > 60
    assert run_job(values, "daily", days[0], days[-1]).success
    tally.tries += 1
    verdict = compare_zones(values, days, wanted)
    tally.add(verdict)
    verdict.require_nothing()
    tally.outcome = "each row in the one day that its local time names"


@dataclass
class Held:
    """The raw zone in memory: what runs have stored, and what they have stored twice."""

    rows: dict[dt.date, dict[str, str]] = field(default_factory=dict)
    stored: Counter[str] = field(default_factory=Counter)

    def partition(self, day: dt.date | None) -> pl.DataFrame:
        assert day is not None
        rows = list(self.rows.get(day, {}).items())
        return pl.DataFrame(
            rows, schema={"id": pl.String(), "fingerprint": pl.String()}, orient="row"
        )


def look(
    held: Held, cursor: Cursor, shown: list[tuple[str, dt.datetime]], now: dt.datetime
) -> tuple[Cursor, set[SeenRow]]:
    """One look of the sensor, at the platform's time `now`."""
    since = cursor.watermark - LAG
    frame = pl.DataFrame(
        [(row_id, at, at, "f") for row_id, at in shown if at >= since], schema=SHOWN, orient="row"
    )
    found = suspects(
        SourceTable.MESSAGES, frame, held.partition, same=cursor.same, zone=UTC,
        first_day=BEGIN.date(), settled_before=now - SETTLE, now=now,
    )  # fmt: skip
    assert not found.doubtful
    different = set(found.absent)
    moved = next_cursor(
        cursor, [frame], different, found.same, settled_before=now - SETTLE, lag=LAG
    )
    return moved, different


@settings(max_examples=EXAMPLES_A_ROUND * chaos_rounds())
@given(
    apart_s=st.integers(-600, 600),
    # When a row is committed, and how much earlier the source says it was created.
    rows=st.lists(st.tuples(st.integers(0, 3600), st.integers(0, 120)), min_size=1, max_size=12),
    failing=st.sets(st.integers(0, 130)),
)
def test_clocks_ten_minutes_apart_lose_no_row(
    ledger: Ledger, apart_s: int, rows: list[tuple[int, int]], failing: set[int]
) -> None:
    tally = ledger.tally("clocks of source and platform up to ten minutes apart")
    apart = dt.timedelta(seconds=apart_s)
    committed = {
        f"m{number}": (
            BEGIN + dt.timedelta(seconds=at),
            BEGIN + dt.timedelta(seconds=at - late) + apart,
        )
        for number, (at, late) in enumerate(rows)
    }
    held, cursor = Held(), Cursor(BEGIN)
    for minute in range(140):
        now = BEGIN + minute * MINUTE
        shown = [(i, created) for i, (at, created) in committed.items() if at <= now]
        cursor, different = look(held, cursor, shown, now)
        if minute in failing:
            continue  # the run is lost: nothing is stored
        for changed in changed_days(different):
            assert changed.day is not None
            partition = {
                row_id: "f" for row_id, created in shown if local_day(created, UTC) == changed.day
            }
            held.stored.update(partition.keys() - held.rows.get(changed.day, {}).keys())
            held.rows[changed.day] = partition
    tally.tries += 1
    lost = committed.keys() - held.stored.keys()
    repeated = [row_id for row_id, times in held.stored.items() if times > 1]
    tally.lost += len(lost)
    tally.repeated += len(repeated)
    assert (sorted(lost), repeated) == ([], [])
    tally.outcome = "every row is found, also where runs fail on the way"


@given(
    zone=st.sampled_from(
        ["Europe/Berlin", "Africa/Cairo", "America/Havana", "America/Santiago", "Asia/Beirut",
         "Atlantic/Azores", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
    ).map(ZoneInfo),
    instant=st.datetimes(
        dt.datetime(2025, 1, 1), dt.datetime(2027, 12, 31), timezones=st.just(dt.UTC)  # noqa: DTZ001 - hypothesis wants them naive
    ),
)  # fmt: skip
def test_every_instant_lies_in_the_window_of_its_day_alone(
    zone: ZoneInfo, instant: dt.datetime
) -> None:
    day = local_day(instant, zone)
    around = [day + dt.timedelta(days=offset) for offset in (-1, 0, 1)]
    windows = [day_window(one, zone) for one in around]
    assert [w.start <= instant < w.end for w in windows] == [False, True, False]
