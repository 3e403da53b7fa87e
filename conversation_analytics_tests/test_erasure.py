"""A person is erased everywhere, and nothing else changes: on the whole platform, end to end."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets import documents as documents_module
from conversation_analytics.assets import users as users_module
from conversation_analytics.assets.erasing import (
    carry_out,
    carry_out_each,
    pending,
    proof_path,
    request_erasure,
    rows_held,
    stored_id,
)
from conversation_analytics.assets.erasing_notes import REQUEST, Erasing, note_path
from conversation_analytics.assets.lineage import stale_days
from conversation_analytics.assets.periods import StalePeriod
from conversation_analytics.assets.retention import remove_old_days
from conversation_analytics.assets.user_export import export_user
from conversation_analytics.core import schemas
from conversation_analytics.core.changes import Cursor
from conversation_analytics.core.documents import ConversationSlice
from conversation_analytics.core.id_search import SoughtIds
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.tables import TABLES
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY, TRANSLATIONS
from conversation_analytics.definitions import daily_graph
from conversation_analytics.io_managers import retries
from conversation_analytics.lake.store import Lake, PartitionInfo
from conversation_analytics.lake.suppressions import read_suppressions
from conversation_analytics.lake.temporary_folders import SQL, TemporaryFolder
from conversation_analytics.materialize import (
    look_for_stale_periods,
    look_for_stale_topics,
    look_for_stale_undated,
    look_for_stale_users,
)
from conversation_analytics.resources.connections import (
    open_documents,
    open_lake,
    open_source,
)
from conversation_analytics.sensors.held_rows import HeldRows
from conversation_analytics.sensors.nocodb_changes import _look
from conversation_analytics_tests.erased import (
    DAYS,
    KEY,
    WEEK,
    busiest_user,
    copied,
    settings_in,
)
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from conversation_analytics.settings import Settings
    from conversation_analytics.stack.seaweedfs import S3Server

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def erase(settings: Settings, user: str) -> dict[str, Any]:
    with closing(open_documents(settings)) as documents:
        work = Erasing(open_lake(settings), documents, settings)
        return carry_out(work, request_erasure(work, user), lambda: NOW, user)


def files_of(root: Path, *besides: str) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in besides
    }


def holding(root: Path, text: str) -> list[Path]:
    wanted = text.encode()
    return [path for path in root.rglob("*") if path.is_file() and wanted in path.read_bytes()]


def stale(settings: Settings) -> list[object]:
    days = [dt.date.fromisoformat(day) for day in DAYS]
    with closing(open_documents(settings)) as documents:
        found = list(
            stale_days(daily_graph(settings), open_lake(settings), documents, settings, DAYS)
        )
    return [
        *found,
        *look_for_stale_periods(settings, days),
        *look_for_stale_users(settings),
        *look_for_stale_topics(settings, days, dt.date(2026, 11, 30)),
    ]


def test_no_byte_of_the_person_is_left_and_nothing_becomes_stale(
    made_lake: Path, tmp_path: Path
) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder, ERASURE_MIN_USERS="0")
    user, lake = busiest_user(settings), open_lake(settings)
    assert len(holding(folder, user)) > 10
    assert stale(settings) == []
    before = {day: lake.read(schemas.MESSAGES, day) for day in DAYS}
    reports = {day: lake.read(schemas.DAILY_REPORT, day) for day in DAYS}
    talks = [
        talk
        for frame in before.values()
        for talk in frame.filter(pl.col("user_id") == user)["conversation_id"]
    ]
    proof = erase(settings, user)
    assert proof["search"]["found"] == 0
    assert holding(folder, user) == []
    assert [path for talk in set(talks) for path in holding(folder, talk)] == []
    for day, frame in before.items():
        assert lake.read(schemas.MESSAGES, day).equals(
            frame.filter(pl.col("user_id").ne_missing(pl.lit(user)))
        )
        assert lake.read(schemas.DAILY_REPORT, day).equals(reports[day])  # kept as it is
    assert stale(settings) == []
    assert user not in json.dumps(proof)
    assert pending(lake) == []
    assert all(count["after"] == 0 < count["before"] for count in proof["rows"].values())
    assert {"raw_messages", "messages", "message_language", "categories"} <= proof["rows"].keys()
    assert json.loads(lake.objects.get(proof_path(proof)) or b"") == proof


def test_rows_without_a_time_go_too(made_lake: Path, tmp_path: Path) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder)
    lake = open_lake(settings)
    undated = lake.read(schemas.UNDATED_MESSAGES, None)
    user = str(undated["user_id"].drop_nulls()[0])
    proof = erase(settings, user)
    assert proof["rows"]["undated_messages"]["before"] == undated.height > 0
    assert lake.row_count(schemas.UNDATED_MESSAGES, None) == 0
    assert holding(folder, user) == []
    with closing(open_documents(settings)) as documents:
        assert documents.count("messages", "undated") == 0
        assert documents.count_slice("conversations", "undated") == (0, 0)
    assert look_for_stale_undated(settings, DAYS) == ()


@pytest.mark.parametrize("held", [True, False], ids=["held", "not yet held"])
@pytest.mark.parametrize(
    ("job", "asset", "builder", "place"),
    [
        ("undated", "undated_message_documents", (documents_module, "message_documents"),
         ("messages", "undated")),
        ("users", "user_analytics_documents", (users_module, "UserDocuments"),
         ("user_analytics", "users")),
    ],
)  # fmt: skip
def test_a_run_that_read_the_person_before_writes_no_document_of_them_after_the_proof(
    made_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, asset: str,
    builder: tuple[ModuleType, str], place: tuple[str, str], *, held: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(retries, "WAIT_S", 0.0)
    settings = settings_in(copied(made_lake, tmp_path))
    undated = open_lake(settings).read(schemas.UNDATED_MESSAGES, None)["user_id"]
    user = busiest_user(settings) if job == "users" else str(undated.drop_nulls()[0])
    sought, proofs = SoughtIds.of([user]), list[dict[str, Any]]()
    build = getattr(*builder)

    def slowly(*given: Any) -> Any:
        if not proofs:  # the inputs of the step are read
            proofs.append(erase(settings, user))
        return build(*given)

    monkeypatch.setattr(*builder, slowly)
    with closing(open_documents(settings)) as documents:
        if not held:
            documents.replace_partition(*place, [])
        assert (place[0] in documents.holding(sought)) is held
        assert run_job(settings, job, assets=[asset]).success
        assert proofs[0]["search"]["found"] == 0
        assert documents.holding(sought) == {}
        assert documents.count(*place) > 0 or job == "undated"


def test_the_header_of_a_conversation_of_others_goes_though_its_day_is_long_gone(
    made_lake: Path, tmp_path: Path
) -> None:
    settings = settings_in(copied(made_lake, tmp_path), ERASURE_MIN_USERS="0")
    user, old, later = busiest_user(settings), "2026-08-01", "2026-10-01"
    talks = {
        "by end user": {"user_id": user, "from_end_user_id": user},
        "by account": {"user_id": "another", "from_account_id": user},
        "of another": {"user_id": "another", "from_end_user_id": "another"},
    }
    turn = dict.fromkeys(schemas.MESSAGES.polars) | {"id": "m", "user_id": "another"}
    del turn["conversation_id"]
    nothing = dict.fromkeys(set(schemas.CONVERSATIONS.polars) - {"id"})
    created = [ConversationSlice(talk, nothing | told, []) for talk, told in talks.items()]
    went_on = [ConversationSlice(talk, None, [turn]) for talk in talks]
    with closing(open_documents(settings)) as documents:
        documents.merge_conversations("conversations", old, created)
        documents.merge_conversations("conversations", later, went_on)
        documents.merge_conversations("conversations", old, [], rest="aged")
        assert {one["_id"] for one in documents.find("conversations", {"days": old})} == set(talks)
        proof = erase(settings, user)
        assert proof["search"]["found"] == 0
        assert proof["documents"]["conversations"]["after"] == 0
        left = {one["_id"]: one for one in documents.find("conversations", {"days": later})}
    assert left.keys() == talks.keys()
    assert all(
        [one["user_id"] for one in talk["messages"]] == ["another"] for talk in left.values()
    )
    assert {talk: left[talk].get("user_id") for talk in talks} == {
        "by end user": None, "by account": None, "of another": "another",
    }  # fmt: skip


def test_the_memory_of_translations_forgets_what_nobody_else_said(
    made_lake: Path, tmp_path: Path
) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder)
    lake = open_lake(settings)
    turns = pl.concat(lake.read(schemas.MESSAGES, day) for day in DAYS)
    rows = pl.concat(lake.read(TRANSLATIONS, day) for day in DAYS).join(
        turns.select(message_id="id", user="user_id"), on="message_id"
    )
    told = rows.filter(pl.col("status") == "translated")
    user = told.group_by("user").len().drop_nulls().sort("len", "user")["user"][-1]
    theirs, others = told.filter(pl.col("user") == user), told.filter(pl.col("user") != user)
    alone = set(theirs["translated"]) - set(others["translated"])
    before = remembered(lake)
    assert alone & before
    erase(settings, user)
    after = remembered(lake)
    assert not alone & after
    assert set(others["translated"]) & before <= after
    with closing(open_documents(settings)) as documents:
        held = {one["translated"] for one in documents.find("translations", {})}
    assert not alone & held


def remembered(lake: Lake) -> set[str]:
    days = lake.keys(TRANSLATION_MEMORY)
    return set(pl.concat(lake.read(TRANSLATION_MEMORY, day) for day in days)["translated"])


def test_aggregates_of_too_few_people_are_computed_again_as_the_chain_would(
    made_lake: Path, tmp_path: Path
) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder, ERASURE_MIN_USERS="1000000")
    proof = erase(settings, busiest_user(settings))
    assert proof["days_recomputed"] == proof["days"] == len(DAYS)
    # Weeks and months tell of these days, and alone are to be merged again.
    assert [one for one in stale(settings) if not isinstance(one, StalePeriod)] == []
    before = files_of(folder / "lake", "erasures", "index")
    with dg.instance_for_test() as instance:
        assert run_job(settings, "daily", DAYS[0], instance=instance).success
    assert files_of(folder / "lake", "erasures", "index") == before


def test_the_next_ingest_brings_nobody_back_and_is_not_asked_for_ever(
    made_lake: Path, tmp_path: Path
) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder, ERASURE_MIN_USERS="0")
    user, lake = busiest_user(settings), open_lake(settings)
    # The last day is not held yet: rows of the person are still to come.
    for schema in TABLES:
        if DAYS[-1] in lake.keys(schema):
            lake.remove(schema, DAYS[-1])
    erase(settings, user)
    assert different(settings) == {DAYS[-1]}
    with dg.instance_for_test() as instance:
        assert run_job(settings, "daily", DAYS[1], DAYS[-1], instance=instance).success
    # Documents of that day were there without the lake's rows: so the request still stands.
    [name] = pending(lake)
    assert holding(folder, user) == [folder / "lake" / note_path(name, REQUEST)]
    assert lake.read(schemas.MESSAGES, DAYS[-1]).height > 0
    assert different(settings) == set()


def different(settings: Settings) -> set[str]:
    """Return the days of which the change sensor would start runs."""
    cursor = Cursor(dt.datetime.fromisoformat(f"{DAYS[0]}T00:00Z"))
    with closing(open_source(settings)) as source:
        seen = _look(source, open_lake(settings), HeldRows(), cursor, settings, NOW)
    return {str(row.day) for row in seen.different}.intersection(DAYS)


class KilledError(Exception):
    """The process ended here."""


def killed_after(steps: int) -> tuple[list[str], Callable[[str], None]]:
    done: list[str] = []

    def on_step(name: str) -> None:
        done.append(name)
        if len(done) == steps:
            raise KilledError

    return done, on_step


def test_partitions_without_the_person_are_neither_read_nor_written(
    made_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder, ERASURE_MIN_USERS="0")
    lake = open_lake(settings)
    users = [set(lake.read(schemas.RAW_MESSAGES, day)["payload"].map_elements(
        lambda text: json.loads(text)["from_end_user_id"], pl.String)) for day in DAYS]  # fmt: skip
    alone = users[0] - users[1] - users[2] - {None}
    assert alone
    times = {path: path.stat().st_ino for path in (folder / "lake").rglob("*.parquet")}
    read: list[str | None] = []
    scan = Lake.scan

    def watched(
        lake: Lake, schema: schemas.TableSchema, key: str | None
    ) -> tuple[pl.LazyFrame, PartitionInfo]:
        read.append(key)
        return scan(lake, schema, key)

    monkeypatch.setattr(Lake, "scan", watched)
    erase(settings, min(alone))
    assert set(read) & set(DAYS) == {DAYS[0]}
    others = [p for p in times if any(f"day={day[-2:]}" in str(p) for day in DAYS[1:])]
    assert len(others) > 20
    assert all(path.stat().st_ino == times[path] for path in others)


def test_a_lake_of_pseudonyms_is_searched_for_both(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, PSEUDONYM_KEY=KEY, TRANSLATOR="none")
    with dg.instance_for_test() as instance:
        assert run_job(settings, "daily", DAYS[0], instance=instance).success
    with closing(open_source(settings_in(tmp_path, PARQUET_BASE_DIR=str(tmp_path / "x")))) as plain:
        window = [dt.datetime.fromisoformat(f"{day}T00:00Z") for day in DAYS[:2]]
        rows = plain.read_window(SourceTable.MESSAGES, *window)
    user = next(
        one for one in (json.loads(row)["from_end_user_id"] for row in rows["payload"]) if one
    )
    pseudonym = stored_id(settings, user)
    assert holding(tmp_path, pseudonym)
    proof = erase(settings, user)
    assert proof["search"]["for"] == ["the id as stored", "the id as given"]
    assert proof["search"]["found"] == 0
    assert holding(tmp_path, pseudonym) == holding(tmp_path, user) == []
    listed = (tmp_path / "lake/erasures/suppressed.json").read_text()
    assert json.loads(listed)["key"] is None  # nobody who has the list alone can try ids
    with closing(open_source(settings)) as source:
        again = source.read_window(SourceTable.MESSAGES, *window)
    assert 0 < again.height < rows.height
    assert not again["payload"].str.contains(pseudonym, literal=True).any()


def test_what_is_left_is_told(made_lake: Path, tmp_path: Path) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder)
    user = busiest_user(settings)
    note = folder / "lake/reports/ranges/.page.html.1-1-0.tmp"
    note.parent.mkdir()
    note.write_text(f"a dead writer's {user}")
    proof = erase(settings, user)
    assert proof["search"]["found"] == 1
    assert str(proof["search"]["objects_holding"]) == f"['{note.relative_to(folder / 'lake')}']"
    lake = open_lake(settings)
    assert pending(lake) == [proof["erasure"]]  # somebody has to take it out, and then:
    note.unlink()
    with closing(open_documents(settings)) as documents:
        [again], failed = carry_out_each(
            Erasing(lake, documents, settings), pending(lake), lambda: NOW
        )
    assert (again["search"]["found"], failed, pending(lake)) == (0, {}, [])
    assert again["rows"] == proof["rows"]
    # Two proofs of one second: neither takes the other's place.
    paths = [proof_path(one) for one in (proof, again)]
    assert [json.loads(lake.objects.get(path) or b"") for path in paths] == [proof, again]
    assert proof["lake"]["root"] == str(folder / "lake")
    assert proof["document_store"]["kind"] == "sqlite"


def test_what_is_left_of_days_whose_rows_are_gone_by_age_goes_too(
    made_lake: Path, tmp_path: Path
) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(
        folder, RETENTION_RAW_DAYS="60", RETENTION_CURATED_DAYS="61",
        RETENTION_DOCUMENTS_DAYS="61",
    )  # fmt: skip
    lake, user = open_lake(settings), busiest_user(settings)
    with closing(open_documents(settings)) as documents:
        remove_old_days(lake, documents, settings, dt.date(2027, 1, 10))
        assert lake.keys(schemas.RAW_MESSAGES) == [DAYS[2]]
        assert lake.keys(schemas.MESSAGES) == [DAYS[1], DAYS[2]]
        assert lake.keys(schemas.DAILY_PARTIALS) == list(DAYS)
        own = pl.col("user_id") == user
        turns = {day: lake.read(schemas.MESSAGES, day).filter(own)["id"] for day in DAYS[1:]}
        work = Erasing(lake, documents, settings)
        days, rows = rows_held(work, user)
        assert days == len(DAYS)
        assert rows["messages"] == sum(map(len, turns.values()))
        export = export_user(work, user)
        held = {turn["id"] for one in export["conversations"] for turn in one["turns"]}
        assert held >= {one for ids in turns.values() for one in ids}
        assert {one["partition_day"] for one in export["days"]} == set(DAYS)
    proof = erase(settings, user)
    assert (proof["search"]["found"], proof["days"]) == (0, len(DAYS))
    assert holding(folder, user) == []
    assert pending(lake) == []


def test_where_topics_by_conversation_are_gone_by_age_topics_stay_without_their_examples(
    made_lake: Path, tmp_path: Path
) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder, ERASURE_MIN_USERS="0")
    lake, user = open_lake(settings), busiest_user(settings)
    topics = lake.read(TOPICS, WEEK)
    with closing(open_documents(settings)) as documents:
        export = export_user(Erasing(lake, documents, settings), user)
    theirs = {one["id"] for one in export["conversations"]}
    examples = {one for text in topics["examples"] for one in json.loads(text)}
    assert theirs & examples
    lake.remove(CONVERSATION_TOPICS, WEEK)
    assert erase(settings, user)["search"]["found"] == 0
    after = lake.read(TOPICS, WEEK)
    assert after["topic_id"].equals(topics["topic_id"])
    assert {one for text in after["examples"] for one in json.loads(text)} == examples - theirs


def test_two_that_wait_leave_the_users_as_up_to_date_as_they_were(
    made_lake: Path, tmp_path: Path
) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder, ERASURE_MIN_USERS="0")
    lake, first = open_lake(settings), busiest_user(settings)
    users = lake.read(schemas.MESSAGES, DAYS[0])["user_id"].drop_nulls()
    second = str(users.filter(users != first)[0])
    with closing(open_documents(settings)) as documents:
        work = Erasing(lake, documents, settings)
        names = [request_erasure(work, user) for user in (first, second)]
        assert sorted(names) == pending(lake)
        proofs, failed = carry_out_each(work, names, lambda: NOW)
    assert (len(proofs), failed) == (2, {})
    assert look_for_stale_users(settings) == ()


def test_killed_while_it_is_noted_a_person_is_erased_and_suppressed_all_the_same(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path)
    lake = open_lake(settings)
    with closing(open_documents(settings)) as documents:
        with pytest.raises(KilledError):
            request_erasure(Erasing(lake, documents, settings, killed_after(1)[1]), "u1")
        [name] = pending(lake)
        carry_out(Erasing(lake, documents, settings), name, lambda: NOW)
    listed = read_suppressions(lake, "")
    assert listed is not None
    assert listed.users == {name} == {listed.user("u1")}


def test_older_lakes_without_an_index_are_indexed_once(made_lake: Path, tmp_path: Path) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder)
    wanted = files_of(folder / "lake" / "index")
    for path in (folder / "lake" / "index").rglob("*.bin"):
        path.unlink()
    with closing(open_documents(settings)) as documents:
        work = Erasing(open_lake(settings), documents, settings)
        days, rows = rows_held(work, busiest_user(settings))
    assert days == len(DAYS)
    assert rows["messages"] > 0
    assert rows[MESSAGE_LANGUAGE.name] == rows["messages"] == rows["raw_messages"]
    assert TRANSLATIONS.name in rows
    assert files_of(folder / "lake" / "index") == wanted


def test_the_job_finishes_what_was_noted_and_logs_nobody(
    made_lake: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = copied(made_lake, tmp_path)
    settings = settings_in(folder)
    user = busiest_user(settings)
    with closing(open_documents(settings)) as documents:
        request_erasure(Erasing(open_lake(settings), documents, settings), user)
    home = tmp_path / "home"
    home.mkdir()
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        result = run_job(settings, "erase_users", instance=instance)
        assert result.success
        told = holding(home, user)
        logs = instance.all_logs(result.run_id)
    assert told == []
    assert user not in str(logs)
    assert user not in "".join(capfd.readouterr())
    assert holding(folder, user) == []


@pytest.mark.s3
@pytest.mark.mongodb
def test_on_s3_with_mongodb_leftovers_of_dead_writers_go_too(
    tmp_path: Path, s3_server: S3Server, s3_prefix: str, mongodb_uri: str, mongodb_database: str
) -> None:
    settings = settings_in(
        tmp_path, TRANSLATOR="none", S3_ENABLED="true", S3_BUCKET=s3_server.bucket,
        S3_PREFIX=s3_prefix, S3_ENDPOINT_URL=s3_server.endpoint_url,
        AWS_ACCESS_KEY_ID=s3_server.access_key, AWS_SECRET_ACCESS_KEY=s3_server.secret_key,
        AWS_REGION=s3_server.region, MONGODB_URI=mongodb_uri, MONGODB_DATABASE=mongodb_database,
        ERASURE_MIN_USERS="0",
    )  # fmt: skip
    with dg.instance_for_test() as instance:
        assert run_job(settings, "daily", DAYS[0], instance=instance).success
        assert run_job(settings, "users", instance=instance).success
    lake = open_lake(settings)
    turns = lake.read(schemas.MESSAGES, DAYS[0])
    user = str(turns["user_id"].drop_nulls()[0])
    folder = f"raw_messages/year={DAYS[0][:4]}/month=11/day={DAYS[0][-2:]}"
    lake.objects.put(f"{folder}/part-001-0123456789abcdef.parquet", user.encode())
    others = turns.filter(pl.col("user_id").ne_missing(pl.lit(user)))
    with closing(open_documents(settings)) as documents:
        held = documents.holding(SoughtIds.of([user]))
        assert {"conversations", "messages", "user_analytics"} <= held.keys()
        proof = erase(settings, user)
        assert documents.holding(SoughtIds.of([user])) == {}
        assert documents.count("messages", DAYS[0]) == others.height
    assert proof["search"]["found"] == 0
    assert proof["documents"]["messages"]["before"] == held["messages"]
    assert lake.read(schemas.MESSAGES, DAYS[0]).equals(others)
    assert not any(info.path.startswith(f"{folder}/part-001") for info in lake.objects.list(folder))
    assert not any(
        user.encode() in (lake.objects.get(info.path) or b"") for info in lake.objects.list("")
    )


def test_what_killed_queries_and_exports_spilled_here_goes_with_every_erasure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with TemporaryFolder(SQL) as used:
        for kind in ("sql", "export"):
            left = temporary / f"conversation-analytics-{kind}-left"
            left.mkdir()
            (left / "rows").write_text("I am Anna Kowalska")
        erase(settings_in(tmp_path), "nobody-here")
        assert list(temporary.iterdir()) == [used]
