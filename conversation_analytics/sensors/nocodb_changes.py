"""The sensor that turns new and changed rows of the source into runs of their days."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import dagster as dg
import polars as pl
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from conversation_analytics.assets.retention import first_whole
from conversation_analytics.core.changes import (
    Cursor,
    SeenRow,
    changed_days,
    differing,
    is_unfinished,
    next_cursor,
    suspects,
    watched_rows,
)
from conversation_analytics.core.landing import GonePolicy
from conversation_analytics.core.source import Source, SourceTable
from conversation_analytics.core.windows import local_day
from conversation_analytics.lake.store import Lake
from conversation_analytics.sensors.former_days import (
    FormerDays,
    Reading,
    day_of,
    left_behind,
)
from conversation_analytics.sensors.held_rows import HeldRows
from conversation_analytics.sensors.run_history import WantedRun, digest_of, plan_runs
from conversation_analytics.settings import Settings


@dataclass(frozen=True, slots=True)
class _Look:
    """Rows that are not held as the source shows them, and the cursor after the look.

    Those of `late` were created before the time that the look is about, or long before they were
    changed, and their day lacks them.
    """

    different: frozenset[SeenRow]
    late: tuple[SeenRow, ...]
    first_day: dt.date
    ahead: int
    cursor: Cursor


def _look(
    source: Source,
    lake: Lake,
    held_rows: HeldRows,
    cursor: Cursor,
    settings: Settings,
    now: dt.datetime,
) -> _Look:
    lag = dt.timedelta(seconds=settings.sensor_lag)
    settled_before = now - dt.timedelta(seconds=settings.sensor_settle)
    shown, different, same, late = [], set[SeenRow](), set[SeenRow](), list[SeenRow]()
    since = cursor.watermark - lag
    ahead = 0
    today = local_day(now, settings.analytics_timezone)
    # Older days are removed by age: a row of theirs that moves is not asked for again.
    first_day = max(settings.analytics_start_date, first_whole(settings, today) or dt.date.min)
    for table in settings.source_tables:
        held = partial(held_rows.rows, lake, table)
        listed = source.changes_since(table, since)
        found = suspects(
            table, listed, held,
            same=cursor.same, zone=settings.analytics_timezone,
            first_day=first_day, settled_before=settled_before, now=now,
        )  # fmt: skip
        doubtful = {row.name: row for row in found.doubtful}
        if table is SourceTable.MESSAGES:
            for row in _watched(lake, held_rows, settings, now):
                doubtful.setdefault(row.name, row)
        in_doubt = sorted(doubtful.values(), key=lambda row: row.name)
        changed = frozenset[SeenRow]()
        if in_doubt:
            changed = differing(
                in_doubt, source.read_ids(table, [row.id for row in in_doubt]), held,
                gone_differs=settings.gone_rows != GonePolicy.KEEP,
            )  # fmt: skip
        names = {row.name for row in changed}
        # Created long before it was changed: perhaps that change was of its time of creation.
        corrected = pl.col("created_at").is_null() | (
            pl.col("created_at") < pl.max_horizontal(pl.lit(since), pl.col("changed_at") - lag)
        )
        old_ids = set(listed.filter(corrected)["id"])
        late += [row for row in found.absent if row.id in old_ids]
        shown.append(listed)
        ahead += found.ahead
        different |= changed | frozenset(found.absent)
        same |= frozenset(found.same) | {row for row in found.doubtful if row.name not in names}
    return _Look(
        frozenset(different),
        tuple(late),
        first_day,
        ahead,
        next_cursor(
            cursor, shown, different, same, settled_before=settled_before, lag=lag
        ),
    )  # fmt: skip


def _watched(
    lake: Lake, held_rows: HeldRows, settings: Settings, now: dt.datetime
) -> Iterator[SeenRow]:
    """Yield the turns that had no answer when they were read, until they expire."""
    zone = settings.analytics_timezone
    oldest = now - dt.timedelta(hours=settings.watch_hours)
    first = max(local_day(oldest, zone), settings.analytics_start_date)
    unfinished = held_rows.unfinished(lake, first, local_day(now, zone), is_unfinished())
    for row in watched_rows(
        SourceTable.MESSAGES, unfinished.filter(pl.col("created_at") >= oldest), zone
    ):
        held = held_rows.rows(lake, SourceTable.MESSAGES, row.day)
        if not held.filter((pl.col("id") == row.id) & pl.col("gone")).height:
            yield row


def nocodb_changes(
    daily_job: UnresolvedAssetJobDefinition,
    undated_job: UnresolvedAssetJobDefinition,
    settings: Settings,
) -> dg.SensorDefinition:
    """Return the sensor `nocodb_changes`; switch it on in the UI."""
    held_rows, former_days = HeldRows(), FormerDays()

    @dg.sensor(
        name="nocodb_changes",
        jobs=[daily_job, undated_job],
        minimum_interval_seconds=settings.sensor_interval,
        description="Compares the source with the raw zone and materialises exactly the days whose "
        "rows are new, changed or finished, and days that rows have left for them. It begins at "
        "the newest row held, or now where nothing is held yet: backfill older days.",
    )
    def changes(
        context: dg.SensorEvaluationContext,
        source: dg.ResourceParam[Source],
        lake: dg.ResourceParam[Lake],
    ) -> dg.SensorResult:
        now = dt.datetime.now(dt.UTC)
        if context.cursor:
            cursor = Cursor.from_json(context.cursor)
        else:
            cursor = Cursor(min(held_rows.newest(lake, settings.source_tables) or now, now))
        seen = _look(source, lake, held_rows, cursor, settings, now)
        wanted = [
            WantedRun(
                daily_job.name if changed.day else undated_job.name,
                changed.day,
                changed.digest,
                f"{changed.rows} rows differ",
            )
            for changed in changed_days(seen.different)
        ]
        reading = Reading(source, lake, held_rows, settings)
        left = left_behind(lake, cursor.left, former_days.of(seen.late, reading), now)
        asked_for = {one.day for one in wanted}
        for name in sorted(left):
            day = day_of(name)
            if day not in asked_for and (day is None or day >= seen.first_day):
                job = daily_job if day else undated_job
                why = "rows have moved to another day"
                wanted.append(WantedRun(job.name, day, digest_of([name, left[name].sha256]), why))
                asked_for.add(day)
        requests, waiting = plan_runs(
            context.instance, wanted,
            interval=dt.timedelta(seconds=settings.sensor_interval),
            max_runs=settings.sensor_max_runs, now=now,
        )  # fmt: skip
        cursor_text = replace(seen.cursor, left=left).to_json()
        context.log.info(
            "looked: rows_different=%d runs=%d days_waiting=%d",
            len(seen.different), len(requests), len(waiting),
        )  # fmt: skip
        if seen.ahead:
            context.log.warning(
                "rows dated after today wait for their day: rows=%d; is a clock of the source "
                "wrong?",
                seen.ahead,
            )
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=cursor_text)
        since = cursor.watermark - dt.timedelta(seconds=settings.sensor_lag)
        reason = "; ".join(waiting[:5]) or f"No row created or changed since {since:%F %T} UTC."
        return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=cursor_text)

    return changes
