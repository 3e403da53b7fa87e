"""Assets to documents of the document store."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from conversation_analytics.documents.collections import CollectionSpec
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.io_managers.partition_metadata import add_partition_metadata
from conversation_analytics.io_managers.retries import retry_if_transient

UNDATED = "undated"


class DocumentIOManager(dg.IOManager):
    """Writes documents of a partition so that the collection holds exactly these.

    The asset's definition metadata says where: `collection`, and `documents` = `replace`
    (a list of documents) or `merge` (a list of `ConversationSlice`).
    """

    def __init__(
        self,
        store: DocumentStore,
        collections: Sequence[CollectionSpec],
        on_partition: Callable[[str, str | None], None],
    ) -> None:
        """Keep the store, its collections with their indexes, and who hears of progress."""
        self._store = store
        self._missing = {spec.name: spec for spec in collections}
        self._on_partition = on_partition

    @retry_if_transient()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Replace every partition of this output."""
        if not context.has_asset_partitions:
            context.add_output_metadata(self._write(context, UNDATED, lambda: obj))
            return
        keys = sorted(context.asset_partition_keys)
        values: Mapping[str, Any] = obj if isinstance(obj, Mapping) else {keys[0]: obj}
        for key in keys:
            written = self._write(context, key, lambda key=key: values[key])  # type: ignore[misc]
            add_partition_metadata(context, key, written)

    def load_input(self, context: dg.InputContext) -> Any:
        """Refuse: documents are an end of the road, the lake is the truth."""
        raise dg.DagsterInvariantViolationError(
            f"{context.asset_key.to_user_string()} is a copy in the document store and feeds no "
            "other asset: depend on the lake table it is made from"
        )

    def _write(
        self, context: dg.OutputContext, key: str, compute: Callable[[], Any]
    ) -> dict[str, Any]:
        started = time.perf_counter()
        collection = str(context.definition_metadata["collection"])
        if collection in self._missing:
            self._store.ensure(self._missing[collection])
            del self._missing[collection]
        since = self._store.begin(collection, key)  # before the lake is read for the documents
        value = compute()
        if context.definition_metadata["documents"] == "merge":
            outcome = self._store.merge_conversations(collection, key, value, since)
        else:
            outcome = self._store.replace_partition(collection, key, value, since)
        self._on_partition(context.asset_key.path[-1], key)
        return {
            "documents": len(value),
            "inserted": outcome.inserted,
            "replaced": outcome.replaced,
            "unchanged": outcome.unchanged,
            "deleted": outcome.deleted,
            "seconds": round(time.perf_counter() - started, 3),
        }
