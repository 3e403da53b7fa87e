"""The merging sensor: asks for the weeks and months that a changed day is told in."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.core.period_report import PERIOD_REPORTS
from conversation_analytics.core.periods import NAMES, Period, starts_of
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_lake
from conversation_analytics_tests.platform import QUIET, run_job
from conversation_analytics_tests.sensors.ticks import settings_in, tick, told

if TYPE_CHECKING:
    from pathlib import Path

YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
LONG_AGO = YESTERDAY - dt.timedelta(days=90)


def test_the_week_and_the_month_of_a_new_day_are_merged_and_then_it_is_quiet(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path, LONG_AGO)
    with dg.DagsterInstance.ephemeral() as instance:
        assert (
            told("merge_periods", settings, instance)
            == "The weeks and months of 0 days are merged."
        )
        # One day that is looked at, and one that is too long ago for the sensor.
        for day in (YESTERDAY, LONG_AGO):
            run_job(settings, "daily", day.isoformat(), instance=instance)
        requests = tick("merge_periods", settings, instance).run_requests or []
        assert {(one.job_name, one.partition_key) for one in requests} == {
            (NAMES[period], starts_of(period, [YESTERDAY])[0].isoformat())
            for period in PERIOD_REPORTS
        }
        for request in requests:
            assert request.job_name is not None
            done = build_definitions(settings).resolve_job_def(request.job_name).execute_in_process(
                QUIET, partition_key=request.partition_key, instance=instance, tags=request.tags,
                asset_selection=list(request.asset_selection or []),
            )  # fmt: skip
            assert done.success
        assert (
            told("merge_periods", settings, instance)
            == "The weeks and months of 1 days are merged."
        )
        assert open_lake(settings).keys(PERIOD_REPORTS[Period.WEEK]) == [
            Period.WEEK.start_of(YESTERDAY).isoformat()
        ]
