"""What the document store holds, built from curated frames; nothing here touches a store.

Shapes:
    message: `_id`, `day`, then every other column of `schemas.MESSAGES`.
    conversation: `_id`, the header (the other columns of `schemas.CONVERSATIONS`),
        `header_day`, `days`, `message_count`, `first_message_at`, `last_message_at`,
        `models`, `messages` (each with `id` and `day`). Of one that is too large for a document
        the last turns are left out: `messages_truncated` is true, `truncated_days` tells how
        many of which day, and what is derived counts them all. `header_kept` is true where
        `header_day` went by its age while other days own turns.
    report: `_id`, `period`, `day`, `app_id`, `metrics` as an array of {name, unit, currency,
        value}: names come from data and must never become field names.

`inputs`, `message_metadata` and `extra` stay the JSON text they are. Their keys are data (a dot
or a dollar in a field name breaks updates and queries), and parsing would lose repeated keys,
integers over 64 bits and escaped lone surrogates. Text keeps every byte; slicing by an input is
the lake's work.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, overload
from urllib.parse import quote

from conversation_analytics.core.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import polars as pl

Document = dict[str, Any]

_DERIVED: Final = (
    "header_day",
    "days",
    "message_count",
    "first_message_at",
    "last_message_at",
    "models",
    "messages",
    "messages_truncated",
    "truncated_days",
    "other_headers",
    "header_kept",
)
"""Fields of a conversation document that `merge_slice` owns."""

RESERVED_HEADER_FIELDS: Final = frozenset({"_id", *_DERIVED})
"""Names that a header may not use."""

MAX_TURN_BYTES: Final = 15 * 1024 * 1024
"""Of the turns of a conversation that is too large: 16 MB less room for the rest of it."""

_BEGINNING: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class ConversationSlice:
    """What one day knows about one conversation.

    Attributes:
        conversation_id: id of the conversation.
        header: fields of the conversation if it was created on this day, else None.
        messages: its messages of this day; each has `id`, `created_at` and `model_id`.
        by_age: the day goes by its age, so there is neither header nor messages: the header it
            gave stays as long as other days own turns.
    """

    conversation_id: str
    header: Document | None
    messages: list[Document]
    by_age: bool = False


def clean_text(text: str) -> str:
    """Return `text` with surrogate pairs joined and lone surrogates as U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def cut_to_milliseconds(instant: dt.datetime) -> dt.datetime:
    """Return an aware `instant` in UTC, cut (not rounded) to the milliseconds a document holds."""
    utc = instant.astimezone(dt.UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def _value(value: object) -> object:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dt.datetime):
        return cut_to_milliseconds(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    return value


def _fields(row: Mapping[str, object], without: tuple[str, ...]) -> Document:
    return {name: _value(value) for name, value in row.items() if name not in without}


def conversation_header(row: Mapping[str, object]) -> Document:
    """Return the header fields of a row of `schemas.CONVERSATIONS`: all columns but `id`."""
    return _fields(row, ("id",))


def message_document(row: Mapping[str, object]) -> Document:
    """Return the document of a row of `schemas.MESSAGES`: `id` as `_id`, then the columns."""
    return {"_id": _value(row["id"]), **_fields(row, ("id",))}


def message_documents(messages: pl.DataFrame, day: str) -> list[Document]:
    """Return one document for each row of a day's `schemas.MESSAGES` frame.

    Args:
        messages: the day's messages.
        day: partition key, kept in the field `day`.
    """
    return [
        {"_id": _value(row["id"]), "day": day, **_fields(row, ("id",))}
        for row in messages.iter_rows(named=True)
    ]


def conversation_slices(
    conversations: pl.DataFrame, messages: pl.DataFrame, day: str
) -> list[ConversationSlice]:
    """Return what a day knows of each conversation created or continued on it, sorted by id.

    Args:
        conversations: the conversations created on this day, `schemas.CONVERSATIONS`.
        messages: the messages of this day, `schemas.MESSAGES`.
        day: partition key, kept in the field `day` of each message.

    Raises:
        ContractError: a conversation has two rows.
    """
    headers: dict[str, Document] = {}
    for row in conversations.iter_rows(named=True):
        identifier = clean_text(row["id"])
        if identifier in headers:
            raise ContractError(
                f"conversations of {day}: id {identifier} has two rows, expected one; "
                "rebuild the curated partition"
            )
        headers[identifier] = conversation_header(row)
    turns: dict[str, list[Document]] = {}
    for row in messages.iter_rows(named=True):
        turn = {"id": _value(row["id"]), "day": day, **_fields(row, ("id", "conversation_id"))}
        turns.setdefault(clean_text(row["conversation_id"]), []).append(turn)
    return [
        ConversationSlice(identifier, headers.get(identifier), turns.get(identifier, []))
        for identifier in sorted(headers.keys() | turns.keys())
    ]


def report_document(
    period: str, day: str, app_id: str | None, rows: Iterable[Mapping[str, object]]
) -> Document:
    """Return the report of one app, or over all apps, for one period.

    Args:
        period: `daily`, `weekly` or `monthly`.
        day: first day of the period, ISO date.
        app_id: the app; None is the report over all apps.
        rows: metrics with `metric`, `unit`, `currency`, `value`, as in `schemas.DAILY_REPORT`;
            of weeks and months with `previous`, `dimension` and `label` as well.
    """
    metrics: list[Document] = [
        {
            "name": _value(row["metric"]),
            "unit": _value(row["unit"]),
            "currency": _value(row["currency"]),
            **{name: row[name] for name in ("value", "previous") if name in row},
            **{name: _value(row[name]) for name in ("dimension", "label") if row.get(name)},
        }
        for row in rows
    ]
    metrics.sort(
        key=lambda metric: [
            str(metric.get(name) or "") for name in ("dimension", "label", "name", "currency")
        ]
    )
    return {
        "_id": f"{period}:{day}:{_app_part(app_id)}",
        "period": period,
        "day": day,
        "app_id": None if app_id is None else clean_text(app_id),
        "metrics": metrics,
    }


def report_documents(report: pl.DataFrame, day: str, period: str = "daily") -> list[Document]:
    """Return the documents of a report: all apps first, then each app.

    Args:
        report: schema of the daily, weekly or monthly report, of one partition.
        day: the day, or the first day of the period.
        period: `daily`, `weekly` or `monthly`.

    Raises:
        ContractError: a row is of another day.
    """
    groups: dict[str | None, list[Mapping[str, object]]] = {}
    first = report.columns[0]
    for row in report.iter_rows(named=True):
        if row[first].isoformat() != day:
            raise ContractError(
                f"{period}_report of {day}: a row is of {row[first].isoformat()}; "
                "rebuild the report's partition"
            )
        groups.setdefault(row["app_id"], []).append(row)
    return [
        report_document(period, day, app_id, groups[app_id])
        for app_id in sorted(groups, key=lambda app: (app is not None, app or ""))
    ]


def translation_documents(translations: pl.DataFrame, day: str) -> list[Document]:
    """Return one document for each text that had to be translated, whether it was or not.

    Args:
        translations: schema `translation_tables.TRANSLATIONS`. Rows with status `same` are left
            out: there is nothing to tell, and most are.
        day: partition key, kept in the field `day`.
    """
    return [
        {
            "_id": f"{clean_text(row['message_id'])}:{row['field']}",
            "day": day,
            **_fields(row, ("source", "target")),
            "source_language": row["source"],
            "target_language": row["target"],
        }
        for row in translations.iter_rows(named=True)
        if row["status"] != "same"
    ]


@dataclass(frozen=True, slots=True, eq=False)
class UserDocuments(Sequence[Document]):
    """One document per user and app, and one per user over all apps (`app_id` null).

    Each is built when it is asked for: a row of the table takes a tenth of its document's memory.

    Attributes:
        users: schema `user_analytics.USER_ANALYTICS`. `costs` becomes a list of currency and cost,
            `models` and `languages` arrays.
    """

    users: pl.DataFrame

    def __len__(self) -> int:
        """Count the documents."""
        return self.users.height

    @overload
    def __getitem__(self, index: int) -> Document: ...

    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...

    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        """Build one document, or some."""
        if isinstance(index, slice):
            return [_user_document(row) for row in self.users[index].iter_rows(named=True)]
        return _user_document(self.users.row(index, named=True))

    def __iter__(self) -> Iterator[Document]:
        """Build one document after the other."""
        return map(_user_document, self.users.iter_rows(named=True))


def _user_document(row: Mapping[str, Any]) -> Document:
    return {
        "_id": f"{_app_part(row['app_id'])}:{_digest(row['user_id'])}",
        **_fields(row, ("costs", "models", "languages")),
        "costs": [
            {"currency": currency or None, "cost": Decimal(cost)}
            for currency, cost in json.loads(row["costs"] or "{}").items()
        ],
        "models": json.loads(row["models"] or "[]"),
        "languages": json.loads(row["languages"] or "[]"),
    }


def _digest(user_id: str) -> str:
    # Errors name documents by their id, and a user id is nobody's business there.
    return hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _app_part(app_id: str | None) -> str:
    # Quoting keeps an app that is called "*" apart from all apps.
    return "*" if app_id is None else quote(clean_text(app_id), safe="")


def _headers_by_day(document: Mapping[str, Any]) -> dict[str, Document]:
    headers: dict[str, Document] = {
        entry["day"]: entry["header"] for entry in document.get("other_headers", ())
    }
    if document.get("header_day") is not None:
        headers[document["header_day"]] = {
            name: value for name, value in document.items() if name not in RESERVED_HEADER_FIELDS
        }
    return headers


def _message_order(message: Mapping[str, Any]) -> tuple[dt.datetime, str, str]:
    return (message.get("created_at") or _BEGINNING, message["id"], message["day"])


def stored_size(value: object) -> int:
    """Return how many bytes a value takes in a document, at most, whatever the store."""
    if isinstance(value, str):
        return len(json.dumps(value, ensure_ascii=False).encode()) + 6
    if isinstance(value, dict):
        return 8 + sum(len(name.encode()) + 8 + stored_size(item) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return 8 + sum(8 + stored_size(item) for item in value)
    return 64


def _times(messages: Iterable[Mapping[str, Any]]) -> list[dt.datetime]:
    return [one for message in messages if (one := message.get("created_at")) is not None]


def _models(messages: Iterable[Mapping[str, Any]]) -> set[str]:
    return {model for message in messages if (model := message.get("model_id")) is not None}


def _cut_place(truncated: Mapping[str, Any]) -> tuple[dt.datetime, str, str]:
    return (
        truncated["first_message_at"] or _BEGINNING,
        truncated["first_message_id"],
        truncated["day"],
    )


def _truncated(
    day: str, messages: Sequence[Mapping[str, Any]], before: Mapping[str, Any] | None
) -> Document:
    """Return what stays of a day's turns (in order) that are left out, and of those before."""
    times = _times(messages)
    models = _models(messages)
    first = {
        "first_message_id": messages[0]["id"],
        "first_message_at": messages[0].get("created_at"),
    }
    count = len(messages)
    if before is not None:
        told = {"day": day, **first}
        first = {name: min(told, before, key=_cut_place)[name] for name in first}
        times += [one for one in [before["last_message_at"]] if one is not None]
        models |= set(before["models"])
        count += before["message_count"]
    return {
        "day": day,
        "message_count": count,
        **first,
        "last_message_at": max(times, default=None),
        "models": sorted(models),
    }


def _cut(
    messages: list[Document], truncated: list[Document]
) -> tuple[list[Document], list[Document]]:
    """Return the first turns that fit, and what is told of the others, by day.

    Where turns are missing already nothing that comes after them stays, so that what is there is
    the beginning of the conversation.
    """
    end = min(map(_cut_place, truncated), default=None)
    size = 0
    keep = 0
    for message in messages:
        size += 8 + stored_size(message)
        if size > MAX_TURN_BYTES or (end is not None and _message_order(message) > end):
            break
        keep += 1
    left: dict[str, list[Document]] = {}
    for message in messages[keep:]:
        left.setdefault(message["day"], []).append(message)
    before = {one["day"]: one for one in truncated}
    for day, turns in left.items():
        before[day] = _truncated(day, turns, before.get(day))
    return messages[:keep], [before[day] for day in sorted(before)]


def _derive(
    messages: Sequence[Mapping[str, Any]],
    truncated: Sequence[Mapping[str, Any]],
    days: Iterable[str],
) -> Document:
    times = _times(messages)
    for one in truncated:
        ends = (one["first_message_at"], one["last_message_at"])
        times += [end for end in ends if end is not None]
    of_days = {*days, *(one["day"] for one in (*messages, *truncated))}
    return {
        "days": sorted(of_days),
        "message_count": len(messages) + sum(one["message_count"] for one in truncated),
        "first_message_at": min(times, default=None),
        "last_message_at": max(times, default=None),
        "models": sorted(_models(messages).union(*(one["models"] for one in truncated))),
    }


def merge_slice(
    existing: Mapping[str, Any] | None,
    conversation: ConversationSlice,
    day: str,
    *,
    cut: bool = False,
) -> Document | None:
    """Return a conversation's document after `day` has replaced its own part of it.

    A function of the last slice of every day alone, whatever the order they came in. If two days
    claim the header (the time of creation changed at the source), the earlier one shows and the
    other waits in `other_headers`; so withdrawing one never loses the other.

    A conversation that was cut holds its first turns, as many as fit, as long as days only grow:
    turns that were left out come back when their own day is made again, not when another one
    shrinks.

    A header that is kept after its day went by age gives way to that of any other day, and goes
    with the last turn, whatever takes that away. It is kept if other days have turns by then.

    Args:
        existing: the document as stored, without the store's own fields; None if there is none.
        conversation: what `day` knows now; no header and no messages withdraws the day.
        day: partition key of the slice.
        cut: leave out the last turns, so that the others take `MAX_TURN_BYTES` at most. Always done
            to a conversation that was cut before.

    Returns:
        The document, or None if no day knows the conversation any more.
    """
    document: Mapping[str, Any] = existing or {}
    headers = _headers_by_day(document)
    kept_day: str | None = document["header_day"] if document.get("header_kept") else None
    own = headers.pop(day, None)
    if conversation.header is not None:
        headers[day] = conversation.header
    messages = [message for message in document.get("messages", ()) if message["day"] != day]
    messages += [{**message, "day": day} for message in conversation.messages]
    truncated = [one for one in document.get("truncated_days", ()) if one["day"] != day]
    if conversation.by_age and own is not None:
        headers[day], kept_day = own, day
    elif kept_day == day:
        kept_day = None
    if kept_day is not None and (len(headers) > 1 or not (messages or truncated)):
        del headers[kept_day]
        kept_day = None
    if not headers and not messages and not truncated:
        return None
    messages.sort(key=_message_order)
    if cut or document.get("messages_truncated"):
        messages, truncated = _cut(messages, truncated)
    header_day = min(headers, default=None)
    others = sorted(headers.keys() - {header_day})
    merged: Document = {
        "_id": conversation.conversation_id,
        **({} if header_day is None else headers[header_day]),
        "header_day": header_day,
        **_derive(messages, truncated, headers),
        "messages": messages,
    }
    if truncated:
        merged |= {"messages_truncated": True, "truncated_days": truncated}
    if others:
        merged["other_headers"] = [{"day": other, "header": headers[other]} for other in others]
    if kept_day is not None:
        merged["header_kept"] = True
    return merged
