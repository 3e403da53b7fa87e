"""An HTTP proxy on loopback before NocoDB that spoils some answers, by a script.

Over a source that stands still answers are asked of NocoDB once and kept: later rounds are fast.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
import urllib.parse
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from conversation_analytics.stack.processes import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

FOREVER: Final = 10**9
_UPSTREAM_SECONDS: Final = 120
_POLL_SECONDS: Final = 0.005
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_KEPT_HEADERS: Final = ("Content-Type",)


@dataclass(frozen=True)
class Answer:
    """One answer, and what the way back does to it.

    Attributes:
        status: of HTTP.
        body: all of it.
        headers: besides the length.
        sent: how much of the body arrives, as a share; less than 1 ends the connection there.
        chunked: sent in chunks, without a length.
        wait_s: seconds before it is sent.
        refused_s: no answer: the connection breaks, and for so many seconds nobody listens.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    sent: float = 1.0
    chunked: bool = False
    wait_s: float = 0.0
    refused_s: float = 0.0


@dataclass
class Script:
    """What happens to which requests.

    Attributes:
        spoil: makes the answer from a request's target and the answer NocoDB gave.
        targets: of these requests; None is every page of rows.
        times: the first requests of each target.
        spreads: once one request was spoilt, all are, whatever they ask for.
        ask: what to ask NocoDB for instead of a target.
        met: how often each target was spoilt.
    """

    spoil: Callable[[str, Answer], Answer]
    targets: Collection[str] | None = None
    times: int = 1
    spreads: bool = False
    ask: Callable[[str], str] = str
    met: Counter[str] = field(default_factory=Counter)


class HttpProxy:
    """Passes requests on to NocoDB and answers back, as a script says.

    Attributes:
        url: its address.
        pages: targets of the pages of rows it passed on untouched, each once.
    """

    def __init__(self, upstream: str, *, keeps: bool = True) -> None:
        self._upstream = urllib.parse.urlsplit(upstream)
        self._lock = threading.Lock()
        self._keeps = keeps
        self._answers: dict[str, Answer] = {}
        self._script: Script | None = None
        self._timers: list[threading.Thread] = []
        self.pages: list[str] = []
        self._listen(0)
        self.url = f"http://{LOOPBACK}:{self._port}"

    def close(self) -> None:
        """Stop listening."""
        self._stop()

    def answer_of(self, target: str) -> Answer:
        """Return the untouched answer to a target that was asked for."""
        return self._answers[target]

    @contextmanager
    def playing(self, script: Script) -> Iterator[Script]:
        """Let `script` happen inside."""
        self._script = script
        try:
            yield script
        finally:
            self._script = None
            for timer in self._timers:  # somebody listens again
                timer.join()

    def answer(self, target: str, headers: dict[str, str]) -> Answer:
        """Return the answer to a request as the script has it."""
        script = self._script
        with self._lock:
            asked = target if script is None else script.ask(target)
            spoilt = script is not None and self._is_meant(script, target)
        answer = self._passed_on(asked, headers)
        if script is None or not spoilt:
            return answer
        return script.spoil(target, answer)

    def _is_meant(self, script: Script, target: str) -> bool:
        meant = is_page(target) if script.targets is None else target in script.targets
        if not (meant and script.met[target] < script.times) and not (
            script.spreads and script.met
        ):
            return False
        script.met[target] += 1
        return True

    def _passed_on(self, target: str, headers: dict[str, str]) -> Answer:
        with self._lock:
            if target in self._answers:
                return self._answers[target]
        connection = http.client.HTTPConnection(
            self._upstream.hostname or "", self._upstream.port, timeout=_UPSTREAM_SECONDS
        )
        try:
            connection.request("GET", target, headers=headers)
            served = connection.getresponse()
            kept = {name: served.headers[name] for name in _KEPT_HEADERS if name in served.headers}
            answer = Answer(served.status, served.read(), kept)
        finally:
            connection.close()
        with self._lock:
            if self._keeps and answer.status == http.client.OK:
                self._answers[target] = answer
                if self._script is None and is_page(target):
                    self.pages.append(target)
        return answer

    def refuse(self, seconds: float) -> None:
        """Let nobody connect for so many seconds."""
        with self._lock:
            if self._http.socket.fileno() < 0:
                return  # nobody listens already
            self._stop()
            self._timers.append(threading.Thread(target=self._listen_again, args=(seconds,)))
            self._timers[-1].start()

    def _listen_again(self, seconds: float) -> None:
        time.sleep(seconds)
        with self._lock:
            self._listen(self._port)

    def _listen(self, port: int) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                token = {name: self.headers[name] for name in ("xc-token",) if name in self.headers}
                with suppress(OSError):  # the client has given up
                    _send(self, proxy, proxy.answer(self.path, token))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                """Keep quiet."""

        self._http = ThreadingHTTPServer((LOOPBACK, port), Handler)
        # A closed connection ends its thread; waiting for them would keep sockets open.
        self._http.daemon_threads = True
        self._port: int = self._http.server_port
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": _POLL_SECONDS}
        )
        self._thread.start()

    def _stop(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def is_page(target: str) -> bool:
    """Tell whether a target asks for rows."""
    return urllib.parse.urlsplit(target).path.endswith("/records")


def query_of(target: str) -> dict[str, str]:
    """Return the parameters of a target."""
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(target).query))


def with_query(target: str, **changed: str) -> str:
    """Return a target with other parameters."""
    parts = urllib.parse.urlsplit(target)
    query = urllib.parse.urlencode(query_of(target) | changed)
    return urllib.parse.urlunsplit(parts._replace(query=query))


def _send(handler: BaseHTTPRequestHandler, proxy: HttpProxy, answer: Answer) -> None:
    time.sleep(answer.wait_s)
    if answer.refused_s:
        proxy.refuse(answer.refused_s)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        handler.close_connection = True
        return
    length = {"Transfer-Encoding": "chunked"} if answer.chunked else {
        "Content-Length": str(len(answer.body))
    }  # fmt: skip
    handler.send_response(answer.status)
    for name, value in (answer.headers | length).items():
        handler.send_header(name, value)
    handler.end_headers()
    size = int(len(answer.body) * answer.sent)
    head = b"%x\r\n" % len(answer.body) if answer.chunked else b""
    tail = b"\r\n0\r\n\r\n" if answer.chunked and answer.sent == 1 else b""
    handler.wfile.write(head + answer.body[:size] + tail)
    if answer.sent < 1 or answer.wait_s:
        handler.close_connection = True
