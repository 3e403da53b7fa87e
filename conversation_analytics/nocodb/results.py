"""The table of NocoDB that shows categories, languages and topics beside each conversation."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import islice, pairwise, zip_longest
from typing import TYPE_CHECKING, Any, Final

import msgspec

from conversation_analytics.core.errors import ContractError, SourceUnavailableError
from conversation_analytics.core.results import (
    CONTENT_HASH,
    CONVERSATION_ID,
    DAY,
    HeldResult,
    result_changes,
)
from conversation_analytics.core.windows import days_between
from conversation_analytics.nocodb.client import (
    MAX_PAGE_SIZE,
    MAX_ROWS_WRITTEN,
    RecordGoneError,
)
from conversation_analytics.nocodb.discovery import described, find_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Literal

    from conversation_analytics.core.results import (
        Cell,
        Kind,
        ResultChanges,
        ResultColumn,
        ResultDays,
    )
    from conversation_analytics.nocodb.client import NocoDBClient
    from conversation_analytics.nocodb.discovery import Column, TableDescription

logger = logging.getLogger("conversation_analytics.nocodb")

SETTING: Final = "NOCODB_RESULTS_TABLE"
_LOOKS: Final = 6
"""The first look says what to do, the second that it is done; more where two runs have met."""
_UIDT: Final[Mapping[Kind, tuple[str, ...]]] = {
    "text": ("SingleLineText", "LongText"),
    "number": ("Decimal",),
    "day": ("Date", "SingleLineText"),
}
"""NocoDB's types that hold the cells, the one to choose first."""
_IDS_IN_A_FILTER: Final = 100
_DAYS_IN_A_FILTER: Final = 100
_LONG_GAP_DAYS: Final = 31
"""More missing days than that are asked for by their bounds, one such gap a request."""
_ROWS_AT_ONCE: Final = 20_000
"""Rows of the whole table that are compared with the lake at one time."""
# A comma, bracket or tilde would change the filter; this is what ids of applications are made of.
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OURS: Final = "({},notblank)"


