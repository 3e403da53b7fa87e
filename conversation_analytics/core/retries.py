"""How long to wait before a failed request is repeated; shared by the HTTP clients."""

from __future__ import annotations

import datetime as dt
import email.utils
from typing import Final

_MAX_DELAY_S: Final = 60.0
_MAX_RETRY_AFTER_S: Final = 300.0
_MAX_DOUBLINGS: Final = 30


def retry_delay_s(
    attempt: int, first_s: float, draw: float, retry_after_s: float | None = None
) -> float:
    """Return the wait before repetition `attempt` (0 is the first), in seconds.

    Half of it is random: clients that failed together do not come back together.

    Args:
        attempt: repetitions so far.
        first_s: wait before the first one; doubles with each, up to a minute.
        draw: uniform in [0, 1).
        retry_after_s: what the server asked for, at most five minutes are granted.
    """
    backoff = min(first_s * 2.0 ** min(attempt, _MAX_DOUBLINGS), _MAX_DELAY_S)
    jittered = backoff * (0.5 + draw / 2)
    return max(jittered, min(retry_after_s or 0.0, _MAX_RETRY_AFTER_S))


def parse_retry_after(text: str, now: dt.datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for; None: absent or unreadable.

    Args:
        text: the header's value, seconds or an HTTP date.
        now: aware time, for a date.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:  # the back-off alone decides
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max((moment - now).total_seconds(), 0.0)
