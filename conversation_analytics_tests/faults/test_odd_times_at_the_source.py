"""Times that PostgreSQL holds and Python does not: in the real NocoDB, beside good rows."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING

import polars as pl
import psycopg
import pytest

from conversation_analytics.core.schemas import RAW_MESSAGES
from conversation_analytics.core.source import SourceTable
from conversation_analytics.resources.connections import open_lake, open_source
from conversation_analytics.settings import parse_settings
from conversation_analytics.stack.dify import load_dify_rows
from conversation_analytics_tests.faults.sample_runs import run_daily

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import DifyBase
    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.nocodb, pytest.mark.postgres]

KEY = "2026-11-10"
DAY = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
CONVERSATION = "00000000-0000-4000-8000-000000000000"
IDS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(1, 6)]


HOLDABLE = ["0001-01-01", "9999-12-31 23:59:59.999999"]
UNHOLDABLE = ["12026-01-01", "0044-03-15 BC", "infinity", "-infinity"]


ODD = pytest.mark.parametrize("odd", [*HOLDABLE, *UNHOLDABLE])


@ODD
@pytest.mark.parametrize("column", ["created_at", "updated_at"])
def test_a_time_that_nobody_can_hold_takes_no_good_row_with_it(
    nocodb: NocodbServer, dify_base: DifyBase, ledger: Ledger, column: str, odd: str
) -> None:
    kind = "impossible" if odd in UNHOLDABLE else "extreme"
    tally = ledger.tally(f"{kind} {column} in PostgreSQL, windows and looks through NocoDB")
    fill(dify_base)
    set_time(dify_base, column, odd)
    good = set(IDS) - {IDS[2]}
    # The odd row itself lies in the window where its time of creation is the good one.
    inside = good if column == "created_at" else set(IDS)
    tally.tries += 1
    tally.lost += len(inside)
    with closing(open_source(parse_settings(environment(nocodb, dify_base)))) as source:
        window = source.read_window(SourceTable.MESSAGES, DAY, DAY + dt.timedelta(days=1))
        assert set(window["id"]) == inside
        looked = source.changes_since(SourceTable.MESSAGES, DAY - dt.timedelta(days=1))
        assert good <= set(looked["id"])
    tally.lost -= len(inside)
    tally.outcome = "the good rows are read, in windows and in looks"


@ODD
def test_a_row_that_is_held_stays_where_its_time_turns_odd(
    tmp_path: Path, nocodb: NocodbServer, dify_base: DifyBase, ledger: Ledger, odd: str
) -> None:
    tally = ledger.tally("`created_at` of a row that is held turns impossible or extreme")
    values = parse_settings(
        {
            "PARQUET_BASE_DIR": str(tmp_path / "lake"),
            "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
            "ANALYTICS_START_DATE": KEY,
            # Where the last hours of the year 9999 have no day.
            "ANALYTICS_TIMEZONE": "Asia/Bangkok",
        }
        | environment(nocodb, dify_base)
    )
    fill(dify_base)
    assert run_daily(values, KEY, assets=["raw_messages"]) == {}
    set_time(dify_base, "created_at", odd)
    tally.tries += 1
    tally.lost += len(IDS)
    assert run_daily(values, KEY, assets=["raw_messages"]) == {}
    held = open_lake(values).read(RAW_MESSAGES, KEY)
    assert sorted(held.filter(~pl.col("gone"))["id"]) == IDS
    tally.lost -= len(IDS)
    tally.outcome = "it stays in its day, the other rows with it"


def environment(nocodb: NocodbServer, base: DifyBase) -> dict[str, str]:
    return {
        "NOCODB_BASE_URL": nocodb.base_url,
        "NOCODB_API_TOKEN": nocodb.api_token,
        "NOCODB_PROJECT_ID": base.base_id,
    }


def fill(base: DifyBase) -> None:
    common = {"created_at": DAY, "updated_at": DAY}
    load_dify_rows(base.dsn, "conversations", [{"id": CONVERSATION, **common}])
    load_dify_rows(
        base.dsn,
        "messages",
        [
            {"id": row_id, "conversation_id": CONVERSATION, "query": "q", "answer": "a", **common}
            for row_id in IDS
        ],
    )


def set_time(base: DifyBase, column: str, odd: str) -> None:
    """Give one of the messages an odd time."""
    with psycopg.connect(base.dsn) as connection:
        connection.execute(
            f"UPDATE messages SET {column} = %s WHERE id = %s".encode(), [odd, IDS[2]]
        )
