"""dagster-pandas types of the report frames: the UI shows their schema and violations."""

from typing import Any

import dagster as dg

from conversation_analytics.core.metrics import BUILT_IN, METRICS, MetricType
from conversation_analytics.core.schemas import MONEY, TableSchema
from conversation_analytics.io_managers.lake_io import column_schema

_PER_TURN = "rating_coverage"
"""The one share that may be above 1: a turn of yesterday may be rated today."""


def report_frame_type(schema: TableSchema) -> dg.DagsterType:
    """Return the type of a report with a row per metric.

    Columns as the schema has them; what it requires is not null, `metric` is of the registry,
    values are not negative, money and metrics of extensions aside (what the source has as negative
    price is summed up and told, and takes no day with it), and shares are at most 1.
    dagster-pandas and pandas are imported when a frame is checked, not when definitions load.
    """

    def check(context: dg.TypeCheckContext, value: Any) -> dg.TypeCheck:
        return _check(schema, context, value)

    return dg.DagsterType(
        name="".join(word.title() for word in schema.name.split("_")) + "Frame",
        description=f"{schema.description} (pandas.DataFrame)",
        type_check_fn=check,
        metadata={"dagster/column_schema": column_schema(schema)},
    )


def _check(schema: TableSchema, context: dg.TypeCheckContext, value: Any) -> dg.TypeCheck:
    from dagster_pandas import PandasColumn, create_dagster_pandas_dataframe_type  # noqa: PLC0415
    from dagster_pandas.constraints import (  # noqa: PLC0415
        CategoricalColumnConstraint,
        ColumnConstraint,
        ColumnConstraintViolationException,
        NonNullableColumnConstraint,
    )

    # Extensions say themselves what their values may be: a strange one takes no day with it.
    own = [m.name for m in BUILT_IN if m.type is not MetricType.MONEY]
    shares = [m.name for m in BUILT_IN if m.type is MetricType.RATIO and m.name != _PER_TURN]

    class Possible(ColumnConstraint):
        """Values are null or at least 0, unless they are money; shares are at most 1."""

        def __init__(self) -> None:
            super().__init__(  # type: ignore[no-untyped-call]
                error_description="No value below 0, money aside; no share above 1.",
                markdown_description="values are at least 0, money aside; shares are at most 1",
            )

        def validate(self, dataframe: Any, column_name: str) -> None:
            known = dataframe[dataframe[column_name].notna()]
            values, metrics = known[column_name], known["metric"]
            wrong = known[
                ((values < 0) & metrics.isin(own)) | ((values > 1) & metrics.isin(shares))
            ]
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
    columns = []
    for column in schema.columns:
        constraints: list[ColumnConstraint] = []
        if column.required:
            constraints.append(NonNullableColumnConstraint())
        if column.name == "metric":
            constraints.append(registered)
        if column.dtype == MONEY:
            constraints.append(Possible())
        columns.append(PandasColumn(column.name, constraints=constraints))
    frame_type = create_dagster_pandas_dataframe_type(name=f"{schema.name}_check", columns=columns)
    return frame_type.type_check(context, value)
