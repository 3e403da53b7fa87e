from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.documents import (
    ConversationSlice,
    Document,
    UserDocuments,
    clean_text,
    conversation_header,
    conversation_slices,
    cut_to_milliseconds,
    merge_slice,
    message_document,
    message_documents,
    report_document,
    report_documents,
)
from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.schemas import CONVERSATIONS, DAILY_REPORT, MESSAGES, TableSchema
from conversation_analytics.core.user_analytics import USER_ANALYTICS

DAY = "2026-11-22"
NOON = dt.datetime(2026, 11, 22, 12, 0, 0, 123456, dt.UTC)
NOON_CUT = NOON.replace(microsecond=123000)
INPUTS = '{"a.b": 1.10, "$where": "x", "n": 123456789012345678901234567890, "s": "\\ud800"}'


def frame(schema: TableSchema, *rows: dict[str, Any]) -> pl.DataFrame:
    names = list(schema.polars)
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in names}, schema=schema.polars
    )


def test_a_message_keeps_both_texts_exact_money_and_json_as_text() -> None:
    messages = frame(
        MESSAGES,
        {
            "id": "m1",
            "conversation_id": "c1",
            "query": "Xin chào\n",
            "answer": "你好 👋",
            "inputs": INPUTS,
            "total_price": Decimal("0.0012000"),
            "latency_s": 1.5,
            "created_at": NOON,
        },
    )
    (document,) = message_documents(messages, DAY)
    assert list(document)[:2] == ["_id", "day"]
    assert set(document) == {"_id", "day", *MESSAGES.polars} - {"id"}
    assert (document["_id"], document["day"]) == ("m1", DAY)
    assert (document["query"], document["answer"]) == ("Xin chào\n", "你好 👋")
    assert document["inputs"] == INPUTS
    assert str(document["total_price"]) == "0.0012000"
    assert document["created_at"] == NOON_CUT
    assert document["error"] is None
    without_day = message_document(messages.row(0, named=True))
    assert {**without_day, "day": DAY} == document


def test_slices_join_the_days_conversations_and_messages() -> None:
    conversations = frame(
        CONVERSATIONS,
        {"id": "c2", "user_id": "u", "created_at": NOON},
        {"id": "c1", "user_id": "v", "created_at": NOON},
    )
    messages = frame(
        MESSAGES,
        {"id": "m1", "conversation_id": "c2", "created_at": NOON},
        {"id": "m2", "conversation_id": "c0", "created_at": NOON},
        {"id": "m3", "conversation_id": "c2", "created_at": NOON},
    )
    slices = conversation_slices(conversations, messages, DAY)
    shape = [(s.conversation_id, s.header is not None, [m["id"] for m in s.messages])
             for s in slices]  # fmt: skip
    assert shape == [("c0", False, ["m2"]), ("c1", True, []), ("c2", True, ["m1", "m3"])]
    assert slices[1].header == conversation_header(conversations.row(1, named=True))
    element = slices[0].messages[0]
    assert element["day"] == DAY
    assert not {"_id", "conversation_id"} & element.keys()


def test_a_conversation_with_two_rows_is_refused() -> None:
    twice = frame(CONVERSATIONS, {"id": "c1"}, {"id": "c1"})
    with pytest.raises(ContractError, match="c1"):
        conversation_slices(twice, MESSAGES.empty(), DAY)


def test_reports_hold_names_as_values() -> None:
    row = {"day": NOON.date(), "unit": "turns", "metric": "turns", "value": Decimal(7)}
    report = frame(
        DAILY_REPORT,
        {**row, "app_id": "b"},
        {**row, "app_id": None, "metric": "cost", "unit": "currency", "currency": "USD"},
        {**row, "app_id": None, "metric": "cost", "currency": "EUR", "value": None},
        {**row, "app_id": None},
        {**row, "app_id": "*"},
    )
    documents = report_documents(report, DAY)
    assert [one["_id"] for one in documents] == [f"daily:{DAY}:{app}" for app in ("*", "%2A", "b")]
    assert [one["app_id"] for one in documents] == [None, "*", "b"]
    assert documents[0]["metrics"] == [
        {"name": "cost", "unit": "turns", "currency": "EUR", "value": None},
        {"name": "cost", "unit": "currency", "currency": "USD", "value": Decimal(7)},
        {"name": "turns", "unit": "turns", "currency": None, "value": Decimal(7)},
    ]
    assert report_documents(report.reverse(), DAY) == documents
    assert report_documents(DAILY_REPORT.empty(), DAY) == []
    assert report_document("weekly", DAY, None, [])["_id"] == f"weekly:{DAY}:*"


