"""The registry of metrics, and the one plan that computes them from partials.

Reports, documents, Parquet, UI tables and docs read `METRICS`, so that they cannot
disagree. A new metric is one entry here, one line in the oracle of the tests.

The expressions work on sums that were merged before: the same entry gives the value of a
day, a week or a month, of one app or of all. Two frames hold these sums: `app_sums` has a
row per app, `money_sums` a row per app and currency, because currencies are never added up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl

from conversation_analytics.core.partials import SKETCHED, additive_sums, known_sum
from conversation_analytics.core.schemas import MONEY
from conversation_analytics.core.sketches import quantiles

_WIDE = pl.Decimal(38, 7)  # a thousand times the highest sum of money has no place in MONEY

NO_APP = ""
"""App id of the rows whose source names no app; a null app id is the row over all apps."""

LATENCY = "latency"
FIRST_TOKEN = "time_to_first_token"  # noqa: S105 - a model's token
_QUANTILES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990}
_SKETCH_COLUMNS = dict(zip(SKETCHED, (LATENCY, FIRST_TOKEN), strict=True))


class MetricType(StrEnum):
    """What kind of number a metric is; decides how it is shown."""

    COUNT = "count"
    RATIO = "ratio"
    MONEY = "money"
    DURATION = "duration"
    SPEED = "speed"
    RATE = "rate"


class Grain(StrEnum):
    """What a value is of, beside the period."""

    APP = "app"
    APP_CURRENCY = "app, currency"


class Merge(StrEnum):
    """How values of several days or apps become one."""

    SUM = "sum"
    RATIO_OF_SUMS = "ratio of the merged sums"
    DISTINCT_USERS = "distinct users of the merged user-days"
    SKETCH = "percentile of the merged sketch"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: key in reports and documents.
        title: what people read.
        unit: unit of the value; `currency` stands for the row's currency.
        type: kind of number.
        formula: definition in words and column names.
        grain: what a value is of.
        merge: how values merge over days and apps.
        null_rule: when the value is unknown.
        source: where the definition comes from.
        expression: the value from the columns of `app_sums` or `money_sums`.
    """

    name: str
    title: str
    unit: str
    type: MetricType
    formula: str
    grain: Grain
    merge: Merge
    null_rule: str
    source: str
    expression: pl.Expr = field(repr=False, compare=False)


_NEVER_NULL = "never null: 0 if there is none"
_NO_TURNS = "null without turns"
_UNKNOWN_TOKENS = "0 without turns; null if no turn has a count"
_DIFY = "Dify, api/models/model.py"
_DIFY_STATISTIC = "Dify, api/controllers/console/app/statistic.py"
_OWN = "this project"


def _zero_without_turns(column: str) -> pl.Expr:
    return pl.when(pl.col("turns") == 0).then(0).otherwise(pl.col(column))


def _ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    # Decimal, because a quotient of whole numbers or money shall be the same everywhere.
    # Decimals raise on division by zero, in both branches of when/then.
    return numerator.cast(_WIDE) / pl.when(denominator > 0).then(denominator.cast(MONEY))


def _count(name: str, title: str, unit: str, formula: str, source: str = _DIFY) -> Metric:
    return Metric(
        name, title, unit, MetricType.COUNT, formula, Grain.APP, Merge.SUM, _NEVER_NULL, source,
        pl.col(name),
    )  # fmt: skip


def _users(name: str, title: str, formula: str) -> Metric:
    return Metric(
        name, title, "users", MetricType.COUNT, formula, Grain.APP, Merge.DISTINCT_USERS,
        "0 without turns; null if no turn has a user", _DIFY_STATISTIC, _zero_without_turns(name),
    )  # fmt: skip


def _tokens(name: str, title: str) -> Metric:
    return Metric(
        name, title, "tokens", MetricType.COUNT, f"sum({name})", Grain.APP, Merge.SUM,
        _UNKNOWN_TOKENS, _DIFY, _zero_without_turns(name),
    )  # fmt: skip


def _ratings(name: str, title: str, what: str) -> Metric:
    return Metric(
        name, title, "ratings", MetricType.COUNT,
        f"{what} by users, not taken back, on the day they were given", Grain.APP, Merge.SUM,
        "null without a table of ratings, or without any row", _DIFY,
        pl.col(name),
    )  # fmt: skip


def _rate(name: str, title: str, part: str) -> Metric:
    return Metric(
        name, title, "share of turns", MetricType.RATIO, f"{part} / turns", Grain.APP,
        Merge.RATIO_OF_SUMS, _NO_TURNS, _OWN, _ratio(pl.col(part), pl.col("turns")),
    )  # fmt: skip


