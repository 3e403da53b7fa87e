"""One suite for every place a client reads: MongoDB, SQLite, the lake on disk; and S3.

Each answer is compared with one worked out from the lake's tables, and with that of SQLite.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from conversation_analytics.client import Client, every
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.errors import ReadRequestError
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_REPORT,
    MESSAGES,
    UNDATED_CONVERSATIONS,
    UNDATED_MESSAGES,
    WEEKLY_REPORT,
)
from conversation_analytics.core.translation_tables import TRANSLATIONS
from conversation_analytics.core.user_analytics import USER_ANALYTICS
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.client.week import DAYS, MONDAY
from conversation_analytics_tests.commands import ROOT

if TYPE_CHECKING:
    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.lake.store import Lake

FIRST, LAST = (dt.date.fromisoformat(day) for day in (DAYS[0], DAYS[-1]))
SINCE = dt.datetime(2026, 11, 8, 20, tzinfo=dt.UTC)
UNTIL = dt.datetime(2026, 11, 10, 9, tzinfo=dt.UTC)


@pytest.fixture(scope="session")
def lake(variables: dict[str, str]) -> Lake:
    return open_lake(parse_settings(variables))


def rows(lake: Lake, table: TableSchema) -> pl.DataFrame:
    return pl.concat(lake.read(table, day).with_columns(day=pl.lit(day)) for day in DAYS)


def in_order(frame: pl.DataFrame, *keys: str, newest_first: bool = True) -> list[str]:
    return frame.sort(*keys, descending=newest_first)[keys[-1]].to_list()


def newest_user(lake: Lake) -> str:
    """Return a user with several conversations."""
    counts = rows(lake, CONVERSATIONS).drop_nulls("user_id").group_by("user_id").len()
    return str(counts.sort("len", "user_id")["user_id"][-1])


def long_conversation(lake: Lake) -> str:
    """Return the conversation of most turns."""
    counts = rows(lake, MESSAGES).group_by("conversation_id").len()
    return str(counts.sort("len", "conversation_id")["conversation_id"][-1])


def test_conversations_of_a_period_come_newest_first(client: Client, lake: Lake) -> None:
    found = list(
        every(lambda cursor: client.conversations_of_period(SINCE, UNTIL, cursor=cursor, limit=7))
    )
    held = rows(lake, CONVERSATIONS).filter(
        (pl.col("created_at") >= SINCE) & (pl.col("created_at") < UNTIL)
    )
    assert 30 < held.height < rows(lake, CONVERSATIONS).height
    assert [one.id for one in found] == in_order(held, "created_at", "id")


def test_conversations_of_a_period_and_an_app(client: Client, lake: Lake) -> None:
    held = rows(lake, CONVERSATIONS)
    app = str(held["app_id"].drop_nulls().sort()[0])
    page = client.conversations_of_period(SINCE, UNTIL, app_id=app, limit=1000)
    own = held.filter(
        (pl.col("app_id") == app)
        & (pl.col("created_at") >= SINCE) & (pl.col("created_at") < UNTIL)
    )  # fmt: skip
    assert page.next is None
    assert [one.id for one in page.items] == in_order(own, "created_at", "id")
    assert {one.app_id for one in page.items} == {app}


def test_conversations_of_a_user(client: Client, lake: Lake) -> None:
    user = newest_user(lake)
    pages = every(lambda cursor: client.conversations_of_user(user, cursor=cursor, limit=1))
    held = rows(lake, CONVERSATIONS).filter(pl.col("user_id") == user)
    wanted = in_order(held, "created_at", "id")
    assert len(wanted) > 1
    assert [one.id for one in pages] == wanted
    last = held["created_at"].max()
    assert isinstance(last, dt.datetime)
    since = client.conversations_of_user(user, since=last)
    assert [one.id for one in since.items] == wanted[:1]
    before = client.conversations_of_user(user, until=last)
    assert [one.id for one in before.items] == wanted[1:]


def test_conversations_without_a_time_come_last_where_no_time_is_asked_for(
    client: Client, lake: Lake
) -> None:
    undated = lake.read(UNDATED_CONVERSATIONS, None).row(0, named=True)
    found = client.conversations_of_user(undated["user_id"], limit=1000).items
    assert found[-1].id == undated["id"]
    assert found[-1].created_at is None
    assert found[-1].days[-1] == "undated"
    early = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    dated = client.conversations_of_user(undated["user_id"], since=early, limit=1000)
    assert dated.items == found[:-1]


def test_a_conversation_comes_with_all_of_its_turns(client: Client, lake: Lake) -> None:
    identifier = long_conversation(lake)
    found = client.conversation(identifier)
    assert found is not None
    held = rows(lake, MESSAGES).filter(pl.col("conversation_id") == identifier)
    assert [one.id for one in found.turns] == in_order(held, "created_at", "id", newest_first=False)
    assert found.conversation.message_count == held.height > 1
    assert found.conversation.days == tuple(sorted(set(held["day"])))
    assert found.conversation.first_message_at == held["created_at"].min()
    row = held.sort("created_at", "id").row(0, named=True)
    first = found.turns[0]
    for name in ("query", "answer", "total_price", "currency", "latency_s", "created_at", "day"):
        assert getattr(first, name) == row[name]
    assert isinstance(first.total_price, Decimal)
    assert set(first.fields) >= {*MESSAGES.polars.names()} - {"id"}


def test_a_conversation_that_no_day_has_a_header_of_is_found_by_its_id(
    client: Client, lake: Lake
) -> None:
    headers = pl.concat(
        [rows(lake, CONVERSATIONS).drop("day"), lake.read(UNDATED_CONVERSATIONS, None)]
    )
    turns = pl.concat([rows(lake, MESSAGES).drop("day"), lake.read(UNDATED_MESSAGES, None)])
    alone = turns.join(headers, left_on="conversation_id", right_on="id", how="anti")
    for identifier in sorted(set(alone["conversation_id"]))[:2]:
        found = client.conversation(identifier)
        assert found is not None
        assert found.conversation.user_id is None
        assert len(found.turns) == turns.filter(pl.col("conversation_id") == identifier).height


def test_conversations_of_a_category(client: Client, lake: Lake) -> None:
    held = rows(lake, CATEGORIES)
    kind, value = held.group_by("category_type", "category_value").len().sort(
        "len", "category_type", "category_value"
    ).row(-1)[:2]  # fmt: skip
    found = list(
        every(
            lambda cursor: client.conversations_of_category(
                kind, value, FIRST, LAST, cursor=cursor, limit=9
            )
        )
    )
    own = held.filter((pl.col("category_type") == kind) & (pl.col("category_value") == value))
    wanted = own.sort("day", "conversation_id", descending=True)
    assert [(one.category.day, one.category.conversation_id) for one in found] == list(
        wanted.select("day", "conversation_id").iter_rows()
    )
    assert all(
        one.conversation is not None and one.conversation.id == one.category.conversation_id
        for one in found
    )
    last = client.conversations_of_category(kind, value, LAST, LAST, limit=1000).items
    assert {one.category.day for one in last} == {DAYS[-1]}
    assert list(last) == [one for one in found if one.category.day == DAYS[-1]]


def test_categories_of_a_conversation(client: Client, lake: Lake) -> None:
    identifier = long_conversation(lake)
    own = rows(lake, CATEGORIES).filter(pl.col("conversation_id") == identifier)
    found = client.categories(identifier)
    assert [(one.category_type, one.day, one.category_value) for one in found] == sorted(
        own.select("category_type", "day", "category_value").iter_rows()
    )


def test_translations_of_a_conversation_and_of_a_turn(client: Client, lake: Lake) -> None:
    held = rows(lake, TRANSLATIONS).filter(pl.col("status") != "same")
    identifier = held.group_by("conversation_id").len().sort("len", "conversation_id").row(-1)[0]
    own = held.filter(pl.col("conversation_id") == identifier).with_columns(
        key=pl.col("message_id") + ":" + pl.col("field")
    )
    found = list(every(lambda cursor: client.translations(identifier, cursor=cursor, limit=3)))
    assert len(found) > 3
    assert [f"{one.message_id}:{one.field}" for one in found] == in_order(
        own, "created_at", "key", newest_first=False
    )
    message = found[0].message_id
    assert set(client.translations_of_turn(message)) == {
        one for one in found if one.message_id == message
    }
    assert found[0].translated is not None


@pytest.mark.parametrize(
    ("period", "table", "key"),
    [("daily", DAILY_REPORT, DAYS[1]), ("weekly", WEEKLY_REPORT, MONDAY)],
)
def test_reports_are_those_of_the_lake(
    client: Client, lake: Lake, period: Any, table: TableSchema, key: str
) -> None:
    held = lake.read(table, key)
    app = str(held["app_id"].drop_nulls().sort()[0])
    for one in (None, app):
        report = client.report(period, dt.date.fromisoformat(key), app_id=one)
        assert report is not None
        assert (report.period, report.day.isoformat(), report.app_id) == (period, key, one)
        own = held.filter(pl.col("app_id").eq_missing(pl.lit(one)))
        assert len(report.metrics) == own.height
        turns = own.filter((pl.col("metric") == "turns") & (
            pl.col("dimension").is_null() if period == "weekly" else True
        ))["value"].item()  # fmt: skip
        assert report.value("turns") == turns > 0
    assert client.report(period, dt.date(2020, 1, 6)) is None


def test_a_report_is_found_by_any_day_of_its_period(client: Client) -> None:
    weekly = client.report("weekly", dt.date(2026, 11, 14))
    assert weekly is not None
    assert weekly.day.isoformat() == MONDAY
    with pytest.raises(ReadRequestError, match="expected a"):
        weekly.value("no_such_metric")


def test_reports_of_days_come_latest_first(client: Client) -> None:
    first = client.reports("daily", FIRST, LAST, limit=1)
    second = client.reports("daily", FIRST, LAST, limit=1, cursor=first.next)
    assert [one.day for one in (*first.items, *second.items)] == [LAST, FIRST]
    assert second.next is None
    assert client.reports("daily", LAST, LAST).items == first.items


def test_users_and_a_user(client: Client, lake: Lake) -> None:
    held = lake.read(USER_ANALYTICS, None)
    overall = held.filter(pl.col("app_id").is_null())
    found = list(every(lambda cursor: client.users(cursor=cursor, limit=10)))
    assert len(found) == overall.height > 30
    times = [one.last_at for one in found]
    assert times == sorted(times, reverse=True)
    assert {one.user_id for one in found} == set(overall["user_id"])
    by_id = list(every(lambda cursor: client.users(order="user_id", cursor=cursor, limit=10)))
    assert [one.user_id for one in by_id] == sorted(overall["user_id"])
    assert sorted(found, key=lambda one: one.user_id) == by_id
    busiest = max(found, key=lambda one: (one.turns, one.user_id))
    assert client.user(busiest.user_id) == busiest
    row = overall.filter(pl.col("user_id") == busiest.user_id).row(0, named=True)
    assert busiest.turns == row["turns"]
    assert {key: str(value) for key, value in busiest.costs.items()} == json.loads(row["costs"])
    app = held.filter(pl.col("app_id").is_not_null()).row(0, named=True)
    of_app = client.user(app["user_id"], app_id=app["app_id"])
    assert of_app is not None
    assert (of_app.app_id, of_app.turns) == (app["app_id"], app["turns"])


def test_topics_come_largest_first(client: Client) -> None:
    topics = client.topics(dt.date(2026, 11, 12))
    assert len(topics) > 1
    sizes = [one.conversations for one in topics]
    assert sizes == sorted(sizes, reverse=True)
    assert {one.week for one in topics} == {MONDAY}
    assert client.topics(dt.date(2020, 1, 1)) == ()


def everything(client: Client) -> dict[str, Any]:
    """Return every answer over the days, as far as any can be listed."""
    period = list(
        every(lambda c: client.conversations_of_period(SINCE, UNTIL, cursor=c, limit=100))
    )
    whole = [client.conversation(one.id) for one in period[::10]]
    return {
        "period": period,
        "whole": whole,
        "categories": [client.categories(one.id) for one in period[::10]],
        "translations": [client.translations(one.id) for one in period[::10]],
        "reports": client.reports("daily", FIRST, LAST),
        "weekly": client.report("weekly", FIRST),
        "users": list(every(lambda c: client.users(cursor=c, limit=100))),
        "users_by_id": list(
            every(
                lambda c: client.users(app_id=period[0].app_id, order="user_id", cursor=c, limit=7)
            )
        ),
        "topics": client.topics(FIRST),
    }


def test_every_place_gives_the_same(client: Client, sqlite_client: Client) -> None:
    assert everything(client) == everything(sqlite_client)


@pytest.mark.s3
def test_a_lake_on_s3_gives_the_same(s3_client: Client, sqlite_client: Client, lake: Lake) -> None:
    assert everything(s3_client) == everything(sqlite_client)
    user = newest_user(lake)
    assert s3_client.conversations_of_user(user) == sqlite_client.conversations_of_user(user)


def test_a_cursor_of_one_place_goes_on_in_another(client: Client, sqlite_client: Client) -> None:
    first = sqlite_client.users(limit=7)
    assert client.users(limit=7) == first
    assert client.users(limit=9, cursor=first.next) == sqlite_client.users(
        limit=9, cursor=first.next
    )


def test_what_is_not_there_is_nothing(client: Client) -> None:
    assert client.conversation("none") is None
    assert client.user("none") is None
    assert client.categories("none") == ()
    assert client.translations_of_turn("none") == ()
    for page in (client.turns("none"), client.conversations_of_user("none"),
                 client.users(app_id="none"), client.translations("none")):  # fmt: skip
        assert page.items == ()
        assert page.next is None


def test_results_cannot_be_changed(client: Client) -> None:
    user = client.users(limit=1).items[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        user.turns = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        user.fields["turns"] = 0  # type: ignore[index]


HOSTILE = [
    "' OR '1'='1", '"; DROP TABLE conversations; --', "$ne", '{"$gt": ""}', "../../etc/passwd",
    "a\0b", "$v0", "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_is_a_value_like_any_other(client: Client, text: str) -> None:
    assert client.conversation(text) is None
    assert client.user(text, app_id=text) is None
    assert client.conversations_of_user(text).items == ()
    assert client.conversations_of_period(SINCE, UNTIL, app_id=text).items == ()
    assert client.conversations_of_category(text, text, FIRST, LAST).items == ()
    assert client.report("daily", FIRST, app_id=text) is None


EARLIEST = dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=14)))
LATEST = dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-14)))
WRONG_CALLS = {
    "operator": lambda client: client.conversations_of_user({"$ne": ""}),
    "operator-id": lambda client: client.conversation({"$gt": ""}),
    "list": lambda client: client.user(["a"]),
    "number": lambda client: client.turns(1),
    "naive": lambda client: client.conversations_of_user("u", since=dt.datetime(2026, 1, 1)),  # noqa: DTZ001
    "operator-time": lambda client: client.conversations_of_user("u", since={"$gt": 1}),
    "date-for-time": lambda client: client.conversations_of_period(FIRST, UNTIL),
    "no-time": lambda client: client.conversations_of_period(SINCE, None),
    "time-for-date": lambda client: client.topics(SINCE),
    "text-for-date": lambda client: client.report("daily", "2026-11-09"),
    "path-for-period": lambda client: client.report("../daily", FIRST),
    "backwards": lambda client: client.reports("daily", LAST, FIRST),
    "no-items": lambda client: client.users(limit=0),
    "too-many": lambda client: client.users(limit=1001),
    "order": lambda client: client.users(order="$where"),
    "order-object": lambda client: client.users(order={"user_id": 1}),
    "limit-text": lambda client: client.users(limit="1"),
    "cursor-text": lambda client: client.users(cursor="no cursor"),
    "surrogate": lambda client: client.conversation("\ud800"),
    "surrogate-app": lambda client: client.users(app_id="\ud800"),
    "before-the-year-1": lambda client: client.conversations_of_user("u", since=EARLIEST),
    "behind-the-year-9999": lambda client: client.conversations_of_period(SINCE, LATEST),
    "cursor-object": lambda client: client.users(cursor={"$gt": ""}),
}


@pytest.mark.parametrize("call", WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_what_cannot_be_asked_for_is_refused_before_anything_is_read(
    client: Client, call: Any
) -> None:
    with pytest.raises(ReadRequestError):
        call(client)


def forged(cursor: str, **changes: Any) -> str:
    padded = cursor + "=" * (-len(cursor) % 4)
    parts = dict(zip(("version", "call", "key", "id"), json.loads(base64.urlsafe_b64decode(padded)), strict=True))  # fmt: skip # noqa: E501
    text = json.dumps([*{**parts, **changes}.values()])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "changes",
    [
        {"key": {"$gt": ""}}, {"key": ["a"]}, {"key": True}, {"key": 1.5}, {"key": {"at": "x"}},
        {"key": {"at": "2026-11-10T00:00:00"}}, {"id": {"$gt": ""}}, {"id": 1}, {"version": 2},
        {"call": "0123456789abcdef"}, {"key": {"at": "1970-01-01T00:00:00+00:00"}},
        {"key": None}, {"key": 5}, {"key": "text"}, {"key": 2**80}, {"key": "\ud800"},
        {"key": {"at": "0001-01-01T00:00:00+14:00"}}, {"id": "\ud800"},
    ],
    ids=str,
)  # fmt: skip
def test_a_forged_cursor_is_refused(client: Client, changes: dict[str, Any]) -> None:
    page = client.conversations_of_period(SINCE, UNTIL, limit=1)
    assert page.next is not None
    assert forged(page.next) != ""
    with pytest.raises(ReadRequestError, match="expected"):
        client.conversations_of_period(SINCE, UNTIL, cursor=forged(page.next, **changes))


@pytest.mark.parametrize(
    ("call", "keys"),
    [
        (lambda client, cursor: client.users(limit=1, cursor=cursor), ["", 1, 2**80]),
        (
            lambda client, cursor: client.users(limit=1, order="user_id", cursor=cursor),
            [None, 1, "\ud800", {"at": "2026-11-10T00:00:00+00:00"}],
        ),
        (
            lambda client, cursor: client.reports("daily", FIRST, LAST, limit=1, cursor=cursor),
            ["", None, 1, "\ud800", {"at": "2026-11-10T00:00:00+00:00"}],
        ),
        (
            lambda client, cursor: client.turns(
                client.conversations_of_period(SINCE, UNTIL).items[0].id, limit=1, cursor=cursor
            ),
            ["", 1, {"at": "9999-12-31T23:59:59-14:00"}],
        ),
    ],
    ids=["users", "users-by-id", "reports", "turns"],
)
def test_a_cursor_with_the_key_of_another_column_is_refused(
    client: Client, call: Any, keys: list[Any]
) -> None:
    page = call(client, None)
    assert page.next is not None
    for key in keys:
        with pytest.raises(ReadRequestError, match="expected"):
            call(client, forged(page.next, key=key))


def test_the_first_and_the_last_day_there_are_hold_nothing(client: Client) -> None:
    for day in (dt.date.min, dt.date.max):
        assert client.topics(day) == ()
        assert client.report("weekly", day) is None


def test_a_cursor_of_another_call_is_refused(client: Client) -> None:
    cursor = client.conversations_of_period(SINCE, UNTIL, limit=1).next
    with pytest.raises(ReadRequestError, match="another"):
        client.conversations_of_period(SINCE, UNTIL, app_id="a", cursor=cursor)
    with pytest.raises(ReadRequestError, match="another"):
        client.users(cursor=cursor)
    with pytest.raises(ReadRequestError, match="another"):
        client.users(order="user_id", cursor=client.users(limit=1).next)


def test_the_examples_of_the_page_work(
    client: Client,
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    first, *others = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(others) > 5
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    exec(first, names)  # noqa: S102 - our own page
    assert len(names["page"].items) == 10
    names["client"] = client
    exec("\n".join(others), names)  # noqa: S102
    assert names["of_user"].items
    assert names["of_answer"] == client.translations_of_turn(names["found"].turns[0].id)
    assert len(names["last_days"].items) == len(DAYS)
    assert names["same"] == names["user"]
    assert len(names["ids"]) > 50
    assert names["by_model"]
    told = capsys.readouterr().out
    assert "negative" not in told  # the conversations', not the label
    assert "translated" in told


def test_every_call_is_on_the_page() -> None:
    page = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    calls = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert {name for name in calls if f"{name}(" not in page} == set()
