"""The registry of metrics, and the one plan that computes them from partials.

Reports, documents, Parquet, UI tables and docs read `METRICS`, so that they cannot
disagree. A new metric is one entry here, one line in the oracle of the tests. Metrics of
installed packages are added once, when a process has read its settings: see `use_metrics`.

The expressions work on sums that were merged before: the same entry gives the value of a
day, a week or a month, of one app or of all. Two frames hold these sums: `app_sums` has a
row per app, `money_sums` a row per app and currency, because currencies are never added up.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.partials import (
    COLUMNS_OF,
    SESSION_GAP_S,
    SKETCHED,
    additive_sums,
    known_sum,
)
from conversation_analytics.core.schemas import MONEY
from conversation_analytics.core.sketches import quantiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDE = pl.Decimal(38, 7)  # a thousand times the highest sum of money has no place in MONEY
# Two literals: of the negation of one, shared in a plan, Polars 1.44 at times loses the length.
_LOWEST, _HIGHEST = (pl.lit(sign * Decimal(10) ** 13, _WIDE) for sign in (-1, 1))

METRICS_VERSION = 1
"""To be raised where the same partials give other values: stored reports are made again then."""

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
    SESSIONS = "sum, less the sessions that go on over midnight"
    CONVERSATIONS = "from the merged conversations"
    SKETCH = "percentile of the merged sketch"
    FROM_SUMS = "from the merged sums"


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
        behind: the metric whose conversations are behind this one; empty: its own.
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
    behind: str = ""


_NEVER_NULL = "never null: 0 if there is none"
_NO_TURNS = "null without turns"
_UNKNOWN_TOKENS = "0 without turns; null if no turn has a count"
_DIFY = "Dify, api/models/model.py"
_DIFY_STATISTIC = "Dify, api/controllers/console/app/statistic.py"
_OWN = "this project"


def _zero_without_turns(column: str) -> pl.Expr:
    return pl.when(pl.col("turns") == 0).then(0).otherwise(pl.col(column))


def ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Return a quotient; null where the denominator is not above 0."""
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
        Merge.RATIO_OF_SUMS, _NO_TURNS, _OWN, ratio(pl.col(part), pl.col("turns")),
    )  # fmt: skip


def _percentile(sketched: str, title: str, q: str, source: str) -> Metric:
    name = _SKETCH_COLUMNS[sketched]
    return Metric(
        f"{name}_{q}", f"{title} {q}", "s", MetricType.DURATION,
        f"{q} of {sketched} above 0 by nearest rank, within 1%", Grain.APP, Merge.SKETCH,
        f"null if no turn has {sketched} above 0", source, pl.col(f"{name}_{q}"),
    )  # fmt: skip


def _conversations(name: str, title: str, formula: str, **own: str) -> Metric:
    return Metric(
        name, title, "conversations", MetricType.COUNT, formula, Grain.APP, Merge.CONVERSATIONS,
        own.get("null_rule", _NEVER_NULL), own.get("source", _OWN), pl.col(name),
    )  # fmt: skip


def _share(name: str, title: str, part: str, **own: str) -> Metric:
    return Metric(
        name, title, "share of conversations", MetricType.RATIO,
        f"{part} / conversations_active", Grain.APP, Merge.RATIO_OF_SUMS,
        own.get("null_rule", "null without active conversations"), own.get("source", _OWN),
        ratio(pl.col(part), pl.col("conversations_active")),
    )  # fmt: skip


def _length(name: str, title: str, least: int, most: int | None) -> Metric:
    words = f"{least} or more" if most is None else f"{least} to {most}"
    return _conversations(name, title, f"active conversations with {words} turns in the period")


def _cost_per(name: str, title: str, unit: str, what: str, null_rule: str) -> Metric:
    return Metric(
        name, title, f"currency per {unit}", MetricType.MONEY, f"cost / {what}, by currency",
        Grain.APP_CURRENCY, Merge.RATIO_OF_SUMS, null_rule, _OWN,
        ratio(pl.col("cost"), pl.col(what)),
    )  # fmt: skip


