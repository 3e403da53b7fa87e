"""Asset checks: rule 6 (no row appears or disappears between two zones), and plausible values.

What makes numbers wrong is an error and blocks; what may be wrong at the source is a warning.
Metadata holds counts, never ids of people nor text.
"""

import datetime as dt
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import dagster as dg
import polars as pl

from conversation_analytics.assets.partitions import DailyChain
from conversation_analytics.core import schemas
from conversation_analytics.core.dead_letters import DeadLetterLimit
from conversation_analytics.core.partials import counted_ratings, implausible, population
from conversation_analytics.core.schemas import TableSchema
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.zones import DAILY, Zones
from conversation_analytics.documents.store import DocumentStore
from conversation_analytics.lake.store import Lake

_SHOWN_DIFFERENCES = 5
_SHOWN_DAYS = 31
_MOST_COUNTS = 5
_MOST_ZEROS = 0.05
"""Share of answered turns that may lack a count before `plausible_values` warns."""

_PRICE_ROUNDING = 2e-7
"""Rounding of the two parts of a price and of their sum, in the currency."""

_UNIT_PRICE_ROUNDING = 5e-5
"""The source keeps unit prices to four places, the price itself was made from all of them."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Row counts of one day, zone by zone; None where a zone lacks the day or the figure."""

    day: str
    raw_conversations: int | None
    raw_messages: int | None
    curated_conversations: int | None
    curated_messages: int | None
    dead_conversations: int | None
    dead_messages: int | None
    raw_feedbacks: int | None
    curated_feedbacks: int | None
    dead_feedbacks: int | None
    counted_ratings: int | None
    partial_ratings: int | None
    debugger_messages: int | None
    debugger_conversations: int | None
    partial_turns: int | None
    partial_turns_by_conversation: int | None
    partial_turns_by_hour: int | None
    partial_conversations: int | None
    report_turns: int | None
    report_conversations: int | None
    report_turns_of_apps: int | None
    report_conversations_of_apps: int | None
    report_apps: int | None
    document_headers: int
    document_turns: int
    message_documents: int
    report_documents: int
    report_document_turns: int | None
    ledger_entries: int
    documents_expire: bool = False

    def differences(self) -> list[str]:
        """Return each equation that does not hold, in words."""
        reported_turns = _less(self.curated_messages, self.debugger_messages)
        reported_conversations = _less(self.curated_conversations, self.debugger_conversations)
        equations = (
            ("raw messages = curated + dead letters",
             self.raw_messages, _plus(self.curated_messages, self.dead_messages)),
            ("raw conversations = curated + dead letters",
             self.raw_conversations, _plus(self.curated_conversations, self.dead_conversations)),
            *(() if self.raw_feedbacks is None and self.counted_ratings is None else (
                ("raw feedbacks = curated + dead letters",
                 self.raw_feedbacks, _plus(self.curated_feedbacks, self.dead_feedbacks)),
                ("ratings that count = likes + dislikes of the partials",
                 self.counted_ratings, self.partial_ratings),
            )),
            *(() if self.documents_expire else (
                ("curated messages = message documents",
                 self.curated_messages, self.message_documents),
                ("curated messages = turns inside conversation documents",
                 self.curated_messages, self.document_turns),
                ("curated conversations = conversation documents begun this day",
                 self.curated_conversations, self.document_headers),
                ("dead letters = entries of the ledger that have not landed",
                 _plus(_plus(self.dead_messages, self.dead_conversations),
                       self.dead_feedbacks or 0),
                 self.ledger_entries),
            )),
            ("curated messages - debugger rows = turns of the partials",
             reported_turns, self.partial_turns),
            ("turns of the partials = their turns by conversation",
             self.partial_turns, self.partial_turns_by_conversation),
            ("turns of the partials = their turns by hour",
             self.partial_turns, self.partial_turns_by_hour),
            ("curated conversations - debugger rows = new conversations of the partials",
             reported_conversations, self.partial_conversations),
            ("curated messages - debugger rows = turns of the report",
             reported_turns, self.report_turns),
            ("curated conversations - debugger rows = new conversations of the report",
             reported_conversations, self.report_conversations),
            ("turns of the report = sum over its apps",
             self.report_turns, self.report_turns_of_apps),
            ("new conversations of the report = sum over its apps",
             self.report_conversations, self.report_conversations_of_apps),
            ("apps of the report, and all apps = report documents",
             _plus(self.report_apps, 1), self.report_documents),
            ("turns of the report = turns of the report document over all apps",
             self.report_turns, self.report_document_turns),
        )  # fmt: skip
        return [
            f"{self.day}: {what}: {_told(left)} against {_told(right)}"
            for what, left, right in equations
            if left is None or left != right
        ]


