"""What a topic namer is sent: redacted whole, and cut then."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING

import polars as pl
import pytest

from conversation_analytics.core.personal_data import beginning, redact
from conversation_analytics.core.topic_names import conversations_told, name_topics
from conversation_analytics.core.topic_tables import TOPICS
from conversation_analytics_tests.core.test_personal_data import RIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

CUT = 500
WEEK = dt.date(2026, 11, 16)
_HALF_PLACEHOLDER = re.compile(r"<[A-Z_]*[0-9]*$")


class Heard:
    """A namer that keeps what it was sent."""

    model = "m"
    language = "en"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def name(self, texts: Sequence[str]) -> str:
        self.texts += texts
        return "A topic"


def topic(*examples: str, shown: bool = True, conversations: int = 9) -> pl.DataFrame:
    row = {
        "start": WEEK, "topic_id": "t", "group_id": 0, "shown": shown, "label": "x",
        "label_by": "words", "named_from": None, "words": '["x"]',
        "examples": json.dumps(examples) if shown else None, "conversations": conversations,
        "users": 7, "previous_conversations": None, "last_seen": WEEK, "centre": "",
    }  # fmt: skip
    return TOPICS.conform(pl.DataFrame([row], schema=TOPICS.polars))


def sent(texts: dict[str, str]) -> list[str]:
    namer = Heard()
    frame = pl.DataFrame({"conversation_id": list(texts), "text": list(texts.values())})
    name_topics(topic(*texts), frame, namer, {})
    return namer.texts


@pytest.mark.parametrize(("kind", "text", "value"), RIGHT)
def test_personal_data_across_the_cut_is_not_sent(kind: str, text: str, value: str) -> None:
    before = text.partition("{}")[0]
    said: dict[str, str] = {}
    for inside in range(1, len(value) + 1):  # characters of it before the cut
        words = "and so on " * CUT
        padding = words[: CUT - inside - len(before) - 1] + "\n"
        said[f"{inside:03}"] = padding + text.format(value)
        assert said[f"{inside:03}"][:CUT].endswith(value[:inside])
    for whole, heard in zip(said.values(), sent(said), strict=True):
        redacted = redact(whole).text
        assert value not in redacted
        assert redacted.startswith(heard)
        assert len(heard) <= CUT
        assert _HALF_PLACEHOLDER.search(heard) is None, kind


def test_a_text_is_sent_up_to_the_cut_and_whole_placeholders_with_it() -> None:
    said = {"a": "x" * 900, "b": "short", "c": "y " * 245 + "a.b@example.com and more"}
    assert sent(said) == ["x" * CUT, "short", "y " * 245 + "<EMAIL_1> "[: CUT - 490]]
    redaction = redact("to a.b@example.com or c.d@example.com")
    cut = [beginning(redaction, characters) for characters in (0, 2, 3, 4, 11, 12, 13, 99)]
    assert cut == [
        "", "to", "to ", "to ", "to ", "to <EMAIL_1>", "to <EMAIL_1> ",
        "to <EMAIL_1> or <EMAIL_2>",
    ]  # fmt: skip


def test_only_texts_of_topics_that_are_named_are_asked_for() -> None:
    topics = pl.concat(
        [topic("a", "b"), topic("c", shown=False), topic("d", conversations=0), topic("e", "a")]
    )
    assert conversations_told(topics) == {"a", "b", "e"}
