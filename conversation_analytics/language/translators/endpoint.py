"""JSON over HTTP as translation engines speak it: credentials, retries, what each status means."""

from __future__ import annotations

import datetime as dt
import logging
import random as random_module
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3.exceptions

from conversation_analytics.core.errors import (
    SettingsError,
    TranslatorAuthError,
    TranslatorFailedError,
    TranslatorQuotaError,
    TranslatorRequestError,
    TranslatorUnavailableError,
)
from conversation_analytics.core.retries import parse_retry_after, retry_delay_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger("conversation_analytics.language.translators")

T = TypeVar("T")

_OK: Final = 200
_MAX_ANSWER_BYTES: Final = 1 << 26
_READ_BYTES: Final = 1 << 18
_WHOLE_ANSWER_TIMEOUTS: Final = 10
_REFUSED: Final = frozenset({401, 403})
_QUOTA: Final = frozenset({402, 456})
_OF_THE_TEXTS: Final = frozenset({400, 413, 422})
_TOO_MANY: Final = 429
_PASSING: Final = frozenset({408, 425, _TOO_MANY})
_SERVER_ERROR: Final = 500
_TRIES_OF_A_FAILURE: Final = 2
# LibreTranslate counts by the minute, does not say how long to wait, and bans who goes on.
_PAUSE_WHERE_TOO_MANY_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Where an engine is and how to ask it.

    Attributes:
        base_url: `http(s)://host[:port][/path]`, no credentials in it.
        api_key: never shown; empty: none.
        max_retries: repetitions of a failed request, 0 or more.
        retry_delay_s: seconds before the first repetition; doubles with each one.
        timeout_s: seconds to wait for a connection, and between two pieces of an answer.
        setting: what the names of its settings begin with, for messages.
    """

    base_url: str
    api_key: str = field(default="", repr=False)
    max_retries: int = 5
    retry_delay_s: float = 1.0
    timeout_s: float = 60.0
    setting: str = "TRANSLATOR"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: a value cannot work; the message names the setting, not the key.
        """
        url = urlsplit(self.base_url)
        if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
            raise SettingsError(f"{self.setting}_URL must be http(s)://host[:port][/path]")
        if "@" in url.netloc:
            raise SettingsError(f"{self.setting}_URL must hold no user: use {self.setting}_API_KEY")
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise SettingsError(f"{self.setting}_API_KEY must be one word of printable ASCII")


