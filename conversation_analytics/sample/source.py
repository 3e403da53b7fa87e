"""The sample traffic behind the same protocol as the real source."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from conversation_analytics.core.errors import SourceRequestError
from conversation_analytics.core.schemas import INSTANT
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.windows import days_between
from conversation_analytics.core.zones import DAILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conversation_analytics.sample.traffic import Row, SampleTraffic

_CHANGES = pl.Schema(
    {"id": pl.String(), "created_at": INSTANT, "changed_at": INSTANT, "fingerprint": pl.String()}
)
_MOST_CHANGED_DAYS = 1000
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SampleSource:
    """Sample traffic from `first_day` to `last_day`, both included, as a source of rows.

    Payloads are compact JSON as NocoDB serves it: times as `YYYY-MM-DD HH:MM:SS+00:00`, the
    part below a second cut, prices as text, JSON columns as text. Stateless, hence safe to
    call from several threads.

    Attributes:
        traffic: where the rows come from.
        first_day: earlier days are empty; turns of conversations begun before it are not served.
        last_day: later days are empty.
        load_prompt: whether the column `message` (the full prompt) is served.
    """

    traffic: SampleTraffic
    first_day: dt.date
    last_day: dt.date
    load_prompt: bool = False

    def read_window(self, table: SourceTable, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        """Return the rows created in `[start, end)` (aware UTC), in the raw schema."""
        served = [
            self._raw(row)
            for row in self._rows(table, start, end - dt.timedelta(microseconds=1))
            if start <= row["created_at"].replace(microsecond=0) < end
        ]
        return self._frame(table, served)

    def read_undated(self, table: SourceTable) -> pl.DataFrame:
        """Return one conversation or its three turns, without times, in the raw schema."""
        rows = {
            SourceTable.CONVERSATIONS: self.traffic.undated_conversations,
            SourceTable.MESSAGES: self.traffic.undated_messages,
            SourceTable.FEEDBACKS: list,
        }[table]()
        return self._frame(table, [(row["id"], None, self._payload(row)) for row in rows])

    def read_ids(self, table: SourceTable, ids: Sequence[str]) -> pl.DataFrame:
        """Return the rows with these ids, in the raw schema; looks through every day."""
        wanted = frozenset(ids)
        dated = [
            self._raw(row)
            for row in self._days(table, self.first_day, self.last_day)
            if row["id"] in wanted
        ]
        undated = self.read_undated(table)
        return pl.concat(
            [
                self._frame(table, dated),
                undated.filter(pl.col("id").is_in(sorted(wanted))),
            ]
        )

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        """Return the rows created or updated at or after `since` (aware UTC), up to `last_day`.

        Sample rows never change, so the fingerprint of an id is always the same. Undated rows
        have no time and are not among them.

        Raises:
            SourceRequestError: more than 1000 days lie between `since` and `last_day`.
        """
        day = max(since.astimezone(self.traffic.zone).date() - _DAY, self.first_day)
        if (self.last_day - day).days > _MOST_CHANGED_DAYS:
            raise SourceRequestError(
                f"sample {table}: changes since {since.isoformat()} reach to {self.last_day}, "
                f"expected at most {_MOST_CHANGED_DAYS} days; give the sample an earlier last_day"
            )
        changed = []
        for row in self._days(table, day, self.last_day):
            row_id, created_at, payload = self._raw(row)
            changed_at = row["updated_at"].replace(microsecond=0)
            if max(created_at, changed_at) >= since:
                changed.append((row_id, created_at, changed_at, _sha256(payload)[:32]))
        return pl.DataFrame(changed, schema=_CHANGES, orient="row").sort("created_at", "id")

    def describe(self) -> dict[str, str]:
        """Return seed, size and days of the sample."""
        return {
            "source": "sample",
            "seed": str(self.traffic.seed),
            "turns_per_day": str(self.traffic.turns_per_day),
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day.isoformat(),
        }

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _rows(self, table: SourceTable, start: dt.datetime, last: dt.datetime) -> Iterator[Row]:
        zone = self.traffic.zone
        first_day = max(start.astimezone(zone).date(), self.first_day)
        yield from self._days(table, first_day, min(last.astimezone(zone).date(), self.last_day))

    def _days(self, table: SourceTable, first: dt.date, last: dt.date) -> Iterator[Row]:
        for day in days_between(first, last):
            if table is SourceTable.CONVERSATIONS:
                yield from self.traffic.conversations(day)
                continue
            messages = table is SourceTable.MESSAGES
            rows = self.traffic.messages(day) if messages else self.traffic.feedbacks(day)
            if day == self.first_day:
                known = {row["id"] for row in self.traffic.conversations(day)}
                rows = [row for row in rows if row["conversation_id"] in known]
            yield from rows

    def _raw(self, row: Row) -> tuple[str, dt.datetime, str]:
        return row["id"], row["created_at"].replace(microsecond=0), self._payload(row)

    def _payload(self, row: Row) -> str:
        served = dict(row)
        for name in ("created_at", "updated_at"):
            if (instant := served[name]) is not None:
                served[name] = instant.isoformat(" ", "seconds")
        if not self.load_prompt:
            served.pop("message", None)
        return msgspec.json.encode(served).decode()

    @staticmethod
    def _frame(
        table: SourceTable, rows: Sequence[tuple[str, dt.datetime | None, str]]
    ) -> pl.DataFrame:
        schema = DAILY[table].raw
        digests = ((row, _sha256(row[2])) for row in rows)
        # Sample rows never change: one digest serves for all three.
        full = [(*row, digest, digest[:32], digest[:32], False) for row, digest in digests]
        return schema.conform(pl.DataFrame(full, schema=schema.polars, orient="row"))


def _sha256(payload: str) -> str:
    return hashlib.sha256(payload.encode()).hexdigest()
