"""The sensor against a source in memory, a real lake, and real runs of its jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.core import schemas
from conversation_analytics.core.changes import Left, SeenRow
from conversation_analytics.core.schemas import INSTANT
from conversation_analytics.core.source import SERVED_BY, SourceTable
from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.sensors.former_days import FormerDays, Reading, left_behind
from conversation_analytics.sensors.held_rows import HeldRows
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.sensors.ticks import tick

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

    def describe(self) -> dict[str, str]:
        return {"source": "in memory"}

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

    def repair(self) -> dg.SensorResult:
        """Return what the sensor `repair_stale` says, which asks the source nothing."""
        return tick("repair_stale", self.settings, self.instance)

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

    def run(self, request: dg.RunRequest, assets: Sequence[str] = ()) -> None:
        """Do what is asked for; just `assets` of it, as a run that dies after them."""
        assert request.job_name
        chosen = [dg.AssetKey(name) for name in assets] or list(request.asset_selection or [])
        with pytest.MonkeyPatch.context() as patch:
            # Dagster takes no other resource for a part of a job.
            opened = "conversation_analytics.definitions.open_source"
            patch.setattr(opened, lambda _settings: self.source)
            job = build_definitions(self.settings).resolve_job_def(request.job_name)
            result = job.execute_in_process(
                QUIET, partition_key=request.partition_key, instance=self.instance,
                tags=request.tags, raise_on_error=False, asset_selection=chosen or None,
            )  # fmt: skip
        assert result.success

    def documents(self) -> list[tuple[str, int, list[str]]]:
        """Return each conversation's document: id, turns, whose turns they are."""
        with contextlib.closing(open_documents(self.settings)) as documents:
            found = documents.find(self.settings.mongodb_conversations_collection, {})
            return [(one["_id"], one["message_count"], one["days"]) for one in found]

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


def keys_of(request: dg.RunRequest) -> tuple[str | None, str | None]:
    return request.job_name, request.partition_key


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


RAW_UNDATED = ["raw_undated_conversations", "raw_undated_messages"]


def test_undated_rows_of_a_run_that_died_after_the_raw_zone_are_made(platform: Platform) -> None:
    platform.source.add("a", None, updated_at=now())
    [request] = platform.tick().run_requests or []
    assert keys(platform.repair()) == []  # nothing has been read
    platform.run(request, RAW_UNDATED)
    assert keys(platform.tick()) == []  # they are held
    [request] = platform.repair().run_requests or []
    assert (request.job_name, request.partition_key) == ("undated", None)
    names = {key.path[-1] for key in request.asset_selection or []}
    assert names >= {"undated_messages", "undated_message_documents"}
    assert names.isdisjoint(RAW_UNDATED)
    platform.run(request)
    assert platform.documents() == [("c", 1, ["undated"])]
    assert keys(platform.repair()) == []


def test_undated_rows_that_another_version_typed_are_typed_again(platform: Platform) -> None:
    platform.source.add("a", None, updated_at=now())
    [request] = platform.tick().run_requests or []
    platform.run(request)
    assert keys(platform.repair()) == []
    lake, table = open_lake(platform.settings), schemas.UNDATED_MESSAGES
    frame = lake.read(table, None)
    earlier = dataclasses.replace(table, columns=table.columns[:-1])
    lake.write(earlier, None, frame.drop(table.columns[-1].name))
    [request] = platform.repair().run_requests or []
    platform.run(request)
    assert lake.read(table, None).equals(frame)
    assert keys(platform.repair()) == []


def test_an_undated_row_that_gets_a_time_is_in_its_day_alone(platform: Platform) -> None:
    platform.source.add("a", None, updated_at=now())
    [request] = platform.tick().run_requests or []
    platform.run(request)
    created = now() - dt.timedelta(days=1)
    day = created.date().isoformat()
    platform.source.add("a", created, updated_at=now())
    # The job `undated` is asked for too; here it is lost, or runs before the day.
    [request, former] = platform.tick().run_requests or []
    assert (keys_of(request), keys_of(former)) == (("daily", day), ("undated", None))
    assert keys(platform.repair()) == []
    platform.run(request)
    assert platform.documents() == [("c", 2, [day, "undated"])]
    assert keys(platform.tick()) == [("undated", None)]  # and is lost again
    [request] = platform.repair().run_requests or []
    assert keys_of(request) == ("undated", None)
    assert "raw_undated_messages" in request.tags["conversation_analytics/why"]
    platform.run(request)
    assert platform.documents() == [("c", 1, [day])]
    assert keys(platform.repair()) == []


def test_a_row_that_the_source_itself_shows_without_a_time_is_asked_for_once(
    platform: Platform,
) -> None:
    created = now() - dt.timedelta(days=1)
    platform.source.add("a", created)
    [request] = platform_first_run(platform, created)
    platform.run(request)
    platform.source.add("a", None, updated_at=now())  # its time is taken away; its day keeps it
    # Its day is asked for, too, and would drop it; here that run is lost.
    [request, former] = platform.tick().run_requests or []
    assert keys_of(former) == ("daily", created.date().isoformat())
    assert keys_of(request) == ("undated", None)
    platform.run(request)
    assert keys(platform.repair()) == []
    lake = open_lake(platform.settings)
    noted = lake.stat(schemas.RAW_UNDATED_MESSAGES, None).inputs
    assert noted.keys() == {f"raw_messages/{created.date()}", SERVED_BY}


