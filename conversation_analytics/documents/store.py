"""The document-store protocol, its configuration and `open_store`."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from conversation_analytics.core.documents import ConversationSlice
from conversation_analytics.core.errors import DocumentError, SettingsError
from conversation_analytics.documents.encoding import PARTITION, UnstorableError, storable

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.core.documents import Document
    from conversation_analytics.core.id_search import SoughtIds
    from conversation_analytics.documents.collections import CollectionSpec
    from conversation_analytics.documents.paging import PageQuery

Scalar: TypeAlias = str | int | bool | dt.datetime | None
Sort: TypeAlias = Sequence[tuple[str, Literal[1, -1]]]
Rest: TypeAlias = Literal["withdrawn", "aged", "left"]
"""What becomes of a day's part of conversations that a merge is not given: it goes, it goes by its
age (`ConversationSlice.by_age`), or it stays."""

_COLLECTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_NEEDED: Final = frozenset({"_id", PARTITION, "days"})
_NAMED_IDS: Final = 20
_KEY: Final = 200


@dataclass(frozen=True, slots=True)
class ReplaceOutcome:
    """What a write did, in documents.

    Attributes:
        inserted: new ones.
        replaced: ones that differed, or that another partition held.
        unchanged: ones that were left alone.
        deleted: ones that are gone.
    """

    inserted: int = 0
    replaced: int = 0
    unchanged: int = 0
    deleted: int = 0


class DocumentStore(Protocol):
    """A place for documents. Safe to call from several threads and several processes.

    Every method raises DocumentStoreUnavailableError if the store does not answer in time, and
    DocumentError if it refuses the credentials or the request.
    """

    def begin(self, collection: str, partition: str) -> int:
        """Return the generation of a partition (or day): call it before reading the source.

        The first write that changes the partition makes it the next generation, and whoever
        writes with an older one is refused from then on: in the middle, too.
        """

    def supersede(self, collection: str, partition: str) -> None:
        """Make the partition (or day) the next generation, though nothing of it changes.

        Whoever has begun on it before, or is in the middle, writes nothing from then on.

        Raises:
            PartitionReplacedError: another writer did so at the same moment.
        """

    def replace_partition(
        self,
        collection: str,
        partition: str,
        documents: Sequence[Document],
        since: int | None = None,
    ) -> ReplaceOutcome:
        """Make the partition hold exactly `documents`; repeat it after any interruption.

        Each document has a text `_id`. Unchanged documents are not rewritten; an id that another
        partition holds is taken over. `since` is what `begin` gave; None begins here.

        Raises:
            PartitionReplacedError: another writer has begun to replace it since; what this one
                has written until then is replaced by the other.
            DocumentError: an id comes twice (nothing is written), or documents cannot be stored:
                the others are, what was stored under the ids of the bad ones stays.
        """

    def merge_conversations(
        self,
        collection: str,
        day: str,
        slices: Sequence[ConversationSlice],
        since: int | None = None,
        *,
        rest: Rest = "withdrawn",
    ) -> ReplaceOutcome:
        """Make `day` own exactly `slices` of the conversations; see `merge_slice`.

        Conversations that `day` had a part of and that are not in `slices` lose that part, unless
        `rest` says otherwise. Parts of other days are brought to the collection's rules, where
        these have changed since they were stored (`rules.as_ruled`).
        Days may come in any order and in parallel. Repeat it after any interruption.

        Raises:
            PartitionReplacedError: as `replace_partition`, of the same day alone.
            DocumentError: as `replace_partition`.
        """

    def count(self, collection: str, partition: str) -> int:
        """Return the number of documents that the partition holds."""

    def count_slice(self, collection: str, day: str) -> tuple[int, int]:
        """Return how many headers and how many messages `day` owns in the conversations."""

    def get(self, collection: str, identifier: str) -> Document | None:
        """Return one document without the store's own fields, or None."""

    def find(
        self,
        collection: str,
        equals: Mapping[str, Scalar],
        *,
        sort: Sort = (),
        limit: int | None = None,
    ) -> list[Document]:
        """Return the documents whose top-level fields equal all of `equals`.

        None equals null and missing. A field in `CollectionSpec.arrays` is found by element.
        Sorted by `sort`, then by `_id` in the last key's direction; null first when ascending.
        Documents come without the store's own fields.
        """

    def get_many(
        self, collection: str, identifiers: Sequence[str], without: Sequence[str] = ()
    ) -> list[Document]:
        """Return those of the documents that there are, by `_id`, less the fields `without`.

        Raises:
            DocumentError: one of them says of which partition a document is: see `check_without`.
        """

    def page(self, collection: str, query: PageQuery) -> list[Document]:
        """Return one page, read off the index of its fields, without the store's own fields.

        Pages go on behind the last document of the one before: see `paging`. Without an index on
        the fields of `equals`, the sort field and `_id`, the store may scan and sort.
        """

    def discard(self, collection: str, ids: Sequence[str]) -> int:
        """Remove documents by id, whatever partition they are of; return how many there were."""

    def holding(self, sought: SoughtIds) -> dict[str, int]:
        """Return how many documents hold one of the ids in any field, by collection.

        Every collection of the database is read whole, those of other programs too. Collections
        without such a document are not in it.
        """

    def wipe(self) -> None:
        """Overwrite what removed documents leave in the store's files, where that is possible."""

    def ping(self) -> None:
        """Return if the store answers."""

    def server_time(self) -> dt.datetime | None:
        """Return the time by the store's own clock; None: it has none but ours."""

    def check_rights(self, collections: Sequence[str]) -> None:
        """Return if the platform may do all it does with these collections, without doing it.

        Raises:
            DocumentError: it may not; what is lacking is named.
        """

    def ensure(self, spec: CollectionSpec) -> None:
        """Create the collection's indexes where they are missing, and let its rules hold.

        From then on a document that breaks them is refused, whoever writes it. Documents that are
        there stay as they are. Its views are made, and documents older than `keep_days` go: in
        MongoDB all the time, in SQLite now.
        """

    def describe(self) -> dict[str, str]:
        """Return what the operator may know about this store: no credentials."""

    def close(self) -> None:
        """Give back connections; the store connects again when it is used again."""


