"""Processor time and memory of a piece of work, each time in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Measured:
    """What a piece of work took.

    Attributes:
        cpu_s: processor time of all threads, without the start of the process and imports.
        peak_bytes: of resident memory, with the interpreter and imports.
    """

    cpu_s: float
    peak_bytes: int


def alone(
    work: Callable[..., object], *arguments: object, before: Callable[..., object] | None = None
) -> Measured:
    """Run a function, at the top of a module, in a fresh process; say what it took there.

    Args:
        work: what is measured.
        arguments: of `work`, and of `before`.
        before: what is done there first, and not measured but for its memory.
    """
    # Spawned, because a fork would begin with the memory of this process.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        if before is not None:
            pool.submit(before, *arguments).result()
        return pool.submit(_run, work, arguments).result()


def medians(
    ways: Mapping[str, Callable[..., object]],
    *arguments: object,
    rounds: int,
    before: Callable[..., object] | None = None,
) -> dict[str, Measured]:
    """Run each of the ways in turn, so many times; return the medians of what `alone` tells."""
    taken: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(alone(way, *arguments, before=before))
    return {
        name: Measured(
            statistics.median(one.cpu_s for one in several),
            int(statistics.median(one.peak_bytes for one in several)),
        )
        for name, several in taken.items()
    }


def print_beside(taken: Mapping[str, Measured], peer: str) -> None:
    """Print what each took, and its ratio to what the peer took."""
    print(f"{'':34} {'CPU s':>8} {'ratio':>6} {'peak MB':>8} {'ratio':>6}")
    beside = taken[peer]
    for name, one in taken.items():
        print(
            f"{name:34} {one.cpu_s:8.3f} {one.cpu_s / beside.cpu_s:6.3f} "
            f"{one.peak_bytes / 1e6:8.0f} {one.peak_bytes / beside.peak_bytes:6.2f}"
        )


def _run(work: Callable[..., object], arguments: tuple[object, ...]) -> Measured:
    begun = time.process_time()
    work(*arguments)
    taken = time.process_time() - begun
    return Measured(taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
