from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.translation_confidence import Seen, confidence

GOOD = Seen(
    "Onde está o meu pedido? Ainda não chegou.",
    "Where is my order? It has not arrived yet.",
    "pt", "en", tokens=2, survived=2, detected=("en", 0.99),
)  # fmt: skip


def test_nothing_speaks_against_a_good_translation() -> None:
    assert confidence(GOOD) == 1.0
    assert confidence(replace(GOOD, detected=("und", 0.0))) == 1.0
    chinese = Seen("我的订单在哪里 还没有到", GOOD.translated, "zh", "en", 0, 0)
    assert confidence(chinese) == 1.0


@pytest.mark.parametrize(
    ("changes", "at_most"),
    [
        ({"survived": 1}, 0.25), ({"survived": 0}, 0.0), ({"translated": ""}, 0.0),
        ({"translated": "the " * 100}, 0.1), ({"translated": "Where"}, 0.2),
        ({"translated": GOOD.source_text}, 0.1), ({"detected": ("pt", 0.99)}, 0.25),
        ({"detected": ("fr", 0.99)}, 0.55),
    ],
)  # fmt: skip
def test_each_sign_costs(changes: dict[str, object], at_most: float) -> None:
    assert confidence(replace(GOOD, **changes)) <= at_most  # type: ignore[arg-type]


def test_a_name_may_stay_as_it_is() -> None:
    assert confidence(Seen("Dagster", "Dagster", "pt", "en", 0, 0)) > 0.5


@given(
    st.text(max_size=30), st.text(max_size=30), st.sampled_from(["th", "zh", "pt", "xx"]),
    st.integers(0, 3), st.floats(0, 1),
)  # fmt: skip
def test_it_is_between_0_and_1(
    before: str, after: str, source: str, survived: int, certain: float
) -> None:
    seen = Seen(before, after, source, "en", 3, survived, ("th", certain))
    assert 0 <= confidence(seen) <= 1