def reconcile(
    lake: Lake,
    store: DocumentStore,
    key: str,
    collections: Mapping[str, str],
    reports_collection: str = "analytics_reports",
    tables: Iterable[SourceTable] = tuple(SourceTable),
    *,
    documents_expire: bool = False,
) -> Reconciliation:
    """Count the rows of day `key` in every zone.

    Args:
        lake: the lake.
        store: the document store.
        key: partition key.
        collections: names of the collections `conversations` and `messages`, and of
            `dead_letters` where it is another.
        reports_collection: name of the collection of report documents.
        tables: that are read from the source.
        documents_expire: documents of the day may have left the store already, for their age: they
            are counted, and not compared.

    Raises:
        LakeError: a partition is there and cannot be read.
    """
    messages = _read(lake, schemas.MESSAGES, key)
    conversations = _read(lake, schemas.CONVERSATIONS, key)
    partials = _read(lake, schemas.DAILY_PARTIALS, key)
    report = _read(lake, schemas.DAILY_REPORT, key)
    headers, turns = store.count_slice(collections["conversations"], key)
    reports = store.find(reports_collection, {"period": "daily", "day": key})
    return Reconciliation(
        day=key,
        raw_conversations=_rows(lake, schemas.RAW_CONVERSATIONS, key),
        raw_messages=_rows(lake, schemas.RAW_MESSAGES, key),
        curated_conversations=None if conversations is None else conversations.height,
        curated_messages=None if messages is None else messages.height,
        dead_conversations=_rows(lake, schemas.CONVERSATION_DEAD_LETTERS, key),
        dead_messages=_rows(lake, schemas.MESSAGE_DEAD_LETTERS, key),
        **_feedback_counts(lake, key, partials, read=SourceTable.FEEDBACKS in tables),
        debugger_messages=_debugger_rows(messages),
        debugger_conversations=_debugger_rows(conversations),
        partial_turns=_partial_sum(partials, "turns"),
        partial_turns_by_conversation=_partial_sum(partials, "turns", "conversations"),
        partial_turns_by_hour=_partial_sum(partials, "turns", "hours"),
        partial_conversations=_partial_sum(partials, "conversations_new"),
        report_turns=_report_value(report, "turns", of_apps=False),
        report_conversations=_report_value(report, "conversations_new", of_apps=False),
        report_turns_of_apps=_report_value(report, "turns", of_apps=True),
        report_conversations_of_apps=_report_value(report, "conversations_new", of_apps=True),
        report_apps=None if report is None else report["app_id"].drop_nulls().n_unique(),
        document_headers=headers,
        document_turns=turns,
        message_documents=store.count(collections["messages"], key),
        report_documents=len(reports),
        report_document_turns=_document_turns(reports),
        ledger_entries=len(
            store.find(
                collections.get("dead_letters", "dead_letters"), {"day": key, "landed_at": None}
            )
        ),
        documents_expire=documents_expire,
    )


