"""One POST to one address: no redirect, no proxy, no body of the answer, no path in a log."""

from __future__ import annotations

import contextlib
import enum
import logging
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import urllib3.exceptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class PostProblem(enum.Enum):
    """Why there was no answer."""

    NO_ANSWER = enum.auto()
    CERTIFICATE = enum.auto()
    REQUEST = enum.auto()


class PostFailedError(Exception):
    """No answer came; the text is the class of the error only, for others quote the URL."""

    def __init__(self, problem: PostProblem, name: str) -> None:
        super().__init__(name)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Answer:
    """What is read of an answer.

    Attributes:
        status: HTTP status.
        retry_after: that header, or empty.
    """

    status: int
    retry_after: str


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    address: str,
    host: str,
    timeouts: tuple[float, float],
    ca_file: str,
) -> Answer:
    """Post a body over a connection of its own.

    Args:
        url: with scheme, port, path and query.
        headers: with `Host`.
        body: sent as it is.
        address: IP address to connect to.
        host: name the certificate has to be of.
        timeouts: seconds for the connection, and for each wait for a piece of the answer.
        ca_file: certificates to trust; empty for the usual ones.

    Raises:
        PostFailedError: there was no answer.
    """
    # Without a session: no redirects, no proxy or .netrc of the environment, no cookies.
    adapter = _PinnedAdapter(address, host)
    with contextlib.closing(adapter), _silent_urllib3():
        try:
            request = requests.Request("POST", url, headers=headers, data=body).prepare()
            answer = adapter.send(request, stream=True, timeout=timeouts, verify=ca_file or True)
        except (requests.ConnectionError, requests.Timeout) as error:
            untrusted = _is_certificate_error(error)
            problem = PostProblem.CERTIFICATE if untrusted else PostProblem.NO_ANSWER
            failure = PostFailedError(problem, type(error).__name__)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            failure = PostFailedError(PostProblem.REQUEST, type(error).__name__)
        else:
            with contextlib.closing(answer):  # its body is not read
                after = answer.headers.get("Retry-After", "").strip()
                return Answer(answer.status_code, after)
    raise failure  # outside of the handlers: what it would be raised from quotes the URL


class _PinnedAdapter(requests.adapters.HTTPAdapter):
    """Connects to one address, whatever the host's name says by now; TLS checks the name."""

    def __init__(self, address: str, host: str) -> None:
        self._address = address
        self._host = host
        super().__init__(max_retries=0)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:  # the stubs' own types for these two mappings are private, and lack the key
        host_params, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        name = {"server_hostname": self._host} if host_params["scheme"] == "https" else {}
        return {**host_params, "host": self._address}, {**tls, **name}


@contextlib.contextmanager
def _silent_urllib3() -> Iterator[None]:
    """Keep this thread's requests out of urllib3's debug log, which tells paths."""
    thread = threading.get_ident()

    def other_threads(record: logging.LogRecord) -> bool:
        return record.thread != thread

    log = logging.getLogger("urllib3.connectionpool")
    log.addFilter(other_threads)
    try:
        yield
    finally:
        log.removeFilter(other_threads)


def _is_certificate_error(error: BaseException) -> bool:
    """Find a certificate that was not accepted among the errors an error wraps."""
    inner: list[object] = [error]
    seen: set[int] = set()
    while inner:
        one = inner.pop()
        if isinstance(one, ssl.SSLCertVerificationError):
            return True
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            inner += [*one.args, getattr(one, "reason", None)]
    return False
