"""What has a value by label: models side by side, providers, languages, categories, inputs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from conversation_analytics.core.metrics import (
    METRICS_BY_NAME,
    MODEL,
    MODEL_METRICS,
    PROVIDER,
    Grain,
)
from conversation_analytics.core.partials import ANSWER_LANGUAGE, LANGUAGE, OF_CATEGORIES
from conversation_analytics.reports import charts, tables
from conversation_analytics.reports.cards import LATENCIES, card, nothing
from conversation_analytics.reports.values import bare_text, heading, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from conversation_analytics.reports.values import DayValues

UNKNOWN_LABEL = "(unknown)"
_ORDER = (MODEL, PROVIDER, LANGUAGE, ANSWER_LANGUAGE)
_TITLES = {
    MODEL: "Models side by side", PROVIDER: "Providers", LANGUAGE: "Languages of questions",
    ANSWER_LANGUAGE: "Languages of answers",
}  # fmt: skip
_LANGUAGES = {
    "de": "German", "en": "English", "es": "Spanish", "fr": "French", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pt": "Portuguese",
    "ru": "Russian", "th": "Thai", "vi": "Vietnamese", "zh": "Chinese",
    "und": "undetermined", "zxx": "no words",
}  # fmt: skip
_MOST_LABELS = 30
_MOST_IN_CHART = 12
_SHOWN = (
    "turns", "latency_p50", "latency_p95", "output_speed", "cost_per_1k_tokens", "error_rate",
    "regeneration_rate", "satisfaction", "cost", "time_to_first_token_p50", "empty_answer_rate",
    "rephrase_rate", "rating_coverage", "message_tokens", "answer_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LabelValues:
    """The values of one dimension over all apps.

    Attributes:
        dimension: of `metrics.dimension_values`.
        values: by label (None: turns that have none), metric name and currency.
    """

    dimension: str
    values: Mapping[tuple[str | None, str, str | None], Decimal | None]

    @property
    def labels(self) -> list[str | None]:
        """The labels, most turns first."""
        found = {label for label, _, _ in self.values}
        return sorted(
            found, key=lambda one: (-(self.values.get((one, "turns", None)) or 0), one or "")
        )

    @property
    def title(self) -> str:
        """What people call the dimension."""
        return _TITLES.get(self.dimension, f"By {self.dimension.removeprefix(OF_CATEGORIES)}")

    @property
    def said(self) -> bool:
        """Whether it tells of what people said: languages and categories."""
        return self.dimension in {LANGUAGE, ANSWER_LANGUAGE} or self.dimension.startswith(
            OF_CATEGORIES
        )


def labels_of_period(report: pl.DataFrame) -> list[LabelValues]:
    """Return the dimensions of a report, models first, then languages, categories, inputs.

    Args:
        report: with the columns of `metrics.dimension_values`; rows without a dimension are none.
    """
    found: dict[str, dict[tuple[str | None, str, str | None], Decimal | None]] = {}
    columns = ("app_id", "dimension", "label", "metric", "currency", "value")
    for app, dimension, label, metric, currency, value in report.select(columns).iter_rows():
        if app is None and dimension is not None:
            found.setdefault(dimension, {})[label, metric, currency] = value
    shown = [
        LabelValues(name, values)
        for name, values in found.items()
        if any(value for (_, metric, _), value in values.items() if metric == "turns")
    ]
    return sorted(
        shown,
        key=lambda one: (
            _ORDER.index(one.dimension) if one.dimension in _ORDER else len(_ORDER),
            not one.said,
            one.dimension,
        ),
    )


def models_of_day(performance: pl.DataFrame) -> LabelValues:
    """Return the models of a frame of `model_performance.MODEL_PERFORMANCE`, over all apps."""
    values: dict[tuple[str | None, str, str | None], Decimal | None] = {}
    for found in performance.iter_rows(named=True):
        if found["app_id"] is not None:
            continue
        for metric in MODEL_METRICS:
            money = metric.grain is Grain.APP_CURRENCY
            value = found[metric.name]
            key = (found["model"], metric.name, found["currency"] if money else None)
            values[key] = None if value is None else Decimal(value)
    return LabelValues(MODEL, values)


def label_cards(now: DayValues, shown: LabelValues) -> list[str]:
    """Show labels side by side: a table with bars in it, before it a chart of some dimensions."""
    labels = shown.labels
    if not labels:
        return [card(shown.title, nothing(f"No turns {now.within}."), wide=True)]
    keys = _columns(now, shown)
    most = {
        key: max(
            (value for one in labels if (value := shown.values.get((one, *key)))), default=None
        )
        for key in keys
    }
    rows = [
        tables.row(
            [
                tables.named(*_names(shown.dimension, label)),
                *(
                    tables.number(
                        value := shown.values.get((label, name, code)),
                        bare_text(METRICS_BY_NAME[name], value, code),
                        most[name, code] or Decimal(0),
                    )
                    for name, code in keys
                ),
            ]
        )
        for label in labels[:_MOST_LABELS]
    ]
    foot = tables.row(
        [
            tables.named("All turns"),
            *(
                tables.number(
                    value := now.get(name, None, code),
                    bare_text(METRICS_BY_NAME[name], value, code),
                )
                for name, code in keys
            ),
        ]
    )  # fmt: skip
    heads = [
        "Model" if shown.dimension == MODEL else shown.title,
        *(heading(METRICS_BY_NAME[name], code) for name, code in keys),
    ]
    left = len(labels) - _MOST_LABELS
    more = f" The {_MOST_LABELS} with most turns; {left} more in the CSV." if left > 0 else ""
    note = f"The bars compare the rows of a column.{more}"
    body = tables.sortable(heads, rows, foot)
    found = [card(shown.title, body, wide=True, note=note)]
    if shown.dimension == MODEL:
        found.insert(0, _latency_card(now, shown, labels[:_MOST_IN_CHART]))
    if shown.said:
        found.insert(0, _turns_card(now, shown, labels[:_MOST_IN_CHART]))
    return found


def _turns_card(now: DayValues, shown: LabelValues, labels: Sequence[str | None]) -> str:
    turns = METRICS_BY_NAME["turns"]
    every = now.get("turns") or Decimal(0)

    def text(value: Decimal | None) -> str:
        share = f", {100 * (value or 0) / every:.1f}%" if every else ""
        return f"{value_text(turns, value)}{share}"

    rows = [
        charts.Row(_names(shown.dimension, one)[0], (_float(value),), (text(value),))
        for one in labels
        if (value := shown.values.get((one, "turns", None))) is not None
    ]
    title = shown.title
    return card(title, charts.bars(title, rows, series=("turns",), x_title="turns", whole=True))


def _latency_card(now: DayValues, shown: LabelValues, labels: Sequence[str | None]) -> str:
    def latency(label: str | None, name: str) -> Decimal | None:
        return shown.values.get((label, name, None))

    title = "Latency by model"
    if not any(latency(label, name) for label in labels for name in LATENCIES):
        return card(title, nothing(f"No latency was measured {now.within}."))
    rows = [
        charts.Row(
            _names(MODEL, label)[0],
            tuple(_float(latency(label, name)) for name in LATENCIES),
            tuple(value_text(METRICS_BY_NAME[name], latency(label, name)) for name in LATENCIES),
        )
        for label in labels
    ]
    series = [name.removeprefix("latency_") for name in LATENCIES]
    return card(title, charts.ranges(title, rows, series=series, x_title="latency, seconds"))


def _columns(now: DayValues, shown: LabelValues) -> list[tuple[str, str | None]]:
    """Return the columns in which any label has a value: dimensions of inputs have no latency."""
    keys: list[tuple[str, str | None]] = []
    for name in _SHOWN:
        money = METRICS_BY_NAME[name].grain is Grain.APP_CURRENCY
        keys += [(name, code) for code in (now.currencies if money else (None,))]
    known = {(name, code) for (_, name, code), value in shown.values.items() if value is not None}
    return [key for key in keys if key in known]


def _names(dimension: str, label: str | None) -> tuple[str, str]:
    """Return the name of a label, and what stands beside it: provider of a model, a code."""
    if label is None:
        return UNKNOWN_LABEL, ""
    if dimension in {LANGUAGE, ANSWER_LANGUAGE}:
        return (_LANGUAGES[label], label) if label in _LANGUAGES else (label, "")
    provider, _, name = label.rpartition("/")
    return (name, provider) if dimension == MODEL and name else (label, "")


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