def _as_dify(
    name: str, title: str, unit: str, kind: MetricType, formula: str, null_rule: str, value: pl.Expr
) -> Metric:
    """Return a figure of Dify's own statistics that stands beside ours, because it differs."""
    return Metric(
        name, title, unit, kind, formula, Grain.APP, Merge.RATIO_OF_SUMS, null_rule,
        _DIFY_STATISTIC, value,
    )  # fmt: skip


LENGTHS: tuple[tuple[str, str, int, int | None], ...] = (
    ("conversations_1_2", "Conversations of 1-2 turns", 1, 2),
    ("conversations_3_5", "Conversations of 3-5 turns", 3, 5),
    ("conversations_6_10", "Conversations of 6-10 turns", 6, 10),
    ("conversations_11_20", "Conversations of 11-20 turns", 11, 20),
    ("conversations_21_up", "Conversations of 21 turns and more", 21, None),
)
"""Buckets of the length distribution: metric, title, least and most turns."""

_NO_MARKER = "null without HANDOFF_MARKERS, or without turns"
_NO_RATINGS = "null without a table of ratings"

BUILT_IN: tuple[Metric, ...] = (
    _count("conversations_new", "New conversations", "conversations",
           "conversations created in the period"),
    _conversations("conversations_active", "Active conversations",
                   "distinct conversations with at least 1 turn in the period"),
    _count("turns", "Turns", "turns", "messages of the period; one message row is one turn",
           _DIFY_STATISTIC),
    Metric("turns_per_conversation", "Turns per conversation", "turns per conversation",
           MetricType.RATE, "turns / conversations_active", Grain.APP, Merge.RATIO_OF_SUMS,
           "null without turns",
           f"{_DIFY_STATISTIC}, which averages over conversations by the day of their messages",
           ratio(pl.col("turns"), pl.col("conversations_active"))),
    *(_length(*length) for length in LENGTHS),
    _share("continued_rate", "Continued rate", "continued_conversations"),
    _share("abandonment_rate", "Abandonment rate", "abandoned_conversations"),
    _conversations("abandoned_conversations", "Abandoned conversations",
                   "active conversations whose last turn in the period failed or has no answer"),
    _conversations("continued_conversations", "Continued conversations",
                   "active conversations with at least 2 turns in the period"),
    _conversations("handed_off_conversations", "Handed-off conversations",
                   "active conversations with an answer that holds a marker of HANDOFF_MARKERS",
                   null_rule=_NO_MARKER),
    _share("handoff_rate", "Hand-off rate", "handed_off_conversations", null_rule=_NO_MARKER),
    Metric("containment_rate", "Containment rate", "share of conversations", MetricType.RATIO,
           "1 - handoff_rate", Grain.APP, Merge.RATIO_OF_SUMS, _NO_MARKER, _OWN,
           ratio(pl.col("conversations_active") - pl.col("handed_off_conversations"),
                  pl.col("conversations_active"))),
    _users("active_users", "Active users", "distinct users with at least 1 turn"),
    _users("engaged_users", "Engaged users", "distinct users with at least 2 turns"),
    Metric("daily_active_users", "Daily active users", "users per day", MetricType.RATE,
           "distinct pairs of user and day / days of the period that are held", Grain.APP,
           Merge.DISTINCT_USERS, "null without a known user", _OWN,
           ratio(pl.col("user_days"), pl.col("days"))),
    Metric("stickiness", "Stickiness", "share of users", MetricType.RATIO,
           "daily_active_users / active_users", Grain.APP, Merge.DISTINCT_USERS,
           "null without a known user", _OWN,
           ratio(pl.col("user_days"), pl.col("days") * pl.col("active_users"))),
    Metric("sessions", "Sessions", "sessions", MetricType.COUNT,
           f"runs of turns of one user in one app with gaps of at most {SESSION_GAP_S // 60} min",
           Grain.APP, Merge.SESSIONS, "0 without turns; null if no turn has a user",
           "web analytics (Google Analytics: 30 minutes)", _zero_without_turns("sessions")),
    Metric("turns_per_session", "Turns per session", "turns per session", MetricType.RATE,
           "turns with a user / sessions", Grain.APP, Merge.RATIO_OF_SUMS,
           "null without a known user", _OWN, ratio(pl.col("user_turns"), pl.col("sessions"))),
    _count("errors", "Errors", "turns", "turns with status = 'error'"),
    _rate("error_rate", "Error rate", "errors"),
    _count("empty_answers", "Empty answers", "turns",
           "turns whose answer is null or ''; unfinished turns are among them"),
    _rate("empty_answer_rate", "Empty-answer rate", "empty_answers"),
    _count("regenerations", "Regenerations", "turns",
           "turns with an earlier turn of the same day, conversation and parent message",
           "Dify, parent_message_id"),
    _rate("regeneration_rate", "Regeneration rate", "regenerations"),
    Metric("rephrases", "Rephrased questions", "turns", MetricType.COUNT,
           "turns within 120 s of the turn before whose query is at least 0.7 like its query "
           "(Indel similarity), regenerations aside", Grain.APP, Merge.SUM,
           "0 without turns", "core/rephrases.py", _zero_without_turns("rephrases")),
    _rate("rephrase_rate", "Rephrase rate", "rephrases"),
    _tokens("message_tokens", "Tokens in"),
    _tokens("answer_tokens", "Tokens out"),
    Metric("cost", "Cost", "currency", MetricType.MONEY, "sum(total_price) by currency",
           Grain.APP_CURRENCY, Merge.SUM, "null if no turn of the currency has a price", _DIFY,
           pl.col("cost")),
    Metric("cost_per_1k_tokens", "Cost per 1k tokens", "currency per 1k tokens", MetricType.MONEY,
           "1000 * sum(total_price) / sum(message_tokens + answer_tokens), by currency",
           Grain.APP_CURRENCY, Merge.RATIO_OF_SUMS, "null without a price or without tokens", _OWN,
           ratio(pl.col("cost") * 1000,
                  pl.col("message_tokens").fill_null(0) + pl.col("answer_tokens").fill_null(0))),
    _cost_per("cost_per_conversation", "Cost per conversation", "conversation",
              "conversations_active", "null without a price or without active conversations"),
    _cost_per("cost_per_active_user", "Cost per active user", "user", "active_users",
              "null without a price or without a known user"),
    _cost_per("cost_per_satisfied_conversation", "Cost per satisfied conversation",
              "conversation", "satisfied_conversations",
              "null without a price or without satisfied conversations"),
    *(_percentile("latency_s", "Latency", q, _DIFY) for q in ("p50", "p90", "p95", "p99")),
    *(_percentile("time_to_first_token_s", "Time to first token", q,
                  "Dify, usage of message_metadata") for q in ("p50", "p95")),
    _ratings("likes", "Likes", "likes"),
    _ratings("dislikes", "Dislikes", "dislikes"),
    _conversations("satisfied_conversations", "Satisfied conversations",
                   "conversations with more likes than dislikes given in the period",
                   null_rule="null without a table of ratings, or without any row"),
    Metric("satisfaction", "Satisfaction", "share of ratings", MetricType.RATIO,
           "likes / (likes + dislikes)", Grain.APP, Merge.RATIO_OF_SUMS,
           "null without ratings or without a table of them", _OWN,
           ratio(pl.col("likes"), pl.col("likes") + pl.col("dislikes"))),
    Metric("rating_coverage", "Rating coverage", "ratings per turn", MetricType.RATIO,
           "(likes + dislikes) / turns", Grain.APP, Merge.RATIO_OF_SUMS,
           "null without turns or without a table of ratings", _OWN,
           ratio(pl.col("likes") + pl.col("dislikes"), pl.col("turns"))),
    Metric("likes_per_1000_turns", "Likes per 1000 turns", "likes per 1000 turns",
           MetricType.RATE, "1000 * likes / turns", Grain.APP, Merge.RATIO_OF_SUMS,
           "null without turns or without a table of ratings",
           f"{_DIFY_STATISTIC}, which counts a like on the day of the turn",
           ratio(pl.col("likes") * 1000, pl.col("turns"))),
    Metric("output_speed", "Output speed", "tokens/s", MetricType.SPEED,
           "sum(answer_tokens) / sum(latency_s) over turns with a latency above 0", Grain.APP,
           Merge.RATIO_OF_SUMS, "null without a latency above 0 or without token counts",
           _DIFY_STATISTIC,
           ratio(pl.col("latency_answer_tokens"), pl.col("latency_sum_s").cast(MONEY))),
    _as_dify("dify_total_price", "Total price, as Dify adds it up", "currencies added up",
             MetricType.MONEY, "sum(total_price), whatever the currency; Dify calls it USD",
             "null without a price", pl.col("cost")),
    _as_dify("dify_average_response_time", "Average response time, as Dify has it", "s",
             MetricType.DURATION, "sum(latency_s) / turns, failed turns as 0 s",
             "null without a latency above 0",
             ratio(pl.col("latency_sum_s").cast(MONEY), pl.col("turns"))),
    _as_dify("dify_tokens_per_second", "Tokens per second, as Dify has them", "tokens/s",
             MetricType.SPEED, "sum(answer_tokens) / sum(latency_s), turns without a latency too",
             "null without a latency above 0 or without token counts",
             ratio(pl.col("answer_tokens"), pl.col("latency_sum_s").cast(MONEY))),
)  # fmt: skip

