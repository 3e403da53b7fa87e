"""Pages of documents: one suite for both stores, against sorting everything in memory."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st

from conversation_analytics.core.errors import DocumentError
from conversation_analytics.documents import collections
from conversation_analytics.documents.mongodb import MongoStore
from conversation_analytics.documents.paging import PageQuery, Segment, read_page, segments
from conversation_analytics.documents.sqlite import SqliteStore
from conversation_analytics.documents.store import DocumentStore, MongoConfig, SqliteConfig
from conversation_analytics_tests.documents.test_contract import unchecked
from conversation_analytics_tests.documents.test_mongodb import stages

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.core.documents import Document

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def at(minutes: int) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


# Times that tie, none at all, and a field that is missing.
DOCUMENTS: list[Document] = [
    *({"_id": f"m{i:02}", "user_id": "u1", "created_at": at(i // 4), "text": "x"}
      for i in range(20)),
    {"_id": "n1", "user_id": "u1", "created_at": None},
    {"_id": "n2", "user_id": "u1"},
    {"_id": "o1", "user_id": "u2", "created_at": at(1)},
]  # fmt: skip


@pytest.fixture
def filled(store: DocumentStore) -> DocumentStore:
    store.ensure(unchecked(collections.messages()))
    store.replace_partition("messages", "2026-11-22", DOCUMENTS)
    return store


def of_user(user: Any = "u1", **more: Any) -> PageQuery:
    given = {"sort": "created_at", "descending": True, "limit": 5, **more}
    return PageQuery(equals={"user_id": user}, **given)


def every_page(store: DocumentStore, query: PageQuery) -> list[str]:
    found: list[str] = []
    while True:
        page = store.page("messages", query)
        found += [one["_id"] for one in page]
        if len(page) < query.limit:
            return found
        query = replace(query, after=(page[-1].get(query.sort), page[-1]["_id"]))


def expected(*, descending: bool, at_least: Any = None, below: Any = None) -> list[str]:
    own = [one for one in DOCUMENTS if one["user_id"] == "u1"]
    if at_least is not None or below is not None:
        own = [
            one for one in own
            if (time := one.get("created_at")) is not None
            and (at_least is None or time >= at_least) and (below is None or time < below)
        ]  # fmt: skip
    key = lambda one: ((one.get("created_at") or at(-1)), one["_id"])  # noqa: E731
    return [one["_id"] for one in sorted(own, key=key, reverse=descending)]


@pytest.mark.parametrize("descending", [True, False], ids=["newest-first", "oldest-first"])
@pytest.mark.parametrize("limit", [1, 3, 22, 100])
def test_pages_together_are_the_whole_in_order(
    filled: DocumentStore, limit: int, *, descending: bool
) -> None:
    query = of_user(descending=descending, limit=limit)
    assert every_page(filled, query) == expected(descending=descending)


@pytest.mark.parametrize("descending", [True, False], ids=["newest-first", "oldest-first"])
@pytest.mark.parametrize(
    "bounds", [(at(1), at(3)), (at(1), None), (None, at(2))], ids=["both", "low", "high"]
)
def test_bounds_are_half_open_and_leave_out_what_has_no_time(
    filled: DocumentStore, bounds: tuple[Any, Any], *, descending: bool
) -> None:
    query = of_user(descending=descending, limit=2, at_least=bounds[0], below=bounds[1])
    assert every_page(filled, query) == expected(
        descending=descending, at_least=bounds[0], below=bounds[1]
    )


def test_what_is_written_between_pages_neither_repeats_nor_skips(filled: DocumentStore) -> None:
    query = of_user()
    first = filled.page("messages", query)
    newer = [{"_id": f"z{i}", "user_id": "u1", "created_at": at(60 + i)} for i in range(7)]
    gone = {first[0]["_id"], first[4]["_id"]}
    filled.replace_partition(
        "messages", "2026-11-22", [*newer, *(d for d in DOCUMENTS if d["_id"] not in gone)]
    )
    rest = every_page(filled, replace(query, after=(first[-1]["created_at"], first[-1]["_id"])))
    assert [one["_id"] for one in first] + rest == expected(descending=True)


def test_fields_are_left_out(filled: DocumentStore) -> None:
    query = of_user("u2", without=("created_at",))
    assert filled.page("messages", query) == [{"_id": "o1", "user_id": "u2"}]
    assert filled.get_many("messages", ["o1", "none", "n1"], ("created_at",)) == [
        {"_id": "n1", "user_id": "u1"},
        {"_id": "o1", "user_id": "u2"},
    ]
    # What says that a document is of a partition that is half replaced has to be read.
    with pytest.raises(DocumentError, match="messages: _partition, days cannot be left out"):
        filled.get_many("messages", ["o1"], ("days", "_partition"))


HOSTILE: Any = {"$ne": None}


@pytest.mark.parametrize(
    "query",
    [
        of_user(HOSTILE),
        of_user(at_least=HOSTILE),
        of_user(below=HOSTILE),
        of_user(after=(HOSTILE, "m01")),
        of_user(after=(at(1), HOSTILE)),
        of_user(after=(at(1), 1)),
        of_user(after=(at(1), "m01"), below=at(1)),
        of_user(after=(at(1), "m01"), at_least=at(2)),
        of_user(after=(None, "m01"), at_least=at(2)),
        of_user(after=("text", "m01"), at_least=at(2)),
        of_user(sort="$where"),
        of_user(without=("$where",)),
        of_user(without=("user_id", "_partition")),
        of_user(without=("days",)),
        of_user(without=("_id",)),
        of_user(limit=0),
        of_user(limit=10_001),
        PageQuery(equals={"$where": "1"}, sort="created_at", descending=True, limit=1),
    ],
    ids=[
        "value", "low", "high", "after", "after-id", "after-number", "after-above", "after-below",
        "after-null", "after-text", "sort", "without", "without-partition", "without-days",
        "without-id", "none", "too-many", "field",
    ],
)  # fmt: skip
def test_what_is_no_page_is_refused(filled: DocumentStore, query: PageQuery) -> None:
    with pytest.raises(DocumentError):
        filled.page("messages", query)


def test_values_never_become_operators(filled: DocumentStore) -> None:
    with pytest.raises(DocumentError):
        filled.get_many("messages", [HOSTILE])
    assert filled.page("messages", of_user("$ne")) == []
    assert filled.page("messages", of_user("u1' OR 1=1 --")) == []


PLANNED = {
    "first": of_user(),
    "after": of_user(descending=False, at_least=at(1), below=at(2), after=(at(1), "m")),
    "after-null": of_user(descending=False, after=(None, "m")),
}


@pytest.mark.parametrize("query", PLANNED.values(), ids=PLANNED)
def test_sqlite_reads_pages_off_the_index(tmp_path: Path, query: PageQuery) -> None:
    store = SqliteStore(SqliteConfig(tmp_path / "documents.sqlite"))
    store.ensure(collections.messages())
    for segment in segments(query):
        with store._reading("plan") as connection:
            sql, values = store._segment("messages", query, segment)
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert len(plan) == 1, plan  # a second line would be a sort
        assert "USING INDEX" in plan[0]
    store.close()


@pytest.mark.mongodb
@pytest.mark.parametrize("query", PLANNED.values(), ids=PLANNED)
def test_mongodb_reads_pages_off_the_index(mongo_config: MongoConfig, query: PageQuery) -> None:
    store = MongoStore(mongo_config)
    store.ensure(collections.messages())
    for segment in segments(query):
        command = store._page_command("messages", query, segment)
        plan = store._database().command("explain", command)["queryPlanner"]
        used = stages(plan["winningPlan"])
        assert "IXSCAN" in used
        assert used.isdisjoint({"COLLSCAN", "SORT"})
    store.close()


@hypothesis.given(
    times=st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=12),
    limit=st.integers(1, 5),
    descending=st.booleans(),
    bounds=st.tuples(*[st.one_of(st.none(), st.integers(0, 3))] * 2),
)  # fmt: skip
def test_segments_cover_a_page_whatever_the_times(
    times: list[int | None], limit: int, *, descending: bool, bounds: tuple[Any, Any]
) -> None:
    rows: list[Document] = [{"_id": f"{i:02}", "n": time} for i, time in enumerate(times)]

    def order(row: Document) -> tuple[int, str]:
        return (-1 if row["n"] is None else row["n"], row["_id"])

    def page(after: tuple[Any, str] | None) -> list[Document]:
        query = PageQuery(
            equals={}, sort="n", descending=descending, limit=limit,
            at_least=bounds[0], below=bounds[1], after=after,
        )  # fmt: skip

        def read(segment: Segment, most: int) -> list[Document]:
            held = [r for r in rows if segment.holds(r["n"], r["_id"], descending=descending)]
            return sorted(held, key=order, reverse=descending)[:most]

        return read_page(query, read)

    found: list[Document] = []
    while part := page((found[-1]["n"], found[-1]["_id"]) if found else None):
        found += part
    low, high = bounds
    wanted = [
        row for row in rows
        if bounds == (None, None)
        or (row["n"] is not None and (low is None or row["n"] >= low)
            and (high is None or row["n"] < high))
    ]  # fmt: skip
    assert found == sorted(wanted, key=order, reverse=descending)
