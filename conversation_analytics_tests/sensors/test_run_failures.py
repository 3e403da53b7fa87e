from __future__ import annotations

import base64
import datetime as dt
import json
import logging
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from conversation_analytics.alerts.webhook import WebhookConfig, WebhookUnavailableError
from conversation_analytics.core.errors import LakeError, LakeUnavailableError
from conversation_analytics.sensors.run_failures import run_failures
from conversation_analytics_tests.alerts.receiver import PLANTED_ANSWER, Answer, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
URL_TOKEN = "T0KEN-in-the-path"
PLANTED = "planted words of a person"
LOGGER = "conversation_analytics.sensors.run_failures"
DAYS = dg.DailyPartitionsDefinition("2026-11-01")


def config(port: int, **more: Any) -> WebhookConfig:
    return WebhookConfig(
        f"http://127.0.0.1:{port}/{URL_TOKEN}",
        SECRET,
        allow_private=True,
        **({"retry_delay_s": 0.01} | more),
    )


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def torn_table() -> None:
    raise LakeError("table torn_table: torn: repair it") from ValueError(PLANTED)


@dg.asset
def foreign_table() -> None:
    raise ValueError(PLANTED)


@dg.asset
def away_table() -> None:
    # As `retry_if_transient` does, at the last of its tries.
    outage = LakeUnavailableError("table away_table: no answer: wait")
    raise dg.RetryRequested(max_retries=0) from outage


def start_broken(_: dg.InitResourceContext) -> None:
    raise ValueError(PLANTED)


@dg.asset(resource_defs={"broken": dg.ResourceDefinition(start_broken)})
def unopened_table() -> None:
    """Never reached."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def fail(
    instance: dg.DagsterInstance,
    *assets: dg.AssetsDefinition,
    days: tuple[str, ...] = (),
) -> dg.DagsterRun:
    """Run assets until they fail, for one day, a range of days or none."""
    tags = (
        {}
        if len(days) < 2
        else dict(
            zip(
                ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"),
                days,
                strict=True,
            )
        )
    )
    result = dg.materialize(
        list(assets),
        instance=instance,
        raise_on_error=False,
        partition_key=days[0] if len(days) == 1 else None,
        tags=tags,
    )
    assert not result.success
    return result.dagster_run


def look(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None
) -> Any:  # dagster's SensorExecutionData is not public
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=dg.Definitions(sensors=[sensor])
    ) as context:
        return sensor.evaluate_tick(context)


def told(
    instance: dg.DagsterInstance,
    *assets: dg.AssetsDefinition,
    days: tuple[str, ...] = (),
    ui: str = "",
) -> dict[str, Any]:
    """Let a run fail, look with the sensor, return the body that arrived."""
    with receiving() as receiver:
        sensor = run_failures(config(receiver.port), ui)
        cursor = look(sensor, instance, None).cursor
        fail(instance, *assets, days=days)
        look(sensor, instance, cursor)
    assert len(receiver.requests) == 1
    body = receiver.requests[0].body
    assert PLANTED.encode() not in body
    assert b"Traceback" not in body
    answer: dict[str, Any] = json.loads(body)
    return answer


def lines(caplog: pytest.LogCaptureFixture, start: str) -> list[str]:
    return [r.getMessage() for r in caplog.records
            if r.name == LOGGER and r.getMessage().startswith(start)]  # fmt: skip


@pytest.fixture(autouse=True)
def no_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Dagster's own log tells a step's error in full; ours, and the libraries' below, must not."""
    caplog.set_level(logging.DEBUG)
    yield
    ours = "\n".join(
        f"{r.getMessage()} {r.exc_info}"
        for r in caplog.get_records("call")
        if not r.name.startswith("dagster")
    )
    for word in (URL_TOKEN, SECRET, SECRET.removeprefix("whsec_"), PLANTED_ANSWER, PLANTED):
        assert word not in ours


def test_the_sensor_is_on_by_default_and_says_where_it_posts_to() -> None:
    sensor = run_failures(config(1))
    assert sensor.name == "run_failures"
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert "127.0.0.1" in str(sensor.description)
    assert URL_TOKEN not in str(sensor.description)


