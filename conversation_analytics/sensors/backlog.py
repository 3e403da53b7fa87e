"""Days that wait for translations alone: one after the other, for each may cost money.

They are not like other stale days. A budget or a quota may be used up, so that a day stays as it
is however often it is made again; and where a translator was configured today, every day of the
past lacks translations.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final

import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG

from conversation_analytics.assets.lineage import StaleDay
from conversation_analytics.assets.translations import SKIPPED_WITHOUT_TRANSLATOR
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.sensors.run_history import runs_under_way

BACKLOG_TAGS: Final = {"conversation_analytics/backlog": TRANSLATIONS.name}
STATE_TAG: Final = "conversation_analytics/waited"
"""On the runs of the backlog: how their day was when it was chosen."""
PAUSE: Final = dt.timedelta(hours=1)
LONGEST_PAUSE: Final = dt.timedelta(days=1)
_RUNS_LOOKED_AT: Final = 8


def is_backlog(day: StaleDay) -> bool:
    """Say whether a day has nothing to make again but translations."""
    names = {stale.asset for stale in day.assets}
    return TRANSLATIONS.name in names and names <= SKIPPED_WITHOUT_TRANSLATOR


def plan_backlog(
    instance: dg.DagsterInstance, job: str, days: Sequence[StaleDay], now: dt.datetime
) -> tuple[list[dg.RunRequest], list[str]]:
    """Return the one run to start now, if any, and what waits for what.

    The newest day comes first, an hour after the run before. After runs that left their day as it
    was, the next older day gets its turn, and the pause doubles, to a day.

    Args:
        instance: of Dagster.
        job: of the daily chain.
        days: that `is_backlog`.
        now: the present.
    """
    if not days:
        return [], []
    told = f"translations wait on {len(days)} days"
    records = instance.get_run_records(dg.RunsFilter(tags=BACKLOG_TAGS), _RUNS_LOOKED_AT)
    states = {day.key: day.assets[0].reason for day in days}
    idle = 0
    for record in records:
        tags = record.dagster_run.tags
        if states.get(tags[PARTITION_NAME_TAG]) != tags[STATE_TAG]:
            break
        idle += 1
    if records:
        if not records[0].dagster_run.is_finished:
            return [], [f"{told}, a run is under way"]
        ended = records[0].update_timestamp
        next_at = ended.replace(tzinfo=ended.tzinfo or dt.UTC) + min(PAUSE * 2**idle, LONGEST_PAUSE)
        if next_at > now:
            after = f" after {idle} runs that changed nothing, see what they say" if idle else ""
            return [], [f"{told}{after}; next run after {next_at:%F %T} UTC"]
    under_way = runs_under_way(instance)
    free = [
        day for day in sorted(days, key=lambda one: one.key, reverse=True)
        if not under_way.cover(dt.date.fromisoformat(day.key), "")
    ]  # fmt: skip
    if not free:
        return [], [f"{told}, all in runs under way"]
    chosen = free[idle % len(free)]
    request = dg.RunRequest(
        run_key=f"backlog:{chosen.key}:{records[0].dagster_run.run_id if records else 'first'}",
        job_name=job,
        partition_key=chosen.key,
        asset_selection=[dg.AssetKey(stale.asset) for stale in chosen.assets],
        tags={
            **BACKLOG_TAGS, STATE_TAG: states[chosen.key], "conversation_analytics/why": told,
        },
    )  # fmt: skip
    return [request], []
