"""Views for the cuts that people ask for: flat rows over the nested documents.

A view is told once, and made as an aggregation pipeline of MongoDB and as SQL of SQLite. The first
stage of each is what the indexes of its collection begin with, and what a query of a view asks for
of the document's own fields goes there, too.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["value", "decimal", "time"]

_METRICS: Final = "metrics"


@dataclass(frozen=True, slots=True)
class ViewField:
    """A column of a view.

    Attributes:
        name: its name.
        source: field of the document, or `<array>.<field>` of an element.
        kind: of its value.
    """

    name: str
    source: str
    kind: Kind = "value"


@dataclass(frozen=True, slots=True)
class RowCondition:
    """What a field of an element must be for the element to be a row.

    Attributes:
        field: of the element.
        holds: `in` and `not in`: one of the values; `begins` and `begins not`: with any of them;
            `missing`: it is not there. Of all but `missing` and `in` it must be there.
        values: texts.
    """

    field: str
    holds: Literal["in", "not in", "begins", "begins not", "missing"]
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """A view of one collection.

    Attributes:
        name: its name in the store.
        fields: its columns.
        equals: fields of the document with the text that they must hold.
        unwind: array of objects of which each element is a row; empty: a document is one.
        rows: all of these hold of a row.
    """

    name: str
    fields: tuple[ViewField, ...]
    equals: tuple[tuple[str, str], ...] = ()
    unwind: str = ""
    rows: tuple[RowCondition, ...] = ()


def _mongo_condition(one: RowCondition) -> dict[str, Any]:
    beginning = f"^(?:{'|'.join(map(re.escape, one.values))})"
    match one.holds:
        case "missing":
            return {"$exists": False}
        case "in":
            return {"$in": list(one.values)}
        case "not in":
            return {"$exists": True, "$nin": list(one.values)}
        case "begins":
            return {"$regex": beginning}
        case "begins not":
            return {"$exists": True, "$not": {"$regex": beginning}}


def pipeline(view: ViewSpec) -> list[dict[str, Any]]:
    """Return the aggregation pipeline of a view."""
    stages: list[dict[str, Any]] = []
    if view.equals:
        stages.append({"$match": {name: {"$eq": value} for name, value in view.equals}})
    if view.unwind:
        stages.append({"$unwind": f"${view.unwind}"})
    if view.rows:
        rows = [{f"{view.unwind}.{one.field}": _mongo_condition(one)} for one in view.rows]
        stages.append({"$match": {"$and": rows}})
    shown = {one.name: 1 if one.name == one.source else f"${one.source}" for one in view.fields}
    stages.append({"$project": {"_id": 0, **shown}})
    return stages


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _sql_condition(one: RowCondition) -> str:
    found = f"json_extract(element.value, '$.{one.field}')"
    values = f"({', '.join(map(_text, one.values))})"
    begins = [f"substr({found}, 1, {len(value)}) = {_text(value)}" for value in one.values]
    match one.holds:
        case "missing":
            return f"{found} IS NULL"
        case "in":
            return f"{found} IN {values}"
        case "not in":
            return f"{found} NOT IN {values}"
        case "begins":
            return f"({' OR '.join(begins)})"
        case "begins not":
            return f"NOT ({' OR '.join(begins)})"


def _sql_column(field: ViewField) -> str:
    outer, _, inner = field.source.rpartition(".")
    # Not `stored.body`: the expression has to be the index's own text.
    place = "element.value" if outer else "body"
    match field.kind:
        case "decimal":
            found = f"""CAST(json_extract({place}, '$.{inner}."$numberDecimal"') AS REAL)"""
        case "time":
            found = f"""json_extract({place}, '$.{inner}."$date"')"""
        case "value":
            found = f"json_extract({place}, '$.{inner}')"
    return f'{found} AS "{field.name}"'


def select(view: ViewSpec, table: str) -> str:
    """Return the SQL of a view.

    Args:
        view: what to show.
        table: quoted table with the documents.
    """
    wanted = [f"json_extract(body, '$.{name}') = {_text(value)}" for name, value in view.equals]
    wanted += map(_sql_condition, view.rows)
    tables = table
    if view.unwind:
        tables += f", json_each(body, '$.{view.unwind}') AS element"
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    return f"SELECT {', '.join(map(_sql_column, view.fields))} FROM {tables}{where}"


_OF_DAY: Final = (ViewField("day", "day"), ViewField("app_id", "app_id"))
_OF_PERIOD: Final = (ViewField("period", "period"), *_OF_DAY)
_METRIC: Final = (
    ViewField("metric", "metrics.name"),
    ViewField("unit", "metrics.unit"),
    ViewField("currency", "metrics.currency"),
    ViewField("value", "metrics.value", "decimal"),
)
_PREVIOUS: Final = ViewField("previous", "metrics.previous", "decimal")
_LABEL: Final = ViewField("label", "metrics.label")
_DIMENSION: Final = ViewField("dimension", "metrics.dimension")


@functools.cache
def report_views(collection: str) -> tuple[ViewSpec, ...]:
    """Return the views of the reports, named after their collection."""
    from conversation_analytics.core.metrics import LENGTHS, MODEL, PROVIDER  # noqa: PLC0415
    from conversation_analytics.core.partials import OF_CATEGORIES  # noqa: PLC0415

    languages = ("language", "answer_language")
    cut = (*_OF_PERIOD, _DIMENSION, _LABEL, *_METRIC, _PREVIOUS)
    whole = RowCondition("dimension", "missing")
    lengths = RowCondition("name", "in", tuple(name for name, *_ in LENGTHS))

    def by(suffix: str, *rows: RowCondition) -> ViewSpec:
        return ViewSpec(f"{collection}_{suffix}", cut, unwind=_METRICS, rows=rows)

    return (
        *(
            ViewSpec(
                f"{collection}_{period}_metrics",
                (*_OF_DAY, *_METRIC, *(() if period == "daily" else (_PREVIOUS,))),
                equals=(("period", period),),
                unwind=_METRICS,
                rows=(whole,),
            )
            for period in ("daily", "weekly", "monthly")
        ),
        ViewSpec(
            f"{collection}_length_distribution",
            (*_OF_PERIOD, _METRIC[0], _METRIC[3]),
            unwind=_METRICS,
            rows=(whole, lengths),
        ),
        by("model_usage", RowCondition("dimension", "in", (MODEL, PROVIDER))),
        by("language_distribution", RowCondition("dimension", "in", languages)),
        by("category_distribution", RowCondition("dimension", "begins", (OF_CATEGORIES,))),
        by(
            "input_distribution",
            RowCondition("dimension", "not in", (MODEL, PROVIDER, *languages)),
            RowCondition("dimension", "begins not", (OF_CATEGORIES,)),
        ),
    )


@functools.cache
def user_views(collection: str) -> tuple[ViewSpec, ...]:
    """Return the view of users, named after their collection."""
    plain = ("user_id", "app_id", "status", "cohort", "active_days", "sessions", "turns")
    times = ("first_at", "last_at")
    fields = (
        *(ViewField(name, name) for name in plain),
        *(ViewField(name, name, "time") for name in times),
    )
    return (ViewSpec(f"{collection}_activity", fields),)
