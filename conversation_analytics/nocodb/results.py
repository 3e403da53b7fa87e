"""The table of NocoDB that shows categories, languages and topics beside each conversation."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
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
from conversation_analytics.nocodb.client import (
    MAX_PAGE_SIZE,
    MAX_ROWS_WRITTEN,
    RecordGoneError,
)
from conversation_analytics.nocodb.discovery import described, find_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    from conversation_analytics.core.results import Cell, Kind, ResultChanges, ResultColumn
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
# A comma, bracket or tilde would change the filter; this is what ids of applications are made of.
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class SentResults:
    """What sending the rows of a day did, in rows.

    Attributes:
        inserted: new ones.
        updated: ones that differed.
        deleted: ones that were there twice, or of conversations that are gone.
        unchanged: ones that were left alone.
        later: conversations whose row is of a later day, and was left alone.
        left_out: conversations whose id no filter of NocoDB may hold.
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    later: int = 0
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

    def send_day(self, day: str, rows: Sequence[Mapping[str, Cell]]) -> SentResults:
        """Make the table hold the rows of a day; repeat it after any interruption.

        Only what differs is sent, at most 100 rows a request, and then looked at again: NocoDB has
        no condition for a write, so that rows which somebody else inserted meanwhile are found
        only afterwards, and taken out.

        Args:
            day: partition key.
            rows: of `conversation_results`.

        Raises:
            SourceUnavailableError: no usable answer, or others keep writing the same rows.
            AnalyticsError: NocoDB refuses.
        """
        usable = [row for row in rows if _PLAIN_ID.fullmatch(str(row[CONVERSATION_ID]))]
        sent = SentResults(left_out=len(rows) - len(usable))
        for _ in range(_LOOKS):
            changes = result_changes(usable, self._held(day, usable), day)
            if not changes.any:
                logger.info(
                    "nocodb results: day=%s rows=%d inserted=%d updated=%d deleted=%d left_out=%d",
                    day, len(rows), sent.inserted, sent.updated, sent.deleted, sent.left_out,
                )  # fmt: skip
                untouched = max(0, changes.unchanged - sent.inserted - sent.updated)
                return replace(sent, unchanged=untouched, later=changes.later)
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
            f"table {self.title!r} of {SETTING}, day {day}: its rows still differ after {_LOOKS} "
            "looks; somebody else writes the same rows: this day is sent again later"
        )

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

    def _held(self, day: str, rows: Sequence[Mapping[str, Cell]]) -> list[HeldResult]:
        """Return the table's rows of a day, and those of these conversations on other days."""
        if not _DAY.fullmatch(day):
            raise ValueError(f"{day!r} is no partition key")
        column = self._layout.columns[DAY]
        exact = "exactDate," if column.uidt == "Date" else ""
        held = {one.row_id: one for one in self._rows(f"({column.reference},eq,{exact}{day})")}
        reference = self._layout.columns[CONVERSATION_ID].reference
        ids = sorted(str(row[CONVERSATION_ID]) for row in rows)
        for first in range(0, len(ids), _IDS_IN_A_FILTER):
            some = ",".join(ids[first : first + _IDS_IN_A_FILTER])
            held |= {one.row_id: one for one in self._rows(f"({reference},in,{some})")}
        return list(held.values())

    def _rows(self, where: str) -> Iterator[HeldResult]:
        layout, key = self._layout, self._key
        named = [layout.columns[name] for name in (CONVERSATION_ID, DAY, CONTENT_HASH)]
        params = {
            "fields": ",".join(dict.fromkeys(one.reference for one in (key, *named))),
            "sort": key.reference,
            "limit": str(MAX_PAGE_SIZE),
        }
        path = f"/api/v2/tables/{layout.id}/records"
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
                    _text(row.get(DAY))[:10],
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
