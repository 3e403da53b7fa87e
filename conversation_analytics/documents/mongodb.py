"""Documents in MongoDB 6.0 or later.

Every batch is one transaction that first touches the generation of its partition, so that no
batch of a writer that was overtaken comes through; conversations are guarded by the hash they
had when they were read, too. A partition is many batches, so that its size has no limit, and
safe to repeat. A server without transactions (alone, in no replica set) compares the generation
just before each batch instead.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import logging
import os
import struct
import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import bson
from bson.codec_options import CodecOptions, TypeCodec, TypeRegistry
from bson.decimal128 import Decimal128
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, MongoClient, ReadPreference, ReplaceOne
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from conversation_analytics.core.documents import ConversationSlice, merge_slice
from conversation_analytics.core.errors import (
    AnalyticsError,
    DocumentError,
    DocumentStoreUnavailableError,
)
from conversation_analytics.core.partitions import replaced_meanwhile
from conversation_analytics.documents.collections import (
    CollectionSpec,
    conversations,
    partition_index,
)
from conversation_analytics.documents.encoding import (
    HASH,
    MAX_BYTES,
    PARTITION,
    UnstorableError,
    storable,
    storable_document,
    storable_slice,
)
from conversation_analytics.documents.store import (
    MongoConfig,
    ReplaceOutcome,
    Scalar,
    Sort,
    check_collection,
    check_ids,
    check_partition,
    check_query,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection
    from pymongo.cursor import Cursor
    from pymongo.database import Database

    from conversation_analytics.core.documents import Document

    Operation: TypeAlias = InsertOne[Any] | ReplaceOne[Any] | DeleteOne
    T = TypeVar("T")

_log = logging.getLogger("conversation_analytics.documents")

_DUPLICATE_KEY: Final = 11000
_MERGE_ATTEMPTS: Final = 100
_GENERATIONS: Final = "_partition_generations"
_TRANSACTION_ATTEMPTS: Final = 200
_TRANSACTION_BYTES: Final = 32 * 1024 * 1024
_FIRST_LOOK: Final = 50  # conversations that are read to learn whether anything differs
_DELETION_BYTES: Final = 200  # of the request and of the log, about
# A write conflict, a transaction that the server has given up, a lock, a snapshot.
_CONFLICTS: Final = frozenset({24, 112, 246, 251})
_DENIED: Final = {13: "not authorised", 18: "authentication failed", 8000: "authentication failed"}
# Step-down, shutdown, network, interruption and time limits, from MongoDB's error_codes.yml.
_TRANSIENT: Final = frozenset(
    {6, 7, 24, 50, 64, 89, 91, 112, 134, 189, 202, 225, 246, 251, 262, 317, 358, 384, 9001, 10058,
     10107, 11600, 11601, 11602, 13435, 13436}
)  # fmt: skip
# The server refuses the whole request because of one document in it.
_ONE_SPOILS_ALL: Final = frozenset({2, 9, 15, 22, 10334, 17280, 17419, 17420})
_VALIDATION: Final = {121: "the collection's validator", _DUPLICATE_KEY: "a unique index"}


class _DecimalCodec(TypeCodec):
    """Exact decimals both ways; `storable` has made sure that they fit."""

    python_type = Decimal
    bson_type = Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        return _decimal128(str(value))

    def transform_bson(self, value: Decimal128) -> Decimal:
        return _decimal(value.bid)


@functools.lru_cache(maxsize=65_536)
def _decimal128(text: str) -> Decimal128:
    # By text, because equal decimals of different scale are one key. Prices come again and
    # again, and the driver's conversion is slow.
    return Decimal128(text)


@functools.lru_cache(maxsize=65_536)
def _decimal(bid: bytes) -> Decimal:
    return Decimal128.from_bid(bid).to_decimal()


_CODEC: Final[CodecOptions[Any]] = CodecOptions(
    tz_aware=True, tzinfo=dt.UTC, type_registry=TypeRegistry([_DecimalCodec()])
)


@dataclass(frozen=True, slots=True)
class _Turn:
    """The right to write a partition: until another writer claims the next generation."""

    collection: str
    partition: str
    generation: int
    session: ClientSession

    @property
    def key(self) -> str:
        return f"{self.collection}/{self.partition}"


@dataclass(frozen=True, slots=True)
class _Write:
    """One document's write, of `size` bytes."""

    identifier: str
    operation: Operation
    size: int = 0