def _feedback_counts(
    lake: Lake, key: str, partials: pl.DataFrame | None, *, read: bool
) -> dict[str, int | None]:
    """Count the ratings in every zone; all None where they are not read."""
    names = ("raw_feedbacks", "curated_feedbacks", "dead_feedbacks", "counted_ratings",
             "partial_ratings")  # fmt: skip
    if not read:
        return dict.fromkeys(names)
    curated = _read(lake, schemas.FEEDBACKS, key)
    counted = None if curated is None else counted_ratings(curated.lazy()).collect().height
    counts = (
        _rows(lake, schemas.RAW_FEEDBACKS, key),
        None if curated is None else curated.height,
        _rows(lake, schemas.FEEDBACK_DEAD_LETTERS, key),
        counted,
        _plus(_partial_sum(partials, "likes"), _partial_sum(partials, "dislikes")),
    )
    return dict(zip(names, counts, strict=True))


def daily_checks(
    chain: DailyChain, dead_letter_limit: DeadLetterLimit | None = None
) -> list[dg.AssetChecksDefinition]:
    """Return every check of the daily chain.

    Args:
        chain: what the daily assets share.
        dead_letter_limit: how many rows of a day may be dead letters.
    """
    limit = dead_letter_limit or DeadLetterLimit()
    return [
        _source_check(chain),
        reconciliation_check(chain),
        *(_dead_letters_check(chain, DAILY[table], limit)
          for table in chain.settings.source_tables),
        _messages_check(chain, "plausible_values", plausible_values,
                        "Answered turns have counts and a latency; no value is out of range."),
        _messages_check(chain, "prices_recompute", prices_recompute,
                        "Tokens times unit prices give the stored price of each turn."),
    ]  # fmt: skip


