"""DeepL's API, version 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from conversation_analytics.core.errors import TranslatorUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.translator import Pair, TranslatorLimits
    from conversation_analytics.language.translators.endpoint import Endpoint

FREE_URL: Final = "https://api-free.deepl.com"
URL: Final = "https://api.deepl.com"
# DeepL wants the variety of these where it is the target.
_TARGETS: Final = {"en": "EN-US", "pt": "PT-BR", "zh": "ZH-HANS"}


class _Language(msgspec.Struct):
    language: str


class _Translation(msgspec.Struct):
    text: str


class _Translated(msgspec.Struct):
    translations: list[_Translation]


def default_url(api_key: str) -> str:
    """Return the address that a key is for: those of free accounts end in `:fx`."""
    return FREE_URL if api_key.endswith(":fx") else URL


class DeepL:
    """Bills every character sent, same-language text too."""

    engine = "deepl"

    def __init__(self, endpoint: Endpoint, model: str, limits: TranslatorLimits) -> None:
        """Keep the endpoint, with the header `Authorization: DeepL-Auth-Key ...`, and the rest."""
        self._endpoint = endpoint
        self.model = model
        self.limits = limits

    def pairs(self) -> frozenset[Pair] | None:
        """Return every source with every target: DeepL has no other limits."""
        sources, targets = (
            {
                one.language.split("-")[0].lower()
                for one in self._endpoint.get("/v2/languages", list[_Language], {"type": kind})
            }
            for kind in ("source", "target")
        )
        return frozenset((source, target) for source in sources for target in targets)

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return the translations, in order; see `Translator`."""
        answer = self._endpoint.post(
            "/v2/translate",
            _Translated,
            body={
                "text": list(texts),
                "source_lang": source.upper(),
                "target_lang": _TARGETS.get(target, target.upper()),
                "preserve_formatting": True,
            },
        )
        if len(answer.translations) != len(texts):
            raise TranslatorUnavailableError(
                f"deepl: {len(texts)} texts sent, {len(answer.translations)} came back; try again"
            )
        return [one.text for one in answer.translations]

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()
