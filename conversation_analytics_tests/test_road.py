"""The whole road on the sample source with embedded stores."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.core import schemas
from conversation_analytics.core.source import SourceTable
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.documents.store import DocumentStore

DAYS = ("2026-11-09", "2026-11-10", "2026-11-11")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(tmp_path / "lake"),
            "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
            "ANALYTICS_START_DATE": DAYS[0],
            "SAMPLE_TURNS_PER_DAY": "60",
            "SOURCE_FRESH_HOURS": "0",
        }
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def documents(settings: Settings) -> Iterator[DocumentStore]:
    with closing(open_documents(settings)) as store:
        yield store


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_range_in_one_run_fills_every_zone(
    settings: Settings, instance: dg.DagsterInstance, documents: DocumentStore
) -> None:
    result = run_job(settings, "daily", DAYS[0], DAYS[-1], instance=instance)
    assert result.success
    lake, store = open_lake(settings), documents
    for day in DAYS:
        messages = lake.read(schemas.MESSAGES, day)
        dead = lake.row_count(schemas.MESSAGE_DEAD_LETTERS, day)
        assert messages.height > 0
        assert lake.row_count(schemas.RAW_MESSAGES, day) == messages.height + dead
        assert store.count("messages", day) == messages.height
        assert "<html" in lake.get_report(f"daily/{day}.html").decode()
    evaluations = result.get_asset_check_evaluations()
    assert evaluations
    assert all(e.passed for e in evaluations)


def test_each_day_of_a_range_has_its_own_row_count(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    run_job(settings, "daily", DAYS[0], DAYS[-1], instance=instance)
    lake = open_lake(settings)
    records = instance.fetch_materializations(dg.AssetKey("messages"), limit=10).records
    counts = {
        record.partition_key: record.asset_materialization.metadata["dagster/row_count"].value
        for record in records
        if record.asset_materialization
    }
    assert counts == {day: lake.row_count(schemas.MESSAGES, day) for day in DAYS}


def test_the_report_shows_its_plot_in_the_metadata(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    run_job(settings, "daily", DAYS[0], DAYS[1], instance=instance)
    records = instance.fetch_materializations(dg.AssetKey("daily_report"), limit=10).records
    assert len(records) == 2
    for record in records:
        assert record.asset_materialization is not None
        plot = record.asset_materialization.metadata["plot"].value
        assert str(plot).startswith(
            f"![Daily report {record.partition_key}](data:image/svg+xml;base64,"
        )


def test_a_second_run_changes_no_byte_however_the_days_are_cut(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    run_job(settings, "daily", DAYS[0], DAYS[-1], instance=instance)
    before = hashes(settings.parquet_base_dir)
    for day in reversed(DAYS):
        run_job(settings, "daily", day, instance=instance)
    assert hashes(settings.parquet_base_dir) == before


def test_a_single_partition_key_run_works_as_from_the_ui(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    from conversation_analytics.definitions import build_definitions  # noqa: PLC0415

    job = build_definitions(settings).resolve_job_def("daily")
    assert job.execute_in_process(partition_key=DAYS[0], instance=instance).success
    assert open_lake(settings).exists(schemas.DAILY_REPORT, DAYS[0])


def test_undated_rows_have_a_place_of_their_own(
    settings: Settings, instance: dg.DagsterInstance, documents: DocumentStore
) -> None:
    assert run_job(settings, "undated", instance=instance).success
    lake, store = open_lake(settings), documents
    undated = lake.read(schemas.UNDATED_MESSAGES, None)
    assert undated.height > 0
    assert undated["created_at"].null_count() == undated.height
    assert store.count("messages", "undated") == undated.height


def test_an_empty_day_is_written_too(settings: Settings, instance: dg.DagsterInstance) -> None:
    from conversation_analytics.definitions import build_definitions  # noqa: PLC0415

    class NoRows:
        def read_window(self, *_: object) -> pl.DataFrame:
            return schemas.RAW_MESSAGES.empty()

        def read_ids(self, *_: object) -> pl.DataFrame:
            return schemas.RAW_MESSAGES.empty()

        def close(self) -> None:
            pass

    job = build_definitions(settings).resolve_job_def("daily")
    result = job.execute_in_process(
        partition_key=DAYS[0], instance=instance, resources={"source": NoRows()}
    )
    assert result.success
    lake = open_lake(settings)
    assert lake.read(schemas.MESSAGES, DAYS[0]).height == 0
    report = lake.read(schemas.DAILY_REPORT, DAYS[0])
    overall = report.filter(pl.col("app_id").is_null())
    values = dict(zip(overall["metric"], overall["value"], strict=True))
    assert values["turns"] == 0
    assert values["error_rate"] is None


def test_a_lost_document_fails_the_check(
    settings: Settings, instance: dg.DagsterInstance, documents: DocumentStore
) -> None:
    from conversation_analytics.assets.checks import reconcile  # noqa: PLC0415

    run_job(settings, "daily", DAYS[0], instance=instance)
    lake, store = open_lake(settings), documents
    collections = {"conversations": "conversations", "messages": "messages"}
    assert reconcile(lake, store, DAYS[0], collections).differences() == []
    kept = store.find("messages", {"_partition": DAYS[0]}, limit=1)
    store.replace_partition("messages", DAYS[0], kept)
    [difference] = reconcile(lake, store, DAYS[0], collections).differences()
    assert "curated messages = message documents" in difference


def test_a_permanent_error_of_the_source_ends_the_step_without_a_retry(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    from conversation_analytics.core.errors import SourceAuthError  # noqa: PLC0415
    from conversation_analytics.definitions import build_definitions  # noqa: PLC0415

    class Refusing:
        calls = 0
        read_ids = None

        def read_window(self, *_: object) -> pl.DataFrame:
            Refusing.calls += 1
            raise SourceAuthError("the token was refused: set NOCODB_API_TOKEN")

    job = build_definitions(settings).resolve_job_def("daily")
    result = job.execute_in_process(
        partition_key=DAYS[0], instance=instance, resources={"source": Refusing()},
        raise_on_error=False,
    )  # fmt: skip
    assert not result.success
    assert Refusing.calls == len(SourceTable)  # one for each table, no retry
