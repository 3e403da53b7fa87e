"""HTTP client of NocoDB: credentials, retries and what each answer means.

The status alone does not say whether a request is worth repeating: a proxy may answer 200
with an error page, and NocoDB answers 400 while the database behind it is away.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import logging
import random as random_module
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests
import requests.adapters
import urllib3.exceptions

from conversation_analytics.core.errors import (
    SettingsError,
    SourceAuthError,
    SourceRequestError,
    SourceUnavailableError,
)
from conversation_analytics.core.retries import parse_retry_after, retry_delay_s
from conversation_analytics.nocodb.pages import Listing, take_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

logger = logging.getLogger("conversation_analytics.nocodb.client")

T = TypeVar("T")

MAX_PAGE_SIZE: Final = 1000
"""NocoDB serves no more rows than that in a page, whatever is asked for."""
MAX_ROWS_WRITTEN: Final = 100
"""NocoDB takes no more rows than that in a request."""

_WHOLE_ANSWER_TIMEOUTS: Final = 10
_MAX_ANSWER_BYTES: Final = 1 << 30
_READ_BYTES: Final = 1 << 18
_OK: Final = 200
_WRITTEN: Final = frozenset({200, 201})
_REDIRECTS: Final = range(300, 400)
_REFUSED: Final = frozenset({401, 403})
_PASSING: Final = frozenset({408, 425, 429})
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
# Codes NocoDB puts into a 400 when the database behind it is away, busy or restarting:
# Node's socket errors, and SQLSTATE 08 (connection), 40 (deadlock), 53 (resources),
# 57 (shutdown, cancelled).
_PASSING_NODE_CODES: Final = frozenset(
    {"ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EPIPE", "EHOSTUNREACH", "ENETUNREACH",
     "EAI_AGAIN", "SQLITE_BUSY", "PROTOCOL_CONNECTION_LOST"}
)  # fmt: skip
_PASSING_SQLSTATE_CLASSES: Final = ("08", "40", "53", "57")
_SQLSTATE_CHARACTERS: Final = 5
_RECORD_GONE: Final = "ERR_RECORD_NOT_FOUND"
_CODE: Final = re.compile(r"[A-Z0-9][A-Z0-9_]{2,63}")
_NOT_FOUND: Final = re.compile(
    r"\b(Column alias|Column|Field|Table|View) '([\w .-]{1,64})' not found"
)


@dataclass(frozen=True, slots=True)
class NocoDBConfig:
    """Where NocoDB is and how to ask it.

    Attributes:
        base_url: `http(s)://host[:port][/path]`, no credentials in it.
        api_token: API token, never shown.
        project_id: id of the base.
        conversations_table: title or id.
        messages_table: title or id.
        feedbacks_table: title or id; empty: there is none.
        api_version: `v2`, or `v1` for older servers.
        auth: header the token goes into: `xc-token`, or `Authorization: Bearer`.
        max_retries: repetitions of a failed request, 0 or more.
        retry_delay_s: seconds before the first repetition; doubles with each one.
        timeout_s: seconds to wait for a connection, and between two pieces of an answer.
        page_size: rows in a page, 1 to 1000.
        load_prompt: load `messages.message`, the full prompt; huge and private.
    """

    base_url: str
    api_token: str = field(repr=False)
    project_id: str
    conversations_table: str = "conversations"
    messages_table: str = "messages"
    api_version: Literal["v1", "v2"] = "v2"
    auth: Literal["xc-token", "bearer"] = "xc-token"
    max_retries: int = 5
    retry_delay_s: float = 1.0
    timeout_s: float = 60.0
    page_size: int = MAX_PAGE_SIZE
    load_prompt: bool = False
    feedbacks_table: str = ""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: a value cannot work; the message names the setting, not the token.
        """
        url = urlsplit(self.base_url)
        if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
            raise SettingsError("NOCODB_BASE_URL must be http(s)://host[:port][/path]")
        if "@" in url.netloc:
            raise SettingsError(
                "NOCODB_BASE_URL must hold no user or password: put a token into NOCODB_API_TOKEN"
            )
        token = self.api_token
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            # requests would quote a token with a line break in its error.
            raise SettingsError(
                "NOCODB_API_TOKEN must be one word of printable ASCII: copy it again from NocoDB"
            )
        if self.api_version not in {"v1", "v2"}:
            raise SettingsError("NOCODB_API_VERSION must be v1 or v2")
        if self.auth not in {"xc-token", "bearer"}:
            raise SettingsError("NOCODB_AUTH must be xc-token or bearer")
        for name, value in (
            ("NOCODB_PROJECT_ID", self.project_id),
            ("NOCODB_CONVERSATION_TABLE", self.conversations_table),
            ("NOCODB_MESSAGES_TABLE", self.messages_table),
        ):
            if not value:
                raise SettingsError(f"{name} must not be empty")
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            raise SettingsError(f"CHUNK_SIZE must be 1 to {MAX_PAGE_SIZE}, not {self.page_size}")
        if self.max_retries < 0 or self.retry_delay_s < 0 or self.timeout_s <= 0:
            raise SettingsError(
                "MAX_RETRIES and RETRY_DELAY must not be negative, NOCODB_TIMEOUT must be over 0"
            )


