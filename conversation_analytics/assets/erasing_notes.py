"""What an erasure works on, counts and notes: its journal outlives a kill."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conversation_analytics.assets.erasing_day import Rewritten
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

PENDING: Final = "erasures/pending"
REQUEST: Final = "request"


@dataclass(slots=True)
class Tally:
    """What an erasure did, in counts.

    Attributes:
        rows: of the person that are gone, by table.
        documents: removed or rewritten, by collection.
        touched_bytes: of the partitions that were rewritten, before.
        written_bytes: of them, after.
        partitions: rewritten.
        days: with rows of the person.
        recomputed: of them, those with aggregates of too few others.
    """

    rows: dict[str, int] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    touched_bytes: int = 0
    written_bytes: int = 0
    partitions: int = 0
    days: int = 0
    recomputed: int = 0

    def add(self, of: dict[str, int], name: str, count: int) -> None:
        """Add to one of the counts."""
        if count:
            of[name] = of.get(name, 0) + count


@dataclass(frozen=True, slots=True)
class Erasing:
    """What an erasure works on.

    Attributes:
        lake: the lake.
        documents: the document store.
        settings: of this process.
        on_step: called with a name after each thing that is stored; for progress.
    """

    lake: Lake
    documents: DocumentStore
    settings: Settings
    on_step: Callable[[str], None] = lambda _: None


def digests_by_input(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return, by table, the digest it has now by each that it had before."""
    return {table: {one: str(told["now"]) for one in told["was"]} for table, told in tables.items()}


def follow_file(lake: Lake, path: str, follow: Mapping[str, Mapping[str, str]]) -> None:
    """Let what the files of a report record of their inputs follow."""
    inputs: dict[str, str] = json.loads(lake.get_report(path))
    now = followed(inputs, follow)
    if now != inputs:
        lake.put_report(path, json.dumps(now, sort_keys=True).encode())


def followed(inputs: Mapping[str, str], follow: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return what was recorded of inputs, with the digests that these have now."""
    return {name: follow.get(name, {}).get(digest, digest) for name, digest in inputs.items()}


def write_partition(
    work: Erasing, one: Rewritten, key: str | None, inputs: Mapping[str, str], tally: Tally
) -> str:
    """Write a partition without the person; return its digest."""
    size = work.lake.size_bytes(one.schema, key)
    written = work.lake.write(one.schema, key, one.after, one.since, inputs)
    tally.touched_bytes += size
    tally.written_bytes += written.size_bytes
    tally.partitions += 1
    work.on_step(f"{one.schema.name} {entry_of(key)}")
    return written.sha256


def entry_of(key: str | None) -> str:
    """Return the name of a day's note; None: the rows without a time."""
    return key or "undated"


def note_path(name: str, entry: str) -> str:
    """Return where a note of a request is."""
    return f"{PENDING}/{name}/{entry}.json"


def read_note(lake: Lake, name: str, entry: str) -> dict[str, Any] | None:
    """Return a note of a request, or None."""
    data = lake.objects.get(note_path(name, entry))
    if data is None:
        return None
    found: dict[str, Any] = json.loads(data)
    return found


def write_note(lake: Lake, name: str, entry: str, told: Mapping[str, Any]) -> None:
    """Store a note of a request."""
    lake.objects.put(note_path(name, entry), json.dumps(told, sort_keys=True).encode())