BUILT_IN_NAMES = frozenset(metric.name for metric in BUILT_IN)

MODEL, PROVIDER = "model", "provider"
"""Dimensions that every deployment has; keys of inputs come by configuration."""

MODEL_LABEL = (
    pl.when(pl.col("model_provider").is_null())
    .then(pl.col("model_id"))
    .otherwise(pl.col("model_provider") + "/" + pl.col("model_id"))
)
"""What a model is called: provider/model; null where the source names none."""

_OF_TURNS = frozenset(
    {"turns", "errors", "empty_answers", "regenerations", "rephrases", "message_tokens",
     "answer_tokens", "cost", "latency_answer_tokens", "latency_sum_s", "likes", "dislikes",
     *(f"{name}_{label}" for name in _SKETCH_COLUMNS.values() for label in _QUANTILES)}
)  # fmt: skip


def _is_of_turns(metric: Metric) -> bool:
    names = metric.expression.meta.root_names()
    return _OF_TURNS.issuperset(names) and not metric.name.startswith("dify_")


MODEL_METRICS: tuple[Metric, ...] = tuple(metric for metric in BUILT_IN if _is_of_turns(metric))
"""The metrics that are columns of `model_performance`: its schema is pinned."""

_used: list[Metric] = list(BUILT_IN)
_used_by_name: dict[str, Metric] = {metric.name: metric for metric in BUILT_IN}
_used_by_label: list[Metric] = list(MODEL_METRICS)
METRICS: Sequence[Metric] = _used
"""Every metric of this process: the project's own, then those of extensions."""
METRICS_BY_NAME: Mapping[str, Metric] = _used_by_name
DIMENSION_METRICS: Sequence[Metric] = _used_by_label
"""Metrics that have a value for each model: those of turns, not of users or conversations."""