def _source_check(chain: DailyChain) -> dg.AssetChecksDefinition:
    longest = dt.timedelta(hours=chain.settings.source_fresh_hours)

    @dg.asset_check(
        asset="raw_messages",
        name="source_is_alive",
        description="The newest message held is not older than SOURCE_FRESH_HOURS: else the chat "
        "application is silent, or what it writes does not reach NocoDB.",
    )
    def source_is_alive(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        return newest_message(lake, longest, dt.datetime.now(dt.UTC))

    return source_is_alive


def newest_message(lake: Lake, longest: dt.timedelta, now: dt.datetime) -> dg.AssetCheckResult:
    """Return a warning if the newest message of the raw zone is older than `longest` at `now`.

    Args:
        lake: the lake.
        longest: age that is still all right; 0 accepts every age.
        now: aware time.
    """
    newest = None
    for key in reversed(lake.keys(schemas.RAW_MESSAGES)):
        found = lake.read(schemas.RAW_MESSAGES, key).filter(~pl.col("gone").fill_null(value=False))
        if isinstance(newest := found["created_at"].max(), dt.datetime):
            break
    age = now - newest if isinstance(newest, dt.datetime) else None
    return dg.AssetCheckResult(
        passed=not longest or (age is not None and age <= longest),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"the newest message held is of {newest:%F %T} UTC"
        if isinstance(newest, dt.datetime)
        else "no message is held",
        metadata={} if age is None else {"age_hours": round(age / dt.timedelta(hours=1), 2)},
    )


def reconciliation_check(chain: DailyChain) -> dg.AssetChecksDefinition:
    """Return the check that runs after the last asset of the daily chain."""
    settings = chain.settings
    collections = {
        "conversations": settings.mongodb_conversations_collection,
        "messages": settings.mongodb_messages_collection,
        "dead_letters": settings.mongodb_dead_letters_collection,
    }
    reports_collection = settings.mongodb_analytics_reports_collection

    @dg.asset_check(
        asset="report_documents",
        name="rows_agree",
        additional_deps=[
            "conversation_documents",
            "message_documents",
            "daily_report",
            "dead_letter_documents",
        ],
        description="Raw = curated + dead letters = documents = the report's sum, day by day.",
        blocking=True,
        partitions_def=chain.partitions,
    )
    def rows_agree(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        documents: dg.ResourceParam[DocumentStore],
    ) -> dg.AssetCheckResult:
        today = dt.datetime.now(dt.UTC).date()

        def count(key: str) -> Reconciliation:
            return reconcile(
                lake, documents, key, collections, reports_collection, settings.source_tables,
                documents_expire=may_expire(key, today, settings.mongodb_ttl_days),
            )  # fmt: skip

        return agreement(
            [counted_to_agree(functools.partial(count, key)) for key in context.partition_keys]
        )

    return rows_agree


def may_expire(key: str, today: dt.date, days: int) -> bool:
    """Return whether documents of day `key` may be older than `days` (0: they never go)."""
    # A day begins up to 14 hours before it does in UTC.
    return days > 0 and (today - dt.date.fromisoformat(key)).days >= days - 1


def counted_to_agree(count: Callable[[], Reconciliation]) -> Reconciliation:
    """Count a day; where its zones disagree, count again until two counts are the same.

    The zones are counted one after the other: another run that replaces the day between two of
    them makes a difference that is none.
    """
    found = count()
    for _ in range(_MOST_COUNTS):
        if not found.differences():
            break
        again = count()
        if again == found:
            break
        found = again
    return found


def agreement(days: Sequence[Reconciliation]) -> dg.AssetCheckResult:
    """Return the result of `rows_agree`: an error if any equation of any day does not hold.

    The metadata has the sum of each zone over the days, and a table of the days that disagree.
    """
    wrong = {day: lines for day in days if (lines := day.differences())}
    differences = [line for lines in wrong.values() for line in lines]
    counted = [field.name for field in fields(Reconciliation) if field.name != "day"]
    metadata: dict[str, Any] = {
        "days": len(days),
        "days_that_disagree": len(wrong),
        "differences": len(differences),
        "messages": sum(day.curated_messages or 0 for day in days),
        "conversations": sum(day.curated_conversations or 0 for day in days),
        "dead_letters": sum(
            (d.dead_messages or 0) + (d.dead_conversations or 0) + (d.dead_feedbacks or 0)
            for d in days
        ),
        **{name: sum(getattr(day, name) or 0 for day in days) for name in counted},
    }
    if wrong:
        metadata["counts_of_days_that_disagree"] = _table(
            [
                {name: _told(value) for name, value in asdict(day).items()}
                for day in list(wrong)[:_SHOWN_DAYS]
            ]
        )
    return dg.AssetCheckResult(
        passed=not wrong,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(differences[:_SHOWN_DIFFERENCES])
        + (f"; and {left} more" if (left := len(differences) - _SHOWN_DIFFERENCES) > 0 else "")
        if wrong
        else "every day agrees",
        metadata=metadata,
    )


def dead_letters_result(
    counts: Mapping[str, tuple[int, int]], limit: DeadLetterLimit
) -> dg.AssetCheckResult:
    """Return the result of `dead_letters_few`: an error above the limit, a warning above none.

    Args:
        counts: day -> dead letters and raw rows.
        limit: of one day.
    """
    over = [day for day, (dead, raw) in counts.items() if limit.exceeded(dead, raw)]
    some = [day for day, (dead, _) in counts.items() if dead]
    shown = ", ".join(
        f"{day}: {counts[day][0]} of {counts[day][1]}"
        for day in (over or some)[:_SHOWN_DIFFERENCES]
    )
    allowed = f"more than {limit.share:.1%} of a day's rows and more than {limit.rows}, or all"
    if over:
        told = (
            f"dead letters on {len(over)} days are {allowed}: {shown}; look at the reasons, mend "
            "the source or the contract, and materialise these days again"
        )
    else:
        told = f"dead letters on {len(some)} days: {shown}" if some else "no dead letters"
    error = dg.AssetCheckSeverity.ERROR if over else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=not some,
        severity=error,
        description=told,
        metadata={
            "days": len(counts),
            "days_with_dead_letters": len(some),
            "days_over_the_limit": len(over),
            "dead_letters": sum(dead for dead, _ in counts.values()),
            "raw_rows": sum(raw for _, raw in counts.values()),
            "limit_share": limit.share,
            "limit_rows": limit.rows,
        },
    )