@dataclass(slots=True)
class _Written:
    """What a bulk write did."""

    inserted: int = 0
    matched: int = 0
    deleted: int = 0
    duplicates: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)

    def add(self, other: _Written) -> None:
        self.inserted += other.inserted
        self.matched += other.matched
        self.deleted += other.deleted
        self.duplicates += other.duplicates
        self.bad |= other.bad

    def count(self, result: Mapping[str, Any]) -> None:
        self.inserted += result["nInserted"] + result["nUpserted"]
        self.matched += result["nMatched"]
        self.deleted += result["nRemoved"]

    def count_failed(self, error: BulkWriteError, writes: Sequence[_Write]) -> None:
        self.count(error.details)
        for failure in error.details["writeErrors"]:
            identifier = writes[failure["index"]].identifier
            operation = writes[failure["index"]].operation
            code = failure["code"]
            if code == _DUPLICATE_KEY and isinstance(operation, InsertOne):
                self.duplicates.append(identifier)
            else:
                self.bad[identifier] = _VALIDATION.get(code, f"MongoDB error {code}")


def _encoded(document: Document) -> bytes:
    try:
        raw = bson.encode(document, codec_options=_CODEC)
    except InvalidDocument:
        raise UnstorableError("not encodable") from None
    if len(raw) > MAX_BYTES:
        raise UnstorableError("document over 16 MB")
    return raw


class _Encoded(RawBSONDocument):
    """A document of at least one field: the driver need not decode it to learn that."""

    def __bool__(self) -> bool:
        return True


def _stored(raw: bytes, own: Document) -> _Encoded:
    """Append the store's own fields to an encoded document, so that it is encoded once."""
    tail = bson.encode(own)[4:-1]
    return _Encoded(struct.pack("<i", len(raw) + len(tail)) + raw[4:-1] + tail + b"\0")


def _without_own(document: Document) -> Document:
    document.pop(PARTITION, None)
    document.pop(HASH, None)
    return document


