"""What waits for erasure is finished, what is too old is removed, and else nothing is started."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from conversation_analytics.assets.erasing import PROOFS, pending, request_erasure
from conversation_analytics.assets.erasing_notes import REQUEST, Erasing, read_note
from conversation_analytics.core.errors import ErasureError
from conversation_analytics.core.schemas import RAW_MESSAGES
from conversation_analytics.definitions import build_definitions
from conversation_analytics.lake.user_index import add_to_index
from conversation_analytics.personal_data_commands import erase_user
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path


def settings_in(folder: Path, **more: str) -> Settings:
    return parse_settings(
        {"PARQUET_BASE_DIR": str(folder / "lake"), "SQLITE_PATH": str(folder / "d.sqlite"), **more}
    )


def requests(settings: Settings, schedule: str) -> list[dg.RunRequest]:
    repository = build_definitions(settings).get_repository_def()
    with (
        dg.instance_for_test() as instance,
        dg.build_schedule_context(
            instance=instance, repository_def=repository,
            scheduled_execution_time=dt.datetime(2026, 11, 22, 3, 25, tzinfo=dt.UTC),
            resources={"lake": open_lake(settings)},
        ) as context,
    ):  # fmt: skip
        found = repository.get_schedule_def(schedule).evaluate_tick(context)
    return list(found.run_requests or [])


def test_an_erasure_that_waits_is_asked_for_without_naming_anybody(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert requests(settings, "finish_erasures") == []
    with closing(open_documents(settings)) as documents:
        request_erasure(Erasing(open_lake(settings), documents, settings), "somebody@example.org")
    [request] = requests(settings, "finish_erasures")
    assert "somebody" not in repr(request)
    assert run_job(settings, "erase_users").success
    assert pending(open_lake(settings)) == []
    assert requests(settings, "finish_erasures") == []


def failure(settings: Settings) -> str:
    with pytest.raises(ErasureError) as raised:
        run_job(settings, "erase_users")
    return str(raised.value)


def test_an_erasure_that_fails_holds_up_no_other_and_is_told(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    lake = open_lake(settings)
    with closing(open_documents(settings)) as documents:
        work = Erasing(lake, documents, settings)
        users = {request_erasure(work, user): user for user in ("ann-1", "ben-2", "cat-3")}
    first, second, _ = pending(lake)
    # A partition of the one who comes first is torn, and a dead writer's file names the second.
    owners = pl.DataFrame({"id": ["m1"], "users": [[users[first]]], "conversation": ["c1"]})
    add_to_index(lake, RAW_MESSAGES, "2026-11-21", owners)
    lake.write(RAW_MESSAGES, "2026-11-21", RAW_MESSAGES.empty())
    [part] = (tmp_path / "lake/raw_messages").rglob("*.parquet")
    part.write_bytes(b"torn")
    left = tmp_path / "lake/reports/.page.html.1-1-0.tmp"
    left.parent.mkdir()
    left.write_text(f'"{users[second]}"')
    for _attempt in range(4):
        told = failure(settings)
        assert "2 of" in told
        assert first in told
        assert second in told
        assert pending(lake) == [first, second]
    # What nobody takes out is not searched for every hour.
    assert (read_note(lake, second, REQUEST) or {})["attempts"] == 3
    assert len(lake.objects.list(f"{PROOFS}/{second}")) == 3
    assert "tried no more" in told
    left.unlink()
    by_hand = CliRunner().invoke(
        erase_user, ["--pending"],
        env={
            "PARQUET_BASE_DIR": str(tmp_path / "lake"), "SQLITE_PATH": str(tmp_path / "d.sqlite"),
        },
    )  # fmt: skip
    assert by_hand.exit_code == 1
    assert f"erasure {first} failed" in by_hand.output
    assert pending(lake) == [first]


def test_old_days_are_removed_only_where_an_age_is_set(tmp_path: Path) -> None:
    assert requests(settings_in(tmp_path), "retain") == []
    settings = settings_in(tmp_path, RETENTION_RAW_DAYS="60")
    assert len(requests(settings, "retain")) == 1
    lake, today = open_lake(settings), dt.datetime.now(dt.UTC).date()
    days = [(today - dt.timedelta(days=age)).isoformat() for age in (70, 61, 59, 1)]
    for day in days:
        lake.write(RAW_MESSAGES, day, RAW_MESSAGES.empty())
    assert run_job(settings, "remove_old_days").success
    assert lake.keys(RAW_MESSAGES) == days[2:]
