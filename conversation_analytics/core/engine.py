"""What computes the plans of the analytics: every plan is written once, the engine is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import polars as pl

EngineKind = Literal["cpu", "cpu-streaming", "gpu"]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine computes a step.

    Attributes:
        kind: `cpu` (Polars in memory), `cpu-streaming` (Polars in bounded memory) or `gpu`.
        device: the GPU, as CUDA_VISIBLE_DEVICES names it; empty on the CPU.
        because: why a step that was to run on the GPU runs here; empty where it was not.
        memory_limit_bytes: of the GPU's memory, how much may be used; None: all that is free.
    """

    kind: EngineKind = "cpu"
    device: str = ""
    because: str = ""
    memory_limit_bytes: int | None = None


class Engine(Protocol):
    """Computes plans. Every engine gives the same rows."""

    @property
    def choice(self) -> EngineChoice:
        """Which one this is."""

    def collect(self, plan: pl.LazyFrame) -> pl.DataFrame:
        """Compute a plan.

        Raises:
            EngineError: this engine cannot, another one can.
        """


@dataclass(frozen=True, slots=True)
class CpuEngine:
    """Polars on the CPU.

    Attributes:
        choice: in memory, or streaming where its kind is `cpu-streaming`.
    """

    choice: EngineChoice = EngineChoice()

    def collect(self, plan: pl.LazyFrame) -> pl.DataFrame:
        """Compute a plan."""
        return plan.collect(
            engine="streaming" if self.choice.kind == "cpu-streaming" else "in-memory"
        )
