"""A partition as Parquet bytes and back: the same rows always give the same bytes.

The footer says which table, partition, schema and generation an object belongs to, so
that a reader notices a torn, foreign or half-replaced partition. Nothing in it depends
on the clock or on the run, unless the caller passes such metadata.

pyarrow is imported where it is used: importing this module must stay cheap for
processes that only load Dagster definitions.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from conversation_analytics.core.errors import LakeError, OutdatedPartitionError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    import pyarrow.parquet as pq

    from conversation_analytics.core.schemas import TableSchema

_PREFIX = "conversation_analytics."
_RESERVED = frozenset(
    {"table", "schema_sha256", "parts", "part", "partition_rows", "content_sha256"}
)
# Levels a codec takes; None: it has no levels. The names are those of PARQUET_COMPRESSION.
_LEVELS: dict[str, tuple[int, int] | None] = {
    "zstd": (1, 22), "gzip": (1, 9), "brotli": (0, 11),
    "snappy": None, "lz4": None, "none": None,
}  # fmt: skip
_ZSTD_LEVEL = 3  # 0.64 of snappy's bytes at 1.66 of its CPU, as measured
BYTES_PER_MB = 1_000_000
_SEAL = b"CAsha256"  # before the digest of the footer
_MAGIC_BYTES = 4  # `PAR1`, before the rows
MAX_PARTS = 1000  # part-000 to part-999, so that names sort like numbers


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """How partitions are encoded.

    Attributes:
        compression: `zstd`, `snappy`, `gzip`, `lz4`, `brotli` or `none`.
        compression_level: of the codec; None is 3 for zstd, else the codec's own default.
        row_group_size: rows of a row group at most.
        page_size_bytes: bytes of an uncompressed data page, approximately (pyarrow looks
            at the size every 1,024 values and closes a page at 20,000 rows).
        target_file_size_mb: encoded bytes of one object at most, in MB of 10^6 bytes.
        max_records_per_file: rows of one object at most.

    The last two are high by default because one object a partition is the rule: only a
    single object is replaced atomically for every reader.

    Raises:
        SettingsError: a value is out of range.
    """

    compression: str = "zstd"
    compression_level: int | None = None
    row_group_size: int = 20_000
    page_size_bytes: int = 1_048_576
    target_file_size_mb: float = 2048
    max_records_per_file: int = 10_000_000

    def __post_init__(self) -> None:
        """Check every value."""
        if self.compression not in _LEVELS:
            raise SettingsError(
                f"PARQUET_COMPRESSION: expected one of {', '.join(_LEVELS)}, "
                f"got {self.compression!r}"
            )
        levels = _LEVELS[self.compression]
        if self.compression_level is not None and (
            levels is None or not levels[0] <= self.compression_level <= levels[1]
        ):
            expected = f"{levels[0]} to {levels[1]}" if levels else "none, the codec has no levels"
            raise SettingsError(
                f"Parquet compression level of {self.compression}: expected {expected}, "
                f"got {self.compression_level}"
            )
        for name in (
            "row_group_size", "page_size_bytes", "target_file_size_mb", "max_records_per_file",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise SettingsError(
                    f"PARQUET_{name.upper().removesuffix('_BYTES')}: expected more than 0, "
                    f"got {getattr(self, name)}"
                )


@dataclass(frozen=True, slots=True)
class EncodedPartition:
    """A partition as the bytes of its objects.

    Attributes:
        parts: one Parquet file each; the rows follow each other in order.
        rows: of all parts.
        sha256: hexadecimal digest over table, schema and encoded rows of all parts, which
            every footer holds; free of the caller's metadata.
    """

    parts: tuple[bytes, ...]
    rows: int
    sha256: str

    @property
    def size_bytes(self) -> int:
        """Size of all its objects."""
        return sum(map(len, self.parts))


@dataclass(frozen=True, slots=True)
class Footer:
    """What the footer of one object says.

    Attributes:
        table: table name.
        part: number of this object in its partition, from 0.
        parts: objects of the partition.
        rows: rows of this object.
        partition_rows: rows of the whole partition.
        sha256: digest of the partition's content, see `EncodedPartition`.
        schema_sha256: digest of the schema it was written with.
        content_bytes: the encoded rows of this object are its first so many bytes.
        columns: those that it has.
        metadata: what the caller of `encode` had put in, `partition` among it.
    """

    table: str
    part: int
    parts: int
    rows: int
    partition_rows: int
    sha256: str
    schema_sha256: str
    content_bytes: int
    columns: frozenset[str]
    metadata: dict[str, str]


def encode(
    frame: pl.DataFrame, schema: TableSchema, options: ParquetOptions, metadata: Mapping[str, str]
) -> bytes:
    """Return `frame` as the bytes of one Parquet file, whatever its size.

    Args:
        frame: exactly the columns, order and types of `schema`; rows are kept in order.
        schema: the pinned schema.
        options: compression and sizes; the limits of a file are not applied here.
        metadata: goes into the footer, e.g. `{"partition": "2026-11-22"}`.

    Raises:
        LakeError: the frame is not of the schema.
        ValueError: a name in `metadata` is reserved.
    """
    return _encode(frame, schema, options, metadata, 1).parts[0]


def encode_partition(
    frame: pl.DataFrame, schema: TableSchema, options: ParquetOptions, metadata: Mapping[str, str]
) -> EncodedPartition:
    """Return `frame` as one Parquet file, or as several where it exceeds the limits.

    Rows are dealt out evenly and in order. Arguments and errors are those of `encode`;
    LakeError too where more than 1,000 parts would be needed.
    """
    rows, limit = frame.height, options.target_file_size_mb * BYTES_PER_MB
    count = max(1, -(-rows // options.max_records_per_file))
    while True:
        if count > MAX_PARTS:
            raise LakeError(
                f"{schema.name}: {rows} rows need {count} objects, expected {MAX_PARTS} at most; "
                "raise PARQUET_MAX_RECORDS_PER_FILE or PARQUET_TARGET_FILE_SIZE_MB"
            )
        encoded = _encode(frame, schema, options, metadata, count)
        largest = max(map(len, encoded.parts))
        if largest <= limit or count >= rows:
            return encoded
        count = min(rows, max(count + 1, int(count * largest / limit) + 1))


def decode(data: bytes, schema: TableSchema, name: str = "object") -> pl.DataFrame:
    """Return the rows of the one Parquet file of a partition, written by `encode`.

    Args:
        data: the whole file.
        schema: the pinned schema; the file must have exactly its table, columns and types, but
            may lack columns that came later (`Column.absent`).
        name: what errors call the file.

    Raises:
        LakeError: the file is torn, rotten, foreign, or not of the schema.
    """
    part = StoredPart(name, data, read_footer(data, schema, name))
    return scan_parts([part], schema).collect()


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One object of a stored partition.

    Attributes:
        name: what errors call it.
        data: the whole file.
        footer: what `read_footer` says of it.
    """

    name: str
    data: bytes
    footer: Footer


