"""Weekly and monthly reports: merges of the daily partials of their days."""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from conversation_analytics.assets.day_partials import held_days, input_name, read_partials
from conversation_analytics.assets.lineage import stored_day
from conversation_analytics.assets.partitions import DailyChain, computed_by, lake_in, placed_in
from conversation_analytics.assets.report_files import period_report_files
from conversation_analytics.assets.report_types import report_frame_type
from conversation_analytics.assets.retention import first_whole
from conversation_analytics.assets.week_topics import topics_told
from conversation_analytics.core.documents import report_documents
from conversation_analytics.core.engine import Engine
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.hourly import hours_of_week
from conversation_analytics.core.lanes import PLANS
from conversation_analytics.core.partials import partials_of_days
from conversation_analytics.core.partitions import Partitioned
from conversation_analytics.core.period_report import PERIOD_REPORTS, period_report
from conversation_analytics.core.periods import NAMES, Period, Span
from conversation_analytics.core.schemas import CATEGORY_PARTIALS, DAILY_PARTIALS, TableSchema
from conversation_analytics.core.staleness import StaleAsset, StoredPartition, stale_assets
from conversation_analytics.core.topic_tables import TOPICS
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.io_managers.lake_io import begin_outputs, column_schema
from conversation_analytics.io_managers.read_log import ReadLog, attempt_of
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

PERIODS_PER_RUN = 12
_logger = logging.getLogger("conversation_analytics.periods")


@dataclass(frozen=True, slots=True)
class StalePeriod:
    """A week or month with assets to make again, upstream first."""

    period: Period
    start: dt.date
    assets: tuple[StaleAsset, ...]

    @property
    def key(self) -> str:
        """The partition key."""
        return self.start.isoformat()

    @property
    def label(self) -> str:
        """What people call it."""
        return self.period.label(self.start)


def period_partitions(chain: DailyChain, period: Period) -> dg.TimeWindowPartitionsDefinition:
    """Return the weeks or months of the chain's days, the current one included.

    The first one is that of the first day, though some of its days may have no partition.
    """
    start = period.start_of(chain.settings.analytics_start_date).isoformat()
    zone = chain.settings.analytics_timezone.key
    if period is Period.WEEK:
        return dg.WeeklyPartitionsDefinition(start, day_offset=1, timezone=zone, end_offset=1)
    return dg.MonthlyPartitionsDefinition(start, timezone=zone, end_offset=1)


def period_assets(chain: DailyChain, period: Period) -> list[dg.AssetsDefinition]:
    """Return the report of weeks or months, its files and its documents."""
    common: dict[str, Any] = {
        "partitions_def": period_partitions(chain, period),
        "backfill_policy": dg.BackfillPolicy.multi_run(PERIODS_PER_RUN),
    }
    return [
        _report(chain.settings, period, common),
        period_report_files(chain, period, common),
        _documents(chain, period, common),
    ]


