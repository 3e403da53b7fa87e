"""The sensor that tells of failed runs: a line in the log and, if configured, a webhook."""

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Iterator

import dagster as dg
from dagster._core.events import JobFailureData
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)
from dagster_shared.error import SerializableErrorInfo

from conversation_analytics.alerts.webhook import (
    Webhook,
    WebhookConfig,
    WebhookRefusedError,
    WebhookUnavailableError,
)
from conversation_analytics.core.alerts import (
    Failure,
    RaisedError,
    RunFailure,
    log_line,
    payload,
    summarise,
)

logger = logging.getLogger("conversation_analytics.sensors.run_failures")


def run_failures(config: WebhookConfig | None, ui_base_url: str = "") -> dg.SensorDefinition:
    """Return the sensor `run_failures`; it is on by default.

    Every failed run of the code location gives one log line. With a webhook it is posted too:
    - delivered: the run's own log says that the sensor acted on it.
    - refused for good (`WebhookRefusedError`): one error in the log, the look is skipped with the
      reason.
    - not delivered in time (`WebhookUnavailableError`): one error in the log, and the look is
      marked failed in the UI with the reason.
      (Where one look tells of several runs, Dagster marks it by the last of them.)
    In no case is the same run looked at again: Dagster moves a run status sensor's cursor on
    even where it raises, so neither outcome can loop. Setting the sensor's cursor back in the
    UI delivers again, under the same `webhook-id`. Runs that failed before the sensor's first
    look are not told.

    Args:
        config: of the webhook; None to write the log line only.
        ui_base_url: address of the Dagster UI, for the link to the run; empty for no link.
    """
    webhook = None if config is None else Webhook(config)

    @dg.run_failure_sensor(
        name="run_failures",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes a log line for every failed run"
        + (f" and posts a signed alert to {config.hostname}." if config else "."),
    )
    def tell(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        failure = run_failure_of(context, ui_base_url)
        logger.error("%s", log_line(failure))
        if webhook is None:
            return None
        try:
            delivery = webhook.deliver(failure.message_id, payload(failure))
        except WebhookRefusedError as error:
            logger.error("alert refused: run_id=%s %s", failure.run_id, error)  # noqa: TRY400 - a trace says no more
            return dg.SkipReason(f"The alert of run {failure.run_id} was not delivered: {error}")
        except WebhookUnavailableError as error:
            logger.error("alert not delivered: run_id=%s %s", failure.run_id, error)  # noqa: TRY400 - Dagster keeps the trace
            raise
        logger.info(
            "alert delivered: run_id=%s host=%s status=%d tries=%d",
            failure.run_id, webhook.config.hostname, delivery.status, delivery.tries,
        )  # fmt: skip
        return None

    return tell


def run_failure_of(context: dg.RunFailureSensorContext, ui_base_url: str) -> RunFailure:
    """Return what an alert tells of the failed run of a context."""
    run = context.dagster_run
    record = context.instance.get_run_record_by_id(run.run_id)
    event = context.failure_event.event_specific_data
    data = event if isinstance(event, JobFailureData) else None
    start = run.tags.get(ASSET_PARTITION_RANGE_START_TAG)
    end = run.tags.get(ASSET_PARTITION_RANGE_END_TAG)
    return RunFailure(
        run_id=run.run_id,
        job=run.job_name,
        reason=data.failure_reason.value if data and data.failure_reason else None,
        partition=context.partition_key or run.tags.get("dagster/partition"),
        partition_range=(start, end) if start and end else None,
        started_at=_utc(record.start_time if record else None),
        ended_at=_utc(record.end_time if record else None),
        failures=_failures(context, data.error if data else None),
        run_url=f"{ui_base_url.rstrip('/')}/runs/{run.run_id}" if ui_base_url else None,
    )


def _failures(
    context: dg.RunFailureSensorContext, run_error: SerializableErrorInfo | None
) -> tuple[Failure, ...]:
    planned = context.instance.get_records_for_run(
        context.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    ).records
    assets: defaultdict[str | None, set[str]] = defaultdict(set)
    for record in planned:
        event = record.event_log_entry.dagster_event
        if event is not None and event.asset_key is not None:
            assets[event.step_key].add(event.asset_key.to_user_string())
    steps = tuple(
        Failure(
            event.step_key,
            tuple(sorted(assets[event.step_key])),
            summarise(tuple(_chain(event.step_failure_data.error))),
        )
        for event in context.get_step_failure_events()
    )
    return steps or (Failure(None, error=summarise(tuple(_chain(run_error)))),)


def _chain(error: SerializableErrorInfo | None) -> Iterator[RaisedError]:
    """Walk from an error to its innermost cause."""
    while error is not None:
        yield RaisedError(error.cls_name, error.message)
        error = error.cause or error.context


def _utc(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)
