"""Translations by a glossary: words that are in it are replaced, all others stay."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conversation_analytics.core.errors import SettingsError, TranslatorRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conversation_analytics.core.translator import Pair, TranslatorConfig, TranslatorLimits


@dataclass(frozen=True, slots=True)
class Glossary:
    """An engine: words in lower case by source and target."""

    words: Mapping[Pair, Mapping[str, str]]
    model: str
    limits: TranslatorLimits
    engine: str = "glossary"

    def pairs(self) -> frozenset[Pair]:
        """Return what there are words for."""
        return frozenset(self.words)

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return the texts with their words replaced, in order."""
        words = self.words.get((source, target))
        if words is None:
            raise TranslatorRequestError(f"glossary: it has no words from {source} into {target}")
        return [
            re.sub(r"\w+", lambda found: words.get(found[0].lower(), found[0]), text)
            for text in texts
        ]

    def close(self) -> None:
        """Do nothing."""


def open_translator(config: TranslatorConfig) -> Glossary:
    """Return the glossary of the file EXT_GLOSSARY_FILE: {"de>en": {"hund": "dog"}}."""
    path = Path(config.options.get("file", ""))
    try:
        text = path.read_text(encoding="utf-8")
        words = {
            (pair[:2], pair[3:]): {str(word).lower(): str(other) for word, other in of_pair.items()}
            for pair, of_pair in json.loads(text).items()
        }
    except (OSError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"EXT_GLOSSARY_FILE is {str(path)!r}: expected a JSON file of words by pair, got "
            f"{type(error).__name__}; correct the setting or the file"
        ) from error
    # Another glossary is another model: what was translated with this one is told from it.
    model = config.model or hashlib.sha256(text.encode()).hexdigest()[:16]
    return Glossary(words, model, config.limits)
