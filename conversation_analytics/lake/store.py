"""The lake: tables of day partitions, each one Parquet object that is replaced whole.

`<table>/year=2026/month=11/day=22/part-000.parquet`, so that DuckDB, pandas and Polars
read the plain files too.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from conversation_analytics.core.errors import LakeError
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.lake.encoding import (
    EncodedPartition,
    Footer,
    ParquetOptions,
    StoredPart,
    encode_partition,
    read_footer,
    require_schema,
    scan_parts,
)
from conversation_analytics.lake.objects import LocalObjects, ObjectStore
from conversation_analytics.lake.s3 import S3Config, S3Objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import polars as pl

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.objects import ObjectInfo

PartitionBy = Literal["day", "date"]

_logger = logging.getLogger("conversation_analytics.lake")
_FOLDERS: dict[PartitionBy, str] = {
    "day": "year=%Y/month=%m/day=%d",
    "date": "date=%Y-%m-%d",
}
_PARTITION_PATH = re.compile(
    r"(?:(?P<day>year=\d{4}/month=\d\d/day=\d\d)/|(?P<date>date=\d{4}-\d\d-\d\d)/)?"
    r"part-(?P<part>\d{3})(?:-(?P<digest>[0-9a-f]{16}))?\.parquet"
)
_REPORTS = "reports"
_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
_TAIL_BYTES = 65_536  # holds the footer of all but huge objects


class _MixedGenerationsError(Exception):
    """A part is not there any more, or not yet: a writer is at it."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What was stored of a partition when a run began with it.

    Attributes:
        version: of the partition's first object; None where there was none.
    """

    version: str | None


@dataclass(frozen=True, slots=True)
class WrittenPartition:
    """What a write left in the lake.

    Attributes:
        rows: rows of the partition.
        size_bytes: encoded size of all its objects.
        sha256: digest of table, schema and encoded rows; same rows, same digest, as long
            as the Parquet options and the pyarrow version stay the same.
        parts: objects of the partition, nearly always 1.
        path: of the first object, below the lake's root.
        changed: False where the lake held exactly these bytes already and was not touched.
    """

    rows: int
    size_bytes: int
    sha256: str
    parts: int
    path: str
    changed: bool


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """What the footer of a stored partition says.

    Attributes:
        rows: rows of the partition.
        parts: objects of the partition.
        sha256: digest as written.
        inputs: what it was made of, as given to `write`.
    """

    rows: int
    parts: int
    sha256: str
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Lake:
    """Parquet tables in an object store.

    A partition key is the ISO date of a day, or None for a table without partitions.
    A partition of one object (the rule) is replaced atomically for every reader. In one of
    several objects the first names the others by the partition's digest, so that replacing
    the first replaces all: for this class. A plain glob may meet the objects of two
    generations while a writer is at it, or where one died, until the next write.

    Attributes:
        objects: where the objects are.
        options: how they are encoded.
        partition_by: `day` for year=/month=/day= folders, `date` for date=YYYY-MM-DD.
        sleep: waits the given seconds between two looks at a partition being written.
    """

    objects: ObjectStore
    options: ParquetOptions = field(default_factory=ParquetOptions)
    partition_by: PartitionBy = "day"
    sleep: Callable[[float], None] = time.sleep

    def begin(self, schema: TableSchema, key: str | None) -> Generation:
        """Return what `write` must still find: call it before reading what the rows come from.

        Raises:
            LakeError: the key is no date, or the storage refuses.
            LakeUnavailableError: the storage does not answer.
        """
        return Generation(self.objects.version(_part_path(self._folder(schema, key), 0)))

    def write(
        self,
        schema: TableSchema,
        key: str | None,
        frame: pl.DataFrame,
        since: Generation | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> WrittenPartition:
        """Replace one partition by `frame`, sorted by the schema's order.

        Args:
            schema: the table.
            key: the partition.
            frame: its rows.
            since: what `begin` gave; None begins here.
            inputs: digests of what the rows were made of, by name; kept in the footer.

        Raises:
            PartitionReplacedError: another writer has replaced the partition since.
            LakeError: the frame is not of the schema, the key is no date, or the storage
                refuses; the old partition is untouched.
            LakeUnavailableError: the storage does not answer.
        """
        since = since or self.begin(schema, key)
        return self.write_encoded(schema, key, self.encode(schema, key, frame, inputs), since)

    def encode(
        self,
        schema: TableSchema,
        key: str | None,
        frame: pl.DataFrame,
        inputs: Mapping[str, str] | None = None,
    ) -> EncodedPartition:
        """Return the objects that `write` stores of `frame`, with their digest; nothing is stored.

        Args:
            schema: the table.
            key: the partition.
            frame: its rows, in any order.
            inputs: digests of what the rows were made of, by name; kept in the footer.

        Raises:
            LakeError: the frame is not of the schema.
        """
        require_schema(frame, schema)
        return encode_partition(
            schema.conform(frame),
            schema,
            self.options,
            {"partition": key or ""}
            | ({"inputs": json.dumps(dict(inputs), sort_keys=True)} if inputs else {}),
        )

    def write_encoded(
        self, schema: TableSchema, key: str | None, encoded: EncodedPartition, since: Generation
    ) -> WrittenPartition:
        """Replace one partition by what `encode` made of its rows.

        Objects that hold the right bytes already are left alone. Equality is decided on
        the bytes themselves (read only where the sizes agree): that is one cheap read, it
        also mends an object that has rotted, and unlike a digest in object metadata it
        survives copies by other tools and works alike on disk and S3.

        Args:
            schema: the table.
            key: the partition.
            encoded: of the same table and partition.
            since: what `begin` gave.

        Raises:
            PartitionReplacedError: another writer has replaced the partition since.
            LakeError: the key is no date, or the storage refuses; the old partition is untouched.
            LakeUnavailableError: the storage does not answer.
        """
        folder = self._folder(schema, key)
        changed = self._replace(folder, encoded, since)
        written = WrittenPartition(
            rows=encoded.rows,
            size_bytes=encoded.size_bytes,
            sha256=encoded.sha256,
            parts=len(encoded.parts),
            path=_part_path(folder, 0),
            changed=changed,
        )
        _logger.info(
            "lake_write table=%s partition=%s rows=%d bytes=%d parts=%d changed=%s",
            schema.name, key, written.rows, written.size_bytes, written.parts, changed,
        )  # fmt: skip
        return written

    def digest(self, schema: TableSchema, frame: pl.DataFrame) -> str:
        """Return the digest that a partition of these rows has once `write` has stored it.

        Raises:
            LakeError: the frame is not of the schema.
        """
        require_schema(frame, schema)
        return encode_partition(schema.conform(frame), schema, self.options, {}).sha256

    def read(self, schema: TableSchema, key: str | None) -> pl.DataFrame:
        """Return one partition, exactly of the schema and in its row order.

        Raises:
            LakeError: the partition is missing, torn, or not of the schema.
            LakeUnavailableError: the storage does not answer.
        """
        return self.read_with_info(schema, key)[0]

    def read_with_info(
        self, schema: TableSchema, key: str | None
    ) -> tuple[pl.DataFrame, PartitionInfo]:
        """Return one partition as `read` does, and what the footer of just these rows says."""
        rows, info = self.scan(schema, key)
        return rows.collect(), info

    def scan(self, schema: TableSchema, key: str | None) -> tuple[pl.LazyFrame, PartitionInfo]:
        """Return one partition as a plan, and what the footer of just these rows says.

        The objects are read and verified whole here, and decoded as far as the plan needs it.

        Raises:
            LakeError: as `read`.
            LakeUnavailableError: as `read`.
        """
        mixed = None
        for pause_s in (0.0, *_PAUSES_S):
            self.sleep(pause_s)
            try:
                return self._scan_once(schema, key)
            except _MixedGenerationsError as error:  # as while a writer is at it
                mixed = error
        raise _incomplete(
            self._folder(schema, key), "all parts of one write", str(mixed)
        ) from mixed

    def remove(self, schema: TableSchema, key: str | None) -> int:
        """Remove a partition with all its objects, leftovers too; return their bytes.

        The first object goes first: from then on the partition is missing, and who writes what
        was made of it begins again.

        Raises:
            LakeError: the key is no date, or the storage refuses.
            LakeUnavailableError: the storage does not answer.
        """
        found = self._objects_of(schema, key)
        for info in found:
            self.objects.delete(info.path)
        return sum(info.size for info in found)

    def tidy(self, schema: TableSchema, key: str | None) -> None:
        """Remove the objects that other generations of a partition left in its folder.

        Raises:
            LakeError: the partition is missing or torn, or the storage refuses.
            LakeUnavailableError: the storage does not answer.
        """
        found = self._objects_of(schema, key)
        if len(found) <= 1:
            return
        path = _part_path(self._folder(schema, key), 0)
        version = self.objects.version(path)
        stat = self.stat(schema, key)
        own = {_part_path(self._folder(schema, key), n, stat.sha256) for n in range(stat.parts)}
        leftovers = [info.path for info in found if info.path not in own]
        if leftovers and version is not None:
            self.objects.delete_while(leftovers, path, version)

    def size_bytes(self, schema: TableSchema, key: str | None) -> int:
        """Return the bytes of all objects of a partition, leftovers too; errors as `remove`."""
        return sum(info.size for info in self._objects_of(schema, key))

    def exists(self, schema: TableSchema, key: str | None) -> bool:
        """Say whether the partition has been written."""
        return self.objects.size(_part_path(self._folder(schema, key), 0)) is not None

    def stat(self, schema: TableSchema, key: str | None) -> PartitionInfo:
        """Return what the partition's footer says, without reading its rows.

        Raises:
            LakeError: the partition is missing, torn, or not of the schema.
            LakeUnavailableError: the storage does not answer.
        """
        path = _part_path(self._folder(schema, key), 0)
        data = self.objects.tail(path, _TAIL_BYTES)
        if data is None:
            raise self._missing(schema, key)
        footer_size = int.from_bytes(data[-8:-4], "little") + 8
        if len(data) == _TAIL_BYTES < footer_size:
            data = self.objects.get(path)
            if data is None:
                raise self._missing(schema, key)
        footer = read_footer(data, schema, path)
        self._require_place(footer, key, 0, path)
        return _info(footer)

    def row_count(self, schema: TableSchema, key: str | None) -> int:
        """Return the partition's rows from the footer; errors are those of `stat`."""
        return self.stat(schema, key).rows

    def keys(self, schema: TableSchema) -> list[str]:
        """Return the days present, ascending.

        Raises:
            LakeError: the table has partitions in the other folder layout as well, which
                any reader of the plain files would count twice.
        """
        return sorted(key for key in self.parts(schema) if key is not None)

    def scan_paths(
        self, schema: TableSchema, keys: Iterable[str | None] | None = None
    ) -> list[str]:
        """Return the objects of partitions for DuckDB's or Polars' scans, in row order.

        Args:
            schema: the table.
            keys: the partitions wanted; None is all there are.

        Returns:
            Absolute file paths or s3:// URIs, leftovers of larger versions not among them.

        Raises:
            LakeError: a partition asked for is missing or lacks a part.
        """
        present = self.parts(schema)
        if keys is None:
            keys = sorted(present, key=lambda key: key or "")
        paths: list[str] = []
        for key in keys:
            if key not in present:
                raise self._missing(schema, key)
            folder = self._folder(schema, key)
            wanted = [_part_path(folder, 0)]
            if len(present[key]) > 1:
                stat = self.stat(schema, key)
                wanted = [_part_path(folder, part, stat.sha256) for part in range(stat.parts)]
            if missing := [path for path in wanted if path not in present[key]]:
                raise _incomplete(folder, f"{len(wanted)} parts", f"no {', '.join(missing)}")
            paths += map(self.objects.uri, wanted)
        return paths

    def put_report(self, path: str, data: bytes) -> str:
        """Store a rendered report under `reports/<path>`; return where other tools find it.

        An identical report is left alone.
        """
        full = f"{_REPORTS}/{path}"
        self._publish(full, data, self.objects.size(full))
        return self.objects.uri(full)

    def put_first_report(self, path: str, data: bytes) -> None:
        """Store a report under `reports/<path>` unless there is one already."""
        if not self.has_report(path):
            with contextlib.suppress(PartitionReplacedError):  # another writer was the first
                self.objects.swap(f"{_REPORTS}/{path}", data, None)

    def get_report(self, path: str) -> bytes:
        """Return the report stored under `reports/<path>`.

        Raises:
            LakeError: there is none.
        """
        data = self.objects.get(f"{_REPORTS}/{path}")
        if data is None:
            raise LakeError(
                f"{self.objects.uri(f'{_REPORTS}/{path}')}: expected a report, got no such object; "
                "materialise the report's asset for that partition"
            )
        return data

    def has_report(self, path: str) -> bool:
        """Say whether there is a report under `reports/<path>`."""
        return self.objects.size(f"{_REPORTS}/{path}") is not None

    def reports(self) -> list[str]:
        """Return the paths of all reports, as `get_report` takes them."""
        return [info.path.removeprefix(f"{_REPORTS}/") for info in self.objects.list(_REPORTS)]

    def describe(self) -> dict[str, str]:
        """Return place, layout and encoding for the operator, no credentials."""
        return {
            **self.objects.describe(),
            "partition_by": self.partition_by,
            "compression": self.options.compression,
            "row_group_size": str(self.options.row_group_size),
        }

    def _objects_of(self, schema: TableSchema, key: str | None) -> list[ObjectInfo]:
        folder = self._folder(schema, key)
        return [
            info
            for info in self.objects.list(folder)
            if info.path.rpartition("/")[0] == folder
            and _PARTITION_PATH.fullmatch(info.path.removeprefix(f"{folder}/"))
        ]

    def _replace(self, folder: str, encoded: EncodedPartition, since: Generation) -> bool:
        """Make the folder hold exactly `encoded`; say if anything had to be done."""
        paths = [_part_path(folder, part, encoded.sha256) for part in range(len(encoded.parts))]
        others = list(zip(paths[1:], encoded.parts[1:], strict=True))
        sizes = {info.path: info.size for info in self.objects.list(folder)}
        obsolete = [
            path
            for path in sorted(sizes.keys() - set(paths))
            if _PARTITION_PATH.fullmatch(path.removeprefix(f"{folder}/"))
            and path.rpartition("/")[0] == folder
        ]
        changed = False
        for path, data in others:
            changed |= self._publish(path, data, sizes.get(path))
        # Before looking at the content: nobody tidies up after a writer that came later.
        version = self.objects.version(paths[0]) if obsolete else None
        # The first part decides: it goes last, and only over what was there at the beginning.
        if not self._holds(paths[0], encoded.parts[0], sizes.get(paths[0])):
            version = self.objects.swap(paths[0], encoded.parts[0], since.version)
            changed = True
            for path, data in others:
                # Gone only if the writer before was still tidying up when this one came.
                self._publish(path, data, self.objects.size(path))
        if obsolete and version is not None:
            self.objects.delete_while(obsolete, paths[0], version)
            changed = True
        return changed

    def _publish(self, path: str, data: bytes, size: int | None) -> bool:
        """Put `data` unless the object of `size` bytes holds it already; say if it was put."""
        if self._holds(path, data, size):
            return False
        self.objects.put(path, data)
        return True

    def _holds(self, path: str, data: bytes, size: int | None) -> bool:
        return size == len(data) and self.objects.get(path) == data

    def _scan_once(
        self, schema: TableSchema, key: str | None
    ) -> tuple[pl.LazyFrame, PartitionInfo]:
        folder = self._folder(schema, key)
        path = _part_path(folder, 0)
        data = self.objects.get(path)
        if data is None:
            raise self._missing(schema, key)
        first = read_footer(data, schema, path)
        self._require_place(first, key, 0, path)
        parts, rows = [StoredPart(path, data, first)], first.rows
        for part in range(1, first.parts):
            path = _part_path(folder, part, first.sha256)
            data = self.objects.get(path)
            if data is None:
                raise _MixedGenerationsError(f"{path} is missing")
            footer = read_footer(data, schema, path)
            self._require_place(footer, key, part, path)
            if footer.sha256 != first.sha256:
                raise _incomplete(folder, "all parts of one write", f"{path} of another")
            parts.append(StoredPart(path, data, footer))
            rows += footer.rows
        if rows != first.partition_rows:
            raise _incomplete(folder, f"{first.partition_rows} rows", f"{rows} rows")
        return scan_parts(parts, schema), _info(first)

    def _require_place(self, footer: Footer, key: str | None, part: int, path: str) -> None:
        found = (footer.metadata.get("partition"), footer.part)
        if found != (key or "", part):
            raise LakeError(
                f"{path}: expected partition {key}, part {part}, got partition {found[0]}, part "
                f"{found[1]}: the object was copied here; materialise the partition again"
            )

    def parts(self, schema: TableSchema) -> dict[str | None, set[str]]:
        """Return the objects of each partition that has its first part.

        Raises:
            LakeError: the table has partitions in the other folder layout as well.
            LakeUnavailableError: the storage does not answer.
        """
        _require_table(schema)
        found: dict[str | None, set[str]] = {}
        for info in self.objects.list(schema.name):
            match = _PARTITION_PATH.fullmatch(info.path.removeprefix(f"{schema.name}/"))
            if match is None:
                continue
            folders = match.groupdict()
            other: PartitionBy = "date" if self.partition_by == "day" else "day"
            if folders[other]:
                raise LakeError(
                    f"{info.path}: expected partitions by {self.partition_by}, got one by {other}; "
                    f"set PARQUET_PARTITION_BY={other}, or move the old folders away"
                )
            digits = re.findall(r"\d+", folders[self.partition_by] or "")
            found.setdefault("-".join(digits) or None, set()).add(info.path)
        return {
            key: paths
            for key, paths in found.items()
            if _part_path(self._folder(schema, key), 0) in paths
        }

    def _folder(self, schema: TableSchema, key: str | None) -> str:
        _require_table(schema)
        if key is None:
            return schema.name
        try:
            day = dt.date.fromisoformat(key)
        except ValueError:
            day = None
        if day is None or day.isoformat() != key:
            raise LakeError(
                f"{schema.name}: partition key: expected YYYY-MM-DD, got {key!r}; "
                "pass the key of a day partition, or None for a table without partitions"
            )
        # Not strftime: it leaves years before 1000 without their zeros.
        folder = _FOLDERS[self.partition_by]
        for name, text in zip(("%Y", "%m", "%d"), key.split("-"), strict=True):
            folder = folder.replace(name, text)
        return f"{schema.name}/{folder}"

    def _missing(self, schema: TableSchema, key: str | None) -> LakeError:
        where = self.objects.uri(_part_path(self._folder(schema, key), 0))
        partition = f"partition {key}" if key else "the table without partitions"
        of_it = f" for partition {key}" if key else ""
        return LakeError(
            f"{schema.name}, {partition}: expected {where}, got no such object; "
            f"materialise asset {schema.name}{of_it} first"
        )


