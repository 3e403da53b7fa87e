"""The calls that applications make."""

from __future__ import annotations

import datetime as dt
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from conversation_analytics.client.cursors import call_digest, decode_cursor, encode_cursor
from conversation_analytics.client.reading import Kind, Reading
from conversation_analytics.client.results import (
    CategorisedConversation,
    Category,
    Conversation,
    ConversationWithTurns,
    Page,
    PeriodName,
    Report,
    Topic,
    Translation,
    Turn,
    UserAnalytics,
    UserOrder,
)
from conversation_analytics.core.documents import cut_to_milliseconds
from conversation_analytics.core.errors import DocumentError, ReadRequestError
from conversation_analytics.core.periods import NAMES, Period
from conversation_analytics.documents.paging import PageQuery, check_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from conversation_analytics.core.documents import Document
    from conversation_analytics.documents.store import Scalar

Item = TypeVar("Item")

MOST_ITEMS: Final = 1_000
"""Items of a page at most."""
_ALL: Final = 1_000
_KEYS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "category_type": str,
    "conversations": int,
    "created_at": (dt.datetime, NoneType),
    "day": str,
    "field": str,
    "last_at": (dt.datetime, NoneType),
    "user_id": str,
}
"""What the columns that pages are sorted by may hold."""
_PERIODS: Final = {name: period for period, name in NAMES.items()}