class MongoStore:
    """A `DocumentStore` in MongoDB. See the protocol for the methods."""

    def __init__(self, config: MongoConfig) -> None:
        """Remember the configuration; the first use connects."""
        self._config = config
        self._lock = threading.Lock()
        self._client: MongoClient[Document] | None = None
        self._left: list[MongoClient[Document]] = []
        self._process = os.getpid()
        self._indexed: set[CollectionSpec] = set()
        self._has_transactions: bool | None = None

    # Connection -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Turn the driver's errors into ours; never show theirs, which quote documents."""
        try:
            yield
        except AnalyticsError:
            raise
        except OperationFailure as error:
            code = error.code or 0
            if _is_transient(error):
                raise self._unavailable(doing, f"error {code}") from None
            if code in _DENIED:
                raise DocumentError(
                    f"{doing}: MongoDB says {_DENIED[code]} ({code}) for the user of MONGODB_URI "
                    f"on database {self._config.database!r}; check the credentials, authSource "
                    "and the role readWrite"
                ) from None
            name = (error.details or {}).get("codeName", "no name")
            raise DocumentError(
                f"{doing}: MongoDB refuses the request with error {code} ({name}); look it up in "
                "the server's log"
            ) from None
        except ConnectionFailure as error:
            raise self._unavailable(doing, type(error).__name__) from None
        except PyMongoError as error:
            if _is_without_sessions(error):
                # A connection opened while the member started stays without sessions for good.
                self._forget_connections()
                raise self._unavailable(doing, "no primary yet") from None
            if _is_transient(error):
                raise self._unavailable(doing, type(error).__name__) from None
            raise DocumentError(
                f"{doing}: the MongoDB driver raises {type(error).__name__}; check MONGODB_URI "
                "and its options"
            ) from None

    def _unavailable(self, doing: str, what: str) -> DocumentStoreUnavailableError:
        return DocumentStoreUnavailableError(
            f"{doing}: MongoDB at {self.describe()['hosts']} does not answer within "
            f"{self._config.server_selection_timeout_s} s or broke off ({what}); check that it "
            "runs and can be reached, then try again"
        )

    def _connected(self) -> MongoClient[Document]:
        with self._lock:
            if self._client is None or self._process != os.getpid():
                milliseconds = int(self._config.server_selection_timeout_s * 1000)
                self._client = MongoClient(
                    self._config.uri,
                    connect=False,
                    appname="conversation-analytics",
                    serverSelectionTimeoutMS=milliseconds,
                    connectTimeoutMS=milliseconds,
                    socketTimeoutMS=int(self._config.socket_timeout_s * 1000),
                )
                self._process = os.getpid()
            return self._client

    def _forget_connections(self) -> None:
        # Closed with the store: other threads may be in the middle of something.
        with self._lock:
            if self._client is not None:
                self._left.append(self._client)
            self._client = None

    def _database(self) -> Database[Document]:
        # From the primary, whatever the URI prefers: a write depends on what was read.
        return self._connected().get_database(
            self._config.database, codec_options=_CODEC, read_preference=ReadPreference.PRIMARY
        )

    def _collection(self, name: str) -> Collection[Document]:
        return self._database()[check_collection(name)]

    # Writing ----------------------------------------------------------------------------------

    def begin(self, collection: str, partition: str) -> int:
        """See `DocumentStore.begin`."""
        check_collection(collection)
        check_partition(collection, partition)
        with self._errors(f"{collection}, {partition}"):
            found = self._generations().find_one({"_id": f"{collection}/{partition}"})
        return int(found["generation"]) if found else 0

    def _generations(self) -> Collection[Document]:
        return self._database().get_collection(_GENERATIONS, write_concern=WriteConcern("majority"))

    @contextlib.contextmanager
    def _claimed(self, collection: str, partition: str, since: int) -> Iterator[_Turn]:
        """Make the partition the next generation: from here on no older writer can write."""
        generations = self._generations()
        with self._connected().start_session() as session:
            turn = _Turn(collection, partition, since + 1, session)
            before = generations.find_one({"_id": turn.key, "generation": since})
            if before and "session" in before:
                self._abort(before["session"])
            try:
                # Of generation 0 there is no document: another writer's makes the insert fail.
                claimed = generations.update_one(
                    {"_id": turn.key, "generation": since},
                    {"$set": {"generation": since + 1, "session": session.session_id["id"]}},
                    upsert=since == 0,
                )
            except DuplicateKeyError:
                raise replaced_meanwhile(f"{collection}, {partition}") from None
            if not claimed.matched_count and claimed.upserted_id is None:
                raise replaced_meanwhile(f"{collection}, {partition}")
            yield turn
            # The session goes back to the driver's pool: from now on it is somebody else's.
            generations.update_one(
                {"_id": turn.key, "generation": since + 1}, {"$unset": {"session": ""}}
            )

    def _abort(self, session: object) -> None:
        """End what a writer that died or was stopped has open, for which a claim would wait."""
        try:
            self._connected().admin.command("killSessions", [{"id": session}])
        except OperationFailure as error:
            if _is_transient(error):
                raise
            # Not allowed for this user: the server ends it after transactionLifetimeLimitSeconds.
            _log.info("killSessions refused with error %s: waiting instead", error.code)

    def _transactional(self) -> bool:
        if self._has_transactions is None:
            hello = self._connected().admin.command("hello")
            self._has_transactions = "setName" in hello or hello.get("msg") == "isdbgrid"
        return self._has_transactions

    def _in_turn(self, turn: _Turn, work: Callable[[ClientSession | None], T]) -> T:
        """Do `work` all or not at all, and only while the turn lasts."""
        generations = self._generations()
        wanted = {"_id": turn.key, "generation": turn.generation}
        late = replaced_meanwhile(f"{turn.collection}, {turn.partition}")
        if not self._transactional():
            if generations.find_one(wanted) is None:
                raise late
            return work(None)
        for attempt in range(_TRANSACTION_ATTEMPTS):
            try:
                with turn.session.start_transaction(write_concern=WriteConcern("majority")):
                    # A write, not a look: so it conflicts with whoever claims the next turn.
                    touched = generations.update_one(
                        wanted, {"$inc": {"batches": 1}}, session=turn.session
                    )
                    if not touched.matched_count:
                        raise late
                    return work(turn.session)
            except PyMongoError as error:
                conflict = isinstance(error, OperationFailure) and error.code in _CONFLICTS
                # What the driver does for writes outside of transactions: one more attempt.
                if not (conflict or (attempt == 0 and _may_repeat(error))):
                    raise
                time.sleep(min(0.001 * attempt, 0.05))
        raise DocumentStoreUnavailableError(
            f"{turn.collection}, {turn.partition}: other writers changed the same documents "
            f"{_TRANSACTION_ATTEMPTS} times in a row; try again"
        )

    def _write(
        self, target: Collection[Document], turn: _Turn, writes: Sequence[_Write]
    ) -> _Written:
        """Write in transactions of limited size."""
        written = _Written()
        some: list[_Write] = []
        size = 0
        for write in writes:
            if some and size + write.size > _TRANSACTION_BYTES:
                written.add(self._bulk(target, turn, some))
                some, size = [], 0
            some.append(write)
            size += write.size
        written.add(self._bulk(target, turn, some))
        return written

    def _bulk(
        self, target: Collection[Document], turn: _Turn, writes: Sequence[_Write]
    ) -> _Written:
        """Write what can be written; halve a request that is refused as a whole."""
        written = _Written()
        if not writes:
            return written
        operations = [write.operation for write in writes]
        try:
            result = self._in_turn(
                turn, lambda session: target.bulk_write(operations, ordered=False, session=session)
            )
        except BulkWriteError as error:
            if _is_transient(error) or error.details["writeConcernErrors"]:
                raise
            if len(writes) == 1 or not self._transactional():
                written.count_failed(error, writes)
            else:
                self._halve(target, turn, writes, written)
        except (DocumentTooLarge, InvalidDocument, OperationFailure) as error:
            code = getattr(error, "code", None)
            if isinstance(error, OperationFailure) and code not in _ONE_SPOILS_ALL:
                raise
            if len(writes) == 1:
                why = "document over 16 MB" if code is None else f"MongoDB error {code}"
                written.bad[writes[0].identifier] = why
            else:
                self._halve(target, turn, writes, written)
        else:
            written.count(result.bulk_api_result)
        return written

    def _halve(
        self,
        target: Collection[Document],
        turn: _Turn,
        writes: Sequence[_Write],
        written: _Written,
    ) -> None:
        half = len(writes) // 2
        written.add(self._bulk(target, turn, writes[:half]))
        written.add(self._bulk(target, turn, writes[half:]))

    def _ids(self, target: Collection[Document], ids: Sequence[str]) -> set[str]:
        found = target.find({"_id": {"$in": list(ids)}}, {"_id": 1})
        return {document["_id"] for document in found}

    def replace_partition(
        self,
        collection: str,
        partition: str,
        documents: Sequence[Document],
        since: int | None = None,
    ) -> ReplaceOutcome:
        """See `DocumentStore.replace_partition`."""
        ids = check_ids(collection, partition, (one.get("_id") for one in documents))
        self.ensure(CollectionSpec(collection, (partition_index(),)))
        since = self.begin(collection, partition) if since is None else since
        with self._errors(f"{collection}, {partition}"):
            target = self._collection(collection)
            done = self._replace(target, partition, documents, ids, None)
            if done is None:  # something differs: look again when nobody else can write
                with self._claimed(collection, partition, since) as turn:
                    done = self._replace(target, partition, documents, ids, turn)
        total, unchanged = done or (_Written(), 0)
        outcome = ReplaceOutcome(total.inserted, total.matched, unchanged, total.deleted)
        _log_outcome("replace_partition", collection, partition, outcome, total.bad)
        if total.bad:
            raise refusal(collection, partition, total.bad)
        return outcome

    def _replace(
        self,
        target: Collection[Document],
        partition: str,
        documents: Sequence[Document],
        ids: Sequence[str],
        turn: _Turn | None,
    ) -> tuple[_Written, int] | None:
        """Return what was written and how many were unchanged; None where `turn` is needed."""
        own = target.find({PARTITION: {"$eq": partition}}, {"_id": 1, HASH: 1})
        held = {document["_id"]: document.get(HASH) for document in own}
        stale = sorted(held.keys() - set(ids))
        if turn is None and (stale or not held.keys() >= set(ids)):
            return None
        total = _Written()
        unchanged = 0
        size = self._config.batch_size
        # With the last batch, so that no reader ever misses a document that stays, and of a
        # partition of one batch sees all of the old or all of the new; and only what is still
        # of this partition, for another one may have taken it over meanwhile.
        gone = [_deletion(identifier, partition) for identifier in stale]
        for start in range(0, max(len(documents), 1), size):
            batch = documents[start : start + size]
            changed, bad = _changed(partition, batch, held)
            unchanged += len(batch) - len(changed) - len(bad)
            total.bad |= bad
            if changed and turn is None:
                return None
            if turn is not None:
                last = start + size >= len(documents)
                leaving = gone[:size] if last else []
                total.add(self._replace_batch(target, turn, changed, held, leaving))
        for start in range(size, len(gone), size):
            if turn is not None:
                total.add(self._write(target, turn, gone[start : start + size]))
        return total, unchanged

    def _replace_batch(
        self,
        target: Collection[Document],
        turn: _Turn,
        changed: Mapping[str, _Encoded],
        held: Mapping[str, str | None],
        leaving: Sequence[_Write],
    ) -> _Written:
        # Probing and then inserting is twice as fast as upserting blindly.
        there = self._ids(target, [one for one in changed if one not in held])
        writes = []
        for identifier, document in changed.items():
            known = identifier in held or identifier in there
            operation: Operation = (
                _replacement(identifier, document) if known else InsertOne(document)
            )
            writes.append(_Write(identifier, operation, len(document.raw)))
        written = self._write(target, turn, [*writes, *leaving])
        # Inserted by another partition's writer since the probe.
        late = [
            _Write(one, _replacement(one, changed[one]), len(changed[one].raw))
            for one in written.duplicates
        ]
        written.duplicates = []
        written.add(self._write(target, turn, late))
        return written

    def merge_conversations(
        self,
        collection: str,
        day: str,
        slices: Sequence[ConversationSlice],
        since: int | None = None,
    ) -> ReplaceOutcome:
        """See `DocumentStore.merge_conversations`."""
        check_ids(collection, day, (piece.conversation_id for piece in slices))
        self.ensure(conversations(collection))
        since = self.begin(collection, day) if since is None else since
        with self._errors(f"{collection}, {day}"):
            target = self._collection(collection)
            done = self._merge(target, day, slices, None)
            if done is None:  # something differs: look again when nobody else can write
                with self._claimed(collection, day, since) as turn:
                    done = self._merge(target, day, slices, turn)
        total, number = done or (_Written(), 0)
        touched = total.inserted + total.matched + total.deleted + len(total.bad)
        outcome = ReplaceOutcome(total.inserted, total.matched, number - touched, total.deleted)
        _log_outcome("merge_conversations", collection, day, outcome, total.bad)
        if total.bad:
            raise refusal(collection, day, total.bad)
        return outcome

    def _merge(
        self,
        target: Collection[Document],
        day: str,
        slices: Sequence[ConversationSlice],
        turn: _Turn | None,
    ) -> tuple[_Written, int] | None:
        """Return what was written and the number of slices; None where `turn` is needed."""
        given = {piece.conversation_id for piece in slices}
        owned = {one["_id"] for one in target.find({"days": {"$eq": day}}, {"_id": 1})}
        withdrawn = [ConversationSlice(one, None, []) for one in sorted(owned - given)]
        pieces = [*slices, *withdrawn]
        total = _Written()
        # Where something differs, it often does so at once, and all is read once more.
        size = self._config.batch_size if turn else min(self._config.batch_size, _FIRST_LOOK)
        for start in range(0, len(pieces), size):
            batch = []
            for piece in pieces[start : start + size]:
                try:
                    batch.append(storable_slice(piece))
                except UnstorableError as error:
                    total.bad[piece.conversation_id] = str(error)
            written = self._merge_batch(target, day, batch, turn)
            if written is None:
                return None
            total.add(written)
        return total, len(pieces)

    def _merge_batch(
        self,
        target: Collection[Document],
        day: str,
        batch: Sequence[ConversationSlice],
        turn: _Turn | None,
    ) -> _Written | None:
        """Merge until no other writer has come between reading and writing a conversation."""
        total = _Written()
        # In one order for all days: so of two that meet one goes on.
        waiting = sorted(batch, key=lambda piece: piece.conversation_id)
        for _ in range(_MERGE_ATTEMPTS):
            ids = [piece.conversation_id for piece in waiting]
            found = {one["_id"]: one for one in target.find({"_id": {"$in": ids}})}
            writes: list[_Write] = []
            for piece in waiting:
                identifier = piece.conversation_id
                try:
                    write = _merge(found.get(identifier), piece, day)
                except UnstorableError as error:
                    total.bad[identifier] = str(error)
                    continue
                if write is None:
                    continue
                if turn is None:
                    return None
                writes.append(write)
            if turn is None:
                return total
            written = self._write(target, turn, writes)
            total.add(written)
            done = written.inserted + written.matched + written.deleted + len(written.bad)
            if done == len(writes):
                return total
            again = {write.identifier for write in writes} - written.bad.keys()
            waiting = [piece for piece in waiting if piece.conversation_id in again]
        raise DocumentStoreUnavailableError(
            f"{target.name}, {day}: other writers changed the same conversations "
            f"{_MERGE_ATTEMPTS} times in a row; try again"
        )

    # Reading ----------------------------------------------------------------------------------

    def count(self, collection: str, partition: str) -> int:
        """See `DocumentStore.count`."""
        check_partition(collection, partition)
        with self._errors(f"{collection}, {partition}"):
            return self._collection(collection).count_documents({PARTITION: {"$eq": partition}})

    def count_slice(self, collection: str, day: str) -> tuple[int, int]:
        """See `DocumentStore.count_slice`."""
        check_partition(collection, day)
        of_day = {"$literal": day}

        def owned(array: str) -> Document:
            elements = {"$ifNull": [f"${array}", []]}
            condition = {"$eq": ["$$element.day", of_day]}
            return {"$size": {"$filter": {"input": elements, "as": "element", "cond": condition}}}

        header = {"$cond": [{"$eq": ["$header_day", of_day]}, 1, 0]}
        with self._errors(f"{collection}, {day}"):
            (counts,) = [
                *self._collection(collection).aggregate(
                    [
                        {"$match": {"days": {"$eq": day}}},
                        {
                            "$group": {
                                "_id": None,
                                "headers": {"$sum": {"$add": [header, owned("other_headers")]}},
                                "messages": {"$sum": owned("messages")},
                            }
                        },
                    ]
                )
            ] or [{"headers": 0, "messages": 0}]
        return int(counts["headers"]), int(counts["messages"])

    def get(self, collection: str, identifier: str) -> Document | None:
        """See `DocumentStore.get`."""
        check_query(collection, {"_id": identifier})
        with self._errors(collection):
            document = self._collection(collection).find_one({"_id": {"$eq": identifier}})
        return None if document is None else _without_own(document)

    def _cursor(
        self, collection: str, equals: Mapping[str, Scalar], sort: Sort, limit: int | None
    ) -> Cursor[Document]:
        query = {name: {"$eq": storable(value)} for name, value in equals.items()}
        last = sort[-1][1] if sort else 1
        keys = [*sort] if any(name == "_id" for name, _ in sort) else [*sort, ("_id", last)]
        return self._collection(collection).find(query).sort(keys).limit(limit or 0)

    def find(
        self,
        collection: str,
        equals: Mapping[str, Scalar],
        *,
        sort: Sort = (),
        limit: int | None = None,
    ) -> list[Document]:
        """See `DocumentStore.find`."""
        check_query(collection, equals, sort, limit)
        if limit == 0:
            return []
        with self._errors(collection):
            return [_without_own(one) for one in self._cursor(collection, equals, sort, limit)]

    # Erasure ----------------------------------------------------------------------------------

    def discard(self, collection: str, ids: Sequence[str]) -> int:
        """See `DocumentStore.discard`."""
        with self._errors(collection):
            target = self._collection(collection)
            size = self._config.batch_size
            return sum(
                target.delete_many({"_id": {"$in": list(ids[at : at + size])}}).deleted_count
                for at in range(0, len(ids), size)
            )

    def holding(self, texts: Sequence[str]) -> dict[str, int]:
        """See `DocumentStore.holding`: the encoded documents are searched, text is UTF-8 there."""
        wanted = [text.encode("utf-8", "surrogatepass") for text in texts]
        found: dict[str, int] = {}
        with self._errors("search"):
            database = self._database()
            for name in database.list_collection_names(filter={"type": "collection"}):
                if name.startswith("system."):
                    continue
                options = CodecOptions(document_class=RawBSONDocument)
                every = database[name].with_options(codec_options=options).find()
                # Some are views of memory, in which `in` looks for a single byte.
                texts_of_all = (bytes(document.raw) for document in every)
                count = sum(any(one in text for one in wanted) for text in texts_of_all)
                if count:
                    found[name] = count
        return found

    def wipe(self) -> None:
        """See `DocumentStore.wipe`: the server's files are its own, this does nothing."""

    # The store itself -------------------------------------------------------------------------

    def ping(self) -> None:
        """See `DocumentStore.ping`."""
        with self._errors("ping"):
            self._database().command("ping", read_preference=ReadPreference.PRIMARY)

    def ensure(self, spec: CollectionSpec) -> None:
        """See `DocumentStore.ensure`."""
        if spec in self._indexed:
            return
        with self._errors(f"{spec.name}, indexes"):
            target = self._collection(spec.name)
            for index in spec.indexes:
                target.create_index(list(index))
        self._indexed.add(spec)

    def describe(self) -> dict[str, str]:
        """See `DocumentStore.describe`."""
        return {
            "kind": "mongodb",
            "hosts": _hosts(self._config.uri),
            "database": self._config.database,
        }

    def close(self) -> None:
        """See `DocumentStore.close`."""
        with self._lock:
            if self._process == os.getpid():
                for client in (*self._left, *filter(None, [self._client])):
                    client.close()
            self._left.clear()
            self._client = None


