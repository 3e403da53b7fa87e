"""Writes of one partition to MongoDB: in one transaction, or in several behind a marker.

What fits into one transaction is seen by every reader of a snapshot all or not at all. How much
fits depends on the server's cache: a transaction may keep a part of it dirty, its documents and
an entry of every index among it. A larger replacement first leaves a marker for the readers of
this store (`mongo_snapshots`), which the last of its transactions takes away again; if it is killed
the next writer of the partition does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from bson.errors import InvalidDocument
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure, PyMongoError
from pymongo.write_concern import WriteConcern

from conversation_analytics.core.errors import DocumentStoreUnavailableError
from conversation_analytics.core.partitions import replaced_meanwhile
from conversation_analytics.documents.mongo_snapshots import REPLACEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bson.raw_bson import RawBSONDocument
    from bson.timestamp import Timestamp
    from pymongo import DeleteOne, InsertOne, ReplaceOne
    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection

    from conversation_analytics.core.documents import Document

    Operation: TypeAlias = InsertOne[Any] | ReplaceOne[Any] | DeleteOne
    Renew: TypeAlias = Callable[[Sequence["Write"]], list["Write"]]
    T = TypeVar("T")

GENERATIONS: Final = "_partition_generations"
MERGE_ATTEMPTS: Final = 100

SMALLEST_CACHE: Final = 256 * 1024 * 1024
"""Bytes of cache that every server has, unless somebody set less."""
_SHARE_OF_CACHE: Final = 0.075  # half of the 15% at which the server gives a transaction up
_MOST_BYTES: Final = 256 * 1024 * 1024  # of memory here, and some seconds of the minute there
_ENTRY_BYTES: Final = 300  # dirty bytes of an index entry beside the document's, measured

_DUPLICATE_KEY: Final = 11000
_TOO_LARGE: Final = 388
_TRANSACTION_ATTEMPTS: Final = 200
_LARGE_ATTEMPTS: Final = 3
# A write conflict, a transaction that the server has given up, a lock, a snapshot, no room.
_CONFLICTS: Final = frozenset({24, 112, 246, 251, _TOO_LARGE})
# Step-down, shutdown, network, interruption and time limits, from MongoDB's error_codes.yml.
_TRANSIENT: Final = frozenset(
    {6, 7, 24, 50, 64, 89, 91, 112, 134, 189, 202, 225, 246, 251, 262, 317, 358, 384, 388, 9001,
     10058, 10107, 11600, 11601, 11602, 13435, 13436}
)  # fmt: skip
# The server refuses the whole request because of one document in it.
_ONE_SPOILS_ALL: Final = frozenset({2, 9, 15, 22, 10334, 17280, 17419, 17420})
_REFUSED: Final = {121: "the collection's validator", _DUPLICATE_KEY: "a unique index"}


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to write a partition: until another writer claims the next generation.

    Attributes:
        collection: its name.
        partition: key of the partition, or day.
        generation: what this writer made it.
        session: every transaction is of this one.
        before: a moment at which nothing of this turn was written yet.
    """

    collection: str
    partition: str
    generation: int
    session: ClientSession
    before: Timestamp | None

    @property
    def key(self) -> str:
        """`_id` of the partition's generation and marker."""
        return f"{self.collection}/{self.partition}"


@dataclass(frozen=True, slots=True)
class Write:
    """One document's write.

    Attributes:
        identifier: its id.
        operation: what to do.
        size: bytes of the request.
        document: the new one, encoded; None where it is deleted.
    """

    identifier: str
    operation: Operation
    size: int = 0
    document: RawBSONDocument | None = None


