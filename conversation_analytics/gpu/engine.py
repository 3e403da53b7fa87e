"""Plans on a GPU through cudf-polars: the one place that imports it and RMM."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from conversation_analytics.core.errors import (
    DeviceMemoryError,
    DeviceUnavailableError,
    EngineError,
    PlanNotTranslatedError,
)

if TYPE_CHECKING:
    from conversation_analytics.core.engine import EngineChoice

_SHARE_OF_FREE: Final = 0.8
"""Of the memory that is free, for the pool; libraries and their kernels take some beside it."""
_ALIGNMENT: Final = 256
_UNTRANSLATED: Final = "'cuda' conversion failed"
"""What Polars' error begins with where cudf-polars does not take a plan."""
_MEMORY: Final = (
    "bad_alloc", "out_of_memory", "OUT_OF_MEMORY", "cudaErrorMemoryAllocation",
    "ALLOC_FAILED", "ALLOCATION_FAILED",
)  # fmt: skip
_LIBRARIES: Final = ("CUBLAS_", "CURAND_", "NVRTC_")
"""What the errors begin with that CuPy makes of what CUDA's own libraries return."""
_LONGEST_REASON: Final = 300
OF_LIBRARIES: Final = (
    pl.exceptions.ComputeError,
    MemoryError,
    RuntimeError,
    OverflowError,
    BaseExceptionGroup,
)
"""What comes out of a plan where a library under Polars fails."""


@dataclass(frozen=True, slots=True)
class GpuEngine:
    """Polars on one GPU, within a fixed amount of its memory.

    Threads take turns: a plan is computed with the memory of all, and cudf-polars sets the memory's
    pool for the whole process while it computes.

    Attributes:
        choice: kind `gpu`, and the device.
        device: what Polars passes to cudf-polars. It never falls back to the CPU by itself, which
            would tell of the GPU what the CPU has computed.
    """

    choice: EngineChoice
    device: pl.GPUEngine
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def collect(self, plan: pl.LazyFrame) -> pl.DataFrame:
        """Compute a plan.

        Raises:
            PlanNotTranslatedError: cudf-polars lacks something that the plan does.
            DeviceMemoryError: the memory does not suffice, or a column is too long for it.
            DeviceUnavailableError: the device or its driver failed.
        """
        try:
            with self._turn:
                return plan.collect(engine=self.device)
        except OF_LIBRARIES as error:
            if (told := engine_error(error, self.choice)) is None:
                raise
            raise told from error


def engine_error(error: BaseException, choice: EngineChoice) -> EngineError | None:
    """Return what an error of cudf-polars, libcudf, RMM or CUDA means for who chose the engine.

    Args:
        error: what came out of a plan.
        choice: what computed it.

    Returns:
        None for an error of the plan or its rows, which another engine would raise, too.
    """
    if isinstance(error, BaseExceptionGroup):
        told = [engine_error(one, choice) for one in error.exceptions]
        return next((one for one in told if one is not None), None)
    text = str(error)
    reason = " ".join(text.split())[:_LONGEST_REASON]
    device = device_of(choice)
    if isinstance(error, MemoryError) or any(sign in text for sign in _MEMORY):
        limit = choice.memory_limit_bytes
        held = "what was free" if limit is None else f"GPU_MEMORY_LIMIT of {limit} bytes"
        return DeviceMemoryError(
            f"{device}: the plan needs more memory than {held} ({reason}); raise GPU_MEMORY_LIMIT, "
            "or run the step on the CPU"
        )
    if isinstance(error, OverflowError):
        return DeviceMemoryError(
            f"{device}: a column is longer than the GPU's can be ({reason}); run the step on the "
            "CPU"
        )
    if isinstance(error, NotImplementedError) or text.startswith(_UNTRANSLATED):
        return PlanNotTranslatedError(
            f"{device}: the plan does what cudf-polars does not ({reason}); run the step on the "
            "CPU, and add the plan to conversation_analytics_tests/core/test_gpu_plans.py"
        )
    if isinstance(error, RuntimeError) and (
        "CUDA" in text or "cudaError" in text or text.startswith(_LIBRARIES)
    ):
        return DeviceUnavailableError(
            f"{device}: it failed ({reason}); see `nvidia-smi`, and run the step on the CPU"
        )
    return None


