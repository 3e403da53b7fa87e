"""What each engine is asked and how it answers: servers scripted after their documentation."""

from __future__ import annotations

import contextlib
import gzip
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from conversation_analytics.core.errors import (
    SettingsError,
    TranslatorAuthError,
    TranslatorFailedError,
    TranslatorQuotaError,
    TranslatorRequestError,
    TranslatorUnavailableError,
)
from conversation_analytics.core.translation_sending import Budget
from conversation_analytics.core.translations import translate_day
from conversation_analytics.core.translator import TranslatorLimits
from conversation_analytics.language.translators.apertium import Apertium
from conversation_analytics.language.translators.deepl import DeepL, default_url
from conversation_analytics.language.translators.endpoint import EndpointConfig
from conversation_analytics.language.translators.in_process import InProcess, load_engine
from conversation_analytics.language.translators.libretranslate import LibreTranslate
from conversation_analytics.language.translators.openai_chat import OpenAIChat
from conversation_analytics_tests.core.translating import DAY, Memory, day_of, road
from conversation_analytics_tests.language.translators.scripted_server import (
    KEY,
    Answer,
    ScriptedEngine,
    scripted,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = TranslatorLimits()
LANGUAGES = Answer(body=[
    {"code": "en", "name": "English", "targets": ["en", "pt-BR", "zh-Hans"]},
    {"code": "pt-BR", "name": "Portuguese", "targets": ["en"]},
    {"code": "th", "name": "Thai", "targets": ["en"]},
])  # fmt: skip
GOOD = Answer(body={"translatedText": ["dog"]})


@contextlib.contextmanager
def libre(*script: Answer, max_retries: int = 3) -> Iterator[tuple[ScriptedEngine, LibreTranslate]]:
    with scripted(*script) as server:
        endpoint = server.endpoint(max_retries=max_retries)
        with contextlib.closing(LibreTranslate(endpoint, "m1", LIMITS)) as engine:
            yield server, engine


def chat(content: object, finish_reason: str = "stop") -> Answer:
    text = content if isinstance(content, str) else json.dumps(content)
    return Answer(
        body={"choices": [{"message": {"content": text}, "finish_reason": finish_reason}]}
    )


@contextlib.contextmanager
def openai(*script: Answer) -> Iterator[tuple[ScriptedEngine, OpenAIChat]]:
    with scripted(*script) as server:
        endpoint = server.endpoint(("Authorization", f"Bearer {KEY}"))
        with contextlib.closing(OpenAIChat(endpoint, "gpt-test", LIMITS)) as engine:
            yield server, engine


@pytest.mark.parametrize(
    "fault",
    [
        Answer(502, b"<html>bad gateway</html>"), Answer(503, {"error": "starting"}), Answer(408),
        Answer(204, b""), Answer(200, b"<html>"), Answer(200, {"other": 1}), Answer(200, b""),
        Answer(200, {"translatedText": "dog"}), Answer(200, {"translatedText": ["dog"]}, cut=4),
        Answer(reset=True),
    ],
    ids=str,
)  # fmt: skip
def test_what_may_pass_is_asked_again(fault: Answer) -> None:
    with libre(fault, fault, GOOD) as (server, engine):
        assert engine.translate(["a"], "th", "en") == ["dog"]
        assert server.slept == [1.0, 2.0]
    with libre(fault, max_retries=1) as (server, engine):
        with pytest.raises(TranslatorUnavailableError, match="/translate") as caught:
            engine.translate(["a"], "th", "en")
        assert len(server.asked) == 2
        assert not isinstance(caught.value, TranslatorFailedError)
        assert KEY not in str(caught.value)


def test_an_answer_that_unpacks_to_too_much_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "conversation_analytics.language.translators.endpoint"
    monkeypatch.setattr(f"{module}._MAX_ANSWER_BYTES", 1 << 20)
    bomb = Answer(200, gzip.compress(b" " * (1 << 24)), {"Content-Encoding": "gzip"})
    with scripted(bomb) as engine:
        endpoint = engine.endpoint()
        with contextlib.closing(endpoint), pytest.raises(SettingsError, match="larger than 1 MiB"):
            endpoint.get("/languages", list)
        assert len(engine.asked) == 1


def test_too_many_requests_wait_long_enough() -> None:
    slow = Answer(429, {"error": "Slowdown: 10 per 1 minute"})
    with libre(slow, Answer(429, headers={"Retry-After": "40"}), GOOD) as (server, engine):
        assert engine.translate(["a"], "th", "en") == ["dog"]
        assert server.slept == [15.0, 40.0]


def test_a_failing_engine_is_told_from_one_that_is_away() -> None:
    with libre(Answer(500), max_retries=9) as (server, engine):
        with pytest.raises(TranslatorFailedError):
            engine.translate(["a"], "th", "en")
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(401), TranslatorAuthError),
        (Answer(403, {"error": "Invalid API key"}), TranslatorAuthError),
        (Answer(456), TranslatorQuotaError), (Answer(402), TranslatorQuotaError),
        (Answer(429, {"error": {"code": "insufficient_quota"}}), TranslatorQuotaError),
        (Answer(400), TranslatorRequestError), (Answer(413), TranslatorRequestError),
        (Answer(422), TranslatorRequestError),
        (Answer(404), SettingsError), (Answer(405), SettingsError),
        (Answer(301, headers={"Location": "http://elsewhere.example/"}), SettingsError),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)  # fmt: skip
