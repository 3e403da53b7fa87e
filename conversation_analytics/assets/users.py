"""Users over all days: their table, growth and cohorts, and a document per user."""

import contextlib
import datetime as dt
import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg
import polars as pl

from conversation_analytics.assets.day_partials import unless_lost
from conversation_analytics.assets.lineage import USER_FILES, USERS_PAGE, stored_day
from conversation_analytics.assets.partitions import DailyChain, lake_in, placed_in
from conversation_analytics.assets.report_files import user_report_files
from conversation_analytics.assets.retention import days_made_again
from conversation_analytics.core.cohorts import (
    USER_COHORTS,
    USER_GROWTH,
    user_cohorts,
    user_growth,
)
from conversation_analytics.core.documents import UserDocuments
from conversation_analytics.core.engine import Engine, taken_by
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.lanes import PLANS
from conversation_analytics.core.partitions import Described
from conversation_analytics.core.schemas import DAILY_PARTIALS, TableSchema
from conversation_analytics.core.staleness import StaleAsset, StoredPartition, stale_assets
from conversation_analytics.core.user_analytics import (
    FOLD_VERSION,
    USER_ANALYTICS,
    Users,
    fold_input,
    user_analytics,
    users_of_days,
)
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.io_managers.lake_io import begin_outputs, column_schema
from conversation_analytics.io_managers.read_log import ReadLog, attempt_of
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

USERS = "users"
"""Name of the job and of the group; documents are of the partition of this name."""
_DOCUMENTS = "user_analytics_documents"
_TABLES = (USER_ANALYTICS, USER_GROWTH, USER_COHORTS)
_MADE_BY = {"version": str(FOLD_VERSION)}
_logger = logging.getLogger("conversation_analytics.users")
_Later = Callable[[], Described[pl.DataFrame]]
_GRAPH = {
    **{table.name: (DAILY_PARTIALS.name,) for table in _TABLES},
    _DOCUMENTS: (USER_ANALYTICS.name,),
    USER_FILES: tuple(table.name for table in _TABLES),
}


def user_assets(chain: DailyChain) -> list[dg.AssetsDefinition]:
    """Return the tables of users, growth and cohorts, the documents of users, and their page."""

    @dg.multi_asset(
        name="fold_users",
        group_name=USERS,
        op_tags=PLANS,
        outs={
            schema.name: dg.AssetOut(
                io_manager_key="lake_io",
                dagster_type=dg.Any,
                kinds={"polars", "parquet"},
                description=f"{schema.description} Folded from the daily partials of all days.",
                metadata={"dagster/column_schema": column_schema(schema)},
            )
            for schema in _TABLES
        },
        deps=[DAILY_PARTIALS.name],
    )
    def users(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        reads: dg.ResourceParam[ReadLog],
        engine: dg.ResourceParam[Engine],
    ) -> tuple[_Later, _Later, _Later]:
        step = context.get_step_execution_context()
        attempt, settings = attempt_of(step), chain.settings
        begin_outputs(step, lake, reads)  # of all tables, before the first of them is folded

        @functools.cache
        def fold() -> Users:
            digests: list[tuple[str, str]] = []

            def days() -> Iterator[tuple[dt.date, pl.DataFrame]]:
                today = dt.datetime.now(settings.analytics_timezone).date()
                for key, partials, sha256 in _days(lake, engine, settings, today):
                    digests.append((key, sha256))
                    yield dt.date.fromisoformat(key), partials

            found = users_of_days(days())
            reads.add(attempt, None, DAILY_PARTIALS.name, _digest(digests))
            return found

        return (
            lambda: _described(user_analytics(fold())),
            lambda: _described(user_growth(fold())),
            lambda: _described(user_cohorts(fold())),
        )

    @dg.asset(
        name=_DOCUMENTS,
        group_name="documents",
        io_manager_key="document_io",
        ins={USER_ANALYTICS.name: lake_in(USER_ANALYTICS)},
        kinds={"mongodb" if chain.settings.mongodb_uri else "sqlite"},
        dagster_type=dg.Any,
        description="One document per user and app, and one per user over all apps.",
        metadata={
            "collection": chain.settings.mongodb_user_analytics_collection,
            "documents": "replace",
            "partition": USERS,
        },
    )
    def documents(
        context: dg.AssetExecutionContext,
        reads: dg.ResourceParam[ReadLog],
        user_analytics: pl.DataFrame,
    ) -> UserDocuments:
        attempt = attempt_of(context.get_step_execution_context())
        reads.add_beside(attempt, None, _kept_for(chain.settings))
        return UserDocuments(user_analytics)

    return [users, documents, user_report_files()]


