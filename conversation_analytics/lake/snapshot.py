"""The lake's current objects as read-only files, for engines that read ranges.

DuckDB opens a file several times and reads it in pieces. Pieces of two versions would be
silently wrong rows, so every piece comes with the object's version, and another version than
the first one seen ends the query. What is opened is of the pinned schema, of its own
partition, and of the generation that the partition's first object names, or is refused.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

from conversation_analytics.core.errors import AnalyticsError, LakeError, LakeUnavailableError
from conversation_analytics.core.tables import TABLES
from conversation_analytics.lake.encoding import encode, read_footer
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.s3 import S3Objects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.objects import ObjectStore
    from conversation_analytics.lake.store import Lake

PROTOCOL: Final = "lake"
_OBJECT = re.compile(
    r"/(?:year=(\d{4})/month=(\d\d)/day=(\d\d)/|date=(\d{4})-(\d\d)-(\d\d)/)?"
    r"part-(\d{3})(?:-([0-9a-f]{16}))?\.parquet"
)
_TAIL_BYTES: Final = 32_768  # holds the footer of a day, and all of a small day
_TAILS_KEPT: Final = 256
_TRAILER: Final = 8  # length of the footer and magic at the end of a Parquet file
NO_DAY: Final = "-"
_PREFIX: Final = "conversation_analytics."
_NEEDED: Final = frozenset({"table", "schema_sha256", "part", "parts", "content_sha256"})


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bytes of an object, the object's whole size, and its version."""

    data: bytes
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class _Member:
    """One object of a partition: where it is and what its footer must say."""

    schema: TableSchema
    path: str
    key: str | None
    part: int
    parts: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class _Known:
    """Size and version of an object that has been opened and found right."""

    size: int
    version: str