@dataclass(slots=True)
class Written:
    """What was written, in documents, and which were refused: id -> kind of problem."""

    inserted: int = 0
    matched: int = 0
    deleted: int = 0
    bad: dict[str, str] = field(default_factory=dict)

    def count(self, result: Mapping[str, Any]) -> int:
        """Add what a bulk write did, and return of how many documents."""
        self.inserted += (inserted := result["nInserted"] + result["nUpserted"])
        self.matched += result["nMatched"]
        self.deleted += result["nRemoved"]
        return int(inserted + result["nMatched"] + result["nRemoved"])


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """How much goes into one request and one transaction.

    Attributes:
        documents: of a request, where there are several transactions.
        bytes: of the cache, for one transaction; None: the server has no transactions.
    """

    documents: int
    bytes: int | None


class _OvertakenError(Exception):
    """Another writer changed some of the documents since they were read."""


class _TooLargeError(Exception):
    """The server has no room for a transaction of this size."""


class _UndoneError(Exception):
    """Ends a transaction that was only to be tried."""


def transaction_bytes(cache_bytes: int) -> int:
    """Return how many bytes of a cache of `cache_bytes` one transaction may take here."""
    return min(int(cache_bytes * _SHARE_OF_CACHE), _MOST_BYTES)


def is_transient(error: PyMongoError) -> bool:
    """Return whether the same may succeed later."""
    if isinstance(error, BulkWriteError):
        details = error.details
        failures = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
        if any(failure.get("code") in _TRANSIENT for failure in failures):
            return True
    return error.timeout or (
        isinstance(error, OperationFailure)
        and (error.code in _TRANSIENT or error.has_error_label("RetryableWriteError"))
    )


