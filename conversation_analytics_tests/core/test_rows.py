from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.rows import TypedRows, _Batch, _typed_quickly, type_rows
from conversation_analytics.core.schemas import (
    CONVERSATION_DEAD_LETTERS,
    CONVERSATIONS,
    DAILY_REPORT,
    MESSAGE_DEAD_LETTERS,
    MESSAGES,
    RAW_MESSAGES,
    UNDATED_CONVERSATIONS,
    UNDATED_MESSAGES,
    TableSchema,
)
from conversation_analytics_tests.oracles.rows_oracle import type_rows_slowly

AT = dt.datetime(2026, 11, 3, 12, 30, 5, tzinfo=dt.UTC)
NIL = "00000000-0000-0000-0000-000000000000"
MESSAGE: dict[str, Any] = {
    "id": "m1",
    "conversation_id": "c1",
    "parent_message_id": None,
    "app_id": "a1",
    "model_provider": "p",
    "model_id": "m",
    "query": "hello",
    "answer": "hi",
    "inputs": {"plan": "pro"},
    "message_tokens": 12,
    "answer_tokens": 5,
    "message_unit_price": "0.4000",
    "message_price_unit": "0.0000010",
    "answer_unit_price": "1.6000",
    "answer_price_unit": "0.0000010",
    "total_price": "0.0000128",
    "currency": "USD",
    "provider_response_latency": 1.25,
    "error": None,
    "message_metadata": '{"usage":{"time_to_first_token":0.5}}',
    "agent_based": False,
    "workflow_run_id": None,
    "status": "normal",
    "invoke_from": "web-app",
    "from_source": "api",
    "from_end_user_id": "u1",
    "from_account_id": None,
    "created_at": "2026-11-03 12:30:05+00:00",
    "updated_at": "2026-11-03 12:30:07+00:00",
}
CONVERSATION: dict[str, Any] = {
    "id": 7,
    "mode": "chat",
    "dialogue_count": 3,
    "is_deleted": "f",
    "from_account_id": 12,
    "created_at": "2026-11-03T12:30:05Z",
}


def raw_frame(payloads: list[str], created_at: dt.datetime | None = AT) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (f"r{number:03d}", created_at, text, hashlib.sha256(text.encode()).hexdigest())
            for number, text in enumerate(payloads)
        ],
        schema=RAW_MESSAGES.polars,
        orient="row",
    )


def typed(*rows: dict[str, Any], schema: TableSchema = MESSAGES) -> TypedRows:
    return type_rows(raw_frame([json.dumps(row) for row in rows]), schema, where="test")


def one(schema: TableSchema = MESSAGES, **changes: Any) -> dict[str, Any]:
    base = MESSAGE if schema is MESSAGES else CONVERSATION
    result = typed(base | changes, schema=schema)
    assert result.dead_letters.height == 0, result.dead_letters["reason"].to_list()
    return result.frame.row(0, named=True)


def reason(payload: str | None = None, **changes: Any) -> str:
    text = json.dumps(MESSAGE | changes) if payload is None else payload
    good = json.dumps(MESSAGE | {"id": "good"})
    result = type_rows(raw_frame([good, text]), MESSAGES, where="test")
    assert result.frame["id"].to_list() == ["good"]
    assert result.dead_letters["source_id"].to_list() == ["r001"]
    assert result.dead_letters["payload"].to_list() == [text]
    found: str = result.dead_letters["reason"][0]
    return found


def test_a_good_message_gets_the_pinned_schema_and_its_derived_columns() -> None:
    result = typed(MESSAGE)
    assert result.frame.schema == MESSAGES.polars
    assert (result.missing_optional, result.new_columns) == ((), ())
    row = result.frame.row(0, named=True)
    assert row["latency_s"] == 1.25
    assert row["time_to_first_token_s"] == 0.5
    assert row["total_price"] == Decimal("0.0000128")
    assert row["user_id"] == "u1"
    assert row["created_at"] == AT
    assert row["extra"] is None


