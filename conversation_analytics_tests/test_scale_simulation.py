"""The sums of docs/scale.md: `benchmarks/shared/scale.py`."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from conversation_analytics.lake.encoding import MAX_PARTS

SOURCE = Path(__file__).parents[1] / "benchmarks" / "shared" / "scale.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("scale_of_benchmarks", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


scale = load()
COSTS = scale.TurnCosts(
    stored={"raw": 400.0, "curated": 300.0, "partials": 50.0, "documents": 1000.0},
    cpu_s={"typing": 4e-5, "partials": 6e-6, "documents": 2e-4},
    by_thread=frozenset({"typing", "documents"}),
    memory_bytes=2000.0,
    messages_bytes=250.0,
    frame_bytes=800.0,
    documents=1.3,
)
MACHINE = scale.Machine(cores=10, memory_bytes=10e9, usable=0.5, efficiency=0.6, gpu_bytes=24e9)
RATES, PRICES = scale.Rates(), scale.Prices(2.0, 0.01, 0.1)
ONE, DASK, KUBERNETES = scale.DEPLOYMENTS
SIZES = (1, 10**3, 10**6, 10**8, 10**10)


def at(turns: float, deployment: Any = ONE, **changed: Any) -> Any:
    given = {"machine": MACHINE, "rates": RATES, "prices": PRICES, **changed}
    return scale.placed(COSTS, turns, deployment, **given)


def test_zones_and_stages_add_up() -> None:
    assert scale.stored_bytes(COSTS, 10**6) == {
        "raw": 4e8, "curated": 3e8, "partials": 5e7, "documents": 1e9,
    }  # fmt: skip
    assert scale.cpu_seconds(COSTS, 10**6) == pytest.approx(40 + 6 + 200)
    # What one thread does takes its time, what Polars does a sixth: ten cores at 0.6.
    assert scale.working_s(COSTS, 10**6, MACHINE) == pytest.approx(40 + 1 + 200)


def test_money_is_hours_of_machines_and_gigabytes_of_months() -> None:
    found = at(10**6)
    assert found.compute == pytest.approx(24 * 2.0)  # the one machine is paid all day
    assert found.storage_month == pytest.approx(0.75 * 0.01 + 1.0 * 0.1)
    pods = at(10**6, KUBERNETES)
    assert pods.compute == pytest.approx((45 + 241) / 3600 * 2.0)
    assert at(10**6, DASK).compute == pytest.approx(10 * found.compute)


def test_a_day_takes_as_long_as_its_parts_one_after_the_other() -> None:
    outside = 10**6 / 3240 + 1.3e6 / 20_000
    assert at(10**6).day_s == pytest.approx(outside + 241)
    assert at(10**6, KUBERNETES).day_s == pytest.approx(outside + 45 + 241)
    assert at(10**6).days_an_hour == pytest.approx(3600 / max(outside, 241))


@pytest.mark.parametrize("deployment", scale.DEPLOYMENTS, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "name", ["day_s", "shards", "machines", "compute", "storage_month", "cpu", "stored"]
)
def test_more_turns_never_take_less(deployment: Any, name: str) -> None:
    values = []
    for turns in SIZES:
        if name == "cpu":
            values.append(scale.cpu_seconds(COSTS, turns))
        elif name == "stored":
            values.append(sum(scale.stored_bytes(COSTS, turns).values()))
        else:
            values.append(getattr(at(turns, deployment), name))
    assert values == sorted(values)
    assert all(value > 0 for value in values)


def test_more_turns_never_make_a_backfill_faster() -> None:
    rates = [at(turns, DASK).days_an_hour for turns in SIZES]
    assert rates == sorted(rates, reverse=True)


def test_a_day_is_divided_where_it_no_longer_fits() -> None:
    fits = 10e9 * 0.5 / 2000
    assert at(fits).shards == 1
    assert at(fits + 1).shards == 2
    assert at(100 * fits).shards == 100
    assert at(100 * fits).machines == 1
    assert at(100 * fits, DASK).machines == 10
    alone, cluster = at(100 * fits), at(100 * fits, DASK)
    outside = 100 * fits / 3240 + 130 * fits / 20_000
    assert alone.day_s - outside == pytest.approx(10 * (cluster.day_s - outside - 10))


def test_what_breaks_first_stands_first() -> None:
    found = scale.limits(COSTS, MACHINE, RATES)
    turns = {one.what: one.turns for one in found}
    assert [one.turns for one in found] == sorted(turns.values())
    assert turns["one day is one object in memory"] == 2.5e6
    assert turns["memory of the GPU"] == 24e9 / 2400
    assert turns["reading the source"] == 3240 * 86_400
    assert turns["writing documents"] == pytest.approx(20_000 / 1.3 * 86_400)
    assert turns["stages of one thread"] == pytest.approx(86_400 / 241e-6)
    assert turns[f"{MAX_PARTS} parts of a partition"] == MAX_PARTS * 2_048e6 / 250
    assert all(one.turn for one in found)
    assert "memory of the GPU" not in {
        one.what for one in scale.limits(COSTS, scale.Machine(), RATES)
    }


def test_a_thousand_partitions_are_listed_with_one_request() -> None:
    assert scale.listing_s(1000, 20, RATES) == pytest.approx(20 * 0.1)
    assert scale.listing_s(3650, 20, RATES) == pytest.approx(4 * 20 * 0.1)


def test_a_larger_machine_moves_the_limit_and_not_the_work() -> None:
    larger = scale.Machine(cores=10, memory_bytes=20e9, usable=0.5, efficiency=0.6)
    assert scale.working_s(COSTS, 10, larger) == scale.working_s(COSTS, 10, MACHINE)
    assert at(4e6, machine=larger).shards == 1 < at(4e6).shards
    assert math.isclose(at(4e6, machine=larger).storage_month, at(4e6).storage_month)
