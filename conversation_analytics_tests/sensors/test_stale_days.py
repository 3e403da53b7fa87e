"""The repairing sensor: asks for what is stale, makes that and nothing else."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.definitions import build_definitions
from conversation_analytics.io_managers.document_io import MADE_FROM
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics_tests.platform import QUIET, run_job
from conversation_analytics_tests.sensors.ticks import settings_in, tick, told

if TYPE_CHECKING:
    from pathlib import Path

YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
LONG_AGO = YESTERDAY - dt.timedelta(days=60)


def test_only_what_is_stale_is_made_again(tmp_path: Path) -> None:
    settings, key = settings_in(tmp_path, LONG_AGO), YESTERDAY.isoformat()
    with dg.DagsterInstance.ephemeral() as instance:
        assert told("repair_stale", settings, instance) == "All of 0 days are as they should be."
        for day in (YESTERDAY, LONG_AGO):
            run_job(settings, "daily", day.isoformat(), instance=instance)
        assert told("repair_stale", settings, instance) == "All of 1 days are as they should be."

        documents = open_documents(settings)
        folder = f"year={YESTERDAY:%Y}/month={YESTERDAY:%m}/day={YESTERDAY:%d}"
        open_lake(settings).objects.delete(f"daily_report/{folder}/part-000.parquet")
        # As a run leaves it that died in the middle, and one outside of the days looked at.
        documents.replace_partition(MADE_FROM, f"message_documents/{key}", [])
        documents.replace_partition(MADE_FROM, f"message_documents/{LONG_AGO}", [])
        documents.close()
        [request] = tick("repair_stale", settings, instance).run_requests or []
        assert request.partition_key == key
        assert {str(asset.path[-1]) for asset in request.asset_selection or []} == {
            "daily_report", "daily_report_files", "report_documents", "message_documents",
        }  # fmt: skip

        job = build_definitions(settings).resolve_job_def("daily")
        done = job.execute_in_process(
            QUIET, partition_key=key, instance=instance, tags=request.tags,
            asset_selection=list(request.asset_selection or []),
        )  # fmt: skip
        assert done.success
        assert told("repair_stale", settings, instance) == "All of 1 days are as they should be."


def test_assets_that_are_made_together_are_asked_for_together(tmp_path: Path) -> None:
    settings, key = settings_in(tmp_path, LONG_AGO), YESTERDAY.isoformat()
    with dg.DagsterInstance.ephemeral() as instance:
        run_job(settings, "daily", key, instance=instance)
        folder = f"year={YESTERDAY:%Y}/month={YESTERDAY:%m}/day={YESTERDAY:%d}"
        open_lake(settings).objects.delete(f"message_dead_letters/{folder}/part-000.parquet")
        [request] = tick("repair_stale", settings, instance).run_requests or []
        assert {str(asset.path[-1]) for asset in request.asset_selection or []} == {
            "dead_letter_documents", "message_dead_letters", "messages",
        }  # fmt: skip