def test_a_conversation_with_integer_keys_gets_text_ids() -> None:
    row = one(CONVERSATIONS)
    assert (row["id"], row["user_id"], row["is_deleted"]) == ("7", "12", False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(12, 12), ("12", 12), (12.0, 12), ("12.0", 12), ("-3", -3), (2**63 - 1, 2**63 - 1)],
)
def test_whole_numbers_are_read_however_they_are_spelled(value: Any, expected: int) -> None:
    assert one(message_tokens=value)["message_tokens"] == expected


@pytest.mark.parametrize(
    "value", [12.5, "12.5", True, "twelve", "1_000", "๑๒", 2**63, 1e300, [1], {}, ""]
)
def test_what_is_no_whole_number_kills_its_own_row_only(value: Any) -> None:
    assert reason(message_tokens=value).startswith(
        "column message_tokens: expected a 64-bit integer, got "
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0012345", "0.0012345"),
        ('"0.1"', "0.1"),
        ("0.1", "0.1"),
        ("3", "3"),
        ("1e-7", "1e-7"),
        ("0.00000005", "0"),  # half-even
        ("0.00000015", "0.0000002"),
        ("9999999999999.9999999", "9999999999999.9999999"),
        ("-1.5", "-1.5"),
        ("1e-99999", "0"),
        ("0e99999", "0"),
    ],
)
def test_money_is_read_from_its_digits(text: str, expected: str) -> None:
    payload = json.dumps(MESSAGE | {"total_price": "@"}).replace('"@"', text)
    result = type_rows(raw_frame([payload]), MESSAGES, where="test")
    assert result.frame["total_price"].to_list() == [Decimal(expected)]


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "1e13", "9999999999999.99999999", "1e999999999999999999999", True]
)
def test_money_that_does_not_fit_is_a_dead_letter(value: Any) -> None:
    assert "column total_price: expected a decimal of at most 13 digits" in reason(
        total_price=value
    )


def test_nan_as_a_json_number_is_a_dead_letter() -> None:
    assert "not JSON" in reason(provider_response_latency=float("nan"))


@pytest.mark.parametrize("value", ["inf", "nan", "1e400", True, [], "fast"])
def test_latency_must_be_a_finite_number(value: Any) -> None:
    assert "column provider_response_latency: expected a finite number" in reason(
        provider_response_latency=value
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (0, False), (1, True), ("t", True), ("TRUE", True), ("0", False), (None, None)],
)
def test_booleans_come_in_many_spellings(value: Any, expected: bool | None) -> None:  # noqa: FBT001
    assert one(agent_based=value)["agent_based"] is expected


@pytest.mark.parametrize("value", [2, "yes", "", 1.0, []])
def test_other_booleans_are_dead_letters(value: Any) -> None:
    assert "column agent_based: expected a boolean" in reason(agent_based=value)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-03 12:30:05+00:00",
        "2026-11-03T12:30:05Z",
        "2026-11-03 12:30:05",
        "2026-11-03t12:30:05z".replace("t", "T"),
        "2026-11-03 19:30:05+07",
        "2026-11-03T18:00:05+05:30",
        "2026-11-03T18:00:05.000000000+0530",
        "2026-11-03T05:30:05-07:00",
    ],
)
def test_instants_become_utc(value: str) -> None:
    assert one(created_at=value)["created_at"] == AT


def test_a_fraction_of_a_second_is_kept_to_the_microsecond() -> None:
    row = one(created_at="2026-11-03T12:30:05.1234567Z")
    assert row["created_at"] == AT.replace(microsecond=123456)


@pytest.mark.parametrize(
    "value",
    [
        "yesterday", "2026-11-03", "20261103T123005", "2026-W45-2T12:00", 1793709005,
        "2026-02-30 00:00:00", "2026-11-03 24:00:00", "0001-01-01 00:00:00+12:00", "",
        "2026-11-03 12:30:05+24:00",
    ],
)  # fmt: skip
def test_other_instants_are_dead_letters(value: Any) -> None:
    assert "column created_at: expected an instant" in reason(created_at=value)


