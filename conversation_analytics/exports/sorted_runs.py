"""Records in order, of which only so many are held in memory; the others wait on disk."""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from conversation_analytics.lake.temporary_folders import EXPORT, TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

MEMORY_BYTES: Final = 64 << 20
"""Records that are sorted in memory, with what Python needs around them."""
_FAN_IN: Final = 64
"""Runs that are merged at one time: each takes a file and a block of memory."""
_BLOCK_BYTES: Final = 64 << 10
_AROUND_BYTES: Final = 400
"""Of a record as Python holds it: tuple, numbers, headers of its texts."""
_SIZE_BYTES: Final = 4

Record = tuple[str, int, int, str, str, bytes]
"""Its place in the order, and what it holds: no two are equal up to that."""


class SortedRuns:
    """Sorts what is added, in the order of Python's tuples; a context manager.

    What does not fit is written to the system's temporary folder in sorted runs, which are merged
    while they are read. A record is never held twice, and never more of them than `memory_bytes`,
    but for one block a run and the largest record.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES, fan_in: int = _FAN_IN) -> None:
        """Begin with nothing.

        Args:
            memory_bytes: of the records that are held.
            fan_in: runs that are merged at one time, at least 2.
        """
        self._memory_bytes = memory_bytes
        self._fan_in = fan_in
        self._held: list[Record] = []
        self._held_bytes = 0
        self._runs: list[Path] = []
        self._numbers = count()
        self._stack = ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove what was written."""
        self._stack.close()

    @property
    def spilled(self) -> int:
        """How many runs wait on disk."""
        return len(self._runs)

    def add(self, record: Record) -> None:
        """Take a record.

        Raises:
            OSError: the disk of the temporary folder is full.
        """
        self._held.append(record)
        self._held_bytes += _AROUND_BYTES + len(record[0]) + len(record[5])
        if self._held_bytes > self._memory_bytes:
            self._held.sort()
            self._runs.append(self._written(self._held))
            self._held, self._held_bytes = [], 0

    def __iter__(self) -> Iterator[Record]:
        """Yield all records in order, once; nothing is added afterwards."""
        while len(self._runs) > self._fan_in:
            some, self._runs = self._runs[: self._fan_in], self._runs[self._fan_in :]
            self._runs.append(self._written(_merged(some)))
            for path in some:
                path.unlink()
        self._held.sort()
        yield from heapq.merge(_merged(self._runs), self._held) if self._runs else self._held

    def _written(self, records: Iterable[Record]) -> Path:
        """Write records as blocks of MessagePack, each behind its size."""
        if self._folder is None:
            self._folder = self._stack.enter_context(TemporaryFolder(EXPORT))
        path = self._folder / str(next(self._numbers))
        encoder = msgspec.msgpack.Encoder()
        with path.open("wb") as sink:
            for some in _blocks(records):
                data = encoder.encode(some)
                sink.write(len(data).to_bytes(_SIZE_BYTES, "little") + data)
        return path


def _blocks(records: Iterable[Record]) -> Iterator[list[Record]]:
    block: list[Record] = []
    size = 0
    for record in records:
        block.append(record)
        size += len(record[0]) + len(record[5])
        if size >= _BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _merged(runs: Sequence[Path]) -> Iterator[Record]:
    return heapq.merge(*map(_read, runs))


def _read(path: Path) -> Iterator[Record]:
    decoder = msgspec.msgpack.Decoder(list[Record])
    with path.open("rb", buffering=0) as source:
        while size := source.read(_SIZE_BYTES):
            yield from decoder.decode(source.read(int.from_bytes(size, "little")))
