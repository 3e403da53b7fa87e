"""A day's messages, and an engine that can be watched."""

from __future__ import annotations

import datetime as dt
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.errors import TranslatorRequestError
from conversation_analytics.core.translation_sending import Budget
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY
from conversation_analytics.core.translations import Road, TranslationOptions
from conversation_analytics.core.translator import TranslatorLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conversation_analytics.core.translator import Pair

DAY = "2026-11-20"
AT = dt.datetime(2026, 11, 20, 8, tzinfo=dt.UTC)


@dataclass
class WatchedEngine:
    """Upper-cases, counts calls, refuses and fails on order."""

    poison: str | None = None
    error: Exception | None = None
    known: frozenset[Pair] | None = None
    limits: TranslatorLimits = field(default_factory=TranslatorLimits)
    model: str = "1"
    engine: str = "watched"
    answer: Callable[[str], str] = str.upper
    calls: list[list[str]] = field(default_factory=list)
    answered: int = 0
    fail_after: int | None = None

    def pairs(self) -> frozenset[Pair] | None:
        return self.known

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        assert source not in {"auto", target}
        assert len(texts) <= self.limits.texts
        assert sum(map(len, texts)) <= self.limits.characters
        self.calls.append(list(texts))
        if self.error is not None and (self.fail_after is None or self.answered >= self.fail_after):
            raise self.error
        if self.poison is not None and any(self.poison in text for text in texts):
            raise TranslatorRequestError("HTTP 400")
        self.answered += 1
        return [self.answer(text) for text in texts]

    def close(self) -> None:
        """Do nothing."""

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]


LOG_VARIABLE = "WATCHEDCPU_LOG"


def logged_engine() -> WatchedEngine:
    """Return an engine that writes each text it is asked for to a file, over all processes."""
    return _LoggedEngine(limits=TranslatorLimits(50, 300))


class _LoggedEngine(WatchedEngine):
    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        with Path(os.environ[LOG_VARIABLE]).open("a", encoding="utf-8") as log:
            log.writelines(json.dumps(text) + "\n" for text in texts)
        return super().translate(texts, source, target)


class Memory:
    """A translation memory in a dictionary."""

    def __init__(self) -> None:
        self.days: dict[str, pl.DataFrame] = {}

    def lookup(self, keys: Sequence[str]) -> pl.DataFrame:
        frames = [TRANSLATION_MEMORY.empty().with_columns(day=pl.lit(None, pl.String))]
        frames += [frame.with_columns(day=pl.lit(day)) for day, frame in sorted(self.days.items())]
        return pl.concat(frames).filter(pl.col("key").is_in(list(keys))).unique("key", keep="first")

    def add(self, day: str, answers: pl.DataFrame) -> pl.DataFrame:
        held = self.days.get(day, TRANSLATION_MEMORY.empty())
        new = answers.filter(~pl.col("key").is_in(held["key"].to_list()))
        self.days[day] = pl.concat([held, new])
        return self.days[day].filter(pl.col("key").is_in(answers["key"].to_list()))

    def forget(self, day: str, superfluous: Callable[[pl.DataFrame], frozenset[str]]) -> int:
        if day not in self.days:
            return 0
        held = self.days[day]
        dropped = superfluous(held)
        self.days[day] = held.filter(~pl.col("key").is_in(list(dropped)))
        return len(dropped)


def road(engine: WatchedEngine, memory: Memory | None = None, **changes: object) -> Road:
    values: dict[str, object] = {
        "translator": engine,
        "memory": memory or Memory(),
        "options": TranslationOptions(fields=("query",)),
        "budget": Budget(),
    }
    return Road(**{**values, **changes})  # type: ignore[arg-type]


def day_of(*texts: tuple[str, str] | str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Messages with these queries (Thai unless said), and their languages."""
    told = [text if isinstance(text, tuple) else (text, "th") for text in texts]
    ids = [f"m{number:04}" for number in range(len(told))]
    messages = pl.DataFrame(
        {
            "id": ids,
            "conversation_id": ["c1"] * len(ids),
            "created_at": [AT + dt.timedelta(minutes=n) for n in range(len(ids))],
            "query": [text for text, _ in told],
            "answer": [""] * len(ids),
        },
        schema_overrides={"created_at": pl.Datetime("us", "UTC"), "id": pl.String,
                          "conversation_id": pl.String, "query": pl.String, "answer": pl.String},
    )  # fmt: skip
    languages = pl.DataFrame(
        {
            "id": ids,
            "query_language": [language for _, language in told],
            "query_confidence": [1.0] * len(ids),
            "answer_language": ["en"] * len(ids),
            "answer_confidence": [1.0] * len(ids),
        },
        schema_overrides={"id": pl.String, "query_language": pl.String},
    )
    return messages, languages
