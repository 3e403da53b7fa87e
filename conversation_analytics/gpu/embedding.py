"""Embedding on a GPU through CuPy, which comes with cudf-polars: the one place that imports it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conversation_analytics.core.errors import DeviceUnavailableError
from conversation_analytics.gpu.engine import OF_LIBRARIES, device_of, engine_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.embedding import Embedder, Vectors
    from conversation_analytics.core.engine import EngineChoice


def open_arrays(choice: EngineChoice) -> Any:
    """Return CuPy, whose arrays are in the device's memory beside the engine's pool.

    Raises:
        DeviceUnavailableError: it is not installed, or cannot be loaded.
    """
    try:
        return importlib.import_module("cupy")
    except (ImportError, OSError, RuntimeError) as error:
        raise DeviceUnavailableError(
            f"{device_of(choice)}: CuPy cannot be loaded ({type(error).__name__}: {error}); "
            "install the extra `gpu`, or set ENABLE_GPU=false"
        ) from error


@dataclass(frozen=True, slots=True)
class GpuEmbedder:
    """An embedder that computes on a device: what fails there asks for another engine.

    Attributes:
        embedder: computes.
        choice: kind `gpu`, and the device.
    """

    embedder: Embedder
    choice: EngineChoice

    @property
    def name(self) -> str:
        """Name in settings and hashes: that of the same weights on the CPU."""
        return self.embedder.name

    @property
    def version(self) -> str:
        """Version of code and weights, those on the CPU."""
        return self.embedder.version

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self.embedder.dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector of length 1 per text, float32, shape (texts, dimensions).

        Raises:
            DeviceMemoryError: the memory of the device does not suffice.
            DeviceUnavailableError: the device or its driver failed.
        """
        try:
            return self.embedder.embed(texts)
        except OF_LIBRARIES as error:
            if (told := engine_error(error, self.choice)) is None:
                raise
            raise told from error
