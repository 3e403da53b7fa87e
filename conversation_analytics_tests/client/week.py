"""Days of a week of sample conversations that the tests of the client read."""

from __future__ import annotations

from conversation_analytics.core.translator import TranslatorLimits
from conversation_analytics_tests.core.translating import WatchedEngine

MONDAY = "2026-11-09"
DAYS = tuple(f"2026-11-{day:02}" for day in (9, 10))


def engine() -> WatchedEngine:
    return WatchedEngine(limits=TranslatorLimits(50, 200))
