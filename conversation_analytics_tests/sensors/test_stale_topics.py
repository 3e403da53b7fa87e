"""The sensor of topics: weeks that are over, one after the other, and then it is quiet."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.core.periods import Period
from conversation_analytics.core.topic_tables import TOPICS
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_lake
from conversation_analytics_tests.assets.topic_weeks import topic_settings, write_day
from conversation_analytics_tests.platform import QUIET
from conversation_analytics_tests.sensors.ticks import tick, told

if TYPE_CHECKING:
    from pathlib import Path

THIS_WEEK = Period.WEEK.start_of(dt.datetime.now(dt.UTC).date())
LAST_WEEK = Period.WEEK.before(THIS_WEEK)
WEEK_BEFORE = Period.WEEK.before(LAST_WEEK)
LONG_AGO = THIS_WEEK - dt.timedelta(weeks=9)
SENSOR = "find_topics_again"


def test_weeks_that_are_over_are_asked_for_one_after_the_other(tmp_path: Path) -> None:
    settings = topic_settings(tmp_path, LONG_AGO)
    lake = open_lake(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        assert told(SENSOR, settings, instance) == "The topics of the weeks of 0 days are found."
        for day in (LONG_AGO, WEEK_BEFORE, LAST_WEEK, THIS_WEEK):
            write_day(lake, day, {"refund": 6, "parcel": 6})
        for week in (WEEK_BEFORE, LAST_WEEK):
            [request] = tick(SENSOR, settings, instance).run_requests or []
            assert request.partition_key == week.isoformat()
            assert request.job_name is not None
            done = build_definitions(settings).resolve_job_def(request.job_name).execute_in_process(
                QUIET, partition_key=request.partition_key, instance=instance, tags=request.tags,
                asset_selection=list(request.asset_selection or []),
            )  # fmt: skip
            assert done.success
        # The running week changes with every turn, and is not made; nor are old ones.
        assert told(SENSOR, settings, instance) == "The topics of the weeks of 3 days are found."
        assert lake.keys(TOPICS) == [WEEK_BEFORE.isoformat(), LAST_WEEK.isoformat()]
