"""How many placeholders come back from the real LibreTranslate, by language.

The models behind it know English and Portuguese. The other languages are sent as one of these: that
is what happens to a text whose language was told wrongly, and the hardest case there is.

python benchmarks/translation_placeholders.py [TEXTS]
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from conversation_analytics.core.translator import TranslatorLimits
from conversation_analytics.evaluation.placeholders import SENTENCES, made_up_texts, measure
from conversation_analytics.language.translators.endpoint import Endpoint, EndpointConfig
from conversation_analytics.language.translators.libretranslate import LibreTranslate
from conversation_analytics.stack.libretranslate import CHARACTERS, TEXTS, running_libretranslate

SENT_AS = {"es": "pt", "fr": "pt", "de": "en", "id": "en"}


def main() -> None:
    """Print a line for each language, and the sums."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    total = {True: [0, 0, 0], False: [0, 0, 0]}
    with tempfile.TemporaryDirectory() as folder, running_libretranslate(Path(folder)) as server:
        endpoint = Endpoint("libretranslate", EndpointConfig(server.url, server.api_key))
        limits = TranslatorLimits(TEXTS, CHARACTERS)
        with contextlib.closing(LibreTranslate(endpoint, "", limits)) as engine:
            for language in SENTENCES:
                source = SENT_AS.get(language, language)
                target = "pt" if source == "en" else "en"
                found = measure(made_up_texts(language, count), source, target, engine)
                told = f"{language} as {source}" if source != language else language
                print(
                    f"{told:9} into {target}: {found.texts:4} texts, {found.survived:4} of "
                    f"{found.tokens:4} placeholders ({found.survived / found.tokens:.4f}); things "
                    f"in the translation: {found.in_text[1]} of {found.in_text[0]}"
                )
                sums = total[source == language]
                for at, number in enumerate((found.texts, found.tokens, found.survived)):
                    sums[at] += number
    for known, (texts, tokens, survived) in total.items():
        name = "languages it knows" if known else "languages it does not know"
        print(f"{name}: {texts} texts, {survived} of {tokens} ({survived / tokens:.4f})")


if __name__ == "__main__":
    main()
