"""Engines for tests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from conversation_analytics.core.engine import CpuEngine, EngineChoice

if TYPE_CHECKING:
    import polars as pl

    from conversation_analytics.core.engine import Engine

STREAMING = CpuEngine(EngineChoice("cpu-streaming"))


class Noting:
    """Computes with another engine, and keeps the plans it was given."""

    def __init__(self, engine: Engine, choice: EngineChoice | None = None) -> None:
        """Keep what computes, and what this one says that it is."""
        self._engine = engine
        self._choice = choice or engine.choice
        self._lock = threading.Lock()
        self.plans: list[pl.LazyFrame] = []

    @property
    def choice(self) -> EngineChoice:
        return self._choice

    def collect(self, plan: pl.LazyFrame) -> pl.DataFrame:
        with self._lock:
            self.plans.append(plan)
        return self._engine.collect(plan)
