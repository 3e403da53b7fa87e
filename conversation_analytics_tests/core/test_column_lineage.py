"""What is said of columns is true: the columns exist, and a change of one changes the other."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from conversation_analytics.core.column_lineage import COLUMN_SOURCES
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.partials import PartialOptions, daily_partials
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import CONVERSATIONS, DAILY_PARTIALS, FEEDBACKS, MESSAGES
from conversation_analytics.core.tables import TABLES
from conversation_analytics_tests.core.metric_rows import DAY, MARKERS, Row, conversation, turn

_BY_NAME = {table.name: table for table in TABLES}
_AT = dt.datetime(2026, 3, 1, 9, tzinfo=dt.UTC)
_MINUTES = (0, 2, 5, 90, 91, 200)
_TURNS: list[Row] = [
    turn(
        id=f"m{number}", conversation_id=f"c{number // 2}", user_id=f"u{number // 3}",
        parent_message_id=f"p{number}", query="abcdef"[number] * 20,
        answer="" if number == 4 else f"yes {number}", status="error" if number == 5 else "normal",
        inputs='{"shop":"a"}', latency_s=1.5 + number, time_to_first_token_s=0.5 + number,
        created_at=_AT + dt.timedelta(minutes=minutes),
    )
    for number, minutes in enumerate(_MINUTES)
]  # fmt: skip
_DAY = {
    "conversations": pl.DataFrame(
        [conversation(id=f"c{number}") for number in range(3)], CONVERSATIONS.polars
    ),
    "messages": pl.DataFrame(_TURNS, MESSAGES.polars),
    "feedbacks": pl.DataFrame(
        [{"id": "f1", "app_id": "support", "conversation_id": "c1", "message_id": "m2",
          "user_id": "u0", "rating": "like", "from_source": "user", "gone": False,
          "created_at": _AT}],
        FEEDBACKS.polars,
    ),
    "message_language": pl.DataFrame(
        [{"id": one["id"], "query_language": "en", "answer_language": "en"} for one in _TURNS],
        MESSAGE_LANGUAGE.polars,
    ),
}  # fmt: skip
_OTHER: dict[str, list[pl.Expr]] = {
    "messages.status": [pl.lit("error")],
    "messages.answer": [pl.lit(""), pl.lit(MARKERS[0])],
    "messages.query": [pl.lit("The same question")],
    "messages.parent_message_id": [pl.lit("p")],
    "messages.conversation_id": [pl.lit("c"), pl.lit("c0")],
    "messages.inputs": [pl.lit('{"shop":"b"}')],
    "messages.created_at": [pl.col("created_at") + pl.duration(hours=3),
                            pl.lit(_AT + dt.timedelta(minutes=1)).dt.cast_time_unit("us")],
    "messages.total_price": [pl.lit(Decimal(7))],
    "messages.latency_s": [pl.lit(77.0), pl.lit(0.0)],
    "messages.time_to_first_token_s": [pl.lit(66.0)],
    "feedbacks.rating": [pl.lit("dislike")],
}  # fmt: skip
# Rows are counted, whatever stands in the column that names them.
_COUNTED = {("turns", "messages.id"), ("conversations_new", "conversations.id")}


def partials(day: dict[str, pl.DataFrame]) -> pl.DataFrame:
    turns = day["messages"].lazy()
    return DAILY_PARTIALS.conform(
        daily_partials(
            day["conversations"].lazy(), turns, day["feedbacks"].lazy(), day=DAY,
            rephrases=rephrased_turns(turns).lazy(), languages=day["message_language"].lazy(),
            options=PartialOptions("UTC", MARKERS, ("shop",)),
        ).collect()
    )  # fmt: skip


def changed(source: str) -> list[dict[str, pl.DataFrame]]:
    """Return the day with other values in one column, in one way or several."""
    table, column = source.split(".")
    kind = _BY_NAME[table].polars[column]
    fallback = [pl.lit("other")] if kind == pl.String else [pl.col(column) + 1]
    return [
        _DAY | {table: _DAY[table].with_columns(value.cast(kind).alias(column))}
        for value in _OTHER.get(source, fallback)
    ]


@pytest.mark.parametrize(
    ("column", "source"),
    sorted(
        (column, source)
        for column, sources in COLUMN_SOURCES["daily_partials"].items()
        for source in sources
        if (column, source) not in _COUNTED
    ),
)
def test_another_value_makes_another_partial(column: str, source: str) -> None:
    before = partials(_DAY)[column].sort().to_list()
    assert any(partials(day)[column].sort().to_list() != before for day in changed(source))


@pytest.mark.parametrize("table", ["messages", "conversations"])
def test_another_number_of_rows_makes_another_count(table: str) -> None:
    column = {"messages": "turns", "conversations": "conversations_new"}[table]
    fewer = _DAY | {table: _DAY[table].head(2)}
    assert partials(fewer)[column].sum() != partials(_DAY)[column].sum()


@pytest.mark.parametrize("table", sorted(COLUMN_SOURCES))
def test_every_column_and_source_is_there(table: str) -> None:
    assert COLUMN_SOURCES[table].keys() <= set(_BY_NAME[table].polars.names())
    for column, sources in COLUMN_SOURCES[table].items():
        assert sources, column
        assert len(set(sources)) == len(sources), column
        for source in sources:
            name, _, of = source.partition(".")
            assert of in _BY_NAME[name].polars.names(), source


def test_every_table_that_is_made_of_others_tells_it() -> None:
    read = {table.name for table in TABLES if table.name.startswith("raw_")}
    assert set(_BY_NAME) - set(COLUMN_SOURCES) == read | {"corrections", "translation_memory"}
