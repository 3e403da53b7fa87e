"""The translations of a day: what is sent, what the memory has, what the rows say.

Every text is normalised, masked and cut first; what is left is the unit that is sent, looked up
and remembered. So two texts that differ in a link or a number only are one, and no address
leaves. The rows are a function of the messages, their languages and the memory alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

import polars as pl

from conversation_analytics.core.schemas import INSTANT
from conversation_analytics.core.text_masking import Style, mask, normalise, restore
from conversation_analytics.core.text_pieces import Piece, cut
from conversation_analytics.core.translation_sending import Budget, Sender, Sent, Unsent
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY, TRANSLATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from conversation_analytics.core.text_masking import FindSpans
    from conversation_analytics.core.translation_confidence import DetectLanguages
    from conversation_analytics.core.translator import Translator

FIELDS: Final = ("query", "answer")
TRANSLATIONS_VERSION: Final = 1
"""Part of the memory's keys, and of what partitions record: masking and cutting belong to it."""

_UNKNOWN: Final = ("und", "zxx")
_MILLION: Final = Decimal(1_000_000)
_CENT: Final = Decimal("0.0000001")
_TEXTS_AT_ONCE: Final = 50_000
_REMEMBER_AT_LEAST: Final = 500
_REMEMBER_AT_MOST: Final = 20_000


@dataclass(frozen=True, slots=True)
class TranslationOptions:
    """What the deployment wants translated, and at what price.

    Attributes:
        target: language wanted.
        fields: of `query` and `answer`.
        price_per_million: of characters sent; None: unknown.
        currency: of the price.
    """

    target: str = "en"
    fields: tuple[str, ...] = FIELDS
    price_per_million: Decimal | None = None
    currency: str | None = None


class TranslationMemory(Protocol):
    """What engines have answered so far."""

    def lookup(self, keys: Sequence[str]) -> pl.DataFrame:
        """Return what is known of these keys, each once.

        Columns: `day` String (the partition that has it) and those of TRANSLATION_MEMORY.
        """

    def add(self, day: str, answers: pl.DataFrame) -> pl.DataFrame:
        """Add answers (schema TRANSLATION_MEMORY) to partition `day`; first come, first kept.

        Returns:
            What the partition now has of these keys.
        """

    def forget(self, day: str, superfluous: Callable[[pl.DataFrame], frozenset[str]]) -> int:
        """Drop answers from partition `day`.

        Args:
            day: partition key.
            superfluous: given what the partition has (schema TRANSLATION_MEMORY), the keys to
                drop of it; asked again where others have added to the day meanwhile.

        Returns:
            Answers dropped.
        """


