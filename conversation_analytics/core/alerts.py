"""The alert of a failed run: what it may tell, its JSON body, its signature, its log line.

An alert leaves the machine. It names runs, jobs, partitions, steps and assets, and of errors
their class. The text of an error is told only where the class is one of this package's own,
whose messages hold no message text, user ids or credentials (`core/errors.py`); never a stack
trace. The signature is that of Standard Webhooks (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.errors import (
    AnalyticsError,
    PermanentError,
    SettingsError,
    TransientError,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

EVENT: Final = "run.failed"
VERSION: Final = 1
MAX_FAILURES: Final = 10
"""Failures, and assets of each, that one alert lists; `failures_total` counts them all."""

_MAX_NAME: Final = 100
_MAX_MESSAGE: Final = 400
_OWN_PACKAGE: Final = "conversation_analytics."
_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PLAIN: Final = re.compile(r"[^\s\"'=\\\x00-\x1f]+")
_WHSEC: Final = "whsec_"
_MIN_KEY_BYTES: Final = 24
_MAX_KEY_BYTES: Final = 64
_HOW_TO_MAKE_ONE: Final = (
    "make one with python3 -c 'import base64, secrets; "
    'print("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())\''
)


@dataclass(frozen=True, slots=True)
class RaisedError:
    """One exception as a log keeps it.

    Attributes:
        name: the class without its module; None where the log lost it.
        text: as Python prints it: `module.Class: message`, notes on further lines.
    """

    name: str | None
    text: str


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """What an alert tells of an error.

    Attributes:
        name: class of the innermost error of this package, else of the innermost one.
        message: first line of the error's message; None where the class is not ours.
        cause: class of the innermost cause, where that is another error.
        transient: whether it may pass by itself; None where nobody can say.
    """

    name: str
    message: str | None = None
    cause: str | None = None
    transient: bool | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed step, or what failed outside of any.

    Attributes:
        step: key of the step; None for a failure of the run itself.
        assets: keys of the assets the step was to make, sorted.
        error: None where the run's log has none.
    """

    step: str | None
    assets: tuple[str, ...] = ()
    error: ErrorSummary | None = None


@dataclass(frozen=True, slots=True)
class RunFailure:
    """A failed run, as an alert tells it.

    Attributes:
        run_id: of Dagster.
        job: name of the job.
        reason: Dagster's word for the way it failed, such as `STEP_FAILURE`.
        partition: the key, for a run of one partition.
        partition_range: first and last key, for a run of a range.
        started_at: with time zone; None for a run that never started.
        ended_at: with time zone; None where the run record has no end.
        failures: in the order in which they happened.
        run_url: the run in the Dagster UI, where its address is known.
    """

    run_id: str
    job: str
    reason: str | None = None
    partition: str | None = None
    partition_range: tuple[str, str] | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    failures: tuple[Failure, ...] = ()
    run_url: str | None = None

    @property
    def transient(self) -> bool | None:
        """Whether a repetition may succeed: not if one failure is permanent, None if unknown."""
        told = [failure.error.transient if failure.error else None for failure in self.failures]
        if False in told:
            return False
        return True if told and all(told) else None

    @property
    def message_id(self) -> str:
        """The same for every delivery of this run, so that a receiver can drop repetitions."""
        return f"run_failed_{self.run_id}"

    @property
    def partitions(self) -> str | None:
        """The partition key, or `first...last`; None for a run without partitions."""
        return "...".join(self.partition_range) if self.partition_range else self.partition


def summarise(chain: Sequence[RaisedError]) -> ErrorSummary | None:
    """Return what may be told of an error.

    Args:
        chain: the error first, then each one's cause, innermost last.

    Returns:
        None for an empty chain.
    """
    if not chain:
        return None
    innermost = _class_name(chain[-1].name)
    own = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in _own_errors(AnalyticsError)}
    for raised in reversed(chain):
        # A foreign class may bear the same short name: only the full one counts.
        qualified, _, message = raised.text.partition("\n")[0].partition(": ")
        cls = own.get(qualified.strip())
        if cls is not None:
            return ErrorSummary(
                cls.__name__,
                _clip(message, _MAX_MESSAGE),
                None if raised is chain[-1] else innermost,
                _is_transient(cls),
            )
    return ErrorSummary(innermost)


