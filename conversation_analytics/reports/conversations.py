"""The conversations of a day that are worth a look, and a CSV of all of them.

Frames are daily partials of the kind `conversations`; see `core.partials`.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from conversation_analytics.reports.cards import card, nothing
from conversation_analytics.reports.markup import csv_text, html_text
from conversation_analytics.reports.values import UNKNOWN, app_label

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

CARD: Final = "conversations"
_MOST = 20
_COUNTS: Final = ("turns", "errors", "likes", "dislikes", "handoffs")
_TIMES: Final = ("first_at", "last_at", "failed_at")
_CSV: Final = ("conversation_id", "app_id", *_COUNTS, *_TIMES)


@dataclass(frozen=True, slots=True)
class _Group:
    """Conversations of one kind: `by` is what sorts them, the most first."""

    anchor: str
    title: str
    which: pl.Expr
    by: str
    none: str
    unknown: str = ""


_GROUPS: Final = (
    _Group("failed", "Failed or without answer",
           pl.col("failed_at").is_not_null() | (pl.col("errors") > 0), "errors", "None failed."),
    _Group("disliked", "Disliked", pl.col("dislikes") > 0, "dislikes", "None was disliked.",
           "No table of ratings is read."),
    _Group("handed-over", "Handed over to a person", pl.col("handoffs") > 0, "handoffs",
           "None was handed over.", "HANDOFF_MARKERS is not set."),
    _Group("longest", "Longest", pl.col("turns") > 0, "turns", "No conversation had a turn."),
)  # fmt: skip
ANCHORS: Final = {
    **dict.fromkeys(
        ("errors", "error_rate", "empty_answers", "empty_answer_rate", "abandoned_conversations",
         "abandonment_rate"), "failed"
    ),
    **dict.fromkeys(("dislikes", "satisfaction", "satisfied_conversations"), "disliked"),
    **dict.fromkeys(("handed_off_conversations", "handoff_rate", "containment_rate"),
                    "handed-over"),
    **dict.fromkeys(("turns", "conversations_active", "turns_per_conversation"), "longest"),
}  # fmt: skip
"""Where on the page the conversations behind a metric are."""


def conversations_name(day: dt.date) -> str:
    """Return the name of the CSV beside the page of a day."""
    return f"{day.isoformat()}.conversations.csv"


def conversations_card(day: dt.date, conversations: pl.DataFrame, zone: str) -> str:
    """Show the failed, disliked, handed-over and longest conversations, at most 20 of each.

    Args:
        day: whose page it is.
        conversations: partials of the kind `conversations`.
        zone: IANA name of the time zone of times of day.
    """
    file = html_text(conversations_name(day))
    count = conversations.height
    body = (
        f'<p class="note">{count:,} {"conversation" if count == 1 else "conversations"} had a turn '
        f'or a rating on this day: <a href="{file}" download>{file}</a> lists all of them.</p>'
    )
    opened = False
    for group in _GROUPS:
        found = conversations.filter(group.which)
        is_open, opened = not opened and bool(found.height), opened or bool(found.height)
        body += _group(group, conversations, found, zone, is_open=is_open)
    return card("Conversations to look at", body, wide=True, anchor=CARD)


def _group(
    group: _Group, every: pl.DataFrame, found: pl.DataFrame, zone: str, *, is_open: bool
) -> str:
    first = found.sort(
        [group.by, "turns", "app_id", "conversation_id"],
        descending=[True, True, False, False],
        nulls_last=True,
    ).head(_MOST)
    more = f", the first {_MOST} shown" if found.height > _MOST else ""
    unknown = group.unknown and every.height and every[group.by].null_count() == every.height
    summary = f"{group.title}: {UNKNOWN if unknown else f'{found.height:,}{more}'}"
    inner = (
        _table(first, zone) if found.height else nothing(group.unknown if unknown else group.none)
    )
    return (
        f'<details class="group" id="{group.anchor}"{" open" if is_open else ""}>'
        f"<summary>{html_text(summary)}</summary>{inner}</details>"
    )


def _table(rows: pl.DataFrame, zone: str) -> str:
    heads = ("Conversation", "App", "Turns", "Errors", "Likes", "Dislikes", "Hand-offs",
             f"Failed last, {zone}")  # fmt: skip
    head = "".join(f'<th scope="col">{html_text(text)}</th>' for text in heads)
    body = "".join(_row(found, ZoneInfo(zone)) for found in rows.iter_rows(named=True))
    return (
        f'<div class="scroll"><table class="ids"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(found: dict[str, Any], zone: ZoneInfo) -> str:
    talk = html_text(found["conversation_id"] or "(none)")
    app = html_text(app_label(found["app_id"] or ""))
    counts = (UNKNOWN if found[name] is None else f"{found[name]:,}" for name in _COUNTS)
    failed = found["failed_at"]
    when = "" if failed is None else f"{failed.astimezone(zone):%H:%M:%S}"
    cells = "".join(f"<td>{text}</td>" for text in (*counts, when))
    return f"<tr><td><code>{talk}</code></td><td><bdi>{app}</bdi></td>{cells}</tr>"


def conversations_csv(conversations: pl.DataFrame) -> str:
    """Render all conversations of a day as CSV (RFC 4180), safe in spreadsheets.

    Columns: `conversation_id`, `app_id`, `turns`, `errors`, `likes`, `dislikes`, `handoffs`,
    `first_at`, `last_at`, `failed_at` (ISO 8601, UTC); empty where unknown or none. Order: app,
    conversation.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_CSV)
    rows = conversations.select(_CSV).sort("app_id", "conversation_id")
    writer.writerows(_csv_rows(rows))
    return out.getvalue()


def _csv_rows(rows: pl.DataFrame) -> Iterator[list[str | int | None]]:
    for talk, app, *rest in rows.iter_rows():
        counts, times = rest[: len(_COUNTS)], rest[len(_COUNTS) :]
        yield [
            csv_text(talk or ""),
            csv_text(app or ""),
            *counts,
            *("" if time is None else f"{time:%Y-%m-%dT%H:%M:%S.%fZ}" for time in times),
        ]