class _PassingError(Exception):
    """One try failed in a way that may pass by itself."""

    def __init__(self, reason: str, retry_after_s: float | None = None, status: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.status = status


class _HeaderAuth(requests.auth.AuthBase):
    """Puts the credentials into their header; being the session's auth, keeps .netrc out."""

    def __init__(self, header: tuple[str, str] | None) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header is not None:
            request.headers[self._header[0]] = self._header[1]
        return request


class Endpoint:
    """Asks one engine; for one thread at a time."""

    def __init__(
        self,
        name: str,
        config: EndpointConfig,
        header: tuple[str, str] | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_module.random,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an endpoint; nothing is asked yet.

        Args:
            name: of the engine, for messages.
            config: where and how.
            header: name and value of the header that carries the key.
            sleep: waits so many seconds.
            random: uniform in [0, 1), for the jitter.
            now: aware time, to understand a Retry-After that is a date.
            clock: seconds that never go back, for how long an answer takes.
        """
        self.config = config
        self._setting = config.setting
        self._name = name
        self._root = config.base_url.rstrip("/")
        self._sleep = sleep
        self._random = random
        self._now = now
        self._clock = clock
        self._session = requests.Session()
        self._session.auth = _HeaderAuth(header)

    def get(self, path: str, shape: type[T], params: Mapping[str, str] | None = None) -> T:
        """Return the answer to `GET path`, of the msgspec type `shape`; errors are `post`'s."""
        return self._ask("GET", path, shape, params=params)

    def post(
        self,
        path: str,
        shape: type[T],
        *,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> T:
        """Return the answer to `POST path`.

        Args:
            path: below the base URL, with its leading slash.
            shape: msgspec type of the answer; another one counts as a failed answer.
            body: sent as JSON.
            form: sent as a form.

        Raises:
            TranslatorFailedError: 500, after two repetitions.
            TranslatorUnavailableError: no usable answer after every repetition.
            TranslatorAuthError: 401 or 403.
            TranslatorQuotaError: 402 or 456, or 429 that says so.
            TranslatorRequestError: 400, 413 or 422: perhaps of the texts.
            SettingsError: another 4xx, a redirect, a certificate that is not trusted.
        """
        return self._ask("POST", path, shape, body=body, form=form)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _ask(
        self,
        method: str,
        path: str,
        shape: type[T],
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> T:
        attempt = 0
        while True:
            try:
                answer = self._attempt(method, path, params, body, form)
                return self._decoded(answer, shape)
            except _PassingError as error:
                failed = error.status == _SERVER_ERROR
                tries = self.config.max_retries
                if attempt == (min(tries, _TRIES_OF_A_FAILURE) if failed else tries):
                    raise (TranslatorFailedError if failed else TranslatorUnavailableError)(
                        f"{self._name} gave no usable answer to {method} {path} in {attempt + 1} "
                        f"tries; the last: {error}. Is {self._setting}_URL right and the engine "
                        f"up? A slow one needs a larger {self._setting}_TIMEOUT or smaller batches"
                    ) from None
                delay = retry_delay_s(
                    attempt, self.config.retry_delay_s, self._random(), error.retry_after_s
                )
                logger.warning(
                    "translator retry: engine=%s path=%s attempt=%d of=%d wait_s=%.2f reason=%s",
                    self._name, path, attempt + 1, tries, delay, error,
                )  # fmt: skip
            self._sleep(delay)
            attempt += 1

    def _attempt(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        form: Mapping[str, str] | None,
    ) -> bytes:
        try:
            answer = self._session.request(
                method,
                self._root + path,
                params=params,
                data=msgspec.json.encode(body) if body is not None else form,
                headers={"Content-Type": "application/json"} if body is not None else None,
                timeout=self.config.timeout_s,
                allow_redirects=False,
                stream=True,
            )
            with answer:
                content = self._content(path, answer)
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise SettingsError(
                    f"{self._name}: the certificate shown to {method} {path} is not trusted: is "
                    f"{self._setting}_URL the name it was made for? An authority of your own goes "
                    "into REQUESTS_CA_BUNDLE"
                ) from None
            raise _PassingError(f"no connection ({type(error).__name__})") from None
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
            urllib3.exceptions.HTTPError,
        ) as error:
            raise _PassingError(
                f"no connection or a torn answer ({type(error).__name__})"
            ) from None
        except (requests.RequestException, ValueError) as error:
            # Its text may quote headers.
            raise SettingsError(
                f"{self._name}: the request {method} {path} could not be made "
                f"({type(error).__name__}): look at {self._setting}_URL and the proxy settings"
            ) from None
        if answer.status_code == _OK:
            return content
        raise self._error(f"{method} {path}", answer, content)

    def _content(self, path: str, answer: requests.Response) -> bytes:
        """Read an answer to its end, within bounds: the time-out only bounds a single wait."""
        parts, size = [], 0
        until = self._clock() + _WHOLE_ANSWER_TIMEOUTS * self.config.timeout_s
        while part := answer.raw.read1(_READ_BYTES, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > _MAX_ANSWER_BYTES:
                raise SettingsError(
                    f"{self._name}: the answer to {path} is larger than "
                    f"{_MAX_ANSWER_BYTES >> 20} MiB: what answers at {self._setting}_URL?"
                )
            if self._clock() > until:
                raise _PassingError(
                    f"an answer that was not complete after {_WHOLE_ANSWER_TIMEOUTS} times "
                    f"{self._setting}_TIMEOUT, {size} bytes so far"
                )
        return b"".join(parts)

    def _decoded(self, content: bytes, shape: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _PassingError(
                f"HTTP 200, but {len(content)} bytes that are not the JSON expected"
            ) from None

    def _error(self, what: str, answer: requests.Response, content: bytes) -> Exception:
        """Return what an answer other than 200 means; never what it says: texts may be in it."""
        status = answer.status_code
        told = f"{self._name}: HTTP {status} to {what}"
        if status in _REFUSED:
            return TranslatorAuthError(
                f"{told}: it refuses {self._setting}_API_KEY, or this client for too many "
                "requests; make a key, or wait and lower the load"
            )
        if status in _QUOTA or (status == _TOO_MANY and b"insufficient_quota" in content):
            return TranslatorQuotaError(
                f"{told}: what was paid for is used up; raise the quota there, or wait for the "
                "next period"
            )
        if status in _OF_THE_TEXTS:
            return TranslatorRequestError(
                f"{told}: it refuses the request; with every text refused, look at the limits "
                "TRANSLATOR_BATCH_TEXTS and TRANSLATOR_BATCH_CHARACTERS, the model, and whether "
                f"it wants {self._setting}_API_KEY"
            )
        if status in _PASSING or status >= _SERVER_ERROR or status < _OK + 100:
            asked = parse_retry_after(answer.headers.get("Retry-After", ""), self._now())
            if asked is None and status == _TOO_MANY:
                asked = _PAUSE_WHERE_TOO_MANY_S
            return _PassingError(f"HTTP {status}", asked, status)
        return SettingsError(
            f"{told}: expected the contract of {self._name} there; redirects are not followed, "
            f"for the key would go along. Put the final address into {self._setting}_URL"
        )
