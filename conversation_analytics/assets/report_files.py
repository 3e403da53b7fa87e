"""Reports as files: pages to read, Markdown, CSV, and the pages that lead to them."""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
import polars as pl

from conversation_analytics.assets.day_partials import held_days, read_partials
from conversation_analytics.assets.lineage import (
    FILES,
    USER_FILES,
    USERS_PAGE,
    files_inputs_path,
)
from conversation_analytics.assets.partitions import DailyChain, lake_in, lake_ins
from conversation_analytics.assets.week_topics import read_topic_changes
from conversation_analytics.core.cohorts import USER_COHORTS, USER_GROWTH
from conversation_analytics.core.daily_report import daily_report as report_of_day
from conversation_analytics.core.engine import Engine
from conversation_analytics.core.hourly import hourly_turns, hours_of_week
from conversation_analytics.core.metrics import dimension_values
from conversation_analytics.core.model_performance import MODEL_PERFORMANCE
from conversation_analytics.core.partitions import Partitioned
from conversation_analytics.core.period_report import PERIOD_REPORTS
from conversation_analytics.core.periods import NAMES, Period, Span
from conversation_analytics.core.schemas import CATEGORY_PARTIALS, DAILY_PARTIALS, DAILY_REPORT
from conversation_analytics.core.topic_tables import TOPICS
from conversation_analytics.core.user_analytics import USER_ANALYTICS
from conversation_analytics.core.user_spread import share_of_the_busiest, user_spread
from conversation_analytics.io_managers.read_log import ReadLog, attempt_of
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.resources.report_pages import lead_to


def daily_report_files(chain: DailyChain) -> dg.AssetsDefinition:
    """Return the asset of the files of a day."""
    zone = chain.settings.analytics_timezone.key

    @dg.asset(
        name="daily_report_files",
        group_name="reports",
        ins=lake_ins(DAILY_REPORT, DAILY_PARTIALS, CATEGORY_PARTIALS, MODEL_PERFORMANCE),
        kinds={"html", "csv"},
        description="The daily report as a self-contained HTML page, Markdown and CSV, and a CSV "
        "of all conversations of the day, below `reports/daily/` of the lake; "
        "`reports/index.html` lists the days.",
        **chain.asset,
    )
    def files(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        reads: dg.ResourceParam[ReadLog],
        engine: dg.ResourceParam[Engine],
        daily_report: Partitioned[pl.DataFrame],
        daily_partials: Partitioned[pl.DataFrame],
        category_partials: Partitioned[pl.DataFrame],
        model_performance: Partitioned[pl.DataFrame],
    ) -> None:
        with _written(context, lake, reads, "daily") as write:
            for key in daily_report:
                write(
                    key,
                    texts_of_day(
                        key, daily_report[key], daily_partials[key], category_partials[key],
                        model_performance[key], zone, engine,
                    ),
                )  # fmt: skip

    return files


def texts_of_day(
    key: str,
    report: pl.DataFrame,
    partials: pl.DataFrame,
    categories: pl.DataFrame,
    models: pl.DataFrame,
    zone: str,
    engine: Engine,
) -> dict[str, str]:
    """Return the files of a day, by the endings of their names.

    Args:
        key: of the day.
        report: its `daily_report`.
        partials: its `daily_partials`.
        categories: its `category_partials`.
        models: its `model_performance`.
        zone: IANA name of the analytics time zone.
        engine: computes the figures of labels.
    """
    from conversation_analytics.reports import conversations, daily  # noqa: PLC0415 - import budget

    talks = partials.filter(pl.col("kind") == "conversations")
    labels = engine.collect(dimension_values(pl.concat([partials, categories]).lazy()))
    page = daily.daily_html(
        report, generated_for=dt.date.fromisoformat(key), hourly=hourly_turns(partials),
        models=models, labels=labels, conversations=talks, zone=zone,
    )  # fmt: skip
    return {
        "html": page,
        "md": daily.daily_markdown(report),
        "csv": daily.daily_csv(report),
        "conversations.csv": conversations.conversations_csv(talks),
    }


