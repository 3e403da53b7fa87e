from __future__ import annotations

import itertools
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.errors import (
    TranslatorAuthError,
    TranslatorFailedError,
    TranslatorQuotaError,
    TranslatorRequestError,
    TranslatorUnavailableError,
)
from conversation_analytics.core.translation_sending import Budget
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.translations import TranslationOptions, translate_day
from conversation_analytics.core.translator import TranslatorLimits
from conversation_analytics_tests.core.translating import DAY, Memory, WatchedEngine, day_of, road

PRICED = TranslationOptions(fields=("query",), price_per_million=Decimal(20), currency="EUR")


def told(frame: pl.DataFrame) -> list[tuple[str, str | None, str | None]]:
    return frame.select("status", "reason", "translated").rows()


def test_a_text_is_translated_once_over_rows_days_and_runs() -> None:
    engine, memory = WatchedEngine(), Memory()
    first, _ = translate_day(*day_of("my dog", "my cat", "my dog"), DAY, road(engine, memory))
    assert told(first) == [
        ("translated", None, "MY DOG"),
        ("translated", None, "MY CAT"),
        ("translated", None, "MY DOG"),
    ]
    second, facts = translate_day(*day_of("my cat", "my hen"), "2026-11-21", road(engine, memory))
    again, _ = translate_day(*day_of("my dog", "my cat", "my dog"), DAY, road(engine, memory))
    assert sorted(engine.texts) == ["my cat", "my dog", "my hen"]
    assert (facts.texts_sent, facts.texts_remembered, facts.requests) == (1, 1, 1)
    assert second["billed"].to_list() == [False, True]
    assert_frame_equal(first, again)


def test_texts_that_differ_in_links_and_numbers_only_are_one() -> None:
    engine = WatchedEngine()
    frame, _ = translate_day(
        *day_of("see https://a.example/1 for order 1234567",
                "see https://b.example for order 7654321"),
        DAY, road(engine),
    )  # fmt: skip
    assert engine.texts == ["see ZX0Z for order ZX1Z"]
    assert frame["translated"].to_list() == [
        "SEE https://a.example/1 FOR ORDER 1234567", "SEE https://b.example FOR ORDER 7654321",
    ]  # fmt: skip


def test_what_needs_no_translation_is_never_sent() -> None:
    engine = WatchedEngine()
    frame, _ = translate_day(
        *day_of(("hello", "en"), ("ฮืม", "und"), ("print(1)", "zxx"), "12345 🙂 https://x.example",
                ("", "th"), ("  \n", "th")),
        DAY, road(engine),
    )  # fmt: skip
    assert engine.calls == []
    assert told(frame) == [
        ("same", "language", None), ("same", "unknown", None), ("same", "unknown", None),
        ("same", "no_words", None),
    ]  # fmt: skip


def test_messages_without_a_row_of_languages_are_of_an_unknown_one() -> None:
    messages, languages = day_of("my dog")
    frame, _ = translate_day(messages, languages.clear(), DAY, road(WatchedEngine()))
    assert frame.select("source", "status", "reason").rows() == [("und", "same", "unknown")]


def test_another_model_translates_again() -> None:
    memory = Memory()
    for model in ("1", "2"):
        engine = WatchedEngine(model=model)
        frame, _ = translate_day(*day_of("my dog"), DAY, road(engine, memory))
        assert engine.texts == ["my dog"]
        assert frame["model"].to_list() == [model]


def test_a_poison_text_is_isolated_and_not_sent_by_a_later_run() -> None:
    texts = [f"text {word}" for word in ("a", "b", "c", "BAD", "d", "e", "f")]
    memory = Memory()
    engine = WatchedEngine(poison="BAD")
    frame, _ = translate_day(*day_of(*texts), DAY, road(engine, memory))
    assert frame["status"].to_list() == ["translated"] * 3 + ["refused"] + ["translated"] * 3
    assert frame["reason"].to_list()[3] == "engine"
    answered = [call for call in engine.calls if not any("BAD" in text for text in call)]
    sent = [text for call in answered for text in call if text != "ok"]
    assert len(sent) == len(set(sent))
    later = WatchedEngine(poison="BAD")
    again, _ = translate_day(*day_of(*texts), DAY, road(later, memory))
    assert later.calls == []
    assert_frame_equal(frame, again)