def test_a_row_without_time_of_creation_is_dead_in_a_day_and_alive_among_the_undated() -> None:
    assert reason(created_at=None) == "column created_at: required, got null"
    row = json.dumps(MESSAGE | {"created_at": None, "updated_at": None})
    result = type_rows(raw_frame([row], None), UNDATED_MESSAGES, where="test")
    assert result.frame.schema == UNDATED_MESSAGES.polars
    assert result.frame["created_at"].to_list() == [None]


def test_where_no_row_has_created_at_the_readers_time_counts() -> None:
    row = {k: v for k, v in MESSAGE.items() if k != "created_at"} | {"CreatedAt": "x"}
    result = typed(row)
    assert result.frame["created_at"].to_list() == [AT]
    assert result.missing_optional == ("created_at",)
    with pytest.raises(ContractError, match="created_at"):
        type_rows(raw_frame([json.dumps(row)], None), MESSAGES, where="test")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1.70, "a": None}, '{"a":null,"b":1.7}'),
        ('{"b": 1.70, "a": null}', '{"a":null,"b":1.70}'),
        ("", None),
        ("null", None),
        ("not json", '"not json"'),
        ('{"x": NaN}', '"{\\"x\\": NaN}"'),
        ([], "[]"),
        (3, "3"),
    ],
)
def test_json_columns_are_canonical_whether_they_come_as_text_or_as_objects(
    value: Any, expected: str | None
) -> None:
    assert one(inputs=value)["inputs"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"usage": {"time_to_first_token": "0.25"}}, 0.25),
        ({"usage": {"time_to_first_token": 1}}, 1.0),
        ({"usage": {"time_to_first_token": None}}, None),
        ({"usage": {"time_to_first_token": "soon"}}, None),
        ({"usage": {"time_to_first_token": [1]}}, None),
        ({"usage": "time_to_first_token"}, None),
        (["time_to_first_token"], None),
        ("time_to_first_token", None),
        (None, None),
    ],
)
def test_time_to_first_token_is_read_where_it_is_a_number(value: Any, expected: Any) -> None:
    assert one(message_metadata=value)["time_to_first_token_s"] == expected


def test_the_nil_uuid_is_no_parent_and_an_empty_id_is_null() -> None:
    row = one(parent_message_id=NIL, from_end_user_id="", from_account_id="acc")
    assert row["parent_message_id"] is None
    assert (row["from_end_user_id"], row["user_id"]) == (None, "acc")


@pytest.mark.parametrize("value", [None, ""])
def test_a_null_in_a_required_column_kills_its_row(value: Any) -> None:
    assert "column conversation_id: required, got" in reason(conversation_id=value)


def test_a_required_column_that_no_row_has_stops_and_lists_the_columns_there_are() -> None:
    row = {k: v for k, v in MESSAGE.items() if k != "conversation_id"} | {"conv": "c1"}
    with pytest.raises(ContractError, match=r"test: .*conversation_id.*columns there are: .*conv"):
        typed(row)


def test_missing_optional_columns_are_null_and_reported_by_their_source_name() -> None:
    row = {
        k: v for k, v in MESSAGE.items() if k not in {"provider_response_latency", "total_price"}
    }
    result = typed(row)
    assert result.missing_optional == ("total_price", "provider_response_latency")
    assert result.frame.select("latency_s", "total_price").row(0) == (None, None)


def test_new_columns_are_kept_unchanged_in_extra_and_reported() -> None:
    payload = (
        json.dumps(MESSAGE)[:-1] + ', "zeta": 1.70, "alpha": {"y": 1, "x": "é"}, "gone": null}'
    )
    result = type_rows(raw_frame([payload]), MESSAGES, where="test")
    assert result.frame["extra"].to_list() == ['{"alpha":{"x":"é","y":1},"zeta":1.70}']
    assert result.new_columns == ("alpha", "gone", "zeta")


