"""Rows as bad as JSON allows: the good rows beside them land, they land or say why not."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.core import schemas
from conversation_analytics.core.documents import message_documents
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.source import SourceTable
from conversation_analytics.definitions import build_definitions
from conversation_analytics.documents.store import SqliteConfig, open_store
from conversation_analytics.lake.store import open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.faults.exactly_once import Verdict, compare_zones
from conversation_analytics_tests.faults.ledger import chaos_rounds
from conversation_analytics_tests.oracles.rows_oracle import type_rows_slowly
from conversation_analytics_tests.platform import QUIET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conversation_analytics_tests.faults.ledger import Ledger

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

KEY = "2026-11-10"
AT = dt.datetime(2026, 11, 10, 12, tzinfo=dt.UTC)
CONVERSATION = {
    "id": "conversation", "app_id": "app", "name": "n", "status": "normal",
    "created_at": "2026-11-10 12:00:00+00:00", "updated_at": "2026-11-10 12:00:00+00:00",
}  # fmt: skip
LONG = 147_000
EXAMPLES_A_ROUND = 6

LANDING: dict[str, dict[str, Any]] = {
    "bad JSON in inputs": {"inputs": '{"a": '},
    "inputs that are a list": {"inputs": [1, None, {"a.b": {"$c": 1}}]},
    "dots, dollars and NUL in keys": {"inputs": {"a.b": 1, "$set": {"": 2}, "\0": 3}},
    "a lone surrogate": {"query": "half \ud83d of one"},
    "NUL in a text": {"query": "before \0 after"},
    "a text of 147,000 characters": {"answer": "\u0e2a" * LONG},
    "more places than the schema has": {"total_price": "0.12345678949999"},
    "the largest 64-bit integer": {"message_tokens": 2**63 - 1},
    "the largest price": {"total_price": "9999999999999.9999999"},
    "the smallest price": {"total_price": "-9999999999999.9999999"},
    "a latency next to infinity": {"provider_response_latency": 1.7e308},
    "changed in the year 1": {"updated_at": "0001-01-01 00:00:00+00:00"},
    "changed in the year 9999": {"updated_at": "9999-12-31 23:59:59.999999+00:00"},
    "a column nobody knows": {"brand new": {"deep": [1.50]}},
    "an integer beyond 64 bits in a column nobody knows": {"brand new": 2**80},
}
DYING: dict[str, dict[str, Any]] = {
    "2^63": {"message_tokens": 2**63},
    "NaN": {"provider_response_latency": float("nan")},
    "an infinite number": {"provider_response_latency": float("inf")},
    "a price of 14 digits": {"total_price": "10000000000000"},
    "a price beyond every exponent": {"total_price": "1e999999999"},
    "half a token": {"message_tokens": 1.5},
    "the year 0": {"updated_at": "0000-01-01 00:00:00+00:00"},
    "before the year 1": {"updated_at": "0001-01-01 00:00:00+07:00"},
    "after the year 9999": {"updated_at": "9999-12-31 23:59:59-07:00"},
    "the year 10000": {"updated_at": "10000-01-01 00:00:00+00:00"},
    "a query that is an object": {"query": {"text": "q"}},
    "no conversation": {"conversation_id": None},
    "a time of creation that is a number": {"created_at": 1_794_312_000},
}


def message(number: int, **values: Any) -> dict[str, Any]:
    at = f"2026-11-10 12:{number % 60:02}:00+00:00"
    return {
        "id": f"m{number:03}", "conversation_id": "conversation", "query": f"q {number}",
        "answer": "a", "answer_tokens": 5, "message_tokens": 7, "status": "normal",
        "total_price": "0.0012345", "currency": "USD", "provider_response_latency": 1.5,
        "inputs": {}, "message_metadata": None, "created_at": at, "updated_at": at,
    } | values  # fmt: skip


def payload(row: Mapping[str, Any]) -> str:
    return json.dumps(row)


def raw_frame(rows: Sequence[tuple[str, dt.datetime, str]]) -> pl.DataFrame:
    full = []
    for row_id, created_at, text in rows:
        digest = hashlib.sha256(text.encode()).hexdigest()
        full.append((row_id, created_at, text, digest, digest[:32], digest[:32], False))
    schema = schemas.RAW_MESSAGES
    return schema.conform(pl.DataFrame(full, schema=schema.polars, orient="row"))


@dataclass(frozen=True)
class Served:
    """A source that serves just these messages, and their conversation."""

    messages: dict[str, str]

    def read_window(self, table: SourceTable, *_: object) -> pl.DataFrame:
        if table is SourceTable.CONVERSATIONS:
            return raw_frame([("conversation", AT, payload(CONVERSATION))])
        if table is SourceTable.FEEDBACKS:
            return raw_frame([])
        return raw_frame([(row_id, AT, text) for row_id, text in self.messages.items()])

    def read_ids(self, table: SourceTable, ids: Sequence[str]) -> pl.DataFrame:
        return self.read_window(table).filter(pl.col("id").is_in(list(ids)))

    def close(self) -> None:
        pass


def run_day(values: Settings, source: Served) -> dg.ExecuteInProcessResult:
    job = build_definitions(values).resolve_job_def("daily")
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            QUIET, partition_key=KEY, instance=instance, resources={"source": source},
            raise_on_error=False,
        )  # fmt: skip


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    told = {}
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        told[event.step_key or ""] = error.message if error else ""
    return told


def require_rows(
    tmp_path: Path, environment: dict[str, str], bad: dict[str, dict[str, Any]], *, dead: bool,
    tally: Any,
) -> None:  # fmt: skip
    """Send rows through the whole job: each bad one among good ones."""
    values = parse_settings(
        {
            "PARQUET_BASE_DIR": str(tmp_path / "lake"),
            "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
            "ANALYTICS_START_DATE": KEY,
        }
        | environment
    )
    good = [message(number) for number in range(20)]
    odd = [message(100 + number, **row) for number, row in enumerate(bad.values())]
    messages = {row["id"]: payload(row) for row in good + odd}
    result = run_day(values, Served(messages))
    tally.tries += len(odd)
    assert failures(result) == {}
    wanted = {
        SourceTable.CONVERSATIONS: {"conversation": payload(CONVERSATION)},
        SourceTable.MESSAGES: messages,
    }
    ids = {row["id"] for row in odd} if dead else set()
    verdict = compare_zones(values, [KEY], wanted, dead=ids)
    tally.add(verdict)
    verdict.require_nothing()
    letters = open_lake(values.parquet_base_dir).read(schemas.MESSAGE_DEAD_LETTERS, KEY)
    for row_id, reason in letters.select("source_id", "reason").iter_rows():
        kind = list(bad)[int(row_id[1:]) - 100]
        [column] = bad[kind]
        assert column in reason or "payload" in reason, kind


STORES = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("mongodb", id="mongodb", marks=pytest.mark.mongodb),
]


@pytest.fixture(params=STORES)
def documents(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of a document store."""
    if request.param == "sqlite":
        return {}
    return {
        "MONGODB_URI": request.getfixturevalue("mongodb_uri"),
        "MONGODB_DATABASE": request.getfixturevalue("mongodb_database"),
    }


