"""What follows the erased days: topics of weeks, weeks and months, corrections, users."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from conversation_analytics.assets.day_partials import input_name
from conversation_analytics.assets.erasing_day import Rewritten
from conversation_analytics.assets.erasing_documents import (
    erase_kept_headers,
    follow_documents,
    kept_headers_of,
)
from conversation_analytics.assets.erasing_notes import (
    Erasing,
    Follow,
    digests_by_input,
    follow_file,
    followed,
    note_step,
    read_note,
    write_step,
)
from conversation_analytics.assets.lineage import FILES, USER_FILES, USERS_PAGE, files_inputs_path
from conversation_analytics.assets.users import USERS, digest_of_days, partials_held
from conversation_analytics.core.cohorts import USER_COHORTS, USER_GROWTH
from conversation_analytics.core.corrections import CORRECTIONS
from conversation_analytics.core.documents import Document
from conversation_analytics.core.errors import OutdatedPartitionError
from conversation_analytics.core.period_report import PERIOD_REPORTS
from conversation_analytics.core.periods import NAMES, Period
from conversation_analytics.core.schemas import (
    CATEGORY_PARTIALS,
    DAILY_PARTIALS,
    MESSAGES,
    TableSchema,
)
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.core.user_analytics import USER_ANALYTICS
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.lake.store import Lake


def erase_topics(
    work: Erasing, name: str, theirs: frozenset[str], days: Mapping[str, Mapping[str, Any]]
) -> None:
    """Take conversations out of the topics of weeks, and topics that nobody else spoke of.

    Args:
        work: where.
        name: of the request.
        theirs: conversations in which the person has a turn.
        days: what the request has noted of each day.
    """
    lake = work.lake
    touched = {Period.WEEK.start_of(dt.date.fromisoformat(day)).isoformat() for day in days}
    of_days: dict[str, dict[str, str]] = {
        input_name(MESSAGES, day): digests_by_input(noted["tables"]).get(MESSAGES.name, {})
        for day, noted in days.items()
    }
    weeks: dict[str, Mapping[str, str]] = {}
    gone: set[str] = set()
    for key in lake.keys(TOPICS):
        reached = key in touched or input_name(TOPICS, _week_before(key)) in weeks
        if not (reached or gone) or _is_old(lake, TOPICS, key):
            continue
        week = _look_at_week(lake, key, theirs, gone)
        entry = f"topics-{key}"
        before = read_note(lake, name, entry) or {"gone": []}
        gone |= {*before["gone"], *week.gone}
        week = _look_at_week(lake, key, theirs, gone)
        documents = _TopicDocuments.of(work, key, theirs, week.tables[0].after)

        def inputs_of(
            one: Rewritten, follow: Follow, _: object, key: str = key
        ) -> Mapping[str, str]:
            own = {input_name(TOPICS, key): follow.get(TOPICS.name, {})}
            return followed(one.inputs, {**of_days, **weeks, **own})

        step = note_step(
            work, name, entry, week.tables, key, inputs_of, documents.changed, gone=sorted(gone)
        )
        weeks[input_name(TOPICS, key)] = step.follow[TOPICS.name]
        write_step(work, step)
        documents.write(work)
        work.on_step(f"topics {key}")
    told = {name.partition("/")[2] for name in weeks}
    for key in sorted(
        told | {Period.WEEK.after(dt.date.fromisoformat(k)).isoformat() for k in told}
    ):
        follow_documents(work.documents, "topic_documents", key, weeks)
        path = files_inputs_path(NAMES[Period.WEEK], key)
        if lake.has_report(path):
            follow_file(lake, path, weeks)


@dataclass(frozen=True, slots=True)
class _Week:
    """Topics of a week, and of its conversations, with and without the person.

    Attributes:
        tables: `TOPICS`, then `CONVERSATION_TOPICS` where that is not gone by age.
        gone: topics of which nobody else spoke.
    """

    tables: tuple[Rewritten, ...]
    gone: frozenset[str]


def _look_at_week(lake: Lake, key: str, theirs: frozenset[str], gone: Iterable[str]) -> _Week:
    since = [lake.begin(table, key) for table in (TOPICS, CONVERSATION_TOPICS)]
    topics, info = lake.read_with_info(TOPICS, key)
    if since[1].version is None:  # nothing says who else spoke of a topic: all of them stay
        kept = topics.with_columns(examples=_without(topics["examples"], theirs))
        one = Rewritten(TOPICS, since[0], topics, kept, info.sha256, info.inputs)
        return _Week((one,), frozenset())
    rows, of_rows = lake.read_with_info(CONVERSATION_TOPICS, key)
    left = rows.filter(~pl.col("conversation_id").is_in(_values(theirs)))
    alone = frozenset(rows["topic_id"]) - frozenset(left["topic_id"])
    # What has come to rest is carried on from week to week, with the centre of what was said.
    leaving = pl.col("topic_id").is_in(_values({*gone, *alone})) & ~pl.col("topic_id").is_in(
        _values(left["topic_id"])
    )
    kept = topics.filter(~leaving)
    kept = kept.with_columns(examples=_without(kept["examples"], theirs))
    return _Week(
        (
            Rewritten(TOPICS, since[0], topics, kept, info.sha256, info.inputs),
            Rewritten(CONVERSATION_TOPICS, since[1], rows, left, of_rows.sha256, of_rows.inputs),
        ),
        alone,
    )


@dataclass(frozen=True, slots=True)
class _TopicDocuments:
    """The documents of a week's topics.

    Attributes:
        collection: where they are.
        partition: of the collection.
        since: what it was when it was read.
        held: what it has.
        left: what is left of it.
    """

    collection: str
    partition: str
    since: int
    held: list[Document]
    left: list[Document]

    @classmethod
    def of(
        cls, work: Erasing, key: str, theirs: frozenset[str], topics: pl.DataFrame
    ) -> "_TopicDocuments":
        """Return them for the week `key`, whose topics are `topics` from now on."""
        collection, partition = work.settings.mongodb_topics_collection, f"topics/{key}"
        since = work.documents.begin(collection, partition)
        held = work.documents.find(collection, {"_partition": partition})
        staying = frozenset(topics["topic_id"])
        left = [
            one | {"examples": [talk for talk in one["examples"] if talk not in theirs]}
            for one in held
            if one["topic_id"] in staying
        ]
        return cls(collection, partition, since, held, left)

    @property
    def changed(self) -> dict[str, set[str]]:
        """Ids of those that are removed or rewritten, by collection."""
        return {self.collection: {one["_id"] for one in self.held if one not in self.left}}

    def write(self, work: Erasing) -> None:
        """Replace them."""
        if self.left != self.held:
            work.documents.replace_partition(self.collection, self.partition, self.left, self.since)


def _week_before(key: str) -> str:
    return Period.WEEK.before(dt.date.fromisoformat(key)).isoformat()


def _without(examples: pl.Series, conversations: frozenset[str]) -> pl.Series:
    told = []
    for text in examples:
        ids = [] if text is None else json.loads(text)
        left = [one for one in ids if one not in conversations]
        told.append(text if left == ids else json.dumps(left))
    return pl.Series(told, dtype=pl.String)


def erase_corrections(work: Erasing, name: str, theirs: frozenset[str]) -> None:
    """Take corrections of the person's conversations out of the table; NocoDB keeps its own."""
    since = work.lake.begin(CORRECTIONS, None)
    if since.version is None:
        return
    rows, info = work.lake.read_with_info(CORRECTIONS, None)
    of_theirs = pl.col("conversation_id").is_in(_values(theirs)).fill_null(value=False)
    one = Rewritten(CORRECTIONS, since, rows, rows.filter(~of_theirs), info.sha256, info.inputs)
    write_step(
        work, note_step(work, name, CORRECTIONS.name, [one], None, lambda o, *_: o.inputs, {})
    )


