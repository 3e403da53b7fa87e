"""Texts a second of finding personal data, against each rule over every text.

The peer runs the same patterns without looking first whether a text can hold anything at all, and
asks phonenumbers' own matcher, in each of the countries, as a first script would. The texts are the
sample's turns: ordinary ones, and a few with an address in them.

python benchmarks/personal_data.py [TURNS]
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import time
from typing import TYPE_CHECKING

import phonenumbers

from conversation_analytics.core import personal_data, personal_numbers, personal_secrets
from conversation_analytics.core.national_ids import LETTERED
from conversation_analytics.core.personal_data import find, redact
from conversation_analytics.core.source import SourceTable
from conversation_analytics.sample.source import SampleSource
from conversation_analytics.sample.traffic import SampleTraffic

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = dt.date(2026, 11, 10)
START = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
ROUNDS = 5
COUNTRIES = ("TH", "VN", "CN", "ID", "ES", "PT", "BR", "MX", "FR", "DE", "US", "GB")
PATTERNS = tuple(
    value
    for module in (personal_data, personal_numbers, personal_secrets)
    for name, value in vars(module).items()
    if isinstance(value, re.Pattern)
    and name
    in {
        "_URL_CREDENTIALS", "_EMAIL", "_SPELLED_EMAIL", "_IBAN", "_IPV4", "_IPV6", "RUN", "_HIDDEN",
        "_PEM", "_PREFIXED", "_LABELLED", "_BEARER", "_PARAMETER", "_NOISE",
    }
)  # fmt: skip


def texts(turns: int) -> list[str]:
    """Return questions and answers of the sample."""
    source = SampleSource(SampleTraffic(7, turns), DAY, DAY)
    rows = source.read_window(SourceTable.MESSAGES, START, START + dt.timedelta(days=1))
    served = [json.loads(payload) for payload in rows["payload"]]
    return [row[name] for row in served for name in ("query", "answer") if row[name]]


def every_pattern(text: str) -> int:
    """Return how many matches all patterns have in a text."""
    return sum(len(list(pattern.finditer(text))) for pattern in (*PATTERNS, LETTERED))


def with_matcher(text: str) -> int:
    """Return the same, and the telephone numbers that the library finds by itself."""
    found = sum(len(list(phonenumbers.PhoneNumberMatcher(text, country))) for country in COUNTRIES)
    return every_pattern(text) + found


def main() -> None:
    """Print texts a second of rounds in turn, and the ratios of the medians."""
    every = texts(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
    with_digits = [text for text in every if re.search(r"[\d@]", text)]
    ways: dict[str, tuple[Callable[[str], object], list[str]]] = {
        "patterns + library's matcher": (with_matcher, every[:600]),
        "every pattern": (every_pattern, every),
        "find": (find, every),
        "redact": (redact, every),
        "find, texts with a digit": (find, with_digits),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (way, some) in ways.items():
            began = time.process_time()
            for text in some:
                way(text)
            seconds[name].append((time.process_time() - began) / len(some))
    mean = sum(map(len, every)) / len(every)
    print(f"{len(every)} texts of {mean:.0f} characters, {len(with_digits)} with a digit or @")
    medians = {name: sorted(taken)[ROUNDS // 2] for name, taken in seconds.items()}
    for name, median in medians.items():
        ratio = medians["every pattern"] / median
        print(f"{name:30} {1 / median:9,.0f} texts/s, {ratio:.2f} times `every pattern`")


if __name__ == "__main__":
    main()
