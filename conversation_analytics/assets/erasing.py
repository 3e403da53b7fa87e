"""Erasing a person: from the request, which outlives a kill, to the proof.

1. The request is noted in `erasures/pending/` with the id as the lake has it, as the lake itself
   has until the end: so whoever comes next can finish it without being told the id again.
2. The person is put on the suppression list: from now on no read brings rows of them.
3. The index names the raw partitions; each day that has rows is rewritten, then its documents.
   The day leaves the index last.
4. Topics, corrections, weeks and months, and users follow.
5. Every object and every document is searched, and the proof is stored. The request is removed if
   nothing was found; else it stays, for somebody has to take out what is left.

Each step of 3 and 4 notes first what becomes of what: see `erasing_notes`.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from conversation_analytics.assets.erasing_day import (
    DayWork,
    RowIds,
    Subject,
    files_of_day,
    has_files,
    look_at_day,
    outdated,
    recorded,
)
from conversation_analytics.assets.erasing_documents import documents_of, erase_day_documents
from conversation_analytics.assets.erasing_notes import (
    PENDING,
    PROOF,
    REQUEST,
    Erasing,
    Follow,
    Tally,
    counted,
    days_in,
    entry_of,
    follow_file,
    journal,
    note_path,
    note_step,
    read_note,
    stored_beside,
    write_note,
    write_step,
)
from conversation_analytics.assets.erasing_weeks import (
    erase_corrections,
    erase_topics,
    erase_users,
    follow_periods,
)
from conversation_analytics.assets.finding_rows import Found, find_rows, index_places
from conversation_analytics.assets.lineage import files_inputs_path
from conversation_analytics.assets.users import partials_held
from conversation_analytics.core.errors import AnalyticsError, LakeError
from conversation_analytics.core.id_search import SoughtIds
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.pseudonyms import USER_COLUMNS
from conversation_analytics.core.schemas import DAILY_PARTIALS
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.suppression import Suppressions
from conversation_analytics.core.zones import DAILY, UNDATED, Zones
from conversation_analytics.lake.search import search_lake
from conversation_analytics.lake.store import Lake
from conversation_analytics.lake.suppressions import change_suppressions
from conversation_analytics.lake.temporary_folders import remove_leftovers
from conversation_analytics.lake.user_index import (
    conversation_mark,
    holding_places,
    take_from_index,
    user_mark,
)
from conversation_analytics.resources.connections import pseudonyms_of
from conversation_analytics.settings import Settings

PROOFS: Final = "erasures/proofs"
SEARCHED_ANYWHERE: Final = "anywhere, with no letter, digit, _ or - beside it"
SEARCHED_WHOLE: Final = (
    "an id of fewer than four characters, or of digits alone, as the whole value of a column or "
    "field of users only"
)
_TRIES: Final = 5
_ROUNDS: Final = 3
_ATTEMPTS: Final = 3  # of the job, where something is left each time
_logger = logging.getLogger("conversation_analytics.erasure")


def stored_id(settings: Settings, user_id: str) -> str:
    """Return what the lake calls a user: with PSEUDONYM_KEY their pseudonym."""
    pseudonyms = pseudonyms_of(settings)
    return user_id if pseudonyms is None else pseudonyms.pseudonym(user_id)


def request_erasure(work: Erasing, user_id: str) -> str:
    """Note that a user is to be erased, and put them on the suppression list.

    Args:
        work: where.
        user_id: as the source has it.

    Returns:
        The name of the request: a digest that is the same for the same user.

    Raises:
        AnalyticsError: a storage refuses or does not answer.
    """
    lake, key = work.lake, work.settings.pseudonym_key
    user = stored_id(work.settings, user_id)
    # The note first: a person who is suppressed but not noted would be left as they are for ever.
    name = change_suppressions(lake, key, lambda one: one).user(user)
    if read_note(lake, name, REQUEST) is None:
        lake.objects.delete(note_path(name, PROOF))  # of an erasure before, which died at its end
        write_note(lake, name, REQUEST, _new_request(user))
    work.on_step("noted")
    change_suppressions(lake, key, lambda one: one.with_user(user))
    return name


def _new_request(user: str) -> dict[str, Any]:
    return {
        "user": user, "conversations": [], "users_were": None, "attempts": 0, "found_after": 0,
    }  # fmt: skip


def pending(lake: Lake) -> list[str]:
    """Return the names of the requests that are not done."""
    ends = (f"/{REQUEST}.json", f"/{PROOF}.json")
    found = lake.objects.list(PENDING)
    return sorted({info.path.split("/")[2] for info in found if info.path.endswith(ends)})


def needs_somebody(lake: Lake, name: str) -> bool:
    """Say whether the last attempts left something that no further one is likely to reach."""
    request = read_note(lake, name, REQUEST) or {}
    return bool(request.get("found_after")) and request["attempts"] >= _ATTEMPTS


def carry_out_each(
    work: Erasing, names: Iterable[str], now: Callable[[], dt.datetime]
) -> tuple[list[dict[str, Any]], dict[str, AnalyticsError]]:
    """Carry out several requests: one that fails holds up no other.

    Args:
        work: where.
        names: of the requests.
        now: the time, for the proofs.

    Returns:
        The proofs, and the errors by name of the request.
    """
    proofs: list[dict[str, Any]] = []
    failed: dict[str, AnalyticsError] = {}
    for name in names:
        try:
            proofs.append(carry_out(work, name, now))
        except AnalyticsError as error:
            failed[name] = error
    return proofs, failed


def rows_held(work: Erasing, user: str) -> tuple[int, dict[str, int]]:
    """Return on how many days there are rows of a user, and how many in each table.

    Args:
        work: where.
        user: as the lake has it.

    Raises:
        AnalyticsError: a storage refuses or does not answer.
    """
    found = find_rows(work.lake, work.settings, user)
    rows: dict[str, int] = {}
    for key, ids in found.days.items():
        day = look_at_day(work.lake, work.settings, found.subject, key, ids, kept=True)
        for table, one in day.tables.items():
            if one.gone:
                rows[table] = rows.get(table, 0) + one.gone
    return len(found.days), rows


def carry_out(
    work: Erasing, name: str, now: Callable[[], dt.datetime], plain: str | None = None
) -> dict[str, Any]:
    """Do what a request asks for, or what is left of it; return the proof.

    Args:
        work: where.
        name: of the request.
        now: the time, for the proof.
        plain: the id as the source has it, which is searched for, too; None: not known.

    Raises:
        AnalyticsError: a storage refuses or does not answer; the same again goes on from there.
        LakeError: there is no such request.
    """
    remove_leftovers()  # queries and exports that were killed here left rows of people in clear
    lake = work.lake
    request, proved = read_note(lake, name, REQUEST), read_note(lake, name, PROOF)
    if proved is not None:
        proof = _stored_proof(lake, name, proved, noted=True)
        if request is None or not find_rows(lake, work.settings, request["user"]).days:
            _close(lake, name)
            return proof
        # Rows came, though they are suppressed: from a backup, say. That is another erasure.
        _forget(lake, name)
        request = _new_request(request["user"])
        write_note(lake, name, REQUEST, request)
        lake.objects.delete(note_path(name, PROOF))
    if request is None:
        raise LakeError(f"no erasure {name} is asked for: ask with `conversation-analytics "
                        "erase-user`")  # fmt: skip
    begun = now()
    request["attempts"] += 1
    request["found_after"] = 0
    # Not when it was asked for: another erasure may have changed days since.
    request["users_were"] = request["users_were"] or partials_held(lake)
    proof, tally = _erase_and_prove(work, name, request, plain)
    if proof["search"]["found"] and _index_again(work, request, proof["search"]):
        proof, tally = _erase_and_prove(work, name, request, plain)
    proof |= {
        "attempts": request["attempts"],
        "begun": begun.isoformat(timespec="seconds"),
        "finished": now().isoformat(timespec="seconds"),
    }
    proof = _stored_proof(lake, name, proof, noted=not proof["search"]["found"])
    work.on_step("proof")
    if proof["search"]["found"]:
        request |= {"users_were": None, "found_after": proof["search"]["found"]}
        write_note(lake, name, REQUEST, request)
    else:
        _close(lake, name)
    _logger.info(
        "erased request=%s days=%d partitions=%d rows=%d documents=%d touched_bytes=%d "
        "written_bytes=%d found_after=%d",
        name, tally.days, tally.partitions, sum(tally.rows.values()),
        sum(tally.documents.values()), tally.touched_bytes, tally.written_bytes,
        proof["search"]["found"],
    )  # fmt: skip
    return proof


def _erase_and_prove(
    work: Erasing, name: str, request: dict[str, Any], plain: str | None
) -> tuple[dict[str, Any], Tally]:
    """Take out what is found of the person; return what a search finds then, and the counts."""
    lake, user = work.lake, request["user"]
    found = find_rows(lake, work.settings, user, request["conversations"])
    for _ in range(_ROUNDS):
        request["conversations"] = sorted({*request["conversations"], *found.conversations})
        write_note(lake, name, REQUEST, request)
        change_suppressions(lake, work.settings.pseudonym_key, lambda one: one.with_user(user))
        _suppress(work, found)
        for key in sorted(found.days.keys() | found.keys, key=lambda one: one or ""):
            _erase_day(work, name, found, key)
        # A read that was under way when the erasure began may have stored rows since.
        found = find_rows(lake, work.settings, user, request["conversations"])
        if not found.days:
            break
    theirs, days = frozenset(request["conversations"]), days_in(journal(lake, name))
    days.pop(entry_of(None), None)
    erase_topics(work, name, theirs, days)
    erase_corrections(work, name, theirs)
    follow_periods(work, name, days)
    erase_users(work, name, user, request["users_were"], days)
    work.documents.wipe()
    subject = find_rows(lake, work.settings, user, theirs).subject
    tally = counted(journal(lake, name))
    return _proof(work, name, subject, plain, tally), tally


def _index_again(work: Erasing, request: Mapping[str, Any], search: Mapping[str, Any]) -> bool:
    """Index the raw partitions that the search names; say whether rows of the person are in them.

    The index did not name them: their writer's note there was lost.
    """
    index_places(work.lake, work.settings, holding_places(work.lake, search["objects_holding"]))
    return bool(find_rows(work.lake, work.settings, request["user"], request["conversations"]).days)


def _close(lake: Lake, name: str) -> None:
    """Remove the notes of a request that is done; that of the proof last, which says so."""
    _forget(lake, name)
    for entry in (REQUEST, PROOF):
        lake.objects.delete(note_path(name, entry))


def _forget(lake: Lake, name: str) -> None:
    """Remove what the steps of a request have noted."""
    keep = {note_path(name, entry) for entry in (REQUEST, PROOF)}
    for info in lake.objects.list(f"{PENDING}/{name}"):
        if info.path not in keep:
            lake.objects.delete(info.path)


def _suppress(work: Erasing, found: Found) -> None:
    user = found.subject.user
    rows: dict[SourceTable, frozenset[str]] = {}
    for tables in found.days.values():
        for table, ids in tables.items():
            rows[table] = rows.get(table, frozenset()) | ids

    def more(held: Suppressions) -> Suppressions:
        told = held.with_conversations(found.subject.conversations, user)
        for table, ids in rows.items():
            told = told.with_rows(table, dict.fromkeys(ids, told.user(user)))
        return told

    change_suppressions(work.lake, work.settings.pseudonym_key, more)
    work.on_step("suppressed")


def _erase_day(work: Erasing, name: str, found: Found, key: str | None) -> None:
    lake = work.lake
    zones = (UNDATED if key is None else DAILY).values()
    before = read_note(lake, name, entry_of(key))
    known = key in found.days or before is not None
    # Where no raw zone can tell whose rows a day has, the index alone is reason enough to look.
    if not known and any(lake.exists(zone.raw, key) for zone in zones):
        return  # another person's eight bytes, or turns of others in a shared conversation
    day, follow = _rewrite_day(work, name, found, key)
    erase_day_documents(lake, work.documents, work.settings, day, follow)
    work.on_step(f"documents {entry_of(key)}")
    if key is not None and has_files(lake, key):
        _write_files(work, key, follow)
    gone = [user_mark(found.subject.user), *map(conversation_mark, found.subject.conversations)]
    noted = (read_note(lake, name, entry_of(key)) or {})["tables"]
    for zone in zones:
        if _nobody_is_at(lake, zone, key, noted):
            take_from_index(lake, zone.raw, key, gone)
    work.on_step(f"index {entry_of(key)}")


def _nobody_is_at(
    lake: Lake, zone: Zones, key: str | None, noted: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Say whether no read that began before the erasure can still store rows of the person.

    It cannot where the erasure has replaced the partition, nor where the partition went by age.
    Else the index keeps what it has: a read notes there first whose rows it is about to store.
    """
    if lake.exists(zone.raw, key):
        return bool(noted.get(zone.raw.name, {}).get("rows"))
    made_of_it = [zone.curated] if key is None else [zone.curated, DAILY_PARTIALS]
    return any(lake.exists(schema, key) for schema in made_of_it)


