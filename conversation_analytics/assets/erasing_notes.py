"""What an erasure works on, and its journal, which outlives a kill.

Whatever an erasure changes it notes first: what each partition was, is and will be, and whose
documents go. A killed erasure is finished with these notes: what was made of a partition follows
though the partition is another by now, and the proof counts the notes alone. So the lake, the
documents and the numbers of the proof end as if nothing had been.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conversation_analytics.assets.erasing_day import Rewritten
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.lake.encoding import EncodedPartition
from conversation_analytics.lake.store import Lake
from conversation_analytics.settings import Settings

PENDING: Final = "erasures/pending"
REQUEST: Final = "request"
PROOF: Final = "proof"
"""The note of the proof of an erasure that is done, but for its request."""

Follow = Mapping[str, Mapping[str, str]]
"""By input, the digest it has now by each that it had before."""
Newest = Mapping[str, str]
"""By table, the digest of what is stored of it, or is about to be."""
_NOT_NOTED: Final[Mapping[str, Any]] = {"was": {}, "rows": 0, "bytes": None}


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


@dataclass(frozen=True, slots=True)
class Step:
    """Partitions that are written together, as the journal has them.

    Attributes:
        key: of all of them; None: the one of a table without partitions.
        partitions: each with what is to be stored of it; None: it stays as it is.
        follow: by table, the digest it has now by each that it had before.
    """

    key: str | None
    partitions: tuple[tuple[Rewritten, EncodedPartition | None], ...]
    follow: Follow


def note_step(
    work: Erasing,
    name: str,
    entry: str,
    tables: Iterable[Rewritten],
    key: str | None,
    inputs_of: Callable[[Rewritten, Follow, Newest], Mapping[str, str]],
    documents: Mapping[str, Iterable[str]],
    **told: Any,
) -> Step:
    """Note what becomes of partitions and documents, beside what attempts before have noted.

    Args:
        work: where.
        name: of the request.
        entry: of the note.
        tables: what is stored, with and without the person, upstream first.
        key: of all these partitions.
        inputs_of: what one of them is to record of its inputs, given what of `tables` it follows,
            and what these are from now on.
        documents: ids of the person's that are about to be removed or rewritten, by collection.
        told: what else the note holds.

    Raises:
        LakeError: a frame is not of its schema, or the storage refuses.
        LakeUnavailableError: the storage does not answer.
    """
    lake = work.lake
    before = read_note(lake, name, entry) or {}
    held: Mapping[str, Mapping[str, Any]] = before.get("tables", {})  # an older note has none
    noted, planned, follow = {**held}, [], digests_by_input(held)
    newest = {table: str(told["now"]) for table, told in held.items()}
    for one in tables:
        table = one.schema.name
        known = {**_NOT_NOTED, **held.get(table, {})}
        inputs, encoded = inputs_of(one, follow, newest), None
        sha256, size_bytes = one.sha256, known["bytes"]
        if not one.after.equals(one.before) or inputs != dict(one.inputs):
            encoded = lake.encode(one.schema, key, one.after, inputs)
            # Another size than noted is a dead writer's, which left objects of what it began.
            touched = (
                size_bytes[0]
                if size_bytes and sha256 in follow.get(table, {})
                else lake.size_bytes(one.schema, key)
            )
            sha256, size_bytes = encoded.sha256, [touched, encoded.size_bytes]
        follow[table] = _followed_on(follow.get(table, {}), one.sha256, sha256)
        newest[table] = sha256
        noted[table] = {
            "was": follow[table],
            "now": sha256,
            "rows": max(known["rows"], one.gone),
            "bytes": size_bytes,
        }
        planned.append((one, encoded))
    ids = {collection: set(known) for collection, known in before.get("documents", {}).items()}
    for collection, more in documents.items():
        ids.setdefault(collection, set()).update(more)
    of_documents = {collection: sorted(known) for collection, known in ids.items()}
    write_note(lake, name, entry, {**told, "tables": noted, "documents": of_documents})
    work.on_step(f"journal {entry}")
    return Step(key, tuple(planned), digests_by_input(noted))


def _followed_on(known: Mapping[str, str], held: str, now: str) -> dict[str, str]:
    """Return what becomes of each digest of a table, now that `held` becomes `now`.

    What led to `held`, or to what an attempt before meant to make of it, leads on. Where another
    run stored `held` meanwhile, nothing led to it: what was made of older rows stays stale.
    """
    leading = {held, known.get(held, held)}
    return {was: now if then in leading else then for was, then in known.items()} | {held: now}


def write_step(work: Erasing, step: Step) -> None:
    """Write what a step has noted.

    Raises:
        PartitionReplacedError: another run replaced one of the partitions since it was read.
        LakeError: the storage refuses.
        LakeUnavailableError: the storage does not answer.
    """
    for one, encoded in step.partitions:
        if encoded is None:
            # Leftovers of other generations go, too: they may hold what the partition does not.
            work.lake.tidy(one.schema, step.key)
            continue
        work.lake.write_encoded(one.schema, step.key, encoded, one.since)
        work.on_step(f"{one.schema.name} {entry_of(step.key)}")


def journal(lake: Lake, name: str) -> dict[str, dict[str, Any]]:
    """Return what a request has noted of its steps, by the name of the note."""
    found: dict[str, dict[str, Any]] = {}
    for info in lake.objects.list(f"{PENDING}/{name}"):
        entry = info.path.rpartition("/")[2].removesuffix(".json")
        noted = read_note(lake, name, entry)
        if noted is not None and "tables" in noted:
            found[entry] = noted
    return found


def days_in(notes: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the notes of days, and of the rows without a time, among all."""
    return {entry: noted for entry, noted in notes.items() if "touched" in noted}


