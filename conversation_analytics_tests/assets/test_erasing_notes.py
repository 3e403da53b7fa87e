"""An erasure that is killed at any of its writes ends, by the next run, as if nothing had been."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pytest

from conversation_analytics.assets.day_partials import input_name
from conversation_analytics.assets.erasing import carry_out, pending, request_erasure
from conversation_analytics.assets.erasing_notes import PENDING, Erasing, digests_by_input
from conversation_analytics.assets.lineage import stale_days
from conversation_analytics.core import schemas
from conversation_analytics.core.corrections import CORRECTIONS
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.definitions import daily_graph
from conversation_analytics.lake.suppressions import change_suppressions
from conversation_analytics.materialize import look_for_stale_periods, look_for_stale_users
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics_tests.erased import DAYS, WEEK, busiest_user, settings_in
from conversation_analytics_tests.faults.processes import warm_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation_analytics.documents.store import DocumentStore
    from conversation_analytics.lake.objects import ObjectStore
    from conversation_analytics.lake.store import Lake
    from conversation_analytics.settings import Settings

NEXT_WEEK = "2026-11-16"
NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
SMALL = 40  # rows of an object: most partitions have several then
_OF_OBJECTS = frozenset({"put", "swap", "delete", "delete_while"})
_OF_DOCUMENTS = frozenset({"replace_partition", "merge_conversations", "discard", "wipe"})


class KilledError(BaseException):
    """The process ended here: nothing but the test may catch it."""


@dataclass(slots=True)
class Writes:
    """Counts writes to lake and documents, and ends the process before one of them.

    Attributes:
        last: the number of the write that does not come about any more; 0: all do.
        done: names of those that came about.
    """

    last: int = 0
    done: list[str] = field(default_factory=list)

    def seen(self, target: object, names: frozenset[str]) -> _Watched:
        return _Watched(self, target, names)

    def count(self, name: str, target: object) -> None:
        if len(self.done) + 1 == self.last:
            raise KilledError
        self.done.append(f"{name} {target}")


class _Watched:
    def __init__(self, writes: Writes, target: object, names: frozenset[str]) -> None:
        self._writes, self._target, self._names = writes, target, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in self._names:
            return found

        def counted(*words: Any, **more: Any) -> Any:
            self._writes.count(name, words[0] if words else "")
            return found(*words, **more)

        return counted


@pytest.fixture(scope="module")
def prepared(made_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The lake with corrections and a list of suppressions, and what an erasure makes of it."""
    folder = tmp_path_factory.mktemp("kills")
    shutil.copytree(made_lake, folder / "before")
    settings = settings_in(folder / "before", ERASURE_MIN_USERS="5")
    lake, user = open_lake(settings), busiest_user(settings)
    turns = lake.read(schemas.MESSAGES, DAYS[0])
    talks = [
        turns.filter(whose)["conversation_id"][0]
        for whose in (pl.col("user_id") == user, pl.col("user_id") != user)
    ]
    rows = [
        {"row_id": str(n), "type": "intent", "label": "other", "conversation_id": talk}
        for n, talk in enumerate(talks)
    ]
    frame = pl.DataFrame(rows).select(
        pl.col(name).cast(dtype) if name in rows[0] else pl.lit(None, dtype).alias(name)
        for name, dtype in CORRECTIONS.polars.items()
    )
    lake.write(CORRECTIONS, None, CORRECTIONS.conform(frame))
    plant_topics(lake, talks[0])
    # Its key is drawn when it is begun: the same for all copies.
    change_suppressions(lake, "", lambda one: one.with_conversations(["somebody's"], "somebody"))
    yield Place(folder, user).undisturbed()
    shutil.rmtree(folder)


def plant_topics(lake: Lake, talk: str) -> None:
    """Let there be a topic of one conversation alone, and a week that carries it on."""
    topics, info = lake.read_with_info(TOPICS, WEEK)
    rows, of_rows = lake.read_with_info(CONVERSATION_TOPICS, WEEK)
    alone = topics.head(1).with_columns(topic_id=pl.lit("alone"))
    theirs = rows.head(1).with_columns(topic_id=pl.lit("alone"), conversation_id=pl.lit(talk))
    topics = TOPICS.conform(pl.concat([topics, alone]))
    digest = lake.write(TOPICS, WEEK, topics, inputs=info.inputs).sha256
    lake.write(CONVERSATION_TOPICS, WEEK, pl.concat([rows, theirs]), inputs=of_rows.inputs)
    carried = {input_name(TOPICS, WEEK): digest}
    lake.write(TOPICS, NEXT_WEEK, topics, inputs=carried)
    lake.write(CONVERSATION_TOPICS, NEXT_WEEK, rows.clear(), inputs=carried)


