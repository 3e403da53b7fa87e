from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.alerts import (
    MAX_FAILURES,
    ErrorSummary,
    Failure,
    RaisedError,
    RunFailure,
    log_line,
    payload,
    signed_headers,
    signing_key,
    summarise,
)
from conversation_analytics.core.errors import SettingsError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of Standard Webhooks' own published test
PLANTED = "planted words of a person"
OURS = "conversation_analytics.core.errors."
NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
WRAPPER = RaisedError(
    "DagsterExecutionStepExecutionError",
    "dagster._core.errors.DagsterExecutionStepExecutionError: Error occurred while executing op:\n",
)
LAKE_AWAY = RaisedError("LakeUnavailableError", OURS + "LakeUnavailableError: no answer: wait\n")
LAKE_TORN = RaisedError("LakeError", OURS + "LakeError: torn: repair it\n")
FOREIGN = RaisedError("ValueError", f"ValueError: {PLANTED}\n")


def run_failure(*failures: Failure) -> RunFailure:
    return RunFailure("r1", "daily", ended_at=NOON, failures=failures)


def failed(*chain: RaisedError) -> Failure:
    return Failure("step", ("asset",), summarise(chain))


def test_the_signature_is_that_of_the_published_example() -> None:
    at = dt.datetime.fromtimestamp(1614265330, dt.UTC)
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at, signing_key(SECRET)
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.binary(max_size=99), st.integers(0, 2**33), st.binary(min_size=24, max_size=64))
def test_the_signature_covers_id_time_and_body(body: bytes, seconds: int, key: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    at = dt.datetime.fromtimestamp(seconds, dt.UTC)
    headers = signed_headers("id", body, at, signing_key(secret))
    expected = hmac.new(key, b"id.%d.%b" % (seconds, body), hashlib.sha256).digest()
    assert base64.b64decode(headers["webhook-signature"].removeprefix("v1,")) == expected


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "hunter2hunter2", SECRET.removeprefix("whsec_"), "whsec_c2hvcnQ=",
     "whsec_not*base64*at*all*not*base64*at*all", "whsec_" + "A" * 400, SECRET + "é"],
)  # fmt: skip
def test_what_is_no_secret_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(SettingsError, match="ALERT_WEBHOOK_SECRET") as refusal:
        signing_key(secret)
    assert len(secret) < 8 or secret not in str(refusal.value)


def test_our_own_error_is_told_with_its_message() -> None:
    assert summarise([WRAPPER, LAKE_TORN]) == ErrorSummary(
        "LakeError", "torn: repair it", transient=False
    )
    assert summarise([WRAPPER, LAKE_AWAY]) == ErrorSummary(
        "LakeUnavailableError", "no answer: wait", transient=True
    )


def test_of_a_foreign_error_only_the_class_is_told() -> None:
    assert summarise([WRAPPER, FOREIGN]) == ErrorSummary("ValueError")


def test_a_foreign_cause_of_our_error_is_told_by_its_class() -> None:
    assert summarise([WRAPPER, LAKE_AWAY, FOREIGN]) == ErrorSummary(
        "LakeUnavailableError", "no answer: wait", "ValueError", transient=True
    )


def test_the_innermost_of_our_errors_counts() -> None:
    told = summarise([LAKE_TORN, WRAPPER, LAKE_AWAY])
    assert told is not None
    assert told.name == "LakeUnavailableError"


@pytest.mark.parametrize(
    "text",
    [f"pydantic_settings.LakeError: {PLANTED}\n", f"LakeError: {PLANTED}\n",
     f"evil.conversation_analytics.core.errors.LakeError: {PLANTED}\n",
     f"conversation_analytics.core.errors.NoSuchError: {PLANTED}\n"],
)  # fmt: skip
def test_a_foreign_class_of_the_same_name_is_not_ours(text: str) -> None:
    told = summarise([RaisedError("LakeError", text)])
    assert told == ErrorSummary("LakeError")


