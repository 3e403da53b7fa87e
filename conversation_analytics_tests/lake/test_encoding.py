from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.errors import LakeError, OutdatedPartitionError, SettingsError
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    MESSAGES,
    RAW_MESSAGES,
    Column,
    TableSchema,
)
from conversation_analytics.core.tables import TABLES
from conversation_analytics.lake.encoding import (
    ParquetOptions,
    StoredPart,
    decode,
    encode,
    encode_partition,
    read_footer,
    scan_parts,
)
from conversation_analytics_tests.lake.frames import frames, message_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = ParquetOptions()
KEY = {"partition": "2026-11-22"}
any_table = st.sampled_from(TABLES)
rules = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _metadata(data: bytes) -> pq.FileMetaData:
    return pq.read_metadata(io.BytesIO(data))


def stored(parts: Sequence[bytes], schema: TableSchema = MESSAGES) -> list[StoredPart]:
    return [StoredPart("part", data, read_footer(data, schema, "part")) for data in parts]


def _column(data: bytes, name: str) -> pq.ColumnChunkMetaData:
    metadata = _metadata(data)
    return metadata.row_group(0).column(metadata.schema.names.index(name))


@pytest.mark.parametrize("schema", TABLES, ids=lambda schema: schema.name)
def test_every_table_round_trips_with_any_values(schema: TableSchema) -> None:
    @given(frame=frames(schema))
    @settings(rules, max_examples=15)
    def round_trips(frame: pl.DataFrame) -> None:
        assert_frame_equal(decode(encode(frame, schema, OPTIONS, KEY), schema), frame)

    round_trips()


@given(data=st.data(), schema=any_table)
@rules
def test_same_rows_give_the_same_bytes_however_they_are_held(
    data: st.DataObject, schema: TableSchema
) -> None:
    frame = data.draw(frames(schema))
    cut = data.draw(st.integers(0, frame.height))
    in_chunks = pl.concat([frame[:cut], frame[cut:]], rechunk=False)
    assert encode(in_chunks, schema, OPTIONS, KEY) == encode(frame, schema, OPTIONS, KEY)


@given(frame=frames(DAILY_PARTIALS), data=st.data())
@settings(rules, max_examples=30)
def test_a_plan_has_the_columns_and_rows_asked_for(
    frame: pl.DataFrame, data: st.DataObject
) -> None:
    names = data.draw(st.permutations(DAILY_PARTIALS.polars.names()))
    columns = names[: data.draw(st.integers(1, len(names)))]
    kinds = data.draw(st.lists(st.sampled_from([*frame["kind"].unique(), "another"])))
    encoded = encode(frame, DAILY_PARTIALS, ParquetOptions(row_group_size=3), KEY)
    wanted = pl.col("kind").is_in(kinds)
    plan = scan_parts(stored([encoded], DAILY_PARTIALS), DAILY_PARTIALS)
    assert_frame_equal(
        plan.filter(wanted).select(columns).collect(), frame.filter(wanted).select(columns)
    )


def test_chunks_do_not_show_in_large_frames() -> None:
    frame = message_rows(5000)
    in_chunks = pl.concat([frame[at : at + 7] for at in range(0, 5000, 7)], rechunk=False)
    assert encode(in_chunks, MESSAGES, OPTIONS, KEY) == encode(frame, MESSAGES, OPTIONS, KEY)


@given(data=st.data())
@rules
def test_shuffled_rows_give_the_same_bytes_after_conform(data: st.DataObject) -> None:
    frame = data.draw(frames(RAW_MESSAGES)).unique("id")
    shuffled = frame[data.draw(st.permutations(range(frame.height)))]
    assert encode(RAW_MESSAGES.conform(shuffled), RAW_MESSAGES, OPTIONS, KEY) == encode(
        RAW_MESSAGES.conform(frame), RAW_MESSAGES, OPTIONS, KEY
    )