def follow_periods(work: Erasing, name: str, days: Mapping[str, Mapping[str, Any]]) -> None:
    """Let weeks and months follow whose days kept their aggregates; others are merged again."""
    lake = work.lake
    follow: dict[str, dict[str, str]] = {}
    for day, noted in days.items():
        tables = digests_by_input(noted["tables"])
        for table in (DAILY_PARTIALS, CATEGORY_PARTIALS):
            if noted["kept"] and table.name in tables:
                follow[input_name(table, day)] = tables[table.name]
    for period, schema in PERIOD_REPORTS.items():
        starts: set[dt.date] = set()
        for day in days:
            start = period.start_of(dt.date.fromisoformat(day))
            starts |= {start, period.after(start)}
        for key in sorted(start.isoformat() for start in starts):
            since = lake.begin(schema, key)
            if since.version is None or _is_old(lake, schema, key):
                continue
            frame, info = lake.read_with_info(schema, key)
            one = Rewritten(schema, since, frame, frame, info.sha256, info.inputs)
            step = note_step(
                work, name, f"{schema.name}-{key}", [one], key,
                lambda one, *_: followed(one.inputs, follow), {},
            )  # fmt: skip
            write_step(work, step)
            path = files_inputs_path(NAMES[period], key)
            if lake.has_report(path):
                follow_file(lake, path, {**follow, **step.follow})


