"""The documents as the lake has them: made by the same functions, none stored anywhere.

Answers are those of the document store once it is up to date with the lake. Every call looks at
the lake as it is then. Values are bound to the SQL, never part of it; the only text of a query
that depends on a caller is an ISO date made from a checked one.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final, TypeVar

import polars as pl

from conversation_analytics.client.lake_pages import (
    conversation_page,
    conversations_by_id,
    row_page,
)
from conversation_analytics.client.reading import Kind
from conversation_analytics.core.documents import UserDocuments, report_documents
from conversation_analytics.core.errors import (
    LakeUnavailableError,
    OutdatedPartitionError,
    ReadRequestError,
)
from conversation_analytics.core.periods import NAMES, Period
from conversation_analytics.core.schemas import DAILY_REPORT, MONTHLY_REPORT, WEEKLY_REPORT
from conversation_analytics.core.topic_changes import topic_changes, topic_documents
from conversation_analytics.core.topic_tables import TOPICS
from conversation_analytics.core.user_analytics import USER_ANALYTICS
from conversation_analytics.documents.encoding import storable_document
from conversation_analytics.documents.paging import Segment, check_page, read_page
from conversation_analytics.lake.sql import open_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from conversation_analytics.core.documents import Document
    from conversation_analytics.documents.paging import PageQuery
    from conversation_analytics.lake.sql import LakeSql
    from conversation_analytics.lake.store import Lake

_Answer = TypeVar("_Answer")

_ATTEMPTS: Final = 3  # a run may replace a partition while it is read
_USER_SORTS: Final = {
    "last_at": pl.col("last_at").dt.truncate("1ms"),
    "user_id": pl.col("user_id"),
}
"""What pages of users are sorted by; no user lacks it."""
_REPORTS: Final = {
    NAMES[Period.DAY]: DAILY_REPORT,
    NAMES[Period.WEEK]: WEEKLY_REPORT,
    NAMES[Period.MONTH]: MONTHLY_REPORT,
}


class LakeReading:
    """Reads the tables of a lake as documents. See `Reading` for the methods."""

    def __init__(self, lake: Lake, topic_min_users: int, topic_min_conversations: int) -> None:
        """Keep the lake and below which topics are not shown."""
        self._lake = lake
        self._topic_limits = topic_min_users, topic_min_conversations

    def get(self, kind: Kind, identifier: str) -> Document | None:
        """See `Reading.get`."""
        found = self.get_many(kind, [identifier])
        return found[0] if found else None

    def get_many(self, kind: Kind, identifiers: Sequence[str]) -> list[Document]:
        """See `Reading.get_many`; of conversations only.

        Raises:
            ReadRequestError: of another kind.
        """
        if kind is not Kind.CONVERSATIONS:
            raise ReadRequestError(f"{kind}: expected pages, got a question by id")
        found = self._asked(lambda sql: conversations_by_id(sql, identifiers))
        return [found[one] for one in sorted(found)]

    def page(self, kind: Kind, query: PageQuery) -> list[Document]:
        """See `Reading.page`."""
        check_page(kind, query)
        match kind:
            case Kind.REPORTS:
                return self._reports(query)
            case Kind.USERS:
                return self._users(query)
            case Kind.TOPICS:
                return self._topics(query)
            case Kind.CONVERSATIONS:
                return self._asked(lambda sql: conversation_page(sql, query))
        return self._asked(lambda sql: row_page(sql, kind, query))

    def close(self) -> None:
        """See `Reading.close`: nothing is held open."""

    def _asked(self, ask: Callable[[LakeSql], _Answer]) -> _Answer:
        """Ask once more where a run has replaced what was being read."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with open_sql(self._lake) as sql:
                    return ask(sql)
            except LakeUnavailableError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError

    def _reports(self, query: PageQuery) -> list[Document]:
        period = str(query.equals["period"])
        schema = _REPORTS[period]
        keys = [
            key
            for key in self._lake.keys(schema)
            if query.equals.get("day", key) == key and _within(key, query)
        ]
        found: list[Document] = []
        for key in sorted(keys, reverse=query.descending):
            documents = report_documents(self._lake.read(schema, key), key, period)
            found += _page_of(documents, query)
            if len(found) >= query.limit:
                break
        return found[: query.limit]

    def _users(self, query: PageQuery) -> list[Document]:
        if not self._lake.exists(USER_ANALYTICS, None):
            return []
        frame = self._lake.read(USER_ANALYTICS, None)
        for name, value in query.equals.items():
            frame = frame.filter(pl.col(name).eq_missing(pl.lit(value, pl.String)))
        if query.sort in _USER_SORTS:  # ids take long to make: only those that can be on the page
            key = _USER_SORTS[query.sort]
            most = pl.lit(query.limit)
            bound = query.after[0] if query.after else None
            if bound is not None:
                frame = frame.filter(key <= bound if query.descending else key >= bound)
                most += (key == bound).sum()
            frame = frame.filter(key.rank("min", descending=query.descending) <= most)
        return _page_of(UserDocuments(frame), query)

    def _topics(self, query: PageQuery) -> list[Document]:
        start = dt.date.fromisoformat(str(query.equals["week"]))
        frames = []
        held = self._lake.keys(TOPICS)
        for key in (start.isoformat(), _week_before(start)):
            if key not in held:
                break
            try:
                frames.append(self._lake.read(TOPICS, key))
            except OutdatedPartitionError:  # not told until they are found again
                break
        if not frames:
            return []
        now, before = frames[0], frames[1] if len(frames) > 1 else None
        changes = topic_changes(now, before, *self._topic_limits)
        return _page_of(topic_documents(now, changes, start), query)


def _week_before(start: dt.date) -> str | None:
    return None if start == dt.date.min else Period.WEEK.before(start).isoformat()


def _within(value: str, query: PageQuery) -> bool:
    if query.sort != "day":
        return True
    low, high = query.at_least, query.below
    if query.after is not None:
        edge = str(query.after[0])
        if value > edge if query.descending else value < edge:
            return False
    return (low is None or value >= str(low)) and (high is None or value < str(high))


def _page_of(documents: Iterable[Document], query: PageQuery) -> list[Document]:
    """Return the page of documents that are all in memory."""
    rows = [
        row
        for row in map(storable_document, documents)
        if all(row.get(name) == value for name, value in query.equals.items())
    ]

    # A field of one type, and null lowest.
    def order(row: Document) -> tuple[Any, ...]:
        value = row.get(query.sort)
        return (value is not None, value if value is not None else 0, row["_id"])

    def read(segment: Segment, limit: int) -> list[Document]:
        held = [
            row
            for row in rows
            if segment.holds(row.get(query.sort), row["_id"], descending=query.descending)
        ]
        return sorted(held, key=order, reverse=query.descending)[:limit]

    return read_page(query, read)
