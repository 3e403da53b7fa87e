"""Documents in one SQLite file of this machine: the default where no MongoDB is configured.

A table for each collection holds `id`, `partition`, `hash` and `body` (extended JSON); a second
one holds the elements of array fields that are searched. Each write is one transaction.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import logging
import os
import sqlite3
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from conversation_analytics.core.errors import DocumentError, DocumentStoreUnavailableError
from conversation_analytics.core.partitions import replaced_meanwhile
from conversation_analytics.documents.collections import CollectionSpec, conversations
from conversation_analytics.documents.encoding import (
    HASH,
    MAX_BYTES,
    PARTITION,
    OversizeError,
    UnstorableError,
    from_json_text,
    instant_text,
    json_text,
    merge_encoded,
    storable_document,
    storable_slice,
)
from conversation_analytics.documents.paging import PageQuery, Segment, check_page, read_page
from conversation_analytics.documents.rules import as_ruled, broken
from conversation_analytics.documents.store import (
    ReplaceOutcome,
    Rest,
    Scalar,
    Sort,
    SqliteConfig,
    check_collection,
    check_fields,
    check_ids,
    check_many,
    check_partition,
    check_query,
    refusal,
    slices_of_rest,
)
from conversation_analytics.documents.views import select

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conversation_analytics.core.documents import ConversationSlice, Document
    from conversation_analytics.core.id_search import SoughtIds
    from conversation_analytics.documents.views import ViewSpec

_log = logging.getLogger("conversation_analytics.documents")

_CHUNK: Final = 500  # SQLite before 3.32 takes 999 values a statement
_COLUMNS: Final = {"_id": "id", PARTITION: "partition", HASH: "hash"}
_TABLES_KNOWN: Final = 2  # files of before the rules have only one of them
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PRIMARY_CODE: Final = 0xFF
_SIGNS: Final = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<"}


def _chunks(ids: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield `(?, ?, ...)` and its values. Not JSON arrays: SQLite's JSON ends text at a NUL."""
    waiting = list(ids)
    for start in range(0, len(waiting), _CHUNK):
        chunk = waiting[start : start + _CHUNK]
        yield f"({', '.join('?' * len(chunk))})", chunk


def _body(document: Document) -> tuple[str, str]:
    body = json_text({name: value for name, value in document.items() if name != "_id"})
    encoded = body.encode()
    if len(encoded) > MAX_BYTES:
        raise OversizeError
    return body, hashlib.sha256(encoded).hexdigest()


def _read(identifier: str, body: str, without: Sequence[str]) -> Document:
    document = {"_id": identifier, **from_json_text(body)}
    return {name: value for name, value in document.items() if name not in without}


def _checked(rules: Document | None, document: Document) -> tuple[str, str]:
    """Return the body and the digest of a document that keeps the collection's rules."""
    if rules is not None and (why := broken(document, rules)) is not None:
        raise UnstorableError(why)
    return _body(document)


def _expression(field: str) -> str:
    """Return the SQL of a field; the same text in index and query, or the index is not used."""
    return _COLUMNS.get(field) or f"json_extract(body, '$.{field}')"


def _parameter(value: Scalar) -> str | int | None:
    if isinstance(value, dt.datetime):
        return json.dumps({"$date": _instant(value)}, separators=(",", ":"))
    return int(value) if isinstance(value, bool) else value


def _instant(value: dt.datetime) -> str:
    return instant_text(storable_document({"at": value})["at"])


def _equals(stored: object, wanted: Scalar) -> bool:
    if isinstance(stored, list):
        return any(_equals(element, wanted) for element in stored)
    if isinstance(wanted, dt.datetime):
        return isinstance(stored, dt.datetime) and instant_text(stored) == _instant(wanted)
    return stored == wanted and isinstance(stored, bool) == isinstance(wanted, bool)


def _order(value: object) -> tuple[int, Any]:
    """Order values of all types as MongoDB does."""
    if value is None:
        return (0, 0)
    if isinstance(value, str):
        return (2, value)
    if isinstance(value, bool):
        return (4, value)
    if isinstance(value, dt.datetime):
        return (5, value)
    if isinstance(value, (list, dict)):
        return (3, json_text(value))
    return (1, value)


