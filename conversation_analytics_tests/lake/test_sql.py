"""SQL over the lake: what is read, what is not opened, what is refused, what errors say."""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.errors import LakeError, LakeUnavailableError, QueryError
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import (
    DAILY_REPORT,
    INSTANT,
    MESSAGES,
    RAW_MESSAGES,
    UNDATED_MESSAGES,
)
from conversation_analytics.core.tables import TABLES, period_of
from conversation_analytics.lake import snapshot
from conversation_analytics.lake.encoding import ParquetOptions
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.s3 import S3Config, S3Objects
from conversation_analytics.lake.sql import LakeSql, SqlLimits, open_sql
from conversation_analytics.lake.store import Lake, PartitionBy, open_lake
from conversation_analytics_tests.lake.frames import frames, message_rows

if TYPE_CHECKING:
    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.objects import ObjectStore

DAYS = ("2026-11-20", "2026-11-21", "2026-11-22")
SPLIT = ParquetOptions(max_records_per_file=40)


def ask(sql: LakeSql, statement: str) -> list[tuple[Any, ...]]:
    rows = sql.query(statement)
    return [tuple(row.values()) for batch in rows.batches for row in batch.to_pylist()]


def frame_of(sql: LakeSql, statement: str) -> pl.DataFrame:
    rows = sql.query(statement)
    frame = pl.DataFrame(pa.Table.from_batches(list(rows.batches), rows.schema))
    zoned = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(zoned).dt.convert_time_zone("UTC"))


@pytest.fixture
def lake(objects: ObjectStore) -> Lake:
    """Three days of 100 turns on either storage; nothing else."""
    lake = Lake(objects)
    for day in DAYS:
        lake.write(MESSAGES, day, message_rows(100, day))
    return lake


@pytest.fixture
def local(tmp_path: Path) -> Lake:
    """Three days of 100 turns on disk; nothing else."""
    lake = open_lake(tmp_path / "lake")
    for day in DAYS:
        lake.write(MESSAGES, day, message_rows(100, day))
    return lake


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Path and bytes of every read from the storage."""
    reads: list[tuple[str, int]] = []
    original = snapshot._read

    def read(objects: ObjectStore, path: str, start: int | None, size: int) -> Any:
        piece = original(objects, path, start, size)
        reads.append((path, len(piece.data) if piece else 0))
        return piece

    monkeypatch.setattr(snapshot, "_read", read)
    return reads


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Table of every listing."""
    tables: list[str] = []
    original = Lake.scan_paths

    def scan_paths(self: Lake, schema: TableSchema, keys: Any = None) -> list[str]:
        tables.append(schema.name)
        return original(self, schema, keys)

    monkeypatch.setattr(Lake, "scan_paths", scan_paths)
    return tables


def test_rows_come_as_they_are_stored_with_their_day(lake: Lake) -> None:
    with open_sql(lake) as sql:
        found = frame_of(sql, "FROM messages")
    expected = pl.concat(
        message_rows(100, day).with_columns(partition_day=pl.lit(dt.date.fromisoformat(day)))
        for day in DAYS
    )
    assert_frame_equal(found, expected)


def test_bounds_on_the_day_open_the_objects_of_those_days_only(
    lake: Lake, opened: list[tuple[str, int]]
) -> None:
    wanted = "messages/year=2026/month=11/day=21/part-000.parquet"
    with open_sql(lake) as sql:
        for condition in (
            "partition_day BETWEEN '2026-11-21' AND '2026-11-21'",
            "partition_day = DATE '2026-11-21' AND latency_s > 1",
            "partition_day > '2026-11-20' AND NOT partition_day >= '2026-11-22'",
            "partition_day IN ('2026-11-21', '2030-01-01')",
        ):
            assert ask(sql, f"SELECT count(DISTINCT id) FROM messages WHERE {condition}")[0][0]
    assert {path for path, _ in opened} == {wanted}


def test_a_count_reads_footers_and_no_columns(lake: Lake, opened: list[tuple[str, int]]) -> None:
    lake.write(MESSAGES, "2026-11-19", message_rows(20_000, "2026-11-19"))
    with open_sql(lake) as sql:
        assert ask(sql, "SELECT count(*) FROM messages") == [(20_300,)]
        size = lake.objects.size("messages/year=2026/month=11/day=19/part-000.parquet") or 0
        assert size > 4 * snapshot._TAIL_BYTES
        assert max(read for _, read in opened) <= snapshot._TAIL_BYTES
        opened.clear()
        assert ask(sql, "SELECT max(latency_s) FROM messages")
    assert sum(read for _, read in opened) < size / 2


