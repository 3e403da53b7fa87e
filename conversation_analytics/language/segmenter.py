"""Words of a text in any script, by ICU: Thai, Chinese and Japanese have no spaces between them."""

from __future__ import annotations

from conversation_analytics.core.documents import clean_text


def words(text: str) -> list[str]:
    """Return the words of `text`, case-folded: what holds a letter."""
    from icu4py.breakers import WordBreaker  # noqa: PLC0415 - only where topics are named

    # The root locale takes its dictionaries by script, so mixed text is fine.
    found = (str(part) for part in WordBreaker(clean_text(text), "en"))
    return [word.casefold() for word in found if any(letter.isalpha() for letter in word)]
