"""Searching every object of the lake for ids: in its bytes, or in what Parquet decodes to.

Pages of Parquet that were decoded are not searched as bytes: compressed, they hold parts of
everything. What cannot be decoded is.
"""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.lake.objects import LocalObjects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics.core.id_search import SoughtIds
    from conversation_analytics.lake.store import Lake

_AT_ONCE = 4
_PARQUET = b"PAR1"
_TAIL = 8  # the length of the footer, and the name again


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search of the lake went through and found.

    Attributes:
        objects: how many objects were read, leftovers and temporary files among them.
        size_bytes: of all of them.
        holding: paths of those that hold one of the ids, below the lake's root.
    """

    objects: int
    size_bytes: int
    holding: tuple[str, ...]


def search_lake(lake: Lake, sought: SoughtIds, besides: str) -> Searched:
    """Search every object of the lake.

    Args:
        lake: the lake.
        sought: what is searched for.
        besides: folder that is left out.

    Raises:
        LakeError: the storage refuses.
        LakeUnavailableError: the storage does not answer.
    """
    paths = [info.path for info in lake.objects.list("") if not info.path.startswith(besides)]

    def look(path: str) -> tuple[int, bool]:
        data = lake.objects.get(path) or b""
        return len(data), _holds(data, sought)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        told = list(zip(paths, pool.map(look, paths), strict=True))
    told += [(path, (len(data), _holds(data, sought))) for path, data in _hidden(lake)]
    return Searched(
        len(told),
        sum(size for _, (size, _) in told),
        tuple(sorted(path for path, (_, holds) in told if holds)),
    )


def _hidden(lake: Lake) -> list[tuple[str, bytes]]:
    """Return the temporary files that dead writers left on disk; S3 has none."""
    if not isinstance(lake.objects, LocalObjects):
        return []
    root = lake.objects.root
    found = []
    for path in sorted(root.rglob(".*")):
        if path.is_file():
            with suppress(FileNotFoundError):  # a live writer's, which is done with it
                found.append((str(path.relative_to(root)), path.read_bytes()))
    return found


def _holds(data: bytes, sought: SoughtIds) -> bool:
    if not (data.startswith(_PARQUET) and data.endswith(_PARQUET)):
        return sought.in_bytes(data)
    try:
        frame = pl.read_parquet(io.BytesIO(data), glob=False)
    except (pl.exceptions.PolarsError, OSError):  # what a dead writer left: bytes and no more
        return sought.in_bytes(data)
    (length,) = struct.unpack("<I", data[-_TAIL:-4])
    return sought.in_footer(data[-_TAIL - length : -_TAIL]) or any(
        _holds_any(name, values, sought)
        for column in frame.get_columns()
        for name, values in _texts(column)
    )


def _holds_any(name: str, values: pl.Series, sought: SoughtIds) -> bool:
    if name.lower() in sought.fields and sought.whole and values.is_in(sorted(sought.whole)).any():
        return True
    may_hold = pl.Series([False]).new_from_index(0, len(values))
    if sought.anywhere:
        may_hold |= values.str.contains_any(list(sought.anywhere))
    if sought.as_value is not None:
        may_hold |= values.str.contains(sought.as_value)
    return any(sought.in_text(one) for one in values.filter(may_hold.fill_null(value=False)))


def _texts(column: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    """Yield all text that a column holds, at any depth, under the name that it stands under."""
    dtype = column.dtype
    if dtype == pl.String:
        yield column.name, column
    elif isinstance(dtype, pl.Categorical | pl.Enum):
        yield column.name, column.cast(pl.String)
    elif dtype == pl.Binary:
        shown = [None if one is None else one.decode("utf-8", "replace") for one in column]
        yield column.name, pl.Series(shown, dtype=pl.String)
    elif isinstance(dtype, pl.List | pl.Array):
        yield from _texts(column.explode())
    elif isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from _texts(column.struct.field(field.name))
