"""Which raw partitions hold rows of a user or of a conversation, without reading them.

Beside each raw partition stands an object of eight bytes for each of its users and conversations:
`index/raw_messages/2026-11-22.bin`, the first eight of SHA-256, sorted. It is written before the
partition and only added to, so that it never lacks one; an erasure takes its user out. That two
people share eight bytes happens once in 10^13 partitions, and costs a read in vain.
"""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.errors import LakeError
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.schemas import (
    RAW_CONVERSATIONS,
    RAW_FEEDBACKS,
    RAW_MESSAGES,
    RAW_UNDATED_CONVERSATIONS,
    RAW_UNDATED_FEEDBACKS,
    RAW_UNDATED_MESSAGES,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import polars as pl

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.store import Lake

INDEXED: Final = (
    RAW_CONVERSATIONS, RAW_MESSAGES, RAW_FEEDBACKS,
    RAW_UNDATED_CONVERSATIONS, RAW_UNDATED_MESSAGES, RAW_UNDATED_FEEDBACKS,
)  # fmt: skip
_BY_NAME: Final = {table.name: table for table in INDEXED}
_FOLDER: Final = "index"
_UNDATED: Final = "undated"
_MARK: Final = 8  # bytes
_READS_AT_ONCE: Final = 16
_TRIES: Final = 50

Place = tuple["TableSchema", "str | None"]
"""A raw table and a key of its partitions."""


def user_mark(user_id: str) -> bytes:
    """Return what stands for a user in the index."""
    return _mark("user", user_id)


def conversation_mark(conversation_id: str) -> bytes:
    """Return what stands for a conversation in the index."""
    return _mark("conversation", conversation_id)


def _mark(what: str, text: str) -> bytes:
    return hashlib.sha256(f"{what}\0{text}".encode("utf-8", "surrogatepass")).digest()[:_MARK]


def add_to_index(lake: Lake, schema: TableSchema, key: str | None, owners: pl.DataFrame) -> None:
    """Note whose rows a raw partition will hold: call it before the partition is written.

    Args:
        lake: the lake.
        schema: one of `INDEXED`.
        key: of the partition.
        owners: of `suppression.row_owners`.

    Raises:
        LakeError: the storage refuses, or what is there is no index.
        LakeUnavailableError: the storage does not answer.
    """
    users = owners["users"].explode(empty_as_null=False).unique()
    marks = {user_mark(one) for one in users}
    marks |= {conversation_mark(one) for one in owners["conversation"].drop_nulls().unique()}
    _swap(lake, _path(schema, key), lambda held: held | marks, begin=True)


def take_from_index(
    lake: Lake, schema: TableSchema, key: str | None, marks: Iterable[bytes]
) -> None:
    """Take users and conversations out; errors are those of `add_to_index`."""
    gone = frozenset(marks)
    _swap(lake, _path(schema, key), lambda held: held - gone, begin=False)


def places_of(
    lake: Lake, marks: Iterable[bytes], among: Iterable[Place] | None = None
) -> list[Place]:
    """Return the raw partitions that may hold rows of any of these, undated ones first.

    Args:
        lake: the lake.
        marks: of users and conversations.
        among: raw partitions to look at, one without an index may hold any row; None: all that
            have an index.

    Raises:
        LakeError: an object of the index is none.
        LakeUnavailableError: the storage does not answer.
    """
    wanted = frozenset(marks)
    indexed = [info.path for info in lake.objects.list(_FOLDER)]
    listed = None if among is None else [_path(*place) for place in among]
    paths = indexed if listed is None else sorted(set(listed).intersection(indexed))
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        held = pool.map(lambda path: _held(lake, path), paths)
        found = [path for path, marks_held in zip(paths, held, strict=True) if marks_held & wanted]
    found += sorted(set(listed or ()).difference(indexed))
    places = [place for path in found if (place := _place(path)) is not None]
    return sorted(places, key=lambda place: (place[1] or "", place[0].name))


def not_indexed(lake: Lake) -> list[Place]:
    """Return the raw partitions without an index: written before there was one."""
    indexed = {info.path for info in lake.objects.list(_FOLDER)}
    undated = [one for one in INDEXED if "undated" in one.name]
    places: list[Place] = [(one, None) for one in undated if lake.exists(one, None)]
    places += [(one, key) for one in INDEXED if one not in undated for key in lake.keys(one)]
    return [place for place in places if _path(*place) not in indexed]


def holding_places(lake: Lake, paths: Iterable[str]) -> list[Place]:
    """Return the raw partitions to which objects of the lake belong, each once.

    Args:
        lake: the lake.
        paths: of objects, below the lake's root; of other tables, too.

    Raises:
        LakeError: a raw table has partitions in the other folder layout.
        LakeUnavailableError: the storage does not answer.
    """
    wanted = frozenset(paths)
    return [
        (schema, key)
        for name, schema in _BY_NAME.items()
        if any(path.startswith(f"{name}/") for path in wanted)
        for key, parts in lake.parts(schema).items()
        if parts & wanted
    ]


def _swap(
    lake: Lake,
    path: str,
    change: Callable[[frozenset[bytes]], frozenset[bytes]],
    *,
    begin: bool,
) -> None:
    tries = 0
    while True:
        version = lake.objects.version(path)
        if version is None and not begin:
            return
        held = _held(lake, path)
        wanted = change(held)
        if wanted == held and version is not None:
            return
        try:
            lake.objects.swap(path, b"".join(sorted(wanted)), version)
        except PartitionReplacedError:
            tries += 1
            if tries == _TRIES:
                raise
            time.sleep(0.01 * tries)
        else:
            return


def _held(lake: Lake, path: str) -> frozenset[bytes]:
    data = lake.objects.get(path) or b""
    if len(data) % _MARK:
        raise LakeError(
            f"{lake.objects.uri(path)}: expected eight bytes for each user and conversation, got "
            f"{len(data)} bytes; delete this object: the next erasure makes it again"
        )
    return frozenset(data[at : at + _MARK] for at in range(0, len(data), _MARK))


def _path(schema: TableSchema, key: str | None) -> str:
    return f"{_FOLDER}/{schema.name}/{key or _UNDATED}.bin"


def _place(path: str) -> Place | None:
    _, name, file = path.split("/")
    key = file.removesuffix(".bin")
    return None if name not in _BY_NAME else (_BY_NAME[name], None if key == _UNDATED else key)