def test_rows_dated_after_today_wait_for_their_day(platform: Platform) -> None:
    """Dagster refuses the whole tick for one partition that does not exist yet."""
    platform.source.add("ahead", now() + dt.timedelta(days=3))
    platform.source.add("far ahead", dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.UTC))
    platform.source.add("now", created := now())
    assert keys(platform.tick()) == [("daily", created.date().isoformat())]


def land_raw(platform: Platform, request: dg.RunRequest) -> None:
    assert request.job_name
    job = build_definitions(platform.settings).resolve_job_def(request.job_name)
    undated = "undated_" if request.job_name == "undated" else ""
    result = job.execute_in_process(
        QUIET, partition_key=request.partition_key, instance=platform.instance, tags=request.tags,
        asset_selection=[dg.AssetKey(f"raw_{undated}messages")],
    )  # fmt: skip
    assert result.success


def raw_ids(platform: Platform, day: dt.date | None) -> list[str]:
    schema = schemas.RAW_UNDATED_MESSAGES if day is None else schemas.RAW_MESSAGES
    return sorted(open_lake(platform.settings).read(schema, key_of(day))["id"])


def key_of(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()


def left(platform: Platform) -> list[str]:
    return sorted(json.loads(platform.cursor or "{}")["left"])


@pytest.mark.parametrize("undated", [False, True], ids=["from a day", "from no day"])
@pytest.mark.parametrize("first", ["old", "new"])
def test_a_row_whose_time_was_corrected_leaves_its_former_day(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, first: str, *, undated: bool
) -> None:
    monkeypatch.setattr("conversation_analytics.definitions.open_source", lambda _: platform.source)
    now = dt.datetime.now(dt.UTC)
    before, since = now - dt.timedelta(days=40), now - dt.timedelta(days=1)
    old, new = None if undated else before.date(), since.date()
    platform.source.add("x", None if undated else before)
    platform.source.add("stays", None if undated else before)
    land_raw(
        platform,
        dg.RunRequest(job_name="undated" if undated else "daily", partition_key=key_of(old)),
    )
    # The new time is before what the look is about, or within it after three days without a look.
    away = dt.timedelta(days=3) if first == "old" else dt.timedelta(hours=3)
    platform.cursor = json.dumps({"watermark": (now - away).isoformat()})
    assert platform.tick().skip_reason
    platform.source.add("x", since, updated_at=now - dt.timedelta(minutes=1))
    requests = platform.tick().run_requests or []
    place = f"raw_{'undated_' if undated else ''}messages/{old or ''}"
    assert left(platform) == [place]
    by_key = {request.partition_key: request for request in requests}
    assert set(by_key) == {key_of(old), key_of(new)}
    for key in sorted(by_key, key=lambda one: (one == new.isoformat()) == (first == "old")):
        land_raw(platform, by_key[key])
    assert raw_ids(platform, new) == ["x"]
    if first == "old":
        # It was read while the row was nowhere else, and is asked for again after a pause.
        assert raw_ids(platform, old) == ["stays", "x"]
        assert "rows have moved to another day after 1 runs" in str(platform.tick().skip_reason)
        assert left(platform) == [place]
        land_raw(platform, by_key[key_of(old)])
    assert raw_ids(platform, old) == ["stays"]
    assert platform.tick().skip_reason
    assert left(platform) == []


def test_a_row_that_is_shown_again_is_not_looked_for_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conversation_analytics.definitions.open_source", lambda _: platform.source)
    day = LONG_AGO.date()
    for row_id in ("x", "y"):
        platform.source.add(row_id, LONG_AGO)
    land_raw(platform, dg.RunRequest(job_name="daily", partition_key=day.isoformat()))
    lake, held_rows, source = open_lake(platform.settings), HeldRows(), platform.source
    reading, former_days = Reading(source, lake, held_rows, platform.settings), FormerDays()
    rows = [
        SeenRow(SourceTable.MESSAGES, "x", day + dt.timedelta(days=9), None, "a"),
        SeenRow(SourceTable.MESSAGES, "y", day, None, "b"),  # where it is
        SeenRow(SourceTable.MESSAGES, "not at the source", day, None, "c"),
    ]
    sha256 = lake.stat(schemas.RAW_MESSAGES, day.isoformat()).sha256
    asked = len(source.asked)
    for _ in range(2):
        assert former_days.of(rows, reading) == {f"raw_messages/{day}": sha256}
    assert source.asked[asked:] == ["read_ids messages"]
    assert former_days.of(rows[1:], reading) == {}
    assert source.asked[asked:] == ["read_ids messages"]


def test_a_former_day_is_asked_for_until_it_has_changed_or_a_day_has_passed(
    platform: Platform,
) -> None:
    lake, key = open_lake(platform.settings), LONG_AGO.date().isoformat()
    lake.write(schemas.RAW_MESSAGES, key, schemas.RAW_MESSAGES.empty())
    name, sha256 = f"raw_messages/{key}", lake.stat(schemas.RAW_MESSAGES, key).sha256
    noted = left_behind(lake, {}, {name: sha256, "raw_messages/2026-01-02": "removed"}, LONG_AGO)
    assert noted == {name: Left(sha256, LONG_AGO + dt.timedelta(days=1))}
    later = LONG_AGO + dt.timedelta(hours=23)
    assert left_behind(lake, noted, {name: sha256}, later) == noted
    assert left_behind(lake, noted, {}, LONG_AGO + dt.timedelta(hours=24)) == {}
    assert left_behind(lake, {name: Left("before", later)}, {}, LONG_AGO) == {}


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
