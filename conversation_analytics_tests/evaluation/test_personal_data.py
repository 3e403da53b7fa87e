"""The made-up labelled set, and what is found of it."""

from conversation_analytics.core.personal_kinds import Kind, Span
from conversation_analytics.evaluation.personal_data import (
    Labelled,
    evaluate,
    made_up,
    measure,
    table,
)

LANGUAGES = ("en", "de", "fr", "es", "pt", "id", "vi", "zh", "th")


def test_the_set_is_the_same_each_time_and_has_every_kind_and_language() -> None:
    cases = made_up(rounds=1)
    assert cases == made_up(rounds=1)
    assert {span.kind for case in cases for span in case.spans} == set(Kind)
    assert {case.about.split()[0] for case in cases} == set(LANGUAGES)
    assert sum(not case.spans for case in cases) > len(cases) / 2


def test_recall_and_precision_reach_the_goal_on_values_not_looked_at() -> None:
    # A seed that no rule was written by.
    rows, _ = measure(made_up(seed=987_654_321, rounds=10))
    assert all(row.recall >= 0.95 and row.precision >= 0.93 for row in rows), table(rows)


def test_what_is_missed_made_up_or_of_another_kind_counts_against_it() -> None:
    cases = [
        Labelled("a@example.com", (Span(0, 13, Kind.EMAIL),), "right"),
        Labelled("hello", (Span(0, 5, Kind.EMAIL),), "missed"),
        Labelled("b@example.com", (), "made up"),
        Labelled("c@example.com", (Span(0, 13, Kind.PHONE),), "another kind"),
    ]
    rows, wrong = measure(cases)
    email, phone, total = rows
    assert (email.recall, email.precision) == (1 / 2, 1 / 3)
    assert (phone.recall, phone.precision, phone.touched) == (0, 1, 1)
    assert (total.labelled, total.right, total.found) == (3, 1, 3)
    assert [one.about for one in wrong] == ["missed", "made up", "another kind"]


def test_the_evaluation_is_a_table_with_examples() -> None:
    told = evaluate(rounds=1)
    assert "| kind | spans | recall | precision |" in told
    assert "| national_id |" in told
