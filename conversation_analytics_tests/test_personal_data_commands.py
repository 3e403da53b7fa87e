"""`erase-user`, `unsuppress-user`, `export-user` and `retain` as they are typed."""

from __future__ import annotations

import datetime as dt
import io
import json
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets.erasing import carry_out, request_erasure
from conversation_analytics.assets.erasing_notes import Erasing
from conversation_analytics.assets.retention import remove_old_days
from conversation_analytics.client.client import Client
from conversation_analytics.client.reading import StoreReading, collection_names
from conversation_analytics.core import schemas
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.documents import ConversationSlice
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.user_analytics import USER_ANALYTICS
from conversation_analytics.documents.collections import conversations
from conversation_analytics.documents.store import SqliteConfig, open_store
from conversation_analytics.io_managers.document_io import MADE_FROM, record_inputs
from conversation_analytics.personal_data_commands import _typed_id
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.commands import CLI, clean_environment
from conversation_analytics_tests.erased import (
    DAYS,
    busiest_user,
    copied,
    settings_in,
)
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.core.documents import Document
    from conversation_analytics.documents.collections import CollectionSpec
    from conversation_analytics.lake.store import Lake


NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def typed(
    folder: Path, *words: str, given: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    own = {
        "PARQUET_BASE_DIR": str(folder / "lake"), "SQLITE_PATH": str(folder / "documents.sqlite"),
        "ANALYTICS_START_DATE": DAYS[0], "SAMPLE_TURNS_PER_DAY": "60",
        "PARQUET_COMPRESSION": "none",
    }  # fmt: skip
    environment = clean_environment(**own | more)
    return subprocess.run(
        [*CLI, *words], cwd=folder, env=environment, input=given,
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def scanned(lake: Lake, schema: schemas.TableSchema) -> pl.DataFrame:
    return pl.scan_parquet(lake.scan_paths(schema), hive_partitioning=False).collect()


def test_the_export_has_every_row_that_a_plain_scan_finds(made_lake: Path, tmp_path: Path) -> None:
    settings = settings_in(made_lake)
    lake, user = open_lake(settings), busiest_user(settings)
    out = tmp_path / "person.json"
    told = typed(made_lake, "export-user", "--out", str(out), given=f"{user}\n")
    assert (told.returncode, told.stderr) == (0, "")
    assert user not in told.stdout
    assert out.stat().st_mode & 0o777 == 0o600
    export = json.loads(out.read_text())
    own = pl.col("user_id") == user
    talks = scanned(lake, schemas.CONVERSATIONS).filter(own)
    assert [one["id"] for one in export["conversations"]] == sorted(talks["id"])
    turns = {turn["id"]: turn for one in export["conversations"] for turn in one["turns"]}
    told_alike = ("query", "answer", "message_tokens", "conversation_id")
    for row in scanned(lake, schemas.MESSAGES).filter(own).iter_rows(named=True):
        turn = turns.pop(row["id"])
        assert [turn[name] for name in told_alike] == [row[name] for name in told_alike]
        assert turn["created_at"] == row["created_at"].isoformat().replace("+00:00", "Z")
        assert turn["total_price"] == (
            None if row["total_price"] is None else str(row["total_price"])
        )
        assert turn.keys() >= row.keys()
        assert turn["language"]["id"] == row["id"]
    assert turns == {}
    every = [turn for one in export["conversations"] for turn in one["turns"]]
    ids = [turn["id"] for turn in every]
    assert sum(len(turn["translations"]) for turn in every) == (
        scanned(lake, TRANSLATIONS).filter(pl.col("message_id").is_in(ids)).height
    )
    rated = scanned(lake, schemas.FEEDBACKS).filter(own).height
    assert sum(len(turn["ratings"]) for turn in every) + len(export["ratings"]) >= rated > 0
    of_talks = pl.col("conversation_id").is_in(talks["id"].implode())
    for name, schema in (("categories", CATEGORIES), ("topics", CONVERSATION_TOPICS)):
        assert len(export[name]) == scanned(lake, schema).filter(of_talks).height > 0
    assert len(export["analytics"]) == scanned(lake, USER_ANALYTICS).filter(own).height > 0
    assert len(export["days"]) == scanned(lake, schemas.DAILY_PARTIALS).filter(own).height > 0
    assert len(export["rows_as_served"]["messages"]) == len(ids)
    assert scanned(lake, MESSAGE_LANGUAGE).filter(pl.col("id").is_in(ids)).height == len(ids)


def test_an_export_that_fails_leaves_the_file_as_it_was(made_lake: Path, tmp_path: Path) -> None:
    out = tmp_path / "person.json"
    out.write_text("before")
    told = typed(made_lake, "export-user", "--overwrite", "--out", str(out), given="\n")
    assert told.returncode == 2
    assert "no id" in told.stderr
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["person.json"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nodir/x.json", "there is no folder"),
        ("taken.json", "or --overwrite"),
        ("link.json", "got a link, which was left as it is"),
    ],
)
def test_an_export_is_refused_a_place_that_is_none(
    tmp_path: Path, name: str, expected: str
) -> None:
    (tmp_path / "taken.json").write_text("before")
    (tmp_path / "link.json").symlink_to(tmp_path / "taken.json")
    told = typed(tmp_path, "export-user", "nobody", "--out", str(tmp_path / name))
    assert told.returncode == 1
    assert expected in told.stderr
    assert str((tmp_path / name).parent) in told.stderr
    assert (tmp_path / "taken.json").read_text() == "before"
    assert (tmp_path / "link.json").is_symlink()


def test_erase_user_tells_what_it_would_do_then_does_it(made_lake: Path, tmp_path: Path) -> None:
    folder = copied(made_lake, tmp_path)
    user = busiest_user(settings_in(folder))
    looked = typed(folder, "erase-user", "--dry-run", given=f"{user}\n")
    assert looked.returncode == 0
    assert "3 days hold rows of this user; nothing was changed" in looked.stdout
    assert not (folder / "lake/erasures").exists()
    later = typed(folder, "erase-user", "--later", given=f"{user}\n")
    assert later.returncode == 0
    done = typed(folder, "erase-user", "--pending")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 erasures wait" in done.stdout
    assert "found 0" in done.stdout
    assert "proof" in done.stdout
    assert user not in looked.stdout + later.stdout + done.stdout
    again = typed(folder, "erase-user", user)
    assert (again.returncode, again.stderr) == (0, "")
    assert "0 days" in again.stdout
    assert "no row of this id is held here" in again.stdout
    wrong = typed(folder, "erase-user", user, "--pending")
    assert wrong.returncode == 2


def test_who_is_taken_off_the_list_is_read_again(made_lake: Path, tmp_path: Path) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder, ERASURE_MIN_USERS="0")
    user, lake = busiest_user(settings), open_lake(settings)
    own = pl.col("user_id") == user
    served = {day: lake.read(schemas.RAW_MESSAGES, day) for day in DAYS}
    before = scanned(lake, schemas.MESSAGES)
    rated = scanned(lake, schemas.FEEDBACKS)
    unknown = typed(folder, "unsuppress-user", given=f"{user}\n")
    assert (unknown.returncode, unknown.stderr) == (0, "")
    assert "is not on the suppression list; nothing was changed" in unknown.stdout
    assert not (folder / "lake/erasures").exists()

    with closing(open_documents(settings)) as documents:
        work = Erasing(lake, documents, settings)
        name = request_erasure(work, user)
        waiting = typed(folder, "unsuppress-user", given=f"{user}\n")
        assert waiting.returncode == 1
        assert "is not done" in waiting.stderr
        assert user not in waiting.stderr
        carry_out(work, name, lambda: NOW, user)
    listed = folder / "lake/erasures/suppressed.json"
    erased = listed.read_bytes()
    looked = typed(folder, "unsuppress-user", "--dry-run", given=f"{user}\n")
    assert "would be taken off the list with" in looked.stdout
    assert listed.read_bytes() == erased

    done = typed(folder, "unsuppress-user", given=f"{user}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert user not in done.stdout
    [note] = (folder / "lake/erasures/readmissions" / name).glob("*.json")
    told = json.loads(note.read_text())
    assert (told["readmitted"], told["file"]) == (name, note.name)
    assert told["conversations"] == before.filter(own)["conversation_id"].n_unique() > 0
    assert told["rows"]["messages"] == before.filter(own).height > 0
    assert user not in note.read_text()
    empty = json.loads(listed.read_text())
    assert not any(empty[part] for part in ("users", "conversations", "rows", "owners"))
    assert "is not on the" in typed(folder, "unsuppress-user", user).stdout

    assert scanned(lake, schemas.MESSAGES).filter(own).is_empty()  # not by itself
    with dg.instance_for_test() as instance:
        assert run_job(settings, "daily", DAYS[0], DAYS[-1], instance=instance).success
    for day, frame in served.items():
        assert (
            lake.read(schemas.RAW_MESSAGES, day)
            .select("id", "payload")
            .equals(frame.select("id", "payload"))
        )
    assert scanned(lake, schemas.MESSAGES).equals(before)
    assert scanned(lake, schemas.FEEDBACKS).equals(rated)
    with closing(open_documents(settings)) as documents:
        assert len(documents.find("messages", {"user_id": user})) == before.filter(own).height


@pytest.mark.parametrize("words", [("erase-user",), ("export-user", "--out", "x.json"),
                                   ("unsuppress-user",)], ids=lambda words: words[0])  # fmt: skip
@pytest.mark.parametrize("given", ["as an argument", "on standard input"])
def test_an_id_that_is_no_text_is_refused_in_a_sentence(
    tmp_path: Path, words: tuple[str, ...], given: str
) -> None:
    wrong = b"user-\xff"
    argument = given == "as an argument"
    told = subprocess.run(
        [*CLI, *words, *([wrong] if argument else [])], cwd=tmp_path, env=clean_environment(),
        input=b"" if argument else wrong + b"\n", capture_output=True, check=False, timeout=240,
    )  # fmt: skip
    assert told.returncode == 2
    assert b"Error: the id is no UTF-8 text" in told.stderr
    assert b"user-" not in told.stderr.partition(b"Error")[2]
    assert not (tmp_path / "x.json").exists()
    assert not (tmp_path / "data/lake/erasures").exists()


def test_spaces_belong_to_an_id_and_the_line_ending_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text in (" a b \n", " a b \r\n", " a b "):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert _typed_id("-") == " a b "
    assert _typed_id(" a\n") == " a\n"


TODAY = dt.date(2027, 1, 10)  # 60 days after the last of the days


def kept(settings: Settings, schema: schemas.TableSchema) -> list[str]:
    return open_lake(settings).keys(schema)


def test_each_zone_keeps_its_own_age(made_lake: Path, tmp_path: Path) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder, RETENTION_RAW_DAYS="61", RETENTION_DOCUMENTS_DAYS="60")
    lake = open_lake(settings)
    partials = {day: lake.stat(schemas.DAILY_PARTIALS, day).sha256 for day in DAYS}
    store = open_store(SqliteConfig(folder / "documents.sqlite"))
    planned = remove_old_days(lake, store, settings, TODAY, dry_run=True)
    assert kept(settings, schemas.RAW_MESSAGES) == list(DAYS)
    removed = remove_old_days(lake, store, settings, TODAY)
    assert [(one.name, one.keys) for one in removed] == [(o.name, o.keys) for o in planned]
    assert kept(settings, schemas.RAW_MESSAGES) == list(DAYS[1:])
    assert kept(settings, schemas.MESSAGES) == list(DAYS)
    assert {day: lake.stat(schemas.DAILY_PARTIALS, day).sha256 for day in DAYS} == partials
    assert lake.has_report(f"daily/{DAYS[0]}.html")
    assert [store.count("messages", day) > 0 for day in DAYS] == [False, False, True]
    talks = store.find("conversations", {})
    assert {turn["day"] for talk in talks for turn in talk["messages"]} <= {DAYS[2], "undated"}
    assert all(talk["messages"] or talk["header_day"] in {DAYS[2], "undated"} for talk in talks)
    made_of = store.find(MADE_FROM, {"asset": "message_documents"})
    assert [one["partition"] for one in made_of] == [DAYS[2]]
    assert store.find("analytics_reports", {"day": DAYS[0]})
    assert remove_old_days(lake, store, settings, TODAY) == []
    store.close()


