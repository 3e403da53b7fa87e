"""The page of users: figures of the tables, hostile names as text, and no user's id."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import html
import io
import re
from typing import TYPE_CHECKING

import polars as pl
import pytest

from conversation_analytics.core.cohorts import (
    USER_COHORTS,
    USER_GROWTH,
    user_cohorts,
    user_growth,
)
from conversation_analytics.core.user_analytics import nobody, user_analytics
from conversation_analytics.core.user_spread import share_of_the_busiest, user_spread
from conversation_analytics.reports.drawings import picture
from conversation_analytics.reports.users import (
    CSV_FILES,
    UsersReport,
    cohorts_csv,
    growth_csv,
    users_drawings,
    users_html,
    users_markdown,
)
from conversation_analytics_tests.core.metric_rows import turn
from conversation_analytics_tests.core.user_days import Row, holding
from conversation_analytics_tests.reports.test_report_files import (
    HOSTILE,
    Tags,
    assert_leads_only_to_reports,
)

if TYPE_CHECKING:
    from conversation_analytics.core.user_analytics import Users

MONDAY = dt.date(2026, 11, 2)
SUNDAY = MONDAY + dt.timedelta(days=27)


def on(week: int, user: str, app: str | None = "app", day: int = 0) -> Row:
    at = dt.datetime.combine(MONDAY + dt.timedelta(days=7 * week + day), dt.time(12), dt.UTC)
    return turn(user_id=user, app_id=app, created_at=at)


def shown_of(users: Users) -> UsersReport:
    table = user_analytics(users)
    return UsersReport(
        user_growth(users), user_cohorts(users), user_spread(table), share_of_the_busiest(table)
    )


def shown(rows: list[Row], last: dt.date = SUNDAY) -> UsersReport:
    return shown_of(holding(rows, last=last).users())


FOUR_WEEKS = [
    *(on(0, f"old{n}") for n in range(3)),
    *(on(1, f"new{n}") for n in range(4)),
    on(1, "old0"),
    on(2, "new0"), on(2, "new1"), on(2, "new2"), on(2, "late"),
    on(3, "new0"), on(3, "old1"), on(3, "last", "another"),
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile() -> UsersReport:
    return shown([on(n % 4, f"user-{n}-id", app) for n, app in enumerate(HOSTILE * 2)])


def test_hostile_names_are_text_and_the_page_loads_nothing(hostile: UsersReport) -> None:
    page = users_html(hostile)
    tags = Tags()
    tags.feed(page)
    assert "<script>alert(1)" not in page
    assert "<script>alert(1)</script>" in tags.text
    assert tags.scripts == 1
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    assert not re.search(r'<[^>]* (on[a-z]+|style)="', page)  # the policy would refuse them
    assert set(CSV_FILES) <= set(tags.addresses)
    assert_leads_only_to_reports([one for one in tags.addresses if one not in CSV_FILES])


def test_no_file_names_a_user(hostile: UsersReport) -> None:
    files = (users_html(hostile), users_markdown(hostile), growth_csv(hostile.growth),
             cohorts_csv(hostile.cohorts), picture("Users", users_drawings(hostile)))  # fmt: skip
    for text in files:
        assert not re.search(r"user-\d+-id", text)


def test_the_order_of_rows_changes_nothing(hostile: UsersReport) -> None:
    mixed = dataclasses.replace(
        hostile,
        growth=hostile.growth.sample(fraction=1.0, shuffle=True, seed=3),
        cohorts=hostile.cohorts.sample(fraction=1.0, shuffle=True, seed=4),
    )
    assert users_html(mixed) == users_html(hostile)
    assert users_markdown(mixed) == users_markdown(hostile)
    assert users_drawings(mixed) == users_drawings(hostile)


def test_every_week_tells_where_its_users_come_from() -> None:
    page = html.unescape(users_html(shown(FOUR_WEEKS)))
    assert (
        "<title>Week 48 of 2026: 3 active\nnew 1\nreturning 1\nresurrected 1\ndormant 3\n"
        "7 of 7 days held</title>"
    ) in page
    assert '<a href="../weekly/2026-11-23.html"><rect class="hit"' in page
    assert '<div class="name">Active in week 48</div><div class="value">3</div>' in page
    assert '<div class="change">▼ 25.0%</div>' in page
    assert '<div class="name">Users, all days</div><div class="value">9</div>' in page


def test_the_heat_table_tells_percent_and_counts_of_each_cohort() -> None:
    page = html.unescape(users_html(shown(FOUR_WEEKS)))
    card = page[page.index('id="cohorts"') :].split("</section>")[0]
    rows = {
        name: re.findall(r'<td class="h(\d+)"[^>]*>([\d.]+%)<small>(\d+)</small>', row)
        for name, row in re.findall(r"<tr><td[^>]*><bdi>([^<]*)</bdi></td>(.*?)</tr>", card)
    }
    assert rows["2026-W45"] == [("4", "33.3%", "1"), ("0", "0.0%", "0"), ("4", "33.3%", "1")]
    assert rows["2026-W46"] == [("10", "75.0%", "3"), ("3", "25.0%", "1")]
    assert rows["2026-W47"] == [("0", "0.0%", "0")]
    assert rows["2026-W48"] == []
    assert "Week 46 of 2026, 4 users: 3 of them 1 week later, 75.0%" in card


def test_the_mean_leaves_out_the_first_cohort_which_has_users_of_before() -> None:
    page = html.unescape(users_html(shown(FOUR_WEEKS)))
    assert "<title>1 week later: 60.0%\n3 of 5 users</title>" in page
    foot = page[page.index('id="cohorts"') :].split("<tfoot>")[1]
    assert re.findall(r">([\d.]+%)<", foot)[:2] == ["60.0%", "25.0%"]
    assert "All but the first" in foot
    only = html.unescape(users_html(shown([on(0, "a"), on(1, "a")], MONDAY + dt.timedelta(13))))
    assert "<title>1 week later: 100.0%\n1 of 1 users</title>" in only


def test_a_week_that_is_not_over_is_told_as_such() -> None:
    page = users_html(shown(FOUR_WEEKS, SUNDAY - dt.timedelta(days=2)))
    assert "Week 48 of 2026 is told by 5 of its 7 days." in page
    assert '<div class="name">Active in week 47</div>' in page


def test_the_csv_files_hold_every_row_and_no_formula(hostile: UsersReport) -> None:
    for text, table, schema in (
        (growth_csv(hostile.growth), hostile.growth, USER_GROWTH),
        (cohorts_csv(hostile.cohorts), hostile.cohorts, USER_COHORTS),
    ):
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == table.height
        assert list(rows[0]) == schema.polars.names()
        for row in rows:
            assert not row["app_id"].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_the_markdown_has_growth_and_retention() -> None:
    text = users_markdown(shown(FOUR_WEEKS))
    assert "| Week 48 of 2026 | 3 | 1 | 1 | 1 | 3 | 7 |" in text
    assert "| 1 | 3 | 5 | 60.0% |" in text


def test_nobody_is_no_error() -> None:
    nothing = shown_of(nobody())
    assert "No user had a turn on the days held." in users_html(nothing)
    assert "# Users" in users_markdown(nothing)
    assert users_drawings(nothing) == []
    one_day = users_html(shown([on(0, "a")], MONDAY))
    assert "Told from the second whole week on." in one_day
    assert "nan" not in one_day


def test_long_histories_draw_the_latest_and_say_so() -> None:
    rows = [on(week, f"u{week}") for week in range(30)]
    page = users_html(shown(rows, MONDAY + dt.timedelta(days=7 * 30 - 1)))
    assert "The latest 26; 4 more in the CSV." in page
    assert "The latest 26 cohorts; 4 more in the CSV." in page
    assert len(page) < 400_000
    assert pl.Series(re.findall(r'class="hit"', page)).len() < 500