class Publication:
    """All writes of one turn to one collection."""

    def __init__(
        self,
        target: Collection[Document],
        turn: Turn,
        limits: WriteLimits,
        renew: Renew,
        broken_rule: Callable[[RawBSONDocument], str | None],
        *,
        guarded: bool,
    ) -> None:
        """Begin.

        Args:
            target: the collection.
            turn: of its partition.
            limits: of requests and transactions.
            renew: looks again, and returns what is to be written of documents that another writer
                changed meanwhile.
            broken_rule: tells why the collection's validator may refuse a document.
            guarded: whether every write must find its document as it was read.
        """
        self.written = Written()
        self._target = target
        self._turn = turn
        self._limits = limits
        self._renew = renew
        self._broken_rule = broken_rule
        self._guarded = guarded
        database = target.database
        majority = WriteConcern("majority")
        self._generations = database.get_collection(GENERATIONS, write_concern=majority)
        self._replacements = database.get_collection(REPLACEMENTS)
        self._waiting: list[Write] = []
        self._bytes = 0
        self._in_parts = limits.bytes is None
        self._entries = 0
        if limits.bytes is not None:
            self._entries = 1 + len(target.index_information())

    def add(self, writes: Sequence[Write]) -> None:
        """Write these, now or with the rest."""
        self._waiting += writes
        self._bytes += sum(map(self._size, writes))
        if self._limits.bytes is not None and self._bytes > self._limits.bytes:
            self._begin_parts()
        if self._in_parts:
            self._write_parts()

    def finish(self) -> Written:
        """Write what is left, and return what was written in all."""
        if not self._in_parts:
            try:
                self._commit(self._waiting, last=True)
            except _TooLargeError:
                self._begin_parts()
            else:
                return self.written
        self._write_parts()
        if self._limits.bytes is not None:
            self._commit([], last=True)
        return self.written

    def _size(self, write: Write) -> int:
        return write.size + _ENTRY_BYTES * self._entries

    def _begin_parts(self) -> None:
        """Leave the marker; that of a writer that was killed stays, for it is older."""
        if self._in_parts:
            return
        turn = self._turn
        told = {"collection": turn.collection, "partition": turn.partition, "before": turn.before}

        def mark(session: ClientSession | None) -> None:
            self._replacements.update_one(
                {"_id": turn.key}, {"$setOnInsert": told}, upsert=True, session=session
            )

        self._in_turn(mark)
        self._in_parts = True

    def _write_parts(self) -> None:
        some: list[Write] = []
        size = 0
        # Several writers share the room; and without transactions there is nothing to fill.
        most = self._limits.bytes // 2 if self._limits.bytes is not None else _MOST_BYTES
        for write in self._waiting:
            if some and (len(some) == self._limits.documents or size + self._size(write) > most):
                self._commit(some)
                some, size = [], 0
            some.append(write)
            size += self._size(write)
        self._commit(some)
        self._waiting, self._bytes = [], 0

    def _commit(self, writes: Sequence[Write], *, last: bool = False) -> None:
        """Write all of these but those that the server refuses."""
        for _ in range(MERGE_ATTEMPTS):
            if not (writes or last):
                return
            left = (
                self._write_plainly(writes)
                if self._limits.bytes is None
                else self._write_at_once(writes, last=last)
            )
            if left is None:
                return
            writes = left
        raise DocumentStoreUnavailableError(
            f"{self._turn.collection}, {self._turn.partition}: other writers changed the same "
            f"documents {MERGE_ATTEMPTS} times in a row; try again"
        )

    # With transactions ------------------------------------------------------------------------

    def _in_turn(
        self, work: Callable[[ClientSession], T], *, attempts: int = _TRANSACTION_ATTEMPTS
    ) -> T:
        """Do `work` all or not at all, and only while the turn lasts."""
        turn = self._turn
        wanted = {"_id": turn.key, "generation": turn.generation}
        for attempt in range(attempts):
            try:
                with turn.session.start_transaction(write_concern=WriteConcern("majority")):
                    # A write, not a look: so it conflicts with whoever claims the next turn.
                    touched = self._generations.update_one(
                        wanted, {"$inc": {"batches": 1}}, session=turn.session
                    )
                    if not touched.matched_count:
                        raise replaced_meanwhile(f"{turn.collection}, {turn.partition}")
                    return work(turn.session)
            except PyMongoError as error:
                if attempts < _TRANSACTION_ATTEMPTS and _TOO_LARGE in _codes(error):
                    raise _TooLargeError from None
                # What the driver does for writes outside of transactions: one more attempt.
                once_more = attempt == 0 and error.has_error_label("TransientTransactionError")
                if not (_codes(error) & _CONFLICTS or once_more):
                    raise
                time.sleep(min(0.001 * attempt, 0.05))
        if attempts < _TRANSACTION_ATTEMPTS:
            raise _TooLargeError
        raise DocumentStoreUnavailableError(
            f"{turn.collection}, {turn.partition}: other writers changed the same documents, or "
            f"filled the server's cache, {attempts} times in a row; try again"
        )

    def _apply(
        self, writes: Sequence[Write], session: ClientSession, *, last: bool
    ) -> Mapping[str, Any] | None:
        result: Mapping[str, Any] | None = None
        if writes:
            operations = [write.operation for write in writes]
            answer = self._target.bulk_write(operations, ordered=False, session=session)
            result = answer.bulk_api_result
            if self._guarded and Written().count(result) < len(writes):
                raise _OvertakenError
        if last:
            self._replacements.delete_one({"_id": self._turn.key}, session=session)
        return result

    def _write_at_once(self, writes: Sequence[Write], *, last: bool) -> list[Write] | None:
        """Return None when all is written, else what to try instead."""
        # Of many documents a conflict may mean that there is no room: the server does not tell.
        large = last and len(writes) > self._limits.documents
        attempts = _LARGE_ATTEMPTS if large else _TRANSACTION_ATTEMPTS
        try:
            result = self._in_turn(partial(self._apply, writes, last=last), attempts=attempts)
        except _OvertakenError:
            return self._renew(writes)
        except (PyMongoError, InvalidDocument) as error:
            if _is_taken_id(error):
                return self._renew(writes)
            bad = self._broken(writes) or self._refused(writes, _why(error))
            self.written.bad |= bad
            return [write for write in writes if write.identifier not in bad]
        if result is not None:
            self.written.count(result)
        return None

    def _broken(self, writes: Sequence[Write]) -> dict[str, str]:
        """Return which documents break a rule: of many that do each would cost transactions."""
        found = (
            (write.identifier, self._broken_rule(write.document))
            for write in writes
            if write.document is not None
        )
        return {identifier: why for identifier, why in found if why is not None}

    def _refused(self, writes: Sequence[Write], why: str) -> dict[str, str]:
        """Return which writes the server refuses, by trying halves that are never committed."""
        if len(writes) == 1:
            return {writes[0].identifier: why}
        half = len(writes) // 2
        bad: dict[str, str] = {}
        for some in (writes[:half], writes[half:]):
            try:
                self._in_turn(partial(self._try, some))
            except _UndoneError:
                continue
            except (PyMongoError, InvalidDocument) as error:
                if not _is_taken_id(error):
                    bad |= self._refused(some, _why(error))
        return bad

    def _try(self, writes: Sequence[Write], session: ClientSession) -> None:
        operations = [write.operation for write in writes]
        self._target.bulk_write(operations, ordered=False, session=session)
        raise _UndoneError

    # Without ----------------------------------------------------------------------------------

    def _write_plainly(self, writes: Sequence[Write]) -> list[Write] | None:
        turn = self._turn
        if not writes:
            return None
        if self._generations.find_one({"_id": turn.key, "generation": turn.generation}) is None:
            raise replaced_meanwhile(f"{turn.collection}, {turn.partition}")
        operations = [write.operation for write in writes]
        taken: list[Write] = []
        bad: dict[str, str] = {}
        result: Mapping[str, Any]
        try:
            result = self._target.bulk_write(operations, ordered=False).bulk_api_result
        except BulkWriteError as error:
            if is_transient(error) or error.details["writeConcernErrors"]:
                raise
            result = error.details
            for failure in result["writeErrors"]:
                write = writes[failure["index"]]
                if _is_id(failure):
                    taken.append(write)
                else:
                    why = self._broken([write]).get(write.identifier)
                    bad[write.identifier] = why or _kind(failure["code"])
        except (PyMongoError, InvalidDocument) as error:
            why = _why(error)
            if len(writes) == 1:
                self.written.bad[writes[0].identifier] = why
                return None
            half = len(writes) // 2
            parts = [self._write_plainly(some) for some in (writes[:half], writes[half:])]
            return [write for some in parts if some for write in some] or None
        self.written.bad |= bad
        done = self.written.count(result)
        if self._guarded and done + len(bad) < len(writes):
            taken = [write for write in writes if write.identifier not in bad]
        return self._renew(taken) if taken else None


