"""Times that PostgreSQL holds and Python does not: in the real NocoDB, beside good rows."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from conversation_analytics.core.source import SourceTable
from conversation_analytics.resources.connections import open_source
from conversation_analytics.settings import parse_settings
from conversation_analytics.stack.dify import load_dify_rows

if TYPE_CHECKING:
    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import DifyBase
    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.nocodb, pytest.mark.postgres]

DAY = dt.datetime(2026, 11, 10, tzinfo=dt.UTC)
CONVERSATION = "00000000-0000-4000-8000-000000000000"
IDS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(1, 6)]


HOLDABLE = ["0001-01-01", "9999-12-31 23:59:59.999999"]
UNHOLDABLE = ["12026-01-01", "0044-03-15 BC", "infinity", "-infinity"]


@pytest.mark.parametrize("odd", [*HOLDABLE, *UNHOLDABLE])
@pytest.mark.parametrize("column", ["created_at", "updated_at"])
def test_a_time_that_nobody_can_hold_takes_no_good_row_with_it(
    nocodb: NocodbServer, dify_base: DifyBase, ledger: Ledger, column: str, odd: str
) -> None:
    kind = "impossible" if odd in UNHOLDABLE else "extreme"
    tally = ledger.tally(f"{kind} {column} in PostgreSQL, windows and looks through NocoDB")
    common = {"created_at": DAY, "updated_at": DAY}
    load_dify_rows(dify_base.dsn, "conversations", [{"id": CONVERSATION, **common}])
    load_dify_rows(
        dify_base.dsn,
        "messages",
        [
            {"id": row_id, "conversation_id": CONVERSATION, "query": "q", "answer": "a", **common}
            for row_id in IDS
        ],
    )
    with psycopg.connect(dify_base.dsn) as connection:
        connection.execute(
            f"UPDATE messages SET {column} = %s WHERE id = %s".encode(), [odd, IDS[2]]
        )
    values = parse_settings(
        {
            "NOCODB_BASE_URL": nocodb.base_url,
            "NOCODB_API_TOKEN": nocodb.api_token,
            "NOCODB_PROJECT_ID": dify_base.base_id,
        }
    )
    good = set(IDS) - {IDS[2]}
    # The odd row itself lies in the window where its time of creation is the good one.
    inside = good if column == "created_at" else set(IDS)
    tally.tries += 1
    tally.lost += len(inside)
    with closing(open_source(values)) as source:
        window = source.read_window(SourceTable.MESSAGES, DAY, DAY + dt.timedelta(days=1))
        assert set(window["id"]) == inside
        looked = source.changes_since(SourceTable.MESSAGES, DAY - dt.timedelta(days=1))
        assert good <= set(looked["id"])
    tally.lost -= len(inside)
    tally.outcome = "the good rows are read, in windows and in looks"