def test_row_groups_outside_the_bounds_are_not_read(
    objects: ObjectStore, opened: list[tuple[str, int]]
) -> None:
    lake = Lake(objects, ParquetOptions(row_group_size=5_000))
    lake.write(MESSAGES, DAYS[0], message_rows(20_000, DAYS[0]))
    with open_sql(lake) as sql:
        sql.query("SELECT count(*) FROM messages")

        def read_by(condition: str) -> int:
            opened.clear()
            assert ask(sql, f"SELECT max(query) FROM messages WHERE {condition}")[0][0]
            return sum(read for _, read in opened)

        every = read_by("created_at >= '2026-11-20 00:00:00Z'")
        assert read_by("created_at >= '2026-11-20 23:30:00Z'") < every / 2


def test_nothing_is_listed_or_read_before_it_is_asked_for_and_then_once(
    local: Lake, opened: list[tuple[str, int]], listed: list[str]
) -> None:
    with open_sql(local) as sql:
        assert not listed
        ask(sql, "SELECT count(*) FROM messages JOIN daily_report ON metric = id")
        ask(sql, "SELECT count(*) FROM messages")
    assert sorted(listed) == ["daily_report", "messages"]
    assert {path.split("/")[0] for path, _ in opened} == {"messages"}


def test_a_table_without_partitions_yet_is_an_empty_view(objects: ObjectStore) -> None:
    with open_sql(Lake(objects)) as sql:
        for schema in TABLES:
            found = frame_of(sql, f"FROM {schema.name}")
            day = {} if period_of(schema) is None else {"partition_day": pl.Date()}
            assert found.schema == {**schema.polars, **day}
            assert found.is_empty()
        assert ask(sql, "SELECT sum(value) FROM daily_report") == [(None,)]


def test_columns_that_came_later_have_their_default_in_older_partitions(
    objects: ObjectStore,
) -> None:
    older = dataclasses.replace(
        RAW_MESSAGES, columns=tuple(c for c in RAW_MESSAGES.columns if c.absent is None)
    )
    lake = Lake(objects)
    rows = [("1", None, "{}", "s")]
    lake.write(older, DAYS[0], pl.DataFrame(rows, schema=older.polars, orient="row"))
    newer = [("2", None, "{}", "s", None, "f", True), ("3", None, "{}", "s", "c", None, None)]
    lake.write(RAW_MESSAGES, DAYS[1], pl.DataFrame(newer, schema=RAW_MESSAGES.polars, orient="row"))
    with open_sql(lake) as sql:
        found = ask(sql, "SELECT id, content_sha256, fingerprint, gone FROM raw_messages")
        assert found == [("1", "", "", False), ("2", None, "f", True), ("3", "c", None, None)]
        assert_frame_equal(
            frame_of(sql, f"SELECT * EXCLUDE partition_day FROM raw_messages "
                          f"WHERE partition_day = '{DAYS[0]}'"),
            lake.read(RAW_MESSAGES, DAYS[0]),
        )  # fmt: skip


def test_of_several_objects_only_the_current_generation_counts(objects: ObjectStore) -> None:
    lake = Lake(objects, SPLIT)
    lake.write(MESSAGES, DAYS[0], message_rows(100, DAYS[0], "old"))
    old = {info.path: objects.get(info.path) for info in objects.list("messages")}
    lake.write(MESSAGES, DAYS[0], message_rows(90, DAYS[0], "new"))
    for path, data in old.items():  # what a writer leaves that dies before it has tidied up
        if not path.endswith("part-000.parquet"):
            objects.put(path, data or b"")
    assert len(objects.list("messages")) == 5
    with open_sql(lake) as sql:
        found = frame_of(sql, "SELECT * EXCLUDE partition_day FROM messages")
    assert_frame_equal(found, message_rows(90, DAYS[0], "new"))


