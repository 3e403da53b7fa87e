import datetime as dt
import json
import random
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.partials import (
    ANSWER_LANGUAGE,
    COLUMNS_OF,
    LANGUAGE,
    OF_CATEGORIES,
    PartialOptions,
    category_partials,
    daily_partials,
    implausible,
    merge_partials,
    partials_of_days,
)
from conversation_analytics.core.period_report import period_report
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import (
    CATEGORY_PARTIALS,
    CONVERSATIONS,
    DAILY_PARTIALS,
    MESSAGES,
)
from conversation_analytics_tests.core.metric_rows import (
    DAY,
    MARKERS,
    Row,
    conversation,
    conversation_rows,
    feedback_rows,
    message_rows,
    messages_frame,
    partials_of,
    turn,
)

Day = tuple[list[Row], list[Row], list[Row] | None]
"""Conversations, messages and feedbacks."""


def partials(
    conversations: list[Row],
    messages: list[Row],
    feedbacks: list[Row] | None = None,
    day: dt.date = DAY,
) -> pl.DataFrame:
    options = PartialOptions(handoff_markers=MARKERS, input_dimensions=("shop.name",))
    plan = partials_of(conversations, messages, feedbacks, day=day, options=options)
    return DAILY_PARTIALS.conform(plan.collect())


def counts(conversations: list[Row], messages: list[Row]) -> list[Row]:
    return partials(conversations, messages).filter(pl.col("kind") == "counts").to_dicts()


def test_the_plan_has_the_pinned_schema_even_without_rows() -> None:
    plan = daily_partials(CONVERSATIONS.empty().lazy(), MESSAGES.empty().lazy(), day=DAY)
    assert plan.collect_schema() == DAILY_PARTIALS.polars
    assert plan.collect().is_empty()
    assert merge_partials(plan).collect_schema() == DAILY_PARTIALS.polars


@settings(deadline=None, max_examples=40)
@given(conversation_rows, message_rows, st.randoms(use_true_random=False))
def test_partials_do_not_depend_on_the_order_of_rows(
    conversations: list[Row], messages: list[Row], rng: random.Random
) -> None:
    expected = partials(conversations, messages)
    assert_frame_equal(
        partials(
            rng.sample(conversations, len(conversations)), rng.sample(messages, len(messages))
        ),
        expected,
        check_exact=True,
    )


def as_day(number: int, rows: list[Row]) -> list[Row]:
    """Return the rows a number of days later, under ids of their own."""
    later = dt.timedelta(days=number)
    return [
        row | {"created_at": row["created_at"] + later}
        | ({"id": f"{number}-{row['id']}"} if "id" in row else {})
        for row in rows
    ]  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(conversation_rows, message_rows, feedback_rows), min_size=2, max_size=4),
    st.randoms(use_true_random=False),
)
def test_any_order_and_grouping_of_merges_is_the_same(
    given_days: list[Day], rng: random.Random
) -> None:
    days = [
        partials(as_day(n, one), as_day(n, two), three, DAY + dt.timedelta(n))
        for n, (one, two, three) in enumerate(given_days)
    ]
    at_once = DAILY_PARTIALS.conform(merge_partials(pl.concat(days).lazy()).collect())
    assert at_once.select(DAILY_PARTIALS.sort_by).is_unique().all()
    while len(days) > 1:
        some = [
            days.pop(rng.randrange(len(days))) for _ in range(rng.randint(2, min(3, len(days))))
        ]
        days.append(DAILY_PARTIALS.conform(merge_partials(pl.concat(some).lazy()).collect()))
    assert_frame_equal(days[0], at_once, check_exact=True)


