from __future__ import annotations

import pytest

from conversation_analytics.language.embedders import USE_MULTILINGUAL
from conversation_analytics.language.sentiment_signs import sign_scores
from conversation_analytics.language.taxonomy_files import train_taxonomy


@pytest.mark.parametrize(
    ("text", "side"),
    [("the parcel 😀", 1), ("the parcel 😡😡", -1), ("😀😡", 0), ("the parcel", 0), ("", 0),
     ("tôi rất thất vọng", -1), ("Tuyệt vời", 1), ("không thích lắm", -1), ("không tệ", 1),
     ("lòng thành", 0)],
)  # fmt: skip
def test_signs_shift_to_one_side(text: str, side: int) -> None:
    negative, neutral, positive = sign_scores([text])[0].tolist()
    assert (positive > 0) - (positive < 0) == side
    assert negative == -positive
    assert (neutral < 0) == (side != 0)


def test_many_signs_count_as_two_and_no_texts_give_no_rows() -> None:
    assert (sign_scores(["😀" * 50]) == sign_scores(["😀😀"])).all()
    assert sign_scores([]).shape == (0, 3)


def test_an_emoji_decides_where_words_say_nothing() -> None:
    trained = train_taxonomy(None, None, USE_MULTILINGUAL)
    said = ["my exam today 😍", "my exam today 😡😡", "giao hàng quá tệ", "giao hàng tuyệt vời"]
    answers = trained.models["sentiment"].classify(said, trained.embedder.embed(said))
    assert [one.nearest for one in answers] == ["positive", "negative", "negative", "positive"]
