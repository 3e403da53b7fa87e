"""What a day of many messages takes, from what one message takes: sums, and nothing read or run.

Sizes are in bytes, times in seconds, money in whatever the prices are in. A turn is a row of the
messages; its share of conversations, ratings and reports is counted with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DAY_S = 86_400
HOUR_S = 3_600
DAYS_A_MONTH = 30
PARTS_A_PARTITION = 1000
"""Objects of a partition at most: `lake.encoding.MAX_PARTS`."""


@dataclass(frozen=True, slots=True)
class TurnCosts:
    """What one turn takes, measured.

    Attributes:
        stored: bytes by zone: `raw`, `curated`, `language`, `partials`, `reports`, `documents`.
        cpu_s: processor seconds by stage.
        by_thread: stages that one thread does for a day; Polars does the others with all cores.
        memory_bytes: by which the peak of a day grows with each turn.
        messages_bytes: of the largest table's file.
        frame_bytes: of that table in memory, decoded.
        documents: that are written.
    """

    stored: Mapping[str, float]
    cpu_s: Mapping[str, float]
    by_thread: frozenset[str]
    memory_bytes: float
    messages_bytes: float
    frame_bytes: float
    documents: float


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, or what a pod asks for.

    Attributes:
        cores: of them.
        memory_bytes: of it.
        usable: share of the memory that a day may take.
        efficiency: of the cores where Polars uses all.
        gpu_bytes: memory of its GPU; 0: it has none.
    """

    cores: int = 16
    memory_bytes: float = 64e9
    usable: float = 0.7
    efficiency: float = 0.6
    gpu_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Rates:
    """What servers around it do.

    Attributes:
        source_rows_s: rows that the source serves.
        documents_s: documents that the store takes.
        list_request_s: a request that lists up to 1000 objects.
        target_part_bytes: PARQUET_TARGET_FILE_SIZE_MB.
        gpu_copies: times the decoded columns that a plan needs of the GPU's memory.
    """

    source_rows_s: float = 3_240
    documents_s: float = 20_000
    list_request_s: float = 0.1
    target_part_bytes: float = 2_048e6
    gpu_copies: float = 3.0


@dataclass(frozen=True, slots=True)
class Prices:
    """Of one's own provider; the defaults are round numbers and no provider's.

    Attributes:
        machine_hour: of a machine.
        lake_gb_month: of 10^9 bytes in the lake.
        documents_gb_month: of 10^9 bytes in the document store.
    """

    machine_hour: float = 1.0
    lake_gb_month: float = 0.02
    documents_gb_month: float = 0.2


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the steps run.

    Attributes:
        name: what it is called.
        machines: that may work at once.
        start_s: until a run begins to work on a machine.
        paid_idle: whether machines are paid all day, or while they work.
    """

    name: str
    machines: int
    start_s: float
    paid_idle: bool


DEPLOYMENTS = (
    Deployment("one machine", 1, 0.0, paid_idle=True),
    Deployment("Dask cluster", 10, 1.0, paid_idle=True),
    Deployment("Kubernetes", 100, 45.0, paid_idle=False),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds up a day.

    Attributes:
        what: it is.
        turns: of one day in one deployment, from which on.
        turn: what to turn then.
    """

    what: str
    turns: float
    turn: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A day in a deployment.

    Attributes:
        deployment: which.
        shards: deployments of their own (by app) that the day has to be divided into, so that each
            fits into a machine's memory.
        machines: that the day keeps busy at once.
        day_s: until the day is done, from the rows being there to be read.
        days_an_hour: of a backfill over many days.
        compute: money for the day's work.
        storage_month: money for a month of keeping one day.
    """

    deployment: str
    shards: int
    machines: int
    day_s: float
    days_an_hour: float
    compute: float
    storage_month: float


def stored_bytes(costs: TurnCosts, turns: float) -> dict[str, float]:
    """Return what a day takes by zone."""
    return {zone: size * turns for zone, size in costs.stored.items()}


def cpu_seconds(costs: TurnCosts, turns: float) -> float:
    """Return the processor time of a day over all stages."""
    return sum(costs.cpu_s.values()) * turns


def working_s(costs: TurnCosts, turns: float, machine: Machine) -> float:
    """Return how long one machine works on the turns of a day, the source and store aside."""
    together = max(1.0, machine.cores * machine.efficiency)
    return turns * sum(
        cpu_s / (1.0 if stage in costs.by_thread else together)
        for stage, cpu_s in costs.cpu_s.items()
    )


def limits(costs: TurnCosts, machine: Machine, rates: Rates) -> tuple[Limit, ...]:
    """Return what holds up a day in one deployment, what does so first at the front.

    A rate holds up where a day's rows take a day.
    """
    found = [
        Limit(
            "reading the source",
            rates.source_rows_s * DAY_S,
            "IO_THREADS, then NocoDB servers over one database, then another way into the raw zone",
        ),
        Limit(
            "one day is one object in memory",
            machine.memory_bytes * machine.usable / costs.memory_bytes,
            "more memory, or a deployment for each group of apps (S3_PREFIX)",
        ),
        Limit(
            "stages of one thread",
            DAY_S / working_s(costs, 1, machine),
            "a deployment for each group of apps: days beside each other do not make one faster",
        ),
        Limit(
            "writing documents",
            rates.documents_s / costs.documents * DAY_S,
            "a sharded cluster, fewer documents (MONGODB_TTL_DAYS), or the lake alone",
        ),
        Limit(
            f"{PARTS_A_PARTITION} parts of a partition",
            PARTS_A_PARTITION * rates.target_part_bytes / costs.messages_bytes,
            "PARQUET_TARGET_FILE_SIZE_MB",
        ),
    ]
    if machine.gpu_bytes:
        found.append(
            Limit(
                "memory of the GPU",
                machine.gpu_bytes / (costs.frame_bytes * rates.gpu_copies),
                "nothing: the step is repeated on the CPU; GPU_MEMORY_LIMIT, a larger GPU",
            )
        )
    return tuple(sorted(found, key=lambda one: one.turns))


def listing_s(days: int, tables: int, rates: Rates) -> float:
    """Return what it takes to list the partitions of all tables: 1000 objects a request."""
    return math.ceil(days / 1000) * tables * rates.list_request_s


def placed(
    costs: TurnCosts,
    turns: float,
    deployment: Deployment,
    machine: Machine,
    rates: Rates,
    prices: Prices,
) -> Placed:
    """Return what a day takes in a deployment.

    The source and the document store are those of one deployment, and serve all its shards.
    """
    fits = machine.memory_bytes * machine.usable / costs.memory_bytes
    shards = max(1, math.ceil(turns / fits))
    machines = min(shards, deployment.machines)
    own_s = working_s(costs, turns / shards, machine)
    rounds = math.ceil(shards / machines)
    worked_s = rounds * (deployment.start_s + own_s)
    outside_s = turns / rates.source_rows_s + turns * costs.documents / rates.documents_s
    day_s = outside_s + worked_s
    paid_s = (
        max(DAY_S, day_s) * deployment.machines
        if deployment.paid_idle
        else shards * (deployment.start_s + own_s)
    )
    stored = stored_bytes(costs, turns)
    documents = stored.get("documents", 0.0)
    lake = sum(stored.values()) - documents
    together = deployment.machines / (shards * (deployment.start_s + own_s))
    return Placed(
        deployment.name,
        shards,
        machines,
        day_s,
        HOUR_S * min(together, 1 / outside_s),
        paid_s / HOUR_S * prices.machine_hour,
        (lake * prices.lake_gb_month + documents * prices.documents_gb_month) / 1e9,
    )
