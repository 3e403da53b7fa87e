"""Weeks of topics: found in order, and again where their messages or the week before changed."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets import topics
from conversation_analytics.assets.periods import stale_periods
from conversation_analytics.core.errors import DeviceUnavailableError
from conversation_analytics.core.periods import Period
from conversation_analytics.core.schemas import MESSAGES, RAW_MESSAGES
from conversation_analytics.core.staleness import StaleAsset
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.io_managers.document_io import MADE_FROM
from conversation_analytics.io_managers.retries import MAX_RETRIES
from conversation_analytics.materialize import PlannedRun, follow_ups, look_for_stale_topics
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings
from conversation_analytics_tests.assets.topic_weeks import topic_settings, write_day
from conversation_analytics_tests.language.translators.scripted_server import Answer, scripted
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.core.embedding import Embedder
    from conversation_analytics.core.engine import EngineChoice
    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.store import Lake

WEEK = dt.timedelta(weeks=1)
FIRST = dt.date(2026, 11, 2)
SECOND, THIRD = FIRST + WEEK, FIRST + 2 * WEEK
OVER = THIRD + WEEK
"""A day on which all three weeks are over."""
DAYS = [one + dt.timedelta(days=day) for one in (FIRST, SECOND, THIRD) for day in (0, 2)]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = topic_settings(tmp_path, FIRST)
    for day in DAYS:
        write_day(open_lake(made), day, {"refund": 9, "parcel": 9, "password": 9})
    return made


def stale(settings: Settings, today: dt.date = OVER, *days: dt.date) -> dict[str, str]:
    """Return why the topics of weeks are stale, by week."""
    return {
        one.label: one.assets[0].reason
        for one in look_for_stale_topics(settings, days or DAYS, today)
    }


def run(settings: Settings, planned: PlannedRun, instance: dg.DagsterInstance) -> str:
    first = last = None
    if made := planned.partitions:
        first, last = made.first.isoformat(), made.last.isoformat()
    assets = made.assets if made else ()
    run_job(settings, planned.job, first, last, instance=instance, assets=assets)
    return f"{planned.job} {planned.label}"


def follow(
    settings: Settings, instance: dg.DagsterInstance, *days: dt.date, today: dt.date = OVER
) -> list[str]:
    """Make what follows from changed days, as `run`, `backfill` and `repair` do."""
    return [run(settings, one, instance) for one in follow_ups(settings, days or DAYS, today)]


def test_weeks_that_are_over_are_made_in_order_and_are_then_as_they_should_be(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    assert stale(settings, THIRD + dt.timedelta(days=6)) == {
        "2026-W45": "missing", "2026-W46": "missing",
    }  # fmt: skip
    sunday = THIRD + dt.timedelta(days=6)
    assert follow(settings, instance, today=sunday) == ["topics 2026-W45 to 2026-W46"]
    assert follow(settings, instance) == ["topics 2026-W47"]
    assert stale(settings) == {}
    assert follow(settings, instance) == []
    lake = open_lake(settings)
    weeks = [lake.read(TOPICS, one.isoformat()) for one in (FIRST, SECOND, THIRD)]
    assert {tuple(one.filter("shown")["topic_id"]) for one in weeks} == {
        ("2026-11-02-001", "2026-11-02-002", "2026-11-02-003")
    }
    # Of a week that was made in the same run, and of one that was not.
    for key, before in ((SECOND, FIRST), (THIRD, SECOND)):
        recorded = lake.stat(TOPICS, key.isoformat()).inputs
        assert recorded[f"topics/{before}"] == lake.stat(TOPICS, before.isoformat()).sha256


def test_a_changed_day_makes_its_week_again_and_later_ones_only_where_topics_changed(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    follow(settings, instance)
    lake = open_lake(settings)
    digests = [lake.stat(TOPICS, one.isoformat()).sha256 for one in (FIRST, SECOND, THIRD)]

    # A day is written again with other bytes but the same texts: the next week stays.
    held, info = lake.read_with_info(MESSAGES, FIRST.isoformat())
    lake.write(MESSAGES, FIRST.isoformat(), held.with_columns(latency_s=1.0), inputs=info.inputs)
    assert stale(settings) == {"2026-W45": f"messages/{FIRST} has changed since"}
    assert follow(settings, instance, FIRST) == ["topics 2026-W45"]
    assert [lake.stat(TOPICS, one.isoformat()).sha256 for one in (FIRST, SECOND, THIRD)] == digests

    # New conversations came: what goes on from this week is found again, to the end.
    write_day(lake, FIRST, {"refund": 9, "parcel": 9, "password": 9, "weather": 9})
    assert stale(settings) == {"2026-W45": f"messages/{FIRST} has changed since"}
    assert follow(settings, instance, FIRST) == [
        "topics 2026-W45", "topics 2026-W46", "topics 2026-W47",
    ]  # fmt: skip
    assert stale(settings) == {}


def test_a_new_day_another_limit_and_a_lost_table_make_weeks_stale(
    tmp_path: Path, settings: Settings, instance: dg.DagsterInstance
) -> None:
    follow(settings, instance)
    lake = open_lake(settings)
    friday = SECOND + dt.timedelta(days=4)
    write_day(lake, friday, {"refund": 3})
    assert stale(settings) == {"2026-W46": f"messages/{friday} has changed since"}
    assert stale(settings, OVER, THIRD) == {}
    follow(settings, instance)
    other = topic_settings(tmp_path, FIRST, TOPIC_MIN_USERS="4")
    assert set(stale(other)) == {"2026-W45", "2026-W46", "2026-W47"}
    folder = f"{CONVERSATION_TOPICS.name}/year=2026/month=11/day=16"
    lake.objects.delete(f"{folder}/part-000.parquet")
    assert stale(settings) == {"2026-W47": "missing"}
    assert follow(settings, instance) == ["topics 2026-W47"]


def test_a_week_that_fails_is_tried_once_and_keeps_no_other_from_being_made(
    settings: Settings,
) -> None:
    """Nothing is made here, as if every run failed: the runs come to an end all the same."""
    planned = [one.label for one in follow_ups(settings, DAYS, OVER)]
    assert planned == ["2026-W45 to 2026-W47"]


def test_an_engine_that_cannot_embed_asks_for_another_one(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(choice: EngineChoice, name: str) -> Embedder:
        raise DeviceUnavailableError(f"{name} cannot be had of a {choice.kind}")

    monkeypatch.setattr(topics, "embedder_of", absent)
    week = FIRST.isoformat()
    result = run_job(settings, "topics", week, week, instance=instance, raise_on_error=False)
    told = [one for one in result.all_events if one.is_step_up_for_retry]
    assert [one.step_key for one in told] == ["find_topics"] * MAX_RETRIES
    assert {one.step_retry_data.seconds_to_wait for one in told} == {None}


def documents_of(settings: Settings, week: dt.date) -> dict[str, dict[str, Any]]:
    with contextlib.closing(open_documents(settings)) as documents:
        found = documents.find(settings.mongodb_topics_collection, {"week": week.isoformat()})
        return {one["topic_id"]: one for one in found}


def test_documents_are_of_what_is_shown_and_stale_with_the_topics(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    lake = open_lake(settings)
    write_day(lake, DAYS[0], {"refund": 30, "parcel": 9, "password": 9, "weather": 2})
    follow(settings, instance)
    first, second = documents_of(settings, FIRST), documents_of(settings, SECOND)
    held = lake.read(TOPICS, FIRST.isoformat())
    assert set(first) == set(held.filter("shown")["topic_id"])
    assert all(one["users"] >= 3 and one["conversations"] >= 3 for one in first.values())
    assert {one["change"] for one in first.values()} == {None}
    assert {one["change"] for one in second.values()} <= {
        "no clear change",
        "shrunk",
        "grown",
        "new",
    }
    with contextlib.closing(open_documents(settings)) as documents:
        documents.replace_partition(MADE_FROM, f"topic_documents/{SECOND}", [])
    assert stale(settings) == {"2026-W46": "missing"}
    [planned] = follow_ups(settings, DAYS, OVER)
    assert planned.partitions is not None
    assert planned.partitions.assets == ("topic_documents",)
    # The week before tells in the documents of the next one, too.
    write_day(lake, DAYS[0], {"parcel": 9, "password": 9})
    follow(settings, instance)
    assert stale(settings) == {}
    shown = documents_of(settings, FIRST).keys()
    again = documents_of(settings, SECOND)
    assert {one for one, document in again.items() if document["change"] == "new"} == {
        *(again.keys() - shown)
    }


def test_the_page_of_a_week_tells_its_topics_and_follows_them(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    limits = {"TOPIC_MIN_USERS": "2", "TOPIC_MIN_CONVERSATIONS": "2"}
    settings = topic_settings(tmp_path, FIRST, SAMPLE_TURNS_PER_DAY="40", **limits)
    days = [FIRST, FIRST + dt.timedelta(days=1), SECOND]
    run_job(settings, "daily", FIRST.isoformat(), days[1].isoformat(), instance=instance)
    run_job(settings, "daily", SECOND.isoformat(), instance=instance)
    lake = open_lake(settings)

    def pages() -> list[str]:
        return [
            lake.get_report(f"weekly/{week}.{ending}").decode()
            for week in (FIRST, SECOND)
            for ending in ("html", "md")
        ]

    run_job(settings, "weekly", FIRST.isoformat(), SECOND.isoformat(), instance=instance)
    assert not any("Topics of the week" in one or "| topic |" in one for one in pages())
    # As in `run`: topics first, then the pages of both weeks, which tell them now.
    assert follow(settings, instance, *days)[:2] == [
        "topics 2026-W45 to 2026-W46", "weekly 2026-W45 to 2026-W46",
    ]  # fmt: skip
    first, _, second, lines = pages()
    assert "Topics of the week" in first
    assert "gone" in second
    assert "| topic |" in lines
    held = lake.read(TOPICS, SECOND.isoformat())
    [largest] = held.filter("shown").sort("conversations", descending=True).head(1)["conversations"]
    assert f"| {largest} |" in lines
    for one in held.filter(~held["shown"])["topic_id"]:
        assert one not in second
    inputs = json.loads(lake.get_report(f"weekly/{SECOND}.inputs.json"))
    assert {f"topics/{FIRST}", f"topics/{SECOND}"} <= inputs.keys()

    # Other topics, other pages: of the week, and of the next one, which stands beside it.
    found, info = lake.read_with_info(TOPICS, FIRST.isoformat())
    lake.write(TOPICS, FIRST.isoformat(), found.head(1), inputs=info.inputs)
    with contextlib.closing(open_documents(settings)) as documents:
        weeks = stale_periods(lake, documents, settings, Period.WEEK, [FIRST], OVER)
    assert {one.label: one.assets[0].asset for one in weeks} == {
        "2026-W45": "weekly_report_files", "2026-W46": "weekly_report_files",
    }  # fmt: skip


def test_topics_that_an_earlier_version_wrote_are_found_again_from_the_first_one_on(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    follow(settings, instance)
    lake = open_lake(settings)
    before = {one: lake.read(TOPICS, one.isoformat()) for one in (FIRST, SECOND, THIRD)}
    other = replace(TOPICS, columns=TOPICS.columns[:-1])
    for week, frame in before.items():
        lake.write(other, week.isoformat(), frame.drop(TOPICS.columns[-1].name))
    # Looked at are the weeks of the last day alone: those that its ids go on from come first.
    assert set(stale(settings, OVER, DAYS[-1])) == {"2026-W45", "2026-W46", "2026-W47"}
    with contextlib.closing(open_documents(settings)) as documents:
        assert (
            stale_periods(lake, documents, settings, Period.WEEK, DAYS, OVER) == ()
        )  # no day has partials here
    follow(settings, instance, DAYS[-1])
    assert {one: lake.read(TOPICS, one.isoformat()).rows() for one in before} == {
        one: frame.rows() for one, frame in before.items()
    }


def test_a_model_names_what_is_shown_once(
    settings: Settings, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    write_day(open_lake(settings), DAYS[0], {"refund": 9, "parcel": 9, "weather": 2})
    answer = {"message": {"content": '{"name": "Questions of a kind"}'}, "finish_reason": "stop"}
    with scripted(Answer(body={"choices": [answer]})) as server:
        named = topic_settings(
            tmp_path, FIRST, TOPIC_NAMER_URL=server.base_url, TOPIC_NAMER_MODEL="small-1"
        )
        follow(named, instance)
        asked, lake = len(server.asked), open_lake(named)
        weeks = [lake.read(TOPICS, one.isoformat()) for one in (FIRST, SECOND, THIRD)]
        topics = pl.concat(weeks).filter(pl.col("conversations") > 0)
        shown, hidden = topics.filter("shown"), topics.filter(~pl.col("shown"))
        assert shown.height
        assert hidden.height
        assert set(shown["label"]) == {"Questions of a kind"}
        assert set(shown["label_by"]) == {"small-1"}
        assert hidden["label"].null_count() == hidden.height
        assert stale(named) == {}
        before = lake.stat(TOPICS, SECOND.isoformat()).sha256
        run_job(named, "topics", FIRST.isoformat(), THIRD.isoformat(), instance=instance)
        assert (len(server.asked), lake.stat(TOPICS, SECOND.isoformat()).sha256) == (asked, before)
    assert stale(settings).keys() == {"2026-W45", "2026-W46", "2026-W47"}


def test_personal_data_across_any_cut_is_not_sent_to_the_namer(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    day = DAYS[0]
    write_day(open_lake(topic_settings(tmp_path, FIRST)), day, {"refund": 9})
    lake = open_lake(topic_settings(tmp_path, FIRST))
    held = lake.read(MESSAGES, day.isoformat())
    # So much of it that what is left after redaction is far below what a namer is sent.
    addresses = [f"{'anna.kowalska' * 4}.{number}@example.com" for number in range(40)]
    lake.write(MESSAGES, day.isoformat(), held.with_columns(
        query=pl.lit("refund: " + " ".join(addresses))
    ))  # fmt: skip
    answer = {"message": {"content": '{"name": "Questions of a kind"}'}, "finish_reason": "stop"}
    with scripted(Answer(body={"choices": [answer]})) as server:
        named = topic_settings(
            tmp_path, FIRST, TOPIC_NAMER_URL=server.base_url, TOPIC_NAMER_MODEL="small-1"
        )
        follow(named, instance, day)
        sent = b"".join(one.content for one in server.asked).decode()
    assert "<EMAIL_40>" in sent
    assert "kowalska" not in sent


def write_older(lake: Lake, schema: TableSchema, key: str) -> None:
    """Replace a partition by what a version wrote that did not know one of the columns."""
    left_out = "query" if schema is MESSAGES else schema.columns[-1].name
    older = replace(schema, columns=tuple(c for c in schema.columns if c.name != left_out))
    lake.write(older, key, older.empty())


def kept_from(settings: Settings, first: dt.date) -> Settings:
    """Return the settings with which the curated days before `first` are too old on `OVER`."""
    return Settings({**settings.values, "RETENTION_CURATED_DAYS": (OVER - first).days})


def shown_of(settings: Settings, week: dt.date) -> int:
    return int(open_lake(settings).read(TOPICS, week.isoformat())["conversations"].sum())


def test_a_week_waits_for_messages_of_another_version(
    settings: Settings, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    follow(settings, instance)
    lake = open_lake(settings)
    # Their rows are held as served, so that the day is made again.
    lake.write(RAW_MESSAGES, SECOND.isoformat(), RAW_MESSAGES.empty())
    write_older(lake, MESSAGES, SECOND.isoformat())
    assert stale(settings) == {}
    assert "left out topics=2026-W46 weeks=1: days of another version" in caplog.text
    # Topics of another version wait with it, and the week whose ids go on from them.
    write_older(lake, TOPICS, SECOND.isoformat())
    caplog.clear()
    assert stale(settings) == {}
    assert "left out topics=2026-W46,2026-W47 weeks=2" in caplog.text
    write_day(lake, SECOND, {"refund": 9, "parcel": 9})
    assert stale(settings) == {
        "2026-W46": "made by another version",
        "2026-W47": f"topics/{SECOND} has changed since",
    }


def test_topics_of_a_week_stay_where_messages_of_it_are_gone(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    follow(settings, instance)
    lake = open_lake(settings)
    told = shown_of(settings, FIRST)
    with contextlib.closing(open_documents(settings)) as documents:
        documents.replace_partition(MADE_FROM, f"topic_documents/{FIRST}", [])
    lake.remove(MESSAGES, FIRST.isoformat())
    # Whatever the ages are by now, and of messages that are about to go as well.
    for aged in (settings, kept_from(settings, DAYS[1])):
        [week] = look_for_stale_topics(aged, DAYS, OVER)
        assert week.label == "2026-W45"
        assert week.assets == (StaleAsset("topic_documents", "missing"),)
    assert follow(settings, instance) == ["topics 2026-W45"]
    assert follow(settings, instance) == []
    assert shown_of(settings, FIRST) == told
    assert documents_of(settings, FIRST)
    # Found with other limits than now: there is no week left to find them of.
    other = Settings({**settings.values, "TOPIC_MIN_USERS": 4})
    assert set(stale(other)) == {"2026-W46", "2026-W47"}
    assert set(stale(kept_from(other, SECOND + dt.timedelta(days=1)))) == {"2026-W47"}


def test_ids_begin_anew_after_a_week_of_another_version_that_is_never_found_again(
    settings: Settings, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    follow(settings, instance)
    lake = open_lake(settings)
    for table in (TOPICS, CONVERSATION_TOPICS):
        write_older(lake, table, FIRST.isoformat())
    # Messages of it may be there yet, of this version or another one: they are about to go.
    write_older(lake, MESSAGES, FIRST.isoformat())
    because = {"2026-W46": "made of other inputs or with other settings"}
    assert stale(kept_from(settings, SECOND)) == because
    assert "left out topics=2026-W45 weeks=1: of another version" in caplog.text
    for day in DAYS[:2]:
        lake.remove(MESSAGES, day.isoformat())
    assert stale(settings) == because
    assert follow(settings, instance)[:1] == ["topics 2026-W46"]
    assert f"ids of {SECOND} begin anew" in caplog.text
    again = lake.stat(TOPICS, SECOND.isoformat()).inputs
    assert f"topics/{FIRST}" not in again
    assert {one[:10] for one in lake.read(TOPICS, SECOND.isoformat())["topic_id"]} == {str(SECOND)}
    assert stale(settings) == {}


def test_weeks_before_the_first_day_are_left_out(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    follow(settings, instance)
    lake = open_lake(settings)
    later = Settings({**settings.values, "ANALYTICS_START_DATE": SECOND + dt.timedelta(days=3)})
    write_older(lake, TOPICS, FIRST.isoformat())
    write_day(lake, DAYS[0], {"refund": 30})
    assert stale(later) == {"2026-W46": "made of other inputs or with other settings"}
    assert follow(later, instance)[:1] == ["topics 2026-W46"]
    assert stale(later) == {}


def test_documents_of_topics_are_made_again_in_another_collection(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    follow(settings, instance)
    moved = Settings({**settings.values, "MONGODB_TOPICS_COLLECTION": "themes"})
    found = look_for_stale_topics(moved, DAYS, OVER)
    assert {asset.asset for week in found for asset in week.assets} == {"topic_documents"}
    assert follow(moved, instance) == ["topics 2026-W45 to 2026-W47"]
    assert documents_of(moved, THIRD) == documents_of(settings, THIRD) != {}
    assert stale(moved) == {}