def plausible_values(messages: pl.DataFrame) -> dg.AssetCheckResult:
    """Return a warning if values are out of range, or too many answered turns lack a count.

    Answered: status `normal`, a text as answer, not of the debugger. 0 and null both lack.

    Args:
        messages: schema `schemas.MESSAGES`.
    """
    answered = population(messages.lazy()).filter(
        (pl.col("answer") != "") & pl.col("status").eq_missing("normal")
    )
    names = ("message_tokens", "answer_tokens", "latency_s")
    zeros = answered.select(
        pl.len().alias("turns"),
        *((pl.col(name).fill_null(0) == 0).sum().alias(name) for name in names),
    ).collect()
    out_of_range = implausible(messages.lazy()).collect().row(0, named=True)
    turns = int(zeros["turns"][0])
    lacking = {name: int(zeros[name][0]) for name in names}
    too_many = [name for name in names if lacking[name] > _MOST_ZEROS * turns]
    wrong = [name for name, count in out_of_range.items() if count]
    problems = [
        *(f"{lacking[name]} of {turns} answered turns have no {name} above 0" for name in too_many),
        *(f"{out_of_range[name]} turns have a {name} out of range, left out" for name in wrong),
    ]
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(problems) or "counts and times are there and in range",
        metadata={
            "answered_turns": turns,
            **{f"{name}_zero_or_null": count for name, count in lacking.items()},
            **{
                f"{name}_zero_or_null_share": count / turns
                for name, count in lacking.items()
                if turns
            },
            **{f"{name}_out_of_range": count for name, count in out_of_range.items()},
            "most_zeros_share": _MOST_ZEROS,
        },
    )


def prices_recompute(messages: pl.DataFrame) -> dg.AssetCheckResult:
    """Return a warning if stored prices differ from tokens times unit prices.

    Compared are turns that have all it takes, the debugger's aside. Differences within the
    rounding of the price (2e-7) and of the unit prices (four places at the source) are none.

    Args:
        messages: schema `schemas.MESSAGES`.
    """
    columns = (
        "message_tokens", "message_unit_price", "message_price_unit",
        "answer_tokens", "answer_unit_price", "answer_price_unit", "total_price",
    )  # fmt: skip
    # Floats, with a tolerance far above their error: products of three columns may pass the
    # 38 digits of a decimal where a row is wrong, and a wrong row shall be counted, not raise.
    value = {name: pl.col(name).cast(pl.Float64) for name in columns}
    units_in = value["message_tokens"] * value["message_price_unit"]
    units_out = value["answer_tokens"] * value["answer_price_unit"]
    expected = units_in * value["message_unit_price"] + units_out * value["answer_unit_price"]
    compared = (
        population(messages.lazy())
        .filter(pl.all_horizontal(pl.col(name).is_not_null() for name in columns))
        .select(
            "currency",
            value["total_price"].alias("stored"),
            expected.alias("recomputed"),
            (
                _PRICE_ROUNDING
                + _UNIT_PRICE_ROUNDING * (units_in + units_out).abs()
                + 1e-9 * expected.abs()
            ).alias("tolerance"),
        )
        .with_columns(
            ((pl.col("stored") - pl.col("recomputed")).abs() > pl.col("tolerance")).alias("differs")
        )
        .group_by("currency")
        .agg(
            pl.len().alias("turns"),
            pl.col("differs").sum(),
            pl.col("stored").filter("differs").sum().alias("stored_where_different"),
            pl.col("recomputed").filter("differs").sum().alias("recomputed_where_different"),
        )
        .sort("currency", nulls_last=True)
        .collect()
    )
    turns, differing = int(compared["turns"].sum()), int(compared["differs"].sum())
    metadata: dict[str, Any] = {
        "turns_compared": turns,
        "turns_that_differ": differing,
        "turns_without_what_it_takes": population(messages.lazy()).collect().height - turns,
    }
    if differing:
        metadata["by_currency"] = _table(
            [
                {name: "unknown" if cell is None else str(cell) for name, cell in row.items()}
                for row in compared.filter(pl.col("differs") > 0).iter_rows(named=True)
            ]
        )
    return dg.AssetCheckResult(
        passed=not differing,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{differing} of {turns} prices differ from tokens times unit prices"
        if differing
        else f"{turns} prices agree with tokens times unit prices",
        metadata=metadata,
    )


