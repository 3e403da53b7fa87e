from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.core.errors import EvaluationDataError
from conversation_analytics.core.personal_kinds import Kind, Span
from conversation_analytics.evaluation.labelled_files import Task, labelled_spans, read_labelled

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """Return a file with this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_csv_and_json_lines_say_the_same(tmp_path: Path) -> None:
    comma = '\ufefftext,label,language\r\n"hi, you",positive,en\r\n"two\nlines",negative,\r\n'
    lines = (
        '{"text": "hi, you", "label": "positive", "language": "en"}\n\n'
        '{"text": "two\\nlines", "label": "negative"}\n'
    )
    for name, content in (("a.csv", comma), ("a.JSONL", lines)):
        rows = read_labelled(written(tmp_path, name, content), Task.SENTIMENT)
        assert [(row.text, row.label, row.language) for row in rows] == [
            ("hi, you", "positive", "en"), ("two\nlines", "negative", ""),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "task", "told"),
    [
        ("a.txt", "x", Task.INTENT, "ends in .csv or .jsonl, got .txt"),
        ("a.csv", b"text,label\n\xff,x\n", Task.INTENT, "expected text in UTF-8, byte 11"),
        ("a.csv", "", Task.INTENT, "got nothing; add text and label"),
        ("a.csv", "text,class\nhi,x\n", Task.INTENT, "got text, class; add label"),
        ("a.csv", "text,label\n", Task.INTENT, "at least one labelled text, got none"),
        ("a.csv", "text,label\nhi,you,x\n", Task.INTENT, "line 2: expected 2 values, got more"),
        ("a.csv", "text,label\nhi\n", Task.INTENT, "line 2: expected a value of label"),
        ("a.csv", 'text,label\n"hi,x\n', Task.INTENT, "after line 1: no valid CSV"),
        ("a.csv", "text,label\nhi,angry\n", Task.SENTIMENT, "negative or neutral or positive"),
        ("a.csv", "text,label\nhi,english\n", Task.LANGUAGE, "language code such as th"),
        ("a.jsonl", '{"text": "hi", "label": "x"}\n{', Task.INTENT, "line 2: expected one JSON"),
        ("a.jsonl", "[1]", Task.INTENT, "an object with text and label, got list"),
        ("a.jsonl", '{"text": 5, "label": "x"}', Task.INTENT, "expected text as text, got int"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, task: Task, told: str
) -> None:
    with pytest.raises(EvaluationDataError, match=told) as error:
        read_labelled(written(tmp_path, name, content), task)
    assert name in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationDataError, match="name an existing file"):
        read_labelled(tmp_path / "none.csv", Task.INTENT)


def test_spans_of_personal_data_are_read_and_have_to_lie_in_the_text(tmp_path: Path) -> None:
    def spans(label: object) -> tuple[Span, ...]:
        line = json.dumps({"text": "mail a@example.com", "label": label})
        path = written(tmp_path, "a.jsonl", line)
        return labelled_spans(read_labelled(path, Task.PERSONAL_DATA))[0].spans

    whole = {"kind": "email", "start": 5, "end": 18}
    assert spans([whole]) == spans(json.dumps([whole])) == (Span(5, 18, Kind.EMAIL),)
    assert spans([]) == ()
    for wrong in ([{**whole, "end": 19}], [{**whole, "start": True}], [{**whole, "kind": "name"}],
                  [{"kind": "email"}], "no JSON", "5", [5]):  # fmt: skip
        with pytest.raises(EvaluationDataError, match="JSON list of objects with kind"):
            spans(wrong)
