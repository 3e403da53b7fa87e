"""The message that tells of a finished report: what it may tell, and its JSON body.

It leaves the machine. It names the period, where the report is, and a few figures over all apps;
no text of messages, no user, no conversation, no app.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from conversation_analytics.core.periods import NAMES, Period

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

EVENT: Final = "report.finished"
VERSION: Final = 1
HEADLINE: Final = (
    "conversations_active", "turns", "active_users", "error_rate", "satisfaction",
)  # fmt: skip
_COST: Final = "cost"
_DIGEST: Final = 16


@dataclass(frozen=True, slots=True)
class FinishedReport:
    """A report of a period that is over.

    Attributes:
        period: day, week or month.
        start: its first day.
        sha256: digest of the rows of the report.
        figures: of `headline_figures`.
        files: where its files are, by their ending: an absolute path or an s3:// URI.
        before: digest of the rows that the receiver took last; empty: it took none.
        taken: how many versions of it the receiver took.
    """

    period: Period
    start: dt.date
    sha256: str
    figures: Mapping[str, object]
    files: Mapping[str, str]
    before: str
    taken: int

    @property
    def name(self) -> str:
        """Kind and partition key, as its files are called."""
        return f"{NAMES[self.period]}/{self.start.isoformat()}"

    @property
    def again(self) -> bool:
        """Whether an earlier version of it was delivered."""
        return bool(self.before)

    @property
    def message_id(self) -> str:
        """The same until the receiver takes this content, so that it drops repetitions.

        Content that comes back after other content was taken has another one: a receiver that
        drops what it knows would be left with the other.
        """
        told = f"{self.taken} {self.before} {self.sha256}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:_DIGEST]
        return f"report_{self.name.replace('/', '_')}_{digest}"


def headline_figures(report: pl.DataFrame) -> dict[str, object]:
    """Return the figures over all apps that are told.

    Args:
        report: schema `DAILY_REPORT`, `WEEKLY_REPORT` or `MONTHLY_REPORT`, of one period.

    Returns:
        Numbers by metric, None where unknown; `cost` is a list of currency and exact amount.
    """
    overall = report.filter(pl.col("app_id").is_null())
    if "dimension" in overall.columns:
        overall = overall.filter(pl.col("dimension").is_null())
    plain = overall.filter(pl.col("currency").is_null())
    values = dict(zip(plain["metric"], plain["value"], strict=True))
    costs = overall.filter(
        (pl.col("metric") == _COST)
        & pl.col("currency").is_not_null()
        & pl.col("value").is_not_null()
    ).sort("currency")
    figures: dict[str, object] = {
        name: None if values.get(name) is None else float(values[name]) for name in HEADLINE
    }
    return figures | {
        _COST: [
            {"currency": currency, "amount": str(amount)}
            for currency, amount in costs.select("currency", "value").iter_rows()
        ]
    }


def payload(report: FinishedReport) -> bytes:
    """Return the JSON body: the same bytes for the same content, ASCII, under 4 kB.

    Top level: `type`, `version`, `text` (one line for people) and `data`.
    """
    label = report.period.label(report.start)
    data = {
        "period": NAMES[report.period],
        "label": label,
        "first_day": report.start.isoformat(),
        "last_day": report.period.end_of(report.start).isoformat(),
        "again": report.again,
        "figures": report.figures,
        "files": report.files,
    }
    turns = report.figures.get("turns")
    told = "" if not isinstance(turns, float) else f": {turns:,.0f} turns"
    body = {
        "type": EVENT,
        "version": VERSION,
        "text": f"The {NAMES[report.period]} report {label} "
        f"{'has changed' if report.again else 'is finished'}{told}",
        "data": data,
    }
    return json.dumps(body, separators=(",", ":")).encode("ascii")
