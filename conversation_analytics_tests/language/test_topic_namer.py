"""Names of topics, from a real HTTP server that speaks as OpenAI's."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest

from conversation_analytics.core.errors import (
    TranslatorAuthError,
    TranslatorRequestError,
    TranslatorUnavailableError,
)
from conversation_analytics.core.topic_names import known_names, name_topics
from conversation_analytics.core.topic_tables import TOPICS
from conversation_analytics.language.topic_namer import ChatNamer
from conversation_analytics_tests.language.translators.scripted_server import Answer, scripted

MONDAY = dt.date(2026, 11, 16)
EMAIL = "jane.roe@example.org"


def said(content: str | None, reason: str | None = "stop") -> Answer:
    choice = {"message": {"content": content}, "finish_reason": reason}
    return Answer(body={"choices": [choice]})


def named(name: str) -> Answer:
    return said(json.dumps({"name": name}))


def table(*ids: str, shown: bool = True, conversations: int = 9) -> pl.DataFrame:
    rows = [
        {
            "start": MONDAY, "topic_id": one, "group_id": 0, "shown": shown, "label": "refund",
            "label_by": "words", "named_from": None, "words": '["refund"]',
            "examples": json.dumps([f"{one}-1", f"{one}-2"]), "conversations": conversations,
            "users": 7, "previous_conversations": None, "last_seen": MONDAY, "centre": "",
        }
        for one in ids
    ]  # fmt: skip
    return TOPICS.conform(pl.DataFrame(rows, schema=TOPICS.polars))


def texts(*ids: str, said_of: str = "refund to") -> pl.DataFrame:
    rows = [(f"{one}-{n}", f"{said_of} {EMAIL} {one} {n}") for one in ids for n in (1, 2)]
    return pl.DataFrame(rows, schema=["conversation_id", "text"], orient="row")


def test_shown_topics_are_named_from_redacted_texts_and_others_not_sent() -> None:
    topics = pl.concat([table("a", "b"), table("hidden", shown=False), table("r", conversations=0)])
    with scripted(named(" Refunds of  orders "), named("Parcels")) as server:
        namer = ChatNamer(server.endpoint(("Authorization", "Bearer k")), "small-1", "en")
        found = name_topics(topics, texts("a", "b", "hidden", "r"), namer, {})
    assert dict(found.topics.select("topic_id", "label").iter_rows()) == {
        "a": "Refunds of orders", "b": "Parcels", "hidden": "refund", "r": "refund",
    }  # fmt: skip
    by = dict(found.topics.select("topic_id", "label_by").iter_rows())
    assert by == {"a": "small-1", "b": "small-1", "hidden": "words", "r": "words"}
    assert (found.asked, found.left_out, len(server.asked)) == (2, 0, 2)
    assert server.asked[0].path == "/chat/completions"
    assert server.asked[0].headers["Authorization"] == "Bearer k"
    sent = b"".join(one.content for one in server.asked).decode()
    assert EMAIL not in sent
    assert "hidden" not in sent
    body = json.loads(server.asked[0].json["messages"][1]["content"])
    assert body["language"] == "en"
    assert len(body["texts"]) == 2


def test_a_name_is_kept_while_its_texts_are_the_same() -> None:
    with scripted(named("One"), named("Two"), named("Three")) as server:
        namer = ChatNamer(server.endpoint(), "small-1", "en")
        first = name_topics(table("a"), texts("a"), namer, {}).topics
        known = known_names([first], "small-1")
        again = name_topics(table("a"), texts("a"), namer, known)
        assert (again.asked, again.topics.equals(first)) == (0, True)
        changed = name_topics(table("a"), texts("a", said_of="money back"), namer, known)
        assert changed.topics["label"].to_list() == ["Two"]
        other = ChatNamer(server.endpoint(), "large-2", "en")
        assert known_names([first], "large-2") == {}
        assert name_topics(table("a"), texts("a"), other, known).topics["label_by"][0] == "large-2"


def test_a_name_with_personal_data_is_left_out_and_told() -> None:
    with scripted(named(f"Mails of {EMAIL}"), named("Mails of <EMAIL_1>")) as server:
        namer = ChatNamer(server.endpoint(), "small-1", "en")
        found = name_topics(table("a", "b"), texts("a", "b"), namer, {})
    assert found.left_out == 2
    assert found.topics["label_by"].to_list() == ["words", "words"]


def test_a_topic_that_is_refused_keeps_its_words_unless_all_are() -> None:
    with scripted(named("Parcels"), said(None)) as server:
        namer = ChatNamer(server.endpoint(), "small-1", "en")
        found = name_topics(table("a", "b"), texts("a", "b"), namer, {})
        assert (found.asked, found.left_out) == (2, 1)
        assert found.topics["label"].to_list() == ["Parcels", "refund"]
        with pytest.raises(TranslatorRequestError, match="TOPIC_NAMER_MODEL"):
            name_topics(table("a", "b"), texts("a", "b"), namer, {})


@pytest.mark.parametrize(
    "answer",
    [
        said("Refunds"), said(None), said('{"name": ""}'), said('{"title": "x"}'),
        named("x" * 81), named("a\u202eb"), said('{"name": "Refu', "length"),
        Answer(body={"choices": []}),
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_what_to_do(answer: Answer) -> None:
    with scripted(answer) as server:
        namer = ChatNamer(server.endpoint(), "small-1", "en")
        with pytest.raises(TranslatorRequestError, match="TOPIC_NAMER_MODEL") as caught:
            namer.name(["secret text"])
    assert "secret" not in str(caught.value)


def test_errors_name_the_settings_of_the_namer() -> None:
    from conversation_analytics.resources.connections import open_topic_namer  # noqa: PLC0415
    from conversation_analytics.settings import parse_settings  # noqa: PLC0415

    with scripted(Answer(status=401), Answer(status=503)) as server:
        given = {
            "TOPIC_NAMER_URL": server.base_url, "TOPIC_NAMER_API_KEY": "wrong",
            "TOPIC_NAMER_MODEL": "small-1", "MAX_RETRIES": "1", "RETRY_DELAY": "0.01",
        }  # fmt: skip
        namer = open_topic_namer(parse_settings(given))
        assert namer is not None
        with pytest.raises(TranslatorAuthError, match="TOPIC_NAMER_API_KEY"):
            namer.name(["text"])
        with pytest.raises(TranslatorUnavailableError, match="Is TOPIC_NAMER_URL right"):
            namer.name(["text"])
        namer.close()
    assert open_topic_namer(parse_settings({})) is None
