"""`conversation-analytics query`, as a person types it, over a lake of a few rows."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.tables import TABLES
from conversation_analytics.lake.sql import open_sql
from conversation_analytics.lake.store import open_lake
from conversation_analytics.reports.rows import _text, _widths
from conversation_analytics_tests.commands import CLI, ROOT, clean_environment, typed
from conversation_analytics_tests.lake.frames import message_rows

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.stack.seaweedfs import S3Server

README = (ROOT / "README.md").read_text(encoding="utf-8")
SQL_PAGE = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", SQL_PAGE, re.DOTALL)
DAYS = ("2026-11-21", "2026-11-22")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two days of the sample source."""
    folder = tmp_path_factory.mktemp("sample")
    ran = typed(folder, "backfill", *DAYS, SAMPLE_TURNS_PER_DAY="60", ANALYTICS_START_DATE=DAYS[0])
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two days of 100 turns."""
    folder = tmp_path_factory.mktemp("lake")
    lake = open_lake(folder / "data" / "lake")
    for day in DAYS:
        lake.write(MESSAGES, day, message_rows(100, day))
    return folder


def asked(folder: Path, *words: str, **environment: str) -> str:
    result = typed(folder, "query", *words, **environment)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def on_a_terminal(folder: Path, *words: str, columns: int = 80) -> tuple[int, str]:
    """Exit code and what a terminal of that width shows, without its colours."""
    ours, theirs = pty.openpty()
    command = [*CLI, "query", *words]
    environment = clean_environment(TERM="xterm", COLUMNS=str(columns))
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                more = os.read(ours, 65_536)
            except OSError:  # Linux says so at the end
                break
            if not more:
                break
            shown += more
    os.close(ours)
    return process.returncode, re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def test_without_sql_the_views_are_listed(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(asked(folder))))
    assert [row["view"] for row in rows] == [schema.name for schema in TABLES]
    messages = next(row for row in rows if row["view"] == "messages")
    shown = [messages[name] for name in ("days", "first_day", "last_day", "rows")]
    assert shown == ["2", *DAYS, "200"]
    assert "total_price DECIMAL(20,7), " in messages["columns"]
    code, screen = on_a_terminal(folder, "--tables")
    assert code == 0
    assert all(schema.name in screen for schema in TABLES)
    assert "\nmessages: 200 rows, 2 days, 2026-11-21 to 2026-11-22\n    id VARCHAR, " in screen
    assert "\ndaily_report: 0 rows\n    day DATE, " in screen
    assert max(map(len, screen.splitlines())) <= 80


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_the_queries_of_the_documentation_find_rows(sample: Path, number: int) -> None:
    with open_sql(open_lake(sample / "data" / "lake")) as sql:
        rows = [row for b in sql.query(QUERIES[number]).batches for row in b.to_pylist()]
        assert rows
        assert sql.count(QUERIES[number]) == len(rows)
    # Where only one column names rows, the others must hold something.
    assert all(any(row[name] is not None for row in rows) for name in list(rows[0])[-1:])


def test_there_are_eight_queries_and_each_command_of_the_page_works(sample: Path) -> None:
    assert len(QUERIES) >= 8
    shown = re.findall(r"^    (conversation-analytics query .*)$", SQL_PAGE, re.MULTILINE)
    assert len(shown) == 7
    (sample / "question.sql").write_text(QUERIES[0])
    program = " ".join(CLI)
    for command in shown:
        done = subprocess.run(
            ["/bin/bash", "-c", command.replace("conversation-analytics", program, 1)], cwd=sample,
            env=clean_environment(), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert pl.read_parquet(sample / "turns.parquet").height == int(
        asked(sample, "SELECT count(*) AS n FROM messages").split()[1]
    )


def test_the_example_of_the_readme_works(sample: Path) -> None:
    found = re.search(
        r'^\$ \S+/conversation-analytics query "([^"]+)"\n(┌[^`]+)', README, re.MULTILINE
    )
    assert found is not None
    shown = asked(sample, "--format", "table", found[1]).splitlines()
    assert shown[1].split() == found[2].splitlines()[1].split()
    assert [re.sub(r"[\d.]+", "0", line.replace(" ", "")) for line in shown[3:5]] == [
        "│CNY│0│0│",
        "│USD│0│0│",
    ]


def test_the_drill_down_of_the_readme_works(sample: Path) -> None:
    found = re.search(
        r"^\$ \S+/conversation-analytics query (--metric .*)\n(┌[^`]+)", README, re.MULTILINE
    )
    assert found is not None
    words = found[1].split()
    shown = asked(sample, "--format", "table", *words, COLUMNS="80").splitlines()
    assert shown[:3] == found[2].splitlines()[:3]
    assert all(re.match(r"│ [0-9a-f-]{36} │", line) for line in shown[3:5])
    assert re.fullmatch(r"\d+ rows?(, the first \d+ shown \(--limit\))?", shown[-1])


def test_the_errors_listed_are_the_errors_reported(sample: Path) -> None:
    days = ["--from", DAYS[0], "--to", DAYS[1]]
    rows = list(csv.DictReader(io.StringIO(asked(sample, "--metric", "error_rate", *days))))
    reported = asked(
        sample,
        "SELECT sum(value)::BIGINT AS n FROM daily_report WHERE metric = 'errors' "
        f"AND app_id IS NULL AND partition_day BETWEEN '{DAYS[0]}' AND '{DAYS[1]}'",
    ).split()[1]
    assert sum(int(row["errors"]) for row in rows) == int(reported) > 0
    assert list(rows[0]) == [
        "conversation_id", "app_id", "errors", "turns", "first_at", "last_at",
    ]  # fmt: skip
    one_app = asked(sample, "--metric", "errors", *days, "--app", rows[0]["app_id"])
    of_app = list(csv.DictReader(io.StringIO(one_app)))
    assert of_app == [row for row in rows if row["app_id"] == rows[0]["app_id"]]
    first_day = asked(sample, "--metric", "errors", "--from", DAYS[0])
    assert {row["first_at"][:10] for row in csv.DictReader(io.StringIO(first_day))} <= {DAYS[0]}


def test_what_the_drill_down_prints_can_be_asked(sample: Path) -> None:
    words = ["--metric", "cost", "--from", DAYS[0], "--to", DAYS[1], "--app", "it's '; DROP --"]
    printed = asked(sample, *words, "--currency", "USD", "--print-sql")
    assert "'it''s ''; DROP --'" in printed
    assert "= 'USD'" in printed
    assert asked(sample, printed) == asked(sample, *words, "--currency", "USD")
    model = asked(
        sample,
        "SELECT model FROM model_performance WHERE app_id IS NULL AND model IS NOT NULL LIMIT 1",
    ).splitlines()[1]
    words = ["--metric", "turns", "--from", DAYS[0], "--to", DAYS[1], "--model", model]
    of_model = csv.DictReader(io.StringIO(asked(sample, *words)))
    turns = asked(
        sample,
        "SELECT sum(turns) AS n FROM (SELECT DISTINCT start, turns FROM model_performance "
        f"WHERE app_id IS NULL AND model = '{model}')",
    )
    assert sum(int(row["turns"]) for row in of_model) == int(turns.split()[1]) > 0


def test_a_pipe_gets_csv_with_exact_decimals_and_utc(folder: Path) -> None:
    text = asked(
        folder,
        "SELECT id, total_price, created_at, partition_day, error, '' AS empty, true AS yes "
        "FROM messages WHERE id = '2026-11-22-0000007'",
    )
    assert text == (
        "id,total_price,created_at,partition_day,error,empty,yes\n"
        '2026-11-22-0000007,0.0000007,2026-11-22T01:40:48Z,2026-11-22,,"",true\n'
    )


HOSTILE = (
    "SELECT * FROM (VALUES ('=1+1'), ('+1'), ('-1'), ('@x'), (chr(9) || 'x'), (chr(13) || 'x'), "
    "('a,\"b' || chr(10) || 'c'), ('plain')) AS t(\"=name\")"
)


def test_text_that_a_spreadsheet_would_run_is_made_harmless_unless_raw(folder: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", 'a,"b\nc', "plain"]
    for words, apostrophe in (((), "'"), (("--raw",), "")):
        data = subprocess.run(
            [*CLI, "query", HOSTILE, *words], cwd=folder, env=clean_environment(),
            capture_output=True, check=True, timeout=60,
        ).stdout.decode()  # fmt: skip
        rows = [row[0] for row in csv.reader(io.StringIO(data, newline=""))]
        assert rows[0] == f"{apostrophe}=name"
        assert rows[1:] == [apostrophe + text for text in texts[:6]] + texts[6:]
    numbers = asked(folder, "SELECT -1 AS a, -0.5 AS b, DATE '-0001-01-01'::VARCHAR AS c")
    assert numbers.splitlines()[1].startswith("-1,-0.5,")


def test_json_is_exact_and_has_every_row(folder: Path) -> None:
    question = """
        SELECT 1 AS a, 2 AS a, total_price AS p, NULL AS n, 'x' || chr(10) AS t,
          sum(answer_tokens) OVER () AS s, [1.5, NULL] AS l, {'k': created_at} AS o,
          'NaN'::DOUBLE AS f
        FROM messages"""
    lines = asked(folder, "--format", "jsonl", question).splitlines()
    assert len(lines) == 200
    whole = json.loads(asked(folder, "--format", "json", question), parse_float=Decimal)
    assert whole == [json.loads(line, parse_float=Decimal) for line in lines]
    assert whole[7] == {
        "a": 1, "a_1": 2, "p": Decimal("0.0000007"), "n": None, "t": "x\n", "s": None,
        "l": [Decimal("1.5"), None], "o": {"k": "2026-11-21T01:40:48Z"}, "f": None,
    }  # fmt: skip
    assert json.loads(asked(folder, "--format", "json", "FROM daily_report")) == []


def test_markdown_has_no_markup_of_the_rows(folder: Path) -> None:
    text = asked(folder, "--format", "markdown", "SELECT -1 AS n, '[x](y)|<b>' AS t, NULL AS u")
    assert text == "| n | t | u |\n|---:|---|---|\n| -1 | \\[x\\]\\(y\\)\\|&lt;b&gt; | NULL |\n"


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet", "md"])
def test_a_file_is_written_whole_by_its_ending(folder: Path, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"x.{ending}"
    file.write_text("old")
    question = "SELECT id, total_price, created_at FROM messages"
    assert asked(folder, question, "--output", str(file)) == ""
    data = file.read_bytes()
    if ending == "parquet":
        frame = pl.read_parquet(file)
        assert frame.schema["total_price"] == pl.Decimal(20, 7)
        assert frame.height == 200
    else:
        assert data.decode().replace("\\", "").count("2026-11-22-0000099") == 1
    for words in (("SELECT nope FROM messages",), ("SELECT query::INT FROM messages",)):
        assert typed(folder, "query", *words, "-o", str(file)).returncode == 1
        assert file.read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_parquet_comes_through_a_pipe(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    with file.open("wb") as sink:
        subprocess.run(
            [*CLI, "query", "--format", "parquet", "SELECT 1 AS a, 2 AS a"], cwd=folder,
            env=clean_environment(), stdout=sink, check=True, timeout=60,
        )  # fmt: skip
    assert pl.read_parquet(file).to_dicts() == [{"a": 1, "a_1": 2}]


def test_a_terminal_gets_a_table_that_fits_and_the_number_of_rows(folder: Path) -> None:
    code, screen = on_a_terminal(folder, "FROM messages", "--limit", "3", columns=100)
    assert code == 0, screen
    lines = screen.splitlines()
    table = [line for line in lines if line.startswith(("┌", "├", "│", "└"))]
    assert len(table) == 7
    assert max(map(cell_len, table)) <= 100
    assert "NULL" in screen
    assert re.search(r"\d+ columns do not fit: .*total_price.*partition_day", screen)
    assert lines[-1] == "200 rows, the first 3 shown (--limit)"
    code, screen = on_a_terminal(folder, "SELECT 'a' || chr(10) || chr(27) || '[31mred' AS text")
    assert "│ a⏎�[31mred │" in screen
    assert screen.splitlines()[-1] == "1 row"


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 250))
def test_columns_fill_the_width_and_none_is_cut_below_ten(needed: list[int], width: int) -> None:
    given = _widths(needed, width)
    used = sum(given) + 3 * len(given) + 1
    assert used <= width or len(given) == (1 if needed else 0)
    assert all(least >= min(one, 10) for least, one in zip(given, needed, strict=False))
    if given:
        assert given[0] >= min(needed[0], width // 2)
        cut = [one for one, full in zip(given, needed, strict=False) if one < full]
        assert not cut or used >= width
    if len(given) < len(needed):
        assert used + 3 + min(needed[len(given)], 10) > width


def test_sql_comes_from_standard_input(folder: Path) -> None:
    def asked_by_pipe(data: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*CLI, "query", "-"], cwd=folder, env=clean_environment(), input=data,
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip

    done = asked_by_pipe("-- é\nSELECT 'ผู้ใช้' AS x;\n".encode())
    assert done.stdout.decode() == "x\nผู้ใช้\n"
    assert asked_by_pipe(b"SELECT '\xff'").returncode == 2


def test_rows_in_an_ascii_pipe_are_utf8(folder: Path) -> None:
    text = asked(folder, "SELECT 'ผู้ใช้ 😀' AS x", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert text == "x\nผู้ใช้ 😀\n"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("SELECT valeu FROM daily_report",), 1, "there is no column valeu; daily_report has day"),
        (("FROM nope",), 1, "there is no table nope; there are raw_conversations, "),
        (("FROM read_csv('/etc/passwd')",), 1, "reads the lake's views and nothing else"),
        (("SELECT query::INT FROM messages",), 1, "a value cannot be converted"),
        (("SELECT TIMESTAMP 'infinity' AS t",), 1, "column 't' holds a time that is infinite"),
        (("SELECT INTERVAL 1 DAY AS i", "--format", "parquet"), 1, "Parquet has no place"),
        (("SELECT 1", "--tables"), 2, "takes no SQL"),
        (("SELECT 1", "--output", "x.xlsx"), 2, "expected a name with .csv, .json"),
        (("SELECT 1", "--output", "x.csv", "--format", "table"), 2, "a format for files"),
        (("SELECT 1", "--output", "none/x.csv"), 1, "there is no folder"),
        (("SELECT 1", "--limit", "0"), 2, "range"),
        (("UPDATE EXTENSIONS",), 1, "expected a statement that reads, got another"),
        (("SELECT '\udcff'",), 1, "expected Unicode text"),
        (("--metric", "Eror-rate", "--from", DAYS[0]), 2, "meant error_rate or "),
        (("--metric", "zzz", "--from", DAYS[0]), 2, "no metric 'zzz'; There are conversations_n"),
        (("--metric", "errors"), 2, "--from DAY and --to DAY"),
        (("--metric", "errors", "--from", "today"), 2, "'today' is no date"),
        (("--metric", "errors", "--from", DAYS[1], "--to", DAYS[0]), 1, "is before 2026-11-22"),
        (("--metric", "errors", "--from", DAYS[0], "--currency", "USD"), 1, "has no currency"),
        (("--metric", "sessions", "--from", DAYS[0], "--model", "x"), 1, "no value by model"),
        (("--metric", "errors", "--from", DAYS[0], "--app", "\udcff"), 1, "Unicode text"),
        (("--metric", "errors", "SELECT 1"), 2, "--metric makes its own SQL"),
        (("SELECT 1", "--app", "a"), 2, "take --metric"),
        (("--print-sql",), 2, "take --metric"),
    ],
)
def test_what_cannot_be_done_is_one_plain_sentence(
    folder: Path, words: tuple[str, ...], code: int, text: str
) -> None:
    result = typed(folder, "query", *words)
    assert result.returncode == code, result.stderr
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert "ข้อความ" not in result.stderr


def test_parquet_is_not_poured_over_a_terminal(folder: Path) -> None:
    code, screen = on_a_terminal(folder, "SELECT 1", "--format", "parquet")
    assert code == 2
    assert "give --output FILE" in screen


def test_nothing_of_the_rows_is_logged(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    out = asked(folder, "SELECT query FROM messages", LOG_FILE=str(log), LOG_LEVEL="DEBUG")
    assert "ข้อความ" in out
    assert "ข้อความ" not in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "question",
    [
        "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range, b.range) = 7",
        "SELECT range, hash(range) FROM range(100000000000)",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "SELECT length(repeat('x', 3000000000)) AS count",  # one step, which hears no interrupt
    ],
    ids=["computing", "printing", "recursing", "deaf"],
)
def test_ctrl_c_ends_it(folder: Path, tmp_path: Path, question: str) -> None:
    spills = tmp_path / "spills"
    spills.mkdir()
    tmp_path = tmp_path / "out"
    tmp_path.mkdir()
    file = tmp_path / "x.csv"
    with subprocess.Popen(
        [*CLI, "query", question, "--output", str(file)], cwd=folder,
        env=clean_environment(TMPDIR=str(spills)), stderr=subprocess.PIPE, text=True,
        process_group=0,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        # Nothing is written while it computes; its folder of spilled data is there before.
        sign = spills if "count" in question else tmp_path
        while not list(sign.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        errors = process.stderr.read()
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
    assert not list(spills.iterdir())


def test_who_reads_us_may_stop(folder: Path) -> None:
    command = f"{' '.join(CLI)} query 'FROM range(100000000)' | head -n 2"
    done = subprocess.run(
        ["/bin/bash", "-c", command], cwd=folder, env=clean_environment(), capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == "range\n0\n"
    assert "Traceback" not in done.stderr


@pytest.mark.s3
def test_a_lake_on_s3_answers_the_same(
    folder: Path, tmp_path: Path, s3_server: S3Server, s3_prefix: str
) -> None:
    settings = {
        "S3_ENABLED": "true", "S3_BUCKET": s3_server.bucket, "S3_PREFIX": s3_prefix,
        "S3_ENDPOINT_URL": s3_server.endpoint_url, "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key, "AWS_REGION": s3_server.region,
    }  # fmt: skip
    writing = (
        "import os; from conversation_analytics.settings import load_settings; "
        "from conversation_analytics.resources.connections import open_lake; "
        "from conversation_analytics.core.schemas import MESSAGES; "
        "from conversation_analytics_tests.lake.frames import message_rows; "
        "lake = open_lake(load_settings(os.environ, None)); "
        f"[lake.write(MESSAGES, day, message_rows(100, day)) for day in {DAYS}]"
    )
    environment = clean_environment(**settings)
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run([sys.executable, "-c", writing], env=environment, check=True, timeout=60)
    for words in (["FROM messages"], [], ["--format", "json", "FROM messages LIMIT 3"]):
        assert asked(tmp_path, *words, **settings) == asked(folder, *words)
    wrong = {**settings, "AWS_SECRET_ACCESS_KEY": "wr0ng-secret"}
    refused = typed(tmp_path, "query", "FROM messages", **wrong)
    assert refused.returncode == 1
    assert "AWS_SECRET_ACCESS_KEY" in refused.stderr
    assert not any(
        secret in refused.stdout + refused.stderr
        for secret in ("wr0ng-secret", s3_server.access_key, s3_server.secret_key)
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.0000001"), "-0.0000001"),
        (0.1, "0.1"),
        (True, "true"),
        (dt.date(1, 2, 3), "0001-02-03"),
        (dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC), "2026-01-02T03:04:05.000006Z"),
        (b"\x00\xff", "00ff"),
        ((1, 2, 3_500_000_000), "P1M2DT3.5S"),
        ([1, None, {"k": Decimal("0.10")}], '[1,null,{"k":0.10}]'),
    ],
)
def test_values_as_text(value: Any, text: str) -> None:
    assert _text(value) == text
