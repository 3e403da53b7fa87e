from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.core.errors import LakeError
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    MESSAGES,
    RAW_MESSAGES,
    UNDATED_MESSAGES,
)
from conversation_analytics.core.tables import TABLES
from conversation_analytics.lake.encoding import ParquetOptions, encode_partition
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.s3 import S3Objects
from conversation_analytics.lake.store import Lake, PartitionBy, open_lake
from conversation_analytics_tests.lake.frames import message_rows

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.lake.objects import ObjectStore
    from conversation_analytics.lake.s3 import S3Config

DAY = "2026-11-22"
FOLDER = "messages/year=2026/month=11/day=22"
SPLIT = ParquetOptions(max_records_per_file=40)


def test_every_table_is_written_and_read_back(objects: ObjectStore) -> None:
    lake = Lake(objects)
    for schema in TABLES:
        written = lake.write(schema, DAY, schema.empty())
        assert (written.rows, written.parts, written.changed) == (0, 1, True)
        assert_frame_equal(lake.read(schema, DAY), schema.empty())


def test_a_written_partition_is_read_back_sorted(objects: ObjectStore) -> None:
    lake, frame = Lake(objects), message_rows(100)
    written = lake.write(MESSAGES, DAY, frame.sample(fraction=1, shuffle=True, seed=3))
    assert written.path == f"{FOLDER}/part-000.parquet"
    assert written.size_bytes == objects.size(written.path)
    assert (written.rows, written.parts, written.changed) == (100, 1, True)
    assert_frame_equal(lake.read(MESSAGES, DAY), frame)
    assert lake.row_count(MESSAGES, DAY) == 100
    assert lake.stat(MESSAGES, DAY).sha256 == written.sha256


def test_only_the_first_report_of_a_path_is_stored_where_that_is_asked_for(
    objects: ObjectStore,
) -> None:
    lake = Lake(objects)
    lake.put_first_report("users/index.html", b"first")
    lake.put_first_report("users/index.html", b"second")
    assert lake.get_report("users/index.html") == b"first"
    lake.put_report("users/index.html", b"third")
    lake.put_first_report("users/index.html", b"first")
    assert lake.get_report("users/index.html") == b"third"


def test_an_identical_partition_is_not_written_again(objects: ObjectStore) -> None:
    lake, frame = Lake(objects), message_rows(100)
    first = lake.write(MESSAGES, DAY, frame)
    second = lake.write(MESSAGES, DAY, frame.reverse())
    assert second == dataclasses.replace(first, changed=False)
    third = lake.write(MESSAGES, DAY, message_rows(100, version="b"))
    assert third.changed
    assert third.sha256 != first.sha256


