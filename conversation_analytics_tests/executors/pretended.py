"""Pretended GPUs and jobs for the executor with lanes: its processes are real.

What a pretended device does is in its name: `good-0`, `full-0` (its memory never suffices),
`picky-0` (takes no plan), `absent-0` (cannot be opened), `deadly-0` (kills its worker), `broken-0`
(fails, and its process can use it no more), `once-0` (does so in the first process only).
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from conversation_analytics.core.engine import CpuEngine, Engine, EngineChoice
from conversation_analytics.core.errors import (
    DeviceMemoryError,
    DeviceUnavailableError,
    PlanNotTranslatedError,
)
from conversation_analytics.core.lanes import LANE_TAG, PLANS
from conversation_analytics.executors.lanes_definition import LaneDefaults, lanes_executor
from conversation_analytics.executors.workers import Worker
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.resources.engines import ENGINE

DEVICES = "PRETENDED_DEVICES"
FOLDER = "PRETENDED_FOLDER"
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


@dataclass(frozen=True)
class PretendedGpu:
    """Computes on the CPU, or fails as its device's name says."""

    choice: EngineChoice

    def collect(self, plan: pl.LazyFrame) -> pl.DataFrame:
        match self.choice.device.partition("-")[0]:
            case "full":
                raise DeviceMemoryError(f"device {self.choice.device}: 9 GiB asked, 8 GiB there")
            case "picky":
                raise PlanNotTranslatedError(f"device {self.choice.device}: takes no `pivot`")
            case "broken":
                raise DeviceUnavailableError(f"device {self.choice.device}: its context is broken")
            case "once" if len(list(Path(os.environ[FOLDER]).glob("opened-*"))) == 1:
                raise DeviceUnavailableError(f"device {self.choice.device}: its context is broken")
            case "deadly":
                os.kill(os.getpid(), signal.SIGKILL)
        return plan.collect()


def open_pretended(choice: EngineChoice) -> Engine:
    if choice.kind != "gpu":
        return CpuEngine(choice)
    if choice.device.startswith("absent"):
        raise DeviceUnavailableError(f"device {choice.device}: there is none")
    opened = Path(os.environ[FOLDER]) / f"opened-{os.getpid()}"
    opened.touch()
    return PretendedGpu(choice)


def devices() -> list[str]:
    return os.environ.get(DEVICES, "").split()


EXECUTOR = lanes_executor(LaneDefaults(gpu=True), open_pretended, devices)


