"""Metrics zone and reports: mergeable partials, and the daily reports made of them."""

import datetime as dt

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import (
    DailyChain,
    computed_by,
    computed_with,
    lake_ins,
    partial_options,
)
from conversation_analytics.assets.report_files import daily_report_files
from conversation_analytics.assets.report_types import report_frame_type
from conversation_analytics.core import daily_report as report_core
from conversation_analytics.core import schemas
from conversation_analytics.core.engine import Engine
from conversation_analytics.core.hourly import hourly_turns
from conversation_analytics.core.lanes import PLANS
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.model_performance import MODEL_PERFORMANCE
from conversation_analytics.core.model_performance import model_performance as performance_of
from conversation_analytics.core.partials import daily_partials as partials_of
from conversation_analytics.core.partitions import Described, Partitioned
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.zones import DAILY
from conversation_analytics.io_managers.lake_io import column_schema
from conversation_analytics.io_managers.read_log import ReadLog, attempt_of


def report_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return partials, the daily report and its HTML, Markdown and CSV files."""
    options = partial_options(chain.settings)

    @dg.asset(
        name=schemas.DAILY_PARTIALS.name,
        group_name="metrics",
        op_tags=PLANS,
        io_manager_key="lake_io",
        ins=lake_ins(
            *(DAILY[table].curated for table in chain.settings.source_tables),
            MESSAGE_LANGUAGE,
            planned=True,
        ),
        kinds={"polars", "parquet"},
        dagster_type=dg.Any,
        description="Counts, user-days and latency sketches of a day. Every report is a merge of "
        "these, never a scan of messages.",
        metadata={"dagster/column_schema": column_schema(schemas.DAILY_PARTIALS)},
        **chain.asset,
    )
    def daily_partials(
        engine: dg.ResourceParam[Engine],
        **days: Partitioned[pl.LazyFrame],
    ) -> Partitioned[Described[pl.DataFrame]]:
        messages, feedbacks = days["messages"], days.get("feedbacks")
        languages = days[MESSAGE_LANGUAGE.name]

        def partials(key: str, conversations: pl.LazyFrame) -> Described[pl.DataFrame]:
            ratings = None if feedbacks is None else feedbacks[key]
            turns = messages[key]
            plan = partials_of(
                conversations, turns, ratings, day=dt.date.fromisoformat(key),
                rephrases=rephrased_turns(turns, engine).lazy(), languages=languages[key],
                options=options,
            )  # fmt: skip
            return Described(engine.collect(plan), {}, computed_with(options))

        return days["conversations"].map(partials)

    @dg.asset(
        name=schemas.DAILY_REPORT.name,
        group_name="reports",
        op_tags=PLANS,
        io_manager_key="lake_io",
        ins=lake_ins(schemas.DAILY_PARTIALS),
        kinds={"pandas", "parquet"},
        dagster_type=report_frame_type(schemas.DAILY_REPORT),
        description="Every metric of the registry by day and app, and over all apps. The plot of "
        "each day is in the materialization's metadata.",
        metadata={"dagster/column_schema": column_schema(schemas.DAILY_REPORT)},
        **chain.asset,
    )
    def daily_report(  # type: ignore[no-untyped-def]  # noqa: ANN202 - pandas is imported only where a report is made
        context: dg.AssetExecutionContext,
        reads: dg.ResourceParam[ReadLog],
        engine: dg.ResourceParam[Engine],
        daily_partials: Partitioned[pl.DataFrame],
    ):
        from conversation_analytics.reports.daily import daily_drawings  # noqa: PLC0415 - budget
        from conversation_analytics.reports.drawings import as_markdown  # noqa: PLC0415

        attempt = attempt_of(context.get_step_execution_context())
        days = []
        for key in daily_partials:
            partials = daily_partials[key]
            report = report_core.daily_report(partials.lazy(), dt.date.fromisoformat(key), engine)
            plot = as_markdown(
                f"Daily report {key}", daily_drawings(report, hourly_turns(partials))
            )
            context.add_asset_metadata(
                {
                    "plot": dg.MetadataValue.md(plot),
                    **_headline(report),
                },
                partition_key=key,
            )
            reads.add_beside(attempt, key, computed_by())
            days.append(report)
        return pl.concat(days).to_pandas()

    @dg.asset(
        name=MODEL_PERFORMANCE.name,
        group_name="reports",
        op_tags=PLANS,
        io_manager_key="lake_io",
        ins=lake_ins(schemas.DAILY_PARTIALS),
        kinds={"polars", "parquet"},
        dagster_type=dg.Any,
        description=f"{MODEL_PERFORMANCE.description} Volume, latency, speed, cost, errors, "
        "regenerations and satisfaction.",
        metadata={"dagster/column_schema": column_schema(MODEL_PERFORMANCE)},
        **chain.asset,
    )
    def model_performance(
        engine: dg.ResourceParam[Engine],
        daily_partials: Partitioned[pl.DataFrame],
    ) -> Partitioned[Described[pl.DataFrame]]:
        def performance(key: str, partials: pl.DataFrame) -> Described[pl.DataFrame]:
            frame = performance_of(partials.lazy(), dt.date.fromisoformat(key), engine)
            return Described(frame, {}, computed_by())

        return daily_partials.map(performance)

    return [daily_partials, daily_report, model_performance, daily_report_files(chain)]


def _headline(report: pl.DataFrame) -> dict[str, float]:
    overall = report.filter(pl.col("app_id").is_null() & pl.col("currency").is_null())
    values = dict(zip(overall["metric"], overall["value"], strict=True))
    return {
        name: float(values[name])
        for name in ("turns", "active_users", "conversations_new", "error_rate")
        if values.get(name) is not None
    }