def use_metrics(added: Sequence[Metric]) -> None:
    """Compute and show these metrics beside the project's own, in this process, from now on.

    To be called once, before anything is computed: as the log, the metrics of a process are one
    thing, and follow from its settings. Another call takes back what the one before has added.

    Args:
        added: each with a name of its own, computed from columns of `app_sums` or `money_sums`.

    Raises:
        ValueError: two metrics have one name.
    """
    by_name = {metric.name: metric for metric in (*BUILT_IN, *added)}
    if len(by_name) != len(BUILT_IN) + len(added):
        raise ValueError("two metrics have one name")
    _used[:] = by_name.values()
    _used_by_name.clear()
    _used_by_name.update(by_name)
    _used_by_label[:] = (*MODEL_METRICS, *(metric for metric in added if _is_of_turns(metric)))


def metrics_version() -> str:
    """Return what reports record of the metrics: stored ones that recorded another are stale.

    It tells an added metric from another one by its definition and by the version of its package.
    """
    added = METRICS[len(BUILT_IN) :]
    if not added:
        return str(METRICS_VERSION)
    told = [[m.name, m.title, m.unit, m.type, m.formula, m.grain, m.source] for m in added]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return f"{METRICS_VERSION}+{digest[:32]}"


def metric_values(partials: pl.LazyFrame, *, days: int) -> pl.LazyFrame:
    """Compute every metric of the registry, by app and over all apps.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of any number of days.
        days: days of the period that are held, those without rows included.

    Returns:
        Columns `app_id` (null: over all apps; `NO_APP`: rows without an app), `metric`,
        `currency`, `unit`, `value` Decimal(20, 7). The rows over all apps are always there.
        A money metric has one row per currency that has a code or a price; an app without
        any has one row with null currency and null value.
    """
    own = _own(partials)
    apps = app_sums(own, days)
    frames = {Grain.APP: apps, Grain.APP_CURRENCY: money_sums(own, apps)}
    values = pl.concat(
        [_long(frame, grain, ["app_id"], METRICS) for grain, frame in frames.items()]
    )
    return _with_units(values).select("app_id", "metric", "currency", "unit", "value")