def test_the_footer_tells_table_partition_schema_and_rows() -> None:
    data = encode(message_rows(3), MESSAGES, OPTIONS, {**KEY, "run": "7"})
    footer = read_footer(data[-20_000:], MESSAGES, "object")
    assert (footer.table, footer.part, footer.parts) == ("messages", 0, 1)
    assert (footer.rows, footer.partition_rows) == (3, 3)
    assert footer.metadata == {"partition": "2026-11-22", "run": "7"}
    assert b"conversation_analytics.schema_sha256" in (_metadata(data).metadata or {})


def test_the_digest_follows_the_rows_and_not_the_callers_metadata() -> None:
    def digest(frame: pl.DataFrame, run: str) -> str:
        return encode_partition(frame, MESSAGES, OPTIONS, {"run": run}).sha256

    assert digest(message_rows(9), "1") == digest(message_rows(9), "2")
    assert digest(message_rows(9), "1") != digest(message_rows(9, version="b"), "1")


def test_reserved_footer_names_are_refused() -> None:
    with pytest.raises(ValueError, match="content_sha256 are reserved"):
        encode(message_rows(1), MESSAGES, OPTIONS, {"content_sha256": "0"})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f.drop("query"), "column 'query': expected String, got no such column"),
        (lambda f: f.with_columns(x=1), "column 'x': expected no such column, got Int32"),
        (
            lambda f: f.with_columns(pl.col("answer_tokens").cast(pl.Int32)),
            "column 'answer_tokens': expected Int64, got Int32",
        ),
        (lambda f: f.select(reversed(f.columns)), "expected the order"),
    ],
)
def test_a_frame_of_another_schema_is_refused(change: object, told: str) -> None:
    assert callable(change)
    with pytest.raises(LakeError, match=told):
        encode(change(message_rows(2)), MESSAGES, OPTIONS, KEY)


def _with(schema: TableSchema, *columns: Column) -> TableSchema:
    return dataclasses.replace(schema, columns=columns)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            tuple(column for column in RAW_MESSAGES.columns if column.name != "sha256"),
            "column 'sha256': expected large_string, got no such column",
        ),
        (
            (*RAW_MESSAGES.columns, Column("new", pl.Int64(), "")),
            "column 'new': expected no such column, got int64",
        ),
        (
            (*RAW_MESSAGES.columns[:-1], Column("gone", pl.Int64(), "")),
            "column 'gone': expected bool, got int64",
        ),
        (RAW_MESSAGES.columns[::-1], "expected the order"),
    ],
)
def test_an_object_of_another_schema_is_refused(columns: tuple[Column, ...], told: str) -> None:
    other = _with(RAW_MESSAGES, *columns)
    with pytest.raises(LakeError, match=told) as refusal:
        decode(encode(other.empty(), other, OPTIONS, KEY), RAW_MESSAGES, "raw_messages/x.parquet")
    assert str(refusal.value).startswith("raw_messages/x.parquet was written for another version")


@pytest.mark.parametrize(
    ("table", "told", "not_told"),
    [
        (RAW_MESSAGES, "read the partition from the source", "repair"),
        (MESSAGES, "repair", "source"),
    ],
)
def test_what_is_raw_is_not_said_to_be_repaired(
    table: TableSchema, told: str, not_told: str
) -> None:
    other = _with(table, *table.columns[1:])
    with pytest.raises(OutdatedPartitionError, match=told) as refusal:
        decode(encode(other.empty(), other, OPTIONS, KEY), table)
    assert not_told not in str(refusal.value)


def test_a_partition_of_an_earlier_version_has_its_later_columns_filled() -> None:
    old = _with(RAW_MESSAGES, *(c for c in RAW_MESSAGES.columns if c.absent is None))
    rows = old.conform(
        pl.DataFrame(
            {"id": ["a"], "created_at": [None], "payload": ["{}"], "sha256": ["d"]},
            schema=old.polars,
        )
    )
    frame = decode(encode(rows, old, OPTIONS, KEY), RAW_MESSAGES)
    assert frame.schema == RAW_MESSAGES.polars
    assert frame.row(0, named=True) == rows.row(0, named=True) | {
        "content_sha256": "", "fingerprint": "", "gone": False,
    }  # fmt: skip


