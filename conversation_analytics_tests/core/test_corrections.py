"""Corrections of a table: what can be used, and what is told of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.corrections import (
    CorrectionRow,
    conversations_digest,
    refused_told,
    usable_corrections,
)
from conversation_analytics.core.taxonomy import (
    CategoryType,
    Correction,
    Label,
    Taxonomy,
    checked_corrections,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TAXONOMY = Taxonomy(
    (
        CategoryType("topic", (Label("a", "d", ()), Label("b", "d", ()))),
        CategoryType("mood", (Label("good", "d", ()), Label("bad", "d", ()))),
    )
)
SECRET = "my card is 4111"


def row(row_id: str = "1", **values: str | None) -> CorrectionRow:
    given_values = {"type": "topic", "label": "a", "text": SECRET, "conversation_id": None,
                    "by": "ann"}  # fmt: skip
    return CorrectionRow(row_id, **(given_values | values))


def test_a_row_is_a_correction_as_of_a_file() -> None:
    usable, refused = usable_corrections(
        [row(), row("2", label="other", text=None, conversation_id="c", by=None)], TAXONOMY
    )
    assert usable == (
        Correction("topic", "a", "ann", SECRET),
        Correction("topic", "other", "person", None, "c"),
    )
    assert refused == ()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (row(type="colour"), "expected as type one of topic, mood, found 'colour'"),
        (row(type=None), "expected as type one of topic, mood, found nothing"),
        (row(label="good"), "expected as label one of a, b, other, found 'good'"),
        (row(text=None), "expected a text, a conversation_id, or both, found neither"),
        (row(text="x" * 2001), "expected at most 2000 characters as text, found more"),
    ],
)
def test_a_wrong_row_is_told_and_takes_no_other_with_it(wrong: CorrectionRow, told: str) -> None:
    usable, refused = usable_corrections([wrong, row("2", text="y")], TAXONOMY)
    assert [one.text for one in usable] == ["y"]
    assert refused_told(refused) == f"row 1: {told}"


def test_an_empty_line_of_the_grid_is_nothing() -> None:
    assert usable_corrections([CorrectionRow("7", None, None, None, None, None)], TAXONOMY) == (
        (), (),
    )  # fmt: skip


def test_rows_that_contradict_each_other_are_all_told_and_no_text_is() -> None:
    rows = [
        row("1"), row("2", label="b"), row("3", text=None, conversation_id="c"),
        row("4", text=None, conversation_id="c", label="b"), row("5", text="fine"),
        row("6", type="mood", label="good"),
    ]  # fmt: skip
    usable, refused = usable_corrections(rows, TAXONOMY)
    assert [one.text for one in usable] == ["fine", SECRET]
    assert [one.row_id for one in refused] == ["1", "2", "3", "4"]
    assert SECRET not in refused_told(refused)
    # The file wins over the table.
    held = (Correction("topic", "b", "bob", SECRET),)
    usable, refused = usable_corrections([row()], TAXONOMY, held)
    assert (usable, [one.row_id for one in refused]) == ((), ["1"])


_ROWS = st.lists(
    st.builds(
        CorrectionRow,
        st.integers(1, 10**6).map(str),
        st.sampled_from(["topic", "mood", "colour", None]),
        st.sampled_from(["a", "b", "good", "other", None]),
        st.sampled_from(["t", "u", None]),
        st.sampled_from(["c", "d", None]),
        st.sampled_from(["ann", None]),
    ),
    unique_by=lambda one: one.row_id,
)


@given(_ROWS)
def test_every_row_is_used_or_told_or_empty(rows: Sequence[CorrectionRow]) -> None:
    usable, refused = usable_corrections(rows, TAXONOMY)
    empty = sum(not any(one[1:]) for one in rows)
    assert len(usable) + len(refused) + empty == len(rows)
    checked_corrections(usable, "the table")  # raises where two contradict each other
    assert usable_corrections(rows[::-1], TAXONOMY)[1] == refused


def test_the_digest_of_a_day_is_of_its_conversations() -> None:
    one = Correction("topic", "a", "ann", None, "c")
    other = Correction("topic", "b", "ann", None, "elsewhere")
    example = Correction("topic", "b", "ann", "text")
    assert conversations_digest([example, other], {"c"}) is None
    digest = conversations_digest([one], {"c", "d"})
    assert digest == conversations_digest([other, one, example], {"c"})
    changed = Correction("topic", "b", "ann", None, "c")
    assert digest != conversations_digest([changed], {"c"})
