"""Conversations behind figures, asked of a lake on disk, against plain Python and the report."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import tempfile
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.core.drill_down import _text, contribution, conversations_sql
from conversation_analytics.core.metrics import (
    DIMENSION_METRICS,
    METRICS,
    METRICS_BY_NAME,
    MODEL,
    Grain,
    Metric,
    dimension_values,
    metric_values,
)
from conversation_analytics.core.partials import PartialOptions
from conversation_analytics.core.schemas import CONVERSATIONS, DAILY_PARTIALS, FEEDBACKS, MESSAGES
from conversation_analytics.lake import snapshot
from conversation_analytics.lake.sql import LakeSql, open_sql
from conversation_analytics.lake.store import Lake, open_lake
from conversation_analytics_tests.core.metric_rows import (
    DAY,
    MARKERS,
    Row,
    conversation,
    conversation_rows,
    feedback_rows,
    message_rows,
    partials_of,
    turn,
)
from conversation_analytics_tests.oracles import metrics_oracle as oracle

if TYPE_CHECKING:
    from conversation_analytics.lake.objects import ObjectStore

HOSTILE = {
    "support": "o'neil'); DROP VIEW messages; --",
    "sales": '\\"%_{}\n\x00$$é\u2028',
    None: None,
}
DAYS = (DAY, DAY + dt.timedelta(1))
BEFORE = DAYS[0] - dt.timedelta(1)
NUMERATORS = {
    "turns_per_conversation": "turns", "continued_rate": "continued_conversations",
    "abandonment_rate": "abandoned_conversations", "handoff_rate": "handed_off_conversations",
    "error_rate": "errors", "empty_answer_rate": "empty_answers",
    "regeneration_rate": "regenerations", "rephrase_rate": "rephrases", "satisfaction": "likes",
    "likes_per_1000_turns": "likes", "cost_per_1k_tokens": "cost",
    "cost_per_conversation": "cost", "cost_per_active_user": "cost",
    "cost_per_satisfied_conversation": "cost", "dify_tokens_per_second": "answer_tokens",
    "dify_total_price": "dify_total_price",
}  # fmt: skip
"""Ratios whose numerator is a figure of the report, and what only looks like a ratio."""
NO_SUMS = frozenset(
    {"containment_rate", "active_users", "engaged_users", "daily_active_users", "stickiness",
     "turns_per_session", "rating_coverage", "output_speed", "dify_average_response_time",
     *(name for name in METRICS_BY_NAME if name.startswith(("latency_p", "time_to_first")))}
)  # fmt: skip
"""Metrics whose list adds up to no figure of the report: plain Python is all there is."""

Listed = dict[tuple[str | None, str | None], Any]
"""Contribution by conversation and currency."""


@dataclass(frozen=True)
class Days:
    """Rows of two days; of ratings None where there is no table of them."""

    conversations: list[Row]
    messages: list[Row]
    feedbacks: list[Row] | None
    markers: tuple[str, ...] = MARKERS

    def of(self, rows: list[Row] | None, day: dt.date) -> list[Row]:
        return [row for row in rows or [] if row["created_at"].date() == day]

    def partials(self, day: dt.date) -> pl.LazyFrame:
        return partials_of(
            self.of(self.conversations, day), self.of(self.messages, day),
            None if self.feedbacks is None else self.of(self.feedbacks, day),
            day=day, options=PartialOptions(handoff_markers=self.markers),
        )  # fmt: skip

    def write(self, lake: Lake) -> None:
        for day in (BEFORE, *DAYS):
            rows = {
                CONVERSATIONS: self.conversations, MESSAGES: self.messages,
                FEEDBACKS: self.feedbacks,
            }  # fmt: skip
            for schema, every in rows.items():
                frame = pl.DataFrame(self.of(every, day), schema=schema.polars)
                lake.write(schema, day.isoformat(), schema.conform(frame))
            partials = DAILY_PARTIALS.conform(self.partials(day).collect())
            lake.write(DAILY_PARTIALS, day.isoformat(), partials)


@st.composite
def two_days(draw: st.DrawFn) -> Days:
    """Draw the ugly rows of the metrics' tests over two days and one before."""

    def spread(rows: list[Row], what: str) -> list[Row]:
        return [
            {
                **row,
                "id": f"{what}{number:03}",
                "app_id": HOSTILE.get(row["app_id"], row["app_id"]),
                "created_at": row["created_at"] + dt.timedelta(draw(st.integers(-1, 1))),
            }
            for number, row in enumerate(rows)
        ]

    feedbacks = draw(feedback_rows)
    return Days(
        spread(draw(conversation_rows), "c"),
        spread(draw(message_rows), "m"),
        None if feedbacks is None else spread(feedbacks, "f"),
        draw(st.sampled_from([(), MARKERS])),
    )