def _codes(error: PyMongoError) -> set[int]:
    if isinstance(error, BulkWriteError):
        return {failure["code"] for failure in error.details["writeErrors"]}
    return {error.code or 0} if isinstance(error, OperationFailure) else set()


def _is_id(failure: Mapping[str, Any]) -> bool:
    return failure["code"] == _DUPLICATE_KEY and failure.get("keyPattern") == {"_id": 1}


def _is_taken_id(error: PyMongoError | InvalidDocument) -> bool:
    return isinstance(error, BulkWriteError) and any(map(_is_id, error.details["writeErrors"]))


def _kind(code: int) -> str:
    return _REFUSED.get(code, f"MongoDB error {code}")


def _why(error: PyMongoError | InvalidDocument) -> str:
    """Return why the server refuses a request of which one document may be the cause.

    Raises:
        PyMongoError: `error`, where it is not that.
    """
    if isinstance(error, BulkWriteError):
        if is_transient(error) or error.details["writeConcernErrors"]:
            raise error
        return _kind(error.details["writeErrors"][0]["code"])
    if isinstance(error, (DocumentTooLarge, InvalidDocument)):
        return "document over 16 MB"
    if isinstance(error, OperationFailure) and error.code in _ONE_SPOILS_ALL:
        return _kind(error.code)
    raise error
