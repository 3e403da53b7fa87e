from decimal import Decimal

from polars.testing import assert_frame_equal

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.metrics import METRICS
from conversation_analytics.core.schemas import DAILY_PARTIALS, DAILY_REPORT
from conversation_analytics_tests.core.metric_rows import (
    DAY,
    conversation,
    partials_of,
    turn,
)
from conversation_analytics_tests.engines import STREAMING, Noting


def test_a_day_without_rows_has_zero_counts_and_unknown_rates() -> None:
    report = daily_report(DAILY_PARTIALS.empty().lazy(), DAY, engine=CPU)
    values = dict(zip(report["metric"], report["value"], strict=True))
    assert values.keys() == {metric.name for metric in METRICS}
    assert values["turns"] == values["active_users"] == values["errors"] == Decimal(0)
    assert values["message_tokens"] == Decimal(0)
    unknown = ("error_rate", "cost", "cost_per_1k_tokens", "latency_p95", "output_speed")
    assert all(values[name] is None for name in unknown)
    assert report["app_id"].null_count() == report.height


def test_the_report_has_schema_and_order_of_the_lake_table() -> None:
    messages = [turn(app_id=app, currency=money) for app in ("b", "a") for money in ("USD", "EUR")]
    report = daily_report(partials_of([conversation()], messages), DAY, engine=CPU)
    assert report.schema == DAILY_REPORT.polars
    assert_frame_equal(report, DAILY_REPORT.conform(report))
    assert report["day"].unique().to_list() == [DAY]
    assert report.select(DAILY_REPORT.sort_by).is_unique().all()


def test_the_caller_chooses_the_engine() -> None:
    engine = Noting(STREAMING)
    partials = partials_of([], [turn(), turn()])
    report = daily_report(partials, DAY, engine)
    assert len(engine.plans) == 1
    assert_frame_equal(report, daily_report(partials, DAY, CPU), check_exact=True)