def test_known_columns_of_dify_are_no_news_and_nocodbs_own_are_put_aside() -> None:
    result = typed(MESSAGE | {"message": "prompt", "Id": 4, "nc_order": 1.5, "CreatedBy": {"a": 1}})
    assert result.new_columns == ()
    assert result.frame["extra"].to_list() == ['{"message":"prompt"}']


def test_titles_match_whatever_their_case_unless_two_do() -> None:
    row = {k: v for k, v in MESSAGE.items() if k not in {"id", "query"}} | {"Id": 4, "Query": "hey"}
    result = typed(row)
    assert result.frame.select("id", "query").row(0) == ("4", "hey")
    assert result.new_columns == ()
    both = typed(row | {"QUERY": "ho"})
    assert both.frame["query"].to_list() == [None]
    assert both.new_columns == ("QUERY", "Query")
    assert "query" in both.missing_optional


def test_titles_that_turn_up_late_are_matched_as_if_known_from_the_start() -> None:
    short = {k: v for k, v in MESSAGE.items() if k != "query"}
    rows = [short | {"id": f"{n:04d}", "Query": "a"} for n in range(1500)]
    rows[-1] = short | {"id": "last", "query": "b"}
    result = typed(*rows)
    assert result.new_columns == ("Query",)
    assert result.frame.height == 1500
    assert result.frame.filter(pl.col("query").is_not_null())["id"].to_list() == ["last"]
    assert result.frame["extra"].null_count() == 1


def test_characters_that_cannot_be_stored_are_replaced_and_the_row_is_kept() -> None:
    payload = (
        json.dumps(MESSAGE | {"query": "@", "inputs": {"k": "@"}})
        .replace("@", r"a\ud83d b\u0000 \\ud800 \ud83d\ude00 \udc00")
    )  # fmt: skip
    result = type_rows(raw_frame([payload]), MESSAGES, where="test")
    text = "a\ufffd b\ufffd \\ud800 😀 \ufffd"
    assert result.frame["query"].to_list() == [text]
    assert json.loads(result.frame["inputs"][0]) == {"k": text}


@pytest.mark.parametrize(
    ("payload", "shape"),
    [
        ("", "not JSON"),
        ("<html>", "text of 6 characters that is not JSON"),
        ("[1, 2]", "an array of 2 values"),
        ("null", "null"),
        ('"text"', "a string of 4 characters"),
        ("[" * 100_000, "not JSON"),
        ('{"a":1e99999999999999999999}', "not JSON"),
        ('{"a":' + "9" * 10_000 + "}", "not JSON"),
    ],
)
def test_a_payload_that_is_no_object_is_a_dead_letter(payload: str, shape: str) -> None:
    found = reason(payload)
    assert found.startswith("payload: expected a JSON object, got ")
    assert shape in found


def test_a_reason_never_holds_the_value() -> None:
    found = reason(query=["secret"], total_price="secret", currency={"secret": 1}, id=None)
    assert "secret" not in found
    assert found.count("column ") == 4
    assert "column total_price: expected a decimal" in found
    assert "got a string of 6 characters" in found


def test_no_rows_give_empty_frames_of_the_right_schemas() -> None:
    result = type_rows(RAW_MESSAGES.empty(), CONVERSATIONS, where="test")
    assert result.frame.schema == CONVERSATIONS.polars
    assert result.dead_letters.schema == CONVERSATION_DEAD_LETTERS.polars
    assert (result.missing_optional, result.new_columns) == ((), ())


def test_rows_that_are_all_dead_are_no_broken_contract() -> None:
    result = type_rows(raw_frame(["x", "[]"]), MESSAGES, where="test")
    assert (result.frame.height, result.dead_letters.height) == (0, 2)
    assert result.dead_letters.schema == MESSAGE_DEAD_LETTERS.polars


def test_other_schemas_are_refused() -> None:
    with pytest.raises(ContractError, match="daily_report"):
        type_rows(RAW_MESSAGES.empty(), DAILY_REPORT, where="test")