def test_a_conversation_in_use_is_found_though_the_day_of_its_creation_is_gone_by_age(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path, RETENTION_DOCUMENTS_DAYS="60")
    created_at = dt.datetime.combine(TODAY - dt.timedelta(days=61), dt.time(12), dt.UTC)
    old, yesterday = str(created_at.date()), str(TODAY - dt.timedelta(days=1))
    header = dict.fromkeys(name for name in schemas.CONVERSATIONS.polars if name != "id")
    header |= {"user_id": "u1", "app_id": "a1", "created_at": created_at}
    turn = dict.fromkeys(name for name in schemas.MESSAGES.polars if name != "conversation_id")
    lake = open_lake(settings)

    def merge(day: str, header: Document | None) -> None:
        turns = [{**turn, "id": f"turn of {day}", "user_id": "u1"}]
        pieces = [ConversationSlice("in use", header, turns)]
        pieces += [] if header is None else [ConversationSlice("left", header, turns)]
        store.merge_conversations("conversations", day, pieces)
        record_inputs(store, "conversation_documents", day, {})

    with closing(open_documents(settings)) as store:
        # As an earlier version left it, without rules for what is about to be kept.
        store.ensure(replace(conversations(), rules=rules_without(conversations(), "header_kept")))
        client = Client(StoreReading(store, collection_names(settings)))
        merge(old, header)
        merge(yesterday, None)
        assert [one.id for one in client.conversations_of_user("u1").items] == ["left", "in use"]
        (removed,) = remove_old_days(lake, store, settings, TODAY)
        assert (removed.name, removed.keys) == ("conversations", (old,))
        assert [one.id for one in client.conversations_of_user("u1").items] == ["in use"]
        found = client.conversation("in use")
        assert found is not None
        told = found.conversation
        assert (told.user_id, told.app_id, told.created_at) == ("u1", "a1", created_at)
        assert told.message_count == 1
        (held,) = store.find("conversations", {"user_id": "u1"})
        assert [one["id"] for one in held["messages"]] == [f"turn of {yesterday}"]
        assert remove_old_days(lake, store, settings, TODAY) == []
        assert remove_old_days(lake, store, settings, TODAY + dt.timedelta(days=60))
        assert store.find("conversations", {}) == []


