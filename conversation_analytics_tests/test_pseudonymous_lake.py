"""A lake of pseudonyms, end to end: no plain id in any byte, one key, no needless rewriting."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.core import schemas
from conversation_analytics.core.errors import LakeError, SettingsError
from conversation_analytics.core.source import SourceTable
from conversation_analytics.resources.connections import (
    open_lake,
    open_source,
    pseudonyms_of,
)
from conversation_analytics.resources.pseudonym_marker import MARKER, require_one_key
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

DAYS = ("2026-11-09", "2026-11-10")
KEY = "a key of forty characters, made up".replace(" ", "-") + "123456"


def settings_in(folder: Path, **more: str) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": DAYS[0],
            "SAMPLE_TURNS_PER_DAY": "60",
            "SOURCE_FRESH_HOURS": "0",
            # Without compression, so that an id in a Parquet file is found as it is.
            "PARQUET_COMPRESSION": "none",
            **more,
        }
    )


def checked(settings: Settings) -> None:
    require_one_key(open_lake(settings), pseudonyms_of(settings))


def plain_users(settings: Settings) -> set[str]:
    """Return every user id that the sample serves in the days."""
    plain = parse_settings({"ANALYTICS_START_DATE": DAYS[0], "SAMPLE_TURNS_PER_DAY": "60"})
    assert settings.analytics_start_date == plain.analytics_start_date
    users: set[str] = set()
    start, end = (dt.datetime.fromisoformat(f"{day}T00:00Z") for day in (DAYS[0], "2026-11-11"))
    with closing(open_source(plain)) as source:
        for table in SourceTable:
            frames = [source.read_undated(table), source.read_window(table, start, end)]
            for payload in pl.concat(frames)["payload"]:
                row = json.loads(payload)
                users |= {row["from_end_user_id"], row["from_account_id"]} - {None}
    return users


def test_no_plain_id_is_in_any_byte_of_lake_documents_or_records(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, PSEUDONYM_KEY=KEY)
    home = tmp_path / "home"
    home.mkdir()
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        assert run_job(settings, "daily", DAYS[0], DAYS[-1], instance=instance).success
        assert run_job(settings, "undated", instance=instance).success
        assert run_job(settings, "weekly", "2026-11-09", instance=instance).success
        assert run_job(settings, "users", instance=instance).success
        users = plain_users(settings)
        assert len(users) > 30
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert any(path.suffix == ".parquet" for path in files)
        assert any(path.suffix == ".sqlite" for path in files)
        assert any(home in path.parents for path in files)
        held = {path: path.read_bytes() for path in files}
    told = [path for path, data in held.items() if any(user.encode() in data for user in users)]
    assert told == []
    lake = open_lake(settings)
    messages = lake.read(schemas.MESSAGES, DAYS[0])
    assert messages["user_id"].drop_nulls().str.starts_with("u_").all()
    assert (
        lake.read(schemas.RAW_MESSAGES, DAYS[0])["payload"].str.contains('"u_[a-z2-7]{26}"').any()
    )
    everybody = b"".join(held.values())
    assert messages["user_id"].drop_nulls()[0].encode() in everybody


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_second_run_changes_no_byte_of_the_lake(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, PSEUDONYM_KEY=KEY)
    with dg.instance_for_test() as instance:
        assert run_job(settings, "daily", DAYS[0], instance=instance).success
        before = hashes(tmp_path / "lake")
        again = run_job(settings, "daily", DAYS[0], instance=instance)
        assert hashes(tmp_path / "lake") == before
    facts = [
        event.materialization.metadata["rows_changed"].value
        for event in again.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("raw_messages")
    ]
    assert facts == [0]


def test_a_lake_is_of_one_key(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, PSEUDONYM_KEY=KEY)
    with dg.instance_for_test() as instance:
        assert run_job(settings, "daily", DAYS[0], instance=instance).success
        before = hashes(tmp_path / "lake")
        for other in (
            {"PSEUDONYM_KEY": KEY[::-1]},
            {},
            {"PSEUDONYM_KEY": KEY, "PSEUDONYM_COLUMNS": "x"},
        ):
            wrong = settings_in(tmp_path, **other)
            with pytest.raises(SettingsError, match="says that this lake holds pseudonyms"):
                checked(wrong)
            result = run_job(wrong, "daily", DAYS[0], instance=instance, raise_on_error=False)
            assert not result.success
        assert hashes(tmp_path / "lake") == before
    checked(settings)
    with closing(open_source(settings)) as source:
        assert source.describe()["user_ids"] == "pseudonyms"


def test_a_lake_of_plain_ids_takes_no_key(tmp_path: Path) -> None:
    plain = settings_in(tmp_path)
    assert run_job(plain, "undated").success
    with pytest.raises(SettingsError, match="that were read without it") as refused:
        checked(settings_in(tmp_path, PSEUDONYM_KEY=KEY))
    assert KEY not in str(refused.value)
    checked(plain)


def test_an_unreadable_note_of_the_key_stops_and_is_not_replaced(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, PSEUDONYM_KEY=KEY)
    checked(settings)
    note = tmp_path / "lake" / MARKER
    assert KEY not in note.read_text()
    note.write_text("{}")
    with pytest.raises(LakeError, match="restore this object"):
        checked(settings)
    assert note.read_text() == "{}"


def test_a_key_that_is_short_or_dull_is_refused() -> None:
    for key in ("short", "a" * 40, "with space " * 5):
        with pytest.raises(SettingsError, match="PSEUDONYM_KEY") as refused:
            parse_settings({"PSEUDONYM_KEY": key})
        assert key not in str(refused.value)
