"""Assets to documents of the document store."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from conversation_analytics.core.document_places import place_recorded
from conversation_analytics.core.document_versions import document_version
from conversation_analytics.core.engine import Engine
from conversation_analytics.core.partitions import Partitioned
from conversation_analytics.core.staleness import StoredPartition
from conversation_analytics.documents.collections import CollectionSpec
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.io_managers.partition_metadata import (
    add_partition_metadata,
    computed_by,
)
from conversation_analytics.io_managers.read_log import ReadLog, attempt_of
from conversation_analytics.io_managers.retries import retry_if_transient

UNDATED = "undated"
MADE_FROM = "document_partitions"
"""The collection that says of which lake partitions each partition of documents was made."""


def stored_documents(store: DocumentStore, asset: str, key: str) -> StoredPartition | None:
    """Return what partition `key` of a document asset was made of, by lake table.

    Returns:
        None where the partition has not been made. Documents of another version are outdated.
    """
    document = store.get(MADE_FROM, _name(asset, key))
    if document is None:
        return None
    outdated = document.get("version", 1) != document_version(asset)
    return StoredPartition(None, document["inputs"], outdated=outdated)


def record_inputs(
    store: DocumentStore, asset: str, key: str, inputs: Mapping[str, str] | None
) -> None:
    """Record what partition `key` of a document asset was made of; None: that it is not made."""
    name = _name(asset, key)
    told = {
        "_id": name, "asset": asset, "partition": key, "version": document_version(asset),
        "inputs": inputs,
    }  # fmt: skip
    store.replace_partition(MADE_FROM, name, [] if inputs is None else [told])


def _name(asset: str, key: str) -> str:
    return f"{asset}/{key}"


class DocumentIOManager(dg.IOManager):
    """Writes documents of a partition so that the collection holds exactly these.

    The asset's definition metadata says where: `collection`, and `documents` = `replace`
    (a list of documents) or `merge` (a list of `ConversationSlice`). Where `period` is given the
    partition of the documents is called `<period>/<key>`: a week begins on a day that has documents
    of its own. An asset without partitions has documents of the partition `undated`, or of the one
    that `partition` names.
    """

    def __init__(
        self,
        store: DocumentStore,
        collections: Sequence[CollectionSpec],
        reads: ReadLog,
        engine: Engine,
        on_partition: Callable[[str, str | None], None],
    ) -> None:
        """Keep the store, its collections, what was read, what computes, who hears of it."""
        self._store = store
        self._reads = reads
        self._engine = engine
        self._missing = list(collections)
        self._on_partition = on_partition

    @retry_if_transient()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Replace every partition of this output."""
        keys = _keys(context)
        if not context.has_asset_partitions:
            compute = obj if callable(obj) else lambda: obj
            # Its inputs are frames: they were read before the asset's function was called.
            since = self._since_step_began(context, keys[0])
            context.add_output_metadata(self._write(context, keys[0], compute, since))
            return
        values: Mapping[str, Any] = obj if isinstance(obj, Mapping) else {keys[0]: obj}
        for key in keys:
            # A `Partitioned` reads the lake when it is asked for a day, others have read it.
            lazy = isinstance(values, Partitioned)
            since = None if lazy else self._since_step_began(context, key)
            written = self._write(context, key, lambda key=key: values[key], since)  # type: ignore[misc]
            add_partition_metadata(context, key, written)

    def begin(self, context: dg.OutputContext) -> dict[tuple[str, str], int]:
        """Return the generation of each partition that this output will replace.

        To be called before the first input of the step is read (`begin_outputs`).
        """
        places = [_place(context, key) for key in _keys(context)]
        return {place: self._store.begin(*place) for place in places}

    def _since_step_began(self, context: dg.OutputContext, key: str) -> int | None:
        begun = self._reads.documents_begun(attempt_of(context.step_context))
        return begun.get(_place(context, key))

    def load_input(self, context: dg.InputContext) -> Any:
        """Refuse: documents are an end of the road, the lake is the truth."""
        raise dg.DagsterInvariantViolationError(
            f"{context.asset_key.to_user_string()} is a copy in the document store and feeds no "
            "other asset: depend on the lake table it is made from"
        )

    def _ensure_all(self) -> None:
        # All of them, once a run: settings and rules also reach collections that it does not write.
        while self._missing:
            self._store.ensure(self._missing[-1])
            self._missing.pop()

    def _write(
        self, context: dg.OutputContext, key: str, compute: Callable[[], Any], since: int | None
    ) -> dict[str, Any]:
        started = time.perf_counter()
        collection, target = _place(context, key)
        self._ensure_all()
        if since is None:  # nothing has been read for the documents yet
            since = self._store.begin(collection, target)
        value = compute()
        if context.definition_metadata["documents"] == "merge":
            outcome = self._store.merge_conversations(collection, target, value, since)
        else:
            outcome = self._store.replace_partition(collection, target, value, since)
        asset = context.asset_key.path[-1]
        partition = key if context.has_asset_partitions else None
        # After the documents: a run that dies in between is made again, not taken for done.
        made_of = self._reads.inputs(attempt_of(context.step_context), partition)
        record_inputs(self._store, asset, key, made_of | place_recorded(asset, collection))
        self._on_partition(asset, partition)
        return {
            "documents": len(value),
            "inserted": outcome.inserted,
            "replaced": outcome.replaced,
            "unchanged": outcome.unchanged,
            "deleted": outcome.deleted,
            "seconds": round(time.perf_counter() - started, 3),
            **computed_by(self._engine),
        }


def _keys(context: dg.OutputContext) -> list[str]:
    if context.has_asset_partitions:
        return sorted(context.asset_partition_keys)
    return [str(context.definition_metadata.get("partition", UNDATED))]


def _place(context: dg.OutputContext, key: str) -> tuple[str, str]:
    """Return the collection of an output, and what its partition `key` is called there."""
    period = context.definition_metadata.get("period")
    return str(context.definition_metadata["collection"]), f"{period}/{key}" if period else key
