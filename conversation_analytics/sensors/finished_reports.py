"""The sensor that posts the headline figures of finished reports to a webhook."""

import datetime as dt
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import dagster as dg

from conversation_analytics.alerts.webhook import (
    MAX_DEADLINE_S,
    Webhook,
    WebhookConfig,
    WebhookRefusedError,
    WebhookUnavailableError,
)
from conversation_analytics.assets.lineage import files_inputs_path
from conversation_analytics.core.errors import LakeError, OutdatedPartitionError
from conversation_analytics.core.finished_reports import FinishedReport, headline_figures, payload
from conversation_analytics.core.period_report import PERIOD_REPORTS
from conversation_analytics.core.periods import NAMES, Period
from conversation_analytics.core.schemas import DAILY_REPORT
from conversation_analytics.lake.store import Lake
from conversation_analytics.sensors.run_history import (
    LOOK_DAYS,
    LOOK_INTERVAL,
    first_day_looked_at,
)
from conversation_analytics.settings import Settings

logger = logging.getLogger("conversation_analytics.sensors.finished_reports")

NOTE = "delivered.json"
"""Where the lake says, below `reports/`, which content was delivered last of each report."""
_SCHEMAS = {Period.DAY: DAILY_REPORT, **PERIOD_REPORTS}
_ENDINGS = ("html", "md", "csv")
_TICK_S = 60.0
_MOST = int(_TICK_S // MAX_DEADLINE_S) - 1


@dataclass(frozen=True, slots=True)
class _Note:
    """What is known of a report.

    Attributes:
        sha256: digest of the content the receiver took last; empty: it took none.
        failed: tries since.
        taken: how many times the receiver took one.
    """

    sha256: str
    failed: int = 0
    taken: int = 0


def finished_reports(config: WebhookConfig, settings: Settings) -> dg.SensorDefinition:
    """Return the sensor `finished_reports`; it is on by default.

    Of the days, weeks and months that are over, each report is posted once it has its files, and
    again where its rows have changed since. What the receiver took is noted in the lake after
    each answer of 2xx: it gets the same content a second time only where this process dies
    between the two, under the same `webhook-id`; content that comes back after other content was
    taken has another one. The first look of all posts nothing: reports
    that are there by then count as known.
    - not delivered in time: the tick is marked failed, the next one tries again.
    - refused: the others come first from then on; it is tried at every look all the same.

    Args:
        config: of the webhook.
        settings: of this process.
    """
    webhook = Webhook(config)

    @dg.sensor(
        name="finished_reports",
        minimum_interval_seconds=int(LOOK_INTERVAL.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Every {LOOK_INTERVAL.seconds // 60} minutes: posts the headline figures of "
        "reports of days, weeks and months that are over and have not been posted as they are, of "
        f"the last {LOOK_DAYS} days, to {config.hostname}, {_MOST} in one look.",
    )
    def tell(lake: dg.ResourceParam[Lake]) -> dg.SkipReason:
        today = dt.datetime.now(settings.analytics_timezone).date()
        held = dict(_finished(lake, first_day_looked_at(settings), today))
        notes = _read(lake)
        if notes is None:
            known = {_name(*one): _Note(sha256) for one, sha256 in held.items()}
            _write(lake, known)
            return dg.SkipReason(f"First look: the {len(known)} reports that are there are known.")
        wanted = [
            one
            for one, sha256 in held.items()
            if notes.get(_name(*one), _Note("")).sha256 != sha256
        ]
        wanted.sort(key=lambda one: (notes.get(_name(*one), _Note("")).failed, one[1], one[0]))
        delivered, refused = 0, ""
        for one in wanted[:_MOST]:
            name = _name(*one)
            note = notes.get(name, _Note(""))
            report = _report(lake, *one, note)
            if report is None:
                continue
            notes[name] = replace(note, failed=note.failed + 1)
            try:
                delivery = webhook.deliver(report.message_id, payload(report))
            except WebhookUnavailableError as error:
                _write(lake, notes)
                logger.error("report not delivered: report=%s %s", name, error)  # noqa: TRY400 - Dagster keeps the trace
                raise
            except WebhookRefusedError as error:
                _write(lake, notes)
                logger.error("report refused: report=%s %s", name, error)  # noqa: TRY400 - a trace says no more
                refused = refused or f"The report {name} was not delivered: {error}"
                continue
            notes[name] = _Note(report.sha256, taken=note.taken + 1)
            _write(lake, notes)
            delivered += 1
            logger.info(
                "report delivered: report=%s host=%s status=%d tries=%d",
                name, config.hostname, delivery.status, delivery.tries,
            )  # fmt: skip
        left = len(wanted) - delivered
        return dg.SkipReason(
            refused or f"{delivered} of {len(held)} reports delivered, {left} are left."
        )

    return tell


def _name(period: Period, key: str) -> str:
    return f"{NAMES[period]}/{key}"


def _finished(
    lake: Lake, first: dt.date, today: dt.date
) -> Iterator[tuple[tuple[Period, str], str]]:
    """Yield the reports of periods that are over and whose files tell the same, with a digest."""
    for period, schema in _SCHEMAS.items():
        for key in lake.keys(schema):
            if not first <= period.end_of(dt.date.fromisoformat(key)) < today:
                continue
            path = files_inputs_path(NAMES[period], key)
            if not lake.has_report(path):
                continue
            try:
                sha256 = lake.stat(schema, key).sha256
            except OutdatedPartitionError:
                continue  # it is made again first
            if json.loads(lake.get_report(path)).get(schema.name) == sha256:
                yield (period, key), sha256


def _report(lake: Lake, period: Period, key: str, note: _Note) -> FinishedReport | None:
    try:
        rows, info = lake.read_with_info(_SCHEMAS[period], key)
    except OutdatedPartitionError:
        return None
    name = _name(period, key)
    files = {
        ending: lake.objects.uri(f"reports/{name}.{ending}")
        for ending in _ENDINGS
        if lake.has_report(f"{name}.{ending}")
    }
    start = dt.date.fromisoformat(key)
    figures = headline_figures(rows)
    return FinishedReport(period, start, info.sha256, figures, files, note.sha256, note.taken)


def _read(lake: Lake) -> dict[str, _Note] | None:
    if not lake.has_report(NOTE):
        return None
    try:
        notes = json.loads(lake.get_report(NOTE))
        return {name: _Note(**note) for name, note in notes.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise LakeError(
            f"{lake.objects.uri(f'reports/{NOTE}')}: expected a JSON object of what was delivered, "
            f"by report, got something else ({type(error).__name__}); put the file back from a "
            "backup, or remove it: the next look then takes every report there is for known and "
            "posts what changes from then on"
        ) from None


def _write(lake: Lake, notes: dict[str, _Note]) -> None:
    told = {name: asdict(note) for name, note in sorted(notes.items())}
    lake.put_report(NOTE, json.dumps(told).encode())
