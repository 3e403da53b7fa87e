"""Transient errors repeat a step; everything else ends it at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from conversation_analytics.core.errors import EngineError, TransientError

MAX_RETRIES = 2
WAIT_S = 10.0


@contextmanager
def retry_if_transient() -> Iterator[None]:
    """Ask Dagster to repeat the step where a `TransientError` comes out of the body.

    Adapters have already repeated their own requests: this is for an outage that outlasts them.
    """
    try:
        yield
    except EngineError as error:
        # Another engine can, at once: the executor takes the step there.
        raise dg.RetryRequested(max_retries=MAX_RETRIES) from error
    except TransientError as error:
        raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=WAIT_S) from error
