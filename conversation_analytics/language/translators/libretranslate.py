"""LibreTranslate: one's own server of open models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from conversation_analytics.core.errors import TranslatorUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.translator import Pair, TranslatorLimits
    from conversation_analytics.language.translators.endpoint import Endpoint


class _Language(msgspec.Struct):
    code: str
    targets: list[str]


class _Translated(msgspec.Struct):
    texts: list[str] = msgspec.field(name="translatedText")


class LibreTranslate:
    """Its `/translate` with a list of texts.

    `auto` is never sent: for a list it picks one language and answers 200 with nonsense.
    """

    engine = "libretranslate"

    def __init__(self, endpoint: Endpoint, model: str, limits: TranslatorLimits) -> None:
        """Keep endpoint, the operator's label of the models behind it, and the limits.

        Args:
            endpoint: of the server.
            model: the server does not tell its models' versions: change it when they change.
            limits: `--batch-limit`, and `--char-limit`, which the server has for one text.
        """
        self._endpoint = endpoint
        self.model = model
        self.limits = limits
        self._codes: dict[str, str] = {}

    def pairs(self) -> frozenset[Pair] | None:
        """Return what the server's models translate."""
        languages = self._endpoint.get("/languages", list[_Language])
        # Regions and scripts (`pt-BR`, `zh-Hans`) are not ours; the plain code wins.
        for language in sorted(languages, key=lambda one: one.code, reverse=True):
            self._codes[_primary(language.code)] = language.code
        return frozenset(
            (_primary(language.code), _primary(target))
            for language in languages
            for target in language.targets
        )

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return the translations, in order; see `Translator`."""
        key = self._endpoint.config.api_key
        answer = self._endpoint.post(
            "/translate",
            _Translated,
            body={
                "q": list(texts),
                "source": self._codes.get(source, source),
                "target": self._codes.get(target, target),
                "format": "text",
                **({"api_key": key} if key else {}),
            },
        )
        if len(answer.texts) != len(texts):
            raise TranslatorUnavailableError(
                f"libretranslate: {len(texts)} texts sent, {len(answer.texts)} came back; is "
                "TRANSLATOR_URL a LibreTranslate of version 1.3 or later?"
            )
        return answer.texts

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()


def _primary(code: str) -> str:
    return code.split("-", maxsplit=1)[0].lower()
