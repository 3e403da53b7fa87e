"""The tests of the example: the platform's contract, and the errors of its own."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest
from jsonl_source import JsonlSource, open_source

from conversation_analytics.contracts import check_source
from conversation_analytics.core.errors import SettingsError, SourceRequestError
from conversation_analytics.core.source import SourceTable

if TYPE_CHECKING:
    from pathlib import Path

START = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    times = [(START + hour * dt.timedelta(hours=1)).isoformat() for hour in range(-2, 30, 2)]
    conversations = [{"id": n, "created_at": at, "app_id": "a"} for n, at in enumerate(times)]
    messages = [
        {
            "id": f"m{n}", "conversation_id": n, "created_at": at, "updated_at": at,
            "query": "a line\u2028of two", "answer": "yes", "total_price": 0.1,
        }
        for n, at in enumerate(times)
    ]  # fmt: skip
    messages += [dict(messages[0], answer="changed"), {"id": "undated", "query": "when?"}]
    for name, rows in {"conversations": conversations, "messages": messages}.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_it_keeps_the_contract(folder: Path) -> None:
    source = open_source({"folder": str(folder)})
    check_source(source, START, START + DAY)
    assert source.read_window(SourceTable.MESSAGES, START, START + DAY).height == 12
    assert source.read_undated(SourceTable.MESSAGES)["id"].to_list() == ["undated"]


def test_of_lines_with_one_id_the_last_counts(folder: Path) -> None:
    [payload] = JsonlSource(folder).read_ids(SourceTable.MESSAGES, ["m0"])["payload"]
    assert json.loads(payload)["answer"] == "changed"
    assert json.loads(payload)["total_price"] == 0.1


def test_what_is_no_row_is_named_with_its_line(folder: Path) -> None:
    (folder / "messages.jsonl").write_text('{"id": 1}\n\n[]\n', encoding="utf-8")
    with pytest.raises(SourceRequestError, match=r"messages\.jsonl, line 3: expected a JSON obj"):
        JsonlSource(folder).read_undated(SourceTable.MESSAGES)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match="EXT_JSONL_FOLDER is empty"):
        open_source({})
    with pytest.raises(SourceRequestError, match=r"nowhere.messages\.jsonl: expected a readable"):
        open_source({"folder": "nowhere"}).read_undated(SourceTable.MESSAGES)