def rules_without(spec: CollectionSpec, field: str) -> str:
    rules = json.loads(spec.rules)
    del rules["properties"][field]
    return json.dumps(rules)


def test_what_is_removed_by_age_is_neither_missing_nor_read_again(
    made_lake: Path, tmp_path: Path
) -> None:
    folder = copied(made_lake, tmp_path)
    age = (dt.datetime.now(dt.UTC).date() - dt.date.fromisoformat(DAYS[2])).days
    # The shortest age there may be is longer than these days are old: so the days are moved.
    settings = settings_in(folder)
    assert age < 60
    values = {**settings.values, "RETENTION_RAW_DAYS": age, "RETENTION_CURATED_DAYS": age}
    settings = Settings(values)
    lake = open_lake(settings)
    store = open_store(SqliteConfig(folder / "documents.sqlite"))
    today = dt.datetime.now(dt.UTC).date()
    remove_old_days(lake, store, settings, today)
    store.close()
    assert kept(settings, schemas.RAW_MESSAGES) == kept(settings, schemas.MESSAGES) == [DAYS[2]]
    looked = typed(folder, "repair", "--dry-run")
    assert "0 of 1 days have something to make again" in looked.stdout
    told = typed(folder, "status")
    assert told.returncode == 0


def test_the_command_says_what_it_removes(made_lake: Path, tmp_path: Path) -> None:
    folder = copied(made_lake, tmp_path)
    quiet = typed(folder, "retain")
    assert (quiet.returncode, quiet.stdout) == (0, "0 partitions removed\n")
    looked = typed(folder, "retain", "--dry-run", RETENTION_RAW_DAYS="36500")
    assert looked.stdout == "0 partitions would be removed\n"
    refused = typed(folder, "backfill", "2026-01-01", "2026-01-02", RETENTION_RAW_DAYS="60",
                    ANALYTICS_START_DATE="2025-01-01")  # fmt: skip
    assert refused.returncode == 2
    assert "RETENTION_..._DAYS" in refused.stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"RETENTION_RAW_DAYS": "30"}, "RETENTION_RAW_DAYS is '30'"),
        ({"RETENTION_CURATED_DAYS": "90"}, "keeps documents longer"),
        (
            {"RETENTION_CURATED_DAYS": "90", "RETENTION_DOCUMENTS_DAYS": "91"},
            "keeps documents longer",
        ),
        ({"RETENTION_RAW_DAYS": "60", "REREAD_DAYS": "1,60"}, "REREAD_DAYS reads days of age 60"),
    ],
)
def test_ages_that_contradict_are_refused(settings: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        parse_settings(settings)
