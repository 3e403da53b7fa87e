"""A server on loopback that misbehaves on order: only for faults the real NocoDB cannot be told."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from conversation_analytics.nocodb.client import NocoDBClient, NocoDBConfig

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

TOKEN = "token-that-must-not-be-told"


@dataclass(frozen=True)
class Answer:
    """One answer; the last one of a script is repeated."""

    status: int = 200
    body: bytes = b'{"list": []}'
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    cut: int = 0
    drip_s: float = 0.0
    dated: bool = True


def rows(*served: dict[str, object], page_size: int | None = None) -> Answer:
    answer: dict[str, object] = {"list": served}
    if page_size is not None:
        answer["pageInfo"] = {"pageSize": page_size}
    return Answer(body=json.dumps(answer).encode())


@dataclass
class ScriptedServer:
    base_url: str
    script: list[Answer]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def client(
        self, max_retries: int = 3, now: Callable[[], dt.datetime] | None = None
    ) -> NocoDBClient:
        """A client that notes how long it would sleep; its jitter is always the largest."""
        config = NocoDBConfig(
            self.base_url,
            TOKEN,
            "base",
            "conversations",
            "messages",
            max_retries=max_retries,
            retry_delay_s=1.0,
            timeout_s=5.0,
        )
        if now is None:
            return NocoDBClient(config, sleep=self.slept.append, random=lambda: 1.0)
        return NocoDBClient(config, sleep=self.slept.append, random=lambda: 1.0, now=now)


@contextlib.contextmanager
def scripted(*script: Answer) -> Iterator[ScriptedServer]:
    """Run a server that gives these answers in turn."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                answer = server.script[min(len(server.requests), len(server.script) - 1)]
                server.requests.append((self.path, dict(self.headers)))
            if answer.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                return
            if answer.dated:
                self.send_response(answer.status)
            else:
                self.send_response_only(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if answer.drip_s:
                self.drip(answer)
                return
            self.wfile.write(answer.body[: len(answer.body) - answer.cut])
            self.close_connection = self.close_connection or bool(answer.cut)

        def drip(self, answer: Answer) -> None:
            """Send a byte at a time, as a proxy does that keeps a connection alive."""
            self.close_connection = True
            with contextlib.suppress(OSError):  # the client gives up at last
                for position in range(len(answer.body)):
                    self.wfile.write(answer.body[position : position + 1])
                    self.wfile.flush()
                    time.sleep(answer.drip_s)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = ScriptedServer(f"http://127.0.0.1:{http.server_port}", list(script))
        # A closed connection ends its thread; waiting for them keeps sockets from leaking.
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
