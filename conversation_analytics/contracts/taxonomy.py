"""What every taxonomy has to be: see docs/categories.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conversation_analytics.core.taxonomy import parse_taxonomy

if TYPE_CHECKING:
    from conversation_analytics.core.taxonomy import Taxonomy


def check_taxonomy(text: str) -> Taxonomy:
    """Parse a taxonomy as the platform does, and return it.

    Args:
        text: YAML.

    Raises:
        TaxonomyError: it is not as it should be; says where.
    """
    return parse_taxonomy(text, "the taxonomy")