TRICKY = st.sampled_from(
    ["", " 12 ", "1e3", "-0", "t", "False", "null", '{"b":1,"a":[2.50]}', '{"a":NaN}', NIL,
     "0.00000025", "2026-11-03 12:30:05", "2026-11-03T12:30:05.1234567+05:30",
     "9999-12-31 23:59:59-01:00", "\ud800x", "\0", "1e400", "99999999999999999999",
     r'{"a":"\ud800\u0000"}', '{"usage":{"time_to_first_token":2}}', 0, 1, 12.0, 1e300, 1e-300,
     0.00000015, -(2**63), 2**63, None]
)  # fmt: skip
SCALARS = st.booleans() | st.integers() | st.floats(width=64) | st.text(max_size=8)
VALUES = TRICKY | st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
TITLES = st.sampled_from([*MESSAGE, *CONVERSATION]) | st.sampled_from(
    ["Query", "QUERY", "Id", "CreatedAt", "Created_At", "message", "rating", "nc_order"]
)
CHANGES = st.lists(st.dictionaries(TITLES, VALUES, min_size=1, max_size=6), min_size=1, max_size=6)


@given(
    changes=CHANGES,
    dropped=st.sets(st.sampled_from([k for k in MESSAGE if k not in {"id", "conversation_id"}])),
    schema=st.sampled_from([MESSAGES, CONVERSATIONS, UNDATED_MESSAGES, UNDATED_CONVERSATIONS]),
    broken=st.sampled_from([None, None, "", "[]", '{"id":']),
    ascii_only=st.booleans(),
)
@example([{"created_at": None}], set(), MESSAGES, None, True)  # noqa: FBT003
@settings(max_examples=300, deadline=None)
def test_any_json_value_anywhere_is_typed_as_the_slow_oracle_types_it(
    changes: list[dict[str, Any]],
    dropped: set[str],
    schema: TableSchema,
    broken: str | None,
    ascii_only: bool,  # noqa: FBT001
) -> None:
    base = {key: value for key, value in MESSAGE.items() if key not in dropped}
    payloads = [
        json.dumps(base | {"id": f"{number}"} | change, ensure_ascii=ascii_only)
        .encode("utf-8", "replace")
        .decode()
        for number, change in enumerate(changes)
    ]
    if broken is not None:
        payloads.append(broken)
    raw = raw_frame(payloads)
    result = type_rows(raw, schema, where="test")
    assert result.frame.schema == schema.polars
    assert result.frame.height + result.dead_letters.height == raw.height
    rows, dead = type_rows_slowly(
        [(row_id, at, payload) for row_id, at, payload, _ in raw.iter_rows()], schema
    )
    assert result.dead_letters["source_id"].to_list() == dead
    slow = schema.conform(pl.DataFrame(rows, schema=schema.polars))
    assert result.frame.rows() == slow.rows()