def _rewrite_day(work: Erasing, name: str, found: Found, key: str | None) -> tuple[DayWork, Follow]:
    """Rewrite the partitions of a day; begin again where another run was faster."""
    lake, rows = work.lake, found.days.get(key, {})
    tries = 0
    while True:
        before = read_note(lake, name, entry_of(key))
        for schema in outdated(lake, key):
            lake.remove(schema, key)
        kept, known, touched = _known(rows, before)
        day = look_at_day(
            lake, work.settings, found.subject, key, known, kept=kept, touched=touched
        )
        step = note_step(
            work, name, entry_of(key), day.tables.values(), key,
            lambda one, follow, newest, day=day: recorded(  # type: ignore[misc]
                one, follow, newest, work.settings, day
            ),
            documents_of(work.documents, work.settings, day),
            kept=day.kept,
            rows={str(table): sorted(ids) for table, ids in day.rows.items()},
            touched=sorted(day.touched),
        )  # fmt: skip
        try:
            write_step(work, step)
        except PartitionReplacedError:
            tries += 1
            if tries == _TRIES:
                raise
        else:
            return day, step.follow


def _known(
    rows: RowIds, before: Mapping[str, Any] | None
) -> tuple[bool | None, RowIds, frozenset[str]]:
    """Return what an attempt before has noted of a day: some tables lack the rows already."""
    if before is None:
        return None, rows, frozenset()
    known = {
        table: rows.get(table, frozenset()) | frozenset(before["rows"].get(table, ()))
        for table in SourceTable
    }
    return bool(before["kept"]), known, frozenset(before["touched"])


