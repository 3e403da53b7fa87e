from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from conversation_analytics.alerts.webhook import (
    Delivery,
    Webhook,
    WebhookConfig,
    WebhookRefusedError,
    WebhookUnavailableError,
)
from conversation_analytics.core.errors import AnalyticsError, SettingsError
from conversation_analytics_tests.alerts.receiver import (
    PLANTED_ANSWER,
    Answer,
    Receiver,
    receiving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
URL_TOKEN = "T0KEN-in-the-path"
NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
BODY = b'{"type":"run.failed"}'
PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::",
    "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1",
]  # fmt: skip


def config(port: int, scheme: str = "http", host: str = "127.0.0.1", **more: Any) -> WebhookConfig:
    url = f"{scheme}://{host}:{port}/hooks/{URL_TOKEN}?key={URL_TOKEN}"
    return WebhookConfig(url, SECRET, **({"allow_private": True} | more))


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def now(self) -> dt.datetime:
        return NOW + dt.timedelta(seconds=sum(self.slept))

    def monotonic(self) -> float:
        return sum(self.slept)


def deliver(config: WebhookConfig, clock: Clock | None = None, **more: Any) -> Delivery:
    clock = clock or Clock()
    hook = Webhook(
        config,
        sleep=clock.sleep,
        random=lambda: 1.0,
        now=clock.now,
        monotonic=clock.monotonic,
        **more,
    )
    return hook.deliver("run_failed_r1", BODY)


@pytest.fixture(autouse=True)
def no_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No log of anybody, at any level, tells the address's token, the secret or an answer."""
    caplog.set_level(logging.DEBUG)
    yield
    # Not caplog.text: that is of this phase, after the test.
    lines = "\n".join(f"{r.getMessage()} {r.exc_info}" for r in caplog.get_records("call"))
    for told in (URL_TOKEN, SECRET, SECRET.removeprefix("whsec_"), PLANTED_ANSWER):
        assert told not in lines


def leaks_nothing(error: BaseException | None) -> None:
    """Follow an error to all it was raised from: a trace prints them too."""
    while error is not None:
        told = f"{error!r} {error}"
        assert URL_TOKEN not in told
        assert SECRET not in told
        assert PLANTED_ANSWER not in told
        error = error.__cause__ or error.__context__


def refused(config: WebhookConfig, match: str, **more: Any) -> None:
    clock = Clock()
    with pytest.raises(WebhookRefusedError, match=match) as refusal:
        deliver(config, clock, **more)
    assert clock.slept == []
    leaks_nothing(refusal.value)


def verified(receiver: Receiver, number: int = 0) -> dict[str, str]:
    """Check a signature as a receiver would, from its description and not from our code."""
    request = receiver.requests[number]
    headers = request.headers
    signed = headers["webhook-id"] + "." + headers["webhook-timestamp"] + "."
    digest = hmac.digest(KEY, signed.encode() + request.body, hashlib.sha256)
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    return headers


def test_an_alert_arrives_signed() -> None:
    with receiving() as receiver:
        assert deliver(config(receiver.port)) == Delivery(204, 1)
    headers = verified(receiver)
    assert headers["webhook-id"] == "run_failed_r1"
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert receiver.requests[0].path == f"/hooks/{URL_TOKEN}?key={URL_TOKEN}"
    assert receiver.requests[0].body == BODY


@pytest.mark.parametrize("passing", [Answer(429), Answer(408), Answer(500), Answer(503),
                                     Answer(reset=True)])  # fmt: skip
def test_what_may_pass_is_tried_again_under_the_same_id(passing: Answer) -> None:
    clock = Clock()
    with receiving(passing, passing, Answer(200)) as receiver:
        assert deliver(config(receiver.port), clock) == Delivery(200, 3)
    assert clock.slept == [0.5, 1.0]
    heads = [verified(receiver, number) for number in range(3)]
    assert {head["webhook-id"] for head in heads} == {"run_failed_r1"}
    assert {request.body for request in receiver.requests} == {BODY}
    assert int(heads[2]["webhook-timestamp"]) == int(NOW.timestamp()) + 1


def test_the_wait_has_jitter() -> None:
    clock = Clock()
    with receiving(Answer(500), Answer(200)) as receiver:
        Webhook(config(receiver.port), sleep=clock.sleep, random=lambda: 0.0).deliver("id", BODY)
    assert clock.slept == [0.25]


