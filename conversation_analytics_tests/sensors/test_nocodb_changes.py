"""The sensor against a source in memory, a real lake, and real runs of its jobs."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.core import schemas
from conversation_analytics.core.schemas import INSTANT
from conversation_analytics.core.source import SourceTable
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SHOWN = pl.Schema(
    {"id": pl.String(), "created_at": INSTANT, "changed_at": INSTANT, "fingerprint": pl.String()}
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@dataclass
class Rows:
    """A source of messages in memory; it counts what it is asked for."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def add(
        self, row_id: str, created_at: dt.datetime | None, *, answer: str = "yes",
        updated_at: dt.datetime | None = None,
    ) -> None:  # fmt: skip
        self.rows[row_id] = {
            "id": row_id, "conversation_id": "c", "query": "q", "answer": answer,
            "status": "normal", "created_at": created_at, "updated_at": updated_at,
        }  # fmt: skip

    def read_window(self, table: SourceTable, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        self.asked.append("read_window")
        return self._raw(table, lambda row: row["created_at"] and start <= row["created_at"] < end)

    def read_undated(self, table: SourceTable) -> pl.DataFrame:
        return self._raw(table, lambda row: row["created_at"] is None)

    def read_ids(self, table: SourceTable, ids: Sequence[str]) -> pl.DataFrame:
        self.asked.append(f"read_ids {table}")
        return self._raw(table, lambda row: row["id"] in ids)

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        self.asked.append(f"changes_since {table}")
        rows = [
            (row["id"], row["created_at"], row["updated_at"], self._fingerprint(row))
            for row in self.rows.values()
            if table is SourceTable.MESSAGES
            and any(t is not None and t >= since for t in (row["created_at"], row["updated_at"]))
        ]
        return pl.DataFrame(rows, schema=SHOWN, orient="row")

    def close(self) -> None:
        pass

    @staticmethod
    def _fingerprint(row: dict[str, Any]) -> str:
        return f"{row['updated_at']}"

    def _raw(self, table: SourceTable, wanted: Any) -> pl.DataFrame:
        rows = []
        for row in self.rows.values() if table is SourceTable.MESSAGES else ():
            if wanted(row):
                payload = json.dumps(row, default=str)
                content = json.dumps({**row, "updated_at": None}, default=str)
                rows.append(
                    (
                        row["id"], row["created_at"], payload, _sha256(payload), _sha256(content),
                        self._fingerprint(row), False,
                    )
                )  # fmt: skip
        return pl.DataFrame(rows, schema=schemas.RAW_MESSAGES.polars, orient="row")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Platform:
    """Definitions over the source in memory."""

    settings: Settings
    instance: dg.DagsterInstance
    source: Rows
    cursor: str | None = None

    def tick(self) -> dg.SensorResult:
        repository = build_definitions(self.settings).get_repository_def()
        resources = {"source": self.source, "lake": open_lake(self.settings)}
        with dg.build_sensor_context(
            cursor=self.cursor, resources=resources, repository_def=repository,
            instance=self.instance,
        ) as context:  # fmt: skip
            result = repository.get_sensor_def("nocodb_changes")(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return result

    def run(self, request: dg.RunRequest) -> None:
        assert request.job_name
        job = build_definitions(self.settings).resolve_job_def(request.job_name)
        result = job.execute_in_process(
            QUIET, partition_key=request.partition_key, instance=self.instance,
            resources={"source": self.source}, tags=request.tags, raise_on_error=False,
        )  # fmt: skip
        assert result.success

    def held(self, day: dt.date) -> dict[str, str]:
        frame = open_lake(self.settings).read(schemas.MESSAGES, day.isoformat())
        return dict(frame.select("id", "answer").iter_rows())


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    settings = parse_settings(
        {
            "SENSOR_MAX_RUNS": "2",
            "SENSOR_SETTLE": "0",
            "SENSOR_LAG": "600",
            "PARQUET_BASE_DIR": str(tmp_path / "lake"),
            "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
            "NOCODB_BASE_URL": "http://127.0.0.1:1",
            "NOCODB_API_TOKEN": "unused",
            "NOCODB_PROJECT_ID": "unused",
        }
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Platform(settings, instance, Rows())


def keys(result: dg.SensorResult) -> list[tuple[str | None, str | None]]:
    return [(r.job_name, r.partition_key) for r in result.run_requests or []]


def reason(result: dg.SensorResult) -> str:
    assert isinstance(result.skip_reason, dg.SkipReason)
    return str(result.skip_reason.skip_message)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def test_nothing_new_is_skipped_with_a_reason_a_person_understands(platform: Platform) -> None:
    result = platform.tick()
    assert keys(result) == []
    assert "No row created or changed since" in reason(result)


def test_a_quiet_tick_costs_one_request_a_table(platform: Platform) -> None:
    platform.source.add("a", now())
    for request in platform.tick().run_requests or []:
        platform.run(request)
    platform.source.asked.clear()
    assert keys(platform.tick()) == []
    assert platform.source.asked == ["changes_since conversations", "changes_since messages"]


def test_a_new_row_is_asked_for_until_it_is_held(platform: Platform) -> None:
    created = now()
    platform.source.add("a", created)
    first = platform.tick()
    assert keys(first) == [("daily", created.date().isoformat())]
    again = platform.tick()  # the run was lost
    assert [r.run_key for r in again.run_requests or []] == [
        r.run_key for r in first.run_requests or []
    ]
    platform.run(again.run_requests[0] if again.run_requests else pytest.fail("no run"))
    assert platform.held(created.date()) == {"a": "yes"}
    assert keys(platform.tick()) == []


def test_an_answer_that_is_filled_in_without_a_trace_is_found_by_the_watch_list(
    platform: Platform,
) -> None:
    created = now() - dt.timedelta(hours=5)
    platform.source.add("a", created, answer="", updated_at=created)
    platform.cursor = None
    [request] = platform_first_run(platform, created)
    platform.run(request)
    assert platform.held(created.date()) == {"a": ""}
    assert keys(platform.tick()) == []
    platform.source.add("a", created, answer="done", updated_at=created)
    [request] = platform.tick().run_requests or []
    platform.run(request)
    assert platform.held(created.date()) == {"a": "done"}
    platform.source.asked.clear()
    assert keys(platform.tick()) == []
    assert "read_ids messages" not in platform.source.asked  # finished: watched no more


def platform_first_run(platform: Platform, created: dt.datetime) -> Sequence[dg.RunRequest]:
    cursor = json.dumps({"watermark": created.isoformat()})
    platform.cursor = cursor
    return platform.tick().run_requests or []


def test_a_row_that_is_gone_is_flagged_once_and_watched_no_more(platform: Platform) -> None:
    created = now() - dt.timedelta(hours=5)
    platform.source.add("a", created, answer="")
    [request] = platform_first_run(platform, created)
    platform.run(request)
    del platform.source.rows["a"]
    [request] = platform.tick().run_requests or []
    platform.run(request)
    held = open_lake(platform.settings).read(schemas.RAW_MESSAGES, created.date().isoformat())
    assert held.select("id", "gone").rows() == [("a", True)]
    assert keys(platform.tick()) == []


def test_a_time_that_moves_alone_starts_no_run(platform: Platform) -> None:
    created = now() - dt.timedelta(minutes=5)
    platform.source.add("a", created, updated_at=created)
    for request in platform_first_run(platform, created):
        platform.run(request)
    platform.source.add("a", created, updated_at=now())
    assert keys(platform.tick()) == []
    platform.source.asked.clear()
    assert keys(platform.tick()) == []
    assert "read_ids messages" not in platform.source.asked


def test_without_a_cursor_the_first_look_begins_at_the_newest_row_held(platform: Platform) -> None:
    created = now() - dt.timedelta(days=3)
    platform.source.add("a", created)
    [request] = platform_first_run(platform, created)
    platform.run(request)
    platform.source.add("b", created + dt.timedelta(hours=1))
    platform.cursor = None
    day = (created + dt.timedelta(hours=1)).date()
    assert keys(platform.tick()) == [("daily", day.isoformat())]


def test_a_failed_run_is_tried_again_after_a_pause(platform: Platform) -> None:
    created = now()
    platform.source.add("a", created)
    [request] = platform.tick().run_requests or []
    job = build_definitions(platform.settings).resolve_job_def("daily")

    class Broken(Rows):
        def read_window(self, *_: object) -> pl.DataFrame:
            raise RuntimeError("broken")

    failed = job.execute_in_process(
        QUIET, partition_key=request.partition_key, instance=platform.instance,
        resources={"source": Broken()}, tags=request.tags, raise_on_error=False,
    )  # fmt: skip
    assert not failed.success
    result = platform.tick()
    assert keys(result) == []
    assert "1 rows differ after 1 runs, see what failed; next try after" in reason(result)


def test_a_day_that_is_being_materialised_waits(platform: Platform) -> None:
    created = now()
    platform.source.add("a", created)
    job = build_definitions(platform.settings).resolve_job_def("daily")
    day = created.date().isoformat()
    platform.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED,
        tags={
            "dagster/asset_partition_range_start": "2026-01-01",
            "dagster/asset_partition_range_end": day,
        },
    )  # fmt: skip
    result = platform.tick()
    assert keys(result) == []
    assert reason(result) == f"{day}: 1 rows differ, a run is under way"


def test_at_most_so_many_runs_a_tick_and_the_rest_next_time(platform: Platform) -> None:
    for days in range(5):
        platform.source.add(str(days), now() - dt.timedelta(days=days), updated_at=now())
    seen = []
    for _ in range(3):
        result = platform.tick()
        assert len(keys(result)) <= 2
        for request in result.run_requests or []:
            platform.run(request)
            seen.append(request.partition_key)
    assert len(set(seen)) == len(seen) == 5


def test_an_undated_row_starts_the_undated_job(platform: Platform) -> None:
    platform.source.add("a", None, updated_at=now())
    [request] = platform.tick().run_requests or []
    assert (request.job_name, request.partition_key) == ("undated", None)
    platform.run(request)
    assert keys(platform.tick()) == []


def test_rows_dated_after_today_wait_for_their_day(platform: Platform) -> None:
    """Dagster refuses the whole tick for one partition that does not exist yet."""
    platform.source.add("ahead", now() + dt.timedelta(days=3))
    platform.source.add("far ahead", dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.UTC))
    platform.source.add("now", created := now())
    assert keys(platform.tick()) == [("daily", created.date().isoformat())]


def test_a_day_that_an_earlier_version_wrote_is_watched_once_it_is_made_again(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    created = now() - dt.timedelta(hours=5)
    platform.source.add("a", created, answer="", updated_at=created)
    [request] = platform_first_run(platform, created)
    platform.run(request)
    lake, key = open_lake(platform.settings), created.date().isoformat()
    curated = schemas.MESSAGES
    older = replace(curated, columns=tuple(one for one in curated.columns if one.name != "query"))
    lake.write(older, key, older.empty())
    # The answer has come; other rows are looked at all the same.
    platform.source.add("a", created, answer="done", updated_at=created)
    platform.source.add("b", now())
    requests = platform.tick().run_requests or []
    assert [one.partition_key for one in requests] == [now().date().isoformat()]
    assert f"unfinished turns not watched: day={key} " in caplog.text
