from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.text_masking import Masked, Style, mask, normalise, restore
from conversation_analytics.core.text_pieces import cut, pack
from conversation_analytics.core.translator import TranslatorLimits

PARTS = [*"ab Z0X1U RL.\n`<>/{}%s@:[]#-é。", "ZX0Z", "URL1X", "```", "://", "www."]
AWKWARD = st.lists(st.sampled_from(PARTS), max_size=60).map("".join)


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("see https://a.example/b?c=d#e, or www.b.example.", ["https://a.example/b?c=d#e",
                                                             "www.b.example"]),
        ("访问https://x.example/z谢谢", ["https://x.example/z"]),
        ("write to me.you+tag@mail.example.org!", ["me.you+tag@mail.example.org"]),
        ("run `pip install x` and\n```py\nprint(1)\n```\nthen", ["`pip install x`",
                                                               "```py\nprint(1)\n```"]),
        ("look ```x=1``` here", ["```x=1```"]), ("end ```\nx = 1", ["```\nx = 1"]),
        ("<b>bold</b> &amp; <br/> a < b and c > d", ["<b>", "</b>", "&amp;", "<br/>"]),
        ("hi {name}, ${total} of {{ user.id }} at %s or %(when)s, $HOME and $5",
         ["{name}", "${total}", "{{ user.id }}", "%s", "%(when)s", "$HOME"]),
        ("[EMAIL_1] and <PHONE_2> but [see here]", ["[EMAIL_1]", "<PHONE_2>"]),
        ("order 4410-998812 or AB-123456 of 2026-11-23", ["4410-998812", "AB-123456",
                                                          "2026-11-23"]),
        ("5 of 12 apples, 1,000,000 or 3.14159 at 50%", []),
        ("3f2b8c1e-9a4d-4c58-8f7e-1234567890ab", ["3f2b8c1e-9a4d-4c58-8f7e-1234567890ab"]),
        ("in /var/log/app.log and/or C:\\temp\\x", ["/var/log/app.log", "\\temp\\x"]),
        ("our own ZX0Z, uRL 12x too", ["ZX0Z", "uRL 12x"]),
        ("nothing to keep here: I said 'no'", []),
    ],
)  # fmt: skip
def test_what_is_kept_from_the_engine(text: str, spans: list[str]) -> None:
    assert list(mask(text).spans) == spans


@given(AWKWARD, st.sampled_from(Style))
def test_what_is_taken_out_comes_back(text: str, style: Style) -> None:
    masked = mask(text)
    restored = restore(masked.render(style), masked, style)
    assert restored.text == text
    assert restored.survived == len(masked.spans)


@given(AWKWARD, st.integers(10, 60))
def test_pieces_are_the_text_and_fit(text: str, characters: int) -> None:
    pieces = cut(mask(text), characters)
    assert all(len(piece.masked.render()) <= characters for piece in pieces)
    parts = [restore(piece.masked.render(), piece.masked).text for piece in pieces]
    whole = "".join(p.before + part + p.after for p, part in zip(pieces, parts, strict=True))
    assert whole == text


@given(st.lists(st.integers(1, 20)), st.integers(1, 5), st.integers(20, 60))
def test_batches_hold_every_text_within_the_limits(
    sizes: list[int], texts: int, characters: int
) -> None:
    batches = list(pack(sizes, TranslatorLimits(texts, characters)))
    assert [position for batch in batches for position in batch] == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) <= texts
        assert sum(sizes[position] for position in batch) <= characters


def test_texts_are_cut_after_paragraphs_before_sentences_before_words() -> None:
    text = "One two three. Four five.\n\nSix seven eight nine ten eleven twelve."
    bodies = [piece.masked.texts[0] for piece in cut(mask(text), 30)]
    assert bodies == ["One two three. Four five.", "Six seven eight nine ten", "eleven twelve."]


@pytest.mark.parametrize(
    ("translated", "text", "survived"),
    [
        ("abra zx 0 z e ZX1Z", "abra A e B", 2), ("abra ZX1Z e ZX0Z", "abra B e A", 2),
        ("abra ZX0Z", "abra A B", 1), ("abra", "abra A B", 0), ("ZX0Z ZX0Z ZX1Z", "A A B", 1),
        ("ZX0Z ZX1Z ZX7Z", "A B ", 2),
    ],
)  # fmt: skip
def test_tokens_that_were_lost_moved_or_made_up(translated: str, text: str, survived: int) -> None:
    restored = restore(translated, Masked(("open ", " and ", ""), ("A", "B")))
    assert (restored.text, restored.survived) == (text, survived)


def test_spans_of_others_join_ours() -> None:
    masked = mask("call 555 1234567 x", lambda _text: [(5, 12), (17, 18)])
    assert masked.spans == ("555 1234567", "x")


def test_one_text_is_one_whatever_its_form() -> None:
    assert normalise("cafe\u0301\r\nx\ry") == "caf\u00e9\nx\ny"


@pytest.mark.parametrize(
    "text",
    ["<a" * 20_000, "`" * 40_000, "/a" * 20_000, "a@" * 20_000, "{" * 40_000, "1-" * 20_000,
     "```\n" * 10_000, "www." * 10_000, "<!--" * 10_000, "f" * 40_000, "-" * 40_000 + "@",
     "ab.-" * 10_000 + "@1", "~~~\n" * 10_000, "a" * 40_000 + "://"],
    ids=lambda text: text[:5],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    mask(text)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("style", Style)
def test_digits_beside_a_token_stay_its_neighbours(style: Style) -> None:
    masked = Masked(("1", "0", "7"), ("<b>", "</b>"))
    assert restore(masked.render(style), masked, style).text == "1<b>0</b>7"