class _ErrorAnswer(msgspec.Struct):
    # Servers differ in what they put there: a field that is no text tells nothing, and hides
    # no other.
    msg: Any = None
    message: Any = None
    error: Any = None
    code: Any = None


class ServerFailedError(SourceUnavailableError):
    """NocoDB answered 500 to a request for rows: it is up, and does not say what is wrong."""


class RecordGoneError(SourceRequestError):
    """A row that was to be changed or deleted is not there any more; none of the request was."""


class _PassingError(Exception):
    """One try failed in a way that may pass by itself."""

    def __init__(
        self, reason: str, retry_after_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.status = status


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked; its text names it in errors and logs, without parameters or rows."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def good(self) -> frozenset[int]:
        """The statuses of an answer that is one."""
        return frozenset({_OK}) if self.body is None else _WRITTEN


_RAW = msgspec.json.Decoder(msgspec.Raw)
_ERROR = msgspec.json.Decoder(_ErrorAnswer)


class _TokenAuth(requests.auth.AuthBase):
    """Puts the token into its header; being the session's auth, it also keeps .netrc out."""

    def __init__(self, config: NocoDBConfig) -> None:
        if config.auth == "bearer":
            self._header, self._value = "Authorization", f"Bearer {config.api_token}"
        else:
            self._header, self._value = "xc-token", config.api_token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self._header] = self._value
        return request


