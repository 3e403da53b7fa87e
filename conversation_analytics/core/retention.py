"""Which days are kept: each zone has an age at which its days go."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def first_day_kept(age: int, today: dt.date) -> dt.date | None:
    """Return the oldest day that is kept; None: all days are.

    Args:
        age: days that are kept beside today; 0: all.
        today: in the analytics time zone.
    """
    return today - dt.timedelta(days=age) if age else None


def first_day_whole(ages: Iterable[int], today: dt.date) -> dt.date | None:
    """Return the oldest day of which every zone is kept; None: all days are.

    Older days are not read again, and nothing of them counts as missing.
    """
    firsts = [first for age in ages if (first := first_day_kept(age, today)) is not None]
    return max(firsts, default=None)
