"""The table of results on a real NocoDB: only changes are sent, nothing of people is lost."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
import requests

from conversation_analytics.assets.results import stale_results
from conversation_analytics.core.errors import ContractError, SettingsError, SourceAuthError
from conversation_analytics.core.results import result_columns
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.windows import days_between
from conversation_analytics.definitions import build_definitions
from conversation_analytics.lake.suppressions import change_suppressions
from conversation_analytics.nocodb.client import NocoDBClient, NocoDBConfig
from conversation_analytics.nocodb.results import (
    ResultsTable,
    SentResults,
    open_results,
)
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import parse_settings
from conversation_analytics.stack.nocodb_seed import create_base, insert_rows, update_rows
from conversation_analytics_tests.commands import ROOT, typed
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from conversation_analytics.core.results import Cell
    from conversation_analytics.stack.nocodb import NocodbServer

pytestmark = pytest.mark.nocodb
COLUMNS = result_columns(("topic",))
DAY = "2026-11-10"
LATER = "2026-11-12"
NOTE = {"title": "note", "column_name": "note", "uidt": "SingleLineText"}


def documented_table() -> dict[str, Any]:
    """Return what the command of docs/write-back.md sends."""
    page = (ROOT / "docs" / "write-back.md").read_text("utf-8")
    [body] = re.findall(r"^\{\"title\".*?^\]\}", page, re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = json.loads(body)
    return found


def create_table(
    server: NocodbServer,
    *more: Mapping[str, object],
    leave_out: tuple[str, ...] = (),
    day_type: str = "Date",
) -> tuple[str, str]:
    """Return base and table, made as the documentation says, or with another type of `day`."""
    base = create_base(server, f"results {uuid.uuid4().hex}")
    wanted = {"Id", *(one.name for one in COLUMNS)} - set(leave_out)
    body = documented_table()
    columns = [one for one in body["columns"] if one["title"] in wanted]
    columns = [one | {"uidt": day_type} if one["title"] == "day" else one for one in columns]
    made = server.request(
        "POST", f"/api/v2/meta/bases/{base}/tables", body | {"columns": [*columns, *more]}
    )
    return base, str(made["id"])


class Watched(requests.Session):
    """Counts the rows of requests that write, and does what a test says before or after them."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[str, int]] = []
        self.asked = 0
        self.before: Callable[[str], None] = lambda _method: None
        self.after: Callable[[str], None] = lambda _method: None

    def request(self, method: Any, url: Any, *args: Any, **more: Any) -> requests.Response:
        if method == "GET":
            self.asked += "/records" in url
        else:
            self.before(method)
            self.written.append((method, more["data"].count(b'"conversation_id"')))
        answer = super().request(method, url, *args, **more)
        if method != "GET":
            self.after(method)
        return answer


@contextlib.contextmanager
def opened(
    server: NocodbServer, base: str, session: Watched | None = None, **changes: Any
) -> Iterator[ResultsTable]:
    config = NocoDBConfig(server.base_url, server.api_token, base, retry_delay_s=0.01, **changes)
    client = NocoDBClient(config, session_factory=lambda: session or Watched())
    with contextlib.closing(client):
        yield open_results(client, "Results", COLUMNS, {})


def rows(count: int, topic: str = "shop", day: str = DAY, first: int = 0) -> list[dict[str, Cell]]:
    return [
        {
            "conversation_id": f"c-{number}", "day": day, "app_id": "app", "language": "th",
            "language_confidence": 0.8765, "topic": topic, "topic_confidence": 0.5,
            "week_topic": None, "content_hash": f"{day} {topic}",
        }
        for number in range(first, first + count)
    ]  # fmt: skip


