"""Users folded from days of generated rows, for the tests of users and cohorts."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from hypothesis import strategies as st

from conversation_analytics.core.partials import PartialOptions
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.core.user_analytics import users_of_days
from conversation_analytics_tests.core.metric_rows import (
    DAY,
    feedback_rows,
    message_rows,
    partials_of,
)
from conversation_analytics_tests.core.test_period_report import moved
from conversation_analytics_tests.oracles import users_oracle
from conversation_analytics_tests.oracles.metrics_oracle import local_day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics.core.user_analytics import Users

Row = dict[str, Any]
RATERS = ["u1", None, "u2", "rated only"]


@dataclass(frozen=True)
class Held:
    """What the lake holds: rows of some days, in a zone."""

    zone: str
    days: list[dt.date]
    messages: list[Row]
    feedbacks: list[Row] | None

    def partials(self) -> Iterator[tuple[dt.date, pl.DataFrame]]:
        """Yield each day with its partials, as the platform makes and stores them."""
        for day in self.days:
            turns, ratings = (
                None if rows is None else [row for row in rows if local_day(row, self.zone) == day]
                for rows in (self.messages, self.feedbacks)
            )
            if not turns and not ratings:
                yield day, DAILY_PARTIALS.empty()  # as the plan has it, in a hundredth of the time
                continue
            plan = partials_of(
                [], turns or [], ratings, day=day, languages=languages_of(turns or []),
                options=PartialOptions(self.zone),
            )  # fmt: skip
            yield day, DAILY_PARTIALS.conform(plan.collect())

    def users(self, **options: int) -> Users:
        """Fold them."""
        return users_of_days(self.partials(), **options)


def languages_of(turns: list[Row]) -> pl.LazyFrame:
    """Return the languages of the turns, as the oracle has them."""
    rows = {row["id"]: users_oracle.language(row) for row in turns if row.get("id") is not None}
    names = ("id", "query_language", "answer_language")
    return pl.LazyFrame(
        {"id": list(rows), "query_language": list(rows.values()), "answer_language": None},
        schema=dict.fromkeys(names, pl.String),
    )


def holding(
    messages: list[Row],
    feedbacks: list[Row] | None = None,
    *,
    zone: str = "UTC",
    last: dt.date = DAY,
    lost: frozenset[dt.date] = frozenset(),
) -> Held:
    """Hold every day from the first row to the last one, and to `last`, but for the `lost` ones."""
    of_rows = {local_day(row, zone) for row in [*messages, *(feedbacks or [])]}
    first, end = min({*of_rows, last}), max({*of_rows, last})
    days = [first + dt.timedelta(days=n) for n in range((end - first).days + 1)]
    days = [day for day in days if day not in lost]
    messages, ratings = (
        [row for row in rows or [] if local_day(row, zone) in days]
        for rows in (messages, feedbacks)
    )
    return Held(zone, days, messages, None if feedbacks is None else ratings)


@st.composite
def held_days(draw: st.DrawFn) -> Held:
    """Draw rows of users of several apps, spread over days of which some are lost."""
    shifts = draw(st.lists(st.integers(0, 45), min_size=1, max_size=8))
    zone = draw(st.sampled_from(["UTC", "America/New_York"]))  # forward on 2026-03-08
    messages = moved(draw(message_rows), shifts)
    feedbacks = draw(feedback_rows)
    if feedbacks is not None:
        feedbacks = [
            {**row, "user_id": RATERS[n % len(RATERS)]}
            for n, row in enumerate(moved(feedbacks, shifts))
        ]
    lost = draw(st.frozensets(st.integers(0, 60).map(lambda n: DAY + dt.timedelta(days=n))))
    last = DAY + dt.timedelta(days=draw(st.integers(0, 60)))
    return holding(messages, feedbacks, zone=zone, last=last, lost=lost)
