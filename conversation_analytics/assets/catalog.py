"""What the catalog of Dagster's UI tells of every asset, beside what makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dagster as dg

from conversation_analytics.core.column_lineage import COLUMN_SOURCES
from conversation_analytics.core.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conversation_analytics.settings import Settings

_TABLES: Final = {table.name: table for table in TABLES}
_PAGES: Final[Mapping[str, str]] = {
    "raw": "concepts",
    "curated": "data-dictionary",
    "undated": "operations",
    "language": "categories",
    "metrics": "metrics",
    "reports": "metrics",
    "users": "metrics",
    "documents": "documents",
    "out": "write-back",
}
"""The page of the documentation about each group of assets."""
_OWN_PAGES: Final[Mapping[str, str]] = {
    "translations": "translations",
    "translation_documents": "translations",
}
_TEXT: Final = frozenset({
    "payload", "query", "answer", "name", "summary", "inputs", "error", "message_metadata",
    "extra", "content", "translated", "text", "reason",
})  # fmt: skip
_PEOPLE: Final = frozenset({"user_id", "from_end_user_id", "from_account_id"})
_OF_TEXT: Final = frozenset({
    "conversation_documents", "message_documents", "translation_documents",
    "undated_conversation_documents", "undated_message_documents",
})  # fmt: skip
_OF_PEOPLE: Final = frozenset({"user_analytics_documents"})

START_HERE: Final = """
**What to click**

1. *Lineage* shows how data flows: `raw` → `curated` → `language`, `metrics` → `reports`, `users`,
   `documents`. A group opens with a click; an asset tells what it is, its columns, its owner.
2. *Jobs* → `daily` → *Materialize*, choose days: everything from the source to the report.
   `weekly`, `monthly`, `users` and `topics` merge what days hold; sensors start them.
3. *Automation*: switch on `nocodb_changes` (new and changed rows) and `daily_close` (yesterday, at
   night). The others are on.
4. The plot and the headline figures of a day are in the materialization of `daily_report`; the
   whole page is at the path that `daily_report_files` tells.
5. A red check says what is wrong and what to do; `conversation-analytics check` looks at the rest.
"""
"""Part of the description of the job `daily`, which is where people begin."""


def as_told(settings: Settings) -> Callable[[dg.AssetSpec], dg.AssetSpec]:
    """Return what adds owners, tags, the page of the docs and column lineage to an asset.

    Args:
        settings: ASSET_OWNERS and DOCS_URL.
    """

    def told(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = spec.key.path[-1]
        page = _OWN_PAGES.get(name) or _PAGES[spec.group_name or ""]
        description = f"{spec.description} {_link(settings, page)}"
        lineage = column_lineage(name, {dep.asset_key.path[-1] for dep in spec.deps})
        return spec.replace_attributes(
            description=description,
            owners=[*spec.owners, *settings.asset_owners],
            tags={**spec.tags, "zone": spec.group_name or "", "personal_data": personal_data(name)},
            metadata={
                **spec.metadata,
                **({"dagster/column_lineage": lineage} if lineage.deps_by_column else {}),
            },
        )

    return told


def _link(settings: Settings, page: str) -> str:
    if settings.docs_url:
        return f"[More]({settings.docs_url}/{page}.html)"
    return f"More: docs/{page}.md"


def personal_data(asset: str) -> str:
    """Say what an asset holds of people.

    Returns:
        `text`: what they wrote, mostly with who they are. `people`: who they are. `none`: neither.
    """
    columns = set(_TABLES[asset].polars.names()) if asset in _TABLES else set()
    if columns & _TEXT or asset in _OF_TEXT:
        return "text"
    if columns & _PEOPLE or asset in _OF_PEOPLE:
        return "people"
    return "none"


def column_lineage(asset: str, parents: set[str]) -> dg.TableColumnLineage:
    """Return which columns of its parents each column of a table is made of.

    Args:
        asset: name of the table.
        parents: names of the assets it is made from here: ratings, say, may not be read.
    """
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(table, source)
                for table, source in (one.split(".") for one in sources)
                if table in parents
            ]
            for column, sources in COLUMN_SOURCES.get(asset, {}).items()
        }
    )