def test_after_the_last_try_it_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with receiving(Answer(503)) as receiver:
        with pytest.raises(WebhookUnavailableError, match=r"127\.0\.0\.1.*3 tries.*503") as end:
            deliver(config(receiver.port))
        leaks_nothing(end.value)
    assert len(receiver.requests) == 3
    assert caplog.text.count("alert retry: host=127.0.0.1") == 2


def test_the_receiver_may_ask_for_a_longer_wait_but_not_beyond_the_deadline() -> None:
    clock = Clock()
    with receiving(Answer(429, {"Retry-After": "4"}), Answer(200)) as receiver:
        assert deliver(config(receiver.port), clock).tries == 2
    assert clock.slept == [4.0]
    clock = Clock()
    with (
        receiving(Answer(429, {"Retry-After": "9" * 400})) as receiver,
        pytest.raises(WebhookUnavailableError),
    ):
        deliver(config(receiver.port), clock)
    assert clock.slept == []


def test_nobody_listening_is_tried_again_and_given_up() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        clock = Clock()
        with pytest.raises(WebhookUnavailableError, match="ConnectionError") as end:
            deliver(config(taken.getsockname()[1]), clock)
    assert clock.slept == [0.5, 1.0]
    leaks_nothing(end.value)


def test_a_receiver_that_never_answers_is_given_up_at_the_deadline() -> None:
    started = time.monotonic()
    with receiving(Answer(hold=True)) as receiver:
        hook = Webhook(config(receiver.port, read_timeout_s=20, deadline_s=0.5))
        with pytest.raises(WebhookUnavailableError, match="no answer"):
            hook.deliver("id", BODY)
    assert time.monotonic() - started < 5


def test_a_name_that_nobody_looks_up_is_given_up_at_the_deadline() -> None:
    release = threading.Event()

    def stuck(_host: str, _port: int) -> list[str]:
        release.wait(20)
        return []

    started = time.monotonic()
    hook = Webhook(config(1, deadline_s=0.3), resolve=stuck)
    with pytest.raises(WebhookUnavailableError, match="no answer within"):
        hook.deliver("id", BODY)
    release.set()
    assert time.monotonic() - started < 5


def test_a_name_without_address_may_get_one() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with pytest.raises(WebhookUnavailableError, match="could not be looked up"):
        deliver(config(1), resolve=unknown)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    with receiving(Answer(status)) as receiver:
        refused(config(receiver.port), f"127.0.0.1 refused the alert: HTTP {status}")
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiving() as other:
        target = {"Location": f"http://127.0.0.1:{other.port}/?{URL_TOKEN}"}
        with receiving(Answer(status, target)) as receiver:
            refused(config(receiver.port), "redirects")
    assert len(receiver.requests) == 1
    assert other.requests == []


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused_even_among_others(address: str) -> None:
    with receiving() as receiver:
        hook = config(receiver.port, "https", "hooks.example.com", allow_private=False)
        refused(hook, "not public", resolve=lambda _host, _port: ["93.184.216.34", address])
    assert receiver.requests == []


def test_without_permission_nothing_is_sent_to_this_machine() -> None:
    with receiving() as receiver:
        refused(config(receiver.port, allow_private=False), "not public")
    assert receiver.requests == []


def test_the_connection_goes_to_the_checked_address_even_if_the_name_changes_its_mind() -> None:
    asked = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with receiving() as receiver:
        hook = config(receiver.port, host="hooks.invalid", allow_http=True)
        deliver(hook, resolve=rebinding)  # the system's own look-up knows no .invalid
    assert asked == ["hooks.invalid"]
    assert receiver.requests[0].headers["host"] == f"hooks.invalid:{receiver.port}"


def test_plain_http_goes_to_this_machine_only_whatever_its_name() -> None:
    with receiving() as receiver:
        hook = config(receiver.port, host="localhost")
        refused(hook, "is not this machine", resolve=lambda _host, _port: ["10.0.0.9"])
        deliver(hook, resolve=lambda _host, _port: ["127.0.0.1"])


