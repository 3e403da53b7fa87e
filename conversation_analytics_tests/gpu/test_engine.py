"""The GPU engine where there is no GPU: what it says, and what the real libraries' errors become.

The tests marked `gpu_libraries` need cudf-polars and RMM, not a device: `make test-gpu-plans`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.core.engine import CPU, EngineChoice
from conversation_analytics.core.errors import (
    DeviceMemoryError,
    DeviceUnavailableError,
    EngineError,
    PlanNotTranslatedError,
)
from conversation_analytics.gpu.engine import GpuEngine, engine_error, open_gpu_engine
from conversation_analytics.resources.engines import open_engine

if TYPE_CHECKING:
    from collections.abc import Callable

CHOICE = EngineChoice("gpu", "GPU-8f6d", memory_limit_bytes=2**30)
PLAN = pl.LazyFrame({"a": [1, 2]}).select(pl.col("a") + 1)
HAS_CUDF = importlib.util.find_spec("cudf_polars") is not None
gpu_libraries = pytest.mark.skipif(
    not HAS_CUDF and os.environ.get("GPU_PLANS") != "required", reason="needs the gpu extra"
)


def engine() -> GpuEngine:
    return GpuEngine(CHOICE, pl.GPUEngine(executor="in-memory", raise_on_fail=True))


def has_device() -> bool:
    runtime = importlib.import_module("cuda.bindings.runtime")
    status, count = runtime.cudaGetDeviceCount()
    return status == runtime.cudaError_t.cudaSuccess and bool(count)


@pytest.mark.skipif(HAS_CUDF, reason="the gpu extra is installed")
def test_without_the_extra_it_is_said_what_to_install() -> None:
    with pytest.raises(DeviceUnavailableError, match=r"device GPU-8f6d: .*not installed.*`gpu`"):
        open_engine(CHOICE)


@pytest.mark.parametrize(
    ("error", "expected", "told"),
    [
        (MemoryError("std::bad_alloc: out_of_memory"), DeviceMemoryError, f"{2**30} bytes"),
        (RuntimeError("CUDA error at: x: 2 cudaErrorMemoryAllocation out of memory"),
         DeviceMemoryError, "GPU_MEMORY_LIMIT"),
        (ExceptionGroup("tasks", [ValueError("x"), ExceptionGroup("more", [MemoryError("y")])]),
         DeviceMemoryError, "more memory"),
        (OverflowError("CUDF failure: exceeds the column size limit"), DeviceMemoryError, "longer"),
        (NotImplementedError("String function Split"), PlanNotTranslatedError, "Split"),
        (RuntimeError("CUDA error encountered at: x: 700 cudaErrorIllegalAddress"),
         DeviceUnavailableError, "cudaErrorIllegalAddress"),
        (RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient"),
         DeviceUnavailableError, "nvidia-smi"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), DeviceMemoryError, "GPU_MEMORY_LIMIT"),
        (RuntimeError("CURAND_STATUS_ALLOCATION_FAILED"), DeviceMemoryError, "GPU_MEMORY_LIMIT"),
        (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
         DeviceMemoryError, "GPU_MEMORY_LIMIT"),
        (RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED"), DeviceUnavailableError, "NOT_INITIALIZED"),
        (RuntimeError("CURAND_STATUS_LAUNCH_FAILURE"), DeviceUnavailableError, "LAUNCH_FAILURE"),
        (RuntimeError("NVRTC_ERROR_INTERNAL_ERROR (11)"), DeviceUnavailableError, "INTERNAL"),
    ],
    ids=["rmm", "cuda", "within groups", "long column", "at run time", "broken", "driver",
         "cublas' memory", "curand's memory", "the driver's memory", "cublas", "curand", "nvrtc"],
)  # fmt: skip
def test_an_error_of_the_device_asks_for_another_engine(
    error: BaseException, expected: type[EngineError], told: str
) -> None:
    found = engine_error(error, CHOICE)
    assert type(found) is expected
    assert "device GPU-8f6d" in str(found)
    assert told in str(found)
    assert "CPU" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        pl.exceptions.ComputeError("conversion from `str` to `i64` failed"),
        RuntimeError("a lock was taken twice"),
        RuntimeError("of a column that is called CUBLAS_"),
        ExceptionGroup("tasks", [ValueError("x")]),
    ],
    ids=["a value", "something else", "a library only named", "a group"],
)
def test_an_error_of_the_rows_is_no_error_of_the_device(error: BaseException) -> None:
    assert engine_error(error, CHOICE) is None


def test_a_long_error_is_cut() -> None:
    assert len(str(engine_error(MemoryError("x" * 10_000), CHOICE))) < 600


@gpu_libraries
def test_a_plan_that_cudf_lacks_is_named() -> None:
    plan = pl.LazyFrame({"a": ["x y"]}).select(pl.col("a").str.split(" "))
    with pytest.raises(PlanNotTranslatedError, match=r"Split"):
        engine().collect(plan)


@gpu_libraries
def test_without_a_device_the_engine_is_not_opened() -> None:
    if has_device():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceUnavailableError, match=r"CUDA sees no GPU \(cudaError\w+\)"):
        open_gpu_engine(CHOICE)


@gpu_libraries
def test_a_device_that_goes_away_asks_for_another_engine() -> None:
    if has_device():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceUnavailableError, match=r"cudaError\w+") as caught:
        engine().collect(PLAN)
    assert isinstance(caught.value.__cause__, RuntimeError)


@gpu_libraries
def test_a_process_that_sees_several_devices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = importlib.import_module("cuda.bindings.runtime")
    two = (runtime.cudaError_t.cudaSuccess, 2)
    monkeypatch.setattr(runtime, "cudaGetDeviceCount", lambda: two)
    with pytest.raises(DeviceUnavailableError, match=r"got 2 devices.*CUDA_VISIBLE_DEVICES="):
        open_gpu_engine(CHOICE)


def rmm_out_of_memory() -> MemoryError:
    """Return the error that RMM itself makes of an allocation that fails: bad_alloc of C++."""
    memory = importlib.import_module("rmm.mr")

    def refuse(size: int, _stream: Any) -> int:
        raise MemoryError(f"{size} bytes are too many")

    with pytest.raises(MemoryError) as caught:
        memory.CallbackMemoryResource(refuse, lambda *_: None).allocate(4096)
    assert "bad_alloc" in str(caught.value)
    return caught.value


@gpu_libraries
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (rmm_out_of_memory, DeviceMemoryError),
        (lambda: OverflowError("exceeds the column size limit"), DeviceMemoryError),
        (lambda: NotImplementedError("rolling"), PlanNotTranslatedError),
    ],
    ids=["memory", "length", "at run time"],
)
def test_errors_while_a_plan_runs_pass_through_polars(
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[], Exception],
    expected: type[EngineError],
) -> None:
    """What runs on the device is called back by Polars, which hands its errors on."""
    error = made()

    def fail(*_arguments: Any, **_options: Any) -> pl.DataFrame:
        raise error

    monkeypatch.setattr("cudf_polars.callback._callback", fail)
    with pytest.raises(expected):
        engine().collect(PLAN)


@gpu_libraries
def test_the_pool_is_of_the_limit_and_told_where_it_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime, memory = map(importlib.import_module, ("cuda.bindings.runtime", "rmm.mr"))
    one = (runtime.cudaError_t.cudaSuccess, 1)
    monkeypatch.setattr(runtime, "cudaGetDeviceCount", lambda: one)
    monkeypatch.setattr(memory, "available_device_memory", lambda: (2**30 - 1, 2**31))
    with pytest.raises(DeviceMemoryError, match=rf"expected {2**30} bytes.*{2**30 - 1} free"):
        open_gpu_engine(CHOICE)
    pools: list[dict[str, int]] = []
    monkeypatch.setattr(memory, "CudaMemoryResource", lambda: None)
    monkeypatch.setattr(memory, "PoolMemoryResource", lambda _, **sizes: pools.append(sizes))
    open_gpu_engine(EngineChoice("gpu", "0", memory_limit_bytes=1000))
    opened = open_gpu_engine(EngineChoice("gpu", "0"))
    assert pools == [
        {"initial_pool_size": size, "maximum_pool_size": size}
        for size in (768, int(0.8 * (2**30 - 1)) // 256 * 256)
    ]
    assert opened.device.config == {"executor": "in-memory", "raise_on_fail": True}


@gpu_libraries
def test_on_a_real_device_rows_are_the_same() -> None:
    if not has_device():
        pytest.skip("there is no GPU here")
    opened = open_gpu_engine(EngineChoice("gpu", memory_limit_bytes=2**28))
    assert_frame_equal(opened.collect(PLAN), CPU.collect(PLAN))