def payload(failure: RunFailure) -> bytes:
    """Return the JSON body: the same bytes for the same failure, ASCII, under 20 kB.

    Top level: `type`, `version`, `timestamp` (end of the run), `text` (one line for people)
    and `data`, which holds the attributes of `RunFailure`. Times are ISO 8601.
    """
    span = failure.partition_range
    data = {
        "run_id": failure.run_id,
        "job": _clip(failure.job, _MAX_NAME),
        "reason": failure.reason,
        "partition": _clip_or_none(failure.partition),
        "partition_range": span
        and {"start": _clip(span[0], _MAX_NAME), "end": _clip(span[1], _MAX_NAME)},
        "started_at": _iso(failure.started_at),
        "ended_at": _iso(failure.ended_at),
        "transient": failure.transient,
        "run_url": failure.run_url,
        "failures_total": len(failure.failures),
        "failures": [_failure(part) for part in failure.failures[:MAX_FAILURES]],
    }
    body = {
        "type": EVENT,
        "version": VERSION,
        "timestamp": _iso(failure.ended_at),
        "text": _text(failure),
        "data": data,
    }
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def log_line(failure: RunFailure) -> str:
    """Return the one line of the log: `run failed: key=value ...`, lists as JSON."""
    told = [(_clip_or_none(part.step), part.error) for part in failure.failures[:MAX_FAILURES]]
    fields: dict[str, object] = {
        "run_id": failure.run_id,
        "job": _clip(failure.job, _MAX_NAME),
        "partition": _clip_or_none(failure.partitions),
        "reason": failure.reason,
        "started_at": _iso(failure.started_at),
        "ended_at": _iso(failure.ended_at),
        "transient": failure.transient,
        "failures": len(failure.failures),
        "steps": [step for step, _ in told],
        "errors": [
            None if error is None else f"{error.name}: {error.message}"
            if error.message
            else error.name
            for _, error in told
        ],
    }  # fmt: skip
    return "run failed: " + " ".join(f"{key}={_value(value)}" for key, value in fields.items())


def signing_key(secret: str, setting: str = "ALERT_WEBHOOK_SECRET") -> bytes:
    """Return the key of a Standard Webhooks secret: `whsec_` and 24 to 64 bytes in base64.

    Args:
        secret: never quoted.
        setting: its name, for the message.

    Raises:
        SettingsError: it is none; the message does not quote it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_WHSEC), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_WHSEC) or not _MIN_KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
        raise SettingsError(
            f"{setting} ({len(secret)} characters) is no signing secret: expected "
            f"whsec_ and {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES} bytes in base64; {_HOW_TO_MAKE_ONE}"
        )
    return key


def signed_headers(message_id: str, body: bytes, at: dt.datetime, key: bytes) -> dict[str, str]:
    """Return `webhook-id`, `webhook-timestamp` (Unix seconds) and `webhook-signature`.

    The signature is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.

    Args:
        message_id: no dot in it.
        body: exactly the bytes to be sent.
        at: time of this try: receivers refuse what is more than minutes old.
        key: of `signing_key`.
    """
    seconds = str(int(at.timestamp()))
    signed = b".".join((message_id.encode(), seconds.encode(), body))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _own_errors(base: type[AnalyticsError]) -> Iterator[type[AnalyticsError]]:
    if base.__module__.startswith(_OWN_PACKAGE):
        yield base
    for cls in base.__subclasses__():
        yield from _own_errors(cls)


def _is_transient(cls: type[AnalyticsError]) -> bool | None:
    if issubclass(cls, TransientError):
        return True
    return False if issubclass(cls, PermanentError) else None


def _class_name(name: str | None) -> str:
    # What is no identifier is no class name, and might be anything.
    return name if name and _CLASS_NAME.fullmatch(name) else "(unnamed)"


def _failure(part: Failure) -> dict[str, object]:
    error = part.error
    return {
        "step": _clip_or_none(part.step),
        "assets": [_clip(asset, _MAX_NAME) for asset in part.assets[:MAX_FAILURES]],
        "error": error
        and {
            "class": error.name,
            "message": error.message,
            "cause": error.cause,
            "transient": error.transient,
        },
    }


def _text(failure: RunFailure) -> str:
    where = f" ({_clip(failure.partitions, _MAX_NAME)})" if failure.partitions else ""
    head = f"Run {failure.run_id} of {_clip(failure.job, _MAX_NAME)}{where} failed"
    if not failure.failures:
        return head
    first = failure.failures[0]
    step = _clip(first.step, _MAX_NAME) if first.step else None
    what = ": ".join(part for part in (step, first.error and first.error.name) if part)
    more = len(failure.failures) - 1
    return f"{head}: {what or failure.reason}" + (f" and {more} more" if more else "")


def _iso(moment: dt.datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _clip(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 3] + "..."


def _clip_or_none(text: str | None) -> str | None:
    return None if text is None else _clip(text, _MAX_NAME)


def _value(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return "-" if value is None else json.dumps(value)