def _dead_letters_check(
    chain: DailyChain, zones: Zones, limit: DeadLetterLimit
) -> dg.AssetChecksDefinition:
    dead = zones.dead_letters

    @dg.asset_check(
        asset=zones.curated.name,
        name="dead_letters_few",
        additional_deps=[dead.name],
        description="Nearly all rows of a day could be typed; above the limit nothing is made "
        "from the others.",
        blocking=True,
        partitions_def=chain.partitions,
    )
    def dead_letters_few(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> dg.AssetCheckResult:
        counts = {
            key: (lake.row_count(dead, key), lake.row_count(zones.raw, key))
            for key in context.partition_keys
        }
        return dead_letters_result(counts, limit)

    return dead_letters_few


def _messages_check(
    chain: DailyChain,
    name: str,
    judge: Callable[[pl.DataFrame], dg.AssetCheckResult],
    description: str,
) -> dg.AssetChecksDefinition:
    needed = [
        "invoke_from", "status", "answer", "currency", "latency_s", "time_to_first_token_s",
        "message_tokens", "message_unit_price", "message_price_unit",
        "answer_tokens", "answer_unit_price", "answer_price_unit", "total_price",
    ]  # fmt: skip

    @dg.asset_check(
        asset=schemas.MESSAGES.name,
        name=name,
        description=description,
        partitions_def=chain.partitions,
    )
    def check(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> dg.AssetCheckResult:
        days = [lake.read(schemas.MESSAGES, key).select(needed) for key in context.partition_keys]
        return judge(pl.concat(days))

    return check


def _read(lake: Lake, schema: TableSchema, key: str) -> pl.DataFrame | None:
    return lake.read(schema, key) if lake.exists(schema, key) else None


def _rows(lake: Lake, schema: TableSchema, key: str) -> int | None:
    return lake.row_count(schema, key) if lake.exists(schema, key) else None


def _debugger_rows(frame: pl.DataFrame | None) -> int | None:
    return None if frame is None else frame.filter(pl.col("invoke_from") == "debugger").height


def _partial_sum(partials: pl.DataFrame | None, name: str, kind: str = "counts") -> int | None:
    if partials is None:
        return None
    return int(partials.filter(pl.col("kind") == kind)[name].sum())


def _report_value(report: pl.DataFrame | None, metric: str, *, of_apps: bool) -> int | None:
    if report is None:
        return None
    wanted = pl.col("app_id").is_not_null() if of_apps else pl.col("app_id").is_null()
    values = report.filter(wanted & (pl.col("metric") == metric))["value"].to_list()
    if None in values or not (of_apps or values):
        return None
    return int(sum(values))


def _document_turns(reports: Sequence[Mapping[str, Any]]) -> int | None:
    values = [
        metric["value"]
        for report in reports
        if report["app_id"] is None
        for metric in report["metrics"]
        if metric["name"] == "turns"
    ]
    return int(values[0]) if len(values) == 1 and values[0] is not None else None


def _plus(left: int | None, right: int | None) -> int | None:
    return None if left is None or right is None else left + right


def _less(left: int | None, right: int | None) -> int | None:
    return None if left is None or right is None else left - right


def _told(count: object) -> str:
    return "nothing" if count is None else str(count)


def _table(rows: Sequence[Mapping[str, str]]) -> dg.TableMetadataValue:
    columns = [dg.TableColumn(name) for name in rows[0]]
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(row)) for row in rows], schema=dg.TableSchema(columns)
    )