@dataclass(slots=True)
class Place:
    """Where copies of the prepared lake are erased from: always the same, for proofs name it.

    Attributes:
        folder: of all copies.
        user: who is erased.
        rows_per_object: of partitions, at most; None: as many as there are.
        before: name of the folder that is copied.
        least_others: `ERASURE_MIN_USERS`.
        writes: of an undisturbed erasure.
        wanted: what it leaves.
    """

    folder: Path
    user: str
    rows_per_object: int | None = None
    before: str = "before"
    least_others: str = "5"
    writes: list[str] = field(default_factory=list)
    wanted: dict[str, object] = field(default_factory=dict)

    def undisturbed(self) -> Place:
        """Return it with what an undisturbed erasure does."""
        self.fresh()
        return replace(self, writes=self.run(user=self.user), wanted=self.state())

    def split(self, other: str) -> Place:
        """Return it with partitions of several objects, written when `other` was erased."""
        place = replace(self, rows_per_object=SMALL, before="split")
        self.fresh()
        place.run(user=other)
        self.copy.rename(self.folder / place.before)
        return place.undisturbed()

    @property
    def copy(self) -> Path:
        return self.folder / "copy"

    @property
    def settings(self) -> Settings:
        return settings_in(self.copy, ERASURE_MIN_USERS=self.least_others)

    def fresh(self) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.folder / self.before, self.copy)

    def lake(self) -> Lake:
        lake = open_lake(self.settings)
        if self.rows_per_object is None:
            return lake
        options = replace(lake.options, max_records_per_file=self.rows_per_object)
        return replace(lake, options=options)

    def run(self, last: int = 0, user: str | None = None) -> list[str]:
        """Erase the person, or finish what is pending, up to a write; return the writes."""
        writes = Writes(last)
        self.run_with(writes, user)
        return writes.done

    def run_with(self, writes: Writes, user: str | None) -> None:
        with closing(open_documents(self.settings)) as documents:
            lake = self.lake()
            objects = cast("ObjectStore", writes.seen(lake.objects, _OF_OBJECTS))
            store = cast("DocumentStore", writes.seen(documents, _OF_DOCUMENTS))
            work = Erasing(replace(lake, objects=objects), store, self.settings)
            try:
                names = pending(lake) if user is None else [request_erasure(work, user)]
                for name in names:
                    carry_out(work, name, lambda: NOW, user)
            except KilledError:
                assert writes.last

    def state(self) -> dict[str, object]:
        """Return every byte of the lake, every row of the documents, and the proof."""
        return state_of(self.copy)