def test_an_identical_file_keeps_its_time(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    path = tmp_path / lake.write(MESSAGES, DAY, message_rows(10)).path
    before = path.stat()
    lake.write(MESSAGES, DAY, message_rows(10))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_rotten_object_is_mended_by_writing_again(objects: ObjectStore) -> None:
    lake, frame = Lake(objects), message_rows(100)
    path = lake.write(MESSAGES, DAY, frame).path
    rotten = bytearray(objects.get(path) or b"")
    rotten[200] ^= 1
    objects.put(path, bytes(rotten))
    assert lake.write(MESSAGES, DAY, frame).changed
    assert_frame_equal(lake.read(MESSAGES, DAY), frame)


def test_a_refused_frame_leaves_the_old_partition(objects: ObjectStore) -> None:
    lake, frame = Lake(objects), message_rows(10)
    lake.write(MESSAGES, DAY, frame)
    with pytest.raises(LakeError, match="messages: the frame is not of the pinned schema"):
        lake.write(MESSAGES, DAY, frame.drop("id"))
    assert_frame_equal(lake.read(MESSAGES, DAY), frame)


def test_a_table_without_partitions_is_one_object(objects: ObjectStore) -> None:
    lake = Lake(objects)
    frame = UNDATED_MESSAGES.conform(message_rows(5))
    assert lake.write(UNDATED_MESSAGES, None, frame).path == "undated_messages/part-000.parquet"
    assert_frame_equal(lake.read(UNDATED_MESSAGES, None), frame)
    assert lake.exists(UNDATED_MESSAGES, None)
    assert lake.keys(UNDATED_MESSAGES) == []
    assert len(lake.scan_paths(UNDATED_MESSAGES)) == 1


def test_a_missing_partition_says_what_to_materialise(objects: ObjectStore) -> None:
    lake = Lake(objects)
    for call in (lake.read, lake.stat, lake.row_count):
        with pytest.raises(LakeError, match=f"materialise asset messages for partition {DAY}"):
            call(MESSAGES, DAY)
    with pytest.raises(LakeError, match="materialise asset undated_messages first"):
        lake.read(UNDATED_MESSAGES, None)
    with pytest.raises(LakeError, match=f"materialise asset messages for partition {DAY}"):
        lake.scan_paths(MESSAGES, [DAY])
    assert not lake.exists(MESSAGES, DAY)
    assert lake.keys(MESSAGES) == []
    assert lake.scan_paths(MESSAGES) == []


@pytest.mark.parametrize(
    ("partition_by", "path"),
    [
        ("day", "messages/year=0999/month=01/day=02/part-000.parquet"),
        ("date", "messages/date=0999-01-02/part-000.parquet"),
    ],
)
def test_partition_by_is_the_layout_of_folders(
    objects: ObjectStore, partition_by: PartitionBy, path: str
) -> None:
    lake = Lake(objects, partition_by=partition_by)
    for key in ("2026-11-22", "0999-01-02", "2026-02-28"):
        lake.write(MESSAGES, key, message_rows(1))
    assert objects.size(path) is not None
    assert lake.keys(MESSAGES) == ["0999-01-02", "2026-02-28", "2026-11-22"]


def test_two_layouts_in_one_table_are_told(objects: ObjectStore) -> None:
    Lake(objects, partition_by="date").write(MESSAGES, DAY, message_rows(1))
    with pytest.raises(LakeError, match="set PARQUET_PARTITION_BY=date"):
        Lake(objects).keys(MESSAGES)


@pytest.mark.parametrize(
    "key",
    [
        "20261122",
        "2026-11-31",
        "2026-W47-7",
        "../../x",
        "",
        "2026-1-1",
        "2026-11-22T00",
        "/2026-11-22",
        "2026-11-22\0",
        "2026-11-22\n",
        "2026-11-22/..",
        "..\\2026-11-22",
        "\uff12\uff10\uff12\uff16-11-22",
        "2026\u201011\u201022",
        "\u0662\u0660\u0662\u0666-11-22",
    ],
)
def test_a_key_that_is_no_day_is_refused(tmp_path: Path, key: str) -> None:
    lake = open_lake(tmp_path)
    with pytest.raises(LakeError, match="expected YYYY-MM-DD, got"):
        lake.write(MESSAGES, key, message_rows(1))
    with pytest.raises(LakeError, match="expected YYYY-MM-DD, got"):
        lake.read(MESSAGES, key)


def test_a_table_cannot_be_named_like_another_place(tmp_path: Path) -> None:
    for name in ("reports", "a/b", "..", ""):
        with pytest.raises(LakeError, match="expected"):
            open_lake(tmp_path).write(
                dataclasses.replace(MESSAGES, name=name), None, MESSAGES.empty()
            )
    assert list(tmp_path.iterdir()) == []


def test_an_object_copied_from_another_day_or_table_is_refused(objects: ObjectStore) -> None:
    lake = Lake(objects)
    data = objects.get(lake.write(MESSAGES, "2026-11-21", message_rows(1)).path) or b""
    objects.put(f"{FOLDER}/part-000.parquet", data)
    for call in (lake.read, lake.stat):
        with pytest.raises(LakeError, match=r"got partition 2026-11-21.*the object was copied"):
            call(MESSAGES, DAY)
    objects.put("conversations/part-000.parquet", data)
    with pytest.raises(LakeError, match="table: expected conversations, got messages"):
        lake.read(CONVERSATIONS, None)


def test_a_torn_object_is_told_by_its_path(objects: ObjectStore) -> None:
    lake = Lake(objects)
    path = lake.write(MESSAGES, DAY, message_rows(10)).path
    objects.put(path, (objects.get(path) or b"")[:-5])
    for call in (lake.read, lake.stat):
        with pytest.raises(LakeError, match=f"{path}: .* got a torn"):
            call(MESSAGES, DAY)


def test_a_footer_larger_than_the_usual_tail_is_read(objects: ObjectStore) -> None:
    lake = Lake(objects, ParquetOptions(row_group_size=10))
    lake.write(MESSAGES, DAY, message_rows(1000))
    assert lake.row_count(MESSAGES, DAY) == 1000


# --- several objects a partition ---


def _part(number: int, digest: str = "") -> str:
    return f"{FOLDER}/part-{number:03d}{f'-{digest[:16]}' if number else ''}.parquet"


@pytest.mark.parametrize("before", [1, 40, 100, 200])
@pytest.mark.parametrize("after", [1, 41, 130])
def test_a_partition_may_grow_and_shrink(objects: ObjectStore, before: int, after: int) -> None:
    lake = Lake(objects, SPLIT)
    lake.write(MESSAGES, DAY, message_rows(before))
    frame = message_rows(after, version="b")
    written = lake.write(MESSAGES, DAY, frame)
    assert written.parts == -(-after // 40)
    paths = [_part(number, written.sha256) for number in range(written.parts)]
    assert sorted(info.path for info in objects.list(FOLDER)) == sorted(paths)
    assert_frame_equal(lake.read(MESSAGES, DAY), frame)
    assert lake.row_count(MESSAGES, DAY) == after
    assert lake.scan_paths(MESSAGES, [DAY]) == [objects.uri(path) for path in paths]
    assert not lake.write(MESSAGES, DAY, frame).changed


def test_leftovers_of_a_larger_version_are_neither_read_nor_kept(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, options=SPLIT)
    left = tmp_path / _part(2, lake.write(MESSAGES, DAY, message_rows(100)).sha256)
    left_over = left.read_bytes()
    lake.write(MESSAGES, DAY, message_rows(30))
    assert not left.exists()
    left.write_bytes(left_over)  # as if the writer had died before removing it
    assert lake.read(MESSAGES, DAY).height == 30
    assert lake.scan_paths(MESSAGES) == [str(tmp_path / _part(0))]
    assert lake.write(MESSAGES, DAY, message_rows(30)).changed
    assert not left.exists()


def test_files_of_others_in_a_partition_are_left_alone(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    lake.write(MESSAGES, DAY, message_rows(3))
    (tmp_path / FOLDER / "notes.txt").write_text("mine")
    lake.write(UNDATED_MESSAGES, None, UNDATED_MESSAGES.empty())
    lake.write(MESSAGES, DAY, message_rows(4))
    assert (tmp_path / FOLDER / "notes.txt").exists()
    assert lake.keys(MESSAGES) == [DAY]


class _InterruptedError(Exception):
    pass


@pytest.mark.parametrize("puts", [1, 2])
@pytest.mark.parametrize("before", [30, 100, 200])
def test_a_writer_that_dies_between_its_objects_leaves_the_old_partition(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, before: int, puts: int
) -> None:
    lake, old, new = Lake(objects, SPLIT), message_rows(before), message_rows(100, version="b")
    lake.write(MESSAGES, DAY, old)
    done: list[str] = []

    def put_some(path: str, data: bytes) -> None:
        if len(done) == puts:
            raise _InterruptedError
        type(objects).put(objects, path, data)
        done.append(path)

    def die(*_: object) -> str:
        raise _InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(objects, "put", put_some)
        patch.setattr(objects, "swap", die)
        with pytest.raises(_InterruptedError):
            lake.write(MESSAGES, DAY, new)
    assert len(done) == puts
    assert_frame_equal(lake.read(MESSAGES, DAY), old)
    if isinstance(objects, LocalObjects):
        assert_frame_equal(pl.read_parquet(lake.scan_paths(MESSAGES)), old)
    assert lake.write(MESSAGES, DAY, old).changed  # what the dead writer left is removed
    assert not lake.write(MESSAGES, DAY, old).changed


def test_a_reader_that_meets_a_replacement_reads_again(objects: ObjectStore) -> None:
    old, new = message_rows(100), message_rows(100, version="b")
    writer = Lake(objects, SPLIT)
    writer.write(MESSAGES, DAY, old)
    first = objects.get(_part(0)) or b""
    writer.write(MESSAGES, DAY, new)
    now = objects.get(_part(0)) or b""
    objects.put(_part(0), first)  # the reader sees the first object of before: the rest is gone
    waited: list[float] = []

    def writer_goes_on(seconds: float) -> None:
        waited.append(seconds)
        if seconds:
            objects.put(_part(0), now)

    assert_frame_equal(Lake(objects, SPLIT, sleep=writer_goes_on).read(MESSAGES, DAY), new)
    assert len(waited) == 2


@pytest.mark.parametrize("torn", ["mixed", "missing"])
def test_a_damaged_partition_of_several_objects_is_told_and_mended(
    objects: ObjectStore, torn: str
) -> None:
    waited: list[float] = []
    lake = Lake(objects, SPLIT, sleep=waited.append)
    frame = message_rows(100)
    digest = lake.write(MESSAGES, DAY, frame).sha256
    if torn == "mixed":
        other = encode_partition(message_rows(100, version="b"), MESSAGES, SPLIT,
                                 {"partition": DAY})  # fmt: skip
        objects.put(_part(2, digest), other.parts[2])
    else:
        objects.delete(_part(1, digest))
        with pytest.raises(LakeError, match=r"expected 3 parts, got no .*part-001"):
            lake.scan_paths(MESSAGES)
    with pytest.raises(LakeError, match=r"expected all parts of one write, got .* materialise"):
        lake.read(MESSAGES, DAY)
    assert sum(waited) < 5
    assert lake.write(MESSAGES, DAY, frame).changed
    assert_frame_equal(lake.read(MESSAGES, DAY), frame)


# --- plain readers ---


def _ask_duckdb(query: str) -> tuple[Any, ...]:
    with duckdb.connect() as connection:
        (row,) = connection.execute(query).fetchall()
        return tuple(row)


def test_plain_readers_find_the_same_rows(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    days = ["2026-11-21", "2026-11-22"]
    rows = [message_rows(500, day) for day in days]
    for day, frame in zip(days, rows, strict=True):
        lake.write(MESSAGES, day, frame)
    every = pl.concat(rows)
    cost = Decimal(2 * sum(range(500))) / 10**7

    glob = str(tmp_path / "messages/**/*.parquet")
    found = _ask_duckdb(
        "select count(*), sum(total_price), max(epoch_us(created_at)), min(query), "
        f"count(currency), sum(latency_s), max(day) from read_parquet('{glob}')"
    )
    assert found[:2] == (1000, cost)
    assert found[2] == every["created_at"].dt.epoch("us").max()
    assert found[3:5] == (every["query"].min(), every["currency"].count())
    assert found[5] == pytest.approx(every["latency_s"].sum())
    assert int(found[6]) == 22

    in_pandas = pd.read_parquet(tmp_path / "messages", engine="pyarrow")
    assert in_pandas["total_price"].sum() == cost
    assert in_pandas["query"].to_list() == every["query"].to_list()
    assert str(in_pandas["created_at"].dtype) == "datetime64[us, UTC]"
    assert in_pandas["currency"].isna().sum() == every["currency"].null_count()

    assert_frame_equal(pl.read_parquet(lake.scan_paths(MESSAGES), hive_partitioning=False), every)


def test_a_plain_reader_may_skip_row_groups_by_time(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, options=ParquetOptions(row_group_size=100))
    path = tmp_path / lake.write(MESSAGES, DAY, message_rows(1000)).path
    groups = _ask_duckdb(
        "select count(distinct stats_min_value) from parquet_metadata("
        f"'{path}') where path_in_schema = 'created_at'"
    )
    assert groups == (10,)


# --- reports, description ---


def test_reports_are_kept_beside_the_tables(objects: ObjectStore) -> None:
    lake = Lake(objects)
    where = lake.put_report("daily/2026-11-22.html", b"<p>1</p>")
    assert where == objects.uri("reports/daily/2026-11-22.html")
    lake.put_report("daily/2026-11-22.html", b"<p>2</p>")
    lake.put_report("weekly/2026-W47.csv", b"a,b\n")
    assert lake.get_report("daily/2026-11-22.html") == b"<p>2</p>"
    assert lake.reports() == ["daily/2026-11-22.html", "weekly/2026-W47.csv"]
    with pytest.raises(LakeError, match="expected a report, got no such object"):
        lake.get_report("daily/none.html")
    with pytest.raises(LakeError, match="nothing outside the lake's root"):
        lake.put_report("../messages/part-000.parquet", b"")


def test_the_lake_is_where_the_configuration_says(tmp_path: Path) -> None:
    local = open_lake(tmp_path, options=ParquetOptions(compression="lz4"), partition_by="date")
    assert isinstance(local.objects, LocalObjects)
    assert local.describe() == {
        "storage": "local",
        "root": str(tmp_path),
        "partition_by": "date",
        "compression": "lz4",
        "row_group_size": "20000",
    }


@pytest.mark.s3
def test_with_a_bucket_the_lake_is_there(tmp_path: Path, s3_config: S3Config) -> None:
    lake = open_lake(tmp_path, s3_config)
    assert isinstance(lake.objects, S3Objects)
    lake.write(RAW_MESSAGES, DAY, RAW_MESSAGES.empty())
    assert lake.keys(RAW_MESSAGES) == [DAY]
    assert list(tmp_path.iterdir()) == []
    assert lake.describe()["root"] == f"s3://{s3_config.bucket}/{s3_config.prefix}"