@dataclass(frozen=True, slots=True)
class MongoConfig:
    """MongoDB.

    Attributes:
        uri: connection string; never shown.
        database: name of the database.
        batch_size: documents a request.
        server_selection_timeout_s: how long to look for a primary, seconds.
        socket_timeout_s: how long to wait for an answer, seconds.

    Raises:
        SettingsError: a value cannot be right.
    """

    uri: str = field(repr=False)
    database: str = "conversation_analytics"
    batch_size: int = 1000
    server_selection_timeout_s: float = 10.0
    socket_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.uri.startswith(("mongodb://", "mongodb+srv://")):
            raise SettingsError(
                "MONGODB_URI: expected mongodb://... or mongodb+srv://... (the value is not shown)"
            )
        if not _FIELD.fullmatch(self.database.replace("-", "_")):
            raise SettingsError(
                f"MONGODB_DATABASE: expected letters, digits, '_' and '-', got {self.database!r}"
            )
        if self.batch_size < 1:
            raise SettingsError(f"BATCH_SIZE: expected at least 1, got {self.batch_size}")


@dataclass(frozen=True, slots=True)
class SqliteConfig:
    """A SQLite file of this machine; not for network file systems.

    Attributes:
        path: the file; its folder is created.
        busy_timeout_s: how long to wait for another writer, seconds.
    """

    path: Path
    busy_timeout_s: float = 60.0


def open_store(config: MongoConfig | SqliteConfig) -> DocumentStore:
    """Return the store of `config`; it connects on its first use."""
    if isinstance(config, MongoConfig):
        # Only those who use MongoDB pay for its driver's import.
        from conversation_analytics.documents.mongodb import MongoStore  # noqa: PLC0415

        return MongoStore(config)
    from conversation_analytics.documents.sqlite import SqliteStore  # noqa: PLC0415 as above

    return SqliteStore(config)


def check_collection(name: str) -> str:
    """Return `name`.

    Raises:
        DocumentError: it is not a name that every store takes.
    """
    if not _COLLECTION.fullmatch(name) or name.startswith("system."):
        raise DocumentError(
            f"collection {name!r}: expected a letter or '_', then up to 99 letters, digits, "
            "'_', '.' or '-'; change the setting of the collection's name"
        )
    return name


def check_fields(names: Iterable[str]) -> None:
    """Return if all are names of top-level fields.

    Raises:
        DocumentError: one is not.
    """
    for name in names:
        if not _FIELD.fullmatch(name):
            raise DocumentError(
                f"field {name!r}: expected the name of a top-level field of letters, digits "
                "and '_'; correct the query"
            )


