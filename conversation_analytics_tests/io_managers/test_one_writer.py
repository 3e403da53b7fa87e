"""A run that is overtaken between reading its source and writing begins again by itself."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd  # noqa: TC002 (Dagster reads the annotation)
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.core.engine import CPU
from conversation_analytics.core.partitions import Partitioned
from conversation_analytics.core.schemas import (
    DAILY_REPORT,
    MESSAGES,
    RAW_MESSAGES,
    UNDATED_MESSAGES,
)
from conversation_analytics.documents.sqlite import SqliteStore
from conversation_analytics.documents.store import SqliteConfig
from conversation_analytics.io_managers import retries
from conversation_analytics.io_managers.document_io import DocumentIOManager
from conversation_analytics.io_managers.lake_io import LakeIOManager
from conversation_analytics.io_managers.read_log import ReadLog
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.store import Lake
from conversation_analytics_tests.lake.frames import message_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAY = "2026-11-22"
DAYS = dg.DailyPartitionsDefinition("2026-11-20")


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr(retries, "WAIT_S", 0.0)
    return Lake(LocalObjects(tmp_path / "lake"))


def run(
    asset: dg.AssetsDefinition,
    lake: Lake,
    store: SqliteStore | None = None,
    source: str = "raw_messages",
    key: str | None = DAY,
) -> bool:
    reads = ReadLog()
    resources: dict[str, Any] = {
        "lake_io": dg.IOManagerDefinition.hardcoded_io_manager(
            LakeIOManager(lake, 2, reads, CPU, lambda *_: None)
        )
    }
    if store is not None:
        resources["document_io"] = dg.IOManagerDefinition.hardcoded_io_manager(
            DocumentIOManager(store, (), reads, CPU, lambda *_: None)
        )
    raw = dg.AssetSpec(source, partitions_def=DAYS if key else None)
    return dg.materialize(
        [asset, raw], partition_key=key, resources=resources, raise_on_error=False
    ).success


def overtaking(times: int, other_run: Callable[[], object]) -> Callable[[], str]:
    """Give what is read from the source; the first times another run comes in between."""
    reads: list[str] = []

    def read() -> str:
        reads.append(f"read{len(reads)}")
        if len(reads) <= times:
            other_run()
        return reads[-1]

    return read


@pytest.mark.parametrize(
    ("times", "kept"), [(0, "read0"), (1, "read1"), (2, "read2"), (3, "other")]
)
def test_a_lazy_partition_is_computed_again(lake: Lake, times: int, kept: str) -> None:
    count = [0]

    def other_run() -> None:
        count[0] += 1  # other rows each time, or nothing would be replaced
        lake.write(MESSAGES, DAY, message_rows(9 + count[0], version="other"))

    read = overtaking(times, other_run)

    @dg.asset(name="messages", partitions_def=DAYS, io_manager_key="lake_io", dagster_type=dg.Any)
    def messages() -> Partitioned[pl.DataFrame]:
        return Partitioned((DAY,), lambda _: message_rows(9, version=read()))

    assert run(messages, lake) == (kept != "other")
    expected = message_rows(9 + count[0] if kept == "other" else 9, version=kept)
    assert_frame_equal(lake.read(MESSAGES, DAY), expected)


def test_a_frame_made_of_an_input_counts_from_before_the_input_was_read(lake: Lake) -> None:
    lake.write(RAW_MESSAGES, DAY, RAW_MESSAGES.empty())
    read = overtaking(1, lambda: lake.write(MESSAGES, DAY, message_rows(9, version="other")))

    @dg.asset(
        name="messages", partitions_def=DAYS, io_manager_key="lake_io",
        ins={"raw": dg.AssetIn("raw_messages", input_manager_key="lake_io", dagster_type=dg.Any)},
    )  # fmt: skip
    def messages(raw: Partitioned[pl.DataFrame]) -> pl.DataFrame:
        assert raw[DAY].height == 0
        return message_rows(9, version=read())

    assert run(messages, lake)
    assert_frame_equal(lake.read(MESSAGES, DAY), message_rows(9, version="read1"))


@pytest.mark.parametrize(("times", "kept"), [(0, "read0"), (1, "read1"), (3, "other")])
def test_documents_are_made_again(lake: Lake, tmp_path: Path, times: int, kept: str) -> None:
    store, other = (SqliteStore(SqliteConfig(tmp_path / "documents.sqlite")) for _ in range(2))
    count = [0]

    def other_run() -> None:
        count[0] += 1
        other.replace_partition("messages", DAY, [{"_id": "m", "by": "other", "n": count[0]}])

    read = overtaking(times, other_run)

    @dg.asset(
        partitions_def=DAYS, io_manager_key="document_io", dagster_type=dg.Any,
        metadata={"collection": "messages", "documents": "replace"},
    )  # fmt: skip
    def message_documents() -> Partitioned[list[dict[str, Any]]]:
        return Partitioned((DAY,), lambda _: [{"_id": "m", "by": read()}])

    assert run(message_documents, lake, store) == (kept != "other")
    assert [one["by"] for one in store.find("messages", {})] == [kept]
    store.close()
    other.close()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """Give the store of a run and that of another one."""
    config = SqliteConfig(tmp_path / "documents.sqlite")
    with closing(SqliteStore(config)) as store, closing(SqliteStore(config)) as other:
        yield store, other


WITH_TEXT = [{"_id": "m1", "text": "theirs"}, {"_id": "m2", "text": "of others"}]


def test_documents_of_an_asset_without_partitions_count_from_before_its_input_was_read(
    lake: Lake, stores: tuple[SqliteStore, SqliteStore]
) -> None:
    store, other = stores
    lake.write(UNDATED_MESSAGES, None, UNDATED_MESSAGES.empty())
    store.replace_partition("messages", "undated", WITH_TEXT)
    read = overtaking(1, lambda: other.replace_partition("messages", "undated", WITH_TEXT[1:]))

    @dg.asset(
        io_manager_key="document_io", dagster_type=dg.Any,
        metadata={"collection": "messages", "documents": "replace"},
        ins={"rows": dg.AssetIn(
            UNDATED_MESSAGES.name, input_manager_key="lake_io", dagster_type=dg.Any
        )},
    )  # fmt: skip
    def undated_message_documents(rows: pl.DataFrame) -> list[dict[str, Any]]:
        assert rows.height == 0  # it has been read
        return WITH_TEXT if read() == "read0" else WITH_TEXT[1:]

    assert run(undated_message_documents, lake, store, UNDATED_MESSAGES.name, None)
    assert read() == "read2"  # the step was repeated, once
    assert store.find("messages", {}) == WITH_TEXT[1:]


def test_documents_of_a_day_that_are_not_made_lazily_count_from_before_the_input_was_read(
    lake: Lake, stores: tuple[SqliteStore, SqliteStore]
) -> None:
    store, other = stores
    lake.write(RAW_MESSAGES, DAY, RAW_MESSAGES.empty())
    store.replace_partition("messages", f"week/{DAY}", WITH_TEXT)
    read = overtaking(1, lambda: other.supersede("messages", f"week/{DAY}"))

    @dg.asset(
        partitions_def=DAYS, io_manager_key="document_io", dagster_type=dg.Any,
        metadata={"collection": "messages", "documents": "replace", "period": "week"},
        ins={"raw": dg.AssetIn("raw_messages", input_manager_key="lake_io", dagster_type=dg.Any)},
    )  # fmt: skip
    def message_documents(raw: Partitioned[pl.DataFrame]) -> list[dict[str, Any]]:
        assert raw[DAY].height == 0
        return [{"_id": "m1", "text": read()}]

    assert run(message_documents, lake, store)
    assert store.find("messages", {}) == [{"_id": "m1", "text": "read1"}]


def test_rows_of_a_day_outside_the_run_are_told_not_dropped(lake: Lake) -> None:
    columns = dict.fromkeys(DAILY_REPORT.polars)
    rows = [{**columns, "day": dt.date(2026, 11, day)} for day in (21, 22)]

    @dg.asset(name="daily_report", partitions_def=DAYS, io_manager_key="lake_io")
    def daily_report() -> pd.DataFrame:
        return pl.DataFrame(rows, schema=DAILY_REPORT.polars).to_pandas()

    assert not run(daily_report, lake)
    assert not lake.exists(DAILY_REPORT, DAY)
