"""The engine of this process: the executor chooses, the assets compute with it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from conversation_analytics.core.engine import CpuEngine, Engine, EngineChoice
from conversation_analytics.language.embedders import load_embedder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from conversation_analytics.core.embedding import Embedder


class ProcessEngine:
    """Computes plans with what the executor has chosen for the step that runs in this process.

    A process runs one step at a time, on any number of threads: the choice is the process's.
    """

    def __init__(self) -> None:
        """Begin with Polars in memory."""
        self._engine: Engine = CpuEngine()

    @property
    def choice(self) -> EngineChoice:
        """What computes now."""
        return self._engine.choice

    def collect(self, plan: pl.LazyFrame) -> pl.DataFrame:
        """Compute a plan.

        Raises:
            EngineError: this engine cannot, another one can.
        """
        return self._engine.collect(plan)

    @contextmanager
    def using(self, engine: Engine) -> Iterator[None]:
        """Compute with `engine` inside the block."""
        before, self._engine = self._engine, engine
        try:
            yield
        finally:
            self._engine = before


ENGINE = ProcessEngine()
"""The one of this process; the resource `engine` is this object."""


def open_engine(choice: EngineChoice) -> Engine:
    """Return the engine of a choice.

    Raises:
        DeviceUnavailableError: the GPU engine was chosen, and there is none here.
    """
    if choice.kind == "gpu":
        # The one place that loads cudf-polars, and only in a process that was given a device.
        from conversation_analytics.gpu.engine import open_gpu_engine  # noqa: PLC0415

        return open_gpu_engine(choice)
    return CpuEngine(choice)


def embedder_of(choice: EngineChoice, name: str) -> Embedder:
    """Return the embedder of this name, where the engine of the step computes.

    On a GPU its vectors differ in the last bits of a float32, and so may what is near a limit.

    Raises:
        DeviceUnavailableError: the GPU was chosen, and there is none here.
        LanguagePartError: there is no such embedder, or its package is not installed.
    """
    if choice.kind == "gpu":
        from conversation_analytics.gpu.embedding import (  # noqa: PLC0415 - as above
            GpuEmbedder,
            open_arrays,
        )

        return GpuEmbedder(load_embedder(name, open_arrays(choice)), choice)
    return load_embedder(name)