def test_what_stays_is_asked_once(answer: Answer, error: type[Exception]) -> None:
    secret = "what the user wrote"
    body = {"error": f"cannot take {secret} with {KEY}", **(answer.body or {})}  # type: ignore[dict-item]
    told = Answer(answer.status, body, answer.headers)
    with libre(told) as (server, engine):
        with pytest.raises(error) as caught:
            engine.translate([secret], "th", "en")
        assert len(server.asked) == 1
        assert server.slept == []
        assert KEY not in str(caught.value)
        assert secret not in str(caught.value)


def test_libretranslate_is_asked_for_pairs_and_then_by_its_own_codes() -> None:
    with libre(LANGUAGES, GOOD) as (server, engine):
        assert engine.pairs() == frozenset(
            {("en", "en"), ("en", "pt"), ("en", "zh"), ("pt", "en"), ("th", "en")}
        )
        engine.translate(["a"], "pt", "en")
        assert server.asked[1].json == {
            "q": ["a"], "source": "pt-BR", "target": "en", "format": "text", "api_key": KEY,
        }  # fmt: skip


def test_as_many_texts_come_back_as_were_sent() -> None:
    with libre(GOOD) as (_, engine), pytest.raises(TranslatorUnavailableError, match="2 texts"):
        engine.translate(["a", "b"], "th", "en")


def test_a_day_by_libretranslate_isolates_what_it_refuses() -> None:
    script = [
        LANGUAGES, Answer(400), Answer(body={"translatedText": ["OK"]}),  # both; "ok"
        Answer(body={"translatedText": ["DOG"]}), Answer(400),  # one; the other
    ]  # fmt: skip
    with libre(*script) as (server, engine):
        frame, facts = translate_day(*day_of("dog", "bad"), DAY, road(engine, Memory()))  # type: ignore[arg-type]
        assert frame.select("status", "reason", "translated").rows() == [
            ("translated", None, "DOG"), ("refused", "engine", None),
        ]  # fmt: skip
        assert len(server.asked) == 5
        assert facts.requests == 4