def test_notes_that_others_add_to_our_error_are_not_told() -> None:
    told = summarise([RaisedError("LakeError", f"{OURS}LakeError: torn\n{PLANTED}\n")])
    assert told == ErrorSummary("LakeError", "torn", transient=False)


def test_what_is_no_class_name_is_not_told() -> None:
    assert summarise([RaisedError(PLANTED, "")]) == ErrorSummary("(unnamed)")
    assert summarise([RaisedError(None, PLANTED)]) == ErrorSummary("(unnamed)")
    assert summarise([]) is None


@given(st.text(), st.text())
def test_foreign_text_never_gets_into_body_or_log(name: str, text: str) -> None:
    marked = f"{text}{PLANTED}{text}"
    failure = run_failure(failed(WRAPPER, RaisedError(name, marked)), failed(LAKE_AWAY, FOREIGN))
    assert PLANTED.encode() not in payload(failure)
    assert PLANTED not in log_line(failure)


@given(st.text())
def test_the_log_line_is_one_line(job: str) -> None:
    line = log_line(RunFailure("r1", job, failures=(failed(LAKE_TORN), failed(FOREIGN))))
    assert line.splitlines() == [line]
    assert "run_id=r1 job=" in line


def test_the_body() -> None:
    failure = RunFailure(
        "r1", "daily", "STEP_FAILURE", None, ("2026-11-01", "2026-11-20"),
        NOON - dt.timedelta(minutes=1), NOON, (failed(LAKE_AWAY, FOREIGN), Failure("other")),
        "https://dagster.example/runs/r1",
    )  # fmt: skip
    assert json.loads(payload(failure)) == {
        "type": "run.failed",
        "version": 1,
        "timestamp": "2026-11-21T12:00:00+00:00",
        "text": "Run r1 of daily (2026-11-01...2026-11-20) failed: "
        "step: LakeUnavailableError and 1 more",
        "data": {
            "run_id": "r1",
            "job": "daily",
            "reason": "STEP_FAILURE",
            "partition": None,
            "partition_range": {"start": "2026-11-01", "end": "2026-11-20"},
            "started_at": "2026-11-21T11:59:00+00:00",
            "ended_at": "2026-11-21T12:00:00+00:00",
            "transient": None,
            "run_url": "https://dagster.example/runs/r1",
            "failures_total": 2,
            "failures": [
                {
                    "step": "step",
                    "assets": ["asset"],
                    "error": {
                        "class": "LakeUnavailableError",
                        "message": "no answer: wait",
                        "cause": "ValueError",
                        "transient": True,
                    },
                },
                {"step": "other", "assets": [], "error": None},
            ],
        },
    }


@pytest.mark.parametrize(
    ("failures", "transient"),
    [
        ((), None),
        ((LAKE_AWAY,), True),
        ((LAKE_AWAY, LAKE_AWAY), True),
        ((LAKE_AWAY, LAKE_TORN), False),
        ((LAKE_AWAY, FOREIGN), None),
        ((FOREIGN, LAKE_TORN), False),
    ],
)
def test_a_run_may_pass_only_if_every_failure_may(
    failures: tuple[RaisedError, ...], *, transient: bool | None
) -> None:
    assert run_failure(*(failed(error) for error in failures)).transient is transient


def test_the_id_is_that_of_the_run_and_the_body_is_always_the_same() -> None:
    one, again = run_failure(failed(LAKE_TORN)), run_failure(failed(LAKE_TORN))
    assert one.message_id == again.message_id == "run_failed_r1"
    assert payload(one) == payload(again)


def test_the_body_stays_small_whatever_failed() -> None:
    long = RaisedError("LakeError", OURS + "LakeError: " + "x" * 9_000)
    many = [Failure("s" * 999, ("a" * 999,) * 99, summarise([long]))] * 500
    body = json.loads(payload(RunFailure("r1", "j" * 9_000, failures=tuple(many))))
    assert len(body["data"]["failures"]) == MAX_FAILURES
    assert body["data"]["failures_total"] == 500
    assert len(json.dumps(body)) < 20_000
    assert len(log_line(RunFailure("r1", "daily", failures=tuple(many)))) < 10_000
