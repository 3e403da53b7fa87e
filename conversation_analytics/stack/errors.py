"""What can go wrong with a server of the local stack."""

from __future__ import annotations

from conversation_analytics.core.errors import PermanentError


class StackUnavailableError(PermanentError):
    """A program the server needs is not installed on this machine."""


class StackStartError(PermanentError):
    """A server was started and did not become ready, or refused its set-up."""
