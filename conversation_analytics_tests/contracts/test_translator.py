"""The contract of translators: our own keep it, and each way to break it is told."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.contracts import check_translator
from conversation_analytics.contracts.broken import ContractBrokenError
from conversation_analytics.core.translator import TranslatorLimits
from conversation_analytics.language.translators.in_process import InProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.translator import Pair

PAIR = ("de", "en")
TEXTS = ["Hund", "Katze", "Maus"]
WORDS = {"Hund": "dog", "Katze": "cat", "Maus": "mouse"}
OURS = InProcess("words", "1", lambda text, _source, _target: WORDS[text], frozenset({PAIR}))


@dataclass(frozen=True)
class Forgetful(InProcess):
    """It leaves the last text out."""

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        return super().translate(texts, source, target)[:-1]


@dataclass(frozen=True)
class Sorting(InProcess):
    """It answers in an order of its own."""

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        return sorted(super().translate(texts, source, target))


def of(kind: type[InProcess]) -> InProcess:
    return kind(OURS.engine, OURS.model, OURS.function, OURS.known)


def changed(**values: object) -> InProcess:
    return dataclasses.replace(OURS, **values)  # type: ignore[arg-type]


def knowing(*pairs: Pair) -> InProcess:
    return changed(known=frozenset(pairs))


def test_a_function_of_one_text_keeps_it() -> None:
    check_translator(OURS, PAIR, TEXTS)
    check_translator(changed(known=None), PAIR, TEXTS)


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        (changed(engine=""), "engine: expected a text, got ''"),
        (changed(model=None), "model: expected a text, got None"),
        (changed(limits=TranslatorLimits(0, 10)), "limits: expected 1 or more of each"),
        (changed(known=[PAIR]), "pairs: expected a frozenset, or None"),
        (knowing(("de", "en-US")), "source and target as ISO 639 codes"),
        (knowing(("th", "en")), r"expected \('de', 'en'\) among them"),
        (of(Forgetful), "translate: expected 3 texts, as many as were given"),
        (of(Sorting), "in turned order: expected the same answers, turned"),
        (changed(function=lambda *_: "dog"), "other answers to other texts"),
        (changed(function=lambda *_: None), "translate: expected 3 texts"),
    ],
    ids=["no name", "no model", "no room", "list", "region", "another pair", "forgets", "sorts",
         "one answer", "none"],
)  # fmt: skip
def test_what_does_not_hold_is_told(engine: InProcess, told: str) -> None:
    with pytest.raises(ContractBrokenError, match=told):
        check_translator(engine, PAIR, TEXTS)


def test_one_text_proves_nothing() -> None:
    with pytest.raises(ValueError, match="two texts or more"):
        check_translator(OURS, PAIR, ["Hund", "Hund"])
