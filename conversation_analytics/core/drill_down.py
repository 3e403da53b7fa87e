"""From a figure of a report to the conversations behind it: SQL over the lake's views.

`_WAYS` says of every metric which rows are behind it and what each conversation contributes. The
statements read curated rows (of conversations as a whole: partials) of the figure's own days and
nothing else. They are DuckDB's SQL but for `likeness`, which `lake.sql` adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.errors import QueryError
from conversation_analytics.core.metrics import DIMENSION_METRICS, LENGTHS, Grain, Metric
from conversation_analytics.core.partials import SESSION_GAP_S
from conversation_analytics.core.rephrases import LIKENESS, WITHIN_S

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

_MICROS: Final = 1_000_000
_COUNTS: Final = "invoke_from IS DISTINCT FROM 'debugger'"
_LABEL: Final = "coalesce(nullif(model_provider, '') || '/', '') || nullif(model_id, '')"
_KNOWN_S: Final = "{0} > 0 AND {0} < 1e9"
_KNOWN_TOKENS: Final = "{0} BETWEEN 0 AND 1000000000"
_KNOWN_PRICE: Final = "total_price BETWEEN -1000000000 AND 1000000000"
_AGAIN: Final = (
    "parent_message_id IS NOT NULL AND row_number() OVER ("
    "PARTITION BY partition_day, conversation_id, parent_message_id ORDER BY created_at, id) > 1"
)


@dataclass(frozen=True, slots=True)
class _Scope:
    """Which figure of a metric: its days, and its app, currency and model where it has one."""

    start: dt.date
    end: dt.date
    app_id: str | None
    currency: str | None
    model: str | None

    @property
    def days(self) -> str:
        return f"partition_day BETWEEN DATE '{self.start}' AND DATE '{self.end}'"

    @property
    def app(self) -> tuple[str, ...]:
        return () if self.app_id is None else (f"coalesce(app_id, '') = {_text(self.app_id)}",)

    @property
    def of_model(self) -> tuple[str, ...]:
        return () if self.model is None else (f"coalesce({_LABEL}, '') = {_text(self.model)}",)

    @property
    def turns(self) -> tuple[str, ...]:
        """Conditions on the turns of the figure."""
        return (self.days, _COUNTS, *self.app, *self.of_model)


@dataclass(frozen=True, slots=True)
class _Turns:
    """Turns of which a condition holds; each conversation contributes the sum over its own."""

    contributes: str = "turns"
    amount: str = "1"
    where: str | None = None
    total: str = "sum(amount)::BIGINT"

    def sql(self, scope: _Scope) -> str:
        conditions = (*scope.turns, *((self.where,) if self.where else ()))
        return _listed(_turns(self.amount, conditions), self.contributes, total=self.total)


@dataclass(frozen=True, slots=True)
class _Money:
    """Turns with a price, by currency."""

    contributes: str = "cost"

    def sql(self, scope: _Scope) -> str:
        of_currency: tuple[str, ...] = ()
        if scope.currency is not None:
            of_currency = (f"coalesce(currency, '') = {_text(scope.currency)}",)
        behind = _turns(
            "total_price",
            (*scope.turns, _KNOWN_PRICE, *of_currency),
            more="nullif(currency, '') AS currency",
        )
        return _listed(behind, self.contributes, by_currency=True, total="sum(amount)")


@dataclass(frozen=True, slots=True)
class _TurnsInOrder:
    """Turns of which a condition on the turns before them holds: `before` names what it needs.

    Turns of every app and model are looked back at, as the partials do: which of them belong to
    the figure is decided last.
    """

    contributes: str
    where: str
    before: str

    def sql(self, scope: _Scope) -> str:
        seen = _select(
            f"conversation_id, app_id, model_provider, model_id, query, created_at,\n"
            f"    {self.before}",
            "messages",
            (scope.days, _COUNTS),
        )
        behind = _select(
            "conversation_id, app_id, created_at, 1 AS amount",
            "seen",
            (self.where, *scope.app, *scope.of_model),
        )
        return _listed(behind, self.contributes, first=f"seen AS (\n  {seen}\n)")


@dataclass(frozen=True, slots=True)
class _Users:
    """Turns of the users who had at least so many of them."""

    least: int
    contributes: str = "turns"

    def sql(self, scope: _Scope) -> str:
        with_user = (*scope.turns, "user_id IS NOT NULL")
        if self.least == 1:
            return _listed(_turns("1", with_user), self.contributes)
        # Not a window: DuckDB 2.0 turns its count into a join that opens every day.
        users = _select("user_id", "messages", with_user)
        users += f"\n  GROUP BY user_id HAVING count(*) >= {self.least}"
        behind = _turns("1", (*scope.turns, f"user_id IN (\n  {users})"))
        return _listed(behind, self.contributes)


@dataclass(frozen=True, slots=True)
class _Sessions:
    """Turns that begin a session, which so belongs to the conversation of its first turn."""

    contributes: str = "sessions"

    def sql(self, scope: _Scope) -> str:
        before = (
            "lag(epoch_us(created_at)) OVER ("
            "PARTITION BY coalesce(app_id, ''), user_id ORDER BY created_at, id)"
        )
        behind = _turns("1", (*scope.turns, "user_id IS NOT NULL"))
        behind += (
            f"\n  QUALIFY coalesce(epoch_us(created_at) - {before} > "
            f"{SESSION_GAP_S * _MICROS}, true)"
        )
        return _listed(behind, self.contributes)


@dataclass(frozen=True, slots=True)
class _Slowest:
    """Turns at or above a percentile by nearest rank, computed from the turns themselves."""

    contributes: str
    per_mille: int

    def sql(self, scope: _Scope) -> str:
        seconds = self.contributes
        timed = _turns(
            seconds,
            (*scope.turns, _KNOWN_S.format(seconds)),
            more=f"row_number() OVER (ORDER BY {seconds}) AS rank, count(*) OVER () AS n",
        )
        least = f"SELECT min(amount) FROM timed WHERE 1000 * rank >= {self.per_mille} * n"
        behind = _select("*", "timed", (f"amount >= ({least})",))
        return _listed(behind, seconds, first=f"timed AS (\n  {timed}\n)", total="max(amount)")


@dataclass(frozen=True, slots=True)
class _Talks:
    """Conversations of which a condition on their partials holds; each contributes 1.

    Where no row is `known`, the figure is unknown and there are none.
    """

    having: str
    known: str | None = None
    contributes: str = "conversations"

    def sql(self, scope: _Scope) -> str:
        conditions = (scope.days, "kind = 'conversations'", *scope.app)
        behind = _select(
            "conversation_id, min(p.app_id) AS app_id, sum(p.turns)::BIGINT AS turns,\n"
            "    min(p.first_at) AS first_at, max(p.last_at) AS last_at",
            "daily_partials AS p",
            conditions,
        )
        known = ""
        if self.known:
            row = _select("1", "daily_partials", (*conditions, self.known))
            known = f"\nWHERE EXISTS (\n  {row}\n)"
        return (
            f"WITH behind AS (\n  {behind}\n  GROUP BY conversation_id\n  HAVING {self.having}\n)\n"
            f"SELECT conversation_id, app_id, 1::BIGINT AS {self.contributes}, turns, first_at, "
            f"last_at\nFROM behind{known}\nORDER BY turns DESC, conversation_id"
        )


@dataclass(frozen=True, slots=True)
class _New:
    """Conversations created in the period; each contributes 1."""

    contributes: str = "conversations"

    def sql(self, scope: _Scope) -> str:
        behind = _select(
            "id AS conversation_id, app_id, created_at, 1 AS amount",
            "conversations",
            (scope.days, _COUNTS, *scope.app),
        )
        return _listed(behind, self.contributes, turns="NULL::BIGINT")


@dataclass(frozen=True, slots=True)
class _Ratings:
    """Ratings by users, not taken back."""

    contributes: str
    where: str | None = None

    def sql(self, scope: _Scope) -> str:
        conditions = [
            scope.days, "from_source IS DISTINCT FROM 'admin'", "rating IN ('like', 'dislike')",
            "gone IS DISTINCT FROM true", *((self.where,) if self.where else ()), *scope.app,
        ]  # fmt: skip
        if scope.model is not None:
            # A rating has the model of its turn, where that is of the same day.
            turns = _select("id, partition_day", "messages", (scope.days, _COUNTS))
            model = f"= {_text(scope.model)}" if scope.model else "<> ''"
            among = "IN" if scope.model else "NOT IN"
            conditions.append(
                f"(message_id, partition_day) {among} ({turns}\n    AND {_LABEL} {model})"
            )
        behind = _select(
            "conversation_id, app_id, created_at, message_id, 1 AS amount", "feedbacks", conditions
        )
        return _listed(behind, self.contributes, turns="count(DISTINCT message_id)")


_Way = (
    _Turns | _Money | _TurnsInOrder | _Users | _Sessions | _Slowest | _Talks | _New | _Ratings
)  # fmt: skip

_ACTIVE: Final = "sum(p.turns) > 0"
_ERRORS: Final = _Turns("errors", where="status = 'error'")
_EMPTY: Final = _Turns("empty_answers", where="coalesce(answer, '') = ''")
_REGENERATED: Final = _TurnsInOrder("regenerations", "again", f"{_AGAIN} AS again")
_TALK: Final = "OVER (PARTITION BY partition_day, conversation_id ORDER BY created_at, id)"
_REPHRASED: Final = _TurnsInOrder(
    "rephrases",
    # Few turns come soon after another one, and to compare texts takes longest.
    f"CASE WHEN soon AND NOT again THEN likeness(query, before) END >= {LIKENESS}",
    f"{_AGAIN} AS again,\n    lag(query) {_TALK} AS before,\n"
    f"    epoch_us(created_at) - lag(epoch_us(created_at)) {_TALK} <= {WITHIN_S * _MICROS} AS soon",
)
_CONTINUED: Final = _Talks("sum(p.turns) >= 2")
_ABANDONED: Final = _Talks(f"{_ACTIVE} AND max(p.failed_at) = max(p.last_at)")
_HANDED_OFF: Final = _Talks("sum(p.handoffs) > 0")
_CONTAINED: Final = _Talks(
    f"{_ACTIVE} AND coalesce(sum(p.handoffs), 0) = 0", known="handoffs IS NOT NULL"
)
_WITH_USER: Final = _Turns(where="user_id IS NOT NULL")
_LIKES: Final = _Ratings("likes", "rating = 'like'")
_ANSWER_TOKENS: Final = _Turns(
    "answer_tokens", "answer_tokens", _KNOWN_TOKENS.format("answer_tokens")
)
_COST: Final = _Money()

_WAYS: Final[Mapping[str, _Way]] = {
    "conversations_new": _New(),
    "conversations_active": _Talks(_ACTIVE),
    "turns": _Turns(),
    "turns_per_conversation": _Turns(),
    **{
        name: _Talks(f"sum(p.turns) BETWEEN {least} AND {most}" if most else
                     f"sum(p.turns) >= {least}")
        for name, _, least, most in LENGTHS
    },
    "continued_conversations": _CONTINUED,
    "continued_rate": _CONTINUED,
    "abandoned_conversations": _ABANDONED,
    "abandonment_rate": _ABANDONED,
    "handed_off_conversations": _HANDED_OFF,
    "handoff_rate": _HANDED_OFF,
    "containment_rate": _CONTAINED,
    "active_users": _Users(1),
    "engaged_users": _Users(2),
    "daily_active_users": _Users(1),
    "stickiness": _Users(1),
    "sessions": _Sessions(),
    "turns_per_session": _WITH_USER,
    "errors": _ERRORS,
    "error_rate": _ERRORS,
    "empty_answers": _EMPTY,
    "empty_answer_rate": _EMPTY,
    "regenerations": _REGENERATED,
    "regeneration_rate": _REGENERATED,
    "rephrases": _REPHRASED,
    "rephrase_rate": _REPHRASED,
    "message_tokens": _Turns(
        "message_tokens", "message_tokens", _KNOWN_TOKENS.format("message_tokens")
    ),
    "answer_tokens": _ANSWER_TOKENS,
    "cost": _COST,
    "cost_per_1k_tokens": _COST,
    "cost_per_conversation": _COST,
    "cost_per_active_user": _COST,
    "cost_per_satisfied_conversation": _COST,
    "latency_p50": _Slowest("latency_s", 500),
    "latency_p90": _Slowest("latency_s", 900),
    "latency_p95": _Slowest("latency_s", 950),
    "latency_p99": _Slowest("latency_s", 990),
    "time_to_first_token_p50": _Slowest("time_to_first_token_s", 500),
    "time_to_first_token_p95": _Slowest("time_to_first_token_s", 950),
    "likes": _LIKES,
    "dislikes": _Ratings("dislikes", "rating = 'dislike'"),
    "satisfied_conversations": _Talks("sum(p.likes) > sum(p.dislikes)"),
    "satisfaction": _LIKES,
    "rating_coverage": _Ratings("ratings"),
    "likes_per_1000_turns": _LIKES,
    "output_speed": _Turns(
        "answer_tokens",
        "answer_tokens",
        f"{_KNOWN_S.format('latency_s')} AND {_KNOWN_TOKENS.format('answer_tokens')}",
    ),
    # Dify adds up what has several currencies, and so does what is behind its figure.
    "dify_total_price": _Turns("total_price", "total_price", _KNOWN_PRICE, "sum(amount)"),
    "dify_average_response_time": _Turns(
        "latency_s", f"round(latency_s * {_MICROS})::BIGINT", _KNOWN_S.format("latency_s"),
        f"sum(amount) / {_MICROS}",
    ),
    "dify_tokens_per_second": _ANSWER_TOKENS,
}  # fmt: skip
"""How to list the conversations behind each metric of the registry."""


def conversations_sql(
    metric: Metric,
    *,
    start: dt.date,
    end: dt.date,
    app_id: str | None = None,
    currency: str | None = None,
    model: str | None = None,
) -> str:
    """Return the statement that lists the conversations behind one figure of a metric.

    Its columns are `conversation_id`, `app_id`, `currency` (money only), what the conversation
    contributes (named by `contribution`), `turns` (how many of its turns are behind that; null
    for new conversations; not twice where turns are what is contributed), `first_at` and
    `last_at` of these turns or ratings, UTC. The biggest contribution comes first, within its
    currency. Conversations that contribute 0 are not listed.

    What is listed: for a sum or a count, what it is made of: the contributions add up to it. For
    a ratio or a price per something, the same of its numerator. For a percentile, the slowest
    turns: those at or above the percentile by nearest rank (exact, where the report's is within
    1%), the slowest turn of each conversation. For users, all turns in the period of those users.
    A session belongs to the conversation of its first turn. Ratings whose conversation the source
    does not tell are one row without conversation id.

    Args:
        metric: of the registry.
        start: first day of the figure, in the analytics time zone.
        end: its last day.
        app_id: its app; '' is the rows without an app, None every app.
        currency: of a money metric: its currency; '' is none, None all, one below the other.
        model: of a metric that models have: provider/model as in reports; '' is turns that name
            no model, None every model.

    Raises:
        QueryError: `end` is before `start`, the metric has no currency or no value by model, or
            a text is no Unicode.
    """
    if end < start:
        raise QueryError(f"{end} is before {start}: give the first day first")
    if currency is not None and metric.grain is not Grain.APP_CURRENCY:
        raise QueryError(f"{metric.name} has no currency: it is {metric.unit}; leave it out")
    if model is not None and metric not in DIMENSION_METRICS:
        raise QueryError(
            f"{metric.name} has no value by model: conversations and users have no single one; "
            f"these have: {', '.join(one.name for one in DIMENSION_METRICS)}"
        )
    return _way(metric).sql(_Scope(start, end, app_id, currency, model))


def contribution(metric: Metric) -> str:
    """Return the column of `conversations_sql` that says what a conversation contributes."""
    return _way(metric).contributes


def _way(metric: Metric) -> _Way:
    return _WAYS[metric.behind or metric.name]


def _select(what: str, table: str, conditions: tuple[str, ...] | list[str]) -> str:
    return f"SELECT {what}\n  FROM {table}\n  WHERE " + "\n    AND ".join(conditions)


def _turns(amount: str, conditions: tuple[str, ...], more: str = "") -> str:
    columns = f"conversation_id, app_id, created_at, {amount} AS amount"
    return _select(f"{columns}, {more}" if more else columns, "messages", conditions)


def _listed(
    behind: str,
    contributes: str,
    *,
    first: str = "",
    by_currency: bool = False,
    total: str = "sum(amount)::BIGINT",
    turns: str = "count(*)",
) -> str:
    """Group rows of conversation_id, app_id, created_at, amount by conversation.

    `first` is a relation that `behind` reads.
    """
    keys = "conversation_id, currency" if by_currency else "conversation_id"
    columns = [
        "conversation_id", "min(app_id) AS app_id", *(("currency",) if by_currency else ()),
        f"{total} AS {contributes}", *((f"{turns} AS turns",) if contributes != "turns" else ()),
        "min(created_at) AS first_at", "max(created_at) AS last_at",
    ]  # fmt: skip
    order = [f"{contributes} DESC", "turns DESC", "conversation_id"]
    return (
        f"WITH {first}{', ' if first else ''}behind AS (\n  {behind}\n)\n"
        f"SELECT {', '.join(columns)}\nFROM behind\n"
        f"GROUP BY {keys}\nHAVING {total} <> 0\n"
        f"ORDER BY {', '.join((['currency'] if by_currency else []) + order)}"
    )


def _text(value: str) -> str:
    """Return a literal: within quotes nothing but a quote has a meaning."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise QueryError(
            "app, currency or model: expected Unicode text, got other bytes"
        ) from error
    return "'" + value.replace("'", "''") + "'"
