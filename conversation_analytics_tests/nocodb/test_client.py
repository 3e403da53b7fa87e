from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.errors import (
    AnalyticsError,
    SettingsError,
    SourceAuthError,
    SourceRequestError,
    SourceUnavailableError,
)
from conversation_analytics.nocodb.client import NocoDBClient, NocoDBConfig
from conversation_analytics_tests.nocodb.scripted_server import TOKEN, Answer, rows, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics_tests.nocodb.scripted_server import ScriptedServer

PATH = "/api/v2/tables/t1/records"
GOOD = rows({"id": 1}, page_size=25)


@contextlib.contextmanager
def asking(*script: Answer, max_retries: int = 3) -> Iterator[tuple[ScriptedServer, NocoDBClient]]:
    with scripted(*script) as server, contextlib.closing(server.client(max_retries)) as client:
        yield server, client


def test_the_clock_of_the_server_is_read_off_its_answers() -> None:
    now = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
    with (
        scripted(GOOD) as server,
        contextlib.closing(server.client(now=lambda: now)) as client,
    ):
        seen = [client.clock_ahead_s]
        client.get_list(PATH)
        seen.append(client.clock_ahead_s)
    real = dt.datetime.now(dt.UTC)
    assert seen == [None, pytest.approx((real - now).total_seconds(), abs=5)]


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 30 Nov 2026 12:00:00 -0000"])
def test_a_server_that_tells_no_time_of_a_zone_has_no_clock(date: str) -> None:
    with scripted(Answer(body=GOOD.body, headers={"Date": date}, dated=False)) as server:
        client = server.client()
        client.get_list(PATH)
        assert client.clock_ahead_s is None
        client.close()


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500),
        Answer(502, b"<html>bad gateway</html>"),
        Answer(503, b'{"msg": "starting"}'),
        Answer(429),
        Answer(408),
        Answer(204, b""),
        Answer(200, b"<html>sign in</html>", {"Content-Type": "text/html"}),
        Answer(200, b'{"msg": "please wait"}'),
        Answer(200, b""),
        Answer(200, b'{"list": [{"id": 1}'),
        Answer(200, b'{"list": [{"id": 1}]}', cut=5),
        Answer(reset=True),
        Answer(400, b'{"error": "ERR_DATABASE_OP_FAILED", "code": "ECONNREFUSED"}'),
        Answer(400, b'{"error": "ERR_DATABASE_OP_FAILED", "code": "57P01"}'),
    ],
    ids=lambda fault: f"{fault.status}-{fault.body[:20]!r}-{fault.reset}-{fault.cut}",
)
def test_what_may_pass_is_asked_again(fault: Answer) -> None:
    with asking(fault, fault, GOOD) as (server, client):
        assert [bytes(row) for row in client.get_list(PATH).rows] == [b'{"id": 1}']
        assert len(server.requests) == 3
        assert server.slept == [1.0, 2.0]
    with asking(fault, max_retries=2) as (server, client):
        with pytest.raises(SourceUnavailableError, match=PATH) as caught:
            client.get_list(PATH)
        assert len(server.requests) == 3
        assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (Answer(401, b'{"error": "ERR_AUTH"}'), SourceAuthError, "NOCODB_API_TOKEN"),
        (Answer(403, b"<html>"), SourceAuthError, "403"),
        (
            Answer(422, b'{"msg": "Column alias \'t1\' not found."}'),
            SourceRequestError,
            "alias 't1' n",
        ),
        (Answer(404, b'{"error": "ERR_TABLE_NOT_FOUND"}'), SourceRequestError, "ERR_TABLE_NOT"),
        (Answer(400, b'{"error": "E", "code": "22P02"}'), SourceRequestError, "22P02"),
    ],
)
def test_a_refusal_is_never_asked_again(answer: Answer, error: type[Exception], told: str) -> None:
    with asking(answer, GOOD) as (server, client):
        with pytest.raises(error, match=told):
            client.get_list(PATH)
        assert len(server.requests) == 1
        assert server.slept == []