def scan_parts(parts: Sequence[StoredPart], schema: TableSchema) -> pl.LazyFrame:
    """Return the rows of a partition as a plan, which decodes the columns that it needs.

    The encoded rows are compared with the digest in the footers before any is decoded, which takes
    a fiftieth of what decoding takes: so Polars' reader can be used, which verifies no checksums
    of pages and takes half the time of pyarrow's.

    Args:
        parts: all objects of the partition, in order; the plan keeps them in memory.
        schema: the pinned schema.

    Raises:
        LakeError: an object is torn, rotten, or not of the schema.
    """
    _require_content(parts, schema)
    plans = [_scan(part, schema) for part in parts]
    return plans[0] if len(plans) == 1 else pl.concat(plans)


def _require_content(parts: Sequence[StoredPart], schema: TableSchema) -> None:
    first = parts[0]
    digest = hashlib.sha256(_digest_head(schema, first.footer.schema_sha256, len(parts)))
    for part in parts:
        content = memoryview(part.data)[: part.footer.content_bytes]
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    if digest.hexdigest() != first.footer.sha256:
        raise _rotten(first.name, "content", first.footer.sha256, digest.hexdigest())


def _scan(part: StoredPart, schema: TableSchema) -> pl.LazyFrame:
    there = part.footer.columns
    return pl.scan_parquet(io.BytesIO(part.data), glob=False).select(
        pl.col(one) if one in there else pl.lit(schema.absent[one], dtype).alias(one)
        for one, dtype in schema.polars.items()
    )