@settings(deadline=None, max_examples=25)
@given(conversation_rows, message_rows, feedback_rows)
def test_each_kind_has_its_columns_and_no_other(
    conversations: list[Row], messages: list[Row], feedbacks: list[Row] | None
) -> None:
    day = partials(conversations, messages, feedbacks)
    assert set(day["kind"]) <= COLUMNS_OF.keys()
    for kind, columns in COLUMNS_OF.items():
        others = day.filter(pl.col("kind") == kind).drop("kind", *columns)
        assert sum(others.count().row(0)) == 0, kind
    narrowed = DAILY_PARTIALS.conform(partials_of_days([day, day]).collect())
    for_reports = day.filter(~pl.col("kind").is_in(["user_models", "user_ratings"]))
    twice = DAILY_PARTIALS.conform(pl.concat([for_reports, for_reports]))
    assert_frame_equal(narrowed, twice, check_exact=True)


def test_no_days_are_no_partials() -> None:
    assert_frame_equal(partials_of_days([]).collect(), DAILY_PARTIALS.empty())


def test_each_key_has_one_row() -> None:
    rows = partials([conversation()] * 3, [turn()] * 5 + [turn(model_id="large")] * 2)
    assert rows.select(DAILY_PARTIALS.sort_by).is_unique().all()
    assert rows.filter(pl.col("kind") == "counts")["turns"].to_list() == [2, 5, 0]


def test_the_debugger_is_left_out_and_a_null_origin_stays_in() -> None:
    origins = ("debugger", None, "web-app")
    rows = partials(
        [conversation(invoke_from=origin) for origin in origins],
        [turn(invoke_from=origin) for origin in origins],
    )
    kinds = {
        kind: rows.filter(pl.col("kind") == kind)["turns"].sum()
        for kind in ("counts", "users", "sketch")
    }
    assert kinds == {"counts": 2, "users": 2, "sketch": 4}
    assert rows["conversations_new"].sum() == 2


def test_a_sum_without_a_known_value_is_null_not_zero() -> None:
    unknown = dict.fromkeys(("message_tokens", "answer_tokens", "total_price", "latency_s"))
    (row,) = counts([], [turn(**unknown)])
    columns = ("message_tokens", "answer_tokens", "cost", "latency_sum_s", "latency_answer_tokens")
    assert {row[column] for column in columns} == {None}
    assert (row["turns"], row["latency_turns"]) == (1, 0)


def test_a_known_zero_stays_zero() -> None:
    (row,) = counts([], [turn(total_price=Decimal(0), answer_tokens=0)])
    assert (row["cost"], row["answer_tokens"]) == (Decimal(0), 0)


def test_values_that_are_left_out_are_counted() -> None:
    wrong = turn(
        latency_s=-1.0, time_to_first_token_s=float("inf"), message_tokens=-1,
        answer_tokens=10**9 + 1, total_price=Decimal(9999999999999),
    )  # fmt: skip
    unknown = dict.fromkeys(
        ("latency_s", "time_to_first_token_s", "message_tokens", "answer_tokens", "total_price")
    )
    not_measured = turn(latency_s=0.0, time_to_first_token_s=0.0)
    rows = [wrong, wrong | {"invoke_from": "debugger"}, turn(), turn(**unknown), not_measured]
    assert implausible(messages_frame(rows)).collect().to_dicts() == [dict.fromkeys(unknown, 1)]
    assert implausible(messages_frame([])).collect().to_dicts() == [dict.fromkeys(unknown, 0)]


def test_money_is_added_up_exactly() -> None:
    (row,) = counts([], [turn(total_price=Decimal("0.0000001"))] * 1000)
    assert row["cost"] == Decimal("0.0001")


def test_users_keep_their_first_and_last_turn_and_unknown_users_are_left_out() -> None:
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    evening = noon.replace(hour=20)
    rows = partials([], [turn(created_at=evening), turn(created_at=noon), turn(user_id=None)])
    (user,) = rows.filter(pl.col("kind") == "users").to_dicts()
    assert (user["user_id"], user["turns"]) == ("u1", 2)
    assert (user["first_at"], user["last_at"]) == (noon, evening)


@pytest.mark.parametrize("latency", [float("nan"), float("inf"), 1e300, 0.0, -1.0])
def test_a_time_that_cannot_be_is_unknown(latency: float) -> None:
    (row,) = counts([], [turn(latency_s=latency)])
    assert (row["latency_turns"], row["latency_sum_s"]) == (0, None)


