from __future__ import annotations

import pytest

from conversation_analytics.language.common_words import common_words


@pytest.mark.parametrize(
    "word", ["the", "de", "que", "und", "les", "yang", "của", "的", "ครับ"], ids=str.upper
)
def test_what_every_text_has_is_common(word: str) -> None:
    assert word in common_words()


@pytest.mark.parametrize("word", ["refund", "parcel", "hotel", "contraseña", "订单", "รหัสผ่าน"])
def test_what_a_text_is_about_is_not(word: str) -> None:
    assert word not in common_words()
