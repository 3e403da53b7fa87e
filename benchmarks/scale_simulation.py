"""What a day of 1 M, 100 M and 10 G messages takes: storage, time, money, and what breaks first.

Costs of a turn are measured here: the daily job runs over a sample day twice, in processes of its
own, small and large, and each stage, zone and the peak of memory is the difference between the two,
by turn; what does not grow with the day drops out. The rest is arithmetic (`shared/scale.py`),
which docs/scale.md explains. What servers do and what things cost are arguments; their defaults
are round numbers or figures told there: set your own.

python benchmarks/scale_simulation.py [--turns 12000] [--cores 16] [--memory-gb 64] ...
"""

from __future__ import annotations

import argparse
import datetime as dt
import multiprocessing
import resource
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from shared.scale import (
    DAYS_A_MONTH,
    DEPLOYMENTS,
    Machine,
    Prices,
    Rates,
    TurnCosts,
    cpu_seconds,
    limits,
    listing_s,
    placed,
    stored_bytes,
)

from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.tables import TABLES
from conversation_analytics.definitions import build_definitions
from conversation_analytics.documents.encoding import json_text
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.sample.traffic import SampleTraffic
from conversation_analytics.settings import Settings, parse_settings

DAY = dt.date(2026, 11, 11)
SIZES = {"1 M": 10**6, "100 M": 10**8, "10 G": 10**10}
FRACTION = 4
"""The small day is so much smaller than the large one."""
COLLECTIONS = ("conversations", "messages", "categories", "analytics_reports")
STAGES = {
    "raw": "keeping raw rows",
    "curated": "typing",
    "language": "languages",
    "partials": "partials",
    "reports": "reports",
    "categories": "categories (embedding)",
    "documents": "documents",
}
BY_THREAD = frozenset(STAGES[zone] for zone in STAGES.keys() - {"partials", "reports"})


@dataclass(frozen=True, slots=True)
class MeasuredDay:
    """What a day took.

    Attributes:
        turns: that it has.
        stored: bytes by zone; of documents as JSON text, without indexes.
        cpu_s: processor seconds by stage.
        peak_bytes: of resident memory.
        messages_bytes: of the file of messages.
        frame_bytes: of the messages in memory.
        documents: that it has.
    """

    turns: int
    stored: dict[str, float]
    cpu_s: dict[str, float]
    peak_bytes: int
    messages_bytes: int
    frame_bytes: int
    documents: int


def zone_of(name: str) -> str:
    """Return the zone of an asset or table."""
    if name.startswith("raw_"):
        return "raw"
    if name.endswith("_documents"):
        return "documents"
    if name in {"message_language", "translations", "translation_memory"}:
        return "language"
    if name == "categories":
        return name
    if "partials" in name:
        return "partials"
    return "reports" if "report" in name or name == "model_performance" else "curated"


def run_day(turns: int, folder: str) -> MeasuredDay:
    """Run the daily job over the day, with embedded stores; every stage by the clock of the CPU."""
    warnings.simplefilter("ignore")  # Dagster's, of what is beta in it
    root = Path(folder)
    settings = parse_settings(
        {
            "PARQUET_BASE_DIR": str(root / "lake"),
            "SQLITE_PATH": str(root / "documents.sqlite"),
            "ANALYTICS_START_DATE": DAY.isoformat(),
            "SAMPLE_TURNS_PER_DAY": str(turns),
            "SOURCE_FRESH_HOURS": "0",
            "EXECUTOR": "in_process",
        }
    )
    cpu_s: dict[str, float] = {}
    last = time.process_time()

    def on_partition(asset: str, _key: str | None) -> None:
        nonlocal last
        now = time.process_time()
        stage = STAGES[zone_of(asset)]
        cpu_s[stage] = cpu_s.get(stage, 0.0) + now - last
        last = now

    job = build_definitions(settings, on_partition).resolve_job_def("daily")
    day = DAY.isoformat()
    tags = {"dagster/asset_partition_range_start": day, "dagster/asset_partition_range_end": day}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job.execute_in_process(quiet, tags=tags)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    before = time.process_time()
    traffic = SampleTraffic(turns_per_day=turns)
    made = (traffic.conversations(DAY), traffic.messages(DAY), traffic.feedbacks(DAY))
    generated_s = time.process_time() - before  # the source's work, not ours
    cpu_s[STAGES["raw"]] = max(0.0, cpu_s[STAGES["raw"]] - generated_s)
    return told(settings, len(made[1]), cpu_s, peak)


