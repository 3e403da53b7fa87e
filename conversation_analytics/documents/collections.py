"""The collections and the indexes behind the queries that applications send.

Every index ends in `_id`, the last sort key of `DocumentStore.find`, so that a sorted page
comes off the index in one total order.
"""

from __future__ import annotations

from dataclasses import dataclass

from conversation_analytics.documents.rules import rules_of
from conversation_analytics.documents.views import ViewSpec, report_views, user_views

Index = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """One collection.

    Attributes:
        name: name in the store.
        indexes: fields with 1 (ascending) or -1 (descending), in order.
        arrays: fields that hold an array of text and are found by element.
        rules: JSON Schema of its documents as text (`rules.rules_of`); empty: any document.
        views: of this collection.
        dated_by: field with the time by which its documents grow old; empty: they do not.
        keep_days: days after which a document may go; 0: none goes; None: as it is in the store.
    """

    name: str
    indexes: tuple[Index, ...] = ()
    arrays: tuple[str, ...] = ()
    rules: str = ""
    views: tuple[ViewSpec, ...] = ()
    dated_by: str = ""
    keep_days: int | None = None


def _ascending(*fields: str) -> Index:
    return tuple((field, 1) for field in (*fields, "_id"))


def partition_index() -> Index:
    """Return the index that replacing a partition reads ids and hashes from, nothing else."""
    return (("_partition", 1), ("_id", 1), ("_hash", 1))


def conversations(name: str = "conversations") -> CollectionSpec:
    """Conversations with their messages: by user, app, model, time, or days that own a part."""
    return CollectionSpec(
        name,
        (
            _ascending("user_id", "created_at"),
            _ascending("app_id", "created_at"),
            _ascending("models", "created_at"),
            _ascending("created_at"),
            _ascending("days"),
        ),
        arrays=("days", "models"),
        rules=rules_of("conversations"),
        dated_by="last_message_at",
    )


def messages(name: str = "messages") -> CollectionSpec:
    """Messages: by conversation, user, model or day."""
    return CollectionSpec(
        name,
        (
            _ascending("conversation_id", "created_at"),
            _ascending("user_id", "created_at"),
            _ascending("model_id", "created_at"),
            partition_index(),
        ),
        rules=rules_of("messages"),
        dated_by="created_at",
    )


def dead_letters(name: str = "dead_letters") -> CollectionSpec:
    """The ledger of dead letters: by day, by what is still dead."""
    return CollectionSpec(
        name,
        (
            _ascending("day", "landed_at"),
            _ascending("table", "landed_at", "last_seen"),
            partition_index(),
        ),
        rules=rules_of("dead_letters"),
        dated_by="last_seen",
    )


def categories(name: str = "categories") -> CollectionSpec:
    """Categories: by conversation, or by type and value over the days."""
    return CollectionSpec(
        name,
        (
            _ascending("conversation_id", "category_type"),
            _ascending("category_type", "category_value", "day"),
            partition_index(),
        ),
        rules=rules_of("categories"),
        dated_by="day_at",
    )


def translations(name: str = "translations") -> CollectionSpec:
    """Translations: by message, by conversation, by what became of them."""
    return CollectionSpec(
        name,
        (
            _ascending("message_id", "field"),
            _ascending("conversation_id", "created_at"),
            _ascending("status", "created_at"),
            partition_index(),
        ),
        rules=rules_of("translations"),
        dated_by="created_at",
    )


def topics(name: str = "topics") -> CollectionSpec:
    """Topics: of a week by size, or one over the weeks."""
    return CollectionSpec(
        name,
        (
            _ascending("week", "conversations"),
            _ascending("topic_id", "week"),
            partition_index(),
        ),
        rules=rules_of("topics"),
    )


def user_analytics(name: str = "user_analytics") -> CollectionSpec:
    """Users: by user, by app and last turn, by app and id, by cohort."""
    return CollectionSpec(
        name,
        (
            _ascending("user_id", "app_id"),
            _ascending("app_id", "last_at"),
            _ascending("app_id", "user_id"),
            _ascending("app_id", "cohort"),
            partition_index(),
        ),
        rules=rules_of("user_analytics"),
        views=user_views(name),
        dated_by="last_at",
    )


def analytics_reports(name: str = "analytics_reports") -> CollectionSpec:
    """Reports: by period, then by day, or by app over the days."""
    return CollectionSpec(
        name,
        (
            _ascending("period", "day", "app_id"),
            _ascending("period", "app_id", "day"),
            partition_index(),
        ),
        rules=rules_of("analytics_reports"),
        views=report_views(name),
    )
