"""The language of queries and answers: what text is looked at, and what decides.

1. What is no prose is taken out: code, addresses, tags, numbers, signs (`prose`).
2. The script decides where only one candidate is written in it; a text in a script of no
   candidate is `und`, one without letters `zxx` (ISO 639-2).
3. A detector decides among the candidates of the text's script.
4. A text that says too little ("ok", "hi") inherits: an answer from the conversation's answers
   or else its queries, a query the other way round. Where nothing in the conversation says more,
   the detector's answer stays if it is likely enough, else it is `und`.

All of it is a function of one day's turns, whatever their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from conversation_analytics.core.documents import clean_text
from conversation_analytics.core.language_codes import CANDIDATES, NO_LANGUAGE, UNDETERMINED
from conversation_analytics.core.schemas import INSTANT, Column, TableSchema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LANGUAGES_VERSION: Final = 1
"""To be raised where the same turns give other languages: stored ones are made again then."""

_LONGEST_TEXT: Final = 4_000
_LONGEST_PROSE: Final = 160
_LIKELY: Final = 0.5
"""A weak text that nothing in its conversation helps is `und` below this confidence."""
_SURE: Final = 0.9
"""A short text is believed from this confidence on, without looking at its conversation."""
_DIGITS: Final = 4
"""Of confidences: the last bits of a detector's differ between machines."""
_FEW_LETTERS: Final = 12
_BATCH: Final = 50_000
"""Texts that are looked at together: what is counted of each takes more room than the text."""
_NO_PROSE: Final = (
    r"(?s)```.*?(?:```|\z)",
    r"`[^`\n]*`",
    r"(?i)\b(?:[a-z][a-z0-9+.-]*://|www\.)\S+",
    r"\S+@\S+\.\S+",
    r"<[^<>]{1,200}>",
    r"\{[^{}\s]{0,60}\}",
    r"&#?\w{1,10};",
)
_SCRIPTS: Final[Mapping[str, str]] = {
    "Latin": r"\p{Latin}", "Han": r"\p{Han}", "Kana": r"[\p{Hiragana}\p{Katakana}]",
    "Thai": r"\p{Thai}", "Hangul": r"\p{Hangul}", "Cyrillic": r"\p{Cyrillic}",
    "Arabic": r"\p{Arabic}", "Hebrew": r"\p{Hebrew}", "Greek": r"\p{Greek}",
    "Devanagari": r"\p{Devanagari}", "Bengali": r"\p{Bengali}", "Tamil": r"\p{Tamil}",
    "Telugu": r"\p{Telugu}", "Gujarati": r"\p{Gujarati}", "Gurmukhi": r"\p{Gurmukhi}",
    "Kannada": r"\p{Kannada}", "Malayalam": r"\p{Malayalam}", "Oriya": r"\p{Oriya}",
    "Sinhala": r"\p{Sinhala}", "Khmer": r"\p{Khmer}", "Lao": r"\p{Lao}",
    "Myanmar": r"\p{Myanmar}", "Georgian": r"\p{Georgian}", "Armenian": r"\p{Armenian}",
    "Ethiopic": r"\p{Ethiopic}", "Tibetan": r"\p{Tibetan}",
}  # fmt: skip
# A sign of these says as much as a few letters of the others.
_WEIGHTS: Final[Mapping[str, int]] = {"Han": 3, "Kana": 3, "Hangul": 3}
_OF_SCRIPT: Final[Mapping[str, tuple[str, ...]]] = {
    "Han": ("zh", "yue", "wuu", "ja"), "Kana": ("ja",), "Thai": ("th",), "Hangul": ("ko",),
    "Cyrillic": ("ru", "uk", "be", "bg", "mk", "sr", "kk", "ky", "mn", "tg", "tt", "ba"),
    "Arabic": ("ar", "fa", "ur", "ps", "ug", "ary", "arz", "sdh"), "Hebrew": ("he", "hbo"),
    "Greek": ("el", "grc"), "Devanagari": ("hi", "mr", "ne", "sa", "gom"),
    "Bengali": ("bn", "as"), "Tamil": ("ta",), "Telugu": ("te",), "Gujarati": ("gu",),
    "Gurmukhi": ("pa",), "Kannada": ("kn",), "Malayalam": ("ml",), "Oriya": ("or",),
    "Sinhala": ("si",), "Khmer": ("km",), "Lao": ("lo",), "Myanmar": ("my",),
    "Georgian": ("ka",), "Armenian": ("hy",), "Ethiopic": ("am",), "Tibetan": ("dz",),
}  # fmt: skip
"""Languages by script; those in none are written in Latin letters, `sr` in both."""
_ELSEWHERE: Final = frozenset(one for some in _OF_SCRIPT.values() for one in some) - {"sr"}