def dimension_values(partials: pl.LazyFrame) -> pl.LazyFrame:
    """Compute the metrics of turns by the value of each dimension.

    Args:
        partials: schema `schemas.DAILY_PARTIALS`, of any number of days.

    Returns:
        Columns `app_id` (as in `metric_values`), `dimension` (`MODEL`, `PROVIDER`, or one of
        `partials`: languages, categories, keys of inputs), `label` (its value; null where a turn
        has none), `metric`, `currency`, `unit`, `value`. Metrics of conversations and users are
        not among them: these have no single model. A value without turns has no rows.
    """
    # Cached by hand: every metric filters it in another way, and would compute it anew.
    scoped = _scoped(_own(_days_of_sketches_merged(partials).cache()))
    named = pl.concat(
        [
            scoped.filter(pl.col("kind") == "dimensions"),
            *(
                scoped.filter(pl.col("kind") != "dimensions").with_columns(
                    pl.lit(dimension).alias("dimension"), label.alias("label")
                )
                for dimension, label in (
                    (MODEL, MODEL_LABEL),
                    (PROVIDER, pl.col("model_provider")),
                )
            ),
        ]
    )
    keys = ["app_id", "dimension", "label"]
    counts = named.filter(pl.col("kind") != "sketch")
    sums = [
        counts.group_by(keys).agg(additive_sums()),
        *(
            quantiles(
                named.filter((pl.col("kind") == "sketch") & (pl.col("metric") == sketched)),
                keys,
                {f"{name}_{label}": q for label, q in _QUANTILES.items()},
            )
            for sketched, name in _SKETCH_COLUMNS.items()
        ),
    ]
    merged = (
        pl.concat(sums, how="diagonal")
        .group_by(keys)
        .agg(pl.all().max())
        .filter(pl.col("turns") > 0)
        .with_columns(pl.lit(None, dtype=pl.String).alias("currency"))
    )
    money = (
        counts.group_by(*keys, "currency")
        .agg(
            known_sum(pl.col(name)).alias(name)
            for name in ("cost", "message_tokens", "answer_tokens")
        )
        .filter(pl.col("cost").is_not_null())
    )
    frames = {Grain.APP: merged, Grain.APP_CURRENCY: money}
    return _with_units(
        pl.concat([_long(frame, grain, keys, DIMENSION_METRICS) for grain, frame in frames.items()])
    ).select(*keys, "metric", "currency", "unit", "value")


def _days_of_sketches_merged(partials: pl.LazyFrame) -> pl.LazyFrame:
    """Return counts, dimensions and sketches; these are most rows, and the same in many days."""
    sketches = (
        partials.filter(pl.col("kind") == "sketch")
        .group_by("kind", *(name for name in COLUMNS_OF["sketch"] if name != "turns"))
        .agg(pl.col("turns").sum())
    )
    others = partials.filter(pl.col("kind").is_in(["counts", "dimensions"]))
    return pl.concat([others, sketches], how="diagonal")


