"""Engines that are a Python package: any callable, or a factory named by a setting."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.translator import TranslatorLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conversation_analytics.core.translator import Pair, Translator


@dataclass(frozen=True)
class InProcess:
    """An engine that is a function of one text.

    Attributes:
        engine: its name.
        model: its version and that of its models.
        function: gives the translation of a text from source into target.
        known: pairs it translates.
        limits: what fits into one call.
    """

    engine: str
    model: str
    function: Callable[[str, str, str], str]
    known: frozenset[Pair]
    limits: TranslatorLimits = field(default_factory=TranslatorLimits)

    def pairs(self) -> frozenset[Pair] | None:
        """Return what it translates."""
        return self.known

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return the translations, in order."""
        return [self.function(text, source, target) for text in texts]

    def close(self) -> None:
        """Do nothing."""


def load_engine(name: str) -> Translator:
    """Return what the factory `package.module:function` gives when it is called.

    Raises:
        SettingsError: there is no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"TRANSLATOR_FACTORY is {name!r}: expected package.module:function of an installed "
            f"package ({type(error).__name__}); the function takes nothing and gives a Translator"
        ) from error
    return cast("Translator", factory())