def test_a_redirect_is_refused_and_the_token_stays() -> None:
    with scripted(GOOD) as elsewhere:
        away = Answer(302, b"", {"Location": f"{elsewhere.base_url}/x?secret=1"})
        with asking(away) as (server, client):
            with pytest.raises(SourceRequestError, match="NOCODB_BASE_URL") as caught:
                client.get_list(PATH)
            assert len(server.requests) == 1
        assert elsewhere.requests == []
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("location", ["http://[bad", "http://h/\xff\xe9", "", "//", "http://h:x/"])
def test_a_redirect_to_what_is_no_address_is_a_refusal_too(location: str) -> None:
    with (
        asking(Answer(302, b"", {"Location": location})) as (server, client),
        pytest.raises(SourceRequestError, match="NOCODB_BASE_URL"),
    ):
        client.get_list(PATH)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "text",
    ["-5", "7.5", "", "9" * 400, "Sun, 22 Nov 99999 12:00:30 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
     "Mon, 01 Jan 0001 00:00:00 +2359", "Sun, 22 Nov 2026 12:00:30 +99999999999", "\xe9"],
)  # fmt: skip
def test_no_retry_after_keeps_a_client_longer_than_five_minutes(text: str) -> None:
    with asking(Answer(429, headers={"Retry-After": text}), GOOD) as (server, client):
        client.get_list(PATH)
        assert 1.0 <= server.slept[0] <= 300.0


@pytest.mark.parametrize("says", ['"isLastPage": false', '"isLastPage": true, "totalRows": 7'])
def test_an_empty_page_that_says_that_there_are_rows_is_asked_again(says: str) -> None:
    more = Answer(body=b'{"list": [], "pageInfo": {"pageSize": 25, %b}}' % says.encode())
    with asking(more, GOOD) as (server, client):
        assert len(client.get_list(PATH).rows) == 1
        assert server.slept == [1.0]
    with (
        asking(more, max_retries=0) as (_, client),
        pytest.raises(SourceUnavailableError, match="there are rows"),
    ):
        client.get_list(PATH)


def test_an_answer_that_never_ends_is_given_up() -> None:
    with scripted(Answer(body=b" " * 2000, drip_s=0.02)) as server:
        config = NocoDBConfig(server.base_url, TOKEN, "base", timeout_s=0.05, max_retries=0)
        with (
            contextlib.closing(NocoDBClient(config)) as client,
            pytest.raises(SourceUnavailableError, match="not complete after 10 times"),
        ):
            client.get_list(PATH)


def test_an_answer_larger_than_any_page_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conversation_analytics.nocodb.client._MAX_ANSWER_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (1 << 24))
    with (
        asking(Answer(body=bomb, headers={"Content-Encoding": "gzip"})) as (server, client),
        pytest.raises(SourceRequestError, match="CHUNK_SIZE"),
    ):
        client.get_list(PATH)
    assert len(server.requests) == 1


def test_a_token_at_the_cut_of_a_long_message_is_not_told_by_half() -> None:
    for before in range(150, 200):
        told = json.dumps({"msg": "x" * before + TOKEN, "error": True}).encode()
        with (
            asking(Answer(422, told)) as (_, client),
            pytest.raises(SourceRequestError) as caught,
        ):
            client.get_list(PATH)
        assert TOKEN[:5] not in str(caught.value)


def test_what_a_server_tells_cannot_paint_a_terminal() -> None:
    told = json.dumps({"msg": "\x1b[31mred\r\nline", "message": ["no text"]}).encode()
    with asking(Answer(422, told)) as (_, client), pytest.raises(SourceRequestError) as caught:
        client.get_list(PATH)
    assert str(caught.value).isprintable()


def test_sentences_of_a_server_are_not_told_for_they_quote_rows() -> None:
    sentences = {
        "error": "ERR_INVALID_VALUE_FOR_FIELD",
        "msg": "Invalid value 'what somebody wrote' for type 'Date'",
        "message": "Field 'what somebody wrote' not found",
        "code": "22P02",
    }
    for status in (200, 400, 401, 422, 503):
        refused = Answer(status, json.dumps(sentences).encode())
        with asking(refused, max_retries=0) as (_, client), pytest.raises(AnalyticsError) as caught:
            client.get_list(PATH)
        assert "what somebody wrote" not in str(caught.value)
        assert "(ERR_INVALID_VALUE_FOR_FIELD, 22P02)" in str(caught.value)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b'{"list": [}]}'])
def test_a_body_without_end_is_no_answer(body: bytes) -> None:
    with (
        asking(Answer(body=body), max_retries=0) as (_, client),
        pytest.raises(SourceUnavailableError, match="not the JSON"),
    ):
        client.get_list(PATH)


def test_a_certificate_that_is_not_trusted_is_not_asked_again() -> None:
    slept: list[float] = []
    config = NocoDBConfig("https://127.0.0.1:1", TOKEN, "base")
    refused = requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    torn = requests.exceptions.SSLError("[SSL: UNEXPECTED_EOF_WHILE_READING]")
    for error, expected in ((refused, SourceRequestError), (torn, SourceUnavailableError)):

        class Session(requests.Session):
            def request(self, *_: Any, error: Exception = error, **__: Any) -> requests.Response:
                raise error

        client = NocoDBClient(config, session_factory=Session, sleep=slept.append)
        with contextlib.closing(client), pytest.raises(expected):
            client.get_list(PATH)
        assert bool(slept) == (error is torn)