def _with_units(values: pl.LazyFrame) -> pl.LazyFrame:
    units = pl.LazyFrame({"metric": list(METRICS_BY_NAME), "unit": [m.unit for m in METRICS]})
    return values.join(units, on="metric")


def _long(
    sums: pl.LazyFrame, grain: Grain, keys: list[str], metrics: Sequence[Metric]
) -> pl.LazyFrame:
    metrics = [metric for metric in metrics if metric.grain is grain]
    # Computed wide, then turned: one plan per metric takes ten times as long to optimise.
    return sums.select(
        *keys, "currency", *(_as_value(m.expression).alias(m.name) for m in metrics)
    ).unpivot(
        on=[m.name for m in metrics],
        index=[*keys, "currency"],
        variable_name="metric",
        value_name="value",
    )


def _as_value(number: pl.Expr) -> pl.Expr:
    """Return a number in the type of values; null where it is too large for it.

    One wrong row, say of a billion tokens in a microsecond, shall not take the report with it.
    """
    wide = number.cast(_WIDE)
    return pl.when((wide > _LOWEST) & (wide < _HIGHEST)).then(wide).cast(MONEY)


_BESIDE_DIFY = (
    "",
    "## Beside Dify's own statistics",
    "",
    f"Dify computes its figures per app in `{_DIFY_STATISTIC.removeprefix('Dify, ')}`. Where ours",
    "differ on purpose:",
    "",
    "| Dify | here | why |",
    "|---|---|---|",
    (
        "| messages, conversations, users: `invoke_from != 'debugger'` | `turns`, "
        "`conversations_active`, `active_users` | SQL drops rows whose `invoke_from` is null (old "
        "rows); here they count |"
    ),
    (
        "| total price, named USD | `cost` by currency; Dify's: `dify_total_price` | prices of "
        "several currencies are added up as if they were one |"
    ),
    (
        "| average session interactions: turns per conversation, by the day of its creation | "
        "`turns_per_conversation`, `turns_per_session` | a conversation that goes on changes the "
        "past; here a day counts its own turns, and sessions end after 30 minutes of silence |"
    ),
    (
        "| user satisfaction rate: likes per 1000 messages, on the day of the message | "
        "`satisfaction`, `rating_coverage`; Dify's: `likes_per_1000_turns`, on the day of the "
        "rating | most turns are never rated, so that the figure is a rate of rating; a late like "
        "changes the past |"
    ),
    (
        "| average response time | percentiles; Dify's: `dify_average_response_time` | a failed "
        "turn has 0 s, so that errors make it look fast |"
    ),
    (
        "| tokens per second | `output_speed`; Dify's: `dify_tokens_per_second` | tokens of turns "
        "without a measured time are divided by the time of others |"
    ),
)


