"""Whether two processes have the same settings, without either telling the other its secrets."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conversation_analytics.settings import Settings

OF_A_MACHINE: Final = frozenset(
    {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CUDA_VISIBLE_DEVICES",
        "DASK_SCHEDULER_ADDRESS", "ENABLE_GPU", "ENABLE_MULTITHREADING", "EXECUTOR",
        "GPU_LEASE_FOLDER", "GPU_MEMORY_LIMIT", "GPU_MIN_ROWS", "IO_THREADS", "LOG_FILE",
        "LOG_LEVEL", "MAX_WORKERS", "PROCESSING_THREADS",
    }
)  # fmt: skip
"""Settings that may be others on another machine: they decide neither rows nor where rows go."""
_DIGITS: Final = 16


def marks_of(settings: Settings, key: bytes) -> dict[str, str]:
    """Return a mark of every setting that has to be the same, those of extensions, too.

    Args:
        settings: of this process.
        key: of this comparison alone, so that a mark says nothing at another time.
    """
    values = {
        name: repr(value) for name, value in settings.values.items() if name not in OF_A_MACHINE
    }
    return {
        name: hmac.digest(key, f"{name}={value}".encode(), "sha256").hex()[:_DIGITS]
        for name, value in {**values, **settings.of_extensions}.items()
    }


def others(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Return the names of the settings whose marks differ, in order."""
    return sorted(
        name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)
    )
