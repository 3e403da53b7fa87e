"""Pseudonyms: stable, secret, and the rest of a row as it was served."""

import datetime as dt
import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core import schemas
from conversation_analytics.core.contract import default_contract, parse_contract
from conversation_analytics.core.pseudonyms import (
    USER_COLUMNS,
    PseudonymousSource,
    Pseudonyms,
    user_titles,
)
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.source import SourceTable
from conversation_analytics.sample.source import SampleSource
from conversation_analytics.sample.traffic import SampleTraffic

PSEUDONYMS = Pseudonyms("k3y-" * 10)
DAY = dt.date(2026, 11, 10)
START = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
END = START + dt.timedelta(days=1)


def test_a_pseudonym_has_the_stated_form_and_depends_on_id_and_key() -> None:
    one = PSEUDONYMS.pseudonym("alice")
    assert one == PSEUDONYMS.pseudonym("alice")
    assert len(one) == 28
    assert set(one.removeprefix("u_")) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert one.startswith("u_")
    assert one != PSEUDONYMS.pseudonym("bob")
    assert one != Pseudonyms("another key" * 4).pseudonym("alice")


def test_the_form_is_pinned_for_lakes_there_are() -> None:
    assert PSEUDONYMS.pseudonym("alice") == "u_a6t5xju35e66gkwoklfrsvxuzu"


def test_the_rest_of_a_row_keeps_its_bytes() -> None:
    row = '{"id": "1","from_end_user_id":"alice","total_price":"1.0000000","x":1.50,"q":"\\u00e9"}'
    alias = PSEUDONYMS.pseudonym("alice")
    assert PSEUDONYMS.row(row, USER_COLUMNS) == (
        f'{{"id":"1","from_end_user_id":"{alias}","total_price":"1.0000000","x":1.50,'
        '"q":"\\u00e9"}'
    )
    without = '{"id": "1", "query": "alice"}'
    assert PSEUDONYMS.row(without, USER_COLUMNS) == without


def test_ids_of_every_shape_are_replaced_and_nothing_stays_nothing() -> None:
    def replaced(value: str) -> object:
        return json.loads(PSEUDONYMS.row(f'{{"User_ID":{value}}}', USER_COLUMNS))["User_ID"]

    assert replaced("null") is None
    assert replaced('""') == ""
    assert replaced("7") == PSEUDONYMS.pseudonym("7") == replaced('"7"')
    for odd in ('{"email":"a@b.c"}', "1.5", "true", '["alice"]'):
        assert replaced(odd) == [PSEUDONYMS.pseudonym(odd)]


def test_a_row_that_is_no_object_is_withheld() -> None:
    assert "alice" not in PSEUDONYMS.row('["alice"', USER_COLUMNS)
    assert "alice" not in PSEUDONYMS.row('{"from_end_user_id": "alice"', USER_COLUMNS)


_SHOWN = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=6), _SHOWN)
def test_no_other_value_of_a_row_changes(others: dict[str, str], user: str) -> None:
    served = {**others, "from_end_user_id": user}
    kept = json.loads(PSEUDONYMS.row(json.dumps(served), frozenset({"from_end_user_id"})))
    assert kept == {**served, "from_end_user_id": PSEUDONYMS.pseudonym(user)}


def test_columns_that_the_contract_or_the_settings_name_hold_users_too() -> None:
    contract = parse_contract('[messages.names]\nfrom_end_user_id = "Kunde"', "test")
    titles = user_titles(contract, SourceTable.MESSAGES, ["E-Mail"])
    assert {"kunde", "e-mail", "from_end_user_id", "user_id"} <= titles
    assert "kunde" not in user_titles(contract, SourceTable.FEEDBACKS, [])


def test_rows_of_a_source_agree_with_each_other_and_tell_nothing_of_the_plain_row() -> None:
    plain = SampleSource(SampleTraffic(7, 60), DAY, DAY)
    source = PseudonymousSource(plain, PSEUDONYMS, default_contract())
    for table in SourceTable:
        before = plain.read_window(table, START, END)
        rows = source.read_window(table, START, END)
        again = source.read_ids(table, rows["id"].to_list())
        assert rows.equals(again.sort("created_at", "id"))
        shown = source.changes_since(table, START)
        held = dict(rows.select("id", "fingerprint").iter_rows())
        assert all(held[i] == f for i, f in shown.select("id", "fingerprint").iter_rows())
        for column in ("sha256", "content_sha256", "fingerprint"):
            assert set(rows[column]).isdisjoint(before[column])


def test_users_are_the_same_people_under_other_names() -> None:
    plain = SampleSource(SampleTraffic(7, 60), DAY, DAY)
    source = PseudonymousSource(plain, PSEUDONYMS, default_contract())

    def users(frame: pl.DataFrame) -> pl.Series:
        return type_rows(frame, schemas.MESSAGES, where="test").frame["user_id"]

    before = users(plain.read_window(SourceTable.MESSAGES, START, END))
    after = users(source.read_window(SourceTable.MESSAGES, START, END))
    named = [None if user is None else PSEUDONYMS.pseudonym(user) for user in before]
    assert after.to_list() == named
    assert after.drop_nulls().len() > 30


def test_a_dead_letter_holds_pseudonyms_too() -> None:
    served = {"id": "1", "conversation_id": "c", "query": "q", "answer": "a",
              "created_at": "no time",
              "from_end_user_id": {"mail": "alice@example.com"}}  # fmt: skip
    payload = PSEUDONYMS.row(json.dumps(served), USER_COLUMNS)
    raw = pl.DataFrame(
        [("1", START, payload, "", "", "", False)], schema=schemas.RAW_MESSAGES.polars, orient="row"
    )
    dead = type_rows(raw, schemas.MESSAGES, where="test").dead_letters
    assert "from_end_user_id" in dead["reason"][0]
    assert "alice" not in dead["payload"][0]