def test_proxy_and_netrc_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with receiving() as proxy, receiving() as receiver:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        deliver(config(receiver.port))
    assert proxy.requests == []
    assert "authorization" not in receiver.requests[0].headers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of hooks.invalid, and its key, made for this test."""
    openssl = shutil.which("openssl")
    if openssl is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must not skip tests: openssl is missing")
        pytest.skip("openssl is missing: install it to test TLS")
    folder = tmp_path_factory.mktemp("certificate")
    files = folder / "cert.pem", folder / "key.pem"
    extensions = ("subjectAltName=DNS:hooks.invalid", "keyUsage=digitalSignature,keyCertSign")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=hooks.invalid",
         *(word for extension in extensions for word in ("-addext", extension)),
         "-days", "2", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


def secure(port: int, host: str, ca_file: Path | None) -> WebhookConfig:
    return config(port, "https", host, ca_file=str(ca_file) if ca_file else "")


def loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def test_tls_checks_the_name_though_the_address_is_pinned(certificate: tuple[Path, Path]) -> None:
    with receiving(certificate=certificate) as receiver:
        deliver(secure(receiver.port, "hooks.invalid", certificate[0]), resolve=loopback)
        assert len(receiver.requests) == 1
        other = secure(receiver.port, "other.invalid", certificate[0])
        refused(other, "certificate.*other.invalid is not trusted", resolve=loopback)
    assert len(receiver.requests) == 1
    verified(receiver)


def test_a_certificate_of_nobody_known_is_refused(certificate: tuple[Path, Path]) -> None:
    with receiving(certificate=certificate) as receiver:
        unknown = secure(receiver.port, "hooks.invalid", None)
        refused(unknown, "certificate", resolve=loopback)
    assert receiver.requests == []


def test_a_missing_ca_file_is_named_as_a_setting(tmp_path: Path) -> None:
    missing = secure(1, "hooks.invalid", tmp_path / "none.pem")
    refused(missing, "ALERT_WEBHOOK_CA_FILE", resolve=loopback)


@pytest.mark.parametrize(
    "url",
    ["", "hooks", "ftp://h/T0KEN", "https:///T0KEN", "https://u:T0KEN@h/", "https://T0KEN@h/",
     "https://h/T0KEN#f", "https://h:0/T0KEN", "https://h:99999/T0KEN", "https://h:x/T0KEN",
     "https://h/T0KEN\n", "https://h/T0 KEN", "https://h\\@i/T0KEN", "https://hö/T0KEN",
     "https://[::1/T0KEN", "http://h/T0KEN", "http://10.0.0.1/T0KEN", "http://localhost.h/T0KEN"],
)  # fmt: skip
def test_an_address_that_cannot_be_asked_is_refused_at_once_and_not_quoted(url: str) -> None:
    with pytest.raises(SettingsError, match="ALERT_WEBHOOK_URL") as refusal:
        WebhookConfig(url, SECRET)
    assert "T0KEN" not in str(refusal.value)
    assert refusal.value.__cause__ is refusal.value.__context__ is None


@pytest.mark.parametrize(
    "wrong",
    [{"secret": "hunter2"}, {"deadline_s": 11}, {"deadline_s": 0}, {"read_timeout_s": 0},
     {"connect_timeout_s": -1}, {"max_retries": -1}, {"retry_delay_s": -1}],
)  # fmt: skip
def test_a_value_that_cannot_work_is_refused_at_once(wrong: dict[str, Any]) -> None:
    values = {"url": "https://h/", "secret": SECRET} | wrong
    with pytest.raises(SettingsError) as refusal:
        WebhookConfig(**values)
    assert "hunter2" not in str(refusal.value)


def test_neither_address_nor_secret_is_printed() -> None:
    printed = repr(config(1)) + str(Webhook(config(1)))
    assert URL_TOKEN not in printed
    assert SECRET not in printed


def test_errors_are_of_the_platform() -> None:
    assert issubclass(WebhookRefusedError, AnalyticsError)
    assert issubclass(WebhookUnavailableError, AnalyticsError)


def test_a_process_that_sends_nothing_does_not_pay_for_requests() -> None:
    script = (
        "import sys, conversation_analytics.alerts.webhook as w;"
        f"w.Webhook(w.WebhookConfig('https://h/', {SECRET!r}));"
        "print('requests' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