def _is_old(lake: Lake, schema: TableSchema, key: str | None) -> bool:
    """Say whether an earlier version wrote a partition: it is made again as a whole."""
    try:
        lake.stat(schema, key)
    except OutdatedPartitionError:
        return True
    return False


def erase_users(
    work: Erasing,
    name: str,
    user: str,
    users_were: Mapping[str, str] | str,
    days: Mapping[str, Mapping[str, Any]],
) -> None:
    """Take the person out of the table of users, and let growth and cohorts follow.

    Args:
        work: where.
        name: of the request.
        user: as the lake has it.
        users_were: `partials_held` before the first day was touched; a request of an earlier
            version has the digest of all, of which nobody can say what else changed since.
        days: what the request has noted of each day.
    """
    lake, store = work.lake, work.documents
    of_days = {} if isinstance(users_were, str) else _of_days(lake, users_were, days)
    tables = []
    for schema in (USER_ANALYTICS, USER_GROWTH, USER_COHORTS):
        since = lake.begin(schema, None)
        if since.version is None:
            continue
        if _is_old(lake, schema, None):
            lake.remove(schema, None)  # made again whole
            continue
        frame, info = lake.read_with_info(schema, None)
        own = pl.col("user_id") == user if schema is USER_ANALYTICS else pl.lit(value=False)
        tables.append(Rewritten(schema, since, frame, frame.filter(~own), info.sha256, info.inputs))
    collection = work.settings.mongodb_user_analytics_collection
    headers = kept_headers_of(store, work.settings, user)
    documents = {
        collection: _documents_of(store, collection, user),
        work.settings.mongodb_conversations_collection: sorted(headers),
    }
    step = note_step(
        work, name, "users", tables, None,
        lambda one, follow, _: followed(one.inputs, {**of_days, **follow}), documents,
    )  # fmt: skip
    write_step(work, step)
    follow = {**of_days, **step.follow}
    path = files_inputs_path(FILES[USER_FILES], USERS_PAGE)
    if lake.has_report(path):
        follow_file(lake, path, follow)
    # Who makes these documents has read the table of before, if they began before.
    store.supersede(collection, USERS)
    if ids := _documents_of(store, collection, user):
        store.discard(collection, ids)
    erase_kept_headers(store, work.settings, headers)
    follow_documents(store, "user_analytics_documents", USERS, follow)
    work.on_step("users")


def _documents_of(store: DocumentStore, collection: str, user: str) -> list[str]:
    return [one["_id"] for one in store.find(collection, {"user_id": user})]


def _of_days(
    lake: Lake, were: Mapping[str, str], days: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """Return what users record of days before and after, if the erasure alone changed these.

    Else nothing follows: what another run stored meanwhile is not in the table of users.
    """
    follow = {
        day: digests_by_input(noted["tables"]).get(DAILY_PARTIALS.name, {})
        for day, noted in days.items()
    }
    held = partials_held(lake)
    if held != {day: follow.get(day, {}).get(one, one) for day, one in were.items()}:
        return {}
    return {DAILY_PARTIALS.name: {digest_of_days(were): digest_of_days(held)}}


def _values(ids: Iterable[str]) -> pl.Series:
    return pl.Series(sorted(set(ids)), dtype=pl.String).implode()