def _write_files(work: Erasing, key: str, follow: Follow) -> None:
    """Render the files of a day again: they list conversations."""
    lake = work.lake
    texts = files_of_day(lake, key, work.settings.analytics_timezone.key)
    path = files_inputs_path("daily", key)
    if texts is None:  # `repair` makes them once the tables are there
        for info in lake.objects.list("reports/daily"):
            if info.path.startswith(f"reports/daily/{key}."):
                lake.objects.delete(info.path)
        return
    for ending, text in texts.items():
        lake.put_report(f"daily/{key}.{ending}", text.encode())
    follow_file(lake, path, follow)
    work.on_step(f"files {key}")


def proof_path(proof: Mapping[str, Any]) -> str:
    """Return where a proof is stored: one of each attempt, should a person be erased again."""
    return f"{PROOFS}/{proof['erasure']}/{proof['file']}"


def _stored_proof(
    lake: Lake, name: str, proof: Mapping[str, Any], *, noted: bool
) -> dict[str, Any]:
    """Store a proof beside those that there are; return it with the name of its file.

    Args:
        lake: the lake.
        name: of the request.
        proof: what it says.
        noted: whether it is noted first: then after a kill this same one is stored, once.
    """

    def note(data: bytes) -> None:
        if noted:
            lake.objects.put(note_path(name, PROOF), data)

    finished = dt.datetime.fromisoformat(proof["finished"])
    return stored_beside(lake, f"{PROOFS}/{proof['erasure']}", proof, finished, note)


