"""Permanent errors end a step at once; transient ones follow its retry policy."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from conversation_analytics.core.errors import PermanentError


@contextmanager
def retry_decided() -> Iterator[None]:
    """Turn a `PermanentError` into a `dagster.Failure` that no retry policy repeats."""
    try:
        yield
    except PermanentError as error:
        raise dg.Failure(
            description=f"{type(error).__name__}: {error}", allow_retries=False
        ) from error