def observe(context: dg.OpExecutionContext) -> None:
    """Compute a plan, and say where and with what."""
    rows = ENGINE.collect(pl.LazyFrame({"n": [1, 2]}).select(pl.col("n").sum()))
    choice = ENGINE.choice
    sys.stdout.write(f"printed by {context.op.name}\n")
    facts: dict[str, Any] = {
        "pid": os.getpid(),
        "engine": choice.kind,
        "device": choice.device,
        "because": choice.because,
        "sum": rows.item(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES", "unset"),
        "limit": choice.memory_limit_bytes or 0,
        "attempt": context.retry_number,
    }
    context.log_event(dg.AssetObservation(context.op.name, metadata=facts))


def _op(name: str, lane: str | None, **arguments: Any) -> dg.OpDefinition:
    tags = {LANE_TAG: lane} if lane else {}

    @dg.op(name=name, tags=tags, out=dg.Out(dg.Nothing), **arguments)
    def body(context: dg.OpExecutionContext) -> None:
        observe(context)

    return body


AFTER = {"after": dg.In(dg.Nothing)}


@dg.job(executor_def=EXECUTOR)
def _three_lanes() -> None:
    inline = _op("inline_step", "inline")()
    cpu = _op("cpu_step", "cpu", ins=AFTER)(inline)
    _op("gpu_step", "gpu", ins=AFTER)(cpu)


def three_lanes() -> dg.JobDefinition:
    return _three_lanes


@dg.op(tags={LANE_TAG: "cpu"}, out=dg.Out(dg.Nothing))
def list_modules() -> None:
    """Write the names of all modules that are loaded when a worker's first step begins."""
    (Path(os.environ[FOLDER]) / "modules").write_text("\n".join(sys.modules))


@dg.job(executor_def=EXECUTOR)
def _modules_of_a_worker() -> None:
    list_modules()


def modules_of_a_worker() -> dg.JobDefinition:
    return _modules_of_a_worker


@dg.job(executor_def=EXECUTOR)
def _cpu_pair() -> None:
    for name in ("one", "other"):
        _op(name, "cpu")()


def cpu_pair() -> dg.JobDefinition:
    return _cpu_pair


@dg.job(executor_def=EXECUTOR)
def _gpu_chain() -> None:
    last = _op("first", "gpu")()
    for name in ("second", "third"):
        last = _op(name, "gpu", ins=AFTER)(last)


def gpu_chain() -> dg.JobDefinition:
    return _gpu_chain


@dg.job(executor_def=EXECUTOR)
def _gpu_alone() -> None:
    _op("only", "gpu")()


def gpu_alone() -> dg.JobDefinition:
    return _gpu_alone


IDLE: list[Worker] = []
"""Workers that have ended a step, where a test notes them."""


@dg.op(tags={LANE_TAG: "inline"}, ins=AFTER, out=dg.Out(dg.Nothing))
def kill_idle() -> Iterator[dg.AssetObservation]:
    """Kill the worker of the step before, once it is idle."""
    until = time.monotonic() + 60
    while not IDLE:
        if time.monotonic() > until:
            raise TimeoutError("no worker was idle within 60 s")
        yield dg.AssetObservation("awaiting")  # between events the executor hears its workers
        time.sleep(0.02)
    IDLE.pop().kill()


def _idle_killed(lane: str) -> dg.JobDefinition:
    @dg.job(name=f"idle_killed_{lane}", executor_def=EXECUTOR)
    def body() -> None:
        _op("second", lane, ins=AFTER)(kill_idle(_op("first", lane)()))

    return body


_IDLE_KILLED = {lane: _idle_killed(lane) for lane in ("cpu", "gpu")}


def idle_cpu_killed() -> dg.JobDefinition:
    return _IDLE_KILLED["cpu"]


def idle_gpu_killed() -> dg.JobDefinition:
    return _IDLE_KILLED["gpu"]


def _meeting(name: str, other: str) -> dg.OpDefinition:
    """An op that ends only while the other one runs."""

    @dg.op(name=name, tags={LANE_TAG: "gpu"}, out=dg.Out(dg.Nothing))
    def body(context: dg.OpExecutionContext) -> None:
        folder = Path(os.environ[FOLDER])
        (folder / name).touch()
        await_file(folder / other)
        observe(context)

    return body


@dg.job(executor_def=EXECUTOR)
def _gpu_pair() -> None:
    _meeting("left", "right")()
    _meeting("right", "left")()


def gpu_pair() -> dg.JobDefinition:
    return _gpu_pair


@dg.op(tags={LANE_TAG: "gpu"}, retry_policy=dg.RetryPolicy(max_retries=1))
def once_more(context: dg.OpExecutionContext) -> None:
    """Fail once on the CPU, after it was moved there: the one retry is still to be had."""
    observe(context)
    if context.retry_number == 0:
        raise ValueError("not at once")


@dg.job(executor_def=EXECUTOR)
def _retried() -> None:
    once_more()


def retried() -> dg.JobDefinition:
    return _retried


@dg.op(tags={LANE_TAG: "gpu"})
def in_a_storage(context: dg.OpExecutionContext) -> None:
    with retry_if_transient():
        observe(context)


@dg.job(executor_def=EXECUTOR)
def _storing() -> None:
    in_a_storage()


def storing() -> dg.JobDefinition:
    return _storing


def wrong_in(lane: str) -> dg.OpDefinition:
    @dg.op(name=f"wrong_{lane}", tags={LANE_TAG: lane})
    def body(context: dg.OpExecutionContext) -> None:
        observe(context)
        raise ValueError("a mistake of the user's code")

    return body


@dg.job(executor_def=EXECUTOR)
def _wrong() -> None:
    for lane in ("inline", "cpu", "gpu"):
        wrong_in(lane)()


def wrong() -> dg.JobDefinition:
    return _wrong


def dies_once_in(lane: str) -> dg.OpDefinition:
    @dg.op(name=f"dies_{lane}", tags={LANE_TAG: lane}, retry_policy=dg.RetryPolicy(max_retries=1))
    def body(context: dg.OpExecutionContext) -> None:
        if context.retry_number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        observe(context)

    return body


@dg.job(executor_def=EXECUTOR)
def _dying() -> None:
    dies_once_in("cpu")()


def dying() -> dg.JobDefinition:
    return _dying


@dg.op(tags={LANE_TAG: "cpu"})
def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dg.job(executor_def=EXECUTOR)
def _dead() -> None:
    dies()


def dead() -> dg.JobDefinition:
    return _dead


def blocking_in(lane: str) -> dg.OpDefinition:
    """An op that never ends, and says that it has begun."""

    @dg.op(name=f"block_{lane}", tags={LANE_TAG: lane})
    def body() -> None:
        (Path(os.environ[FOLDER]) / f"{lane}-{os.getpid()}").touch()
        while True:
            time.sleep(0.05)

    return body


@dg.job(executor_def=EXECUTOR)
def _blocked() -> None:
    for lane in ("cpu", "gpu"):
        blocking_in(lane)()


def blocked() -> dg.JobDefinition:
    return _blocked


@dg.job(executor_def=EXECUTOR)
def _blocked_inline() -> None:
    for lane in ("cpu", "inline"):
        blocking_in(lane)()


def blocked_inline() -> dg.JobDefinition:
    return _blocked_inline


@dg.op(tags={LANE_TAG: "cpu"})
def deaf() -> None:
    """Take no notice of a signal, as native code does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (Path(os.environ[FOLDER]) / f"deaf-{os.getpid()}").touch()
    while True:
        try:
            time.sleep(0.05)
        except BaseException:  # noqa: BLE001, S112 - the point of this op
            continue


@dg.job(executor_def=EXECUTOR)
def _deafened() -> None:
    deaf()


def deafened() -> dg.JobDefinition:
    return _deafened


@dg.op(out=dg.DynamicOut(int), tags={LANE_TAG: "cpu"})
def fan_out() -> Iterator[dg.DynamicOutput[int]]:
    for number in range(3):
        yield dg.DynamicOutput(number, mapping_key=str(number))


@dg.op(tags={LANE_TAG: "inline"})
def double(number: int) -> int:
    return 2 * number


@dg.op(tags={LANE_TAG: "cpu"})
def total(context: dg.OpExecutionContext, numbers: list[int]) -> int:
    context.log_event(dg.AssetObservation("total", metadata={"total": sum(numbers)}))
    return sum(numbers)


@dg.job(executor_def=EXECUTOR)
def _dynamic() -> None:
    total(fan_out().map(double).collect())


def dynamic() -> dg.JobDefinition:
    return _dynamic


@dg.op(out={"made": dg.Out(int), "left_out": dg.Out(int, is_required=False)})
def optional() -> Iterator[dg.Output[int]]:
    yield dg.Output(1, "made")


@dg.op
def takes(number: int) -> int:
    return number


@dg.job(executor_def=EXECUTOR)
def _skipping() -> None:
    made, left_out = optional()
    takes.alias("runs")(made)
    takes.alias("skipped")(left_out)


def skipping() -> dg.JobDefinition:
    return _skipping


@dg.op(tags={LANE_TAG: "inline"})
def fails_at_first() -> int:
    marker = Path(os.environ[FOLDER]) / "failed_once"
    if not marker.exists():
        marker.touch()
        raise ValueError("the first time")
    return 1


@dg.op(tags={LANE_TAG: "cpu"})
def begins() -> int:
    return 1


@dg.op(tags={LANE_TAG: "cpu"})
def ends(one: int, other: int) -> int:
    return one + other


@dg.job(executor_def=EXECUTOR)
def _again() -> None:
    ends(begins(), fails_at_first())


def again() -> dg.JobDefinition:
    return _again


@dg.success_hook
def leave_a_mark(context: dg.HookContext) -> None:
    (Path(os.environ[FOLDER]) / f"hook-{context.op.name}").touch()


@dg.job(executor_def=EXECUTOR, hooks={leave_a_mark})
def _hooked() -> None:
    for lane in ("inline", "cpu"):
        _op(f"hooked_{lane}", lane)()


def hooked() -> dg.JobDefinition:
    return _hooked


@dg.job(executor_def=EXECUTOR, tags={LANE_TAG: "express"})
def _misnamed() -> None:
    _op("plain", None)()


def misnamed() -> dg.JobDefinition:
    return _misnamed


@dg.asset(name="read", metadata={})
def read_asset(context: dg.AssetExecutionContext) -> None:
    context.add_output_metadata({"dagster/row_count": 3_000_000})


@dg.asset(name="heavy", deps=["read"], op_tags=PLANS)
def heavy_asset(context: dg.AssetExecutionContext) -> None:
    observe(context.op_execution_context)


@dg.asset(name="no_plans", deps=["read"])
def no_plans_asset(context: dg.AssetExecutionContext) -> None:
    observe(context.op_execution_context)


def by_rows() -> dg.JobDefinition:
    definitions = dg.Definitions(
        [read_asset, heavy_asset, no_plans_asset],
        jobs=[dg.define_asset_job("by_rows", executor_def=EXECUTOR)],
    )
    return definitions.resolve_job_def("by_rows")


def unopened(_: dg.InitResourceContext) -> None:
    raise ValueError("cannot be opened")


@dg.op(tags={LANE_TAG: "cpu"}, required_resource_keys={"store"})
def uses_store() -> None:
    pass


@dg.job(executor_def=EXECUTOR, resource_defs={"store": dg.ResourceDefinition(unopened)})
def _storeless() -> None:
    uses_store()


def storeless() -> dg.JobDefinition:
    return _storeless


@dg.op(tags={LANE_TAG: "inline"}, out=dg.Out(dg.Nothing))
def before_the_crash(context: dg.OpExecutionContext) -> None:
    observe(context)


@dg.op(tags={LANE_TAG: "gpu"}, ins=AFTER, out=dg.Out(dg.Nothing))
def crashes_once(context: dg.OpExecutionContext) -> None:
    crashes(context)


def crashes(context: dg.OpExecutionContext) -> None:
    """Stay until the run's process is killed; the next time go on."""
    begun = Path(os.environ[FOLDER]) / "begun"
    if not begun.exists():
        begun.touch()
        time.sleep(600)
    observe(context)


@dg.job(executor_def=EXECUTOR)
def _crashing() -> None:
    _op("after_the_crash", "cpu", ins=AFTER)(crashes_once(before_the_crash()))


def crashing() -> dg.JobDefinition:
    return _crashing


@dg.op(tags={LANE_TAG: "gpu"})
def moved_then_crashes_once(context: dg.OpExecutionContext) -> None:
    """Fail on a device with its error as it is; on the CPU stay once until the run is killed."""
    if ENGINE.choice.kind == "gpu":
        raise DeviceMemoryError(f"device {ENGINE.choice.device}: 9 GiB asked, 8 GiB there")
    crashes(context)


@dg.job(executor_def=EXECUTOR)
def _crashing_moved() -> None:
    moved_then_crashes_once()


def crashing_moved() -> dg.JobDefinition:
    return _crashing_moved


def await_file(path: Path, seconds: float = 60.0) -> None:
    """Return when the file is there."""
    until = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"{path.name} did not come within {seconds} s")
        time.sleep(0.01)
