"""Metrics that somebody else's package adds: sums that are there, put together in another way.

Such a metric says which sums are added up, and which it is divided by. It needs no code that runs
on rows, no new column and no new partials: it has a value for every day that was ever counted,
merges over days and apps as the project's own ratios do, and the engines translate it as they do
these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from conversation_analytics.core.errors import ExtensionError
from conversation_analytics.core.metrics import (
    LENGTHS,
    Grain,
    Merge,
    Metric,
    MetricType,
    ratio,
)
from conversation_analytics.core.schemas import MONEY

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDE: Final = pl.Decimal(38, 7)
_MOST: Final = 1_000_000  # of a factor: with it no sum leaves the decimal
_LONGEST: Final = 200

APP_SUMS: Final[Mapping[str, str]] = {
    **{
        name: name
        for name in (
            "conversations_new", "conversations_active", "turns", "errors", "empty_answers",
            "regenerations", "rephrases", "message_tokens", "answer_tokens", "likes", "dislikes",
            "continued_conversations", "abandoned_conversations", "handed_off_conversations",
            "satisfied_conversations", "active_users", "engaged_users", "sessions",
            *(length[0] for length in LENGTHS),
        )
    },
    "user_turns": "turns_per_session",
    "user_days": "daily_active_users",
    "latency_turns": "dify_average_response_time",
    "latency_sum_s": "dify_average_response_time",
    "latency_answer_tokens": "output_speed",
    "days": "turns",
}  # fmt: skip
"""The sums that there are of an app, and the metric whose conversations are behind each."""

MONEY_SUMS: Final[Mapping[str, str]] = {
    "cost": "cost",
    **{
        name: name
        for name in (
            "message_tokens", "answer_tokens", "conversations_active", "active_users",
            "satisfied_conversations",
        )
    },
}  # fmt: skip
"""The same of an app and currency: for metrics with `cost` in them."""


@dataclass(frozen=True, slots=True)
class DerivedMetric:
    """A metric made of sums of the partials: `numerator`, divided by `denominator` if given.

    Attributes:
        name: key in reports and documents: lower case, digits and `_`.
        title: what people read.
        unit: of the value, as `share of turns`.
        type: kind of number; decides how it is shown.
        numerator: sums by their names in `APP_SUMS`, or, with `cost` among them, `MONEY_SUMS`;
            each with the whole number that it is multiplied by.
        denominator: the same; none: nothing is divided.
    """

    name: str
    title: str
    unit: str
    type: MetricType
    numerator: Mapping[str, int]
    denominator: Mapping[str, int] = field(default_factory=dict)

    @property
    def formula(self) -> str:
        """The definition, as `(2 * errors + empty_answers) / turns`."""
        over, under = _words(self.numerator), _words(self.denominator)
        if not self.denominator:
            return over
        return " / ".join(
            f"({words})" if len(parts) > 1 else words
            for words, parts in ((over, self.numerator), (under, self.denominator))
        )


def derived_metric(metric: DerivedMetric, source: str) -> Metric:
    """Return the entry of the registry.

    Args:
        metric: as its package has it.
        source: package and version: what it says of itself beside its definition.

    Raises:
        ExtensionError: a name, text, sum or factor is not as it has to be.
    """
    if problem := _wrong_words(metric) or _wrong_sums(metric):
        raise ExtensionError(f"metric {metric.name!r}: {problem}")
    money = "cost" in {**metric.numerator, **metric.denominator}
    value = _added_up(metric.numerator)
    unknown = "null where one of its sums is unknown"
    if metric.denominator:
        value = ratio(value, _added_up(metric.denominator).cast(MONEY, strict=False))
        unknown += ", or what it is divided by is 0"
    first = next(iter(metric.numerator))
    return Metric(
        metric.name,
        metric.title,
        metric.unit,
        metric.type,
        metric.formula + (", by currency" if money else ""),
        Grain.APP_CURRENCY if money else Grain.APP,
        Merge.RATIO_OF_SUMS if metric.denominator else Merge.FROM_SUMS,
        unknown,
        source,
        value,
        behind=(MONEY_SUMS if money else APP_SUMS)[first],
    )


def _added_up(parts: Mapping[str, int]) -> pl.Expr:
    # Decimal before anything is multiplied: 64 bits would overflow without a word.
    terms = [
        (pl.col(name).cast(MONEY) if name == "latency_sum_s" else pl.col(name)).cast(_WIDE) * factor
        for name, factor in parts.items()
    ]
    total = terms[0]
    for term in terms[1:]:
        total += term
    return total


def _words(parts: Mapping[str, int]) -> str:
    text = ""
    for name, factor in parts.items():
        sign = "-" if factor < 0 else "+"
        times = name if abs(factor) == 1 else f"{abs(factor)} * {name}"
        text += f" {sign} {times}" if text else f"{'-' if factor < 0 else ''}{times}"
    return text


def _wrong_words(metric: DerivedMetric) -> str:
    """Return what is wrong with name, texts and type, expected against got; empty: nothing."""
    texts = {"title": metric.title, "unit": metric.unit}
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", metric.name):
        return "name: expected lower-case letters, digits and _, at most 60, a letter first"
    for name, text in texts.items():
        if not 0 < len(text) <= _LONGEST or not text.isprintable() or "|" in text:
            return f"{name}: expected 1 to {_LONGEST} printable characters without |, got {text!r}"
    if metric.type not in tuple(MetricType):
        return f"type: expected a MetricType ({', '.join(MetricType)}), got {metric.type!r}"
    return ""


def _wrong_sums(metric: DerivedMetric) -> str:
    """Return what is wrong with what it is made of; empty: nothing."""
    if not metric.numerator:
        return "numerator: expected one sum or more, got none"
    parts = [*metric.numerator.items(), *metric.denominator.items()]
    sums = MONEY_SUMS if any(name == "cost" for name, _ in parts) else APP_SUMS
    if strange := [name for name, _ in parts if name not in sums]:
        beside = " beside cost" if sums is MONEY_SUMS else ""
        return f"there is no sum {strange[0]!r}{beside}; there are {', '.join(sums)}"
    for name, factor in parts:
        if type(factor) is not int or not 0 < abs(factor) <= _MOST:
            return f"{name}: expected a whole factor of at most {_MOST}, not 0, got {factor!r}"
    return ""