def test_our_own_error_is_told_with_its_message_and_the_class_of_its_cause(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    before = dt.datetime.now(dt.UTC)
    body = told(instance, torn_table, days=("2026-11-03",), ui="https://dagster.example/")
    (run,) = instance.get_runs()
    data = body["data"]
    assert body["type"] == "run.failed"
    assert data["run_id"] == run.run_id
    assert data["run_url"] == f"https://dagster.example/runs/{run.run_id}"
    assert data["reason"] == "STEP_FAILURE"
    assert data["partition"] == "2026-11-03"
    assert data["partition_range"] is None
    assert data["transient"] is False
    assert data["failures"] == [
        {
            "step": "torn_table",
            "assets": ["torn_table"],
            "error": {
                "class": "LakeError",
                "message": "table torn_table: torn: repair it",
                "cause": "ValueError",
                "transient": False,
            },
        }
    ]
    started, ended = (dt.datetime.fromisoformat(data[k]) for k in ("started_at", "ended_at"))
    assert before <= started <= ended <= dt.datetime.now(dt.UTC)
    assert body["timestamp"] == data["ended_at"]
    (line,) = lines(caplog, "run failed: ")
    assert f"run_id={run.run_id} " in line
    assert "partition=2026-11-03" in line
    assert "LakeError: table torn_table: torn: repair it" in line
    (line,) = lines(caplog, "alert delivered: ")
    assert line.endswith("host=127.0.0.1 status=204 tries=1")


def test_a_range_is_told_by_its_ends(instance: dg.DagsterInstance) -> None:
    data = told(instance, torn_table, days=("2026-11-01", "2026-11-20"))["data"]
    assert data["partition_range"] == {"start": "2026-11-01", "end": "2026-11-20"}


def test_every_failed_step_is_told_and_of_foreign_errors_the_class(
    instance: dg.DagsterInstance,
) -> None:
    data = told(instance, foreign_table, away_table)["data"]
    errors = {failure["step"]: failure["error"] for failure in data["failures"]}
    assert errors == {
        "foreign_table": {
            "class": "ValueError", "message": None, "cause": None, "transient": None,
        },
        "away_table": {
            "class": "LakeUnavailableError", "message": "table away_table: no answer: wait",
            "cause": None, "transient": True,
        },
    }  # fmt: skip
    assert data["transient"] is None


def test_a_run_that_fails_before_any_step_is_told(instance: dg.DagsterInstance) -> None:
    data = told(instance, unopened_table)["data"]
    assert data["reason"] == "RUN_EXCEPTION"
    assert data["failures"][0]["step"] is None
    (failure,) = data["failures"]
    assert failure["error"]["class"] == "ValueError"
    assert failure["error"]["message"] is None


def test_a_run_whose_process_is_gone_is_told_without_an_error(instance: dg.DagsterInstance) -> None:
    @dg.job
    def empty() -> None:
        """No step of it ever runs."""

    with receiving() as receiver:
        sensor = run_failures(config(receiver.port))
        cursor = look(sensor, instance, None).cursor
        run = instance.create_run_for_job(empty)
        instance.report_run_failed(run, PLANTED)
        look(sensor, instance, cursor)
    assert PLANTED.encode() not in receiver.requests[0].body
    data = json.loads(receiver.requests[0].body)["data"]
    assert (data["run_id"], data["job"], data["started_at"]) == (run.run_id, "empty", None)
    assert data["failures"] == [{"step": None, "assets": [], "error": None}]


def test_without_a_webhook_there_is_the_log_line_only(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    sensor = run_failures(None)
    cursor = look(sensor, instance, None).cursor
    fail(instance, foreign_table)
    result = look(sensor, instance, cursor)
    assert [reaction.error for reaction in result.dagster_run_reactions] == [None]
    assert len(lines(caplog, "run failed: ")) == 1
    assert lines(caplog, "alert") == []


def test_a_run_that_succeeds_is_not_told(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    @dg.asset
    def fine() -> None:
        """Nothing to do."""

    sensor = run_failures(None)
    cursor = look(sensor, instance, None).cursor
    dg.materialize([fine], instance=instance)
    look(sensor, instance, cursor)
    assert lines(caplog, "run failed") == []


def test_a_refused_alert_is_logged_once_and_the_next_look_goes_on(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving(Answer(403), Answer(204)) as receiver:
        sensor = run_failures(config(receiver.port))
        cursor = look(sensor, instance, None).cursor
        first, second = fail(instance, foreign_table), fail(instance, away_table)
        result = look(sensor, instance, cursor)
        assert "HTTP 403" in str(result.skip_message)
        assert first.run_id in str(result.skip_message)
        look(sensor, instance, look(sensor, instance, result.cursor).cursor)
    assert [request.headers["webhook-id"] for request in receiver.requests] == [
        f"run_failed_{first.run_id}",
        f"run_failed_{second.run_id}",
    ]
    (line,) = lines(caplog, "alert refused: ")
    assert first.run_id in line
    assert len(lines(caplog, "run failed: ")) == 2


def test_a_receiver_that_is_away_fails_the_look_once_and_the_next_look_goes_on(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving(Answer(503), Answer(503), Answer(204)) as receiver:
        sensor = run_failures(config(receiver.port, max_retries=1))
        cursor = look(sensor, instance, None).cursor
        run = fail(instance, foreign_table)
        result = look(sensor, instance, cursor)
        (reaction,) = result.dagster_run_reactions
        assert reaction.error.cls_name == WebhookUnavailableError.__name__
        assert URL_TOKEN not in reaction.error.to_string()
        assert PLANTED not in reaction.error.to_string()
        again = look(sensor, instance, result.cursor)
        assert not again.dagster_run_reactions
        assert len(receiver.requests) == 2
        # What docs tell an operator to do: the cursor set back delivers it again, same id.
        look(sensor, instance, cursor)
    assert {request.headers["webhook-id"] for request in receiver.requests} == {
        f"run_failed_{run.run_id}"
    }
    assert len(receiver.requests) == 3
    assert len(lines(caplog, "alert not delivered: ")) == 1


def test_a_context_made_by_hand_is_told_too(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    result = dg.materialize([torn_table], instance=instance, raise_on_error=False,
                            partition_key="2026-11-05")  # fmt: skip
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failures",
        dagster_event=result.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()
    run_failures(None)(context)
    (line,) = lines(caplog, "run failed: ")
    assert "partition=2026-11-05" in line
