"""What a process may do, for faults of the disk: set in the process that runs a job."""

from __future__ import annotations

import ctypes
import resource
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conversation_analytics.core import errors
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.faults.processes import warm_context
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

_OWN = {name for name, value in vars(errors).items() if isinstance(value, type)}
_CAPABILITY_VERSION = 0x20080522


@dataclass(frozen=True, slots=True)
class Limits:
    """What the process may not do.

    Attributes:
        file_bytes: files grow to this size and no further: the disk is full.
        obey_modes: root, too, cannot write where the mode says so.
    """

    file_bytes: int | None = None
    obey_modes: bool = False

    def impose(self) -> None:
        """Limit this process for good; call it before it has a second thread."""
        if self.file_bytes is not None:
            # Python stores byte code that it could write in part only, and fails to load it for
            # ever after: the limit would break the environment of everybody who runs the tests.
            sys.dont_write_bytecode = True
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes, self.file_bytes))
        if self.obey_modes:
            header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
            if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
                raise OSError(ctypes.get_errno(), "capset")


def failures_under(
    limits: Limits, environment: Mapping[str, str], first: str, last: str
) -> dict[str, tuple[str, str]]:
    """Run the daily job in a process under `limits`; return class and message of failed steps.

    The run's own records stay in memory, so that the limits meet lake and documents alone.
    """
    context = warm_context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_run, args=(theirs, limits, dict(environment), first, last), daemon=True
    )
    process.start()
    theirs.close()
    try:
        found: dict[str, tuple[str, str]] = ours.recv()
        return found
    finally:
        process.join(60)
        process.kill()


def _run(
    answer: Connection, limits: Limits, environment: dict[str, str], first: str, last: str
) -> None:
    settings = parse_settings(environment)
    limits.impose()
    result = run_job(settings, "daily", first, last, raise_on_error=False)
    answer.send({event.step_key: _told(event) for event in result.get_step_failure_events()})


def _told(event: Any) -> tuple[str, str]:
    """Class and message of the platform's own error, however it is wrapped."""
    chain = [event.step_failure_data.error]
    while chain[-1].cause is not None:
        chain.append(chain[-1].cause)
    own = [error for error in chain if error.cls_name in _OWN]
    error = own[-1] if own else chain[-1]
    return error.cls_name or "", error.message