def metrics_markdown() -> str:
    """Render `docs/metrics.md`: every metric with its definition."""
    lines = [
        "# Metrics",
        "",
        "Turns of the debugger (`invoke_from = 'debugger'`) are left out everywhere. Unknown is",
        "null, never 0, and so is a value of 10^13 and more, which only wrong rows give.",
        "Currencies are never added up, percentiles never averaged. Generated from",
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
    lines += _BESIDE_DIFY
    return "\n".join(lines) + "\n"


def app_sums(partials: pl.LazyFrame, days: int) -> pl.LazyFrame:
    """Sum partials up to one row per app, the columns the `Grain.APP` expressions use.

    Args:
        partials: every row under its app, `NO_APP` for none.
        days: days of the period that are held.

    Returns:
        `app_id`, `currency` (null), the additive columns of partials, what `_conversation_sums`
        and `_user_sums` give, the percentiles, and `days`; null where nothing is known.
    """
    counts = (
        _scoped(partials.filter(pl.col("kind") == "counts")).group_by("app_id").agg(additive_sums())
    )
    # The row over all apps exists on a day without any row, too.
    zeros = (
        "conversations_new", "turns", "errors", "empty_answers", "regenerations",
        *_CONVERSATION_COUNTS,
    )  # fmt: skip
    nothing = pl.LazyFrame(
        {"app_id": [None], **{name: [0] for name in zeros}},
        schema_overrides={"app_id": pl.String},
    )
    # Models and days first: what is left is a few rows, which stand under both scopes.
    buckets = _scoped(
        partials.filter(pl.col("kind") == "sketch")
        .group_by("app_id", "metric", "bucket")
        .agg(pl.col("turns").sum())
        .cache()
    )
    sketches = [
        quantiles(
            buckets.filter(pl.col("metric") == sketched),
            ["app_id"],
            {f"{name}_{label}": q for label, q in _QUANTILES.items()},
        )
        for sketched, name in _SKETCH_COLUMNS.items()
    ]
    parts = (
        counts.drop("sessions", "handoffs"),
        nothing,
        # Cached by hand: each is gone through several times.
        _conversation_sums(partials.filter(pl.col("kind") == "conversations").cache()),
        _user_sums(partials.filter(pl.col("kind") == "users").cache()),
        *sketches,
    )
    # Each column comes from one of the frames, so the greatest value is the only one: 0 at
    # least in the row over all apps, and in apps that have conversations only, or none.
    return (
        pl.concat(parts, how="diagonal")
        .group_by("app_id")
        .agg(pl.all().max())
        .with_columns(
            *(pl.col(name).fill_null(0) for name in zeros),
            pl.lit(None, dtype=pl.String).alias("currency"),
            pl.lit(days, dtype=pl.Int64).alias("days"),
        )
    )


_CONVERSATION_COUNTS = (
    "conversations_active", "continued_conversations", "abandoned_conversations",
    *(name for name, _, _, _ in LENGTHS),
)  # fmt: skip


def _conversation_sums(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Count conversations by app and over all: partials of the kind `conversations`."""
    turns = pl.col("turns")
    lengths = {
        name: turns.is_between(least, most) if most else turns >= least
        for name, _, least, most in LENGTHS
    }
    active = turns > 0
    rating = pl.col("likes") - pl.col("dislikes")
    return _by_app(
        rows,
        "conversation_id",
        (
            turns.sum(),
            pl.col("handoffs").max(),
            known_sum(rating).alias("rating"),
            pl.col("last_at").max(),
            pl.col("failed_at").max(),
        ),
        {
            "conversations_active": active,
            "continued_conversations": turns >= 2,  # noqa: PLR2004 - the definition
            "abandoned_conversations": active & (pl.col("failed_at") == pl.col("last_at")),
            **lengths,
            "handed_off_conversations": pl.col("handoffs") > 0,
            "satisfied_conversations": pl.col("rating") > 0,
        },
    )


def _user_sums(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Count users and sessions by app and over all: partials of the kind `users`.

    A session that goes on over midnight was counted on both days: where the first turn of a
    user's day follows the last one of the day before within the gap, it is one less.
    """
    sums = _by_app(
        rows,
        "user_id",
        (
            pl.col("turns").sum(),
            pl.col("sessions").sum(),
            pl.col("day").n_unique().alias("user_days"),
        ),
        {
            "active_users": pl.col("turns").is_not_null(),
            "engaged_users": pl.col("turns") >= 2,  # noqa: PLR2004 - the definition
            "user_turns": pl.col("turns"),
            "sessions": pl.col("sessions"),
            "user_days": pl.col("user_days"),
        },
    )
    # Over all apps a session stays one of an app.
    twice = _scoped(_sessions_over_midnight(rows).group_by("app_id").agg(pl.len().alias("twice")))
    twice = twice.group_by("app_id").agg(pl.col("twice").sum().cast(pl.Int64))
    return sums.join(twice, on="app_id", how="left", nulls_equal=True).select(
        pl.all().exclude("sessions", "twice"),
        (pl.col("sessions") - pl.col("twice").fill_null(0)).alias("sessions"),
    )


def _by_app(
    rows: pl.LazyFrame, name: str, merged: Sequence[pl.Expr], counts: Mapping[str, pl.Expr]
) -> pl.LazyFrame:
    """Merge rows to one per conversation or user, then count these by app and over all apps.

    Nearly all are of one app only, and count there as they do over all: only the others are
    merged once more, by app.

    Args:
        rows: partials of one kind.
        name: of the column that tells conversations or users apart.
        merged: what is known of each, from its rows.
        counts: what is added up, from what is known of each.
    """
    known = [known_sum(value.cast(pl.Int64)).alias(to) for to, value in counts.items()]
    # The least and greatest of numbers take a tenth of the time of those of texts.
    apps = rows.select("app_id").unique().sort("app_id").with_row_index("app")
    app = pl.col("app")
    everywhere = (
        rows.join(apps, on="app_id")
        .group_by(name)
        .agg(*merged, app.min(), (app.min() != app.max()).alias("of_several"))
        .join(apps, on="app")
        .cache()
    )
    several = everywhere.filter("of_several").select(name)
    apart = rows.join(several, on=name, how="semi", nulls_equal=True)
    of_one = everywhere.group_by("app_id", "of_several").agg(known).cache()
    return (
        pl.concat(
            [
                of_one.filter(~pl.col("of_several")).select("app_id", *counts),
                apart.group_by(name, "app_id").agg(merged).group_by("app_id").agg(known),
                of_one.with_columns(pl.lit(None, dtype=pl.String).alias("app_id")).select(
                    "app_id", *counts
                ),
            ]
        )
        .group_by("app_id")
        .agg(known_sum(pl.col(to)).alias(to) for to in counts)
    )


def _sessions_over_midnight(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows whose first session goes on from the day before."""
    gap = pl.duration(seconds=SESSION_GAP_S)
    # Only who was there late on one day or early on the next may be told to have gone on: looking
    # at the day before of every user would take longer than all the rest.
    days = (
        rows.group_by("day")
        .agg(pl.col("first_at").min().alias("begins"), pl.col("last_at").max().alias("ends"))
        .sort("day")
        .select(
            "day",
            (pl.col("ends").shift(1) + gap).alias("early"),
            (pl.col("begins").shift(-1) - gap).alias("late"),
        )
    )
    near = rows.join(days, on="day").filter(
        (pl.col("first_at") <= pl.col("early")) | (pl.col("last_at") >= pl.col("late"))
    )
    before = pl.col("last_at").shift(1).over("app_id", "user_id", order_by="day")
    return near.filter(pl.col("first_at") - before <= gap)


def money_sums(partials: pl.LazyFrame, apps: pl.LazyFrame) -> pl.LazyFrame:
    """Sum partials up to one row per app and currency, for the `Grain.APP_CURRENCY` expressions.

    Args:
        partials: every row under its app, `NO_APP` for none.
        apps: frame of `app_sums`.

    Returns:
        `app_id`, `currency`, `cost`, `message_tokens`, `answer_tokens`, and of the app, whatever
        the currency, `conversations_active`, `active_users`, `satisfied_conversations`. Apps
        without a currency and without a price have one row of null money.
    """
    money = (
        _scoped(partials.filter(pl.col("kind") == "counts"))
        .group_by("app_id", "currency")
        .agg(
            known_sum(pl.col(name)).alias(name)
            for name in ("cost", "message_tokens", "answer_tokens")
        )
        .filter(pl.col("currency").is_not_null() | pl.col("cost").is_not_null())
    )
    of_app = ("conversations_active", "active_users", "satisfied_conversations")
    return apps.select("app_id", *of_app).join(money, on="app_id", how="left", nulls_equal=True)


def _own(partials: pl.LazyFrame) -> pl.LazyFrame:
    return partials.with_columns(pl.col("app_id").fill_null(NO_APP))


def _scoped(own: pl.LazyFrame) -> pl.LazyFrame:
    """Return each row once under its app and once under null."""
    return pl.concat([own, own.with_columns(pl.lit(None, dtype=pl.String).alias("app_id"))])