def test_a_lone_poison_text_is_refused_not_an_error() -> None:
    frame, _ = translate_day(*day_of("BAD text"), DAY, road(WatchedEngine(poison="BAD")))
    assert frame["status"].to_list() == ["refused"]


@pytest.mark.parametrize("error", [TranslatorRequestError("400"), TranslatorFailedError("500")])
def test_an_engine_that_refuses_everything_blames_no_text(error: Exception) -> None:
    memory, engine = Memory(), WatchedEngine(error=error)
    with pytest.raises(type(error)):
        translate_day(*day_of("a dog", "a cat"), DAY, road(engine, memory))
    assert memory.days == {}
    assert len(engine.calls) == 2


def test_an_engine_that_goes_down_on_the_way_blames_no_text() -> None:
    engine = WatchedEngine(
        error=TranslatorFailedError("500"), fail_after=1, limits=TranslatorLimits(1, 100)
    )
    memory = Memory()
    with pytest.raises(TranslatorFailedError):
        translate_day(*day_of("a dog", "a cat"), DAY, road(engine, memory))
    assert memory.days[DAY]["translated"].to_list() == ["A DOG"]


@pytest.mark.parametrize("error", [TranslatorUnavailableError("503"), TranslatorAuthError("403")])
def test_what_was_answered_before_an_error_is_kept_and_not_sent_again(error: Exception) -> None:
    memory, day = Memory(), day_of("a dog", "a cat", "a hen")
    engine = WatchedEngine(error=error, fail_after=2, limits=TranslatorLimits(1, 100))
    with pytest.raises(type(error)):
        translate_day(*day, DAY, road(engine, memory))
    later = WatchedEngine()
    translate_day(*day, DAY, road(later, memory))
    assert later.texts == ["a hen"]


def test_a_quota_that_is_used_up_leaves_the_rest_pending() -> None:
    engine = WatchedEngine(
        error=TranslatorQuotaError("456"), fail_after=1, limits=TranslatorLimits(1, 100)
    )
    frame, facts = translate_day(*day_of("a dog", "a cat", "a hen"), DAY, road(engine))
    assert told(frame) == [
        ("translated", None, "A DOG"), ("pending", "quota", None), ("pending", "quota", None),
    ]  # fmt: skip
    assert len(engine.calls) == 2
    assert facts.statuses == {"pending:quota": 2, "translated": 1}


def test_a_quota_that_is_used_up_is_so_for_the_days_after_it() -> None:
    engine = WatchedEngine(error=TranslatorQuotaError("456"))
    budget = Budget()
    for day in ("2026-11-20", "2026-11-21"):
        frame, _ = translate_day(*day_of("a dog"), day, road(engine, budget=budget))
        assert told(frame) == [("pending", "quota", None)]
    assert len(engine.calls) == 1


def test_the_budget_of_a_run_holds_over_its_days() -> None:
    engine, memory, budget = WatchedEngine(), Memory(), Budget(12)
    days = [day_of("a dog", "a cat"), day_of("a hen", "a cat")]
    frames = [
        translate_day(*day, f"2026-11-2{at}", road(engine, memory, budget=budget))[0]
        for at, day in enumerate(days)
    ]
    assert [frame["status"].to_list() for frame in frames] == [
        ["translated", "translated"], ["pending", "translated"],
    ]  # fmt: skip
    assert frames[1]["reason"].to_list() == ["budget", None]
    assert budget.spent == 10
    later, _ = translate_day(*days[1], "2026-11-21", road(engine, memory))
    assert later["status"].to_list() == ["translated", "translated"]


def test_an_engine_without_the_pair_refuses_and_may_learn() -> None:
    memory = Memory()
    engine = WatchedEngine(known=frozenset({("pt", "en")}))
    frame, _ = translate_day(*day_of("a dog", ("um gato", "pt")), DAY, road(engine, memory))
    assert told(frame) == [("refused", "pair", None), ("translated", None, "UM GATO")]
    learnt, _ = translate_day(*day_of("a dog"), DAY, road(WatchedEngine(), memory))
    assert learnt["status"].to_list() == ["translated"]


