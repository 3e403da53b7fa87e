from __future__ import annotations

import csv
import datetime as dt
import io
import re

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.partials import PartialOptions
from conversation_analytics.reports.conversations import conversations_card, conversations_csv
from conversation_analytics.reports.daily import daily_html
from conversation_analytics_tests.core.metric_rows import DAY, MARKERS, Row, partials_of, turn
from conversation_analytics_tests.reports.test_report_files import HOSTILE

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def talks_of(rows: list[Row], ratings: list[Row] | None = None) -> pl.DataFrame:
    options = PartialOptions(handoff_markers=MARKERS)
    partials = partials_of([], rows, ratings, options=options).collect()
    return partials.filter(pl.col("kind") == "conversations")


def group(card: str, anchor: str) -> str:
    found = re.search(rf'<details class="group" id="{anchor}".*?</details>', card, re.DOTALL)
    assert found
    return found[0]


def ids(part: str) -> list[str]:
    return re.findall(r"<tr><td><code>([^<]*)</code>", part)


def rating(talk: str, kind: str) -> Row:
    return {"app_id": "support", "conversation_id": talk, "message_id": "x", "rating": kind,
            "from_source": "user", "created_at": NOON, "user_id": "u1"}  # fmt: skip


def test_each_kind_of_conversation_is_listed_the_worst_first() -> None:
    rows = [
        turn(conversation_id="fine"),
        *(turn(conversation_id="long") for _ in range(5)),
        *(turn(conversation_id="failed twice", status="error") for _ in range(2)),
        turn(conversation_id="failed once", status="error", created_at=NOON),
        turn(conversation_id="silent", answer=""),
        turn(conversation_id="handed", answer=f"wait {MARKERS[0]}"),
    ]
    talks = talks_of(rows, [rating("fine", "dislike"), rating("long", "like")])
    card = conversations_card(DAY, talks, "Asia/Bangkok")
    assert ids(group(card, "failed")) == ["failed twice", "failed once", "silent"]
    assert "19:00:00" in group(card, "failed")  # 12:00 UTC
    assert ids(group(card, "disliked")) == ["fine"]
    assert ids(group(card, "handed-over")) == ["handed"]
    assert ids(group(card, "longest"))[:2] == ["long", "failed twice"]
    assert card.count(" open>") == 1
    assert '<a href="2026-03-01.conversations.csv" download>' in card


def test_no_more_than_twenty_are_shown_and_all_are_in_the_csv() -> None:
    talks = talks_of([turn(conversation_id=f"c{n:03}", status="error") for n in range(150)])
    card = conversations_card(DAY, talks, "UTC")
    assert len(ids(group(card, "failed"))) == len(ids(group(card, "longest"))) == 20
    assert "Failed or without answer: 150, the first 20 shown" in card
    rows = list(csv.DictReader(io.StringIO(conversations_csv(talks))))
    assert [row["conversation_id"] for row in rows] == [f"c{n:03}" for n in range(150)]
    assert rows[0] == {
        "conversation_id": "c000", "app_id": "support", "turns": "1", "errors": "1", "likes": "",
        "dislikes": "", "handoffs": "0", "first_at": "2026-03-01T00:00:00.000000Z",
        "last_at": "2026-03-01T00:00:00.000000Z", "failed_at": "2026-03-01T00:00:00.000000Z",
    }  # fmt: skip


def test_what_is_unknown_is_told_and_is_not_nothing() -> None:
    partials = partials_of([], [turn()]).collect()
    talks = partials.filter(pl.col("kind") == "conversations")
    card = conversations_card(DAY, talks, "UTC")
    assert "No table of ratings is read." in group(card, "disliked")
    assert "HANDOFF_MARKERS is not set." in group(card, "handed-over")
    empty = conversations_card(DAY, talks.clear(), "UTC")
    assert "0 conversations" in empty
    assert "None was disliked." in empty
    assert " open>" not in empty


@given(st.lists(st.sampled_from([text for text in HOSTILE if text]) | st.text(max_size=8)))
def test_ids_are_text_in_page_and_csv_whatever_they_are(names: list[str]) -> None:
    rows = [turn(conversation_id=name, app_id=name, status="error") for name in names]
    talks = talks_of([row for row in rows if row["conversation_id"].isprintable()])
    card = conversations_card(DAY, talks, "UTC")
    assert "<script" not in card
    assert "<b onclick" not in card
    cells = list(csv.reader(io.StringIO(conversations_csv(talks), newline="")))
    assert len(cells) == 1 + talks.height
    for row in cells[1:]:
        assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@")) for cell in row[:2])


def test_tiles_lead_to_the_conversations_where_there_are_some() -> None:
    partials = partials_of([], [turn()]).collect()
    report = daily_report(partials.lazy(), DAY, engine=CPU)
    talks = partials.filter(pl.col("kind") == "conversations")
    page = daily_html(report, generated_for=DAY, conversations=talks)
    assert '<a class="tile" href="#failed" title="errors / turns">' in page
    assert '<a class="tile" href="#metric-latency_p50"' in page
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page
    assert 'href="#failed"' not in daily_html(report, generated_for=DAY)
