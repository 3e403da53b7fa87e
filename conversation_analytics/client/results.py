"""What the client gives: frozen values with the fields that applications use most.

`fields` of a value is the whole row under the names of docs/documents.md, so that nothing is
lost. Times are UTC to the millisecond, money is exact, unknown is None and never 0.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from conversation_analytics.core.errors import ReadRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from typing import Self

    from conversation_analytics.core.documents import Document

Item = TypeVar("Item")
PeriodName = Literal["daily", "weekly", "monthly"]
UserOrder = Literal["last_at", "user_id"]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items in order.

    Attributes:
        items: at most as many as were asked for.
        next: cursor that the same call goes on with; None: there is no more.
    """

    items: tuple[Item, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row of the documents became."""

    fields: Mapping[str, Any] = field(repr=False, hash=False)

    @classmethod
    def of(cls, document: Document) -> Self:
        """Return the row of a document; what the document lacks is None."""
        own = {name: value for name, value in document.items() if not name.startswith("_")}
        known = {one.name: document.get(one.name) for one in fields(cls) if one.name != "fields"}
        return cls(fields=MappingProxyType(own), **known)


@dataclass(frozen=True, slots=True)
class Conversation(_Row):
    """A conversation without its turns.

    Attributes:
        id: its id.
        user_id: end user, else account; None where it is not known.
        app_id: the app.
        name: title.
        created_at: time of creation.
        message_count: turns held.
        first_message_at: of the first turn held.
        last_message_at: of the last turn held.
        models: that answered, ascending.
        days: that hold a part of it, `YYYY-MM-DD` or `undated`.
    """

    id: str
    user_id: str | None
    app_id: str | None
    name: str | None
    created_at: dt.datetime | None
    message_count: int
    first_message_at: dt.datetime | None
    last_message_at: dt.datetime | None
    models: tuple[str, ...]
    days: tuple[str, ...]

    @classmethod
    def of(cls, document: Document) -> Self:
        """Return the conversation of a document."""
        lists = {name: tuple(document.get(name) or ()) for name in ("models", "days")}
        row = {name: value for name, value in document.items() if name != "messages"}
        return super(Conversation, cls).of({**row, **lists, "id": document["_id"]})


@dataclass(frozen=True, slots=True)
class Turn(_Row):
    """A turn: what the user wrote and what was answered.

    Attributes:
        id: its id.
        conversation_id: its conversation.
        parent_message_id: the turn it follows; None: it is the first, or not known.
        day: partition, `YYYY-MM-DD` or `undated`.
        created_at: time of creation.
        user_id: end user, else account.
        app_id: the app.
        query: what the user wrote.
        answer: what was answered; '' until it is finished.
        status: `normal`, `error`, `paused`, ...
        model_provider: provider of the model.
        model_id: model that answered.
        message_tokens: tokens in.
        answer_tokens: tokens out.
        total_price: cost in `currency`.
        currency: ISO 4217 code.
        latency_s: seconds to the end of the answer.
    """

    id: str
    conversation_id: str
    parent_message_id: str | None
    day: str
    created_at: dt.datetime | None
    user_id: str | None
    app_id: str | None
    query: str | None
    answer: str | None
    status: str | None
    model_provider: str | None
    model_id: str | None
    message_tokens: int | None
    answer_tokens: int | None
    total_price: Decimal | None
    currency: str | None
    latency_s: float | None

    @classmethod
    def of(cls, document: Document) -> Self:
        """Return the turn of a document."""
        return super(Turn, cls).of({**document, "id": document["_id"]})


@dataclass(frozen=True, slots=True)
class ConversationWithTurns:
    """A conversation and all of its turns.

    Attributes:
        conversation: the conversation.
        turns: by time, then id; undated ones first.
    """

    conversation: Conversation
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Category(_Row):
    """A category of a conversation, of its turns of one day.

    Attributes:
        conversation_id: the conversation.
        day: the day, `YYYY-MM-DD`.
        category_type: `topic`, `intent`, `sentiment`, or another of the taxonomy.
        category_value: the label, or `other`.
        confidence_score: chance that it is right, 0 to 1.
        created_by: model and version, or the person who corrected it.
    """

    conversation_id: str
    day: str
    category_type: str
    category_value: str
    confidence_score: float
    created_by: str


@dataclass(frozen=True, slots=True)
class CategorisedConversation:
    """A conversation under a category on a day.

    Attributes:
        category: the category.
        conversation: None where it is not held any more.
    """

    category: Category
    conversation: Conversation | None


@dataclass(frozen=True, slots=True)
class Translation(_Row):
    """A text of a turn that had to be translated.

    Attributes:
        message_id: the turn.
        conversation_id: its conversation.
        field: `query` or `answer`.
        source_language: ISO 639-1, or `und`.
        target_language: ISO 639-1.
        status: `translated`, `pending` or `refused`.
        reason: why it is not translated.
        translated: the translation.
        confidence: 0 to 1.
        created_at: time of the turn.
    """

    message_id: str
    conversation_id: str
    field: str
    source_language: str | None
    target_language: str
    status: str
    reason: str | None
    translated: str | None
    confidence: float | None
    created_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a report; docs/metrics.md defines it.

    Attributes:
        name: in the registry.
        unit: its unit.
        currency: of a money figure.
        value: exact; None is unknown.
        previous: of the period before; None in daily reports.
        dimension: what it is cut by (`model`, `language`, ...); None: it is of the whole.
        label: value of the dimension.
    """

    name: str
    unit: str
    currency: str | None
    value: Decimal | None
    previous: Decimal | None
    dimension: str | None
    label: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of an app, or over all apps, for a day, week or month.

    Attributes:
        period: `daily`, `weekly` or `monthly`.
        day: the day, or the first day of the period.
        app_id: the app; None: over all apps; '': of no app.
        metrics: the figures.
    """

    period: PeriodName
    day: dt.date
    app_id: str | None
    metrics: tuple[Metric, ...]

    @classmethod
    def of(cls, document: Document) -> Report:
        """Return the report of a document."""
        names = [one.name for one in fields(Metric)]
        return cls(
            document["period"],
            dt.date.fromisoformat(document["day"]),
            document["app_id"],
            tuple(Metric(**{n: one.get(n) for n in names}) for one in document["metrics"]),
        )

    def value(self, name: str, currency: str | None = None) -> Decimal | None:
        """Return a figure of the whole.

        Args:
            name: of the metric.
            currency: of a money metric.

        Raises:
            ReadRequestError: the report does not have it.
        """
        for one in self.metrics:
            if (one.name, one.currency, one.dimension) == (name, currency, None):
                return one.value
        there = [one for one in self.metrics if one.dimension is None]
        if currencies := sorted(
            {one.currency for one in there if one.name == name and one.currency}
        ):
            raise ReadRequestError(
                f"{name}: expected a currency of the report ({', '.join(currencies)}), got "
                f"{currency}: ask for value({name!r}, currency={currencies[0]!r})"
            )
        names = ", ".join(sorted({one.name for one in there}))
        raise ReadRequestError(
            f"{name}: expected a metric of the report, got another; it has {names}"
        )


@dataclass(frozen=True, slots=True)
class UserAnalytics(_Row):
    """A user of an app, or over all apps.

    Attributes:
        user_id: the user.
        app_id: the app; None: over all apps; '': of no app.
        first_at: first turn held.
        last_at: last turn held.
        status: `new`, `returning`, `resurrected` or `dormant`.
        active_days: days with a turn.
        sessions: sessions.
        turns: turns.
        costs: sum of prices by currency; None is an unknown one.
        models: `provider/model` of those that answered.
        languages: of the queries, most turns first.
    """

    user_id: str
    app_id: str | None
    first_at: dt.datetime
    last_at: dt.datetime
    status: str
    active_days: int
    sessions: int
    turns: int
    costs: Mapping[str | None, Decimal] = field(hash=False)
    models: tuple[str, ...]
    languages: tuple[str, ...]

    @classmethod
    def of(cls, document: Document) -> Self:
        """Return the user of a document."""
        return super(UserAnalytics, cls).of(
            {
                **document,
                "costs": MappingProxyType(
                    {one["currency"]: one["cost"] for one in document["costs"]}
                ),
                **{name: tuple(document[name]) for name in ("models", "languages")},
            }
        )


@dataclass(frozen=True, slots=True)
class Topic(_Row):
    """A topic shown of a week.

    Attributes:
        week: its Monday, `YYYY-MM-DD`.
        topic_id: stays over the weeks.
        label: what it is called; None where no word was said by enough users.
        words: its words.
        examples: ids of conversations.
        conversations: how many.
        users: how many.
        share: of the conversations of the topics shown, 0 to 1.
        change: `new`, `grown`, `shrunk`, `no clear change`; None: nothing to compare with.
        conversations_before: of the week before.
    """

    week: str
    topic_id: str
    label: str | None
    words: tuple[str, ...]
    examples: tuple[str, ...]
    conversations: int
    users: int
    share: float
    change: str | None
    conversations_before: int | None

    @classmethod
    def of(cls, document: Document) -> Self:
        """Return the topic of a document."""
        lists = {name: tuple(document[name]) for name in ("words", "examples")}
        return super(Topic, cls).of({**document, **lists})
