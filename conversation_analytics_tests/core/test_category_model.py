from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.categories import (
    CATEGORIES,
    TrainedTaxonomy,
    categories,
    category_documents,
    still_right,
)
from conversation_analytics.core.category_model import (
    PROTOTYPES,
    REGRESSION,
    CategoryModel,
    LinearPrior,
    examples_of,
    fit_category_model,
)
from conversation_analytics.core.taxonomy import OTHER, CategoryType, Correction, Label, Taxonomy
from conversation_analytics_tests.language.letters import Letters

if TYPE_CHECKING:
    import random

FRUIT = ("apple pear", "ripe apple", "pear plum", "sweet apple plum", "plum", "an apple a day")
TOOLS = ("hammer nail", "saw wood", "nail saw", "a hammer", "drill hammer", "saw and drill")
CARS = ("wheel tyre", "tyre motor", "motor oil", "new wheel", "motor and wheel", "oil the motor")
GIVEN = CategoryType(
    "topic", (Label("fruit", "", FRUIT), Label("tools", "", TOOLS), Label("cars", "", CARS))
)


def classify(model: CategoryModel, *texts: str) -> list[str]:
    return [one.label for one in model.classify(texts, Letters().embed(texts))]


def test_few_examples_make_prototypes_and_five_a_regression() -> None:
    few = CategoryType("topic", tuple(Label(a.name, "", a.examples[:4]) for a in GIVEN.labels))
    assert fit_category_model(few, (), Letters()).method == PROTOTYPES
    model = fit_category_model(GIVEN, (), Letters())
    assert model.method == REGRESSION
    assert classify(model, "apple plum", "hammer and saw", "motor wheel") == [
        "fruit", "tools", "cars",
    ]  # fmt: skip


def test_what_fits_nothing_is_other() -> None:
    strange = [f"{a} {b} {c}" for a in "12345" for b in "vwxyz" for c in "!?&"]
    inside = [f"{a} {b}" for one in GIVEN.labels for a in one.examples for b in one.examples]
    model = fit_category_model(GIVEN, (), Letters())
    assert classify(model, *strange).count(OTHER) > 0.6 * len(strange)
    assert classify(model, *inside).count(OTHER) < 0.05 * len(inside)


def test_examples_of_other_are_learned() -> None:
    taught = CategoryType("topic", GIVEN.labels, ("violin bow", "violin concert", "concert"))
    found = fit_category_model(taught, (), Letters())
    answer = found.classify(["violin concert bow"], Letters().embed(["violin concert bow"]))[0]
    assert (answer.label, answer.nearest) == (OTHER, OTHER)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_does_not_matter(rng: random.Random) -> None:
    labels = [
        Label(one.name, "", tuple(rng.sample(one.examples, len(one.examples))))
        for one in GIVEN.labels
    ]
    rng.shuffle(labels)
    texts = ["apple", "saw oil", "unheard of"]
    vectors = Letters().embed(texts)
    shuffled = fit_category_model(CategoryType("topic", tuple(labels)), (), Letters())
    assert shuffled.classify(texts, vectors) == fit_category_model(GIVEN, (), Letters()).classify(
        texts, vectors
    )


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_only_makes_other_of_labels(low: float, high: float) -> None:
    low, high = sorted((low, high))
    texts = ["apple", "saw oil", "motor", "nothing at all"]
    vectors = Letters().embed(texts)
    base = fit_category_model(GIVEN, (), Letters())

    def at(threshold: float) -> list[str]:
        model = CategoryModel(
            base.labels, (threshold,) * 3, base.method, base.scorer, base.calibration
        )
        return [one.label for one in model.classify(texts, vectors)]

    for lower, higher in zip(at(low), at(high), strict=True):
        assert higher in {lower, OTHER}
    assert OTHER not in at(0.0)
    assert all(0 <= one.confidence <= 1 for one in base.classify(texts, vectors))


def test_a_correction_becomes_an_example_and_wins() -> None:
    corrections = (
        Correction("topic", "tools", "ann", "plum"),
        Correction("topic", OTHER, "ann", "spam"),
        Correction("intent", "x", "ann", "not ours"),
    )
    found = examples_of(GIVEN, corrections)
    assert "plum" in found["tools"]
    assert "plum" not in found["fruit"]
    assert found[OTHER] == ("spam",)
    assert classify(fit_category_model(GIVEN, corrections, Letters()), "plum") == ["tools"]