def test_retry_after_in_seconds_is_honoured_and_capped() -> None:
    with asking(
        Answer(429, headers={"Retry-After": "7"}),
        Answer(429, headers={"Retry-After": "86400"}),
        Answer(503, headers={"Retry-After": "soon"}),
        GOOD,
    ) as (server, client):
        client.get_list(PATH)
        assert server.slept == [7.0, 300.0, 4.0]


def test_retry_after_may_be_a_date() -> None:
    now = dt.datetime(2026, 11, 22, 12, 0, 0, tzinfo=dt.UTC)
    waits = Answer(503, headers={"Retry-After": "Sun, 22 Nov 2026 12:00:30 GMT"})
    past = Answer(503, headers={"Retry-After": "Sun, 22 Nov 2026 11:00:00 GMT"})
    with scripted(waits, past, GOOD) as server:
        client = server.client(now=lambda: now)
        client.get_list(PATH)
        client.close()
        assert server.slept == [30.0, 2.0]


@given(attempt=st.integers(0, 5000), jitter=st.floats(0, 1), first=st.floats(0.01, 300))
def test_back_off_doubles_within_bounds(attempt: int, jitter: float, first: float) -> None:
    config = NocoDBConfig("http://127.0.0.1", TOKEN, "base", retry_delay_s=first)
    delay = NocoDBClient(config, random=lambda: jitter)._delay(attempt, None)
    full = min(first * 2.0 ** min(attempt, 30), 60.0)
    assert full / 2 <= delay <= full


def test_nobody_there_is_unavailable() -> None:
    with scripted(GOOD) as server:
        client = server.client(max_retries=1)
    with pytest.raises(SourceUnavailableError, match="NOCODB_BASE_URL"):
        client.get_json_bytes("/api/v1/health")
    assert server.slept == [1.0]


def test_the_token_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    told = Answer(503, f'{{"msg": "bad {TOKEN}"}}'.encode())
    with caplog.at_level(logging.DEBUG), asking(told) as (server, client):
        with pytest.raises(SourceUnavailableError) as caught:
            client.get_list(PATH)
        assert server.requests[0][1]["xc-token"] == TOKEN
    shown = caplog.text + str(caught.value) + repr(client.config) + repr(client)
    assert TOKEN not in shown
    assert "attempt=1 of=3" in caplog.text


def test_bearer_and_netrc(tmp_path_factory: pytest.TempPathFactory) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    with scripted(GOOD) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETRC", str(netrc))
        config = NocoDBConfig(server.base_url + "/", TOKEN, "base", auth="bearer")
        with contextlib.closing(NocoDBClient(config)) as client:
            client.get_list(PATH, {"where": "(a,eq,b c)"})
        path, headers = server.requests[0]
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert "xc-token" not in headers
        assert path == PATH + "?where=%28a%2Ceq%2Cb+c%29"


def test_sessions_are_used_again_and_closed() -> None:
    made: list[requests.Session] = []

    def make() -> requests.Session:
        made.append(requests.Session())
        return made[-1]

    with scripted(GOOD) as server:
        config = NocoDBConfig(server.base_url, TOKEN, "base")
        client = NocoDBClient(config, session_factory=make)
        for _ in range(3):
            client.get_list(PATH)
        client.close()
    assert len(made) == 1


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"base_url": "nocodb.local"}, "NOCODB_BASE_URL"),
        ({"base_url": "ftp://host"}, "NOCODB_BASE_URL"),
        ({"base_url": "http://user:secret@host"}, "NOCODB_BASE_URL"),
        ({"api_token": ""}, "NOCODB_API_TOKEN"),
        ({"api_token": "secret\nvalue"}, "NOCODB_API_TOKEN"),
        ({"project_id": ""}, "NOCODB_PROJECT_ID"),
        ({"messages_table": ""}, "NOCODB_MESSAGES_TABLE"),
        ({"api_version": "v9"}, "NOCODB_API_VERSION"),
        ({"auth": "basic"}, "NOCODB_AUTH"),
        ({"page_size": 1001}, "CHUNK_SIZE"),
        ({"max_retries": -1}, "MAX_RETRIES"),
    ],
)
def test_settings_that_cannot_work_are_named(change: dict[str, object], setting: str) -> None:
    values: dict[str, object] = {"base_url": "http://h", "api_token": "t", "project_id": "p"}
    with pytest.raises(SettingsError, match=setting) as caught:
        NocoDBConfig(**(values | change))  # type: ignore[arg-type] # wrong on purpose
    assert "secret" not in str(caught.value)
