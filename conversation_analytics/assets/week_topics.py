"""Reading the topics of a week and of the week before, as reports and documents tell them."""

import datetime as dt

import polars as pl

from conversation_analytics.assets.day_partials import input_name
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.periods import Period
from conversation_analytics.core.topic_changes import topic_changes
from conversation_analytics.core.topic_tables import TOPICS
from conversation_analytics.io_managers.read_log import ReadLog, StepAttempt
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings


def topics_told(lake: Lake, start: dt.date, with_topics: frozenset[str]) -> dict[str, str]:
    """Return the weeks whose topics are told of a week: it and the one before, if it has any.

    Topics that an earlier version wrote with other columns are not told until they are found
    again.

    Args:
        lake: the lake.
        start: first day of the week.
        with_topics: keys of the weeks that have topics.

    Returns:
        Digest by key of the week.
    """
    weeks = [one.isoformat() for one in (start, Period.WEEK.before(start))]
    found: dict[str, str] = {}
    for key in weeks:
        if key not in with_topics or (sha256 := digest_of_topics(lake, key)) is None:
            break
        found[key] = sha256
    return found


def digest_of_topics(lake: Lake, key: str) -> str | None:
    """Return the digest of the topics held of a week; None: an earlier version wrote them."""
    try:
        return lake.stat(TOPICS, key).sha256
    except OutdatedPartitionError:
        return None


def read_topic_changes(
    lake: Lake, reads: ReadLog, attempt: StepAttempt, start: dt.date, settings: Settings
) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Read the topics of a week beside the week before, and note that partition `start` tells them.

    Returns:
        `TOPICS` of the week, and its `topic_changes`; None: it has none.
    """
    key, before = start.isoformat(), Period.WEEK.before(start).isoformat()

    @retry_if_transient()
    def read() -> dict[str, pl.DataFrame]:
        frames = {}
        for one in topics_told(lake, start, frozenset(lake.keys(TOPICS))):
            frames[one], info = lake.read_with_info(TOPICS, one)
            reads.add(attempt, key, input_name(TOPICS, one), info.sha256)
        return frames

    if (found := read()) == {}:
        return None
    limits = settings.topic_min_users, settings.topic_min_conversations
    return found[key], topic_changes(found[key], found.get(before), *limits)
