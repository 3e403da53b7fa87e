"""Delivers a message to a webhook: signed, to a checked address, in a bounded time.

The path and the query of the address may be a token, so errors and logs name the host only, and
nothing of an answer but its status.
"""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import logging
import random as random_module
import socket
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeVar
from urllib.parse import urlsplit

from conversation_analytics.core.alerts import signed_headers, signing_key
from conversation_analytics.core.errors import PermanentError, SettingsError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conversation_analytics.alerts.posting import Answer

logger = logging.getLogger("conversation_analytics.alerts.webhook")

T = TypeVar("T")

MAX_DEADLINE_S: Final = 10.0
"""Dagster hands up to 5 runs to a sensor in one look, and gives the look 60 s in all."""

_SUCCESS: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_PASSING: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class WebhookUnavailableError(TransientError):
    """The receiver did not answer, or answered 408/425/429/5xx, at every try."""


class WebhookRefusedError(PermanentError):
    """The receiver refused the message, or its address is not one that may be asked."""


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Where messages go and how.

    Attributes:
        url: `https://host[:port]/path`; never shown, for its path or query may hold a token.
        secret: `whsec_` and the signing key in base64; never shown.
        allow_http: allow `http://` to hosts other than this one.
        allow_private: allow addresses that are not public: loopback, private, link-local.
        ca_file: certificates to trust instead of the usual ones; empty for those.
        connect_timeout_s: longest wait for a connection.
        read_timeout_s: longest wait for an answer.
        max_retries: repetitions after a failure that may pass, 0 or more.
        retry_delay_s: before the first repetition; doubles with each one, with jitter.
        deadline_s: for one message in all, name look-up and repetitions included.
        kind: `ALERT` or `REPORT`: what is sent, and how the settings begin that say so.
    """

    url: str = field(repr=False)
    secret: str = field(repr=False)
    allow_http: bool = False
    allow_private: bool = False
    ca_file: str = ""
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 5.0
    max_retries: int = 2
    retry_delay_s: float = 0.5
    deadline_s: float = 8.0
    kind: Literal["ALERT", "REPORT"] = "ALERT"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: a value cannot work; neither address nor secret is quoted.
        """
        problem = _url_problem(self.url)
        if problem:
            raise SettingsError(
                f"{self.prefix}_URL {problem}: expected https://host[:port]/path in printable "
                "ASCII, without user, password or fragment"
            )
        if self.scheme == "http" and not self.allow_http and not _names_loopback(self.hostname):
            raise SettingsError(
                f"{self.prefix}_URL is http:// to {self.hostname}: {self.what}s would be readable "
                f"on the way. Use https://, or set {self.prefix}_ALLOW_HTTP=true"
            )
        signing_key(self.secret, f"{self.prefix}_SECRET")
        if (
            min(self.connect_timeout_s, self.read_timeout_s) <= 0
            or min(self.max_retries, self.retry_delay_s) < 0
            or not 0 < self.deadline_s <= MAX_DEADLINE_S
        ):
            raise SettingsError(
                f"the {self.what} webhook's time-outs must be over 0 s, its retries and their "
                f"delay not negative, its deadline over 0 and at most {MAX_DEADLINE_S:.0f} s"
            )

    @property
    def what(self) -> str:
        """What is sent."""
        return self.kind.lower()

    @property
    def prefix(self) -> str:
        """How the settings begin."""
        return f"{self.kind}_WEBHOOK"

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return urlsplit(self.url).scheme

    @property
    def hostname(self) -> str:
        """The host's name or address, without port or brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port asked."""
        return urlsplit(self.url).port or _DEFAULT_PORTS[self.scheme]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivered message.

    Attributes:
        status: HTTP status, 2xx.
        tries: 1 or more.
    """

    status: int
    tries: int


class _PassingError(Exception):
    """One try failed in a way that may pass by itself."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


