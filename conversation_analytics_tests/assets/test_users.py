"""Users over all days: made of what is held, stale when a day has changed, served as documents."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.assets import users
from conversation_analytics.assets.users import partials_held, stale_users
from conversation_analytics.core import schemas
from conversation_analytics.core.cohorts import USER_COHORTS, USER_GROWTH
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.user_analytics import USER_ANALYTICS, users_of_days
from conversation_analytics.core.zones import DAILY
from conversation_analytics.definitions import build_definitions
from conversation_analytics.io_managers import retries
from conversation_analytics.materialize import merges_of
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.oracles import users_oracle
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST, LAST = dt.date(2026, 11, 2), dt.date(2026, 11, 12)
ASSETS = ["user_analytics", "user_growth", "user_cohorts", "user_analytics_documents",
          "user_report_files"]  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(tmp_path / "lake"),
            "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
            "ANALYTICS_START_DATE": FIRST.isoformat(),
            "ANALYTICS_TIMEZONE": "Asia/Bangkok",
            "SAMPLE_TURNS_PER_DAY": "25",
        }
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def stale(settings: Settings, today: dt.date = LAST) -> dict[str, str]:
    documents = open_documents(settings)
    try:
        found = stale_users(open_lake(settings), documents, settings, today)
        return {one.asset: one.reason for one in found}
    finally:
        documents.close()


def rows_of(settings: Settings, table: schemas.TableSchema) -> list[dict[str, Any]]:
    lake = open_lake(settings)
    return [row for key in lake.keys(table) for row in lake.read(table, key).to_dicts()]


def test_users_are_what_the_rows_of_all_days_say_and_follow_a_changed_day(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    assert stale(settings) == {}  # no day is held, so that there are no users
    run_job(settings, "daily", FIRST.isoformat(), LAST.isoformat(), instance=instance)
    assert list(stale(settings)) == ASSETS
    assert [run.job for run in merges_of(settings, [])] == ["users"]
    run_job(settings, "users", instance=instance)
    assert stale(settings) == {}
    assert merges_of(settings, []) == []
    # Made again of the same days, nothing is written.
    again = run_job(settings, "users", instance=instance)
    told = [one.metadata for one in again.asset_materializations_for_node("fold_users")]
    assert [one["changed"].value for one in told] == [False] * 3
    assert not any("user_id" in str(one["preview"].value) for one in told)

    lake = open_lake(settings)
    people = {
        (row.pop("app_id"), row.pop("user_id")): users_oracle.read(row)
        for row in lake.read(USER_ANALYTICS, None).to_dicts()
    }
    messages, feedbacks = rows_of(settings, schemas.MESSAGES), rows_of(settings, schemas.FEEDBACKS)
    languages = {row["id"]: row["query_language"] for row in rows_of(settings, MESSAGE_LANGUAGE)}
    messages = [row | {"query_language": languages[row["id"]]} for row in messages]
    zone = settings.analytics_timezone.key
    assert people == users_oracle.users(messages, feedbacks, LAST, zone)
    assert any(row["likes"] for row in people.values())
    before = [lake.read(table, None) for table in (USER_ANALYTICS, USER_GROWTH, USER_COHORTS)]

    # A day in the middle changes: everything is of another day now; made again, it is as before.
    key = (FIRST + dt.timedelta(days=3)).isoformat()
    partials, info = lake.read_with_info(schemas.DAILY_PARTIALS, key)
    lake.write(schemas.DAILY_PARTIALS, key, partials.head(0), inputs=info.inputs)
    assert stale(settings)["user_analytics"] == "daily_partials has changed since"
    run_job(settings, "users", instance=instance)
    assert lake.read(USER_ANALYTICS, None).height < before[0].height
    lake.write(schemas.DAILY_PARTIALS, key, partials, inputs=info.inputs)
    run_job(settings, "users", instance=instance)
    for table, as_it_was in zip((USER_ANALYTICS, USER_GROWTH, USER_COHORTS), before, strict=True):
        assert_frame_equal(lake.read(table, None), as_it_was, check_exact=True)


def test_the_page_of_users_tells_growth_and_names_nobody(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    run_job(settings, "daily", FIRST.isoformat(), LAST.isoformat(), instance=instance)
    result = run_job(settings, "users", instance=instance)
    lake = open_lake(settings)
    made = {path for path in lake.reports() if path.startswith("users/")}
    assert made == {
        "users/index.html", "users/index.inputs.json", "users/users.md", "users/growth.csv",
        "users/cohorts.csv",
    }  # fmt: skip
    page = lake.get_report("users/index.html").decode()
    table = lake.read(USER_ANALYTICS, None)
    count = table.filter(pl.col("app_id").is_null()).height
    assert f'<div class="name">Users, all days</div><div class="value">{count}</div>' in page
    assert "<h2>Growth by week</h2>" in page
    (told,) = result.asset_materializations_for_node("user_report_files")
    plot = str(told.metadata["plot"].value)
    assert plot.startswith("![Users](data:image/svg+xml;base64,")
    assert len(plot) < 40_000
    texts = [lake.get_report(path).decode() for path in made] + [str(told.metadata)]
    for user in table["user_id"].unique():
        assert not any(user in text for text in texts)
    # A lost page is made again, and alone.
    lake.objects.delete("reports/users/index.inputs.json")
    assert stale(settings) == {"user_report_files": "missing"}


def test_no_days_are_no_users(settings: Settings, instance: dg.DagsterInstance) -> None:
    run_job(settings, "users", instance=instance)
    lake = open_lake(settings)
    assert [lake.row_count(t, None) for t in (USER_ANALYTICS, USER_GROWTH, USER_COHORTS)] == [0] * 3


def test_tables_of_another_version_are_made_again(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(settings, "daily", FIRST.isoformat(), instance=instance)
    run_job(settings, "users", instance=instance)
    assert stale(settings) == {}
    monkeypatch.setattr(users, "_MADE_BY", {"version": "another"})
    assert stale(settings)["user_analytics"] == "made of other inputs or with other settings"
    run_job(settings, "users", instance=instance)
    assert stale(settings) == {}


def test_every_user_is_a_document_with_costs_and_models(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    run_job(settings, "daily", FIRST.isoformat(), FIRST.isoformat(), instance=instance)
    run_job(settings, "users", instance=instance)
    table = open_lake(settings).read(USER_ANALYTICS, None)
    store = open_documents(settings)
    try:
        documents = store.find("user_analytics", {})
        [someone] = store.find("user_analytics", {"user_id": table["user_id"][-1], "app_id": None})
    finally:
        store.close()
    assert len(documents) == table.height
    row = table.filter(
        pl.col("app_id").is_null() & (pl.col("user_id") == table["user_id"][-1])
    ).row(0, named=True)  # fmt: skip
    assert someone["turns"] == row["turns"]
    assert someone["models"] == json.loads(row["models"])
    assert {one["currency"]: Decimal(one["cost"]) for one in someone["costs"]} == {
        currency: Decimal(cost) for currency, cost in json.loads(row["costs"]).items()
    }


def test_other_days_to_keep_documents_reach_users_of_whom_no_day_has_changed(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    def users_held() -> int:
        store = open_documents(settings)
        try:
            return len(store.find("user_analytics", {}))
        finally:
            store.close()

    run_job(settings, "daily", FIRST.isoformat(), instance=instance)
    run_job(settings, "users", instance=instance)
    every = users_held()
    assert every > 0
    few = Settings({**settings.values, "MONGODB_TTL_DAYS": 1})
    run_job(few, "daily", FIRST.isoformat(), instance=instance)  # writes none of users
    assert users_held() == 0
    told = {"user_analytics_documents": "made of other inputs or with other settings"}
    assert stale(few) == told
    run_job(few, "users", instance=instance)
    assert stale(few) == {}
    assert stale(settings) == told
    run_job(settings, "users", instance=instance)
    assert users_held() == every
    assert stale(settings) == {}


def test_the_schedule_asks_for_users_only_where_a_day_has_changed(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    repository = build_definitions(settings).get_repository_def()
    documents = open_documents(settings)

    def tick() -> Any:
        context = dg.build_schedule_context(
            instance=instance, repository_def=repository,
            resources={"lake": open_lake(settings), "documents": documents},
        )  # fmt: skip
        with context:
            return repository.get_schedule_def("refresh_users")(context)

    try:
        assert isinstance(tick(), dg.SkipReason)
        run_job(settings, "daily", FIRST.isoformat(), instance=instance)
        assert isinstance(tick(), dg.RunRequest)
        run_job(settings, "users", instance=instance)
        assert isinstance(tick(), dg.SkipReason)
    finally:
        documents.close()


@pytest.mark.parametrize("table", [USER_ANALYTICS, USER_GROWTH, USER_COHORTS])
def test_a_fold_that_was_overtaken_replaces_no_newer_table(
    settings: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    table: schemas.TableSchema,
) -> None:
    monkeypatch.setattr(retries, "WAIT_S", 0.0)
    run_job(settings, "daily", FIRST.isoformat(), instance=instance)
    run_job(settings, "users", instance=instance)
    key, lake = FIRST.isoformat(), open_lake(settings)
    partials, info = lake.read_with_info(schemas.DAILY_PARTIALS, key)
    overtaken: list[str] = []

    def fold_overtaken(days: Any) -> Any:
        found = users_of_days(days)
        if not overtaken:  # a newer run folds another state of the day, and is done first
            overtaken.append(key)
            lake.write(schemas.DAILY_PARTIALS, key, partials, inputs=info.inputs)
            lake.write(table, None, table.empty(), inputs={"by": "a newer run"})
        return found

    monkeypatch.setattr(users, "users_of_days", fold_overtaken)
    lake.write(schemas.DAILY_PARTIALS, key, partials.head(0), inputs=info.inputs)
    run_job(settings, "users", instance=instance)
    assert lake.read(USER_ANALYTICS, None).height > 0, "made of what was held before"
    assert stale(settings) == {}


def test_a_day_of_another_version_is_waited_for_unless_its_rows_are_gone(
    settings: Settings, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    last = (FIRST + dt.timedelta(days=2)).isoformat()
    run_job(settings, "daily", FIRST.isoformat(), last, instance=instance)
    run_job(settings, "users", instance=instance)
    lake, lost, now = open_lake(settings), FIRST.isoformat(), schemas.DAILY_PARTIALS
    older = replace(now, columns=now.columns[:-1])
    lake.write(older, lost, older.empty())
    lake.write(now, last, now.empty())
    assert stale(settings) == {}
    assert not run_job(settings, "users", instance=instance, raise_on_error=False).success
    assert partials_held(lake).keys() == {(FIRST + dt.timedelta(days=1)).isoformat(), last}
    # By age they are gone; that of its raw rows some are there yet does not matter then.
    aged = Settings({**settings.values, "RETENTION_RAW_DAYS": 1})
    assert stale(aged)["user_analytics"] == "daily_partials has changed since"
    for zones in DAILY.values():
        lake.remove(zones.raw, lost)
    assert stale(settings)["user_analytics"] == "daily_partials has changed since"
    caplog.clear()
    run_job(settings, "users", instance=instance)
    assert f"left out day={lost}: its rows are gone" in caplog.text
    assert stale(settings) == {}
    starts = lake.read(USER_ANALYTICS, None)["first_day"]
    assert starts.min() == FIRST + dt.timedelta(days=1)


def test_documents_of_users_are_made_again_in_another_collection(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    run_job(settings, "daily", FIRST.isoformat(), instance=instance)
    run_job(settings, "users", instance=instance)
    moved = Settings({**settings.values, "MONGODB_USER_ANALYTICS_COLLECTION": "people"})
    assert list(stale(moved)) == ["user_analytics_documents"]
    run_job(moved, "users", instance=instance)
    assert stale(moved) == {}