def test_odd_rows_land(tmp_path: Path, documents: dict[str, str], ledger: Ledger) -> None:
    tally = ledger.tally("rows that are odd, yet have a place")
    require_rows(tmp_path, documents, LANDING, dead=False, tally=tally)
    tally.outcome = "each in every zone, the report's sums agree"


def test_bad_rows_are_dead_letters_with_a_reason(
    tmp_path: Path, documents: dict[str, str], ledger: Ledger
) -> None:
    tally = ledger.tally("rows that have no place")
    require_rows(tmp_path, documents, DYING, dead=True, tally=tally)
    tally.outcome = "dead letters whose reason names the column; the good rows land"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63) - 1, 10**30, "", "0001-01-01 00:00:00", "NaN", "1e400"])
    | st.floats()
    | st.text(st.characters(), max_size=12)
    | st.datetimes().map(str)
    | st.decimals().map(str),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
columns = st.sampled_from([*message(0), "message_unit_price", "agent_based", "error", "unheard of"])
hostile_rows = st.dictionaries(columns, json_values, min_size=1, max_size=4).map(payload)
no_rows = json_values.map(json.dumps) | st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=EXAMPLES_A_ROUND * chaos_rounds())
@given(hostile=st.lists(hostile_rows | no_rows, min_size=1, max_size=6))
def test_whatever_comes_good_rows_land_and_the_rest_is_dead(
    ledger: Ledger, hostile: list[str]
) -> None:
    tally = ledger.tally("arbitrary JSON (Hypothesis)")
    texts = {f"m{number:03}": payload(message(number)) for number in range(5)}
    for number, text in enumerate(hostile, start=100):
        # Changes of a good row where it is one: nearly right is worse than wrong.
        texts[f"m{number}"] = _merged(message(number), text)
    raw = raw_frame([(row_id, AT, text) for row_id, text in texts.items()])
    expected, dead = type_rows_slowly(
        [(row_id, AT, text) for row_id, text in texts.items()], schemas.MESSAGES
    )
    verdict = Verdict()
    with TemporaryDirectory() as folder:
        lake = open_lake(Path(folder) / "lake")
        lake.write(schemas.RAW_MESSAGES, KEY, raw)
        stored = lake.read(schemas.RAW_MESSAGES, KEY)
        typed = type_rows(stored, schemas.MESSAGES, where=KEY)
        lake.write(schemas.MESSAGES, KEY, typed.frame)
        lake.write(schemas.MESSAGE_DEAD_LETTERS, KEY, typed.dead_letters)
        curated = lake.read(schemas.MESSAGES, KEY)
        letters = lake.read(schemas.MESSAGE_DEAD_LETTERS, KEY)
        verdict.compare("raw", texts, stored.select("id", "payload").iter_rows())
        good = {row["id"]: (row["query"], row["total_price"]) for row in expected}
        verdict.compare(
            "curated", good,
            ((r["id"], (r["query"], r["total_price"])) for r in curated.iter_rows(named=True)),
        )  # fmt: skip
        verdict.compare(
            "dead letters",
            {row_id: texts[row_id] for row_id in dead},
            letters.select("source_id", "payload").iter_rows(),
        )
        with closing(open_store(SqliteConfig(Path(folder) / "documents.sqlite"))) as store:
            store.replace_partition("messages", KEY, message_documents(curated, KEY))
            found = store.find("messages", {"day": KEY})
        verdict.compare(
            "documents",
            {row_id: query for row_id, (query, _) in good.items()},
            ((document["_id"], document["query"]) for document in found),
        )
    assert all(letters["reason"].str.len_chars() > 0)
    assert {f"m{number:03}" for number in range(5)} <= good.keys()
    tally.tries += len(hostile)
    tally.add(verdict)
    verdict.require_nothing()
    tally.outcome = "good rows land; the oracle agrees which rows are dead"


def _merged(row: dict[str, Any], text: str) -> str:
    try:
        changes = json.loads(text)
    except ValueError:
        return text
    # The id stays: here it is the raw zone's.
    return payload(row | changes | {"id": row["id"]}) if isinstance(changes, dict) else text
