"""Topics nobody named on the page of a week, beside the week before.

Frames have the columns of `core.topic_changes.TOPIC_CHANGES`: what may be shown, and no more.
Every text from outside is escaped here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.topic_changes import GONE
from conversation_analytics.reports import charts, tables
from conversation_analytics.reports.cards import card, nothing
from conversation_analytics.reports.markup import markdown_text
from conversation_analytics.reports.values import UNKNOWN

if TYPE_CHECKING:
    from conversation_analytics.reports.drawings import Drawing

_MOST_IN_CHART = 12
_MOST_ROWS = 50
_NO_WORDS = "(no word of enough users)"
_HEADS = ("Topic", "Conversations", "Week before", "Change", "Users", "Share")
_NOTE = (
    "Found in the first questions of conversations; nobody named them. Topics of too few users or "
    "conversations are left out: one that was left out the week before is new, one that is now is "
    "gone. Shares are of the conversations of the topics shown. Grown and shrunk: by more than "
    "chance."
)


def topic_cards(topics: pl.DataFrame) -> list[str]:
    """Show the topics of a week: bars of the largest beside the week before, and a table."""
    title = "Topics of the week"
    if topics.is_empty():
        return [card(title, nothing("No topic has enough users and conversations to be shown."))]
    found = []
    largest = topics.filter(pl.col("conversations").is_not_null()).head(_MOST_IN_CHART)
    if not largest.is_empty():
        compared = largest["change"].is_not_null().any()
        found.append(card(title, _bars(title, largest, compared=compared)))
    most = topics["conversations"].max()
    rows = [_row(row, most) for row in topics.head(_MOST_ROWS).iter_rows(named=True)]
    left = topics.height - _MOST_ROWS
    more = f" {left} more in the table `topics` of the lake." if left > 0 else ""
    body = tables.sortable(_HEADS, rows)
    found.append(card("Topics beside the week before", body, wide=True, note=f"{_NOTE}{more}"))
    return found


def topic_lines(topics: pl.DataFrame) -> list[str]:
    """Return the topics of a week as lines of Markdown."""
    lines = [
        "",
        "| topic | conversations | week before | change | users | share |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for row in topics.head(_MOST_ROWS).iter_rows(named=True):
        texts = (
            _label(row), _count(row["conversations"]), _count(row["conversations_before"]),
            _change(row), _count(row["users"]), _share(row["share"]),
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(markdown_text, texts))} |")
    return lines


def _bars(title: str, largest: pl.DataFrame, *, compared: bool) -> Drawing:
    series = ("this week", "week before") if compared else ("conversations",)
    rows = []
    for row in largest.iter_rows(named=True):
        values = [row["conversations"], row["conversations_before"]][: len(series)]
        texts = [f"{_count(values[0])}, {_share(row['share'])}", *map(_count, values[1:])]
        rows.append(
            charts.Row(
                _label(row),
                tuple(None if one is None else float(one) for one in values),
                tuple(texts),
            )
        )
    return charts.bars(title, rows, series=series, x_title="conversations", whole=True)


def _row(row: dict[str, object], most: object) -> str:
    def number(name: str, bar: object = None) -> str:
        value = row[name]
        return tables.number(
            None if value is None else Decimal(str(value)),
            _count(value),
            None if bar is None else Decimal(str(bar)),
        )

    share = row["share"]
    return tables.row(
        [
            tables.named(_label(row), str(row["topic_id"])),
            number("conversations", most),
            number("conversations_before"),
            tables.named(_change(row)),
            number("users"),
            tables.number(None if share is None else Decimal(str(share)), _share(share)),
        ]
    )


def _label(row: dict[str, object]) -> str:
    return str(row["label"] or _NO_WORDS)


def _change(row: dict[str, object]) -> str:
    """Return the change as a word, with how much where both weeks may be told."""
    change, now, before = row["change"], row["conversations"], row["conversations_before"]
    if change is None:
        return UNKNOWN
    if change == GONE or not isinstance(now, int) or not isinstance(before, int):
        return str(change)
    return f"{change} ({100 * (now - before) / before:+.0f}%)"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else UNKNOWN


def _share(value: object) -> str:
    return f"{100 * value:.1f}%" if isinstance(value, float) else UNKNOWN