def state_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted((folder / "lake").rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or path.name == ".lock":
            continue
        found[name] = path.read_bytes()
        if "/proofs/" in name:
            proof = json.loads(path.read_bytes())
            for own in ("attempts", "begun", "finished", "file"):
                del proof[own]
            found[name] = proof
    with closing(sqlite3.connect(folder / "documents.sqlite")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        for (name,) in sorted(tables.fetchall()):
            if name == "partition generations":  # how often it was tried, and no document
                continue
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            found[f"documents: {name}"] = sorted(map(repr, rows))
    return found


def as_proof(value: object) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def test_the_undisturbed_erasure_does_what_the_others_are_compared_with(prepared: Place) -> None:
    writes, state = prepared.writes, prepared.wanted
    [proof] = [as_proof(value) for name, value in state.items() if "/proofs/" in name]
    assert proof["search"]["found"] == 0
    tables = {"corrections", "topics", "conversation_topics", "user_analytics", "raw_messages"}
    assert tables <= proof["rows"].keys()
    assert all(count["before"] > 0 == count["after"] for count in proof["documents"].values())
    assert {
        "conversations", "messages", "categories", "topics", "user_analytics",
    } <= proof["documents"].keys()  # fmt: skip
    assert any("weekly_report" in name for name in writes)
    assert any("reports/users/index.inputs.json" in name for name in writes)
    assert not [name for name in state if PENDING in name]


@pytest.mark.parametrize(
    "write",
    [
        f"put erasures/pending/*/{DAYS[1]}.json",
        "swap daily_partials/*",
        "merge_conversations *",
        "swap index/raw_messages/*",
        f"swap {TOPICS.name}/*/day=09/*",
        f"replace_partition {TOPICS.name}",
        f"swap {CORRECTIONS.name}/*",
        "swap user_growth/*",
        "put reports/users/index.inputs.json",
        "discard user_analytics",
        "swap erasures/proofs/*",
        "delete erasures/pending/*/request.json",
    ],
)
def test_killed_at_this_write_it_is_finished_with_the_same_bytes_and_numbers(
    prepared: Place, write: str
) -> None:
    at = 1 + next(n for n, one in enumerate(prepared.writes) if fnmatchcase(one, write))
    killed_then_finished(prepared, [at], write)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 139 erasures, each killed and finished
def test_killed_at_every_write_it_is_finished_with_the_same_bytes_and_numbers(
    prepared: Place,
) -> None:
    for at, name in enumerate(prepared.writes, 1):
        killed_then_finished(prepared, [at], f"{at} {name}")


@pytest.mark.slow
def test_killed_between_the_objects_of_a_partition_it_leaves_none_of_them(prepared: Place) -> None:
    prepared.fresh()
    users = open_lake(prepared.settings).read(schemas.MESSAGES, DAYS[0])["user_id"].drop_nulls()
    place = prepared.split(str(users.filter(users != prepared.user)[0]))
    kinds = {name.split()[0] for name in place.writes}
    assert kinds >= {"put", "swap", "delete_while"}
    for at in range(1, len(place.writes) + 1, 5):
        killed_then_finished(place, [at], f"{at} {place.writes[at - 1]}")


@pytest.mark.parametrize("at", [(40, 20), (110, 60, 2)])
def test_killed_twice_and_more(prepared: Place, at: tuple[int, ...]) -> None:
    killed_then_finished(prepared, list(at), str(at))


@pytest.mark.slow
def test_killed_twice_at_any_two_writes(prepared: Place) -> None:
    draw = random.Random(7)
    last = len(prepared.writes)
    for _ in range(40):
        at = [draw.randint(2, last), draw.randint(1, last // 2)]
        killed_then_finished(prepared, at, str(at))


def killed_then_finished(place: Place, at: list[int], where: str) -> None:
    place.fresh()
    done = place.run(at[0], place.user)
    assert done == place.writes[: at[0] - 1]
    for number in at[1:]:
        place.run(number)
    noted = any(one.endswith("/request.json") for one in done)
    require_finished(place, where, None if noted else place.user)


def require_finished(place: Place, where: str, user: str | None = None) -> None:
    place.run(user=user)
    assert pending(place.lake()) == []
    found, wanted = place.state(), place.wanted
    differing = [
        name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)
    ]
    assert not differing, f"{where}: {sorted(differing)}"


def erased_by_a_process(copy: str, user: str, write: str) -> None:
    """Erase a person, and let the system kill this process at a write."""
    place = Place(Path(copy).parent, user)

    class Killed(Writes):
        def count(self, name: str, target: object) -> None:
            if fnmatchcase(f"{name} {target}", write):
                os.kill(os.getpid(), signal.SIGKILL)

    place.run_with(Killed(), user)


@pytest.mark.parametrize("write", ["swap user_growth/*", f"swap {CONVERSATION_TOPICS.name}/*"])
def test_a_process_that_the_system_kills_is_finished_by_the_next(
    prepared: Place, write: str
) -> None:
    prepared.fresh()
    process = warm_context().Process(
        target=erased_by_a_process, args=(str(prepared.copy), prepared.user, write)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    require_finished(prepared, write)


def test_rows_that_come_after_the_proof_of_a_killed_erasure_are_erased_again(
    prepared: Place,
) -> None:
    place = prepared
    place.fresh()
    held = {path: path.read_bytes() for path in rows_of(place, DAYS[0])}
    noted = next(n for n, one in enumerate(place.writes) if one.endswith("/users.json"))
    at = 1 + next(
        n for n, one in enumerate(place.writes) if n > noted and one.startswith("delete ")
    )
    place.run(at, place.user)
    for path, data in held.items():  # as from a backup
        path.write_bytes(data)
    place.run(60)  # killed once more, when the day's rows are gone again
    place.run()
    assert pending(place.lake()) == []
    proofs = [value for name, value in place.state().items() if "/proofs/" in name]
    again, first = sorted(map(as_proof, proofs), key=lambda one: int(one["days"]))
    assert (first["days"], again["days"]) == (3, 1)
    assert again["rows"]["raw_messages"]["before"] > 0 == again["search"]["found"]


def killed_once_noted(prepared: Place, day: str) -> Place:
    """Erase up to the note of a day, which keeps its aggregates: none of it is written yet."""
    place = replace(prepared, least_others="0")
    place.fresh()

    class Killed(Writes):
        def count(self, name: str, target: object) -> None:
            if self.done and fnmatchcase(self.done[-1], f"put erasures/pending/*/{day}.json"):
                raise KilledError
            self.done.append(f"{name} {target}")

    place.run_with(Killed(-1), place.user)
    return place


def stored_by_another(place: Place, schema: schemas.TableSchema, day: str) -> None:
    """Let another run store a day with one row more, or with another number in it."""
    lake = place.lake()
    rows, info = lake.read_with_info(schema, day)
    if schema is schemas.RAW_MESSAGES:
        others = rows.filter(~pl.col("payload").str.contains(place.user, literal=True))
        more = others.head(1).with_columns(id=pl.lit("new"), sha256=pl.lit("new"))
        rows = pl.concat([rows, more])
    else:
        rows = rows.with_columns(pl.col("turns") + 1)
    lake.write(schema, day, rows, inputs=info.inputs)


def stale(place: Place) -> dict[str, str]:
    """Return the assets of the days that are stale, and why."""
    settings = place.settings
    with closing(open_documents(settings)) as documents:
        days = stale_days(daily_graph(settings), place.lake(), documents, settings, DAYS)
        return {f"{day.key} {one.asset}": one.reason for day in days for one in day.assets}


def stale_periods(place: Place) -> set[str]:
    days = [dt.date.fromisoformat(day) for day in DAYS]
    found = look_for_stale_periods(place.settings, days)
    return {asset.asset for one in found for asset in one.assets}


def test_what_another_run_stores_before_the_resume_is_not_taken_for_known(prepared: Place) -> None:
    place = killed_once_noted(prepared, DAYS[1])
    stored_by_another(place, schemas.RAW_MESSAGES, DAYS[1])
    assert f"{DAYS[1]} messages" in stale(place)
    place.run()
    assert pending(place.lake()) == []
    assert stale(place)[f"{DAYS[1]} messages"] == "raw_messages has changed since"
    assert "new" in place.lake().read(schemas.RAW_MESSAGES, DAYS[1])["id"]


@pytest.mark.parametrize("another_run", [False, True])
def test_weeks_are_merged_again_only_where_another_run_counts_a_day_before_the_resume(
    prepared: Place, *, another_run: bool
) -> None:
    place = killed_once_noted(prepared, DAYS[1])
    if another_run:
        stored_by_another(place, schemas.DAILY_PARTIALS, DAYS[1])
    place.run()
    assert pending(place.lake()) == []
    reports = {"weekly_report", "monthly_report"}
    assert reports & stale_periods(place) == (reports if another_run else set())


@pytest.mark.parametrize("day", [DAYS[1], "2026-11-12"])
def test_users_are_made_again_where_another_run_stores_a_day_before_the_resume(
    prepared: Place, day: str
) -> None:
    place = killed_once_noted(prepared, DAYS[1])
    lake = place.lake()
    if day in DAYS:
        stored_by_another(place, schemas.DAILY_PARTIALS, day)
    else:
        lake.write(schemas.DAILY_PARTIALS, day, schemas.DAILY_PARTIALS.empty())
    place.run()
    assert pending(lake) == []
    assert {one.asset for one in look_for_stale_users(place.settings)} >= {"user_analytics"}


def test_users_stay_as_up_to_date_as_they_were_though_it_was_killed(prepared: Place) -> None:
    place = killed_once_noted(prepared, DAYS[1])
    place.run()
    assert look_for_stale_users(place.settings) == ()


def test_a_note_of_an_earlier_version_is_read() -> None:
    tables = {"messages": {"was": ["a", "b"], "now": "c"}}
    assert digests_by_input(tables) == {"messages": {"a": "c", "b": "c"}}


def rows_of(place: Place, day: str) -> list[Path]:
    """Return the files of the raw rows of a day, and of what the index has of them."""
    year, month, number = day.split("-")
    lake = place.copy / "lake"
    return [
        *lake.glob(f"raw_*/year={year}/month={month}/day={number}/*.parquet"),
        *lake.glob(f"index/raw_*/{day}.bin"),
    ]
