"""Documents in MongoDB 6.0 or later.

Every transaction first touches the generation of its partition, so that nothing of a writer that
was overtaken comes through; conversations are guarded by the hash they had when they were read,
too. A partition is one transaction, or several if the server has no room for it
(`mongo_transactions`), and reads are of one moment (`mongo_snapshots`): so nobody meets half of it.
A server without transactions (alone, in no replica set) compares the generation just before each
batch instead, and its readers may meet some documents of the old and some of the new partition.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import json
import logging
import os
import struct
import threading
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

import bson
from bson.codec_options import CodecOptions, TypeCodec, TypeRegistry
from bson.decimal128 import Decimal128
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, MongoClient, ReadPreference, ReplaceOne
from pymongo.errors import (
    CollectionInvalid,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

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
    OversizeError,
    UnstorableError,
    merge_encoded,
    storable,
    storable_document,
    storable_slice,
)
from conversation_analytics.documents.mongo_snapshots import REPLACEMENTS, read_whole
from conversation_analytics.documents.mongo_tls import hint_of_tls, refused_certificate
from conversation_analytics.documents.mongo_transactions import (
    GENERATIONS,
    SMALLEST_CACHE,
    Publication,
    Turn,
    Write,
    WriteLimits,
    Written,
    is_transient,
    transaction_bytes,
)
from conversation_analytics.documents.paging import PageQuery, Segment, check_page, read_page
from conversation_analytics.documents.rules import as_ruled, broken
from conversation_analytics.documents.store import (
    MongoConfig,
    ReplaceOutcome,
    Rest,
    Scalar,
    Sort,
    check_collection,
    check_ids,
    check_many,
    check_partition,
    check_query,
    refusal,
    slices_of_rest,
)
from conversation_analytics.documents.views import pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection
    from pymongo.database import Database

    from conversation_analytics.core.documents import ConversationSlice, Document
    from conversation_analytics.core.id_search import SoughtIds
    from conversation_analytics.documents.views import ViewSpec

    Operation: TypeAlias = InsertOne[Any] | ReplaceOne[Any]

_log = logging.getLogger("conversation_analytics.documents")

_FIRST_LOOK: Final = 50  # conversations that are read to learn whether anything differs
_DELETION_BYTES: Final = 200  # of the request and of the log, about
_EXISTS: Final = 48
_TTL: Final = "ttl_"
_DAY_SECONDS: Final = 86_400
_OTHER_INDEX: Final = 85
_ACTIONS: Final = (
    "find", "insert", "update", "remove", "createCollection", "createIndex", "dropIndex",
    "listIndexes", "listCollections", "collMod",
)  # fmt: skip
"""What the role of docs/documents.md grants on the database."""
_DENIED: Final = {13: "not authorised", 18: "authentication failed", 8000: "authentication failed"}


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


_RAW: Final = CodecOptions(document_class=RawBSONDocument)
_CODEC: Final[CodecOptions[Any]] = CodecOptions(
    tz_aware=True, tzinfo=dt.UTC, type_registry=TypeRegistry([_DecimalCodec()])
)


def _encoded(document: Document) -> bytes:
    try:
        raw = bson.encode(document, codec_options=_CODEC)
    except InvalidDocument:
        raise UnstorableError("not encodable") from None
    if len(raw) > MAX_BYTES:
        raise OversizeError
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
        self._transaction_bytes: int | None = None
        self._has_markers = False
        self._rules: dict[str, Document] = {}

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
            if is_transient(error):
                raise self._unavailable(doing, f"error {code}") from None
            if code in _DENIED:
                raise DocumentError(
                    f"{doing}: MongoDB says {_DENIED[code]} ({code}) for the user of MONGODB_URI "
                    f"on database {self._config.database!r}; check the credentials, authSource "
                    "and its role, which docs/documents.md has"
                ) from None
            name = (error.details or {}).get("codeName", "no name")
            raise DocumentError(
                f"{doing}: MongoDB refuses the request with error {code} ({name}); look it up in "
                "the server's log"
            ) from None
        except ServerSelectionTimeoutError as error:
            raise self._unselected(doing, error) from None
        except ConnectionFailure as error:
            raise self._unavailable(doing, type(error).__name__) from None
        except PyMongoError as error:
            if _is_without_sessions(error):
                # A connection opened while the member started stays without sessions for good.
                self._forget_connections()
                raise self._unavailable(doing, "no primary yet") from None
            if is_transient(error):
                raise self._unavailable(doing, type(error).__name__) from None
            raise DocumentError(
                f"{doing}: the MongoDB driver raises {type(error).__name__}; check MONGODB_URI "
                "and its options"
            ) from None

    def _unselected(self, doing: str, error: ServerSelectionTimeoutError) -> AnalyticsError:
        """Return what it means that no server of the URI can be used."""
        client, hint = self._client, ""
        if client is not None:
            if refused := refused_certificate(client):
                return DocumentError(f"{doing}: MongoDB at {self.describe()['hosts']}: {refused}")
            hint = hint_of_tls(client, tls=_speaks_tls(self._config.uri))
        return self._unavailable(doing, type(error).__name__, hint)

    def _unavailable(self, doing: str, what: str, hint: str = "") -> DocumentStoreUnavailableError:
        return DocumentStoreUnavailableError(
            f"{doing}: MongoDB at {self.describe()['hosts']} does not answer within "
            f"{self._config.server_selection_timeout_s} s or broke off ({what}); check that it "
            f"runs and can be reached, then try again{hint}"
        )

    def _connected(self) -> MongoClient[Document]:
        with self._lock:
            if self._client is None or self._process != os.getpid():
                milliseconds = int(self._config.server_selection_timeout_s * 1000)
                try:
                    self._client = MongoClient(
                        self._config.uri,
                        connect=False,
                        appname="conversation-analytics",
                        serverSelectionTimeoutMS=milliseconds,
                        connectTimeoutMS=milliseconds,
                        socketTimeoutMS=int(self._config.socket_timeout_s * 1000),
                    )
                except OSError as error:
                    raise DocumentError(
                        f"MONGODB_URI: a file that it names (tlsCAFile, tlsCertificateKeyFile) "
                        f"cannot be used: {error.strerror or type(error).__name__}; expected one "
                        "of certificates in PEM that this user may read"
                    ) from None
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
        return self._database().get_collection(GENERATIONS, write_concern=WriteConcern("majority"))

    def supersede(self, collection: str, partition: str) -> None:
        """See `DocumentStore.supersede`."""
        since = self.begin(collection, partition)
        with (
            self._errors(f"{collection}, {partition}"),
            self._claimed(collection, partition, since),
        ):
            pass  # that it is claimed is all

    @contextlib.contextmanager
    def _claimed(self, collection: str, partition: str, since: int) -> Iterator[Turn]:
        """Make the partition the next generation: from here on no older writer can write."""
        self._make_marker_collection()
        generations = self._generations()
        key = f"{collection}/{partition}"
        with self._connected().start_session() as session:
            before = generations.find_one({"_id": key, "generation": since})
            if before and "session" in before:
                self._abort(before["session"])
            try:
                # Of generation 0 there is no document: another writer's makes the insert fail.
                claimed = generations.update_one(
                    {"_id": key, "generation": since},
                    {"$set": {"generation": since + 1, "session": session.session_id["id"]}},
                    upsert=since == 0,
                    session=session,
                )
            except DuplicateKeyError:
                raise replaced_meanwhile(f"{collection}, {partition}") from None
            if not claimed.matched_count and claimed.upserted_id is None:
                raise replaced_meanwhile(f"{collection}, {partition}")
            yield Turn(collection, partition, since + 1, session, session.operation_time)
            # The session goes back to the driver's pool: from now on it is somebody else's.
            generations.update_one(
                {"_id": key, "generation": since + 1}, {"$unset": {"session": ""}}
            )

    def _make_marker_collection(self) -> None:
        # Before the first moment that is read: a collection cannot be read from before it was made.
        if not self._has_markers:
            try:
                self._database().command("create", REPLACEMENTS)
            except OperationFailure as error:
                if error.code != _EXISTS:
                    raise
            self._has_markers = True

    def _abort(self, session: object) -> None:
        """End what a writer that died or was stopped has open, for which a claim would wait."""
        try:
            self._connected().admin.command("killSessions", [{"id": session}])
        except OperationFailure as error:
            if is_transient(error):
                raise
            # Not allowed for this user: the server ends it after transactionLifetimeLimitSeconds.
            _log.info("killSessions refused with error %s: waiting instead", error.code)

    def _transactional(self) -> bool:
        if self._has_transactions is None:
            hello = self._connected().admin.command("hello")
            self._has_transactions = "setName" in hello or hello.get("msg") == "isdbgrid"
        return self._has_transactions

    def _limits(self) -> WriteLimits:
        if not self._transactional():
            return WriteLimits(self._config.batch_size, None)
        if self._transaction_bytes is None:
            self._transaction_bytes = transaction_bytes(self._cache_bytes())
        return WriteLimits(self._config.batch_size, self._transaction_bytes)

    def _cache_bytes(self) -> int:
        try:
            status = self._connected().admin.command("serverStatus")
            return int(status["wiredTiger"]["cache"]["maximum bytes configured"])
        except OperationFailure as error:
            if is_transient(error):
                raise
            # Not allowed for this user.
            _log.info("serverStatus refused with error %s: taking the smallest", error.code)
        except KeyError:  # a router of a sharded cluster has no cache
            pass
        return SMALLEST_CACHE

    def _is_half_replaced(self, collection: str, partition: str) -> bool:
        """Whether a writer that was killed left the partition's marker."""
        marker = {"_id": f"{collection}/{partition}"}
        return self._database()[REPLACEMENTS].find_one(marker) is not None

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
            if done is None or self._is_half_replaced(collection, partition):
                # Something differs: look again when nobody else can write.
                with self._claimed(collection, partition, since) as turn:
                    done = self._replace(target, partition, documents, ids, turn)
        total, unchanged = done or (Written(), 0)
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
        turn: Turn | None,
    ) -> tuple[Written, int] | None:
        """Return what was written and how many were unchanged; None where `turn` is needed."""
        own = target.find({PARTITION: {"$eq": partition}}, {"_id": 1, HASH: 1})
        held = {document["_id"]: document.get(HASH) for document in own}
        stale = sorted(held.keys() - set(ids))
        if turn is None and (stale or not held.keys() >= set(ids)):
            return None

        def renew(writes: Sequence[Write]) -> list[Write]:
            # Inserted by another partition's writer since the probe, or gone since.
            there = self._ids(target, [one.identifier for one in writes if one.document])
            return [
                write
                if write.document is None
                else _written_over(write.identifier, write.document, write.identifier in there)
                for write in writes
            ]

        publication = None
        if turn is not None:
            broken_rule = partial(self._broken_rule, target.name)
            publication = Publication(
                target, turn, self._limits(), renew, broken_rule, guarded=False
            )
        bad: dict[str, str] = {}
        unchanged = 0
        size = self._config.batch_size
        for start in range(0, len(documents), size):
            batch = documents[start : start + size]
            changed, unstorable = _changed(partition, batch, held)
            unchanged += len(batch) - len(changed) - len(unstorable)
            bad |= unstorable
            if publication is not None:
                # Probing and then inserting is twice as fast as upserting blindly.
                there = held.keys() | self._ids(target, [one for one in changed if one not in held])
                publication.add(
                    [_written_over(one, new, one in there) for one, new in changed.items()]
                )
            elif changed:
                return None
        if publication is None:
            return Written(bad=bad), unchanged
        # Last, so that no reader ever misses a document that stays; and only what is still of
        # this partition, for another one may have taken it over meanwhile.
        publication.add([_deletion(identifier, partition) for identifier in stale])
        total = publication.finish()
        total.bad |= bad
        return total, unchanged

    def merge_conversations(
        self,
        collection: str,
        day: str,
        slices: Sequence[ConversationSlice],
        since: int | None = None,
        *,
        rest: Rest = "withdrawn",
    ) -> ReplaceOutcome:
        """See `DocumentStore.merge_conversations`."""
        check_ids(collection, day, (piece.conversation_id for piece in slices))
        self.ensure(replace(conversations(collection), rules=""))
        since = self.begin(collection, day) if since is None else since
        with self._errors(f"{collection}, {day}"):
            target = self._collection(collection)
            rules = self._rules_there(collection)
            done = self._merge(target, day, slices, rest, rules, None)
            if done is None or self._is_half_replaced(collection, day):
                # Something differs: look again when nobody else can write.
                with self._claimed(collection, day, since) as turn:
                    done = self._merge(target, day, slices, rest, rules, turn)
        total, number = done or (Written(), 0)
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
        rest: Rest,
        rules: Document | None,
        turn: Turn | None,
    ) -> tuple[Written, int] | None:
        """Return what was written and the number of slices; None where `turn` is needed."""
        given = {piece.conversation_id for piece in slices}
        owned = {one["_id"] for one in target.find({"days": {"$eq": day}}, {"_id": 1})}
        others = slices_of_rest(owned - given, rest)
        # In one order for all days: so of two that meet one goes on.
        pieces = sorted([*slices, *others], key=lambda piece: piece.conversation_id)
        by_id = {piece.conversation_id: piece for piece in pieces}
        bad: dict[str, str] = {}
        seen: dict[str, str | None] = {}

        def merged(batch: Sequence[ConversationSlice]) -> list[Write]:
            ids = [piece.conversation_id for piece in batch]
            found = {one["_id"]: one for one in target.find({"_id": {"$in": ids}})}
            seen.update((one, found[one].get(HASH) if one in found else None) for one in ids)
            writes = []
            for piece in batch:
                try:
                    held = found.get(piece.conversation_id)
                    write = _merge(held, storable_slice(piece), day, rules)
                except UnstorableError as error:
                    bad[piece.conversation_id] = str(error)
                    continue
                writes += [] if write is None else [write]
            return writes

        def renew(writes: Sequence[Write]) -> list[Write]:
            # Of most nothing has changed; their hash says so without their turns being read.
            ids = [write.identifier for write in writes]
            found = target.find({"_id": {"$in": ids}}, {"_id": 1, HASH: 1})
            now = {one["_id"]: one.get(HASH) for one in found}
            moved = {one for one in ids if now.get(one) != seen[one]}
            again = {one.identifier: one for one in merged([by_id[one] for one in sorted(moved)])}
            left = [again.get(one.identifier) if one.identifier in moved else one for one in writes]
            return [one for one in left if one is not None]

        publication = None
        if turn is not None:
            broken_rule = partial(self._broken_rule, target.name)
            publication = Publication(
                target, turn, self._limits(), renew, broken_rule, guarded=True
            )
        # Where something differs, it often does so at once, and all is read once more.
        size = self._config.batch_size if turn else min(self._config.batch_size, _FIRST_LOOK)
        for start in range(0, len(pieces), size):
            writes = merged(pieces[start : start + size])
            if publication is not None:
                publication.add(writes)
            elif writes:
                return None
        total = Written() if publication is None else publication.finish()
        total.bad |= bad
        return total, len(pieces)

    # Reading ----------------------------------------------------------------------------------

    def _read(
        self,
        collection: str,
        command: Document,
        touches: Callable[[list[Document], Container[str]], bool],
    ) -> list[Document]:
        """Return the answer of one moment to a command that opens a cursor."""
        database = self._database().with_options(codec_options=_RAW)

        def answer(asked: Document, session: ClientSession | None) -> list[Document]:
            # Decoded here: the driver leaves the decimals inside of a command's answer encoded.
            cursor = database.cursor_command(asked, session=session, codec_options=_RAW)
            return [bson.decode(one.raw, codec_options=_CODEC) for one in cursor]

        def read(read_concern: Document, session: ClientSession) -> list[Document]:
            return answer(command | {"readConcern": read_concern}, session)

        if not self._transactional():
            return answer(command, None)
        return read_whole(self._database(), collection, read, touches)

    def count(self, collection: str, partition: str) -> int:
        """See `DocumentStore.count`."""
        check_collection(collection)
        check_partition(collection, partition)
        pipeline = [{"$match": {PARTITION: {"$eq": partition}}}, {"$count": "documents"}]
        command = {"aggregate": collection, "pipeline": pipeline, "cursor": {}}
        with self._errors(f"{collection}, {partition}"):
            counts = self._read(collection, command, lambda _, halves: partition in halves)
        return int(counts[0]["documents"]) if counts else 0

    def count_slice(self, collection: str, day: str) -> tuple[int, int]:
        """See `DocumentStore.count_slice`."""
        check_collection(collection)
        check_partition(collection, day)
        of_day = {"$literal": day}

        def owned(array: str) -> Document:
            elements = {"$ifNull": [f"${array}", []]}
            condition = {"$eq": ["$$element.day", of_day]}
            return {"$filter": {"input": elements, "as": "element", "cond": condition}}

        left_out = {"$sum": {"$map": {"input": owned("truncated_days"), "as": "one",
                                      "in": "$$one.message_count"}}}  # fmt: skip
        header = {"$cond": [{"$eq": ["$header_day", of_day]}, 1, 0]}
        headers = {"$add": [header, {"$size": owned("other_headers")}]}
        pipeline = [
            {"$match": {"days": {"$eq": day}}},
            {
                "$group": {
                    "_id": None,
                    "headers": {"$sum": headers},
                    "messages": {"$sum": {"$add": [{"$size": owned("messages")}, left_out]}},
                }
            },
        ]
        command = {"aggregate": collection, "pipeline": pipeline, "cursor": {}}
        with self._errors(f"{collection}, {day}"):
            (counts,) = self._read(collection, command, lambda _, halves: day in halves) or [
                {"headers": 0, "messages": 0}
            ]
        return int(counts["headers"]), int(counts["messages"])

    def get(self, collection: str, identifier: str) -> Document | None:
        """See `DocumentStore.get`."""
        check_query(collection, {"_id": identifier})
        with self._errors(collection):
            document = self._collection(collection).find_one({"_id": {"$eq": identifier}})
        return None if document is None else _without_own(document)

    def _find_command(
        self, collection: str, equals: Mapping[str, Scalar], sort: Sort, limit: int | None
    ) -> Document:
        last = sort[-1][1] if sort else 1
        keys = [*sort] if any(name == "_id" for name, _ in sort) else [*sort, ("_id", last)]
        return {
            "find": check_collection(collection),
            "filter": {name: {"$eq": storable(value)} for name, value in equals.items()},
            "sort": dict(keys),
            **({"limit": limit} if limit else {}),
        }

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
        command = self._find_command(collection, equals, sort, limit)
        if limit == 0:
            return []
        with self._errors(collection):
            found = self._read(collection, command, _touches)
        return [_without_own(one) for one in found]

    def get_many(
        self, collection: str, identifiers: Sequence[str], without: Sequence[str] = ()
    ) -> list[Document]:
        """See `DocumentStore.get_many`."""
        check_many(collection, identifiers, without)
        command = {
            "find": collection,
            "filter": {"_id": {"$in": list(identifiers)}},
            "sort": {"_id": 1},
            "projection": dict.fromkeys(without, 0),
        }
        with self._errors(collection):
            found = self._read(collection, command, _touches)
        return [_without_own(one) for one in found]

    def page(self, collection: str, query: PageQuery) -> list[Document]:
        """See `DocumentStore.page`."""
        check_page(collection, query)

        def read(segment: Segment, limit: int) -> list[Document]:
            command = self._page_command(collection, query, segment) | {"limit": limit}
            return [_without_own(one) for one in self._read(collection, command, _touches)]

        with self._errors(collection):
            return read_page(query, read)

    def _page_command(self, collection: str, query: PageQuery, segment: Segment) -> Document:
        direction = -1 if query.descending else 1
        # `$eq` null is two ranges of an index, null and undefined, which would have to be sorted.
        conditions: list[Document] = [
            {name: {"$type": "null"} if value is None else {"$eq": storable(value)}}
            for name, value in query.equals.items()
        ]
        conditions += [
            {query.sort: {f"${comparison}": storable(value)}}
            for comparison, value in segment.conditions
        ]
        if segment.beyond is not None:
            conditions.append({"_id": {"$lt" if query.descending else "$gt": segment.beyond}})
        return {
            "find": collection,
            "filter": {"$and": conditions} if conditions else {},
            "sort": {query.sort: direction, "_id": direction},
            "projection": dict.fromkeys(query.without, 0),
        }

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

    def holding(self, sought: SoughtIds) -> dict[str, int]:
        """See `DocumentStore.holding`: the encoded documents are searched, text is UTF-8 there."""
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
                count = sum(map(sought.in_bson, texts_of_all))
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

    def server_time(self) -> dt.datetime | None:
        """See `DocumentStore.server_time`."""
        with self._errors("hello"):
            told: dt.datetime = self._connected().admin.command("hello")["localTime"]
            return told if told.tzinfo else told.replace(tzinfo=dt.UTC)

    def check_rights(self, collections: Sequence[str]) -> None:
        """See `DocumentStore.check_rights`: as the server tells the rights of the user."""
        database = self._config.database
        with self._errors("rights"):
            asked = {"connectionStatus": 1, "showPrivileges": True}
            told = self._connected().admin.command(asked)["authInfo"]
            if not told["authenticatedUsers"]:
                self._database().list_collection_names()  # refused where a user is needed
                return
        granted = [
            (one["resource"], frozenset(one["actions"]))
            for one in told["authenticatedUserPrivileges"]
        ]
        names = [*map(check_collection, collections), GENERATIONS, REPLACEMENTS]
        lacking = {
            name: actions
            for name in names
            if (actions := [one for one in _ACTIONS if not _grants(granted, one, database, name)])
        }
        if lacking:
            first = next(iter(lacking))
            raise DocumentError(
                f"rights: the user of MONGODB_URI lacks {', '.join(lacking[first])} on "
                f"{len(lacking)} of {len(names)} collections of database {database!r}, as "
                f"{first}: grant them as the role in docs/documents.md has it, or the roles "
                "readWrite and dbAdmin"
            )

    def ensure(self, spec: CollectionSpec) -> None:
        """See `DocumentStore.ensure`."""
        if spec in self._indexed:
            return
        with self._errors(f"{spec.name}, indexes"):
            target = self._collection(spec.name)
            if spec.rules:
                self._let_rules_hold(target, json.loads(spec.rules))
            for index in spec.indexes:
                self._create_index(target, list(index))
            if spec.dated_by and spec.keep_days is not None:
                self._let_documents_go(target, spec.dated_by, spec.keep_days)
            for view in spec.views:
                self._make_view(target, view)
        self._indexed.add(spec)

    def _there(self, name: str) -> Document | None:
        """Return the type and the options of a collection or view."""
        found = [*self._database().list_collections(filter={"name": name})]
        return dict(found[0]) if found else None

    @contextlib.contextmanager
    def _rights(self, what: str, actions: str) -> Iterator[None]:
        try:
            yield
        except OperationFailure as error:
            if error.code not in _DENIED:
                raise
            raise DocumentError(
                f"{what}: the user of MONGODB_URI lacks {actions} on database "
                f"{self._config.database!r}: grant it as the role in docs/documents.md has it, or "
                "the roles readWrite and dbAdmin"
            ) from None

    def _rules_there(self, name: str) -> Document | None:
        """Return the rules that the server holds documents to, whichever process set them."""
        validator = ((self._there(name) or {}).get("options") or {}).get("validator") or {}
        rules: Document | None = validator.get("$jsonSchema")
        return rules

    def _let_rules_hold(self, target: Collection[Document], rules: Document) -> None:
        validator = {"$jsonSchema": rules}
        with self._rights(f"{target.name}, validator", "collMod or createCollection"):
            there = self._there(target.name)
            if there is None:
                with contextlib.suppress(CollectionInvalid):  # made by another process since
                    target.database.create_collection(target.name, validator=validator)
                there = self._there(target.name) or {}
            if there.get("options", {}).get("validator") != validator:
                target.database.command("collMod", target.name, validator=validator)
        self._rules[target.name] = rules

    def _let_documents_go(self, target: Collection[Document], dated_by: str, days: int) -> None:
        """Keep an index that lets the server delete documents, or none."""
        name = f"{_TTL}{dated_by}"
        seconds = days * _DAY_SECONDS
        with self._rights(f"{target.name}, MONGODB_TTL_DAYS", "collMod, createIndex or dropIndex"):
            there = target.index_information()
            for other in there:
                if other.startswith(_TTL) and (other != name or not days):
                    target.drop_index(other)
            if not days:
                return
            if name not in there:
                self._create_index(
                    target, [(dated_by, 1)], "MONGODB_TTL_DAYS",
                    name=name, expireAfterSeconds=seconds,
                )  # fmt: skip
            elif there[name].get("expireAfterSeconds") != seconds:
                changed = {"name": name, "expireAfterSeconds": seconds}
                target.database.command("collMod", target.name, index=changed)

    def _create_index(
        self,
        target: Collection[Document],
        keys: list[tuple[str, int]],
        setting: str = "",
        **options: Any,
    ) -> None:
        try:
            target.create_index(keys, **options)
        except OperationFailure as error:
            there = target.index_information() if error.code == _OTHER_INDEX else {}
            others = sorted(name for name, one in there.items() if one["key"] == keys)
            if not others:
                raise
            fields = ", ".join(field for field, _ in keys)
            raise DocumentError(
                f"{target.name}{', ' if setting else ''}{setting}: an index of the platform on "
                f"{fields} cannot be made beside {', '.join(map(repr, others))} on the same: drop "
                f"it (db.getCollection({target.name!r}).dropIndex({others[0]!r}))"
                + (f", or set {setting}=0" if setting else "")
            ) from None

    def _make_view(self, target: Collection[Document], view: ViewSpec) -> None:
        wanted: Document = {"viewOn": target.name, "pipeline": pipeline(view)}
        with self._rights(f"{view.name}, view", "collMod or createCollection"):
            there = self._there(check_collection(view.name))
            if there is None:
                with contextlib.suppress(CollectionInvalid):  # made by another process since
                    target.database.create_collection(view.name, **wanted)
                there = self._there(view.name) or {"type": "view", "options": {}}
            if there["type"] != "view":
                raise DocumentError(
                    f"{view.name}: expected the view of {target.name}, got a collection of this "
                    "name; rename it, or the collection by its setting"
                )
            if any(there["options"].get(name) != value for name, value in wanted.items()):
                target.database.command("collMod", view.name, **wanted)

    def _broken_rule(self, collection: str, document: RawBSONDocument) -> str | None:
        """Return which rule of the collection a document breaks that the server may refuse."""
        rules = self._rules.get(collection)
        return None if rules is None else broken(bson.decode(document.raw, _CODEC), rules)

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