def check_query(
    collection: str, equals: Mapping[str, object], sort: Sort = (), limit: int | None = None
) -> None:
    """Return if `DocumentStore.find` can be asked this.

    Raises:
        DocumentError: a name is no field, a value no scalar that a document may hold, or the
            limit is negative. No value is named.
    """
    check_fields([*equals, *(name for name, _ in sort)])
    if limit is not None and limit < 0:
        raise DocumentError(f"{collection}: limit: expected 0 or more, got {limit}")
    for name, value in equals.items():
        problem = None
        if not isinstance(value, (str, int, dt.datetime, type(None))):
            problem = f"value of type {type(value).__name__}"
        else:
            try:
                storable(value)
            except UnstorableError as error:
                problem = str(error)
        if problem is not None:
            raise DocumentError(
                f"{collection}, field {name}: expected a text, integer, truth value, time or "
                f"None that a document can hold, got: {problem}; correct the query"
            )


def check_without(collection: str, names: Sequence[str]) -> None:
    """Return if these fields can be left out of what is read.

    Raises:
        DocumentError: one is no field, or is needed to see that a document is of a partition that
            is half replaced.
    """
    check_fields(names)
    if needed := sorted(_NEEDED.intersection(names)):
        raise DocumentError(
            f"{collection}: {', '.join(needed)} cannot be left out: they tell which partitions a "
            "document is of; leave out other fields"
        )


def check_many(collection: str, identifiers: Sequence[str], without: Sequence[str]) -> None:
    """Return if `DocumentStore.get_many` can be asked this.

    Raises:
        DocumentError: as `check_query` and `check_without`.
    """
    check_without(collection, without)
    for identifier in identifiers:
        check_query(collection, {"_id": identifier})


def check_partition(collection: str, partition: str) -> str:
    """Return the partition key.

    Raises:
        DocumentError: it is not text of 1 to 200 printable characters.
    """
    if not (isinstance(partition, str) and 1 <= len(partition) <= _KEY and partition.isprintable()):
        raise DocumentError(
            f"{collection}: partition: expected 1 to {_KEY} printable characters, got "
            f"{ascii(partition)[:_KEY]}; pass the key of a day"
        )
    return partition


def check_ids(collection: str, partition: str, ids: Iterable[object]) -> list[str]:
    """Return the ids if each is text and comes once.

    Raises:
        DocumentError: one is not, or comes twice, or the partition's key is none.
    """
    check_partition(collection, partition)
    given = list(ids)
    texts = [value for value in given if isinstance(value, str) and value]
    if len(texts) < len(given):
        raise DocumentError(
            f"{collection}, {partition}: {len(given) - len(texts)} of {len(given)} documents have "
            "no text as _id; correct the builder of these documents"
        )
    repeated = sorted(value for value, times in Counter(texts).items() if times > 1)
    if repeated:
        raise DocumentError(
            f"{collection}, {partition}: expected each _id once, {len(repeated)} come more often: "
            f"{_named(repeated)}; drop duplicates before writing"
        )
    return texts


def slices_of_rest(ids: Iterable[str], rest: Rest) -> list[ConversationSlice]:
    """Return what a merge is to do with conversations that it is not given.

    Args:
        ids: of those that the day has a part of.
        rest: what becomes of it.
    """
    if rest == "left":
        return []
    return [ConversationSlice(one, None, [], by_age=rest == "aged") for one in sorted(ids)]


def _named(ids: Sequence[str]) -> str:
    shown = ", ".join(ascii(identifier) for identifier in ids[:_NAMED_IDS])
    return shown if len(ids) <= _NAMED_IDS else f"{shown} and {len(ids) - _NAMED_IDS} more"


def refusal(collection: str, partition: str, bad: Mapping[str, str]) -> DocumentError:
    """Return the error for documents that could not be stored.

    Args:
        collection: name of the collection.
        partition: partition or day.
        bad: id -> kind of problem, without any value of the document.
    """
    kinds = ", ".join(f"{kind} ({times})" for kind, times in sorted(Counter(bad.values()).items()))
    return DocumentError(
        f"{collection}, {partition}: {len(bad)} documents cannot be stored, all others are: "
        f"{_named(sorted(bad))}; because of: {kinds}; mend these rows upstream and run the "
        "partition again"
    )
