"""The repairing sensor: asks for what is stale, makes that and nothing else."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from conversation_analytics.assets.lineage import StaleDay, Stop, assets_to_make
from conversation_analytics.core import schemas
from conversation_analytics.core.staleness import StaleAsset
from conversation_analytics.definitions import build_definitions
from conversation_analytics.io_managers.document_io import MADE_FROM
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.commands import typed
from conversation_analytics_tests.platform import QUIET, run_job
from conversation_analytics_tests.sensors.ticks import environment, settings_in, tick, told

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


def rewrite(settings: Settings, key: str, mended: pl.DataFrame | None = None) -> pl.DataFrame:
    """Put other raw messages there, by default but one that cannot be typed; return the old."""
    lake, schema = open_lake(settings), schemas.RAW_MESSAGES
    rows = lake.read(schema, key)
    broken = rows.with_columns(
        payload=pl.when(pl.int_range(pl.len()) > 0)
        .then(pl.col("payload").str.replace(r'"message_tokens": ?\d+', '"message_tokens":"many"'))
        .otherwise("payload")
    )
    lake.write(
        schema, key, broken if mended is None else mended, inputs=lake.stat(schema, key).inputs
    )
    return rows


def do(request: dg.RunRequest, settings: Settings, instance: dg.DagsterInstance) -> set[str]:
    """Do what a tick asked for; return the names of the checks that did not pass."""
    job = build_definitions(settings).resolve_job_def("daily")
    done = job.execute_in_process(
        QUIET, partition_key=request.partition_key, instance=instance, tags=request.tags,
        asset_selection=list(request.asset_selection or []), raise_on_error=False,
    )  # fmt: skip
    return {one.check_name for one in done.get_asset_check_evaluations() if not one.passed}


def asked(settings: Settings, instance: dg.DagsterInstance) -> tuple[dg.RunRequest, set[str]]:
    [request] = tick("repair_stale", settings, instance).run_requests or []
    return request, {asset.path[-1] for asset in request.asset_selection or []}


def test_nothing_is_made_of_rows_that_their_check_has_stopped(tmp_path: Path) -> None:
    few = {**environment(tmp_path, LONG_AGO), "DEAD_LETTER_ROWS": "2"}
    settings, key = parse_settings(few), YESTERDAY.isoformat()
    lake = open_lake(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        run_job(settings, "daily", key, instance=instance)
        before = lake.stat(schemas.DAILY_REPORT, key).sha256
        whole = rewrite(settings, key)
        request, names = asked(settings, instance)
        assert {"messages", "message_dead_letters", "daily_report"} <= names
        assert do(request, settings, instance) == {"dead_letters_few"}
        dead, raw = whole.height - 1, whole.height
        assert lake.row_count(schemas.MESSAGE_DEAD_LETTERS, key) == dead

        says = told("repair_stale", settings, instance)
        assert says.startswith(f"{key}: stopped, nothing more is made of it: {dead} of {raw} ")
        for what in (f"backfill {key} {key}", f"replay {key} {key}", "DEAD_LETTER_SHARE"):
            assert what in says
        allowed = dataclasses.replace(settings, values={**settings.values, "DEAD_LETTER_SHARE": 1})
        request, names = asked(allowed, instance)
        assert "daily_report" in names
        assert "messages" not in names

        # What is stale beside it is made, and no more.
        folder = f"year={YESTERDAY:%Y}/month={YESTERDAY:%m}/day={YESTERDAY:%d}"
        lake.objects.delete(f"conversations/{folder}/part-000.parquet")
        request, names = asked(settings, instance)
        assert names == {"conversations", "conversation_dead_letters"}
        assert do(request, settings, instance) == set()
        assert lake.stat(schemas.DAILY_REPORT, key).sha256 == before
        result = typed(tmp_path, "repair", **few)
        assert (result.returncode, "0 of 1 days" in result.stdout) == (0, True), result.stderr
        assert f"warning: {key}: stopped, nothing more is made of it: {dead} of " in result.stderr
        assert lake.stat(schemas.DAILY_REPORT, key).sha256 == before

    rewrite(settings, key, whole)
    with dg.DagsterInstance.ephemeral() as instance:  # which knows of no earlier attempt
        request, names = asked(settings, instance)
        assert do(request, settings, instance) == set()
        assert told("repair_stale", settings, instance) == "All of 1 days are as they should be."


def test_an_extension_that_is_made_of_a_stopped_table_too_is_left_out() -> None:
    steps = [
        frozenset({"conversations", "conversation_dead_letters"}),
        *(frozenset({"theirs", name}) for name in ("conversations", "messages")),
        frozenset({"of conversations alone", "conversations"}),
    ]
    stale = (StaleAsset("conversations", "missing"),)
    day = StaleDay("2026-11-02", stale, (Stop("messages", 9, 10),), frozenset({"messages"}))
    assert assets_to_make(day, steps) == (
        "conversation_dead_letters", "conversations", "of conversations alone",
    )  # fmt: skip
