from __future__ import annotations

import datetime as dt

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.core.changes import CursorError
from conversation_analytics.core.schemas import INSTANT
from conversation_analytics.core.source import SourceTable
from conversation_analytics.definitions import build_definitions
from conversation_analytics.settings import parse_settings

SCHEMA = pl.Schema(
    {"id": pl.String(), "created_at": INSTANT, "changed_at": INSTANT, "fingerprint": pl.String()}
)
SETTINGS = parse_settings({"SENSOR_MAX_RUNS": "2"})


class Rows:
    """A source that only knows what changed."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, dt.datetime | None, dt.datetime | None, str]] = []
        self.asked: list[dt.datetime] = []

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        self.asked.append(since)
        rows = self.rows if table is SourceTable.MESSAGES else []
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def look(source: Rows, cursor: str | None) -> dg.SensorResult:
    repository = build_definitions(SETTINGS).get_repository_def()
    sensor = repository.get_sensor_def("nocodb_changes")
    context = dg.build_sensor_context(
        cursor=cursor, resources={"source": source}, repository_def=repository
    )
    result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def keys(result: dg.SensorResult) -> list[tuple[str | None, str | None]]:
    return [(r.job_name, r.partition_key) for r in result.run_requests or []]


def test_nothing_new_is_skipped_with_a_reason_a_person_understands() -> None:
    result = look(Rows(), None)
    assert keys(result) == []
    assert isinstance(result.skip_reason, dg.SkipReason)
    assert "No row created or changed since" in str(result.skip_reason.skip_message)


def test_a_new_row_starts_a_run_of_its_day_and_only_once() -> None:
    source = Rows()
    now = dt.datetime.now(dt.UTC)
    source.rows = [("a", now, None, "1")]
    first = look(source, None)
    assert keys(first) == [("daily", now.date().isoformat())]
    second = look(source, first.cursor)
    assert keys(second) == []
    source.rows = [("a", now, now, "2")]
    assert keys(look(source, second.cursor)) == [("daily", now.date().isoformat())]


def test_a_repeated_tick_gives_the_same_run_keys() -> None:
    source = Rows()
    cursor = look(source, None).cursor
    source.rows = [("a", dt.datetime.now(dt.UTC), None, "1")]
    once, again = look(source, cursor), look(source, cursor)
    assert [r.run_key for r in once.run_requests or []] == [
        r.run_key for r in again.run_requests or []
    ]


def test_at_most_so_many_runs_a_tick_and_the_rest_next_time() -> None:
    source = Rows()
    now = dt.datetime.now(dt.UTC)
    source.rows = [(str(n), now - dt.timedelta(days=n), now, "1") for n in range(5)]
    cursor, seen = None, []
    for _ in range(3):
        result = look(source, cursor)
        assert len(keys(result)) <= 2
        seen += keys(result)
        cursor = result.cursor
    assert len(set(seen)) == len(seen) == 5


def test_an_undated_row_starts_the_undated_job() -> None:
    source = Rows()
    source.rows = [("a", None, dt.datetime.now(dt.UTC), "1")]
    assert keys(look(source, None)) == [("undated", None)]


def test_a_row_dated_in_the_future_does_not_fail_the_tick() -> None:
    """Dagster refuses the whole tick for one partition that does not exist yet."""
    source = Rows()
    now = dt.datetime.now(dt.UTC)
    source.rows = [("ahead", now + dt.timedelta(days=3), None, "1"), ("today", now, None, "1")]
    repository = build_definitions(SETTINGS).get_repository_def()
    sensor = repository.get_sensor_def("nocodb_changes")
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(
            instance=instance, resources={"source": source}, repository_def=repository
        )
        requests = sensor.evaluate_tick(context).run_requests or []
    assert [request.partition_key for request in requests] == [now.date().isoformat()]


def test_a_broken_cursor_fails_the_tick_and_says_what_to_do() -> None:
    with pytest.raises(CursorError, match="Reset the cursor"):
        look(Rows(), '{"since": 5}')


def test_undated_rows_are_one_of_the_runs() -> None:
    source = Rows()
    now = dt.datetime.now(dt.UTC)
    source.rows = [
        ("a", None, now, "1"), ("b", now, None, "1"), ("c", now - dt.timedelta(days=1), now, "1")
    ]  # fmt: skip
    first = look(source, None)
    assert [name for name, _ in keys(first)] == ["daily", "daily"]
    assert keys(look(source, first.cursor)) == [("undated", None)]
