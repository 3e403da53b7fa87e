"""What every translation engine has to do: see `core.translator.Translator`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conversation_analytics.contracts.broken import broken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.translator import Pair, Translator


def check_translator(translator: Translator, pair: Pair, texts: Sequence[str]) -> None:
    """Check an engine.

    Args:
        translator: is asked, not closed.
        pair: source and target that it translates.
        texts: two or more of the source language, whose translations are not the same.

    Raises:
        ContractBrokenError: something does not hold.
        ValueError: there are fewer than two texts.
    """
    if len(set(texts)) < 2:  # noqa: PLR2004 - as documented
        raise ValueError("give two texts or more that are not the same")
    for name in ("engine", "model"):
        value = getattr(translator, name)
        if not isinstance(value, str) or (name == "engine" and not value):
            broken(name, "a text", repr(value))
    limits = translator.limits
    if limits.texts < 1 or limits.characters < 1:
        broken("limits", "1 or more of each", limits)
    _check_pairs(translator, pair)
    _check_texts(translator, pair, list(texts))


def _check_pairs(translator: Translator, pair: Pair) -> None:
    pairs = translator.pairs()
    if pairs is None:
        return
    if not isinstance(pairs, frozenset):
        broken("pairs", "a frozenset, or None where the engine does not tell", type(pairs).__name__)
    for one in pairs:
        if len(one) != 2 or not all(re.fullmatch("[a-z]{2,3}", code) for code in one):  # noqa: PLR2004
            broken("pairs", "source and target as ISO 639 codes in lower case", repr(one))
    if pair not in pairs:
        broken("pairs", f"{pair} among them", sorted(pairs))


def _check_texts(translator: Translator, pair: Pair, texts: list[str]) -> None:
    answer = translator.translate(texts, *pair)
    if len(answer) != len(texts) or not all(isinstance(one, str) for one in answer):
        broken("translate", f"{len(texts)} texts, as many as were given", repr(answer))
    turned = translator.translate(texts[::-1], *pair)
    if list(turned) != list(answer)[::-1]:
        broken("translate of the texts in turned order", "the same answers, turned", repr(turned))
    if len(set(answer)) < 2:  # noqa: PLR2004 - as documented
        broken("translate", "other answers to other texts", repr(answer))
