"""Texts to an engine: packed, within a budget, a bad one isolated, tokens looked after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.errors import (
    AnalyticsError,
    TranslatorFailedError,
    TranslatorQuotaError,
    TranslatorRequestError,
)
from conversation_analytics.core.text_masking import Style, survivors, without_tokens
from conversation_analytics.core.text_pieces import pack
from conversation_analytics.core.translation_confidence import Seen, confidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conversation_analytics.core.text_masking import Masked
    from conversation_analytics.core.translation_confidence import DetectLanguages
    from conversation_analytics.core.translator import Translator

_HARMLESS: Final = "ok"  # what no engine refuses, unless it refuses everything


@dataclass(slots=True)
class Budget:
    """Characters that may be sent; shared by all days of a run, or of a command.

    Attributes:
        limit: None: no end.
        spent: sent so far.
        used_up: whether the engine has said that what was paid for is: nothing more is sent.
    """

    limit: int | None = None
    spent: int = 0
    used_up: bool = False

    def allows(self, characters: int) -> bool:
        """Say whether so many more fit."""
        return self.limit is None or self.spent + characters <= self.limit


@dataclass(frozen=True, slots=True)
class Sent:
    """A text that the engine has answered.

    Attributes:
        key: of the text.
        source: its language.
        translated: the answer with its tokens; None: refused.
        style: how the tokens are written.
        tokens: sent with it.
        survived: of them, those that came back once.
        confidence: 0 to 1; None: refused.
        characters: sent for it, repeats included.
        reason: why it was refused.
    """

    key: str
    source: str
    translated: str | None
    style: Style
    tokens: int
    survived: int
    confidence: float | None
    characters: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Unsent:
    """A text that was not sent, and why: `budget`, `quota`, `pair`."""

    key: str
    reason: str


@dataclass(slots=True)
class _Text:
    key: str
    masked: Masked
    style: Style = Style.WORD
    sent: int = 0
    answer: str = ""
    survived: int = -1

    @property
    def rendered(self) -> str:
        return self.masked.render(self.style)

    @property
    def answered(self) -> bool:
        return self.survived >= 0

    @property
    def whole(self) -> bool:
        return self.survived == len(self.masked.spans)


class Sender:
    """Sends texts to one engine, into one language; counts what it sends."""

    def __init__(
        self,
        translator: Translator,
        target: str,
        budget: Budget,
        detect: DetectLanguages | None = None,
    ) -> None:
        """Keep engine, language wanted, what may be sent, and who tells languages."""
        self._translator = translator
        self._target = target
        self._budget = budget
        self._detect = detect
        self._takes_any = False
        self.requests = 0
        self.characters = 0

    def send(self, texts: Mapping[str, tuple[str, Masked]]) -> Iterator[Sent | Unsent]:
        """Yield the outcome of each text, batch after batch.

        Args:
            texts: language and masked text by key, each with words, within the limits.

        Raises:
            TranslatorUnavailableError: the engine is away; what it answered before is yielded.
            TranslatorAuthError: it refuses the credentials, likewise.
            TranslatorRequestError: it refuses everything, likewise.
        """
        by_source: dict[str, list[_Text]] = {}
        for key, (source, masked) in texts.items():
            by_source.setdefault(source, []).append(_Text(key, masked))
        pairs = self._translator.pairs()
        stopped = "quota" if self._budget.used_up else None
        for source, of_source in sorted(by_source.items()):
            if pairs is not None and (source, self._target) not in pairs:
                yield from (Unsent(text.key, "pair") for text in of_source)
                continue
            sizes = [len(text.rendered) for text in of_source]
            for batch in pack(sizes, self._translator.limits):
                chosen = [of_source[position] for position in batch]
                affordable = [] if stopped else self._affordable(chosen)
                if len(affordable) < len(chosen):
                    stopped = stopped or "budget"
                outcomes, error = self._batch(affordable, source)
                yield from outcomes
                if isinstance(error, TranslatorQuotaError):
                    stopped = "quota"
                    self._budget.used_up = True
                elif error is not None:
                    raise error
                done = {outcome.key for outcome in outcomes}
                for text in chosen:
                    if text.key not in done:
                        yield Unsent(text.key, stopped or "budget")

    def _affordable(self, texts: Sequence[_Text]) -> list[_Text]:
        total, chosen = 0, []
        for text in texts:
            total += len(text.rendered)
            if not self._budget.allows(total):
                break
            chosen.append(text)
        return chosen

    def _batch(self, texts: list[_Text], source: str) -> tuple[list[Sent], AnalyticsError | None]:
        """Return what became of the texts, and the error that kept some of them from it."""
        refused: set[str] = set()
        error: AnalyticsError | None = None
        try:
            self._translate(texts, source, refused)
            self._again([text for text in texts if text.answered and not text.whole], source)
        except AnalyticsError as stopped:
            error, refused = stopped, set()  # what is answered by then is paid for
        outcomes = self._judged([text for text in texts if text.answered], source)
        outcomes += [
            Sent(text.key, source, None, text.style, len(text.masked.spans), 0, None, 0, "engine")
            for text in texts
            if text.key in refused
        ]
        return outcomes, error

    def _translate(self, texts: list[_Text], source: str, refused: set[str]) -> None:
        """Fill in answers, and the keys of texts that the engine cannot take."""
        if texts:
            self._halves(texts, source, refused)

    def _halves(self, texts: list[_Text], source: str, refused: set[str]) -> None:
        try:
            answers = self._request([text.rendered for text in texts], source)
        except (TranslatorRequestError, TranslatorFailedError) as error:
            if isinstance(error, TranslatorFailedError) or not self._takes_any:
                self._request([_HARMLESS], source)  # raises where it is not the texts
        else:
            for text, answer in zip(texts, answers, strict=True):
                text.answer = answer
                text.survived = _survived(answer, text)
                text.sent += len(text.rendered)
            return
        if len(texts) == 1:
            refused.add(texts[0].key)
            return
        middle = len(texts) // 2
        self._halves(texts[:middle], source, refused)
        self._halves(texts[middle:], source, refused)

    def _again(self, texts: list[_Text], source: str) -> None:
        """Send texts whose tokens did not all come back once more, with other tokens."""
        limits = self._translator.limits
        pairs = [(text, _Text(text.key, text.masked, Style.URL)) for text in texts]
        pairs = [pair for pair in pairs if len(pair[1].rendered) <= limits.characters]
        fitting = self._affordable([other for _, other in pairs])
        try:
            for batch in pack([len(other.rendered) for other in fitting], limits):
                # One that is refused with other tokens keeps its first answer.
                self._translate([fitting[position] for position in batch], source, set())
        finally:
            for text, other in pairs:
                text.sent += other.sent
                if other.survived > text.survived:
                    text.style, text.answer = other.style, other.answer
                    text.survived = other.survived

    def _request(self, texts: list[str], source: str) -> list[str]:
        characters = sum(map(len, texts))
        self.requests += 1
        answers = self._translator.translate(texts, source, self._target)
        self._takes_any = True
        self.characters += characters
        self._budget.spent += characters
        return answers

    def _judged(self, texts: list[_Text], source: str) -> list[Sent]:
        plain = [without_tokens(text.answer, text.style) for text in texts]
        detected = self._detect(plain) if self._detect and plain else [("und", 0.0)] * len(plain)
        return [
            Sent(
                text.key,
                source,
                text.answer,
                text.style,
                len(text.masked.spans),
                text.survived,
                confidence(
                    Seen(
                        " ".join(text.masked.texts),
                        words,
                        source,
                        self._target,
                        len(text.masked.spans),
                        text.survived,
                        told,
                    )
                ),
                text.sent,
            )
            for text, words, told in zip(texts, plain, detected, strict=True)
        ]


def _survived(answer: str, text: _Text) -> int:
    seen = survivors(answer, text.style)
    return sum(seen.get(number) == 1 for number in range(len(text.masked.spans)))
