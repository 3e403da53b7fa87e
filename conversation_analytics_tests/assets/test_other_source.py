"""A lake that was filled from the sample source, as README begins, and then from a real one."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from conversation_analytics import installation
from conversation_analytics.assets.undated import stale_undated
from conversation_analytics.core import schemas
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.source import SERVED_BY, SourceTable
from conversation_analytics.definitions import undated_steps
from conversation_analytics.resources.connections import open_documents, open_lake, open_source
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job
from conversation_analytics_tests.sensors.test_nocodb_changes import Rows
from conversation_analytics_tests.sensors.ticks import tick

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.core.findings import Finding

YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
DAYS = [(YESTERDAY - dt.timedelta(days=1)).isoformat(), YESTERDAY.isoformat()]
NOON = dt.datetime.combine(YESTERDAY, dt.time(12), dt.UTC)
RAW = ["raw_messages", "raw_conversations"]
UNDATED = ["raw_undated_messages", "raw_undated_conversations"]
NOCODB = {
    "NOCODB_BASE_URL": "http://127.0.0.1:1", "NOCODB_API_TOKEN": "unused",
    "NOCODB_PROJECT_ID": "unused",
}  # fmt: skip


def settings_in(folder: Path, **environment: str) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "SAMPLE_TURNS_PER_DAY": "20",
            **environment,
        }
    )


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a real source with a turn of yesterday and one without a time, and none else.

    The lake holds what the sample source has of both days, and of no day.
    """
    sample = settings_in(tmp_path)
    run_job(sample, "daily", DAYS[0], DAYS[1], assets=RAW)
    run_job(sample, "undated", assets=UNDATED)
    lake = open_lake(sample)
    assert all(lake.row_count(schemas.RAW_MESSAGES, key) for key in DAYS)
    assert lake.row_count(schemas.RAW_UNDATED_MESSAGES, None)
    source = Rows()
    source.add("real", NOON)
    source.add("real and undated", None)
    monkeypatch.setattr("conversation_analytics.definitions.open_source", lambda _: source)
    return settings_in(tmp_path, **NOCODB)


def held(settings: Settings) -> dict[str | None, list[str]]:
    """Return the ids of all messages of the raw zone by day."""
    lake = open_lake(settings)
    return {
        **{key: lake.read(schemas.RAW_MESSAGES, key)["id"].to_list() for key in DAYS},
        None: lake.read(schemas.RAW_UNDATED_MESSAGES, None)["id"].to_list(),
    }


def told(settings: Settings, folder: Path) -> Finding | None:
    found = installation.findings(settings, folder / ".env")
    return next((one for one in found if one.name == "lake source"), None)


def test_rows_that_were_made_up_leave_when_a_real_source_is_read(
    real: Settings, tmp_path: Path
) -> None:
    warning = told(real, tmp_path)
    assert warning is not None
    assert warning.state == "warn"
    assert f"2 days, {DAYS[0]} to {DAYS[1]} and rows without a time" in warning.says
    with dg.DagsterInstance.ephemeral() as instance:
        requests = tick("repair_stale", real, instance).run_requests or []
        assert {(one.job_name, one.partition_key) for one in requests} == {
            ("daily", DAYS[0]), ("daily", DAYS[1]), ("undated", None),
        }  # fmt: skip
        run_job(real, "daily", DAYS[0], DAYS[1], assets=RAW, instance=instance)
        run_job(real, "undated", assets=UNDATED, instance=instance)
    assert from_another_source(real) == set()
    assert held(real) == {DAYS[0]: [], DAYS[1]: ["real"], None: ["real and undated"]}
    assert told(real, tmp_path) is None


def test_rows_of_a_real_source_are_never_replaced_by_the_sample(
    real: Settings, tmp_path: Path
) -> None:
    sample = settings_in(tmp_path)
    run_job(real, "daily", DAYS[0], DAYS[1], assets=RAW)
    run_job(real, "undated", assets=UNDATED)
    before = held(real)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conversation_analytics.definitions.open_source", open_source)
        with pytest.raises(SettingsError, match="got what was read from nocodb: made-up rows"):
            run_job(sample, "daily", DAYS[0], DAYS[1], assets=RAW)
        with pytest.raises(SettingsError, match=r"raw_undated_.*/undated: expected rows of"):
            run_job(sample, "undated", assets=UNDATED)
    assert held(real) == before


def from_another_source(settings: Settings) -> set[str]:
    with contextlib.closing(open_documents(settings)) as documents:
        graph = undated_steps(settings).graph
        stale = stale_undated(graph, open_lake(settings), documents, settings)
    return {one.asset for one in stale if one.reason == "read from another source"}


def test_rows_without_a_time_of_an_earlier_version_are_kept_and_no_reason_to_read(
    real: Settings,
) -> None:
    lake, schema = open_lake(real), schemas.RAW_UNDATED_MESSAGES
    assert lake.stat(schema, None).inputs == {SERVED_BY: "sample"}
    assert from_another_source(real) == set(UNDATED)
    made_up = lake.read(schema, None)
    for table in (schema, schemas.RAW_UNDATED_CONVERSATIONS):
        lake.write(table, None, lake.read(table, None), inputs={})
    assert from_another_source(real) == set()
    run_job(real, "undated", assets=UNDATED)
    rows = lake.read(schema, None)
    assert set(rows["id"]) == {*made_up["id"], "real and undated"}
    assert rows["gone"].sum() == made_up.height


def test_between_two_real_sources_rows_stay(real: Settings) -> None:
    lake, schema = open_lake(real), schemas.RAW_MESSAGES
    source = Rows()
    source.add("of the first", NOON)
    rows = source.read_window(SourceTable.MESSAGES, NOON, NOON + dt.timedelta(hours=1))
    info = lake.stat(schema, DAYS[1])
    lake.write(schema, DAYS[1], rows, inputs={**info.inputs, SERVED_BY: "another"})
    run_job(real, "daily", DAYS[1], assets=RAW)
    found = dict(lake.read(schema, DAYS[1]).select("id", "gone").iter_rows())
    assert found == {"of the first": True, "real": False}
