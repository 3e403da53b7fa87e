"""A day of messages through the translation layer, against a loop that translates every text.

The engine upper-cases, so what is measured is the layer: planning, masking, looking up, putting
together, the lake's memory; and how many characters and requests it saves. The loop asks for each
text by itself, whatever its language, and remembers nothing.

python benchmarks/translation_layer.py [MESSAGES]
"""

from __future__ import annotations

import datetime as dt
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.text_masking import mask, restore
from conversation_analytics.core.translation_sending import Budget
from conversation_analytics.core.translations import Road, TranslationOptions, translate_day
from conversation_analytics.lake.store import open_lake
from conversation_analytics.lake.translation_memory import LakeTranslationMemory
from conversation_analytics.language.translators.in_process import InProcess

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = "2026-11-20"
START = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
LANGUAGES = ("th", "pt", "es", "de", "en")
KNOWN = frozenset((language, "en") for language in LANGUAGES[:-1])
WORDS = [f"word{number}" for number in range(3000)]
SHARE_OF_REPEATS, SHARE_OF_TEMPLATES = 0.35, 0.25


def day_of(messages: int, seed: int = 7) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return made-up messages: greetings again and again, templates with numbers, free text."""
    chooser = random.Random(seed)
    often = [" ".join(chooser.choices(WORDS, k=chooser.randint(1, 5))) for _ in range(200)]
    templates = [
        " ".join([*chooser.choices(WORDS, k=8), "{}", *chooser.choices(WORDS, k=5)])
        for _ in range(60)
    ]

    def text() -> str:
        kind = chooser.random()
        if kind < SHARE_OF_REPEATS:
            return chooser.choice(often)
        if kind < SHARE_OF_REPEATS + SHARE_OF_TEMPLATES:
            thing = chooser.choice(["https://shop.example/o/{}", "{}", "ORD-{}"])
            return chooser.choice(templates).format(thing.format(chooser.randrange(10**6, 10**7)))
        return " ".join(chooser.choices(WORDS, k=chooser.randint(5, 60)))

    ids = [f"m{number:07}" for number in range(messages)]
    told = [chooser.choice(LANGUAGES) for _ in ids]
    rows = pl.DataFrame(
        {
            "id": ids,
            "conversation_id": [f"c{number // 5}" for number in range(messages)],
            "created_at": [START + dt.timedelta(seconds=n % 86_400) for n in range(messages)],
            "query": [text() for _ in ids],
            "answer": [text() for _ in ids],
        }
    )
    languages = pl.DataFrame({"id": ids, "query_language": told, "answer_language": told})
    return rows, languages


class Counting:
    """The engine's function, with a count of what it was asked."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.texts = self.characters = 0

    def __call__(self, text: str, _source: str, _target: str) -> str:
        """Return the text in capitals."""
        self.texts += 1
        self.characters += len(text)
        return text.upper()


def naive(rows: pl.DataFrame, engine: Counting) -> int:
    """Translate every text, masked as ours, each in a request of its own."""
    for query, answer in rows.select("query", "answer").iter_rows():
        for text in (query, answer):
            masked = mask(text)
            restore(engine(masked.render(), "th", "en"), masked)
    return 2 * rows.height


def timed(name: str, work: Callable[[], tuple[int, int]], texts: int) -> float:
    """Print what it took of the processor and what was asked; return the seconds."""
    began = time.process_time()
    requests, characters = work()
    taken = time.process_time() - began
    print(
        f"{name:28} {taken:7.2f} s  {taken / texts * 1e6:6.0f} us/text  "
        f"{requests:8,} requests  {characters:12,} characters"
    )
    return taken


def main() -> None:
    """Print the loop, the first run of a day, the same day again and a day like it."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    day, other = day_of(messages), day_of(messages, seed=8)
    texts = 2 * messages
    print(f"{messages:,} messages, {texts:,} texts")

    def loop() -> tuple[int, int]:
        engine = Counting()
        return naive(day[0], engine), engine.characters

    peer = timed("loop, every text", loop, texts)
    with tempfile.TemporaryDirectory() as folder:
        memory = LakeTranslationMemory(open_lake(Path(folder)))

        def ours(rows: tuple[pl.DataFrame, pl.DataFrame], key: str) -> tuple[int, int]:
            engine = InProcess("upper", "1", Counting(), KNOWN)
            road = Road(engine, memory, TranslationOptions(), Budget())
            _, facts = translate_day(*rows, key, road)
            return facts.requests, facts.characters

        first = timed("layer, first run", lambda: ours(day, DAY), texts)
        again = timed("layer, the day again", lambda: ours(day, DAY), texts)
        half = (
            pl.concat([one.head(messages // 2), new.tail(messages // 2)])
            for one, new in zip(day, other, strict=True)
        )
        mixed = (next(half), next(half))
        timed("layer, half of it known", lambda: ours(mixed, "2026-11-21"), texts)
    print(f"against the loop: first run {first / peer:.2f}, again {again / peer:.2f} of its time")


if __name__ == "__main__":
    main()
