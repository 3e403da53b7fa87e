"""Languages of turns: our own sentences, with the real detector."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.language_codes import CANDIDATES
from conversation_analytics.core.languages import (
    MESSAGE_LANGUAGE,
    LanguageOptions,
    languages_of_script,
    languages_of_texts,
    message_languages,
    prose,
)
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.language.detectors import NaiveBayesDetector

if TYPE_CHECKING:
    import random

DETECTOR = NaiveBayesDetector()
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SENTENCES = {
    "en": "Where can I change the address that you send my order to?",
    "th": "ฉันจะเปลี่ยนที่อยู่จัดส่งของคำสั่งซื้อได้ที่ไหน",
    "vi": "Tôi có thể đổi địa chỉ giao hàng của đơn hàng ở đâu?",
    "zh": "我在哪里可以更改订单的收货地址",
    "id": "Di mana saya bisa mengubah alamat pengiriman pesanan saya?",
    "es": "¿Dónde puedo cambiar la dirección de entrega de mi pedido?",
    "pt": "Onde posso mudar o endereço de entrega da minha encomenda?",
    "fr": "Où puis-je changer l'adresse de livraison de ma commande ?",
    "de": "Wo kann ich die Lieferadresse meiner Bestellung ändern?",
}


def turns(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return messages: a row each, of one conversation unless it says another."""
    return pl.DataFrame(
        [
            {"id": f"m{n:03}", "conversation_id": "c", "created_at": NOON, **row}
            for n, row in enumerate(rows)
        ],
        schema=MESSAGES.polars,
    )


def told(
    *rows: dict[str, Any], options: LanguageOptions | None = None
) -> list[tuple[str | None, str, str | None, str]]:
    """Return language and what decided it, of each query and answer."""
    found = message_languages(turns(*rows), DETECTOR, options or LanguageOptions())
    return found.select("query_language", "query_by", "answer_language", "answer_by").rows()


@pytest.mark.parametrize("language", CANDIDATES)
def test_a_sentence_is_of_its_language(language: str) -> None:
    found = message_languages(
        turns({"query": SENTENCES[language], "answer": SENTENCES["en"]}),
        DETECTOR, LanguageOptions(),
    )  # fmt: skip
    (row,) = found.to_dicts()
    assert (row["query_language"], row["answer_language"]) == (language, "en")
    assert row["query_confidence"] > 0.9
    assert row["query_by"] == ("script" if language in {"th", "zh"} else "detector")


@pytest.mark.parametrize("language", CANDIDATES)
def test_code_addresses_and_numbers_hide_no_language(language: str) -> None:
    noise = "```python\nfor index in range(10): print('the value is', index)\n```"
    query = f"{noise} https://example.com/the/path/of/that {SENTENCES[language]} a@b.example 12:30"
    assert told({"query": query})[0][0] == language


@pytest.mark.parametrize(
    "text", ["12345", "🙂👍", "???", "https://example.com/where/is/my/order", "`select 1`", "<br>",
             "```\nwhere is my order\n```", "\u200b", "{{name}}", "$ 12.50 / 3"]
)  # fmt: skip
def test_what_has_no_words_has_no_language(text: str) -> None:
    assert told({"query": text, "answer": SENTENCES["en"]})[0][:2] == ("zxx", "none")


@pytest.mark.parametrize("text", [None, ""])
def test_no_text_is_of_no_language_and_none_without_words(text: str | None) -> None:
    assert told({"query": text, "answer": SENTENCES["en"]})[0][:2] == (None, "none")


@pytest.mark.parametrize(
    "text", ["どこで配送先を変更できますか", "Где изменить адрес доставки?",
             "배송 주소를 변경하고 싶어요", "أين يمكنني تغيير عنوان التسليم"],
    ids=["ja", "ru", "ko", "ar"],
)  # fmt: skip
def test_a_script_of_no_candidate_is_undetermined(text: str) -> None:
    assert told({"query": text, "answer": SENTENCES["en"]})[0][:2] == ("und", "none")


def test_candidates_decide_what_is_told_apart() -> None:
    japanese = "配送先を変更"
    both = LanguageOptions((*CANDIDATES, "ja", "ru"))
    assert told({"query": japanese}, options=both)[0][:2] == ("ja", "script")
    assert told({"query": "Где мой заказ?"}, options=both)[0][:2] == ("ru", "script")
    assert languages_of_script("Han", both.candidates) == ("zh", "ja")
    assert languages_of_script("Latin", ("sr", "ru", "en")) == ("sr", "en")