def _hosts(uri: str) -> str:
    try:
        if uri.startswith("mongodb+srv://"):  # parsing this one would ask the name servers
            return urlsplit(uri).hostname or "unknown"
        return ",".join(f"{host}:{port}" for host, port in parse_uri(uri)["nodelist"])
    except (PyMongoError, ValueError):
        return "unknown"


def _is_transient(error: PyMongoError) -> bool:
    if isinstance(error, BulkWriteError):
        details = error.details
        failures = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
        if any(failure.get("code") in _TRANSIENT for failure in failures):
            return True
    return error.timeout or (
        isinstance(error, OperationFailure)
        and (error.code in _TRANSIENT or error.has_error_label("RetryableWriteError"))
    )


def _is_without_sessions(error: PyMongoError) -> bool:
    # The driver has no type of its own for it.
    return isinstance(error, ConfigurationError) and "Sessions are not supported" in str(error)


def _replacement(identifier: str, document: _Encoded) -> ReplaceOne[Any]:
    # Ids are text (`check_ids`), so none is an operator; with `$eq` it takes half as long again.
    return ReplaceOne({"_id": identifier}, document, upsert=True)


def _deletion(identifier: str, partition: str) -> _Write:
    wanted = {"_id": identifier, PARTITION: partition}
    return _Write(identifier, DeleteOne(wanted), len(identifier) + _DELETION_BYTES)


