"""Which lake tables hold the rows of a table of the source, from zone to zone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conversation_analytics.core import schemas
from conversation_analytics.core.source import SourceTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conversation_analytics.core.schemas import TableSchema


@dataclass(frozen=True, slots=True)
class Zones:
    """The lake tables of one kind of rows, of a day or without a time of creation.

    Attributes:
        raw: rows as served.
        curated: typed rows.
        dead_letters: rows that could not be typed.
    """

    raw: TableSchema
    curated: TableSchema
    dead_letters: TableSchema


DAILY: Final[Mapping[SourceTable, Zones]] = {
    SourceTable.CONVERSATIONS: Zones(
        schemas.RAW_CONVERSATIONS, schemas.CONVERSATIONS, schemas.CONVERSATION_DEAD_LETTERS
    ),
    SourceTable.MESSAGES: Zones(
        schemas.RAW_MESSAGES, schemas.MESSAGES, schemas.MESSAGE_DEAD_LETTERS
    ),
    SourceTable.FEEDBACKS: Zones(
        schemas.RAW_FEEDBACKS, schemas.FEEDBACKS, schemas.FEEDBACK_DEAD_LETTERS
    ),
}
UNDATED: Final[Mapping[SourceTable, Zones]] = {
    SourceTable.CONVERSATIONS: Zones(
        schemas.RAW_UNDATED_CONVERSATIONS,
        schemas.UNDATED_CONVERSATIONS,
        schemas.UNDATED_CONVERSATION_DEAD_LETTERS,
    ),
    SourceTable.MESSAGES: Zones(
        schemas.RAW_UNDATED_MESSAGES,
        schemas.UNDATED_MESSAGES,
        schemas.UNDATED_MESSAGE_DEAD_LETTERS,
    ),
    SourceTable.FEEDBACKS: Zones(
        schemas.RAW_UNDATED_FEEDBACKS,
        schemas.UNDATED_FEEDBACKS,
        schemas.UNDATED_FEEDBACK_DEAD_LETTERS,
    ),
}
