"""The command, as a person types it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import duckdb
import pytest
from click.testing import CliRunner

from conversation_analytics.cli import cli
from conversation_analytics.core.contract import default_contract
from conversation_analytics.core.pseudonyms import PseudonymousSource, Pseudonyms
from conversation_analytics.core.schemas import CONVERSATIONS, MESSAGES
from conversation_analytics.exports.conversations import export_conversations
from conversation_analytics.exports.convokit import FILES, export_corpus
from conversation_analytics.exports.files import new_file
from conversation_analytics.exports.selection import Selection
from conversation_analytics.exports.tables import TableFormat, export_table
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.sql import open_sql
from conversation_analytics.lake.store import Lake
from conversation_analytics_tests.commands import CLI, clean_environment, typed
from conversation_analytics_tests.exports.conftest import DAYS, sample_source, write_days
from conversation_analytics_tests.lake.frames import message_rows

if TYPE_CHECKING:
    from pathlib import Path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_table_is_exported_once(lake: Lake, lake_folder: Path, tmp_path: Path) -> None:
    words = (
        "export",
        "--format",
        "csv",
        "--table",
        "messages",
        "--from",
        DAYS[1],
        "--out",
        "a.csv",
    )
    result = typed(tmp_path, *words, PARQUET_BASE_DIR=str(lake_folder))
    assert result.returncode == 0, result.stderr
    rows = sum(lake.row_count(MESSAGES, day) for day in DAYS[1:])
    assert result.stdout == f"{rows:,} rows: a.csv\n"
    count = f"SELECT count(*), count(DISTINCT id) FROM '{tmp_path / 'a.csv'}'"
    assert duckdb.execute(count).fetchone() == (rows, rows)
    before = (tmp_path / "a.csv").read_bytes()
    refused = typed(tmp_path, *words, PARQUET_BASE_DIR=str(lake_folder))
    assert refused.returncode == 1
    assert "--overwrite" in refused.stderr
    again = typed(tmp_path, *words, "--overwrite", PARQUET_BASE_DIR=str(lake_folder))
    assert again.returncode == 0
    assert (tmp_path / "a.csv").read_bytes() == before
    assert names_in(tmp_path) == ["a.csv"]


def test_conversations_are_exported_for_convokit_and_as_lines(
    lake: Lake, lake_folder: Path, tmp_path: Path
) -> None:
    corpus = typed(
        tmp_path, "export", "--format", "convokit", "--out", "corpus",
        PARQUET_BASE_DIR=str(lake_folder),
    )  # fmt: skip
    turns = sum(lake.row_count(MESSAGES, day) for day in DAYS)
    assert corpus.stdout == f"{turns:,} turns: corpus\n"
    assert names_in(tmp_path / "corpus") == sorted(FILES)
    lines = typed(
        tmp_path, "export", "--format", "jsonl", "--out", "c.jsonl",
        PARQUET_BASE_DIR=str(lake_folder),
    )  # fmt: skip
    assert lines.returncode == 0
    found = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert sum(len(one["turns"]) for one in found) == turns


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--format", "csv"), "--table NAME"),
        (("--format", "csv", "--table", "message"), "meant messages"),
        (("--format", "csv", "--table", "../messages"), "no table"),
        (("--format", "convokit", "--table", "messages"), "leave out --table"),
        (("--format", "jsonl", "--from", "2026-11-02", "--to", "2026-11-01"), "first day first"),
        (("--format", "jsonl", "--from", "20261102"), "%Y-%m-%d"),
        (("--format", "pickle"), "pickle"),
    ],
    ids=["no-table", "typo", "path", "convokit-table", "backwards", "no-date", "format"],
)
def test_what_cannot_be_exported_is_told(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(cli, ["export", *words, "--out", str(out)])
    assert result.exit_code == 2
    assert told in result.output
    assert names_in(tmp_path) == []


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    lake = Lake(LocalObjects(tmp_path / "lake"))
    for day in DAYS:
        lake.write(MESSAGES, day, message_rows(20_000, day))
    out = tmp_path / "out"
    out.mkdir()
    process = subprocess.Popen(
        [*CLI, "export", "--format", "convokit", "--out", "out/corpus"],
        cwd=tmp_path, env=clean_environment(PARQUET_BASE_DIR=str(tmp_path / "lake")),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(out.glob(".corpus.*.tmp/utterances.jsonl")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing was written" in told
    assert names_in(out) == []


def test_what_a_killed_export_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".out.csv.00000000.tmp").write_bytes(b"half")
    with new_file(tmp_path / "out.csv", overwrite=False) as sink:
        sink.write(b"whole")
    assert (tmp_path / "out.csv").read_bytes() == b"whole"


def test_a_pseudonymous_lake_stays_so(tmp_path: Path) -> None:
    pseudonyms = Pseudonyms("a-key-of-forty-characters-made-up-1234567", frozenset())
    plain = sample_source()
    lake = Lake(LocalObjects(tmp_path / "lake"))
    with closing(PseudonymousSource(plain, pseudonyms, default_contract())) as source:
        write_days(lake, source)
    users: set[str] = set()
    held = Lake(LocalObjects(tmp_path / "plain"))
    write_days(held, plain)
    for day in DAYS:
        for table in (CONVERSATIONS, MESSAGES):
            users |= set(held.read(table, day)["user_id"].drop_nulls())
    assert len(users) > 50
    with open_sql(lake) as sql:
        (tmp_path / "out-corpus").mkdir()
        export_corpus(lake, sql, Selection(), tmp_path / "out-corpus")
        with (tmp_path / "out-conversations").open("wb") as sink:
            export_conversations(sql, Selection(), sink)
        forms: tuple[TableFormat, ...] = ("csv", "jsonl")
        for form in forms:
            with (tmp_path / f"out-{form}").open("wb") as sink:
                export_table(lake, sql, MESSAGES, Selection(), form, sink)
    whole = [path for path in tmp_path.glob("out-*") if path.is_file()]
    files = [*tmp_path.glob("out-*/*"), *whole]
    assert len(files) == len(FILES) + 3
    for path in files:
        content = path.read_text(encoding="utf-8")
        assert not [user for user in users if user in content], path
