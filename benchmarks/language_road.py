"""Texts a second and memory of the language road, and the share of each of its parts.

The peer is what such a system did first: for each topic a list of English keywords, looked for in
the text in small letters, the first that is found wins. It knows English alone and no sentiment.

python benchmarks/language_road.py [TEXTS] [--memory]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import polars as pl

from conversation_analytics.core.categories import categories
from conversation_analytics.core.languages import LanguageOptions, message_languages
from conversation_analytics.core.personal_data import redact
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.evaluation import phrases
from conversation_analytics.language.detectors import NaiveBayesDetector
from conversation_analytics.language.embedders import USE_MULTILINGUAL, load_embedder
from conversation_analytics.language.taxonomy_files import train_taxonomy
from conversation_analytics.language.vietnamese import is_vietnamese

if TYPE_CHECKING:
    from collections.abc import Callable

KEYWORDS = {
    "billing": ("invoice", "charge", "payment", "refund", "price", "subscription", "bill", "card"),
    "delivery": ("parcel", "package", "shipping", "deliver", "tracking", "arrive", "courier"),
    "account": ("password", "login", "log in", "sign in", "account", "profile", "username"),
    "technical": ("error", "crash", "bug", "broken", "not working", "freeze", "slow", "install"),
    "programming": ("python", "code", "function", "script", "sql", "javascript", "compile"),
    "travel": ("flight", "hotel", "booking", "train", "ticket", "trip", "airport"),
    "food": ("recipe", "cook", "restaurant", "meal", "ingredient", "diet"),
    "learning": ("explain", "learn", "teach", "homework", "exam", "course"),
}
PER_CONVERSATION = 3
MEMORY_EVERY = 20
"""A share of the conversations is categorised: embedding all would take minutes."""
MEMORY_OF = (100_000, 400_000)


def keywords(text: str) -> str:
    """Return the first topic of which a keyword stands in the text."""
    small = text.lower()
    for topic, words in KEYWORDS.items():
        for word in words:
            if word in small:
                return topic
    return "other"


def messages(count: int) -> pl.DataFrame:
    """Return made-up turns, all different, three a conversation."""
    said = [text for text, _ in (*phrases.sentences(), *phrases.short_phrases())]
    number = pl.int_range(count, eager=True)
    return (
        pl.DataFrame(
            {
                "id": number.cast(pl.String),
                "conversation_id": (number // PER_CONVERSATION).cast(pl.String),
                "query": pl.Series(said).gather(number % len(said)) + " " + number.cast(pl.String),
                "answer": pl.Series(said).gather((number * 7) % len(said)),
            }
        )
        .match_to_schema(
            {name: MESSAGES.polars[name] for name in ("id", "conversation_id", "query", "answer")}
        )
        .pipe(lambda some: pl.concat([some, pl.DataFrame(schema=MESSAGES.polars)], how="diagonal"))
    )


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the quickest of three rounds."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def speeds(count: int) -> None:
    """Print texts a second of every part."""
    turns = messages(count)
    texts = turns["query"].to_list()
    first = turns.filter(pl.int_range(pl.len()) % PER_CONVERSATION == 0)
    said = first.select("conversation_id", text="query")
    embedder, detector = load_embedder(USE_MULTILINGUAL), NaiveBayesDetector()
    trained = train_taxonomy(None, None, USE_MULTILINGUAL)
    detector.detect(["a", "b"], LanguageOptions().candidates)
    vectors = embedder.embed(said["text"].to_list())
    vietnamese = [text for text in said["text"] if is_vietnamese(text)]
    others = [text for text in said["text"] if not is_vietnamese(text)]
    options = LanguageOptions()
    parts = {
        "languages (query and answer of a turn)": (
            len(texts), seconds(lambda: message_languages(turns, detector, options))),
        "personal data (query)": (
            len(texts), seconds(lambda: [redact(text) for text in texts])),
        "embedding (a text a conversation)": (
            said.height, seconds(lambda: embedder.embed(said["text"].to_list()))),
        "the same, Vietnamese ones": (
            len(vietnamese), seconds(lambda: embedder.embed(vietnamese))),
        "the same, other ones": (len(others), seconds(lambda: embedder.embed(others))),
        "3 types of categories, embedded already": (
            said.height, seconds(lambda: [
                one.classify(said["text"].to_list(), vectors) for one in trained.models.values()])),
        "embedding and categories": (said.height, seconds(lambda: categories(trained, said))),
    }  # fmt: skip
    road = sum(taken for name, (_, taken) in parts.items() if name not in list(parts)[2:6])
    print(f"{count} turns, {said.height} conversations, one core")
    for name, (of, taken) in parts.items():
        share = f"{taken / road:.0%}" if name not in list(parts)[2:6] else "-"
        print(f"{name:42} {of / taken:10,.0f} a second, share of the road {share}")
    peer = seconds(lambda: [keywords(text) for text in texts])
    print(f"{'keyword loop, English only':42} {count / peer:10,.0f} a second")
    print(f"{'the whole road':42} {count / road:10,.0f} turns a second, "
          f"{road / peer:.0f} times the CPU time of the keyword loop")  # fmt: skip


def memory(count: int) -> None:
    """Print the peak of this process after a day of `count` turns."""
    turns = messages(count)
    frame = turns.estimated_size() / 2**20
    message_languages(turns, NaiveBayesDetector(), LanguageOptions())
    languages = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    first = turns.filter(pl.int_range(pl.len()) % (PER_CONVERSATION * MEMORY_EVERY) == 0)
    categories(
        train_taxonomy(None, None, USE_MULTILINGUAL), first.select("conversation_id", text="query")
    )
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} turns ({frame:.0f} MB): peak {languages:.0f} MB after languages, "
          f"{whole:.0f} MB after categories of {first.height} conversations")  # fmt: skip


def main() -> None:
    """Print speeds, or with `--memory` the peaks of two sizes, each in a process of its own."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--peak"]:
        memory(int(arguments[1]))
        return
    if "--memory" in arguments:
        for count in MEMORY_OF:
            command = [sys.executable, __file__, "--peak", str(count)]
            subprocess.run(command, check=True)  # noqa: S603 - this script
        return
    speeds(int(arguments[0]) if arguments else 6000)


if __name__ == "__main__":
    main()