class SqliteStore:
    """A `DocumentStore` in a SQLite file. See the protocol for the methods."""

    def __init__(self, config: SqliteConfig) -> None:
        """Remember where the file is; it is opened on the first use."""
        self._config = config
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._inherited: list[sqlite3.Connection] = []
        self._tables: dict[str, str] = {}
        self._arrays: dict[str, tuple[str, ...]] = {}
        self._ensured: set[CollectionSpec] = set()

    # Connection -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
            if code in _BUSY:
                raise DocumentStoreUnavailableError(
                    f"{doing}: {self._config.path} is locked by another writer for more than "
                    f"{self._config.busy_timeout_s} s; try again"
                ) from error
            raise DocumentError(
                f"{doing}: SQLite refuses {self._config.path}: {error}; check the file, its "
                "folder's rights and the free space"
            ) from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._process != os.getpid():
            # A connection must not be used, nor closed, in a forked process.
            self._inherited.append(self._connection)
            self._connection = None
        if self._connection is None:
            self._make_folder()
            connection = sqlite3.connect(
                self._config.path,
                timeout=self._config.busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._use_wal(connection)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
            self._process = os.getpid()
            self._forget_tables()
        return self._connection

    def _make_folder(self) -> None:
        try:
            self._config.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DocumentError(
                f"cannot make the folder of {self._config.path}: {error.strerror}; choose a place "
                "that this user may write to, or set MONGODB_URI"
            ) from error

    def _forget_tables(self) -> None:
        self._tables.clear()
        self._arrays.clear()
        self._ensured.clear()

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # Switching the mode does not wait for other processes by itself.
        deadline = time.monotonic() + self._config.busy_timeout_s
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                connection.execute("PRAGMA journal_mode = wal").fetchone()
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & _PRIMARY_CODE in _BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextlib.contextmanager
    def _reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors(doing):
            yield self._connected()

    @contextlib.contextmanager
    def _writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        done = False
        try:
            with self._reading(doing) as connection, connection:
                # Immediate: a transaction that starts as a reader cannot wait to become a writer.
                connection.execute("BEGIN IMMEDIATE")
                yield connection
            done = True
        finally:
            if not done:  # tables made in this transaction are gone with it
                with self._lock:
                    self._forget_tables()

    def _table(self, collection: str) -> str:
        """Return the quoted table of a collection, made if it is missing; hold the lock."""
        check_collection(collection)
        if collection not in self._tables:
            folded = collection.lower()
            if any(folded == other.lower() for other in self._tables):
                raise DocumentError(
                    f"collection {collection!r}: another one differs in case only, which SQLite "
                    "cannot tell apart; rename one of them"
                )
            connection = self._connected()
            table = f'"documents {collection}"'
            # Made only where missing, so that a reader does not wait for a writer.
            (made,) = connection.execute(
                "SELECT count(*) FROM sqlite_schema WHERE name IN (?, 'collection rules')",
                (f"partition {collection}",),
            ).fetchone()
            if made < _TABLES_KNOWN:
                self._make_tables(connection, collection, table)
            self._arrays[collection] = tuple(
                field
                for (field,) in connection.execute(
                    'SELECT field FROM "array fields" WHERE collection = ?', (collection,)
                )
            )
            self._tables[collection] = table
        return self._tables[collection]

    def _make_tables(self, connection: sqlite3.Connection, collection: str, table: str) -> None:
        for statement in (
            (
                'CREATE TABLE IF NOT EXISTS "array fields" (collection TEXT NOT NULL, '
                "field TEXT NOT NULL, PRIMARY KEY (collection, field)) WITHOUT ROWID"
            ),
            (
                'CREATE TABLE IF NOT EXISTS "collection rules" '
                "(collection TEXT PRIMARY KEY NOT NULL, rules TEXT NOT NULL) WITHOUT ROWID"
            ),
            (
                f'CREATE TABLE IF NOT EXISTS "elements {collection}" (field TEXT NOT NULL, '
                "value TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (field, value, id)) "
                "WITHOUT ROWID"
            ),
            (
                f'CREATE INDEX IF NOT EXISTS "elements by id {collection}" '
                f'ON "elements {collection}" (id)'
            ),
            (
                f"CREATE TABLE IF NOT EXISTS {table} (id TEXT PRIMARY KEY NOT NULL, "
                "partition TEXT, hash TEXT NOT NULL, body TEXT NOT NULL)"
            ),
            # Last: where it is, all the others are.
            f'CREATE INDEX IF NOT EXISTS "partition {collection}" ON {table} (partition, id, hash)',
        ):
            connection.execute(statement)

    # Writing ----------------------------------------------------------------------------------

    def _write(
        self,
        connection: sqlite3.Connection,
        collection: str,
        rows: Sequence[tuple[str, str | None, str, str, Document]],
    ) -> None:
        connection.executemany(
            f"INSERT INTO {self._table(collection)} (id, partition, hash, body) "
            "VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET partition = excluded.partition, "
            "hash = excluded.hash, body = excluded.body",
            [row[:4] for row in rows],
        )
        arrays = self._arrays[collection]
        if not arrays:
            return
        connection.executemany(
            f'DELETE FROM "elements {collection}" WHERE id = ?', [row[:1] for row in rows]
        )
        connection.executemany(
            f'INSERT INTO "elements {collection}" (field, value, id) VALUES (?, ?, ?)',
            [
                (field, value, row[0])
                for row in rows
                for field in arrays
                for value in sorted(set(row[4].get(field, ())))
            ],
        )

    def _delete(self, connection: sqlite3.Connection, collection: str, ids: Iterable[str]) -> None:
        for marks, chunk in _chunks(ids):
            for table in (self._table(collection), f'"elements {collection}"'):
                connection.execute(f"DELETE FROM {table} WHERE id IN {marks}", chunk)

    def begin(self, collection: str, partition: str) -> int:
        """See `DocumentStore.begin`."""
        check_collection(collection)
        check_partition(collection, partition)
        with self._reading(f"{collection}, {partition}") as connection:
            return _generation(connection, collection, partition)

    def supersede(self, collection: str, partition: str) -> None:
        """See `DocumentStore.supersede`."""
        check_collection(collection)
        check_partition(collection, partition)
        with self._writing(f"{collection}, {partition}") as connection:
            _advance(connection, collection, partition)

    def replace_partition(
        self,
        collection: str,
        partition: str,
        documents: Sequence[Document],
        since: int | None = None,
    ) -> ReplaceOutcome:
        """See `DocumentStore.replace_partition`."""
        ids = check_ids(collection, partition, (one.get("_id") for one in documents))
        bad: dict[str, str] = {}
        inserted = replaced = unchanged = 0
        with self._writing(f"{collection}, {partition}") as connection:
            table = self._table(collection)
            encode = partial(_checked, _rules(connection, collection))
            _require_generation(connection, collection, partition, since)
            held = dict(
                connection.execute(
                    f"SELECT id, hash FROM {table} WHERE partition = ?", (partition,)
                ).fetchall()
            )
            elsewhere = {
                identifier
                for marks, chunk in _chunks(i for i in ids if i not in held and _encodable(i))
                for (identifier,) in connection.execute(
                    f"SELECT id FROM {table} WHERE id IN {marks}", chunk
                )
            }
            rows = []
            for given in documents:
                identifier = given["_id"]
                try:
                    document = storable_document(given)
                    body, digest = encode(document)
                except UnstorableError as error:
                    bad[identifier] = str(error)
                    continue
                if held.get(identifier) == digest:
                    unchanged += 1
                    continue
                known = identifier in held or identifier in elsewhere
                replaced += known
                inserted += not known
                rows.append((identifier, partition, digest, body, document))
                if len(rows) == _CHUNK:
                    self._write(connection, collection, rows)
                    rows = []
            self._write(connection, collection, rows)
            stale = held.keys() - set(ids)
            self._delete(connection, collection, stale)
            if inserted or replaced or stale:
                _advance(connection, collection, partition)
        outcome = ReplaceOutcome(inserted, replaced, unchanged, len(stale))
        _log_outcome("replace_partition", collection, partition, outcome, bad)
        if bad:
            raise refusal(collection, partition, bad)
        return outcome

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
        bad: dict[str, str] = {}
        counts = {"inserted": 0, "replaced": 0, "unchanged": 0, "deleted": 0}
        with self._writing(f"{collection}, {day}") as connection:
            self._table(collection)
            _require_generation(connection, collection, day, since)
            owned = {
                identifier
                for (identifier,) in connection.execute(
                    f"SELECT id FROM \"elements {collection}\" WHERE field = 'days' AND value = ?",
                    (day,),
                )
            }
            given = {piece.conversation_id for piece in slices}
            pieces = [*slices, *slices_of_rest(owned - given, rest)]
            for start in range(0, len(pieces), _CHUNK):
                batch = []
                for piece in pieces[start : start + _CHUNK]:
                    try:
                        batch.append(storable_slice(piece))
                    except UnstorableError as error:
                        bad[piece.conversation_id] = str(error)
                self._merge_batch(connection, collection, day, batch, counts, bad)
            if counts["inserted"] or counts["replaced"] or counts["deleted"]:
                _advance(connection, collection, day)
        outcome = ReplaceOutcome(**counts)
        _log_outcome("merge_conversations", collection, day, outcome, bad)
        if bad:
            raise refusal(collection, day, bad)
        return outcome

    def _merge_batch(
        self,
        connection: sqlite3.Connection,
        collection: str,
        day: str,
        batch: Sequence[ConversationSlice],
        counts: dict[str, int],
        bad: dict[str, str],
    ) -> None:
        stored: dict[str, tuple[str, str]] = {}
        for marks, chunk in _chunks(piece.conversation_id for piece in batch):
            for identifier, digest, body in connection.execute(
                f"SELECT id, hash, body FROM {self._table(collection)} WHERE id IN {marks}", chunk
            ):
                stored[identifier] = (digest, body)
        rules = _rules(connection, collection)
        encode = partial(_checked, rules)
        rows = []
        gone = []
        for piece in batch:
            identifier = piece.conversation_id
            before, text = stored.get(identifier, (None, None))
            existing = None if text is None else {"_id": identifier, **from_json_text(text)}
            if existing is not None and rules is not None:
                existing = as_ruled(existing, rules, day)
            try:
                merging = merge_encoded(existing, piece, day, encode)
            except UnstorableError as error:
                bad[identifier] = str(error)
                continue
            if merging is None:
                counts["deleted" if existing is not None else "unchanged"] += 1
                gone += [identifier] if existing is not None else []
                continue
            merged, (body, digest) = merging
            if digest == before:
                counts["unchanged"] += 1
                continue
            counts["inserted" if before is None else "replaced"] += 1
            rows.append((identifier, None, digest, body, merged))
        self._write(connection, collection, rows)
        self._delete(connection, collection, gone)

    # Reading ----------------------------------------------------------------------------------

    def count(self, collection: str, partition: str) -> int:
        """See `DocumentStore.count`."""
        check_partition(collection, partition)
        with self._reading(f"{collection}, {partition}") as connection:
            (number,) = connection.execute(
                f"SELECT count(*) FROM {self._table(collection)} WHERE partition = ?", (partition,)
            ).fetchone()
        return int(number)

    def count_slice(self, collection: str, day: str) -> tuple[int, int]:
        """See `DocumentStore.count_slice`."""
        check_partition(collection, day)
        with self._reading(f"{collection}, {day}") as connection:
            headers, messages = connection.execute(
                f"""
                SELECT
                  coalesce(sum(
                    coalesce(json_extract(body, '$.header_day') = :day, 0) + (
                      SELECT count(*) FROM json_each(body, '$.other_headers') AS h
                      WHERE json_extract(h.value, '$.day') = :day)), 0),
                  coalesce(sum((
                      SELECT count(*) FROM json_each(body, '$.messages') AS m
                      WHERE json_extract(m.value, '$.day') = :day) + (
                      SELECT coalesce(sum(json_extract(t.value, '$.message_count')), 0)
                      FROM json_each(body, '$.truncated_days') AS t
                      WHERE json_extract(t.value, '$.day') = :day)), 0)
                FROM {self._table(collection)} WHERE id IN (
                  SELECT id FROM "elements {collection}" WHERE field = 'days' AND value = :day)
                """,
                {"day": day},
            ).fetchone()
        return int(headers), int(messages)

    def get(self, collection: str, identifier: str) -> Document | None:
        """See `DocumentStore.get`."""
        check_query(collection, {"_id": identifier})
        with self._reading(collection) as connection:
            row = connection.execute(
                f"SELECT body FROM {self._table(collection)} WHERE id = ?", (identifier,)
            ).fetchone()
        return None if row is None else {"_id": identifier, **from_json_text(row[0])}

    def _select(
        self, collection: str, equals: Mapping[str, Scalar]
    ) -> tuple[str, list[str | int | None]]:
        table = self._table(collection)
        conditions = ["1"]
        values: list[str | int | None] = []
        for field, value in equals.items():
            if field in self._arrays[collection]:
                conditions.append(
                    f'id IN (SELECT id FROM "elements {collection}" '
                    f"WHERE field = '{field}' AND value = ?)"
                )
            elif value is None:
                conditions.append(f"{_expression(field)} IS NULL")
                continue
            elif isinstance(value, str) and "\0" in value and field not in _COLUMNS:
                # SQLite's JSON ends text at a NUL; `find` drops what is too much.
                conditions.append(f"{_expression(field)} IN (?, ?)")
                values.append(value.partition("\0")[0])
            else:
                conditions.append(f"{_expression(field)} = ?")
            values.append(_parameter(value))
        where = " AND ".join(conditions)
        sql = f"SELECT id, partition, hash, body FROM {table} WHERE {where}"
        return sql, values

    def find(
        self,
        collection: str,
        equals: Mapping[str, Scalar],
        *,
        sort: Sort = (),
        limit: int | None = None,
    ) -> list[Document]:
        """See `DocumentStore.find`. The matching documents are sorted in memory."""
        check_query(collection, equals, sort, limit)
        with self._reading(collection) as connection:
            sql, values = self._select(collection, equals)
            rows = connection.execute(sql, values).fetchall()
        found = []
        for identifier, partition, digest, body in rows:
            document = {"_id": identifier, **from_json_text(body)}
            whole = {**document, PARTITION: partition, HASH: digest}
            # SQL does not tell true from 1 nor a time from its text.
            if all(_equals(whole.get(field), value) for field, value in equals.items()):
                found.append(document)
        last = sort[-1][1] if sort else 1
        for field, direction in reversed([*sort, ("_id", last)]):
            found.sort(key=lambda one: _order(one.get(field)), reverse=direction < 0)
        return found if limit is None else found[:limit]

    def get_many(
        self, collection: str, identifiers: Sequence[str], without: Sequence[str] = ()
    ) -> list[Document]:
        """See `DocumentStore.get_many`."""
        check_many(collection, identifiers, without)
        found: list[Document] = []
        with self._reading(collection) as connection:
            for marks, chunk in _chunks(sorted(set(identifiers))):
                found += (
                    _read(identifier, body, without)
                    for identifier, body in connection.execute(
                        f"SELECT id, body FROM {self._table(collection)} WHERE id IN {marks} "
                        "ORDER BY id",
                        chunk,
                    )
                )
        return found

    def page(self, collection: str, query: PageQuery) -> list[Document]:
        """See `DocumentStore.page`."""
        check_page(collection, query)
        with self._reading(collection) as connection:

            def read(segment: Segment, limit: int) -> list[Document]:
                found: list[Document] = []
                # No LIMIT: rows come one by one, and some are not what they seem to SQL.
                sql, values = self._segment(collection, query, segment)
                for identifier, partition, digest, body in connection.execute(sql, values):
                    document = {"_id": identifier, **from_json_text(body)}
                    whole = {**document, PARTITION: partition, HASH: digest}
                    if all(_equals(whole.get(name), one) for name, one in query.equals.items()):
                        for name in query.without:
                            document.pop(name, None)
                        found.append(document)
                        if len(found) == limit:
                            break
                return found

            return read_page(query, read)

    def _segment(
        self, collection: str, query: PageQuery, segment: Segment
    ) -> tuple[str, list[str | int | None]]:
        sql, values = self._select(collection, query.equals)
        field = _expression(query.sort)
        for comparison, value in segment.conditions:
            if value is None:
                sql += f" AND {field} IS {'NOT NULL' if comparison == 'ne' else 'NULL'}"
            else:
                sql += f" AND {field} {_SIGNS[comparison]} ?"
                values.append(_parameter(value))
        if segment.beyond is not None:
            sql += f" AND id {'<' if query.descending else '>'} ?"
            values.append(segment.beyond)
        order = "DESC" if query.descending else "ASC"
        # Where all have one value, SQLite would sort by it none the less.
        tied = any(comparison == "eq" for comparison, _ in segment.conditions)
        by = f"id {order}" if tied else f"{field} {order}, id {order}"
        return f"{sql} ORDER BY {by}", values

    # Erasure ----------------------------------------------------------------------------------

    def discard(self, collection: str, ids: Sequence[str]) -> int:
        """See `DocumentStore.discard`."""
        with self._writing(f"{collection}, removal") as connection:
            table = self._table(collection)
            there = [
                identifier
                for marks, chunk in _chunks(one for one in ids if _encodable(one))
                for (identifier,) in connection.execute(
                    f"SELECT id FROM {table} WHERE id IN {marks}", chunk
                )
            ]
            self._delete(connection, collection, there)
        return len(there)

    def holding(self, sought: SoughtIds) -> dict[str, int]:
        """See `DocumentStore.holding`."""
        found: dict[str, int] = {}
        with self._reading("search") as connection:
            tables = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'documents %'"
            ).fetchall()
            for (table,) in tables:
                for identifier, partition, body in connection.execute(
                    f'SELECT id, partition, body FROM "{table}"'
                ):
                    text = f"{identifier}\0{partition or ''}"
                    if sought.in_text(text) or sought.in_text(body):
                        name = table.removeprefix("documents ")
                        found[name] = found.get(name, 0) + 1
        return found

    def wipe(self) -> None:
        """See `DocumentStore.wipe`: the file is written anew, and its log cut to nothing."""
        with self._reading("wipe") as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    # The store itself -------------------------------------------------------------------------

    def ping(self) -> None:
        """See `DocumentStore.ping`."""
        with self._reading("ping") as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def server_time(self) -> None:
        """See `DocumentStore.server_time`."""

    def check_rights(self, collections: Sequence[str]) -> None:  # noqa: ARG002 - all are one file
        """See `DocumentStore.check_rights`: whether the file can be written."""
        with self._writing("rights"):
            pass

    def ensure(self, spec: CollectionSpec) -> None:
        """See `DocumentStore.ensure`."""
        with self._lock:
            if self._connection is not None and spec in self._ensured:
                return
        with self._writing(f"{spec.name}, indexes") as connection:
            table = self._table(spec.name)
            if spec.rules:
                connection.execute(
                    'INSERT INTO "collection rules" VALUES (?, ?) '
                    "ON CONFLICT DO UPDATE SET rules = excluded.rules",
                    (spec.name, spec.rules),
                )
            for index in spec.indexes:
                fields = [field for field, _ in index]
                check_fields(fields)
                if set(fields) & {*spec.arrays, PARTITION}:
                    continue  # the tables have these already
                columns = ", ".join(
                    f"{_expression(field)} {'ASC' if direction > 0 else 'DESC'}"
                    for field, direction in index
                )
                connection.execute(
                    f'CREATE INDEX IF NOT EXISTS "{spec.name} {" ".join(fields)}" '
                    f"ON {table} ({columns})"
                )
            if spec.dated_by and spec.keep_days:
                self._let_documents_go(connection, spec.name, spec.dated_by, spec.keep_days)
            for view in spec.views:
                _make_view(connection, view, table)
            for field in spec.arrays:
                check_fields([field])
                if field not in self._arrays[spec.name]:
                    self._search_elements(connection, spec.name, field)
        with self._lock:
            self._ensured.add(spec)

    def _let_documents_go(
        self, connection: sqlite3.Connection, collection: str, dated_by: str, days: int
    ) -> None:
        check_fields([dated_by])
        # Times are text of constant width, so that text order is time order.
        old = connection.execute(
            f"""SELECT id FROM {self._table(collection)}
            WHERE json_extract(body, '$.{dated_by}."$date"') < strftime(?, 'now', ?)""",
            ("%Y-%m-%dT%H:%M:%fZ", f"-{days} days"),
        )
        self._delete(connection, collection, [identifier for (identifier,) in old.fetchall()])

    def _search_elements(self, connection: sqlite3.Connection, collection: str, field: str) -> None:
        """Keep the elements of an array field from now on, and those that are there already."""
        connection.execute(
            'INSERT OR IGNORE INTO "array fields" (collection, field) VALUES (?, ?)',
            (collection, field),
        )
        connection.execute(
            f'INSERT OR IGNORE INTO "elements {collection}" (field, value, id) '
            f"SELECT ?, element.value, stored.id FROM {self._table(collection)} AS stored, "
            f"json_each(stored.body, '$.{field}') AS element WHERE element.value IS NOT NULL",
            (field,),
        )
        self._arrays[collection] = (*self._arrays[collection], field)

    def describe(self) -> dict[str, str]:
        """See `DocumentStore.describe`."""
        return {"kind": "sqlite", "path": str(self._config.path)}

    def close(self) -> None:
        """See `DocumentStore.close`."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None
            self._forget_tables()


def _make_view(connection: sqlite3.Connection, view: ViewSpec, table: str) -> None:
    name = check_collection(view.name)
    sql = f'CREATE VIEW "{name}" AS {select(view, table)}'
    there = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?", (name,)
    ).fetchone()
    if there is not None and there[0] != sql:
        connection.execute(f'DROP VIEW "{name}"')
        there = None
    if there is None:
        connection.execute(sql)


def _rules(connection: sqlite3.Connection, collection: str) -> Document | None:
    found = connection.execute(
        'SELECT rules FROM "collection rules" WHERE collection = ?', (collection,)
    ).fetchone()
    return json.loads(found[0]) if found else None


def _generation(connection: sqlite3.Connection, collection: str, partition: str) -> int:
    if not connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE name = 'partition generations'"
    ).fetchone():
        return 0
    found = connection.execute(
        'SELECT generation FROM "partition generations" WHERE collection = ? AND partition = ?',
        (collection, partition),
    ).fetchone()
    return int(found[0]) if found else 0


def _require_generation(
    connection: sqlite3.Connection, collection: str, partition: str, since: int | None
) -> None:
    if since is not None and _generation(connection, collection, partition) != since:
        raise replaced_meanwhile(f"{collection}, {partition}")


def _advance(connection: sqlite3.Connection, collection: str, partition: str) -> None:
    connection.execute(
        'CREATE TABLE IF NOT EXISTS "partition generations" (collection TEXT NOT NULL, '
        "partition TEXT NOT NULL, generation INTEGER NOT NULL, "
        "PRIMARY KEY (collection, partition)) WITHOUT ROWID"
    )
    connection.execute(
        'INSERT INTO "partition generations" VALUES (?, ?, 1) '
        "ON CONFLICT DO UPDATE SET generation = generation + 1",
        (collection, partition),
    )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _log_outcome(
    method: str, collection: str, partition: str, outcome: ReplaceOutcome, bad: Mapping[str, str]
) -> None:
    _log.info(
        "%s store=sqlite collection=%s partition=%s inserted=%d replaced=%d unchanged=%d "
        "deleted=%d refused=%d",
        method, collection, partition, outcome.inserted, outcome.replaced, outcome.unchanged,
        outcome.deleted, len(bad),
    )  # fmt: skip
