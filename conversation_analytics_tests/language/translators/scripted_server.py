"""An engine on loopback that answers as told: for faults, and for engines that need a key."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from conversation_analytics.language.translators.endpoint import Endpoint, EndpointConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "key-that-must-not-be-told"


@dataclass(frozen=True)
class Answer:
    """One answer; the last one of a script is repeated."""

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    cut: int = 0

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class ScriptedEngine:
    base_url: str
    script: list[Answer]
    asked: list[Asked] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def endpoint(
        self, header: tuple[str, str] | None = None, max_retries: int = 3, key: str = KEY
    ) -> Endpoint:
        config = EndpointConfig(self.base_url, key, max_retries, 1.0, 5.0)
        return Endpoint("engine", config, header, sleep=self.slept.append, random=lambda: 1.0)


@contextlib.contextmanager
def scripted(*script: Answer) -> Iterator[ScriptedEngine]:
    """Run a server that gives these answers in turn."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            content = self.rfile.read(length)
            with lock:
                answer = server.script[min(len(server.asked), len(server.script) - 1)]
                server.asked.append(Asked(self.command, self.path, dict(self.headers), content))
            if answer.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.content)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content[: len(answer.content) - answer.cut])
            self.close_connection = self.close_connection or bool(answer.cut)

        do_POST = do_GET  # noqa: N815 - its name there

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = ScriptedEngine(f"http://127.0.0.1:{http.server_port}", list(script))
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
