from __future__ import annotations

import datetime as dt
import json
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets.checks import (
    agreement,
    counted_to_agree,
    daily_checks,
    dead_letters_result,
    may_expire,
    newest_message,
    plausible_values,
    prices_recompute,
    reconcile,
)
from conversation_analytics.assets.partitions import daily_chain
from conversation_analytics.core import schemas
from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.dead_letters import DeadLetterLimit, ledger_entries
from conversation_analytics.core.documents import (
    conversation_slices,
    message_documents,
    report_documents,
)
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.windows import day_window
from conversation_analytics.core.zones import DAILY
from conversation_analytics.definitions import build_definitions
from conversation_analytics.lake.store import open_lake as open_store
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.sample.source import SampleSource
from conversation_analytics.sample.traffic import SampleTraffic
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.core.metric_rows import messages_frame, turn
from conversation_analytics_tests.platform import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conversation_analytics.core.source import SourceTable
    from conversation_analytics.documents.store import DocumentStore
    from conversation_analytics.lake.store import Lake

KEY = "2026-11-10"
DAY = dt.date(2026, 11, 10)
COLLECTIONS = {"conversations": "conversations", "messages": "messages"}
REPORTS = "analytics_reports"
NOW = dt.datetime(2026, 11, 12, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Zones:
    """Every zone of one day, filled as the assets do, with a dead letter in both tables."""

    settings: Settings
    lake: Lake
    store: DocumentStore

    def differences(self) -> list[str]:
        return reconcile(self.lake, self.store, KEY, COLLECTIONS).differences()

    def cut(self, schema: schemas.TableSchema, row: pl.Expr | None = None) -> None:
        """Write a table of the day again without one row (the first, or the first of `row`)."""
        frame = self.lake.read(schema, KEY).with_row_index("number")
        chosen = frame if row is None else frame.filter(row)
        number = chosen["number"][0]
        self.lake.write(schema, KEY, frame.filter(pl.col("number") != number).drop("number"))


@pytest.fixture
def zones(tmp_path: Path) -> Iterator[Zones]:
    settings = parse_settings(
        {
            "PARQUET_BASE_DIR": str(tmp_path / "lake"),
            "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
            "ANALYTICS_START_DATE": KEY,
        }
    )
    lake = open_lake(settings)
    window = day_window(DAY, settings.analytics_timezone)
    source = SampleSource(SampleTraffic(7, 60), DAY, DAY)
    frames: dict[str, pl.DataFrame] = {}
    dead_letters: dict[SourceTable, pl.DataFrame] = {}
    for table, lake_tables in DAILY.items():
        raw_schema, schema = lake_tables.raw, lake_tables.curated
        raw = source.read_window(table, window.start, window.end)
        bad = raw.head(1).with_columns(
            pl.lit(f"bad-{raw_schema.name}").alias("id"),
            pl.lit(json.dumps({"id": "bad", "created_at": "yesterday"})).alias("payload"),
        )
        raw = raw_schema.conform(pl.concat([raw, bad]))
        typed = type_rows(raw, schema, where=schema.name)
        assert typed.dead_letters.height == 1
        lake.write(raw_schema, KEY, raw)
        lake.write(schema, KEY, typed.frame)
        lake.write(lake_tables.dead_letters, KEY, typed.dead_letters)
        dead_letters[table] = typed.dead_letters
        frames[schema.name] = typed.frame
    conversations, messages = frames["conversations"], frames["messages"]
    partials = schemas.DAILY_PARTIALS.conform(
        daily_partials(
            conversations.lazy(), messages.lazy(), frames["feedbacks"].lazy(), day=DAY
        ).collect()
    )
    report = daily_report(partials.lazy(), DAY, engine=CPU)
    lake.write(schemas.DAILY_PARTIALS, KEY, partials)
    lake.write(schemas.DAILY_REPORT, KEY, report)
    with closing(open_documents(settings)) as store:
        store.merge_conversations(
            "conversations", KEY, conversation_slices(conversations, messages, KEY)
        )
        store.replace_partition("messages", KEY, message_documents(messages, KEY))
        store.replace_partition(REPORTS, KEY, report_documents(report, KEY))
        store.replace_partition(
            "dead_letters",
            KEY,
            ledger_entries(dead_letters, [], KEY, dt.datetime(2026, 11, 12, tzinfo=dt.UTC)),
        )
        yield Zones(settings, lake, store)


def lose_a_conversation_document(zones: Zones) -> None:
    conversations = zones.lake.read(schemas.CONVERSATIONS, KEY)
    messages = zones.lake.read(schemas.MESSAGES, KEY)
    zones.store.merge_conversations(
        "conversations", KEY, conversation_slices(conversations, messages, KEY)[1:]
    )


def lose_a_turn_inside_a_conversation(zones: Zones) -> None:
    conversations = zones.lake.read(schemas.CONVERSATIONS, KEY)
    messages = zones.lake.read(schemas.MESSAGES, KEY)[1:]
    zones.store.merge_conversations(
        "conversations", KEY, conversation_slices(conversations, messages, KEY)
    )


def lose_a_message_document(zones: Zones) -> None:
    messages = zones.lake.read(schemas.MESSAGES, KEY)
    zones.store.replace_partition("messages", KEY, message_documents(messages, KEY)[1:])


def lose_a_report_document(zones: Zones) -> None:
    report = zones.lake.read(schemas.DAILY_REPORT, KEY)
    zones.store.replace_partition(REPORTS, KEY, report_documents(report, KEY)[:-1])


def keep_an_old_report_document(zones: Zones) -> None:
    report = zones.lake.read(schemas.DAILY_REPORT, KEY).with_columns(
        pl.when(pl.col("metric") == "turns").then(pl.col("value") - 1).otherwise(pl.col("value"))
    )
    zones.store.replace_partition(REPORTS, KEY, report_documents(report, KEY))


def empty_the_ledger(zones: Zones) -> None:
    zones.store.replace_partition("dead_letters", KEY, [])


def table(schema: schemas.TableSchema, row: pl.Expr | None = None) -> Callable[[Zones], None]:
    return lambda zones: zones.cut(schema, row)


OVER_ALL_APPS = pl.col("app_id").is_null()
TURNS = pl.col("metric") == "turns"
COUNTS = pl.col("kind") == "counts"
DAMAGES: dict[str, tuple[Callable[[Zones], None], str]] = {
    "raw messages": (table(schemas.RAW_MESSAGES), "raw messages = curated + dead letters"),
    "raw conversations": (
        table(schemas.RAW_CONVERSATIONS), "raw conversations = curated + dead letters",
    ),
    "messages": (table(schemas.MESSAGES), "curated messages = message documents"),
    "conversations": (
        table(schemas.CONVERSATIONS), "curated conversations = conversation documents",
    ),
    "dead messages": (
        table(schemas.MESSAGE_DEAD_LETTERS), "raw messages = curated + dead letters",
    ),
    "dead conversations": (
        table(schemas.CONVERSATION_DEAD_LETTERS), "raw conversations = curated + dead letters",
    ),
    "raw feedbacks": (table(schemas.RAW_FEEDBACKS), "raw feedbacks = curated + dead letters"),
    "feedbacks": (table(schemas.FEEDBACKS), "raw feedbacks = curated + dead letters"),
    "partials of ratings": (
        table(schemas.DAILY_PARTIALS, COUNTS & (pl.col("likes") > 0)),
        "ratings that count = likes + dislikes of the partials",
    ),
    "the ledger of dead letters": (
        empty_the_ledger,
        "dead letters = entries of the ledger that have not landed",
    ),
    "partials of turns": (
        table(schemas.DAILY_PARTIALS, COUNTS & (pl.col("turns") > 0)),
        "debugger rows = turns of the partials",
    ),
    "partials of talks": (
        table(schemas.DAILY_PARTIALS, pl.col("kind") == "conversations"),
        "turns of the partials = their turns by conversation",
    ),
    "partials of hours": (
        table(schemas.DAILY_PARTIALS, pl.col("kind") == "hours"),
        "turns of the partials = their turns by hour",
    ),
    "partials of conversations": (
        table(schemas.DAILY_PARTIALS, pl.col("conversations_new") > 0),
        "new conversations of the partials",
    ),
    "turns of the report": (table(schemas.DAILY_REPORT, OVER_ALL_APPS & TURNS), "against nothing"),
    "turns of an app": (
        table(schemas.DAILY_REPORT, ~OVER_ALL_APPS & TURNS),
        "turns of the report = sum over its apps",
    ),
    "a conversation document": (
        lose_a_conversation_document, "curated conversations = conversation documents",
    ),
    "a turn of a conversation document": (
        lose_a_turn_inside_a_conversation, "turns inside conversation documents",
    ),
    "a message document": (lose_a_message_document, "curated messages = message documents"),
    "a report document": (lose_a_report_document, "and all apps = report documents"),
    "an old report document": (
        keep_an_old_report_document, "turns of the report document over all apps",
    ),
}  # fmt: skip


def test_zones_that_agree_pass_with_their_counts(zones: Zones) -> None:
    day = reconcile(zones.lake, zones.store, KEY, COLLECTIONS)
    result = agreement([day])
    assert result.passed
    assert day.raw_messages
    assert result.metadata["raw_messages"].value == day.raw_messages
    assert result.metadata["dead_letters"].value == 3
    assert result.metadata["curated_messages"].value == day.raw_messages - 1
    assert result.metadata["differences"].value == 0


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_lost_row_of_any_zone_fails_the_check_with_both_numbers(
    zones: Zones, damage: str
) -> None:
    act, equation = DAMAGES[damage]
    assert zones.differences() == []
    act(zones)
    assert any(equation in line for line in zones.differences())
    result = agreement([reconcile(zones.lake, zones.store, KEY, COLLECTIONS)])
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert result.metadata["days_that_disagree"].value == 1
    assert "counts_of_days_that_disagree" in result.metadata


@pytest.mark.parametrize(
    ("seen", "told", "counts"),
    [
        ([5], [], 1),
        ([4, 5], [], 2),  # replaced by another run between two zones, and whole again
        ([4, 3, 5], [], 3),
        ([4, 4, 5], [4], 2),  # twice the same difference is one
        ([4, 3, 4, 3, 4, 3, 5], [3], 6),
    ],
)
def test_a_difference_counts_that_is_there_at_a_second_count(
    zones: Zones, seen: list[int], told: list[int], counts: int
) -> None:
    whole = reconcile(zones.lake, zones.store, KEY, COLLECTIONS)
    assert whole.message_documents > 5
    days = [whole if turns == 5 else replace(whole, message_documents=turns) for turns in seen]
    left = iter(days)
    found = counted_to_agree(lambda: next(left))
    assert [found.message_documents] * bool(found.differences()) == told
    assert len(list(left)) == len(seen) - counts


def test_a_partition_that_is_not_there_fails_the_check(zones: Zones) -> None:
    day = reconcile(zones.lake, zones.store, "2026-11-11", COLLECTIONS)
    differences = day.differences()
    assert "2026-11-11: raw messages = curated + dead letters: nothing against nothing" in (
        differences
    )
    assert not agreement([day]).passed


def untouched(name: str, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """Return an asset that leaves its zone as it is."""

    @dg.asset(name=name, partitions_def=partitions)
    def leave() -> None:
        pass

    return leave


def run_checks(zones: Zones, *checks: str) -> dg.ExecuteInProcessResult:
    """Run the checks over the zones as they are."""
    chain = daily_chain(zones.settings)
    chosen = [
        check
        for check in daily_checks(chain, DeadLetterLimit(share=0.001, rows=0))
        if any(spec.name in checks for spec in check.check_specs)
    ]
    names = {spec.asset_key.path[-1] for check in chosen for spec in check.check_specs}
    assets = [untouched(name, chain.partitions) for name in sorted(names)]
    definitions = dg.Definitions(
        assets=assets,
        asset_checks=chosen,
        jobs=[dg.define_asset_job("checks", selection=dg.AssetSelection.assets(*assets))],
        resources={"lake": zones.lake, "documents": zones.store},
    )
    return definitions.resolve_job_def("checks").execute_in_process(
        QUIET, partition_key=KEY, raise_on_error=False
    )


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {
        f"{found.asset_key.path[-1]}.{found.check_name}": found
        for found in result.get_asset_check_evaluations()
    }


def test_a_run_whose_zones_agree_succeeds(zones: Zones) -> None:
    result = run_checks(zones, "rows_agree", "plausible_values", "prices_recompute")
    assert result.success
    found = evaluations(result)
    assert {name: evaluation.passed for name, evaluation in found.items()} == {
        "report_documents.rows_agree": True,
        "messages.plausible_values": True,
        "messages.prices_recompute": True,
    }


def test_a_run_whose_zones_differ_fails(zones: Zones) -> None:
    lose_a_message_document(zones)
    result = run_checks(zones, "rows_agree")
    assert not result.success
    found = evaluations(result)["report_documents.rows_agree"]
    assert not found.passed
    messages = zones.lake.row_count(schemas.MESSAGES, KEY)
    assert found.metadata["curated_messages"].value == messages
    assert found.metadata["message_documents"].value == messages - 1


def test_too_many_dead_letters_fail_the_run(zones: Zones) -> None:
    result = run_checks(zones, "dead_letters_few")
    assert not result.success
    found = evaluations(result)
    assert {name: evaluation.passed for name, evaluation in found.items()} == {
        "conversations.dead_letters_few": False,
        "feedbacks.dead_letters_few": False,
        "messages.dead_letters_few": False,
    }
    assert found["messages.dead_letters_few"].metadata["dead_letters"].value == 1


def test_the_checks_and_the_daily_graph_can_be_loaded_together() -> None:
    settings = parse_settings({})
    definitions = build_definitions(settings)
    checks = daily_checks(daily_chain(settings))
    specs = [spec for check in checks for spec in check.check_specs]
    known = {spec.key for spec in definitions.resolve_all_asset_specs()}
    assert {spec.asset_key for spec in specs} <= known
    assert {spec.key.to_user_string(): spec.blocking for spec in specs} == {
        "report_documents:rows_agree": True,
        "raw_messages:source_is_alive": False,
        "conversations:dead_letters_few": True,
        "messages:dead_letters_few": True,
        "feedbacks:dead_letters_few": True,
        "messages:plausible_values": False,
        "messages:prices_recompute": False,
    }


@pytest.mark.parametrize(
    ("dead", "raw", "severity"),
    [
        (0, 0, None),
        (0, 1000, None),
        (1, 10, dg.AssetCheckSeverity.WARN),
        (20, 30, dg.AssetCheckSeverity.WARN),
        (21, 3000, dg.AssetCheckSeverity.WARN),
        (21, 2000, dg.AssetCheckSeverity.ERROR),
        (3, 3, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_dead_letters_warn_and_above_the_limit_are_an_error(
    dead: int, raw: int, severity: dg.AssetCheckSeverity | None
) -> None:
    result = dead_letters_result({"a": (0, 500), "b": (dead, raw)}, DeadLetterLimit())
    assert result.passed == (severity is None)
    if severity is not None:
        assert result.severity is severity
        assert f"b: {dead} of {raw}" in str(result.description)


def numbers(result: dg.AssetCheckResult) -> dict[str, Any]:
    return {name: entry.value for name, entry in result.metadata.items()}


@pytest.mark.parametrize("column", ["message_tokens", "answer_tokens", "latency_s"])
@pytest.mark.parametrize("zero", [0, None])
def test_answered_turns_without_counts_are_a_warning(column: str, zero: int | None) -> None:
    rows = [turn()] * 19 + [turn(**{column: zero})]
    assert plausible_values(messages_frame(rows).collect()).passed  # 5% may lack it
    result = plausible_values(messages_frame([*rows, turn(**{column: zero})]).collect())
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert numbers(result)[f"{column}_zero_or_null"] == 2


def test_failed_unfinished_and_debugger_turns_may_lack_counts() -> None:
    zeros = {"message_tokens": 0, "answer_tokens": None, "latency_s": 0.0}
    rows = [
        turn(**zeros, status="error"),
        turn(**zeros, answer=""),
        turn(**zeros, answer=None),
        turn(**zeros, invoke_from="debugger"),
    ]
    result = plausible_values(messages_frame(rows).collect())
    assert result.passed
    assert numbers(result)["answered_turns"] == 0


def test_values_out_of_range_are_a_warning_with_counts() -> None:
    rows = [turn(message_tokens=-1), turn(total_price=Decimal(10**12)), turn(latency_s=-2.0)]
    result = plausible_values(messages_frame(rows).collect())
    assert not result.passed
    found = numbers(result)
    assert [found[f"{n}_out_of_range"] for n in ("message_tokens", "total_price", "latency_s")] == [
        1, 1, 1,
    ]  # fmt: skip


def priced(total: str, **columns: Any) -> dict[str, Any]:
    """Return a turn of 1000 tokens in and 500 out at 2.5 and 10 USD a million: 0.0075."""
    return turn(
        **{
            "message_tokens": 1000, "message_unit_price": Decimal("2.5"),
            "message_price_unit": Decimal("0.000001"), "answer_tokens": 500,
            "answer_unit_price": Decimal(10), "answer_price_unit": Decimal("0.000001"),
            "total_price": Decimal(total), **columns,
        }
    )  # fmt: skip


def test_prices_that_follow_from_tokens_agree() -> None:
    rows = [priced("0.0075"), priced("0.0075002"), turn(), priced("9", invoke_from="debugger")]
    result = prices_recompute(messages_frame(rows).collect())
    assert result.passed
    assert numbers(result) == {
        "turns_compared": 2,
        "turns_that_differ": 0,
        "turns_without_what_it_takes": 1,
    }


@pytest.mark.parametrize("total", ["0", "0.0075004", "0.0075000", "-0.0075"])
def test_a_price_that_does_not_follow_from_tokens_is_a_warning(total: str) -> None:
    wrong = priced(total, **({"message_tokens": 2000} if total == "0.0075000" else {}))
    result = prices_recompute(messages_frame([priced("0.0075"), wrong]).collect())
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert numbers(result)["turns_that_differ"] == 1


def test_unit_prices_rounded_by_the_source_are_no_difference() -> None:
    # 0.00015 a thousand tokens is stored as 0.0002; the price itself was made from 0.00015.
    rounded = priced(
        "0.00015", message_unit_price=Decimal("0.0002"), message_price_unit=Decimal("0.001"),
        answer_tokens=0,
    )  # fmt: skip
    assert prices_recompute(messages_frame([rounded]).collect()).passed


def test_the_largest_values_are_counted_and_do_not_raise() -> None:
    most = Decimal("9999999999999.9999999")
    row = priced("1", message_tokens=2**63 - 1, message_unit_price=most, message_price_unit=most)
    assert not prices_recompute(messages_frame([row]).collect()).passed


def test_a_day_without_turns_passes() -> None:
    empty = schemas.MESSAGES.empty()
    assert plausible_values(empty).passed
    assert prices_recompute(empty).passed


@pytest.mark.parametrize(
    ("hours", "age_hours", "passed"), [(48, 47, True), (48, 49, False), (0, 1000, True)]
)
def test_a_silent_source_is_told(
    tmp_path: Path,
    hours: int,
    age_hours: int,
    passed: bool,  # noqa: FBT001 - a table of cases
) -> None:
    lake = open_store(tmp_path)
    created = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
    later = created + dt.timedelta(hours=5)
    rows = [("a", created, "{}", "s", "c", "f", False), ("b", later, "{}", "s", "c", "f", True)]
    frame = pl.DataFrame(rows, schema=schemas.RAW_MESSAGES.polars, orient="row")
    lake.write(schemas.RAW_MESSAGES, "2026-11-20", frame)
    lake.write(schemas.RAW_MESSAGES, "2026-11-21", schemas.RAW_MESSAGES.empty())
    result = newest_message(
        lake, dt.timedelta(hours=hours), created + dt.timedelta(hours=age_hours)
    )
    assert (result.passed, result.metadata["age_hours"].value) == (passed, age_hours)
    assert "2026-11-20 12:00:00" in str(result.description)


def test_a_raw_zone_without_messages_is_told(tmp_path: Path) -> None:
    lake = open_store(tmp_path)
    result = newest_message(lake, dt.timedelta(hours=1), dt.datetime.now(dt.UTC))
    assert (result.passed, result.description) == (False, "no message is held")


def test_documents_that_are_too_old_are_not_compared(zones: Zones) -> None:
    zones.store.replace_partition("messages", KEY, [])
    compared = reconcile(zones.lake, zones.store, KEY, COLLECTIONS)
    assert [line.split(":")[1] for line in compared.differences()] == [
        " curated messages = message documents"
    ]
    old = reconcile(zones.lake, zones.store, KEY, COLLECTIONS, documents_expire=True)
    assert old.differences() == []


@pytest.mark.parametrize(
    ("age", "days", "expected"),
    [(400, 0, False), (28, 30, False), (29, 30, True), (400, 30, True), (0, 1, True)],
)
def test_a_day_may_expire_a_day_early(age: int, days: int, expected: bool) -> None:  # noqa: FBT001
    today = dt.date(2026, 11, 30)
    key = (today - dt.timedelta(days=age)).isoformat()
    assert may_expire(key, today, days) is expected