def rows_of(sql: LakeSql, statement: str) -> list[Row]:
    return [row for batch in sql.query(statement).batches for row in batch.to_pylist()]


def listed(sql: LakeSql, metric: Metric, **scope: str | None) -> Listed:
    """Run the drill-down of a metric over the two days."""
    rows = rows_of(sql, conversations_sql(metric, start=DAYS[0], end=DAYS[1], **scope))
    number = contribution(metric)
    for _, group in itertools.groupby(rows, key=lambda row: row.get("currency")):
        found = [row[number] for row in group]
        assert found == sorted(found, reverse=True)
    by_key = {(row["conversation_id"], row.get("currency")): row[number] for row in rows}
    assert len(by_key) == len(rows)
    return by_key


def expected(  # noqa: C901, PLR0915 - a way per metric
    name: str, days: Days, app: str | None, model: str | None
) -> Listed:
    """Return what a metric's list must hold, by lists, loops and dicts."""

    def mine(row: Row) -> bool:
        return app is None or (row["app_id"] or "") == app

    def label(row: Row) -> str:
        if not row["model_id"]:
            return ""
        return "/".join(filter(None, (row["model_provider"], row["model_id"])))

    messages = [
        oracle.known(row)
        for row in days.messages
        if row["invoke_from"] != "debugger" and row["created_at"].date() in DAYS
    ]
    oracle.mark_regenerated(messages, "UTC")
    oracle.mark_rephrased(messages, "UTC")
    turns = [row for row in messages if mine(row) and (model is None or label(row) == model)]
    models = {(row["id"], row["created_at"].date()): label(row) for row in messages}
    ratings = [
        row
        for row in days.feedbacks or []
        if row["created_at"].date() in DAYS and oracle.counts(row) and mine(row)
        and model in (None, models.get((row["message_id"], row["created_at"].date()), ""))
    ]  # fmt: skip
    with_user = [row for row in turns if row["user_id"] is not None]

    def sums(rows: list[Row], column: str | None = None) -> Listed:
        found: Listed = {}
        for row in rows:
            amount = row[column] if column else 1
            key = (row["conversation_id"], row["currency"] if column == "total_price" else None)
            if amount is not None:
                found[key] = found.get(key, 0) + amount
        return {key: amount for key, amount in found.items() if amount}

    def talks(fits: Any) -> Listed:
        names = sorted({row["conversation_id"] for row in turns})
        every = {name: [row for row in turns if row["conversation_id"] == name] for name in names}
        return {(name, None): 1 for name, rows in every.items() if fits(rows)}

    def handed_over(rows: list[Row]) -> bool:
        return any(marker in (row["answer"] or "") for row in rows for marker in days.markers)

    def abandoned(rows: list[Row]) -> bool:
        last = max(row["created_at"] for row in rows)
        return any(
            row["created_at"] == last and (row["status"] == "error" or not row["answer"])
            for row in rows
        )

    def slowest() -> Listed:
        column, percent = oracle.PERCENTILES[name]
        timed = [row for row in turns if oracle.is_time(row[column])]
        least = oracle.nearest_rank([row[column] for row in timed], percent)
        found: Listed = {}
        for row in timed:
            if least is not None and row[column] >= least:
                key = (row["conversation_id"], None)
                found[key] = max(found.get(key, 0), row[column])
        return found

    def seconds() -> Listed:
        timed = [row for row in turns if oracle.is_time(row["latency_s"])]
        micros = [{**row, "us": round(row["latency_s"] * 1_000_000)} for row in timed]
        return {key: us / 1_000_000 for key, us in sums(micros, "us").items()}

    def sessions() -> Listed:
        last: dict[Any, dt.datetime] = {}
        begun = []
        for row in sorted(with_user, key=lambda row: (row["created_at"], row["id"])):
            who = (row["app_id"], row["user_id"])
            if who not in last or row["created_at"] - last[who] > dt.timedelta(minutes=30):
                begun.append(row)
            last[who] = row["created_at"]
        return sums(begun)

    def engaged() -> Listed:
        of_user = Counter(row["user_id"] for row in with_user)
        return sums([row for row in with_user if of_user[row["user_id"]] >= 2])

    def satisfied() -> Listed:
        score: Counter[str] = Counter()
        for row in ratings:
            score[row["conversation_id"]] += 1 if row["rating"] == "like" else -1
        return {(name, None): 1 for name, n in score.items() if n > 0 and name is not None}

    name = NUMERATORS.get(name, name)
    if name in oracle.PERCENTILES:
        return slowest()
    if name in oracle.LENGTHS:
        most = oracle.LENGTHS[name]
        least = max([n for n in oracle.LENGTHS.values() if n < most], default=0)
        return talks(lambda rows: least < len(rows) <= most)
    began = [
        {**row, "conversation_id": row["id"]}
        for row in days.conversations
        if row["created_at"].date() in DAYS and row["invoke_from"] != "debugger" and mine(row)
    ]
    ways: dict[str, Any] = {
        "conversations_new": lambda: sums(began),
        "conversations_active": lambda: talks(bool),
        "turns": lambda: sums(turns),
        "continued_conversations": lambda: talks(lambda rows: len(rows) >= 2),
        "abandoned_conversations": lambda: talks(abandoned),
        "handed_off_conversations": lambda: talks(handed_over),
        "containment_rate": lambda: talks(
            lambda rows: bool(days.markers) and not handed_over(rows)
        ),
        "active_users": lambda: sums(with_user),
        "engaged_users": engaged,
        "daily_active_users": lambda: sums(with_user),
        "stickiness": lambda: sums(with_user),
        "sessions": sessions,
        "turns_per_session": lambda: sums(with_user),
        "errors": lambda: sums([row for row in turns if row["status"] == "error"]),
        "empty_answers": lambda: sums([row for row in turns if not row["answer"]]),
        "regenerations": lambda: sums([row for row in turns if row["regenerated"]]),
        "rephrases": lambda: sums([row for row in turns if row["rephrased"]]),
        "message_tokens": lambda: sums(turns, "message_tokens"),
        "answer_tokens": lambda: sums(turns, "answer_tokens"),
        "cost": lambda: sums(turns, "total_price"),
        "dify_total_price": lambda: sums(
            [{**row, "currency": None} for row in turns], "total_price"
        ),
        "dify_average_response_time": seconds,
        "likes": lambda: sums([row for row in ratings if row["rating"] == "like"]),
        "dislikes": lambda: sums([row for row in ratings if row["rating"] == "dislike"]),
        "satisfied_conversations": satisfied,
        "rating_coverage": lambda: sums(ratings),
        "output_speed": lambda: sums(
            [row for row in turns if oracle.is_time(row["latency_s"])], "answer_tokens"
        ),
    }
    found: Listed = ways[name]()
    return found


