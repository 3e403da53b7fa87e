"""Corrections of categories: the table that people keep in NocoDB, and what it changes of a day."""

from collections.abc import Collection, Iterable

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import DailyChain
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.corrections import (
    CORRECTIONS,
    CorrectionRow,
    conversations_digest,
    refused_told,
    rows_of,
)
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.taxonomy import Correction
from conversation_analytics.io_managers.lake_io import column_schema
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.language.taxonomy_files import refused_rows
from conversation_analytics.resources.connections import corrections_at_source
from conversation_analytics.settings import Settings

JOB = "read_corrections"
_RECORDED = "corrections"


def correction_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the asset of the table of corrections."""
    settings = chain.settings

    @dg.asset(
        name=CORRECTIONS.name,
        group_name="language",
        io_manager_key="lake_io",
        kinds={"nocodb", "parquet"},
        dagster_type=dg.Any,
        description="What people corrected of categories in NOCODB_CORRECTIONS_TABLE, as it was "
        "served. A new example makes the days of its type stale, a corrected conversation its own.",
        metadata={"dagster/column_schema": column_schema(CORRECTIONS)},
    )
    def corrections() -> pl.DataFrame:
        with retry_if_transient():
            return corrections_at_source(settings)

    return [corrections]


def correction_checks(chain: DailyChain) -> list[dg.AssetChecksDefinition]:
    """Return the check that tells which rows of the table of corrections cannot be used."""
    settings = chain.settings

    @dg.asset_check(
        asset=CORRECTIONS.name,
        name="corrections_usable",
        description="Every row of NOCODB_CORRECTIONS_TABLE names a type and a label of the "
        "taxonomy, and a text or a conversation. Rows that do not are left out, the others count.",
    )
    def corrections_usable(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        rows = correction_rows(lake, settings)
        refused = refused_rows(settings.taxonomy_origin, settings.taxonomy_corrections_file, rows)
        return dg.AssetCheckResult(
            passed=not refused,
            severity=dg.AssetCheckSeverity.WARN,
            description=(
                f"{len(refused)} of {len(rows)} rows are left out, mend them in NocoDB: "
                f"{refused_told(refused)}"
                if refused
                else f"all of {len(rows)} rows are used"
            ),
            metadata={"rows": len(rows), "refused": len(refused)},
        )

    return [corrections_usable]


def correction_rows(lake: Lake, settings: Settings) -> tuple[CorrectionRow, ...]:
    """Return the rows that are held of the table of corrections; none where it is not set.

    Raises:
        LakeError: what is held cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    if not settings.nocodb_corrections_table or not lake.exists(CORRECTIONS, None):
        return ()
    return rows_of(lake.read(CORRECTIONS, None))


def corrected_of(
    corrections: Iterable[Correction], conversations: Collection[str]
) -> dict[str, str]:
    """Return what categories record of corrected conversations; nothing where there are none."""
    digest = conversations_digest(corrections, conversations)
    return {} if digest is None else {_RECORDED: digest}


def corrected_on(lake: Lake, corrections: Iterable[Correction], key: str) -> dict[str, str]:
    """Return what the categories of day `key` are to have recorded of corrected conversations.

    Raises:
        LakeError: the day's categories cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    single = [one for one in corrections if one.conversation_id is not None]
    if not single or not lake.exists(CATEGORIES, key):
        return {}
    try:
        rows = lake.read(CATEGORIES, key)
    except OutdatedPartitionError:
        return {}  # the day is made again in any case
    return corrected_of(single, frozenset(rows["conversation_id"]))
