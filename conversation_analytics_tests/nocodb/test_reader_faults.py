"""What a source must refuse to take for rows."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.contract import columns_of, parse_contract
from conversation_analytics.core.errors import (
    ContractError,
    SourceAuthError,
    SourceRequestError,
    SourceUnavailableError,
)
from conversation_analytics.core.source import SourceTable
from conversation_analytics.nocodb.discovery import _TABLE_META, COMPUTED, lay_out
from conversation_analytics.nocodb.reader import NocoDBSource, _instant, _safe
from conversation_analytics_tests.nocodb.scripted_server import Answer, rows, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics.nocodb.discovery import TableLayout
    from conversation_analytics_tests.nocodb.scripted_server import ScriptedServer

START = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
END = dt.datetime(2026, 11, 11, tzinfo=dt.UTC)
TABLES = Answer(
    body=b'{"list": [{"id": "m1", "title": "messages"}, {"id": "c1", "title": "conversations"}]}'
)


def column(title: str, uidt: str = "SingleLineText", *, pk: bool = False) -> dict[str, Any]:
    return {"id": f"c_{len(title)}", "title": title, "uidt": uidt, "pk": pk}


PLAIN = [
    column("id", pk=True), column("conversation_id"), column("created_at", "DateTime"),
    column("query"), column("answer"),
]  # fmt: skip


def described(*columns: dict[str, Any]) -> Answer:
    return Answer(body=json.dumps({"title": "messages", "columns": columns}).encode())


def row(number: int, **values: object) -> dict[str, object]:
    return {
        "id": f"k{number}", "conversation_id": "c", "query": "q", "answer": "a",
        "created_at": "2026-11-10 12:00:00+00:00",
    } | values  # fmt: skip


@contextlib.contextmanager
def reading(*pages: Answer) -> Iterator[tuple[ScriptedServer, NocoDBSource]]:
    with scripted(TABLES, described(*PLAIN), *pages) as server:
        source = NocoDBSource(server.client(max_retries=1))
        with contextlib.closing(source):
            yield server, source


def test_a_server_that_ignores_the_keyset_is_no_endless_loop() -> None:
    with reading(rows(row(1), row(2))) as (server, source):
        with pytest.raises(SourceRequestError, match="ignores the filter"):
            source.read_window(SourceTable.MESSAGES, START, END)
        assert len(server.requests) == 4


def test_a_server_that_ignores_the_window_is_an_error() -> None:
    with (
        reading(rows(row(1, created_at="2026-11-08 12:00:00+00:00"))) as (_, source),
        pytest.raises(SourceRequestError, match="time zone"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)


def test_a_server_that_ignores_blank_is_an_error() -> None:
    with reading(rows(row(1))) as (_, source), pytest.raises(SourceRequestError, match="blank"):
        source.read_undated(SourceTable.MESSAGES)


def test_a_page_cut_short_by_the_server_is_not_the_end() -> None:
    pages = [rows(row(1), row(2), page_size=2), rows(row(3), page_size=2)]
    with reading(*pages) as (server, source):
        frame = source.read_window(SourceTable.MESSAGES, START, END)
    assert frame["id"].to_list() == ["k1", "k2", "k3"]
    assert len(server.requests) == 4
    assert "%28id%2Cgt%2Ck2%29" in server.requests[-1][0]


def test_without_page_info_only_an_empty_page_is_the_end() -> None:
    with reading(rows(row(1)), rows(row(2)), rows()) as (_, source):
        frame = source.read_window(SourceTable.MESSAGES, START, END)
    assert frame["id"].to_list() == ["k1", "k2"]


def test_an_answer_without_list_in_the_middle_is_not_the_end() -> None:
    with (
        reading(rows(row(1)), Answer(body=b'{"msg": "quota exceeded"}')) as (_, source),
        pytest.raises(SourceUnavailableError, match="not the JSON expected"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)


def test_a_row_that_repeats_counts_once() -> None:
    with reading(rows(row(1), row(1), row(2), page_size=1000)) as (_, source):
        assert source.read_window(SourceTable.MESSAGES, START, END).height == 2


@pytest.mark.parametrize("key", ["a,b", "a)~or(id,gt,0", "a b", "ü", "", "x" * 256])
def test_a_key_that_would_change_the_filter_never_goes_into_one(key: str) -> None:
    with (
        reading(rows(row(1, id=key))) as (server, source),
        pytest.raises(ContractError, match="primary key"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)
    assert len(server.requests) == 3


@pytest.mark.parametrize("key", [None, 1.5, True, {"a": 1}])
def test_a_row_without_a_usable_key_is_a_contract_error(key: object) -> None:
    with (
        reading(rows(row(1, id=key), page_size=9)) as (_, source),
        pytest.raises(ContractError, match="messages"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)


@pytest.mark.parametrize("time", ["yesterday", 1794268800, "2026-13-40 00:00:00"])
def test_a_time_that_is_none_is_a_contract_error_without_the_value(time: object) -> None:
    with (
        reading(rows(row(1, created_at=time), page_size=9)) as (_, source),
        pytest.raises(ContractError, match="created_at") as caught,
    ):
        source.read_window(SourceTable.MESSAGES, START, END)
    assert str(time) not in str(caught.value)


def test_a_refused_request_makes_the_next_read_look_at_the_columns_again() -> None:
    gone = Answer(404, b'{"error": "ERR_FIELD_NOT_FOUND"}')
    with reading(gone, TABLES, described(*PLAIN), rows(row(1), page_size=9)) as (server, source):
        with pytest.raises(SourceRequestError, match="ERR_FIELD_NOT_FOUND"):
            source.read_window(SourceTable.MESSAGES, START, END)
        assert source.read_window(SourceTable.MESSAGES, START, END).height == 1
        assert len(server.requests) == 6


def test_an_answer_of_another_form_names_the_address() -> None:
    with (
        scripted(Answer(body=b'{"tables": []}')) as server,
        contextlib.closing(NocoDBSource(server.client())) as source,
        pytest.raises(SourceUnavailableError, match="NOCODB_BASE_URL"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)


def layout_of(
    *columns: dict[str, Any], load_prompt: bool = False, contract: str = ""
) -> TableLayout:
    meta = _TABLE_META.decode(described(*columns).body)
    table = parse_contract(contract, "test").tables[SourceTable.MESSAGES]
    return lay_out(SourceTable.MESSAGES, "m1", meta, table, load_prompt=load_prompt)


def test_computed_columns_and_the_prompt_are_left_out() -> None:
    columns = [
        *PLAIN,
        *(column(f"computed_{uidt}", uidt) for uidt in sorted(COMPUTED)),
        column("message", "JSON"),
        column("nc_order", "Order"),
        column("new_column", "LongText"),
    ]
    titles = ["id", "conversation_id", "created_at", "query", "answer", "new_column"]
    assert [one.title for one in layout_of(*columns).columns] == titles
    prompt = layout_of(*columns, load_prompt=True)
    assert [one.title for one in prompt.columns] == [*titles[:5], "message", "new_column"]
    assert "message" not in [one.title for one in prompt.light]


def test_a_title_that_is_no_word_is_asked_for_by_its_id() -> None:
    layout = layout_of(*PLAIN, column("cost, (USD)", "Decimal"))
    assert layout.columns[-1].reference == "c_11"
    assert layout.columns[-1].title == "cost, (USD)"


@pytest.mark.parametrize(
    ("columns", "lacks"),
    [
        ([PLAIN[0], *PLAIN[2:]], "lacks: conversation_id; it has"),
        ([*PLAIN[:2], *PLAIN[3:]], "lacks: created_at; it has"),
        (PLAIN[:2], "lacks: answer, created_at, query; it has"),
        ([column("id"), *PLAIN[1:]], "primary key of one column (it has 0)"),
        ([*PLAIN, column("app", pk=True)], "primary key of one column (it has 2)"),
    ],
)
def test_missing_columns_are_told_with_those_there_are(
    columns: list[dict[str, Any]], lacks: str
) -> None:
    with pytest.raises(ContractError, match=re.escape(lacks)) as caught:
        layout_of(*columns)
    assert "it has: " in str(caught.value)
    assert "id (SingleLineText)" in str(caught.value)
    assert "NOCODB_MESSAGES_TABLE" in str(caught.value)
    assert "NOCODB_COLUMN_CONTRACT" in str(caught.value)


RENAMED = """
[messages]
ignored = ["embedding"]
[messages.names]
id = "uuid"
created_at = "sent_at"
updated_at = "edited_at"
conversation_id = "thread"
status = "state"
"""


def test_columns_are_found_by_the_names_of_the_contract() -> None:
    layout = layout_of(
        column("Id", "ID", pk=True), column("uuid"), column("thread"), column("query"),
        column("answer"), column("sent_at", "DateTime"), column("edited_at", "DateTime"),
        column("state"), column("CreatedAt", "CreatedTime"), column("embedding"),
        contract=RENAMED,
    )  # fmt: skip
    assert (layout.key.title, layout.row_id.title) == ("Id", "uuid")
    assert layout.created_at.title == "sent_at"
    assert {one.title for one in layout.changes} == {"edited_at", "CreatedAt"}
    assert "state" in {one.title for one in layout.light}
    assert "embedding" not in {one.title for one in layout.columns}
    assert layout.required == {"uuid", "thread", "query", "answer", "sent_at"}


def test_a_named_column_that_is_missing_is_told_by_both_names() -> None:
    with pytest.raises(ContractError) as caught:
        # NocoDB's own time of creation does not stand in for one that the contract names.
        layout_of(
            column("uuid", pk=True), column("query"), column("answer"),
            column("CreatedAt", "CreatedTime"), contract=RENAMED,
        )  # fmt: skip
    assert "conversation_id ('thread' at the source)" in str(caught.value)
    assert "created_at ('sent_at' at the source)" in str(caught.value)


def test_a_primary_key_is_loaded_though_it_is_ignored() -> None:
    pk = column("nr", "Number", pk=True)
    layout = layout_of(pk, *PLAIN[1:], contract='[messages]\nignored = ["nr"]')
    assert layout.key in layout.columns


def test_one_renamed_column_among_all_gets_the_line_to_write() -> None:
    names = sorted(columns_of(SourceTable.MESSAGES) - {"id", "query"})
    columns = [column("id", pk=True), *map(column, names)]
    with pytest.raises(ContractError, match=r'perhaps: \[messages\.names\] query = "user text"'):
        layout_of(*columns, column("user text"), column("CreatedAt", "CreatedTime"))


def test_a_column_removed_between_two_pages_is_a_contract_error() -> None:
    short = {name: value for name, value in row(2).items() if name != "query"}
    pages = [rows(row(1), page_size=1), rows(short, page_size=1)]
    with (
        reading(*pages) as (_, source),
        pytest.raises(ContractError, match=r"lacks query, .*NOCODB_COLUMN_CONTRACT"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)


def test_a_required_column_refused_between_two_pages_is_named() -> None:
    refused = Answer(422, b'{"error": "ERR_FIELD_NOT_FOUND"}')
    now = described(*(one for one in PLAIN if one["title"] != "query"))
    with (
        reading(rows(row(1), page_size=1), refused, TABLES, now) as (_, source),
        pytest.raises(ContractError, match="lacks: query"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)


BAD = [
    b'"inputs": {"a": "\\ud800"}',
    b'"inputs": "\\u0000"',
    b'"error": "\xff\xfe"',
    b'"latency": NaN, "x": -Infinity',
    b'"n": 1e9999999999999999999',
    b'"inputs": %s' % (b'{"a":' * 5000 + b"[]" + b"}" * 5000),
    b'"error": "%s"' % (b"x" * 147_000),
    b'"inputs": "\\ud83d", "\\u0069d": "k2"',
]


@pytest.mark.parametrize("part", BAD, ids=lambda part: part[:45].decode("ascii", "replace"))
def test_a_row_that_cannot_be_decoded_is_served_as_it_is_among_the_good_ones(part: bytes) -> None:
    bad = b"%s, %s}" % (json.dumps(row(2)).encode()[:-1], part)
    one, three = (json.dumps(row(number)).encode() for number in (1, 3))
    page = b'{"list": [%s, %s, %s], "pageInfo": {"pageSize": 9}}' % (one, bad, three)
    with reading(Answer(body=page)) as (_, source):
        frame = source.read_window(SourceTable.MESSAGES, START, END)
        payloads = dict(frame.select("id", "payload").iter_rows())
    assert list(payloads) == ["k1", "k2", "k3"]
    assert payloads["k2"] == bad.decode("utf-8", "replace")
    with reading(Answer(body=page)) as (_, source):
        assert source.changes_since(SourceTable.MESSAGES, START).height == 3


def test_a_short_page_that_says_more_follow_is_not_the_end() -> None:
    def page(*served: dict[str, object], last: bool) -> Answer:
        info = {"pageSize": 1000, "isLastPage": last}
        return Answer(body=json.dumps({"list": served, "pageInfo": info}).encode())

    with reading(page(row(1), last=False), page(row(2), last=True)) as (server, source):
        frame = source.read_window(SourceTable.MESSAGES, START, END)
        assert frame["id"].to_list() == ["k1", "k2"]
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    "keys",
    [
        (5, 7, 2),
        ("00000000-0000-0000-0000-00000000000b", "00000000-0000-0000-0000-00000000000a"),
    ],
)
def test_a_server_that_ignores_the_order_would_lose_rows(keys: tuple[Any, ...]) -> None:
    page = rows(*(row(0, id=key) for key in keys), page_size=len(keys))
    with (
        reading(page, rows(page_size=9)) as (_, source),
        pytest.raises(SourceRequestError, match="order"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)


def test_texts_follow_the_order_of_the_server_whatever_it_is() -> None:
    served = [row(0, id=key) for key in ("B", "a", "10", "9", 9)]
    with reading(rows(*served, page_size=9)) as (_, source):
        assert source.read_window(SourceTable.MESSAGES, START, END).height == 4


def test_a_column_that_vanishes_between_pages_starts_the_window_again() -> None:
    gone = Answer(404, b'{"error": "ERR_FIELD_NOT_FOUND"}')
    fewer = [TABLES, described(*PLAIN)]
    with scripted(
        TABLES, described(*PLAIN, column("new_price", "Decimal")),
        rows(row(1), page_size=1), gone, *fewer, rows(row(1), row(2), page_size=9),
    ) as server, contextlib.closing(NocoDBSource(server.client())) as source:  # fmt: skip
        frame = source.read_window(SourceTable.MESSAGES, START, END)
    assert frame["id"].to_list() == ["k1", "k2"]
    assert "new_price" in server.requests[2][0]
    assert "new_price" not in server.requests[-1][0]


def test_a_required_column_that_vanishes_is_told() -> None:
    gone = Answer(404, b'{"error": "ERR_FIELD_NOT_FOUND"}')
    with (
        reading(gone, TABLES, described(PLAIN[0], *PLAIN[2:])) as (_, source),
        pytest.raises(ContractError, match="lacks: conversation_id"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)


def test_a_token_revoked_midway_stops_at_once() -> None:
    pages = [rows(row(1), page_size=1), Answer(401, b'{"error": "ERR_AUTH"}'), rows(row(2))]
    with (
        reading(*pages) as (server, source),
        pytest.raises(SourceAuthError, match="NOCODB_API_TOKEN"),
    ):
        source.read_window(SourceTable.MESSAGES, START, END)
    assert len(server.requests) == 4


def test_rows_without_an_id_never_stand_for_the_row_of_that_id() -> None:
    """Tables of NocoDB itself: the key is a number, `id` is a column like any other."""
    native = [column("Id", "ID", pk=True), column("id"), *PLAIN[1:]]
    served = [row(0, id="5"), row(0, id=None), row(0, id=1.5), row(0, id={"x": 1})]
    page = rows(*(one | {"Id": 4 + n} for n, one in enumerate(served)), page_size=9)
    with (
        scripted(TABLES, described(*native), page) as server,
        contextlib.closing(NocoDBSource(server.client())) as source,
    ):
        frame = source.read_window(SourceTable.MESSAGES, START, END)
    assert frame["id"].to_list() == ["5", "Id=5", "Id=6", "Id=7"]


@pytest.mark.parametrize("time", ["10000-01-01 00:00:00+00:00", "Invalid date", 5, {"a": 1}])
def test_a_time_of_change_that_is_none_stops_no_window_and_no_look(time: object) -> None:
    columns = [*PLAIN, column("updated_at", "DateTime")]
    page = rows(row(1, updated_at=time), row(2, updated_at="2026-11-10 13:00:00Z"), page_size=9)
    with (
        scripted(TABLES, described(*columns), page) as server,
        contextlib.closing(NocoDBSource(server.client())) as source,
    ):
        assert source.read_window(SourceTable.MESSAGES, START, END).height == 2
        changes = source.changes_since(SourceTable.MESSAGES, START)
    assert changes["changed_at"].to_list() == [None, START.replace(hour=13)]
    assert "~or" in server.requests[-1][0]
    assert len(server.requests) == 4  # one for the changes, however many columns tell of them


def test_a_row_no_day_can_hold_is_left_out_of_the_changes_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    page = rows(row(1), row(2, created_at="10000-01-01 00:00:00+00:00"), page_size=9)
    with reading(page) as (_, source):
        assert source.changes_since(SourceTable.MESSAGES, START)["id"].to_list() == ["k1"]
    assert "rows=1 have a created_at that no day holds" in caplog.text


ZONES = st.builds(
    dt.timezone,
    st.timedeltas(dt.timedelta(hours=-12), dt.timedelta(hours=14)).map(
        lambda offset: dt.timedelta(minutes=offset // dt.timedelta(minutes=1))
    ),
)


@given(
    moment=st.datetimes(
        dt.datetime(1971, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        dt.datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=ZONES,
    ),
    separator=st.sampled_from("T "),
    precision=st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_every_iso_time_is_understood(moment: dt.datetime, separator: str, precision: str) -> None:
    layout = layout_of(*PLAIN)
    text = moment.isoformat(separator, precision)
    parsed = _instant(layout, layout.created_at, "r", text)
    assert parsed == dt.datetime.fromisoformat(text)
    assert parsed.tzinfo is dt.UTC
    plain = moment.replace(tzinfo=None).isoformat(separator, precision)
    utc = dt.datetime.fromisoformat(plain).replace(tzinfo=dt.UTC)
    assert _instant(layout, layout.created_at, "r", plain) == utc
    assert _instant(layout, layout.created_at, "r", plain + "Z") == utc


@given(key=st.one_of(st.uuids().map(str), st.integers(0).map(str), st.text()))
def test_only_plain_keys_pass(key: str) -> None:
    layout = layout_of(*PLAIN)
    if re.fullmatch(r"[A-Za-z0-9_.:\-]{1,255}", key):
        assert _safe(layout, layout.key, key) == key
    else:
        with pytest.raises(ContractError):
            _safe(layout, layout.key, key)