def period_report_files(
    chain: DailyChain, period: Period, common: Mapping[str, Any]
) -> dg.AssetsDefinition:
    """Return the asset of the files of a week or month.

    Args:
        chain: of the days.
        period: week or month.
        common: arguments of every asset of the period.
    """
    folder, schema = NAMES[period], PERIOD_REPORTS[period]
    own_days = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    both_weeks = dg.TimeWindowPartitionMapping(
        start_offset=-1, allow_nonexistent_upstream_partitions=True
    )
    of_weeks = period is Period.WEEK

    @dg.asset(
        name=f"{folder}_report_files",
        group_name="reports",
        ins={schema.name: lake_in(schema)},
        deps=[
            *(
                dg.AssetDep(table.name, partition_mapping=own_days)
                for table in (DAILY_PARTIALS, CATEGORY_PARTIALS)
            ),
            *([dg.AssetDep(TOPICS.name, partition_mapping=both_weeks)] if of_weeks else []),
        ],
        kinds={"html", "csv"},
        description=f"The report of the {period.value} as a self-contained HTML page, Markdown and "
        f"CSV below `reports/{folder}/` of the lake, named by its first day."
        + (" With its topics beside the week before, if they have been found." if of_weeks else ""),
        **common,
    )
    def files(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        reads: dg.ResourceParam[ReadLog],
        engine: dg.ResourceParam[Engine],
        **reports: Partitioned[pl.DataFrame],
    ) -> None:
        from conversation_analytics.reports import period as pages  # noqa: PLC0415 - import budget

        attempt = attempt_of(context.get_step_execution_context())
        settings = chain.settings
        held = held_days(lake, settings, dt.datetime.now(settings.analytics_timezone).date())
        with _written(context, lake, reads, folder) as write:
            for key in sorted(context.partition_keys):
                start = dt.date.fromisoformat(key)
                days, hours = [DAILY_REPORT.empty()], [DAILY_PARTIALS.empty()]
                own = held.those(period.days_of(start))
                read = read_partials(lake, reads, engine, attempt, key, held, own)
                for day, partials in zip(own, read, strict=True):
                    days.append(report_of_day(partials.lazy(), day, engine))
                    hours.append(partials.filter(pl.col("kind") == "hours"))
                topics = (
                    read_topic_changes(lake, reads, attempt, start, chain.settings)
                    if of_weeks
                    else None
                )
                shown = pages.PeriodReport(
                    Span.of(period, start), reports[schema.name][key], pl.concat(days),
                    hours_of_week(pl.concat(hours)), topics=None if topics is None else topics[1],
                )  # fmt: skip
                write(
                    key,
                    {
                        "html": pages.period_html(shown),
                        "md": pages.period_markdown(shown),
                        "csv": pages.period_csv(shown.report),
                    },
                )

    return files


def user_report_files() -> dg.AssetsDefinition:
    """Return the asset of the page of users."""

    @dg.asset(
        name=USER_FILES,
        group_name="reports",
        ins=lake_ins(USER_ANALYTICS, USER_GROWTH, USER_COHORTS),
        kinds={"html", "csv"},
        description="Growth, retention and how use is spread over users, as a self-contained HTML "
        "page, Markdown and CSV below `reports/users/` of the lake. No user is named in them.",
    )
    def files(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        reads: dg.ResourceParam[ReadLog],
        user_analytics: pl.DataFrame,
        user_growth: pl.DataFrame,
        user_cohorts: pl.DataFrame,
    ) -> None:
        from conversation_analytics.reports import users  # noqa: PLC0415 - import budget
        from conversation_analytics.reports.drawings import as_markdown  # noqa: PLC0415

        shown = users.UsersReport(
            user_growth, user_cohorts, user_spread(user_analytics),
            share_of_the_busiest(user_analytics),
        )  # fmt: skip
        growth, cohorts = users.CSV_FILES
        summary = users.users_markdown(shown)
        texts = {
            f"{USERS_PAGE}.html": users.users_html(shown), "users.md": summary,
            growth: users.growth_csv(user_growth), cohorts: users.cohorts_csv(user_cohorts),
        }  # fmt: skip
        folder = FILES[USER_FILES]
        attempt = attempt_of(context.get_step_execution_context())
        with retry_if_transient():
            paths = {
                name: str(lake.put_report(f"{folder}/{name}", text.encode()))
                for name, text in texts.items()
            }
            lead_to(lake, [])
            inputs = json.dumps(reads.inputs(attempt, None), sort_keys=True).encode()
            lake.put_report(files_inputs_path(folder, USERS_PAGE), inputs)
        plot = as_markdown("Users", users.users_drawings(shown))
        context.add_asset_metadata(
            {
                "html": dg.MetadataValue.path(paths[f"{USERS_PAGE}.html"]),
                "summary": dg.MetadataValue.md(summary),
                "plot": dg.MetadataValue.md(plot),
            }
        )

    return files


@contextmanager
def _written(
    context: dg.AssetExecutionContext, lake: Lake, reads: ReadLog, folder: str
) -> Iterator[Callable[[str, Mapping[str, str]], None]]:
    """Give a function that writes the files of a partition: texts by the ending of their names.

    What the files were made of is noted last, after the pages that lead to them: a step that is
    stopped before leaves partitions that count as missing, and are made again.
    """
    attempt = attempt_of(context.get_step_execution_context())
    keys = []

    def write(key: str, texts: Mapping[str, str]) -> None:
        with retry_if_transient():
            written = {
                ending: str(lake.put_report(f"{folder}/{key}.{ending}", text.encode()))
                for ending, text in texts.items()
            }
        keys.append(key)
        paths = {name: dg.MetadataValue.path(at) for name, at in written.items() if name != "md"}
        summary = dg.MetadataValue.md(texts["md"])
        context.add_asset_metadata({**paths, "summary": summary}, partition_key=key)

    yield write
    with retry_if_transient():
        lead_to(lake, [f"{folder}/{key}.html" for key in keys])
        for key in keys:
            inputs = json.dumps(reads.inputs(attempt, key), sort_keys=True).encode()
            lake.put_report(files_inputs_path(folder, key), inputs)
