"""An answer of NocoDB to typed rows, against `json.loads` of the same bytes into pandas.

Ours is the whole way from the bytes: rows cut out of the answer, exact decimals, instants in
UTC, canonical JSON, the contract and dead letters. The other leaves all that as it came. Without
the digests that landing computes.

python benchmarks/rows_typing.py [TURNS_A_DAY]
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pandas as pd
import polars as pl
from polars.testing import assert_frame_equal

from conversation_analytics.core.contract import default_contract
from conversation_analytics.core.rows import TypedRows, type_rows, type_rows_one_by_one
from conversation_analytics.core.schemas import INSTANT, MESSAGES
from conversation_analytics.core.source import SourceTable
from conversation_analytics.sample.source import SampleSource
from conversation_analytics.sample.traffic import SampleTraffic

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = dt.date(2026, 11, 10)
START = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
ROUNDS = 7
PAGE = 1000


class _Answer(msgspec.Struct):
    rows: list[msgspec.Raw] = msgspec.field(name="list")


_ANSWER = msgspec.json.Decoder(_Answer)


def pages(turns: int) -> list[bytes]:
    """Return made-up answers of at most 1,000 rows, as NocoDB over PostgreSQL gives them."""
    source = SampleSource(SampleTraffic(7, turns), DAY, DAY)
    raw = source.read_window(SourceTable.MESSAGES, START, START + dt.timedelta(days=1))
    texts = raw["payload"].to_list()
    return [
        f'{{"list":[{",".join(texts[start : start + PAGE])}],"pageInfo":{{}}}}'.encode()
        for start in range(0, len(texts), PAGE)
    ]


def ours(answers: list[bytes], how: Callable[..., TypedRows] = type_rows) -> TypedRows:
    """Return the answers' rows, typed."""
    payloads = [bytes(row).decode() for body in answers for row in _ANSWER.decode(body).rows]
    raw = pl.DataFrame({"payload": payloads}).with_columns(
        id=pl.lit("i"),
        created_at=pl.lit(START).cast(INSTANT),
        sha256=pl.lit("s"),
        gone=pl.lit(value=False),
    )
    contract = default_contract().tables[SourceTable.MESSAGES]
    return how(raw, MESSAGES, where="benchmark", contract=contract)


def with_pandas(answers: list[bytes]) -> pd.DataFrame:
    """Return the answers' rows as they come."""
    return pd.DataFrame([row for body in answers for row in json.loads(body)["list"]])


def main() -> None:
    """Print best and median seconds of rounds in turn, and the ratio of the medians."""
    answers = pages(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
    ways: dict[str, Callable[[], TypedRows | pd.DataFrame]] = {
        "json.loads + pandas": lambda: with_pandas(answers),
        "typed, one by one": lambda: ours(answers, type_rows_one_by_one),
        "typed": lambda: ours(answers),
    }
    typed = ours(answers)
    assert_frame_equal(typed.frame, ours(answers, type_rows_one_by_one).frame)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    rows, size = typed.frame.height, sum(map(len, answers))
    print(f"{rows} rows, {size / 1e6:.1f} MB")
    medians = {name: sorted(taken)[ROUNDS // 2] for name, taken in seconds.items()}
    for name, taken in seconds.items():
        print(
            f"{name:20} best {min(taken):.3f} s, median {medians[name]:.3f} s, "
            f"{rows / medians[name]:,.0f} rows/s"
        )
    plain = medians["json.loads + pandas"]
    print(f"ratio {plain / medians['typed']:.2f}")


if __name__ == "__main__":
    main()
