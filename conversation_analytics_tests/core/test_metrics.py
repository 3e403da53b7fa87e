import datetime as dt
from dataclasses import FrozenInstanceError
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.metrics import (
    METRICS,
    METRICS_BY_NAME,
    NO_APP,
    Grain,
    MetricType,
    metric_values,
    metrics_markdown,
)
from conversation_analytics.core.model_performance import model_performance
from conversation_analytics.core.partials import PLAIN, PartialOptions, merge_partials
from conversation_analytics.core.schemas import DAILY_PARTIALS, MONEY
from conversation_analytics.core.windows import day_window, local_day
from conversation_analytics_tests.core.metric_rows import (
    DAY,
    MARKERS,
    Row,
    conversation,
    conversation_rows,
    conversations_frame,
    feedback_rows,
    feedbacks_frame,
    message_rows,
    messages_frame,
    partials_of,
    turn,
)
from conversation_analytics_tests.oracles import metrics_oracle, metrics_sql

Values = dict[tuple[str | None, str, str | None], Decimal | None]


def values(
    conversations: list[Row],
    messages: list[Row],
    feedbacks: list[Row] | None = None,
    options: PartialOptions = PLAIN,
) -> Values:
    partials = partials_of(conversations, messages, feedbacks, options=options)
    return by_key(metric_values(partials, days=1).collect())


def by_key(frame: pl.DataFrame) -> Values:
    assert frame.schema["value"] == MONEY
    keys = list(zip(frame["app_id"], frame["metric"], frame["currency"], strict=True))
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, frame["value"], strict=True))


def overall(metric: str, *messages: Row, currency: str | None = None) -> Decimal | None:
    return values([], list(messages))[None, metric, currency]


def agrees(metric: str, got: Decimal | None, expected: Any) -> bool:
    if got is None or expected is None:
        return got is expected
    if METRICS_BY_NAME[metric].type is MetricType.DURATION:
        return bool(float(got) == pytest.approx(expected, rel=0.01, abs=1e-7))
    if METRICS_BY_NAME[metric].type is MetricType.SPEED:
        return bool(float(got) == pytest.approx(expected, rel=1e-9, abs=1e-7))
    return bool(got == expected)


@settings(deadline=None, max_examples=60)  # plans, not rows, take the time
@given(conversation_rows, message_rows, feedback_rows, st.sampled_from([(), MARKERS]))
def test_every_metric_agrees_with_the_oracle(
    conversations: list[Row],
    messages: list[Row],
    feedbacks: list[Row] | None,
    markers: tuple[str, ...],
) -> None:
    got = values(conversations, messages, feedbacks, PartialOptions(handoff_markers=markers))
    expected = metrics_oracle.report(conversations, messages, feedbacks, markers=markers)
    assert got.keys() == expected.keys()
    differing = {
        key: (value, expected[key])
        for key, value in got.items()
        if not agrees(key[1], value, expected[key])
    }
    assert differing == {}


@settings(deadline=None, max_examples=60)
@given(conversation_rows, message_rows, feedback_rows)
def test_every_metric_agrees_with_sql_over_the_rows(
    conversations: list[Row], messages: list[Row], feedbacks: list[Row] | None
) -> None:
    got = values(conversations, messages, feedbacks)
    ratings = feedbacks_frame(feedbacks)
    expected = metrics_sql.report(
        conversations_frame(conversations).collect(),
        messages_frame(messages).collect(),
        None if ratings is None else ratings.collect(),
    )
    got = {key: value for key, value in got.items() if key[1] not in metrics_sql.NOT_IN_SQL}
    assert got.keys() == expected.keys()
    differing = {
        key: (value, expected[key])
        for key, value in got.items()
        if not agrees(
            key[1],
            value * 10**7
            if value is not None and key[1] in metrics_sql.IN_SEVENTH_PLACES
            else value,
            expected[key],
        )
    }
    assert differing == {}


BERLIN = "Europe/Berlin"
FIRST, DAYS = dt.date(2026, 3, 28), 4  # the second day has 23 hours, the year of the first is over


def spread(row: Row, seconds: int) -> Row:
    """Return the row at a moment of the days, in the time zone of Berlin."""
    start = day_window(FIRST, ZoneInfo(BERLIN)).start
    return row | {"created_at": start + dt.timedelta(seconds=seconds)}


def moments(rows: st.SearchStrategy[list[Row]]) -> st.SearchStrategy[list[Row]]:
    """Put rows on moments of several days, many of them around midnight."""
    length = int((day_window(FIRST + dt.timedelta(DAYS - 1), ZoneInfo(BERLIN)).end
                  - day_window(FIRST, ZoneInfo(BERLIN)).start).total_seconds())  # fmt: skip
    midnights = [
        int((day_window(FIRST + dt.timedelta(n), ZoneInfo(BERLIN)).start
             - day_window(FIRST, ZoneInfo(BERLIN)).start).total_seconds())
        for n in range(1, DAYS)
    ]  # fmt: skip
    near = st.tuples(
        st.sampled_from(midnights), st.sampled_from([-1200, -600, -1, 0, 599, 600, 1199])
    )
    moment = near.map(sum) | st.integers(0, length - 1)
    return rows.flatmap(
        lambda given: st.lists(moment, min_size=len(given), max_size=len(given)).map(
            lambda at: [spread(row, one) for row, one in zip(given, at, strict=True)]
        )
    )


