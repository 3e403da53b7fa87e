"""Tables and conversations as files."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.core.errors import ExportError
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    MESSAGES,
    UNDATED_MESSAGES,
    WEEKLY_REPORT,
    TableSchema,
)
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.exports.conversations import export_conversations
from conversation_analytics.exports.selection import Selection
from conversation_analytics.exports.sorted_runs import SortedRuns
from conversation_analytics.exports.tables import export_table
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.s3 import S3Config, S3Objects
from conversation_analytics.lake.sql import open_sql
from conversation_analytics.lake.store import Lake
from conversation_analytics_tests.exports.conftest import DAYS
from conversation_analytics_tests.lake.frames import message_rows
from conversation_analytics_tests.oracles.exports_oracle import (
    export_conversations_sorted_by_duckdb,
)

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.stack.seaweedfs import S3Server

SECOND = dt.date.fromisoformat(DAYS[1])


def rows(lake: Lake, table: TableSchema, *days: str) -> pl.DataFrame:
    return pl.concat(
        lake.read(table, day).with_columns(partition_day=pl.lit(day).str.to_date()) for day in days
    )


def exported(
    lake: Lake, form: Any, table: TableSchema | None = None, selection: Selection | None = None
) -> bytes:
    sink = io.BytesIO()
    with open_sql(lake) as sql:
        if table is None:
            export_conversations(sql, selection or Selection(), sink)
        else:
            export_table(lake, sql, table, selection or Selection(), form, sink)
    return sink.getvalue()


def test_parquet_is_the_rows_of_the_lake_a_group_each_day(lake: Lake) -> None:
    data = exported(lake, "parquet", MESSAGES)
    assert_frame_equal(pl.read_parquet(io.BytesIO(data)), rows(lake, MESSAGES, *DAYS))
    assert pq.ParquetFile(io.BytesIO(data)).metadata.num_row_groups == len(DAYS)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_the_same_lake_gives_the_same_bytes(lake: Lake, form: str) -> None:
    assert exported(lake, form, MESSAGES) == exported(lake, form, MESSAGES)


def test_days_bound_the_rows(lake: Lake) -> None:
    for selection, days in (
        (Selection(SECOND, SECOND), DAYS[1:2]),
        (Selection(first=SECOND), DAYS[1:]),
        (Selection(last=SECOND), DAYS[:2]),
    ):
        data = exported(lake, "parquet", CONVERSATIONS, selection)
        assert_frame_equal(pl.read_parquet(io.BytesIO(data)), rows(lake, CONVERSATIONS, *days))
    none = Selection(dt.date(2030, 1, 1))
    assert exported(lake, "jsonl", MESSAGES, none) == b""
    assert pl.read_parquet(io.BytesIO(exported(lake, "parquet", MESSAGES, none))).height == 0


def test_an_app_bounds_the_rows(lake: Lake) -> None:
    held = rows(lake, MESSAGES, *DAYS)
    app = str(held["app_id"].drop_nulls().sort()[0])
    data = exported(lake, "jsonl", MESSAGES, Selection(app=app))
    found = [json.loads(line)["id"] for line in data.splitlines()]
    assert found == held.filter(pl.col("app_id") == app)["id"].to_list()
    for hostile in ("' OR '1'='1", "$app", "%"):
        assert exported(lake, "jsonl", MESSAGES, Selection(app=hostile)) == b""


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "plain", ""]  # noqa: RUF001


def test_csv_cells_that_a_spreadsheet_would_run_are_text(tmp_path: Path) -> None:
    lake = Lake(LocalObjects(tmp_path))
    frame = message_rows(len(FORMULAS)).with_columns(
        pl.Series("query", FORMULAS),
        pl.lit(Decimal("-1.5")).cast(pl.Decimal(20, 7)).alias("total_price"),
    )
    lake.write(MESSAGES, "2026-11-22", MESSAGES.conform(frame))
    text = exported(lake, "csv", MESSAGES).decode()
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["query"] for row in found] == [
        one if one in {"plain", ""} else f"'{one}" for one in FORMULAS
    ]
    assert {row["total_price"] for row in found} == {"-1.5000000"}  # a number stays one


def test_a_table_without_days_is_exported_whole(tmp_path: Path) -> None:
    lake = Lake(LocalObjects(tmp_path))
    lake.write(UNDATED_MESSAGES, None, message_rows(5))
    data = exported(lake, "jsonl", UNDATED_MESSAGES)
    assert len(data.splitlines()) == 5
    with pytest.raises(ExportError, match="no days"):
        exported(lake, "jsonl", UNDATED_MESSAGES, Selection(first=SECOND))
    with pytest.raises(ExportError, match="no app_id"):
        exported(lake, "csv", TRANSLATIONS, Selection(app="a"))
    assert exported(lake, "jsonl", WEEKLY_REPORT) == b""


def test_conversations_come_with_their_turns_in_order(lake: Lake) -> None:
    lines = [json.loads(line, parse_float=Decimal) for line in exported(lake, "jsonl").splitlines()]
    headers, turns = rows(lake, CONVERSATIONS, *DAYS), rows(lake, MESSAGES, *DAYS)
    ids = sorted(set(headers["id"]) | set(turns["conversation_id"]))
    assert [line["id"] for line in lines] == ids
    named = {row["id"]: row for row in headers.iter_rows(named=True)}
    for line in lines:
        own = turns.filter(pl.col("conversation_id") == line["id"]).sort("created_at", "id")
        assert [one["id"] for one in line["turns"]] == own["id"].to_list()
        assert [one["answer"] for one in line["turns"]] == own["answer"].to_list()
        prices = [one["total_price"] for one in line["turns"]]
        assert [None if one is None else Decimal(one) for one in prices] == list(own["total_price"])
        if header := named.get(line["id"]):
            assert line["name"] == header["name"]
            assert line["created_at"] == header["created_at"].isoformat().replace("+00:00", "Z")
        else:
            assert line["name"] is None
    assert exported(lake, "jsonl") == exported(lake, "jsonl")


def test_conversations_of_a_day_have_the_turns_of_that_day(lake: Lake) -> None:
    day = Selection(SECOND, SECOND)
    lines = [json.loads(line) for line in exported(lake, "jsonl", None, day).splitlines()]
    turns = rows(lake, MESSAGES, DAYS[1])
    own = set(turns["conversation_id"]) | set(rows(lake, CONVERSATIONS, DAYS[1])["id"])
    assert {line["id"] for line in lines} == own
    assert sum(len(line["turns"]) for line in lines) == turns.height
    assert {one["day"] for line in lines for one in line["turns"]} == {DAYS[1]}


@pytest.mark.parametrize("memory_bytes", [1, 100_000, 1 << 30], ids=["none", "some", "all"])
def test_conversations_are_what_sorting_everything_gives(
    tmp_path: Path, lake: Lake, memory_bytes: int
) -> None:
    """Over days that hold turns of one conversation in another order, and rows twice."""
    odd = Lake(LocalObjects(tmp_path))
    for day in DAYS:
        for table in (CONVERSATIONS, MESSAGES):
            odd.write(table, day, lake.read(table, day))
    first = lake.read(MESSAGES, DAYS[0])
    moved = first.with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.col("created_at") + pl.duration(days=2))
        .otherwise(pl.col("created_at")),
        pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("\ud7ff\U0001f600 no header"))
        .otherwise(pl.col("conversation_id")).alias("conversation_id"),
    )  # fmt: skip
    odd.write(MESSAGES, "2026-11-12", moved)
    odd.write(CONVERSATIONS, "2026-11-12", lake.read(CONVERSATIONS, DAYS[1]).with_columns(
        pl.lit("a later claim").alias("name")))  # fmt: skip
    app = str(first["app_id"].drop_nulls()[0])
    for selection in (
        Selection(),
        Selection(SECOND, SECOND),
        Selection(app=app),
        Selection(SECOND),
    ):
        ours, theirs = io.BytesIO(), io.BytesIO()
        with open_sql(odd) as sql:
            runs = SortedRuns(memory_bytes, fan_in=5)
            lines = export_conversations(sql, selection, ours, runs)
            assert export_conversations_sorted_by_duckdb(sql, selection, theirs) == lines
        assert ours.getvalue() == theirs.getvalue()
        assert ours.getvalue().count(b"\n") == lines > 0


@pytest.mark.s3
def test_a_lake_on_s3_gives_the_same_bytes(lake: Lake, s3_server: S3Server, s3_prefix: str) -> None:
    objects = S3Objects(
        S3Config(
            s3_server.bucket, s3_prefix, s3_server.endpoint_url, s3_server.access_key,
            s3_server.secret_key, s3_server.region,
        )
    )  # fmt: skip
    for info in lake.objects.list(""):
        data = lake.objects.get(info.path)
        assert data is not None
        objects.put(info.path, data)
    there = Lake(objects)
    assert exported(there, "csv", MESSAGES) == exported(lake, "csv", MESSAGES)
    assert exported(there, "jsonl") == exported(lake, "jsonl")
