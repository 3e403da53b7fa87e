"""A TCP proxy on loopback that reads each request and does to it what the network may do."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO

from conversation_analytics.stack.processes import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 65_536
_MONGODB_HEADER = 16
# Flags, the kind of the first section, the length of its document, the type of its first field.
_MONGODB_NAME = _MONGODB_HEADER + 4 + 1 + 4 + 1
_OP_MSG = 2013


class Cut(Enum):
    """When the connection breaks."""

    BEFORE = "before the request"
    IN_THE_MIDDLE = "in the middle of the request"
    AFTER = "after the request, before its answer"


@dataclass
class Fault:
    """What happens to some requests.

    Attributes:
        wanted: tells by its name whether a request is meant.
        does: breaks the connection, is the answer, or is called before the request goes on.
        times: to how many requests at most.
        skip: how many that are meant go through before.
        met: how many it has happened to.
    """

    wanted: Callable[[str], bool]
    does: Cut | bytes | Callable[[], object]
    times: int = 1
    skip: int = 0
    met: int = 0


class TcpProxy:
    """Passes connections on to a port of loopback, request by request.

    Attributes:
        port: where it listens.
        fault: what happens to requests now.
    """

    def __init__(
        self, upstream: int, read_request: Callable[[BinaryIO], tuple[str, bytes] | None]
    ) -> None:
        self._upstream = upstream
        self._read_request = read_request
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.fault: Fault | None = None
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self) -> None:
        """Break every connection and end."""
        with self._lock:
            self._listener.close()
            for one in self._open:
                _break(one)
        # Wakes the accepting thread, which a closed socket does not.
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), 0.1):
            pass
        for thread in self._threads:
            thread.join(10)

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[Fault]:
        """Let `fault` happen inside."""
        self.fault = fault
        try:
            yield fault
        finally:
            self.fault = None

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket() as server, client.makefile("rb") as requests:
            with self._lock:
                self._open |= {client, server}
            lost = threading.Event()
            answers = threading.Thread(target=_pass_answers, args=(server, client, lost))
            try:
                server.connect((LOOPBACK, self._upstream))
                answers.start()
                while (request := self._read_request(requests)) is not None:
                    if not self._pass_on(*request, client, server, lost):
                        break
            except OSError:
                pass  # one of the two is gone, and the other learns it now
            finally:
                if lost.is_set():
                    answers.join(10)
                for one in (client, server):
                    _break(one)
                if answers.ident is not None:
                    answers.join(10)
                with self._lock:
                    self._open -= {client, server}

    def _pass_on(
        self,
        name: str,
        request: bytes,
        client: socket.socket,
        server: socket.socket,
        lost: threading.Event,
    ) -> bool:
        """Do with a request what is planned; return whether the connection stays."""
        does = self._planned(name)
        if does is Cut.BEFORE:
            return False
        if does is Cut.IN_THE_MIDDLE:
            server.sendall(request[: len(request) // 2])
            return False
        if isinstance(does, bytes):
            client.sendall(does)
            return True
        if does is Cut.AFTER:
            lost.set()
        elif callable(does):
            does()
        server.sendall(request)
        return not lost.is_set()

    def _planned(self, name: str) -> Cut | bytes | Callable[[], object] | None:
        with self._lock:
            fault = self.fault
            if fault is None or fault.met >= fault.times or not fault.wanted(name):
                return None
            if fault.skip:
                fault.skip -= 1
                return None
            fault.met += 1
            return fault.does


def mongodb_request(reader: BinaryIO) -> tuple[str, bytes] | None:
    """Read one message of MongoDB's wire protocol: the command's name and all bytes."""
    header = reader.read(_MONGODB_HEADER)
    if len(header) < _MONGODB_HEADER:
        return None
    message = header + reader.read(int.from_bytes(header[:4], "little") - _MONGODB_HEADER)
    if int.from_bytes(header[12:16], "little") != _OP_MSG:
        return "", message
    return message[_MONGODB_NAME : message.index(b"\0", _MONGODB_NAME)].decode(), message


def http_request(reader: BinaryIO) -> tuple[str, bytes] | None:
    """Read one HTTP/1.1 request with a length: "METHOD target" and all bytes, as they came."""
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line)
    if not lines:
        return None
    length = next(
        (int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0
    )
    name = lines[0].decode("latin-1").rpartition(" ")[0]
    return name, b"".join([*lines, b"\r\n", reader.read(length)])


def _pass_answers(server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
    with suppress(OSError):
        while data := server.recv(_CHUNK):
            if lost.is_set():  # the server has done it, and nobody hears of it
                break
            client.sendall(data)
    _break(client)


def _break(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