@pytest.mark.parametrize("language", ["vi", "id", "es", "pt", "fr", "de"])
@pytest.mark.parametrize("short", ["ok", "hi", "halo", "no"])
def test_a_short_text_is_of_its_conversations_language(language: str, short: str) -> None:
    found = told({"query": SENTENCES[language]}, {"query": short, "answer": SENTENCES["en"]})
    assert found[1][:2] == (language, "inherited")


def test_a_short_text_inherits_from_its_own_side_first_then_from_the_other() -> None:
    german, french = {"query": SENTENCES["de"]}, {"answer": SENTENCES["fr"]}
    short = {"query": "ok", "answer": "ok"}
    assert told(german, french, short)[2] == ("de", "inherited", "fr", "inherited")
    assert told(german, short)[1] == ("de", "inherited", "de", "inherited")
    elsewhere = {"query": SENTENCES["de"], "conversation_id": "other"}
    assert told(elsewhere, short)[1][1] != "inherited"


def test_a_clear_short_text_is_not_overruled() -> None:
    assert told({"query": SENTENCES["en"]}, {"query": "ขอบคุณ"})[1][:2] == ("th", "script")


def test_languages_of_hard_texts_are_told_without_failing() -> None:
    texts = ["\ud83d".encode("utf-16", "surrogatepass").decode("utf-16", "replace"), "\x00",
             "a" * 1_000_000, "é" * 100_000, "\u0301" * 50, "`" * 9999, "{" * 9999]  # fmt: skip
    found = message_languages(
        turns(*({"query": text} for text in texts)), DETECTOR, LanguageOptions()
    )
    assert found.height == len(texts)


def test_texts_with_half_a_character_or_of_many_scripts_are_told() -> None:
    texts = [
        "\ud83d where is my parcel \udc00",
        "\ud83d",
        "สวัสดีครับ hello",
        "\u202e\u0645\u0631\u062d\u0628",
        "\u200b\u200d",
    ]
    told = [one for one, _ in languages_of_texts(texts, DETECTOR, LanguageOptions())]
    assert told == ["en", "zxx", "th", "und", "zxx"]


def test_batches_change_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    said = turns(*({"query": one, "answer": "ok"} for one in [*SENTENCES.values(), "ok", "", None]))
    whole = message_languages(said, DETECTOR, LanguageOptions())
    monkeypatch.setattr("conversation_analytics.core.languages._BATCH", 2)
    assert_frame_equal(message_languages(said, DETECTOR, LanguageOptions()), whole)


rows = st.lists(
    st.fixed_dictionaries(
        {
            "conversation_id": st.sampled_from(["c1", "c2"]),
            "query": st.none() | st.sampled_from(["ok", "hi", "", "12", *SENTENCES.values()]),
            "answer": st.none() | st.sampled_from(["ok", "no", *SENTENCES.values()]) | st.text(),
        }
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(rows, st.randoms(use_true_random=False))
def test_any_order_of_rows_gives_the_same(
    given_rows: list[dict[str, Any]], chance: random.Random
) -> None:
    messages = turns(*given_rows)
    found = message_languages(messages, DETECTOR, LanguageOptions())
    order = list(range(messages.height))
    chance.shuffle(order)
    other = message_languages(messages[order], DETECTOR, LanguageOptions())
    assert_frame_equal(other, found, check_exact=True)
    assert found.schema == MESSAGE_LANGUAGE.polars
    assert sorted(found["id"]) == sorted(messages["id"])
    for side in ("query", "answer"):
        known = found.filter(~pl.col(f"{side}_language").is_in(["und", "zxx"]))
        assert known[f"{side}_confidence"].is_between(0, 1).all()
        assert known[f"{side}_by"].is_in(["script", "detector", "inherited"]).all()


@given(st.text())
def test_prose_is_short_and_has_no_digits(text: str) -> None:
    (found,) = pl.select(prose(pl.lit(text))).to_series()
    assert len(found) <= 160
    assert not any(sign.isascii() and sign.isdigit() for sign in found)