@dataclass(slots=True)
class TranslationFacts:
    """What a day's translation did, in counts; for the operator.

    Attributes:
        statuses: rows by status and reason, as `pending:budget`.
        requests: asked of the engine, bisecting and repeats with other tokens included.
        characters: code points sent.
        texts_sent: distinct texts sent.
        texts_remembered: distinct texts that the memory had.
        texts_forgotten: texts dropped from the memory of the day: no message of it has them now.
        tokens: placeholders of the texts sent.
        survived: of them, those that came back.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    characters: int = 0
    texts_sent: int = 0
    texts_remembered: int = 0
    texts_forgotten: int = 0
    tokens: int = 0
    survived: int = 0


@dataclass(frozen=True, slots=True)
class Road:
    """Everything between a day's messages and its translations.

    Attributes:
        translator: the engine.
        memory: what engines have answered so far.
        options: what is wanted.
        budget: characters that may still be sent, over all days.
        find: spans of personal data; None: none are looked for.
        detect: language of the translations, for their confidence; None: not looked at.
    """

    translator: Translator
    memory: TranslationMemory
    options: TranslationOptions
    budget: Budget
    find: FindSpans | None = None
    detect: DetectLanguages | None = None


@dataclass(frozen=True, slots=True)
class _Text:
    """A distinct text of one language."""

    source: str
    pieces: tuple[Piece, ...]
    keys: tuple[str | None, ...]  # None: no words in it
    too_long: bool


def memory_key(text: str, source: str, target: str, engine: str, model: str) -> str:
    """Return the key of a text as it is sent (in the first style of tokens)."""
    parts = (str(TRANSLATIONS_VERSION), engine, model, source, target, text)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:40]


def texts_of(
    messages: pl.DataFrame, languages: pl.DataFrame, options: TranslationOptions
) -> pl.DataFrame:
    """Return the texts of a day's messages with their languages.

    Args:
        messages: with `id`, `conversation_id`, `created_at`, `query`, `answer`.
        languages: with `id`, `query_language`, `answer_language`; messages that it lacks have
            the language `und`.
        options: the fields wanted.

    Returns:
        One row for each field with any text: `message_id`, `conversation_id`, `created_at`,
        `field`, `text`, `source`, in the order of TRANSLATIONS.
    """
    named = languages.select("id", *(f"{name}_language" for name in options.fields))
    joined = messages.join(named, on="id", how="left", maintain_order="left")
    parts = [
        joined.select(
            message_id=pl.col("id"),
            conversation_id=pl.col("conversation_id"),
            created_at=pl.col("created_at").cast(INSTANT),
            field=pl.lit(name),
            text=pl.col(name),
            source=pl.col(f"{name}_language").fill_null("und"),
        ).filter(pl.col("text").str.strip_chars().str.len_bytes() > 0)
        for name in options.fields
    ]
    return pl.concat(parts).sort(TRANSLATIONS.sort_by, nulls_last=True, maintain_order=True)


def translate_day(
    messages: pl.DataFrame, languages: pl.DataFrame, day: str, road: Road
) -> tuple[pl.DataFrame, TranslationFacts]:
    """Return the translations of a day, and what it took.

    Args:
        messages: schema `schemas.MESSAGES`.
        languages: as in `texts_of`.
        day: partition key; what is sent for it is remembered there.
        road: engine, memory and options.

    Returns:
        A frame of the schema TRANSLATIONS. What the day's memory has and no message of the day
        says any more (it was purged, corrected or moved) is dropped from it, whatever the engine
        does: another day that has the same text asks for it again.

    Raises:
        AnalyticsError: of the engine or the memory. What was answered until then is remembered.
    """
    facts = TranslationFacts()
    texts = texts_of(messages, languages, road.options).with_row_index("row")
    target = road.options.target
    other = pl.col("source").is_in([target, *_UNKNOWN]).not_()
    distinct = (
        texts.filter(other)
        .group_by("text", "source", maintain_order=True)
        .agg(first=pl.col("row").min())
        .sort("first")
    )
    claimed: set[str] = set()
    said: set[str] = set()
    try:
        outcomes = [
            _outcomes(part, day, road, facts, claimed, said)
            for part in distinct.iter_slices(_TEXTS_AT_ONCE)
        ]
    finally:
        facts.texts_forgotten = road.memory.forget(
            day, lambda held: _superfluous(held, said, messages, languages, road)
        )
    none = pl.DataFrame(schema=_OUTCOMES)
    known = pl.concat([none, *outcomes]).drop("billed", "billed_characters", "cost")
    billing = pl.concat([none, *outcomes]).select(
        row="first", billed="billed", billed_characters="billed_characters", cost="cost"
    )
    joined = texts.join(known, on=["text", "source"], how="left", maintain_order="left").join(
        billing, on="row", how="left", maintain_order="left"
    )
    same = pl.when(other.not_())
    price = road.options.price_per_million
    frame = joined.with_columns(
        target=pl.lit(target),
        engine=pl.lit(road.translator.engine),
        model=pl.lit(road.translator.model),
        status=same.then(pl.lit("same")).otherwise("status"),
        reason=same.then(
            pl.when(pl.col("source") == target)
            .then(pl.lit("language"))
            .otherwise(pl.lit("unknown"))
        ).otherwise("reason"),
        characters=pl.col("text").str.len_chars().cast(pl.Int64),
        billed=pl.col("billed").fill_null(value=False),
        billed_characters=pl.col("billed_characters").fill_null(0),
        currency=pl.lit(road.options.currency, pl.String) if price is not None else None,
    ).with_columns(
        cost=pl.when(pl.col("billed").not_() & pl.lit(price is not None))
        .then(pl.lit(Decimal(0), TRANSLATIONS.polars["cost"]))
        .otherwise("cost")
    )
    counts = frame.group_by("status", "reason").len().sort("status", "reason", nulls_last=True)
    facts.statuses = {
        status if reason is None else f"{status}:{reason}": count
        for status, reason, count in counts.iter_rows()
    }
    return TRANSLATIONS.conform(frame.select(TRANSLATIONS.polars.names())), facts


_OUTCOMES: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    "text": pl.String, "source": pl.String, "first": pl.UInt32, "status": pl.String,
    "reason": pl.String, "translated": pl.String, "confidence": pl.Float64,
    "text_sha256": pl.String, "billed": pl.Boolean, "billed_characters": pl.Int64,
    "cost": TRANSLATIONS.polars["cost"],
}  # fmt: skip


def _outcomes(
    distinct: pl.DataFrame,
    day: str,
    road: Road,
    facts: TranslationFacts,
    claimed: set[str],
    said: set[str],
) -> pl.DataFrame:
    texts = [
        _text(text, source, road) for text, source in distinct.select("text", "source").iter_rows()
    ]
    wanted: dict[str, tuple[str, Piece]] = {}
    for text in texts:
        if not text.too_long:
            for key, piece in zip(text.keys, text.pieces, strict=True):
                if key is not None:
                    wanted.setdefault(key, (text.source, piece))
    said.update(wanted)
    answers = _by_key(road.memory.lookup(list(wanted)))
    facts.texts_remembered += len(answers)
    missing = {key: at for key, at in wanted.items() if key not in answers}
    unsent: dict[str, str] = {}
    if missing:
        found, unsent = _send(missing, day, road, facts)
        answers |= found
    rows = [
        _outcome(row, text, answers, unsent, day, claimed)
        for row, text in zip(distinct.iter_rows(named=True), texts, strict=True)
    ]
    return pl.DataFrame(rows, schema=_OUTCOMES, orient="row")


def memory_keys(
    texts: pl.DataFrame, memory: pl.DataFrame, characters: int, find: FindSpans | None
) -> frozenset[str]:
    """Return the keys under which texts may be remembered.

    Args:
        texts: of `texts_of`.
        memory: schema TRANSLATION_MEMORY: its engines, models and targets are tried.
        characters: longest text that the engine takes.
        find: as of `Road`.
    """
    engines = memory.select("engine", "model", "target").unique().rows()
    return frozenset(
        memory_key(piece.masked.render(), source, target, engine or "", model or "")
        for text, source in texts.select("text", "source").unique().iter_rows()
        for piece in cut(mask(normalise(text), find), characters)
        if piece.masked.has_words
        for engine, model, target in engines
    )


def _superfluous(
    held: pl.DataFrame,
    said: set[str],
    messages: pl.DataFrame,
    languages: pl.DataFrame,
    road: Road,
) -> frozenset[str]:
    """Return the keys of a day's memory that no message of it says, in whatever way.

    What other settings asked for (engine, model, target, fields) stays: it may be wanted again.
    """
    others = held.filter(~pl.col("key").is_in(pl.Series(list(said), dtype=pl.String).implode()))
    if others.is_empty():
        return frozenset()
    texts = texts_of(messages, languages, TranslationOptions(fields=FIELDS))
    kept = memory_keys(texts, others, road.translator.limits.characters, road.find)
    return frozenset(others["key"]) - kept


def _text(text: str, source: str, road: Road) -> _Text:
    translator, limits = road.translator, road.translator.limits
    pieces = tuple(cut(mask(normalise(text), road.find), limits.characters))
    keys = tuple(
        memory_key(piece.masked.render(), source, road.options.target,
                   translator.engine, translator.model)
        if piece.masked.has_words else None
        for piece in pieces
    )  # fmt: skip
    too_long = any(len(piece.masked.render()) > limits.characters for piece in pieces)
    return _Text(source, pieces, keys, too_long)


def _send(
    missing: Mapping[str, tuple[str, Piece]], day: str, road: Road, facts: TranslationFacts
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Send what nobody has answered yet, and remember the answers as they come."""
    answers: dict[str, dict[str, Any]] = {}
    waiting: list[dict[str, Any]] = []
    pause = _REMEMBER_AT_LEAST

    def remember() -> None:
        nonlocal pause
        if waiting:
            rows = pl.DataFrame(waiting, schema=TRANSLATION_MEMORY.polars)
            kept = road.memory.add(day, TRANSLATION_MEMORY.conform(rows))
            answers.update(_by_key(kept.with_columns(day=pl.lit(day))))
            waiting.clear()
            # Each addition replaces the day's object: so they become rarer as it grows.
            pause = min(max(pause, len(answers)), _REMEMBER_AT_MOST)

    sender = Sender(road.translator, road.options.target, road.budget, road.detect)
    unsent: dict[str, str] = {}
    try:
        for outcome in sender.send({key: (s, p.masked) for key, (s, p) in missing.items()}):
            if isinstance(outcome, Unsent):
                unsent[outcome.key] = outcome.reason
            else:
                waiting.append(_remembered(outcome, road))
                if len(waiting) >= pause:
                    remember()
    finally:
        # What is paid for is kept, whatever goes wrong.
        remember()
        facts.requests += sender.requests
        facts.characters += sender.characters
        facts.texts_sent += len(answers)
        facts.tokens += sum(row["tokens"] for row in answers.values())
        facts.survived += sum(row["survived"] for row in answers.values())
    return answers, unsent


