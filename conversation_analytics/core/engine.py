"""What computes the plans of the analytics: every plan is written once, the engine is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    import polars as pl

EngineKind = Literal["cpu", "cpu-streaming", "gpu"]
WHITE_SPACE: Final = "".join(
    map(chr, (*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
              0x202F, 0x205F, 0x3000))
)  # fmt: skip
"""What Unicode calls white space, by name: where none is named engines mean different things."""


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


def taken_by(engine: Engine, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of a stored partition as the engine takes them.

    The GPU engine takes no plan over the bytes of Parquet objects, which is what has been verified:
    they are decoded here then, once, and what a plan needs of them is copied to the device.

    Args:
        engine: what will compute with the rows.
        rows: a plan over verified objects, or any other.
    """
    return rows.collect().lazy() if engine.choice.kind == "gpu" else rows


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


CPU: Final = CpuEngine()
"""Polars in memory, for callers for whom no executor chooses."""