@pytest.mark.parametrize("partition_by", ["day", "date"])
def test_both_layouts_of_folders_have_their_days(tmp_path: Path, partition_by: PartitionBy) -> None:
    lake = open_lake(tmp_path, partition_by=partition_by)
    for day in ("0999-01-02", "2026-02-28"):
        lake.write(MESSAGES, day, message_rows(3))
    with open_sql(lake) as sql:
        assert ask(sql, "SELECT partition_day, count(*) FROM messages GROUP BY 1 ORDER BY 1") == [
            (dt.date(999, 1, 2), 3),
            (dt.date(2026, 2, 28), 3),
        ]


def test_a_table_without_partitions_has_no_day(objects: ObjectStore) -> None:
    lake = Lake(objects)
    lake.write(UNDATED_MESSAGES, None, UNDATED_MESSAGES.conform(message_rows(5)))
    with open_sql(lake) as sql:
        found = frame_of(sql, "FROM undated_messages")
    assert_frame_equal(found, lake.read(UNDATED_MESSAGES, None))


@given(data=st.data(), schema=st.sampled_from(TABLES))
@settings(max_examples=40)
def test_select_star_gives_any_frame_as_it_was_written(
    data: st.DataObject, schema: TableSchema
) -> None:
    frame = schema.conform(data.draw(frames(schema)))
    key = None if period_of(schema) is None else DAYS[0]
    with tempfile.TemporaryDirectory() as folder:
        lake = open_lake(Path(folder), options=ParquetOptions(max_records_per_file=2))
        lake.write(schema, key, frame)
        with open_sql(lake) as sql:
            day = " EXCLUDE partition_day" if key else ""
            assert_frame_equal(frame_of(sql, f"SELECT *{day} FROM {schema.name}"), frame)


def test_a_partition_replaced_while_it_is_read_is_told_not_mixed(lake: Lake) -> None:
    lake.write(MESSAGES, DAYS[1], message_rows(20_000, DAYS[1]))
    with open_sql(lake) as sql:
        ask(sql, "SELECT count(*) FROM messages")
        lake.write(MESSAGES, DAYS[1], message_rows(20_000, DAYS[1], "new"))
        with pytest.raises(LakeUnavailableError, match=r"day=21.*run the query again"):
            ask(sql, "SELECT max(answer) FROM messages")
        assert ask(sql, f"SELECT count(*) FROM messages WHERE partition_day = '{DAYS[0]}'")
    with open_sql(lake) as sql:
        assert ask(sql, "SELECT count(*) FROM messages") == [(20_200,)]


def test_a_query_of_a_small_partition_replaced_meanwhile_sees_the_old_rows(local: Lake) -> None:
    with open_sql(local) as sql:
        ask(sql, "SELECT count(*) FROM messages")
        for day in DAYS:
            local.write(MESSAGES, day, message_rows(100, day, "new"))
        found = ask(sql, "SELECT count(*) FILTER (query LIKE '% a %') FROM messages")
    assert found == [(300,)]


@pytest.mark.parametrize("before", [ParquetOptions(), SPLIT], ids=["one", "several"])
def test_a_partition_replaced_between_listing_and_reading_is_told(
    objects: ObjectStore, before: ParquetOptions
) -> None:
    Lake(objects, before).write(MESSAGES, DAYS[0], message_rows(100, DAYS[0]))
    with open_sql(Lake(objects)) as sql:
        sql.query("DESCRIBE messages")  # lists
        Lake(objects, SPLIT).write(MESSAGES, DAYS[0], message_rows(100, DAYS[0], "new"))
        with pytest.raises(LakeUnavailableError, match="run the query again"):
            ask(sql, "SELECT count(*) FROM messages")


def test_what_is_torn_foreign_or_misplaced_is_told_by_its_path(lake: Lake) -> None:
    first, second, third = (info.path for info in lake.objects.list("messages"))
    good = lake.objects.get(second) or b""
    lake.objects.put(first, good)
    lake.objects.put(second, good[:-100])
    with open_sql(lake) as sql:
        with pytest.raises(LakeError, match=r"day=20.*the object was copied here"):
            ask(sql, f"SELECT max(id) FROM messages WHERE partition_day = '{DAYS[0]}'")
        with pytest.raises(LakeError, match=r"day=21.*torn or foreign"):
            ask(sql, f"SELECT max(id) FROM messages WHERE partition_day = '{DAYS[1]}'")
        found = ask(sql, f"SELECT count(*) FROM messages WHERE partition_day = '{DAYS[2]}'")
        assert found == [(100,)], third