class NocoDBClient:
    """Asks NocoDB; safe to use from several threads, each request has a session for itself."""

    def __init__(
        self,
        config: NocoDBConfig,
        *,
        session_factory: Callable[[], requests.Session] = requests.Session,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_module.random,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a client; nothing is asked of the server yet.

        Args:
            config: where and how.
            session_factory: makes a session; there are as many as requests at one time.
            sleep: waits so many seconds.
            random: uniform in [0, 1), for the jitter.
            now: aware time, to understand a Retry-After that is a date.
            clock: seconds that never go back, for how long an answer takes.
        """
        self.config = config
        self._root = config.base_url.rstrip("/")
        self._session_factory = session_factory
        self._sleep = sleep
        self._random = random
        self._now = now
        self._clock = clock
        self._idle: list[requests.Session] = []  # append and pop are atomic
        self._ahead_s: float | None = None

    def get_json_bytes(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """Return the body of `GET path`, which is well-formed JSON.

        Args:
            path: from the root of the server, with its leading slash, quoted.
            params: query parameters, not quoted.

        Raises:
            SourceUnavailableError: no usable answer after `max_retries` repetitions.
            SourceAuthError: 401 or 403; not repeated.
            SourceRequestError: another 4xx or a redirect; not repeated.
        """
        request = _Request("GET", path, params or {})
        return self._ask(request, _json_only, self.config.max_retries)

    def get_list(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        max_retries: int | None = None,
    ) -> Listing:
        """Return the rows of `GET path`; an answer without `list` counts as a failed one.

        Args:
            path: from the root of the server, with its leading slash, quoted.
            params: query parameters, not quoted.
            max_retries: instead of the configuration's.

        Raises:
            ServerFailedError: HTTP 500, the last time too.
            SourceUnavailableError: no usable answer after `max_retries` repetitions.
            SourceAuthError: 401 or 403; not repeated.
            SourceRequestError: another 4xx or a redirect; not repeated.
        """
        if max_retries is None:
            max_retries = self.config.max_retries
        return self._ask(_Request("GET", path, params or {}), _listing, max_retries)

    def get_tables(self) -> Listing:
        """Return the tables of the base; none at all counts as a failed answer.

        NocoDB was seen to answer so for a moment, about a base whose tables it had listed before.

        Raises:
            AnalyticsError: as `get_list`.
        """
        request = _Request("GET", self.tables_path())
        return self._ask(request, _some_tables, self.config.max_retries)

    def write_records(
        self,
        method: Literal["POST", "PATCH", "DELETE"],
        table_id: str,
        rows: Sequence[Mapping[str, object]],
    ) -> None:
        """Insert, change or delete rows of a table, by NocoDB's v2 API.

        An insert whose answer is lost is repeated though it may have been done: who inserts looks
        for rows that are there twice.

        Args:
            method: `POST` inserts, `PATCH` changes, `DELETE` deletes.
            table_id: id of the table.
            rows: 1 to 100 of them, by title of the column; with the primary key, except to insert.

        Raises:
            SourceUnavailableError: no usable answer after `max_retries` repetitions.
            SourceAuthError: 401 or 403; not repeated.
            RecordGoneError: somebody has deleted one of the rows; not repeated.
            SourceRequestError: another 4xx or a redirect; not repeated.
        """
        path = f"/api/v2/tables/{_segment(table_id)}/records"
        body = msgspec.json.encode(rows)
        self._ask(_Request(method, path, body=body), _json_only, self.config.max_retries)

    def is_alive(self) -> None:
        """Ask for the server's health once.

        Raises:
            AnalyticsError: as `get_json_bytes`.
        """
        self._ask(_Request("GET", "/api/v1/health"), _json_only, 0)

    @property
    def clock_ahead_s(self) -> float | None:
        """How far the server's clock is ahead of ours, by its last answer; None: it did not say.

        To the second, which is what the header Date tells, and to the time an answer takes.
        """
        return self._ahead_s

    def records_path(self, table_id: str) -> str:
        """Return the path that serves the rows of a table."""
        if self.config.api_version == "v1":
            return f"/api/v1/db/data/v1/{_segment(self.config.project_id)}/{_segment(table_id)}"
        return f"/api/v2/tables/{_segment(table_id)}/records"

    def tables_path(self) -> str:
        """Return the path that lists the tables of the base."""
        project = _segment(self.config.project_id)
        if self.config.api_version == "v1":
            return f"/api/v1/db/meta/projects/{project}/tables"
        return f"/api/v2/meta/bases/{project}/tables"

    def table_path(self, table_id: str) -> str:
        """Return the path that describes the columns of a table."""
        if self.config.api_version == "v1":
            return f"/api/v1/db/meta/tables/{_segment(table_id)}"
        return f"/api/v2/meta/tables/{_segment(table_id)}"

    def pause(self, attempt: int) -> None:
        """Wait as before repetition `attempt` (0 is the first) of a failed request."""
        self._sleep(self._delay(attempt, None))

    def close(self) -> None:
        """Close the idle connections; a later request opens new ones."""
        while self._idle:
            self._idle.pop().close()

    def _ask(self, request: _Request, decode: Callable[[bytes], T], max_retries: int) -> T:
        with self._session() as session:
            attempt = 0
            while True:
                try:
                    return self._attempt(session, request, decode)
                except _PassingError as error:
                    if attempt == max_retries:
                        failed = decode is _listing and error.status == _SERVER_ERROR
                        raise (ServerFailedError if failed else SourceUnavailableError)(
                            f"NocoDB gave no usable answer to {request} in {attempt + 1} tries; "
                            f"the last: {error}. Is NOCODB_BASE_URL right and the server up? A "
                            "slow server needs a larger NOCODB_TIMEOUT or a smaller CHUNK_SIZE"
                        ) from None
                    delay = self._delay(attempt, error.retry_after_s)
                    logger.warning(
                        "nocodb retry: method=%s path=%s attempt=%d of=%d wait_s=%.2f reason=%s",
                        request.method, request.path, attempt + 1, max_retries, delay, error,
                    )  # fmt: skip
                self._sleep(delay)
                attempt += 1

    @contextlib.contextmanager
    def _session(self) -> Iterator[requests.Session]:
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._session_factory()
            session.auth = _TokenAuth(self.config)
        try:
            yield session
        finally:
            self._idle.append(session)

    def _attempt(
        self,
        session: requests.Session,
        request: _Request,
        decode: Callable[[bytes], T],
    ) -> T:
        try:
            answer = session.request(
                request.method,
                self._root + request.path,
                params=request.params,
                data=request.body,
                headers={} if request.body is None else {"Content-Type": "application/json"},
                timeout=self.config.timeout_s,
                allow_redirects=False,
                stream=True,
            )
            self._note_time(answer)
            with answer:
                body = self._body(request, answer)
        except requests.exceptions.SSLError as error:
            raise _tls_error(request, error) from None
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
            # Its text may quote headers. ValueError: requests looks at a redirect's address
            # though it is not followed.
            raise SourceRequestError(
                f"the request {request} could not be made, or was redirected to what is no "
                f"address ({type(error).__name__}): look at NOCODB_BASE_URL and the proxy settings"
            ) from None
        if answer.status_code in request.good:
            try:
                return decode(body)
            except (msgspec.DecodeError, ValueError, RecursionError):
                kind = answer.headers.get("Content-Type", "no type").split(";")[0]
                raise _PassingError(
                    f"HTTP {answer.status_code}, but {len(body)} bytes of {kind[:40]!r} that are "
                    f"not the JSON expected{_told(request, body)}"
                ) from None
        raise self._error(request, answer, body)

    def _body(self, request: _Request, answer: requests.Response) -> bytes:
        """Read an answer to its end, within bounds: the time-out only bounds a single wait."""
        parts = []
        size = 0
        until = self._clock() + _WHOLE_ANSWER_TIMEOUTS * self.config.timeout_s
        while part := answer.raw.read1(_READ_BYTES, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > _MAX_ANSWER_BYTES:
                raise SourceRequestError(
                    f"NocoDB's answer to {request} is larger than {_MAX_ANSWER_BYTES >> 20} MiB: "
                    "set a smaller CHUNK_SIZE, or look for what answers in NocoDB's place"
                )
            if self._clock() > until:
                raise _PassingError(
                    f"an answer that was not complete after {_WHOLE_ANSWER_TIMEOUTS} times "
                    f"NOCODB_TIMEOUT, {size} bytes so far"
                )
        return b"".join(parts)

    def _error(self, request: _Request, answer: requests.Response, body: bytes) -> Exception:
        """Return what an answer other than 200 means."""
        status = answer.status_code
        told = _told(request, body)
        if status in _REFUSED:
            may = "read" if request.body is None else "edit"
            return SourceAuthError(
                f"NocoDB refused the token: HTTP {status} to {request}{told}. Make an API token "
                f"for a user who may {may} the base and put it into NOCODB_API_TOKEN; NOCODB_AUTH "
                f"is {self.config.auth}"
            )
        if status in _REDIRECTS:
            target = _host_of(answer.headers.get("Location", ""))
            return SourceRequestError(
                f"NocoDB redirects {request} (HTTP {status}) to {target}: not followed, "
                "for the token would go along. Put the final address into NOCODB_BASE_URL"
            )
        passing = (
            status in _PASSING
            or status >= _SERVER_ERROR
            or status < _CLIENT_ERROR  # another 2xx, an empty 204 for one, is no answer
            or _is_database_away(_error_of(body).code)
        )
        if passing:
            return _PassingError(f"HTTP {status}{told}", self._retry_after(answer), status)
        gone = request.body is not None and _error_of(body).error == _RECORD_GONE
        return (RecordGoneError if gone else SourceRequestError)(
            f"NocoDB refused the request: HTTP {status} to {request}{told}"
        )

    def _delay(self, attempt: int, retry_after_s: float | None) -> float:
        return retry_delay_s(attempt, self.config.retry_delay_s, self._random(), retry_after_s)

    def _note_time(self, answer: requests.Response) -> None:
        try:
            told = email.utils.parsedate_to_datetime(answer.headers.get("Date", ""))
        except ValueError:
            return
        if told.tzinfo is not None:  # of `-0000` Python makes a time without a zone
            self._ahead_s = (told - self._now()).total_seconds()

    def _retry_after(self, answer: requests.Response) -> float | None:
        return parse_retry_after(answer.headers.get("Retry-After", ""), self._now())


def _told(request: _Request, body: bytes) -> str:
    """Return what the server says about an error: its codes, and a name that was asked for.

    Its sentences are not told: NocoDB and its database quote values of rows in them, and a proxy
    the request with its token.
    """
    error = _error_of(body)
    texts = [one for one in (error.error, error.code, error.message, error.msg)
             if isinstance(one, str)]  # fmt: skip
    codes = [one for one in texts if _CODE.fullmatch(one)]
    asked = f"{request.path} {' '.join(request.params.values())}"
    names = [
        f"{found[1]} {found[2]!r} not found"
        for one in texts
        if (found := _NOT_FOUND.search(one)) and found[2] in asked
    ]
    told = ", ".join(dict.fromkeys([*codes, *names]))
    return f" ({told})" if told else ""


def _segment(text: str) -> str:
    return quote(text, safe="")


def _json_only(body: bytes) -> bytes:
    _RAW.decode(body)  # walks through the whole text
    return body


def _listing(body: bytes) -> Listing:
    listing = take_apart(body)
    if not listing.rows and (listing.is_last is False or (listing.counted or 0) > 0):
        raise _PassingError("HTTP 200 with an empty page whose pageInfo says that there are rows")
    return listing


def _some_tables(body: bytes) -> Listing:
    listing = take_apart(body)
    if not listing.rows:
        raise _PassingError("HTTP 200 with no table at all (is NOCODB_PROJECT_ID the right base?)")
    return listing


def _tls_error(request: _Request, error: requests.exceptions.SSLError) -> Exception:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SourceRequestError(
            f"the certificate shown to {request} is not trusted: is NOCODB_BASE_URL the name it "
            "was made for? An authority of your own goes into REQUESTS_CA_BUNDLE"
        )
    return _PassingError(f"no connection or a torn answer ({type(error).__name__})")


def _host_of(location: str) -> str:
    try:
        target = urlsplit(location)
    except ValueError:
        return "what is no address"
    return f"{target.scheme}://{target.hostname}" if target.hostname else "the same host"


def _error_of(body: bytes) -> _ErrorAnswer:
    try:
        return _ERROR.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _ErrorAnswer()  # a page of a proxy: the status has to do


def _is_database_away(code: object) -> bool:
    return isinstance(code, str) and (
        code in _PASSING_NODE_CODES
        or (len(code) == _SQLSTATE_CHARACTERS and code.startswith(_PASSING_SQLSTATE_CLASSES))
    )
