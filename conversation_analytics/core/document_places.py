"""In which collection the documents of each asset are.

It is stored with what the documents of a partition were made of, where it is not the one that they
are in by default: so documents are stale once a setting names another collection for them, and are
made again in that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_COLLECTIONS: Final[Mapping[str, str]] = {
    "category_documents": "categories",
    "conversation_documents": "conversations",
    "dead_letter_documents": "dead_letters",
    "message_documents": "messages",
    "monthly_report_documents": "analytics_reports",
    "report_documents": "analytics_reports",
    "topic_documents": "topics",
    "translation_documents": "translations",
    "user_analytics_documents": "user_analytics",
    "weekly_report_documents": "analytics_reports",
}
"""By asset. Each is the default of a setting MONGODB_..._COLLECTION of the same name."""


def place_recorded(asset: str, collection: str) -> dict[str, str]:
    """Return what documents record of the collection they are in; nothing of the default one.

    Args:
        asset: its name; of one that is not in `DEFAULT_COLLECTIONS` nothing is recorded.
        collection: where its documents are.
    """
    default = DEFAULT_COLLECTIONS.get(asset, collection)
    return {} if collection == default else {"collection": collection}
