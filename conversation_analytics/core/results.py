"""What people see of a conversation in NocoDB: one row each, and which rows have changed.

A row is of the last day on which the conversation had turns. It holds no text and no user.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import polars as pl

from conversation_analytics.core.documents import clean_text
from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.language_codes import NO_LANGUAGE, UNDETERMINED

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping, Sequence

Cell = str | float | None
Kind = Literal["text", "number", "day"]

CONVERSATION_ID: Final = "conversation_id"
DAY: Final = "day"
CONTENT_HASH: Final = "content_hash"
WEEK_TOPIC: Final = "week_topic"
_DIGITS: Final = 4
_LONGEST: Final = 255
_HASH: Final = 32


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of the table of results: its title and what its cells hold."""

    name: str
    kind: Kind


_BEFORE: Final = (
    ResultColumn(CONVERSATION_ID, "text"), ResultColumn(DAY, "day"), ResultColumn("app_id", "text"),
    ResultColumn("language", "text"), ResultColumn("language_confidence", "number"),
)  # fmt: skip
_AFTER: Final = (ResultColumn(WEEK_TOPIC, "text"), ResultColumn(CONTENT_HASH, "text"))


def result_columns(types: Iterable[str]) -> tuple[ResultColumn, ...]:
    """Return the columns of the table: two for each type of category, beside those of every table.

    Args:
        types: names of the taxonomy's types.

    Raises:
        ContractError: a type is named like another column.
    """
    of_types = tuple(
        column
        for name in types
        for column in (ResultColumn(name, "text"), ResultColumn(f"{name}_confidence", "number"))
    )
    columns = (*_BEFORE, *of_types, *_AFTER)
    names = [one.name for one in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ContractError(
            f"the table of results would have the column {', '.join(twice)} twice: give this type "
            "of the taxonomy another name, or leave NOCODB_RESULTS_TABLE empty"
        )
    return columns


def conversation_results(
    day: str,
    types: Sequence[str],
    categories: pl.DataFrame,
    languages: pl.DataFrame,
    week_topics: pl.DataFrame,
) -> list[dict[str, Cell]]:
    """Return the row of each conversation of a day, by id.

    The language is the one most questions are asked in (of several the first by alphabet); its
    confidence is the mean of theirs.

    Args:
        day: partition key.
        types: names of the taxonomy's types, in their order.
        categories: schema `CATEGORIES`, of the day: its conversations are those of the rows.
        languages: schema `MESSAGE_LANGUAGE`, of the day.
        week_topics: `conversation_id` and `week_topic`, the label of a topic that is shown.
    """
    known = languages.filter(
        pl.col("query_language").is_not_null()
        & ~pl.col("query_language").is_in([UNDETERMINED, NO_LANGUAGE])
    )
    asked_in = (
        known.group_by(CONVERSATION_ID, "query_language")
        .agg(pl.len().alias("turns"), pl.col("query_confidence").mean().alias("sure"))
        .sort("turns", "query_language", descending=[True, False])
        .group_by(CONVERSATION_ID, maintain_order=True)
        .first()
        .select(
            CONVERSATION_ID,
            pl.col("query_language").alias("language"),
            pl.col("sure").round(_DIGITS).alias("language_confidence"),
        )
    )
    apps = languages.group_by(CONVERSATION_ID).agg(pl.col("app_id").drop_nulls().min())
    rows = categories.select(CONVERSATION_ID).unique().sort(CONVERSATION_ID)
    for found in (apps, asked_in, *(_of_type(categories, name) for name in types), week_topics):
        rows = rows.join(found, on=CONVERSATION_ID, how="left")
    columns = [one.name for one in result_columns(types) if one.name not in {DAY, CONTENT_HASH}]
    return [_with_hash({**row, DAY: day}) for row in rows.select(columns).iter_rows(named=True)]


def _of_type(categories: pl.DataFrame, name: str) -> pl.DataFrame:
    return categories.filter(pl.col("category_type") == name).select(
        CONVERSATION_ID,
        pl.col("category_value").alias(name),
        pl.col("confidence_score").round(_DIGITS).alias(f"{name}_confidence"),
    )


def _with_hash(row: dict[str, Cell]) -> dict[str, Cell]:
    cells = {name: _cell(value) for name, value in row.items()}
    told = json.dumps(cells, sort_keys=True)
    return cells | {CONTENT_HASH: hashlib.sha256(told.encode()).hexdigest()[:_HASH]}


def _cell(value: Cell) -> Cell:
    """Return what every database behind NocoDB takes: no NUL, no half a character, no long text."""
    if not isinstance(value, str):
        return value
    return clean_text(value).replace("\0", "\ufffd")[:_LONGEST]


@dataclass(frozen=True, slots=True)
class HeldResult:
    """A row that is in the table.

    Attributes:
        row_id: its primary key.
        conversation_id: whose it is.
        day: partition key it says it is of; empty where there is none. People may change it: it
            says nothing until the lake agrees.
        content_hash: of its cells as they were sent; empty where somebody else made the row.
    """

    row_id: int | str
    conversation_id: str
    day: str
    content_hash: str


class ResultDays(Protocol):
    """The results that the lake holds now: each call looks again."""

    def days(self) -> Sequence[str]:
        """Return the days that have results, ascending."""

    def having(self, day: str, ids: Collection[str]) -> frozenset[str]:
        """Return those of these conversations that have a result on one of `days`."""

    def gone(self, claims: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """Return which rows of days that are not held are known to be gone.

        Of conversations that were erased, and of days that are older than they are kept. A lake
        that does not hold a day yet, or any more without a word, knows nothing of its rows.

        Args:
            claims: conversation and day of each; the day is as people left it.
        """

    def with_turns(self, ids: Collection[str]) -> frozenset[str]:
        """Return those of these conversations of which a turn is held, on whatever day.

        Also one that could not be typed, and so has no result: it is not gone.
        """

    def rows(self, day: str, ids: Collection[str]) -> Sequence[Mapping[str, Cell]]:
        """Return the rows of these conversations on one of `days`, as `conversation_results`.

        A day that is to be made again first has none.
        """


@dataclass(frozen=True, slots=True)
class ResultChanges:
    """What makes the table hold some rows.

    Attributes:
        inserts: rows that are not there.
        updates: primary key and cells of those that differ.
        deletes: primary keys of rows that are there twice, or of conversations that are gone.
        unchanged: rows that are as they should be.
        later: conversations whose row is of a later day, and stays.
        without_result: rows of conversations that have turns but no result; they stay.
    """

    inserts: tuple[Mapping[str, Cell], ...] = ()
    updates: tuple[tuple[int | str, Mapping[str, Cell]], ...] = ()
    deletes: tuple[int | str, ...] = ()
    unchanged: int = 0
    later: int = 0
    without_result: int = 0

    @property
    def any(self) -> bool:
        """Whether there is something to do."""
        return bool(self.inserts or self.updates or self.deletes)


def result_changes(
    rows: Iterable[Mapping[str, Cell]],
    held: Iterable[HeldResult],
    trusted: Container[tuple[str, str]],
) -> ResultChanges:
    """Compare rows with the table.

    Of several rows of a conversation one stays, of those that say what the lake holds the one with
    the least primary key: whoever writes at the same time decides the same, and what people wrote
    into the older row is kept. A row of a later day stays as it is, if the lake says so, too. Rows
    that no content hash says to be ours are never deleted.

    Args:
        rows: of `conversation_results`, one a conversation.
        held: the table's rows of these conversations, and of others that the lake does not hold.
        trusted: conversation and day of results that the lake holds.
    """
    found: defaultdict[str, list[HeldResult]] = defaultdict(list)
    for one in held:
        found[one.conversation_id].append(one)
    inserts: list[Mapping[str, Cell]] = []
    updates: list[tuple[int | str, Mapping[str, Cell]]] = []
    deletes: list[int | str] = []
    unchanged = later = 0
    for row in rows:
        day = str(row[DAY])
        there = found.pop(str(row[CONVERSATION_ID]), [])
        if not there:
            inserts.append(row)
            continue
        ours = [one for one in there if one.content_hash]
        true = [one for one in there if (one.conversation_id, one.day) in trusted]
        stays = min(
            ours or there, key=lambda one: (one.day != day and one not in true, _order(one))
        )
        of_later_days = [one for one in true if one.day > day]
        deletes += [one.row_id for one in ours if one is not stays and one not in of_later_days]
        if stays in of_later_days:
            later += 1
        elif (stays.content_hash, stays.day) == (row[CONTENT_HASH], day):
            unchanged += 1
        else:
            updates.append((stays.row_id, row))
    deletes += [one.row_id for some in found.values() for one in some if one.content_hash]
    return ResultChanges(tuple(inserts), tuple(updates), tuple(deletes), unchanged, later)


def _order(row: HeldResult) -> tuple[int, int, str]:
    is_text = isinstance(row.row_id, str)
    return (1, 0, str(row.row_id)) if is_text else (0, int(row.row_id), "")
