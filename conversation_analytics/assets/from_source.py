"""Every asset that is made of the source's rows day by day, and of those without a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conversation_analytics.assets.categories import category_assets
from conversation_analytics.assets.curated import curated_assets
from conversation_analytics.assets.documents import document_assets
from conversation_analytics.assets.languages import language_assets
from conversation_analytics.assets.raw import raw_assets
from conversation_analytics.assets.reports import report_assets
from conversation_analytics.assets.translations import translation_assets
from conversation_analytics.resources.connections import column_contract

if TYPE_CHECKING:
    import dagster as dg

    from conversation_analytics.assets.partitions import DailyChain


def source_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the assets from the raw zone to daily reports and documents.

    Raises:
        SettingsError: the contract of the source's columns cannot be read.
    """
    return [
        *raw_assets(chain),
        *curated_assets(chain, column_contract(chain.settings)),
        *report_assets(chain),
        *document_assets(chain),
        *language_assets(chain),
        *category_assets(chain),
        *translation_assets(chain),
    ]
