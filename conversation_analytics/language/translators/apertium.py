"""Apertium's APy: rules, no models; small and fast where it knows the pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.translator import Pair, TranslatorLimits
    from conversation_analytics.language.translators.endpoint import Endpoint

# APy names languages by three letters; only those that it translates are here.
_TWO_LETTERS: Final = {
    "eng": "en", "spa": "es", "por": "pt", "fra": "fr", "cat": "ca", "ita": "it", "ron": "ro",
    "glg": "gl", "eus": "eu", "oci": "oc", "epo": "eo", "ind": "id", "zlm": "ms", "swe": "sv",
    "dan": "da", "nob": "nb", "nno": "nn", "isl": "is", "nld": "nl", "afr": "af", "rus": "ru",
    "ukr": "uk", "bel": "be", "pol": "pl", "mkd": "mk", "bul": "bg", "slv": "sl", "hbs": "sh",
    "kaz": "kk", "tat": "tt", "tur": "tr", "hin": "hi", "urd": "ur", "ara": "ar", "mlt": "mt",
    "cym": "cy", "bre": "br", "deu": "de",
}  # fmt: skip


class _Pair(msgspec.Struct):
    source: str = msgspec.field(name="sourceLanguage")
    target: str = msgspec.field(name="targetLanguage")


class _Pairs(msgspec.Struct):
    pairs: list[_Pair] = msgspec.field(name="responseData")


class _Text(msgspec.Struct):
    text: str = msgspec.field(name="translatedText")


class _Translated(msgspec.Struct):
    answer: _Text = msgspec.field(name="responseData")


class Apertium:
    """Its `/translate`: one text a request."""

    engine = "apertium"

    def __init__(self, endpoint: Endpoint, model: str, limits: TranslatorLimits) -> None:
        """Keep endpoint, the operator's label of the rules behind it, and the limits."""
        self._endpoint = endpoint
        self.model = model
        self.limits = limits
        self._names: dict[Pair, str] = {}

    def pairs(self) -> frozenset[Pair] | None:
        """Return the pairs that are installed there, of languages without a variety."""
        found = self._endpoint.get("/listPairs", _Pairs).pairs
        self._names = {
            (_ours(one.source), _ours(one.target)): f"{one.source}|{one.target}"
            for one in found
            if "_" not in one.source + one.target
        }
        return frozenset(self._names)

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return the translations, in order; see `Translator`."""
        if not self._names:
            self.pairs()
        pair = self._names.get((source, target), f"{source}|{target}")
        return [
            self._endpoint.post(
                "/translate", _Translated, form={"langpair": pair, "q": text, "markUnknown": "no"}
            ).answer.text
            for text in texts
        ]

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()


def _ours(code: str) -> str:
    return _TWO_LETTERS.get(code, code)
