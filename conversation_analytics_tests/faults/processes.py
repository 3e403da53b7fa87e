"""A server of processes that has the heavy imports done: each process starts in milliseconds."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

_PRELOADED = (
    "conversation_analytics.cli",
    "conversation_analytics.definitions",
    "conversation_analytics.reports.daily",
    "conversation_analytics.sample.source",
    "conversation_analytics.documents.sqlite",
    "conversation_analytics_tests.faults.limits",
    "conversation_analytics_tests.faults.killing",
    "rich.progress",
)


def warm_context() -> ForkServerContext:
    """Return the context to start processes in; its first process starts the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context
