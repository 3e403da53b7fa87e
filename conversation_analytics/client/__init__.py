"""A read API for applications: the same calls over MongoDB, SQLite and the lake alone.

docs/client.md shows each call. Importing this costs no more than the standard library: drivers
and engines are loaded with the first call that needs them.
"""

from conversation_analytics.client.client import Client, every
from conversation_analytics.client.opening import client_of_environment, open_client
from conversation_analytics.client.results import (
    CategorisedConversation,
    Category,
    Conversation,
    ConversationWithTurns,
    Metric,
    Page,
    Report,
    Topic,
    Translation,
    Turn,
    UserAnalytics,
)

__all__ = [
    "CategorisedConversation",
    "Category",
    "Client",
    "Conversation",
    "ConversationWithTurns",
    "Metric",
    "Page",
    "Report",
    "Topic",
    "Translation",
    "Turn",
    "UserAnalytics",
    "client_of_environment",
    "every",
    "open_client",
]
