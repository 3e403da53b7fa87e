"""Labelled texts that somebody has: CSV or JSON lines with `text`, `label`, `language`."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from conversation_analytics.core.errors import EvaluationDataError
from conversation_analytics.core.language_codes import KNOWN
from conversation_analytics.core.personal_kinds import Kind, Span
from conversation_analytics.evaluation.personal_data import Labelled
from conversation_analytics.evaluation.phrases import SENTIMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Task(StrEnum):
    """What the labels of a file say."""

    LANGUAGE = "language"
    INTENT = "intent"
    SENTIMENT = "sentiment"
    PERSONAL_DATA = "personal-data"


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One row of a file.

    Attributes:
        text: what somebody said.
        label: as the task wants it; of personal data a JSON list of kind, start and end.
        language: ISO 639-1 code; empty where the file does not say.
        where: file and line, for messages.
    """

    text: str
    label: str
    language: str
    where: str


_NEEDED: Final = ("text", "label")
_LONGEST_FIELD: Final = 10_000_000


def read_labelled(path: Path, task: Task) -> list[LabelledText]:
    """Read a file, every row checked.

    Raises:
        EvaluationDataError: with file, line, what was expected and what was found.
    """
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EvaluationDataError(
            f"{path}: expected text in UTF-8, byte {error.start} is none; save the file as UTF-8"
        ) from error
    except OSError as error:
        raise EvaluationDataError(
            f"{path}: cannot be read ({error.strerror}); name an existing file"
        ) from error
    readers = {".csv": _csv_rows, ".jsonl": _json_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise EvaluationDataError(
            f"{path}: expected a file that ends in .csv or .jsonl, got "
            f"{path.suffix or 'no ending'}; rename or convert it"
        )
    rows = [_checked(row, where, task) for where, row in reader(content, path)]
    if not rows:
        raise EvaluationDataError(
            f"{path}: expected at least one labelled text, got none; add some"
        )
    return rows


def labelled_spans(rows: list[LabelledText]) -> list[Labelled]:
    """Return rows of the task personal data as cases to measure.

    Raises:
        EvaluationDataError: a label is no list of spans, or a span lies outside its text.
    """
    return [Labelled(row.text, _spans(row), row.language) for row in rows]


def _csv_rows(content: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        raise EvaluationDataError(
            f"{path}: expected the columns text and label in the first line, got "
            f"{', '.join(reader.fieldnames or ()) or 'nothing'}; add {' and '.join(missing)}"
        )
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row:
                raise EvaluationDataError(
                    f"{where}: expected {len(reader.fieldnames or ())} values, got more; "
                    "put texts with commas in quotes"
                )
            yield where, row
    except csv.Error as error:
        raise EvaluationDataError(
            f"{path}, after line {reader.line_num}: no valid CSV ({error}); correct its quotes"
        ) from error


def _json_rows(content: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise EvaluationDataError(
                f"{where}: expected one JSON object, got something else at character {error.pos}; "
                "write one object a line"
            ) from error
        if not isinstance(row, dict):
            raise EvaluationDataError(
                f"{where}: expected an object with text and label, got {type(row).__name__}; "
                "write one object a line"
            )
        yield where, row


def _checked(row: dict[str, Any], where: str, task: Task) -> LabelledText:
    for name in _NEEDED:
        if row.get(name) is None:
            raise EvaluationDataError(f"{where}: expected a value of {name}, got none; add it")
    text, label = row["text"], row["label"]
    if task is Task.PERSONAL_DATA and isinstance(label, list):
        label = json.dumps(label)
    language = row.get("language") or ""
    for name, value in (("text", text), ("label", label), ("language", language)):
        if not isinstance(value, str):
            raise EvaluationDataError(
                f"{where}: expected text as {name}, got {type(value).__name__}; put it in quotes"
            )
    allowed = {Task.LANGUAGE: KNOWN, Task.SENTIMENT: frozenset(SENTIMENTS)}.get(task)
    label = label.strip()
    if not label or (allowed is not None and label not in allowed):
        wanted = {
            Task.LANGUAGE: "a language code such as th or en",
            Task.SENTIMENT: " or ".join(SENTIMENTS),
        }.get(task, "a label")
        raise EvaluationDataError(f"{where}: expected {wanted}, got {label[:40]!r}; correct it")
    return LabelledText(text, label, language, where)


def _spans(row: LabelledText) -> tuple[Span, ...]:
    kinds = ", ".join(Kind)
    wrong = (
        f"{row.where}: expected a JSON list of objects with kind ({kinds}), start and end "
        "(characters from 0, end excluded, inside the text); correct the label"
    )
    try:
        found = json.loads(row.label)
        spans = tuple(Span(one["start"], one["end"], Kind(one["kind"])) for one in found)
    except (ValueError, TypeError, KeyError) as error:
        raise EvaluationDataError(wrong) from error
    for span in spans:
        numbers = all(type(number) is int for number in (span.start, span.end))
        if not numbers or not 0 <= span.start < span.end <= len(row.text):
            raise EvaluationDataError(wrong)
    return spans