def test_a_report_row_of_another_day_is_refused() -> None:
    report = frame(DAILY_REPORT, {"day": dt.date(2026, 11, 21), "metric": "turns", "unit": "1"})
    with pytest.raises(ContractError, match="2026-11-21"):
        report_documents(report, DAY)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("né 👋", "né 👋"),
        ("\ud83d\udc4b", "👋"),
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("é\ud83d", "é\ufffd"),
        ("\ud83d\ud83d\udc4b", "\ufffd👋"),
    ],
)
def test_lone_surrogates_are_replaced(given_text: str, expected: str) -> None:
    assert clean_text(given_text) == expected


@given(st.text(st.characters(codec=None, categories=None)))
def test_cleaned_text_can_always_be_encoded(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode()
    assert clean_text(cleaned) == cleaned


@given(st.datetimes(timezones=st.timezones(), min_value=dt.datetime(1900, 1, 1)))  # noqa: DTZ001 as hypothesis asks
def test_times_are_cut_downwards(instant: dt.datetime) -> None:
    cut = cut_to_milliseconds(instant)
    assert cut.tzinfo is dt.UTC
    assert cut.microsecond % 1000 == 0
    assert dt.timedelta(0) <= instant - cut < dt.timedelta(milliseconds=1)


def slices_of_day(day: str) -> st.SearchStrategy[ConversationSlice]:
    message = st.builds(
        lambda number, minute, model: {
            "id": f"m{number}",
            "created_at": None if minute is None else NOON + dt.timedelta(minutes=minute),
            "model_id": model,
        },
        st.integers(0, 5),
        st.none() | st.integers(0, 3),
        st.sampled_from([None, "a", "b"]),
    )
    return st.builds(
        ConversationSlice,
        st.just("c"),
        st.none() | st.builds(lambda name: {"name": name, "day": day}, st.text(max_size=2)),
        st.lists(message, max_size=4, unique_by=lambda one: str(one["id"])),
    )


@given(st.data())
def test_only_the_last_slice_of_each_day_counts(data: st.DataObject) -> None:
    days = ["2026-11-21", "2026-11-22", "2026-11-23"]
    history = data.draw(
        st.lists(
            st.sampled_from(days).flatmap(lambda day: st.tuples(st.just(day), slices_of_day(day))),
            max_size=8,
        )
    )
    document: Document | None = None
    for day, piece in history:
        document = merge_slice(document, piece, day)
    direct: Document | None = None
    for day, piece in sorted(dict(history).items()):
        direct = merge_slice(direct, piece, day)
    assert repr(document) == repr(direct)
    last = dict(history)
    messages = [(day, one) for day in last for one in last[day].messages]
    headers = {day: last[day].header for day in last if last[day].header is not None}
    if not messages and not headers:
        assert document is None
        return
    assert document is not None
    assert document["message_count"] == len(messages)
    assert document["days"] == sorted(headers.keys() | {day for day, _ in messages})
    assert document["header_day"] == min(headers, default=None)
    assert document["models"] == sorted({one["model_id"] for _, one in messages} - {None})
    times = [one["created_at"] for _, one in messages if one["created_at"] is not None]
    assert document["first_message_at"] == min(times, default=None)
    assert document["last_message_at"] == max(times, default=None)


def turn_of(day: str) -> list[Document]:
    return [{"id": f"turn of {day}", "created_at": NOON, "model_id": None}]


EARLY, LATE, LATER = "2026-11-21", "2026-11-22", "2026-11-23"
CREATED = ConversationSlice("c", {"user_id": "u1"}, turn_of(EARLY))
GOES_BY_AGE = ConversationSlice("c", None, [], by_age=True)
WITHDRAWN = ConversationSlice("c", None, [])


def continued(day: str) -> ConversationSlice:
    return ConversationSlice("c", None, turn_of(day))


def merged(*history: tuple[str, ConversationSlice]) -> Document | None:
    document: Document | None = None
    for day, piece in history:
        document = merge_slice(document, piece, day)
    return document


KEPT = ((EARLY, CREATED), (LATE, continued(LATE)), (EARLY, GOES_BY_AGE))
"""A conversation whose day of creation went by age, while another day has a turn of it."""


def test_a_header_outlives_its_day_while_another_day_has_a_turn() -> None:
    whole, kept = merged(*KEPT[:2]), merged(*KEPT)
    assert whole is not None
    assert kept is not None
    assert kept == whole | {
        "header_kept": True,
        "messages": [{**turn_of(LATE)[0], "day": LATE}],
        "message_count": 1,
    }
    assert merged(*KEPT, (EARLY, GOES_BY_AGE)) == kept  # again, after a kill
    assert merged(*KEPT, (LATE, continued(LATE))) == kept


@pytest.mark.parametrize("last", [GOES_BY_AGE, WITHDRAWN], ids=["by age", "erased or purged"])
def test_a_header_that_outlived_its_day_goes_with_the_last_turn(last: ConversationSlice) -> None:
    assert merged(*KEPT, (LATE, last)) is None
    more = merged(*KEPT, (LATER, continued(LATER)), (LATE, last))
    assert more is not None
    assert (more["user_id"], more["header_day"], more["days"]) == ("u1", EARLY, [EARLY, LATER])


def test_a_header_that_outlived_its_day_can_be_taken_out_alone() -> None:
    left = merged(*KEPT, (EARLY, WITHDRAWN))
    assert left == merged((LATE, continued(LATE)))
    assert "user_id" not in (left or {})


def test_a_header_that_outlived_its_day_gives_way_to_that_of_any_other_day() -> None:
    moved = ConversationSlice("c", {"user_id": "u2"}, turn_of(LATER))
    expected = merged((LATE, continued(LATE)), (LATER, moved))
    assert merged(*KEPT, (LATER, moved)) == expected
    both = ((EARLY, CREATED), (LATE, continued(LATE)), (LATER, moved))
    assert merged(*both, (EARLY, GOES_BY_AGE)) == expected


def test_a_day_that_is_made_again_owns_its_header_again() -> None:
    back = merged(*KEPT, (EARLY, CREATED))
    assert back == merged(*KEPT[:2])
    assert merged(*KEPT, (EARLY, CREATED), (LATE, WITHDRAWN)) == merged((EARLY, CREATED))


def test_nothing_outlives_a_day_that_is_alone_and_the_header_of_a_later_day_is_its_own() -> None:
    assert merged((EARLY, CREATED), (EARLY, GOES_BY_AGE)) is None
    created = ConversationSlice("c", {"user_id": "u1"}, [])
    alone = merged((EARLY, continued(EARLY)), (LATE, created), (EARLY, GOES_BY_AGE))
    assert alone == merged((LATE, created))
    assert "header_kept" not in (alone or {})


def test_turns_that_were_left_out_keep_a_header_too() -> None:
    cut = merge_slice(merged(*KEPT[:2]), continued(LATE), LATE, cut=True)
    assert cut is not None
    left_out = {**cut, "messages": [], "messages_truncated": True, "truncated_days": [
        {"day": LATE, "message_count": 1, "first_message_id": "x", "first_message_at": NOON,
         "last_message_at": NOON, "models": []}
    ]}  # fmt: skip
    kept = merge_slice(left_out, GOES_BY_AGE, EARLY)
    assert kept is not None
    assert (kept["header_kept"], kept["user_id"], kept["message_count"]) == (True, "u1", 1)
    assert merge_slice(kept, GOES_BY_AGE, LATE) is None


def test_documents_of_users_are_built_when_they_are_asked_for() -> None:
    people = ["$set", "a.b", "", "u" * 5000, "用户"]
    users = frame(
        USER_ANALYTICS,
        *(
            {"app_id": app, "user_id": user, "first_at": NOON, "costs": '{"": "1.5", "$a": "2"}'}
            for app in (None, "*")
            for user in people
        ),
    )
    documents = UserDocuments(users)
    every = list(documents)
    assert len(documents) == len(every) == len({one["_id"] for one in every}) == 10
    assert documents[3:7] == every[3:7]
    assert [documents[n] for n in range(10)] == every
    assert [one["user_id"] for one in every] == people * 2
    assert every[0]["costs"] == [
        {"currency": None, "cost": Decimal("1.5")}, {"currency": "$a", "cost": Decimal(2)},
    ]  # fmt: skip
