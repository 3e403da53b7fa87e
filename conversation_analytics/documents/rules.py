"""What documents of each collection look like: JSON Schema in MongoDB's dialect.

Made from the pinned schemas that the documents are built from (`core/documents.py` and its
neighbours), so that they cannot disagree. MongoDB checks them itself, with `$jsonSchema`; `broken`
does so for SQLite, and tells what is wrong with a document that MongoDB refuses.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from conversation_analytics.core.documents import RESERVED_HEADER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conversation_analytics.core.documents import Document
    from conversation_analytics.core.schemas import Column, TableSchema

Rule: TypeAlias = dict[str, Any]

_DAY: Final = r"^\d{4}-\d\d-\d\d$"
_TYPES: Final[dict[str, list[str]]] = {
    "String": ["string"],
    "Date": ["string"],
    "Int64": ["int", "long"],
    "Float64": ["double"],
    "Boolean": ["bool"],
    "Decimal": ["decimal"],
    "Datetime": ["date"],
}
_TEXT: Final[Rule] = {"bsonType": ["string"]}
_TEXT_OR_NULL: Final[Rule] = {"bsonType": ["string", "null"]}
_TIME: Final[Rule] = {"bsonType": ["date"]}
_TIME_OR_NULL: Final[Rule] = {"bsonType": ["date", "null"]}
_COUNT: Final[Rule] = {"bsonType": ["int", "long"]}
_COUNT_OR_NULL: Final[Rule] = {"bsonType": ["int", "long", "null"]}
_MONEY: Final[Rule] = {"bsonType": ["decimal", "null"]}
_A_DAY: Final[Rule] = {"bsonType": ["string"], "pattern": _DAY}


def _field(column: Column) -> Rule:
    name = str(column.dtype.base_type())
    rule: Rule = {"bsonType": [*_TYPES[name], *([] if column.required else ["null"])]}
    return rule | ({"pattern": _DAY} if name == "Date" else {})


def _columns(table: TableSchema, *without: str) -> dict[str, Rule]:
    return {one.name: _field(one) for one in table.columns if one.name not in without}


def _object(fields: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    """Return the rule of an object of these fields and no others: no name comes from data."""
    return {
        "bsonType": ["object"],
        "required": sorted(fields),
        "properties": dict(fields) | dict(optional or {}),
        "additionalProperties": False,
    }


def _array(items: Rule) -> Rule:
    return {"bsonType": ["array"], "items": items}


def _document(fields: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    own = {"_partition": _TEXT, "_hash": _TEXT}
    return _object({"_id": _TEXT, **fields}, {**(optional or {}), **own})


def _messages() -> Rule:
    from conversation_analytics.core import schemas  # noqa: PLC0415 - import budget

    return _document({"day": _TEXT, **_columns(schemas.MESSAGES, "id")})


def _conversations() -> Rule:
    from conversation_analytics.core import schemas  # noqa: PLC0415 - import budget

    header = _columns(schemas.CONVERSATIONS, "id")
    turn = {"id": _TEXT, "day": _TEXT, **_columns(schemas.MESSAGES, "id", "conversation_id")}
    truncated = {
        "day": _TEXT,
        "message_count": _COUNT,
        "first_message_id": _TEXT,
        "first_message_at": _TIME_OR_NULL,
        "last_message_at": _TIME_OR_NULL,
        "models": _array(_TEXT),
    }
    return _document(
        {
            "header_day": _TEXT_OR_NULL,
            "days": _array(_TEXT),
            "message_count": _COUNT,
            "first_message_at": _TIME_OR_NULL,
            "last_message_at": _TIME_OR_NULL,
            "models": _array(_TEXT),
            "messages": _array(_object(turn)),
        },
        {
            **header,
            "messages_truncated": {"bsonType": ["bool"]},
            "header_kept": {"bsonType": ["bool"]},
            "truncated_days": _array(_object(truncated)),
            "other_headers": _array(_object({"day": _TEXT, "header": _object(header)})),
        },
    )


def _analytics_reports() -> Rule:
    metric = {"name": _TEXT, "unit": _TEXT, "currency": _TEXT_OR_NULL, "value": _MONEY}
    beside = {"previous": _MONEY, "dimension": _TEXT, "label": _TEXT}
    return _document(
        {
            "period": {"bsonType": ["string"], "enum": ["daily", "weekly", "monthly"]},
            "day": _A_DAY,
            "app_id": _TEXT_OR_NULL,
            "metrics": _array(_object(metric, beside)),
        }
    )


def _translations() -> Rule:
    from conversation_analytics.core.translation_tables import TRANSLATIONS  # noqa: PLC0415

    columns = _columns(TRANSLATIONS)
    languages = {f"{name}_language": columns.pop(name) for name in ("source", "target")}
    return _document({"day": _TEXT, **columns, **languages})


def _user_analytics() -> Rule:
    from conversation_analytics.core.user_analytics import USER_ANALYTICS  # noqa: PLC0415

    cost = _object({"currency": _TEXT_OR_NULL, "cost": {"bsonType": ["decimal"]}})
    lists = {"costs": _array(cost), "models": _array(_TEXT), "languages": _array(_TEXT)}
    return _document({**_columns(USER_ANALYTICS, *lists), **lists})


def _categories() -> Rule:
    from conversation_analytics.core.categories import CATEGORIES  # noqa: PLC0415

    columns = _columns(CATEGORIES, "text_sha256")
    return _document({"day": _A_DAY, "day_at": _TIME, **columns})


def _topics() -> Rule:
    from conversation_analytics.core.topic_tables import TOPICS  # noqa: PLC0415

    columns = _columns(TOPICS)
    same = ("topic_id", "group_id", "label", "label_by", "conversations", "users")
    return _document(
        {
            "week": _A_DAY,
            **{name: columns[name] for name in same},
            "words": _array(_TEXT),
            "examples": _array(_TEXT),
            "share": {"bsonType": ["double"]},
            "change": _TEXT_OR_NULL,
            "conversations_before": _COUNT_OR_NULL,
        }
    )


def _dead_letters() -> Rule:
    from conversation_analytics.core import schemas  # noqa: PLC0415 - import budget

    return _document(
        {
            "table": _TEXT,
            "day": _TEXT,
            **_columns(schemas.MESSAGE_DEAD_LETTERS, "payload"),
            "landed_at": _TIME_OR_NULL,
            "first_seen": _TIME,
            "last_seen": _TIME,
            "count": _COUNT,
        }
    )


_RULES: Final[dict[str, Callable[[], Rule]]] = {
    "conversations": _conversations,
    "messages": _messages,
    "analytics_reports": _analytics_reports,
    "dead_letters": _dead_letters,
    "categories": _categories,
    "user_analytics": _user_analytics,
    "translations": _translations,
    "topics": _topics,
}


@functools.cache
def rules_of(kind: str) -> str:
    """Return the JSON Schema of a kind of documents, as JSON text.

    Args:
        kind: the collection's name where no setting changes it.
    """
    return json.dumps(_RULES[kind](), sort_keys=True, separators=(",", ":"))


def as_ruled(conversation: Document, rules: Rule, day: str) -> Document:
    """Return a stored conversation with its headers, and the turns of other days, as ruled.

    Each day owns its own part, and no day could be made again while the others are of a version
    with other columns. A column that came since is what rows of before have in the lake
    (`Column.absent`), else null, and so is one of another type; what the rules do not know goes.
    It is right again when its own day is made again, which it is: documents of before are stale.

    Args:
        conversation: as stored, without the store's own fields.
        rules: of the collection, from the store.
        day: whose turns are about to be replaced: they stay as they are.
    """
    from conversation_analytics.core import schemas  # noqa: PLC0415 - import budget

    of_turns = rules["properties"]["messages"]["items"]
    of_headers = rules["properties"]["other_headers"]["items"]["properties"]["header"]
    turns, headers = schemas.MESSAGES.absent, schemas.CONVERSATIONS.absent
    ruled = {
        **conversation,
        "messages": [
            one if one["day"] == day else _part_as_ruled(one, of_turns, turns)
            for one in conversation.get("messages", ())
        ],
    }
    if conversation.get("header_day") is not None:
        own = {name: ruled.pop(name) for name in conversation if name not in RESERVED_HEADER_FIELDS}
        ruled |= _part_as_ruled(own, of_headers, headers)
    if "other_headers" in conversation:
        ruled["other_headers"] = [
            {**one, "header": _part_as_ruled(one["header"], of_headers, headers)}
            for one in conversation["other_headers"]
        ]
    return ruled


def _part_as_ruled(part: Document, rule: Rule, absent: Mapping[str, str | bool]) -> Document:
    fields = rule["properties"]
    # Most are as ruled, which names and types tell: they are all that a version changes of columns.
    if part.keys() == fields.keys() and all(
        _KINDS.get(type(value)) in fields[name]["bsonType"] for name, value in part.items()
    ):
        return part
    ruled = {name: value for name, value in part.items() if name in fields}
    for name, field in fields.items():
        if name in ruled and broken(ruled[name], field) is None:
            continue
        # Where neither may stand there it is left to be refused, by name.
        if broken(absent.get(name), field) is None:
            ruled[name] = absent.get(name)
    return ruled


_KINDS: Final[dict[type, str]] = {
    str: "string",
    bool: "bool",
    int: "long",
    float: "double",
    Decimal: "decimal",
    dt.datetime: "date",
    list: "array",
    dict: "object",
    type(None): "null",
}


def broken(value: object, rule: Rule) -> str | None:
    """Return what of a document of `storable` breaks a rule, without any value, or None."""
    kind = _KINDS.get(type(value)) or next(
        name for one, name in _KINDS.items() if isinstance(value, one)
    )
    if kind not in rule["bsonType"]:
        return f"expected {' or '.join(rule['bsonType'])}, got {kind}"
    if isinstance(value, dict):
        return _broken_object(value, rule)
    if isinstance(value, list):
        found = (broken(item, rule["items"]) for item in value)
        return next((one for one in found if one is not None), None)
    if isinstance(value, str):
        if "pattern" in rule and not re.search(rule["pattern"], value):
            return f"expected text of the form {rule['pattern']}"
        if "enum" in rule and value not in rule["enum"]:
            return f"expected one of {', '.join(rule['enum'])}"
    return None


def _broken_object(document: dict[str, Any], rule: Rule) -> str | None:
    fields = rule["properties"]
    for name, item in document.items():
        if name not in fields:
            return "a field that the collection does not have"
        if (found := broken(item, fields[name])) is not None:
            inside = found.startswith("field ")
            return f"field {name}.{found[6:]}" if inside else f"field {name}: {found}"
    missing = [name for name in rule["required"] if name not in document]
    return f"field {missing[0]}: missing" if missing else None
