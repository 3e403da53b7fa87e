"""Searching every object of the lake for a text: in its bytes, and in what Parquet decodes to."""

from __future__ import annotations

import html
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.lake.objects import LocalObjects

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from conversation_analytics.lake.store import Lake

_AT_ONCE = 4
_PARQUET = b"PAR1"


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search of the lake went through and found.

    Attributes:
        objects: how many objects were read, leftovers and temporary files among them.
        size_bytes: of all of them.
        holding: paths of those that hold the text, below the lake's root.
    """

    objects: int
    size_bytes: int
    holding: tuple[str, ...]


def spellings(text: str) -> frozenset[str]:
    """Return a text as it may stand in JSON, HTML or by itself."""
    return frozenset(
        {
            text,
            html.escape(text),
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
        }
    )


def search_lake(lake: Lake, texts: Iterable[str], besides: str) -> Searched:
    """Search every object of the lake.

    Args:
        lake: the lake.
        texts: what is searched for, in any of their `spellings`.
        besides: folder that is left out.

    Raises:
        LakeError: the storage refuses.
        LakeUnavailableError: the storage does not answer.
    """
    wanted = sorted(frozenset().union(*map(spellings, texts)))
    encoded = [one.encode("utf-8", "surrogatepass") for one in wanted]
    paths = [info.path for info in lake.objects.list("") if not info.path.startswith(besides)]

    def look(path: str) -> tuple[int, bool]:
        data = lake.objects.get(path) or b""
        return len(data), _holds(data, wanted, encoded)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        told = list(zip(paths, pool.map(look, paths), strict=True))
    told += [(path, (len(data), _holds(data, wanted, encoded))) for path, data in _hidden(lake)]
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
    found = (path for path in sorted(root.rglob(".*")) if path.is_file())
    return [(str(path.relative_to(root)), path.read_bytes()) for path in found]


def _holds(data: bytes, texts: Sequence[str], encoded: Sequence[bytes]) -> bool:
    if any(one in data for one in encoded):
        return True
    if not (data.startswith(_PARQUET) and data.endswith(_PARQUET)):
        return False
    frame = pl.read_parquet(io.BytesIO(data), glob=False)
    columns = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return any(
        bool(frame[name].str.contains(text, literal=True).any())
        for name in columns
        for text in texts
    )