def test_an_object_of_other_columns_is_refused(local: Lake) -> None:
    other = dataclasses.replace(
        DAILY_REPORT,
        columns=tuple(
            dataclasses.replace(c, dtype=pl.String()) if c.name == "value" else c
            for c in DAILY_REPORT.columns
        ),
    )
    local.write(other, DAYS[0], other.empty())
    with open_sql(local) as sql, pytest.raises(LakeError, match="column 'value': expected decimal"):
        ask(sql, "FROM daily_report")


@pytest.mark.parametrize(
    "statement",
    [
        "FROM read_csv('/etc/passwd')",
        "FROM read_text('/etc/passwd')",
        "FROM read_blob('/etc/passwd')",
        "FROM read_parquet('/etc/passwd')",
        "FROM parquet_metadata('/etc/passwd')",
        "FROM sniff_csv('/etc/passwd')",
        "FROM '/etc/passwd'",
        "FROM glob('/etc/*')",
        "FROM read_text('https://example.org/')",
        "FROM read_text('file:///etc/passwd')",
        "FROM read_text('lake://../../etc/passwd')",
        "FROM read_text('lake:///etc/passwd')",
        "FROM duckdb_secrets()",
        "FROM DAYS",  # a variable of the Python that runs it
        "COPY messages TO '{folder}/x.csv'",
        "COPY messages TO 'lake://messages/x.csv'",
        "EXPLAIN ANALYZE COPY messages TO '{folder}/x.csv'",
        "EXPLAIN ANALYZE COPY messages TO 'lake://messages/x.parquet'",
        "WITH x AS (COPY (SELECT 1) TO '{folder}/x.csv') FROM x",
        "WITH x AS (COPY (SELECT 1) TO 'lake://messages/x.csv') FROM x",
        "EXPLAIN ANALYZE DROP VIEW messages",
        "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1",
        "EXPLAIN ANALYZE CREATE OR REPLACE MACRO count() AS 1",
        "FROM query('SELECT content FROM read_text(''/etc/passwd'')')",
        "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''/etc/passwd'')'))",
        "FROM read_parquet('lake://messages/2026-11-20/000.parquet')",
        "FROM enable_logging(storage='file')",
        "FROM read_csv('/dev/stdin')",
        "UPDATE EXTENSIONS",
        "SELECT '\udcff'",  # what a terminal in another encoding hands over
        "EXPORT DATABASE '{folder}/x'",
        "ATTACH '{folder}/x.db'",
        "ATTACH ':memory:' AS x",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA memory_limit = '1TB'",
        "CREATE TABLE x (a INT)",
        "CREATE OR REPLACE VIEW messages AS SELECT 1",
        "DROP VIEW messages",
        "INSERT INTO messages VALUES (1)",
        "DELETE FROM messages",
        "CREATE SECRET (TYPE s3)",
        "CALL pragma_version()",
        "BEGIN",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW messages",
        "",
        "-- nothing",
    ],
)
def test_what_does_more_than_read_the_lake_is_refused(
    local: Lake, tmp_path: Path, statement: str
) -> None:
    before = sorted(path for path in tmp_path.rglob("*"))
    with open_sql(local) as sql:
        with pytest.raises(QueryError, match="SQL") as refused:
            ask(sql, statement.format(folder=tmp_path))
        assert "\n" not in str(refused.value)
        assert ask(sql, "SELECT count(*) FROM messages") == [(300,)]
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "statement",
    [
        "WITH m AS (FROM messages) SELECT count(*) FROM m",
        "VALUES (1)",
        "PIVOT (SELECT status, 1 AS n FROM messages) ON status USING sum(n)",
        "DESCRIBE messages",
        "SUMMARIZE SELECT latency_s FROM messages",
        "SHOW TABLES",
        "EXPLAIN SELECT 1",
        "/* first */ SELECT 1 -- last\n;",
        "SELECT count(*) FROM query_table('messages')",
        "SELECT count(*) FROM MESSAGES",
    ],
)
def test_whatever_reads_is_allowed(local: Lake, statement: str) -> None:
    with open_sql(local) as sql:
        found = ask(sql, statement)
        assert found
        if not statement.startswith(("EXPLAIN", "SHOW")):
            assert sql.count(statement) == len(found)


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT 1\nFROM nope", r"line 2, column 6: there is no table nope; there are raw_conv"),
        ("SELECT 'ü', valeu FROM daily_report",
         r"line 1, column 13: there is no column valeu; daily_report has day, .*partition_day"),
        ("SELECT a FROM (SELECT 1 AS b) t", r"column 8: there is no column a; there are b"),
        ("SELEC 1", r"line 1, column 1: syntax error at or near \"SELEC\""),
        ("SELECT medain(value) FROM daily_report", r"column 8: .*medain does not exist"),
        ("SELECT sum(metric) FROM daily_report", r"No function matches"),
        ("SELECT app_id FROM messages GROUP BY id", r"column 8: .*GROUP BY"),
    ],
)  # fmt: skip
def test_an_error_is_one_sentence_with_the_place_and_the_names_there_are(
    local: Lake, statement: str, text: str
) -> None:
    with open_sql(local) as sql, pytest.raises(QueryError, match=text) as error:
        sql.query(statement)
    assert "\n" not in str(error.value)
    assert "{" not in str(error.value)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("query::INT", r"column 13: a value cannot be converted"),
        ("error(query)", "a function was given a value that it does not take"),
        ("strptime(query, '%Y')", "a function was given a value|gave up"),
        ("(query || '[')::JSON", "cannot be converted|a value that it does not take"),
        ("(9223372036854775807 + length(query))", "out of range"),
    ],
)
def test_an_error_on_a_row_does_not_quote_it(local: Lake, expression: str, text: str) -> None:
    local.write(MESSAGES, DAYS[0], message_rows(1, DAYS[0], version="s3cret"))
    with open_sql(local) as sql, pytest.raises(QueryError, match=text) as error:
        ask(sql, f"SELECT {expression} FROM messages")
    assert "s3cret" not in str(error.value)