def stale_periods(
    lake: Lake,
    documents: DocumentStore,
    settings: Settings,
    period: Period,
    days: Iterable[dt.date],
    today: dt.date,
) -> tuple[StalePeriod, ...]:
    """Return the periods of `days` with a report that is missing or of other days than are held.

    Args:
        lake: the lake.
        documents: the document store.
        settings: of this process.
        period: week or month.
        days: days that may have changed. A period without partials of its own is left out, and
            so is one with partials of another version: their days are made again first. Where
            they never are, because rows went by age, a report that is held stays as it is.
        today: in the analytics time zone.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    held = held_days(lake, settings, today)
    whole = first_whole(settings, today) or dt.date.min
    with_topics = frozenset(lake.keys(TOPICS) if period is Period.WEEK else ())
    touched = {one for day in held.those(days) for one in _told_by(period, day)}
    digests: dict[str, StoredPartition] = {}
    stale = []
    waiting: list[str] = []
    kept: list[str] = []
    for start in sorted(touched):
        own, before = period.days_of(start), period.days_of(period.before(start))
        if not held.those(own):
            continue
        inputs = held.inputs([*before, *own])
        topics = {
            input_name(TOPICS, week): StoredPartition(sha256, {})
            for week, sha256 in topics_told(lake, start, with_topics).items()
        }
        for input_, (table, day) in inputs.items():
            if input_ not in digests:
                digests[input_] = _partials(lake, table, day)
        if any(digests[input_].outdated for input_ in inputs):
            waiting.append(period.label(start))
            continue
        report, name = PERIOD_REPORTS[period].name, NAMES[period]
        documents_of = f"{name}_report_documents"
        graph = {
            report: tuple(inputs),
            f"{name}_report_files": (report, *held.inputs(own), *topics),
            documents_of: (report,),
        }
        stored = stored_day(graph, lake, documents, start.isoformat())
        found_of = stored[report]
        if start < whole and held.lack(own) and found_of is not None and not found_of.outdated:
            kept.append(period.label(start))  # it tells of days that nothing can tell of again
            continue
        beside = {report: computed_by(), documents_of: placed_in(settings, documents_of)}
        if found := stale_assets(digests | topics | stored, graph, beside):
            stale.append(StalePeriod(period, start, found))
    if kept:
        _logger.warning(
            "kept as it is period=%s reports=%s: days of another version, whose rows are gone",
            period.value, ",".join(kept),
        )  # fmt: skip
    if waiting:
        _logger.warning(
            "left out period=%s count=%d first=%s: days of another version, which "
            "`conversation-analytics repair` makes again",
            period.value, len(waiting), waiting[0],
        )  # fmt: skip
    return tuple(stale)


def _partials(lake: Lake, table: TableSchema, day: str) -> StoredPartition:
    try:
        info = lake.stat(table, day)
    except OutdatedPartitionError:
        return StoredPartition(None, {}, outdated=True)
    return StoredPartition(info.sha256, info.inputs)


def _told_by(period: Period, day: dt.date) -> tuple[dt.date, dt.date]:
    """Return the periods whose reports tell of a day: its own, and the next as the one before."""
    start = period.start_of(day)
    return start, period.after(start)


def _report(settings: Settings, period: Period, common: dict[str, Any]) -> dg.AssetsDefinition:
    schema = PERIOD_REPORTS[period]

    @dg.asset(
        name=schema.name,
        group_name="reports",
        op_tags=PLANS,
        io_manager_key="lake_io",
        deps=[
            dg.AssetDep(
                table.name,
                partition_mapping=dg.TimeWindowPartitionMapping(
                    start_offset=-1, allow_nonexistent_upstream_partitions=True
                ),
            )
            for table in (DAILY_PARTIALS, CATEGORY_PARTIALS)
        ],
        kinds={"pandas", "parquet"},
        dagster_type=report_frame_type(schema),
        description=f"Every metric of the registry by {period.value} and app, over all apps, and "
        f"by model, provider, language, category and dimension, beside the {period.value} before. "
        "Merged from daily partials; days without partials add nothing, and are told.",
        metadata={"dagster/column_schema": column_schema(schema)},
        **common,
    )
    def report(  # type: ignore[no-untyped-def]  # noqa: ANN202 - pandas is imported only where a report is made
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        reads: dg.ResourceParam[ReadLog],
        engine: dg.ResourceParam[Engine],
    ):
        from conversation_analytics.reports.drawings import as_markdown  # noqa: PLC0415 - budget
        from conversation_analytics.reports.period import period_drawings  # noqa: PLC0415

        step = context.get_step_execution_context()
        attempt = attempt_of(step)
        begin_outputs(step, lake, reads)
        today = dt.datetime.now(settings.analytics_timezone).date()
        held = held_days(lake, settings, today)

        def read(
            key: str, days: Iterable[dt.date]
        ) -> tuple[pl.LazyFrame, dict[dt.date, pl.DataFrame]]:
            """Return the partials of the days that are held, and the hours of each."""
            wanted = held.those(days)
            hours: dict[dt.date, pl.DataFrame] = {}

            def noted() -> Iterator[pl.DataFrame]:
                found = read_partials(lake, reads, engine, attempt, key, held, wanted)
                for day, partials in zip(wanted, found, strict=True):
                    hours[day] = partials.filter(pl.col("kind") == "hours")
                    yield partials

            return partials_of_days(noted()), hours

        reports = []
        for key in sorted(context.partition_keys):
            start = dt.date.fromisoformat(key)
            span = Span.of(period, start)
            partials, hours = read(key, span.days)
            before, hours_before = read(key, span.before().days)
            report = period_report(
                partials, before, period, start, engine,
                days=len(hours), days_before=len(hours_before),
            )  # fmt: skip
            reads.add_beside(attempt, key, computed_by())
            reports.append(report)
            of_week = hours_of_week(pl.concat([DAILY_PARTIALS.empty(), *hours.values()]))
            turns = {day: int(of_day["turns"].sum()) for day, of_day in hours.items()}
            drawings = period_drawings(span, report, turns, of_week)
            plot = as_markdown(f"{period.value.title()}ly report {period.label(start)}", drawings)
            context.add_asset_metadata(
                {
                    "period": period.label(start),
                    "days": f"{len(hours)} of {len(span.days)}",
                    "plot": dg.MetadataValue.md(plot),
                },
                partition_key=key,
            )
        return pl.concat(reports).to_pandas()

    return report


def _documents(chain: DailyChain, period: Period, common: dict[str, Any]) -> dg.AssetsDefinition:
    name = NAMES[period]

    @dg.asset(
        name=f"{name}_report_documents",
        group_name="documents",
        io_manager_key="document_io",
        ins={"reports": lake_in(PERIOD_REPORTS[period])},
        kinds={"mongodb" if chain.settings.mongodb_uri else "sqlite"},
        dagster_type=dg.Any,
        description=f"One document per {period.value} and app, and one over all apps, with every "
        "metric, its value before, and those of models and dimensions.",
        metadata={
            "collection": chain.settings.mongodb_analytics_reports_collection,
            "documents": "replace",
            "period": name,
        },
        **common,
    )
    def documents(reports: Partitioned[pl.DataFrame]) -> Partitioned[list[dict[str, Any]]]:
        return reports.map(lambda key, frame: report_documents(frame, key, name))

    return documents