def _percentile(sketched: str, title: str, q: str, source: str) -> Metric:
    name = _SKETCH_COLUMNS[sketched]
    return Metric(
        f"{name}_{q}", f"{title} {q}", "s", MetricType.DURATION,
        f"{q} of {sketched} above 0 by nearest rank, within 1%", Grain.APP, Merge.SKETCH,
        f"null if no turn has {sketched} above 0", source, pl.col(f"{name}_{q}"),
    )  # fmt: skip


METRICS: tuple[Metric, ...] = (
    _count("conversations_new", "New conversations", "conversations",
           "conversations created in the period"),
    _count("turns", "Turns", "turns", "messages of the period; one message row is one turn",
           _DIFY_STATISTIC),
    _users("active_users", "Active users", "distinct users with at least 1 turn"),
    _users("engaged_users", "Engaged users", "distinct users with at least 2 turns"),
    _count("errors", "Errors", "turns", "turns with status = 'error'"),
    _rate("error_rate", "Error rate", "errors"),
    _count("empty_answers", "Empty answers", "turns",
           "turns whose answer is null or ''; unfinished turns are among them"),
    _rate("empty_answer_rate", "Empty-answer rate", "empty_answers"),
    _tokens("message_tokens", "Tokens in"),
    _tokens("answer_tokens", "Tokens out"),
    Metric("cost", "Cost", "currency", MetricType.MONEY, "sum(total_price) by currency",
           Grain.APP_CURRENCY, Merge.SUM, "null if no turn of the currency has a price", _DIFY,
           pl.col("cost")),
    Metric("cost_per_1k_tokens", "Cost per 1k tokens", "currency per 1k tokens", MetricType.MONEY,
           "1000 * sum(total_price) / sum(message_tokens + answer_tokens), by currency",
           Grain.APP_CURRENCY, Merge.RATIO_OF_SUMS, "null without a price or without tokens", _OWN,
           _ratio(pl.col("cost") * 1000,
                  pl.col("message_tokens").fill_null(0) + pl.col("answer_tokens").fill_null(0))),
    *(_percentile("latency_s", "Latency", q, _DIFY) for q in ("p50", "p90", "p95", "p99")),
    *(_percentile("time_to_first_token_s", "Time to first token", q,
                  "Dify, usage of message_metadata") for q in ("p50", "p95")),
    _ratings("likes", "Likes", "likes"),
    _ratings("dislikes", "Dislikes", "dislikes"),
    Metric("satisfaction", "Satisfaction", "share of ratings", MetricType.RATIO,
           "likes / (likes + dislikes)", Grain.APP, Merge.RATIO_OF_SUMS,
           "null without ratings or without a table of them", _OWN,
           _ratio(pl.col("likes"), pl.col("likes") + pl.col("dislikes"))),
    Metric("rating_coverage", "Rating coverage", "ratings per turn", MetricType.RATIO,
           "(likes + dislikes) / turns", Grain.APP, Merge.RATIO_OF_SUMS,
           "null without turns or without a table of ratings", _OWN,
           _ratio(pl.col("likes") + pl.col("dislikes"), pl.col("turns"))),
    Metric("likes_per_1000_turns", "Likes per 1000 turns", "likes per 1000 turns",
           MetricType.RATE, "1000 * likes / turns", Grain.APP, Merge.RATIO_OF_SUMS,
           "null without turns or without a table of ratings",
           f"{_DIFY_STATISTIC}, which counts a like on the day of the turn",
           _ratio(pl.col("likes") * 1000, pl.col("turns"))),
    Metric("output_speed", "Output speed", "tokens/s", MetricType.SPEED,
           "sum(answer_tokens) / sum(latency_s) over turns with a latency above 0", Grain.APP,
           Merge.RATIO_OF_SUMS, "null without a latency above 0 or without token counts",
           _DIFY_STATISTIC,
           _ratio(pl.col("latency_answer_tokens"), pl.col("latency_sum_s").cast(MONEY))),
)  # fmt: skip

METRICS_BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}


def metric_values(partials: pl.LazyFrame) -> pl.LazyFrame:
    """Compute every metric of the registry, by app and over all apps.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of any number of days.

    Returns:
        Columns `app_id` (null: over all apps; `NO_APP`: rows without an app), `metric`,
        `currency`, `unit`, `value` Decimal(20, 7). The rows over all apps are always there.
        A money metric has one row per currency that has a code or a price; an app without
        any has one row with null currency and null value.
    """
    scoped = _scoped(partials)
    apps = app_sums(scoped)
    frames = {Grain.APP: apps, Grain.APP_CURRENCY: money_sums(scoped, apps)}
    units = pl.LazyFrame({"metric": list(METRICS_BY_NAME), "unit": [m.unit for m in METRICS]})
    values = pl.concat([_long(frame, grain) for grain, frame in frames.items()])
    return values.join(units, on="metric").select("app_id", "metric", "currency", "unit", "value")


