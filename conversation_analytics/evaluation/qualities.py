"""Qualities of the language parts beside their goals, as tables."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conversation_analytics.core.languages import LanguageOptions, languages_of_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from conversation_analytics.core.categories import TrainedTaxonomy
    from conversation_analytics.core.languages import LanguageDetector

_CONFUSIONS = 6


@dataclass(frozen=True, slots=True)
class Quality:
    """One line of a table.

    Attributes:
        what: what was measured, on which texts.
        measure: `right`, `macro-F1`, `AUROC`, `AMI`, `recall`, `precision` or `texts/s`.
        figure: what came out.
        goal: what was hoped for; None: no goal.
        texts: how many were tested.
        split: which texts were tested, and what they have to do with training.
        confusions: the most frequent, expected and found.
    """

    what: str
    measure: str
    figure: float
    goal: float | None
    texts: int
    split: str
    confusions: tuple[str, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether the figure is at least the goal."""
        return self.goal is None or self.figure >= self.goal


def confusions(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the most frequent pairs of expected and found that differ."""
    wrong = Counter((gold, found) for gold, found in pairs if gold != found)
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    return tuple(f"{a} as {b}: {count}" for (a, b), count in ranked[:_CONFUSIONS])


def macro_f1(gold: Sequence[str], found: Sequence[str]) -> float:
    """Return the mean over the labels in `gold` of the harmonic mean of precision and recall."""
    scores = []
    for label in sorted(set(gold)):
        right = sum(g == f == label for g, f in zip(gold, found, strict=True))
        scores.append(2 * right / (gold.count(label) + list(found).count(label)))
    return sum(scores) / len(scores)


def language_quality(
    what: str,
    rows: Sequence[tuple[str, str]],
    detector: LanguageDetector,
    split: str,
    goal: float | None,
    speed_goal: float | None = None,
) -> list[Quality]:
    """Tell the languages of texts, each by itself.

    Args:
        what: name of the set.
        rows: texts with their language; languages that are no candidates are told to be `und`.
        detector: the real one.
        split: what these texts have to do with training.
        goal: share that should be right.
        speed_goal: texts a second of CPU time; None: speed is not told.
    """
    texts = [text for text, _ in rows]
    languages_of_texts(texts[:1], detector, LanguageOptions())  # reads the models
    started = time.process_time()
    found = [one for one, _ in languages_of_texts(texts, detector, LanguageOptions())]
    seconds = max(time.process_time() - started, 1e-9)
    gold = [language for _, language in rows]
    pairs = list(zip(gold, found, strict=True))
    right = sum(g == f for g, f in pairs) / len(pairs)
    told = [Quality(what, "right", right, goal, len(rows), split, confusions(pairs))]
    if speed_goal is not None:
        speed = len(set(texts)) / seconds
        told.append(Quality(what, "texts/s", speed, speed_goal, len(rows), "CPU time, all threads"))
    return told


def sentiment_quality(
    what: str,
    rows: Sequence[tuple[str, str, str]],
    trained: TrainedTaxonomy,
    split: str,
    goal: float,
) -> list[Quality]:
    """Tell sentiments: one line for all texts and, where there are several, one a language.

    Args:
        what: name of the set.
        rows: text, sentiment and language; the language may be empty.
        trained: the taxonomy with its type `sentiment`.
        split: what these texts have to do with training.
        goal: macro-F1 of all.
    """
    texts = [text for text, *_ in rows]
    answers = trained.models["sentiment"].classify(texts, trained.embedder.embed(texts))
    found = [one.nearest for one in answers]
    gold = [sentiment for _, sentiment, _ in rows]
    languages = sorted({language for *_, language in rows})
    told = [
        Quality(what, "macro-F1", macro_f1(gold, found), goal, len(rows), split,
                confusions(zip(gold, found, strict=True)))
    ]  # fmt: skip
    for language in languages if len(languages) > 1 else ():
        own = [index for index, row in enumerate(rows) if row[2] == language]
        score = macro_f1([gold[i] for i in own], [found[i] for i in own])
        told.append(Quality(f"{what}: {language or '?'}", "macro-F1", score, None, len(own), split))
    return told


def table(rows: Iterable[Quality]) -> str:
    """Render qualities as a Markdown table, and below it what is confused."""
    rows = list(rows)
    lines = [
        "| what | measure | figure | goal | texts | tested on |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        figure = f"{row.figure:,.0f}" if row.measure == "texts/s" else f"{row.figure:.3f}"
        goal = "" if row.goal is None else f"{row.goal:,g}" + ("" if row.reached else " **missed**")
        lines.append(
            f"| {row.what} | {row.measure} | {figure} | {goal} | {row.texts:,} | {row.split} |"
        )
    confused = [f"- {row.what}: {', '.join(row.confusions)}" for row in rows if row.confusions]
    if confused:
        lines += ["", "Expected as found, how often:", *confused]
    return "\n".join(lines) + "\n"
