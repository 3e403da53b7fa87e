"""What an embedder is: texts to unit vectors that mean the same where texts do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

MAX_CHARACTERS = 2000
"""What is embedded of a text: the rest would cost much and change little."""


class Embedder(Protocol):
    """Turns texts into vectors.

    The same texts in the same order give the same bytes on one machine. Among other texts a
    text's vector may differ in its last bits, so results are rounded before they are stored.
    """

    @property
    def name(self) -> str:
        """Name in settings and hashes."""

    @property
    def version(self) -> str:
        """Version of code and weights; another one makes what was made with it stale."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector of length 1 per text, float32, shape (texts, dimensions)."""


def embed_each_once(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Embed `texts`, each distinct one once and in a fixed order.

    Returns:
        float32 of shape (texts, dimensions). It does not depend on the order of `texts`, nor on
        how often one of them occurs.
    """
    import numpy as np  # noqa: PLC0415 - import budget

    distinct = sorted(set(texts))
    if not distinct:
        return np.empty((0, embedder.dimensions), dtype=np.float32)
    place = {text: index for index, text in enumerate(distinct)}
    vectors = embedder.embed(distinct)
    return vectors[[place[text] for text in texts]]