class Snapshot:
    """The objects of each table as they are when the table is first asked for.

    Files are named `/<table>/<day>/<part>.parquet`, `-` for the day of a table without
    partitions. A table is listed once; an object is looked at when it is opened. Safe to use
    from several threads.

    Attributes:
        failure: the error that the last failed call raised, for callers to which it came
            through another library.
    """

    def __init__(self, lake: Lake) -> None:
        self.failure: Exception | None = None
        self._lake = lake
        self._root = lake.describe()["root"].rstrip("/")
        self._schemas = {schema.name: schema for schema in TABLES}
        self._listing = threading.Lock()
        self._tables: dict[str, Mapping[str, _Member]] = {}
        self._memory: dict[str, bytes] = {}
        self._opening = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._tails: dict[str, bytes] = {}
        self._readable: set[tuple[str, str, str]] = set()

    def names(self, table: str) -> list[str]:
        """Return the files of a table in row order; one without rows where it has none.

        Raises:
            LakeError: no such table, or what is stored of it contradicts itself.
            LakeUnavailableError: the storage does not answer.
        """
        return list(self._members(table)) or [self._empty(table)]

    def size(self, name: str) -> int:
        """Return the bytes of a file; errors are those of `read`."""
        return len(self._memory[name]) if name in self._memory else self._open(name).size

    def read(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of a file from `start`, fewer at its end.

        Raises:
            FileNotFoundError: no such file.
            LakeError: the object is torn, or not what its place says.
            LakeUnavailableError: it was replaced since it was opened, or the storage does not
                answer.
        """
        if name in self._memory:
            return self._memory[name][start : start + size]
        known = self._open(name)
        size = min(size, known.size - start)
        if size <= 0:
            return b""
        tail = self._tails.get(name)
        if tail is not None and start >= known.size - len(tail):
            offset = start - (known.size - len(tail))
            return tail[offset : offset + size]
        path = self._member(name).path
        piece = _read(self._lake.objects, path, start, size)
        if piece is None or (piece.size, piece.version) != (known.size, known.version):
            raise self._replaced(path)
        return piece.data

    def _members(self, table: str) -> Mapping[str, _Member]:
        with self._listing:
            if table not in self._tables:
                self._tables[table] = self._list(self._schema(table))
            return self._tables[table]

    def _list(self, schema: TableSchema) -> Mapping[str, _Member]:
        partitions: dict[str | None, list[tuple[str, str | None]]] = {}
        for uri in self._lake.scan_paths(schema):
            path = uri.removeprefix(f"{self._root}/")
            found = _OBJECT.fullmatch(path.removeprefix(schema.name))
            if found is None:
                raise LakeError(f"{uri}: expected an object of {schema.name} below {self._root}")
            *dates, _, digest = found.groups()
            key = "-".join(filter(None, dates)) or None
            partitions.setdefault(key, []).append((path, digest))
        return {
            f"/{schema.name}/{key or NO_DAY}/{part:03d}.parquet": _Member(
                schema, path, key, part, len(objects), objects[-1][1]
            )
            for key, objects in partitions.items()
            for part, (path, _) in enumerate(objects)
        }

    def _empty(self, table: str) -> str:
        name = f"/{table}/{NO_DAY}/none.parquet"
        if name not in self._memory:
            schema = self._schema(table)
            self._memory[name] = encode(schema.empty(), schema, self._lake.options, {})
        return name

    def _schema(self, table: str) -> TableSchema:
        if table not in self._schemas:
            raise FileNotFoundError(f"no table {table!r} in the lake")
        return self._schemas[table]

    def _member(self, name: str) -> _Member:
        table = name.lstrip("/").partition("/")[0]
        member = self._members(table).get(name) if table in self._schemas else None
        if member is None:
            raise FileNotFoundError(f"no file {name!r} in the lake")
        return member

    def _open(self, name: str) -> _Known:
        known = self._known.get(name)
        if known is not None and (name in self._tails or known.size > _TAIL_BYTES):
            return known
        member = self._member(name)
        piece = _read(self._lake.objects, member.path, None, _TAIL_BYTES)
        if piece is None or (known and (piece.size, piece.version) != (known.size, known.version)):
            raise self._replaced(member.path)
        if known is None:
            self._require_right(member, self._footer(member, piece))
            known = _Known(piece.size, piece.version)
        with self._opening:
            self._known[name] = known
            self._tails[name] = piece.data
            while len(self._tails) > _TAILS_KEPT:
                del self._tails[next(iter(self._tails))]
        return known

    def _footer(self, member: _Member, tail: _Piece) -> bytes:
        """Return the end of the object with its whole footer in it."""
        needed = int.from_bytes(tail.data[-_TRAILER:-4], "little") + _TRAILER
        if needed <= len(tail.data) or len(tail.data) == tail.size or needed > tail.size:
            return tail.data
        whole = _read(self._lake.objects, member.path, None, needed)
        if whole is None or (whole.size, whole.version) != (tail.size, tail.version):
            raise self._replaced(member.path)
        return whole.data

    def _require_right(self, member: _Member, data: bytes) -> None:
        """Check the footer in the end of an object against the object's place.

        Columns and types are compared once per digest of them: that takes ten times as long as
        all the rest.
        """
        schema = member.schema
        pairs = _footer_pairs(data, schema, member.path)
        columns = (schema.name, pairs["table"], pairs["schema_sha256"])
        if columns not in self._readable:
            read_footer(data, schema, member.path)
            self._readable.add(columns)
        partition, part = pairs.get("partition"), int(pairs["part"])
        if (partition, part) != (member.key or "", member.part):
            raise LakeError(
                f"{member.path}: expected partition {member.key}, part {member.part}, got "
                f"partition {partition}, part {part}: the object was copied here; materialise "
                "the partition again"
            )
        of_one_write = member.digest is None or pairs["content_sha256"].startswith(member.digest)
        if int(pairs["parts"]) != member.parts or not of_one_write:
            raise self._replaced(member.path)

    def _replaced(self, path: str) -> LakeUnavailableError:
        return LakeUnavailableError(
            f"{self._lake.objects.uri(path)}: expected the object that was there when the query "
            "began, got another or none: a run has replaced the partition; run the query again"
        )


class SnapshotFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A snapshot as DuckDB asks for files; whatever would write is refused."""

    protocol = PROTOCOL
    cachable = False

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._snapshot = snapshot
        self._live = False

    def go_live(self) -> None:
        """From here on `glob` asks the lake; before, a view is made without a look at it."""
        self._live = True

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the files of the table in `lake://<table>/*.parquet`.

        Raises:
            FileNotFoundError: the path is any other.
        """
        with self._failure_kept():
            found = re.fullmatch(r"(?:lake://)?/?([a-z_]+)/\*\.parquet", path)
            if found is None:
                raise FileNotFoundError(f"no files {path!r} in the lake")
            if not self._live:
                return [f"/{found[1]}/{NO_DAY}/none.parquet"]
            return self._snapshot.names(found[1])

    def open(self, path: str, mode: str = "rb", **_: Any) -> _Reader:
        """Return a file to read.

        Raises:
            PermissionError: it is to be written.
        """
        if mode != "rb":
            with self._failure_kept():
                raise PermissionError("the lake is read only here")
        return _Reader(self, self._strip(path))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, type and size in bytes."""
        name = self._strip(path)
        with self._failure_kept():
            return {"name": name, "type": "file", "size": self._snapshot.size(name)}

    def isfile(self, _path: str) -> bool:
        """Say no: DuckDB asks only about what it would write."""
        return False

    def isdir(self, _path: str) -> bool:
        """Say no: there are no folders."""
        return False

    def modified(self, _path: str) -> dt.datetime:
        """Return the same time for all: what is read of a file is always of one version."""
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

    def piece(self, name: str, start: int, size: int) -> bytes:
        """Return bytes of a file, as `Snapshot.read` does."""
        with self._failure_kept():
            return self._snapshot.read(name, start, size)

    def _strip(self, path: str) -> str:
        return "/" + path.removeprefix(f"{PROTOCOL}://").lstrip("/")

    def _failure_kept(self) -> _FailureKept:
        return _FailureKept(self._snapshot)


class _FailureKept:
    """Keeps the error of the block: DuckDB hands on no more than its text."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception):
            self._snapshot.failure = error


class _Reader:
    """One open file, used by one thread at a time."""

    def __init__(self, files: SnapshotFiles, name: str) -> None:
        self._files = files
        self._name = name
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position: from the start, from here, or from the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        if base is None:
            base = self._files.info(self._name)["size"]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        data = self._files.piece(self._name, self._position, size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Do nothing: nothing is held open."""


def _footer_pairs(data: bytes, schema: TableSchema, name: str) -> Mapping[str, str]:
    """Return this package's pairs of names and values in a footer, none of them missing."""
    import pyarrow as pa  # noqa: PLC0415  (import budget)
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            stored = file.metadata.metadata or {}
    except (pa.ArrowException, OSError, ValueError):
        stored = {}
    pairs = {
        key.decode().removeprefix(_PREFIX): value.decode()
        for key, value in stored.items()
        if key.startswith(_PREFIX.encode())
    }
    if not pairs.keys() >= _NEEDED:
        read_footer(data, schema, name)  # says what is wrong
        raise LakeError(f"{name}: its footer lacks a name; materialise the partition again")
    return pairs


def _read(objects: ObjectStore, path: str, start: int | None, size: int) -> _Piece | None:
    """Return `size` bytes from `start` (None: the last `size`); None where there is no object."""
    if isinstance(objects, LocalObjects):
        return _read_local(Path(objects.uri(path)), start, size)
    if isinstance(objects, S3Objects):
        return _read_s3(objects, path, start, size)
    raise LakeError(f"SQL over {type(objects).__name__}: expected a lake on local disk or S3")


def _read_local(file: Path, start: int | None, size: int) -> _Piece | None:
    try:
        handle = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(file, error) from error
    try:
        found = os.fstat(handle)
        at = max(0, found.st_size - size) if start is None else start
        data = b""
        while len(data) < size and (more := os.pread(handle, size - len(data), at + len(data))):
            data = data + more if data else more
    except OSError as error:
        raise _unreadable(file, error) from error
    finally:
        os.close(handle)
    version = f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"
    return _Piece(data, found.st_size, version)


def _unreadable(file: Path, error: OSError) -> AnalyticsError:
    text = f"cannot read {file}: {error.strerror}"
    if isinstance(error, PermissionError):
        return LakeError(f"{text}; give this user access to PARQUET_BASE_DIR")
    return LakeUnavailableError(f"{text}; check the disk of PARQUET_BASE_DIR")


def _read_s3(objects: S3Objects, path: str, start: int | None, size: int) -> _Piece | None:
    # The one reader of ranges beside whole objects: it shares connection, retries and sentences.
    with objects._errors("read", path):  # noqa: SLF001 - a sibling in this package
        try:
            found = objects._store.get(  # noqa: SLF001
                path,
                options={"range": {"suffix": size} if start is None else (start, start + size)},
            )
            data = found.bytes().to_bytes()
        except FileNotFoundError:
            return None
    return _Piece(data, found.meta["size"], found.meta["e_tag"] or "")