def open_lake(
    base_dir: Path,
    s3: S3Config | None = None,
    options: ParquetOptions | None = None,
    partition_by: PartitionBy = "day",
) -> Lake:
    """Return the lake in the bucket `s3`, or in the folder `base_dir` where that is None."""
    objects: ObjectStore = LocalObjects(base_dir) if s3 is None else S3Objects(s3)
    return Lake(objects, options or ParquetOptions(), partition_by)


def _info(footer: Footer) -> PartitionInfo:
    inputs: dict[str, str] = json.loads(footer.metadata.get("inputs", "{}"))
    return PartitionInfo(footer.partition_rows, footer.parts, footer.sha256, inputs)


def _part_path(folder: str, part: int, digest: str = "") -> str:
    """Return the path of a part: the first has a fixed name, the others that of their write."""
    return f"{folder}/part-{part:03d}{f'-{digest[:16]}' if part else ''}.parquet"


def _require_table(schema: TableSchema) -> None:
    if schema.name == _REPORTS or "/" in schema.name:
        raise LakeError(f"table name {schema.name!r}: expected a plain name other than 'reports'")


def _incomplete(folder: str, expected: str, got: str) -> LakeError:
    return LakeError(
        f"{folder}: expected {expected}, got {got}; a writer is still at it or died at it: "
        "read again when it is done, or materialise the partition again"
    )
