"""Every metric over real conversations, by day, by month and over all of them, against the oracle.

The rows are typed as the platform types them; the oracle gets the typed rows. None of the text is
in the project: see `SHARED_DATA_DIR`.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.metrics import metric_values
from conversation_analytics.core.partials import PartialOptions, daily_partials, partials_of_days
from conversation_analytics.core.periods import Period
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    MESSAGES,
    RAW_MESSAGES,
    TableSchema,
)
from conversation_analytics_tests.commands import ROOT
from conversation_analytics_tests.core.test_period_report import agree
from conversation_analytics_tests.oracles import metrics_oracle
from conversation_analytics_tests.oracles.metrics_oracle import local_day

if TYPE_CHECKING:
    from collections.abc import Iterable

SHARED = Path(os.environ.get("SHARED_DATA_DIR", ROOT.parent / "shared" / "data"))
ZONE = "America/Los_Angeles"
MARKERS = ("ubuntu",)  # a word that real answers hold
OPTIONS = PartialOptions(ZONE, MARKERS)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real data at {SHARED}"),
]
Row = dict[str, Any]


@dataclass(frozen=True)
class Real:
    """Typed rows of a data set, of those that have a time."""

    conversations: pl.DataFrame
    messages: pl.DataFrame

    @property
    def days(self) -> list[dt.date]:
        rows = [*self.conversations.to_dicts(), *self.messages.to_dicts()]
        return sorted({local_day(row, ZONE) for row in rows})

    def of(self, days: Iterable[dt.date]) -> tuple[list[Row], list[Row]]:
        wanted = set(days)
        conversations, messages = (
            [row for row in frame.to_dicts() if local_day(row, ZONE) in wanted]
            for frame in (self.conversations, self.messages)
        )
        return conversations, messages


def typed(data_set: str, name: str, schema: TableSchema) -> pl.DataFrame:
    with gzip.open(SHARED / data_set / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for line in lines if (row := json.loads(line))["created_at"]]
    payloads = [json.dumps(row) for row in rows]
    digests = [hashlib.sha256(payload.encode()).hexdigest() for payload in payloads]
    raw = pl.DataFrame({
        "id": [row["id"] for row in rows],
        "created_at": [dt.datetime.fromisoformat(row["created_at"]) for row in rows],
        "payload": payloads,
        "sha256": digests,
    })  # fmt: skip
    missing = {
        name: pl.lit("" if dtype == pl.String() else None)
        for name, dtype in RAW_MESSAGES.polars.items()
        if name not in raw.columns
    }
    found = type_rows(RAW_MESSAGES.conform(raw.with_columns(**missing)), schema, where=data_set)
    assert found.dead_letters.is_empty()
    return found.frame


@pytest.fixture(scope="module", params=["halie", "ubuntu_irc"])
def real(request: pytest.FixtureRequest) -> Real:
    tables = {"conversations": CONVERSATIONS, "messages": MESSAGES}
    return Real(**{name: typed(request.param, name, schema) for name, schema in tables.items()})


def test_days_months_and_all_days_agree_with_the_oracle(real: Real) -> None:
    partials = {}
    for day in real.days:
        conversations, messages = (
            pl.DataFrame(rows, schema=schema.polars)
            for rows, schema in zip(real.of([day]), (CONVERSATIONS, MESSAGES), strict=True)
        )
        plan = daily_partials(
            conversations.lazy(), messages.lazy(), day=day,
            rephrases=rephrased_turns(messages.lazy(), engine=CPU).lazy(), options=OPTIONS,
        )  # fmt: skip
        partials[day] = DAILY_PARTIALS.conform(plan.collect())
    busiest = Counter(Period.MONTH.start_of(day) for day in real.days).most_common(3)
    ranges = [
        *([day] for day in real.days[:3]),
        *(list(Period.MONTH.days_of(month)) for month, _ in busiest),
        real.days,
    ]
    turns = 0
    for days in ranges:
        merged = partials_of_days(partials[day] for day in days if day in partials)
        told = {
            (app, metric, currency): value
            for app, metric, currency, value in metric_values(merged, days=len(days))
            .select("app_id", "metric", "currency", "value")
            .collect()
            .iter_rows()
        }
        expected = metrics_oracle.report(
            *real.of(days), None, days=len(days), zone=ZONE, markers=MARKERS
        )
        assert told.keys() == expected.keys()
        wrong = {
            key: (value, expected[key])
            for key, value in told.items()
            if not agree(value, expected[key])
        }
        assert wrong == {}
        turns = max(turns, int(told[None, "turns", None] or 0))
    assert turns == real.messages.height