SIGNS = st.text(max_size=12) | st.sampled_from(
    ["", '\n\t"\\/', "\x01\x7f", "\u0e2a\u0e27\u0e31", "\U0001f600", '","query":"x', "\\u0000", "}"]
)
TEXTS = SIGNS.map(lambda text: json.dumps(text, ensure_ascii=False)) | SIGNS.map(json.dumps)
NUMERALS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,20})?([eE]-?[0-9]{1,2})?", fullmatch=True
)
WHOLES = st.integers(-(2**64), 2**64).map(str) | st.sampled_from(["-0", "0", "12.0", "1e3", "07"])
INNER = st.recursive(
    TEXTS | NUMERALS | st.sampled_from(["null", "true", "false"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(TEXTS, inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=6,
)
NULL = st.just("null")
CLOCKS = st.datetimes(
    dt.datetime(1, 1, 1),  # noqa: DTZ001 - the texts say the zone
    dt.datetime(9999, 12, 31),  # noqa: DTZ001
).map(lambda time: f"{time:%Y-%m-%d %H:%M:%S}".rjust(19, "0"))
TIMES = (
    st.tuples(CLOCKS, st.sampled_from(["+00:00", "", "Z", "+07:00", ".5Z"])).map("".join)
    | st.sampled_from(["2026-02-30 00:00:00", "2026-11-03T12:30:05Z", "0000-01-01 00:00:00", ""])
).map(json.dumps)
# JSON tokens, most of them of the form a column usually has.
TOKENS: dict[str, st.SearchStrategy[str]] = {
    "query": TEXTS | NULL,
    "model_id": TEXTS | NULL | NUMERALS,
    "inputs": INNER | NULL,
    "message_metadata": INNER.map(json.dumps) | NULL | TEXTS
    | NUMERALS.map(lambda n: json.dumps('{"usage":{"time_to_first_token":' + n + ',"a":[1.5]}}')),
    "message_tokens": WHOLES | NULL,
    "total_price": NUMERALS | NUMERALS.map(json.dumps) | NULL,
    "answer_unit_price": NUMERALS.map(json.dumps) | NULL,
    "provider_response_latency": NUMERALS | NULL,
    "agent_based": st.sampled_from(["true", "false", "null", "0", '"t"']),
    "created_at": TIMES | NULL,
    "updated_at": TIMES | NULL,
    "from_end_user_id": TEXTS | NULL | WHOLES,
    "from_account_id": TEXTS | NULL,
    "parent_message_id": st.sampled_from([f'"{NIL}"', '"p"', '""', "null"]),
    "conversation_id": st.sampled_from(['"c"', '""', "null", "5"]),
    "new column": INNER | NULL,
    "nc_order": NUMERALS | INNER,
}  # fmt: skip


def payload_of(row: dict[str, str], comma: str = ",") -> str:
    return "{" + comma.join(f"{json.dumps(key)}:{value}" for key, value in row.items()) + "}"


def slowly(raw: pl.DataFrame, schema: TableSchema) -> TypedRows:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conversation_analytics.core.rows._typed_quickly", lambda *_: None)
        return type_rows(raw, schema, where="test")


def assert_same(quick: TypedRows, slow: TypedRows) -> None:
    assert_frame_equal(quick.frame, slow.frame)
    assert_frame_equal(quick.dead_letters, slow.dead_letters)
    assert quick.missing_optional == slow.missing_optional
    assert quick.new_columns == slow.new_columns


@given(
    base=st.fixed_dictionaries({}, optional=TOKENS),
    changes=st.lists(
        st.tuples(st.integers(0, 39), st.fixed_dictionaries({}, optional=TOKENS)), max_size=12
    ),
    odd=st.lists(st.sampled_from(["", "[]", '{"QUERY":"x"}', '{"Query":1,"id":"o"}', "{}"])),
    comma=st.sampled_from([",", ",", ",", ", "]),
    schema=st.sampled_from([MESSAGES, CONVERSATIONS, UNDATED_MESSAGES, UNDATED_CONVERSATIONS]),
)
@settings(max_examples=400, deadline=None)
def test_the_quick_way_and_the_slow_way_never_differ(
    base: dict[str, str],
    changes: list[tuple[int, dict[str, str]]],
    odd: list[str],
    comma: str,
    schema: TableSchema,
) -> None:
    plain = {key: json.dumps(value) for key, value in MESSAGE.items()} | base
    rows = [plain | {"id": f'"{number:02d}"'} for number in range(40)]
    for number, change in changes:
        known = {key: value for key, value in change.items() if key in plain}
        rows[number] |= known if number % 3 else change
    raw = raw_frame([payload_of(row, comma) for row in rows] + odd)
    try:
        slow = slowly(raw, schema)
    except ContractError as error:
        with pytest.raises(ContractError, match=re.escape(str(error))):
            type_rows(raw, schema, where="test")
        return
    assert_same(type_rows(raw, schema, where="test"), slow)


@given(tokens=st.lists(NUMERALS, min_size=40, max_size=40))
@settings(max_examples=200, deadline=None)
def test_the_quick_way_reads_the_same_numbers(tokens: list[str]) -> None:
    rows = [
        {key: json.dumps(value) for key, value in MESSAGE.items()}
        | {
            "id": f'"{number:02d}"',
            "provider_response_latency": token,
            "total_price": token,
            "answer_unit_price": f'"{token}"',
            "inputs": f'{{"a":{token}}}',
            "message_metadata": json.dumps(f'{{"usage":{{"time_to_first_token":{token}}}}}'),
        }
        for number, token in enumerate(tokens)
    ]
    raw = raw_frame([payload_of(row) for row in rows])
    assert_same(type_rows(raw, MESSAGES, where="test"), slowly(raw, MESSAGES))


def quick_rows(rows: list[dict[str, Any]], schema: TableSchema = MESSAGES) -> int:
    """How many of these rows go the quick way."""
    payloads = [json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in rows]
    batch = _Batch(schema, [None] * len(rows), dated=True)
    quick = _typed_quickly(raw_frame(payloads), batch)
    return 0 if quick is None else quick.frame.height


def test_rows_as_sources_serve_them_go_the_quick_way_and_doubtful_ones_do_not() -> None:
    good = [MESSAGE | {"id": str(number)} for number in range(100)]
    assert quick_rows(good) == 100
    numbers = [row | {"total_price": 0.0012345, "Id": 5, "new": [1, "b"]} for row in good]
    assert quick_rows(numbers) == 100
    text = [row | {"inputs": '{"a": 1}', "answer": "\n\U0001f600 \u0e2a"} for row in good]
    assert quick_rows(text) == 100
    doubtful = [row | ({"total_price": "1e3"} if n % 4 == 1 else {}) for n, row in enumerate(good)]
    assert quick_rows(doubtful) == 75
    assert quick_rows([CONVERSATION | {"id": n} for n in range(100)], CONVERSATIONS) == 0  # "f"
    conversations = [CONVERSATION | {"id": n, "is_deleted": False} for n in range(100)]
    assert quick_rows(conversations, CONVERSATIONS) == 100


def test_json_nested_too_deep_is_a_dead_letter_wherever_the_stack_ends() -> None:
    for depth in range(900, 1000):
        deep = "[" * depth + "]" * depth
        for column in ("inputs", "new"):
            payload = json.dumps(MESSAGE | {"id": "deep", column: "@"}).replace('"@"', deep)
            raw = raw_frame([json.dumps(MESSAGE), payload])
            result = type_rows(raw, MESSAGES, where="test")
            assert "m1" in result.frame["id"].to_list()
            assert result.frame.height + result.dead_letters.height == 2


def _halie() -> Path | None:
    shared = os.environ.get("SHARED_DATA_DIR")
    base = Path(shared) if shared else Path(__file__).parents[2].parent / "shared" / "data"
    folder = base / "halie"
    return folder if folder.is_dir() else None


@pytest.mark.skipif(_halie() is None, reason="the shared real data is not on this machine")
@pytest.mark.parametrize(
    ("file", "dated", "undated"),
    [
        ("messages", MESSAGES, UNDATED_MESSAGES),
        ("conversations", CONVERSATIONS, UNDATED_CONVERSATIONS),
    ],
)
def test_real_rows_are_all_typed(file: str, dated: TableSchema, undated: TableSchema) -> None:
    folder = _halie()
    assert folder is not None
    with gzip.open(folder / f"{file}.jsonl.gz", "rt", encoding="utf-8") as lines:
        payloads = [line.rstrip("\n") for line in lines]
    with_time = [p for p in payloads if json.loads(p)["created_at"] is not None]
    without = [p for p in payloads if json.loads(p)["created_at"] is None]
    assert len(payloads) > 800
    for schema, some in ((dated, with_time), (undated, without)):
        result = type_rows(raw_frame(some, None), schema, where=file)
        assert result.dead_letters["reason"].to_list() == []
        assert result.frame.height == len(some)