def read_footer(data: bytes, schema: TableSchema, name: str) -> Footer:
    """Return what the footer says, having checked table, columns and types.

    Args:
        data: the whole file or any tail of it that contains the footer.
        schema: the pinned schema.
        name: what errors call the file.

    Raises:
        LakeError: the footer is torn, foreign, or not of the schema.
    """
    import pyarrow as pa  # noqa: PLC0415  (import budget)
    import pyarrow.parquet as pq  # noqa: PLC0415

    # Before any reader sees it: on a rotten footer pyarrow and Polars can end the process.
    _require_seal(data, name)
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            found, rows = file.schema_arrow, file.metadata.num_rows
            content_bytes = _content_bytes(file.metadata)
            pairs = {
                key.decode().removeprefix(_PREFIX): value.decode()
                for key, value in (file.metadata.metadata or {}).items()
                if key.startswith(_PREFIX.encode())
            }
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _torn(name, error) from error
    got = _types(found)
    expected = {
        column: dtype
        for column, dtype in _types(_arrow_schema(schema)).items()
        if column in got or column not in schema.absent
    }
    problems = _differences(expected, got)
    if pairs.get("table") != schema.name:
        problems.insert(0, f"table: expected {schema.name}, got {pairs.get('table', 'no name')}")
    same_version = pairs.get("schema_sha256") in (None, schema_sha256(schema))
    if problems and pairs.get("table") == schema.name and not same_version:
        again = (
            "what is raw is not made again: read it with the version that wrote it, or move the "
            "object away and read the partition from the source"
            if schema.name.startswith("raw_")
            else "`conversation-analytics repair` makes it again"
        )
        raise OutdatedPartitionError(
            f"{name} was written for another version of {schema.name}: {'; '.join(problems)}; "
            f"{again}"
        )
    if problems:
        raise LakeError(
            f"{name} is not of the pinned schema of {schema.name}: {'; '.join(problems)}; "
            "materialise the partition again, or move the object away if it is not ours"
        )
    try:
        return Footer(
            table=pairs["table"],
            part=int(pairs["part"]),
            parts=int(pairs["parts"]),
            rows=rows,
            partition_rows=int(pairs["partition_rows"]),
            sha256=pairs["content_sha256"],
            schema_sha256=pairs["schema_sha256"],
            content_bytes=content_bytes,
            columns=frozenset(got),
            metadata={key: value for key, value in pairs.items() if key not in _RESERVED},
        )
    except (KeyError, ValueError) as error:
        raise _torn(name, error) from error


@functools.cache
def schema_sha256(schema: TableSchema) -> str:
    """Return the digest of a schema's column names and types, hexadecimal."""
    text = json.dumps(list(_types(_arrow_schema(schema)).items()))
    return hashlib.sha256(text.encode()).hexdigest()


def require_schema(frame: pl.DataFrame, schema: TableSchema) -> None:
    """Check that `frame` has exactly the columns, order and types of `schema`.

    Raises:
        LakeError: it has not; every differing column is named.
    """
    if frame.schema != schema.polars:
        problems = _differences(_types(schema.polars), _types(frame.schema))
        raise LakeError(
            f"{schema.name}: the frame is not of the pinned schema: {'; '.join(problems)}; "
            "pass it through TableSchema.conform first"
        )


def _encode(
    frame: pl.DataFrame,
    schema: TableSchema,
    options: ParquetOptions,
    metadata: Mapping[str, str],
    count: int,
) -> EncodedPartition:
    import pyarrow.parquet as pq  # noqa: PLC0415  (import budget)

    require_schema(frame, schema)
    if taken := _RESERVED & metadata.keys():
        raise ValueError(f"footer metadata: {', '.join(sorted(taken))} are reserved names")
    # One chunk: pages end at the borders of chunks, so chunks would show in the bytes.
    table = _to_arrow(frame.rechunk()).combine_chunks()
    schema_digest = schema_sha256(schema)
    digest = hashlib.sha256(_digest_head(schema, schema_digest, count))
    low_cardinality = [column.name for column in schema.columns if column.low_cardinality]
    level = options.compression_level
    if level is None and options.compression == "zstd":
        level = _ZSTD_LEVEL
    # No explicit kwargs type: the stubs lag behind pyarrow's writer options.
    writer_options: dict[str, Any] = {
        "compression": "NONE" if options.compression == "none" else options.compression,
        "compression_level": level,
        "use_dictionary": low_cardinality or False,
        "data_page_size": options.page_size_bytes,
        "write_page_index": True,
        "write_page_checksum": True,
    }
    sinks, writers = [], []
    for part in range(count):
        start, end = frame.height * part // count, frame.height * (part + 1) // count
        sink = io.BytesIO()
        writer = pq.ParquetWriter(sink, table.schema, **writer_options)
        writer.write_table(table.slice(start, end - start), row_group_size=options.row_group_size)
        # All rows are in the sink, the footer is not: hash now, so that it can hold the digest.
        data = sink.getvalue()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
        sinks.append(sink)
        writers.append(writer)
    for part, writer in enumerate(writers):
        pairs = {
            **dict(sorted(metadata.items())),
            "table": schema.name,
            "schema_sha256": schema_digest,
            "parts": str(count),
            "part": str(part),
            "partition_rows": str(frame.height),
            "content_sha256": digest.hexdigest(),
        }
        writer.add_key_value_metadata({_PREFIX + key: value for key, value in pairs.items()})
        writer.close()
    return EncodedPartition(
        tuple(_sealed(sink.getvalue()) for sink in sinks), frame.height, digest.hexdigest()
    )