@settings(deadline=None, max_examples=40)
@given(
    moments(conversation_rows),
    moments(message_rows),
    st.none() | moments(feedback_rows.map(lambda x: x or [])),
)
def test_merged_days_agree_with_the_oracle_over_all_rows(
    conversations: list[Row], messages: list[Row], feedbacks: list[Row] | None
) -> None:
    zone = ZoneInfo(BERLIN)
    options = PartialOptions(zone=BERLIN, handoff_markers=MARKERS)

    def of(rows: list[Row] | None, day: dt.date) -> list[Row]:
        return [row for row in rows or [] if local_day(row["created_at"], zone) == day]

    days = [FIRST + dt.timedelta(number) for number in range(DAYS)]
    partials = pl.concat(
        partials_of(
            of(conversations, day), of(messages, day),
            None if feedbacks is None else of(feedbacks, day), day=day, options=options,
        )
        for day in days
    )  # fmt: skip
    expected = metrics_oracle.report(
        conversations, messages, feedbacks, days=DAYS, zone=BERLIN, markers=MARKERS
    )
    merged = merge_partials(DAILY_PARTIALS.conform(partials.collect()).lazy())
    for rows in (partials, merged):
        got = by_key(metric_values(rows, days=DAYS).collect())
        assert got.keys() == expected.keys()
        differing = {
            key: (value, expected[key])
            for key, value in got.items()
            if not agrees(key[1], value, expected[key])
        }
        assert differing == {}


def test_the_oracles_know_every_metric() -> None:
    every = {metric.name for metric in METRICS}
    assert {name for _, name, _ in metrics_oracle.report([], [])} == every
    nothing = (conversations_frame([]).collect(), messages_frame([]).collect())
    in_sql = {name for _, name, _ in metrics_sql.report(*nothing)}
    assert every - in_sql == metrics_sql.NOT_IN_SQL


def test_a_day_of_debugger_rows_is_a_day_without_rows() -> None:
    debugger = {"invoke_from": "debugger"}
    assert values([conversation(**debugger)], [turn(**debugger)] * 3) == values([], [])


@pytest.mark.parametrize(
    ("column", "wrong", "metric"),
    [
        ("message_tokens", 2**63 - 1, "message_tokens"),
        ("answer_tokens", -7, "answer_tokens"),
        ("total_price", Decimal("9999999999999.9999999"), "cost"),
    ],
)
def test_a_value_that_cannot_be_takes_no_day_with_it(column: str, wrong: Any, metric: str) -> None:
    currency = "USD" if metric == "cost" else None
    alone = overall(metric, turn(), currency=currency)
    assert overall(metric, turn(), *[turn(**{column: wrong})] * 3, currency=currency) == alone


@pytest.mark.parametrize(
    ("wrong", "unknown", "currency"),
    [
        ([{"answer_tokens": 10**9, "latency_s": 1e-6}], "output_speed", None),
        (
            [{"answer_tokens": 10**9, "latency_s": None}, {"latency_s": 1e-6}],
            "dify_tokens_per_second",
            None,
        ),
        (
            [{"total_price": Decimal(10**9), "message_tokens": 0, "answer_tokens": 0}] * 11
            + [{"message_tokens": 1, "answer_tokens": 0}],
            "cost_per_1k_tokens",
            "USD",
        ),
    ],
)
def test_a_quotient_that_no_column_holds_is_unknown_and_takes_no_report_with_it(
    wrong: list[Row], unknown: str, currency: str | None
) -> None:
    turns = [turn(**columns) for columns in wrong]
    assert overall(unknown, *turns, currency=currency) is None
    assert overall("turns", *turns) == len(turns)
    assert (
        model_performance(partials_of([], turns), DAY, engine=CPU)["turns"].to_list()
        == [len(turns)] * 2
    )


def test_large_sums_of_money_have_a_price_per_thousand_tokens() -> None:
    dear = turn(total_price=Decimal(10**9), message_tokens=500, answer_tokens=500)
    assert overall("cost_per_1k_tokens", *[dear] * 100, currency="USD") == 10**9


def test_a_turn_without_a_measured_time_is_no_turn_of_zero_seconds() -> None:
    failed = turn(status="error", answer="", latency_s=0.0, time_to_first_token_s=0.0)
    assert overall("latency_p50", failed, failed) is None
    assert overall("time_to_first_token_p50", failed) is None
    got = overall("latency_p50", *[failed] * 3, turn(latency_s=2.0))
    assert float(got or 0) == pytest.approx(2.0, rel=0.01)