class Days:
    """What a lake holds, in memory."""

    def __init__(self, *rows: Mapping[str, Cell]) -> None:
        self.held: dict[str, dict[str, Mapping[str, Cell]]] = {}
        self.erased: set[str] = set()
        self.untyped: set[str] = set()
        for row in rows:
            self.held.setdefault(str(row["day"]), {})[str(row["conversation_id"])] = row

    def days(self) -> list[str]:
        return sorted(self.held)

    def having(self, day: str, ids: Collection[str]) -> frozenset[str]:
        return frozenset(ids) & self.held[day].keys()

    def gone(self, claims: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        return frozenset(claim for claim in claims if claim[0] in self.erased)

    def with_turns(self, ids: Collection[str]) -> frozenset[str]:
        typed = {name for some in self.held.values() for name in some}
        return frozenset(ids) & (typed | self.untyped)

    def rows(self, day: str, ids: Collection[str]) -> list[Mapping[str, Cell]]:
        return [row for name, row in self.held[day].items() if name in ids]

    def send(self, results: ResultsTable, day: str) -> SentResults:
        return results.send_day(day, list(self.held[day].values()), self)


NO_OTHERS = Days()


def held(server: NocodbServer, table: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a table by conversation; each has to be there once."""
    found = []
    for offset in (0, 1000):
        answer = server.request(
            "GET", f"/api/v2/tables/{table}/records?limit=1000&offset={offset}&sort=Id"
        )
        found += answer["list"]
        if len(answer["list"]) < 1000:
            break
    by_id = {row["conversation_id"]: row for row in found}
    assert len(by_id) == len(found), "a conversation is there twice"
    return by_id


def test_only_what_differs_is_sent_and_columns_of_people_stay(nocodb: NocodbServer) -> None:
    base, table = create_table(nocodb, NOTE)
    session = Watched()
    with opened(nocodb, base, session) as results:
        assert results.send_day(DAY, rows(250), NO_OTHERS) == SentResults(inserted=250)
        assert session.written == [("POST", 100), ("POST", 100), ("POST", 50)]
        there = held(nocodb, table)
        assert there["c-7"] | rows(8)[7] == there["c-7"]
        update_rows(nocodb, table, [{"Id": there["c-7"]["Id"], "note": "seen by ann"}])

        session.written.clear()
        session.asked = 0
        assert results.send_day(DAY, rows(250), NO_OTHERS) == SentResults(unchanged=250)
        assert session.written == []
        assert session.asked == 4  # one of the day and of days not held, three of the ids

        changed = rows(8, "code") + rows(242, first=8)
        assert results.send_day(DAY, changed, NO_OTHERS) == SentResults(updated=8, unchanged=242)
        assert session.written == [("PATCH", 8)]
        after = held(nocodb, table)
        assert after["c-7"]["note"] == "seen by ann"
        assert after["c-7"]["topic"] == "code"
        assert after["c-7"]["Id"] == there["c-7"]["Id"]

        # Of a later day: the rows go along; the earlier day is not written over them again.
        later = rows(3, "code", "2026-11-11")
        lake = Days(*changed, *later)
        assert lake.send(results, "2026-11-11") == SentResults(updated=3)
        assert lake.send(results, DAY) == SentResults(unchanged=247, later=3)
        assert held(nocodb, table)["c-7"]["note"] == "seen by ann"

        # A conversation that the lake does not have any more has no row, one made by hand stays.
        insert_rows(nocodb, table, [{"conversation_id": "by hand", "day": DAY}])
        lake = Days(*changed[:200], *later)
        assert lake.send(results, DAY) == SentResults(deleted=50, unchanged=197, later=3)
        assert held(nocodb, table).keys() == {*(f"c-{n}" for n in range(200)), "by hand"}


def test_an_id_that_would_change_a_filter_is_left_out(nocodb: NocodbServer) -> None:
    base, table = create_table(nocodb)
    hostile = rows(4)
    for row, name in zip(
        hostile, ("a),(day,neq,x)", "~or(Id,gt,0)", "ab,cd", "good-1"), strict=True
    ):
        row["conversation_id"] = name
    with opened(nocodb, base) as results:
        insert_rows(nocodb, table, [{"conversation_id": "ab", "day": "2026-11-01"}])
        assert results.send_day(DAY, hostile, NO_OTHERS) == SentResults(inserted=1, left_out=3)
        with pytest.raises(ValueError, match="no partition key"):
            results.send_day("2026-11-10)~or(Id,gt,0", [], NO_OTHERS)
    assert held(nocodb, table).keys() == {"ab", "good-1"}


def test_a_run_that_dies_is_repeated_and_a_lost_answer_makes_no_second_row(
    nocodb: NocodbServer,
) -> None:
    base, table = create_table(nocodb)
    session = Watched()

    def die(_method: str) -> None:
        if len(session.written) == 2:
            raise KeyboardInterrupt

    session.before = die
    with opened(nocodb, base, session) as results, pytest.raises(KeyboardInterrupt):
        results.send_day(DAY, rows(250), NO_OTHERS)
    assert len(held(nocodb, table)) == 200

    def lose(_method: str) -> None:
        if len(session.written) == 1:
            raise requests.ConnectionError

    session = Watched()
    session.after = lose
    with opened(nocodb, base, session) as results:
        # 50 rows were inserted twice; the second ones are gone.
        assert results.send_day(DAY, rows(250), NO_OTHERS) == SentResults(
            inserted=50, deleted=50, unchanged=200
        )
    assert session.written[:2] == [("POST", 50), ("POST", 50)]
    assert len(held(nocodb, table)) == 250


def test_two_runs_at_once_leave_each_conversation_once(nocodb: NocodbServer) -> None:
    """Both look before either writes; of the same day, and of a day and a later one."""
    for other_day in (DAY, "2026-11-11"):
        base, table = create_table(nocodb)
        lake = Days(*rows(30), *rows(30, day=other_day))
        looked = threading.Barrier(2, timeout=60)

        def send(
            day: str, base: str = base, looked: threading.Barrier = looked, lake: Days = lake
        ) -> SentResults:
            session = Watched()

            def meet(_method: str) -> None:
                if not session.written:
                    looked.wait()

            session.before = meet
            with opened(nocodb, base, session) as results:
                return lake.send(results, day)

        with ThreadPoolExecutor(2) as pool:
            sent = list(pool.map(send, [DAY, other_day]))
        assert [one.inserted for one in sent] == [30, 30]
        there = held(nocodb, table)
        assert len(there) == 30
        assert {row["day"] for row in there.values()} == {other_day}


def test_a_conversation_whose_turns_are_dead_letters_keeps_its_row_until_they_are_gone(
    nocodb: NocodbServer,
) -> None:
    base, table = create_table(nocodb, NOTE)
    lake = Days(*rows(3))
    with opened(nocodb, base) as results:
        lake.send(results, DAY)
        there = held(nocodb, table)
        update_rows(nocodb, table, [{"Id": there["c-1"]["Id"], "note": "refund promised"}])
        there = held(nocodb, table)
        untyped = lake.held[DAY].pop("c-1")
        lake.untyped = {"c-1"}
        assert lake.send(results, DAY) == SentResults(unchanged=2, without_result=1)
        assert results.look_through(lake) == SentResults(without_result=1)
        assert held(nocodb, table) == there

        lake.held[DAY]["c-1"] = untyped  # it was mended
        assert lake.send(results, DAY) == SentResults(unchanged=3)
        assert held(nocodb, table) == there

        del lake.held[DAY]["c-1"]
        lake.untyped = set()  # purged, or erased
        assert lake.send(results, DAY) == SentResults(unchanged=2, deleted=1)
    assert held(nocodb, table).keys() == {"c-0", "c-2"}


CHANGED_BY_PEOPLE: dict[str, dict[str, Cell]] = {
    "c-0": {"day": None},
    "c-1": {"day": "2999-01-01"},
    "c-2": {"day": "1999-01-01"},
    "c-3": {"day": "tomorrow"},
    "c-4": {"day": "2026-11-11"},  # no day that is held
    "c-5": {"conversation_id": "typed"},
    "c-6": {"conversation_id": "", "day": None},
    "c-7": {"conversation_id": "a),(b~or", "day": "2999-01-01"},
    "c-8": {"conversation_id": "d-1", "day": None},  # another one's, which has a row
    "c-9": {"day": "10.11.2026"},
}
BY_HAND: list[dict[str, Cell]] = [
    {"conversation_id": "by hand", "day": None},
    {"conversation_id": "hand 2", "day": "2999-01-01", "content_hash": ""},
]


def changed_by_people(nocodb: NocodbServer, day_type: str) -> tuple[str, str, Days]:
    """Send two days, and let people write into columns that are ours, and into theirs."""
    base, table = create_table(nocodb, NOTE, day_type=day_type)
    later = [row | {"conversation_id": f"d-{n}"} for n, row in enumerate(rows(3, day=LATER))]
    lake = Days(*rows(12), *later)
    with opened(nocodb, base) as results:
        for day in lake.days():
            lake.send(results, day)
    there = held(nocodb, table)
    notes: list[dict[str, Any]] = [
        {"Id": row["Id"], "note": f"of {name}", **CHANGED_BY_PEOPLE.get(name, {})}
        for name, row in there.items()
    ]
    update_rows(nocodb, table, notes)
    insert_rows(nocodb, table, BY_HAND)
    return base, table, lake


def sent_once(nocodb: NocodbServer, base: str, lake: Days) -> None:
    """Send all days, and see that doing it again writes nothing."""
    with opened(nocodb, base) as results:
        for day in lake.days():
            lake.send(results, day)
    session = Watched()
    with opened(nocodb, base, session) as results:
        for day in lake.days():
            lake.send(results, day)
        assert session.asked == len(lake.held) + sum(map(bool, lake.held.values()))
        results.look_through(lake)
    assert session.written == []


def is_of(lake: Days, there: dict[str, dict[str, Any]]) -> bool:
    """Say whether the table has the lake's rows, with the cells that were sent, and by hand."""
    wanted = {name: row for some in lake.held.values() for name, row in some.items()}
    hands = {str(row["conversation_id"]) for row in BY_HAND}
    return there.keys() == wanted.keys() | hands and all(
        there[name] | dict(row) == there[name] for name, row in wanted.items()
    )


@pytest.mark.parametrize("day_type", ["Date", "SingleLineText"])
def test_cells_that_people_changed_keep_no_row_after_an_erasure(
    nocodb: NocodbServer, day_type: str
) -> None:
    base, table, lake = changed_by_people(nocodb, day_type)
    lake.erased = {f"c-{n}" for n in range(12)}
    lake.held[DAY] = {}
    sent_once(nocodb, base, lake)
    there = held(nocodb, table)
    assert is_of(lake, there)
    assert {there[f"d-{n}"]["note"] for n in range(3)} == {"of d-0", "of d-1", "of d-2"}


@pytest.mark.parametrize("day_type", ["Date", "SingleLineText"])
@pytest.mark.parametrize("topic", ["code", "shop"], ids=["changed", "as-before"])
def test_cells_that_people_changed_keep_no_row_from_being_updated(
    nocodb: NocodbServer, day_type: str, topic: str
) -> None:
    base, table, lake = changed_by_people(nocodb, day_type)
    lake.held[DAY] = Days(*rows(12, topic)).held[DAY]
    sent_once(nocodb, base, lake)
    there = held(nocodb, table)
    assert is_of(lake, there)
    kept = {name for name, row in there.items() if row["note"] == f"of {name}"}
    ids_changed = {"c-5", "c-6", "c-7", "c-8"}
    assert kept == {f"c-{n}" for n in range(12)} - ids_changed | {"d-0", "d-1", "d-2"}


class DaysToMakeAgain(Days):
    """Holds a day that an earlier version wrote: nobody knows what is in it."""

    def having(self, day: str, ids: Collection[str]) -> frozenset[str]:
        return frozenset(ids) if day == DAY else super().having(day, ids)

    def rows(self, day: str, ids: Collection[str]) -> list[Mapping[str, Cell]]:
        return [] if day == DAY else super().rows(day, ids)


def test_rows_that_may_be_of_a_day_to_be_made_again_are_left_alone(nocodb: NocodbServer) -> None:
    base, table, lake = changed_by_people(nocodb, "Date")
    before = nocodb.request("GET", f"/api/v2/tables/{table}/records?limit=1000&sort=Id")["list"]
    lake = DaysToMakeAgain(*rows(1), *lake.held[LATER].values())
    with opened(nocodb, base) as results:
        sent = lake.send(results, LATER)
        assert results.look_through(lake) == SentResults()
    after = nocodb.request("GET", f"/api/v2/tables/{table}/records?limit=1000&sort=Id")["list"]
    impossible = {"", "a),(b~or"}  # no id of ours; one more is another conversation's, by its id
    assert sent == SentResults(deleted=3, unchanged=3)
    assert [row for row in before if row["Id"] in {one["Id"] for one in after}] == after
    left = {row["Id"] for row in before} - {row["Id"] for row in after}
    gone = [row["conversation_id"] for row in before if row["Id"] in left]
    assert set(gone) == {*impossible, "d-1"}


def test_a_row_that_people_gave_another_day_that_is_held_is_found_in_the_whole_table(
    nocodb: NocodbServer,
) -> None:
    base, table, lake = changed_by_people(nocodb, "SingleLineText")
    answer = nocodb.request("GET", f"/api/v2/tables/{table}/records?limit=1000")
    there = {row["note"]: row["Id"] for row in answer["list"]}
    moved = [(f"of c-{n}", LATER) for n in (0, 1)] + [("of c-2", f"{DAY}x")]
    update_rows(nocodb, table, [{"Id": there[note], "day": day} for note, day in moved])
    del lake.held[DAY]["c-1"]  # erased
    session = Watched()
    with opened(nocodb, base, session) as results:
        results.look_through(lake)
        assert [method for method, _ in session.written] == ["PATCH", "DELETE"]
        session.written.clear()
        assert results.look_through(lake) == SentResults()
        assert session.written == []
        for day in lake.days():  # those whose id had been changed come back
            lake.send(results, day)
    after = held(nocodb, table)
    assert is_of(lake, after)
    assert {after[f"c-{n}"]["note"] for n in (0, 2, 4)} == {"of c-0", "of c-2", "of c-4"}


def test_rows_of_days_that_a_new_lake_does_not_hold_yet_stay_with_the_notes_in_them(
    nocodb: NocodbServer,
) -> None:
    base, table = create_table(nocodb, NOTE)
    earlier = [{**row, "conversation_id": f"d-{n}"} for n, row in enumerate(rows(3))]
    with opened(nocodb, base) as results:
        whole = Days(*earlier, *rows(2, day=LATER))
        for day in whole.days():
            whole.send(results, day)
    there = held(nocodb, table)
    update_rows(
        nocodb, table, [{"Id": row["Id"], "note": f"of {name}"} for name, row in there.items()]
    )
    update_rows(nocodb, table, [{"Id": there["d-1"]["Id"], "day": None}])
    new = Days(*rows(2, day=LATER))  # filled again, the newest day first
    new.erased = {"d-2"}
    with opened(nocodb, base) as results:
        assert new.send(results, LATER) == SentResults(deleted=1, unchanged=2)
        assert results.look_through(new) == SentResults()
    after = held(nocodb, table)
    assert after.keys() == there.keys() - {"d-2"}
    with opened(nocodb, base) as results:
        assert whole.send(results, DAY) == SentResults(updated=1, inserted=1, unchanged=1)
    assert {held(nocodb, table)[name]["note"] for name in ("d-0", "d-1")} == {"of d-0", "of d-1"}


class FilledMeanwhile(Days):
    """Holds a day from the fourth time on that somebody asks which days there are."""

    asked = 0

    def days(self) -> list[str]:
        self.asked += 1
        return [day for day in super().days() if day != DAY or self.asked > 3]


def test_a_day_that_is_stored_while_another_is_sent_takes_no_row_out(nocodb: NocodbServer) -> None:
    base, table = create_table(nocodb, NOTE)
    other = [{**row, "conversation_id": f"d-{n}"} for n, row in enumerate(rows(2, day=LATER))]
    whole = Days(*rows(3), *other)
    with opened(nocodb, base) as results:
        for day in whole.days():
            whole.send(results, day)
        there = held(nocodb, table)
        lake = FilledMeanwhile(*rows(3), *other)
        assert lake.send(results, LATER) == SentResults(unchanged=5)
        assert lake.asked > 3
    assert held(nocodb, table) == there


def test_rows_of_days_not_held_are_left_alone_where_nobody_wants_them_looked_at(
    nocodb: NocodbServer,
) -> None:
    base, table = create_table(nocodb)
    lake = Days(*rows(1))
    lake.erased = {"stray"}
    insert_rows(
        nocodb, table, [{"conversation_id": "stray", "day": "1999-01-01", "content_hash": "h"}]
    )
    session = Watched()
    with opened(nocodb, base, session) as results:
        day = list(lake.held[DAY].values())
        assert results.send_day(DAY, day, lake, strays=False) == SentResults(inserted=1)
        assert held(nocodb, table).keys() == {"c-0", "stray"}
        assert results.send_day(DAY, day, lake) == SentResults(unchanged=1, deleted=1)
    assert held(nocodb, table).keys() == {"c-0"}


def test_days_that_are_missing_between_those_held_are_asked_for_in_parts(
    nocodb: NocodbServer,
) -> None:
    base, table = create_table(nocodb)
    start = dt.date(2026, 1, 1)
    numbers = [*range(0, 240, 2), 400, 600]
    other_days = [(start + dt.timedelta(days=n)).isoformat() for n in numbers]
    lake = Days(*(row for day in other_days for row in rows(1, day=day)))
    for n, day in enumerate(other_days):
        lake.held[day] = {f"e-{n}": {**lake.held[day]["c-0"], "conversation_id": f"e-{n}"}}
    strays = [
        {"conversation_id": f"gone-{n}", "day": (start + dt.timedelta(days=n)).isoformat(),
         "content_hash": "h"}
        for n in (1, 99, 237, 300, 500)
    ]  # fmt: skip
    insert_rows(nocodb, table, strays)
    lake.erased = {f"gone-{n}" for n in (1, 99, 237, 300)}
    session = Watched()
    with opened(nocodb, base, session) as results:
        sent = lake.send(results, other_days[0])
    assert sent == SentResults(inserted=1, deleted=4)
    assert session.asked == 2 * (2 + 1)
    assert held(nocodb, table).keys() == {"e-0", "gone-500"}


def test_a_table_that_cannot_be_used_is_told_with_the_columns_to_make(nocodb: NocodbServer) -> None:
    base, table = create_table(
        nocodb,
        {"title": "topic_confidence", "column_name": "topic_confidence", "uidt": "Number"},
        leave_out=("week_topic", "language", "topic_confidence"),
    )
    lacks = (
        r"table 'Results' of NOCODB_RESULTS_TABLE lacks: language \(SingleLineText\), week_topic "
        r"\(SingleLineText\); has as another type: topic_confidence \(Decimal\)\. Make these in"
    )
    with pytest.raises(ContractError, match=lacks), opened(nocodb, base):
        pass
    base, table = create_table(nocodb)
    client = NocoDBClient(NocoDBConfig(nocodb.base_url, nocodb.api_token, base))
    with contextlib.closing(client):
        for name in ("Results", table):
            with pytest.raises(ContractError, match="NOCODB_CORRECTIONS_TABLE name the same table"):
                open_results(client, "Results", COLUMNS, {"NOCODB_CORRECTIONS_TABLE": name})
    refused = NocoDBClient(NocoDBConfig(nocodb.base_url, "wrong", base))
    with contextlib.closing(refused), pytest.raises(SourceAuthError, match="may edit the base"):
        refused.write_records("POST", table, rows(1))


def test_no_two_settings_name_one_table() -> None:
    for other in ("CORRECTIONS", "FEEDBACKS", "MESSAGES", "CONVERSATION"):
        names = {"NOCODB_RESULTS_TABLE": "shared", f"NOCODB_{other}_TABLE": "Shared"}
        with pytest.raises(SettingsError, match="name the same table: each needs its own"):
            parse_settings({"NOCODB_BASE_URL": "http://h", "NOCODB_API_TOKEN": "t",
                            "NOCODB_PROJECT_ID": "p", **names})  # fmt: skip


def an_erasure_leaves_no_row(
    server: NocodbServer, table: str, folder: Path, environment: dict[str, str]
) -> None:
    """Erase somebody whose rows people have changed: the next sending takes them out."""
    settings = parse_settings(environment)
    lake, told = open_lake(settings), held(server, table)
    days = [dt.date.fromisoformat(day) for day in lake.keys(MESSAGES)]
    messages = pl.concat(lake.read(MESSAGES, day.isoformat()) for day in days)
    own = messages.filter(pl.col("conversation_id").is_in(list(told)))
    user = own.group_by("user_id").agg(pl.col("conversation_id").n_unique()).sort(
        "conversation_id", "user_id", descending=True
    )["user_id"][0]  # fmt: skip
    erased = sorted(set(own.filter(pl.col("user_id") == user)["conversation_id"]))
    assert len(erased) > 1
    other_day = {name: f"2026-11-{9 + (int(told[name]['day'][-2:]) - 8) % 3:02}" for name in erased}
    changes: list[dict[str, Any]] = [
        {"Id": told[name]["Id"], "day": other_day[name] if n % 2 else None}
        for n, name in enumerate(erased)
    ]
    update_rows(server, table, changes)
    assert typed(folder, "erase-user", user, **environment).returncode == 0
    repaired = typed(folder, "repair", **environment)
    assert repaired.returncode == 0, repaired.stderr
    assert held(server, table) == {name: row for name, row in told.items() if name not in erased}
    assert stale_results(lake, settings, days) == {}

    # The whole table is looked through once for each erasure, whatever day is sent.
    ghost = {"conversation_id": "ghost", "day": "2026-11-10", "content_hash": "h"}
    insert_rows(server, table, [ghost])
    run_job(settings, "results", "2026-11-09")
    assert "ghost" in held(server, table)
    change_suppressions(lake, "", lambda erased: erased.with_user("somebody else"))
    run_job(settings, "results", "2026-11-09")
    assert "ghost" not in held(server, table)

    # And once more when an erasure is done: its people are listed before their rows are gone.
    note = "erasures/pending/somebody/request.json"
    lake.objects.put(note, b"{}")
    run_job(settings, "results", "2026-11-09")
    insert_rows(server, table, [ghost])
    run_job(settings, "results", "2026-11-09")
    assert "ghost" in held(server, table)
    lake.objects.delete(note)
    run_job(settings, "results", "2026-11-09")
    assert "ghost" not in held(server, table)


def test_a_run_sends_days_again_when_they_or_their_topics_change(
    nocodb: NocodbServer, tmp_path: Path
) -> None:
    base = create_base(nocodb, f"results {uuid.uuid4().hex}")
    made = nocodb.request("POST", f"/api/v2/meta/bases/{base}/tables", documented_table())
    table = str(made["id"])
    environment = {
        "SOURCE": "sample", "PARQUET_BASE_DIR": str(tmp_path / "lake"),
        "SQLITE_PATH": str(tmp_path / "documents.sqlite"), "ANALYTICS_START_DATE": "2026-11-09",
        "SAMPLE_TURNS_PER_DAY": "60", "TOPIC_MIN_USERS": "2", "TOPIC_MIN_CONVERSATIONS": "2",
        "NOCODB_BASE_URL": nocodb.base_url, "NOCODB_API_TOKEN": nocodb.api_token,
        "NOCODB_PROJECT_ID": base, "NOCODB_RESULTS_TABLE": "Results",
    }  # fmt: skip
    checked = typed(tmp_path, "check", **environment)
    assert "ok    results: table 'Results' has its columns" in checked.stdout, checked.stdout
    settings = parse_settings(environment)
    lake = open_lake(settings)
    repository = build_definitions(settings).get_repository_def()
    days = list(days_between(dt.date(2026, 11, 9), dt.date(2026, 11, 11)))

    def sensor_wants(instance: dg.DagsterInstance) -> list[str]:
        with dg.build_sensor_context(
            resources={"lake": lake}, repository_def=repository, instance=instance
        ) as context:
            result = repository.get_sensor_def("send_results")(context)
        assert isinstance(result, dg.SensorResult)
        return [str(one.partition_key) for one in result.run_requests or []]

    with dg.DagsterInstance.ephemeral() as instance:
        run_job(settings, "daily", "2026-11-09", "2026-11-11", instance=instance)
        assert sensor_wants(instance) == ["2026-11-09", "2026-11-10", "2026-11-11"]
        run_job(settings, "results", "2026-11-09", "2026-11-11", instance=instance)
        assert stale_results(lake, settings, days) == {}
        assert sensor_wants(instance) == []
        there = held(nocodb, table)
        assert len(there) > 30
        assert all(row["sentiment"] and row["intent_confidence"] for row in there.values())
        assert not any(row["week_topic"] for row in there.values())

        # The topics of the week are found later: only what has one is sent again.
        run_job(settings, "topics", "2026-11-09", instance=instance)
        assert list(stale_results(lake, settings, days)) == [day.isoformat() for day in days]
        result = run_job(settings, "results", "2026-11-09", "2026-11-11", instance=instance)
        told = held(nocodb, table)
        with_topic = sum(row["week_topic"] is not None for row in told.values())
        facts = [
            event.materialization.metadata for event in result.get_asset_materialization_events()
        ]
        assert with_topic
        assert sum(int(str(one["updated"].value)) for one in facts) == with_topic
        assert sum(int(str(one["inserted"].value)) for one in facts) == 0

    # The same table by its id: another setting, so that all is compared again; nothing differs.
    by_id = environment | {"NOCODB_RESULTS_TABLE": table}
    assert len(stale_results(lake, parse_settings(by_id), days)) == 3
    repaired = typed(tmp_path, "repair", **by_id)
    assert "3 days have results to send to NocoDB" in repaired.stdout, repaired.stderr
    assert repaired.returncode == 0, repaired.stderr
    assert stale_results(lake, parse_settings(by_id), days) == {}
    assert held(nocodb, table) == told
    an_erasure_leaves_no_row(nocodb, table, tmp_path, by_id)
