"""What the executor with lanes costs a run, against Dagster's own executors.

Steps do nothing, or are those of a small day of the platform. Each process executes two runs. The
first is what a run worker sees: what it imports lazily and a fork server are paid by it. The second
is warm: what is left are the executor's own ways. Rounds are interleaved; medians of wall time.

    python benchmarks/executor_overhead.py [ROUNDS]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob

from conversation_analytics.core.engine import CpuEngine, Engine, EngineChoice
from conversation_analytics.core.lanes import LANE_TAG
from conversation_analytics.definitions import build_definitions, settings_of_process
from conversation_analytics.executors.lanes_definition import LaneDefaults, lanes_executor
from conversation_analytics.executors.workers import PRELOAD

DAY = "2026-11-09"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
GOALS = {"lanes, inline": 1.5, "lanes, cpu": 3.5}
EMPTY = ("in_process", "lanes, inline", "lanes, cpu", "lanes, gpu", "forkserver", "spawn")
OF_A_DAY = ("in_process", "lanes", "lanes, cpu", "forkserver", "spawn")


def open_pretended(choice: EngineChoice) -> Engine:
    """Open what computes on the CPU and says that it is a GPU."""
    return CpuEngine(choice)


def pretended_devices() -> list[str]:
    """Return one device that is none."""
    return ["pretended-0"]


def executor(variant: str) -> dg.ExecutorDefinition:
    """Return the executor of a variant."""
    if variant.startswith("lanes"):
        return lanes_executor(LaneDefaults(gpu=True), open_pretended, pretended_devices)
    if variant == "in_process":
        return dg.in_process_executor
    start = {"forkserver": {"preload_modules": list(PRELOAD)}}
    return dg.multiprocess_executor.configured(
        {"max_concurrent": 2, "start_method": {"spawn": {}} if variant == "spawn" else start}
    )


def empty_job(variant: str, steps: int) -> dg.JobDefinition:
    """Return a chain of steps that do nothing."""
    lane = variant.partition(", ")[2]

    @dg.job(name="empty", executor_def=executor(variant), tags={LANE_TAG: lane} if lane else None)
    def empty() -> None:
        last = None
        for number in range(steps):

            @dg.op(
                name=f"step_{number}",
                ins={"after": dg.In(dg.Nothing)} if number else {},
                out=dg.Out(dg.Nothing),
                tags={LANE_TAG: lane} if lane else None,
            )
            def step() -> None:
                pass

            last = step(last) if number else step()

    return empty


def day_job(variant: str) -> dg.JobDefinition:
    """Return the platform's daily job, with the executor of a variant."""
    definitions = build_definitions(settings_of_process())
    return dg.Definitions.merge(
        dg.Definitions(
            assets=definitions.assets, asset_checks=definitions.asset_checks,
            jobs=definitions.jobs, resources=definitions.resources,
        ),
        dg.Definitions(executor=executor(variant)),
    ).resolve_job_def("daily")  # fmt: skip


def one(variant: str, steps: int) -> None:
    """Execute two runs and print their times, and how many workers the second had."""
    function, arguments = (empty_job, (variant, steps)) if steps else (day_job, (variant,))
    job = dg.build_reconstructable_job(
        "executor_overhead", function.__name__, arguments,  # type: ignore[arg-type]
        reconstructor_working_directory=str(Path(__file__).parent),
    )  # fmt: skip
    tags = {LANE_TAG: "cpu"} if variant == "lanes, cpu" else {}
    if not steps:
        tags["dagster/partition"] = DAY
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        job.get_definition()
        if not steps:
            _record_rows(job.get_definition(), instance)
        first, _ = _timed(job, instance, tags)
        second, workers = _timed(job, instance, tags)
    print(json.dumps([first, second, workers]))


def _timed(
    job: ReconstructableJob, instance: dg.DagsterInstance, tags: dict[str, str]
) -> tuple[float, int]:
    """Execute a run and return its seconds and how many processes it had beside its own."""
    began = time.perf_counter()
    result = dg.execute_job(job, instance, run_config=QUIET, tags=tags)
    wall = time.perf_counter() - began
    if not result.success:
        raise SystemExit("the run failed")
    started = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_START)
    pids = {entry.dagster_event.pid for entry in started if entry.dagster_event}
    return wall, len(pids - {os.getpid()})


def _record_rows(job: dg.JobDefinition, instance: dg.DagsterInstance) -> None:
    """Record the day's rows as the run before has: it is not the first run of its life."""
    for key in job.asset_layer.executable_asset_keys:
        made = dg.AssetMaterialization(key, partition=DAY, metadata={"dagster/row_count": 60})
        instance.report_runless_asset_event(made)


def measure(variants: tuple[str, ...], steps: int, rounds: int) -> None:
    """Print a line a variant: seconds, and ratios to the first one."""
    found: dict[str, list[list[float]]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            with tempfile.TemporaryDirectory() as folder:
                found[variant].append(_run(variant, steps, folder))
    title = f"{steps} empty steps" if steps else "the job `daily` for a day of 60 turns"
    print(f"\n{title}, medians of {rounds}")
    base = [statistics.median(column) for column in zip(*found[variants[0]], strict=True)]
    for variant, rows in found.items():
        first, second, workers = (statistics.median(column) for column in zip(*rows, strict=True))
        goal = GOALS.get(variant) if steps else None
        print(
            f"  {variant:14} first {first:6.2f} s, {first / base[0]:5.2f} of in_process;"
            f" warm {second:6.2f} s, {second / base[1]:5.2f}; {workers:.0f} workers"
            + (f"; goal, warm: at most {goal}" if goal else "")
        )


def _run(variant: str, steps: int, folder: str) -> list[float]:
    environment = {
        **os.environ,
        "PARQUET_BASE_DIR": f"{folder}/lake",
        "SQLITE_PATH": f"{folder}/documents.sqlite",
        "ANALYTICS_START_DATE": DAY,
        "SAMPLE_TURNS_PER_DAY": "60",
        "SOURCE_FRESH_HOURS": "0",
        "PYTHONPATH": str(Path(__file__).parent),
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(  # noqa: S603 - this script
        [sys.executable, __file__, "--one", variant, str(steps)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return [float(value) for value in json.loads(done.stdout.splitlines()[-1])]


def main() -> None:
    """Measure everything."""
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], int(sys.argv[3]))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    measure(EMPTY, 1, rounds)
    measure(EMPTY, 6, rounds)
    measure(OF_A_DAY, 0, (rounds + 1) // 2)


if __name__ == "__main__":
    main()