def test_an_object_of_another_table_or_writer_is_refused() -> None:
    other = dataclasses.replace(RAW_MESSAGES, name="other")
    with pytest.raises(LakeError, match="table: expected raw_messages, got other"):
        decode(encode(other.empty(), other, OPTIONS, KEY), RAW_MESSAGES)
    foreign = io.BytesIO()
    RAW_MESSAGES.empty().write_parquet(foreign)
    with pytest.raises(LakeError, match=r"foreign one \(no digest of its footer\)"):
        decode(foreign.getvalue(), RAW_MESSAGES)


@given(share=st.floats(0, 1, exclude_max=True))
@rules
def test_a_torn_object_is_refused_by_name(share: float) -> None:
    data = encode(message_rows(50), MESSAGES, OPTIONS, KEY)
    with pytest.raises(LakeError, match=r"part-000.*got a torn or foreign one"):
        decode(data[: int(len(data) * share)], MESSAGES, "part-000")


def test_other_readers_do_not_mind_the_digest_of_the_footer() -> None:
    frame = message_rows(50)
    data = encode(frame, MESSAGES, OPTIONS, KEY)
    assert_frame_equal(pl.DataFrame(pq.read_table(io.BytesIO(data))), frame)
    assert_frame_equal(pl.read_parquet(io.BytesIO(data)), frame)


@given(data=st.data())
@settings(rules, max_examples=200)
def test_a_rotten_byte_never_changes_rows_unnoticed(data: st.DataObject) -> None:
    frame = message_rows(50)
    encoded = encode(frame, MESSAGES, OPTIONS, KEY)
    at = data.draw(st.integers(0, len(encoded) - 1))
    rotten = bytearray(encoded)
    rotten[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(rotten), MESSAGES)
    except LakeError:
        return
    assert_frame_equal(decoded, frame)


@pytest.mark.parametrize(
    ("compression", "codec"),
    [
        ("zstd", "ZSTD"), ("snappy", "SNAPPY"), ("gzip", "GZIP"), ("lz4", "LZ4"),
        ("brotli", "BROTLI"), ("none", "UNCOMPRESSED"),
    ],
)  # fmt: skip
def test_compression_is_the_codec_of_every_column(compression: str, codec: str) -> None:
    frame = message_rows(200)
    data = encode(frame, MESSAGES, ParquetOptions(compression=compression), KEY)
    assert {_column(data, name).compression for name in frame.columns} == {codec}
    assert_frame_equal(decode(data, MESSAGES), frame)


def test_compression_level_is_3_for_zstd_unless_set() -> None:
    frame = message_rows(3000)

    def size(level: int | None) -> int:
        return len(encode(frame, MESSAGES, ParquetOptions(compression_level=level), KEY))

    assert size(None) == size(3)
    assert size(19) < size(1)


def test_row_group_size_cuts_row_groups() -> None:
    data = encode(message_rows(1000), MESSAGES, ParquetOptions(row_group_size=300), KEY)
    metadata = _metadata(data)
    assert [metadata.row_group(i).num_rows for i in range(4)] == [300, 300, 300, 100]


def test_page_size_cuts_pages() -> None:
    frame = message_rows(10_000)

    def page_headers(size: int) -> int:  # more pages, more headers
        options = ParquetOptions(page_size_bytes=size, compression="none")
        return _column(encode(frame, MESSAGES, options, KEY), "query").total_uncompressed_size

    assert page_headers(1_024) > page_headers(100_000) > page_headers(10_000_000)


def test_dictionaries_are_for_low_cardinality_columns_only() -> None:
    data = encode(message_rows(100), MESSAGES, OPTIONS, KEY)
    for column in MESSAGES.columns:
        has_one = "RLE_DICTIONARY" in _column(data, column.name).encodings
        assert has_one == column.low_cardinality, column.name