def stale_users(
    lake: Lake, documents: DocumentStore, settings: Settings, today: dt.date
) -> tuple[StaleAsset, ...]:
    """Return the assets of users that are missing, or of other days than are held.

    The documents also where MONGODB_TTL_DAYS is another than they were made with: a longer time
    brings documents back. None while partials are of another version: their days are made again
    first. Days that never are count as not held.

    Args:
        lake: the lake.
        documents: the document store.
        settings: of this process.
        today: in the analytics time zone.

    Raises:
        AnalyticsError: a storage does not answer, or what is stored cannot be read.
    """
    keys = lake.keys(DAILY_PARTIALS)
    if not keys:
        return ()
    try:
        digest = _digest_of_held(lake, keys, days_made_again(lake, settings, today))
    except OutdatedPartitionError as error:
        _logger.warning("users left out: %s", error)
        return ()
    stored: dict[str, StoredPartition | None] = {
        DAILY_PARTIALS.name: StoredPartition(digest, {}),
        **stored_day([table.name for table in _TABLES], lake, documents, None),
        **stored_day([_DOCUMENTS], lake, documents, USERS),
        **stored_day([USER_FILES], lake, documents, USERS_PAGE),
    }
    made_by = {table.name: _MADE_BY for table in _TABLES}
    beside = _kept_for(settings) | placed_in(settings, _DOCUMENTS)
    return stale_assets(stored, _GRAPH, {**made_by, _DOCUMENTS: beside})


def _kept_for(settings: Settings) -> dict[str, str]:
    """Return what documents of users record of MONGODB_TTL_DAYS; nothing where all are kept."""
    days = settings.mongodb_ttl_days
    return {"keep_days": str(days)} if days else {}


def partials_held(lake: Lake) -> dict[str, str]:
    """Return the digest of the partials of each day, as these are held now.

    Days that an earlier version wrote are left out: what follows them is made again whole.

    Raises:
        LakeError: partials cannot be read.
        LakeUnavailableError: the storage does not answer.
    """
    found = {}
    for key in lake.keys(DAILY_PARTIALS):
        with contextlib.suppress(OutdatedPartitionError):
            found[key] = lake.stat(DAILY_PARTIALS, key).sha256
    return found


def digest_of_days(partials: Mapping[str, str]) -> str:
    """Return what users record of partials, given the digest of each day's."""
    return _digest(sorted(partials.items()))


def _digest_of_held(lake: Lake, keys: Sequence[str], made_again: frozenset[str]) -> str:
    """Return what users record of these days.

    Raises:
        OutdatedPartitionError: an earlier version wrote a day that is to be made again first.
    """
    found = ((key, unless_lost(lake.stat, DAILY_PARTIALS, key, made_again)) for key in keys)
    return _digest([(key, info.sha256) for key, info in found if info is not None])


def _described(table: pl.DataFrame) -> Described[pl.DataFrame]:
    return Described(table, {}, _MADE_BY)


def _days(
    lake: Lake, engine: Engine, settings: Settings, today: dt.date
) -> Iterator[tuple[str, pl.DataFrame, str]]:
    """Yield day, partials and digest of every day held, in order; see `stale_users`."""
    made_again = days_made_again(lake, settings, today)

    @retry_if_transient()
    def read(table: TableSchema, key: str) -> tuple[str, pl.DataFrame, str]:
        partials, info = lake.scan(table, key)
        return key, engine.collect(fold_input(taken_by(engine, partials))), info.sha256

    for key in sorted(lake.keys(DAILY_PARTIALS)):
        if found := unless_lost(read, DAILY_PARTIALS, key, made_again):
            yield found


def _digest(days: list[tuple[str, str]]) -> str:
    told = "\n".join(f"{key} {sha256}" for key, sha256 in days)
    return hashlib.sha256(told.encode()).hexdigest()