def told(settings: Settings, turns: int, cpu_s: dict[str, float], peak: int) -> MeasuredDay:
    """Return what a day that is stored takes."""
    lake, key = open_lake(settings), DAY.isoformat()
    root = Path(settings.values["PARQUET_BASE_DIR"])
    stored: dict[str, float] = {}
    for table in TABLES:
        files = root.glob(f"{table.name}/year=*/month=*/day=*/*.parquet")
        size = sum(path.stat().st_size for path in files)
        zone = "language" if table.name == "categories" else zone_of(table.name)
        stored[zone] = stored.get(zone, 0.0) + size
    pages = (path.stat().st_size for path in (root / "reports").rglob("*") if path.is_file())
    stored["reports"] += sum(pages)
    with closing(open_documents(settings)) as store:
        sizes = [
            len(json_text(one).encode()) for name in COLLECTIONS for one in store.find(name, {})
        ]
    stored["documents"] = float(sum(sizes))
    frame = lake.read(MESSAGES, key)
    files = (root / MESSAGES.name).rglob("*.parquet")
    return MeasuredDay(
        turns, stored, cpu_s, peak, sum(path.stat().st_size for path in files),
        int(frame.estimated_size()), len(sizes),
    )  # fmt: skip


def costs_of(small: MeasuredDay, large: MeasuredDay) -> TurnCosts:
    """Return what each further turn takes; noise that would be a gain counts as nothing."""
    more = large.turns - small.turns

    def by_turn(before: float, after: float) -> float:
        return max(0.0, after - before) / more

    return TurnCosts(
        stored={zone: by_turn(small.stored[zone], large.stored[zone]) for zone in large.stored},
        cpu_s={stage: by_turn(small.cpu_s[stage], large.cpu_s[stage]) for stage in large.cpu_s},
        by_thread=BY_THREAD,
        memory_bytes=by_turn(small.peak_bytes, large.peak_bytes),
        messages_bytes=by_turn(small.messages_bytes, large.messages_bytes),
        frame_bytes=by_turn(small.frame_bytes, large.frame_bytes),
        documents=by_turn(small.documents, large.documents),
    )


def measure(turns: int) -> TurnCosts:
    """Run both days, each in a process of its own."""
    days = []
    context = multiprocessing.get_context("spawn")
    for size in (turns // FRACTION, turns):
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(max_workers=1, mp_context=context) as pool,
        ):
            days.append(pool.submit(run_day, size, folder).result())
    return costs_of(*days)


def show(costs: TurnCosts, machine: Machine, rates: Rates, prices: Prices) -> None:
    """Print the tables of docs/scale.md."""
    print("\na turn takes")
    for zone, size in costs.stored.items():
        print(f"  {zone:<24}{size:>10.0f} bytes")
    for stage, cpu_s in costs.cpu_s.items():
        print(
            f"  {stage:<24}{cpu_s * 1e6:>10.0f} CPU us{'' if stage in BY_THREAD else ' (Polars)'}"
        )
    print(f"  {'memory of its day':<24}{costs.memory_bytes:>10.0f} bytes")
    print(f"  {'documents':<24}{costs.documents:>10.2f}")
    for name, turns in SIZES.items():
        stored = stored_bytes(costs, turns)
        print(f"\na day of {name} turns: {cpu_seconds(costs, turns) / 3600:,.1f} CPU hours")
        sizes = ", ".join(f"{zone} {size / 1e9:,.2f}" for zone, size in stored.items())
        print(f"  GB: {sizes}, in all {sum(stored.values()) / 1e9:,.2f}")
        for deployment in DEPLOYMENTS:
            one = placed(costs, turns, deployment, machine, rates, prices)
            print(
                f"  {one.deployment:<14}{one.shards:>7,} shards on {one.machines:>3} machines, "
                f"{one.day_s / 3600:>10,.2f} h, backfill {one.days_an_hour:>9,.3f} days/h, "
                f"compute {one.compute:>11,.2f}, keeping it a month {one.storage_month:>11,.2f}"
            )
    print("\nwhat breaks first, in turns a day of one deployment")
    for limit in limits(costs, machine, rates):
        print(f"  {limit.turns:>16,.0f}  {limit.what}: {limit.turn}")
    days = 10 * 12 * DAYS_A_MONTH
    print(
        f"listing {days} days of {len(TABLES)} tables takes "
        f"{listing_s(days, len(TABLES), rates):.1f} s, whatever a day holds"
    )


def main() -> None:
    """Measure, and print the simulation."""
    own, served, paid = Machine(), Rates(), Prices()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=12_000, help="of the large day measured")
    parser.add_argument("--cores", type=int, default=own.cores)
    parser.add_argument("--memory-gb", type=float, default=own.memory_bytes / 1e9)
    parser.add_argument("--gpu-gb", type=float, default=24.0)
    parser.add_argument("--source-rows-s", type=float, default=served.source_rows_s)
    parser.add_argument("--documents-s", type=float, default=served.documents_s)
    parser.add_argument("--machine-hour", type=float, default=paid.machine_hour)
    parser.add_argument("--lake-gb-month", type=float, default=paid.lake_gb_month)
    parser.add_argument("--documents-gb-month", type=float, default=paid.documents_gb_month)
    told = parser.parse_args()
    machine = Machine(told.cores, told.memory_gb * 1e9, gpu_bytes=told.gpu_gb * 1e9)
    rates = Rates(told.source_rows_s, told.documents_s)
    prices = Prices(told.machine_hour, told.lake_gb_month, told.documents_gb_month)
    print(f"days of {told.turns // FRACTION} and {told.turns} turns ...", flush=True)
    show(measure(told.turns), machine, rates, prices)


if __name__ == "__main__":
    main()