def figures(days: Days, app: str | None, model: str | None) -> dict[tuple[str, str | None], Any]:
    """Return the report's values of the two days, by metric and currency."""
    partials = pl.concat([days.partials(day) for day in DAYS])
    if model is None:
        values = metric_values(partials, days=2)
    else:
        labels = dimension_values(partials).filter(pl.col("dimension") == MODEL)
        values = labels.filter(pl.col("label").fill_null("") == model)
    rows = values.filter(pl.col("app_id").eq_missing(pl.lit(app))).collect()
    return {(row["metric"], row["currency"]): row["value"] for row in rows.to_dicts()}


scopes = st.sampled_from(
    [(None, None), ("", None), (HOSTILE["support"], None), (HOSTILE["sales"], None),
     (None, "openai/small"), (None, "small"), (None, ""), (HOSTILE["support"], "openai/large")]
)  # fmt: skip


@settings(deadline=None, max_examples=12)  # each asks 60 queries
@given(two_days(), scopes)
def test_lists_agree_with_plain_python_and_add_up_to_the_figures(
    days: Days, scope: tuple[str | None, str | None]
) -> None:
    app, model = scope
    metrics = METRICS if model is None else DIMENSION_METRICS
    report = figures(days, app, model)
    with tempfile.TemporaryDirectory() as folder:
        lake = open_lake(Path(folder))
        days.write(lake)
        with open_sql(lake) as sql:
            for metric in metrics:
                found = listed(sql, metric, app_id=app, model=model)
                assert found == expected(metric.name, days, app, model), metric.name
                # A model that is only rated that day has no figures; its ratings are listed.
                if metric.name in NO_SUMS or not report:
                    continue
                figure = NUMERATORS.get(metric.name, metric.name)
                sums: dict[str | None, Any] = {}
                for (_, currency), amount in found.items():
                    sums[currency] = sums.get(currency, 0) + amount
                told = {key[1]: value for key, value in report.items() if key[0] == figure}
                assert {key: value for key, value in sums.items() if value} == {
                    key: value for key, value in told.items() if value
                }, metric.name


