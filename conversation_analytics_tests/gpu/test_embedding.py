from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from conversation_analytics.core.engine import EngineChoice
from conversation_analytics.core.errors import DeviceMemoryError, DeviceUnavailableError
from conversation_analytics.gpu.embedding import GpuEmbedder
from conversation_analytics.language.embedders import USE_MULTILINGUAL, load_embedder
from conversation_analytics.resources.engines import embedder_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.embedding import Vectors

CHOICE = EngineChoice("gpu", "1")


@dataclass(frozen=True)
class Failing:
    error: Exception
    name: str = "small"
    version: str = "3"
    dimensions: int = 2

    def embed(self, texts: Sequence[str]) -> Vectors:
        if texts:
            raise self.error
        return np.empty((0, 2), dtype=np.float32)


def test_on_the_cpu_it_is_the_one_embedder_of_the_process() -> None:
    assert embedder_of(EngineChoice(), USE_MULTILINGUAL) is load_embedder(USE_MULTILINGUAL)


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_cupy_it_is_said_what_to_install() -> None:
    with pytest.raises(DeviceUnavailableError, match=r"device 1: CuPy cannot be loaded.*`gpu`"):
        embedder_of(CHOICE, USE_MULTILINGUAL)


def test_memory_that_does_not_suffice_asks_for_another_engine() -> None:
    embedder = GpuEmbedder(Failing(MemoryError("Out of memory allocating 512 bytes")), CHOICE)
    assert (embedder.name, embedder.version, embedder.dimensions) == ("small", "3", 2)
    assert embedder.embed([]).shape == (0, 2)
    with pytest.raises(DeviceMemoryError, match=r"device 1: .*512 bytes"):
        embedder.embed(["a"])


def test_another_error_of_an_embedder_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="weights"):
        GpuEmbedder(Failing(RuntimeError("weights are torn")), CHOICE).embed(["a"])
