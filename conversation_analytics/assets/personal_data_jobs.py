"""Jobs that remove: people who asked for it, and days that are too old.

Neither has a configuration: who is to be erased stands in the lake, noted by
`conversation-analytics erase-user`. So no id is in run config, tags, logs or metadata.
"""

import datetime as dt
from collections.abc import Callable

import dagster as dg

from conversation_analytics.assets.erasing import (
    carry_out_each,
    needs_somebody,
    pending,
    proof_path,
)
from conversation_analytics.assets.erasing_notes import Erasing
from conversation_analytics.assets.retention import remove_old_days
from conversation_analytics.core.errors import ErasureError, TransientError
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

ERASE: str = "erase_users"
RETAIN: str = "remove_old_days"


def erase_users_job(settings: Settings) -> dg.JobDefinition:
    """Return the job that carries out every erasure that is asked for and not done."""

    @dg.op(name="carry_out_erasures", description="Finishes what `erase-user` has noted.")
    def erase(
        context: dg.OpExecutionContext,
        lake: dg.ResourceParam[Lake],
        documents: dg.ResourceParam[DocumentStore],
    ) -> None:
        waiting = pending(lake)
        stuck = [name for name in waiting if needs_somebody(lake, name)]
        names = [name for name in waiting if name not in stuck]
        proofs, failed = carry_out_each(Erasing(lake, documents, settings), names, _now)
        told = {name: str(error) for name, error in failed.items()}
        for proof in proofs:
            name, found = proof["erasure"], proof["search"]["found"]
            context.log.info(
                "erased: request=%s days=%d partitions=%d found_after=%d",
                name, proof["days"], proof["partitions_rewritten"], found,
            )  # fmt: skip
            if found:
                where = lake.objects.uri(proof_path(proof))
                told[name] = f"{found} objects or documents are left, see {where}"
        told |= dict.fromkeys(stuck, "tried often enough, see its last proof: it is tried no more")
        for name, why in told.items():
            context.log.error("not erased: request=%s: %s", name, why)
        with retry_if_transient():
            for error in failed.values():
                if isinstance(error, TransientError):
                    raise error
        if told:
            raise ErasureError(
                f"{len(told)} of {len(waiting)} erasures are not done: "
                + "; ".join(f"{name}: {why}" for name, why in told.items())
                + ". Take out what the proofs name, then `conversation-analytics erase-user "
                "--pending`"
            )

    return _job(ERASE, "Erases the people whose erasure is noted in the lake.", erase)


def retention_job(settings: Settings) -> dg.JobDefinition:
    """Return the job that removes days by age."""

    @dg.op(name="remove_days_by_age", description="Removes what RETENTION_..._DAYS names.")
    def remove(
        context: dg.OpExecutionContext,
        lake: dg.ResourceParam[Lake],
        documents: dg.ResourceParam[DocumentStore],
    ) -> None:
        today = dt.datetime.now(settings.analytics_timezone).date()
        with retry_if_transient():
            removals = remove_old_days(lake, documents, settings, today)
        for one in removals:
            context.log.info("removed: name=%s partitions=%d", one.name, len(one.keys))

    return _job(RETAIN, "Removes days that are older than their zone keeps them.", remove)


def _job(name: str, description: str, op: Callable[[], None]) -> dg.JobDefinition:
    @dg.job(name=name, description=description)
    def job() -> None:
        op()

    return job


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