def test_weights_from_elsewhere_count_where_the_labels_are_theirs() -> None:
    labels = ("cars", "fruit", "tools")
    coef = 30 * Letters().embed(["banana", "kiwi", "wrench"]).astype(np.float64)
    prior = LinearPrior(labels, coef, np.zeros(3))
    assert classify(fit_category_model(GIVEN, (), Letters(), prior), "wrench") == ["tools"]
    elsewhere = LinearPrior(("a", "b", "c"), coef, np.zeros(3))
    plain = fit_category_model(GIVEN, (), Letters())
    other = fit_category_model(GIVEN, (), Letters(), elsewhere)
    vectors = Letters().embed(["wrench"])
    assert other.classify(["wrench"], vectors) == plain.classify(["wrench"], vectors)


TRAINED = TrainedTaxonomy(
    Taxonomy((GIVEN,)), (), {"topic": fit_category_model(GIVEN, (), Letters())},
    {"topic": "hash"}, Letters(), "letters/1",
)  # fmt: skip


def test_rows_say_who_said_so() -> None:
    corrections = (Correction("topic", "cars", "ann", None, "c2"),)
    model = fit_category_model(GIVEN, corrections, Letters())
    trained = TrainedTaxonomy(
        Taxonomy((GIVEN,)), corrections, {"topic": model}, {"topic": "hash"}, Letters(), "letters/1"
    )
    texts = pl.DataFrame({"conversation_id": ["c2", "c1"], "text": ["apple pear", "apple pear"]})
    rows = categories(trained, texts)
    assert rows.select("conversation_id", "category_value", "created_by").rows() == [
        ("c1", "fruit", "letters/1"),
        ("c2", "cars", "ann"),
    ]
    assert rows["confidence_score"][1] == 1.0
    documents = category_documents(rows, "2026-11-02")
    assert [one["_id"] for one in documents] == ["2026-11-02:c1:topic", "2026-11-02:c2:topic"]
    assert set(documents[0]) >= {
        "conversation_id", "category_type", "category_value", "confidence_score", "created_by",
    }  # fmt: skip
    assert categories(trained, texts.clear()).is_empty()


@given(
    st.lists(st.sampled_from(["apple pear", "wrench", "car", ""]), min_size=1, max_size=6),
    st.dictionaries(st.integers(0, 5), st.sampled_from(["apple pear", "hammer"])),
    st.integers(0, 6),
    st.tuples(*2 * [st.dictionaries(st.sampled_from(["c0", "c1", "c2"]), st.just("cars"))]),
)
@settings(deadline=None, max_examples=30)
def test_what_was_categorised_before_is_as_if_it_were_looked_at_again(
    before: list[str], changes: dict[int, str], kept: int, corrected: tuple[dict[str, str], ...]
) -> None:
    then, now = (
        dataclasses.replace(
            TRAINED,
            corrections=tuple(Correction("topic", v, "ann", None, k) for k, v in one.items()),
        )
        for one in corrected
    )

    def of(texts: list[str]) -> pl.DataFrame:
        ids = [f"c{n}" for n in range(len(texts))]
        return pl.DataFrame({"conversation_id": ids, "text": texts},
                            schema={"conversation_id": pl.String, "text": pl.String})  # fmt: skip

    after = [changes.get(n, text) for n, text in enumerate([*before[:kept], "new"])]
    held, texts = categories(then, of(before)), of(after)
    known = still_right(held, texts, TRAINED.hashes, TRAINED.created_by, corrected[1])
    unchanged = {f"c{n}" for n, text in enumerate(after) if n < len(before) and before[n] == text}
    assert set(known["conversation_id"]) == unchanged - corrected[0].keys() - corrected[1].keys()
    rest = texts.join(known, on="conversation_id", how="anti")
    again = CATEGORIES.conform(pl.concat([known, categories(now, rest)]))
    assert_frame_equal(again, categories(now, texts), check_exact=True)
    assert still_right(
        held, texts, {**TRAINED.hashes, "topic": "other"}, TRAINED.created_by
    ).is_empty()
    assert still_right(
        held, texts, {**TRAINED.hashes, "another": "type"}, TRAINED.created_by
    ).is_empty()


@pytest.mark.parametrize("labels", [2, 3])
def test_two_labels_are_enough(labels: int) -> None:
    model = fit_category_model(CategoryType("t", GIVEN.labels[:labels]), (), Letters())
    scores = model.scores(["apple"], Letters().embed(["apple"]))
    assert scores.shape == (1, labels)
    assert model.labels[int(scores.argmax())] == "fruit"