_BY = "`script`, `detector`, `inherited` from the conversation, or `none` (und, zxx, no text)"
MESSAGE_LANGUAGE = TableSchema(
    name="message_language",
    columns=(
        Column("id", pl.String(), "message id", required=True),
        Column("conversation_id", pl.String(), "conversation of the turn", required=True),
        Column("app_id", pl.String(), "app", low_cardinality=True),
        Column("query_language", pl.String(), "ISO 639-1 code of the query; `und`: not one of the "
               "candidates or not sure, `zxx`: no words; null: no text", low_cardinality=True),
        Column("query_confidence", pl.Float64(), "0 to 1; null without a language"),
        Column("query_by", pl.String(), f"what decided: {_BY}", required=True,
               low_cardinality=True),
        Column("answer_language", pl.String(), "as query_language", low_cardinality=True),
        Column("answer_confidence", pl.Float64(), "as query_confidence"),
        Column("answer_by", pl.String(), "as query_by", required=True, low_cardinality=True),
        Column("created_at", INSTANT, "time of creation, UTC"),
    ),
    sort_by=("created_at", "id"),
    description="The language of each turn's query and answer.",
)  # fmt: skip
_SIDES: Final = ("query", "answer")


class LanguageDetector(Protocol):
    """Tells languages of prose apart."""

    @property
    def name(self) -> str:
        """Name and version; with another one the languages of stored days are stale."""
        ...

    def detect(self, texts: Sequence[str], candidates: Sequence[str]) -> list[tuple[str, float]]:
        """Return the likeliest candidate of each text, and how likely it is (0 to 1)."""
        ...


@dataclass(frozen=True, slots=True)
class LanguageOptions:
    """What a deployment chooses.

    Attributes:
        candidates: ISO 639-1 codes of the languages to tell apart, at least one.
    """

    candidates: tuple[str, ...] = CANDIDATES


def languages_of_texts(
    texts: Sequence[str], detector: LanguageDetector, options: LanguageOptions
) -> list[tuple[str, float]]:
    """Return language and confidence of each text by itself; 0 where it is `und` or `zxx`."""
    # A lone surrogate has no place in a Polars string.
    given = pl.Series("text", [clean_text(text) for text in texts], pl.String())
    decided = _decided(given.unique().sort(), detector, options)
    told = given.to_frame().join(decided, on="text", how="left", maintain_order="left")
    return list(told.select("language", pl.col("confidence").fill_null(0.0)).iter_rows())


def prose(text: pl.Expr) -> pl.Expr:
    """Return the words of a text, at most 160 letters of them: no code, addresses, numbers, signs.

    Only the first 4,000 characters are looked at.
    """
    words = text.str.slice(0, _LONGEST_TEXT)
    for pattern in _NO_PROSE:
        words = words.str.replace_all(pattern, " ")
    return (
        words.str.replace_all(r"[^\p{L}\p{M}'\u{2019}\s]+", " ")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars(" '\u2019")
        .str.slice(0, _LONGEST_PROSE)
    )


def languages_of_script(script: str, candidates: Sequence[str]) -> tuple[str, ...]:
    """Return the candidates that are written in a script, in their order."""
    if script == "Latin":
        return tuple(one for one in candidates if one not in _ELSEWHERE)
    return tuple(one for one in candidates if one in _OF_SCRIPT.get(script, ()))


def message_languages(
    messages: pl.DataFrame, detector: LanguageDetector, options: LanguageOptions
) -> pl.DataFrame:
    """Tell the languages of the turns of one day.

    Args:
        messages: `id`, `conversation_id`, `app_id`, `created_at`, `query`, `answer` of the schema
            `schemas.MESSAGES`.
        detector: for texts that their script does not decide.
        options: the candidates.

    Returns:
        Schema and row order of `MESSAGE_LANGUAGE`.
    """
    keys = messages.select("id", "conversation_id", "app_id", "created_at")
    texts = pl.concat([messages.select("query").to_series(), messages["answer"]])
    decided = _decided(texts.unique().drop_nulls().sort(), detector, options)
    sides = pl.concat(
        messages.select(
            "id", "conversation_id", side=pl.lit(side), text=pl.col(side).replace("", None)
        )
        .join(decided, on="text", how="left")
        .drop("text")
        for side in _SIDES
    )
    told = _with_inherited(sides)
    for side in _SIDES:
        keys = keys.join(
            told.filter(pl.col("side") == side).select(
                "id",
                pl.col("language").alias(f"{side}_language"),
                pl.col("confidence").round(_DIGITS).alias(f"{side}_confidence"),
                pl.col("by").alias(f"{side}_by"),
            ),
            on="id",
            how="left",
        )
    return MESSAGE_LANGUAGE.conform(keys)