def test_the_first_row_of_a_text_is_billed_and_the_sum_is_what_was_sent() -> None:
    engine, memory = WatchedEngine(), Memory()
    priced = road(engine, memory, options=PRICED)
    frame, facts = translate_day(*day_of("a dog", "a dog", "a tiger"), DAY, priced)
    assert frame["billed"].to_list() == [True, False, True]
    assert frame["cost"].to_list() == [Decimal("0.0001000"), Decimal(0), Decimal("0.0001400")]
    assert frame["billed_characters"].sum() == facts.characters == 12
    assert set(frame["currency"]) == {"EUR"}
    unpriced, _ = translate_day(*day_of("a dog"), DAY, road(WatchedEngine()))
    assert unpriced["cost"].to_list() == [None]


def test_a_long_text_is_cut_and_put_together() -> None:
    engine = WatchedEngine(limits=TranslatorLimits(5, 40))
    text = "First sentence here. Second one, see https://x.example/a!\n\n  Third after a gap. " * 4
    frame, _ = translate_day(*day_of(text), DAY, road(engine))
    assert frame["translated"][0] == text.upper().replace(
        "HTTPS://X.EXAMPLE/A", "https://x.example/a"
    )
    assert frame["confidence"][0] > 0.9


def test_lost_tokens_are_sent_again_in_another_style() -> None:
    engine = WatchedEngine(answer=lambda text: text.replace("ZX", "xz ").upper())
    frame, facts = translate_day(*day_of("open https://x.example now"), DAY, road(engine))
    assert engine.texts == ["open ZX0Z now", "open URL0X now"]
    assert frame["translated"].to_list() == ["OPEN https://x.example NOW"]
    assert frame["confidence"][0] == 1.0
    assert (
        frame["billed_characters"][0] == facts.characters == len("open ZX0Z now" + "open URL0X now")
    )


def test_tokens_lost_twice_stay_in_the_text_and_cost_confidence() -> None:
    engine = WatchedEngine(
        answer=lambda text: text.replace("ZX0Z", "").replace("URL0X", "").upper()
    )
    frame, _ = translate_day(*day_of("open https://x.example now please"), DAY, road(engine))
    assert "https://x.example" in frame["translated"][0]
    assert frame["confidence"][0] == 0.0


def test_a_translation_in_the_wrong_language_costs_confidence() -> None:
    def detect(texts: object) -> list[tuple[str, float]]:
        return [("th" if text == "A DOG SLEEPS HERE" else "en", 1.0) for text in texts]  # type: ignore[attr-defined]

    frame, _ = translate_day(
        *day_of("a dog sleeps here", "a cat sleeps here"), DAY, road(WatchedEngine(), detect=detect)
    )
    assert frame["confidence"].to_list() == [0.2, 1.0]


def test_personal_data_never_reaches_the_engine() -> None:
    engine = WatchedEngine()
    name = "Somchai"
    frame, _ = translate_day(
        *day_of(f"my name is {name}, call me"), DAY,
        road(engine, find=lambda text: [(text.index(name), text.index(name) + len(name))]),
    )  # fmt: skip
    assert name not in str(engine.calls)
    assert frame["translated"].to_list() == [f"MY NAME IS {name}, CALL ME"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a dog", "a dog ", "b 1234567", "", "BAD", "x {y}"]),
                  st.sampled_from(["th", "pt", "en", "und"])),
        max_size=12,
    ),
    st.integers(1, 4), st.one_of(st.none(), st.integers(0, 60)),
)  # fmt: skip
def test_rows_are_those_of_the_texts_and_the_same_given_the_memory(
    texts: list[tuple[str, str]], batch: int, limit: int | None
) -> None:
    engine, memory = WatchedEngine(poison="BAD", limits=TranslatorLimits(batch, 30)), Memory()
    day = day_of(*texts)
    once, _ = translate_day(*day, DAY, road(engine, memory, budget=Budget(limit)))
    assert once.schema == TRANSLATIONS.polars
    assert once.height == sum(bool(text.strip()) for text, _ in texts)
    calls = len(engine.calls)
    again, _ = translate_day(*day, DAY, road(engine, memory, budget=Budget(0)))
    assert len(engine.calls) == calls
    assert_frame_equal(once, again)
    sent = [t for t in itertools.chain(*engine.calls) if t not in {"ok", "BAD"}]
    if not any("BAD" in text for text in engine.texts):
        assert len(sent) == len(set(sent)) or {"th", "pt"} <= {s for _, s in texts}