def _changed(
    partition: str, batch: Sequence[Document], held: Mapping[str, str | None]
) -> tuple[dict[str, _Encoded], dict[str, str]]:
    """Return the encoded documents that differ from those held, and why others cannot be stored."""
    bad: dict[str, str] = {}
    changed: dict[str, _Encoded] = {}
    for given in batch:
        identifier = given["_id"]
        try:
            raw = _encoded(storable_document(given))
        except UnstorableError as error:
            bad[identifier] = str(error)
            continue
        digest = hashlib.sha256(raw).hexdigest()
        if held.get(identifier) != digest:
            changed[identifier] = _stored(raw, {PARTITION: partition, HASH: digest})
    return changed, bad


def _may_repeat(error: PyMongoError) -> bool:
    return error.has_error_label("TransientTransactionError")


def _merge(found: Document | None, piece: ConversationSlice, day: str) -> _Write | None:
    """Return the write that merges `piece` into what was found, None if nothing changes."""
    before = None if found is None else found.get(HASH)
    guard = {"_id": piece.conversation_id, HASH: before}
    merged = merge_slice(None if found is None else _without_own(found), piece, day)
    if merged is None:
        return None if found is None else _Write(piece.conversation_id, DeleteOne(guard))
    raw = _encoded(merged)
    digest = hashlib.sha256(raw).hexdigest()
    if digest == before:
        return None
    document = _stored(raw, {HASH: digest})
    operation: Operation = InsertOne(document) if found is None else ReplaceOne(guard, document)
    return _Write(piece.conversation_id, operation, len(document.raw))


def _log_outcome(
    method: str, collection: str, partition: str, outcome: ReplaceOutcome, bad: Mapping[str, str]
) -> None:
    _log.info(
        "%s store=mongodb collection=%s partition=%s inserted=%d replaced=%d unchanged=%d "
        "deleted=%d refused=%d",
        method, collection, partition, outcome.inserted, outcome.replaced, outcome.unchanged,
        outcome.deleted, len(bad),
    )  # fmt: skip