class Client:
    """Reads conversations, turns, translations, reports, users and topics; a context manager.

    Every call of pages takes `cursor`, the `next` of the page before, and `limit`, items at most
    (1 to 1,000). Pages hold still: what is written meanwhile neither repeats nor skips an item
    that was there, as long as what they are sorted by stays. It does everywhere but in `users` by
    last turn. Safe to use from several threads.

    Every call raises ReadRequestError for arguments that cannot be asked for,
    DocumentStoreUnavailableError or LakeUnavailableError (both TransientError) where the storage
    does not answer, and DocumentError or LakeError where it refuses.
    """

    def __init__(self, reading: Reading) -> None:
        """Read from `reading`; `open_client` makes it."""
        self._reading = reading

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give back connections; they are made again when the client is used again."""
        self._reading.close()

    # Conversations ----------------------------------------------------------------------------

    def conversation(self, conversation_id: str) -> ConversationWithTurns | None:
        """Return a conversation with all of its turns; None: it is not held."""
        found = self._reading.get(Kind.CONVERSATIONS, _text("conversation_id", conversation_id))
        if found is None:
            return None
        turns = every(lambda cursor: self.turns(conversation_id, cursor=cursor, limit=_ALL))
        return ConversationWithTurns(Conversation.of(found), tuple(turns))

    def turns(
        self, conversation_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> Page[Turn]:
        """Return the turns of a conversation, the first one first; undated ones before it."""
        equals = {"conversation_id": _text("conversation_id", conversation_id)}
        query = _Pages("turns", Kind.MESSAGES, equals, "created_at", descending=False)
        return self._page(query, cursor, limit, Turn.of)

    def conversations_of_user(
        self,
        user_id: str,
        *,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Conversation]:
        """Return the conversations of a user, the newest first.

        Args:
            user_id: the user, or the pseudonym where PSEUDONYM_KEY is set.
            since: created at or after; None: no bound.
            until: created before; None: no bound. Undated ones come last, without any bound.
            cursor: of the page before.
            limit: conversations at most.
        """
        query = _Pages(
            "conversations_of_user", Kind.CONVERSATIONS, {"user_id": _text("user_id", user_id)},
            "created_at", *_instants(since, until),
        )  # fmt: skip
        return self._page(query, cursor, limit, Conversation.of)

    def conversations_of_period(
        self,
        since: dt.datetime,
        until: dt.datetime,
        *,
        app_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Conversation]:
        """Return the conversations created from `since` to before `until`, the newest first.

        Args:
            since: first time.
            until: the time after the last.
            app_id: of this app; None: of all.
            cursor: of the page before.
            limit: conversations at most.
        """
        equals = {} if app_id is None else {"app_id": _text("app_id", app_id)}
        low, high = _instants(since, until)
        if low is None or high is None:
            raise ReadRequestError("since, until: expected two times, got None")
        query = _Pages(
            "conversations_of_period", Kind.CONVERSATIONS, equals, "created_at", low, high
        )
        return self._page(query, cursor, limit, Conversation.of)

    def conversations_of_category(
        self,
        category_type: str,
        category_value: str,
        first: dt.date,
        last: dt.date,
        *,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[CategorisedConversation]:
        """Return the conversations of a category, the latest day first.

        A conversation comes once for each day on which it had turns under the category.

        Args:
            category_type: `topic`, `intent`, `sentiment`, ...
            category_value: the label, or `other`.
            first: first day.
            last: last day, included.
            cursor: of the page before.
            limit: items at most.
        """
        equals = {
            "category_type": _text("category_type", category_type),
            "category_value": _text("category_value", category_value),
        }
        query = _Pages(
            "conversations_of_category", Kind.CATEGORIES, equals, "day", *_days(first, last)
        )
        page = self._page(query, cursor, limit, Category.of)
        ids = sorted({one.conversation_id for one in page.items})
        found = self._reading.get_many(Kind.CONVERSATIONS, ids) if ids else []
        held = {one["_id"]: Conversation.of(one) for one in found}
        return Page(
            tuple(
                CategorisedConversation(one, held.get(one.conversation_id)) for one in page.items
            ),
            page.next,
        )

    def categories(self, conversation_id: str) -> tuple[Category, ...]:
        """Return the categories of a conversation, by type, then day."""
        equals = {"conversation_id": _text("conversation_id", conversation_id)}
        query = _Pages("categories", Kind.CATEGORIES, equals, "category_type", descending=False)
        return tuple(every(lambda cursor: self._page(query, cursor, _ALL, Category.of)))

    # Translations -----------------------------------------------------------------------------

    def translations(
        self, conversation_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> Page[Translation]:
        """Return what was translated of a conversation, or was to be, the first turn first."""
        equals = {"conversation_id": _text("conversation_id", conversation_id)}
        query = _Pages("translations", Kind.TRANSLATIONS, equals, "created_at", descending=False)
        return self._page(query, cursor, limit, Translation.of)

    def translations_of_turn(self, message_id: str) -> tuple[Translation, ...]:
        """Return what was translated of a turn: its answer, its query, both or none."""
        equals = {"message_id": _text("message_id", message_id)}
        query = _Pages("translations_of_turn", Kind.TRANSLATIONS, equals, "field", descending=False)
        return self._page(query, None, _ALL, Translation.of).items

    # Figures ----------------------------------------------------------------------------------

    def report(
        self, period: PeriodName, day: dt.date, *, app_id: str | None = None
    ) -> Report | None:
        """Return the report of a day, week or month; None: it is not held.

        Args:
            period: `daily`, `weekly` or `monthly`.
            day: any day of the period.
            app_id: of this app ('': of no app); None: over all apps.
        """
        start = _period(period).start_of(_day("day", day))
        return next(iter(self.reports(period, start, start, app_id=app_id, limit=1).items), None)

    def reports(
        self,
        period: PeriodName,
        first: dt.date,
        last: dt.date,
        *,
        app_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Report]:
        """Return the reports of the periods that begin from `first` to `last`, the latest first.

        Args:
            period: `daily`, `weekly` or `monthly`.
            first: first day.
            last: last day, included.
            app_id: of this app ('': of no app); None: over all apps.
            cursor: of the page before.
            limit: reports at most.
        """
        _period(period)
        equals = {"period": period, "app_id": _text_or_none("app_id", app_id)}
        query = _Pages("reports", Kind.REPORTS, equals, "day", *_days(first, last))
        return self._page(query, cursor, limit, Report.of)

    def user(self, user_id: str, *, app_id: str | None = None) -> UserAnalytics | None:
        """Return what is known of a user of an app, or over all apps; None: no turn is held."""
        equals = {
            "user_id": _text("user_id", user_id), "app_id": _text_or_none("app_id", app_id),
        }  # fmt: skip
        query = _Pages("user", Kind.USERS, equals, "user_id")
        return next(iter(self._page(query, None, 1, UserAnalytics.of).items), None)

    def users(
        self,
        *,
        app_id: str | None = None,
        order: UserOrder = "last_at",
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[UserAnalytics]:
        """Return the users of an app, or over all apps.

        Args:
            app_id: of this app ('': of no app); None: over all apps.
            order: `last_at`: the one with the last turn first. Who has a new turn moves to the
                front, and so out of the pages behind: to have the latest, ask for the first page.
                `user_id`: by id; to go through all users, each of them once, take this.
            cursor: of the page before, of the same order.
            limit: users at most.
        """
        equals = {"app_id": _text_or_none("app_id", app_id)}
        if order == "last_at":
            query = _Pages("users", Kind.USERS, equals, "last_at")
        elif order == "user_id":
            query = _Pages("users by id", Kind.USERS, equals, "user_id", descending=False)
        else:
            raise ReadRequestError(f"order: expected last_at or user_id, got {order!r:.60}")
        return self._page(query, cursor, limit, UserAnalytics.of)

    def topics(self, day: dt.date) -> tuple[Topic, ...]:
        """Return the topics shown of the week that `day` is in, the largest first."""
        week = Period.WEEK.start_of(_day("day", day)).isoformat()
        query = _Pages("topics", Kind.TOPICS, {"week": week}, "conversations")
        return tuple(every(lambda cursor: self._page(query, cursor, _ALL, Topic.of)))

    def _page(
        self,
        pages: _Pages,
        cursor: str | None,
        limit: int,
        build: Callable[[Document], Item],
    ) -> Page[Item]:
        if type(limit) is not int or not 1 <= limit <= MOST_ITEMS:
            raise ReadRequestError(f"limit: expected 1 to {MOST_ITEMS:,}, got {limit!r}")
        call = pages.digest()
        after = None if cursor is None else decode_cursor(call, cursor)
        if after is not None and not isinstance(after[0], _KEYS[pages.sort]):
            raise ReadRequestError(
                f"cursor: expected a key of the column {pages.sort}, got "
                f"{type(after[0]).__name__}; begin with the first page (no cursor)"
            )
        query = PageQuery(
            equals=pages.equals,
            sort=pages.sort,
            descending=pages.descending,
            limit=limit + 1,  # one more says whether there is a page behind
            at_least=pages.low,
            below=pages.high,
            after=after,
        )
        try:
            check_page(pages.kind, query)
        except DocumentError as error:  # of a forged cursor: arguments have been looked at
            raise ReadRequestError(str(error)) from error
        found = self._reading.page(pages.kind, query)
        items = tuple(build(one) for one in found[:limit])
        if len(found) <= limit:
            return Page(items, None)
        last = found[limit - 1]
        return Page(items, encode_cursor(call, last.get(pages.sort), last["_id"]))


class _Pages:
    """A call, whichever page of it is asked for."""

    __slots__ = ("descending", "equals", "high", "kind", "low", "name", "sort")

    def __init__(
        self,
        name: str,
        kind: Kind,
        equals: Mapping[str, str | None],
        sort: str,
        low: Scalar = None,
        high: Scalar = None,
        *,
        descending: bool = True,
    ) -> None:
        self.name = name
        self.kind = kind
        self.equals = equals
        self.sort = sort
        self.low = low
        self.high = high
        self.descending = descending

    def digest(self) -> str:
        return call_digest(self.name, [dict(self.equals), self.low, self.high])


def every(call: Callable[[str | None], Page[Item]]) -> Iterator[Item]:
    """Yield the items of all pages, asking for one page after the other.

    Args:
        call: gives the page of a cursor; None is the first.
    """
    cursor: str | None = None
    while True:
        page = call(cursor)
        yield from page.items
        if page.next is None:
            return
        cursor = page.next


def _wrong(name: str, expected: str, value: object) -> ReadRequestError:
    return ReadRequestError(f"{name}: expected {expected}, got {type(value).__name__}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "text", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ReadRequestError(f"{name}: expected text, got a lone surrogate in it") from error
    return value


def _text_or_none(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _day(name: str, value: Any) -> dt.date:
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise _wrong(name, "a date", value)
    return value


def _days(first: Any, last: Any) -> tuple[str, str]:
    """Return the bounds of the days, ISO dates, the second one excluded."""
    start, end = _day("first", first), _day("last", last)
    if end < start:
        raise ReadRequestError(f"first, last: {end} is before {start}: give the first day first")
    behind = f"{end}~" if end == dt.date.max else (end + dt.timedelta(days=1)).isoformat()
    return start.isoformat(), behind


def _instants(since: Any, until: Any) -> tuple[dt.datetime | None, dt.datetime | None]:
    for name, value in (("since", since), ("until", until)):
        if value is not None and (not isinstance(value, dt.datetime) or value.tzinfo is None):
            raise _wrong(name, "a time with a zone", value)
    return _instant("since", since), _instant("until", until)


def _instant(name: str, value: dt.datetime | None) -> dt.datetime | None:
    try:
        return None if value is None else cut_to_milliseconds(value)
    except OverflowError as error:
        raise ReadRequestError(f"{name}: expected a time of the years 1 to 9999 in UTC") from error


def _period(name: Any) -> Period:
    if not isinstance(name, str) or name not in _PERIODS:
        raise _wrong("period", f"one of {', '.join(_PERIODS)}", name)
    return _PERIODS[name]