def _decided(
    texts: pl.Series, detector: LanguageDetector, options: LanguageOptions
) -> pl.DataFrame:
    """Return `text`, `language`, `confidence`, `by`, `letters` and `weak` of texts, each once."""
    return pl.concat(
        _decided_together(texts.slice(first, _BATCH), detector, options)
        for first in range(0, max(len(texts), 1), _BATCH)
    )


def _decided_together(
    texts: pl.Series, detector: LanguageDetector, options: LanguageOptions
) -> pl.DataFrame:
    words = texts.alias("text").to_frame().with_columns(prose=prose(pl.col("text")))
    counted = words.with_columns(
        (pl.col("prose").str.count_matches(pattern) * _WEIGHTS.get(name, 1))
        .cast(pl.Int64)
        .alias(name)
        for name, pattern in _SCRIPTS.items()
    )
    # Japanese is written in both: a few kana among many Han make it Japanese.
    kana = pl.when(pl.col("Kana") * 8 > pl.col("Han")).then(pl.col("Kana") + pl.col("Han"))
    # Of equal counts the later one, so that Kana wins over Han.
    most = pl.coalesce(
        pl.when(pl.col(name) == pl.col("letters")).then(pl.lit(name))
        for name in reversed(tuple(_SCRIPTS))
    )
    scripts = (
        counted.with_columns(Kana=kana.otherwise(0))
        .with_columns(letters=pl.max_horizontal(*_SCRIPTS))
        .select("text", "prose", "letters", script=pl.when(pl.col("letters") > 0).then(most))
    )
    found = [
        scripts.filter(pl.col("script").is_null()).select(
            "text", "letters", language=pl.lit(NO_LANGUAGE), confidence=pl.lit(None, pl.Float64()),
            by=pl.lit("none"),
        )
    ]  # fmt: skip
    for name in _SCRIPTS:
        own = scripts.filter(pl.col("script") == name)
        if not own.height:
            continue
        candidates = languages_of_script(name, options.candidates)
        told: Sequence[tuple[str, float | None]]
        if not candidates:
            told, by = [(UNDETERMINED, None)] * own.height, "none"
        elif len(candidates) == 1 and name != "Latin":
            told, by = [(candidates[0], 1.0)] * own.height, "script"
        else:
            told, by = detector.detect(own["prose"].to_list(), candidates), "detector"
        found.append(
            own.select("text", "letters").with_columns(
                pl.Series("language", [one for one, _ in told], pl.String()),
                pl.Series("confidence", [sure for _, sure in told], pl.Float64()),
                by=pl.lit(by),
            )
        )
    few = (pl.col("letters") < _FEW_LETTERS) & (pl.col("confidence") < _SURE)
    unlikely = pl.col("confidence") < _LIKELY
    return pl.concat(
        one.select("text", "language", "confidence", "by", "letters") for one in found
    ).with_columns(weak=(pl.col("by") == "detector") & (few | unlikely))


def _with_inherited(sides: pl.DataFrame) -> pl.DataFrame:
    """Give weak texts the language of their conversation, of the same side before the other."""
    # Whole numbers: their sum is the same in any order.
    per_mille = (pl.col("confidence") * 1000).round().cast(pl.Int64)
    evidence = (
        sides.filter(pl.col("by").is_in(["script", "detector"]) & ~pl.col("weak"))
        .group_by("conversation_id", "side", "language")
        .agg(amount=(pl.col("letters") * per_mille).sum())
    )
    best = (
        # The first by name of equal ones: any order of rows gives the same.
        evidence.sort("conversation_id", "side", "amount", "language",
                      descending=[False, False, True, False])
        .group_by("conversation_id", "side", maintain_order=True)
        .agg(
            heir=pl.col("language").first(),
            share=pl.col("amount").first() / pl.col("amount").sum(),
        )
    )  # fmt: skip
    own = best.rename({"heir": "own", "share": "own_share"})
    other = best.with_columns(
        side=pl.col("side").replace_strict({"query": "answer", "answer": "query"})
    ).rename({"heir": "other", "share": "other_share"})
    found = sides.join(own, on=["conversation_id", "side"], how="left").join(
        other, on=["conversation_id", "side"], how="left"
    )
    heir = pl.coalesce("own", "other")
    weak = pl.col("weak").fill_null(value=False)
    inherits = weak & heir.is_not_null()
    lost = weak & heir.is_null() & (pl.col("confidence") < _LIKELY)
    return found.with_columns(
        language=pl.when(inherits).then(heir)
        .when(lost).then(pl.lit(UNDETERMINED)).otherwise("language"),
        confidence=pl.when(inherits)
        .then(pl.when(pl.col("own").is_not_null()).then("own_share").otherwise("other_share"))
        .when(lost).then(None).otherwise("confidence"),
        by=pl.when(inherits).then(pl.lit("inherited")).when(lost | pl.col("by").is_null())
        .then(pl.lit("none")).otherwise("by"),
    )  # fmt: skip