def _sealed(data: bytes) -> bytes:
    """Put a digest of the footer before it: readers find the footer by its length from the end.

    The digest in the footer covers the encoded rows; so no byte that decides rows is uncovered.
    """
    start = _footer_start(data)
    footer = data[start:]
    return b"".join([data[:start], _SEAL, hashlib.sha256(footer).digest(), footer])


def _require_seal(data: bytes, name: str) -> None:
    """Check that the footer is the one that was written.

    Raises:
        LakeError: it is not, or there is no digest of it.
    """
    start = _footer_start(data)
    seal = start - len(_SEAL) - hashlib.sha256().digest_size
    if seal < 0 or not data.startswith(_SEAL, seal):
        raise LakeError(
            f"{name}: expected a whole Parquet file of this package, got a torn or foreign one "
            "(no digest of its footer); materialise the partition again, or move the object away "
            "if it is not ours"
        )
    found = hashlib.sha256(memoryview(data)[start:]).digest()
    if found != data[seal + len(_SEAL) : start]:
        raise _rotten(name, "footer", data[seal + len(_SEAL) : start].hex(), found.hex())


def _footer_start(data: bytes) -> int:
    """Return where the footer begins; it ends with its length and a magic number, 4 bytes each."""
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def _digest_head(schema: TableSchema, schema_digest: str, parts: int) -> bytes:
    return f"{schema.name}\n{schema_digest}\n{parts}\n".encode()


def _content_bytes(metadata: pq.FileMetaData) -> int:
    """Return where the encoded rows end: behind the columns of the last row group."""
    ends = [_MAGIC_BYTES]
    for group in range(metadata.num_row_groups)[-1:]:
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            start = column.dictionary_page_offset or column.data_page_offset
            ends.append(start + column.total_compressed_size)
    return max(ends)


def _to_arrow(frame: pl.DataFrame) -> pa.Table:
    # oldest(): large_string, which every reader has; the newest level writes string views.
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


@functools.cache
def _arrow_schema(schema: TableSchema) -> pa.Schema:
    return _to_arrow(schema.empty()).schema


def _types(schema: pa.Schema | pl.Schema) -> dict[str, str]:
    if isinstance(schema, pl.Schema):
        return {name: str(dtype) for name, dtype in schema.items()}
    return {field.name: str(field.type) for field in schema}


def _differences(expected: Mapping[str, str], got: Mapping[str, str]) -> list[str]:
    """Say how two schemas (name to type, in order) differ; empty where they do not."""
    problems = [
        f"column {name!r}: expected {dtype}, got {got.get(name, 'no such column')}"
        for name, dtype in expected.items()
        if got.get(name) != dtype
    ]
    problems += [
        f"column {name!r}: expected no such column, got {dtype}"
        for name, dtype in got.items()
        if name not in expected
    ]
    if not problems and list(expected) != list(got):
        problems.append(f"columns: expected the order {list(expected)}, got {list(got)}")
    return problems


def _rotten(name: str, what: str, expected: str, got: str) -> LakeError:
    return LakeError(
        f"{name}: expected a {what} of the digest {expected[:12]}, got {got[:12]}: the object is "
        "damaged, or another program changed it; materialise the partition again"
    )


def _torn(name: str, error: Exception) -> LakeError:
    return LakeError(
        f"{name}: expected a whole Parquet file of this package, got a torn or foreign one "
        f"({type(error).__name__}); materialise the partition again"
    )