def _proof(
    work: Erasing, name: str, subject: Subject, plain: str | None, tally: Tally
) -> dict[str, Any]:
    ids = frozenset({subject.user, *([plain] if plain else [])})
    columns = {one.lower() for one in work.settings.pseudonym_columns}
    sought = SoughtIds(ids, USER_COLUMNS | columns)
    lake = search_lake(work.lake, sought, f"{PENDING}/{name}/")
    documents = work.documents.holding(sought)
    left = _rows_left(work, name, subject)
    documents_left = documents | _documents_of(work, ids)
    return {
        "format": 1,
        "erasure": name,
        "lake": work.lake.describe(),
        "document_store": work.documents.describe(),
        "rows": {
            table: {"before": tally.rows.get(table, 0), "after": left.get(table, 0)}
            for table in sorted({*tally.rows, *left})
        },
        "documents": {
            one: {"before": count, "after": documents_left.get(one, 0)}
            for one, count in sorted(tally.documents.items())
        },
        "days": tally.days,
        "days_recomputed": tally.recomputed,
        "partitions_rewritten": tally.partitions,
        "bytes_touched": tally.touched_bytes,
        "bytes_written": tally.written_bytes,
        "search": {
            "for": [
                "the id as stored",
                *(["the id as given"] if plain not in (None, subject.user) else []),
            ],
            "how": SEARCHED_WHOLE if sought.whole else SEARCHED_ANYWHERE,
            "objects": lake.objects,
            "bytes": lake.size_bytes,
            "objects_holding": list(lake.holding),
            "documents_holding": documents,
            "found": len(lake.holding) + sum(documents.values()),
        },
    }


def _documents_of(work: Erasing, ids: Iterable[str]) -> dict[str, int]:
    """Count the documents whose user is the person, in the collections that name a user."""
    settings = work.settings
    return {
        name: sum(len(work.documents.find(name, {"user_id": one})) for one in sorted(ids))
        for name in (
            settings.mongodb_conversations_collection,
            settings.mongodb_messages_collection,
            settings.mongodb_user_analytics_collection,
        )
    }


def _rows_left(work: Erasing, name: str, subject: Subject) -> dict[str, int]:
    """Count the rows that are left of the person in the days that were rewritten, by table."""
    left: dict[str, int] = {}
    for entry, noted in days_in(journal(work.lake, name)).items():
        key = None if entry == entry_of(None) else entry
        _, rows, touched = _known({}, noted)
        day = look_at_day(work.lake, work.settings, subject, key, rows, kept=True, touched=touched)
        for table, one in day.tables.items():
            if one.gone:
                left[table] = left.get(table, 0) + one.gone
    return left
