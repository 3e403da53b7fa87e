from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from conversation_analytics.language.embedders import USE_MULTILINGUAL, load_embedder
from conversation_analytics.language.vietnamese import embed_vietnamese, is_vietnamese
from conversation_analytics.sample.phrases import LANGUAGES

TOLD = {
    "a sentence": ("Tôi muốn hủy đơn hàng", True),
    "marks as signs of their own": (unicodedata.normalize("NFD", "Tôi muốn hủy đơn hàng"), True),
    "capitals": ("HỦY ĐƠN", True),
    "a name in English": ("Please call Mr Nguyễn about the order from last week", False),
    "letters that others have": ("côté où à la fête, São João", False),
    "without its marks": ("toi muon huy don hang", False),
    "nothing": ("", False),
    "white space": (" \n", False),
    "Thai": ("ฉันต้องการยกเลิก", False),
}


@pytest.mark.parametrize(("text", "told"), TOLD.values(), ids=TOLD)
def test_what_is_told_to_be_vietnamese(text: str, told: bool) -> None:  # noqa: FBT001
    assert is_vietnamese(text) is told


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "vi"])
def test_no_other_language_is_told_to_be_vietnamese(code: str) -> None:
    said = [text for theme in LANGUAGES[code].themes.values() for text in theme.queries]
    assert not any(map(is_vietnamese, said))


def test_vietnamese_questions_are_near_english_ones_about_the_same() -> None:
    themes = list(LANGUAGES["en"].themes)
    asked = {
        code: [(theme, text) for theme in themes for text in LANGUAGES[code].themes[theme].queries]
        for code in ("en", "vi")
    }
    embedder = load_embedder(USE_MULTILINGUAL)
    english, vietnamese = (embedder.embed([text for _, text in asked[code]]) for code in asked)
    nearest = (vietnamese @ english.T).argmax(axis=1)
    right = [
        asked["en"][place][0] == theme
        for place, (theme, _) in zip(nearest, asked["vi"], strict=True)
    ]
    assert np.mean(right) > 0.9  # a third of them without a way of their own


def test_among_other_texts_each_keeps_its_place() -> None:
    embedder = load_embedder(USE_MULTILINGUAL)
    texts = ["where is my order", "đơn hàng của tôi ở đâu", "", "đổi mật khẩu", "我的订单"]
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(together[[1, 3]], embed_vietnamese([texts[1], texts[3]]), atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-3)
