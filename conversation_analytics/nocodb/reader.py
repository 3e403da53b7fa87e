"""Windows of rows from NocoDB, by keyset along the primary key."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import itertools
import logging
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec
import polars as pl

from conversation_analytics.core.contract import SETTING, default_contract
from conversation_analytics.core.errors import (
    AnalyticsError,
    ContractError,
    SourceAuthError,
    SourceRequestError,
    SourceUnavailableError,
)
from conversation_analytics.core.json_text import members
from conversation_analytics.core.schemas import INSTANT, RAW_MESSAGES
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.values import decode_json
from conversation_analytics.nocodb.client import ServerFailedError
from conversation_analytics.nocodb.discovery import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from conversation_analytics.core.contract import Contract
    from conversation_analytics.nocodb.client import NocoDBClient
    from conversation_analytics.nocodb.discovery import Column, TableLayout

T = TypeVar("T")

logger = logging.getLogger("conversation_analytics.nocodb.reader")

_SECOND: Final = dt.timedelta(seconds=1)
_IDS_A_REQUEST: Final = 100  # 100 UUIDs keep a URL below the 8 kB that proxies allow
# What may stand for a key in a filter, where `,`, `)` and `~` would change its meaning.
_SAFE_KEY: Final = re.compile(r"[A-Za-z0-9_.:\-]{1,255}")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CHANGES_SCHEMA: Final = {
    "id": pl.String(),
    "created_at": INSTANT,
    "changed_at": INSTANT,
    "fingerprint": pl.String(),
}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The outcome of one check of the connection.

    Attributes:
        name: `url`, `token`, or the name of a table.
        ok: it works.
        detail: what was found, or what failed.
        hint: what to do about a failure, else empty.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row as served.

    Attributes:
        key: primary key, as it goes into a filter.
        order: the key in a form whose order here is the server's; None where that depends.
        id: id of the row, as text.
        created_at: what was served.
        changes: what was served in the columns that tell of changes, in their order.
        payload: JSON text.
        content: digest of the row without its times of change and its nulls.
        fingerprint: digest of the layout's light columns.
    """

    key: str
    order: int | str | None
    id: str
    created_at: object
    changes: tuple[object, ...]
    payload: str
    content: str
    fingerprint: str


class _RefusedError(Exception):
    """The server refused a page; a column that is gone would be a reason."""

    def __init__(self, error: SourceRequestError) -> None:
        super().__init__(str(error))
        self.error = error


class _Keyset:
    """Where a walk along the primary key has got to.

    Attributes:
        after: filter on the key of the page to ask for now.
        pages: how many came.
        doubts: how many empty ones, one after the other, were not believed.
        said_last: what the page before says: it is the last one, it is not, or nothing.
    """

    def __init__(self) -> None:
        self.after: tuple[str, ...] = ()
        self.pages = 0
        self.doubts = 0
        self.said_last: bool | None = None
        self._before: tuple[str, ...] = self.after

    @property
    def looks_again(self) -> bool:
        """Whether the page to ask for now came before."""
        return self.doubts > 0 and self.after is self._before

    def go_on(self, after: str, *, said_last: bool | None) -> None:
        """Go on behind a page, which says whether it is the last one, or says nothing."""
        if not (self.looks_again and self.said_last is False):
            self.doubts = 0
        self._before, self.said_last, self.after = self.after, said_last, (after,)

    def is_end(self) -> bool:
        """Tell whether an empty page is believed; if not, go to the page to ask for instead.

        A server in trouble may give an empty page where there are rows. It takes a second look;
        where the page before said that rows follow, that one has to say otherwise now.
        """
        if self.said_last or (self.said_last is None and self.doubts):
            return True
        self.doubts += 1
        if self.said_last is False:
            self.after = self._before
        return False


