from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.core.categories import categories
from conversation_analytics.core.embedding import MAX_CHARACTERS, embed_each_once
from conversation_analytics.core.errors import LanguagePartError, TaxonomyError
from conversation_analytics.language.embedders import (
    USE_MULTILINGUAL,
    embedder_version,
    load_embedder,
)
from conversation_analytics.language.segmenter import words
from conversation_analytics.language.taxonomy_files import (
    read_taxonomy,
    taxonomy_digests,
    train_taxonomy,
)

if TYPE_CHECKING:
    from pathlib import Path

ODD = ["", " ", "\ud83d", "\x00", "a" * 5000, "😀", "สวัสดี", "где мой заказ"]


def test_vectors_are_unit_and_the_same_again() -> None:
    embedder = load_embedder(USE_MULTILINGUAL)
    vectors = embedder.embed(ODD)
    assert vectors.shape == (len(ODD), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors.tobytes() == embedder.embed(ODD).tobytes()
    assert embedder.embed([]).shape == (0, 512)


def test_only_the_beginning_of_a_long_text_counts() -> None:
    text = "where is my parcel " * 500
    one, two = load_embedder(USE_MULTILINGUAL).embed([text, text[:MAX_CHARACTERS]])
    assert np.allclose(one, two, atol=1e-5)


def test_order_and_repeats_do_not_change_a_vector() -> None:
    embedder = load_embedder(USE_MULTILINGUAL)
    texts = ["b", "a", "hello world", "a"]
    vectors = embed_each_once(embedder, texts)
    again = embed_each_once(embedder, texts[::-1])
    assert vectors.tobytes() == again[::-1].tobytes()


def test_the_same_in_other_languages_is_near() -> None:
    embedder = load_embedder(USE_MULTILINGUAL)
    one, *others, unlike = embedder.embed(
        ["I want to cancel my order", "Quiero cancelar mi pedido", "ฉันต้องการยกเลิกคำสั่งซื้อ",
         "我想取消我的订单", "Tôi muốn hủy đơn hàng của tôi", "The weather is nice in Rome"]
    )  # fmt: skip
    assert min(one @ other for other in others) > 0.5 > one @ unlike


def test_an_unknown_embedder_is_told() -> None:
    with pytest.raises(LanguagePartError, match="expected one of use-multilingual"):
        embedder_version("bert")


def test_words_of_scripts_without_spaces() -> None:
    assert "คืน" in words("ฉันต้องการคืนเงิน")
    assert words("我想取消订单") == ["我想", "取消", "订单"]
    assert words("Hello, WORLD 42 😀 \ud83d") == ["hello", "world"]


def test_the_default_taxonomy_knows_what_people_say() -> None:
    trained = train_taxonomy(None, None, USE_MULTILINGUAL)
    said = {
        "topic": {
            "my package was supposed to be here yesterday": "orders and delivery",
            "¿puedes arreglar este bucle en mi programa de Python?": "programming",
            "怎么做红烧肉": "health and food",
        },
        "intent": {
            "let me talk to somebody from your team": "talk to a person",
            "obrigada, tchau": "thank or greet",
        },
        "sentiment": {
            "I hate this, it never works": "negative",
            "fantastisch, vielen Dank": "positive",
            "the store is on Main Street": "neutral",
        },
    }
    for name, expected in said.items():
        answers = trained.models[name].classify(
            list(expected), trained.embedder.embed(list(expected))
        )
        assert [one.nearest for one in answers] == list(expected.values())


def test_any_text_has_a_category_and_a_long_one_costs_no_more() -> None:
    trained = train_taxonomy(None, None, USE_MULTILINGUAL)
    hostile = [
        *ODD,
        "\u202e\u0645\u0631\u062d\u0628",
        "\u200b\u200d",
        "def f(x): return {x: [1]}",
        "😡" * 3000,
    ]
    long = ["không " * 200_000, "( " * 500_000]
    short = [text[:MAX_CHARACTERS] for text in long]
    texts = [*hostile, *long]
    vectors = trained.embedder.embed(texts)
    for model in trained.models.values():
        began = time.process_time()
        answers = model.classify(texts, vectors)
        assert time.process_time() - began < 2  # read whole, they take ten
        assert answers[-2:] == model.classify(short, vectors[-2:])
        assert all(0 <= one.confidence <= 1 for one in answers)


def test_batches_change_no_category(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = train_taxonomy(None, None, USE_MULTILINGUAL)
    texts = pl.DataFrame(
        {
            "conversation_id": list("abcdefg"),
            "text": ["refund", "hello", "", "refund", "?", "x", "y"],
        }
    )
    whole = categories(trained, texts)
    assert whole.height == 7 * len(trained.taxonomy.types)
    monkeypatch.setattr("conversation_analytics.core.categories._BATCH", 2)
    assert_frame_equal(categories(trained, texts), whole, abs_tol=0.001)
    assert categories(trained, texts.head(0)).is_empty()


def test_one_changed_type_changes_one_digest(tmp_path: Path) -> None:
    before = taxonomy_digests(None, None, USE_MULTILINGUAL)
    corrections = tmp_path / "corrections.yaml"
    corrections.write_text("- {type: sentiment, label: negative, text: not again}\n", "utf-8")
    after = taxonomy_digests(None, corrections, USE_MULTILINGUAL)
    assert {name for name in before if before[name] != after[name]} == {"sentiment"}
    corrections.write_text("", "utf-8")
    assert taxonomy_digests(None, corrections, USE_MULTILINGUAL) == before


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="correct TAXONOMY_FILE"):
        read_taxonomy(tmp_path / "none.yaml", None)
    wrong = tmp_path / "latin.yaml"
    wrong.write_bytes("topic: é".encode("latin-1"))
    with pytest.raises(TaxonomyError, match="UTF-8"):
        read_taxonomy(wrong, None)
