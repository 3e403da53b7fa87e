"""The same rows give the same bytes: in any order, cut into any batches, by any number of threads.

Frames are compared as the Parquet files that the lake would hold.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.core.cohorts import USER_COHORTS, USER_GROWTH, user_cohorts, user_growth
from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.model_performance import MODEL_PERFORMANCE, model_performance
from conversation_analytics.core.partials import PartialOptions, partials_of_days
from conversation_analytics.core.period_report import PERIOD_REPORTS, period_report
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import DAILY_PARTIALS, DAILY_REPORT
from conversation_analytics.core.user_analytics import (
    USER_ANALYTICS,
    user_analytics,
    users_of_days,
)
from conversation_analytics.lake.encoding import ParquetOptions, encode
from conversation_analytics_tests.core.metric_rows import (
    MARKERS,
    Row,
    conversation,
    partials_of,
    turn,
)

if TYPE_CHECKING:
    import polars as pl

    from conversation_analytics.core.schemas import TableSchema

MONDAY = dt.date(2026, 3, 2)
DAYS = [MONDAY + dt.timedelta(days=n) for n in range(-2, 3)]
OPTIONS = PartialOptions("Asia/Kolkata", MARKERS, ("plan",))


def ugly_turns(day: dt.date, draw: random.Random) -> list[Row]:
    """Return turns of all sorts, many of them at the same moment, for which sums are not exact."""
    noon = dt.datetime.combine(day, dt.time(6), tzinfo=dt.UTC)
    return [
        turn(
            id=f"{day}-{n}",
            app_id=draw.choice([None, "=b"]),
            user_id=draw.choice([None, "$u", "u.1", "用户", "u" * 300]),
            conversation_id=f"c{draw.randrange(9)}",
            parent_message_id=draw.choice([None, "p"]),
            query=draw.choice(["where is it", "where is it?", None]),
            model_provider=draw.choice(["", "openai"]),
            model_id=draw.choice([None, "small"]),
            currency=draw.choice(["USD", "CNY"]),
            latency_s=draw.choice([None, 0.0, draw.uniform(0.001, 90), float("nan"), 1e300]),
            time_to_first_token_s=draw.uniform(0.001, 9),
            answer=draw.choice(["", None, "yes", "[HUMAN]"]),
            status=draw.choice(["normal", "error"]),
            inputs=draw.choice(['{"plan":"$a.b"}', '{"plan":null}', None]),
            created_at=noon + dt.timedelta(seconds=draw.choice([0, 0, 60, 7200])),
        )
        for n in range(300)
    ]


def digests(order: int, batch_rows: int) -> dict[str, str]:
    """Return a digest of each table's file, made of rows in the given order."""
    rows, mixed = random.Random(1), random.Random(order)
    held: list[tuple[dt.date, pl.DataFrame]] = []
    found: dict[str, str] = {}

    def put(name: str, schema: TableSchema, frame: pl.DataFrame) -> None:
        mixed_rows = frame.sample(fraction=1.0, shuffle=True, seed=order)
        data = encode(schema.conform(mixed_rows), schema, ParquetOptions(), {})
        found[name] = hashlib.sha256(data).hexdigest()

    for day in DAYS:
        turns = ugly_turns(day, rows)
        mixed.shuffle(turns)
        talks = [conversation(id=f"c{n}", app_id="a") for n in range(3)]
        partials = DAILY_PARTIALS.conform(
            partials_of(talks, turns, day=day, options=OPTIONS).collect()
        )
        put(f"partials {day}", DAILY_PARTIALS, partials)
        put(
            f"models {day}",
            MODEL_PERFORMANCE,
            model_performance(partials.lazy(), day, engine=CPU),
        )
        put(f"report {day}", DAILY_REPORT, daily_report(partials.lazy(), day, engine=CPU))
        held.append((day, partials))
    for period in PERIOD_REPORTS:
        start = period.start_of(DAYS[-1])
        now, before = (
            [frame for day, frame in held if period.start_of(day) == one]
            for one in (start, period.before(start))
        )
        if period is Period.MONTH:  # the order of days does not matter either
            mixed.shuffle(now)
        report = period_report(
            partials_of_days(now), partials_of_days(before), period, start, engine=CPU
        )
        put(period.value, PERIOD_REPORTS[period], report)
    users = users_of_days(held, batch_rows=batch_rows)
    for schema, frame in (
        (USER_ANALYTICS, user_analytics(users)),
        (USER_GROWTH, user_growth(users)),
        (USER_COHORTS, user_cohorts(users)),
    ):
        put(schema.name, schema, frame)
    return found


@pytest.mark.parametrize(("order", "batch_rows"), [(2, 1), (3, 500)])
def test_order_of_rows_and_size_of_batches_change_no_byte(order: int, batch_rows: int) -> None:
    assert digests(order, batch_rows) == digests(0, 10**6)


def test_the_number_of_threads_changes_no_byte() -> None:
    """Polars reads it once, at its import: so each number needs a process."""
    code = f"from {__name__} import digests; print(sorted(digests(0, 100).items()))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True,
            cwd=Path(__file__).parents[2], env={**os.environ, "POLARS_MAX_THREADS": threads},
        ).stdout
        for threads in ("1", "7")
    }  # fmt: skip
    assert len(told) == 1
