"""Corrections that people keep in a table: as they were served, and which of them can be used."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from conversation_analytics.core.schemas import Column, TableSchema
from conversation_analytics.core.taxonomy import LONGEST_TEXT, OTHER, Correction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from conversation_analytics.core.taxonomy import Taxonomy

CORRECTIONS = TableSchema(
    name="corrections",
    columns=(
        Column("row_id", pl.String(), "primary key of the row in NocoDB, as text", required=True),
        Column("type", pl.String(), "type of the taxonomy", low_cardinality=True),
        Column("label", pl.String(), "one of its labels, or `other`", low_cardinality=True),
        Column("text", pl.String(), "becomes an example of the label"),
        Column("conversation_id", pl.String(), "has the label, whatever the model says"),
        Column("by", pl.String(), "who said so", low_cardinality=True),
    ),
    sort_by=("row_id",),
    description="One correction of categories, as a person wrote it into "
    "NOCODB_CORRECTIONS_TABLE.",
)  # fmt: skip

_NOBODY: Final = "person"
_NAMED: Final = 20


class CorrectionRow(NamedTuple):
    """A row of the table `CORRECTIONS`."""

    row_id: str
    type: str | None
    label: str | None
    text: str | None
    conversation_id: str | None
    by: str | None


@dataclass(frozen=True, slots=True)
class RefusedCorrection:
    """A row that cannot be used, and why: never its text."""

    row_id: str
    reason: str


def rows_of(table: pl.DataFrame) -> tuple[CorrectionRow, ...]:
    """Return the rows of a frame of `CORRECTIONS`, in its order."""
    return tuple(CorrectionRow(*row) for row in CORRECTIONS.conform(table).iter_rows())


def usable_corrections(
    rows: Iterable[CorrectionRow], taxonomy: Taxonomy, held: Sequence[Correction] = ()
) -> tuple[tuple[Correction, ...], tuple[RefusedCorrection, ...]]:
    """Return the corrections of a table that can be used, and the rows that cannot.

    A row that cannot be used takes no other with it. Rows without anything in them, as a grid has
    them, are passed over. Rows that give one conversation several labels of a type, or one text,
    are refused together: which of them is right, only people know.

    Args:
        rows: of the table.
        taxonomy: what they correct.
        held: corrections of the file, which win over the table's.
    """
    found: list[tuple[str, Correction]] = []
    refused: list[RefusedCorrection] = []
    for row in rows:
        if not any(row[1:]):
            continue
        problem = _problem(row, taxonomy)
        if problem is not None:
            refused.append(RefusedCorrection(row.row_id, problem))
            continue
        found.append(
            (
                row.row_id,
                Correction(
                    row.type or "", row.label or "", row.by or _NOBODY, row.text,
                    row.conversation_id,
                ),
            )
        )  # fmt: skip
    labels: dict[tuple[str, str, str], set[str]] = {}
    for one in (*held, *(correction for _, correction in found)):
        for key in _subjects(one):
            labels.setdefault(key, set()).add(one.label)
    usable = []
    for row_id, one in found:
        if clash := next((key for key in _subjects(one) if len(labels[key]) > 1), None):
            told = ", ".join(sorted(map(repr, labels[clash])))
            what = "text" if clash[1] == "text" else "conversation_id"
            reason = f"expected one label of type {one.category_type} for its {what}, found {told}"
            refused.append(RefusedCorrection(row_id, reason))
        else:
            usable.append(one)
    return tuple(usable), tuple(sorted(refused, key=lambda one: one.row_id))


def refused_told(refused: Sequence[RefusedCorrection]) -> str:
    """Say which rows cannot be used, and why."""
    shown = "; ".join(f"row {one.row_id}: {one.reason}" for one in refused[:_NAMED])
    left = len(refused) - _NAMED
    return shown + (f"; and {left} more" if left > 0 else "")


def conversations_digest(
    corrections: Iterable[Correction], conversations: Collection[str]
) -> str | None:
    """Return the digest of what people said of these conversations; None where of none."""
    told = sorted(
        (one.category_type, one.conversation_id, one.label, one.by)
        for one in corrections
        if one.conversation_id is not None and one.conversation_id in conversations
    )
    return hashlib.sha256(json.dumps(told).encode()).hexdigest() if told else None


def _subjects(one: Correction) -> list[tuple[str, str, str]]:
    found = []
    if one.conversation_id is not None:
        found.append((one.category_type, "conversation", one.conversation_id))
    if one.text is not None:
        found.append((one.category_type, "text", one.text))
    return found


def _problem(row: CorrectionRow, taxonomy: Taxonomy) -> str | None:
    types = [one.name for one in taxonomy.types]
    if row.type not in types:
        return f"expected as type one of {', '.join(types)}, found {_quoted(row.type)}"
    labels = [*(one.name for one in taxonomy[row.type].labels), OTHER]
    if row.label not in labels:
        return f"expected as label one of {', '.join(labels)}, found {_quoted(row.label)}"
    if row.text is None and row.conversation_id is None:
        return "expected a text, a conversation_id, or both, found neither"
    long = [name for name in ("text", "conversation_id", "by")
            if len(getattr(row, name) or "") > LONGEST_TEXT]  # fmt: skip
    if long:
        return f"expected at most {LONGEST_TEXT} characters as {long[0]}, found more"
    return None


def _quoted(value: str | None) -> str:
    return "nothing" if value is None else repr(value[:40])
