"""Reads of MongoDB that never meet half of a partition's replacement.

A read is of one moment (read concern `snapshot`), so what was replaced in one transaction is seen
whole. A replacement of several transactions leaves a marker while it lasts, with the moment before
its first one: where such a marker is there at the moment of the read, that earlier moment is read.
So readers wait for nobody, and get the old partition until the new one is complete. The server
keeps old moments for `minSnapshotHistoryWindowInSeconds`, five minutes unless set.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from pymongo.errors import OperationFailure

from conversation_analytics.core.errors import DocumentStoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bson.timestamp import Timestamp
    from pymongo.client_session import ClientSession
    from pymongo.database import Database

    from conversation_analytics.core.documents import Document

    T = TypeVar("T")
    ReadConcern: TypeAlias = dict[str, Any]
    Read = Callable[[ReadConcern, ClientSession], T]

REPLACEMENTS: Final = "_partition_replacements"
"""Markers: `_id`, `collection`, `partition`, and `before`, the moment before its first batch."""

_TOO_OLD: Final = 239
_NOT_YET: Final = 246  # an index or the collection is younger than the moment
_EARLIER: Final = 50
_NOT_YET_ATTEMPTS: Final = 100
_PAUSE_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class _Moment:
    read_concern: ReadConcern
    replaced: dict[str, Timestamp]


def _moment(
    database: Database[Document], collection: str, session: ClientSession, at: Timestamp | None
) -> _Moment:
    """Return the latest moment, or `at`, with the partitions that were being replaced then."""
    concern: ReadConcern = {"level": "snapshot"}
    if at is not None:
        concern["atClusterTime"] = at
    reply = database.command(
        "find",
        REPLACEMENTS,
        filter={"collection": collection},
        batchSize=10_000,
        singleBatch=True,
        readConcern=concern,
        session=session,
    )["cursor"]
    if "atClusterTime" in reply:  # absent where nothing was ever written: no marker collection
        concern["atClusterTime"] = reply["atClusterTime"]
    return _Moment(concern, {one["partition"]: one["before"] for one in reply["firstBatch"]})


def read_whole(
    database: Database[Document],
    collection: str,
    read: Read[T],
    touches: Callable[[T, Collection[str]], bool],
) -> T:
    """Return what `read` gives at the latest moment at which no partition was half replaced.

    Args:
        database: of a replica set, from the primary.
        collection: that is read.
        read: sends one command with the read concern it is given, in the session.
        touches: whether an answer holds a document of one of these partitions. Asked where no
            moment is old enough: a run was killed and not repeated, or takes longer than the
            server keeps old moments.

    Raises:
        DocumentStoreUnavailableError: the answer holds documents of a partition that is half
            replaced, and there is no older moment.
    """
    for _ in range(_NOT_YET_ATTEMPTS):
        try:
            with database.client.start_session(causal_consistency=False) as session:
                return _read_whole(database, collection, session, read, touches)
        except OperationFailure as error:
            if error.code not in {_NOT_YET, _TOO_OLD}:
                raise
        time.sleep(_PAUSE_S)
    raise DocumentStoreUnavailableError(
        f"{collection}: MongoDB has no moment to read from for "
        f"{_NOT_YET_ATTEMPTS * _PAUSE_S:.0f} s: its indexes have just changed, or it keeps none "
        "(minSnapshotHistoryWindowInSeconds); read again"
    )


def _read_whole(
    database: Database[Document],
    collection: str,
    session: ClientSession,
    read: Read[T],
    touches: Callable[[T, Collection[str]], bool],
) -> T:
    latest = moment = _moment(database, collection, session, None)
    try:
        for _ in range(_EARLIER):
            if not moment.replaced:
                return read(moment.read_concern, session)
            before = min(moment.replaced.values())
            moment = _moment(database, collection, session, before)
    except OperationFailure as error:
        # At the latest moment nothing is too old: there the caller tries again.
        if moment is latest and not latest.replaced:
            raise
        if error.code not in {_TOO_OLD, _NOT_YET}:
            raise
    found = read(latest.read_concern, session)
    if touches(found, latest.replaced.keys()):
        partitions = ", ".join(sorted(latest.replaced))
        raise DocumentStoreUnavailableError(
            f"{collection}: {partitions} is half replaced for longer than the server keeps what "
            "was there before: its run was killed, or takes long; run the partition again, or "
            "wait for it, then read again"
        )
    return found
