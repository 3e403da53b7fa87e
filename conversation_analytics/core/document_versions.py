"""The version of what each asset makes as documents.

It is stored with what the documents of a partition were made of. Documents of another version are
stale: they are made again by `repair` and by the sensor of stale days, as where an input changed.
Raise a version when a builder makes other documents of the same rows, and say so in CHANGELOG.md.
"""

from __future__ import annotations

from typing import Final

_VERSIONS: Final = {"category_documents": 2}
"""By asset, where it is not 1. 2 of categories: `day_at`."""


def document_version(asset: str) -> int:
    """Return the version of the documents that an asset of this name makes now."""
    return _VERSIONS.get(asset, 1)
