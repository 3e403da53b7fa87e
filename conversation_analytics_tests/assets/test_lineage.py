"""What is stale follows from the storages alone, after real runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets.lineage import downstream, ranges_to_make, stale_days
from conversation_analytics.core import schemas
from conversation_analytics.core.document_places import DEFAULT_COLLECTIONS
from conversation_analytics.definitions import build_definitions, daily_graph
from conversation_analytics.io_managers.document_io import MADE_FROM
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAYS = ["2026-11-02", "2026-11-03"]
AFTER_RAW_MESSAGES = {
    "message_language", "categories", "category_documents", "category_partials",
    "messages", "message_dead_letters", "daily_partials", "daily_report", "daily_report_files",
    "model_performance",
    "message_documents", "conversation_documents", "report_documents", "dead_letter_documents",
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("lineage")
    return settings_in(folder)


def settings_in(folder: Path, **changes: str) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": "2026-11-01",
            "SAMPLE_TURNS_PER_DAY": "20",
            **changes,
        }
    )


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def made(settings: Settings, instance: dg.DagsterInstance) -> Settings:
    """Both days, as they should be."""
    run_job(settings, "daily", DAYS[0], DAYS[1], instance=instance)
    return settings


def stale(settings: Settings) -> dict[str, dict[str, str]]:
    documents = open_documents(settings)
    try:
        found = stale_days(daily_graph(settings), open_lake(settings), documents, settings, DAYS)
        return {day.key: {one.asset: one.reason for one in day.assets} for day in found}
    finally:
        documents.close()


def test_after_a_run_nothing_is_stale(made: Settings) -> None:
    assert stale(made) == {}
    lake = open_lake(made)
    raw = lake.stat(schemas.RAW_MESSAGES, DAYS[0])
    assert raw.inputs["source"] == "sample"
    for schema in (schemas.MESSAGES, schemas.MESSAGE_DEAD_LETTERS):
        assert lake.stat(schema, DAYS[0]).inputs == {"raw_messages": raw.sha256}


def test_changed_raw_rows_make_their_day_stale_and_no_other(
    made: Settings, instance: dg.DagsterInstance
) -> None:
    lake = open_lake(made)
    info = lake.stat(schemas.RAW_MESSAGES, DAYS[0])
    fewer = lake.read(schemas.RAW_MESSAGES, DAYS[0]).head(5)
    lake.write(schemas.RAW_MESSAGES, DAYS[0], fewer, inputs=info.inputs)
    found = stale(made)
    assert set(found) == {DAYS[0]}
    assert set(found[DAYS[0]]) == AFTER_RAW_MESSAGES
    assert found[DAYS[0]]["messages"] == "raw_messages has changed since"
    run_job(made, "daily", DAYS[0], instance=instance)
    assert stale(made) == {}


def test_documents_that_are_lost_are_made_again_alone(made: Settings) -> None:
    documents = open_documents(made)
    documents.replace_partition(MADE_FROM, f"message_documents/{DAYS[1]}", [])
    documents.close()
    assert stale(made) == {DAYS[1]: {"message_documents": "missing"}}


def test_documents_of_another_version_are_made_again(
    made: Settings, instance: dg.DagsterInstance
) -> None:
    name = f"category_documents/{DAYS[1]}"
    documents = open_documents(made)
    record = documents.get(MADE_FROM, name)
    assert record is not None
    assert record["version"] == 2
    del record["version"]  # as it was written before there were versions: 1
    documents.replace_partition(MADE_FROM, name, [record])
    assert stale(made) == {DAYS[1]: {"category_documents": "made by another version"}}
    run_job(made, "daily", DAYS[1], instance=instance)
    assert stale(made) == {}
    documents.close()


def test_documents_are_made_again_in_another_collection(
    made: Settings, instance: dg.DagsterInstance
) -> None:
    moved = Settings({**made.values, "MONGODB_MESSAGES_COLLECTION": "turns"})
    because = {"message_documents": "made of other inputs or with other settings"}
    assert stale(moved) == dict.fromkeys(DAYS, because)
    run_job(moved, "daily", *DAYS, instance=instance, assets=list(because))
    assert stale(moved) == {}
    documents = open_documents(made)
    counts = [documents.count(one, DAYS[0]) for one in ("turns", "messages")]
    documents.close()
    assert counts[0] == counts[1] > 0
    assert stale(made) == dict.fromkeys(DAYS, because), "and so back"
    run_job(made, "daily", *DAYS, instance=instance, assets=list(because))
    assert stale(made) == {}


def test_every_asset_of_documents_has_the_default_of_its_setting(tmp_path: Path) -> None:
    """Else its documents would be stale where nobody has set anything, or never be."""
    settings = settings_in(tmp_path, TRANSLATOR_URL="http://127.0.0.1:1")
    found = {
        key.path[-1]: metadata["collection"]
        for one in build_definitions(settings).resolve_all_asset_specs()
        for key, metadata in [(one.key, one.metadata)]
        if "collection" in metadata
    }
    told = {name: where for name, where in found.items() if not name.startswith("undated_")}
    assert told == DEFAULT_COLLECTIONS


def test_another_time_zone_makes_every_day_stale(made: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    zone = settings_in(folder, ANALYTICS_TIMEZONE="Asia/Bangkok", PARQUET_BASE_DIR=str(
        made.parquet_base_dir
    ), SQLITE_PATH=str(made.sqlite_path))  # fmt: skip
    found = stale(zone)
    assert set(found) == set(DAYS)
    assert "another time zone" in found[DAYS[0]]["raw_messages"]


@pytest.mark.parametrize("changes", [{"HANDOFF_MARKERS": "a human"}, {"METRIC_DIMENSIONS": "plan"}])
def test_other_settings_of_the_metrics_make_partials_again_and_nothing_before_them(
    made: Settings, tmp_path: Path, changes: dict[str, str]
) -> None:
    other = settings_in(tmp_path, PARQUET_BASE_DIR=str(made.parquet_base_dir),
                        SQLITE_PATH=str(made.sqlite_path), **changes)  # fmt: skip
    found = stale(other)[DAYS[0]]
    assert found["daily_partials"] == "made of other inputs or with other settings"
    assert set(found) == {
        "daily_partials", "daily_report", "daily_report_files", "model_performance",
        "report_documents",
    }  # fmt: skip


def test_a_day_that_was_never_made_is_missing_whole(tmp_path: Path) -> None:
    found = stale(settings_in(tmp_path))
    assert set(found[DAYS[0]].values()) == {"missing"}
    assert len(found[DAYS[0]]) == len(daily_graph(settings_in(tmp_path)))


def test_every_asset_of_the_graph_comes_after_its_inputs(settings: Settings) -> None:
    graph = daily_graph(settings)
    names = list(graph)
    assert all(names.index(i) < names.index(name) for name, inputs in graph.items() for i in inputs)
    assert {name for name, inputs in graph.items() if not inputs} == {
        "raw_conversations", "raw_messages", "raw_feedbacks",
    }  # fmt: skip
    assert pl.Series(names).is_unique().all()


def test_days_that_follow_each_other_and_want_the_same_are_one_run() -> None:
    a, b = ("messages",), ("daily_report", "messages")
    wanted = {
        "2026-11-03": a, "2026-11-02": a, "2026-11-04": b, "2026-11-05": (), "2026-11-06": b,
        "2026-11-07": b, "2026-11-08": b,
    }  # fmt: skip
    found = ranges_to_make(wanted, max_partitions=2)
    assert [(r.first.day, r.last.day, r.assets) for r in found] == [
        (2, 3, a), (4, 4, b), (6, 7, b), (8, 8, b),
    ]  # fmt: skip


def test_downstream_is_everything_that_is_made_of_it(settings: Settings) -> None:
    graph = daily_graph(settings)
    assert set(downstream(graph, ["messages", "message_dead_letters"])) == AFTER_RAW_MESSAGES
    assert downstream(graph, ["report_documents"]) == ("report_documents",)