def test_deepl() -> None:
    script = [
        Answer(body=[{"language": "TH", "name": "Thai"}, {"language": "PT", "name": "P"}]),
        Answer(body=[{"language": "EN-US", "name": "E"}, {"language": "PT-BR", "name": "P"}]),
        Answer(body={"translations": [{"detected_source_language": "TH", "text": "dog"}]}),
    ]
    with scripted(*script) as server:
        endpoint = server.endpoint(("Authorization", f"DeepL-Auth-Key {KEY}"))
        with contextlib.closing(DeepL(endpoint, "quality", LIMITS)) as engine:
            assert engine.pairs() == frozenset(
                {("th", "en"), ("th", "pt"), ("pt", "en"), ("pt", "pt")}
            )
            assert engine.translate(["หมา"], "th", "en") == ["dog"]
        assert [asked.path for asked in server.asked] == [
            "/v2/languages?type=source", "/v2/languages?type=target", "/v2/translate",
        ]  # fmt: skip
        assert all(a.headers["Authorization"] == f"DeepL-Auth-Key {KEY}" for a in server.asked)
        assert server.asked[2].json == {
            "text": ["หมา"], "source_lang": "TH", "target_lang": "EN-US",
            "preserve_formatting": True,
        }  # fmt: skip
    assert default_url("abc:fx") == "https://api-free.deepl.com"
    assert default_url("abc") == "https://api.deepl.com"


def test_a_chat_model_is_asked_for_json() -> None:
    with openai(chat({"translations": ["dog", "cat"]})) as (server, engine):
        assert engine.pairs() is None
        assert engine.translate(["หมา", "แมว"], "th", "en") == ["dog", "cat"]
        asked = server.asked[0]
        assert (asked.path, asked.headers["Authorization"]) == (
            "/chat/completions",
            f"Bearer {KEY}",
        )
        assert asked.json["temperature"] == 0
        assert json.loads(asked.json["messages"][1]["content"]) == {
            "source": "th", "target": "en", "texts": ["หมา", "แมว"],
        }  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        chat("dog, cat"), chat({"translations": ["dog and cat"]}), chat({"translations": "dog"}),
        chat({"translations": ["dog", 1]}), chat({"translations": ["dog", "cat"]}, "length"),
        chat({"translations": ["dog", "cat"]}, "content_filter"), Answer(body={"choices": []}),
        Answer(body={"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}),
    ],
)  # fmt: skip
def test_what_a_chat_model_says_is_checked(answer: Answer) -> None:
    with openai(answer) as (_, engine), pytest.raises(TranslatorRequestError):
        engine.translate(["หมา", "แมว"], "th", "en")


def test_apertium() -> None:
    script = [
        Answer(body={"responseData": [
            {"sourceLanguage": "spa", "targetLanguage": "eng"},
            {"sourceLanguage": "eng", "targetLanguage": "spa"},
            {"sourceLanguage": "eng", "targetLanguage": "cat_valencia"},
        ], "responseStatus": 200}),
        Answer(body={"responseData": {"translatedText": "dog"}, "responseStatus": 200}),
    ]  # fmt: skip
    with scripted(*script) as server:
        with contextlib.closing(Apertium(server.endpoint(), "3.9", LIMITS)) as engine:
            assert engine.pairs() == frozenset({("es", "en"), ("en", "es")})
            assert engine.translate(["perro", "perra"], "es", "en") == ["dog", "dog"]
        assert parse_qs(server.asked[1].content.decode()) == {
            "langpair": ["spa|eng"], "q": ["perro"], "markUnknown": ["no"],
        }  # fmt: skip


def made_up_engine() -> InProcess:
    return InProcess(
        "upper", "1", lambda text, _source, _target: text.upper(), frozenset({("th", "en")})
    )


def test_an_engine_that_is_a_python_function() -> None:
    engine = load_engine(f"{__name__}:made_up_engine")
    frame, _ = translate_day(
        *day_of("a dog"),
        DAY,
        road(engine, Memory(), budget=Budget(10)),  # type: ignore[arg-type]
    )
    assert frame.select("engine", "model", "translated").rows() == [("upper", "1", "A DOG")]
    for wrong in ("nothing", "no.such.module:f", f"{__name__}:nothing"):
        with pytest.raises(SettingsError, match="TRANSLATOR_FACTORY"):
            load_engine(wrong)


@pytest.mark.parametrize(
    "values",
    [("ftp://x",), ("http://u:p@x",), ("http://x?y",), ("http://x", "two\nlines")],
)  # fmt: skip
def test_an_address_or_key_that_cannot_work_is_a_wrong_setting(values: tuple[Any, ...]) -> None:
    with pytest.raises(SettingsError, match="TRANSLATOR_"):
        EndpointConfig(*values)