def _speaks_tls(uri: str) -> bool:
    """Say whether a connection string that the driver has taken asks for TLS."""
    if uri.startswith("mongodb+srv://"):  # as above
        return True
    return bool(parse_uri(uri)["options"].get("tls", False))


def _grants(
    granted: Sequence[tuple[Mapping[str, Any], frozenset[str]]],
    action: str,
    database: str,
    collection: str,
) -> bool:
    """Say whether one of the privileges allows an action on a collection."""
    return any(
        action in actions
        and (
            resource.get("anyResource", False)
            or (
                resource.get("db") in {"", database}
                and resource.get("collection") in {"", collection}
            )
        )
        for resource, actions in granted
    )


def _is_without_sessions(error: PyMongoError) -> bool:
    # The driver has no type of its own for it.
    return isinstance(error, ConfigurationError) and "Sessions are not supported" in str(error)


def _touches(found: Sequence[Document], partitions: Container[str]) -> bool:
    return any(
        one.get(PARTITION) in partitions or any(day in partitions for day in one.get("days") or ())
        for one in found
    )


def _written_over(identifier: str, document: RawBSONDocument, there: bool) -> Write:  # noqa: FBT001
    # Ids are text (`check_ids`), so none is an operator; with `$eq` it takes half as long again.
    operation: Operation = (
        ReplaceOne({"_id": identifier}, document, upsert=True) if there else InsertOne(document)
    )
    return Write(identifier, operation, len(document.raw), document)


