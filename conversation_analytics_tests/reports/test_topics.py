"""Topics on the page of a week: escaped, and only what may be told."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from conversation_analytics.core.topic_changes import TOPIC_CHANGES
from conversation_analytics.reports.page import page
from conversation_analytics.reports.topics import topic_cards, topic_lines
from conversation_analytics_tests.reports.test_report_files import HOSTILE, Tags


def topic(name: str, **fields: Any) -> dict[str, Any]:
    return {"topic_id": name, "label": name, "conversations": 30, "users": 9, "share": 0.5,
            "change": "grown", "conversations_before": 10} | fields  # fmt: skip


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TOPIC_CHANGES)


GONE = topic("left", change="gone", conversations=None, users=None, share=None)


def test_a_change_is_told_with_both_numbers_or_without_any_of_this_week() -> None:
    lines = topic_lines(frame(topic("bills"), topic("fresh", change="new",
                                                    conversations_before=None), GONE))  # fmt: skip
    assert lines[3:] == [
        "| bills | 30 | 10 | grown \\(\\+200%\\) | 9 | 50.0% |",
        "| fresh | 30 | \u2013 | new | 9 | 50.0% |",
        "| left | \u2013 | 10 | gone | \u2013 | \u2013 |",
    ]
    chart, table = topic_cards(frame(topic("bills"), GONE))
    assert "bills" in chart
    assert "left" not in chart  # of what is gone no number is known
    assert "gone" in table


@pytest.mark.parametrize("text", HOSTILE)
def test_words_of_users_are_text(text: str) -> None:
    found = frame(topic(text), topic("one", label=None))
    body = "".join(topic_cards(found))
    tags = Tags()
    tags.feed(page("a week", body))
    assert "<script>alert(1)" not in body
    assert "<b onclick" not in body
    assert tags.scripts == 1
    [line, other] = topic_lines(found)[3:]
    assert "<script>" not in line
    assert "\n" not in line
    assert "(no word of enough users)" in other.replace("\\", "")


def test_a_week_of_hidden_topics_says_so() -> None:
    [only] = topic_cards(frame())
    assert "No topic has enough users" in only


def test_a_week_without_one_before_has_bars_of_its_own() -> None:
    [chart, _] = topic_cards(frame(topic("bills", change=None, conversations_before=None)))
    assert "week before" not in chart