def test_an_empty_currency_is_no_currency() -> None:
    got = values([], [turn(currency="", total_price=Decimal(1)), turn(currency=None)])
    costs = {key[2]: value for key, value in got.items() if key[:2] == (None, "cost")}
    assert costs == {None: Decimal("1.01")}


def test_names_are_unique_and_definitions_complete() -> None:
    assert len(METRICS_BY_NAME) == len(METRICS)
    for metric in METRICS:
        texts = (metric.title, metric.unit, metric.formula, metric.null_rule, metric.source)
        assert all(texts), metric.name
        assert "|" not in "".join(texts), metric.name
        if metric.name != "dify_total_price":  # which adds up currencies: that is its fault
            assert (metric.grain is Grain.APP_CURRENCY) == (metric.type is MetricType.MONEY)


def test_a_metric_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        METRICS[0].name = "other"  # type: ignore[misc]


def test_the_docs_name_every_metric_once() -> None:
    page = metrics_markdown()
    assert all(page.count(f"| `{metric.name}` |") == 1 for metric in METRICS)
    assert page.endswith("\n")


def test_currencies_are_never_added_up() -> None:
    got = values(
        [],
        [
            turn(total_price=Decimal("1.5"), currency="USD"),
            turn(total_price=Decimal(7), currency="RMB"),
            turn(total_price=Decimal(2), currency=None),
            turn(total_price=None, currency="EUR"),
        ],
    )
    costs = {key[2]: value for key, value in got.items() if key[:2] == (None, "cost")}
    assert costs == {
        "USD": Decimal("1.5"),
        "RMB": Decimal(7),
        None: Decimal(2),
        "EUR": None,
    }


def test_turns_without_price_and_currency_add_no_row_beside_a_known_currency() -> None:
    got = values([], [turn(), turn(total_price=None, currency=None)])
    assert {key[2] for key in got if key[1] == "cost"} == {"USD"}


def test_cost_per_thousand_tokens_is_a_ratio_of_sums() -> None:
    cheap = turn(total_price=Decimal("0.01"), message_tokens=900, answer_tokens=100)
    dear = turn(total_price=Decimal("0.09"), message_tokens=1000, answer_tokens=2000)
    assert overall("cost_per_1k_tokens", cheap, dear, currency="USD") == Decimal("0.025")
    free = turn(message_tokens=0, answer_tokens=0)
    assert overall("cost_per_1k_tokens", free, currency="USD") is None


def test_a_user_of_two_apps_is_one_user_over_all_apps() -> None:
    got = values([], [turn(app_id="a"), turn(app_id="b"), turn(app_id="b", user_id="u2")])
    assert got[None, "active_users", None] == 2
    assert got["a", "active_users", None] == 1
    assert got["b", "active_users", None] == 2
    assert got[None, "engaged_users", None] == 1
    assert got["b", "engaged_users", None] == 0


def test_users_are_unknown_if_no_turn_has_one() -> None:
    assert overall("active_users", turn(user_id=None)) is None
    assert overall("active_users", turn(user_id=None), turn()) == 1


def test_an_app_with_new_conversations_only_has_no_turns_and_unknown_rates() -> None:
    got = values([conversation(app_id="quiet")], [turn()])
    assert got["quiet", "conversations_new", None] == 1
    assert got["quiet", "turns", None] == 0
    assert got["quiet", "active_users", None] == 0
    assert got["quiet", "error_rate", None] is None
    assert got["quiet", "cost", None] is None


def test_rows_without_an_app_have_a_row_of_their_own_and_count_overall() -> None:
    got = values([], [turn(app_id=None), turn(app_id="a")])
    assert got[NO_APP, "turns", None] == 1
    assert got[None, "turns", None] == 2


def test_rates_are_rounded_to_seven_places() -> None:
    turns = [turn(status="error"), turn(), turn()]
    assert overall("error_rate", *turns) == Decimal("0.3333333")


def test_output_speed_leaves_out_turns_without_latency() -> None:
    timed = turn(answer_tokens=60, latency_s=2.0)
    assert overall("output_speed", timed, turn(answer_tokens=999, latency_s=None)) == 30
    assert overall("output_speed", turn(latency_s=0.0)) is None


def test_percentiles_of_a_merged_range_come_from_the_merged_sketch() -> None:
    fast = [turn(latency_s=1.0)] * 99
    days = [partials_of([], rows) for rows in (fast, [turn(latency_s=100.0)])]
    frame = metric_values(pl.concat(days), days=1).collect()
    p99 = frame.filter(pl.col("app_id").is_null() & (pl.col("metric") == "latency_p99"))
    assert float(p99["value"][0]) == pytest.approx(1.0, rel=0.01)