def _long(sums: pl.LazyFrame, grain: Grain) -> pl.LazyFrame:
    metrics = [metric for metric in METRICS if metric.grain is grain]
    # Computed wide, then turned: one plan per metric takes ten times as long to optimise.
    return sums.select(
        "app_id", "currency", *(m.expression.cast(MONEY).alias(m.name) for m in metrics)
    ).unpivot(
        on=[m.name for m in metrics],
        index=["app_id", "currency"],
        variable_name="metric",
        value_name="value",
    )


def metrics_markdown() -> str:
    """Render `docs/metrics.md`: every metric with its definition."""
    lines = [
        "# Metrics",
        "",
        "Turns of the debugger (`invoke_from = 'debugger'`) are left out everywhere. Unknown is",
        "null, never 0. Currencies are never added up, percentiles never averaged. Generated from",
        "`conversation_analytics/core/metrics.py` by `make docs`.",
        "",
        "| metric | title | unit | type | formula | by | merges as | null rule | source |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{m.name}` | {m.title} | {m.unit} | {m.type} | {m.formula} | {m.grain} | {m.merge} "
        f"| {m.null_rule} | {m.source} |"
        for m in METRICS
    ]
    return "\n".join(lines) + "\n"


def app_sums(scoped: pl.LazyFrame) -> pl.LazyFrame:
    """Sum partials up to one row per app, the columns the `Grain.APP` expressions use.

    Args:
        scoped: partials in which each row stands once under its app and once under null.

    Returns:
        `app_id`, `currency` (null), the additive columns of partials, `active_users`,
        `engaged_users` and the percentiles; null where nothing is known.
    """
    counts = scoped.filter(pl.col("kind") == "counts").group_by("app_id").agg(additive_sums())
    # The row over all apps exists on a day without any row, too.
    zeros = ("conversations_new", "turns", "errors", "empty_answers")
    nothing = pl.LazyFrame(
        {"app_id": [None], **{name: [0] for name in zeros}},
        schema_overrides={"app_id": pl.String},
    )
    users = (
        scoped.filter(pl.col("kind") == "users")
        .group_by("app_id", "user_id")
        .agg(pl.col("turns").sum())
        .group_by("app_id")
        .agg(
            pl.len().cast(pl.Int64).alias("active_users"),
            (pl.col("turns") >= 2).sum().cast(pl.Int64).alias("engaged_users"),  # noqa: PLR2004 - the definition
        )
    )
    sketches = [
        quantiles(
            scoped.filter((pl.col("kind") == "sketch") & (pl.col("metric") == sketched)),
            ["app_id"],
            {f"{name}_{label}": q for label, q in _QUANTILES.items()},
        )
        for sketched, name in _SKETCH_COLUMNS.items()
    ]
    # Each column comes from one of the frames, so the greatest value is the only one: 0 at
    # least in the row over all apps.
    return (
        pl.concat([counts, nothing, users, *sketches], how="diagonal")
        .group_by("app_id")
        .agg(pl.all().max())
        .with_columns(pl.lit(None, dtype=pl.String).alias("currency"))
    )


def money_sums(scoped: pl.LazyFrame, apps: pl.LazyFrame) -> pl.LazyFrame:
    """Sum partials up to one row per app and currency, for the `Grain.APP_CURRENCY` expressions.

    Args:
        scoped: partials in which each row stands once under its app and once under null.
        apps: frame with the `app_id` of every app to report.

    Returns:
        `app_id`, `currency`, `cost`, `message_tokens`, `answer_tokens`. Apps without a
        currency and without a price have one row of nulls.
    """
    money = (
        scoped.filter(pl.col("kind") == "counts")
        .group_by("app_id", "currency")
        .agg(
            known_sum(pl.col(name)).alias(name)
            for name in ("cost", "message_tokens", "answer_tokens")
        )
        .filter(pl.col("currency").is_not_null() | pl.col("cost").is_not_null())
    )
    return apps.select("app_id").join(money, on="app_id", how="left", nulls_equal=True)


def _scoped(partials: pl.LazyFrame) -> pl.LazyFrame:
    return pl.concat(
        [
            partials.with_columns(pl.col("app_id").fill_null(NO_APP)),
            partials.with_columns(pl.lit(None, dtype=pl.String).alias("app_id")),
        ]
    )