def answers_of(memory: Memory, day: str = DAY) -> list[str]:
    return sorted(memory.days[day]["translated"])


def test_what_no_message_of_the_day_says_any_more_leaves_its_memory() -> None:
    engine, memory = WatchedEngine(), Memory()
    translate_day(*day_of("I am Anna", "my dog", "my cat"), DAY, road(engine, memory))
    translate_day(*day_of("my hen"), "2026-11-21", road(engine, memory))
    purged, facts = translate_day(*day_of("my dog", "my cat"), DAY, road(engine, memory))
    assert told(purged) == [("translated", None, "MY DOG"), ("translated", None, "MY CAT")]
    assert answers_of(memory) == ["MY CAT", "MY DOG"]
    assert (facts.texts_forgotten, facts.texts_sent, facts.texts_remembered) == (1, 0, 2)
    corrected, facts = translate_day(*day_of("my dog", "my cow"), DAY, road(engine, memory))
    assert answers_of(memory) == ["MY COW", "MY DOG"]
    assert (facts.texts_forgotten, corrected.height) == (1, 2)
    _, facts = translate_day(*day_of(), DAY, road(engine, memory))
    assert (answers_of(memory), facts.texts_forgotten) == ([], 2)
    assert answers_of(memory, "2026-11-21") == ["MY HEN"]


def test_another_day_that_says_a_forgotten_text_asks_for_it_again() -> None:
    engine, memory = WatchedEngine(), Memory()
    other = day_of("my dog", "my cat")
    translate_day(*day_of("my dog"), DAY, road(engine, memory))
    before, _ = translate_day(*other, "2026-11-21", road(engine, memory))
    translate_day(*day_of(), DAY, road(engine, memory))
    after, facts = translate_day(*other, "2026-11-21", road(engine, memory))
    assert (told(after), facts.texts_sent) == (told(before), 1)
    assert answers_of(memory, "2026-11-21") == ["MY CAT", "MY DOG"]


def test_a_text_is_forgotten_though_the_engine_is_away() -> None:
    engine, memory = WatchedEngine(), Memory()
    translate_day(*day_of("I am Anna", "my dog"), DAY, road(engine, memory))
    engine.error = TranslatorUnavailableError("away")
    with pytest.raises(TranslatorUnavailableError):
        translate_day(*day_of("my dog", "my cow"), DAY, road(engine, memory))
    assert answers_of(memory) == ["MY DOG"]


def test_what_other_settings_asked_for_stays_while_a_message_says_it() -> None:
    memory = Memory()
    messages, languages = day_of("my dog", "I am Anna")
    messages = messages.with_columns(answer=pl.Series(["good boy", "hello Anna"]))
    languages = languages.with_columns(answer_language=pl.lit("th"))
    both = TranslationOptions()
    french = TranslationOptions("fr", ("query",))
    engine, other = WatchedEngine(), WatchedEngine(model="2")
    translate_day(messages, languages, DAY, road(engine, memory, options=both))
    translate_day(messages, languages, DAY, road(other, memory, options=french))
    assert len(answers_of(memory)) == 6
    _, facts = translate_day(messages, languages, DAY, road(engine, memory))
    assert (facts.texts_forgotten, len(answers_of(memory))) == (0, 6)
    _, facts = translate_day(messages.head(1), languages, DAY, road(engine, memory))
    assert facts.texts_forgotten == 3
    assert answers_of(memory) == ["GOOD BOY", "MY DOG", "MY DOG"]


def test_the_parts_of_a_long_text_stay_in_the_memory() -> None:
    engine, memory = WatchedEngine(limits=TranslatorLimits(50, 40)), Memory()
    day = day_of("One sentence here. Another sentence there. And a third one at the end of it.")
    translate_day(*day, DAY, road(engine, memory))
    parts = answers_of(memory)
    assert len(parts) > 1
    _, facts = translate_day(*day, DAY, road(engine, memory))
    assert (answers_of(memory), facts.texts_forgotten) == (parts, 0)