def _deletion(identifier: str, partition: str) -> Write:
    wanted = {"_id": identifier, PARTITION: partition}
    return Write(identifier, DeleteOne(wanted), len(identifier) + _DELETION_BYTES)


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


def _merge(
    found: Document | None, piece: ConversationSlice, day: str, rules: Document | None
) -> Write | None:
    """Return the write that merges `piece` into what was found, None if nothing changes."""
    identifier = piece.conversation_id
    before = None if found is None else found.get(HASH)
    guard = {"_id": identifier, HASH: before}
    existing = None if found is None else _without_own(found)
    if existing is not None and rules is not None:
        existing = as_ruled(existing, rules, day)
    merged = merge_encoded(existing, piece, day, _encoded)
    if merged is None:
        return None if found is None else Write(identifier, DeleteOne(guard), _DELETION_BYTES)
    raw = merged[1]
    digest = hashlib.sha256(raw).hexdigest()
    if digest == before:
        return None
    document = _stored(raw, {HASH: digest})
    operation: Operation = InsertOne(document) if found is None else ReplaceOne(guard, document)
    return Write(identifier, operation, len(document.raw), document)


def _log_outcome(
    method: str, collection: str, partition: str, outcome: ReplaceOutcome, bad: Mapping[str, str]
) -> None:
    _log.info(
        "%s store=mongodb collection=%s partition=%s inserted=%d replaced=%d unchanged=%d "
        "deleted=%d refused=%d",
        method, collection, partition, outcome.inserted, outcome.replaced, outcome.unchanged,
        outcome.deleted, len(bad),
    )  # fmt: skip