def _remembered(sent: Sent, road: Road) -> dict[str, Any]:
    options = road.options
    price = options.price_per_million
    return {
        "key": sent.key,
        "source": sent.source,
        "target": options.target,
        "engine": road.translator.engine,
        "model": road.translator.model,
        "translated": sent.translated,
        "style": str(sent.style),
        "tokens": sent.tokens,
        "survived": sent.survived,
        "confidence": sent.confidence,
        "reason": sent.reason,
        "characters": sent.characters,
        "cost": None if price is None else cost_of(sent.characters, price),
        "currency": None if price is None else options.currency,
    }


def cost_of(characters: int, price_per_million: Decimal) -> Decimal:
    """Return the cost of so many characters, to seven places."""
    return (price_per_million * characters / _MILLION).quantize(_CENT)


def _by_key(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in frame.iter_rows(named=True)}


def _outcome(
    row: Mapping[str, Any],
    text: _Text,
    answers: Mapping[str, Mapping[str, Any]],
    unsent: Mapping[str, str],
    day: str,
    claimed: set[str],
) -> tuple[Any, ...]:
    status, reason = _status(text, answers, unsent)
    translated = confidence = None
    if status == "translated":
        found = [None if key is None else answers[key] for key in text.keys]
        translated = "".join(map(_put_together, text.pieces, found))
        confidence = min(answer["confidence"] for answer in found if answer is not None)
    characters, cost, billed = _bill(text.keys, answers, day, claimed)
    digest = hashlib.sha256(normalise(row["text"]).encode()).hexdigest()
    return (row["text"], row["source"], row["first"], status, reason, translated, confidence,
            digest, billed, characters, cost)  # fmt: skip


