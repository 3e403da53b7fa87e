"""What the client reads from: a document store, or (`lake_reading`) the lake alone."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conversation_analytics.core.documents import Document
    from conversation_analytics.documents.paging import PageQuery
    from conversation_analytics.documents.store import DocumentStore
    from conversation_analytics.settings import Settings


class Kind(StrEnum):
    """The kinds of documents that are read, by the default name of their collection."""

    CONVERSATIONS = "conversations"
    MESSAGES = "messages"
    CATEGORIES = "categories"
    TRANSLATIONS = "translations"
    REPORTS = "analytics_reports"
    USERS = "user_analytics"
    TOPICS = "topics"


class Reading(Protocol):
    """Documents of docs/documents.md, wherever they come from."""

    def get(self, kind: Kind, identifier: str) -> Document | None:
        """Return one document, or None; a conversation without its `messages`."""

    def get_many(self, kind: Kind, identifiers: Sequence[str]) -> list[Document]:
        """Return those that there are; conversations without their `messages`."""

    def page(self, kind: Kind, query: PageQuery) -> list[Document]:
        """Return one page; conversations without their `messages`."""

    def close(self) -> None:
        """Give back connections."""


_LEFT_OUT = {Kind.CONVERSATIONS: ("messages",)}


class StoreReading:
    """Reads the documents of a store."""

    def __init__(self, store: DocumentStore, names: Mapping[Kind, str]) -> None:
        """Keep the store and the name of each collection."""
        self._store = store
        self._names = names

    def get(self, kind: Kind, identifier: str) -> Document | None:
        """See `Reading.get`."""
        found = self.get_many(kind, [identifier])
        return found[0] if found else None

    def get_many(self, kind: Kind, identifiers: Sequence[str]) -> list[Document]:
        """See `Reading.get_many`."""
        return self._store.get_many(self._names[kind], identifiers, _LEFT_OUT.get(kind, ()))

    def page(self, kind: Kind, query: PageQuery) -> list[Document]:
        """See `Reading.page`."""
        wanted = replace(query, without=_LEFT_OUT.get(kind, ()))
        return self._store.page(self._names[kind], wanted)

    def close(self) -> None:
        """See `Reading.close`."""
        self._store.close()


def collection_names(settings: Settings) -> dict[Kind, str]:
    """Return what the settings call the collection of each kind."""
    return {kind: settings.values[f"MONGODB_{kind.upper()}_COLLECTION"] for kind in Kind}