def device_of(choice: EngineChoice) -> str:
    """Return what errors call the device."""
    return f"device {choice.device or 'of this process'}"


def open_gpu_engine(choice: EngineChoice) -> GpuEngine:
    """Return the engine of a device.

    Args:
        choice: of kind `gpu`. Where it names a device this process must see that one alone
            (CUDA_VISIBLE_DEVICES, set before the process starts). The memory that is to be used
            is taken at once, so that what lacks is told before a step begins.

    Raises:
        DeviceUnavailableError: the extra `gpu` is not installed, or the device is not there.
        DeviceMemoryError: the device has not that much memory left.
    """
    runtime, memory = _libraries(choice)
    _require_device(runtime, choice)
    return GpuEngine(
        choice,
        pl.GPUEngine(
            device=0,
            memory_resource=_pool(memory, choice),
            raise_on_fail=True,
            # The streaming executor cuts plans into tasks over parts of the data. What is tested
            # is the translation for this one, and what does not fit has another way out.
            executor="in-memory",
        ),
    )


def _libraries(choice: EngineChoice) -> tuple[Any, Any]:
    """Return CUDA's runtime and RMM's memory resources."""
    if importlib.util.find_spec("cudf_polars") is None:
        raise DeviceUnavailableError(
            f"{device_of(choice)}: cudf-polars is not installed in this environment; install "
            "the extra `gpu`, or set ENABLE_GPU=false"
        )
    try:
        importlib.import_module("cudf_polars")
        return (
            importlib.import_module("cuda.bindings.runtime"),
            importlib.import_module("rmm.mr"),
        )
    except (ImportError, OSError, RuntimeError) as error:  # a library or its version is missing
        raise DeviceUnavailableError(
            f"{device_of(choice)}: cudf-polars is installed and cannot be loaded "
            f"({type(error).__name__}: {error}); install what requirements-gpu.txt names beside "
            f"Polars {pl.__version__}, or set ENABLE_GPU=false"
        ) from error


def _require_device(runtime: Any, choice: EngineChoice) -> None:
    status, count = runtime.cudaGetDeviceCount()
    if status != runtime.cudaError_t.cudaSuccess or not count:
        raise DeviceUnavailableError(
            f"{device_of(choice)}: CUDA sees no GPU ({status.name}); see `nvidia-smi` and "
            "CUDA_VISIBLE_DEVICES, or set ENABLE_GPU=false"
        )
    if choice.device and count != 1:
        raise DeviceUnavailableError(
            f"{device_of(choice)}: expected a process that sees this one alone, got {count} "
            f"devices; start it with CUDA_VISIBLE_DEVICES={choice.device}"
        )


def _pool(memory: Any, choice: EngineChoice) -> Any:
    """Return a pool of the memory that may be used, which cannot grow."""
    try:
        free, total = memory.available_device_memory()
        wanted = choice.memory_limit_bytes
        size = int(free * _SHARE_OF_FREE) if wanted is None else wanted
        size -= size % _ALIGNMENT
        if not 0 < size <= free:
            raise DeviceMemoryError(
                f"{device_of(choice)}: expected {size} bytes of memory, got {free} free of "
                f"{total}; lower GPU_MEMORY_LIMIT, or stop what else uses the device"
            )
        return memory.PoolMemoryResource(
            memory.CudaMemoryResource(), initial_pool_size=size, maximum_pool_size=size
        )
    except (MemoryError, RuntimeError) as error:
        if (told := engine_error(error, choice)) is None:
            raise
        raise told from error
