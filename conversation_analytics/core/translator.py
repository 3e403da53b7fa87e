"""What the platform asks of a translation engine, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Pair = tuple[str, str]
"""Source and target, ISO 639-1 in lower case without a region: `("th", "en")`."""


@dataclass(frozen=True, slots=True)
class TranslatorLimits:
    """What fits into one request.

    Attributes:
        texts: texts of a request, 1 or more.
        characters: code points of all texts of a request together, and so of a text.
    """

    texts: int = 50
    characters: int = 5000


@dataclass(frozen=True, slots=True)
class TranslatorConfig:
    """What an engine of an extension is opened with: the settings of translators.

    Attributes:
        url: TRANSLATOR_URL, or ''.
        api_key: TRANSLATOR_API_KEY, or ''. To be told nobody else: in no error, no log.
        model: TRANSLATOR_MODEL, or ''.
        limits: what a request may hold.
        max_retries: of a request that fails for now.
        retry_delay_s: seconds before the first of them.
        timeout_s: seconds that one answer may take.
        options: of the variables EXT_<NAME>_..., by the rest of their names in lower case.
    """

    url: str
    api_key: str = field(repr=False)
    model: str
    limits: TranslatorLimits
    max_retries: int
    retry_delay_s: float
    timeout_s: float
    options: Mapping[str, str] = field(repr=False)


class Translator(Protocol):
    """A translation engine. Safe to call from one thread at a time."""

    @property
    def engine(self) -> str:
        """Name of the contract: `libretranslate`, `deepl`, ..."""

    @property
    def model(self) -> str:
        """What translates there: with another one every text is translated again."""

    @property
    def limits(self) -> TranslatorLimits:
        """What fits into one request."""

    def pairs(self) -> frozenset[Pair] | None:
        """Return what can be translated into what; None: the engine does not tell.

        Raises:
            TranslatorUnavailableError: no answer after every retry.
            TranslatorAuthError: the credentials are refused.
            TranslatorRequestError: the address is not one of such an engine.
        """

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return the translation of each text, in order.

        Args:
            texts: within `limits`, each with a letter in it.
            source: language of all of them; never `auto`.
            target: language wanted, another one.

        Raises:
            TranslatorFailedError: the engine fails at it, after every retry.
            TranslatorUnavailableError: no answer, or too many requests, after every retry.
            TranslatorAuthError: the credentials are refused: nothing more can be sent.
            TranslatorQuotaError: what was paid for is used up: nothing more can be sent.
            TranslatorRequestError: it refuses one of the texts, or all.
        """

    def close(self) -> None:
        """Give back connections."""
