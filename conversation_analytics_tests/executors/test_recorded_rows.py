"""Rows recorded of what a step reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan

from conversation_analytics.core.lanes import RecordedRows
from conversation_analytics.executors.recorded_rows import RowRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagster._core.execution.plan.step import ExecutionStep

DAYS = dg.DailyPartitionsDefinition("2026-11-01")
WEEKS = dg.WeeklyPartitionsDefinition("2026-11-01", day_offset=1)
RANGE = {
    "dagster/asset_partition_range_start": "2026-11-02",
    "dagster/asset_partition_range_end": "2026-11-05",
}


@dg.asset(partitions_def=DAYS)
def messages() -> None:
    pass


@dg.asset(partitions_def=DAYS)
def conversations() -> None:
    pass


@dg.asset(partitions_def=DAYS, deps=[messages, conversations])
def partials() -> None:
    pass


@dg.asset(partitions_def=WEEKS, deps=[partials])
def week() -> None:
    pass


@dg.asset(deps=[partials])
def everyone() -> None:
    pass


@dg.asset_check(asset=messages)
def plausible() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def record(instance: dg.DagsterInstance, asset: str, rows: Mapping[str | None, int]) -> None:
    for key, count in rows.items():
        instance.report_runless_asset_event(
            dg.AssetMaterialization(asset, partition=key, metadata={"dagster/row_count": count})
        )


def rows_of(
    instance: dg.DagsterInstance, asset: dg.AssetsDefinition, tags: Mapping[str, str]
) -> RecordedRows | None:
    every = [messages, conversations, partials, week, everyone]
    name = asset.key.path[-1]
    definitions = dg.Definitions(every, jobs=[dg.define_asset_job("job", selection=name)])
    job = definitions.resolve_job_def("job")
    run = instance.create_run_for_job(job, tags=tags)
    step = create_execution_plan(job, tags=tags).get_step_by_key(name)
    return RowRecords(instance, run, job).of_step(_executable(step))


def _executable(step: object) -> ExecutionStep:
    from dagster._core.execution.plan.step import ExecutionStep  # noqa: PLC0415

    assert isinstance(step, ExecutionStep)
    return step


def test_the_largest_input_counts_over_the_days_of_the_run(instance: dg.DagsterInstance) -> None:
    record(instance, "messages", {f"2026-11-0{day}": 100 * day for day in range(1, 8)})
    record(instance, "conversations", {f"2026-11-0{day}": 1 for day in range(1, 8)})
    assert rows_of(instance, partials, RANGE) == RecordedRows(1400, 350)
    assert rows_of(instance, partials, {"dagster/partition": "2026-11-03"}) == RecordedRows(
        300, 300
    )


def test_of_a_partition_made_again_the_newest_record_counts(instance: dg.DagsterInstance) -> None:
    for rows in (5, 9, 7):
        record(instance, "messages", {"2026-11-03": rows})
    assert rows_of(instance, partials, {"dagster/partition": "2026-11-03"}) == RecordedRows(7, 7)


def test_a_week_reads_its_days(instance: dg.DagsterInstance) -> None:
    record(instance, "partials", {f"2026-11-{day:02}": 10 for day in range(1, 20)})
    weeks = {
        "dagster/asset_partition_range_start": "2026-11-02",
        "dagster/asset_partition_range_end": "2026-11-09",
    }
    assert rows_of(instance, week, weeks) == RecordedRows(140, 70)


def test_what_has_no_partitions_reads_all_days(instance: dg.DagsterInstance) -> None:
    record(instance, "partials", {f"2026-11-{day:02}": 10 for day in range(1, 20)})
    assert rows_of(instance, everyone, {}) == RecordedRows(190, 190)


def test_what_reads_from_outside_counts_as_the_last_time(instance: dg.DagsterInstance) -> None:
    record(instance, "messages", {"2026-11-01": 50})
    assert rows_of(instance, messages, RANGE) == RecordedRows(200, 50)


def test_a_check_reads_what_it_checks(instance: dg.DagsterInstance) -> None:
    record(instance, "messages", {"2026-11-01": 50, "2026-11-02": 60})
    definitions = dg.Definitions(
        [messages],
        asset_checks=[plausible],
        jobs=[dg.define_asset_job("job", selection=dg.AssetSelection.checks(plausible))],
    )
    job = definitions.resolve_job_def("job")
    [step] = create_execution_plan(job).get_all_steps_in_topo_order()
    records = RowRecords(instance, instance.create_run_for_job(job), job)
    assert records.of_step(_executable(step)) == RecordedRows(110, 110)


def test_nothing_recorded_is_not_nothing_read(instance: dg.DagsterInstance) -> None:
    assert rows_of(instance, partials, RANGE) is None
    assert rows_of(instance, messages, RANGE) is None
    instance.report_runless_asset_event(dg.AssetMaterialization("messages", partition="2026-11-03"))
    assert rows_of(instance, partials, RANGE) is None
