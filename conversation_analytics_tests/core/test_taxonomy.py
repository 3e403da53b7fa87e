from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.errors import TaxonomyError
from conversation_analytics.core.taxonomy import (
    CategoryType,
    Correction,
    Label,
    Taxonomy,
    parse_corrections,
    parse_taxonomy,
    taxonomy_hash,
)

if TYPE_CHECKING:
    import random

SMALL = """
topic:
  - label: billing
    description: invoices
    threshold: 0.4
    examples: [I was charged twice]
  - label: delivery
    examples:
      - where is my parcel
  - label: other
    examples: [lorem ipsum]
"""
TWICE = """
- {type: topic, label: billing, conversation_id: c}
- {type: topic, label: delivery, conversation_id: c}
"""
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}( [a-z]{1,4})?", fullmatch=True).filter(
    lambda n: n != "other"
)
PHRASES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
LABELS = st.builds(
    Label,
    NAMES,
    PHRASES,
    st.lists(PHRASES, max_size=4, unique=True).map(tuple),
    st.floats(0, 1),
)


def test_a_taxonomy_is_read() -> None:
    (topic,) = parse_taxonomy(SMALL, "t.yaml").types
    assert topic == CategoryType(
        "topic",
        (
            Label("billing", "invoices", ("I was charged twice",), 0.4),
            Label("delivery", "", ("where is my parcel",)),
        ),
        ("lorem ipsum",),
    )


@given(st.lists(LABELS, min_size=2, max_size=5, unique_by=lambda label: label.name))
def test_what_is_written_as_yaml_is_read_back(labels: list[Label]) -> None:
    used: set[str] = set()
    apart = []
    for label in labels:
        examples = tuple(one for one in label.examples if one not in used)
        used.update(examples)
        apart.append(Label(label.name, label.description, examples, label.threshold))
    text = yaml.safe_dump(
        {
            "topic": [
                {
                    "label": one.name,
                    "description": one.description,
                    "threshold": one.threshold,
                    "examples": list(one.examples),
                }
                for one in apart
            ]
        },
        allow_unicode=True,
    )
    assert parse_taxonomy(text, "t").types == (CategoryType("topic", tuple(apart)),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "t.yaml: expected types of categories, found an empty file"),
        ("topic: [", "t.yaml, line 1: expected YAML"),
        ("- a", "t.yaml, line 1: expected a mapping (types of categories), found a list"),
        ("Topic: []", "line 1: expected a type of lower-case letters, digits and _, found 'Topic'"),
        ("topic: 3", "line 1: expected a list of labels of type topic, found int"),
        (SMALL.replace("threshold: 0.4", "threshold: 1.4"),
         "line 5: expected a number from 0 to 1 as threshold of topic/billing, found 1.4"),
        (SMALL.replace("threshold: 0.4", "threshold: .nan"), "line 5: expected a number from 0"),
        (SMALL.replace("threshold: 0.4", "treshold: 0.4"), "line 5: expected one of description, "),
        (SMALL.replace("[I was charged twice]", "[no]"), "line 6: expected text as example of"),
        (SMALL.replace("label: delivery", "label: billing"),
         "line 7: expected each label of type topic once, found 'billing' again"),
        (SMALL.replace("where is my parcel", "I was charged twice"),
         "line 7: expected an example under one label of type topic"),
        (SMALL + "topic: []\n", "line 12: expected each name once, found 'topic' again"),
        ("topic:\n  - label: one\n    examples: [a]\n",
         "line 2: expected at least two labels of type topic, found 1"),
        (SMALL.replace("    examples: [lorem ipsum]", "    threshold: 0.1"),
         "line 10: expected examples, and nothing else, under topic/other"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(TaxonomyError) as raised:
        parse_taxonomy(text, "t.yaml")
    assert told in str(raised.value)


@given(st.text(max_size=60))
def test_any_text_is_a_taxonomy_or_told_to_be_none(text: str) -> None:
    with contextlib.suppress(TaxonomyError):
        parse_taxonomy(text, "t.yaml")


def test_corrections_are_checked_against_the_taxonomy() -> None:
    taxonomy = parse_taxonomy(SMALL, "t.yaml")
    assert parse_corrections("", "c.yaml", taxonomy) == ()
    read = parse_corrections(
        "- {type: topic, label: other, text: hello, by: ann}\n"
        "- {type: topic, label: billing, conversation_id: c1}\n",
        "c.yaml",
        taxonomy,
    )
    assert read == (
        Correction("topic", "billing", "person", None, "c1"),
        Correction("topic", "other", "ann", "hello"),
    )
    for text, told in (
        ("- {type: mood, label: billing, text: x}", "line 1: expected one of the types topic"),
        ("- {type: topic, label: x, text: x}", "one of the labels billing, delivery, other"),
        ("- {type: topic, label: billing}", "expected a text, a conversation_id, or both"),
        (TWICE, "conversation c is corrected to"),
    ):  # fmt: skip
        with pytest.raises(TaxonomyError, match=r"c\.yaml") as raised:
            parse_corrections(text, "c.yaml", taxonomy)
        assert told in str(raised.value)


BASE = CategoryType("topic", (Label("a", "d", ("x", "y")), Label("b", "", ("z",))), ("o",))


@given(st.randoms(use_true_random=False))
def test_no_order_changes_the_hash(rng: random.Random) -> None:
    corrections = [
        Correction("topic", "a", "ann", "t1"),
        Correction("topic", "b", "ann", None, "c"),
        Correction("intent", "q", "bob", "t2"),
    ]
    before = taxonomy_hash(BASE, corrections, "m")
    labels = [
        Label(one.name, one.description, tuple(rng.sample(one.examples, len(one.examples))))
        for one in BASE.labels
    ]
    rng.shuffle(labels)
    rng.shuffle(corrections)
    assert taxonomy_hash(CategoryType("topic", tuple(labels), ("o",)), corrections, "m") == before


def test_everything_that_matters_changes_the_hash_and_nothing_else() -> None:
    a, b = BASE.labels
    mine = [Correction("topic", "a", "ann", "t1")]
    hashes = {
        taxonomy_hash(BASE, mine, "m"),
        taxonomy_hash(BASE, mine, "m2"),
        taxonomy_hash(BASE, [], "m"),
        taxonomy_hash(BASE, [Correction("topic", "b", "ann", "t1")], "m"),
        taxonomy_hash(CategoryType("topic", (a, b)), mine, "m"),
        *(
            taxonomy_hash(CategoryType("topic", (changed, b), ("o",)), mine, "m")
            for changed in (
                Label("a2", "d", ("x", "y")),
                Label("a", "d2", ("x", "y")),
                Label("a", "d", ("x",)),
                Label("a", "d", ("x", "y"), 0.3),
            )
        ),
    }
    assert len(hashes) == 9
    other = [
        Correction("topic", "a", "bob", "t1"),  # who said so does not change a model
        Correction("topic", "b", "ann", None, "conversation"),
        Correction("intent", "q", "bob", "t"),
    ]
    assert taxonomy_hash(BASE, other, "m") == taxonomy_hash(BASE, mine, "m")


def test_a_taxonomy_gives_its_types_by_name() -> None:
    assert Taxonomy((BASE,))["topic"] is BASE
    with pytest.raises(KeyError):
        Taxonomy((BASE,))["mood"]