def _status(
    text: _Text, answers: Mapping[str, Mapping[str, Any]], unsent: Mapping[str, str]
) -> tuple[str, str | None]:
    keys = [key for key in text.keys if key is not None]
    if text.too_long:
        return "refused", "too_long"
    if not keys:
        return "same", "no_words"
    refusals = [answers[key]["reason"] for key in keys if key in answers]
    if refused := next(filter(None, refusals), None):
        return "refused", refused
    left = [unsent[key] for key in keys if key not in answers]
    if "pair" in left:
        return "refused", "pair"
    return ("pending", left[0]) if left else ("translated", None)


def _put_together(piece: Piece, answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        text = restore(piece.masked.render(), piece.masked).text
    else:
        text = restore(answer["translated"], piece.masked, Style(answer["style"])).text
    return f"{piece.before}{text}{piece.after}"


def _bill(
    keys: Iterable[str | None],
    answers: Mapping[str, Mapping[str, Any]],
    day: str,
    claimed: set[str],
) -> tuple[int, Decimal | None, bool]:
    """Return characters and cost of what was sent for this day, and no row before has claimed."""
    mine = list(_claim(keys, answers, day, claimed))
    costs = [answer["cost"] for answer in mine]
    known = [cost for cost in costs if cost is not None]
    total = sum(known, Decimal(0)) if len(known) == len(costs) else None
    return sum(answer["characters"] for answer in mine), total if mine else None, bool(mine)


def _claim(
    keys: Iterable[str | None],
    answers: Mapping[str, Mapping[str, Any]],
    day: str,
    claimed: set[str],
) -> Iterator[Mapping[str, Any]]:
    for key in keys:
        if key is None or key in claimed or key not in answers or answers[key]["day"] != day:
            continue
        claimed.add(key)
        yield answers[key]