def counted(notes: Mapping[str, Mapping[str, Any]]) -> Tally:
    """Count what all attempts together did."""
    tally = Tally()
    for noted in notes.values():
        for table, one in noted["tables"].items():
            _add(tally.rows, table, one["rows"])
            if size_bytes := one.get("bytes"):  # an older note has none
                tally.partitions += 1
                tally.touched_bytes += size_bytes[0]
                tally.written_bytes += size_bytes[1]
        for collection, ids in noted.get("documents", {}).items():  # as above
            _add(tally.documents, collection, len(ids))
    for noted in days_in(notes).values():
        tally.days += any(one["rows"] for one in noted["tables"].values())
        tally.recomputed += not noted["kept"]
    return tally


def _add(of: dict[str, int], name: str, count: int) -> None:
    if count:
        of[name] = of.get(name, 0) + count


def digests_by_input(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return, by table, the digest it has now by each that it had before."""
    found = {}
    for table, told in tables.items():
        was = told["was"]
        # An earlier version noted what there was, and that all of it became what is now.
        found[table] = dict(was if isinstance(was, dict) else dict.fromkeys(was, told["now"]))
    return found


def follow_file(lake: Lake, path: str, follow: Follow) -> None:
    """Let what the files of a report record of their inputs follow."""
    inputs: dict[str, str] = json.loads(lake.get_report(path))
    now = followed(inputs, follow)
    if now != inputs:
        lake.put_report(path, json.dumps(now, sort_keys=True).encode())


def followed(inputs: Mapping[str, str], follow: Follow) -> dict[str, str]:
    """Return what was recorded of inputs, with the digests that these have now."""
    return {name: follow.get(name, {}).get(digest, digest) for name, digest in inputs.items()}


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


def stored_beside(
    lake: Lake,
    folder: str,
    told: Mapping[str, Any],
    at: dt.datetime,
    announce: Callable[[bytes], None] = lambda _: None,
) -> dict[str, Any]:
    """Store a record beside those that there are; return it with the name of its file.

    Args:
        lake: the lake.
        folder: of the records.
        told: the record.
        at: its time, which names the file; of another record of that second a number, too.
        announce: called with what is about to be stored.

    Raises:
        LakeError: the storage refuses.
        LakeUnavailableError: the storage does not answer.
    """
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        named = {**told, "file": f"{at:%Y%m%dT%H%M%SZ}{suffix}.json"}
        data = (json.dumps(named, indent=1) + "\n").encode()
        announce(data)
        try:
            lake.objects.swap(f"{folder}/{named['file']}", data, None)
        except PartitionReplacedError:
            number += 1
        else:
            return named