@dataclass(frozen=True, slots=True)
class SentResults:
    """What sending the rows of a day did, in rows.

    Attributes:
        inserted: new ones.
        updated: ones that differed.
        deleted: ones that were there twice, or of conversations that are gone.
        unchanged: ones that were left alone.
        later: conversations whose row is of a later day, and was left alone.
        without_result: rows of conversations whose turns are held but have no result, as dead
            letters have none; they were left alone.
        left_out: conversations whose id no filter of NocoDB may hold.
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    later: int = 0
    without_result: int = 0
    left_out: int = 0


class ResultsTable:
    """A table of NocoDB with the columns of `result_columns`; others in it are never touched."""

    def __init__(self, client: NocoDBClient, layout: TableDescription, key: Column) -> None:
        """Take over a table that has been looked at; see `open_results`."""
        self._client = client
        self._layout = layout
        self._key = key

    @property
    def title(self) -> str:
        """Its title."""
        return self._layout.title

    def send_day(
        self,
        day: str,
        rows: Sequence[Mapping[str, Cell]],
        lake: ResultDays,
        *,
        strays: bool = True,
    ) -> SentResults:
        """Make the table hold the rows of a day; repeat it after any interruption.

        Only what differs is sent, at most 100 rows a request, and then looked at again: NocoDB has
        no condition for a write, so that rows which somebody else inserted meanwhile are found
        only afterwards, and taken out. Rows of ours whose day is none that the lake holds are
        read along, and mended or taken out.

        Args:
            day: partition key.
            rows: of `conversation_results`.
            lake: what it holds of other days.
            strays: read rows of ours along whose day is none that the lake holds; once for several
                days that are sent one after the other is enough.

        Raises:
            SourceUnavailableError: no usable answer, or others keep writing the same rows.
            AnalyticsError: NocoDB refuses, or the lake cannot be read.
        """
        usable = [row for row in rows if _PLAIN_ID.fullmatch(str(row[CONVERSATION_ID]))]

        def look() -> ResultChanges:
            days = lake.days() if strays else None
            return self._compared(usable, self._held(day, usable, days), lake)

        sent = replace(self._settled(look, f"day {day}"), left_out=len(rows) - len(usable))
        logger.info(
            "nocodb results: day=%s rows=%d inserted=%d updated=%d deleted=%d without_result=%d "
            "left_out=%d",
            day, len(rows), sent.inserted, sent.updated, sent.deleted, sent.without_result,
            sent.left_out,
        )  # fmt: skip
        return sent

    def look_through(self, lake: ResultDays) -> SentResults:
        """Mend or take out every row of ours that says what the lake does not hold.

        The whole table is read, 1,000 rows a request: a row whose day people have changed into
        another day that is held, is found by nothing less.

        Args:
            lake: what it holds.

        Raises:
            SourceUnavailableError: no usable answer, or others keep writing the same rows.
            AnalyticsError: NocoDB refuses, or the lake cannot be read.
        """
        rows = 0

        def look() -> ResultChanges:
            nonlocal rows
            rows, doubtful = 0, []
            every = self._rows(self._ours)
            while some := list(islice(every, _ROWS_AT_ONCE)):
                rows += len(some)
                trusted = _trusted(some, lake)
                doubtful += [one for one in some if _claim(one) not in trusted]
            return self._compared([], doubtful, lake)

        sent = self._settled(look, "all rows")
        logger.info(
            "nocodb results looked through: rows=%d updated=%d deleted=%d",
            rows, sent.updated, sent.deleted,
        )  # fmt: skip
        return sent

    def _settled(self, look: Callable[[], ResultChanges], what: str) -> SentResults:
        """Do what a look says, and look again, until there is nothing to do."""
        sent, unchanged = SentResults(), None
        for _ in range(_LOOKS):
            changes = look()
            unchanged = changes.unchanged if unchanged is None else unchanged
            if not changes.any:
                return replace(
                    sent,
                    unchanged=unchanged,
                    later=changes.later,
                    without_result=changes.without_result,
                )
            try:
                self._apply(changes)
            except RecordGoneError:
                continue  # another run has taken it out: look again
            sent = replace(
                sent,
                inserted=sent.inserted + len(changes.inserts),
                updated=sent.updated + len(changes.updates),
                deleted=sent.deleted + len(changes.deletes),
            )
        raise SourceUnavailableError(
            f"table {self.title!r} of {SETTING}, {what}: its rows still differ after {_LOOKS} "
            "looks; somebody else writes the same rows: this is sent again later"
        )

    def _compared(
        self, rows: Sequence[Mapping[str, Cell]], held: Sequence[HeldResult], lake: ResultDays
    ) -> ResultChanges:
        """Return what to do about rows of the table, which the lake is asked about afterwards.

        In this order: a row that another run has sent is of a day that the lake holds by then.

        Args:
            rows: of a day.
            held: the table's rows of these conversations, and others to be doubted.
            lake: what it holds.
        """
        wanted = {str(row[CONVERSATION_ID]): row for row in rows}
        # First of all: of a day that is stored from now on nobody has asked what it holds.
        days = set(lake.days())
        trusted = _trusted((one for one in held if not _is_of(one, wanted)), lake)
        doubtful = {
            one.conversation_id
            for one in held
            if one.content_hash and not _is_of(one, wanted) and _claim(one) not in trusted
        }
        # A conversation that was never sent by this id: people have changed it.
        known = {one for one in doubtful if _PLAIN_ID.fullmatch(one)}
        left: set[str] = set()
        for day, ids in _last_days(known, lake).items():
            found = {str(row[CONVERSATION_ID]): row for row in lake.rows(day, ids)}
            left |= ids - found.keys() - wanted.keys()
            wanted |= found
        every = {one.row_id: one for one in held}
        others = wanted.keys() - {str(row[CONVERSATION_ID]) for row in rows}
        more = [one for one in self._rows_of(others) if one.row_id not in every]
        trusted |= _trusted(more, lake)
        every |= {one.row_id: one for one in more}
        unknown = {
            _claim(one)
            for one in every.values()
            if one.conversation_id not in wanted
            and one.conversation_id not in left
            and _claim(one) not in trusted
        }
        # Of a day that is held the lake knows that it has no such conversation, or no turn of it
        # that could be typed: then its row waits for one. Of another one it may have nothing yet:
        # only what it knows to be gone goes, with the notes in it, and what was never sent under
        # such an id.
        gone = {one for one in unknown if one[1] in days or not _PLAIN_ID.fullmatch(one[0])}
        with_turns = lake.with_turns({one for one, _ in gone if _PLAIN_ID.fullmatch(one)})
        waiting = {one for one in gone if one[0] in with_turns}
        gone -= waiting
        gone |= lake.gone(unknown - gone - waiting)
        compared = [
            one for one in every.values() if one.conversation_id in wanted or _claim(one) in gone
        ]
        without_result = sum(
            bool(one.content_hash) and _claim(one) in waiting for one in every.values()
        )
        changes = result_changes(wanted.values(), compared, trusted)
        return replace(changes, without_result=without_result)

    def _apply(self, changes: ResultChanges) -> None:
        key = self._key.title
        self._write("POST", changes.inserts)
        self._write("PATCH", [{**row, key: row_id} for row_id, row in changes.updates])
        self._write("DELETE", [{key: row_id} for row_id in changes.deletes])

    def _write(
        self, method: Literal["POST", "PATCH", "DELETE"], rows: Sequence[Mapping[str, object]]
    ) -> None:
        for first in range(0, len(rows), MAX_ROWS_WRITTEN):
            some = rows[first : first + MAX_ROWS_WRITTEN]
            self._client.write_records(method, self._layout.id, some)

    def _held(
        self, day: str, rows: Sequence[Mapping[str, Cell]], days: Collection[str] | None
    ) -> list[HeldResult]:
        """Return the table's rows of ours of a day and of days not held, and of conversations.

        Args:
            day: partition key.
            rows: whose conversations are asked for, whatever the day and whoever made the row.
            days: that the lake holds; None: rows of days not held are left alone.
        """
        held: dict[int | str, HeldResult] = {}
        every = self._filters(sorted({*days, day}), day) if days is not None else [self._of(day)]
        for where in every:
            held |= {one.row_id: one for one in self._rows(where)}
        ids = [str(row[CONVERSATION_ID]) for row in rows]
        held |= {one.row_id: one for one in self._rows_of(ids)}
        return list(held.values())

    def _of(self, day: str) -> str:
        """Return the filter of our rows that say they are of `day`."""
        if not _DAY.fullmatch(day):
            raise ValueError(f"{day!r} is no partition key")
        return f"{self._ours}~and{self._day_is('eq', day)}"

    def _day_is(self, comparison: str, value: str) -> str:
        """Return the filter that compares the day of a row with `value`."""
        column = self._layout.columns[DAY]
        exact = "exactDate," if column.uidt == "Date" else ""
        return f"({column.reference},{comparison},{exact}{value})"

    @property
    def _ours(self) -> str:
        return _OURS.format(self._layout.columns[CONTENT_HASH].reference)

    def _filters(self, days: Sequence[str], day: str) -> Iterator[str]:
        """Yield filters of our rows that say they are of `day`, or of none of `days`.

        It is one, unless many days are missing between those held. Where the column is text,
        what stands between two days that follow each other is left to `look_through`.
        """
        if not all(map(_DAY.fullmatch, days)):
            raise ValueError(f"{day!r} is no partition key")
        is_ = self._day_is
        blank = f"({self._layout.columns[DAY].reference},blank)"
        single = [is_("eq", day), is_("lt", days[0]), is_("gt", days[-1])]
        long = []
        for one, other in pairwise(map(dt.date.fromisoformat, days)):
            missing = list(days_between(one, other))[1:-1]
            if len(missing) > _LONG_GAP_DAYS:
                long.append(f"({is_('gt', str(one))}~and{is_('lt', str(other))})")
            else:
                single += [is_("eq", str(gap)) for gap in missing]
        parts = [
            single[n : n + _DAYS_IN_A_FILTER] for n in range(0, len(single), _DAYS_IN_A_FILTER)
        ]
        for some, gap in zip_longest(parts, long):
            # NocoDB takes no group that begins with a group, and only one group in a group.
            either = [blank, *(some or []), *([gap] if gap else [])]
            yield f"{self._ours}~and({'~or'.join(either)})"

    def _rows_of(self, conversations: Iterable[str]) -> Iterator[HeldResult]:
        """Yield the rows of conversations whose ids are plain."""
        reference = self._layout.columns[CONVERSATION_ID].reference
        ids = sorted(conversations)
        for first in range(0, len(ids), _IDS_IN_A_FILTER):
            some = ",".join(ids[first : first + _IDS_IN_A_FILTER])
            yield from self._rows(f"({reference},in,{some})")

    def _rows(self, where: str) -> Iterator[HeldResult]:
        layout, key = self._layout, self._key
        named = [layout.columns[name] for name in (CONVERSATION_ID, DAY, CONTENT_HASH)]
        params = {
            "fields": ",".join(dict.fromkeys(one.reference for one in (key, *named))),
            "sort": key.reference,
            "limit": str(MAX_PAGE_SIZE),
        }
        path = f"/api/v2/tables/{layout.id}/records"
        # NocoDB may tell a date with a time; text is as people left it.
        longest = len("2026-11-10") if layout.columns[DAY].uidt == "Date" else None
        after = ""
        while True:
            page = self._client.get_list(path, params | {"where": where + after})
            row_id: int | str | None = None
            for raw in page.rows:
                row: dict[str, Any] = msgspec.json.decode(raw)
                row_id = _row_id(row.get(key.title), layout.title)
                yield HeldResult(
                    row_id,
                    _text(row.get(CONVERSATION_ID)),
                    _text(row.get(DAY))[:longest],
                    _text(row.get(CONTENT_HASH)),
                )
            # A page that ends too early costs nothing: rows that are inserted again are found
            # twice by the next look.
            if row_id is None or page.is_last:
                return
            after = f"~and({key.reference},gt,{row_id})"


def open_results(
    client: NocoDBClient,
    table: str,
    columns: Sequence[ResultColumn],
    others: Mapping[str, str],
) -> ResultsTable:
    """Return the table of results, once it has been looked at.

    Args:
        client: asks the server.
        table: title or id.
        columns: of `result_columns`.
        others: titles or ids of the tables that are read, by the name of their setting.

    Raises:
        SourceRequestError: there is no such table, or more than one.
        ContractError: it lacks a column, has one of another type, or is one of `others`.
        AnalyticsError: as `NocoDBClient.get_json_bytes`.
    """
    layout = described(client, find_table(client, table, SETTING))
    names = {layout.id, layout.title, layout.name} - {""}
    for setting, other in others.items():
        if other in names:
            raise ContractError(
                f"{SETTING} and {setting} name the same table, {layout.title!r}: rows of results "
                "would stand among those that are read. Make a table of its own for results"
            )
    missing = [one for one in columns if one.name not in layout.columns]
    wrong = [
        one
        for one in columns
        if one.name in layout.columns and layout.columns[one.name].uidt not in _UIDT[one.kind]
    ]
    key = layout.key
    if missing or wrong or key is None:
        problems = (
            _told("lacks", missing),
            _told("has as another type", wrong),
            "" if key is not None else "lacks a primary key of one column",
        )
        raise ContractError(
            f"table {layout.title!r} of {SETTING} {'; '.join(filter(None, problems))}. "
            "Make these in NocoDB (the + behind the last column: this title, this type; "
            "docs/write-back.md has a command for the whole table), or correct the setting. "
            "Columns of your own may stand beside them"
        )
    return ResultsTable(client, layout, key)


def _claim(row: HeldResult) -> tuple[str, str]:
    return row.conversation_id, row.day


def _is_of(row: HeldResult, wanted: Mapping[str, Mapping[str, Cell]]) -> bool:
    """Say whether a row says the day of what is wanted of its conversation."""
    of_it = wanted.get(row.conversation_id)
    return of_it is not None and of_it[DAY] == row.day


def _trusted(rows: Iterable[HeldResult], lake: ResultDays) -> set[tuple[str, str]]:
    """Return conversation and day of those rows that say what the lake holds, too."""
    claims: defaultdict[str, set[str]] = defaultdict(set)
    for one in rows:
        claims[one.day].add(one.conversation_id)
    days = claims.keys() & set(lake.days()) if claims else set()
    return {(held, day) for day in sorted(days) for held in lake.having(day, claims[day])}


def _last_days(conversations: Collection[str], lake: ResultDays) -> dict[str, set[str]]:
    """Return the conversations that the lake holds, by their last day."""
    sought, found = set(conversations), {}
    for day in reversed(lake.days() if sought else ()):
        if there := lake.having(day, sought):
            found[day] = set(there)
            sought -= there
        if not sought:
            break
    return found


def _told(what: str, columns: Sequence[ResultColumn]) -> str:
    named = ", ".join(f"{one.name} ({_UIDT[one.kind][0]})" for one in columns)
    return f"{what}: {named}" if columns else ""


def _row_id(value: object, title: str) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isalnum():
        raise ContractError(
            f"table {title!r} of {SETTING}: expected a primary key of a number or plain letters "
            "and digits; make a table in NocoDB, which has an Id of its own"
        )
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