def resolve_host(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, in the order of the system's preference.

    Raises:
        OSError: the name has no address, or nobody could say.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Webhook:
    """Delivers messages to one address; each try has a connection and a thread of its own."""

    def __init__(
        self,
        config: WebhookConfig,
        *,
        resolve: Callable[[str, int], Sequence[str]] = resolve_host,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_module.random,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a webhook; nothing is looked up or sent yet.

        Args:
            config: where and how.
            resolve: addresses of host and port; asked anew at every try.
            sleep: waits so many seconds.
            random: 0 to 1, for the jitter of the waits.
            now: time of a try, goes into its signature.
            monotonic: seconds, for the deadline.
        """
        self.config = config
        self._key = signing_key(config.secret, f"{config.prefix}_SECRET")
        self._resolve = resolve
        self._sleep = sleep
        self._random = random
        self._now = now
        self._monotonic = monotonic

    def deliver(self, message_id: str, body: bytes) -> Delivery:
        """Post a JSON body, and again after failures that may pass.

        A try that was given up may still have arrived: receivers drop repeated ids.

        Args:
            message_id: the same for every delivery of the same event.
            body: JSON, sent as it is.

        Raises:
            WebhookUnavailableError: no 2xx within the tries and the deadline.
            WebhookRefusedError: another 4xx, a redirect, a certificate that is not trusted, or an
                address that is not allowed; not repeated.
        """
        host, config = self.config.hostname, self.config
        end = self._monotonic() + config.deadline_s
        tries = 0
        while True:
            tries += 1
            try:
                attempt = functools.partial(self._attempt, message_id, body, tries - 1)
                return Delivery(_bounded(attempt, end - self._monotonic()), tries)
            except _PassingError as error:
                reason, pause = str(error), error.retry_after_s
            backoff = config.retry_delay_s * 2.0 ** (tries - 1)
            # Half of it is random: senders that failed together do not come back together.
            pause = max(pause, backoff * (0.5 + self._random() / 2))
            if tries > config.max_retries or self._monotonic() + pause >= end:
                raise WebhookUnavailableError(
                    f"the {config.what} webhook at {host} took no {config.what} in {tries} tries "
                    f"within {config.deadline_s:g} s; the last: {reason}. Is the receiver up, and "
                    f"{config.prefix}_URL right?"
                )
            logger.warning(
                "%s retry: host=%s try=%d of=%d wait_s=%.2f reason=%s",
                config.what, host, tries, config.max_retries + 1, pause, reason,
            )  # fmt: skip
            self._sleep(pause)

    def _attempt(self, message_id: str, body: bytes, turn: int, left_s: float) -> int:
        config = self.config
        address = self._address(turn)
        headers = signed_headers(message_id, body, self._now(), self._key) | {
            "Host": urlsplit(config.url).netloc,
            "Content-Type": "application/json",
            "User-Agent": "conversation-analytics",
        }
        timeouts = min(config.connect_timeout_s, left_s), min(config.read_timeout_s, left_s)
        # requests takes 80 ms to import: for the first message only, not for every process.
        from conversation_analytics.alerts.posting import (  # noqa: PLC0415
            PostFailedError,
            PostProblem,
            post,
        )

        try:
            answer = post(
                config.url, headers, body,
                address=address, host=config.hostname, timeouts=timeouts, ca_file=config.ca_file,
            )  # fmt: skip
        except PostFailedError as error:
            match error.problem:
                case PostProblem.NO_ANSWER:
                    raise _PassingError(f"no connection or no answer ({error})") from None
                case PostProblem.CERTIFICATE:
                    raise WebhookRefusedError(
                        f"the certificate of the {config.what} webhook at {config.hostname} is not "
                        "trusted: renew it there, or name its authority in "
                        f"{config.prefix}_CA_FILE"
                    ) from None
                case PostProblem.REQUEST:
                    raise WebhookRefusedError(
                        f"the request to the {config.what} webhook at {config.hostname} could not "
                        f"be made ({error}): look at {config.prefix}_URL and "
                        f"{config.prefix}_CA_FILE"
                    ) from None
        if answer.status in _SUCCESS:
            return answer.status
        raise self._refusal(answer)

    def _address(self, turn: int) -> str:
        """Look the host up and return the address to connect to; every one has to be allowed."""
        config = self.config
        try:
            addresses = list(dict.fromkeys(self._resolve(config.hostname, config.port)))
        except OSError as error:
            reason = f"its name could not be looked up ({type(error).__name__})"
            addresses = []
        else:
            reason = "its name has no address"
        if not addresses:
            raise _PassingError(reason)
        for address in addresses:
            ip = _unwrapped(address)
            if not config.allow_private and (not ip.is_global or ip.is_multicast):
                raise WebhookRefusedError(
                    f"the {config.what} webhook's host {config.hostname} has an address that is "
                    f"not public: nothing is sent. Correct {config.prefix}_URL, or set "
                    f"{config.prefix}_ALLOW_PRIVATE=true if the receiver is in your own network"
                )
            if config.scheme == "http" and not config.allow_http and not ip.is_loopback:
                raise WebhookRefusedError(
                    f"the {config.what} webhook's host {config.hostname} is not this machine, and "
                    "the address is http://: nothing is sent. Use https://, or set "
                    f"{config.prefix}_ALLOW_HTTP=true"
                )
        return addresses[turn % len(addresses)]

    def _refusal(self, answer: Answer) -> Exception:
        status = answer.status
        if status in _PASSING or status >= _SERVER_ERROR:
            after = answer.retry_after
            seconds = float(after) if after.isascii() and after.isdigit() else 0.0
            return _PassingError(f"HTTP {status}", seconds)
        config = self.config
        if status in _REDIRECTS:
            return WebhookRefusedError(
                f"the {config.what} webhook at {config.hostname} redirects (HTTP {status}): not "
                "followed, for the target is unchecked. Put the final address into "
                f"{config.prefix}_URL"
            )
        return WebhookRefusedError(
            f"the {config.what} webhook at {config.hostname} refused the {config.what}: HTTP "
            f"{status}. Look at {config.prefix}_URL, at {config.prefix}_SECRET on both sides, and "
            "at the receiver's log"
        )


def _bounded(call: Callable[[float], T], seconds: float) -> T:
    """Return what the call returns, or give it up after so many seconds.

    Time-outs of sockets do not bound a name look-up, nor an answer that comes byte by byte. A
    call given up ends with its connection; as a daemon thread it holds nothing open at exit.

    Raises:
        _PassingError: the call did not return in time.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call(seconds))
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            outcome.set_exception(error)

    threading.Thread(target=run, name="webhook", daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError:
        raise _PassingError(f"no answer within the {seconds:.1f} s that were left") from None


def _url_problem(url: str) -> str | None:
    """Return what is wrong with an address, without quoting it; None if nothing is."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "holds a character that no address may hold"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "has no valid host and port"
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        return "is no http(s) address"
    if "@" in parts.netloc:
        return "holds a user or a password"
    return "has a fragment" if parts.fragment else None


def _names_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unwrapped(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address; of an IPv6 one that stands for an IPv4 one, that."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
