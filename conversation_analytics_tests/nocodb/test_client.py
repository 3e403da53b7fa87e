from __future__ import annotations

import contextlib
import datetime as dt
import logging
from typing import TYPE_CHECKING

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.errors import (
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
        (Answer(422, b'{"msg": "Column alias \'x\' not found."}'), SourceRequestError, "alias"),
        (Answer(404, b'{"message": "no table"}'), SourceRequestError, "no table"),
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


@given(attempt=st.integers(0, 20), jitter=st.floats(0, 1), first=st.floats(0.01, 300))
def test_back_off_doubles_within_bounds(attempt: int, jitter: float, first: float) -> None:
    config = NocoDBConfig("http://127.0.0.1", TOKEN, "base", retry_delay_s=first)
    delay = NocoDBClient(config, random=lambda: jitter)._delay(attempt, None)
    full = min(first * 2.0**attempt, 60.0)
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
