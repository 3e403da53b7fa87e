from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.contract import default_contract, parse_contract
from conversation_analytics.core.schemas import RAW_MESSAGES
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.suppression import (
    RowNames,
    Suppressions,
    key_of_pseudonyms,
    parse_suppressions,
    row_names,
    row_owners,
)

EMPTY = Suppressions(b"k" * 32, key_shown=True)
ERASED = (
    EMPTY.with_user("u1")
    .with_conversations(["c1"], "u1")
    .with_rows(SourceTable.MESSAGES, {"m9": EMPTY.user("u1")})
)


def raw(*rows: dict[str, object] | str) -> pl.DataFrame:
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    ids = [f"m{number}" for number in range(len(texts))]
    frame = pl.DataFrame({"id": ids, "payload": texts})
    return frame.select(
        pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in RAW_MESSAGES.polars.items()
    )


def names(table: SourceTable = SourceTable.MESSAGES) -> RowNames:
    return row_names(default_contract(), table)


def test_rows_of_the_user_go_whatever_the_column_holds() -> None:
    rows = raw(
        {"from_end_user_id": "u1", "conversation_id": "c7"},
        {"From_Account_Id": "u1"},
        {"user_id": {"id": "u1"}},
        {"from_end_user_id": "u2", "conversation_id": "c1"},
        {"query": "u1", "created_by": "u1", "conversation_id": "c2"},
        "no object",
    )
    assert ERASED.suppressed(rows, names()).to_list() == [True, True, True, False, False, False]


def test_a_whole_number_is_an_id_too() -> None:
    rows = raw({"from_end_user_id": 7}, {"from_end_user_id": 71})
    assert EMPTY.with_user("7").suppressed(rows, names()).to_list() == [True, False]


def test_of_an_erased_conversation_go_turns_of_nobody_and_every_rating() -> None:
    rows = raw(
        {"conversation_id": "c1"},
        {"conversation_id": "c2"},
        {"conversation_id": "c1", "from_account_id": "staff"},
    )
    assert ERASED.suppressed(rows, names()).to_list() == [True, False, False]
    ratings = ERASED.suppressed(rows, names(SourceTable.FEEDBACKS))
    assert ratings.to_list() == [True, False, True]


def test_an_erased_row_counts_as_left_out_and_no_other_table_s() -> None:
    assert ERASED.left_out(SourceTable.MESSAGES, ["m9", "m1"]).to_list() == [True, False]
    assert ERASED.left_out(SourceTable.CONVERSATIONS, ["m9"]).to_list() == [False]


def test_columns_may_be_named_otherwise() -> None:
    contract = parse_contract(
        '[messages.names]\nfrom_end_user_id = "kunde"\nconversation_id = "faden"', "contract"
    )
    found = row_owners(
        raw({"kunde": "u1", "faden": "c1"}), row_names(contract, SourceTable.MESSAGES)
    )
    assert found.rows() == [("m0", ["u1"], "c1")]


@given(st.sets(st.text(min_size=1)), st.sets(st.text(min_size=1)))
def test_the_list_is_read_as_it_was_written_and_names_nobody(
    users: set[str], conversations: set[str]
) -> None:
    told = EMPTY
    for user in users:
        told = told.with_user(user)
        told = told.with_rows(SourceTable.FEEDBACKS, {user: told.user(user)})
        told = told.with_conversations(conversations, user)
    text = told.to_json()
    assert parse_suppressions(text, "") == told
    assert told.ownerless == 0
    for user in users:
        told = told.without_user(user)
    assert told == EMPTY
    assert not any(f'"{user}"' in text for user in users if len(user) > 10)


def test_who_is_taken_off_the_list_is_read_again_and_nobody_else() -> None:
    both = (
        ERASED.with_user("u2")
        .with_conversations(["c2"], "u2")
        .with_rows(SourceTable.MESSAGES, {"m8": EMPTY.user("u2"), "m7": EMPTY.conversation("c1")})
    )
    rows = raw({"user_id": "u1", "conversation_id": "c1"}, {"user_id": "u2"})
    ratings = raw({"conversation_id": "c1"}, {"conversation_id": "c2"})
    of_ratings = names(SourceTable.FEEDBACKS)
    left = both.without_user("u1")
    assert both.suppressed(rows, names()).to_list() == [True, True]
    assert left.suppressed(rows, names()).to_list() == [False, True]
    assert both.suppressed(ratings, of_ratings).to_list() == [True, True]
    assert left.suppressed(ratings, of_ratings).to_list() == [False, True]
    told = left.left_out(SourceTable.MESSAGES, ["m9", "m8", "m7"])
    assert told.to_list() == [False, True, False]


def test_a_row_is_left_out_for_its_user_its_conversation_or_itself() -> None:
    rows = raw({"user_id": "u1"}, {"conversation_id": "c1"}, {}, {"user_id": "u2"})
    erased = ERASED.with_rows(SourceTable.MESSAGES, {"m2": EMPTY.user("u1")})
    assert erased.left_out_for(rows, names()).to_list() == [
        EMPTY.user("u1"), EMPTY.conversation("c1"), EMPTY.user("u1"), None,
    ]  # fmt: skip


def test_a_list_of_an_earlier_version_does_not_say_whose_its_rows_are() -> None:
    told = json.loads(ERASED.to_json())
    del told["owners"]
    older = parse_suppressions(json.dumps(told), "")
    assert older.ownerless == 2
    left = older.without_user("u1")
    assert left.users == frozenset()
    assert (left.conversations, left.rows) == (older.conversations, older.rows)


def test_what_an_earlier_version_listed_stays_out_when_the_last_person_leaves() -> None:
    told = json.loads(ERASED.to_json())
    del told["owners"]
    left = parse_suppressions(json.dumps(told), "").without_user("u1")
    rows = raw({"conversation_id": "c1"}, {"conversation_id": "c2"}, {"user_id": "u1"})
    assert left.suppressed(rows, names()).to_list() == [True, False, False]
    assert left.suppressed(rows, names(SourceTable.FEEDBACKS)).to_list() == [True, False, False]
    only_rows = replace(left, conversations=frozenset())
    numbered = raw(*[{} for _ in range(10)])
    assert only_rows.suppressed(numbered, names()).to_list() == [False] * 9 + [True]


def test_a_row_without_an_owner_that_is_read_again_is_still_without_one() -> None:
    told = json.loads(ERASED.to_json())
    del told["owners"]
    older = parse_suppressions(json.dumps(told), "")
    numbered = raw(*[{} for _ in range(10)])
    owners = dict(zip(numbered["id"], older.left_out_for(numbered, names()), strict=True))
    noted = older.with_rows(SourceTable.MESSAGES, {"m9": str(owners["m9"])})
    assert noted.ownerless == older.ownerless == 2


def test_with_a_key_of_pseudonyms_the_list_alone_tells_nobody() -> None:
    secret = "a-key-of-forty-characters,-made-up-123456"
    told = Suppressions(key_of_pseudonyms(secret), key_shown=False).with_user("u_x")
    text = told.to_json()
    assert json.loads(text)["key"] is None
    assert parse_suppressions(text, secret).users == told.users
    with pytest.raises(ValueError, match="PSEUDONYM_KEY"):
        parse_suppressions(text, "")


def test_a_list_of_plain_ids_is_refused_where_the_lake_has_pseudonyms() -> None:
    with pytest.raises(ValueError, match=r"without PSEUDONYM_KEY.*erase again"):
        parse_suppressions(ERASED.to_json(), "a-key-of-forty-characters,-made-up-123456")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": "00"}', '{"key": 1, "users": []}'])
def test_anything_else_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_suppressions(text, "")