TEXTS = st.none() | st.text(max_size=12) | st.sampled_from(
    ["", " ", "\u00a0", "\u001c", "\u0085x", "Where is it?", "where is it", "İ", "ẞ", "x" * 2001]
)  # fmt: skip


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=20))
@settings(max_examples=20, deadline=None)
def test_likeness_finds_the_turns_that_the_partials_count(
    pairs: list[tuple[str | None, str | None]],
) -> None:
    texts = [text for pair in pairs for text in pair]
    turns = message_rows(len(texts)).with_columns(
        query=pl.Series(texts, dtype=pl.String),
        conversation_id=pl.Series([str(n // 2) for n in range(len(texts))], dtype=pl.String),
        created_at=pl.lit(dt.datetime(2026, 11, 22, tzinfo=dt.UTC)).cast(INSTANT),
    )
    expected = set(rephrased_turns(turns.lazy(), engine=CPU)["id"])
    with tempfile.TemporaryDirectory() as folder:
        lake = open_lake(Path(folder))
        lake.write(MESSAGES, DAYS[0], MESSAGES.conform(turns))
        with open_sql(lake) as sql:
            found = ask(sql, "SELECT b.id, likeness(a.query, b.query) FROM messages a "
                             "JOIN messages b ON b.conversation_id = a.conversation_id "
                             "AND b.id > a.id")  # fmt: skip
    assert {one for one, likeness in found if likeness is not None and likeness >= 0.7} == expected
    assert all(likeness is None or 0 <= likeness <= 1 for _, likeness in found)


def test_what_hears_no_interrupt_is_not_waited_for(local: Lake) -> None:
    sql = open_sql(local)
    spill = sql._spill.path
    rows = sql._thread.submit(time.sleep, 6)
    sql._running = rows
    began = time.monotonic()
    sql.close()
    assert time.monotonic() - began < 5
    assert not spill.exists()
    assert not rows.done()


def test_what_needs_too_much_says_what_to_do(local: Lake) -> None:
    limits = SqlLimits(memory="40MB", spill="1MB")
    with (
        open_sql(local, limits) as sql,
        pytest.raises(QueryError, match="more than 40MB of memory and 1MB of disk: name the col"),
    ):
        ask(sql, "SELECT * FROM (SELECT range, hash(range) h FROM range(20000000)) ORDER BY h")


def test_what_was_spilled_is_removed(local: Lake) -> None:
    with open_sql(local, SqlLimits(memory="60MB")) as sql:
        spill = sql._spill.path
        assert spill.stat().st_mode & 0o077 == 0
        ask(sql, "SELECT max(h) FROM (SELECT hash(range) h FROM range(5000000) ORDER BY h)")
    assert not spill.exists()


def test_rows_come_before_all_are_computed(local: Lake) -> None:
    with open_sql(local) as sql:
        rows = sql.query("SELECT range, range::VARCHAR FROM range(100000000000)")
        assert next(rows.batches).num_rows > 0


def test_the_overview_counts_days_and_rows(lake: Lake) -> None:
    lake.write(UNDATED_MESSAGES, None, UNDATED_MESSAGES.conform(message_rows(5)))
    with open_sql(lake) as sql:
        rows = [row for batch in sql.overview().batches for row in batch.to_pylist()]
    assert [row["view"] for row in rows] == [schema.name for schema in TABLES]
    by_name = {row["view"]: row for row in rows}
    messages = by_name["messages"]
    assert messages["columns"].startswith("id VARCHAR, conversation_id VARCHAR, ")
    assert "total_price DECIMAL(20,7), " in messages["columns"]
    assert messages["columns"].endswith("gone BOOLEAN, partition_day DATE")
    days = (messages["days"], messages["first_day"], messages["last_day"], messages["rows"])
    assert days == (3, dt.date(2026, 11, 20), dt.date(2026, 11, 22), 300)
    assert (by_name["undated_messages"]["days"], by_name["undated_messages"]["rows"]) == (None, 5)
    assert (by_name["daily_report"]["days"], by_name["daily_report"]["rows"]) == (0, 0)


@pytest.mark.s3
def test_a_refused_key_is_not_in_the_error(s3_config: S3Config) -> None:
    wrong = dataclasses.replace(s3_config, secret_access_key="wr0ng-secret")
    with (
        open_sql(Lake(S3Objects(wrong))) as sql,
        pytest.raises(LakeError, match="AWS_SECRET_ACCESS_KEY") as error,
    ):
        ask(sql, "FROM messages")
    for secret in ("wr0ng-secret", s3_config.access_key_id):
        assert secret is not None
        assert secret not in str(error.value)


@pytest.fixture
def away() -> Lake:
    """A lake on a server that is not there."""
    return Lake(
        S3Objects(
            S3Config("b", endpoint_url="http://127.0.0.1:9", access_key_id="k",
                     secret_access_key="s", max_retries=0)
        )
    )  # fmt: skip


def test_storage_that_does_not_answer_is_told(away: Lake) -> None:
    with open_sql(away) as sql:
        assert ask(sql, "SELECT 1") == [(1,)]
        with pytest.raises(LakeUnavailableError, match="S3_ENDPOINT_URL is right and reachable"):
            ask(sql, "FROM messages")


def test_another_kind_of_storage_is_refused(local: Lake) -> None:
    class Other(LocalObjects):
        pass

    assert isinstance(local.objects, LocalObjects)
    with open_sql(Lake(Other(local.objects.root))) as sql:
        assert ask(sql, "SELECT count(*) FROM messages") == [(300,)]
    with pytest.raises(LakeError, match="expected a lake on local disk or S3"):
        snapshot._read(object(), "x", None, 1)  # type: ignore[arg-type]


def test_parameters_are_values_and_never_sql(local: Lake) -> None:
    statement = "SELECT id FROM messages WHERE query = $text OR id = $id"
    with open_sql(local) as sql:
        for text in ("' OR '1'='1", "x'; DROP VIEW messages; --", "$id", "a\0b"):
            rows = sql.query(statement, {"text": text, "id": f"{DAYS[0]}-0000001"})
            assert [row["id"] for b in rows.batches for row in b.to_pylist()] == [
                f"{DAYS[0]}-0000001"
            ]
        ids = sql.query("SELECT count(*) AS n FROM messages WHERE id IN (SELECT unnest($ids))",
                        {"ids": [f"{DAYS[0]}-0000001", "none"]})  # fmt: skip
        assert [row for b in ids.batches for row in b.to_pylist()] == [{"n": 1}]
        with pytest.raises(QueryError, match="there is no column"):
            sql.query("SELECT nothing FROM messages WHERE id = $id", {"id": "a"})


def test_an_error_on_a_row_with_parameters_does_not_quote_it(local: Lake) -> None:
    with open_sql(local) as sql, pytest.raises(QueryError, match="not shown") as told:
        list(sql.query("SELECT answer::INT FROM messages WHERE id <> $id", {"id": "a"}).batches)
    assert "answer 0" not in str(told.value)
