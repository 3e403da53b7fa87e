"""Pages of a collection in the order of an index, that stay right while others write.

A page begins behind the sort key and the `_id` of the last document before it, never at an
offset: what is written meanwhile neither repeats nor skips what was there. Each page is read as
ranges of an index, one after the other, so that no store sorts or scans.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from conversation_analytics.core.errors import DocumentError
from conversation_analytics.documents.store import Scalar, check_query, check_without

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conversation_analytics.core.documents import Document

Comparison: TypeAlias = Literal["eq", "ne", "gt", "gte", "lt"]

_MOST: Final = 10_000
_COMPARE: Final[Mapping[Comparison, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """One page of the documents whose fields equal all of `equals`, sorted by `sort` and `_id`.

    Attributes:
        equals: as in `DocumentStore.find`; but for None, that a missing field need not be found.
        sort: a top-level field of texts, integers or times; null and missing count as lowest.
        descending: the order of both, the field and `_id`.
        limit: documents at most, 1 to 10,000.
        at_least: lowest value of the field; None: no bound.
        below: the field is below it; None: no bound. With a bound, null is left out.
        after: value of the field and `_id` behind which the page begins; None: the first page.
        without: fields to leave out.
    """

    equals: Mapping[str, Scalar]
    sort: str
    descending: bool
    limit: int
    at_least: Scalar = None
    below: Scalar = None
    after: tuple[Scalar, str] | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """One range of the index, all of it in order.

    Attributes:
        conditions: of the sort field; null compares as missing does.
        beyond: `_id` that those of the range are behind, in the direction of the page.
    """

    conditions: tuple[tuple[Comparison, Scalar], ...]
    beyond: str | None = None

    def holds(self, value: Any, identifier: str, *, descending: bool) -> bool:
        """Say whether a document with this value of the sort field and `_id` is in the range."""
        for comparison, wanted in self.conditions:
            if wanted is None:
                good = (value is None) == (comparison == "eq")
            else:
                good = value is not None and _COMPARE[comparison](value, wanted)
            if not good:
                return False
        if self.beyond is None:
            return True
        return identifier < self.beyond if descending else identifier > self.beyond


def check_page(collection: str, query: PageQuery) -> None:
    """Return if a store can be asked for this page.

    Raises:
        DocumentError: as `check_query` and `check_without`; the limit is none of 1 to 10,000; or
            the page begins behind what is outside its own bounds.
    """
    check_query(collection, query.equals, [(query.sort, 1)])
    check_without(collection, query.without)
    if not 1 <= query.limit <= _MOST:
        raise DocumentError(
            f"{collection}: limit of a page: expected 1 to {_MOST}, got {query.limit}"
        )
    for bound in (query.at_least, query.below):
        check_query(collection, {query.sort: bound})
    if query.after is not None:
        value, identifier = query.after
        check_query(collection, {query.sort: value, "_id": identifier})
        if not isinstance(identifier, str) or not _within(value, query):
            raise DocumentError(
                f"{collection}: expected a page that begins behind a document of its own bounds, "
                "got another place; go on with what the page before gave"
            )


def _within(value: Scalar, query: PageQuery) -> bool:
    try:
        return (query.at_least is None or not value < query.at_least) and (  # type: ignore[operator]
            query.below is None or bool(value < query.below)  # type: ignore[operator]
        )
    except TypeError:  # null, which no bound holds, or of another type
        return False


def segments(query: PageQuery) -> list[Segment]:
    """Return the ranges of the index that hold the page, in the page's order."""
    low: list[tuple[Comparison, Scalar]] = (
        [] if query.at_least is None else [("gte", query.at_least)]
    )
    high: list[tuple[Comparison, Scalar]] = [] if query.below is None else [("lt", query.below)]
    known = Segment((*low, *high) or (("ne", None),))
    unknown = [] if low or high else [Segment((("eq", None),))]
    if query.after is None:
        return [known, *unknown] if query.descending else [*unknown, known]
    value, identifier = query.after
    ties = Segment((("eq", value),), identifier)
    if value is None:
        return [ties] if query.descending else [ties, known]
    if query.descending:
        return [ties, Segment((*low, ("lt", value))), *unknown]
    return [ties, Segment((("gt", value), *high))]


def read_page(query: PageQuery, read: Callable[[Segment, int], list[Document]]) -> list[Document]:
    """Return the page.

    Args:
        query: which one.
        read: gives the documents of a range, as many at most.
    """
    found: list[Document] = []
    for segment in segments(query):
        found += read(segment, query.limit - len(found))
        if len(found) >= query.limit:
            break
    return found
