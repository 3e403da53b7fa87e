"""dagster-pandas types of the report frames: the UI shows their schema and violations."""

from typing import Any

import dagster as dg

from conversation_analytics.core.metrics import METRICS, MetricType
from conversation_analytics.core.schemas import DAILY_REPORT
from conversation_analytics.io_managers.lake_io import column_schema


def report_frame_type() -> dg.DagsterType:
    """Return the type of `daily_report`.

    Columns as `schemas.DAILY_REPORT`; `metric` is of the registry, `value` is not negative, money
    aside: what the source has as negative price is summed up and told, and takes no day with it.
    dagster-pandas and pandas are imported when a frame is checked, not when definitions load.
    """
    return dg.DagsterType(
        name="DailyReportFrame",
        description="One metric of one app on one day (pandas.DataFrame).",
        type_check_fn=_check,
        metadata={"dagster/column_schema": column_schema(DAILY_REPORT)},
    )


def _check(context: dg.TypeCheckContext, value: Any) -> dg.TypeCheck:
    from dagster_pandas import PandasColumn, create_dagster_pandas_dataframe_type  # noqa: PLC0415
    from dagster_pandas.constraints import (  # noqa: PLC0415
        CategoricalColumnConstraint,
        ColumnConstraint,
        ColumnConstraintViolationException,
        NonNullableColumnConstraint,
    )

    money = [metric.name for metric in METRICS if metric.type is MetricType.MONEY]

    class NotNegative(ColumnConstraint):
        """Values are null or at least 0, unless they are money."""

        def __init__(self) -> None:
            super().__init__(  # type: ignore[no-untyped-call]
                error_description="No value below 0, money aside.",
                markdown_description="values are at least 0, money aside",
            )

        def validate(self, dataframe: Any, column_name: str) -> None:
            known = dataframe[dataframe[column_name].notna()]
            wrong = known[(known[column_name] < 0) & ~known["metric"].isin(money)]
            if len(wrong):
                raise ColumnConstraintViolationException(
                    constraint_name=self.name,
                    constraint_description=self.error_description,
                    column_name=column_name,
                    offending_rows=wrong,
                )

    registered = CategoricalColumnConstraint(
        {metric.name for metric in METRICS}, ignore_missing_vals=False
    )
    frame_type = create_dagster_pandas_dataframe_type(
        name="DailyReportFrameCheck",
        columns=[
            PandasColumn("day", constraints=[NonNullableColumnConstraint()]),
            PandasColumn("app_id"),
            PandasColumn("metric", constraints=[NonNullableColumnConstraint(), registered]),
            PandasColumn("currency"),
            PandasColumn("unit", constraints=[NonNullableColumnConstraint()]),
            PandasColumn("value", constraints=[NotNegative()]),
        ],
    )
    return frame_type.type_check(context, value)