class NocoDBSource:
    """Conversations in NocoDB: Dify's PostgreSQL behind it, or tables of its own.

    Implements `core.source.Source`; safe to use from several threads.
    """

    def __init__(self, client: NocoDBClient, contract: Contract | None = None) -> None:
        """Make a source; nothing is asked of the server yet.

        Args:
            client: asks the server; closed with this source.
            contract: what the tables must look like; None is `default_contract()`.
        """
        self._client = client
        self._contract = contract or default_contract()
        self._lock = threading.Lock()
        self._layouts: dict[SourceTable, TableLayout] = {}

    def read_window(self, table: SourceTable, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        """Return every row created in `[start, end)` (aware UTC), each id once.

        Returns:
            The columns of `schemas.RAW_MESSAGES`; `payload` is the row's JSON text as served.

        Raises:
            SourceUnavailableError: NocoDB, or the database behind it, did not answer.
            SourceAuthError: it refused the token.
            SourceRequestError: it refused the request, or ignored the filter.
            ContractError: a required column is missing, or a row has no id or no readable time.
        """
        if start.tzinfo is None or end.tzinfo is None:
            raise ValueError("start and end must be aware")
        # Served times lack the sub-second part and comparisons differ between databases, so a
        # second more on either side is asked for and cut off here.
        first = start.astimezone(dt.UTC).replace(microsecond=0) - _SECOND
        last = end.astimezone(dt.UTC).replace(microsecond=0) + 2 * _SECOND

        def read(layout: TableLayout) -> pl.DataFrame:
            asked = (_at(layout.created_at, "gte", first), _at(layout.created_at, "lt", last))
            rows = []
            for row in self._walk(layout, layout.columns, asked, "window"):
                created_at = _created(layout, row)
                if created_at is None or not first - _SECOND <= created_at <= last:
                    raise _filter_ignored(layout, f"[{first:%F %T}, {last:%F %T})", row, created_at)
                if start <= created_at < end:
                    rows.append((row, created_at))
            return _raw_frame(rows)

        return self._read(table, read)

    def read_undated(self, table: SourceTable) -> pl.DataFrame:
        """Return every row that has no time of creation, same columns, `created_at` null.

        Raises:
            AnalyticsError: as `read_window`.
        """

        def read(layout: TableLayout) -> pl.DataFrame:
            # `(x,is,null)` is ignored without a word; `blank` works on every database.
            asked = (f"({layout.created_at.reference},blank)",)
            rows = []
            for row in self._walk(layout, layout.columns, asked, "undated"):
                created_at = _created(layout, row)
                if created_at is not None:
                    raise _filter_ignored(layout, "blank", row, created_at)
                rows.append((row, None))
            return _raw_frame(rows)

        return self._read(table, read)

    def read_ids(self, table: SourceTable, ids: Sequence[str]) -> pl.DataFrame:
        """Return the rows with these ids that the source has, whenever they were created.

        A `created_at` that is no time a day could hold (PostgreSQL's `infinity`, the year 10000)
        comes as null, with a warning: a row that was held before stays where it is.

        Raises:
            AnalyticsError: as `read_window`; ContractError too where an id cannot go into a
                filter.
        """

        def read(layout: TableLayout) -> pl.DataFrame:
            rows = []
            for column, wanted in _batches_of_ids(layout, ids):
                asked = ",".join(_safe(layout, column, value) for value in wanted.values())
                for row in self._walk(
                    layout, layout.columns, (f"({column.reference},in,{asked})",), "ids"
                ):
                    if row.id not in wanted:
                        raise SourceRequestError(
                            f"table {layout.title!r}: asked for {len(wanted)} values of "
                            f"{column.title}, got row {row.id}: the server ignores the filter. Is "
                            "a proxy dropping the query?"
                        )
                    rows.append((row, _created_if_a_time(layout, row)))
            return _raw_frame(rows)

        return self._read(table, read)

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        """Return the rows created or changed at or after `since` (aware UTC), each id once.

        Only small columns are read: no text of a conversation. A row whose `created_at` is no
        time a day could hold (PostgreSQL's `infinity`, the year 10000) is left out with a warning.

        Returns:
            Columns `id` String, `created_at` and `changed_at` Datetime(us, UTC), both may be
            null, `fingerprint` String over times, status, counts and price.

        Raises:
            AnalyticsError: as `read_window`.
        """
        if since.tzinfo is None:
            raise ValueError("since must be aware")
        first = since.astimezone(dt.UTC).replace(microsecond=0)

        def read(layout: TableLayout) -> pl.DataFrame:
            # An old row is entered late or changed later, a new row has no time of change yet:
            # one column alone would miss one of them.
            either = [_at(column, "gte", first) for column in (layout.created_at, *layout.changes)]
            asked = ("(" + "~or".join(either) + ")" if len(either) > 1 else either[0],)
            rows = {row.id: row for row in self._walk(layout, layout.light, asked, "changes")}
            return _changes_frame(layout, [rows[row_id] for row_id in sorted(rows)])

        return self._read(table, read)

    def describe(self) -> dict[str, str]:
        """Return address, base and tables; no credentials."""
        config = self._client.config
        return {
            "kind": "nocodb",
            "base_url": config.base_url,
            "project_id": config.project_id,
            "conversations_table": config.conversations_table,
            "messages_table": config.messages_table,
            **({"feedbacks_table": config.feedbacks_table} if config.feedbacks_table else {}),
            "api": config.api_version,
        }

    def close(self) -> None:
        """Give back connections."""
        self._client.close()

    def probe(self) -> list[ProbeResult]:
        """Try address, token, tables and columns in turn, and say how to mend what fails.

        Returns:
            One result a check; what cannot be tried because an earlier check failed is left out.
        """
        base_url = self._client.config.base_url
        alive = _probe("url", lambda: self._alive(base_url), "NOCODB_BASE_URL, or start NocoDB")
        if not alive.ok:
            return [alive]
        results = [alive, _probe("token", self._listed, "NOCODB_API_TOKEN, NOCODB_PROJECT_ID")]
        if not results[-1].ok:
            return results
        return results + [
            _probe(
                table.value,
                functools.partial(self._tried, table),
                "the table's setting, or its columns in NocoDB",
            )
            for table in SourceTable
            if table is not SourceTable.FEEDBACKS or self._client.config.feedbacks_table
        ]

    @property
    def clock_ahead_s(self) -> float | None:
        """How far the server's clock is ahead of ours, after a probe; None: it did not say."""
        return self._client.clock_ahead_s

    def _alive(self, base_url: str) -> str:
        try:
            self._client.is_alive()
        except (SourceAuthError, SourceRequestError):
            # A gateway may hide the health page; that it answers is what counts here.
            return f"{base_url} answers, without a health page"
        return f"{base_url} answers"

    def _listed(self) -> str:
        self._client.get_tables()
        return f"may read base {self._client.config.project_id}"

    def _tried(self, table: SourceTable) -> str:
        layout = discover(self._client, table, self._contract.tables[table])
        read = self._client.get_list(
            self._client.records_path(layout.id),
            {
                "fields": _references(layout.columns),
                "sort": layout.key.reference,
                "where": f"({layout.created_at.reference},notblank)",
                "limit": "1",
            },
        )
        for row in _decode(layout, layout.light, read.rows):
            created_at = _created(layout, row)
            if created_at is not None:
                self._check_zone(layout, row, created_at)
        return (
            f"table {layout.title!r}: {len(layout.columns)} columns loaded, key "
            f"{layout.key.title}, id {layout.row_id.title}, created {layout.created_at.title}"
        )

    def _check_zone(self, layout: TableLayout, row: _Row, created_at: dt.datetime) -> None:
        """Ask for a row by the time it was served with: it must be found there."""
        again = self._client.get_list(
            self._client.records_path(layout.id),
            {
                "fields": layout.key.reference,
                "where": "~and".join(
                    (
                        _at(layout.created_at, "gte", created_at - _SECOND),
                        _at(layout.created_at, "lt", created_at + 2 * _SECOND),
                        f"({layout.key.reference},eq,{row.key})",
                    )
                ),
                "limit": "1",
            },
        )
        if not again.rows:
            raise ContractError(
                f"table {layout.title!r}: a row is not found at the {layout.created_at.title} it "
                "is served with, so days would be shifted. The database behind NocoDB has a "
                "session time zone other than UTC: ALTER DATABASE ... SET timezone TO 'UTC', then "
                "restart NocoDB"
            )

    def _read(self, table: SourceTable, read: Callable[[TableLayout], T]) -> T:
        """Read; where the server refuses, once more if the table has other columns by now."""
        layout = self._layout(table)
        try:
            return read(layout)
        except _RefusedError as refused:
            self._forget(table, layout)
            now = self._layout(table)
            if now == layout:
                raise refused.error from None
        logger.warning("nocodb columns changed: table=%s, reading again", table)
        try:
            return read(now)
        except _RefusedError as refused:
            raise refused.error from None

    def _layout(self, table: SourceTable) -> TableLayout:
        with self._lock:
            if table not in self._layouts:
                self._layouts[table] = discover(self._client, table, self._contract.tables[table])
            return self._layouts[table]

    def _forget(self, table: SourceTable, layout: TableLayout) -> None:
        with self._lock:
            if self._layouts.get(table) == layout:  # else another thread has looked already
                del self._layouts[table]

    def _walk(
        self, layout: TableLayout, columns: Sequence[Column], asked: Sequence[str], what: str
    ) -> Iterator[_Row]:
        """Yield the rows that match `asked`, in the order of the primary key."""
        page_size = self._client.config.page_size
        path = self._client.records_path(layout.id)
        params = {
            "fields": _references(columns),
            "sort": layout.key.reference,
            "limit": str(page_size),
        }
        seen: set[str] = set()
        place = _Keyset()
        began = time.perf_counter()
        while True:
            try:
                listing = self._client.get_list(
                    path, {**params, "where": "~and".join([*asked, *place.after])}
                )
            except SourceRequestError as error:
                raise _RefusedError(error) from None
            except ServerFailedError as error:
                self._find_broken_columns(layout)
                raise SourceUnavailableError(str(error)) from None
            place.pages += 1
            rows = _decode(layout, columns, listing.rows)
            if not rows:
                if place.is_end():
                    break
                self._wait_for_rows(layout, place)
                continue
            _check_order(layout, rows, place, seen)
            for row in rows:
                if row.key not in seen:
                    seen.add(row.key)
                    yield row
            # The server may give fewer rows than asked for, and says so; silent, or saying that
            # more follow, only an empty page is the end.
            granted = min(listing.page_size, page_size) if listing.page_size else 0
            counts_more = listing.counted is not None and listing.counted > len(rows)
            if len(rows) < granted and listing.is_last is not False and not counts_more:
                break
            place.go_on(
                f"({layout.key.reference},gt,{_safe(layout, layout.key, rows[-1].key)})",
                said_last=None if listing.is_last and counts_more else listing.is_last,
            )
        logger.info(
            "nocodb read: table=%s what=%s rows=%d pages=%d seconds=%.3f",
            layout.table, what, len(seen), place.pages, time.perf_counter() - began,
        )  # fmt: skip

    def _find_broken_columns(self, layout: TableLayout) -> None:
        """Ask for each column alone, after HTTP 500 to all of them.

        NocoDB does not say what the database answered. Where a column was renamed or removed
        in the database, NocoDB shows it until it reads the database's schema again.

        Raises:
            ContractError: some columns are not served, while the key is; it names them.
        """
        columns = [one for one in layout.columns if one != layout.key]
        if not self._is_served(layout, layout.key):
            return  # the server serves nothing at all
        broken = [column for column in columns if not self._is_served(layout, column)]
        if not broken or not self._is_served(layout, layout.key):
            return
        served = [column for column in layout.columns if column not in broken]
        raise ContractError(
            f"table {layout.title!r} ({layout.table}): NocoDB shows the columns {_titles(broken)}, "
            "but answers HTTP 500 where they are asked for: renamed or removed in the database "
            f"behind it? It serves: {_titles(served)}. Let NocoDB read the database's schema again "
            "(data sources > meta sync); where a column was renamed, or may be absent, say so in "
            f"the file of {SETTING}"
        )

    def _is_served(self, layout: TableLayout, column: Column) -> bool:
        params = {"fields": column.reference, "limit": "1"}
        try:
            self._client.get_list(self._client.records_path(layout.id), params, max_retries=1)
        except (SourceUnavailableError, SourceRequestError):
            return False
        return True

    def _wait_for_rows(self, layout: TableLayout, place: _Keyset) -> None:
        """Wait where an empty page contradicts the page before it."""
        if place.said_last is None:
            return  # nothing says that there are rows
        if place.doubts > self._client.config.max_retries:
            raise SourceUnavailableError(
                f"table {layout.title!r}: page {place.pages} is empty, though the page before it "
                f"says that rows follow; both were asked for again {place.doubts - 1} times. The "
                "server gives no whole answers now (or rows are deleted faster than they are "
                "read): look at NocoDB's log, then read the day again"
            )
        self._client.pause(place.doubts - 1)


def _check_order(
    layout: TableLayout, rows: Sequence[_Row], place: _Keyset, seen: AbstractSet[str]
) -> None:
    """Refuse a page whose rows are not those after the last page, in the order of the key."""
    # Asked for once: a server that ignores the filter serves the same first page again.
    if rows[0].key in seen and not place.looks_again:
        raise SourceRequestError(
            f"table {layout.title!r}: page {place.pages} begins with a row already served, so "
            f"the server ignores the filter on {layout.key.title}; expected rows after "
            "the last one. Is a proxy dropping the query, or is this not NocoDB?"
        )
    for before, row in itertools.pairwise(rows):
        # A row out of order is one that the next page's filter may pass over.
        if type(before.order) is type(row.order) and not _ascending(before, row):
            raise SourceRequestError(
                f"table {layout.title!r}: page {place.pages} is not in the order of "
                f"{layout.key.title} that was asked for (at row {row.id}), so rows could "
                "be passed over. Is a proxy dropping the query, or is this not NocoDB?"
            )


def _probe(name: str, attempt: Callable[[], str], mend: str) -> ProbeResult:
    try:
        return ProbeResult(name, ok=True, detail=attempt())
    except AnalyticsError as error:
        return ProbeResult(name, ok=False, detail=str(error), hint=f"correct {mend}")


def _at(column: Column, operator: Literal["gte", "lt"], moment: dt.datetime) -> str:
    return f"({column.reference},{operator},exactDate,{moment:%Y-%m-%d %H:%M:%S})"


def _safe(layout: TableLayout, column: Column, value: str) -> str:
    if not _SAFE_KEY.fullmatch(value):
        raise ContractError(
            f"table {layout.title!r}: a value of {column.title} is neither an integer nor a UUID "
            "nor plain letters, digits and `_.:-`, so it cannot go into a filter: give the table "
            "a plain primary key"
        )
    return value


def _batches_of_ids(
    layout: TableLayout, ids: Sequence[str]
) -> Iterator[tuple[Column, dict[str, str]]]:
    """Yield what to ask for in one request: a column, and by id the value it has there."""
    label = _label(layout, "", None)
    without_id = [row_id for row_id in ids if row_id.startswith(label)]
    with_id = [row_id for row_id in ids if not row_id.startswith(label)]
    for column, some in ((layout.row_id, with_id), (layout.key, without_id)):
        for start in range(0, len(some), _IDS_A_REQUEST):
            part = some[start : start + _IDS_A_REQUEST]
            yield column, {row_id: row_id.removeprefix(label) for row_id in part}


def _titles(columns: Iterable[Column]) -> str:
    return ", ".join(f"{column.title} ({column.uidt})" for column in columns)


def _references(columns: Iterable[Column]) -> str:
    return ",".join(column.reference for column in columns)


def _ascending(before: _Row, row: _Row) -> bool:
    one, other = before.order, row.order
    if isinstance(one, int) and isinstance(other, int):
        return one <= other
    return not (isinstance(one, str) and isinstance(other, str)) or one <= other


@functools.lru_cache(maxsize=32)
def _decoder(titles: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Return a decoder of just these keys of a row, to a tuple; the rest is passed over."""
    names = {f"value_{position}": title for position, title in enumerate(titles)}
    row = msgspec.defstruct("Row", [(name, Any, None) for name in names], rename=names, gc=False)
    return msgspec.json.Decoder(row)


def _values(
    layout: TableLayout, titles: tuple[str, ...], raw: bytes, position: int
) -> tuple[list[Any], Mapping[str, bytes | msgspec.Raw]]:
    """Return what a row has under these titles, and the text of every value by its title."""
    try:
        found = members(raw)
        try:
            values = list(msgspec.structs.astuple(_decoder(titles).decode(raw)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            values = [
                decode_json(bytes(found.get(title, b"null")).decode("utf-8", "replace"))
                for title in titles
            ]
    except ValueError:
        raise ContractError(
            f"table {layout.title!r}: row {position + 1} of a page cannot be read: expected an "
            f"object with {', '.join(titles)}. Is NOCODB_BASE_URL NocoDB's own address?"
        ) from None
    return values, found


def _decode(
    layout: TableLayout, columns: Sequence[Column], rows: Sequence[msgspec.Raw]
) -> list[_Row]:
    changes = [column for column in layout.changes if column in columns]
    # The same column may be both key and id.
    titles = tuple(
        dict.fromkeys(
            column.title for column in (layout.key, layout.row_id, layout.created_at, *changes)
        )
    )
    key, row_id, created = (
        titles.index(column.title) for column in (layout.key, layout.row_id, layout.created_at)
    )
    change_places = [titles.index(column.title) for column in changes]
    times_of_change = {column.title for column in layout.changes}
    light = [column.title for column in layout.light]
    required = layout.required if columns is layout.columns else frozenset[str]()
    decoded = []
    for position, raw in enumerate(rows):
        text = bytes(raw)
        values, fields = _values(layout, titles, text, position)
        if absent := required - fields.keys():
            raise ContractError(
                f"table {layout.title!r}: row {position + 1} of a page lacks "
                f"{', '.join(sorted(absent))}, which the page was asked for and which the contract "
                f"requires; it has: {', '.join(sorted(fields))}. If the column was renamed or "
                f"removed meanwhile, correct the file of {SETTING} and read the day again"
            )
        key_value = values[key]
        if key_value == "" or isinstance(key_value, bool) or not isinstance(key_value, int | str):
            raise ContractError(
                f"table {layout.title!r}: row {position + 1} of a page has no usable primary key "
                f"{layout.key.title}: expected an integer or text, though it was asked for. Look "
                "at the table in NocoDB"
            )
        uuid = isinstance(key_value, str) and _UUID.fullmatch(key_value)
        decoded.append(
            _Row(
                key=str(key_value),
                order=key_value if uuid or isinstance(key_value, int) else None,
                id=_label(layout, str(key_value), values[row_id]),
                created_at=values[created],
                changes=tuple(values[place] for place in change_places),
                payload=text.decode("utf-8", "replace"),
                content=_digest(fields, fields.keys() - times_of_change),
                fingerprint=_digest(fields, light),
            )
        )
    return decoded


def _digest(fields: Mapping[str, bytes | msgspec.Raw], titles: Iterable[str]) -> str:
    # A column that is added at the source is null in old rows: that changes none of them.
    text = b"\n".join(
        b"%b:%b" % (title.encode("utf-8", "surrogatepass"), bytes(value))
        for title in sorted(titles)
        if (value := fields.get(title)) is not None and bytes(value) != b"null"
    )
    return hashlib.sha256(text).hexdigest()[:32]


def _label(layout: TableLayout, key: str, row_id: object) -> str:
    """Return the id as text.

    An empty line of NocoDB's grid has a key but no `id`: it goes on under its key, to become a
    dead letter, instead of stopping the good rows; and never under the `id` of another row.
    """
    if row_id == "" or isinstance(row_id, bool) or not isinstance(row_id, int | str):
        return f"{layout.key.title}={key}"
    return str(row_id)


def _created(layout: TableLayout, row: _Row) -> dt.datetime | None:
    return _instant(layout, layout.created_at, row.id, row.created_at)


def _created_if_a_time(layout: TableLayout, row: _Row) -> dt.datetime | None:
    try:
        return _created(layout, row)
    except ContractError:
        logger.warning(
            "nocodb ids: table=%s has a row whose %s no day holds; correct it at the source",
            layout.table, layout.created_at.title,
        )  # fmt: skip
        return None


def _instant(layout: TableLayout, column: Column, row_id: str, value: object) -> dt.datetime | None:
    """Parse `YYYY-MM-DD HH:MM:SS+00:00` and its ISO relatives; without a zone it is UTC."""
    if value is None or value == "":
        return None
    try:
        return _moment(value)
    except (ValueError, OverflowError):
        raise ContractError(
            f"table {layout.title!r}, row {row_id}: {column.title} is no ISO date and time: make "
            f"it a DateTime column in NocoDB (it is {column.uidt})"
        ) from None


def _moment(value: object) -> dt.datetime:
    moment = dt.datetime.fromisoformat(value if isinstance(value, str) else "")
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _filter_ignored(
    layout: TableLayout, asked: str, row: _Row, created_at: dt.datetime | None
) -> SourceRequestError:
    return SourceRequestError(
        f"table {layout.title!r}: asked for {layout.created_at.title} {asked}, got row {row.id} of "
        f"{created_at}. Either a proxy drops the filter, or the database behind NocoDB has a "
        "session time zone other than UTC: ALTER DATABASE ... SET timezone TO 'UTC', then restart "
        "NocoDB"
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _raw_frame(rows: Sequence[tuple[_Row, dt.datetime | None]]) -> pl.DataFrame:
    # The same row entered twice into a table of NocoDB's own: the later entry counts.
    unique = {row.id: (row, created_at) for row, created_at in rows}.values()
    return RAW_MESSAGES.conform(
        pl.DataFrame(
            {
                "id": [row.id for row, _ in unique],
                "created_at": [created_at for _, created_at in unique],
                "payload": [row.payload for row, _ in unique],
                "sha256": [_sha256(row.payload) for row, _ in unique],
                "content_sha256": [row.content for row, _ in unique],
                "fingerprint": [row.fingerprint for row, _ in unique],
                "gone": [False] * len(unique),
            },
            schema=RAW_MESSAGES.polars,
        )
    )


def _changes_frame(layout: TableLayout, rows: Sequence[_Row]) -> pl.DataFrame:
    found: dict[str, list[Any]] = {name: [] for name in _CHANGES_SCHEMA}
    outside = 0
    for row in rows:
        try:
            created_at = None if row.created_at in (None, "") else _moment(row.created_at)
        except (ValueError, OverflowError):
            outside += 1
            continue
        found["id"].append(row.id)
        found["created_at"].append(created_at)
        found["changed_at"].append(max(_known(row.changes), default=None))
        found["fingerprint"].append(row.fingerprint)
    if outside:
        logger.warning(
            "nocodb changes: table=%s rows=%d have a %s that no day holds and are never read; "
            "correct them at the source",
            layout.table, outside, layout.created_at.title,
        )  # fmt: skip
    return pl.DataFrame(found, schema=_CHANGES_SCHEMA)


def _known(values: Iterable[object]) -> Iterator[dt.datetime]:
    """Yield the times among the values; one that is none (`infinity`) tells of no change."""
    for value in values:
        with contextlib.suppress(ValueError, OverflowError):
            yield _moment(value)
