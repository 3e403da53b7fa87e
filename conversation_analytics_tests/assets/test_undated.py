"""Rows without a time of creation: repaired by the command, found in days that hold them."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import TYPE_CHECKING

import polars as pl
import pytest

from conversation_analytics.assets.finding_rows import index_places
from conversation_analytics.assets.undated import days_holding, noted_beside
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.zones import DAILY, UNDATED
from conversation_analytics.materialize import look_for_stale_undated
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.commands import typed
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.core.schemas import TableSchema

START = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)


def raw(schema: TableSchema, day: int | None, rows: dict[str, dict[str, str]]) -> pl.DataFrame:
    at = None if day is None else START + dt.timedelta(days=day)
    served = [(name, at, json.dumps(row), name, name, name, False) for name, row in rows.items()]
    return schema.conform(pl.DataFrame(served, schema=schema.polars, orient="row"))


@pytest.mark.parametrize("table", list(SourceTable), ids=str)
def test_the_days_that_hold_rows_are_those_that_a_look_at_every_day_finds(
    tmp_path: Path, table: SourceTable
) -> None:
    chance = random.Random(table.value)
    settings = parse_settings({"PARQUET_BASE_DIR": str(tmp_path / "lake")})
    lake, schema = open_lake(settings), DAILY[table].raw
    talks = {f"r{n}": f"c{chance.randrange(6)}" for n in range(40)}
    of_days: dict[str, set[str]] = {}
    for day in range(12):
        ids = chance.sample(sorted(talks), 3)
        rows = {name: {"id": name, "conversation_id": talks[name]} for name in ids}
        key = (START + dt.timedelta(days=day)).date().isoformat()
        lake.write(schema, key, raw(schema, day, rows))
        of_days[key] = set(ids)
        if day % 4:  # the others are as before there was an index
            index_places(lake, settings, [(schema, key)])
    sought = chance.sample(sorted(talks), 8)
    undated = raw(
        UNDATED[table].raw, None,
        {name: {"id": name, "conversation_id": talks[name]} for name in sought},
    )  # fmt: skip
    for days in (None, sorted(of_days)[5:9]):
        expected = {
            f"{schema.name}/{key}": ids & set(sought)
            for key, ids in of_days.items()
            if ids & set(sought) and (days is None or key in days)
        }
        assert expected
        found = days_holding(lake, settings, table, undated, days)
        assert {day.name: set(day.ids) for day in found} == expected
        digests = {f"{schema.name}/{key}": lake.stat(schema, key).sha256 for key in of_days}
        assert {day.name: day.sha256 for day in found} == {name: digests[name] for name in expected}
        assert noted_beside(found, undated).keys() == expected.keys()
        assert noted_beside(found, undated.clear()) == {}
    assert days_holding(lake, settings, table, undated.clear()) == ()


def test_the_command_repair_makes_what_a_killed_run_left_undone(tmp_path: Path) -> None:
    variables = {
        "PARQUET_BASE_DIR": str(tmp_path / "lake"), "SAMPLE_TURNS_PER_DAY": "5",
        "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
    }  # fmt: skip
    settings = parse_settings(variables)
    assert look_for_stale_undated(settings, []) == ()
    run_job(settings, "undated", assets=[UNDATED[t].raw.name for t in settings.source_tables])
    stale = look_for_stale_undated(settings, [])
    assert stale[0].reason == "missing"
    assert "undated_message_documents" in {one.asset for one in stale}
    told = f"rows without a time: {len(stale)} stale, first {stale[0].asset}: missing"
    repaired = typed(tmp_path, "repair", **variables)
    assert repaired.returncode == 0, repaired.stderr
    assert told in repaired.stdout
    assert look_for_stale_undated(settings, []) == ()
