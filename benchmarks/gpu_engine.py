"""Each job of the analytics on the CPU, in memory and streaming, and on the GPU: ratios, same rows.

The jobs read made-up days from a lake as the platform does (decoded where a GPU is to compute), and
what an engine computes is compared with what the CPU computed in memory before anything is timed.
At the end the GPU is given too little memory, and the step's way out, the streaming engine, is
shown to give the same rows. Wall time, the best of three rounds in one process: a device that has
to be started for each round would be all that is seen.

Without a GPU the jobs run on the CPU alone, over fewer turns, and it is said what was not run.

python benchmarks/gpu_engine.py [--turns 10000000] [--require-gpu]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.testing import assert_frame_equal
from shared.made_up_days import day_of, file_of, partials_in, write_day
from shared.measured import alone

from conversation_analytics.core.conversation_texts import conversation_texts, first_queries
from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU, CpuEngine, Engine, EngineChoice, taken_by
from conversation_analytics.core.errors import DeviceMemoryError, DeviceUnavailableError
from conversation_analytics.core.model_performance import model_performance
from conversation_analytics.core.partials import daily_partials, merged_kinds, partials_of_days
from conversation_analytics.core.period_report import period_report
from conversation_analytics.core.periods import Period
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    FEEDBACKS,
    MESSAGES,
)
from conversation_analytics.core.topics import find_topics, nearest_topic
from conversation_analytics.core.user_analytics import fold_input, user_analytics, users_of_days
from conversation_analytics.language.embedders import USE_MULTILINGUAL
from conversation_analytics.resources.engines import embedder_of, open_engine

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Sequence

    from conversation_analytics.core.embedding import Vectors

DAYS = 7
ROUNDS = 3
TURNS = 10_000_000
TURNS_WITHOUT_GPU = 350_000
TOO_LITTLE = 32 * 2**20
STREAMING = CpuEngine(EngineChoice("cpu-streaming"))
TEXTS = 5000
ASKED = (
    ("Where is my order", "parcel"), ("I want my money back for", "item"),
    ("How do I change", "the password"), ("Wo bleibt meine Rechnung", "Kunde"),
    ("No puedo entrar en mi cuenta", "usuario"), ("The app is broken on", "phone"),
)  # fmt: skip
WORDS = ("order", "item", "invoice", "refund", "change", "cancel", "delivery", "password")


def rows(folder: Path, number: int, engine: Engine) -> list[pl.LazyFrame]:
    """Return conversations, messages and ratings of a day, as the engine takes them."""
    tables = (CONVERSATIONS, MESSAGES, FEEDBACKS)
    return [taken_by(engine, pl.scan_parquet(file_of(folder, table, number))) for table in tables]


def partials_job(folder: Path, engine: Engine) -> pl.DataFrame:
    """Return the partials of all days, rephrased turns counted."""
    days = []
    for number in range(DAYS):
        conversations, turns, ratings = rows(folder, number, engine)
        again = rephrased_turns(turns, engine).lazy()
        plan = daily_partials(conversations, turns, ratings, day=day_of(number), rephrases=again)
        days.append(DAILY_PARTIALS.conform(engine.collect(plan)))
    return pl.concat(days)


def held(folder: Path, number: int, engine: Engine) -> pl.LazyFrame:
    """Return the partials of a day from the lake, as the engine takes them."""
    lake = partials_in(folder)
    return taken_by(engine, lake.scan(DAILY_PARTIALS, day_of(number).isoformat())[0])


def reports_job(folder: Path, engine: Engine) -> pl.DataFrame:
    """Return the daily report of all days."""
    return pl.concat(
        daily_report(held(folder, number, engine), day_of(number), engine) for number in range(DAYS)
    )


def models_job(folder: Path, engine: Engine) -> pl.DataFrame:
    """Return the models of all days side by side."""
    return pl.concat(
        model_performance(held(folder, number, engine), day_of(number), engine)
        for number in range(DAYS)
    )


def users_job(folder: Path, engine: Engine) -> pl.DataFrame:
    """Return the table of users: its input by the engine, the fold itself is in memory."""

    def days() -> Iterator[tuple[dt.date, pl.DataFrame]]:
        for number in range(DAYS):
            yield day_of(number), engine.collect(fold_input(held(folder, number, engine)))

    return user_analytics(users_of_days(days()))


def period_job(folder: Path, engine: Engine) -> pl.DataFrame:
    """Return the report of the days as if they were a week, merged."""
    days = (engine.collect(merged_kinds(held(folder, number, engine))) for number in range(DAYS))
    nothing = DAILY_PARTIALS.empty().lazy()
    start = Period.WEEK.start_of(day_of(0))
    return period_report(partials_of_days(days), nothing, Period.WEEK, start, engine, days=DAYS)


def texts_job(folder: Path, engine: Engine) -> pl.DataFrame:
    """Return the texts of conversations of each day, and how often words stand in them."""
    found = []
    for number in range(DAYS):
        turns = rows(folder, number, engine)[1]
        # An alternation is counted in one pass over the text; lists of words do not translate.
        counts = [
            pl.col("text").str.count_matches(word).alias(word) for word in (*WORDS, "|".join(WORDS))
        ]
        plan = conversation_texts(first_queries(turns)).with_columns(counts)
        found.append(engine.collect(plan.sort("conversation_id")))
    return pl.concat(found)


JOBS: dict[str, Callable[[Path, Engine], pl.DataFrame]] = {
    "daily partials": partials_job,
    "daily report": reports_job,
    "model performance": models_job,
    "users": users_job,
    "period merge": period_job,
    "keyword text features": texts_job,
}


def best_s(job: Callable[[Path, Engine], pl.DataFrame], folder: Path, engine: Engine) -> float:
    """Return the shortest wall time of the rounds."""
    taken = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        job(folder, engine)
        taken.append(time.perf_counter() - before)
    return min(taken)


def device_name() -> str:
    """Return the name of the GPU, as its driver tells it."""
    runtime = importlib.import_module("cuda.bindings.runtime")
    _, properties = runtime.cudaGetDeviceProperties(0)
    return str(properties.name.decode().rstrip("\0"))


def gpu_engine() -> tuple[Engine | None, str]:
    """Return the GPU's engine and the device's name; or none, and why."""
    try:
        return open_engine(EngineChoice("gpu")), device_name()
    except DeviceUnavailableError as error:
        return None, str(error)


def same(found: pl.DataFrame, expected: pl.DataFrame, what: str) -> str:
    """Return how rows agree: whole numbers and texts exactly, floats within 1e-9 of each other.

    Raises:
        SystemExit: they do not.
    """
    if found.equals(expected):
        return "same bytes"
    try:
        assert_frame_equal(found, expected, check_exact=False, rel_tol=1e-9, abs_tol=0)
    except AssertionError as error:
        raise SystemExit(f"{what}: the rows differ\n{error}") from error
    return "the same within 1e-9"


def measure(folder: Path, gpu: Engine | None) -> None:
    """Compare, time and print every job."""
    engines: dict[str, Engine] = {"streaming": STREAMING} | ({} if gpu is None else {"GPU": gpu})
    for name, job in JOBS.items():
        expected = job(folder, CPU)
        agreed = {
            what: same(job(folder, engine), expected, f"{name} on {what}")
            for what, engine in engines.items()
        }
        plain = best_s(job, folder, CPU)
        told = [
            f"{what} {plain / best_s(job, folder, engine):.2f} times as fast ({agreed[what]})"
            for what, engine in engines.items()
        ]
        print(f"  {name:<24}{plain:>8.2f} s in memory; {', '.join(told)}", flush=True)


def embed(choice: EngineChoice) -> None:
    """Compare and time the embedding of texts, and the topics that are found in them."""
    texts = [f"{asked} {word} number {n}?" for n in range(TEXTS) for asked, word in [ASKED[n % 6]]]
    found: dict[str, tuple[Vectors, list[int]]] = {}
    taken: dict[str, float] = {}
    for name, chosen in (("CPU", EngineChoice()), ("GPU", choice)):
        embedder = embedder_of(chosen, USE_MULTILINGUAL)
        embedder.embed(texts[:10])  # weights are loaded, kernels compiled
        before = time.perf_counter()
        vectors = embedder.embed(texts)
        taken[name] = time.perf_counter() - before
        centres = find_topics(vectors).centres
        found[name] = vectors, nearest_topic(centres, vectors)[0].tolist()
    (plain, topics), (vectors, others) = found["CPU"], found["GPU"]
    alike = sum(one == other for one, other in zip(topics, others, strict=True)) / len(texts)
    print(
        f"  {'embedding':<24}{taken['CPU']:>8.2f} s on one core; GPU "
        f"{taken['CPU'] / taken['GPU']:.2f} times as fast (vectors within "
        f"{float(abs(plain - vectors).max()):.1e}, {alike:.4f} of the texts in the same topic)"
    )


def fall_back(folder: Path) -> None:
    """Give the GPU too little memory, and go the way that a step goes.

    Raises:
        SystemExit: the memory sufficed.
    """
    engine = open_engine(EngineChoice("gpu", memory_limit_bytes=TOO_LITTLE))
    try:
        partials_job(folder, engine)
    except DeviceMemoryError as error:
        print(f"\nwith {TOO_LITTLE / 2**20:.0f} MiB: {error}")
    else:
        raise SystemExit(f"{TOO_LITTLE} bytes of the GPU's memory sufficed: more turns are needed")
    agreed = same(partials_job(folder, STREAMING), partials_job(folder, CPU), "after the GPU")
    print(f"the same job on the streaming engine: {agreed}")


def main(arguments: Sequence[str]) -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, help="of all days; fewer where there is no GPU")
    parser.add_argument("--require-gpu", action="store_true", help="fail where there is none")
    told = parser.parse_args(arguments)
    gpu, device = gpu_engine()
    if gpu is None and told.require_gpu:
        print(f"no GPU: {device}")
        return 1
    turns = told.turns or (TURNS_WITHOUT_GPU if gpu is None else TURNS)
    a_day = turns // DAYS // 60 * 60
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(DAYS):
            alone(write_day, folder, number, a_day, max(60, a_day // 3))
        print(f"{a_day * DAYS} turns in {DAYS} days, Polars {pl.__version__}")
        print(f"device: {device if gpu else 'none'}")
        measure(folder, gpu)
        if gpu is None:
            print(
                "\nNOT RUN: every job on the GPU, the embedding there, the way out of its memory "
                f"({device}). Run it where there is one, with --require-gpu."
            )
            return 0
        embed(gpu.choice)
        del gpu  # its pool holds the memory
        fall_back(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