def test_every_metric_is_either_added_up_or_known_not_to_add_up() -> None:
    assert set(NUMERATORS) | NO_SUMS <= set(METRICS_BY_NAME)
    assert not set(NUMERATORS) & NO_SUMS
    ratios = {m.name for m in METRICS if "ratio" in m.merge and m.name not in NUMERATORS}
    assert ratios <= NO_SUMS


def ugly(markers: tuple[str, ...] = MARKERS) -> Days:
    """Return rows of every app and three currencies, with times of -0.0 and NaN."""
    apps = list(HOSTILE.values())
    messages = [
        turn(
            id=f"m{n:03}", conversation_id=f"c{math.isqrt(n)}", app_id=apps[n // 3 % 3],
            user_id=f"u{n % 4}",
            status="error" if n % 5 == 0 else "normal", currency=("USD", "U'SD", "")[n % 3 - n % 2],
            total_price=Decimal(n) / 10**7, latency_s=(-0.0, float("nan"), n / 3, n / 7)[n % 4],
            answer=("yes", "", MARKERS[0])[n % 8 // 3],
            parent_message_id=f"p{n % 4}" if n % 5 else None,
            model_id=("small", "large", None)[n % 4 - 1], query="What is it?"[: n % 9],
            invoke_from="debugger" if n % 11 == 0 else None,
            created_at=turn()["created_at"] + dt.timedelta(days=n % 3 - 1, seconds=n),
        )
        for n in range(90)
    ]  # fmt: skip
    ratings = [
        {"id": f"f{n}", "message_id": f"m{n:03}", "app_id": apps[n // 3 % 3], "gone": n == 4,
         "rating": "dislike" if n == 5 else "like", "from_source": "admin" if n == 6 else "user",
         "conversation_id": None if n == 3 else f"c{n}", "created_at": messages[n]["created_at"]}
        for n in range(9)
    ]  # fmt: skip
    begun = [{**conversation(), "id": f"c{n}"} for n in range(7)]
    return Days(begun, messages, ratings, markers)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """The ugly rows in a lake."""
    lake = open_lake(tmp_path / "lake")
    ugly().write(lake)
    return lake


@pytest.mark.parametrize("markers", [MARKERS, ()], ids=["markers", "no markers"])
def test_lists_of_many_ugly_rows_agree_with_plain_python(
    tmp_path: Path, markers: tuple[str, ...]
) -> None:
    days = ugly(markers)
    lake = open_lake(tmp_path)
    days.write(lake)
    empty = set()
    with open_sql(lake) as sql:
        for metric in METRICS:
            for app in (None, HOSTILE["support"]):
                found = listed(sql, metric, app_id=app)
                assert found == expected(metric.name, days, app, None), metric.name
                if app is None and not found:
                    empty.add(metric.name)
        for metric in DIMENSION_METRICS:
            found = listed(sql, metric, model="openai/small")
            assert found == expected(metric.name, days, None, "openai/small"), metric.name
    unknown = {"handed_off_conversations", "handoff_rate", "containment_rate"}
    assert empty == (set() if markers else unknown) | {"conversations_21_up"}


def test_a_figure_opens_the_objects_of_its_days_only(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[str] = set()
    original = snapshot._read

    def read(objects: ObjectStore, path: str, start: int | None, size: int) -> Any:
        opened.add(path)
        return original(objects, path, start, size)

    monkeypatch.setattr(snapshot, "_read", read)
    with open_sql(lake) as sql:
        for metric in METRICS:
            rows_of(sql, conversations_sql(metric, start=DAYS[0], end=DAYS[0]))
        for metric in DIMENSION_METRICS:
            rows_of(
                sql, conversations_sql(metric, start=DAYS[0], end=DAYS[0], model="openai/small")
            )
    assert {path.partition("/")[2] for path in opened} == {
        "year=2026/month=03/day=01/part-000.parquet"
    }
    assert len(opened) == 4


@pytest.mark.parametrize("currency", ["USD", "U'SD", "", "' OR true --"])
def test_one_currency_is_the_part_of_all_that_has_it(lake: Lake, currency: str) -> None:
    with open_sql(lake) as sql:
        for metric in METRICS:
            if metric.grain is not Grain.APP_CURRENCY:
                continue
            every = listed(sql, metric)
            assert {key[1] for key in every} == {"USD", "U'SD", None}
            assert listed(sql, metric, currency=currency) == {
                key: cost for key, cost in every.items() if key[1] == (currency or None)
            }


def test_an_app_is_found_by_its_very_id(lake: Lake) -> None:
    with open_sql(lake) as sql:
        every = rows_of(
            sql, conversations_sql(METRICS_BY_NAME["errors"], start=BEFORE, end=DAYS[1])
        )
        total = 0
        for app in HOSTILE.values():
            rows = rows_of(
                sql,
                conversations_sql(
                    METRICS_BY_NAME["errors"], start=BEFORE, end=DAYS[1], app_id=app or ""
                ),
            )
            assert rows
            assert {row["app_id"] for row in rows} == {app}
            total += sum(row["errors"] for row in rows)
        assert total == sum(row["errors"] for row in every)


def test_a_rating_without_conversation_is_a_row_of_its_own(lake: Lake) -> None:
    with open_sql(lake) as sql:
        found = rows_of(sql, conversations_sql(METRICS_BY_NAME["likes"], start=BEFORE, end=DAYS[1]))
    assert sum(row["likes"] for row in found) == 6
    assert [row["likes"] for row in found if row["conversation_id"] is None] == [1]


@given(st.lists(st.text(), min_size=20, max_size=40))
@settings(max_examples=5, deadline=None)
def test_any_text_is_a_literal_of_itself(texts: list[str]) -> None:
    texts += ["'", "''", "\x00", "\\'", "a\u00a0'b", "\ufeff", "'; SELECT 1 --", "/*", "$$", "\r\n"]
    with tempfile.TemporaryDirectory() as folder, open_sql(open_lake(Path(folder))) as sql:
        columns = ", ".join(f"{_text(text)} AS c{n}" for n, text in enumerate(texts))
        assert list(rows_of(sql, f"SELECT {columns}")[0].values()) == texts


@pytest.mark.parametrize(("name", "least"), [("latency_p50", 10), ("latency_p90", 18)])
def test_a_percentile_lists_the_turns_at_or_above_it(tmp_path: Path, name: str, least: int) -> None:
    turns = [
        turn(id=f"m{n}", conversation_id=f"c{n}", latency_s=float(n), parent_message_id=None)
        for n in range(1, 21)
    ]
    lake = open_lake(tmp_path)
    Days([], turns, None).write(lake)
    with open_sql(lake) as sql:
        found = listed(sql, METRICS_BY_NAME[name])
    assert list(found.items()) == [((f"c{n}", None), n) for n in range(20, least - 1, -1)]