def test_pages_have_an_index() -> None:
    data = encode(message_rows(100), MESSAGES, OPTIONS, KEY)
    assert _column(data, "created_at").has_offset_index
    assert _column(data, "created_at").has_column_index


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (ParquetOptions(), 1),
        (ParquetOptions(max_records_per_file=4000), 1),
        (ParquetOptions(max_records_per_file=3999), 2),
        (ParquetOptions(max_records_per_file=1001), 4),
    ],
)
def test_max_records_per_file_splits_in_order(options: ParquetOptions, parts: int) -> None:
    frame = message_rows(4000)
    encoded = encode_partition(frame, MESSAGES, options, KEY)
    objects = stored(encoded.parts)
    footers = [one.footer for one in objects]
    assert len(footers) == parts
    assert all(footer.rows <= options.max_records_per_file for footer in footers)
    assert_frame_equal(scan_parts(objects, MESSAGES).collect(), frame)
    assert [footer.part for footer in footers] == list(range(parts))
    assert {footer.parts for footer in footers} == {parts}
    assert {footer.sha256 for footer in footers} == {encoded.sha256}
    assert {footer.partition_rows for footer in footers} == {4000}


@given(data=st.data())
@settings(rules, max_examples=30)
def test_a_partition_of_several_objects_is_verified_as_a_whole(data: st.DataObject) -> None:
    options = ParquetOptions(max_records_per_file=20, compression="none")
    parts = list(encode_partition(message_rows(50), MESSAGES, options, KEY).parts)
    at = data.draw(st.integers(0, len(parts) - 1))
    if data.draw(st.booleans()):
        rotten = bytearray(parts[at])
        rotten[data.draw(st.integers(4, stored(parts)[at].footer.content_bytes - 1))] ^= 1
        parts[at] = bytes(rotten)
    else:
        parts[at : at + 2] = parts[at : at + 2][::-1] if at < len(parts) - 1 else []
    with pytest.raises(LakeError, match="expected a content of the digest"):
        scan_parts(stored(parts), MESSAGES)


def test_target_file_size_splits_until_every_object_fits() -> None:
    frame = message_rows(4000)
    options = ParquetOptions(target_file_size_mb=0.02, compression="none")
    encoded = encode_partition(frame, MESSAGES, options, KEY)
    assert len(encoded.parts) > 1
    assert max(map(len, encoded.parts)) <= 20_000
    assert_frame_equal(scan_parts(stored(encoded.parts), MESSAGES).collect(), frame)


def test_a_row_that_exceeds_the_target_stands_alone() -> None:
    encoded = encode_partition(
        message_rows(2), MESSAGES, ParquetOptions(target_file_size_mb=0.0001), KEY
    )
    assert len(encoded.parts) == 2


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(LakeError, match="1001 rows need 1001 objects, expected 1000 at most"):
        encode_partition(message_rows(1001), MESSAGES, ParquetOptions(max_records_per_file=1), KEY)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"compression": "lzo"}, "PARQUET_COMPRESSION: expected one of zstd, .* got 'lzo'"),
        ({"compression_level": 23}, "zstd: expected 1 to 22, got 23"),
        ({"compression": "snappy", "compression_level": 1}, "codec has no levels"),
        ({"row_group_size": 0}, "PARQUET_ROW_GROUP_SIZE: expected more than 0, got 0"),
        ({"page_size_bytes": -1}, "PARQUET_PAGE_SIZE: "),
        ({"target_file_size_mb": 0}, "PARQUET_TARGET_FILE_SIZE_MB: "),
        ({"max_records_per_file": 0}, "PARQUET_MAX_RECORDS_PER_FILE: "),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        ParquetOptions(**wrong)  # type: ignore[arg-type]


def test_an_empty_partition_is_a_file_with_the_schema() -> None:
    data = encode(CONVERSATIONS.empty(), CONVERSATIONS, OPTIONS, KEY)
    assert decode(data, CONVERSATIONS).schema == CONVERSATIONS.polars
