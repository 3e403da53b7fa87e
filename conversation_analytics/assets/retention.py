"""Removing days by age, zone by zone. Partials, reports, users and topics stay."""

import datetime as dt
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from conversation_analytics.assets.lineage import days_held
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.languages import MESSAGE_LANGUAGE
from conversation_analytics.core.periods import Period
from conversation_analytics.core.retention import first_day_kept, first_day_whole
from conversation_analytics.core.schemas import TableSchema
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY, TRANSLATIONS
from conversation_analytics.core.zones import DAILY
from conversation_analytics.documents.collections import conversations
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.io_managers.document_io import MADE_FROM, record_inputs
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

_RAW: tuple[TableSchema, ...] = tuple(zones.raw for zones in DAILY.values())
_CURATED: tuple[TableSchema, ...] = (
    *(zones.curated for zones in DAILY.values()),
    *(zones.dead_letters for zones in DAILY.values()),
    MESSAGE_LANGUAGE, CATEGORIES, TRANSLATIONS, TRANSLATION_MEMORY,
)  # fmt: skip
_logger = logging.getLogger("conversation_analytics.retention")


@dataclass(frozen=True, slots=True)
class Removal:
    """Old partitions of a table or collection.

    Attributes:
        name: of the table or collection.
        keys: partition keys, ascending.
        size_bytes: of the objects; None for documents.
    """

    name: str
    keys: tuple[str, ...]
    size_bytes: int | None


def whole_days(settings: Settings, today: dt.date, keys: Iterable[str]) -> list[str]:
    """Return those of the days of which every zone is still kept.

    Args:
        settings: of this process.
        today: in the analytics time zone.
        keys: partition keys.
    """
    first = first_whole(settings, today)
    return [key for key in keys if first is None or key >= first.isoformat()]


def days_made_again(lake: Lake, settings: Settings, today: dt.date) -> frozenset[str]:
    """Return the days that are made again where something of them is stale.

    Those whose rows are held as served, of which every zone is still kept, from
    ANALYTICS_START_DATE on. What an earlier version wrote of any other day stays as it is.

    Args:
        lake: the lake.
        settings: of this process.
        today: in the analytics time zone.
    """
    first = settings.analytics_start_date.isoformat()
    return frozenset(key for key in whole_days(settings, today, days_held(lake)) if key >= first)


def first_whole(settings: Settings, today: dt.date) -> dt.date | None:
    """Return the oldest day of which every zone is kept; None: all days are."""
    ages = (
        settings.retention_raw_days, settings.retention_curated_days,
        settings.retention_documents_days,
    )  # fmt: skip
    return first_day_whole(ages, today)


def remove_old_days(
    lake: Lake,
    documents: DocumentStore,
    settings: Settings,
    today: dt.date,
    *,
    dry_run: bool = False,
) -> list[Removal]:
    """Remove what is older than its zone's age; safe to repeat after any interruption.

    Args:
        lake: the lake.
        documents: the document store.
        settings: of this process.
        today: in the analytics time zone.
        dry_run: only say what would be removed.

    Returns:
        What was removed, by table and collection; nothing of those without any old partition.

    Raises:
        AnalyticsError: a storage refuses or does not answer.
    """
    # Copies first: what is made of a partition goes before it.
    removals = _old_documents(documents, settings, today, dry_run=dry_run)
    for tables, age in (
        (_CURATED, settings.retention_curated_days),
        (_RAW, settings.retention_raw_days),
    ):
        first = first_day_kept(age, today)
        for schema in tables if first is not None else ():
            old = [key for key in lake.keys(schema) if key < first.isoformat()]  # type: ignore[union-attr]
            removals += _removed(lake, schema, old, dry_run=dry_run)
    first = first_day_kept(settings.retention_curated_days, today)
    if first is not None:
        weeks = lake.keys(CONVERSATION_TOPICS)
        old = [key for key in weeks if Period.WEEK.end_of(dt.date.fromisoformat(key)) < first]
        removals += _removed(lake, CONVERSATION_TOPICS, old, dry_run=dry_run)
    if not dry_run:
        for one in removals:
            _logger.info(
                "removed name=%s partitions=%d bytes=%s", one.name, len(one.keys), one.size_bytes
            )
    return removals


def _removed(lake: Lake, schema: TableSchema, keys: list[str], *, dry_run: bool) -> list[Removal]:
    take = lake.size_bytes if dry_run else lake.remove
    size = sum(take(schema, key) for key in keys)
    return [Removal(schema.name, tuple(keys), size)] if keys else []


def _old_documents(
    store: DocumentStore, settings: Settings, today: dt.date, *, dry_run: bool
) -> list[Removal]:
    first = first_day_kept(settings.retention_documents_days, today)
    if first is None:
        return []
    removals = []
    for asset, collection in (
        ("category_documents", settings.mongodb_categories_collection),
        ("translation_documents", settings.mongodb_translations_collection),
        ("message_documents", settings.mongodb_messages_collection),
        ("conversation_documents", settings.mongodb_conversations_collection),
        ("dead_letter_documents", settings.mongodb_dead_letters_collection),
    ):
        made = store.find(MADE_FROM, {"asset": asset})
        old = sorted(one["partition"] for one in made if one["partition"] < first.isoformat())
        for key in () if dry_run else old:
            if asset == "conversation_documents":
                # Nothing that writes documents may have run since the rules became others.
                store.ensure(conversations(collection))
                store.merge_conversations(collection, key, [], rest="aged")
            else:
                store.replace_partition(collection, key, [])
            record_inputs(store, asset, key, None)
        removals += [Removal(collection, tuple(old), None)] if old else []
    return removals
