"""The merging sensor: asks for the weeks and months that a changed day is told in."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.core.period_report import NAMES, PERIOD_REPORTS
from conversation_analytics.core.periods import Period, starts_of
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import QUIET, run_job

if TYPE_CHECKING:
    from pathlib import Path

YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
LONG_AGO = YESTERDAY - dt.timedelta(days=90)


def settings_in(folder: Path) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": LONG_AGO.isoformat(),
            "SAMPLE_TURNS_PER_DAY": "5",
        }
    )


def tick(settings: Settings, instance: dg.DagsterInstance) -> dg.SensorResult:
    repository = build_definitions(settings).get_repository_def()
    documents = open_documents(settings)
    resources = {"lake": open_lake(settings), "documents": documents}
    with dg.build_sensor_context(
        resources=resources, repository_def=repository, instance=instance
    ) as context:
        result = repository.get_sensor_def("merge_periods")(context)
    documents.close()
    assert isinstance(result, dg.SensorResult)
    return result


def reason(result: dg.SensorResult) -> str:
    assert isinstance(result.skip_reason, dg.SkipReason)
    return str(result.skip_reason.skip_message)


def test_the_week_and_the_month_of_a_new_day_are_merged_and_then_it_is_quiet(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        assert reason(tick(settings, instance)) == "The weeks and months of 0 days are merged."
        # One day that is looked at, and one that is too long ago for the sensor.
        for day in (YESTERDAY, LONG_AGO):
            run_job(settings, "daily", day.isoformat(), instance=instance)
        requests = tick(settings, instance).run_requests or []
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
        assert reason(tick(settings, instance)) == "The weeks and months of 1 days are merged."
        assert open_lake(settings).keys(PERIOD_REPORTS[Period.WEEK]) == [
            Period.WEEK.start_of(YESTERDAY).isoformat()
        ]