def test_streaming_gives_the_same_bytes_as_in_memory() -> None:
    rng = random.Random(7)
    messages = [
        turn(
            app_id=rng.choice(["a", "b"]),
            latency_s=rng.expovariate(1.0),
            user_id=str(rng.randrange(50)),
        )
        for _ in range(2000)
    ]
    plan = partials_of([], messages)
    in_memory, streaming = (
        DAILY_PARTIALS.conform(frame)
        for frame in (plan.collect(), plan.collect(engine="streaming"))
    )
    assert_frame_equal(in_memory, streaming, check_exact=True)


@settings(deadline=None, max_examples=60)
@given(message_rows, st.randoms(use_true_random=False))
def test_languages_and_categories_count_as_a_key_of_inputs_with_the_same_values_does(
    messages: list[Row], rng: random.Random
) -> None:
    topics = {row["conversation_id"]: rng.choice([None, "shop", "code"]) for row in messages}
    told = [
        {"id": row["id"], "query_language": rng.choice([None, "en", "th", "und"]),
         "answer_language": rng.choice([None, "en", "zh"])}
        for row in messages
    ]  # fmt: skip
    labelled = [
        {
            **row,
            "inputs": json.dumps(
                {
                    "of query": one["query_language"],
                    "of answer": one["answer_language"],
                    "of topic": topics[row["conversation_id"]],
                }
            ),
        }
        for row, one in zip(messages, told, strict=True)
    ]
    categories = [
        {"conversation_id": talk, "category_type": kind, "category_value": value}
        for talk, topic in topics.items()
        for kind, value in (("topic", topic), ("mood", "good"))
        if value is not None
    ]
    frame = DAILY_PARTIALS.conform(
        daily_partials(
            CONVERSATIONS.empty().lazy(), messages_frame(labelled), day=DAY,
            languages=pl.LazyFrame(told, schema=dict.fromkeys(
                ("id", "query_language", "answer_language"), pl.String)),
            options=PartialOptions(input_dimensions=("of answer", "of query", "of topic")),
        ).collect()
    )  # fmt: skip

    labels = pl.LazyFrame(
        categories,
        schema=dict.fromkeys(("conversation_id", "category_type", "category_value"), pl.String),
    )
    by_category = category_partials(messages_frame(labelled), labels).collect()
    frame = pl.concat([frame, CATEGORY_PARTIALS.conform(by_category)])

    def of(dimension: str) -> pl.DataFrame:
        return frame.filter(pl.col("dimension") == dimension).drop("dimension")

    assert_frame_equal(of(LANGUAGE), of("of query"), check_exact=True)
    assert_frame_equal(of(ANSWER_LANGUAGE), of("of answer"), check_exact=True)
    with_topic = of("of topic").drop_nulls("label")
    assert_frame_equal(of(f"{OF_CATEGORIES}topic"), with_topic, check_exact=True)
    said = sum(row["invoke_from"] != "debugger" and row["conversation_id"] is not None
               for row in messages)  # fmt: skip
    assert of(f"{OF_CATEGORIES}mood")["turns"].sum() == said


def test_an_empty_name_is_no_name() -> None:
    frame = partials(
        [conversation(model_provider="", model_id="")],
        [
            turn(model_provider="", model_id="", inputs='{"shop.name":""}', user_id="u1"),
            turn(model_provider=None, model_id=None, inputs='{"shop.name":null}', user_id="u1"),
            turn(model_provider="", model_id="m", inputs="{}"),
        ],
    )
    assert "" not in {*frame["model_provider"], *frame["model_id"], *frame["label"]}
    report = period_report(frame.lazy(), frame.head(0).lazy(), Period.MONTH, DAY, engine=CPU)
    turns = report.filter(pl.col("app_id").is_null() & (pl.col("metric") == "turns"))
    told = turns.select("dimension", "label", "value").drop_nulls("dimension").rows()
    assert set(told) == {
        ("model", None, 2), ("model", "m", 1), ("provider", None, 3), ("shop.name", None, 3),
    }  # fmt: skip
